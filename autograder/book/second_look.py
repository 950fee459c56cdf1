"""Which marks that a person gave need a second look: those whose text, or whose verdict, has changed since."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from autograder.book.sheets import graded_notebook
from autograder.course import Assignment
from autograder.stock import opened


@contextmanager
def where_something_changed(assignment: Assignment, student: str) -> Iterator[None]:
    """nbgrader asks for every mark by hand to be looked at again when it records; take back what has no cause."""
    settled = _given(assignment, student, again=False)
    before = _texts(graded_notebook(assignment, student))
    yield
    after = _texts(graded_notebook(assignment, student))
    same = {cell for cell in settled if _answer(before, cell) == _answer(after, cell)}

    with opened(assignment.course) as gradebook:
        for cell, score in _given(assignment, student, again=True).items():
            if cell in same and settled[cell] == score:
                gradebook.find_grade(cell, assignment.name, assignment.name, student).needs_manual_grade = False
        gradebook.db.commit()


def _given(assignment: Assignment, student: str, again: bool) -> dict[str, float | None]:
    """The cells that a person marked -> the grader's own mark; those to be looked at again, or the others."""
    from nbgrader.api import MissingEntry

    with opened(assignment.course) as gradebook:
        try:
            grades = gradebook.find_submission_notebook(assignment.name, assignment.name, student).grades
        except MissingEntry:
            return {}
        marked = [g for g in grades if g.manual_score is not None and g.needs_manual_grade == again]
        return {g.cell.name: g.auto_score for g in marked}


def _texts(notebook: dict[str, Any]) -> dict[str, str]:
    """The text of each cell that has a name."""
    found = {}
    for cell in notebook.get("cells", []):
        if grade_id := (cell.get("metadata", {}).get("nbgrader") or {}).get("grade_id"):
            found[grade_id] = "".join(cell["source"])
    return found


def _answer(texts: dict[str, str], cell: str) -> tuple[str | None, str | None]:
    """What a mark is for: the cell itself, and the answer that it checks."""
    return texts.get(cell), texts.get(cell.removeprefix("check_"))
