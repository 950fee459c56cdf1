"""nbgrader's own steps: its gradebook, made and opened once, and its converters, whose errors become sentences."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder.course import Blocked, Course
from course_utils.paths import CourseError

if TYPE_CHECKING:
    from nbgrader.converters.base import BaseConverter


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
def opened(course: Course) -> Iterator[Any]:
    """nbgrader's `Gradebook` of a course.

    Raises:
        Blocked: another program holds it, or it cannot be written.
    """
    from nbgrader.api import Gradebook
    from sqlalchemy.exc import OperationalError

    try:
        directory = course.directory()
        with Gradebook(directory.db_url, directory.course_id) as gradebook:
            yield gradebook
    except OperationalError as error:
        raise _blocked(str(error)) or error from None


@contextmanager
def one_engine() -> Iterator[None]:
    """nbgrader opens its gradebook many times for each student: now a query is compiled once for all of them.

    Nor are its dozen tables looked for each time: `make_gradebook` has made them.
    """
    import nbgrader.api

    make, metadata = nbgrader.api.create_engine, nbgrader.api.Base.metadata
    look = metadata.create_all
    engines: dict[str, Any] = {}

    def create_engine(url: str, **options: Any) -> Any:
        if url not in engines:
            engines[url] = make(url, **options)
            type(metadata).create_all(metadata, engines[url])
        return engines[url]

    nbgrader.api.create_engine = create_engine
    metadata.create_all = lambda **_: None
    try:
        yield
    finally:
        nbgrader.api.create_engine = make
        metadata.create_all = look
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
