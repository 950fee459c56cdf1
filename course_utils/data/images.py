"""Real pictures, in the form of the postcards: a folder with one sub-folder for each class, or a torchvision data set.

train = images.folder("../shared/data/cifar10/train", size=32)        # images (N, 3, 32, 32), labels, classes
test = images.torchvision("CIFAR10", part="test")                     # fetched once, if there is a network
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_utils.data import real

ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


@dataclass(frozen=True)
class Pictures:
    """N pictures with their classes."""

    images: Float[Tensor, "N 3 S S"]  # in [0, 1]
    labels: Int[Tensor, " N"]  # places in `classes`
    classes: list[str]
    skipped: list[str] = field(default_factory=list)  # files that are no pictures, each with the reason

    def __len__(self) -> int:
        return len(self.images)


def folder(path: str | os.PathLike, size: int = 32, *, limit: int | None = None) -> Pictures:
    """Read path/CLASS/PICTURE for all classes, in the order of their names.

    Every picture is turned as its camera says, made RGB (grey is repeated, what is transparent becomes white), its
    shorter side is resized to `size`, and the middle is cut out. A file that is damaged is left out, named in
    `skipped` and in one warning; files whose ending is none of a picture's, and hidden ones, are passed over.
    limit: at most so many pictures of each class, the first by name.
    Raises FileNotFoundError if there is no such folder, ValueError for one without sub-folders, a class in which no
    picture can be read (both name the folder), size < 1, limit < 1.
    """
    check_numbers(size, limit)
    path = Path(path).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"no folder {path.absolute()}: give one that has a sub-folder for each class")
    kinds = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not kinds:
        raise ValueError(
            f"{path} has no sub-folders: put the pictures of each class into one that has the class's name"
        )
    images, labels, skipped = [], [], []
    for label, kind in enumerate(kinds):
        files = sorted(p for p in kind.iterdir() if p.suffix.lower() in ENDINGS and not p.name.startswith("."))
        read = 0
        for file in files:
            if read == limit:
                break
            try:
                images.append(picture(file, size))
            except Exception as error:  # a decoder may raise anything about a damaged file
                skipped.append(f"{file}: {error or type(error).__name__}")
                continue
            labels.append(label)
            read += 1
        if not read:
            why = f"none of its {len(files)} can be read, e.g. {skipped[-1]}" if files else f"known endings: {ENDINGS}"
            raise ValueError(f"{kind} has no picture ({why}): a class needs at least one")
    if skipped:
        more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        warnings.warn(f"{len(skipped)} files left out: {'; '.join(skipped[:3])}{more}", stacklevel=2)
    return Pictures(torch.stack(images), torch.tensor(labels), [kind.name for kind in kinds], skipped)


def torchvision(
    name: str, size: int = 32, *, part: str = "train", limit: int | None = None, root: str | os.PathLike | None = None
) -> Pictures:
    """Return a data set of `torchvision.datasets` by its name: CIFAR10, CIFAR100, MNIST, FashionMNIST, SVHN, STL10.

    It is downloaded once, into `root` (None: where `course fetch` puts things), and read from there afterwards. Where
    only a part of CIFAR-10 was fetched, that part is returned, with a warning that says how much it is.
    part: "train" or "test". limit: at most so many pictures of each class, the first ones. Else as `folder`.
    Raises ValueError for another name or part, ConnectionError (what to do without a network) if it cannot be had.
    """
    from torchvision import datasets

    check_numbers(size, limit)
    known = {known.lower(): known for known in KNOWN}
    if name.lower() not in known:
        raise ValueError(f"no data set {name!r} here: choose from {', '.join(KNOWN)}, or read a folder of pictures")
    if part not in ("train", "test"):
        raise ValueError(f'part must be "train" or "test", got {part!r}')
    name = known[name.lower()]
    given, root = root, Path(root).expanduser() if root is not None else real.folder()
    which = {"split": part} if name in ("SVHN", "STL10") else {"train": part == "train"}
    made = getattr(datasets, name)
    try:
        data = made(root, download=False, **which)
    except RuntimeError:  # not here yet
        if given is None and name == "CIFAR10" and (found := real.find("cifar10")):
            data = folder(found / part, size, limit=limit)
            warnings.warn(f"a part of CIFAR-10 is here: {len(data):,} {part} pictures", stacklevel=2)
            return data
        try:
            data = made(root, download=True, **which)
        except Exception as error:  # each data set has its own ways to fail
            said = " ".join(str(error).split()) or type(error).__name__
            raise ConnectionError(
                f"cannot fetch {name} ({said}). With a network, this call fetches it once. "
                f"Without one, copy torchvision's files into {root} from another machine, read pictures of your own "
                'with images.folder("my_folder"), or use the postcards, which need no network.'
            ) from None
    classes = [str(c) for c in getattr(data, "classes", None) or range(10)]
    counts, images, labels = [0] * len(classes), [], []
    for image, label in data:
        if limit is None or counts[label] < limit:
            images.append(prepare(image, size))
            labels.append(int(label))
            counts[label] += 1
    return Pictures(torch.stack(images), torch.tensor(labels), classes)


KNOWN = ("CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "SVHN", "STL10")


def check_numbers(size: int, limit: int | None) -> None:
    if size < 1:
        raise ValueError(f"size must be ≥ 1 pixel, got {size}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be ≥ 1 or None, got {limit}")


def picture(file: str | os.PathLike, size: int) -> Float[Tensor, "3 S S"]:
    """Read one picture. Raises what Pillow raises about a file that is none."""
    from PIL import Image

    with Image.open(file) as image:
        return prepare(image, size)


def prepare(image, size: int) -> Float[Tensor, "3 S S"]:
    """Return a PIL picture as RGB in [0, 1], its shorter side resized to `size`, the middle cut out."""
    import numpy as np
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits and more: Pillow would cut, not scale
        grey = np.asarray(image, dtype=np.float64)
        most = grey.max() if image.mode == "F" else 65535.0
        image = Image.fromarray((grey / max(most, 1e-9) * 255).clip(0, 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)  # antialiased where it shrinks
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous() / 255
