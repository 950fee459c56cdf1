"""A newcomer's walk: home, lecture 01, assignment 1, a wrong and a right answer, check, hand in, be graded, read it.

In JupyterLab as `course lab` starts it, in Chromium, and with the `course` command as a terminal runs it.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from class_of_a1 import take_hidden_cases
from pages import KERNEL, ROOT, Notebook, running_lab, wait_ms

from autograder.sandbox import provisioner

ARTIFACTS = Path(os.environ.get("COURSE_ARTIFACTS", ROOT / "artifacts"))
pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAME = "a1_markov_chains"
ANSWERS = {  # one right; one with a mistake that the course knows
    "count_transitions": (
        "def count_transitions(codes, size): "
        "return torch.bincount(codes[:-1] * size + codes[1:], minlength=size * size).view(size, size)"
    ),
    "probabilities": "def probabilities(counts, smoothing): return (counts + smoothing) / counts.sum(1, keepdim=True)",
}
MISTAKE = "smoothing_in_the_numerator_only"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """In a course of its own, in a folder with a space in its name; its graders have the solution, too."""
    root = tmp_path_factory.mktemp("walk") / "my course"
    shutil.copytree(ROOT / "solutions" / NAME, root / "solutions" / NAME)
    shutil.copy(ROOT / "nbgrader_config.py", root)
    take_hidden_cases(root, tmp_path_factory)
    with running_lab(root) as lab:
        yield lab


def course(*arguments, folder, code=0):
    """What the command prints, started in that folder."""
    command = [str(Path(sys.executable).with_name("course")), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def open_notebook(page):
    """Wait for a notebook in front that has a kernel; its path."""
    page.wait_for_function(f"() => {KERNEL} === 'idle'", timeout=wait_ms(90))
    return page.evaluate("() => window.jupyterapp.shell.currentWidget.context.path")


def write(notebook, cell_id, code):
    """Replace a cell's text by typing."""
    notebook.show(cell_id)
    notebook.page.locator(f'[data-id="{cell_id}"] .cm-content').click()
    notebook.page.keyboard.press("Control+a")
    notebook.page.keyboard.type(code)


def printed(cells, cell_id):
    outputs = next(cell["outputs"] for cell in cells if cell["id"] == cell_id)
    assert not [output for output in outputs if output["output_type"] == "error"], outputs
    return "".join(
        "".join(output["data"]["text/plain"]) for output in outputs if output["output_type"] == "display_data"
    )


def save(notebook):
    """Save the notebook; its path in the course."""
    return notebook.page.evaluate(
        "async () => { const c = window.jupyterapp.shell.currentWidget.context; await c.save(); return c.path; }"
    )


def test_a_newcomers_walk(browser, lab):
    # home opens by itself; its first two tables say what this machine can do and what is next
    home = Notebook(browser, lab, "lectures/00_start_here.ipynb")
    home.page.goto(f"{lab.address}/?token={lab.token}")
    assert open_notebook(home.page) == "lectures/00_start_here.ipynb"
    for cell_id in ("machine", "progress"):
        home.show(cell_id)
        home.command("notebook:run-cell")
    following = home.page.get_by_role("paragraph").filter(has_text="Next: ").get_by_role("link")
    following.wait_for(timeout=wait_ms(90))
    home.screenshot("walk_home")
    following.click()
    home.page.wait_for_function("() => window.jupyterapp.shell.currentWidget.context.path.includes('01_')")
    assert open_notebook(home.page) == "lectures/01_shannon_markov_chains.ipynb"
    home.page.get_by_role("heading", name="01 · Shannon's Markov chains").wait_for()
    home.close()

    # assignment 1: two answers typed, all cells run
    student = Notebook(browser, lab, f"assignments/{NAME}/{NAME}.ipynb")
    for cell_id, code in ANSWERS.items():
        write(student, cell_id, code)
    cells = student.run_all()
    assert printed(cells, "check_count_transitions").startswith("✔ count_transitions: ")
    assert f"known mistake “{MISTAKE}”: the smoothing is in the numerator only" in printed(cells, "check_probabilities")
    assert "not answered yet" in printed(cells, "check_sample")
    student.show("check_probabilities")
    student.page.get_by_text(f"known mistake “{MISTAKE}”").wait_for()
    student.screenshot("walk_mistake")
    assert save(student) == f"assignments/{NAME}/{NAME}.ipynb"
    student.close()


@pytest.mark.soak  # every day: test_course_check.py, test_submit.py, test_class_of_a1.py
def test_what_the_newcomer_wrote_is_checked_handed_in_graded_and_read(browser, lab, tmp_path):
    """As the test before left it."""
    # in a terminal, in the assignment's folder: check, hand in
    folder = lab.root / "assignments" / NAME
    said = course("check", folder=folder)
    assert re.search(r"^count_transitions +2 of 2$", said, re.MULTILINE)
    assert re.search(rf"^probabilities +\S+ of 3 +{MISTAKE}$", said, re.MULTILINE)
    said = course("submit", "--name", "Ann Newcomer", "--pack", tmp_path, folder=folder)
    assert (
        f"packed: {tmp_path / f'Ann Newcomer_{NAME}.zip'}" in said
        and "not written yet: bits_per_character, sample" in said
    )

    # the grader's side, and the mark sheet as the student reads it
    unsafe = ["--unsafe"] if provisioner.missing() else []
    said = course("grade", NAME, "--import", tmp_path, *unsafe, folder=lab.root)
    assert f"Ann Newcomer_{NAME}.zip: taken for Ann Newcomer." in said and f"known mistake “{MISTAKE}”" in said
    points = re.search(r"Ann Newcomer: (\S+) of", said)[1]
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((lab.root / "feedback" / "Ann Newcomer" / NAME / f"{NAME}.html").as_uri())
    text = page.inner_text("body")
    assert f"known mistake “{MISTAKE}”" in text and "raise NotImplementedError" in text
    assert float(re.search(r"^([\d.]+) of [\d.]+ points$", text, re.MULTILINE)[1]) == pytest.approx(
        float(points), abs=0.01
    )
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    page.screenshot(path=ARTIFACTS / "walk_feedback.png")
    page.close()
