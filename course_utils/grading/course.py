"""Where a course keeps its things, nbgrader's configuration of it, and files that are written whole or not at all."""

import errno
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from nbgrader.converters.base import BaseConverter
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config

CONFIG = "nbgrader_config.py"
STAGED = "staged"  # folder in `Course.private`: submissions that are repaired already
IGNORED = {"mistakes.py", "__pycache__", ".ipynb_checkpoints", ".DS_Store"}


class CourseError(Exception):
    """Something that the person at the keyboard can put right; its text says how."""


class Blocked(CourseError):
    """Nothing can go on until this is put right: no room on the disk, a gradebook that others hold."""


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

    def private(self, name: str) -> Path:
        """Where the grader keeps what students must not see: the seed, hidden cases, results."""
        return self.root / ".grading" / name

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

    def config(self) -> "Config":
        """What `nbgrader_config.py` says."""
        from traitlets.config.loader import PyFileConfigLoader

        return PyFileConfigLoader(CONFIG, str(self.root)).load_config()

    def directory(self, **traits: str) -> "CourseDirectory":
        """nbgrader's view of the course, e.g. `directory(assignment_id="a1_markov_chains")`."""
        from nbgrader.coursedir import CourseDirectory

        return CourseDirectory(config=self.config(), **({"root": str(self.root)} | traits))


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


def make_gradebook(url: str) -> None:
    """Make an empty gradebook like nbgrader's, if there is none (nbgrader starts another Python for that: seconds).

    Raises:
        Blocked: another program holds it, for longer than the waiting time in its address.
        CourseError: it is another nbgrader's, or no gradebook at all.
    """
    import nbgrader
    from alembic.script import ScriptDirectory
    from nbgrader.api import Base
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.exc import DatabaseError, OperationalError

    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # waits for other writers
            tables = inspect(connection).get_table_names()
            head = ScriptDirectory(str(Path(nbgrader.__file__).parent / "alembic")).get_current_head()
            if not tables:
                Base.metadata.create_all(connection)
                connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
                connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": head})
            elif "alembic_version" not in tables or [head] != list(
                connection.scalars(text("SELECT version_num FROM alembic_version"))
            ):
                raise CourseError(
                    "the gradebook was made by another version of nbgrader: copy the file to a safe place, run "
                    "`nbgrader db upgrade`, then the same command again"
                )
            connection.commit()
    except OperationalError as error:
        raise _blocked(str(error)) or error from None
    except DatabaseError as error:  # it is no database, or damaged
        raise CourseError(
            f"the gradebook ({engine.url.database}) cannot be read ({error.orig}): put a copy of it back, or move it "
            "away (the grader's marks come back when you grade, marks given by hand do not)"
        ) from None
    finally:
        engine.dispose()


@contextmanager
def one_engine() -> Iterator[None]:
    """nbgrader opens its gradebook many times for each student; with one engine, a query is compiled once for all."""
    import nbgrader.api

    make = nbgrader.api.create_engine
    engines: dict[str, Any] = {}

    def create_engine(url: str, **options: Any) -> Any:
        if url not in engines:
            engines[url] = make(url, **options)
        return engines[url]

    nbgrader.api.create_engine = create_engine
    try:
        yield
    finally:
        nbgrader.api.create_engine = make
        for engine in engines.values():
            engine.dispose()


def _blocked(text: str) -> Blocked | None:
    if "database is locked" in text:
        return Blocked("the gradebook is in use by another program: close Formgrader and other graders, then try again")
    if "readonly database" in text or "unable to open database" in text:
        return Blocked("the gradebook cannot be written: give yourself the right to, then run the same command again")
    if "disk is full" in text or "No space left" in text:
        return Blocked("the disk is full: make room, then run the same command again")
    return None


@contextmanager
def quiet(log: Path | None = None):
    """Keep what nbgrader logs: in a file (when given) and in the list that is yielded, not on the terminal."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.getLogger("traitlets")
    before = logger.handlers, logger.propagate, logger.level
    handlers: list[logging.Handler] = [Keep(logging.WARNING)]
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log))
    logger.handlers, logger.propagate = handlers, False
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        for handler in handlers:
            handler.close()
        logger.handlers, logger.propagate = before[:2]
        logger.setLevel(before[2])


def convert(converter: "BaseConverter", log: Path | None = None) -> list[str]:
    """Run one of nbgrader's steps; its warnings.

    Raises:
        CourseError: it failed; the text is the last line of what nbgrader said about the cause.
    """
    from nbgrader.converters import NbGraderException
    from sqlalchemy.exc import SAWarning

    with quiet(log) as lines, warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # nbgrader's own
        try:
            converter.start()
        except NbGraderException as error:
            text = "\n".join(lines) or str(error)
            if blocked := _blocked(text):
                raise blocked from None
            causes = [line for line in text.splitlines() if "Error: " in line or "Exception: " in line]
            raise CourseError((causes or text.splitlines())[-1].strip()) from None
    return lines
