"""Features of pictures that somebody makes by hand, without learning: what a trained encoder must be better than.

Each function takes (M, 3, S, S) uint8 pictures, and gives (M, D) numbers.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor


def grey_pixels(new: Tensor) -> Tensor:
    """8 × 8 grey squares."""
    return F.adaptive_avg_pool2d(new.float().mean(1), 8).flatten(1)


def stands_out(new: Tensor) -> Tensor:
    """How much each of 8 × 8 squares stands out from what is around it."""
    x = F.pad(new / 255, (3, 3, 3, 3), mode="replicate")
    return F.adaptive_avg_pool2d((new / 255 - F.avg_pool2d(x, 7, 1)).abs().amax(1), 8).flatten(1)


def off_the_border(new: Tensor, apart: float = 0.12) -> Tensor:
    """(M, S, S) the largest connected part of a picture that has none of the colours at its border."""
    x = new / 255
    border = torch.cat([x[:, :, 0], x[:, :, -1], x[:, :, :, 0], x[:, :, :, -1]], dim=2)  # (M, 3, 96)
    parts = []
    for picture, colours in zip(x, border):
        distance = (picture[..., None] - colours[:, None, None]).abs().amax(0).amin(-1)  # (S, S)
        numbers, _ = ndimage.label((distance > apart).numpy())
        sizes = np.bincount(numbers.ravel(), minlength=2)[1:]
        parts.append(torch.from_numpy(numbers == 1 + sizes.argmax()))
    return torch.stack(parts)


def cut_out(new: Tensor) -> Tensor:
    """What differs from the border, cut out and brought to one size."""
    shapes = []
    for mask in off_the_border(new).float():
        places = mask.nonzero()
        (top, left), (below, right) = (places.amin(0), places.amax(0) + 1) if len(places) else ((0, 0), (24, 24))
        shapes.append(F.adaptive_avg_pool2d(mask[None, None, top:below, left:right], 8).flatten())
    return torch.stack(shapes)


def moments(new: Tensor) -> Tensor:
    """The shape of what differs from the border, in moments that know neither place nor size."""
    mask = off_the_border(new).double()
    rows, columns = torch.meshgrid(*[torch.arange(24.0, dtype=torch.double)] * 2, indexing="ij")
    area = mask.sum((1, 2)).clamp(min=1)
    down, across = (
        (z - (mask * z).sum((1, 2), keepdim=True) / area[:, None, None]) / area.sqrt()[:, None, None]
        for z in (rows, columns)
    )
    powers = [(i, j) for i in range(6) for j in range(6 - i) if i + j > 1]
    found = [(mask * across**i * down**j).sum((1, 2)) / area for i, j in powers]
    return F.pad(torch.stack([area.log(), *found], 1).float(), (0, 63 - len(powers)))


def gradients(new: Tensor) -> tuple[Tensor, Tensor]:
    """(M, S, S) how steep the steepest colour is at each place, and in which direction."""
    x = F.pad(new / 255, (1, 1, 1, 1), mode="replicate")
    across, down = x[:, :, 1:-1, 2:] - x[:, :, 1:-1, :-2], x[:, :, 2:, 1:-1] - x[:, :, :-2, 1:-1]
    size, channel = (across**2 + down**2).max(1, keepdim=True)
    return size[:, 0].sqrt(), torch.atan2(down.gather(1, channel), across.gather(1, channel))[:, 0]


def oriented(new: Tensor, cells: int, bins: int) -> Tensor:
    """Histograms of the directions of edges, in cells × cells squares (HOG)."""
    size, angle = gradients(new)
    which = ((angle / math.tau % 1) * bins).long().clamp(max=bins - 1)
    spread = F.one_hot(which, bins).movedim(-1, 1) * size[:, None]
    return F.normalize(F.adaptive_avg_pool2d(spread, cells).flatten(1), dim=1)


def spectrum(new: Tensor) -> Tensor:
    """How strong each frequency is, wherever its waves lie."""
    strength = torch.fft.fftshift(torch.fft.fft2(new / 255).abs(), dim=(2, 3))
    return strength[:, :, 12:, 2:22].log1p().flatten(1)


def autocorrelation(new: Tensor) -> Tensor:
    """At which distances edges lie from each other, wherever they are."""
    power = torch.fft.fft2(gradients(new)[0], s=(48, 48)).abs() ** 2
    found = torch.fft.fftshift(torch.fft.ifft2(power).real, dim=(1, 2))[:, 24:32, 20:28].flatten(1)
    return found / found[:, 4:5].clamp(min=1e-6)


def colours(new: Tensor) -> Tensor:
    """Which of 64 colours occur how often."""
    red, green, blue = (new.long() // 64).flatten(2).unbind(1)
    return F.one_hot(16 * red + 4 * green + blue, 64).float().mean(1)


def painted(new: Tensor) -> Tensor:
    """The colour of what differs from the border: how red, green and blue it is, and how bright that is."""
    mask = off_the_border(new)[:, None]
    mean = (mask * new / 255).sum((2, 3)) / mask.sum((2, 3)).clamp(min=1)
    return torch.cat([mean, F.normalize(mean, dim=1)], dim=1)


def random_convolutions(new: Tensor, width: int = 400) -> Tensor:
    """The largest answer of each of many random filters."""
    filters = torch.randn(width, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    filters = F.normalize((filters - filters.mean((1, 2, 3), keepdim=True)).flatten(1), dim=1).view_as(filters)
    return torch.cat([F.conv2d(part / 255, filters).amax((2, 3)) for part in new.split(200)])


def all_by_hand(new: Tensor) -> Tensor:
    """All that is made by hand, side by side."""
    parts = cut_out(new), moments(new), oriented(new, 2, 16), oriented(new, 4, 8), spectrum(new), autocorrelation(new)
    return torch.cat(parts, dim=1)


def colours_and_shapes(new: Tensor) -> Tensor:
    """All that is made by hand, colours too."""
    return torch.cat([f(new) for f in (colours, painted, all_by_hand)], 1)
