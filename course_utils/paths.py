"""Where things are (this copy, a course's folders, the cache), and files that are written whole or not at all."""

import errno
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

ROOT = Path(__file__).resolve().parents[1]  # of this copy of the course
CONFIG = "nbgrader_config.py"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})  # the disk, or this user's share of it
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class CourseError(Exception):
    """Something that the person at the keyboard can put right; its text says how."""


@dataclass(frozen=True)
class Course:
    """The folder with `solutions/`, `assignments/`, `submitted/` and nbgrader's configuration."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Self:
        """Return the course around a folder.

        Raises:
            CourseError: if neither the folder nor one above it is a course.
        """
        start = Path(start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / CONFIG).is_file():
                return cls(folder)
        below = [config.parent for config in start.glob(f"*/{CONFIG}")] if os.environ.get("COLAB_RELEASE_TAG") else []
        if len(below) == 1:  # Colab works in /content, where the install cell puts a clone
            return cls(below[0])
        raise CourseError(f"{start} is not inside a course: go to the folder that holds {CONFIG} and run this again")

    def solution(self, name: str) -> Path:
        return self.root / "solutions" / name / f"{name}.ipynb"

    def released(self, name: str) -> Path:
        return self.root / "assignments" / name / f"{name}.ipynb"

    def names(self) -> list[str]:
        """Return the names of all assignments, released or not."""
        found = [p for room in ("solutions", "assignments") for p in (self.root / room).glob("*/*.ipynb")]
        return sorted({p.stem for p in found if p.stem == p.parent.name})

    def require(self, name: str, released: bool = True) -> str:
        """Return the name of an assignment.

        Raises:
            CourseError: if there is none of that name, or it has not been released.
        """
        if name not in self.names():
            raise CourseError(
                f"there is no assignment {name!r}: this course has {', '.join(self.names()) or 'none yet'}"
            )
        if released and not self.released(name).exists():
            raise CourseError(f"{name} has not been released: run `course release {name}` first")
        return name


def cache_folder() -> Path:
    """Return the folder for what is slow to make or to fetch. It need not exist.

    Returns:
        `$COURSE_CACHE`, else `$XDG_CACHE_HOME/course_utils`, else `~/.cache/course_utils`. As the XDG specification
        demands, an XDG_CACHE_HOME that is not absolute is ignored.
    """
    if os.environ.get("COURSE_CACHE"):
        return Path(os.environ["COURSE_CACHE"]).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    if home and os.path.isabs(home):
        return Path(home) / "course_utils"
    try:
        return Path.home() / ".cache" / "course_utils"
    except RuntimeError:  # a user without a home folder
        return Path(tempfile.gettempdir()) / "course_utils"


@contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Open a new file for writing, which takes its place at `path` once the block has ended without an error.

    Until then, and after an error, the old content stays. `autograder.temporary` knows the name the file has meanwhile.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, data: bytes | str, mode: int = 0o644) -> None:
    """Write a file whole, with its content on the disk when this returns; text is written as UTF-8."""
    with replacing(path, mode) as file:
        file.write(data.encode() if isinstance(data, str) else data)
        file.flush()
        os.fsync(file.fileno())


def explain(error: OSError) -> str:
    """Turn an error of the operating system into a sentence that says what to do."""
    place = f" ({error.filename})" if error.filename else ""
    if error.errno in FULL:
        return f"the disk is full{place}: make room, then run the same command again; nothing half-written was kept"
    if error.errno in FORBIDDEN:
        return f"{error.strerror}{place}: give yourself the right to write there, then run the same command again"
    return f"{error.strerror or error}{place}"
