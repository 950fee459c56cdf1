"""Fetches what `real` lists, from a mirror or from the network: whole or not at all, and checked.

    download.fetch("sms_spam")                        # its folder; fetched if it is not here yet

A download is collected in the folder `.fetching`, checked, and only then moved to its place: whatever bears its name is
whole. A download that was cut off continues where it stopped.
"""

import gzip
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from course_utils.data import real
from course_utils.data.real import File, Item, Source
from course_utils.paths import FULL, replacing

KNOWN = ("tiny_shakespeare", "sms_spam")  # what text.load reads
SECONDS = 20  # without a byte, before the next address is tried


class NotFetched(ConnectionError):
    """It could not be fetched; the message is one sentence that says why, and what to do."""


def documents(name: str) -> list[tuple[str, str, str]]:
    """Return (name, source, text) of each document: tiny_shakespeare; each message of sms_spam ("ham/0" …).

    What is not here yet is fetched.

    Raises:
        NotFetched: if it cannot be had.
    """
    try:
        place, source = fetch(name), real.ITEMS[name].page
    except NotFetched as error:
        raise NotFetched(f'{error}. Without it, text.load("docs") gives two million characters of English') from None
    if name == "tiny_shakespeare":
        return [(name, source, place.read_text(encoding="utf-8"))]
    found = real.messages(place / "SMSSpamCollection")
    return [(f"{label}/{i}", source, text) for i, (label, text) in enumerate(found)]


def mirror() -> Path | None:
    """Return the folder that COURSE_MIRROR names; None if it names none.

    Raises:
        NotFetched: if there is no such folder.
    """
    named = os.environ.get("COURSE_MIRROR")
    if not named:
        return None
    path = Path(named).expanduser()
    if not path.is_dir():
        raise NotFetched(
            f"COURSE_MIRROR is {named}, but there is no such folder: plug it in, correct it, or unset COURSE_MIRROR"
        )
    return path


def fetch(name: str, *, to: Path | None = None, progress: bool = False) -> Path:
    """Get an item, unless it is here already and undamaged, and return where it lies.

    It is copied from the folder COURSE_MIRROR, if that is set, and downloaded otherwise.

    Args:
        to: another folder than `real.folder()`, such as one on a memory stick.

    Raises:
        NotFetched: if it cannot be had; nothing half-written then bears the item's name.
    """
    item, to = real.known(name), real.folder() if to is None else Path(to)
    staging = to / ".fetching" / item.name
    try:
        if (here := _unharmed(item, to)) is not None:
            return here
        with _alone(staging), _bar(item, progress) as bar:
            if (here := _unharmed(item, to)) is not None:  # another process was faster
                return here
            source = mirror()
            place = _download(item, staging, bar) if source is None else _copy(item, source, staging, bar)
            _move(staging, place, to)
            return to / place
    except NotFetched:
        raise
    except OSError as error:
        if error.errno in FULL:
            shutil.rmtree(staging, ignore_errors=True)
            raise _no_room(item, to) from None
        where = error.filename or to
        raise NotFetched(
            f"{item.name} cannot be written or read ({where}: {error.strerror or error}): repair that, or set "
            "COURSE_CACHE to another folder"
        ) from None


def _unharmed(item: Item, within: Path) -> Path | None:
    """Return where an item lies, if nothing is wrong with it. A part is enough where no more is available."""
    here = real.find(item.name, within)
    if here is None or real.problem(item, within):
        return None
    if here != within / item.place:
        source = mirror()
        if source is None or real.find(item.name, source) == source / item.place:
            return None
    return here


@contextmanager
def _alone(staging: Path) -> Iterator[None]:
    """Wait until no other process is fetching the same item to the same folder."""
    from filelock import FileLock

    staging.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(staging.with_name(f"{staging.name}.lock")):
        yield


def _bar(item: Item, progress: bool):
    """A progress bar in bytes, shown on a terminal."""
    from tqdm import tqdm

    hidden = None if progress else True  # None: where nobody would see it
    return tqdm(total=round(item.megabytes * 1e6), desc=item.name, unit="B", unit_scale=True, disable=hidden)


