"""Marks over time: due dates, extensions and penalties hold anew in every run; old marks by hand are named."""

from datetime import datetime

import pytest
from nbgrader.api import Gradebook
from small_course import HALF, NAME, RIGHT, graded, hand_in

from autograder.book.late import read_rules
from autograder.book.report import write_report
from autograder.book.sheets import sheets
from autograder.course import Assignment
from course_utils.paths import CourseError

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")


def arrive(course, student, time, answers=RIGHT):
    hand_in(course, student, answers).with_name("timestamp.txt").write_text(f"{time}\n")


def due(course, moment):
    with Gradebook(course.directory().db_url) as gradebook:
        gradebook.find_assignment(NAME).duedate = moment
        gradebook.db.commit()


def rules(course, text):
    (course.root / "late.toml").write_text(text)


def page(course, student):
    return (course.root / "feedback" / student / NAME / f"{NAME}.html").read_text()


def recorded(course, student):
    with Gradebook(course.directory().db_url) as gradebook:
        return gradebook.find_submission(NAME, student).late_submission_penalty


def test_a_due_date_that_is_set_after_the_first_grading_holds(course):
    arrive(course, "ann", "2026-10-03 12:00:00 UTC")
    assert graded(course)["ann"].points == 6
    rules(course, f"[{NAME}]\ndue = 2026-10-02T13:30:00+02:00\nper_day = 0.25\n")
    sheet = graded(course)["ann"]  # nothing ran anew
    assert sheet.points == 3 and "Handed in 1 day late" not in sheet.line()
    assert "Handed in 1 day 30 minutes late (it was due 2026-10-02 11:30 UTC): 3 points less." in sheet.line()
    assert recorded(course, "ann") == 3 and "ann,,,,6.0,3.0,3.0" in (course.root / "grades.csv").read_text()
    assert "3 points less" in page(course, "ann") and "Handed in late" in (course.root / "report.html").read_text()
    rules(course, f"[{NAME}]\ndue = 2026-10-09\nper_day = 0.25\n")
    sheet = graded(course)["ann"]
    assert sheet.points == 6 and recorded(course, "ann") == 0 and "late" not in sheet.line()


def test_extensions_late_days_and_the_most_that_is_lost(course):
    for student, day in {"ann": 3, "bob": 5, "cyd": 30, "dan": 3}.items():
        arrive(course, student, f"2026-10-{day:02} 12:00:00 UTC")
    rules(
        course,
        f'[default]\nlate_days = 1\nper_day = 0.25\nmost = 0.5\nzone = "Europe/Berlin"\n'
        f"[{NAME}]\ndue = 2026-10-02T23:59:00\n[{NAME}.extensions]\nbob = 1.5\ncyd = 2026-10-09\n",
    )
    found = graded(course)
    assert found["ann"].points == 6 and "1 late day used, no points less" in found["ann"].line()
    assert (
        found["bob"].points == 4.5
        and "(it was due 2026-10-04 09:59 UTC): 1 late day used, 1.5 points" in found["bob"].line()
    )
    assert found["cyd"].points == 3 and "(it was due 2026-10-09 21:59 UTC)" in found["cyd"].line()
    rules(course, f"[{NAME}]\ndue = 2026-10-02\n[{NAME}.extensions]\ndan = 2\n")
    said = graded(course)["dan"].line()
    assert "within the extension to" in said and "points less" not in said


def test_the_due_date_of_formgrader_and_a_plugin_of_nbgraders_hold(course):
    arrive(course, "ann", "2026-10-03 12:00:00 +02:00")
    due(course, datetime(2026, 10, 3, 9, 0))
    assert "Handed in 1 hour late (it was due 2026-10-03 09:00 UTC): no points less." in graded(course)["ann"].line()
    config = course.root / "nbgrader_config.py"
    config.write_text(config.read_text() + '\nc.LateSubmissionPlugin.penalty_method = "zero"\n')
    assert graded(course)["ann"].points == 0 and recorded(course, "ann") == 6
    due(course, datetime(2026, 10, 3, 11, 0))
    assert graded(course)["ann"].points == 6 and recorded(course, "ann") == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a9]\n", "no assignment for"),
        ("[default]\nper_week = 1\n", "has 'per_week'"),
        ("[default]\nper_day = -1\n", "from 0 on"),
        ("[default]\ndue = 3\n", "write a time"),
        ('[default]\nzone = "Berlin"\n', "no time zone"),
        ("[default\n", "as TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_said(course, text, said):
    rules(course, text)
    with pytest.raises(CourseError, match=said):
        read_rules(course)


def give(course, cell, points):
    with Gradebook(course.directory().db_url) as gradebook:
        found = gradebook.find_grade(cell, NAME, NAME, "ann")
        found.manual_score, found.needs_manual_grade = points, False
        gradebook.db.commit()


def test_a_mark_by_hand_for_an_earlier_text_is_named_everywhere(course):
    hand_in(course, "ann", HALF | {"why": "It is linear."})
    graded(course)
    give(course, "why", 4)
    assert "by hand" not in graded(course)["ann"].line()
    hand_in(course, "ann", RIGHT | {"why": "It is linear."})  # the same words: nobody has to read them again
    assert graded(course)["ann"].line() == "ann: 10 of 10. All right."
    hand_in(course, "ann", RIGHT | {"why": "Because."})
    line = graded(course)["ann"].line()
    assert "why: the mark by hand (4) is for an earlier hand-in; look at it again." in line and "All right" not in line
    assert "look at it again" in write_report(Assignment(course, NAME)).read_text()
    assert "This mark was given for an earlier hand-in" in page(course, "ann")
    give(course, "why", 3)
    assert graded(course)["ann"].line() == "ann: 9 of 10. why: 3 of 4."


def test_a_judged_cell_that_was_marked_by_hand_says_so(course):
    hand_in(course, "ann", HALF | {"why": "x"})
    graded(course)
    give(course, "check_double", 1.5)
    line = graded(course)["ann"].line()
    assert "double: 1.5 of 2 by hand, in place of the grader's 0." in line and "look at it again" not in line
    assert "Marked by a person in place of the grader" in page(course, "ann")
    hand_in(course, "ann", RIGHT | {"why": "x"})
    assert "the mark by hand (1.5) is for an earlier hand-in" in graded(course)["ann"].line()
    assert any(note.cell == "double" for sheet in sheets(Assignment(course, NAME)) for note in sheet.remarks)
