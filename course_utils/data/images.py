"""Real pictures, in the form of the postcards: a folder with one sub-folder per class, or a torchvision data set.

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
from course_utils.paths import FORBIDDEN, FULL

ENDINGS = tuple(".png .jpg .jpeg .jpe .jfif .gif .bmp .webp .tif .tiff .ppm .pgm .pbm .pnm .avif .jp2".split())
NOT_READ = (".heic", ".heif", ".jxl", ".svg", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf")
"""Endings of pictures that Pillow cannot read by itself: these files are counted among those left out."""

LUMA = (0.299, 0.587, 0.114)
"""How much red, green and blue contribute to the brightness we see. Source: ITU-R BT.601."""


def grey(images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 1 H W"]:
    """The brightness of each pixel: 0.299 R + 0.587 G + 0.114 B."""
    r, g, b = images.split(1, dim=1)
    return (r * LUMA[0]).add_(g, alpha=LUMA[1]).add_(b, alpha=LUMA[2])


@dataclass(frozen=True)
class Pictures:
    """N pictures with their classes."""

    images: Float[Tensor, "N 3 S S"]  # in [0, 1]
    labels: Int[Tensor, " N"]  # places in `classes`
    classes: list[str]
    skipped: list[str] = field(default_factory=list)  # files and folders that were left out, each with the reason

    def __len__(self) -> int:
        return len(self.images)


def folder(path: str | os.PathLike, size: int = 32, *, limit: int | None = None) -> Pictures:
    """Read path/CLASS/PICTURE for all classes, in the order of their names.

    Every picture is turned the way its camera recorded, and made RGB (grey is repeated, transparent parts become
    white); its shorter side is resized to `size`, and the middle is cut out. An animation gives its first frame.

    What is left out is named in `skipped` and counted in one warning: files that are damaged, too large, or of a kind
    that cannot be shown correctly; folders inside a class's folder; and pictures beside the classes' folders. Hidden
    files, and those whose ending is not that of a picture, are ignored.

    Args:
        limit: at most this many pictures of each class, the first by name.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it has no sub-folders, a class has no readable picture (both name the folder), or `size` or
            `limit` is below 1.
    """
    check_numbers(size, limit)
    path = Path(path).expanduser()
    if path.is_file():
        raise NotADirectoryError(
            f"{path} is a file: give a folder with a sub-folder for each class (unpack an archive first)"
        )
    if not path.is_dir():
        raise FileNotFoundError(f"no folder {path.absolute()}: give one with a sub-folder for each class")
    inside = _visible(path)
    kinds = [p for p in inside if p.is_dir()]
    if not kinds:
        raise ValueError(f"{path} has no sub-folders: put the pictures of each class into one named after the class")
    images, labels = [], []
    skipped = [f"{p}: it lies beside the classes' folders" for p in inside if _is_picture(p)]
    unseen = 0  # pictures in folders that are left out, beyond one for each
    for label, kind in enumerate(kinds):
        found = _visible(kind)
        files, read = [p for p in found if _is_picture(p)], 0
        for file in files:
            if read == limit:
                break
            try:
                images.append(picture(file, size))
            except Exception as error:  # a decoder may raise anything for a damaged file
                skipped.append(f"{file}: {error or type(error).__name__}")
                continue
            labels.append(label)
            read += 1
        deeper = {p: count for p in found if p.is_dir() and (count := _pictures_below(p))}
        if not read:
            raise ValueError(_no_picture(kind, files, deeper, skipped))
        for inner, count in deeper.items():
            skipped.append(f"{inner}: a folder in a class's folder, with {count} pictures")
            unseen += count - 1
    if skipped:
        more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        warnings.warn(f"{len(skipped) + unseen} files left out: {'; '.join(skipped[:3])}{more}", stacklevel=2)
    return Pictures(torch.stack(images), torch.tensor(labels), [kind.name for kind in kinds], skipped)


def _visible(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without hidden files and what a Mac adds to an archive."""
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise OSError(f"cannot read the folder {folder} ({error.strerror or error}): make it readable") from None
    return [path for path in found if not path.name.startswith(".") and path.name != "__MACOSX"]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in (*ENDINGS, *NOT_READ) and not path.is_dir()


def _pictures_below(folder: Path) -> int:
    count = 0
    for _, inner, names in os.walk(folder):  # links to folders are not followed
        inner[:] = [name for name in inner if not name.startswith(".")]
        count += sum(Path(name).suffix.lower() in ENDINGS and not name.startswith(".") for name in names)
    return count


