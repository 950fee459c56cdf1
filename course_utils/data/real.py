"""Real data and real models by other people: what can be fetched, what is here, and what was measured with it.

    course fetch sms_spam all-MiniLM-L6-v2            # or --lecture 06, or --all

    real.find("sms_spam")                             # where it lies, or None
    print(real.missing("sms_spam", "gpt2"))           # a sentence about those that are not here, or ""
    real.result("spam")                               # what `benchmarks/real.py spam` measured, once
    means, errors = real.curves("spam")               # the same, for plots.curve(means, errors=errors)

The loaders find what was fetched: `text.load("sms_spam")`, `images.torchvision("CIFAR10")`, `pretrained.load("gpt2")`.

Everything lies in one folder. COURSE_MIRROR may name a folder of the same layout, for example on a memory stick:

    tiny_shakespeare.txt
    sms_spam/SMSSpamCollection
    FashionMNIST/raw/*-ubyte                          # torchvision's own layout
    cifar-10-batches-py/                              # likewise; or, a part of it: cifar10/{train,test}/CLASS/*.jpg
    models/NAME/                                      # files as on the Hugging Face hub

`download` does the fetching.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils import results
from course_utils.paths import cache_folder

if TYPE_CHECKING:
    from course_utils.tables import Table

RESULTS = results.FOLDER / "real"


@dataclass(frozen=True)
class File:
    """A file that must be there when an item has been fetched."""

    path: str  # below the folder that holds everything fetched
    checksum: str | None = None  # SHA-256, or "md5:…" where only that was published; None: its revision is pinned
    size: int | None = None  # bytes


@dataclass(frozen=True)
class Source:
    """A file to download: addresses that offer it, in the order to try. A .gz, .zip or .tar.gz is unpacked."""

    addresses: tuple[str, ...]  # "{hub}" is the address of the Hugging Face hub
    checksum: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Item:
    """Something that can be fetched by name."""

    name: str
    what: str
    megabytes: float  # to download
    licence: str
    page: str  # where it comes from, for people
    lectures: tuple[str, ...]
    place: str  # the file or folder, below the folder that holds everything fetched
    files: tuple[File, ...]
    sources: tuple[Source, ...]
    check: Callable[[Path], str] = lambda path: ""  # what is wrong with the content of a path; "": nothing
    part: str = ""  # a folder of class sub-folders that may take its place

    @property
    def size(self) -> str:
        return f"{self.megabytes / 1000:.1f} GB" if self.megabytes >= 1000 else f"{self.megabytes:.3g} MB"

    @property
    def room(self) -> int:
        """Bytes on the disk while it is being made: an archive and its unpacked content."""
        packed = self.sources[0].addresses[0].endswith((".gz", ".zip"))
        return round(self.megabytes * 1e6 * (3 if packed else 1))


# --- what there is ----------------------------------------------------------------------------------------------------


def messages(path: Path) -> list[tuple[str, str]]:
    """Return (label, text) of each message in a file of the SMS Spam Collection; a heading line is skipped."""
    lines = (line.rstrip("\r").split("\t", 1) for line in path.read_text(encoding="utf-8").split("\n") if "\t" in line)
    return [(label, text) for label, text in lines if label in ("ham", "spam")]


def _check_messages(folder: Path) -> str:
    try:
        found = Counter(label for label, _ in messages(folder / "SMSSpamCollection"))
    except UnicodeDecodeError:
        found = Counter()
    wanted = {"ham": 4827, "spam": 747}
    return "" if found == wanted else f"it has {found['ham']:,} ham and {found['spam']} spam, not 4,827 and 747"


def _check_model(**wanted: Any) -> Callable[[Path], str]:
    """A check of a model's config.json, and of whether its other files are whole."""

    def check(folder: Path) -> str:
        described = {path.name: _json(path) for path in sorted(folder.glob("*.json"))}
        if broken := [name for name, content in described.items() if not isinstance(content, dict)]:
            return f"its {broken[0]} is cut off, damaged or another kind of file"
        config = described["config.json"]
        for name, value in wanted.items():
            if config.get(name) != value:
                return f"it is another model: {name} is {config.get(name)!r} in its config.json, not {value!r}"
        weights = folder / "model.safetensors"
        if weights.exists() and weights.stat().st_size != _safetensors_length(weights):
            return "its model.safetensors is cut off or damaged"
        return ""

    return check


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _safetensors_length(path: Path) -> int:
    """Return how many bytes a file of weights should have by its own header; -1 if it has no header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= 100 * 2**20:  # the format's own limit
            return -1
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return -1
    return 8 + length + max(ends, default=0)


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PICTURES = (".jpg", ".jpeg", ".png")


def part_pictures(folder: Path) -> list[Path]:
    """The pictures of a part of CIFAR-10: folder/train/CLASS/… and folder/test/CLASS/…"""
    return [path for place in _classes(folder) for path in sorted(place.iterdir()) if path.suffix in PICTURES]


def is_part(folder: Path) -> bool:
    """Whether a folder has pictures of all classes in train and in test."""
    places = _classes(folder)
    having = sum(any(path.suffix in PICTURES for path in place.iterdir()) for place in places)
    return having == 2 * len(CIFAR10)


def _classes(folder: Path) -> list[Path]:
    return [place for part in ("train", "test") for kind in CIFAR10 if (place := folder / part / kind).is_dir()]


def _check_pictures(folder: Path) -> str:
    from PIL import Image

    for path in part_pictures(folder):
        try:
            with Image.open(path) as image:
                size = image.size
        except (OSError, ValueError):
            return f"{path.relative_to(folder.parent)} is not a picture"
        if size != (32, 32):
            return f"{path.relative_to(folder.parent)} has {size[0]} × {size[1]} pixels, not 32 × 32"
    return ""


def _model(
    name: str, what: str, repo: str, revision: str, licence: str, lectures: tuple[str, ...], megabytes: float,
    files: tuple[File, ...], **config: Any,
) -> Item:  # fmt: skip
    """An item from the hub, at a pinned revision. The names of its `files` have no folder."""
    place = f"models/{name}"
    sources = tuple(
        Source((f"{{hub}}/{repo}/resolve/{revision}/{file.path}",), file.checksum, file.size) for file in files
    )
    files = tuple(File(f"{place}/{file.path}", file.checksum, file.size) for file in files)
    page = f"huggingface.co/{repo}"
    return Item(name, what, megabytes, licence, page, lectures, place, files, sources, _check_model(**config))


def _fashion() -> Item:
    raw = {  # the file, the archive's MD5 that the publisher states, the SHA-256 of what is in it
        "train-images-idx3-ubyte": (
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        "train-labels-idx1-ubyte": (
            "25c81989df183df01b3e8a0aad5dffbe", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        "t10k-images-idx3-ubyte": (
            "bef4ecab320f06d8554ea6380940ec79", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        "t10k-labels-idx1-ubyte": (
            "bb300cfdad3c16e7a12a480ee83cd310", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    }  # fmt: skip
    homes = (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    )
    sizes = {"train-images": 47_040_016, "train-labels": 60_008, "t10k-images": 7_840_016, "t10k-labels": 10_008}
    return Item(
        "fashion_mnist",
        "70,000 grey pictures of clothes",
        30.9,
        "MIT",
        "github.com/zalandoresearch/fashion-mnist",
        ("07",),
        "FashionMNIST",
        tuple(File(f"FashionMNIST/raw/{n}", sha, sizes[n.rsplit("-", 2)[0]]) for n, (_, sha) in raw.items()),
        tuple(Source(tuple(f"{home}/{n}.gz" for home in homes), f"md5:{md5}") for n, (md5, _) in raw.items()),
    )


def _cifar10() -> Item:
    batches = {  # as torchvision has them
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    }
    return Item(
        "cifar10",
        "60,000 colour pictures of ten kinds",
        170,
        "none stated; Krizhevsky (2009)",
        "www.cs.toronto.edu/~kriz/cifar.html",
        ("08", "09", "11", "12"),
        "cifar-10-batches-py",
        tuple(File(f"cifar-10-batches-py/{name}", f"md5:{md5}") for name, md5 in batches.items()),
        (
            Source(
                ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
                "md5:c58f30108f718f92721af3b95e74349a",
                170_498_071,
            ),
        ),
        part="cifar10",
    )


ITEMS = {
    item.name: item
    for item in (
        Item(
            "tiny_shakespeare",
            "a million characters of Shakespeare's plays",
            1.1,
            "public domain",
            "github.com/karpathy/char-rnn",
            ("01", "02", "04"),
            "tiny_shakespeare.txt",
            (
                File(
                    "tiny_shakespeare.txt",
                    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                    1_115_394,
                ),
            ),
            (
                Source(
                    (
                        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
                        "https://raw.githubusercontent.com/jcjohnson/torch-rnn/master/data/tiny-shakespeare.txt",
                        "https://raw.githubusercontent.com/karpathy/ng-video-lecture/master/input.txt",
                    ),
                    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                    1_115_394,
                ),
            ),
        ),
        Item(
            "sms_spam",
            "5,574 text messages, spam or not",
            0.2,
            "CC BY 4.0",
            "archive.ics.uci.edu, Almeida and Gómez Hidalgo (2011)",
            ("06",),
            "sms_spam",
            (File("sms_spam/SMSSpamCollection"),),
            (
                Source(
                    (
                        "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
                        "https://archive.ics.uci.edu/ml/machine-learning-databases/00228/smsspamcollection.zip",
                    ),
                    "1587ea43e58e82b14ff1f5425c88e17f8496bfcdb67a583dbff9eefaf9963ce3",
                ),
            ),
            _check_messages,
        ),
        _fashion(),
        _cifar10(),
        _model(
            "all-MiniLM-L6-v2",
            "a BERT encoder of sentences, 22 M weights",
            "sentence-transformers/all-MiniLM-L6-v2",
            "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
            "Apache-2.0",
            ("06",),
            91.3,
            (
                File("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
                File("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466_247),
                File(
                    "model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90_868_376
                ),
            ),
            model_type="bert",
            hidden_size=384,
            num_hidden_layers=6,
        ),
        _model(
            "gpt2",
            "a GPT, 124 M weights",
            "openai-community/gpt2",
            "607a30d783dfa663caf39e06633721c8d4cfcd7e",
            "MIT",
            ("04", "05"),
            549,
            (
                File("config.json", "0daed7749b4f02b8f76240d5444551d7b08712dab4d0adb8239c56ba823bb7b4", 665),
                File("tokenizer.json", "8414cab924d8b9b33013f0d221c5862f365ee9be39c5c2bfae8a5a9e970478a6", 1_355_256),
                File(
                    "model.safetensors", "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707", 548_105_171
                ),
            ),
            model_type="gpt2",
            n_embd=768,
            n_layer=12,
        ),
        _model(
            "gpt2-medium",
            "a larger GPT, 355 M weights",
            "openai-community/gpt2-medium",
            "6dcaa7a952f72f9298047fd5137cd6e4f05f41da",
            "MIT",
            ("04", "05"),
            1520,
            (File("config.json"), File("tokenizer.json"), File("model.safetensors")),
            model_type="gpt2",
            n_embd=1024,
            n_layer=24,
        ),
        _model(
            "clip-vit-base-patch32",
            "CLIP, 151 M weights",
            "openai/clip-vit-base-patch32",
            "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
            "MIT",
            ("11",),
            609,
            (
                File("config.json"),
                File("preprocessor_config.json"),
                File("tokenizer.json"),
                File("tokenizer_config.json"),
                File("vocab.json"),
                File("merges.txt"),
                File(
                    "pytorch_model.bin", "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f", 605_247_071
                ),
            ),
            model_type="clip",
        ),
    )
}


def known(name: str | os.PathLike) -> Item:
    """Return an item by its name, or a model by its name on the hub.

    Raises:
        ValueError: if there is none.
    """
    item = ITEMS.get(name) or next((item for item in ITEMS.values() if item.page == f"huggingface.co/{name}"), None)
    if item is None:
        raise ValueError(f"nothing called {name!r} can be fetched: choose from {', '.join(ITEMS)}")
    return item


def of_lecture(number: str) -> list[str]:
    """Return the names of the items that a lecture ("06", or "6") uses.

    Raises:
        ValueError: if it uses none.
    """
    number = number.zfill(2)
    names = [item.name for item in ITEMS.values() if number in item.lectures]
    if not names:
        having = sorted({lecture for item in ITEMS.values() for lecture in item.lectures})
        raise ValueError(f"lecture {number} needs nothing fetched; these do: {', '.join(having)}")
    return names


# --- what is here -----------------------------------------------------------------------------------------------------


def folder() -> Path:
    """Return the folder that holds everything fetched, in the course's cache. It need not exist."""
    return cache_folder() / "real"


