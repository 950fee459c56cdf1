"""`course grade --import FOLDER`: packed hand-ins and plain notebooks from a folder of downloads into `submitted/`.

Nothing is unpacked by the names in a zip: of each file one notebook (and its receipt) is read, up to a limit, and
written to where it belongs. Whatever a file holds ends in one sentence about it.
"""

import hashlib
import json
import os
import stat
import zipfile
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from autograder.course import Course
from autograder.intake.plain_file import NotPlain, open_plain
from autograder.intake.submissions import shown, student_name
from autograder.limits import Limits, mib
from course_utils.paths import CourseError, write
from course_utils.student import RECEIPT, TIMESTAMP

KEPT = "earlier"  # folder in `Course.private`: hand-ins that were replaced
STAMP = "%Y-%m-%d %H:%M:%S.%f"


@dataclass
class Arrival:
    """What became of one file of the folder.

    Attributes:
        said: a sentence about it.
        left: it is not in `submitted/`, and nothing of its student's is in its place.
    """

    file: str
    said: str
    left: bool = False


@dataclass
class _HandIn:
    file: str
    student: str
    notebook: bytes
    time: datetime
    receipt: bytes | None = None
    notes: tuple[str, ...] = ()
    own_name: bool = True  # the file is called after the student


class _Refused(Exception):
    """A file from which nothing is taken; the text says why."""


def take_in(course: Course, name: str, folder: Path) -> list[Arrival]:
    """Put what a folder holds for an assignment into `submitted/`; a sentence for every file.

    Of several for one student, a file that is called after the student goes before others, then the newest. What is in
    `submitted/` already stays if it is newer; what is replaced is kept in the grader's private folder.

    Raises:
        CourseError: there is no such folder.
    """
    if not folder.is_dir():
        raise CourseError(f"{folder} is no folder: name the one that holds the hand-ins (*.zip, *.ipynb)")
    arrivals, found, limits = [], [], course.limits(name)
    for path in sorted(p for p in folder.iterdir() if not p.name.startswith(".")):
        try:
            found.append(_read(course, name, path, limits))
        except _Refused as reason:
            arrivals.append(Arrival(shown(path.name), f"left where it is: {reason}", left=True))
    found.sort(key=lambda h: (h.student, h.own_name, h.time))
    last = {hand_in.student: hand_in for hand_in in found}
    for hand_in in found:
        if hand_in is not (best := last[hand_in.student]):
            said = f"left where it is: {best.file} is taken for {hand_in.student}"
            arrivals.append(Arrival(hand_in.file, said))
            continue
        try:
            arrivals.append(Arrival(hand_in.file, " ".join([_put(course, name, hand_in), *hand_in.notes])))
        except _Refused as reason:
            arrivals.append(Arrival(hand_in.file, f"left where it is: {reason}", left=True))
    return sorted(arrivals, key=lambda a: a.file)


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(course: Course, name: str, path: Path, limits: Limits) -> _HandIn:
    stem = path.stem.removesuffix(f"_{name}")
    others = [other for other in course.names() if other != name and path.stem.endswith(f"_{other}")]
    if path.suffix not in (".zip", ".ipynb"):
        raise _Refused("it is neither a zip nor a notebook")
    if others:
        raise _Refused(f"it is for {others[0]}, by its name")
    data, time = _bytes(path, limits)
    if path.suffix == ".ipynb":
        return _HandIn(shown(path.name), _folder(stem), data, time)
    try:
        notebook, receipt, notes = _unpack(data, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError) as error:
        raise _Refused(f"the zip is damaged ({type(error).__name__}: {str(error)[:80]})") from None
    except RuntimeError:  # what zipfile says about encryption
        raise _Refused("the zip is locked with a password") from None
    says = _receipt(receipt)
    if says.get("assignment", name) != name:
        raise _Refused(f"it is for {shown(str(says['assignment']))}, by its receipt")
    student = _folder(str(says.get("name", stem)))
    fits = says.get("sha256") == hashlib.sha256(notebook).hexdigest()
    if receipt is None:
        notes.append("It has no receipt.")
    elif not fits:
        notes.append("Its receipt is of another notebook: it was changed after it was packed.")
    if student != (own := _folder(stem)) and receipt is not None:
        notes.append(f"By its receipt it is {student}'s; the file is called after {own}.")
    packed = _time(str(says.get("time"))) if fits else None
    return _HandIn(
        shown(path.name), student, notebook, packed or time, receipt if fits else None, tuple(notes), student == own
    )


