"""The machine's clock jumps by days, there and back: limits, verdicts and ends do not depend on it."""

import itertools
import time

import pytest
from kernels import ASK, QUICK, check, run, said
from small_course import HALF, NAME, RIGHT, hand_in, install, released_course

from autograder.course import Assignment
from autograder.grade import grade, watch
from autograder.notes import Kind, Note
from autograder.sandbox import provisioner

DAY_S = 86400


@pytest.fixture
def jumping(monkeypatch):
    """Every look at the clock is two days away from the last."""
    now, turns = time.time, itertools.cycle((1, -1, 0, 30))
    monkeypatch.setattr(time, "time", lambda: now() + next(turns) * 2 * DAY_S)


@pytest.mark.skipif(provisioner.missing() is not None, reason=str(provisioner.missing()))
def test_limits_and_verdicts_do_not_depend_on_the_clock(jumping):
    from dataclasses import replace

    begin = time.monotonic()
    result = run(
        "x = 1",
        "while True: pass",
        check("a", ASK + "ask('right')"),
        "print(x)",
        exercises=["a"],
        limits=replace(QUICK, cell_s=5, notebook_s=200),
    )
    assert result.notes == [Note(Kind.INTERRUPTED, "2", ("5",))]
    assert result.verdicts["check_a"].points == 2 and said(result) == "1\n"
    assert 5 <= result.usage["wall_s"] <= time.monotonic() - begin


def test_a_class_is_graded_and_watched_while_the_clock_jumps(jumping, tmp_path, monkeypatch):
    install(monkeypatch)
    course = released_course(tmp_path / "course")
    hand_in(course, "ann", RIGHT)
    hand_in(course, "bob", HALF)
    assert {s.student: s.points for _, _, s in grade(Assignment(course, NAME), [])} == {"ann": 6, "bob": 3}
    found = list(watch(Assignment(course, NAME), [], looks=range(3)))
    assert [s.points for _, _, s in found] == [6, 3]