def find(name: str, within: Path | None = None) -> Path | None:
    """Return where an item lies: whole, by its files' names and sizes, or a part of it; None if it is not here.

    Args:
        within: another folder than `folder()`.
    """
    item, within = known(name), folder() if within is None else within
    if all(_fits(within / file.path, file) for file in item.files):
        return within / item.place
    if item.part and is_part(within / item.part):
        return within / item.part
    return None


def find_model(name: str | os.PathLike) -> Path | None:
    """Return where a fetched model lies, by its own name or the hub's; None for any other name."""
    try:
        item = known(name)
    except ValueError:
        return None
    return find(item.name) if item.place.startswith("models/") else None


def _fits(path: Path, file: File) -> bool:
    try:
        size = path.stat().st_size
    except OSError:
        return False
    return path.is_file() and size > 0 and file.size in (None, size)


def problem(item: Item, within: Path) -> str:
    """Say what is wrong with an item's files in a folder, by checksums and the item's own check; "" if nothing is."""
    if item.part and find(item.name, within) == within / item.part:
        return _check_pictures(within / item.part)
    for file in item.files:
        path = within / file.path
        if not path.is_file():
            return f"{file.path} is missing"
        if not _fits(path, file):
            return f"{file.path} is not the expected file: it has {path.stat().st_size:,} bytes"
        if file.checksum and not _matches(path, file.checksum):
            return f"{file.path} is not the expected file: its checksum differs"
    wrong = item.check(within / item.place)
    return f"{item.place} is not as expected: {wrong}" if wrong else ""


