"""A class of four with a small assignment, the real command, and a way to end it at any moment."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil
import pytest
import small_course
from effort import often
from numbers_course import HALF, RIGHT, numbers_course

from autograder import release
from autograder.course import Assignment, Course
from autograder.sandbox import provisioner

NAME = small_course.NAME
TIMES = int(os.environ.get("COURSE_CHAOS", often(1, 20)))  # how often, where a test picks moments by chance
CLASS = {
    "ann": RIGHT | {"why": "It is linear."},
    "bob": HALF | {"total": "def total(x):\n    return sum(x) / len(x)"},
    "cyd": RIGHT | {"total": "import os\nos._exit(3)"},
    "dan": {"double": RIGHT["double"]},
}


def release_to(root: Path, handed_in: dict[str, dict[str, str]]) -> Path:
    """A course with what a class handed in, and a seed, so that all copies of it ask the same."""
    with pytest.MonkeyPatch.context() as patch:
        small_course.install(patch)
        course = numbers_course(root)
        release.release(Assignment(course, NAME))
        for student, answers in handed_in.items():
            small_course.hand_in(course, student, answers)
    shutil.rmtree(root / ".grading", ignore_errors=True)
    Assignment(course, NAME).private.mkdir(parents=True)
    (Assignment(course, NAME).private / "seed").write_text("7")
    return root


@pytest.fixture(scope="session")
def released(tmp_path_factory) -> Path:
    return release_to(tmp_path_factory.mktemp("released"), CLASS)


@pytest.fixture
def course(released, tmp_path) -> Course:
    return Course(shutil.copytree(released, tmp_path / "course"))


class Commands:
    """Runs `course …`; each start is a new process in a session of its own."""

    def __init__(self, folder: Path):
        self.log, self.running = folder / "log", None
        one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | one_thread,
        )
        assert self.server.stdout.readline() == "ready\n"

    def start(self, course: Course, *arguments: str) -> psutil.Process:
        if self.running:  # a test has failed in the middle
            with suppress(psutil.NoSuchProcess):
                self.running.kill()
            self.wait()
        self.log.unlink(missing_ok=True)
        self.server.stdin.write(json.dumps([str(course.root), arguments, str(self.log)]) + "\n")
        self.server.stdin.flush()
        self.running = psutil.Process(int(self.server.stdout.readline()))
        return self.running

    def wait(self) -> int:
        self.running = None
        return int(self.server.stdout.readline())

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def run(self, course: Course, *arguments: str) -> str:
        """What a command says that ends well."""
        self.start(course, *arguments)
        assert self.wait() == 0, self.said()
        return self.said()

    def close(self) -> None:
        self.server.stdin.close()
        if self.running:
            with suppress(psutil.NoSuchProcess):
                self.running.kill()
        self.server.wait()


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    if reason := provisioner.missing():
        pytest.fail(f"the grader is killed with its sandboxes: {reason}")
    made = Commands(tmp_path_factory.mktemp("commands"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def undisturbed(released, commands, tmp_path_factory):
    """What a run gives that nobody disturbs, and how long it takes."""
    course = Course(shutil.copytree(released, tmp_path_factory.mktemp("undisturbed") / "course"))
    begin = time.monotonic()
    commands.run(course, "grade", NAME)
    return written(course), time.monotonic() - begin


def written(course: Course) -> dict[str, object]:
    """What people and programs read after grading: marks by cell, the table, mark sheets, the graded notebooks."""
    with sqlite3.connect(course.root / "gradebook.db") as db:
        marks = db.execute(
            "select student.id, student.last_name, base_cell.name, auto_score, manual_score, extra_credit, "
            "needs_manual_grade from grade "
            "join base_cell on base_cell.id = grade.cell_id "
            "join submitted_notebook on submitted_notebook.id = grade.notebook_id "
            "join submitted_assignment on submitted_assignment.id = submitted_notebook.assignment_id "
            "join student on student.id = submitted_assignment.student_id order by 1, 3"
        ).fetchall()
        comments = db.execute("select auto_comment, manual_comment from comment order by 1, 2").fetchall()
    pages = {str(p.relative_to(course.root)): p.read_text() for p in sorted(course.root.glob("feedback/**/*.html"))}
    graded = {}
    for path in sorted(course.root.glob("autograded/*/*/*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for changes in ("usage", "key"):
            notebook.metadata["grader"].pop(changes)
        graded[path.parts[-3]] = json.dumps(notebook, sort_keys=True)
    table = (course.root / "grades.csv").read_text()
    return {"marks": marks, "comments": comments, "table": table, "pages": pages, "graded": graded}


def differences(found: dict[str, object], expected: dict[str, object]) -> list[str]:
    """The parts in which they differ, in a form that is short enough to read."""
    return [
        f"{part}: {str(found[part])[:2000]} instead of {str(expected[part])[:2000]}"
        for part in expected
        if found[part] != expected[part]
    ]


def named(process: psutil.Process, text: str) -> list[psutil.Process]:
    """Its descendants whose command line has the text; none where it has ended."""
    found, children = [], []
    with suppress(psutil.NoSuchProcess):
        children = process.children(recursive=True)
    for child in children:
        try:
            if text in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found
