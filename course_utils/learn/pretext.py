"""Pretext tasks for pictures: questions that the picture itself answers, so that nobody has to write labels.

    first, second, which = pretext.patch_pairs(images, generator)                 # where does the second patch lie?
    tiles, which = pretext.jigsaw(images, permutations, generator)                # in which order are the tiles?
    grey, chroma = pretext.split_colour(images)                                   # which colours has the grey picture?

Each has a model with an `.encoder`, the ConvNet that is kept when the task is done:

    model = pretext.PatchModel(ConvNetConfig(), generator)
    loss = F.cross_entropy(model(first, second), which)
    features = model.encoder(images)                                              # (N, 3, H, W) -> (N, dim)

All functions take whole batches, floats in [0, 1], on any device; generators are on the CPU.
Letters in the shape comments: N pictures, P the side of a patch or tile, T tiles, Q bins of colour, D the config's dim.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

from itertools import permutations as all_permutations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_utils.data.images import LUMA, grey
from course_utils.models.convnet import ConvNet, ConvNetConfig, initialise, layer
from course_utils.models.finite import check_finite

Images = Float[Tensor, "n channels height width"]

# What `which` means: the second patch lies above left, above, …, below right of the first.
PLACES = ("↖", "↑", "↗", "←", "→", "↙", "↓", "↘")
OFFSETS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))  # rows down, columns to the right


# --- patches ----------------------------------------------------------------------------------------------------------


def cut(images: Images, top: Int[Tensor, " n"], left: Int[Tensor, " n"], side: int) -> Float[Tensor, "n c side side"]:
    """Cut one square of `side` pixels out of each picture, its upper left corner at (top, left).

    Raises:
        ValueError: unless each square lies wholly inside its picture.
    """
    N, _, H, W = images.shape
    if side < 1 or top.min() < 0 or left.min() < 0 or top.max() + side > H or left.max() + side > W:
        raise ValueError(
            f"squares of {side} pixels at rows {int(top.min())} … {int(top.max())}, columns {int(left.min())} … "
            f"{int(left.max())} do not fit into pictures of {H} × {W}"
        )
    steps = torch.arange(side, device=images.device)
    rows = top.to(images.device)[:, None, None] + steps[:, None]  # (N, P, 1)
    columns = left.to(images.device)[:, None, None] + steps  # (N, 1, P)
    picture = torch.arange(N, device=images.device)[:, None, None]
    return images[picture, :, rows, columns].permute(0, 3, 1, 2)  # (N, P, P, C) -> (N, C, P, P)


def patch_pairs(
    images: Images,
    generator: torch.Generator | None = None,
    *,
    patch: int | None = None,
    gap: int | None = None,
    jitter: int | None = None,
) -> tuple[Float[Tensor, "n c p p"], Float[Tensor, "n c p p"], Int[Tensor, " n"]]:
    """Return the patch in the middle of each picture, one of its eight neighbours, and which: 0 … 7, as in `PLACES`.

    Args:
        patch: the side of a patch in pixels; None takes a quarter of the picture's.
        gap: pixels between neighbours, so that no line continues from one into the other; None takes 3/32 of the
            picture's side.
        jitter: each patch moves at random by up to this many pixels in both directions; None takes 1/32 of the side.

    Raises:
        ValueError: if the outer patches would not fit into the picture.

    Source: C. Doersch, A. Gupta, A. A. Efros, Unsupervised Visual Representation Learning by Context Prediction (2015),
    section 3 (there: patches of 96 pixels, gap 48, jitter 7).
    """
    N, _, H, W = images.shape
    short = min(H, W)
    patch = short // 4 if patch is None else patch
    gap = 3 * short // 32 if gap is None else gap
    jitter = short // 32 if jitter is None else jitter
    if patch < 1 or gap < 0 or jitter < 0 or patch + gap + jitter > (short - patch) // 2:
        raise ValueError(
            f"three patches of {patch} with gaps of {gap} and a jitter of {jitter} need "
            f"{3 * patch + 2 * (gap + jitter)} pixels (and patch ≥ 1, gap and jitter ≥ 0); pictures are {H} × {W}"
        )
    which = torch.randint(len(OFFSETS), (N,), generator=generator)
    moved = torch.randint(-jitter, jitter + 1, (N, 2, 2), generator=generator)  # picture, patch, (row, column)
    middle = torch.tensor([(H - patch) // 2, (W - patch) // 2])
    first = middle + moved[:, 0]  # (N, 2)
    second = middle + moved[:, 1] + (patch + gap) * torch.tensor(OFFSETS)[which]
    pair = (cut(images, at[:, 0], at[:, 1], patch) for at in (first, second))
    return *pair, which.to(images.device)


# --- jigsaw -----------------------------------------------------------------------------------------------------------


def permutation_set(count: int, tiles: int = 9, generator: torch.Generator | None = None) -> Int[Tensor, "count tiles"]:
    """Choose permutations of 0 … tiles - 1 that differ from one another in many places (Hamming distance).

    The choice is greedy: next comes the one farthest from the nearest of those already chosen; of equals, the one with
    the largest sum of distances; of these, the first in lexicographic order.

    Args:
        generator: draws the first permutation; None starts with 0 … tiles - 1 in order.

    Raises:
        ValueError: unless 1 ≤ count ≤ tiles! and 1 ≤ tiles ≤ 9.

    Source: M. Noroozi and P. Favaro, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles (2016),
    algorithm 1 (which uses the sum alone).
    """
    if not 1 <= tiles <= 9:
        raise ValueError(f"tiles must be between 1 and 9, because all {tiles}! permutations are compared")
    pool = torch.tensor(list(all_permutations(range(tiles))), dtype=torch.int8)  # (T!, T), in lexicographic order
    if not 1 <= count <= len(pool):
        raise ValueError(f"count must be between 1 and {tiles}! = {len(pool)}, got {count}")
    at = 0 if generator is None else int(torch.randint(len(pool), (), generator=generator))
    nearest = torch.full((len(pool),), tiles, dtype=torch.int64)
    total = torch.zeros(len(pool), dtype=torch.int64)
    chosen = [at]
    while len(chosen) < count:
        distance = (pool != pool[at]).sum(1)  # (T!,)
        nearest, total = nearest.minimum(distance), total + distance
        at = int((nearest * (tiles * count) + total).argmax())  # the sum never outweighs a larger smallest distance
        chosen.append(at)
    return pool[chosen].long()


def cut_tiles(
    images: Images, generator: torch.Generator | None = None, *, grid: int = 3, tile: int | None = None
) -> Float[Tensor, "n tiles c p p"]:
    """Cut pictures into grid × grid cells, row by row, and take a square from a random place inside each cell.

    Args:
        tile: the square's side; None takes four fifths of the cell's, so that neighbours' edges seldom touch. The whole
            cell leaves every edge continuous.

    Raises:
        ValueError: if a tile is larger than its cell.

    Source: Noroozi & Favaro (2016), section 4 (there: cells of 75 pixels, tiles of 64).
    """
    N, C, H, W = images.shape
    cell = min(H, W) // grid
    tile = max(1, cell * 4 // 5) if tile is None else tile
    if not 1 <= tile <= cell:
        raise ValueError(f"tiles must have between 1 and {cell} pixels ({H} × {W} cut {grid} × {grid}), got {tile}")
    T = grid * grid
    moved = torch.randint(cell - tile + 1, (N, T, 2), generator=generator)
    margin = torch.tensor([(H - grid * cell) // 2, (W - grid * cell) // 2])
    cells = torch.cartesian_prod(torch.arange(grid), torch.arange(grid))  # (T, 2), row by row
    corner = (margin + cell * cells + moved).flatten(0, 1)  # (N T, 2)
    pieces = cut(images.repeat_interleave(T, 0), corner[:, 0], corner[:, 1], tile)
    return pieces.view(N, T, C, tile, tile)


def jigsaw(
    images: Images,
    permutations: Int[Tensor, "count tiles"],
    generator: torch.Generator | None = None,
    *,
    tile: int | None = None,
) -> tuple[Float[Tensor, "n tiles c p p"], Int[Tensor, " n"]]:
    """Return each picture's tiles in the order of one of the permutations, and which one: 0 … count - 1.

    If π is that permutation, the tile shown at place i comes from cell π(i).

    Args:
        tile: as in `cut_tiles`.

    Raises:
        ValueError: unless the permutations are of a square number of tiles (4, 9 …).
    """
    grid = int(permutations.shape[1] ** 0.5) if permutations.ndim == 2 else 0
    if grid < 1 or grid * grid != permutations.shape[1]:
        raise ValueError(f"permutations must be (count, T) with T = 4, 9, …, got {tuple(permutations.shape)}")
    which = torch.randint(len(permutations), (len(images),), generator=generator)
    pieces = cut_tiles(images, generator, grid=grid, tile=tile)  # (N, T, C, P, P)
    return shuffle_tiles(pieces, permutations.cpu()[which]), which.to(images.device)


def shuffle_tiles(pieces: Float[Tensor, "n tiles c p p"], order: Int[Tensor, "n tiles"]) -> Float[Tensor, "n t c p p"]:
    """Put piece order[n, i] at place i of picture n."""
    rows = torch.arange(len(pieces), device=pieces.device)[:, None]
    return pieces[rows, order.to(pieces.device)]


# --- shortcuts, and cures ---------------------------------------------------------------------------------------------


def chromatic_aberration(images: Float[Tensor, "n 3 h w"], strength: float = 0.06) -> Float[Tensor, "n 3 h w"]:
    """Look through a cheap lens: red is magnified about the middle by 1 + strength, blue shrunk by as much.

    Edges get coloured seams, and the side on which each colour appears gives away the place in the picture: a shortcut.
    At 32 pixels, a strength of 0.06 moves the outermost pixels by about one.
    """
    N, _, H, W = images.shape
    seen = []
    for channel, zoom in zip(images.split(1, dim=1), (1 / (1 + strength), 1.0, 1 / (1 - strength))):
        matrix = torch.tensor([[zoom, 0.0, 0.0], [0.0, zoom, 0.0]], dtype=images.dtype, device=images.device)
        places = F.affine_grid(matrix.expand(N, 2, 3), [N, 1, H, W], align_corners=False)
        seen.append(F.grid_sample(channel, places, padding_mode="border", align_corners=False))
    return torch.cat(seen, dim=1)


def vignette(images: Images, strength: float = 0.4) -> Images:
    """Darken the corners, as cheap lenses do: by 1 - strength · r², with r = 0 in the middle and 1 in the corners.

    The slope of the brightness in a patch tells in which direction the middle lies: a shortcut.
    """
    H, W = images.shape[2:]
    y, x = (2 * torch.arange(n, device=images.device) + 1 - n for n in (H, W))
    r2 = ((y / H)[:, None] ** 2 + (x / W) ** 2) / 2  # (H, W)
    return images * (1 - strength * r2)


def drop_channels(patches: Float[Tensor, "n 3 h w"], generator: torch.Generator | None = None) -> Tensor:
    """Keep one channel of each patch, drawn at random; the others become noise about its mean, 1/100 as spread.

    A single channel has no seams between channels: the cure for chromatic aberration.

    Source: Doersch et al. (2015), section 3.1, "color dropping".
    """
    N = len(patches)
    keep = torch.randint(3, (N,), generator=generator).to(patches.device)
    noise = torch.randn(patches.shape, generator=generator).to(patches)
    kept = patches[torch.arange(N, device=patches.device), keep][:, None]  # (N, 1, H, W)
    deviation, mean = torch.std_mean(kept, dim=(2, 3), keepdim=True, correction=0)
    stays = F.one_hot(keep, 3)[:, :, None, None].bool()  # (N, 3, 1, 1)
    return torch.where(stays, patches, mean + 0.01 * deviation * noise)


# --- colour -----------------------------------------------------------------------------------------------------------

CB, CR = 2 * (1 - LUMA[2]), 2 * (1 - LUMA[0])  # so that both chroma coordinates reach from -1/2 to 1/2


def split_colour(images: Float[Tensor, "n 3 h w"]) -> tuple[Float[Tensor, "n 1 h w"], Float[Tensor, "n 2 h w"]]:
    """Take pictures apart into grey and colour; `join_colour` puts them together again.

    Returns:
        Grey Y (`images.grey`), in [0, 1]; and chroma (B - Y) / 1.772 and (R - Y) / 1.402, in [-1/2, 1/2], both 0 where
        there is no colour.

    Source: ITU-R BT.601 (Y'CbCr).
    """
    Y = grey(images)
    return Y, torch.cat([(images[:, 2:] - Y) / CB, (images[:, :1] - Y) / CR], dim=1)


def join_colour(grey: Float[Tensor, "n 1 h w"], chroma: Float[Tensor, "n 2 h2 w2"]) -> Float[Tensor, "n 3 h w"]:
    """Put grey and chroma together, clipped to [0, 1].

    Chroma of a smaller size is stretched first; that does little harm, because the eye sees colour coarsely.
    """
    if chroma.shape[2:] != grey.shape[2:]:
        chroma = F.interpolate(chroma, grey.shape[2:], mode="bilinear", align_corners=False)
    blue, red = grey + CB * chroma[:, :1], grey + CR * chroma[:, 1:]
    green = (grey - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return torch.cat([red, green, blue], dim=1).clamp(0, 1)


def colour_bins(spacing: float = 0.1) -> Float[Tensor, "bins 2"]:
    """Return the chroma of all bins: a square grid around 0 with that spacing, without what no screen can show.

    A bin stays if some colour, of whatever brightness, has exactly this chroma.

    Raises:
        ValueError: unless 0 < spacing ≤ 1/2.
    """
    if not 0 < spacing <= 0.5:
        raise ValueError(f"spacing must be in (0, 0.5], got {spacing}")
    steps = int(0.5 / spacing + 1e-6)
    axis = torch.arange(-steps, steps + 1) * spacing
    grid = torch.cartesian_prod(axis, axis)  # (…, 2)
    colour = torch.stack([CR * grid[:, 1], torch.zeros(len(grid)), CB * grid[:, 0]])  # red, green, blue less Y
    colour[1] = -(LUMA[0] * colour[0] + LUMA[2] * colour[2]) / LUMA[1]
    return grid[colour.amax(0) - colour.amin(0) <= 1 + 1e-6]  # then Y can be chosen so that all are in [0, 1]


def colour_targets(chroma: Float[Tensor, "n 2 h w"], bins: Float[Tensor, "bins 2"]) -> Int[Tensor, "n h w"]:
    """Return the number of the nearest bin for each pixel (the first of equals).

    Raises:
        ValueError: if a pixel is NaN or infinite.
    """
    check_finite(chroma, "the chroma", "the pictures have a pixel that is not a number")
    pixels = chroma.permute(0, 2, 3, 1)  # (N, H, W, 2)
    bins = bins.to(chroma)
    distance = (bins**2).sum(1) - 2 * pixels @ bins.T  # the same for all bins is left out: (N, H, W, Q)
    return distance.argmin(3)


def rebalanced_weights(targets: Int[Tensor, "*places"], bins: int, mix: float = 0.5) -> Float[Tensor, " bins"]:
    """Return the weight of each bin in the loss: rare colours count more. The mean weight of a pixel is 1.

    w_q ∝ 1 / ((1 - mix) p_q + mix / Q), where p_q is the share of the targets that are q.

    Args:
        mix: 1 weights all bins alike; 0 gives each colour that occurs the same total weight (and one that never occurs
            the weight 0).

    Raises:
        ValueError: if there are no targets, or `mix` lies outside [0, 1].

    Source: R. Zhang, P. Isola, A. A. Efros, Colorful Image Colorization (2016), equation 4 (there with p smoothed).
    """
    if targets.numel() == 0 or not 0 <= mix <= 1:
        raise ValueError(f"there must be targets, and mix must be in [0, 1]; got {targets.numel()} targets, mix {mix}")
    share = torch.bincount(targets.flatten(), minlength=bins) / targets.numel()  # (Q,)
    mixed = (1 - mix) * share + mix / bins
    weight = torch.where(mixed > 0, 1 / mixed.clamp(min=1e-12), 0)
    return weight / (share * weight).sum()


def annealed_mean(
    logits: Float[Tensor, "n bins h w"], bins: Float[Tensor, "bins 2"], temperature: float = 0.38
) -> Float[Tensor, "n 2 h w"]:
    """Return one chroma for each pixel: the mean of the distribution over the bins after sharpening it.

    Args:
        temperature: 1 gives the plain mean, greyish where several colours are likely; towards 0 it becomes the most
            likely bin, which looks spotty.

    Raises:
        ValueError: if the temperature is not positive.

    Source: Zhang et al. (2016), equation 5.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    return torch.einsum("nqhw,qc->nchw", (logits / temperature).softmax(1), bins.to(logits))


# --- models -----------------------------------------------------------------------------------------------------------


def classifier(inputs: int, hidden: int, classes: int, generator: torch.Generator | None) -> nn.Sequential:
    """Two layers; the last one starts near zero, so that all answers are about equally likely at first."""
    head = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))
    initialise(head, generator)
    with torch.no_grad():
        head[-1].weight.mul_(0.1)
    return head


