"""A course with one small assignment, made in a temporary folder, and an executor that needs no kernel."""

import atexit
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from autograder import release
from autograder.book.sheets import Sheet
from autograder.course import Assignment, Course
from autograder.grade import grade
from autograder.run import execute, pool
from autograder.run.judge import no_verdict
from autograder.run.options import Options
from autograder.sandbox import provisioner
from course_utils.check import answer, verdict
from course_utils.paths import CONFIG

NAME = "a0_small"
MISTAKES = """
import torch
from autograder.author.exercise import Exercise, close

double = Exercise("double", points=2, compare=close())

@double.cases
def _(g):
    yield torch.tensor([1.0, 2.0]),
    yield torch.rand(3, generator=g),

@double.mistake("you squared: 2 x is x + x, not x times x")
def squared(x):
    return x * x

total = Exercise("total", points=3, compare=close())

@total.cases
def _(g):
    yield torch.rand(2, generator=g),
    yield torch.rand(3, generator=g),
    yield torch.rand(5, generator=g),

@total.mistake("that is the mean")
def mean(x):
    return x.mean() if len(x) else torch.tensor(0.0)
"""
SOLUTION = [
    ("markdown", "# A small assignment\nDouble, then add up: $2 \\sum_i x_i$."),
    ("code", f'import torch\nfrom course_utils.check import Checker\n\ncheck = Checker("{NAME}")'),
    ("code", "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"),
    ("code", "check(double)"),
    ("code", "def total(x):\n    ### BEGIN SOLUTION\n    return x.sum()\n    ### END SOLUTION"),
    ("code", "check(total)"),
    ("markdown", "Why is the sum of doubles the double of the sum?"),
    ("markdown", "Because of the distributive law."),
    ("code", "assert total(torch.ones(2)) == 2"),
]
MANUAL = {
    "grade": True,
    "solution": True,
    "locked": False,
    "grade_id": "why",
    "points": 4,
    "schema_version": 3,
    "task": False,
}
PLAIN = {
    "grade": True,
    "solution": False,
    "locked": True,
    "grade_id": "plain",
    "points": 1,
    "schema_version": 3,
    "task": False,
}


POINTS = {"double": 2, "total": 3}


def solution_notebook(solution: Iterable[tuple[str, str]] = SOLUTION) -> nbformat.NotebookNode:
    """The source as an instructor might leave it: with outputs, odd metadata, another kernel."""
    cells = [new_code_cell(s) if kind == "code" else new_markdown_cell(s) for kind, s in solution]
    cells[7].metadata["nbgrader"] = dict(MANUAL)
    cells[8].metadata["nbgrader"] = dict(PLAIN)
    cells[0].metadata["collapsed"] = True
    cells[2].outputs = [new_output("stream", text="an old output")]
    cells[2].execution_count = 3
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "mine", "display_name": "My kernel"}})


def small_course(root: Path) -> Course:
    folder = root / "solutions" / NAME
    folder.mkdir(parents=True)
    shutil.copy(Path(__file__).parents[1] / CONFIG, root)
    (folder / "mistakes.py").write_text(MISTAKES)
    (folder / "data.txt").write_text("some data\n")
    nbformat.write(solution_notebook(), folder / f"{NAME}.ipynb")
    return Course(root)


@cache
def _template() -> Path:
    root = Path(tempfile.mkdtemp(prefix="small-course-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    course = small_course(root)
    release.release(Assignment(course, NAME))
    return root


def released_course(root: Path) -> Course:
    """A course whose assignment is released (made once, then copied). Needs the executor below in place."""
    shutil.copytree(_template(), root, dirs_exist_ok=True)
    return Course(root)


def hand_in(course: Course, student: str, answers: dict[str, str] | None = None, name: str = NAME) -> Path:
    """The released notebook with the bodies of some functions written, in submitted/."""
    notebook = nbformat.read(course.released(NAME), as_version=4)
    for cell in notebook.cells:
        identity = cell.metadata.get("nbgrader", {}).get("grade_id")
        if identity in (answers or {}):
            cell.source = answers[identity]
    path = course.root / "submitted" / student / NAME / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def graded(course: Course, students: Iterable[str] = (), **options: Any) -> dict[str, Sheet]:
    """Grade everybody's hand-in, or some students'; their sheets."""
    found = grade(Assignment(course, NAME), list(students), Options(**options))
    return {sheet.student: sheet for _, _, sheet in found}


RIGHT = {"double": "def double(x):\n    return x + x", "total": "def total(x):\n    return sum(x, torch.tensor(0.0))"}
HALF = {
    "double": "def double(x):\n    return x * x",
    "total": "def total(x):\n    return x.sum() if len(x) < 5 else 1 / 0",
}


@dataclass
class Result:
    notebook: nbformat.NotebookNode
    verdicts: dict
    notes: list[str]
    usage: dict = field(default_factory=dict)
    answers: dict = field(default_factory=dict)


class Execute:
    """Stands for `autograder.run.execute`: the cells run in this process. Remembers what each call judged."""

    def __init__(self):
        self.judged, self.seen_files = [], []

    @property
    def calls(self):
        return len(self.judged)

    def execute(self, notebook, exercises, *, files=None, limits=None, sandbox=True, judge_class=None, warm=None):
        self.judged.append(set(exercises))
        self.seen_files = sorted(p.name for p in files.iterdir()) if files else []
        result = Result(notebook, {}, [])
        names: dict = {"check": lambda function: None}
        for cell in notebook.cells:
            if cell.cell_type != "code":
                continue
            identity = cell.metadata.get("nbgrader", {}).get("grade_id", "")
            exercise = exercises.get(identity.removeprefix("check_"))
            if identity.startswith("check_") and exercise:
                function = names.get(exercise.name)
                answers = [answer(function, ask, []) for ask in exercise.asks] if function else []
                result.answers[exercise.name] = answers
                if judge_class and judge_class.__name__ == "Recorder":
                    continue
                given = (
                    verdict(exercise, answers, show=False)
                    if answers
                    else no_verdict(exercise.name, exercise.points, "not there")
                )
                result.verdicts[identity] = given
                cell.outputs = [
                    new_output("stream", text=given.message),
                    new_output("execute_result", data={"text/plain": str(given.points)}, execution_count=1),
                ]
                continue
            try:
                if "Checker(" in cell.source:
                    exec("import torch", names)
                else:
                    exec(cell.source, names)
                    cell.outputs = names.pop("outputs", [])
            except Exception as error:
                cell.outputs = [new_output("error", ename=type(error).__name__, evalue=str(error), traceback=[])]
        return result


def install(monkeypatch) -> Execute:
    """Put the executor in its place; sandboxes are said to work."""
    fake = Execute()
    monkeypatch.setattr(execute, "execute", fake.execute)
    monkeypatch.setattr(provisioner, "missing", lambda: None)
    monkeypatch.setattr(pool, "start", lambda: None)  # in this process, where the executor is another one
    return fake
