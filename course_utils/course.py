"""Where a course keeps its things, and files that are written whole or not at all."""

import errno
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

CONFIG = "nbgrader_config.py"


class CourseError(Exception):
    """Something that the person at the keyboard can put right; its text says how."""


@dataclass(frozen=True)
class Course:
    """The folder with `solutions/`, `assignments/`, `submitted/` and nbgrader's configuration."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Self:
        """The course around a folder.

        Raises:
            CourseError: neither the folder nor one above it is a course.
        """
        start = Path(start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / CONFIG).is_file():
                return cls(folder)
        raise CourseError(f"{start} is not inside a course: go to the folder that holds {CONFIG} and run this again")

    def solution(self, name: str) -> Path:
        return self.root / "solutions" / name / f"{name}.ipynb"

    def released(self, name: str) -> Path:
        return self.root / "assignments" / name / f"{name}.ipynb"

    def names(self) -> list[str]:
        """All assignments, released or not."""
        found = [p for room in ("solutions", "assignments") for p in (self.root / room).glob("*/*.ipynb")]
        return sorted({p.stem for p in found if p.stem == p.parent.name})

    def require(self, name: str, released: bool = True) -> str:
        """The name, if there is such an assignment.

        Raises:
            CourseError: there is none, or it has not been released.
        """
        if name not in self.names():
            raise CourseError(
                f"there is no assignment {name!r}: this course has {', '.join(self.names()) or 'none yet'}"
            )
        if released and not self.released(name).exists():
            raise CourseError(f"{name} has not been released: run `course release {name}` first")
        return name


def write(path: Path, data: bytes | str, mode: int = 0o644) -> None:
    """Write a file whole: another name first, then moved into its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def explain(error: OSError) -> str:
    """An error of the operating system as a sentence that says what to do."""
    place = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{place}: make room, then run the same command again; nothing half-written was kept"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.strerror}{place}: give yourself the right to write there, then run the same command again"
    return f"{error.strerror or error}{place}"
