"""The shell around each student's path: whatever one hands in, the run ends, with a row and a reason for everyone."""

import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import sleep

import pytest
import torch
from effort import some
from small_course import HALF, NAME, RIGHT, hand_in

from autograder.course import Assignment
from autograder.grade import grade, watch
from autograder.notes import NOTES, Kind, sentence
from autograder.run import pool
from autograder.run.apart import Bounds, apart


@pytest.fixture
def course(course):
    hand_in(course, "honest", RIGHT)
    hand_in(course, "half", HALF)
    yield course
    subprocess.run(["rm", "-rf", str(course.root / "submitted")], check=True)  # too deep for pytest to remove


def deep(folder: Path, part: str, most: int) -> None:
    """Folders in folders, until their path has so many bytes: longer than one may say at once."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(most // (len(part) + 1)):
        os.mkdir(part, dir_fd=here)
        here, before = os.open(part, os.O_RDONLY, dir_fd=here), here
        os.close(before)
    os.close(os.open("helper.py", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def many(folder: Path) -> None:
    for number in range(3000):
        (folder / f"{number}.py").touch()


def links(folder: Path) -> None:
    for number in range(2000):
        (folder / f"{number}.py").symlink_to("/etc/passwd")


def folder_of_cases(folder: Path) -> None:
    (folder / "cases.safetensors").mkdir()
    (folder / "cases.safetensors" / "x").touch()


ODD = {
    "a folder called as the cases": lambda f: (f / "cases.safetensors").mkdir(),
    "such a folder with a file in it": folder_of_cases,
    "a file called as the cases": lambda f: (f / "cases.safetensors").write_text("mine"),
    "a folder called as the checksums": lambda f: (f / "checksums.sha256" / "a" / "b").mkdir(parents=True),
    "a folder called as the time": lambda f: (f / "timestamp.txt").mkdir(),
    "the year 9999": lambda f: (f / "timestamp.txt").write_text("9999-12-31 23:59:59 UTC"),
    "a time without end": lambda f: (f / "timestamp.txt").write_text("1" * 5000),
    "a path of 3600 bytes": lambda f: deep(f, "d" * 200, 3600),
    "1500 folders in folders": lambda f: deep(f, "d", 3000),
    "names of 255 bytes": lambda f: [(f / (c * 255)).touch() for c in "ab"],
    "names that are no text": lambda f: (f / os.fsdecode(b"\xff\xfe.py")).touch(),
    "a name of control characters": lambda f: (f / "\x1b[2J\n\u202e.py").touch(),
    "3000 files": many,
    "2000 links": links,
    "a pipe": lambda f: os.mkfifo(f / "helper.py"),
    "a folder that loops": lambda f: (f / "again").symlink_to(f),
}


def test_nothing_in_a_folder_ends_the_run(course):
    for student, how in ODD.items():
        how(hand_in(course, student, RIGHT).parent)
    (course.root / "submitted" / "a folder called as a notebook" / NAME / f"{NAME}.ipynb" / "x").mkdir(parents=True)
    for mark in ("\u202e", "\u200b"):  # names that are as long as can be
        hand_in(course, "m" * 252 + mark, RIGHT)
    sheets = {sheet.student: sheet for _, _, sheet in grade(Assignment(course, NAME), [])}
    assert (sheets["honest"].points, sheets["half"].points) == (6, 3)
    assert {s: sheets[s].points for s in ODD} == dict.fromkeys(ODD, 6)
    assert sheets["a folder called as a notebook"].points == 0
    rows = (course.root / "grades.csv").read_text()
    assert all(f",{student}," in rows for student in ODD)
    assert ODD.keys() <= {path.parts[-3] for path in course.root.glob("feedback/*/*/*.html")}
    assert all(len(sheet.line()) < 20_000 for sheet in sheets.values())
    assert all(sheet.notes for student, sheet in sheets.items() if student.startswith(("m", "such", "2000")))


def in_json(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Change a notebook as JSON."""

    def how(path: Path) -> None:
        tree = json.loads(path.read_text())
        change(tree)
        path.write_text(json.dumps(tree))

    return how


def in_text(old: str, new: str) -> Callable[[Path], None]:
    """Write something in the place of the first such text, whether it is JSON then or not."""
    return lambda path: path.write_text(path.read_text().replace(old, new, 1))


def deep_json(depth: int) -> list:
    found: list = []
    for _ in range(depth):
        found = [found]
    return found


def all_cells(**parts: object) -> Callable[[dict], object]:
    return lambda tree: [cell.update(parts) for cell in tree["cells"]]


