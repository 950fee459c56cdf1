"""Augmentations of whole batches: every picture gets random parameters of its own, in a few tensor operations.

    views = augment.simclr()(images, generator)                  # (N, 3, H, W), floats in [0, 1], on any device
    a, b = augment.two_views(images, augment.simclr(), generator)

Each comes in two parts: a plain function that applies given parameters (`crop_resize(images, top, left, …)`), and a
class that draws them (`CropResize().draw(images, generator)`). So what happened to a picture can be inspected,
repeated, and compared with torchvision's function of the same name.

Source: T. Chen et al., A Simple Framework for Contrastive Learning of Visual Representations (2020), figure 4 (the ten
augmentations: `gallery`) and appendix A (their parameters: `simclr`).
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from course_utils.data.images import LUMA, grey

Images = Float[Tensor, "n 3 height width"]
Numbers = Float[Tensor, " n"]
Parameters = dict[str, Tensor]  # each (n, …), on the pictures' device


# --- with given parameters --------------------------------------------------------------------------------------------


def per_picture(numbers: Numbers) -> Float[Tensor, "n 1 1 1"]:
    """(n,) -> (n, 1, 1, 1): one number for all of a picture."""
    return numbers[:, None, None, None]


def crop_resize(
    images: Images,
    top: Numbers,
    left: Numbers,
    height: Numbers,
    width: Numbers,
    flip: Float[Tensor, " n"] | None = None,
    size: int | None = None,
) -> Images:
    """Cut a box out of each picture and stretch it; mirror the picture where `flip` is 1.

    Bilinear; the numbers agree with torchvision's `resized_crop` and `horizontal_flip`.

    Args:
        top, left, height, width: the box, in pixels.
        size: the side of the result in pixels; None keeps the picture's size.
    """
    N, _, H, W = images.shape
    h, w = (H, W) if size is None else (size, size)

    def places(start: Tensor, length: Tensor, n: int) -> Float[Tensor, "n pixels"]:
        """Where each new pixel's centre comes from, in old pixels; never beyond the box."""
        steps = torch.arange(n, device=images.device) + 0.5
        inside = (steps * length[:, None] / n - 0.5).clamp(min=0).minimum(length[:, None] - 1)
        return start[:, None] + inside

    y, x = places(top, height, h), places(left, width, w)  # (N, h), (N, w)
    if flip is not None:
        x = torch.where(flip[:, None] > 0, x.flip(1), x)
    grid = torch.stack(  # grid_sample counts from -1 (left edge) to 1 (right edge)
        [((2 * x + 1) / W - 1)[:, None, :].expand(N, h, w), ((2 * y + 1) / H - 1)[:, :, None].expand(N, h, w)], dim=-1
    )
    return F.grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=False)


def rotate(images: Images, angle: Numbers) -> Images:
    """Turn each picture about its centre by `angle` degrees, counter-clockwise, bilinearly; what lies outside is black.

    The numbers agree with torchvision's `rotate`.
    """
    N, _, H, W = images.shape
    cos, sin = torch.cos(angle * math.pi / 180), torch.sin(angle * math.pi / 180)
    matrix = torch.stack([cos, -sin * H / W, 0 * cos, sin * W / H, cos, 0 * cos], dim=1).view(N, 2, 3)
    grid = F.affine_grid(matrix.to(images.dtype), [N, 3, H, W], align_corners=False)  # (N, H, W, 2)
    return F.grid_sample(images, grid, align_corners=False)


def colour_drop(images: Images) -> Images:
    """Make each picture grey, still in three channels. torchvision: `rgb_to_grayscale`."""
    return grey(images).repeat(1, 3, 1, 1)


def adjust_brightness(images: Images, factor: Numbers) -> Images:
    """Multiply by the factor: 0 is black. torchvision: `adjust_brightness`."""
    return (images * per_picture(factor)).clamp_(0, 1)


def adjust_contrast(images: Images, factor: Numbers) -> Images:
    """Move away from the picture's mean grey: 0 is that grey all over. torchvision: `adjust_contrast`."""
    mean = (images.mean((2, 3)) @ images.new_tensor(LUMA))[:, None, None, None]
    return torch.lerp(mean, images, per_picture(factor)).clamp_(0, 1)


def adjust_saturation(images: Images, factor: Numbers) -> Images:
    """Move away from each pixel's own grey: 0 is a grey picture. torchvision: `adjust_saturation`."""
    factor = per_picture(factor)
    return (images * factor).add_(grey(images).mul_(1 - factor)).clamp_(0, 1)


