"""In an imitation of Gradescope's folder: one hand-in, one results.json, whatever was handed in."""

import json
import shutil

import pytest
from small_course import HALF, NAME, RIGHT, hand_in, install, released_course

from autograder import gradescope
from autograder.sandbox import provisioner


@pytest.fixture
def course(tmp_path, monkeypatch):
    install(monkeypatch)
    return released_course(tmp_path / "course")


def box(course, tmp_path, answers=None, content=None):
    """Gradescope's folder with a hand-in of Ann's."""
    root = tmp_path / "autograder"
    (root / "submission").mkdir(parents=True)
    (root / "submission_metadata.json").write_text(json.dumps({"users": [{"email": "ann@uni.example", "id": 7}]}))
    path = hand_in(course, "x", answers)
    shutil.copy(path, root / "submission" / f"{NAME}.ipynb")
    shutil.rmtree(course.root / "submitted" / "x")
    if content is not None:
        (root / "submission" / f"{NAME}.ipynb").write_bytes(content)
    return root


def test_a_hand_in_gets_its_points_for_each_exercise(course, tmp_path, monkeypatch):
    root = box(course, tmp_path, HALF | {"total": RIGHT["total"]})
    monkeypatch.chdir(course.root)
    assert gradescope.main([NAME, "--root", str(root)]) == 0
    found = json.loads((root / "results" / "results.json").read_text())
    tests = {test["name"]: (test["score"], test["max_score"]) for test in found["tests"]}
    assert (
        tests["double"] == (0, 2) and tests["total"] == (3, 3) and found["score"] == sum(s for s, _ in tests.values())
    )
    assert (course.root / "submitted" / "ann@uni.example" / NAME).is_dir()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 100])
def test_a_broken_hand_in_gets_a_result(course, tmp_path, content):
    found = gradescope.run(course, NAME, box(course, tmp_path, content=content))
    assert found["score"] == 0 and found["output"] and len(found["tests"]) == 4


def test_where_there_is_no_sandbox_nothing_is_run(course, tmp_path, monkeypatch):
    monkeypatch.setattr(provisioner, "missing", lambda: "the container allows no namespaces")
    found = gradescope.run(course, NAME, box(course, tmp_path, RIGHT))
    assert "not graded: the container allows no namespaces" in found["output"] and found["tests"] == []


def test_who_handed_in_is_read_from_gradescopes_metadata(tmp_path):
    for text, who in (
        ('{"users": [{"id": 7}]}', "7"),
        ("{", "student"),
        ('{"users": []}', "student"),
        ("[]", "student"),
    ):
        (tmp_path / "submission_metadata.json").write_text(text)
        assert gradescope.student(tmp_path) == who
