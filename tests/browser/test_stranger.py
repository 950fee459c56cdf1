"""A stranger's walk: publish, clone, answer, check, pack, upload, import, grade, mark by hand, regrade, marks, page.

With the real commands, and in Chromium where people use a browser: students in JupyterLab, instructors in Formgrader.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook
from pages import ROOT, Notebook, running_lab, wait_ms

from autograder.course import Course
from autograder.publish import edition
from autograder.sandbox import provisioner
from course_utils.notebook import grade_id, read

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAME = "a1_markov_chains"
RIGHT = (
    "def count_transitions(codes, size):\n"
    "    return torch.bincount(codes[:-1] * size + codes[1:], minlength=size * size).view(size, size)"
)
CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,Markov chains (98765)\n    Points Possible,,,,,\n"
    '"Okafor, Daniel",12346,,okafor@uni.example,S1,\n"Lee, Ann",12347,,lee@uni.example,S1,\n'
)
WORKSHEET = (
    "Identifier,Full name,Email address,Status,Grade,Maximum Grade\n"
    "Participant 1,Daniel Okafor,okafor@uni.example,Submitted,,\nParticipant 2,Ann Lee,lee@uni.example,Submitted,,\n"
)


def instructors_course(root: Path) -> Course:
    few = shutil.ignore_patterns("0[2-9]*", "1*", "__pycache__")
    for folder in ("lectures", f"assignments/{NAME}", f"solutions/{NAME}", "course_utils"):
        shutil.copytree(ROOT / folder, root / folder, ignore=few)
    for name in ("pyproject.toml", "requirements.lock", "nbgrader_config.py", "limits.toml", *edition.PLAIN):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    return Course(root)


def course_command(folder: Path, *arguments, code: int = 0) -> str:
    """The `course` command in a folder, with the library of this repository."""
    environment = os.environ | {"PYTHONPATH": "", "GIT_CONFIG_GLOBAL": os.devnull, "COLUMNS": "200"}
    command = [sys.executable, "-m", "course_utils", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def type_an_answer(browser, copy: Path, cell_id: str, code: str) -> None:
    """A student opens the notebook in JupyterLab, types the answer that is missing, and runs the check below it."""
    with running_lab(copy) as lab:
        notebook = Notebook(browser, lab, f"assignments/{NAME}/{NAME}.ipynb")
        notebook.show(cell_id)
        notebook.page.locator(f'[data-id="{cell_id}"] .cm-content').click()
        notebook.page.keyboard.press("Control+a")
        notebook.page.keyboard.insert_text(code)
        for cell in ("setup", cell_id, f"check_{cell_id}"):
            notebook.show(cell)
            notebook.command("notebook:run-cell")
        notebook.page.get_by_text(f"✔ {cell_id}: ").wait_for(timeout=wait_ms(120))
        notebook.save()
        notebook.close()


def mark_by_hand(browser, root: Path, students: int, comment: str) -> None:
    """An instructor gives each hand-in full marks for its answer in words, in Formgrader."""
    with running_lab(root) as lab:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(wait_ms(90))
        page.goto(f"{lab.address}/login?token={lab.token}&next=/formgrader/gradebook/{NAME}/{NAME}")
        for number in range(1, students + 1):
            page.get_by_role("link", name=f"Submission #{number}").click()
            page.locator("#short_answer-comment").fill(comment)
            page.locator(".panel-heading").filter(has=page.locator("#short_answer")).locator(".full-credit").click()
            page.wait_for_function("() => document.querySelector('#short_answer').value !== ''")
            page.wait_for_function("() => !document.querySelector('.glyphicon-refresh')")  # all is saved
            page.goto(f"{lab.address}/formgrader/gradebook/{NAME}/{NAME}")
        page.close()


def answer(course: Course, notebook: Path, leave_out: str = "") -> None:
    """Write the solutions into a student's notebook, all but one."""
    solved = {grade_id(c): c.source for c in read(course.solution(NAME)).cells if grade_id(c)}
    mine = read(notebook)
    for cell in mine.cells:
        name = grade_id(cell)
        if name and not name.startswith("check_") and name in solved and name not in ("setup", leave_out):
            cell.source = re.sub(r"(?m)^\s*### (BEGIN|END) SOLUTION\n?", "", solved[name])
    nbformat.write(mine, notebook)


@pytest.mark.soak
@pytest.mark.skipif(bool(provisioner.missing()), reason="grading needs a sandbox")
def test_from_publishing_to_the_page(browser, tmp_path):
    course, bare = instructors_course(tmp_path / "instructors"), tmp_path / "students.git"
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    course_command(course.root, "release", NAME)
    assert "git clone" in course_command(course.root, "publish", bare)

    uploads = tmp_path / "uploads.zip"
    names = {"okafor": "okafordaniel_12346_77001", "lee": "leeann_LATE_12347_77002"}
    with zipfile.ZipFile(uploads, "w") as archive:
        for student, start in names.items():
            subprocess.run(["git", "clone", "-q", str(bare), str(tmp_path / student)], check=True)
            copy = tmp_path / student
            notebook = copy / "assignments" / NAME / f"{NAME}.ipynb"
            answer(course, notebook, leave_out="count_transitions" if student == "okafor" else "sample")
            if student == "okafor":
                type_an_answer(browser, copy, "count_transitions", RIGHT)
            said = course_command(copy, "check", NAME)
            assert "together" in said
            course_command(copy, "submit", NAME, "--name", student, "--pack", ".")
            archive.write(copy / f"{student}_{NAME}.zip", f"{start}_{student}_{NAME}.zip")
        archive.writestr(f"stranger_99999_77003_{NAME}.ipynb", b"{}")

    export = tmp_path / "canvas.csv"
    export.write_text(CANVAS)
    said = course_command(course.root, "grade", NAME, "--import", uploads, "--roster", export, code=1)
    assert (
        "'stranger' is not on the roster" in said and "taken for okafor" in said and "Canvas marks it as late" in said
    )
    assert sorted(p.name for p in (course.root / "submitted").iterdir()) == ["lee", "okafor"]

    mark_by_hand(browser, course.root, 2, "Well argued.")
    course_command(course.root, "grade", NAME)
    assert "0 changed, 2 as they were" in course_command(course.root, "regrade", NAME)
    before = export.read_bytes()
    said = course_command(course.root, "report", NAME, "--canvas", export, "--column", "98765")
    assert "2 marks written" in said and export.read_bytes() == before
    with open(tmp_path / f"canvas_{NAME}.csv", newline="") as file:
        marks = {row[1]: row[5] for row in csv.reader(file)}
    (tmp_path / "moodle.csv").write_text(WORKSHEET)
    course_command(course.root, "report", NAME, "--moodle", tmp_path / "moodle.csv")
    with open(tmp_path / f"moodle_{NAME}.csv", newline="") as file:
        assert {row["Email address"]: row["Grade"] for row in csv.DictReader(file)} == {
            "okafor@uni.example": marks["12346"],
            "lee@uni.example": marks["12347"],
        }
    with Gradebook(course.directory().db_url) as gradebook:
        most = gradebook.find_submission(NAME, "okafor").max_score
    assert float(marks["12346"]) == most > float(marks["12347"]) > 0
    page = browser.new_page()  # as the student gets it
    page.goto((course.root / "feedback" / "okafor" / NAME / f"{NAME}.html").as_uri())
    text = page.inner_text("body")
    assert "Well argued." in text and f"{most:g} of {most:g} points" in text
    page.close()
    assert json.loads((tmp_path / "okafor" / "course-edition.json").read_text())["tag"].startswith("edition-")