def _no_picture(kind: Path, files: list[Path], deeper: dict[Path, int], skipped: list[str]) -> str:
    if files:
        why = f"none of its {len(files)} can be read, e.g. {skipped[-1]}"
    elif deeper:
        inner = next(iter(deeper)).name
        why = (
            f"they lie one level deeper, in {inner}: if that is a class, give {kind}; if not, move them up into {kind}"
        )
    else:
        why = f"known endings: {' '.join(ENDINGS)}"
    return f"{kind} has no picture ({why}): a class needs at least one"


def torchvision(
    name: str, size: int = 32, *, part: str = "train", limit: int | None = None, root: str | os.PathLike | None = None
) -> Pictures:
    """Return a data set of `torchvision.datasets` by its name: CIFAR10, CIFAR100, MNIST, FashionMNIST, SVHN, STL10.

    It is downloaded once and read from disk afterwards. If only a part of CIFAR-10 was fetched, that part is returned,
    with a warning that says how large it is, where `limit` asks for more.

    Args:
        size: as in `folder`.
        part: "train" or "test".
        limit: at most this many pictures of each class, the first ones.
        root: where it is stored; None takes the folder of `course fetch`.

    Raises:
        ValueError: if the name or part is unknown, or the files are there but damaged.
        ConnectionError: if it cannot be fetched; the message says what to do without a network.
    """
    from torchvision import datasets

    check_numbers(size, limit)
    known = {known.lower(): known for known in KNOWN}
    if name.lower() not in known:
        raise ValueError(f"unknown data set {name!r}: choose from {', '.join(KNOWN)}, or read a folder of pictures")
    if part not in ("train", "test"):
        raise ValueError(f'part must be "train" or "test", got {part!r}')
    name = known[name.lower()]
    given, root = root, Path(root).expanduser() if root is not None else real.folder()
    which = {"split": part} if name in ("SVHN", "STL10") else {"train": part == "train"}
    made = getattr(datasets, name)
    place = root / PLACES[name]
    try:
        data = made(root, download=False, **which)
    except Exception as error:  # not here yet, or only a part of it
        if not _is_missing(error):
            raise ValueError(_broken(name, place, error)) from None
        if given is None and name == "CIFAR10" and (found := real.find("cifar10")):
            data = folder(found / part, size, limit=limit)
            if limit is None or len(data) < limit * len(data.classes):
                warnings.warn(f"a part of CIFAR-10 is here: {len(data):,} {part} pictures", stacklevel=2)
            return data
        try:
            data = made(root, download=True, **which)
        except Exception as error:  # each data set has its own ways to fail
            said = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, OSError) and error.errno in FULL | FORBIDDEN:
                raise OSError(f"cannot write {name} into {root} ({said}): give another folder as root") from None
            rest = f" What lies in {place} is incomplete." if place != root and place.exists() else ""
            raise ConnectionError(
                f"cannot fetch {name} ({said}).{rest} With a network, this call fetches it once. "
                f"Without one, copy torchvision's files into {root} from another machine, read pictures of your own "
                'with images.folder("my_folder"), or use the postcards, which need no network.'
            ) from None
    if hasattr(data, "targets") and len(data.targets) != len(data.data):
        raise ValueError(_broken(name, place, "there are not as many labels as pictures"))
    classes = [str(c) for c in getattr(data, "classes", None) or range(10)]
    counts, images, labels = [0] * len(classes), [], []
    for image, label in data:
        if limit is None or counts[label] < limit:
            images.append(prepare(image, size))
            labels.append(int(label))
            counts[label] += 1
        elif min(counts) >= limit:
            break
    return Pictures(torch.stack(images), torch.tensor(labels), classes)


PLACES = {  # where in `root` torchvision puts a data set
    "CIFAR10": "cifar-10-batches-py",
    "CIFAR100": "cifar-100-python",
    "MNIST": "MNIST/raw",
    "FashionMNIST": "FashionMNIST/raw",
    "SVHN": "",
    "STL10": "stl10_binary",
}
KNOWN = tuple(PLACES)


def _is_missing(error: Exception) -> bool:
    """Whether torchvision found no files, or files of another checksum, which its download replaces."""
    return isinstance(error, RuntimeError) and "Dataset not found" in str(error)


