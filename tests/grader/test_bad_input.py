"""What a class can throw at the grader by accident: a clear sentence, the run goes on, nothing is lost."""

import os
import shutil
import sqlite3

import pytest
from small_course import HALF, NAME, RIGHT, graded, hand_in

from autograder import grade as gradebook_module
from autograder.book.sheets import Sheet, failures, sheets
from autograder.course import Assignment
from autograder.grade import watch
from autograder.intake import submissions
from autograder.intake.submissions import student_name
from autograder.limits import DEFAULTS
from autograder.notes import Kind, note, sentence
from autograder.run.options import Options
from course_utils.paths import CourseError, explain

NAMES = {
    " ..": "nameless",  # without the blank it is the folder above
    " .ann": "ann",
    "{student_id}": "{student_id}",
    "%s 100%": "%s 100%",
    "a\nb\tc": "a_b_c",
    "o'neil; drop table student; --": "o'neil; drop table student; --",
    "Ünal 李 🦊": "Ünal 李 🦊",
    "x" * 255: "x" * 255,
    "con\\aux": "con\\aux",
    "<b>&amp;": "<b>&amp;",
    "-rf": "rf",
    "=cmd|' calc'!A0": "cmd|' calc'!A0",  # a formula, for who opens grades.csv with a spreadsheet
    "@SUM(1)": "SUM(1)",
    "+1": "1",
    "eve\u202enna": "eve_nna",  # shown as “eveann”
    "\x1b[2J\x9bfay": "_[2J_fay".replace("[", "_"),  # would clear the grader's terminal
    "two  blanks ": "two  blanks",
}


def test_folders_with_strange_names(course, tmp_path):
    for name in NAMES:
        hand_in(course, name, RIGHT)
    before = sorted(p.name for p in [*tmp_path.iterdir(), *course.root.iterdir()])
    sheets_ = graded(course)
    assert {s: v.points for s, v in sheets_.items()} == dict.fromkeys(NAMES.values(), 6)
    assert {p.parts[-3] for p in (course.root / "feedback").glob("*/*/*.html")} == set(NAMES.values())
    made = {"autograded", "feedback", "grades.csv", "report.html", ".grading"}
    assert sorted(p.name for p in [*tmp_path.iterdir(), *course.root.iterdir()] if p.name not in made) == [
        n for n in before if n not in made
    ]
    assert len((course.root / "grades.csv").read_text().splitlines()) == len(NAMES) + 1


def test_too_many_files_too_large_files_and_links_out(course, executor):
    folder = hand_in(course, "ann", RIGHT).parent
    for i in range(10_000):
        (folder / f"{i:05}.txt").touch()
    folder = hand_in(course, "bob", RIGHT).parent
    with open(folder / "data.bin", "wb") as file:
        file.truncate(2 * 2**30)
    with open(hand_in(course, "cyd", RIGHT), "wb") as file:
        file.truncate(2 * 2**30)
    path = hand_in(course, "dan", RIGHT)
    shutil.move(path, course.root / "elsewhere.ipynb")
    path.symlink_to(course.root / "elsewhere.ipynb")
    (path.parent / "up").symlink_to("../..")
    (path.parent / "round").symlink_to(".")
    found = graded(course)
    assert {s: v.points for s, v in found.items()} == {"ann": 6, "bob": 6, "cyd": 0, "dan": 0}
    assert found["ann"].notes == found["bob"].notes == [note(Kind.TOO_MUCH, 500, 200)]
    assert found["cyd"].notes == [note(Kind.TOO_LARGE, 2048, 32)]
    assert {"a0_small.ipynb", "up", "round"} == {n.text[0] for n in found["dan"].notes if n.kind == Kind.LINKED_FILE}
    staged = sum(1 for _ in (Assignment(course, NAME).private / "staged" / "ann").rglob("*"))
    assert staged <= DEFAULTS.files + 2