def _no_room(item: Item, to: Path) -> NotFetched:
    return NotFetched(
        f"no space for {item.name} in {to}: it needs about {item.room / 1e6:,.3g} MB for a moment; free some, or set "
        "COURSE_CACHE to a folder on another disk. No half-written file was kept"
    )


def _make_room(item: Item, staging: Path, needed: int) -> None:
    """Check that an item fits, before anything is written.

    Raises:
        NotFetched: if it does not.
    """
    begun = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    if shutil.disk_usage(staging.parent).free < needed - begun:
        shutil.rmtree(staging, ignore_errors=True)
        raise _no_room(item, staging.parents[1])


def _move(staging: Path, place: str, to: Path) -> None:
    """Put what was made in its place in one step; a damaged predecessor is thrown away."""
    made, target = staging / "made" / place, to / place
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        shutil.rmtree(staging / "old", ignore_errors=True)
        os.replace(target, staging / "old")
    os.replace(made, target)
    shutil.rmtree(staging, ignore_errors=True)


# --- from a mirror ----------------------------------------------------------------------------------------------------


def _copy(item: Item, source: Path, staging: Path, bar) -> str:
    """Copy an item, or else a part of it, from a mirror; return its place."""
    place, paths = _in_mirror(item, source)
    bar.total = sum((source / path).stat().st_size for path in paths)
    _make_room(item, staging, bar.total)
    for path in paths:
        _copy_file(source / path, staging / "made" / path, bar)
    if wrong := real.problem(item, staging / "made"):
        shutil.rmtree(staging, ignore_errors=True)
        raise NotFetched(f"{item.name} in the mirror {source} cannot be used: {wrong}. Nothing of it was kept")
    return place


def _in_mirror(item: Item, source: Path) -> tuple[str, list[str]]:
    """Return the place of an item, or of a part of it, in a mirror, and the paths of its files."""
    there = [file.path for file in item.files if (source / file.path).is_file()]
    if len(there) == len(item.files):
        return item.place, there
    if item.part and real.is_part(source / item.part):
        return item.part, [path.relative_to(source).as_posix() for path in real.part_pictures(source / item.part)]
    if there:
        lost = next(file.path for file in item.files if file.path not in there)
        raise NotFetched(f"{item.name} is incomplete in the mirror {source}: {lost} is missing")
    beside = f", or a part of it in {item.part}/train and {item.part}/test" if item.part else ""
    raise NotFetched(f"{item.name} is not in the mirror {source}: it would be in {item.place}{beside}")


def _copy_file(source: Path, target: Path, bar) -> None:
    """Copy a file, unless a run that was stopped did so already."""
    if target.exists() and target.stat().st_size == source.stat().st_size:
        bar.update(target.stat().st_size)
        return
    with source.open("rb") as read, replacing(target) as written:
        while block := read.read(2**20):
            written.write(block)
            bar.update(len(block))


# --- from the network -------------------------------------------------------------------------------------------------


def _download(item: Item, staging: Path, bar) -> str:
    """Download an item and unpack it; return its place."""
    _make_room(item, staging, item.room)
    made = staging / "made"
    for source, files in _parts(item):
        targets = [made / file.path for file in files]
        if not all(target.is_file() for target in targets):
            archive = _get(item, source, staging, bar)
            _unpack(archive, targets)
            archive.unlink()
    if wrong := real.problem(item, made):
        shutil.rmtree(staging, ignore_errors=True)
        raise NotFetched(f"{item.name} was fetched, but {wrong}. Nothing of it was kept: try again")
    return item.place


def _parts(item: Item) -> list[tuple[Source, tuple[File, ...]]]:
    """Each source with the files it provides: a single archive provides all, otherwise each source provides one."""
    if len(item.sources) == 1:
        return [(item.sources[0], item.files)]
    return [(source, (file,)) for source, file in zip(item.sources, item.files, strict=True)]


