"""The recipes of the models of pictures, which learn from postcards: new ones in every step, none of them twice."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import permutations, product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import pretrained, runtime
from course_utils.data import postcards
from course_utils.learn import augment, evaluate, losses, pretext
from course_utils.models.autoencoder import DeepAutoencoder, VariationalAutoencoder, corrupt, start_as_pca
from course_utils.models.clip import CLIP, CLIPConfig, WordTokenizer
from course_utils.models.convnet import ConvNet, ConvNetConfig, OnTiles, projection_head
from course_utils.models.encoders import FACTORS
from course_utils.recipes.job import Job, Recipe

WIDTH = 32  # of the ConvNets: 128 features
PAIRS = "nats per picture: the right one among the batch's"
CODE = 64  # numbers of an autoencoder's code
VAE_SIGMA = 0.1  # of each number of a picture, given the code
TILE = 8  # pixels a side, of patches and of the jigsaw's tiles

COLOURS = tuple(postcards.COLOURS)

Batch = tuple[Tensor, ...]


# --- what was kept ----------------------------------------------------------------------------------------------------


def probes(encoder: nn.Module, cards: int = 3000) -> dict[str, float]:
    """Return what linear probes of frozen features find: accuracies, and R² for size, x and y.

    The cards are ones that no recipe learns from: two thirds train the probes, and a third judges them.
    """
    drawn = postcards.draw(cards, runtime.seed(3))
    features = {"encoder": evaluate.features(encoder, drawn.images)}
    card = evaluate.report_card(features, {name: drawn.factors[name] for name in FACTORS}, share=2 / 3, l2=1e-3)
    return {name: round(card["encoder", name][0], 4) for name in FACTORS}


def quick_probes(model: nn.Module) -> dict[str, float]:
    """Return `probes` on half as many cards, for the learning curve."""
    return probes(pretrained.encoder_of(model), 1500)


def stored_probes(folder: Path) -> dict[str, Any]:
    """Return the probes of a stored checkpoint, as it will be loaded."""
    return {"probes": probes(pretrained.load_encoder(folder, device=runtime.device()))}


# --- the jobs ---------------------------------------------------------------------------------------------------------


def images_alone(n: int, generator: torch.Generator) -> Batch:
    """Draw n cards, and return the pictures."""
    return (postcards.render(postcards.sample(n, generator), 32)[0],)


def images_and_kinds(n: int, generator: torch.Generator) -> Batch:
    """Draw n cards, and return the pictures and the kinds of objects."""
    factors = postcards.sample(n, generator)
    return postcards.render(factors, 32)[0], factors["object"]


def picture_job(
    model: nn.Module,
    prepare: Callable[..., Batch],
    loss: Callable[..., Tensor],
    draw: Callable[[int, torch.Generator], Batch] = images_alone,
    *,
    judged: Callable[[int, torch.Generator], Batch] | None = None,
    size: int = 256,
    lr: float = 3e-3,
    unit: str,
    kept: Callable[[nn.Module], nn.Module] = lambda model: model.encoder,
) -> Job:
    """A pretext task on postcards.

    Args:
        draw: called as draw(n, generator); returns what is known about n new cards, one row for each.
        prepare: called as prepare(*rows, generator); makes the task from some of them, including everything random.
        loss: called as loss(model, *what prepare returned).
        judged: draws the cards for the held-out loss, if they are of another kind.
    """
    held_back = prepare(*(judged or draw)(2 * size, runtime.seed(1)), runtime.seed(2))

    def held_out(model: nn.Module) -> float:
        device = next(model.parameters()).device
        parts = [[part[i : i + size].to(device) for part in held_back] for i in (0, size)]
        return sum(float(loss(model, *rows)) for rows in parts) / 2

    return Job(
        model,
        None,
        lambda generator: prepare(*draw(size, generator), generator),
        loss,
        held_out,
        lr,
        f"postcards.sample({size}, generator) anew in each step, 32 × 32, no combination of postcards.HELD_OUT",
        unit=unit,
        kept=kept,
        note=lambda model: quick_probes(kept(model)),
        measure=stored_probes,
        bf16=fast_convolutions(),
    )


def fast_convolutions() -> bool | None:
    """Whether to compute in bfloat16: convolutions are twice as fast with AVX-512's instructions for it."""
    return True if runtime.device().type == "cpu" and torch.cpu._is_avx512_bf16_supported() else None