def test_a_second_hand_in_under_a_name_that_is_taken_is_refused_and_said(course):
    hand_in(course, "ann", RIGHT)
    hand_in(course, "loose", HALF).rename(course.root / "submitted" / "ann.ipynb")
    shutil.rmtree(course.root / "submitted" / "loose")
    for name in ("=ann", "＋ann"):
        hand_in(course, name, HALF)
    found = graded(course)
    assert {s: v.points for s, v in found.items() if not v.failed} == {"ann": 6}
    refused = [v for v in found.values() if v.failed]
    assert {v.notes[0].text for v in refused} == {("ann.ipynb", "ann"), ("=ann", "ann"), ("＋ann", "ann")}
    assert all("NOT GRADED" in v.line() and "Say who is who" in v.line() for v in refused)


def test_a_name_in_other_letters_of_the_same_looks_is_one_person_and_capitals_are_two(course):
    hand_in(course, "Jose\u0301", HALF)
    hand_in(course, "right", RIGHT)
    hand_in(course, "RIGHT", HALF)
    found = graded(course)
    assert {s: v.points for s, v in found.items()} == {"Jos\u00e9": 3, "RIGHT": 3, "right": 6}
    assert not found["Jos\u00e9"].notes or all(n.kind != Kind.RENAMED for n in found["Jos\u00e9"].notes)
    hand_in(course, "Jos\u00e9", RIGHT)
    found = graded(course)
    assert found["Jos\u00e9"].points == 6 and sum(v.failed for v in found.values()) == 1


@pytest.mark.parametrize("sign", ["\u061c", "\u2028", "\u00ad", "\u3164", "\u202e", "\u200b", "\x07"])
def test_names_hold_nothing_that_is_not_seen(sign):
    assert student_name(f"an{sign}n") == "an_n" and student_name("＝＠ann") == "ann"


def test_a_hand_in_that_changes_while_it_is_graded(course, executor, monkeypatch):
    hand_in(course, "ann", RIGHT)
    hand_in(course, "bob", HALF)
    run = executor.execute
    graded(course)

    def execute(notebook, *args, **kwargs):
        if any(cell.source == RIGHT["double"] for cell in notebook.cells):  # ann's is read, and not bob's alone
            hand_in(course, "ann", HALF)
        return run(notebook, *args, **kwargs)

    monkeypatch.setattr("autograder.run.execute.execute", execute)
    found, changed = graded(course, again=True), note(Kind.CHANGED)
    assert found["ann"].points == 6 and found["ann"].notes[-1] == changed and sentence(changed) in found["ann"].line()
    assert changed not in found["bob"].notes
    monkeypatch.setattr("autograder.run.execute.execute", run)
    assert graded(course)["ann"].points == 3


def test_what_may_not_be_read_costs_that_student_only(course, executor, monkeypatch):
    """(As root every file may be read, so the system's answer is made up.)"""
    hand_in(course, "ann", RIGHT)
    hand_in(course, "bob", RIGHT)
    find = submissions._notebook

    def forbidden(place, name, notes, answered):
        if place.parent.name == "bob":
            raise PermissionError(13, "Permission denied", str(place / "x"))
        return find(place, name, notes, answered)

    monkeypatch.setattr(submissions, "_notebook", forbidden)
    found = graded(course)
    assert {s: v.points for s, v in found.items()} == {"ann": 6, "bob": 0}
    assert found["bob"].notes[0] == note(Kind.UNREADABLE, "Permission denied")


@pytest.mark.parametrize("number", [28, 122])
def test_no_room_for_the_copies_stops_with_a_sentence_and_goes_on_later(course, monkeypatch, number):
    hand_in(course, "ann", RIGHT)
    copy = submissions.shutil.copyfileobj

    def full(source, out):
        raise OSError(number, os.strerror(number))

    (course.root / "submitted" / "ann" / NAME / "data.csv").write_text("1")
    monkeypatch.setattr(submissions.shutil, "copyfileobj", full)
    with pytest.raises(OSError) as error:
        graded(course)
    assert "the disk is full: make room" in explain(error.value)
    monkeypatch.setattr(submissions.shutil, "copyfileobj", copy)
    assert graded(course)["ann"].points == 6