def _matches(path: Path, checksum: str) -> bool:
    kind, _, wanted = checksum.rpartition(":")
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind or "sha256").hexdigest() == wanted


def state(name: str, within: Path | None = None) -> str:
    """Say in a few words whether an item is here, or in another folder."""
    item, within = known(name), folder() if within is None else within
    found = find(name, within)
    if found is None:
        return "begun, not complete" if begun(name, within) else "no"
    if found != within / item.place:
        counts = Counter(path.relative_to(found).parts[0] for path in part_pictures(found))
        return f"a part: {counts['train']:,} and {counts['test']:,} pictures"
    return "yes"


def begun(name: str, within: Path | None = None) -> bool:
    """Whether some of an item is here, or in another folder, but not all."""
    item, within = known(name), folder() if within is None else within
    return find(name, within) is None and any((within / p).exists() for p in (item.place, f".fetching/{item.name}"))


def here() -> list[str]:
    """Return the names of what is here, with "(a part)" after an item of which only a part is."""
    found = {name: find(name) for name in ITEMS}
    whole = {name: path == folder() / ITEMS[name].place for name, path in found.items()}
    return [name if whole[name] else f"{name} (a part)" for name, path in found.items() if path is not None]


def table(names: list[str], within: Path, source: Path | None = None) -> Table:
    """List what each item is, its size, licence and source, and whether it is here and in the mirror `source`."""
    from course_utils.tables import Table

    columns = ["name", "what", "size", "licence", "from", "lectures", "here", *(["in the mirror"] if source else [])]
    rows = [
        [
            *(name, item.what, item.size, item.licence, item.page, " ".join(item.lectures), state(name, within)),
            *([state(name, source)] if source else []),
        ]
        for name, item in ((name, known(name)) for name in names)
    ]
    return Table(
        f"Real data and models, in {within}" + (f", from the mirror {source}" if source else ""), columns, rows
    )


