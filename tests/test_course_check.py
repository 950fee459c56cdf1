"""`course check` names every known mistake of every exercise, in the notebook of a student who made it."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from class_of_a1 import EXERCISES, FULL, NAME, ROOT, mistakes, notebook_of

COURSE = str(Path(sys.executable).with_name("course"))


@pytest.mark.parametrize("rank", range(max(len(e.mistakes) for e in EXERCISES.values())))
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
