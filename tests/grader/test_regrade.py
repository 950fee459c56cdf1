"""A corrected check: whose marks change is said, nothing runs without need, and there is a way back."""

import json
import shutil
import sqlite3

import nbformat
import numbers_course
import pytest
from nbgrader.api import Gradebook
from small_course import HALF, NAME, RIGHT, hand_in, released_course

from autograder import regrade as regrade_module
from autograder.book.sheets import sheets
from autograder.course import Assignment
from autograder.grade import grade
from autograder.notes import Kind, note
from autograder.regrade import COPIES, regrade, undo
from autograder.release import release
from autograder.run.options import Options
from autograder.sandbox import provisioner
from course_utils.paths import CourseError

RIGHT_CHECK = "    yield torch.rand(5, generator=g),\n"  # a case of `total` on which bob's fails


@pytest.fixture
def course(course):
    hand_in(course, "ann", RIGHT | {"why": "It is linear."})
    hand_in(course, "bob", HALF)
    list(grade(Assignment(course, NAME), []))
    return course


def correct(course, too_much=RIGHT_CHECK):
    """The case that asked for too much is taken out of the check."""
    path = course.solution(NAME).parent / "mistakes.py"
    before = path.read_text()
    path.write_text(before.replace(too_much, ""))
    assert path.read_text() != before
    return lambda: path.write_text(before)


def marks(course):
    return {s.student: s.points for s in sheets(Assignment(course, NAME))}


def graded(course, student):
    return nbformat.read(course.root / "autograded" / student / NAME / f"{NAME}.ipynb", as_version=4).cells


def copies(course):
    return sorted((Assignment(course, NAME).private / COPIES).glob("*"))


def tables(course):
    with sqlite3.connect(course.root / "gradebook.db") as db:
        return sorted(db.iterdump())


def test_nothing_runs_and_nothing_is_kept_when_nothing_changed(course, executor):
    calls, before = executor.calls, tables(course)
    done = regrade(Assignment(course, NAME))
    assert (done.changes, done.same, done.notes, done.copy) == ([], 2, [], None)
    assert executor.calls == calls and tables(course) == before and not copies(course)
    with pytest.raises(CourseError, match="no regrade of a0_small to undo"):
        undo(Assignment(course, NAME))


def test_whose_marks_changed_and_the_way_back(course, executor):
    calls, before = executor.calls, tables(course)
    page = (course.root / "feedback" / "bob" / NAME / f"{NAME}.html").read_text()
    put_back = correct(course)
    hand_in(course, "cyd", RIGHT)  # arrived meanwhile: not this command's business
    done = regrade(Assignment(course, NAME))
    (line,) = [change.line() for change in done.changes]
    assert line == "bob: 3 → 4 (total 2 → 3)" and done.same == 1
    assert executor.calls == calls + 1 + 2  # the solution, and both notebooks once
    assert executor.judged[-2:] == [{"total"}, {"total"}], "only what the correction touches"
    (double,) = [c for c in graded(course, "bob") if c.metadata.get("nbgrader", {}).get("grade_id") == "check_double"]
    assert "0 of 2 points" in double.outputs[0].text, "what was not touched stands as it was"
    assert marks(course) == {"ann": 6, "bob": 4}
    (copy,) = copies(course)
    assert copy == done.copy and (copy.stat().st_mode | (copy / "gradebook.db").stat().st_mode) & 0o077 == 0
    with sqlite3.connect(copy / "gradebook.db") as db:
        assert sorted(db.iterdump()) == before
    assert regrade(Assignment(course, NAME)).changes == [] and executor.calls == calls + 3 and copies(course) == [copy]
    with Gradebook(course.directory().db_url) as gradebook:  # since then a person has given marks
        found = gradebook.find_grade("why", NAME, NAME, "ann")
        found.manual_score, found.needs_manual_grade = 3, False
        gradebook.add_student("zoe")
        gradebook.db.commit()
    (line,) = [change.line() for change in undo(Assignment(course, NAME)).changes]
    assert line == "bob: 4 → 3 (total 3 → 2)"
    assert marks(course) == {"ann": 9, "bob": 3}
    with Gradebook(course.directory().db_url) as gradebook:
        assert gradebook.find_student("zoe") and not gradebook.find_grade("why", NAME, NAME, "ann").needs_manual_grade
    assert (course.root / "feedback" / "bob" / NAME / f"{NAME}.html").read_text() == page
    assert "bob,,,,3.0" in (course.root / "grades.csv").read_text()
    with pytest.raises(CourseError, match="to undo"):
        undo(Assignment(course, NAME))
    put_back()
    list(grade(Assignment(course, NAME), ["ann", "bob"]))
    assert executor.calls == calls + 3 and marks(course) == {"ann": 9, "bob": 3}  # all of it was known