FORGED = {
    "notes": [{"kind": "late", "text": [["x"]]}],
    "verdicts": {"check_double": {"exercise": "double", "points": 2, "max_points": 2, "held": 9, "cases": 9}},
    "key": "0" * 64,
    "usage": {"kernels": -1},
}
PASTED = {f"../../{n}.svg": {"image/svg+xml": "<svg onload=steal()>", "image/png": "A" * 10_000} for n in range(200)}
WIDGETS = {"application/vnd.jupyter.widget-state+json": {"state": {"x" * 60 + str(n): {} for n in range(50_000)}}}
SHOWN = [{"output_type": "display_data", "data": {"text/html": "<script>steal()</script>"}, "metadata": {}}] * 100
FILES = {  # a right answer in a file that is odd: all that it says of itself counts for nothing
    "a verdict of one's own": in_json(lambda tree: tree["metadata"].update({NOTES: FORGED, "course": FORGED})),
    "cells called as the grader's notes": in_json(all_cells(id="grader-notes")),
    "ids of a million letters": in_json(all_cells(id="x" * 10**6)),
    "ids that are no text": in_json(all_cells(id={"a": [1]})),
    "metadata 900 levels deep": in_json(all_cells(metadata={"x": deep_json(900)})),
    "names of a million letters": in_json(lambda tree: tree["metadata"].update({"x" * 10**6: {"y" * 10**6: 1}})),
    "many widgets": in_json(lambda tree: tree["metadata"].update(widgets=WIDGETS)),
    "200 pasted files": in_json(
        lambda tree: [c.update(attachments=PASTED) for c in tree["cells"] if c["cell_type"] != "code"]
    ),
    "scripts in saved outputs": in_json(all_cells(outputs=SHOWN)),
    "a count of 400 digits": in_json(all_cells(execution_count=10**400)),
    "a kernel elsewhere": in_json(
        lambda tree: tree["metadata"].update(
            kernelspec={"name": "../../bin/sh", "display_name": "\u202e\n", "language": []}
        )
    ),
    "another version of itself": in_json(lambda tree: tree.update(nbformat=True, nbformat_minor=-(10**30))),
    "no numbers": in_text('"nbformat": 4', '"a": [NaN, -Infinity, 1e999], "nbformat": 4'),
    "cells twice": in_text('"cells": [', '"cells": [{"cell_type": "code", "source": "raise SystemExit"}], "cells": ['),
    "text in a million pieces": in_json(
        lambda tree: [
            c.update(source=[*c["source"], *[""] * 10**5]) for c in tree["cells"] if isinstance(c["source"], list)
        ]
    ),
}
UNREADABLE = {
    "many levels deep": lambda path: path.write_text("[" * 50_000 + "]" * 50_000),
    "a number of 5000 digits": in_text('"nbformat_minor": ', '"nbformat_minor": ' + "9" * 5000),
}


def test_nothing_that_a_file_says_of_itself_moves_a_mark_or_ends_the_run(course):
    for student, how in (FILES | UNREADABLE).items():
        how(hand_in(course, student, RIGHT))
    sheets = {sheet.student: sheet for _, _, sheet in grade(Assignment(course, NAME), [])}
    assert (sheets["honest"].points, sheets["half"].points) == (6, 3)
    assert {s: sheets[s].points for s in FILES} == dict.fromkeys(FILES, 6)
    assert all(sheets[s].points in (0, 6) and sheets[s].notes for s in UNREADABLE), sheets
    shown = {s: (course.root / "feedback" / s / NAME / f"{NAME}.html").read_text() for s in ("honest", *FILES)}
    for student, page in shown.items():
        assert len(page) < 500_000 and "steal()" not in page
        assert page.count("<section") >= shown["honest"].count("<section"), student
        assert (course.root / "autograded" / student / NAME / f"{NAME}.ipynb").stat().st_size < 10_000_000


FAULTS = [
    RuntimeError("oh"),
    RecursionError("deep"),
    MemoryError(),
    OSError(36, "File name too long"),
    IsADirectoryError(21, "x"),
    KeyError("x"),
    UnicodeError("x"),
    AssertionError(),
    StopIteration(),
]


@pytest.mark.parametrize("where", some(2, ["run.work.stage", "run.work.run", "book.gradebook._record"]))
def test_whatever_is_raised_on_the_way_costs_one_student(course, monkeypatch, where):
    room, _, name = f"autograder.{where}".rpartition(".")
    real = getattr(importlib.import_module(room), name)
    faults = {type(fault).__name__: fault for fault in FAULTS}
    for student in faults:
        hand_in(course, student, RIGHT)

    def breaks(*args, **kwargs):
        student = next((s for s in faults if s in str(args[:4])), None)
        raise faults.pop(student) if student else Whole  # once: the blank notebook in its place is recorded

    def once(*args, **kwargs):
        try:
            breaks(*args)
        except Whole:
            return real(*args, **kwargs)

    monkeypatch.setattr(f"{room}.{name}", once)
    sheets = {sheet.student: sheet for _, _, sheet in grade(Assignment(course, NAME), [])}
    assert not faults and (sheets["honest"].points, sheets["half"].points) == (6, 3)
    rows = (course.root / "grades.csv").read_text()
    for student in sheets.keys() - {"honest", "half"}:
        assert sheets[student].failed and sheets[student].points == 0 and f",{student}," in rows
        assert student in sentence(sheets[student].notes[0])
    found = {s.student: s.points for _, _, s in grade(Assignment(course, NAME), ["KeyError"])}
    assert found == {"KeyError": 6}  # put right