def in_full(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compute a loss of vectors in float32, whatever the network was computed in, because cosines need the digits."""

    def computed(*vectors: Tensor, **settings: Any) -> Tensor:
        with torch.autocast(vectors[0].device.type, enabled=False):
            return loss(*(v.float() if v.is_floating_point() else v for v in vectors), **settings)

    return computed


def autoencoder_job(sigma: float = 0.0, variational: bool = False) -> Job:
    """Reconstruction through 64 numbers: of the picture, of the picture without its noise, or from one draw of a VAE.

    It starts as PCA, and the convolutions learn what PCA cannot do.
    """
    made = VariationalAutoencoder if variational else DeepAutoencoder
    model = made(CODE, ConvNetConfig(WIDTH), runtime.seed(0), linear=True)
    start_as_pca(model, *images_alone(4000, runtime.seed(0)))

    def prepare(images: Tensor, generator: torch.Generator) -> Batch:
        seen = corrupted(images, sigma, generator) if sigma else images
        return seen, images, torch.randn(len(images), CODE, generator=generator)

    def loss(model: nn.Module, seen: Tensor, images: Tensor, noise: Tensor) -> Tensor:
        if not variational:
            return (model(seen).float().sigmoid() - images).pow(2).flatten(1).sum(1).mean()
        mean, log_variance = model.distribution(seen)
        decoded = model.decode(mean + (log_variance / 2).exp() * noise).float().sigmoid()
        return in_full(losses.elbo_loss)(images, decoded, mean, log_variance, likelihood="gaussian", sigma=VAE_SIGMA)

    unit = "nats per picture, a density" if variational else "squared error per picture"
    return picture_job(model, prepare, loss, size=128, lr=2e-3, unit=unit, kept=lambda model: model)


def corrupted(images: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Leave half of the pictures as they are, and give each of the others its own amount of noise, up to `sigma`.

    A denoiser that has never seen a clean picture takes the finest details of one for noise.
    """
    level = (2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1).clamp(min=0)
    return images + level * (corrupt(images, sigma, generator) - images)


def grey_cards(n: int, generator: torch.Generator) -> Batch:
    """Draw n cards, and return the pictures without their colours, still in three channels."""
    grey, _ = pretext.split_colour(*images_alone(n, generator))
    return (grey.expand(-1, 3, -1, -1).contiguous(),)


def reading_grey(encoder: ConvNet) -> ConvNet:
    """Return a copy that sees a colour picture as `encoder` sees the same picture in grey.

    An encoder that has learned from grey pictures knows nothing about colours: its first layer's response to them is
    left over from the random start, and is noise to the layers after it.
    """
    copied = copy.deepcopy(encoder)
    weight = copied.layers[0][0].weight  # (W, 3, 3, 3)
    with torch.no_grad():
        weight.copy_(weight.sum(1, keepdim=True) * weight.new_tensor(pretext.LUMA)[:, None, None])
    return copied


def lit_alone(pieces: Tensor, generator: torch.Generator) -> Tensor:
    """Give each piece (n, 3, P, P) its own brightness and contrast, so that neither tells any longer where it was."""
    return augment.ColourJitter(0.4, 0.4, 0, 0)(pieces, generator)


def patch_job() -> Job:
    """Where does the second patch lie?"""

    def prepare(images: Tensor, generator: torch.Generator) -> Batch:
        first, second, which = pretext.patch_pairs(images, generator, patch=TILE)
        return lit_alone(first, generator), lit_alone(second, generator), which

    return picture_job(
        pretext.PatchModel(ConvNetConfig(WIDTH), runtime.seed(0)),
        prepare,
        lambda model, first, second, which: F.cross_entropy(model(first, second), which),
        grey_cards,
        unit="nats per pair of patches",
        kept=lambda model: OnTiles(reading_grey(model.encoder), TILE),
    )


def jigsaw_job() -> Job:
    """In which order are the three tiles of each row?

    Rows stay where they are: the ground below and the sky above give them away, and a puzzle that can be solved by
    those alone teaches nothing about the object.
    """
    row = list(permutations(range(3)))  # 6 orders of three tiles, each row its own
    orders = torch.tensor([[*a, *(3 + i for i in b), *(6 + i for i in c)] for a, b, c in product(row, row, row)])

    def prepare(images: Tensor, generator: torch.Generator) -> Batch:
        tiles, which = pretext.jigsaw(images, orders, generator, tile=TILE)
        return lit_alone(tiles.flatten(0, 1), generator).view_as(tiles), which

    return picture_job(
        pretext.JigsawModel(len(orders), 9, ConvNetConfig(WIDTH), runtime.seed(0)),
        prepare,
        lambda model, tiles, which: F.cross_entropy(model(tiles), which),
        grey_cards,
        unit="nats per puzzle",
        kept=lambda model: OnTiles(reading_grey(model.encoder), TILE),
    )


def colour_job() -> Job:
    """Which colour has each place of the grey picture? A classification in which rare colours count more."""
    bins = pretext.colour_bins()

    def prepare(images: Tensor, generator: torch.Generator) -> Batch:
        grey, chroma = pretext.split_colour(images)
        return grey, pretext.colour_targets(pretext.half(chroma), bins)

    _, seen = prepare(*images_alone(1000, runtime.seed(0)), runtime.seed(0))
    weight = pretext.rebalanced_weights(seen, len(bins))
    return picture_job(
        pretext.Colourizer(len(bins), ConvNetConfig(WIDTH), runtime.seed(0)),
        prepare,
        lambda model, grey, targets: F.cross_entropy(model(grey), targets, weight.to(grey.device)),
        size=128,
        unit="nats per place, rare colours weighted",
        kept=lambda model: reading_grey(model.encoder),
    )


class Headed(nn.Module):
    """An encoder and the projection head that is thrown away."""

    def __init__(self):
        super().__init__()
        g = runtime.seed(0)
        self.encoder = ConvNet(ConvNetConfig(WIDTH), g)
        self.head = projection_head(self.encoder.config.dim, 64, g)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.encoder(images))


