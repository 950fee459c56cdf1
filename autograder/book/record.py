"""The two places where this course steps into nbgrader's autograde: how a submission is read, and how it is run.

`nbgrader_config.py` names both, so that `nbgrader autograde`, Formgrader and `course grade` go the same way.
"""

import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.converters import GenerateFeedback
from nbgrader.preprocessors import GetGrades
from nbgrader.preprocessors.base import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution
from traitlets import Bool, Dict

from autograder.book import late
from autograder.book.feedback import harmless
from autograder.course import STAGED, Assignment, Course
from autograder.intake.repair import repair
from autograder.intake.submissions import Submission
from autograder.notes import NOTES, as_json, from_json, sentence
from autograder.run.options import Options
from autograder.run.work import fingerprint, parent, run
from autograder.sandbox import provisioner
from course_utils.command.student import TIMESTAMP
from course_utils.notebook import read
from course_utils.paths import CourseError


class SubmissionExporter(NotebookExporter):
    """Reads what was handed in through `repair`, so that no file is too broken to be graded.

    Formgrader serves what lies beside a graded notebook, on the page of a teacher who is logged in: only pictures may
    lie there.
    """

    def from_filename(self, filename: str, resources: Any = None, **kw: Any) -> tuple[str, Any]:
        directory, name = self.parent.coursedir, resources["nbgrader"]["assignment"]
        pictures_alone(
            Path(directory.format_path(directory.autograded_directory, resources["nbgrader"]["student"], name))
        )
        submitted = Path(directory.format_path(directory.submitted_directory, "x", "x")).parents[1]
        if submitted.name == STAGED or submitted not in Path(filename).parents:
            return super().from_filename(filename, resources, **kw)
        assignment = Assignment(Course(Path(directory.root)), name)
        notebook, notes = repair(Path(filename), read(assignment.released), assignment.limits())
        notebook.metadata[NOTES] = {"notes": as_json(notes)}
        resources["metadata"] = {"name": Path(filename).stem, "path": str(Path(filename).parent)}
        return self.from_notebook_node(notebook, resources, **kw)


PICTURES = {".png": b"\x89PNG\r\n\x1a\n", ".jpg": b"\xff\xd8\xff", ".jpeg": b"\xff\xd8\xff", ".gif": b"GIF8"}


def pictures_alone(folder: Path) -> None:
    """Delete what is no picture (by its name, and by how it begins), no notebook and not the time of the hand-in."""
    for path in sorted(folder.rglob("*"), reverse=True):  # files before the folders that they are in
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):  # something is left in it
                path.rmdir()
        elif path.parent == folder and (path.name == TIMESTAMP or path.name == f"{folder.name}.ipynb"):
            continue
        elif not _is_picture(path):
            path.unlink()


def _is_picture(path: Path) -> bool:
    begin = PICTURES.get(path.suffix.lower())
    if begin is None or path.is_symlink():
        return False
    with path.open("rb") as file:
        return file.read(len(begin)) == begin


class Marks(GetGrades):
    """nbgrader's marks and comments, which of them a person gave, and lateness."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        nb, resources = super().preprocess(nb, resources)
        names = resources["nbgrader"]
        course = Course(Path(self.parent.parent.coursedir.root))
        lateness = late.of_assignment(Assignment(course, names["assignment"]))
        if found := lateness.get(names["student"]):
            names["late"] = sentence(found.told(names["late_penalty"]))
        return nb, resources

    def _get_score(self, cell: NotebookNode, resources: Any) -> None:
        names = (self.notebook_id, self.assignment_id, self.student_id)
        grade = self.gradebook.find_grade(cell.metadata["nbgrader"]["grade_id"], *names)
        found = {"score": grade.score, "points": grade.max_score, "auto": grade.auto_score, "given": grade.manual_score}
        again = grade.needs_manual_grade and grade.manual_score is not None
        cell.metadata["nbgrader"] |= found | {"again": again}


UNBOUNDED = (
    "notebooks run in the sandbox, with its limits; but the time and memory for reading a hand-in, comparing its "
    "answers and making its page are limited by `course grade` alone"
)


class Execute(NbGraderPreprocessor):
    """Runs the notebook in the sandbox, judged from outside, in place of nbgrader's own Execute."""

    enabled = Bool(True)  # not to be switched off: a notebook that was not run would get full marks
    sandbox = Bool(True, help="Whether students' code runs in a sandbox").tag(config=True)
    outcome = Dict(None, allow_none=True, help="What came of the notebook, where that is known").tag(config=True)
    done = 0  # notebooks in this process

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        outcome = self.outcome
        if outcome is None or outcome.get("cells") != fingerprint(nb):
            outcome = self._find_out(nb, resources["nbgrader"])
        return inscribe(nb, outcome), resources

    def _find_out(self, nb: NotebookNode, names: dict[str, str]) -> dict[str, Any]:
        if self.sandbox and (why := provisioner.missing()):
            raise CourseError(f"{why} (without a sandbox, students' code could do all that you can: see --unsafe)")
        directory = self.parent.parent.coursedir
        assignment = Assignment(Course(Path(directory.root)), names["assignment"])
        place = Path(directory.format_path(directory.submitted_directory, names["student"], assignment.name))
        if not Execute.done:
            self.log.warning(UNBOUNDED)
        Execute.done += 1  # one kernel is as quick from cold; nbgrader may ask for a whole class
        forks = parent(assignment) if self.sandbox and Execute.done > 1 else None
        return run(assignment, Submission(names["student"], place), nb, Options(unsafe=not self.sandbox), forks)


class MarkSheets(GenerateFeedback):
    """nbgrader's step for some students at once: most of its time goes into getting ready."""

    def __init__(self, students: Collection[str], **options: Any):
        super().__init__(**options)
        self.students = students

    def init_notebooks(self) -> None:
        super().init_notebooks()
        self.assignments = {p: found for p, found in self.assignments.items() if Path(p).parent.name in self.students}


def inscribe(notebook: NotebookNode, outcome: dict[str, Any]) -> NotebookNode:
    """Write an outcome's outputs, verdicts and notes into the notebook."""
    for cell, outputs in zip(notebook.cells, outcome["outputs"], strict=True):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = nbformat.from_dict(outputs), None
            if is_grade(cell) and not is_solution(cell):
                _fail_closed(cell, cell.metadata["nbgrader"]["grade_id"] in outcome["verdicts"])
    harmless(notebook.cells)
    notes = notebook.metadata.get(NOTES, {}).get("notes", []) + outcome["notes"]
    grader = {k: outcome[k] for k in ("verdicts", "usage", "key")} | {"notes": notes}
    notebook.metadata[NOTES] = nbformat.from_dict(grader)
    if notes:
        lines = ["**Grader's notes**", ""] + [f"- {plain(sentence(note))}" for note in from_json(notes)]
        notebook.cells.insert(0, nbformat.v4.new_markdown_cell("\n".join(lines), id="grader-notes"))
    return notebook


def _fail_closed(cell: NotebookNode, judged: bool) -> None:
    """No points where nbgrader would give them all: to a judged cell without a value, to a value that is no number."""
    values = [o.data.get("text/plain", "") for o in cell.outputs if o.output_type == "execute_result"]
    try:
        if all(0 <= float(v) <= cell.metadata["nbgrader"]["points"] for v in values) and len(values) >= judged:
            return
    except ValueError:
        pass
    error = nbformat.v4.new_output("error", ename="NotGraded", evalue="no points could be read", traceback=[])
    cell.outputs = [error, *(o for o in cell.outputs if o.output_type != "execute_result")]


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))
