"""Another program has the gradebook: that is waited for; where it has no end, results are kept for the next run."""

import subprocess
import sys
import time

import pytest
from small_course import HALF, NAME, RIGHT, hand_in, released_course

from autograder.course import Assignment
from autograder.grade import grade
from autograder.run.options import Options
from course_utils.paths import CourseError

HOLD = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
db.execute("UPDATE student SET last_name = 'half a change'")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
db.execute("ROLLBACK")
"""


@pytest.fixture
def course(tmp_path, executor):
    made = released_course(tmp_path / "course")
    for student, answers in {"ann": RIGHT, "bob": HALF, "cyd": RIGHT}.items():
        hand_in(made, student, answers | {"why": student})
    return made


@pytest.fixture
def hold(course):
    """Another process takes the gradebook for a while."""
    started = []

    def begin(seconds: float) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD, str(course.root / "gradebook.db"), str(seconds)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def impatient(course, seconds: float) -> None:
    config = course.root / "nbgrader_config.py"
    config.write_text(config.read_text().replace("timeout=30", f"timeout={seconds}"))


def points(run) -> dict[str, float]:
    return {sheet.student: sheet.points for _, _, sheet in run}


def test_a_lock_in_mid_run_is_waited_for(course, hold):
    run = grade(Assignment(course, NAME), [], Options(workers=1))
    next(run)
    hold(1.5)
    assert len(points(run)) == 2
    assert points(grade(Assignment(course, NAME), [])) == {"ann": 6, "bob": 3, "cyd": 6}


def test_a_lock_without_end_stops_the_run_and_keeps_the_results(course, hold, executor):
    impatient(course, 0.5)
    run = grade(Assignment(course, NAME), [], Options(workers=1))
    next(run)
    holder = hold(1000)
    begin = time.monotonic()
    with pytest.raises(CourseError, match="in use by another program: close Formgrader and other graders"):
        points(run)
    assert time.monotonic() - begin < 60
    kept = list((Assignment(course, NAME).private / "results").iterdir())
    assert len(kept) >= 2
    holder.kill()  # in the middle of its change, which is undone
    holder.wait()
    calls = executor.calls
    assert points(grade(Assignment(course, NAME), [])) == {"ann": 6, "bob": 3, "cyd": 6}
    assert executor.calls - calls <= 3 - len(kept), "what had been found out was not found out again"
