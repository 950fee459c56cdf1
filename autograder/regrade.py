"""`course regrade`: after a check was corrected, whose marks change from what to what; and the way back.

Before it begins, the gradebook and the graded notebooks are copied; `undo` brings the marks of the assignment back from
the last copy, and leaves everything else in the gradebook (marks given by hand since, other assignments) as it is.
"""

import json
import shutil
import sqlite3
import zipfile
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from autograder.author.generate import points_of
from autograder.book.gradebook import publish
from autograder.book.sheets import Sheet, sheets
from autograder.course import Assignment, Course
from autograder.grade import alone, grade
from autograder.intake.submissions import submissions
from autograder.run.options import DEFAULTS, Options
from autograder.stock import make_gradebook
from autograder.temporary import temporary_folder
from course_utils.notebook import grading, read
from course_utils.paths import CourseError, replacing, write

COPIES = "before"  # folder in `Assignment.private`: a dated folder per regrade
GRADEBOOK, NOTEBOOKS, MARKS, DONE = "gradebook.db", "autograded.zip", "marks.json", "done"


@dataclass
class Change:
    """One student's marks before and after.

    Attributes:
        cells: the cells whose marks changed: name -> (before, after); None for one that a person has to mark.
    """

    student: str
    before: float
    after: float
    cells: dict[str, tuple[float | None, float | None]]

    def line(self) -> str:
        parts = [f"{c.removeprefix('check_')} {_said(a)} → {_said(b)}" for c, (a, b) in self.cells.items()]
        return f"{self.student}: {self.before:.4g} → {self.after:.4g} ({', '.join(parts)})"


@dataclass
class Outcome:
    """What a regrade did.

    Attributes:
        same: how many students' marks are as they were.
        notes: what else is to be said, about students whom it could not grade.
        copy: the folder that `undo` goes back to; None if nothing changed.
    """

    changes: list[Change]
    same: int
    notes: list[str]
    copy: Path | None


def regrade(assignment: Assignment, options: Options = DEFAULTS) -> Outcome:
    """Grade again who is in the gradebook; a notebook runs again only if its hidden cases (or it) have changed.

    Raises:
        CourseError: nobody has been graded yet, or the release does not fit the check.
    """
    database = _database(assignment.course)
    _require_release(assignment)
    found = sheets(assignment)
    if not found:
        raise CourseError(f"nobody has been graded in {assignment.name} yet: run `course grade {assignment.name}`")
    there = {s.student for s in submissions(assignment)}
    gone = [s.student for s in found if s.student not in there]
    notes = [f"{student} is no longer in submitted/: marks as they were" for student in gone]
    folder, before = _begin(assignment, database, found)
    if students := [s.student for s in found if s.student in there]:
        for _, _, sheet in grade(assignment, students, options):
            if sheet.failed:
                notes.append(sheet.line())
    after = _marks(sheets(assignment))
    changes = _changes(before, after)
    if changes or _notebooks_differ(assignment, folder):
        write(folder / DONE, "", 0o600)
        return Outcome(changes, len(after) - len(changes), notes, folder)
    shutil.rmtree(folder)
    return Outcome([], len(after), notes, None)


def undo(assignment: Assignment) -> Outcome:
    """Bring back the marks, graded notebooks and mark sheets of before the last regrade.

    Raises:
        CourseError: there was no regrade, or all of them are undone.
    """
    database = _database(assignment.course)
    copies = sorted((assignment.private / COPIES).glob(f"*/{MARKS}"))
    if not copies:
        raise CourseError(f"there is no regrade of {assignment.name} to undo")
    folder = copies[-1].parent
    with alone(assignment):
        before = _marks(sheets(assignment))
        _restore(database, folder / GRADEBOOK, assignment.name)
        with zipfile.ZipFile(folder / NOTEBOOKS) as archive:
            for student in archive.namelist():
                write(assignment.graded(student), archive.read(student))
        publish(assignment)
        after = _marks(sheets(assignment))
        (folder / MARKS).rename(folder / f"undone-{MARKS}")  # the copy is no longer one to go back to, and stays
    changes = _changes(before, after)
    return Outcome(changes, len(after) - len(changes), [], None)