@pytest.mark.parametrize("how", ["two kernels", "a note", "again", "more than a check"])
def test_where_cells_hang_on_one_another_all_of_them_are_judged_again(course, executor, how):
    for path in (Assignment(course, NAME).private / "results").glob("*.json"):
        outcome = json.loads(path.read_text())
        if how == "two kernels":
            outcome["usage"]["kernels"] = 2
        elif how == "a note":
            outcome["notes"].append(note(Kind.INTERRUPTED, 30, cell="4 (check_double)").as_json())
        path.write_text(json.dumps(outcome))
    if how == "more than a check":
        path = course.solution(NAME)
        path.write_text(path.read_text().replace("check(double)", "check(double); seen = 1"))
        release(Assignment(course, NAME))
        list(grade(Assignment(course, NAME), []))
    correct(course)
    regrade(Assignment(course, NAME), Options(again=how == "again"))
    assert executor.judged[-2:] == 2 * [{"double", "total"}]


@pytest.mark.skipif(provisioner.missing() is not None, reason=str(provisioner.missing()))
def test_marks_are_those_of_a_whole_run(tmp_path):
    """With real kernels."""
    course = numbers_course.numbers_course(tmp_path)
    release(Assignment(course, NAME))
    hand_in(course, "ann", numbers_course.RIGHT)
    hand_in(course, "bob", numbers_course.HALF)
    list(grade(Assignment(course, NAME), []))
    correct(course, too_much="    yield [],\n")
    assert [change.student for change in regrade(Assignment(course, NAME)).changes] == ["bob"]
    found = [(s.points, s.cells, s.verdicts, s.notes) for s in sheets(Assignment(course, NAME))]
    list(grade(Assignment(course, NAME), [], Options(again=True)))
    assert [(s.points, s.cells, s.verdicts, s.notes) for s in sheets(Assignment(course, NAME))] == found


def test_a_regrade_that_was_interrupted_goes_on_and_still_knows_what_was_before(course, monkeypatch):
    correct(course)

    def stops(*args, **options):
        yield next(iter(grade(*args, **options)))
        raise KeyboardInterrupt

    hand_in(course, "bob", HALF)
    monkeypatch.setattr(regrade_module, "grade", stops)
    with pytest.raises(KeyboardInterrupt):
        regrade(Assignment(course, NAME))
    monkeypatch.setattr(regrade_module, "grade", grade)
    done = regrade(Assignment(course, NAME))
    assert [c.line() for c in done.changes] == ["bob: 3 → 4 (total 2 → 3)"] and len(copies(course)) == 1
    undo(Assignment(course, NAME))
    assert marks(course) == {"ann": 6, "bob": 3}


def test_what_it_cannot_do_is_said(course):
    shutil.rmtree(course.root / "submitted" / "bob")
    correct(course)
    done = regrade(Assignment(course, NAME))
    assert done.notes == ["bob is no longer in submitted/: marks as they were"] and done.changes == []
    path = course.solution(NAME).parent / "mistakes.py"
    path.write_text(path.read_text().replace('"double", points=2', '"double", points=5'))
    with pytest.raises(CourseError, match="double is worth 2 in the released notebook and 5 in mistakes.py: run"):
        regrade(Assignment(course, NAME))
    release(Assignment(course, NAME))
    assert [c.line() for c in regrade(Assignment(course, NAME)).changes] == ["ann: 6 → 9 (double 2 → 5)"]


def test_nobody_graded(tmp_path, executor):
    with pytest.raises(CourseError, match="nobody has been graded"):
        regrade(Assignment(released_course(tmp_path), NAME))
