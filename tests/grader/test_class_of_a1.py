"""A class of made students is graded: everyone gets a mark sheet, with the expected marks and a stated reason."""

import csv
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from class_of_a1 import CLASS, EXERCISES, FULL, NAME, ROOT, hand_in_all, leave_hidden_cases

COURSE = str(Path(sys.executable).with_name("course"))


def copy_course(root: Path) -> Path:
    root.mkdir()
    for part in (f"solutions/{NAME}", f"assignments/{NAME}"):
        shutil.copytree(ROOT / part, root / part)
    shutil.copy(ROOT / "nbgrader_config.py", root)
    (root / "limits.toml").write_text("[default]\ncell_s = 10\n")  # a minute less for who never ends
    return root


def run(root: Path, *command: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=1800)


def marks(root: Path) -> dict[str, dict[str, float]]:
    """student -> exercise -> points, from the gradebook."""
    query = """
        select student.id, cell.name, grade.auto_score from grade
        join base_cell as cell on cell.id = grade.cell_id
        join submitted_notebook as notebook on notebook.id = grade.notebook_id
        join submitted_assignment as hand_in on hand_in.id = notebook.assignment_id
        join student on student.id = hand_in.student_id
    """
    found: dict[str, dict[str, float]] = {}
    with sqlite3.connect(root / "gradebook.db") as db:
        for student, cell, score in db.execute(query):
            found.setdefault(student, {})[cell.removeprefix("check_")] = score
    return found


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    root = copy_course(tmp_path_factory.mktemp("class") / "course")
    hand_in_all(root)
    done = run(root, COURSE, "grade", NAME)
    assert done.returncode == 0, done.stderr
    leave_hidden_cases(root, tmp_path_factory)
    lines = {line.partition("] ")[2].partition(":")[0]: line for line in done.stdout.splitlines() if line[0] == "["}
    return root, lines, marks(root)


def test_everyone_is_there_with_a_line_a_mark_sheet_and_a_row(graded):
    root, lines, found = graded
    assert len(CLASS) >= 25
    assert set(lines) == set(found) == set(CLASS)
    assert {p.parts[-3] for p in (root / "feedback").glob("*/*/*.html")} == set(CLASS)
    with open(root / "grades.csv") as file:
        assert {row["student_id"] for row in csv.DictReader(file)} == set(CLASS)


@pytest.mark.parametrize("name", CLASS)
def test_the_marks_are_those_expected(graded, name):
    _, lines, found = graded
    for exercise, points in CLASS[name].expected.items():
        got = found[name][exercise]
        if points == "less":
            assert got < FULL[exercise], (exercise, lines[name])
        else:
            assert got == points, (exercise, lines[name])


@pytest.mark.parametrize("name", [n for n in CLASS if CLASS[n].reason])
def test_the_reason_is_stated(graded, name):
    root, lines, _ = graded
    assert CLASS[name].reason in lines[name]


@pytest.mark.parametrize("name", [n for n in CLASS if n.startswith(("mistakes_", "wrong_"))])
def test_the_mistakes_are_named(graded, name):
    _, lines, _ = graded
    rank = int(name.removeprefix("mistakes_")) if name.startswith("mistakes_") else 0
    for exercise, points in CLASS[name].expected.items():
        if points == "less":
            assert list(EXERCISES[exercise].mistakes)[rank] in lines[name]


def test_scripts_arrive_as_text(graded):
    root, _, _ = graded
    (page,) = (root / "feedback" / "writes_scripts").glob("*/*.html")
    html = page.read_text()
    for said in ("printed", "shown", "js"):
        assert f"<script>alert('{said}')" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(" in html


def test_nothing_of_the_graders_was_found(graded):
    root, _, _ = graded
    (notebook,) = (root / "autograded" / "reads_around").glob("*/*.ipynb")
    assert "FOUND []" in notebook.read_text()


def test_grading_again_changes_nothing(graded):
    root, lines, found = graded
    before = {p: p.read_bytes() for p in [root / "grades.csv", *(root / "feedback").rglob("*.html")]}
    done = run(root, COURSE, "grade", NAME)
    assert done.returncode == 0, done.stderr
    assert marks(root) == found
    assert {p: p.read_bytes() for p in before} == before
    again = {line.partition("] ")[2].partition(":")[0]: line for line in done.stdout.splitlines() if line[0] == "["}
    assert {n: line.partition("] ")[2] for n, line in again.items()} == {
        n: line.partition("] ")[2] for n, line in lines.items()
    }


def test_the_report_shows_the_class(graded):
    root, _, _ = graded
    html = (root / "report.html").read_text()
    assert all(name in html for name in CLASS)
    assert "http://" not in html and "https://" not in html


@pytest.mark.soak  # every day of one student: test_cli.py
def test_stock_nbgrader_gives_the_same_marks(graded, tmp_path):
    root, _, found = graded
    some = [
        "alan",
        "wrong_sample",
        "equals_everything",
        "exits",
        "check_edited",
        "cells_copied",
        "json_cut",
        "nbformat_3",
    ]
    stock = copy_course(tmp_path / "stock")
    hand_in_all(stock, some)
    done = run(stock, COURSE, "release", NAME)  # makes the gradebook, as an instructor would
    assert done.returncode == 0, done.stderr
    (stock / ".grading" / NAME).mkdir(parents=True, exist_ok=True)
    shutil.copy(root / ".grading" / NAME / "seed", stock / ".grading" / NAME)
    done = run(stock, str(Path(sys.executable).with_name("nbgrader")), "autograde", NAME)
    assert done.returncode == 0, done.stderr[-3000:]
    assert marks(stock) == {name: found[name] for name in some}
