"""The `course` command: quick to answer, clear sentences, exit codes that scripts can use."""

import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numbers_course as numbers
import pytest
from effort import patient
from nbgrader.api import Gradebook
from small_course import HALF, NAME, RIGHT, hand_in, small_course
from typer.testing import CliRunner

from autograder.cli import app
from autograder.course import Assignment
from autograder.run.cases import hidden_cases
from autograder.sandbox import provisioner
from autograder.sandbox.provisioner import SandboxError
from course_utils import paths

COMMANDS = ["lab", "doctor", "check", "submit", "fetch", "release", "grade", "regrade", "report", "train"]


@pytest.fixture
def course(course, monkeypatch):
    monkeypatch.chdir(course.root)
    return course


def run(*arguments, code=0):
    """The command's output; both streams together."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


# --- the command itself -----------------------------------------------------------------------------------------------


def test_help_answers_at_once():
    """Under 0.3 s of processor time (the best of a few: other tests run beside this one)."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "course_utils", "--help"], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.returncode == 0 and all(command in done.stdout for command in COMMANDS)
    assert min(times) < 0.3


def test_help_imports_nothing_slow():
    code = "import autograder.cli, sys; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert not loaded & {"torch", "numpy", "nbformat", "nbgrader", "nbconvert", "rich", "IPython", "zmq", "traitlets"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    assert "Usage:" in run(command, "--help") and len(run(command, "--help").splitlines()) > 3


def test_outside_a_course_it_says_where_to_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (["release"], ["grade", "x"], ["report", "x"], ["submit", "x"]):
        assert "not inside a course" in run(*command, code=1)


@pytest.mark.parametrize("command", ["release", "grade", "regrade", "report", "submit"])
def test_a_wrong_name_gets_the_list_of_right_ones(course, command):
    output = run(command, "a7_nothing", code=1)
    assert f"no assignment 'a7_nothing': this course has {NAME}" in output and "Traceback" not in output


def test_wrong_use_is_exit_code_2(course):
    run("grade", code=2)
    run("grade", NAME, "--workers", "0", code=2)
    run("fly", code=2)


@pytest.mark.parametrize(
    ("number", "said"),
    [(28, "the disk is full.*nothing half-written"), (13, "right to write"), (5, "Input/output error")],
)
def test_trouble_with_the_disk_is_a_sentence(course, monkeypatch, number, said):
    hand_in(course, "ann", RIGHT)

    def replace(source, target):
        raise OSError(number, os.strerror(number), str(target))

    monkeypatch.setattr(paths.os, "replace", replace)
    assert re.search(said, run("grade", NAME, code=1))
    assert not list(course.root.rglob("*.part")) and not (course.root / "grades.csv").exists()


