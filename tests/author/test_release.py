"""assignments/ is what solutions/ gives: generated, checked to the last character, in step with the gradebook."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook
from small_course import MISTAKES, NAME, small_course

from autograder.course import Assignment
from autograder.release import CASES_FILE, CHECKSUMS, _same, check_release, release
from course_utils.checking.cases import load_cases, save_cases
from course_utils.paths import CourseError


@pytest.fixture
def source(tmp_path, executor):
    """A course that is not released, and a way to change its solution notebook."""
    course = small_course(tmp_path)

    def edit(change):
        notebook = nbformat.read(course.solution(NAME), as_version=4)
        change(notebook)
        nbformat.write(notebook, course.solution(NAME))
        return course

    return edit


def test_students_get_the_tasks_without_the_solutions(course):
    folder = course.released(NAME).parent
    assert sorted(p.name for p in folder.iterdir()) == [f"{NAME}.ipynb", CASES_FILE, CHECKSUMS, "data.txt"]
    text = course.released(NAME).read_text()
    assert "2 * x" not in text and "distributive" not in text and "SOLUTION" not in text
    notebook = nbformat.read(course.released(NAME), as_version=4)
    assert notebook.cells[2].source == "def double(x):\n    # Your code here.\n    raise NotImplementedError"
    assert notebook.cells[7].source == "Your answer here."


@pytest.mark.parametrize("place", ["solution", "released"])
def test_both_notebooks_are_as_they_are_committed(course, place):
    path = getattr(course, place)(NAME)
    raw = json.loads(path.read_text())
    assert (raw["nbformat"], raw["nbformat_minor"]) == (4, 5)
    assert path.read_text().endswith("}\n")
    assert raw["metadata"] == {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert all(not c.get("outputs") and c.get("execution_count") is None for c in raw["cells"])
    assert {k for c in raw["cells"] for k in c["metadata"]} <= {"nbgrader", "deletable", "editable"}
    assert [c["id"] for c in raw["cells"]][1:6] == ["setup", "double", "check_double", "total", "check_total"]


def test_the_metadata_come_from_mistakes_py(course):
    cells = {
        c.metadata.nbgrader.grade_id: c.metadata for c in nbformat.read(course.released(NAME), 4).cells if c.metadata
    }
    check = cells["check_total"].nbgrader
    assert (check.points, check.grade, check.solution, check.locked) == (3.0, True, False, True)
    assert cells["check_total"].editable is False
    assert (cells["total"].nbgrader.grade, cells["total"].nbgrader.solution) == (False, True)
    assert cells["setup"].nbgrader.locked and not cells["setup"].nbgrader.grade
    assert cells["why"].nbgrader.points == 4


def test_the_cases_are_answered_by_the_solution(course):
    cases = load_cases(course.released(NAME).with_name(CASES_FILE))
    assert list(cases) == ["double", "total"]
    assert cases["double"].expected[0]["value"].tolist() == [2.0, 4.0]
    assert cases["double"].mistakes[0].answers[0]["value"].tolist() == [1.0, 4.0]


def test_the_gradebook_knows_what_was_released(course):
    with Gradebook(course.directory().db_url) as gradebook:
        cells = gradebook.find_notebook(NAME, NAME).grade_cells
        assert {c.name: c.max_score for c in cells} == {"check_double": 2, "check_total": 3, "why": 4, "plain": 1}


def test_releasing_again_changes_nothing(course):
    before = {p: p.read_bytes() for p in course.root.rglob("*") if p.is_file() and "gradebook" not in p.name}
    assert release(Assignment(course, NAME)) == []
    assert before == {p: p.read_bytes() for p in course.root.rglob("*") if p.is_file() and "gradebook" not in p.name}


def test_a_change_of_points_reaches_all_places(course):
    path = course.solution(NAME).parent / "mistakes.py"
    path.write_text(MISTAKES.replace('"double", points=2', '"double", points=5'))
    assert f"assignments/{NAME}/{NAME}.ipynb" in release(Assignment(course, NAME))
    with Gradebook(course.directory().db_url) as gradebook:
        assert gradebook.find_grade_cell("check_double", NAME, NAME).max_score == 5
    assert check_release(Assignment(course, NAME)) == []


def test_check_agrees_with_what_release_made(course):
    stat = {p: p.stat().st_mtime_ns for p in course.root.rglob("*")}
    assert check_release(Assignment(course, NAME)) == []
    assert stat == {p: p.stat().st_mtime_ns for p in course.root.rglob("*")}  # and touches nothing


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        (
            f"solutions/{NAME}/{NAME}.ipynb",
            "return 2 * x",
            "return x * 2",
        ),  # inside a solution: students see no difference
        (f"solutions/{NAME}/{NAME}.ipynb", "A small", "a small"),
        (f"solutions/{NAME}/mistakes.py", "that is the mean", "this is the mean"),
        (f"solutions/{NAME}/data.txt", "some", "same"),
        (f"assignments/{NAME}/{NAME}.ipynb", "A small", "a small"),
        (f"assignments/{NAME}/data.txt", "some", "same"),
        (f"assignments/{NAME}/{CASES_FILE}", "squared", "squarep"),
        (f"assignments/{NAME}/{CHECKSUMS}", "a", "b"),
    ],
)
def test_one_changed_character_is_seen(course, path, old, new):
    file = course.root / path
    data = file.read_bytes()
    assert old.encode() in data
    file.write_bytes(data.replace(old.encode(), new.encode(), 1))
    problems = " ".join(check_release(Assignment(course, NAME)))
    assert problems and (path.rpartition("/")[2] in problems or CHECKSUMS in path)


@pytest.mark.parametrize("name", [f"{NAME}.ipynb", CASES_FILE, "data.txt", CHECKSUMS])
def test_a_missing_file_is_seen(course, name):
    (course.released(NAME).parent / name).unlink()
    assert any(name in problem and "missing" in problem for problem in check_release(Assignment(course, NAME)))


def test_a_file_too_many_is_seen_and_taken_away(course):
    extra = course.released(NAME).parent / "mistakes.py"
    shutil.copy(course.solution(NAME).parent / "mistakes.py", extra)
    (course.released(NAME).parent / "old.txt").write_text("old")
    assert any("old.txt" in problem for problem in check_release(Assignment(course, NAME)))
    release(Assignment(course, NAME))
    assert not (course.released(NAME).parent / "old.txt").exists()


@pytest.mark.parametrize(("shift", "same"), [(1e-6, True), (1e-3, False)])
def test_answers_of_another_cpu_are_the_same_answers(course, shift, same):
    path = course.released(NAME).with_name(CASES_FILE)
    cases = load_cases(path)
    cases["double"].expected[1]["value"] += shift
    path.write_bytes(save_cases(cases))
    problems = [p for p in check_release(Assignment(course, NAME)) if "changed since" not in p]
    assert (problems == []) is same


@pytest.mark.parametrize(("other", "same"), [([1, 1, 0, 1], True), ([1, 0, 0, 1], False)])
def test_what_was_trained_may_differ_as_long_as_its_mark_does_not(other, same):
    """Right are 1, 1, 1, 1; three of four are enough."""
    compare, right = {"kind": "accuracy", "threshold": 0.7}, [1, 1, 1, 1]
    assert _same(compare, {"value": [1, 1, 1, 0]}, {"value": other}, right) is same
    assert _same(compare, {"value": [0, 0, 0, 0]}, {"value": other}, right) is not same


def test_the_checksums_are_what_sha256sum_reads(course):
    done = subprocess.run(["sha256sum", "--check", course.released(NAME).parent / CHECKSUMS], cwd=course.root)
    assert done.returncode == 0


def _rename(notebook):
    notebook.cells[3].source = "check(twice)"


def _drop(notebook):
    del notebook.cells[3]


def _double(notebook):
    notebook.cells.append(nbformat.v4.new_code_cell("check(double)"))


def _same_id(notebook):
    notebook.cells[8].metadata["nbgrader"]["grade_id"] = "why"


def _unfinished(notebook):
    notebook.cells[2].source = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x"


def _wrong(notebook):
    notebook.cells[2].source = "def double(x):\n    ### BEGIN SOLUTION\n    return 1 / 0\n    ### END SOLUTION"


def _mistaken(notebook):
    notebook.cells[2].source = "def double(x):\n    ### BEGIN SOLUTION\n    return x * x\n    ### END SOLUTION"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_rename, "no exercise of this name, only double, total"),
        (_drop, "check\\(double\\)"),
        (_double, "two cells are called check_double"),
        (_same_id, "two cells are called why"),
        (_unfinished, "no end solution statement"),
        (_wrong, "the solution raises ZeroDivisionError"),
        (_mistaken, "the mistake squared passes every case"),
    ],
)
def test_what_an_instructor_forgot_is_said(source, change, said):
    course = source(change)
    with pytest.raises(CourseError, match=said):
        release(Assignment(course, NAME))
    assert not course.released(NAME).exists()  # nothing half made


def test_an_assignment_of_plain_cells_needs_no_mistakes_py(source):
    def keep(notebook):
        for index in (5, 3, 1):
            del notebook.cells[index]

    course = source(keep)
    (course.solution(NAME).parent / "mistakes.py").unlink()
    release(Assignment(course, NAME))
    assert not course.released(NAME).with_name(CASES_FILE).exists()
    assert check_release(Assignment(course, NAME)) == []


def test_formgraders_generate_makes_cases_and_checksums_or_nothing(course):
    generate = [Path(sys.executable).with_name("nbgrader"), "generate_assignment", NAME, "--force"]
    before = files(course)
    done = subprocess.run(generate, cwd=course.root, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert files(course) == before and CASES_FILE in {path.name for path in before}
    (course.solution(NAME).parent / "mistakes.py").write_text("import nothing_of_this_name")
    done = subprocess.run(generate, cwd=course.root, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1 and "was not released: " in done.stderr and not files(course)


def files(course):
    folder = course.released(NAME).parent
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_damaged_source_is_named(course):
    course.solution(NAME).write_text("{")
    with pytest.raises(CourseError, match=rf"{NAME}\.ipynb is not a notebook"):
        release(Assignment(course, NAME))