def views() -> augment.Compose:
    """Return SimCLR's augmentation for postcards: crops that still show most of a card, and every hue."""
    jitter = augment.ColourJitter(0.4, 0.4, 0.4, 0.5, p=0.8)
    return augment.Compose(augment.CropResize((0.4, 1.0), flip=0.5), jitter, augment.ColourDrop(p=0.2))


def simclr_job() -> Job:
    """Two views of the same picture must find each other."""
    return picture_job(
        Headed(),
        lambda images, generator: augment.two_views(images, views(), generator),
        lambda model, *two: in_full(losses.nt_xent)(*model(torch.cat(two)).chunk(2), temperature=0.2),
        unit=PAIRS,
    )


def supcon_job() -> Job:
    """All pictures of the same kind of object must find each other, each in one view of its own."""
    return picture_job(
        Headed(),
        lambda images, kinds, generator: (views()(images, generator), kinds),
        lambda model, images, kinds: in_full(losses.sup_con)(model(images), kinds, temperature=0.1),
        images_and_kinds,
        unit="nats per picture: each other one of its kind among the batch's",
    )


THING_ALONE = (
    "the {object}",
    "a picture of the {object}",
    "a postcard with the {object} on it",
    "here you see the {object}",
)


def clip_job() -> Job:
    """Pictures and captions must find each other; one word in fifty is made unknown, as a stranger's word may be.

    A third of the batches have captions of the whole scene, a third short ones of object and colour. In the last third
    the pictures are grey and the captions name the object alone, so that the look of a thing is learned apart from the
    colours in which it was seen, and can be combined with others.
    """

    def fill(forms: Sequence[str], factors: postcards.Factors, generator: torch.Generator) -> list[str]:
        which = torch.randint(len(forms), (len(factors["object"]),), generator=generator).tolist()
        things = zip(which, factors["object"].tolist(), factors["colour"].tolist())
        return [forms[i].format(object=postcards.OBJECTS[o], colour=COLOURS[c]) for i, o, c in things]

    def scenes(n: int, generator: torch.Generator) -> tuple[Tensor, list[str]]:
        factors = postcards.sample(n, generator)
        return postcards.render(factors, 32)[0], postcards.describe(factors)

    def mixed(n: int, generator: torch.Generator) -> tuple[Tensor, list[str]]:
        kind = int(torch.randint(3, (), generator=generator))
        if kind == 0:
            return scenes(n, generator)
        factors = postcards.sample(n, generator)
        images, _ = postcards.render(factors, 32)
        if kind == 1:
            return images, fill(postcards.TEMPLATES[:6], factors, generator)
        return augment.colour_drop(images), fill(THING_ALONE, factors, generator)

    cards = postcards.sample(4000, runtime.seed(0))
    forms = (postcards.describe(cards), fill(postcards.TEMPLATES, cards, runtime.seed(0)), THING_ALONE)
    tokenizer = WordTokenizer.fit(form.format(object="car") for texts in forms for form in texts)
    model = CLIP(CLIPConfig(len(tokenizer), image_width=WIDTH), runtime.seed(0))
    model.tokenizer = tokenizer

    def coded(draw: Callable[..., tuple[Tensor, list[str]]]) -> Callable[[int, torch.Generator], Batch]:
        def drawn(n: int, generator: torch.Generator) -> Batch:
            images, captions = draw(n, generator)
            return images, tokenizer.encode_batch(captions, model.config.context)[0]

        return drawn

    def prepare(images: Tensor, codes: Tensor, generator: torch.Generator) -> Batch:
        forgotten = (torch.rand(codes.shape, generator=generator) < 0.02) & (codes != tokenizer.pad)
        return images, codes.masked_fill(forgotten, tokenizer.unknown)

    return picture_job(
        model,
        prepare,
        lambda model, images, codes: in_full(losses.clip_loss)(*model(images, codes)),
        coded(mixed),
        judged=coded(scenes),
        unit=PAIRS,
        kept=lambda model: model,
    )


RECIPES = {
    "ae": Recipe(autoencoder_job, steps=700, hours=0.05),
    "dae": Recipe(lambda: autoencoder_job(sigma=0.3), steps=1500, hours=0.1),
    "vae": Recipe(lambda: autoencoder_job(variational=True), steps=700, hours=0.05),
    "patch": Recipe(patch_job, steps=1200, hours=0.05, version=2),
    "jigsaw": Recipe(jigsaw_job, steps=700, hours=0.06, version=2),
    "colour": Recipe(colour_job, steps=600, hours=0.04),
    "simclr": Recipe(simclr_job, steps=3000, hours=0.35),
    "supcon": Recipe(supcon_job, steps=1400, hours=0.1),
    "clip": Recipe(clip_job, steps=2400, hours=0.22),
}
