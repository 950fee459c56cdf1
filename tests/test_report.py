"""The page about a class: says what the gradebook says, in one file that asks nobody for anything."""

import re
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from nbgrader.api import Gradebook
from small_course import HALF, NAME, RIGHT, hand_in, install, released_course

from course_utils.grading.gradebook import grade
from course_utils.grading.report import write_report


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        course = released_course(tmp_path_factory.mktemp("course"))
        hand_in(course, "ann", RIGHT | {"why": "It is linear."})
        hand_in(course, "bob & <b>co", HALF)
        hand_in(course, "cyd", HALF | {"total": RIGHT["total"]})
        hand_in(course, "dan").write_text("{")
        list(grade(course, NAME, []))
    return course


@pytest.fixture
def page(course):
    return BeautifulSoup(write_report(course, NAME).read_text(), "html.parser")


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
    links = [a["href"] for a in page("a")]
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


def test_marks_given_by_hand_are_there_the_next_time(course):
    with Gradebook(course.directory().db_url) as gradebook:
        gradebook.find_grade("why", NAME, NAME, "ann").manual_score = 3.5
        gradebook.db.commit()
    rows = table(BeautifulSoup(write_report(course, NAME).read_text(), "html.parser"), "Students")
    assert rows[0][:2] == ["ann", "9.5"] and rows[0][4] == "3.5"
