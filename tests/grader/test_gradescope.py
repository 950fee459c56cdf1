"""In an imitation of Gradescope's folder: one hand-in, one results.json, whatever was handed in."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
from other_users import reachable_python
from small_course import HALF, NAME, RIGHT, hand_in

from autograder import gradescope
from autograder.course import Assignment
from autograder.sandbox import provisioner, seccomp
from course_utils.notebook import read


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
    found = gradescope.run(Assignment(course, NAME), box(course, tmp_path, content=content))
    assert found["score"] == 0 and found["output"] and len(found["tests"]) == 4


def test_where_there_is_no_sandbox_nothing_is_run(course, tmp_path, monkeypatch):
    monkeypatch.setattr(provisioner, "missing", lambda: "the container allows no namespaces")
    found = gradescope.run(Assignment(course, NAME), box(course, tmp_path, RIGHT))
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


# --- in an imitation of a container that refuses namespaces -----------------------------------------------------------

DOCKERS = (
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD SETFCAP"
)
DEEDS = {  # what a hand-in tries
    "see the solution": "open('{course}/solutions/{name}/{name}.ipynb').read()",
    "see how it is judged": "os.listdir('{course}/solutions')",
    "see hidden cases": "os.listdir('{course}/.grading/{name}')",
    "see the gradebook": "open('{course}/gradebook.db', 'rb').read()",
    "see the result": "open('{root}/results/results.json')",
    "write the result": "open('{root}/results/results.json', 'w')",
    "see who handed in": "open('{root}/submission_metadata.json').read()",
    "change the library": "open('{library}/check.py', 'a')",
    "see the grader's environment": "open(f'/proc/{{grader}}/environ', 'rb').read()",
    "see the grader's memory": "open(f'/proc/{{grader}}/mem', 'rb')",
    "see the grader's files": "os.listdir(f'/proc/{{grader}}/fd')",
    "stop the grader": "os.kill(grader, 9)",
    "be root again": "os.setuid(0)",
    "be root by another program": "subprocess.run(['su', '-c', 'id -u'], check=True, capture_output=True)",
    "reach the network": "socket.create_connection(('127.0.0.1', 22))",
    "ask the kernel for the network": "socket.socket(socket.AF_NETLINK)",
    "make namespaces": "subprocess.run(['unshare', '--user', 'true'], check=True, capture_output=True)",
}


@pytest.fixture
def reachable():
    """A folder that any user can reach, as Gradescope's is."""
    folder = Path(tempfile.mkdtemp(prefix="course-box-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def in_a_container(command, folder):
    """Run a command as root of a container with Docker's capabilities and no right to namespaces."""
    rights = [part for name in DOCKERS.split() for part in ("--cap-add", f"CAP_{name}")]
    reading, writing = os.pipe()
    os.write(writing, seccomp.filter_program())
    os.close(writing)
    container = [*reachable_python(), "--cap-drop", "ALL", *rights, "--seccomp", str(reading), "--"]
    try:
        return subprocess.run(
            [*container, *command], cwd=folder, pass_fds=[reading], capture_output=True, text=True, timeout=1800
        )
    finally:
        os.close(reading)


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() != 0 or bool(provisioner.missing()), reason="a container's root is root"
)
def test_where_namespaces_are_refused_another_user_runs_it(course, reachable):
    root = reachable / "autograder"
    shutil.copytree(box(course, reachable / "made", HALF | {"total": RIGHT["total"]}), root)
    place = root / "source" / "course"
    shutil.copytree(course.root, place)
    before = ["import os, resource, socket, subprocess, sys", "grader = os.getppid()"]
    words = {"course": place, "name": NAME, "root": root, "library": Path(provisioner.course_utils.__file__).parent}
    for name, deed in DEEDS.items():
        code = deed.format(**words)
        before.append(f"try:\n    {code}\n    print('DONE', {name!r})\nexcept Exception as e:\n    print('refused', e)")
    before.append("print('USER', os.getuid() >= 30_000, os.getgroups(), resource.getrlimit(resource.RLIMIT_NPROC)[0])")
    before.append(f"subprocess.Popen(['sh', '-c', 'while true; do sleep 1; done', {str(reachable)!r}])")
    notebook = read(path := root / "submission" / f"{NAME}.ipynb")
    notebook.cells += [nbformat.v4.new_code_cell(code) for code in before]
    nbformat.write(notebook, path)
    subprocess.run(["chmod", "-R", "a+rX", str(reachable)], check=True)  # as a zip leaves it
    done = in_a_container([sys.executable, "-m", "autograder.gradescope", NAME, "--root", str(root)], place)
    assert done.returncode == 0 and "runs as another user" in done.stdout, done.stdout + done.stderr
    found = json.loads((root / "results" / "results.json").read_text())
    tests = {test["name"]: (test["score"], test["max_score"]) for test in found["tests"]}
    assert tests.get("double") == (0, 2) and tests.get("total") == (3, 3), found
    (graded,) = place.glob(f"autograded/*/{NAME}/{NAME}.ipynb")
    printed = "".join(o.get("text", "") for c in read(graded).cells for o in c.get("outputs", ()))
    assert "DONE" not in printed and printed.count("refused") == len(DEEDS), printed
    assert f"USER True [] {Assignment(course, NAME).limits().processes}" in printed
    left = subprocess.run(["pgrep", "-f", str(reachable)], capture_output=True, text=True).stdout.split()
    assert not [pid for pid in left if pid != str(os.getpid())], "what it started has ended with it"