def adjust_hue(images: Images, shift: Numbers) -> Images:
    """Turn the colour wheel by a fraction of a full turn: 1/3 turns red into green. torchvision: `adjust_hue`."""
    r, g, b = images.split(1, dim=1)  # each (N, 1, H, W)
    value = r.maximum(g).maximum(b)
    chroma = value - r.minimum(g).minimum(b)
    is_r, is_g = torch.empty_like(value), torch.empty_like(value)  # 0 or 1: products are faster than `torch.where`
    torch.eq(value, r, out=is_r)
    torch.eq(value, g, out=is_g).mul_(1 - is_r)
    is_b = (1 - is_r).sub_(is_g)
    hue = (g - b).mul_(is_r).addcmul_(is_g, (b - r).add_(chroma, alpha=2))
    hue.addcmul_(is_b, (r - g).add_(chroma, alpha=4)).div_((6 * chroma).clamp_(min=1e-12)).add_(per_picture(shift))
    hue.sub_(hue.floor()).mul_(6)  # sixths of a turn: red at 0 (and 6), green at 2, blue at 4
    changed = torch.empty_like(images)
    torch.sub(2, (hue - 3).abs_(), out=changed[:, 0:1])  # how far from its own colour each channel is, less 1
    torch.sub((hue - 2).abs_(), 1, out=changed[:, 1:2])
    torch.sub((hue - 4).abs_(), 1, out=changed[:, 2:3])
    return changed.clamp_(0, 1).mul_(chroma).neg_().add_(value)


ADJUST = [adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue]


def colour_jitter(
    images: Images,
    brightness: Numbers,
    contrast: Numbers,
    saturation: Numbers,
    hue: Numbers,
    order: Int[Tensor, "n 4"] | None = None,
) -> Images:
    """Change brightness, contrast, saturation (factors; 1 changes nothing) and hue (part of a turn; 0 changes nothing).

    Args:
        order: the order of the changes, for each picture: 0 brightness, 1 contrast, 2 saturation, 3 hue. None takes
            this order for all.
    """
    factors = [brightness, contrast, saturation, hue]
    if order is None:
        for adjust, factor in zip(ADJUST, factors):
            images = adjust(images, factor)
        return images
    images = images.clone()
    factor = torch.stack([*factors[:3], torch.ones_like(hue)])
    for turn in order.unbind(1):  # the first three move away from black or a grey: all pictures get them at once
        mean, own = ((per_picture(turn) == i).to(images.dtype) for i in (1, 2))
        light = grey(images)
        start = (light.mean((2, 3), keepdim=True) * mean).add(light.mul_(own))
        change = per_picture(factor.gather(0, turn[None])[0])
        images.mul_(change).addcmul_(start, 1 - change).clamp_(0, 1)
        rows = (turn == 3).nonzero()[:, 0]
        images.index_copy_(0, rows, adjust_hue(images.index_select(0, rows), hue[rows]))
    return images


def cutout(images: Images, top: Numbers, left: Numbers, height: Numbers, width: Numbers, value: float = 0.0) -> Images:
    """Paint over a box (in pixels) of each picture with `value`. torchvision: `erase`."""
    H, W = images.shape[2:]
    y, x = torch.arange(H, device=images.device), torch.arange(W, device=images.device)
    rows = (y >= top[:, None]) & (y < (top + height)[:, None])  # (N, H)
    columns = (x >= left[:, None]) & (x < (left + width)[:, None])  # (N, W)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], value)


def gaussian_noise(images: Images, sigma: Numbers, noise: Images) -> Images:
    """Add sigma · noise, and clip to [0, 1]. torchvision: `gaussian_noise`."""
    return (images + per_picture(sigma) * noise).clamp(0, 1)


