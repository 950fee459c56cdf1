"""What became of each hand-in: marks, verdicts and notes, from the gradebook and the graded notebooks."""

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from autograder.book import late
from autograder.course import Assignment
from autograder.notes import NOTES, UNANSWERED, Kind, Note, brief, from_json, note, sentence
from autograder.stock import opened
from course_utils.checking.verdict import Verdict
from course_utils.notebook import grade_id, read

if TYPE_CHECKING:
    from nbgrader.api import Grade

FAILED = "failed.json"  # in `Assignment.private`


@dataclass
class Sheet:
    """One student's marks, and the reasons for them.

    Attributes:
        cells: marks per graded cell, (points, most); None where a person has to mark.
        judged: the graded cells whose verdict was made outside the student's process.
        remarks: lateness, and marks given by hand that need a second look or stand in place of the grader's.
        failed: the grader could not do its work for this student.
    """

    student: str
    points: float = 0.0
    most: float = 0.0
    cells: dict[str, tuple[float | None, float]] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    usage: dict[str, float] = field(default_factory=dict)
    remarks: list[Note] = field(default_factory=list)
    failed: bool = False

    @property
    def trouble(self) -> list[Note]:
        """What went wrong technically: the notes, but for the one that every student with a plain test cell gets."""
        return brief([note for note in self.notes if note.kind != Kind.IN_KERNEL])

    @property
    def waiting(self) -> float:
        """Points that nobody has given or refused yet."""
        return sum(most for points, most in self.cells.values() if points is None)

    def reasons(self) -> list[str]:
        """Why points are missing, in a few words each; then what went wrong technically.

        Where there was nothing to grade, or the grader failed, that alone: no exercise is at fault.
        """
        if self.failed or any(note.kind in UNANSWERED for note in self.notes):
            return [sentence(note) for note in self.remarks + self.trouble]
        lost = [v for v in self.verdicts.values() if v.points < v.max_points]
        other = [n for n, (p, m) in self.cells.items() if n not in self.verdicts and p is not None and p < m]
        return (
            [f"{v.exercise}: {why(v)}" for v in lost]
            + [f"{n}: {self.cells[n][0]:g} of {self.cells[n][1]:g}." for n in other]
            + [sentence(note) for note in self.remarks + self.trouble]
        )

    def line(self) -> str:
        waiting = f" (and up to {self.waiting:g} to be marked by hand)" if self.waiting else ""
        marks = "NOT GRADED" if self.failed else f"{self.points:.4g} of {self.most:g}{waiting}"
        return f"{self.student}: {marks}. {' '.join(self.reasons()) or 'All right.'}"


def why(verdict: Verdict) -> str:
    """A verdict in a few words."""
    said = f"known mistake “{verdict.mistake}”" if verdict.mistake else verdict.reason
    return f"{verdict.held} of {verdict.cases} cases, {said}." if verdict.cases else f"0 points, {said}."


def sheets(assignment: Assignment, students: list[str] | None = None) -> list[Sheet]:
    """The sheets of all who are in the gradebook (or of some), as it now stands, marks given by hand included."""

    found = []
    cells = read(assignment.released).cells
    order = {grade_id(c): number for number, c in enumerate(cells)}
    lateness = late.of_assignment(assignment)
    with opened(assignment.course) as gradebook:
        if students is None:
            submissions = gradebook.assignment_submissions(assignment.name)
        else:
            submissions = [gradebook.find_submission(assignment.name, student) for student in students]
        for submission in submissions:
            student = submission.student_id
            lost = late.penalty(assignment.course, submission, lateness.get(student))
            sheet = Sheet(student, submission.score - lost, submission.max_score)
            sheet.remarks = [lateness[student].told(lost)] if student in lateness else []
            grades = [g for notebook in submission.notebooks for g in notebook.grades]
            for grade in sorted(grades, key=lambda g: order.get(g.cell.name, 0)):
                sheet.remarks += _by_hand(grade)
                unmarked = grade.auto_score is None and grade.manual_score is None
                sheet.cells[grade.cell.name] = (None if unmarked else grade.score, grade.max_score)
            grader = remarks(assignment, student)
            verdicts = grader.get("verdicts", {})
            sheet.verdicts = {n: verdict_from(verdicts[n]) for n in sheet.cells if n in verdicts}
            sheet.notes, sheet.usage = from_json(grader.get("notes", [])), dict(grader.get("usage", {}))
            found.append(sheet)
    return sorted(found, key=lambda sheet: sheet.student)


def _by_hand(grade: "Grade") -> list[Note]:
    """What is to be said of a mark that a person gave."""
    if grade.manual_score is None:
        return []
    found, cell = [], grade.cell.name.removeprefix("check_")
    if grade.needs_manual_grade:
        found.append(note(Kind.MARKED_BEFORE, f"{grade.manual_score:g}", cell=cell))
    if grade.auto_score is not None and grade.cell.cell_type == "code":
        marks = (f"{grade.manual_score:g}", f"{grade.max_score:g}", f"{grade.auto_score:g}")
        found.append(note(Kind.OVERRIDDEN, *marks, cell=cell))
    return found


def verdict_from(found: dict[str, Any]) -> Verdict:
    """A verdict from a graded notebook, also from one that another version of the course graded."""
    known = {f.name for f in fields(Verdict)}
    return Verdict(**{name: value for name, value in found.items() if name in known})


def graded_notebook(assignment: Assignment, student: str) -> dict[str, Any]:
    """The graded notebook as JSON; empty where there is none."""
    try:
        found = json.loads(assignment.graded(student).read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def remarks(assignment: Assignment, student: str) -> dict[str, Any]:
    """What the grader left in the graded notebook: verdicts, notes, usage, key."""
    return graded_notebook(assignment, student).get("metadata", {}).get(NOTES, {})


def failures(assignment: Assignment) -> dict[str, str]:
    """The students for whom the grader could not do its work when it last tried, and why."""
    try:
        return json.loads((assignment.private / FAILED).read_text())
    except (FileNotFoundError, ValueError):
        return {}
