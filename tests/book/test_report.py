"""The page about a class: says what the gradebook says, in one file that asks nobody for anything."""

import re
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from nbgrader.api import Gradebook
from small_course import HALF, NAME, RIGHT, hand_in, install, released_course
from test_similar import dressed_up, program

from autograder.book import report
from autograder.book.report import write_report
from autograder.book.sheets import Sheet
from autograder.course import Assignment
from autograder.grade import grade
from autograder.notes import Kind, note


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        course = released_course(tmp_path_factory.mktemp("course"))
        hand_in(course, "ann", RIGHT | {"why": "It is linear."})
        hand_in(course, "bob & <b>co", HALF)
        hand_in(course, "cyd", HALF | {"total": RIGHT["total"]})
        hand_in(course, "dan").write_text("{")
        list(grade(Assignment(course, NAME), []))
    return course


@pytest.fixture
def page(course):
    return BeautifulSoup(write_report(Assignment(course, NAME)).read_text(), "html.parser")


def table(page, title):
    """The rows under a heading, each as a list of texts."""
    found = page.find("h2", string=title).find_next("table")
    return [[re.sub(r"\s+", " ", c.get_text(" ")).strip() for c in r(["td", "th"])] for r in found("tr")[1:]]


def test_marks_per_exercise(page):
    rows = {row[0]: row for row in table(page, "Exercises")}
    assert list(rows) == ["double", "total", "why", "plain"]
    assert rows["double"][1:] == ["0.5 of 2", "", "1", "3", "judge"]
    assert rows["total"][1] == "2 of 3"
    assert rows["why"][5] == "a person (1 to mark)"
    assert rows["plain"][5] == "the student's kernel"


def test_which_mistakes_were_made_by_whom_and_what_they_were_told(page):
    hint = "you squared: 2 x is x + x, not x times x"
    assert table(page, "Known mistakes") == [["double", "squared", "2", hint, "bob & <b>co, cyd"]]


def test_what_went_wrong_and_for_whom(page):
    ((student, notes),) = table(page, "What went wrong technically")
    assert student == "dan" and "not JSON" in notes


def test_each_student_with_a_way_to_the_mark_sheet(page, course):
    rows = table(page, "Students")
    assert [row[:2] for row in rows] == [["ann", "6"], ["bob & <b>co", "3"], ["cyd", "4"], ["dan", "0"]]
    assert rows[0][4] == "?"
    links = [a["href"] for a in page.find("h2", string="Students").find_next("table")("a")]
    assert len(links) == 4 and all((course.root / unquote(link)).is_file() for link in links)


def test_the_distribution_counts_everybody(page):
    picture = page.find("svg")
    counts = [int(t.text) for t in picture("text") if t.text.isdigit()]
    assert sum(counts) == 4 and len(picture("rect")) == 10
    assert "6 to 7: 1" in picture["aria-label"]


def test_nothing_comes_from_elsewhere_and_nothing_runs(page):
    text = str(page)
    assert not page(["script", "link", "img", "iframe", "object"]) and "url(" not in text and "@import" not in text
    assert not re.findall(r"(?:https?:)?//\w", text)
    assert page.find("meta", {"http-equiv": "Content-Security-Policy"})


def test_tables_can_be_read_aloud(page):
    assert page.html["lang"] == "en" and page.title.text
    for found in page("table"):
        assert found.caption and all(th.get("scope") in ("col", "row") for th in found("th"))
        widths = {len(row(["td", "th"])) for row in found("tr")}
        assert len(widths) == 1


def test_light_and_dark(page):
    assert "prefers-color-scheme: dark" in page.style.text


def test_the_hardest_exercise_and_who_needs_attention_stand_at_the_top(page):
    top = page.find("section", class_="first")
    text = re.sub(r"\s+", " ", top.get_text(" "))
    assert page.h1.find_next("section") is top and page.h1.find_next("h2").text == "Needs attention"
    assert "The hardest exercise was double : the class got 25 % of its points, and 3 of 4 students got none" in text
    assert "the commonest mistake was “squared” (2)" in text
    assert "Nothing to grade (1) dan" in text and "To mark by hand (1)" in text


def test_marks_given_by_hand_are_there_the_next_time(course):
    with Gradebook(course.directory().db_url) as gradebook:
        gradebook.find_grade("why", NAME, NAME, "ann").manual_score = 3.5
        gradebook.db.commit()
    students = table(BeautifulSoup(write_report(Assignment(course, NAME)).read_text(), "html.parser"), "Students")
    assert students[0][:2] == ["ann", "9.5"] and students[0][4] == "3.5"


# --- what stands at the top, and who is alike -------------------------------------------------------------------------


def sheet(student, points=8.0, notes=(), **usage):
    return Sheet(student, points, 10.0, {"check_a": (points, 10.0)}, notes=list(notes), usage=usage)