def _unpack(archive: Path, targets: list[Path]) -> None:
    """Make the files from those of the same names in an archive; any other file is itself the only one."""
    for name, content in _content(archive):
        for target in targets:
            if name in (target.name, ""):
                with replacing(target) as file:
                    shutil.copyfileobj(content, file, 2**20)


def _content(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The name and content of each file in an archive; for any other file, "" and its own content."""
    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as packed:
            yield from ((Path(m.name).name, packed.extractfile(m)) for m in packed if m.isfile())
    elif archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            yield from ((Path(name).name, packed.open(name)) for name in packed.namelist())
    else:
        with gzip.open(archive) if archive.suffix == ".gz" else archive.open("rb") as file:
            yield "", file


def _get(item: Item, source: Source, staging: Path, bar) -> Path:
    """Download one file from the first address that gives the right one, continuing from what is already there."""
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")  # it would print the checksum of every file that has none on record
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    staging.mkdir(parents=True, exist_ok=True)
    failures = []
    for address in (address.format(hub=hub) for address in source.addresses):
        name = address.rsplit("/", 1)[-1]
        part = staging / f"{name}.part"
        for _ in range(2):  # once more, from the start, if what was there already is of no use
            resumed = part.exists()
            try:
                get = _Resuming(part, source.size, bar)
                found = Path(pooch.retrieve(address, source.checksum, name, staging, downloader=get))
                part.unlink(missing_ok=True)
                return found
            except (requests.RequestException, ValueError) as error:  # ValueError: pooch, about the checksum
                failures.append(f"{address}: {_reason(error)}")
                if isinstance(error, ValueError):
                    part.unlink(missing_ok=True)
                if not resumed or part.exists():
                    break
    if not any(staging.iterdir()):
        staging.rmdir()
    raise NotFetched(
        f"could not get {item.name} ({'; '.join(dict.fromkeys(failures))}): with a network, course fetch {item.name} "
        "continues where it stopped; without one, set COURSE_MIRROR to a folder that somebody has fetched"
    )


class _Resuming:
    """A downloader for pooch that asks only for what is not yet in the file `part`."""

    def __init__(self, part: Path, size: int | None, bar):
        self.part, self.size, self.bar = part, size, bar

    def __call__(self, url: str, output_file: str, _) -> None:
        try:
            with self.part.open("ab") as file:
                if file.tell() == 0 or file.tell() != self.size:
                    self.get(url, file)
            _hand_over(self.part, Path(output_file))
        finally:
            if self.part.exists() and not self.part.stat().st_size:
                self.part.unlink()

    def get(self, url: str, file) -> None:
        import pooch
        import requests
        from tqdm.utils import CallbackIOWrapper

        start = file.tell()

        def whole(response) -> bool:  # there is no such range, because everything is here already
            return response.status_code == 416 and response.headers.get("Content-Range") == f"bytes */{start}"

        def answered(response, **_) -> None:
            if start and response.status_code in (200, 416) and not whole(response):  # the server starts afresh
                file.truncate(0)

        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        download = pooch.HTTPDownloader(
            chunk_size=2**16, timeout=SECONDS, headers=headers, hooks={"response": answered}
        )
        self.bar.update(start)
        try:
            download(url, CallbackIOWrapper(self.bar.update, file, "write"), None)
        except requests.HTTPError as error:
            if not whole(error.response):
                raise


def _hand_over(part: Path, target: Path) -> None:
    """Give pooch the file without losing the part: a run killed while the checksum is computed still has all of it."""
    target.unlink(missing_ok=True)
    try:
        os.link(part, target)
    except OSError:  # a file system without links
        os.replace(part, target)


def _reason(error: Exception) -> str:
    """Say in a few words why a download failed; what libraries say about it fills a page."""
    import requests

    if isinstance(error, requests.HTTPError):
        return f"the server says {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy that HTTP_PROXY or HTTPS_PROXY names does not answer"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted here"
    if isinstance(error, requests.Timeout):
        return f"no answer within {SECONDS} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    if isinstance(error, requests.RequestException):
        return str(error) or type(error).__name__
    return "what it sent is not the expected file: its checksum differs"
