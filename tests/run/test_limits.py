"""Limits are settings: what an instructor writes into limits.toml holds, and what cannot hold is said in a sentence."""

import json
import shutil
import socket
import struct
import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from kernels import QUICK, run, said
from small_course import NAME, RIGHT, hand_in

from autograder.course import Assignment, Course
from autograder.grade import grade
from autograder.limits import DEFAULTS, KEYS, Limits, MiB
from autograder.notes import DEATHS, Kind, sentence
from autograder.run import cluster
from autograder.run import judge as judges
from autograder.sandbox import provisioner, warm
from course_utils import plain
from course_utils.check import answer
from course_utils.checking.cases import ExerciseCases, save_cases
from course_utils.paths import CourseError

ROOT = Path(__file__).resolve().parents[2]
sandboxed = pytest.mark.skipif(provisioner.missing() is not None, reason=str(provisioner.missing()))


def set_limits(course: Course, text: str) -> None:
    (course.root / "limits.toml").write_text(text)


def seen(monkeypatch, executor) -> list[Limits]:
    """The limits of each notebook that runs from now on."""
    found = []

    def execute(*args, limits=None, **options):
        found.append(limits)
        return executor.execute(*args, **options)

    monkeypatch.setattr("autograder.run.execute.execute", execute)
    return found


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_of_the_course_names_every_limit_with_its_default_and_says_what_it_is(course):
    text = (ROOT / "limits.toml").read_text()
    assert tomllib.loads(text)["default"].keys() == KEYS.keys()
    set_limits(course, text)
    assert Assignment(course, NAME).limits() == DEFAULTS
    lines = [line for line in text.splitlines() if line.split(" ")[0] in KEYS]
    assert len(lines) == len(KEYS) and all(line.partition("# ")[2] for line in lines)


def test_what_is_not_set_is_the_default(course):
    assert Assignment(course, NAME).limits() == DEFAULTS
    set_limits(course, "[default]\nmemory_mib = 512\n")
    assert Assignment(course, NAME).limits() == replace(DEFAULTS, memory_bytes=512 * MiB)