def test_a_gradebook_of_an_older_version(course):
    hand_in(course, "ann", RIGHT)
    path = course.root / "gradebook.db"
    with sqlite3.connect(path) as db:
        db.execute("update alembic_version set version_num = '724cde206c17'")
    before = path.read_bytes()
    with pytest.raises(CourseError, match="another version of nbgrader.*`nbgrader db upgrade`, then the same command"):
        graded(course)
    assert path.read_bytes() == before
    with sqlite3.connect(path) as db:
        db.execute("drop table alembic_version")
    with pytest.raises(CourseError, match="another version"):
        graded(course)


def test_a_gradebook_that_is_none(course):
    hand_in(course, "ann", RIGHT)
    path = course.root / "gradebook.db"
    path.write_text("This is no database, but long enough that it could have been one. " * 50)
    with pytest.raises(CourseError, match="gradebook.db\\) cannot be read .*put a copy of it back"):
        graded(course)
    assert path.read_text().startswith("This is no database")
    path.unlink()
    path.mkdir()
    with pytest.raises(CourseError, match="the gradebook cannot be written"):
        graded(course)


def test_whom_the_grader_failed_is_remembered_until_it_succeeds(course, executor, monkeypatch):
    hand_in(course, "ann", RIGHT)
    hand_in(course, "bob", HALF)
    graded(course, students=["ann"])
    run = executor.execute

    def execute(*args, **kwargs):
        raise RuntimeError("oh")

    monkeypatch.setattr("autograder.run.execute.execute", execute)
    assert graded(course, students=["bob"])["bob"].failed
    failed = failures(Assignment(course, NAME))
    assert list(failed) == ["bob"] and "RuntimeError: oh" in failed["bob"]
    assert "The grader failed (1)" in (course.root / "report.html").read_text()
    monkeypatch.setattr("autograder.run.execute.execute", run)
    graded(course, students=["bob"])
    assert failures(Assignment(course, NAME)) == {}


# --- watching ---------------------------------------------------------------------------------------------------------


def test_watching_grades_what_arrives_once_it_is_whole(course, executor, monkeypatch):
    asked = []

    def grade_(assignment, students, options):
        asked.append((students, options))
        if "full" in students:
            raise CourseError("the disk is full")
        return iter([(1, 1, Sheet(s)) for s in students])

    monkeypatch.setattr(gradebook_module, "grade", grade_)
    said, seen = [], []

    def looks():
        """What happens between two looks."""
        for look in range(18):
            yield look
            if look == 0:
                hand_in(course, "ann", RIGHT)
            if look in (2, 3, 4):  # bob's arrives in pieces
                path = hand_in(course, "bob", RIGHT)
                path.write_text(path.read_text()[: 100 * look])
            if look == 8:
                hand_in(course, "ann", HALF)
            if look == 11:
                hand_in(course, "full", HALF)
            if look == 15:
                shutil.rmtree(course.root / "submitted" / "full")
            seen.append(len(asked))

    found = watch(Assignment(course, NAME), [], Options(workers=1), looks(), said.append)
    assert [sheet.student for _, _, sheet in found] == ["ann", "bob", "ann"]
    assert [students for students, _ in asked[:3]] == [["ann"], ["bob"], ["ann"]]
    assert said == ["the disk is full"] and len(asked) > 4 and asked[0][1] == Options(workers=1)
    # looks:    0  1  2 (two looks alike: ann)  … bob's last piece came after look 4, looks 5 and 6 are alike
    assert seen[:7] == [0, 0, 1, 1, 1, 1, 2]


def test_watching_really_grades(course):
    hand_in(course, "ann", RIGHT)
    found = list(watch(Assignment(course, NAME), [], looks=range(2)))
    assert [(n, of, s.points) for n, of, s in found] == [(1, 1, 6)]
    assert [s.student for s in sheets(Assignment(course, NAME))] == ["ann"]