def gaussian_blur(images: Images, sigma: Numbers, size: int = 3) -> Images:
    """Blur each picture with a Gaussian of its own width (in pixels), cut to size × size. torchvision: `gaussian_blur`.

    Raises:
        ValueError: if `size` is even, or does not fit into the picture.
    """
    reach = size // 2
    if size % 2 == 0 or not 0 <= reach < min(images.shape[2:]):
        raise ValueError(f"size must be odd and at most twice the picture's side, got {size} for {images.shape[2:]}")
    x = torch.arange(-reach, reach + 1, device=images.device)
    weight = (-(x**2) / (2 * sigma[:, None] ** 2)).softmax(1).to(images.dtype)  # (N, size)
    for axis in (2, 3):  # a Gaussian is a product: first down, then across
        padding = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        padded, n = F.pad(images, padding, mode="reflect"), images.shape[axis]
        images = padded.narrow(axis, 0, n) * per_picture(weight[:, 0])
        for i in range(1, size):
            images.addcmul_(padded.narrow(axis, i, n), per_picture(weight[:, i]))
    return images


def sobel(images: Images) -> Images:
    """Return how fast each channel changes: the length of its gradient by Sobel's masks, / 4, clipped to [0, 1]."""
    bell, edge = images.new_tensor([1.0, 2.0, 1.0]), images.new_tensor([-1.0, 0.0, 1.0])
    masks = torch.stack([bell[:, None] * edge, edge[:, None] * bell])[:, None]  # (2, 1, 3, 3): across, down
    channels = F.pad(images, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]  # (N · 3, 1, H + 2, W + 2)
    return (F.conv2d(channels, masks).norm(dim=1) / 4).clamp(max=1).view_as(images)


# --- drawing parameters -----------------------------------------------------------------------------------------------


class Augmentation:
    """Draws parameters for each picture, and changes a share `p` of the pictures.

    augmentation(images, generator) = augmentation.apply(images, augmentation.draw(images, generator)).
    A generator on the CPU draws the same numbers for every device; None uses torch's global generator.
    """

    def __init__(self, p: float = 1.0):
        if not 0 <= p <= 1:
            raise ValueError(f"p must be the share of the pictures to change, 0 ≤ p ≤ 1, got {p}")
        self.p = p

    def parameters(self, n: int, height: int, width: int, generator: torch.Generator | None) -> Parameters:
        """Draw the parameters of n pictures, on the generator's device. Subclasses say how."""
        return {}

    def change(self, images: Images, **parameters: Tensor) -> Images:
        """Apply given parameters to all pictures. Subclasses say how."""
        raise NotImplementedError

    def draw(self, images: Images, generator: torch.Generator | None = None) -> Parameters:
        """Return each picture's parameters, and `chosen`: whether it is changed at all.

        Raises:
            ValueError: unless the pictures are floats of the shape (N, 3, H, W).
        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(
                f"pictures must be floats in [0, 1] of the shape (N, 3, H, W), got {images.dtype} {tuple(images.shape)}"
            )
        N, _, H, W = images.shape
        drawn = {"chosen": uniform(N, 0, 1, generator) < self.p, **self.parameters(N, H, W, generator)}
        return {name: numbers.to(images.device) for name, numbers in drawn.items()}

    def apply(self, images: Images, parameters: Parameters, inplace: bool = False) -> Images:
        """Return the pictures, changed as their parameters say.

        Args:
            inplace: whether `images` may be written to.
        """
        if not len(images):
            return images
        rest = {name: numbers for name, numbers in parameters.items() if name != "chosen"}
        if self.p == 1:
            return self.change(images, **rest)
        rows = parameters["chosen"].nonzero()[:, 0]
        if not len(rows):
            return images
        chosen = images.index_select(0, rows)
        changed = self.change(chosen, **{name: numbers[rows] for name, numbers in rest.items()})
        return (images if inplace else images.clone()).index_copy_(0, rows, changed)

    def __call__(self, images: Images, generator: torch.Generator | None = None) -> Images:
        return self.apply(images, self.draw(images, generator))


class Compose:
    """One augmentation after another, on `chunk` pictures at a time, so that they stay in the processor's cache."""

    def __init__(self, *augmentations: Augmentation, chunk: int = 256):
        self.augmentations, self.chunk = augmentations, chunk

    def draw(self, images: Images, generator: torch.Generator | None = None) -> list[Parameters]:
        """Return the parameters of each augmentation in turn."""
        return [augmentation.draw(images, generator) for augmentation in self.augmentations]

    def apply(self, images: Images, parameters: list[Parameters]) -> Images:
        """Return the pictures, changed as their parameters say."""
        chunk = self.chunk if images.device.type == "cpu" else max(1, len(images))
        changed = []
        for start in range(0, len(images), chunk):
            part = given = images[start : start + chunk]
            for augmentation, drawn in zip(self.augmentations, parameters):
                drawn = {name: t[start : start + chunk] for name, t in drawn.items()}
                part = augmentation.apply(part, drawn, inplace=_apart(part, given))
            changed.append(part)
        return torch.cat(changed) if len(changed) > 1 else changed[0] if changed else images

    def __call__(self, images: Images, generator: torch.Generator | None = None) -> Images:
        return self.apply(images, self.draw(images, generator))


