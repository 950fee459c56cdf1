"""The files of a download, however it is packed: a folder or a zip, with zips in it.

Nothing is unpacked by the names in a zip: of a file that is wanted, the content is read, up to a limit.
"""

import lzma
import mmap
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from autograder.intake.plain_file import NotPlain, open_plain
from autograder.intake.submissions import MAX_WALK, shown
from autograder.limits import Limits, mib

JUNK = re.compile(r"\..*|__MACOSX|__pycache__|Thumbs\.db|desktop\.ini", re.IGNORECASE)
ENTRY = re.compile(rb"PK\x01\x02")  # what each file's row in a zip's table begins with


DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError) + (
    NotImplementedError,
    OverflowError,
    IndexError,
    KeyError,
)


class Refused(Exception):
    """Something from which nothing is taken; the text says why."""


@dataclass(frozen=True)
class Item:
    """A file of a download.

    Attributes:
        parts: its path in the download; a zip is a part like a folder.
        why: if nothing can be read from it: the reason.
    """

    parts: tuple[str, ...]
    time: datetime
    read: Callable[[int], bytes]
    why: str = ""

    @property
    def name(self) -> str:
        return self.parts[-1]

    @property
    def label(self) -> str:
        return "/".join(map(shown, self.parts))


def items(place: Path, limits: Limits) -> Iterator[Item]:
    """All files of a folder or a zip, in the order of their names; what cannot be read is an item that says why."""
    if place.is_dir():
        yield from islice(_folder(place, (), limits), MAX_WALK)
    else:
        yield from _guarded((place.name,), datetime.now(UTC), lambda: _of_class(place, limits))


def _folder(place: Path, parts: tuple[str, ...], limits: Limits) -> Iterator[Item]:
    try:
        entries = sorted(place.iterdir())
    except OSError as error:
        yield _left(parts, f"it cannot be opened ({error.strerror})")
        return
    entries = [path for path in entries if not JUNK.fullmatch(path.name)]
    if not entries and parts:
        yield _left(parts, "it is an empty folder")
    for path in entries:
        here = (*parts, path.name)
        if path.is_symlink():
            yield _left(here, "it is a link")
        elif path.is_dir():
            yield from _folder(path, here, limits)
        elif path.suffix.lower() == ".zip":
            yield from _guarded(here, _time(path), lambda path=path, here=here: _of_student(path, here, limits))
        else:
            yield Item(here, _time(path), lambda most, path=path: _bytes(path, most))


def _left(parts: tuple[str, ...], why: str) -> Item:
    return Item(parts, datetime.fromtimestamp(0, UTC), lambda most: b"", why)


def _guarded(parts: tuple[str, ...], time: datetime, unpack: Callable[[], list[Item]]) -> list[Item]:
    """The files of a zip, or the zip as one item that says why there are none."""
    try:
        return unpack()
    except Refused as reason:
        return [Item(parts, time, lambda most: b"", str(reason))]


# --- zips -------------------------------------------------------------------------------------------------------------


def _of_student(path: Path, parts: tuple[str, ...], limits: Limits) -> list[Item]:
    """A zip among other files: of one student, or a small class's."""
    most = 2 * limits.notebook_bytes
    return _members(BytesIO(_bytes(path, most)), parts, limits, limits.zip_files, strict=True)


def _of_class(path: Path, limits: Limits) -> list[Item]:
    """A zip that the instructor named: as large as a class's may be. Zips in it are opened, too."""
    found: list[Item] = []
    for item in _members(path, (), limits, MAX_WALK, strict=False):
        if item.why or not item.name.lower().endswith(".zip"):
            found.append(item)
            continue

        def unpack(item: Item = item) -> list[Item]:
            data = item.read(2 * limits.notebook_bytes)
            return _members(BytesIO(data), item.parts, limits, limits.zip_files, strict=True)

        found += _guarded(item.parts, item.time, unpack)
    return found


def _members(source: Path | BytesIO, parts: tuple[str, ...], limits: Limits, most: int, strict: bool) -> list[Item]:
    """The files of a zip as items; with `strict`, one that leads out of it costs the whole zip."""
    data = source.getbuffer() if isinstance(source, BytesIO) else _mapped(source)
    if sum(1 for _ in islice(ENTRY.finditer(data), most + 1)) > most:  # before the table is read, which takes long
        raise Refused(f"the zip holds more than {most} files")
    archive = _damage(lambda: zipfile.ZipFile(source))
    found = []
    for member in archive.infolist():
        names = [n for n in member.filename.replace("\\", "/").split("/") if n not in ("", ".")]
        if member.is_dir() or not names:
            continue
        why = ""
        if ".." in names or member.filename[:1] in "/\\" or ":" in names[0]:
            why = f"the zip holds a path that leads out of it ({shown(member.filename)})"
        elif stat.S_ISLNK(member.external_attr >> 16):
            why = f"the zip holds a link ({shown(member.filename)})"
        if why and strict:
            raise Refused(why)
        if not any(JUNK.fullmatch(n) for n in names):
            found.append(Item((*parts, *names), _packed(member), partial(_content, archive, member), why))
    if not found:
        raise Refused("the zip holds no files")
    return found


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    return _damage(lambda: _member(archive, member, most))


def _damage(step: Callable) -> Any:
    """What a step of reading a zip gives.

    Raises:
        Refused: the zip is damaged, or locked.
    """
    try:
        return step()
    except DAMAGED as error:
        raise Refused(f"the zip is damaged ({type(error).__name__}: {str(error)[:80]})") from None
    except RuntimeError:  # what zipfile says about encryption
        raise Refused("the zip is locked with a password") from None


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """The file's content; never more than `most` bytes are unpacked, whatever the zip says of its size."""
    with archive.open(member) as file:
        data = file.read(most + 1)
    if len(data) > most or member.file_size > most:
        raise Refused(f"{shown(member.filename)} in the zip is larger than {mib(most)} MiB")
    return data


def _packed(member: zipfile.ZipInfo) -> datetime:
    """When the file was packed: a zip has local time, or nonsense."""
    try:
        return min(datetime(*member.date_time).astimezone(UTC), datetime.now(UTC))
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


# --- files ------------------------------------------------------------------------------------------------------------


def _mapped(path: Path) -> mmap.mmap | bytes:
    if not path.is_file():
        raise Refused("it is no plain file")
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""


def _time(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):
        return datetime.fromtimestamp(0, UTC)


def _bytes(path: Path, most: int) -> bytes:
    """Content of a plain file of a sane size.

    Raises:
        Refused: it is none.
    """
    if path.is_symlink():
        raise Refused("it is a link")
    try:
        file, status = open_plain(path)
    except NotPlain:
        raise Refused("it is no plain file") from None
    except OSError as error:
        raise Refused(f"it cannot be opened ({error.strerror})") from None
    with file:
        if status.st_size > most:
            raise Refused(f"it is too large ({mib(status.st_size)} MiB; {mib(most)} are allowed)")
        return file.read(most)
