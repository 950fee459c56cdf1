"""The cell after the title: the same in every notebook, nothing where the course is installed, and an installation
where it is not, from a repository on this disk."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from autograder.author import install_cell
from course_utils.check import Checker

ROOT = Path(__file__).parents[2]

# An IPython as Colab has one: with the course's packages, but without the course. What pip is told stands in variables.
COLAB = """
import sys
sys.path[:] = [p for p in sys.path if p not in ("", {root!r})]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in getattr(f, "__module__", type(f).__module__)]
sys.path.insert(0, {site!r})
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in ({cell!r}, "from course_utils.check import Checker", "check = Checker('a1_markov_chains')"):
    shell.run_cell(cell).raise_error()
import course_utils.check
print("INSTALLED", course_utils.check.__file__, len(shell.user_ns["check"]._exercises))
from course_utils import pretrained
print("CHECKPOINTS", len(list(pretrained.BUNDLED.glob("*/model.safetensors"))))
"""


def small_copy(root: Path) -> Path:
    """A few notebooks with what the cell's tool needs."""
    for folder in ("lectures", "assignments/a1_markov_chains", "solutions/a1_markov_chains"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("0[2-9]*", "1*", "__pycache__"))
    for name in ("pyproject.toml", "nbgrader_config.py"):
        shutil.copy(ROOT / name, root / name)
    return root


def test_every_notebook_holds_what_the_tool_writes():
    assert len(install_cell.notebooks()) >= 31
    assert install_cell.write(check=True) == [], "run `python -m autograder.author.install_cell`"
    assert len(install_cell.source().splitlines()) <= 6


def test_an_address_is_changed_in_one_place(tmp_path, monkeypatch, capsys):
    root = small_copy(tmp_path)
    project = (root / "pyproject.toml").read_text()
    (root / "pyproject.toml").write_text(project.replace(install_cell.address(), "https://example.org/me/my-course"))
    monkeypatch.setattr(install_cell, "ROOT", root)
    monkeypatch.setattr(install_cell.write, "__defaults__", (root, False))
    monkeypatch.setattr(install_cell.address, "__defaults__", (root,))
    before = install_cell.notebooks(root)[0].read_bytes()
    assert install_cell.main(["--check"]) == 1 and install_cell.notebooks(root)[0].read_bytes() == before
    assert install_cell.main([]) == 0 and "4 notebooks written" in capsys.readouterr().out
    assert install_cell.main(["--check"]) == 0
    for path in install_cell.notebooks(root):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert [c["id"] for c in cells].index("install") == 1
        assert "https://example.org/me/my-course\n" in "".join(cells[1]["source"])
        assert "%pip install --quiet ./my-course" in cells[1]["source"][-1]
    sums = ["sha256sum", "--check", "--quiet", "assignments/a1_markov_chains/checksums.sha256"]
    assert subprocess.run(sums, cwd=root).returncode == 0


@pytest.mark.parametrize("url", ['Repository = ""', 'Repository = "two words"', 'Homepage = "https://example.org"'])
def test_a_missing_address_is_a_sentence(tmp_path, url):
    (tmp_path / "pyproject.toml").write_text(f"[project]\nname = 'x'\n[project.urls]\n{url}\n")
    with pytest.raises(ValueError, match="pyproject.toml needs an address"):
        install_cell.source(tmp_path)


def test_where_the_course_is_installed_it_is_silent_and_instant(capfd):
    code = compile(TransformerManager().transform_cell(install_cell.source()), "cell", "exec")
    begin = time.perf_counter()
    exec(code, {})  # without IPython: a magic would be a NameError
    assert time.perf_counter() - begin < 0.1
    assert capfd.readouterr() == ("", "")


def test_the_checker_finds_its_cases_in_a_clone_below(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "assignments" / "a1_markov_chains", tmp_path / "clone" / "assignments" / "a1_markov_chains")
    monkeypatch.chdir(tmp_path)
    assert len(Checker("a1_markov_chains")._exercises) == 6
    with pytest.raises(FileNotFoundError):
        Checker("a2_rnn")


@pytest.mark.slow
def test_where_it_is_not_it_installs_it(tmp_path):
    """From a bare repository on this disk, without network, into a folder of its own."""
    work, bare, site, here = (tmp_path / name for name in ("work", "my-course.git", "site", "content"))
    for folder in (work, here, site):
        folder.mkdir()
    for name in ("course_utils", "assignments/a1_markov_chains"):
        shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, work)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"], ["clone", "-q", "--bare", ".", bare]):
        subprocess.run([*git, *command], cwd=work, check=True)
    project = f"[project]\nname = 'x'\n[project.urls]\nRepository = 'file://{bare}'\n"
    (tmp_path / "pyproject.toml").write_text(project)
    cell = install_cell.source(tmp_path)
    assert f"./{bare.stem}" in cell
    pip = {"TARGET": str(site), "NO_DEPS": "1", "NO_INDEX": "1", "CONFIG_FILE": os.devnull}
    pip["NO_BUILD_ISOLATION"] = "false"  # pip reads this one the other way round
    code = COLAB.format(root=str(ROOT), site=str(site), cell=cell)
    environment = os.environ | {f"PIP_{name}": value for name, value in pip.items()}
    environment |= {"IPYTHONDIR": str(tmp_path / "ipython"), "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run([sys.executable, "-c", code], cwd=here, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"INSTALLED {site / 'course_utils' / 'check.py'} 6" in done.stdout
    checkpoints = len(list((ROOT / "course_utils" / "checkpoints").glob("*/model.safetensors")))
    assert checkpoints and f"CHECKPOINTS {checkpoints}\n" in done.stdout
