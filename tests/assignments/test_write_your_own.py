"""The README's section "Write your own exercise", followed to the letter."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import test_hints

from autograder.author import install_cell

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def section():
    """(language, code) of the section's blocks."""
    text = (ROOT / "README.md").read_text().partition("## Write your own exercise\n")[2].partition("\n## ")[0]
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


def write_notebook(path: Path, sources: list[str]) -> None:
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def run(root: Path, command: str) -> str:
    words = shlex.split(command)
    done = subprocess.run([str(BIN / words[0]), *words[1:]], cwd=root, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_exercise_written_as_the_readme_says(section, tmp_path):
    *python, (language, commands) = section
    assert language == "shell" and all(name == "python" for name, _ in python)
    setup, solution, check, mistakes = (code for _, code in python)
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)
    folder = tmp_path / "solutions" / "a0_warm_up"
    folder.mkdir(parents=True)
    (folder / "mistakes.py").write_text(mistakes)
    write_notebook(folder / "a0_warm_up.ipynb", [setup, solution, check])

    said = [run(tmp_path, command) for command in commands.strip().splitlines()]

    assert "assignments/a0_warm_up/a0_warm_up.ipynb" in said[0]
    assert "running_mean     2 of 2" in said[1]
    released = tmp_path / "assignments" / "a0_warm_up" / "a0_warm_up.ipynb"
    text = released.read_text()
    assert (
        "unfold" not in text
        and "NotImplementedError" in text
        and "mistakes.py" not in {p.name for p in released.parent.iterdir()}
    )
    wrong = (
        "def running_mean(x, width):\n    return torch.stack([x[i:i + width].sum() for i in range(len(x) - width + 1)])"
    )
    write_notebook(released, [setup, wrong, check])
    assert "running_sum" in run(tmp_path, f"course check {released}")


def test_the_courses_own_checks_ask_nothing_of_it(section, tmp_path):
    """Neither the cell that installs the course nor hints in three steps: it needs nothing but its folder."""
    setup, solution, check, _ = (code for language, code in section if language == "python")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for place in ("solutions", "assignments"):
        folder = tmp_path / place / "a0_warm_up"
        folder.mkdir(parents=True)
        write_notebook(folder / "a0_warm_up.ipynb", [setup, solution, check])
    assert install_cell.notebooks(tmp_path) and install_cell.write(tmp_path, check=True) == []
    assert "a0_warm_up" not in test_hints.COURSE


@pytest.mark.soak  # every day of another course: test_release.py
def test_a_mistake_that_passes_every_case_is_refused(section, tmp_path):
    *python, _ = section
    setup, solution, check, mistakes = (code for _, code in python)
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)
    folder = tmp_path / "solutions" / "a0_warm_up"
    folder.mkdir(parents=True)
    right = (
        "\n@running_mean.mistake('none')\ndef right_after_all(x, width):\n    return x.unfold(0, width, 1).mean(1)\n"
    )
    (folder / "mistakes.py").write_text(mistakes + right)
    write_notebook(folder / "a0_warm_up.ipynb", [setup, solution, check])
    done = subprocess.run([str(BIN / "course"), "release", "a0_warm_up"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "right_after_all passes every case" in done.stderr and "Traceback" not in done.stderr