def test_an_assignment_wins_over_the_default(course):
    set_limits(course, f"[{NAME}]\ncell_s = 2.5\n\n[default]\ncell_s = 9\noutput_mib = 0.5\ndeaths = 1\n")
    expected = replace(DEFAULTS, cell_s=2.5, output_bytes=MiB // 2, deaths=1)
    assert Assignment(course, NAME).limits() == expected
    assert Assignment(course, "another").limits() == replace(expected, cell_s=9)


@pytest.mark.parametrize(
    "text, says",
    [
        ("[default]\nmemory = 2048", r"\[default\] has no limit 'memory': the limits are cell_s, .*memory_mib"),
        ("[default]\nmemory_bytes = 1", "has no limit 'memory_bytes'"),
        ("[default]\ndevice = 'cuda'", "has no limit 'device'"),
        ("[default]\nmemory_mib = '2 GiB'", r"memory_mib = '2 GiB': it must be a number above 0, .*\(MiB\)"),
        ("[default]\nmemory_mib = 0", r"memory_mib = 0: it must be a number above 0"),
        ("[default]\ncell_s = -1", r"cell_s = -1: .*\(seconds\)"),
        ("[default]\ncell_s = inf", "cell_s = inf: it must be a number above 0, and at most 604800"),
        ("[default]\ncell_s = nan", "cell_s = nan"),
        ("[default]\nmemory_mib = 1e300", r"and at most 1048576 \(MiB\)"),
        ("[default]\nprocesses = 2.5", "processes = 2.5: it must be a whole number from 1 to 1048576"),
        ("[default]\nprocesses = 0", "a whole number from 1"),
        ("[default]\nthreads = true", "threads = True"),
        ("[default]\ncell_s = [1]", r"cell_s = \[1\]"),
        ("cell_s = 5", "cell_s stands outside a section"),
        ("[a0_smal]\ncell_s = 5", r"no assignment for \[a0_smal\]: a section is called one of default, a0_small"),
        ("[default]\ncell_s = ", "cannot be read as TOML"),
        ("[default]\ncell_s = 5\ncell_s = 6", "cannot be read as TOML"),
        (b"\xff", "cannot be read as TOML"),
    ],
)
def test_what_cannot_hold_is_said_in_one_sentence(course, executor, text, says):
    hand_in(course, "ann", RIGHT)
    (course.root / "limits.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    calls = executor.calls
    with pytest.raises(CourseError, match=f"limits.toml.*{says}") as found:
        list(grade(Assignment(course, NAME), []))
    assert "\n" not in str(found.value)
    assert executor.calls == calls and not (course.root / "grades.csv").exists()


# --- what it does -----------------------------------------------------------------------------------------------------


def test_a_notebook_runs_again_when_its_limits_have_changed(course, executor, monkeypatch):
    hand_in(course, "ann", RIGHT)
    found = seen(monkeypatch, executor)
    set_limits(course, "[default]\ncell_s = 7\n")
    for text in ("[default]\ncell_s = 7\n", "", f"[{NAME}]\ncell_s = 7\n", "[default]\ncell_s = 7\n"):
        set_limits(course, text)
        assert [sheet.points for _, _, sheet in grade(Assignment(course, NAME), [])] == [6]
    solution, *students = [limits.cell_s for limits in found]
    assert students[-2:] == [7, 60], "the last two say the same as the first: their results are kept"
    assert solution % 7 == 0, "the solution has the same limits, for each of the sets that it answers"


def test_the_size_of_what_is_handed_in_is_limited(course):
    hand_in(course, "ann", RIGHT)
    hand_in(course, "bob", RIGHT)
    (course.root / "submitted" / "bob" / NAME / "data.bin").write_bytes(bytes(2 * MiB))
    set_limits(course, f"[{NAME}]\nfiles_mib = 1.5\n")
    found = {s.student: s for _, _, s in grade(Assignment(course, NAME), [])}
    assert [sentence(n) for n in found["bob"].notes] == ["More than 500 files or 1.5 MiB: the rest was left out."]
    set_limits(course, f"[{NAME}]\nnotebook_mib = 0.001\n")
    found = {s.student: s for _, _, s in grade(Assignment(course, NAME), [])}
    assert found["ann"].points == 0 and [n.kind for n in found["ann"].notes] == [Kind.TOO_LARGE]


@sandboxed
@pytest.mark.slow
def test_an_instructor_halves_the_memory_of_one_assignment(tmp_path):
    """A notebook that took more is told of it; with the course's default it runs."""
    root = tmp_path / "course"
    for name in ("a1_markov_chains", "a2_rnn"):
        shutil.copytree(ROOT / "assignments" / name, root / "assignments" / name)
    course = Course(root)
    set_limits(course, "[default]\nmemory_mib = 600\n\n[a2_rnn]\nmemory_mib = 300\n")
    taken = []
    for name in ("a1_markov_chains", "a2_rnn"):
        code = "pages = bytearray(400_000_000)\npages[::4096] = b'x' * len(pages[::4096])\nprint('had it')"
        taken.append(run(code, "print('next')", limits=replace(Assignment(course, name).limits(), cell_s=20)))
    assert said(taken[0], 0) == "had it\n" and taken[0].notes == []
    assert "MemoryError" in said(taken[1], 0) or "more than 300 MiB" in sentence(taken[1].notes[0])
    assert said(taken[1], 1) == "next\n"
    fork = "import os, time\nfor _ in range(3):\n    if os.fork() == 0:\n        b = os.urandom(1000) * 150_000\n"
    together = run(
        fork + "        time.sleep(20)\ntime.sleep(10)",
        limits=replace(Assignment(course, "a2_rnn").limits(), cell_s=20),
    )
    assert together.notes[0].kind in DEATHS and "more than 300 MiB of memory" in sentence(together.notes[0])


@sandboxed
@pytest.mark.slow
def test_threads_are_as_many_as_the_limit_says():
    """A process with several threads is not forked: then kernels start from cold."""
    two = replace(QUICK, threads=2)
    assert warm.shared([], two) is None
    forks = warm.shared()
    look = "import os; print(os.environ['OMP_NUM_THREADS'])"
    assert said(run(look, limits=two, warm=forks)) == "2\n"
    assert said(run(look, limits=QUICK, warm=forks)) == "1\n" and forks.alive


@sandboxed
@pytest.mark.slow
def test_many_files_reach_the_notebook_where_many_are_allowed(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number}.txt").write_text("x")
    count = "import os; print(len(os.listdir()))"
    assert said(run(count, files=folder, limits=QUICK)) == "60\n"
    few = run(count, files=folder, limits=replace(QUICK, files=5))
    assert said(few) == "50\n" and few.notes[0].kind == Kind.FILES_NOT_COPIED


@pytest.mark.parametrize("most, kept", [(200_000, 1), (100_000, 0)])
def test_an_answer_may_be_as_large_as_the_limit_says(tmp_path, most, kept):
    """On both sides: the student's process keeps a larger one back, and the judge takes none from who does not."""
    given = answer(lambda x: x, (torch.zeros(30_000),), most=most)
    assert ("value" in given) is bool(kept)
    exercise = ExerciseCases("same", 1.0, {"kind": "exact"}, inputs=[(1,)], truths=[None], expected=[{"value": 1}])
    session = judges._Session(exercise, most, many=2)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        session.start(ours)
        assert plain.receive(theirs)["most"] == most
        plain.receive(theirs)
        theirs.sendall(struct.pack("<Q", 120_500))
        theirs.shutdown(socket.SHUT_WR)
        session._thread.join(10)
    assert ("is more than" in session.problem) is not bool(kept)


def test_limits_reach_a_worker_whole(monkeypatch):
    """What Dask carries is JSON; the worker's executor gets the same limits."""
    got = []
    monkeypatch.setattr("autograder.run.execute.execute", lambda *a, limits, **k: got.append(limits) or 1 / 0)
    monkeypatch.setattr(warm, "shared", lambda modules, limits: got.append(limits))
    limits = replace(DEFAULTS, cell_s=2.5, memory_bytes=7 * MiB, threads=2)
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    job = {"notebook": json.dumps(notebook), "files": {}, "cases": save_cases({}), "limits": asdict(limits)}
    assert "ZeroDivisionError" in cluster.perform(job | {"modules": [], "expects": {}})["failed"]
    assert got == [limits, limits]