def _apart(one: Tensor, other: Tensor) -> bool:
    """Whether writing to one leaves the other as it is."""
    return one.untyped_storage().data_ptr() != other.untyped_storage().data_ptr()


def uniform(n: int | tuple[int, ...], low: float, high: float, generator: torch.Generator | None) -> Tensor:
    """Return n numbers between low and high, on the generator's device."""
    where = generator.device if generator is not None else None
    return low + (high - low) * torch.rand(n, generator=generator, device=where)


def boxes(
    n: int,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator | None,
    tries: int = 10,
) -> Parameters:
    """Draw n boxes in whole pixels: share of the area uniform in `scale`, width / height log-uniform in `ratio`.

    Each box gets `tries` attempts to fit into the picture; after that it is as large as the picture and `ratio` allow.
    """
    area = uniform((n, tries), *scale, generator) * height * width
    aspect = uniform((n, tries), math.log(ratio[0]), math.log(ratio[1]), generator).exp()
    w, h = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()  # (n, tries)
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    first = fits.float().argmax(1, keepdim=True)  # the first try that fits, else try 0
    w, h, fits = w.gather(1, first)[:, 0], h.gather(1, first)[:, 0], fits.any(1)
    clipped = min(max(width / height, ratio[0]), ratio[1])
    w = torch.where(fits, w, min(width, round(height * clipped)))
    h = torch.where(fits, h, min(height, round(width / clipped)))
    top = (uniform(n, 0, 1, generator) * (height - h + 1)).floor()
    left = (uniform(n, 0, 1, generator) * (width - w + 1)).floor()
    return {"top": top, "left": left, "height": h, "width": w}


class CropResize(Augmentation):
    """Cut out a box and stretch it to the old size, or to `size`; mirror a share `flip` of the pictures."""

    def __init__(
        self,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.0,
        p: float = 1.0,
        size: int | None = None,
    ):
        super().__init__(p)
        if size is not None and (size < 1 or p < 1):
            raise ValueError(f"a new size must be ≥ 1 and needs p = 1, got size {size} and p {p}")
        if not 0 < scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(
                f"scale and ratio must be (smallest, largest), 0 < scale ≤ 1 and 0 < ratio, got {scale} and {ratio}"
            )
        self.scale, self.ratio, self.flip, self.size = scale, ratio, flip, size

    def parameters(self, n, height, width, generator):
        box = boxes(n, height, width, self.scale, self.ratio, generator)
        return {**box, "flip": (uniform(n, 0, 1, generator) < self.flip).float()}

    def change(self, images, **box):
        return crop_resize(images, **box, size=self.size)


class ColourDrop(Augmentation):
    """Make the picture grey."""

    change = staticmethod(colour_drop)


class ColourJitter(Augmentation):
    """Change brightness, contrast, saturation by factors in [1 - x, 1 + x] (never below 0), hue by up to ± x of a turn.

    Each picture has an order of its own.
    """

    def __init__(self, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p: float = 1.0):
        super().__init__(p)
        if min(brightness, contrast, saturation, hue) < 0 or hue > 0.5:
            raise ValueError(f"the ranges must be ≥ 0 and hue ≤ 0.5, got {brightness}, {contrast}, {saturation}, {hue}")
        self.ranges = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        self.hue = hue

    def parameters(self, n, height, width, generator):
        factors = {name: uniform(n, max(0, 1 - x), 1 + x, generator) for name, x in self.ranges.items()}
        order = uniform((n, 4), 0, 1, generator).argsort(1)
        return {**factors, "hue": uniform(n, -self.hue, self.hue, generator), "order": order}

    change = staticmethod(colour_jitter)


class Rotate(Augmentation):
    """Turn by one of several angles, or, for a single number, by any angle up to ± `angles` degrees."""

    def __init__(self, angles: float | Sequence[float] = (90, 180, 270), p: float = 1.0):
        super().__init__(p)
        self.angles = angles

    def parameters(self, n, height, width, generator):
        if isinstance(self.angles, int | float):
            return {"angle": uniform(n, -self.angles, self.angles, generator)}
        which = (uniform(n, 0, len(self.angles), generator)).long().clamp(max=len(self.angles) - 1)
        return {"angle": torch.tensor(self.angles, dtype=torch.float, device=which.device)[which]}

    change = staticmethod(rotate)


