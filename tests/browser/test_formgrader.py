"""nbgrader's Formgrader page, in the JupyterLab that `course lab` starts: its button grades in the sandbox.

A soak: what the button starts, `nbgrader autograde`, runs every day in `tests/grader/test_cli.py`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from pages import ROOT, running_lab, wait_ms
from small_course import HALF, NAME, hand_in, small_course

from autograder.sandbox import provisioner

ARTIFACTS = Path(os.environ.get("COURSE_ARTIFACTS", ROOT / "artifacts"))
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.soak]
if provisioner.missing():
    pytest.skip("grading needs bubblewrap", allow_module_level=True)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """In a course with one small assignment, and a hand-in that tries to write to where it must not."""
    course = small_course(tmp_path_factory.mktemp("formgrader"))
    with running_lab(course.root) as lab:
        run("release", NAME, root=course.root)
        path = hand_in(course, "ann", HALF)
        notebook = nbformat.read(path, as_version=4)
        leak = (
            f"try:\n    open({str(course.root / 'leak')!r}, 'w')\nexcept OSError as error:\n    print('refused', error)"
        )
        notebook.cells.append(nbformat.v4.new_code_cell(leak))
        nbformat.write(notebook, path)
        yield lab


def run(*arguments, root):
    command = [str(Path(sys.executable).with_name("course")), *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_autograde_button_gives_the_mark_that_course_grade_gives(browser, lab):
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(wait_ms(180))  # the first grading draws the hidden cases and runs the solution
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{lab.address}/formgrader?token={lab.token}")
    page.get_by_role("link", name=NAME, exact=True).wait_for()
    page.goto(f"{lab.address}/formgrader/manage_submissions/{NAME}")
    row = page.get_by_role("row").filter(has_text="ann")
    row.get_by_text("needs autograding").wait_for()
    row.locator(".autograde a").click()
    page.get_by_text(f"Successfully autograded '{NAME}' for student 'ann'").wait_for()
    page.keyboard.press("Escape")
    row.locator(".score").filter(has_text="/").wait_for()
    score, of = map(float, re.search(r"([\d.]+) / ([\d.]+)", row.inner_text()).groups())
    page.screenshot(path=ARTIFACTS / "formgrader.png")
    assert (score, of) == (3, 10)
    assert not [url for url in asked if not url.startswith((lab.address, "data:", "blob:"))]
    page.close()

    graded = (lab.root / "autograded" / "ann" / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8")
    assert "refused" in graded and not (lab.root / "leak").exists()
    said = run("grade", NAME, "--again", root=lab.root)
    assert said.startswith(f"[1/1] ann: {score:g} of {of:g}. double: 0 of 2 cases, known mistake “squared”")