def missing(*names: str) -> str:
    """Return a sentence that says which of these are not here and how to get them; "" if all are here."""
    items = [known(name) for name in names if find(name) is None]
    if not items:
        return ""
    those = " and ".join(f"{item.name} ({item.size})" for item in items)
    return f"Not fetched yet: {those}. With a network: course fetch {' '.join(item.name for item in items)}"


def result(name: str) -> dict[str, Any]:
    """Return what `python benchmarks/real.py NAME` measured and stored, with "date", "machine" and "command".

    Raises:
        FileNotFoundError: if there is no such result; the message lists those that exist.
    """
    return results.load(name, RESULTS)


def curves(name: str) -> tuple[dict[str, dict[float, float]], dict[str, dict[float, float]]]:
    """Return a stored result's means and standard errors, each {curve: {x: value}}, as `plots.curve` takes them.

    Raises:
        FileNotFoundError: as `result` does.
        ValueError: if the result has no curves.
    """
    found = result(name)
    if "curves" not in found:
        raise ValueError(f"the result {name!r} has no curves: see real.result({name!r})")
    (points,) = found["x"].values()
    both = [
        {curve: {x: at.get(key, 0.0) for x, at in zip(points, values)} for curve, values in found["curves"].items()}
        for key in ("mean", "error")
    ]
    return both[0], both[1]