def test_each_student_stands_under_the_gravest_heading():
    died = note(Kind.DIED, "ended its kernel (exit code 1)", cell=3)
    late = note(Kind.INTERRUPTED, 60, cell=4)
    found = [sheet(f"fine {i}", wall_s=2.0, kernels=1) for i in range(5)]
    found += [
        sheet("missing", 0, [note(Kind.NOTHING)]),
        sheet("broken", 0, [note(Kind.NOT_JSON)]),
        sheet("killed", 5, [died, late], wall_s=70.0, kernels=2),
        sheet("loops", 0, [late], wall_s=64.0, kernels=1),
        sheet("lost", 2.5),
        sheet("slow", 8, wall_s=11.0),
        sheet(
            "untidy",
            8,
            [note(Kind.TEXT_RESTORED, cell="2 (a)")],
            wall_s=9.0,
        ),
        sheet("failed", 8),
    ]
    groups = {
        g["what"]: dict(g["who"]) for g in report._attention(found, {"failed": "The grader failed", "gone": "so"})
    }
    assert {what: list(who) for what, who in groups.items()} == {
        "The grader failed": ["failed", "gone"],
        "Nothing to grade": ["missing", "broken"],
        "Kernel died": ["killed"],
        "Ran out of time": ["loops"],
        "A quarter of the points or less": ["lost"],
        "Unusually slow": ["slow"],
    }
    assert groups["Unusually slow"]["slow"] == "11 s; half of the class took 2 s or less"
    assert report._attention(found[:5], {}) == []


def test_time_and_memory():
    usage = report._usage([sheet(str(i), wall_s=float(i), cpu_s=30.0, peak_memory_bytes=2**20) for i in range(9)])
    assert usage["median"] == 4 and usage["cpu_min"] == 4.5
    assert [s.student for s in usage["slowest"]] == ["8", "7", "6", "5", "4"]
    assert report._usage([sheet("a")]) is None


def fabricate(course, monkeypatch, found, written):
    """A class that never ran: sheets, and the code in the graded notebooks."""
    monkeypatch.setattr(report, "sheets", lambda *_: found)
    monkeypatch.setattr(report, "make_gradebook", lambda url: None)

    def notebook(assignment, student):
        return {"cells": [{"cell_type": "code", "source": s, "metadata": {}} for s in written.get(student, [])]}

    monkeypatch.setattr(report, "graded_notebook", notebook)
    for s in found:
        path = course.root / "feedback" / s.student / NAME / f"{NAME}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return BeautifulSoup(write_report(Assignment(course, NAME)).read_text(), "html.parser")


def test_a_fabricated_class(tmp_path, monkeypatch):
    install(monkeypatch)
    course = released_course(tmp_path)
    found = [sheet(f"s{i}", 10, wall_s=1.5, cpu_s=1.0, peak_memory_bytes=5 * 2**20, kernels=1) for i in range(30)]
    written = {s.student: program(i) for i, s in enumerate(found)} | {"s3": dressed_up(program(9))}
    page = fabricate(course, monkeypatch, found, written)
    (pair,) = table(page, "Similar submissions")
    assert pair[:2] == ["s3", "s9"] and int(pair[2].split()[0]) > 90
    links = page.find("h2", id="similar").find_next("table")("a")
    assert [unquote(a["href"]) for a in links] == [f"feedback/{s}/{NAME}/{NAME}.html" for s in ("s3", "s9")]
    assert "not a verdict" in page.find("h2", id="similar").find_next("p").text
    assert page.find("a", href="#similar").text == "s3 and s9"
    assert table(page, "Time and memory")[0] == ["s0", "1.5", "1.0", "5", "1"]
    monkeypatch.undo()


def test_a_class_without_trouble_says_so(tmp_path, monkeypatch):
    install(monkeypatch)
    page = fabricate(released_course(tmp_path), monkeypatch, [sheet("ann", 10), sheet("bob", 9.5)], {})
    text = page.find("section", class_="first").text
    assert "Nobody stands out." in text
    monkeypatch.undo()


def test_a_question_that_nobody_touched_is_not_the_hardest_exercise():
    exercises = [
        {"name": "why", "mean": 0.0, "most": 4.0, "open": 0, "by": "person", "none": 9},
        {"name": "double", "mean": 1.0, "most": 2.0, "open": 0, "by": "judge", "none": 3},
        {"name": "total", "mean": 2.0, "most": 2.0, "open": 0, "by": "judge", "none": 0},
    ]
    found = report._hardest(exercises, [("double", "squared", ["ann"], "")])
    assert (found["name"], found["share"], found["mistake"]) == ("double", 0.5, ("squared", 1))


def test_headings_go_by_what_happened_and_not_by_words_in_names():
    """A file may be called what a sentence of the grader says."""
    for name in ("graded unanswered.ipynb", "my time limit notes.ipynb", "the kernel died.ipynb"):
        found = [sheet("ann", 10, [note(Kind.OTHER_NAME, name, NAME)], wall_s=1.0, kernels=1)]
        assert report._attention(found, {}) == [], name
        assert found[0].trouble and name in found[0].line()