def _bytes(path: Path, limits: Limits) -> tuple[bytes, datetime]:
    """Content and time of a plain file of a sane size."""
    if path.is_symlink():
        raise _Refused("it is a link")
    if not path.is_file():
        raise _Refused("it is no plain file")
    try:
        file, status = open_plain(path)
    except NotPlain:
        raise _Refused("it is no plain file") from None
    except OSError as error:
        raise _Refused(f"it cannot be opened ({error.strerror})") from None
    with file:
        most = limits.notebook_bytes * (2 if path.suffix == ".zip" else 1)
        if status.st_size > most:
            raise _Refused(f"it is too large ({mib(status.st_size)} MiB; {mib(most)} are allowed)")
        return file.read(most), datetime.fromtimestamp(status.st_mtime, UTC)


def _unpack(data: bytes, limits: Limits) -> tuple[bytes, bytes | None, list[str]]:
    """The one notebook of a zip, its receipt, and what else is to be said."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        if len(members) > limits.zip_files:
            raise _Refused(f"the zip holds {len(members)} files; {limits.zip_files} are allowed")
        for member in members:
            parts = member.filename.replace("\\", "/").split("/")
            if ".." in parts or parts[0] == "" or ":" in parts[0]:
                raise _Refused(f"the zip holds a path that leads out of it ({shown(member.filename)})")
            if stat.S_ISLNK(member.external_attr >> 16):
                raise _Refused(f"the zip holds a link ({shown(member.filename)})")
        members = [m for m in members if not m.filename.startswith(("__MACOSX/", "."))]
        notebooks = [m for m in members if m.filename.endswith(".ipynb")]
        if len(notebooks) != 1:
            raise _Refused(f"the zip holds {len(notebooks) or 'no'} notebook{'s' * bool(notebooks)}; it must hold one")
        receipts = [m for m in members if m.filename.rpartition("/")[2] == RECEIPT]
        others = [shown(m.filename) for m in members if m not in notebooks + receipts[:1]]
        notes = [f"Not taken from the zip: {', '.join(others[:5])}{' …' if len(others) > 5 else ''}."] if others else []
        receipt = _member(archive, receipts[0], 10_000) if receipts else None
        return _member(archive, notebooks[0], limits.notebook_bytes), receipt, notes


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """The file's content; never more than `most` bytes are unpacked, whatever the zip says of its size."""
    with archive.open(member) as file:
        data = file.read(most + 1)
    if len(data) > most or member.file_size > most:
        raise _Refused(f"{shown(member.filename)} in the zip is larger than {mib(most)} MiB")
    return data


def _receipt(data: bytes | None) -> dict[str, Any]:
    try:
        says = json.loads(data or b"{}")
        return says if isinstance(says, dict) else {}
    except (ValueError, RecursionError):
        return {}


def _folder(name: str) -> str:
    """The student's folder in `submitted/`."""
    student = student_name(name)
    if student != Path(student).name or "\\" in student or len(os.fsencode(student)) > 200:
        raise _Refused(f"{shown(name)!r} cannot be a student's name")
    return student


def _time(text: str) -> datetime | None:
    """A time that a receipt may have: none that is still to come."""
    try:
        time = datetime.fromisoformat(text)
        return min(time if time.tzinfo else time.replace(tzinfo=UTC), datetime.now(UTC))
    except (ValueError, OverflowError):
        return None


# --- writing ----------------------------------------------------------------------------------------------------------


def _put(course: Course, name: str, hand_in: _HandIn) -> str:
    """Write a hand-in to its place; what was done."""
    folder = course.root / "submitted" / hand_in.student / name
    for place in (folder.parent, folder):
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise _Refused(f"{place.relative_to(course.root)} is there already, and is no folder")
    path = folder / f"{name}.ipynb"
    if path.is_symlink():
        raise _Refused(f"{path.relative_to(course.root)} is there already, and is a link")
    said = f"taken for {hand_in.student}."
    if path.exists():
        before = path.read_bytes()
        if before == hand_in.notebook:
            return f"was there already, for {hand_in.student}."
        there = _time_of(folder, path)
        if there > hand_in.time:
            raise _Refused(f"submitted/{hand_in.student} holds a newer one, of {there:%Y-%m-%d %H:%M:%S} UTC")
        kept = course.private(name) / KEPT / hand_in.student / f"{there:%Y-%m-%d %H-%M-%S-%f}.ipynb"
        write(kept, before, 0o600)
        said = f"taken for {hand_in.student}; the earlier one is kept as {kept.relative_to(course.root)}."
    write(path, hand_in.notebook)
    write(folder / TIMESTAMP, f"{hand_in.time:{STAMP}} UTC\n")  # nbgrader reads it
    if hand_in.receipt is not None:
        write(folder / RECEIPT, hand_in.receipt)
    else:
        (folder / RECEIPT).unlink(missing_ok=True)
    return said


def _time_of(folder: Path, path: Path) -> datetime:
    try:
        text = (folder / TIMESTAMP).read_text()[:200].strip().removesuffix(" UTC")
    except (OSError, UnicodeDecodeError):
        text = ""
    return _time(text) or datetime.fromtimestamp(path.stat().st_mtime, UTC)
