"""`course check` names every known mistake of every exercise, in the notebook of a student who made it.

And what students run keeps to what Windows has, as far as another system can tell.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from class_of_a1 import EXERCISES, FULL, NAME, RIGHT, ROOT, Student, mistakes, notebook_of
from effort import some

COURSE = str(Path(sys.executable).with_name("course"))


RANKS = range(max(len(e.mistakes) for e in EXERCISES.values()))


@pytest.mark.parametrize("rank", some(1, RANKS))
def test_course_check_names_every_mistake(rank, tmp_path):
    folder = tmp_path / NAME
    shutil.copytree(ROOT / "assignments" / NAME, folder)
    student = mistakes(rank)
    nbformat.write(notebook_of(student), folder / f"{NAME}.ipynb")
    done = subprocess.run([COURSE, "check"], cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    for exercise, points in student.expected.items():
        line = next(line for line in done.stdout.splitlines() if line.startswith(exercise))
        if points == "less":
            assert list(EXERCISES[exercise].mistakes)[rank] in line
        else:
            assert f"{FULL[exercise]:.3g} of {FULL[exercise]:.3g}" in line


@pytest.mark.parametrize("name", some(1, ["torch.py", "random.py"]))
def test_a_file_that_hides_a_module_is_named(tmp_path, name):
    """It takes the kernel with it, or the library: no exercise then says why."""
    folder = tmp_path / NAME
    shutil.copytree(ROOT / "assignments" / NAME, folder)
    (folder / name).write_text("raise SystemExit(1)\n")
    done = subprocess.run([COURSE, "check"], cwd=folder, capture_output=True, text=True, timeout=600)
    assert f"{name} beside the notebook: Python imports it in place of the library's. Rename it" in done.stdout


# What Windows' Python does not have is taken away, once the packages of others are there, which know their systems.
LIKE_WINDOWS = """
import importlib, os, signal, socket, sys, warnings
import nbclient, nbformat, psutil, torch, zmq.asyncio, ipywidgets, transformers, matplotlib.pyplot
for name in ("fcntl", "resource", "pwd", "grp", "termios", "pty"):
    sys.modules[name] = None
for name in ("fork", "geteuid", "getuid", "setsid", "killpg", "sched_getaffinity", "O_NOFOLLOW", "O_NONBLOCK"):
    delattr(os, name)
del signal.SIGKILL, signal.SIGALRM
warnings.filterwarnings("error", category=EncodingWarning, module="course_utils")  # there it is not UTF-8 by default
"""
ROOMS = (
    "cli command.doctor command.progress check learn.train pretrained learn.evaluate "
    "data.text data.postcards data.images show.widgets show.quiz"
)


def like_windows(code, folder):
    command = [sys.executable, "-X", "warn_default_encoding", "-c", LIKE_WINDOWS + code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_students_use_works_with_what_windows_has(tmp_path):
    folder = tmp_path / "Mein Kürs" / "assignments" / NAME
    shutil.copytree(ROOT / "assignments" / NAME, folder)
    code = f"for room in {ROOMS.split()!r}: importlib.import_module('course_utils.' + room)\nprint('all there')\n"
    code += "from course_utils.cli import app\nfrom course_utils.command import progress, student\n"
    code += "print(progress.show())\napp(['submit', '--name', 'Ünal Ö', '--pack', '.'], standalone_mode=False)"
    said = like_windows(code, folder)
    assert said.startswith("all there\n")
    assert "Assignment 1: Markov chains" in said and f"packed: Ünal Ö_{NAME}.zip" in said
    assert (folder / f"Ünal Ö_{NAME}.zip").stat().st_size > 1000


def test_validate_fails_where_answers_are_wrong(tmp_path):
    """JupyterLab's button runs the notebook and looks for errors alone."""
    folder = tmp_path / NAME
    shutil.copytree(ROOT / "assignments" / NAME, folder)
    answers = {name: f"def {name}(*arguments):\n    return 42" for name in FULL} | {
        "probabilities": RIGHT["probabilities"]
    }
    nbformat.write(notebook_of(Student(answers)), folder / f"{NAME}.ipynb")
    nbgrader = Path(sys.executable).with_name("nbgrader")
    command = [nbgrader, "validate", f"{NAME}.ipynb", "--Validator.ignore_checksums=True"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert "VALIDATION FAILED ON" in done.stdout and "cases hold" in done.stdout, done.stdout + done.stderr
    failed = {name for name in FULL if f"check({name})" in done.stdout}
    assert failed == set(FULL) - {"probabilities"}