def _broken(name: str, place: Path, why: object) -> str:
    """What to do about files that are there, so a download would keep them, but cannot be read."""
    said = " ".join(str(why).split()) or type(why).__name__
    empty = [path.name for path in sorted(place.glob("*")) if path.is_file() and not path.stat().st_size]
    files = f"; {', '.join(empty)} is empty" if empty else ""
    return (
        f"{name} is here, but cannot be read ({said}{files}): it was fetched or unpacked only in part. Delete "
        f"the folder {place} and call this again with a network, or copy the folder from another machine"
    )


def check_numbers(size: int, limit: int | None) -> None:
    if size < 1:
        raise ValueError(f"size must be ≥ 1 pixel, got {size}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be ≥ 1 or None, got {limit}")


def picture(file: str | os.PathLike, size: int) -> Float[Tensor, "3 S S"]:
    """Read one picture.

    Raises:
        ValueError: if it is too large, or its brightness cannot be known; for damaged files, whatever Pillow raises.
    """
    from PIL import Image

    file = Path(file)
    if file.suffix.lower() in NOT_READ:
        raise ValueError(f"{file.suffix} is not read here: save it as PNG or JPEG")
    if file.exists() and not file.is_file():
        raise ValueError("it is a pipe or a device, not a file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused below, with what to do
        with Image.open(file) as image:
            if (pixels := image.width * image.height) > MOST_PIXELS:
                raise ValueError(f"it has {pixels:,} pixels, more than {MOST_PIXELS:,}: make it smaller first")
            return prepare(image, size)


def prepare(image, size: int) -> Float[Tensor, "3 S S"]:
    """Return a PIL picture as RGB in [0, 1], its shorter side resized to `size`, the middle cut out.

    Raises:
        ValueError: if its brightness cannot be known; see `_grey`.
    """
    import numpy as np
    from PIL import Image, ImageOps

    tags = dict(getattr(image, "tag_v2", {}))  # of a TIFF; turning the picture loses them
    image = ImageOps.exif_transpose(image)
    if tags.get(SAMPLE_FORMAT, (1,))[0] == 2:
        raise ValueError("its numbers have a sign, and nothing says which one is white: save it with 8 bits per pixel")
    if image.mode.startswith("I") or image.mode == "F":
        image = _grey(image, tags)
    elif tags.get(BITS, (8,))[0] == 16 and 0 < max(high for _, high in _extrema(image)) < 16:
        raise ValueError(DARK)
    if image.mode in ("La", "RGBa"):  # colours already multiplied by their opacity
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)  # antialiased where it shrinks
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous() / 255


MOST_PIXELS = 89_478_485  # Pillow's own limit, 256 MiB of RGB, beyond which it warns
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
DARK = (
    "it has 16 bits per pixel but uses less than a sixteenth of their range, as if it had 12 bits or fewer, so nobody "
    "can know which number is white: save it with 8 bits per pixel"
)


def _extrema(image) -> list[tuple[int, int]]:
    found = image.getextrema()
    return found if isinstance(found[0], tuple) else [found]


def _grey(image, tags: dict):
    """Return a grey picture of more than 8 bits as one of 8 bits, where Pillow would clip instead of scaling.

    White is the largest number that its bits can hold (12, 16), or 1 for floating-point numbers.

    Raises:
        ValueError: if neither can be meant: whole numbers of 32 bits, floats outside [0, 1], or 16 bits of which hardly
            any are used.
    """
    import numpy as np
    from PIL import Image

    bits = tags.get(BITS, (16,))[0]  # 16: a file that is not a TIFF
    grey = np.asarray(image, dtype=np.float64)
    if image.mode == "F":
        white = 1.0
        if not (grey.min() >= 0 and grey.max() <= 1):  # false for NaN
            raise ValueError(
                f"its floating-point numbers are {grey.min():g} … {grey.max():g}, but black and white are 0 and 1: "
                "scale them, or save it with 8 bits per pixel"
            )
    elif bits > 16:
        raise ValueError(
            f"it has whole numbers of {bits} bits, and nothing says which is white: save it with 8 or 16 bits per pixel"
        )
    else:
        white = 2.0**bits - 1
        if bits == 16 and 0 < grey.max() < 4096:
            raise ValueError(DARK)
    share = grey / white
    if tags.get(PHOTOMETRIC) == 0:  # "white is zero", which Pillow inverts for 8 bits only
        share = 1 - share
    return Image.fromarray((share * 255).round().astype(np.uint8))