# --- what changed -----------------------------------------------------------------------------------------------------


def _marks(found: list[Sheet]) -> dict[str, Any]:
    """As JSON holds it: student -> points in all, and cells."""
    return {s.student: {"points": s.points, "cells": {n: p for n, (p, _) in s.cells.items()}} for s in found}


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    changes = []
    for student, now in after.items():
        old = before.get(student, {"points": 0.0, "cells": {}})
        cells = {n: (old["cells"].get(n), p) for n, p in now["cells"].items() if old["cells"].get(n) != p}
        if cells or old["points"] != now["points"]:
            changes.append(Change(student, old["points"], now["points"], cells))
    return changes


def _said(points: float | None) -> str:
    return "?" if points is None else f"{points:.3g}"


def _require_release(assignment: Assignment) -> None:
    """The released notebook says what each exercise is worth; a correction may have changed that."""
    cells = [grading(c) for c in read(assignment.released).cells]
    released = {g["grade_id"]: g["points"] for g in cells if g.get("grade")}
    for exercise, points in points_of(assignment).items():
        if (given := released.get(f"check_{exercise}")) != points:
            was = "is not in the released notebook" if given is None else f"is worth {given:g} in the released notebook"
            said = f"{exercise} {was} and {points:g} in mistakes.py"
            raise CourseError(f"{said}: run `course release {assignment.name}` first")


# --- copies -----------------------------------------------------------------------------------------------------------


def _begin(assignment: Assignment, database: Path, found: list[Sheet]) -> tuple[Path, dict[str, Any]]:
    """The copy to go back to and the marks in it; that of a regrade which was interrupted is used on."""
    room = assignment.private / COPIES
    last = max((p.parent for p in room.glob(f"*/{MARKS}")), default=None)
    if last and not (last / DONE).exists():
        return last, json.loads((last / MARKS).read_text())
    folder = room / f"{datetime.now():%Y-%m-%d %H-%M-%S.%f}"
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    _copy(database, folder / GRADEBOOK)
    with temporary_folder() as temporary:
        path = Path(temporary) / NOTEBOOKS
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for student in [s.student for s in found if assignment.graded(s.student).is_file()]:
                archive.writestr(student, assignment.graded(student).read_bytes())
        write(folder / NOTEBOOKS, path.read_bytes(), 0o600)
    marks = _marks(found)
    write(folder / MARKS, json.dumps(marks), 0o600)  # last: the copy is whole
    return folder, marks


def _notebooks_differ(assignment: Assignment, folder: Path) -> bool:
    """Whether there is a new result, even one that gives the same marks."""
    with zipfile.ZipFile(folder / NOTEBOOKS) as archive:
        paths = {s: assignment.graded(s) for s in archive.namelist()}
        return any(not path.is_file() or archive.read(s) != path.read_bytes() for s, path in paths.items())


def _database(course: Course) -> Path:
    url = make_url(course.directory().db_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise CourseError("regrade copies gradebooks that are an SQLite file; copy yours by hand, then `course grade`")
    make_gradebook(course.directory().db_url)
    return Path(url.database)


def _copy(database: Path, target: Path) -> None:
    """A whole copy, whoever writes at the same time (SQLite's online backup)."""
    with replacing(target, 0o600) as file, closing(sqlite3.connect(database, timeout=30)) as source:
        with closing(sqlite3.connect(file.name)) as copy:
            source.backup(copy)


def _restore(database: Path, copy: Path, name: str) -> None:
    """Give the grades of an assignment the automatic marks of the copy; what persons gave stays."""
    changed = """
        select grade.id from grade join old.grade as was on was.id = grade.id and was.auto_score is not grade.auto_score
        join submitted_notebook as n on n.id = grade.notebook_id
        join submitted_assignment as s on s.id = n.assignment_id join assignment as a on a.id = s.assignment_id
        where a.name = ?
    """
    was = "select auto_score, needs_manual_grade from old.grade where id = grade.id"
    with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as db:
        db.execute("attach ? as old", (str(copy),))
        db.execute(f"update grade set (auto_score, needs_manual_grade) = ({was}) where id in ({changed})", (name,))
