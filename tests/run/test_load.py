"""Marks hang on what students wrote, not on what else the machine has to do: neighbours that take all, and load."""

import subprocess
import sys
from contextlib import contextmanager

import pytest
from numbers_course import HALF, RIGHT, numbers_course
from small_course import NAME, hand_in

from autograder.course import Assignment
from autograder.grade import grade
from autograder.release import release
from autograder.run.options import Options
from autograder.sandbox.provisioner import missing

pytestmark = [
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),
]
FORKS = """
def double(x):
    import os
    for _ in range(50):
        if os.fork() == 0:
            while True: pass
    while True: pass
"""
SLOW = """
def double(x):
    import time
    until = time.process_time() + 1
    while time.process_time() < until: pass
    return [v + v for v in x]
"""
LOOPS = "def double(x):\n    while True: pass"
ENDS = "def double(x):\n    import os; os._exit(1)"
LIMITS = "[default]\ncell_s = 4\nnotebook_s = 60\n"
CLASS = {
    "right": (RIGHT, (2, 3, 1)),
    "half right": (HALF, (0, 2, 1)),
    "slow": (RIGHT | {"double": SLOW}, (2, 3, 1)),
    "loops": (RIGHT | {"double": LOOPS}, (0, 3, 1)),
    "ends its kernel": (RIGHT | {"double": ENDS}, (0, 3, 1)),
    "unanswered": ({}, (0, 0, 0)),
}


@pytest.fixture
def course(tmp_path):
    course = numbers_course(tmp_path)
    (tmp_path / "limits.toml").write_text(LIMITS)
    release(Assignment(course, NAME))
    return course


def marks(course, students=()):
    sheets = [sheet for _, _, sheet in grade(Assignment(course, NAME), list(students), Options(again=True))]
    cells = ("check_double", "check_total", "plain")
    return {sheet.student: tuple(sheet.cells[cell][0] for cell in cells) for sheet in sheets}


def test_a_neighbour_that_takes_all_processors_costs_nobody_a_point(course):
    hand_in(course, "a busy one", RIGHT | {"double": FORKS})
    for student in ("right", "half right"):
        hand_in(course, student, CLASS[student][0])
    found = marks(course)
    assert found.pop("a busy one")[0] == 0
    assert found == {student: CLASS[student][1] for student in ("right", "half right")}


@contextmanager
def load(processes):
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@pytest.mark.soak
@pytest.mark.parametrize("processes", [0, 20])
@pytest.mark.parametrize("start", ["cold", "warm"])
def test_a_class_has_the_same_marks_on_a_busy_machine(course, start, processes):
    for student, (answers, _) in CLASS.items():
        hand_in(course, student, answers)
    with load(processes):  # one hand-in alone is graded from cold
        together = marks(course) if start == "warm" else {}
        alone = [marks(course, [student]) for student in CLASS] if start == "cold" else []
    found = together | {student: cells for one in alone for student, cells in one.items()}
    assert found == {student: expected for student, (_, expected) in CLASS.items()}