class Cutout(Augmentation):
    """Paint over a box."""

    def __init__(
        self,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float = 0.0,
        p: float = 1.0,
    ):
        super().__init__(p)
        if not 0 < scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(
                f"scale and ratio must be (smallest, largest), 0 < scale ≤ 1 and 0 < ratio, got {scale} and {ratio}"
            )
        self.scale, self.ratio, self.value = scale, ratio, value

    def parameters(self, n, height, width, generator):
        return boxes(n, height, width, self.scale, self.ratio, generator)

    def change(self, images, **box):
        return cutout(images, **box, value=self.value)


class GaussianNoise(Augmentation):
    """Add noise whose standard deviation is drawn from the range `sigma`."""

    def __init__(self, sigma: tuple[float, float] = (0.05, 0.2), p: float = 1.0):
        super().__init__(p)
        self.sigma = check_sigma(sigma, 0)

    def parameters(self, n, height, width, generator):
        where = generator.device if generator is not None else None
        noise = torch.randn(n, 3, height, width, generator=generator, device=where)
        return {"sigma": uniform(n, *self.sigma, generator), "noise": noise}

    change = staticmethod(gaussian_noise)


class GaussianBlur(Augmentation):
    """Blur with a Gaussian whose standard deviation (pixels) is drawn from the range `sigma`.

    Args:
        size: the side of its mask, odd; None takes a tenth of the picture's side, at least 3.
    """

    def __init__(self, sigma: tuple[float, float] = (0.1, 2.0), size: int | None = None, p: float = 1.0):
        super().__init__(p)
        self.sigma, self.size = check_sigma(sigma, 1e-6), size

    def parameters(self, n, height, width, generator):
        return {"sigma": uniform(n, *self.sigma, generator)}

    def change(self, images, sigma):
        size = max(3, min(images.shape[2:]) // 10 // 2 * 2 + 1) if self.size is None else self.size
        return gaussian_blur(images, sigma, size)


class Sobel(Augmentation):
    """Keep only the edges."""

    change = staticmethod(sobel)


def check_sigma(sigma: tuple[float, float], least: float) -> tuple[float, float]:
    """Return sigma.

    Raises:
        ValueError: unless it is (smallest, largest), both at least `least`.
    """
    if not least <= sigma[0] <= sigma[1]:
        raise ValueError(f"sigma must be (smallest, largest), at least {least}, got {sigma}")
    return sigma


def simclr(strength: float = 0.5, *, scale: tuple[float, float] = (0.08, 1.0), blur: float = 0.5) -> Compose:
    """Return SimCLR's augmentation: crop, resize and flip; jitter (4 in 5); grey (1 in 5); blur (`blur`; 0: never).

    Args:
        strength: of the jitter. The paper uses 1 for ImageNet, and 0.5 without blur for CIFAR-10 (appendices A and
            B.9).
        scale: the range of the share of the picture that a crop keeps.
        blur: the share of the pictures that is blurred.
    """
    jitter = ColourJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength, p=0.8)
    parts = [CropResize(scale, flip=0.5), jitter, ColourDrop(p=0.2)]
    return Compose(*parts, *([GaussianBlur(p=blur)] if blur else []))


def gallery() -> dict[str, Augmentation | Compose]:
    """Return the ten augmentations of SimCLR's figure 4 by name, each always applied."""
    return {
        "original": Compose(),
        "crop and resize": CropResize((0.08, 0.6)),
        "crop, resize (and flip)": CropResize((0.08, 0.6), flip=0.5),
        "colour drop": ColourDrop(),
        "colour jitter": ColourJitter(),
        "rotate": Rotate(),
        "cutout": Cutout((0.1, 0.33)),
        "Gaussian noise": GaussianNoise(),
        "Gaussian blur": GaussianBlur((0.8, 2.0), size=5),
        "Sobel filtering": Sobel(),
    }


def two_views(
    images: Images, augmentation: Augmentation | Compose, generator: torch.Generator | None = None
) -> tuple[Images, Images]:
    """Return two independent augmentations of the same pictures: row i of both shows the same picture."""
    return augmentation(images, generator), augmentation(images, generator)