class PatchModel(nn.Module):
    """Where does the second patch lie? One encoder for both patches, then a small network that reads both vectors.

    Source: Doersch et al. (2015), figure 3.
    """

    def __init__(self, config: ConvNetConfig | None = None, generator: torch.Generator | None = None):
        super().__init__()
        self.encoder = ConvNet(config, generator)
        D = self.encoder.config.dim
        self.head = classifier(2 * D, D, len(OFFSETS), generator)

    def forward(self, first: Float[Tensor, "n c p p"], second: Float[Tensor, "n c p p"]) -> Float[Tensor, "n 8"]:
        """Return the logits of the eight places."""
        h = self.encoder(torch.cat([first, second]))  # (2 N, D)
        return self.head(torch.cat(h.chunk(2), dim=1))


class JigsawModel(nn.Module):
    """Which permutation? One encoder for all tiles; the head reads all vectors in the order of their places.

    Source: Noroozi & Favaro (2016), figure 3: a context-free network.
    """

    def __init__(
        self,
        permutations: int,
        tiles: int = 9,
        config: ConvNetConfig | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.encoder = ConvNet(config, generator)
        D = self.encoder.config.dim
        self.head = classifier(tiles * D, 2 * D, permutations, generator)

    def forward(self, tiles: Float[Tensor, "n tiles c p p"]) -> Float[Tensor, "n permutations"]:
        """Return the logits of the permutations."""
        h = self.encoder(tiles.flatten(0, 1))  # (N T, D)
        return self.head(h.view(len(tiles), -1))


class Colourizer(nn.Module):
    """Which colour? The encoder without its last mean, and layers back up to half the picture's side.

    The encoder reads three equal channels, so it can be asked for the features of colour pictures too.

    Args:
        outputs: 2 for chroma itself (regression), or the number of bins (classification).
    """

    def __init__(self, outputs: int = 2, config: ConvNetConfig | None = None, generator: torch.Generator | None = None):
        super().__init__()
        self.encoder = ConvNet(config, generator)
        W = self.encoder.config.width
        self.head = nn.Sequential(
            nn.Upsample(scale_factor=2), layer(4 * W, 2 * W),  # (N, 4 W, H/8, W/8) -> (N, 2 W, H/4, W/4)
            nn.Upsample(scale_factor=2), layer(2 * W, W),  # -> (N, W, H/2, W/2)
            nn.Conv2d(W, outputs, 1),
        )  # fmt: skip
        initialise(self.head, generator)
        with torch.no_grad():
            self.head[-1].weight.mul_(0.1)

    def forward(self, grey: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n outputs h2 w2"]:
        """Return chroma, or the logits of the bins, at half the picture's side.

        Raises:
            ValueError: unless the pictures are grey, with sides that are multiples of 8.
        """
        if grey.ndim != 4 or grey.shape[1] != 1 or grey.shape[2] % 8 or grey.shape[3] % 8:
            raise ValueError(
                f"grey pictures must be (N, 1, H, W) with sides in multiples of 8, got {tuple(grey.shape)}"
            )
        return self.head(self.encoder.layers(grey.expand(-1, self.encoder.config.channels, -1, -1)))

    def chroma(
        self, grey: Float[Tensor, "n 1 h w"], bins: Tensor | None = None, temperature: float = 0.38
    ) -> Float[Tensor, "n 2 h w"]:
        """Return the chroma at full size: the regression's own or, given bins, the annealed mean of its classes."""
        found = self(grey)
        found = found if bins is None else annealed_mean(found, bins, temperature)
        return F.interpolate(found, grey.shape[2:], mode="bilinear", align_corners=False)


def half(chroma: Float[Tensor, "n 2 h w"]) -> Float[Tensor, "n 2 h2 w2"]:
    """Return the mean chroma of every 2 × 2 pixels: the size that a `Colourizer` predicts."""
    return F.avg_pool2d(chroma, 2)
