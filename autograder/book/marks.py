"""Marks for other systems: an export of Canvas or Moodle filled in beside the original, Gradescope's results, a table.

Whose row it is goes by numbers and logins, by a name only where one person has it. Nothing is guessed, and no export is
written over.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.book.sheets import Sheet, sheets, why
from autograder.course import Assignment, Course
from autograder.intake.roster import Person, Roster, load_roster, people_of
from autograder.notes import sentence
from autograder.stock import make_gradebook
from autograder.table import Table, read_table
from course_utils.names import composed, folded
from course_utils.notebook import read
from course_utils.paths import CourseError, write

CANVAS = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
POSSIBLE = "    Points Possible"
GRADE, MOST = "Grade", "Maximum Grade"  # Moodle's columns
NUMBER = re.compile(r"\s*\((\d+)\)\s*$")  # Canvas's, behind an assignment's title


@dataclass
class Marks:
    """A table that is to be written, and what is to be said of it.

    Attributes:
        changes: (student, what stood there, what stands there now).
    """

    table: Table
    changes: list[tuple[str, str, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def write_marks(
    assignment: Assignment, system: str, path: Path, to: Path | None = None, column: str = "", dry: bool = False
) -> list[str]:
    """Write the marks of an assignment for another system; what is to be said.

    Args:
        system: "canvas" or "moodle": `path` is what it exported (of Canvas also a new file); "csv": a new table;
            "gradescope": a folder for a results.json of each student.
        to: what is written; by default a file beside the export, called after it and the assignment.
        column: the title of the assignment in the export, or its number there; by default it is looked for.
        dry: nothing is written.

    Raises:
        CourseError: the export is none, the assignment is not clear, or nobody has been graded.
    """
    make_gradebook(assignment.course.directory().db_url)
    found = {sheet.student: sheet for sheet in sheets(assignment)}
    if not found:
        raise CourseError(f"nobody has been graded in {assignment.name} yet: run `course grade {assignment.name}`")
    said = _waiting(found)
    if system == "gradescope":
        return [*_results(found, to or path, dry), *said]
    fill: Callable[..., Marks] = {"canvas": _canvas, "moodle": _moodle, "csv": _plain}[system]
    marks = fill(assignment, found, path, column)
    target = to or (path.with_name(f"{path.stem}_{assignment.name}.csv") if path.exists() and system != "csv" else path)
    if path.exists() and system != "csv" and target.exists() and target.samefile(path):
        raise CourseError(f"{path} is the export itself: name another file with --to")
    lines = [f"{student}: {before or 'nothing'} → {now}" for student, before, now in marks.changes if before != now]
    if dry:
        return [*lines, f"{len(lines)} marks would change in {target}; nothing was written", *marks.said, *said]
    marks.table.save(target)
    return [f"{len(marks.changes)} marks written to {target}, {len(lines)} of them new or other", *marks.said, *said]


def _waiting(found: dict[str, Sheet]) -> list[str]:
    waiting = sum(bool(sheet.waiting) for sheet in found.values())
    if not waiting:
        return []
    return [f"{waiting} of {len(found)} wait for marks given by hand: theirs are written as they stand"]


# --- whose row it is --------------------------------------------------------------------------------------------------


def rows_of(table: Table, students: list[str], roster: Roster) -> tuple[dict[str, int], list[str]]:
    """The row of each student, and a sentence for each who has none."""
    people = {number: person for number, row in enumerate(table.rows) if (person := _person(table, row))}
    claims: dict[int, list[str]] = defaultdict(list)
    left = []
    for student in students:
        known = next((p for p in roster.people if p.student == student), None)
        fits = _rows(people, student, known)
        if len(fits) == 1:
            claims[fits[0]].append(student)
        elif fits:
            left.append(
                f"{student} is left out: {len(fits)} rows of {table.path.name} are called so; say who in a roster"
            )
        else:
            left.append(f"{student} is not in {table.path.name}")
    found = {}
    for row, those in claims.items():
        own = those if len(those) == 1 else [s for s in those if s in map(str.strip, table.rows[row])]
        if len(own) == 1:
            found[own[0]] = row
        left += [
            f"{s} is left out: the row in {table.path.name} is {', '.join(own) or 'claimed twice'}"
            for s in those
            if [s] != own
        ]
    return found, left


def _person(table: Table, row: list[str]) -> Person | None:
    people = people_of(Table(table.header, [row], path=table.path))
    return people[0] if people else None


def _rows(people: dict[int, Person], student: str, known: Person | None) -> list[int]:
    """The rows that fit: those with a number or login of the student's, else those with the name."""
    keys = {folded(student)} | (set(known.keys) if known else set())
    if by_key := [row for row, person in people.items() if keys & person.keys]:
        return by_key
    name = known.name if known else student
    return [row for row, person in people.items() if name and Roster([person]).named(name)]


# --- Canvas -----------------------------------------------------------------------------------------------------------


def _canvas(assignment: Assignment, found: dict[str, Sheet], path: Path, column: str) -> Marks:
    """The layout that Canvas's gradebook exports and imports.

    Its students, their numbers and the assignment's own title are kept; no other assignment is written, so that nothing
    else changes in Canvas.

    Source: canvas-lms, lib/gradebook_exporter.rb and lib/gradebook_importer.rb (columns; who is found by which).
    """
    most = f"{max(sheet.most for sheet in found.values()):.2f}"
    if not path.exists():
        rows = [[student, "", "", student, ""] for student in found]
        rows = [[POSSIBLE, "", "", "", "", most], *([*row, ""] for row in rows)]
        return _filled(assignment.course, Table([*CANVAS, assignment.name], rows, path=path), found, 5)
    export = read_table(path)
    if export.header[:2] != CANVAS[:2] or "Section" not in export.header:
        raise CourseError(f"{path} is there and is no export of Canvas's gradebook: name another file, or delete it")
    width = export.header.index("Section") + 1
    place = _column(export.header, width, assignment, column)
    kept = [row for row in export.rows if row[0].strip() != POSSIBLE.strip() and any(row[:width])]
    possible = next((row[place] for row in export.rows if row[0].strip() == POSSIBLE.strip()), most)
    table = Table([*export.header[:width], export.header[place]], [[*r[:width], r[place]] for r in kept])
    table.encoding, table.delimiter, table.path = export.encoding, export.delimiter, path
    marks = _filled(assignment.course, table, found, width)
    table.rows.insert(0, [POSSIBLE, *[""] * (width - 1), possible or most])
    return _with_scale(marks, possible, most, "Canvas")


