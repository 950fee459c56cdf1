"""What `course submit` says of a notebook that the grader would miss something of."""

import shutil
import zipfile

import nbformat
import pytest
from class_of_a1 import FULL, NAME, RIGHT, ROOT, Student, forget_metadata, graded, notebook_of

from course_utils.command.student import submit
from course_utils.paths import CourseError


@pytest.fixture
def hand_in(tmp_path):
    """Submits the right notebook with one change; the receipt, and the folder that it is in."""
    folder = tmp_path / NAME
    shutil.copytree(ROOT / "assignments" / NAME, folder)

    def submitted(change=lambda notebook: None, pack=None):
        notebook = notebook_of(Student(RIGHT))
        change(notebook)
        nbformat.write(notebook, folder / f"{NAME}.ipynb")
        said = submit(NAME, folder / f"{NAME}.ipynb", tmp_path / "in", "ann", pack)
        return said, tmp_path / "in" / "ann" / NAME

    submitted.folder = folder
    return submitted


def test_a_right_notebook_has_nothing_more_to_be_said(hand_in):
    said, _ = hand_in()
    assert len(said.splitlines()) == 4 and "not written yet: short_answer" in said


def test_files_that_it_uses_go_with_it_or_are_named(hand_in, tmp_path):
    (hand_in.folder / "mine.py").write_text("from parts import more")
    (hand_in.folder / "parts").mkdir()
    (hand_in.folder / "parts" / "more.py").write_text("x = open('words.txt')")
    for name in ("words.txt", "unused.py", "random.csv"):
        (hand_in.folder / name).write_text("x")

    def uses(notebook):
        graded(notebook, "sample").source = "import torch, mine as m\n" + RIGHT["sample"]

    said, folder = hand_in(uses)
    assert "with it: mine.py, parts/more.py, words.txt" in said
    assert {p.name for p in folder.rglob("*.*")} >= {"mine.py", "more.py", "words.txt"}
    assert not (folder / "unused.py").exists() and not (folder / "cases.safetensors").exists()
    said, _ = hand_in(uses, tmp_path / "ann.zip")
    assert "uses mine.py, parts/more.py, words.txt, which is not packed" in said


def test_large_outputs_are_left_out(hand_in, tmp_path):
    def large(notebook):
        graded(notebook, "sample").outputs = [nbformat.v4.new_output("stream", text="x" * 5_000_000)]

    said, folder = hand_in(large)
    assert "its saved outputs (4 MiB) were left out" in said
    assert (folder / f"{NAME}.ipynb").stat().st_size < 200_000
    hand_in(large, tmp_path / "ann.zip")
    with zipfile.ZipFile(tmp_path / "ann.zip") as archive:
        assert archive.getinfo(f"{NAME}.ipynb").file_size < 200_000


def test_missing_checks_and_lost_marks_are_said(hand_in):
    def without(notebook):
        notebook.cells.remove(graded(notebook, "check_sample"))

    assert "no cell says check(sample): the grader puts it back" in hand_in(without)[0]
    said, _ = hand_in(forget_metadata)
    assert f"taken the marks off the cells of {', '.join(FULL)}" in said


def test_another_notebook_is_refused(hand_in):
    with pytest.raises(CourseError, match="none of its cells is graded"):
        hand_in(lambda notebook: notebook.cells.clear())