class Whole(Exception):
    """Nothing is broken for this student."""


def test_the_watch_goes_on_after_any_error(course, monkeypatch):
    hand_in(course, "mallory", RIGHT)
    said = []

    def fails(*args):
        raise [OSError(36, "File name too long"), KeyError("odd"), RecursionError("deep")][len(said) % 3]

    monkeypatch.setattr("autograder.grade.grade", fails)
    assert list(watch(Assignment(course, NAME), [], looks=range(5), say=said.append)) == []
    assert len(said) >= 3 and "File name too long" in said[0]


def test_a_worker_that_takes_too_much_is_said(course, monkeypatch):
    hand_in(course, "mallory", RIGHT)
    real = pool.Here.grade

    def exceeds(self, assignment, submission, options):
        if submission.student == "mallory":
            raise pool.Exceeded("took more than 900 s")
        return real(self, assignment, submission, options)

    monkeypatch.setattr(pool.Here, "grade", exceeds)
    sheets = {sheet.student: sheet for _, _, sheet in grade(Assignment(course, NAME), [])}
    assert (sheets["honest"].points, sheets["half"].points) == (6, 3)
    assert sheets["mallory"].failed and sheets["mallory"].notes[0].kind == Kind.EXCEEDED
    failed = json.loads((Assignment(course, NAME).private / "failed.json").read_text())
    assert "900 s" in sheets["mallory"].line() and failed


PAGES = {
    "runs on": "while True: pass",
    "takes all memory": "x = [bytes(2**24) for _ in range(2**14)]",
    "dies": "os._exit(9)",
    "raises": "raise RecursionError('deep')",
}


def alone(test: str) -> None:
    """Run a test in a process of one thread, as the grader is: pytest-xdist's workers have more, and are not copied."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", f"{__file__}::{test}"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*command, "--basetemp", f"{folder}/t"], env=plain, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_page_that_cannot_be_made_costs_one_student(course, monkeypatch):
    if threading.active_count() > 1:
        return alone("test_a_page_that_cannot_be_made_costs_one_student")
    from autograder.book import feedback

    for student in PAGES:
        hand_in(course, student, RIGHT | {"why": f"MAKE TROUBLE: {student}"})
    real = feedback.FeedbackExporter.from_notebook_node

    def troubled(self, nb, *args, **kwargs):
        for student, deed in PAGES.items():
            if f"MAKE TROUBLE: {student}" in str(nb.cells):
                exec(deed, {"os": os})
        return real(self, nb, *args, **kwargs)

    monkeypatch.setattr(feedback.FeedbackExporter, "from_notebook_node", troubled)
    monkeypatch.setattr("autograder.book.gradebook.PAGE_S", 0.5)
    (course.root / "limits.toml").write_text("[default]\ngrader_s = 2\ngrader_mib = 300\n")
    sheets = {sheet.student: sheet.points for _, _, sheet in grade(Assignment(course, NAME), [])}
    pages = {path.parts[-3]: path.read_text() for path in course.root.glob("feedback/*/*/*.html")}
    assert pages.keys() == sheets.keys() and set(sheets.values()) == {6, 3}
    assert {student for student, page in pages.items() if "could not be made" in page} == PAGES.keys()
    assert (course.root / "report.html").is_file()


TOO_MUCH = {
    "time": (partial(sleep, 100), Bounds(wall_s=1)),
    "processor": (partial(pow, 3, 10**9), Bounds(wall_s=60, cpu_s=1)),  # one long step that no signal handler ends
    "memory": (partial(bytes, 2**31), Bounds(wall_s=60, cpu_s=60, memory_bytes=2**28)),
}


@pytest.mark.skipif(sys.platform != "linux", reason="processes with limits are Linux's")
def test_what_a_worker_has_done_apart_ends_at_its_bounds_and_the_worker_goes_on():
    processes = pool.start()
    try:
        for work, bounds in TOO_MUCH.values():
            with pytest.raises(pool.Exceeded, match="took more than"):
                processes.call(pool.Plain(partial(apart, work, bounds=bounds)))
        assert processes.call(pool.Plain(partial(apart, partial(pow, 2, 10), bounds=Bounds(60, 60)))) == 1024
    finally:
        processes.close()


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6).view(2, 3).T,
        torch.tensor(True),
        torch.zeros(0, 3),
        torch.ones(2, dtype=torch.bfloat16),
        torch.ones(2, requires_grad=True),
        torch.tensor([1 + 2j]).conj(),
    ],
    ids=str,
)
def test_tensors_of_all_kinds_reach_a_worker_as_they_are(tensor):
    here, there = socket.socketpair()
    with here, there:
        pool._send(here, {"cases": [tensor]})
        (found,) = pool._receive(there)["cases"]
    assert torch.equal(found, tensor) and found.dtype == tensor.dtype and found.requires_grad == tensor.requires_grad
    if not found.requires_grad and found.numel():
        found += found  # a worker may write to it