def test_what_is_not_installed_is_named_with_its_cure(course, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbgrader", None)
    monkeypatch.delitem(sys.modules, "nbgrader.api", raising=False)
    hand_in(course, "ann", RIGHT)
    said = run("grade", NAME, code=1)
    assert re.search(r"nbgrader(\.\w+)? is not installed: run make setup", said)


def test_lab_hands_its_options_on_and_returns_its_exit_code(monkeypatch):
    monkeypatch.setattr("course_utils.command.lab.lab", lambda *arguments: print(*arguments) or 3)
    assert run("lab", "--no-browser", "--port", "9999", code=3) == "--no-browser --port 9999\n"


def test_doctor_returns_its_exit_code(monkeypatch):
    monkeypatch.setattr("course_utils.command.doctor.run", lambda more: 1)
    run("doctor", code=1)


# --- instructors and graders ------------------------------------------------------------------------------------------


def test_release_and_its_check(tmp_path, executor, monkeypatch):
    course = small_course(tmp_path)
    monkeypatch.chdir(course.solution(NAME).parent)  # from anywhere in the course
    run("grade", NAME, code=1)
    assert "is missing" in run("release", "--check", code=1)
    assert f"{NAME}.ipynb" in run("release")
    cases = list(Assignment(course, NAME).private.glob("cases/*.safetensors"))
    assert cases, "the first grading finds its hidden cases"
    assert "nothing to change" in run("release", NAME)
    assert "exactly what solutions/ gives" in run("release", "--check")
    course.released(NAME).write_text(course.released(NAME).read_text().replace("A small", "a small"))
    assert "is not what" in run("release", NAME, "--check", code=1)


def test_grade_says_one_line_per_student(course):
    hand_in(course, "ann", RIGHT | {"why": "It is linear."})
    hand_in(course, "bob", HALF)
    hand_in(course, "cyd").write_text("{")
    lines = run("grade", NAME).splitlines()
    assert lines[0] == "[1/3] ann: 6 of 10 (and up to 4 to be marked by hand). All right."
    assert lines[1].startswith("[2/3] bob: 3 of 10. double: 0 of 2 cases, known mistake “squared”.")
    assert "not JSON" in lines[2]
    assert len(lines) == 4
    assert run("grade", NAME).splitlines() == lines
    assert len(run("grade", NAME, "--student", "bob").splitlines()) == 2


def test_a_grader_that_could_not_do_its_job_says_so_in_its_exit_code(course, executor, monkeypatch):
    hand_in(course, "ann", RIGHT)

    def execute(*args, **kwargs):
        raise SandboxError("the kernel did not start")

    monkeypatch.setattr("autograder.run.execute.execute", execute)
    assert "the solution did not run: the kernel did not start" in run("grade", NAME, code=1)
    monkeypatch.setattr("autograder.run.execute.execute", executor.execute)
    hidden_cases(Assignment(course, NAME), "ann")
    monkeypatch.setattr("autograder.run.execute.execute", execute)
    assert "ann: NOT GRADED. The grader failed (SandboxError: the kernel did not start" in run("grade", NAME, code=1)
    monkeypatch.setattr(provisioner, "missing", lambda: "bubblewrap is missing: install it")
    assert "--unsafe" in run("grade", NAME, code=1)


def test_hand_ins_from_a_folder_then_a_corrected_check(course, tmp_path):
    box = tmp_path / "box"
    box.mkdir()
    right, half = hand_in(course, "x/ann", RIGHT), hand_in(course, "x/bob", HALF)
    assert "not handed in yet: send" in run(
        "submit", NAME, "--notebook", right, "--name", "ann", "--pack", box / "ann.zip"
    )
    assert "end in .zip" in run("submit", NAME, "--notebook", right, "--pack", box / "ann", code=1)
    half.rename(box / f"bob_{NAME}.ipynb")
    shutil.rmtree(course.root / "submitted")
    lines = run("grade", NAME, "--import", box).splitlines()
    assert lines[:2] == ["ann.zip: taken for ann.", f"bob_{NAME}.ipynb: taken for bob."]
    assert [line.partition(" of 10")[0] for line in lines[2:4]] == ["[1/2] ann: 6", "[2/2] bob: 3"]
    (box / "cyd.zip").write_text("no zip")
    lines = run("grade", NAME, "--import", box, code=1).splitlines()  # the others are graded
    assert "the zip is damaged" in lines[2] and lines[-2].startswith("[2/2] bob: 3")
    assert run("regrade", NAME) == "0 changed, 2 as they were\n"
    assert "no regrade of a0_small to undo" in run("regrade", NAME, "--undo", code=1)
    path = course.solution(NAME).parent / "mistakes.py"
    path.write_text(path.read_text().replace("    yield torch.rand(5, generator=g),\n", ""))
    lines = run("regrade", NAME).splitlines()
    assert lines[:2] == ["bob: 3 → 4 (total 2 → 3)", "1 changed, 1 as they were"] and "--undo goes back" in lines[2]
    lines = run("regrade", NAME, "--undo").splitlines()
    assert lines[:2] == ["bob: 4 → 3 (total 3 → 2)", "1 changed, 1 as they were"] and "set mistakes.py back" in lines[2]
    output = run("report", NAME, "--canvas", tmp_path / "canvas.csv")
    assert "2 marks written to" in output and "ann,,,ann,,6.00" in (tmp_path / "canvas.csv").read_text()


def test_watching_ends_with_ctrl_c(course, monkeypatch):
    hand_in(course, "ann", RIGHT)

    def every(seconds):
        yield from range(2)
        raise KeyboardInterrupt

    monkeypatch.setattr("autograder.grade._every", every)
    lines = run("grade", NAME, "--watch").splitlines()
    assert lines[0].startswith("watching") and lines[1].startswith("[1/1] ann: 6 of") and "stopped watching" in lines


def test_report_needs_a_graded_class(course):
    assert "nobody has been graded" in run("report", NAME, code=1)
    hand_in(course, "ann", RIGHT)
    run("grade", NAME)
    assert run("report", NAME).strip() == str(course.root / "report.html")


# --- students ---------------------------------------------------------------------------------------------------------


def test_check_prints_points_and_mistakes(course, monkeypatch):
    path = hand_in(course, "ann", HALF)
    monkeypatch.chdir(path.parent)
    lines = run("check").splitlines()
    assert lines[1].split() == ["double", "0", "of", "2", "squared"]
    assert lines[2].split()[:4] == ["total", "2", "of", "3"]
    assert lines[3].split() == ["together", "2", "of", "5"]
    assert lines[4] == "✘ double: 0 of 2 cases hold, 0 of 2 points"
    assert any(line.startswith("  its input: ") for line in lines), "as much as the notebook's own check"
    assert "  known mistake “squared”: you squared: 2 x is x + x, not x times x" in lines


def with_cell(path, source, before):
    """The notebook with one cell more, before the first that holds a text; the new cell's number."""
    notebook = nbformat.read(path, as_version=4)
    place = next(i for i, cell in enumerate(notebook.cells) if before in cell.source)
    notebook.cells.insert(place, nbformat.v4.new_code_cell(source))
    nbformat.write(notebook, path)
    return place + 1


def test_no_verdict_no_points(course):
    path = hand_in(course, "ann", RIGHT)
    with_cell(path, "del double", before="check(double)")
    lines = run("check", path).splitlines()
    assert lines[1].split()[:4] == ["double", "0", "of", "2"] and "`double` is not defined" in lines[1]
    assert lines[2].split()[:4] == ["total", "3", "of", "3"]


def test_an_endless_cell_is_interrupted_and_a_kernel_that_dies_is_said_with_its_cell(course, monkeypatch):
    seconds = round(patient(12))  # the cell that imports torch must not take so long, even on a slow machine
    monkeypatch.setattr("course_utils.command.student.CELL_S", seconds)
    path = hand_in(course, "ann", RIGHT)
    endless = with_cell(path, "while True: pass", before="check(double)")
    number = with_cell(path, "import os; os._exit(1)", before="check(total)")
    output = run("check", path)
    assert f"note: Cell {endless} was interrupted after {seconds} s." in output
    assert output.splitlines()[1].split()[:4] == ["double", "2", "of", "2"], "the rest runs"
    assert f"note: Cell {number} ended the kernel" in output
    assert output.splitlines()[2].split()[:4] == ["total", "0", "of", "3"] and "it was not run" in output


@pytest.fixture
def nothing_run(monkeypatch):
    """Notebooks are found, and their cells are not run; the folders that they were to run in."""
    folders = []
    monkeypatch.setattr("course_utils.command.student._run", lambda notebook, folder: folders.append(folder) or [])
    return folders


@pytest.mark.parametrize("named", ["assignments/a0_small", NAME, f"assignments/{NAME}/{NAME}.ipynb"])
def test_check_and_submit_take_a_name_a_folder_and_a_notebook(course, nothing_run, named):
    assert run("check", named).splitlines()[3].split() == ["together", "0", "of", "5"]
    assert nothing_run == [course.released(NAME).parent]
    output = run("submit", named, "--name", "ann")
    assert "not written yet: double, total, why" in output
    assert (course.root / "submitted" / "ann" / NAME / f"{NAME}.ipynb").exists()


def test_in_the_assignments_folder_nothing_need_be_named(course, nothing_run, monkeypatch, tmp_path):
    monkeypatch.chdir(course.released(NAME).parent)
    (tmp_path / "my box").mkdir()
    shutil.copy(course.released(NAME), f"{NAME}-Copy1.ipynb")
    assert "together" in run("check") and nothing_run == [course.released(NAME).parent]
    assert f"packed: {tmp_path / 'my box' / f'Ann Ünal_{NAME}.zip'}" in run(
        "submit", "--name", "Ann Ünal", "--pack", tmp_path / "my box"
    )
    assert run("grade", NAME, "--import", tmp_path / "my box").startswith(f"Ann Ünal_{NAME}.zip: taken for Ann Ünal.")
    monkeypatch.chdir(course.root)
    assert f"name one, one of {NAME}" in run("submit", code=1)


def test_what_is_printed_never_stops_a_command(course):
    """A file or a pipe on Windows knows few characters."""
    command = [sys.executable, "-m", "course_utils.cli", "check", str(course.root / "“→”.ipynb")]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1 and b"Traceback" not in done.stderr and b"???.ipynb is missing" in done.stderr


def test_check_says_which_notebook_it_wants(course, tmp_path, monkeypatch):
    assert "which notebook? this folder has none" in run("check", code=1)
    assert "is missing" in run("check", "nothing.ipynb", code=1)
    alone = tmp_path / "alone.ipynb"
    alone.write_bytes(course.released(NAME).read_bytes())
    assert "copy the whole folder" in run("check", alone, code=1)
    alone.with_name("cases.safetensors").write_bytes(b"damaged")
    assert "copy it anew" in run("check", alone, code=1)


def test_submit_copies_and_gives_a_receipt(course, tmp_path):
    source = hand_in(course, "me", RIGHT)
    data = source.read_bytes()
    output = run("submit", NAME, "--notebook", source, "--to", tmp_path / "box", "--name", "Ann Ünal")
    folder = tmp_path / "box" / "Ann Ünal" / NAME
    assert (folder / f"{NAME}.ipynb").read_bytes() == data
    digest = hashlib.sha256(data).hexdigest()
    assert digest in output and json.loads((folder / "receipt.json").read_text())["sha256"] == digest
    run("submit", NAME, "--name", "bob")  # what lies in assignments/, to submitted/
    assert (course.root / "submitted" / "bob" / NAME / f"{NAME}.ipynb").read_bytes() == course.released(
        NAME
    ).read_bytes()
    run("grade", NAME, "--student", "bob")
    assert "bob,,,," in (course.root / "grades.csv").read_text().replace("-", "")


@pytest.mark.parametrize("name", ["../bob", "a/b", "..", ".hidden"])
def test_submit_refuses_names_that_are_no_folder(course, name):
    assert "cannot be the name" in run("submit", NAME, "--name", name, code=1)


def test_submit_refuses_what_is_no_assignment(course, tmp_path):
    path = tmp_path / "x.ipynb"
    for content in ("", "{", "[]"):
        path.write_text(content)
        assert "is not a notebook" in run("submit", NAME, "--notebook", path, code=1)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]), path)
    assert "none of its cells is graded" in run("submit", NAME, "--notebook", path, code=1)
    assert not (course.root / "submitted").exists()