def _column(header: list[str], width: int, assignment: Assignment, column: str) -> int:
    """Where the assignment stands in an export: by its title, its own name or its number; never a guess.

    Raises:
        CourseError: none fits, or several do; it lists them.
    """
    titles = {place: title for place, title in enumerate(header) if place >= width}
    numbered = [place for place, title in titles.items() if NUMBER.search(title)] or list(titles)
    heading = re.search(r"^# (.+)", "\n".join(c.source for c in read(assignment.released).cells), re.MULTILINE)
    name = assignment.name
    wanted = {_words(text) for text in ([column] if column else [name, heading[1] if heading else name])}
    fits = [p for p, title in titles.items() if column and column in (title.strip(), _number(title))]
    fits = fits or [p for p, title in titles.items() if _words(NUMBER.sub("", title)) in wanted]
    if len(fits) == 1:
        return fits[0]
    listed = ", ".join(repr(titles[p]) for p in (fits or numbered)[:12]) or "none"
    raise CourseError(f"which assignment of the export is {name}? Say it with --column, one of: {listed}")


def _number(title: str) -> str:
    found = NUMBER.search(title)
    return found[1] if found else ""


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", folded(text).replace("_", " ")))


# --- Moodle and others ------------------------------------------------------------------------------------------------


def _moodle(assignment: Assignment, found: dict[str, Sheet], path: Path, column: str) -> Marks:
    """Moodle's offline grading worksheet, every other column of it as it was."""
    if not path.exists():
        raise CourseError(f"{path} is not there: download the grading worksheet of the assignment first")
    table = read_table(path)
    place, most = table.column(column or GRADE), table.column(MOST)
    if table.column("Identifier") is None or place is None:
        raise CourseError(
            f"{path} is no grading worksheet of Moodle's: it needs columns Identifier and {column or GRADE}"
        )
    marks = _filled(assignment.course, table, found, place)
    possible = next((row[most] for row in table.rows if most is not None and row[most]), "")
    return _with_scale(marks, possible, f"{max(sheet.most for sheet in found.values()):.2f}", "Moodle")


def _filled(course: Course, table: Table, found: dict[str, Sheet], place: int) -> Marks:
    marks = Marks(table)
    rows, marks.said = rows_of(table, list(found), load_roster(course))
    for student, row in rows.items():
        now = f"{found[student].points:.2f}"
        before = table.rows[row][place].strip()
        marks.changes.append((student, before, now))
        if not _same(before, now):
            table.rows[row][place] = now
    marks.changes = [(s, now if _same(before, now) else before, now) for s, before, now in marks.changes]
    return marks


def _same(before: str, now: str) -> bool:
    try:
        return float(before.replace(",", ".")) == float(now)
    except ValueError:
        return False


def _with_scale(marks: Marks, possible: str, most: str, system: str) -> Marks:
    if possible and not _same(possible, most):
        marks.said.append(
            f"note: {system} gives {possible} points at most, the assignment {most}: marks are not scaled"
        )
    return marks


def _plain(assignment: Assignment, found: dict[str, Sheet], path: Path, column: str) -> Marks:
    """A table of everybody: points, what is waiting, each graded cell."""
    names = {p.student: p.name for p in load_roster(assignment.course).people}
    cells = list(dict.fromkeys(cell for sheet in found.values() for cell in sheet.cells))
    header = ["student", "name", "points", "of", "to be marked by hand", *(c.removeprefix("check_") for c in cells)]
    table, marks = Table(header, [], "utf-8-sig", path=path), []
    for student, s in found.items():
        each = [s.cells.get(cell, (None, 0))[0] for cell in cells]
        row = [student, names.get(student, ""), f"{s.points:g}", f"{s.most:g}", f"{s.waiting:g}"]
        table.rows.append([*row, *("" if points is None else f"{points:g}" for points in each)])
        marks.append((student, "", f"{s.points:g}"))
    return Marks(table, marks)


def results(sheet: Sheet) -> dict[str, Any]:
    """A student's marks as Gradescope reads them from results.json.

    Source: Gradescope's autograder documentation, "Output format".
    """
    tests = []
    for cell, (points, most) in sheet.cells.items():
        verdict = sheet.verdicts.get(cell)
        said = why(verdict) if verdict else "to be marked by hand" if points is None else ""
        tests.append({"name": cell.removeprefix("check_"), "score": points or 0, "max_score": most, "output": said})
    notes = "\n".join(sentence(note) for note in sheet.trouble)
    return {"score": sheet.points, "output": notes, "visibility": "visible", "tests": tests}


def _results(found: dict[str, Sheet], folder: Path, dry: bool) -> list[str]:
    for student, sheet in found.items() if not dry else ():
        text = json.dumps(results(sheet), indent=1, ensure_ascii=False) + "\n"
        write(folder / composed(student) / "results.json", text)
    return [f"{len(found)} results {'would be ' * dry}written to {folder}/STUDENT/results.json"]