# --- with the real executor -------------------------------------------------------------------------------------------


@pytest.fixture
def real(tmp_path, monkeypatch):
    """A course whose kernels do without torch; nothing stands in for them."""
    course = numbers.numbers_course(tmp_path)
    monkeypatch.chdir(course.root)
    run("release")
    return course


@pytest.mark.slow
def test_the_whole_way_with_real_kernels(real):
    course = real
    hand_in(course, "ann", numbers.RIGHT | {"why": "It is linear."})
    path = hand_in(course, "bob", numbers.HALF)
    assert "squared" in run("check", path)
    options = [] if provisioner.missing() is None else ["--unsafe"]
    lines = run("grade", NAME, *options).splitlines()
    assert lines[0] == "[1/2] ann: 6 of 10 (and up to 4 to be marked by hand). All right."
    assert "ran in the student" in (course.root / "feedback" / "ann" / NAME / f"{NAME}.html").read_text()
    assert lines[1].startswith("[2/2] bob: 3 of 10. double: 0 of 2 cases, known mistake “squared”.")


@pytest.mark.slow
@pytest.mark.skipif(provisioner.missing() is not None, reason=str(provisioner.missing()))
def test_stock_nbgrader_grades_in_the_sandbox_and_gives_the_same_mark(real):
    """As Formgrader's button does, which a soak presses."""
    path, leak = hand_in(real, "bob", numbers.HALF), real.root / "leak"
    writes = f"try:\n    open({str(leak)!r}, 'w')\nexcept OSError as error:\n    print('refused', error)"
    with_cell(path, writes, before="check(double)")
    command = [Path(sys.executable).with_name("nbgrader"), "autograde", NAME]
    done = subprocess.run(command, cwd=real.root, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    graded = (real.root / "autograded" / "bob" / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8")
    assert "refused" in graded and not leak.exists() and "known mistake “squared”" in graded
    with Gradebook(real.directory().db_url) as gradebook:
        assert gradebook.find_submission(NAME, "bob").score == 3
    assert "bob: 3 of 10. double: 0 of 2 cases, known mistake “squared”." in run("grade", NAME, "--again")
