"""Where a student stands, read from saved notebooks: written, right, points, what is next; nothing is run."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from small_course import HALF, NAME, RIGHT, released_course

from course_utils.check import VERDICT, Checker
from course_utils.command import progress

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A course with two lectures and one assignment, its working folder where students open the home notebook."""
    from small_course import install

    install(monkeypatch)
    course = released_course(tmp_path)
    (tmp_path / "lectures").mkdir()
    for name, title in (("00_start_here", "Start"), ("01_first", "01 · First"), ("02_second", "02 · <Second>")):
        cells = [new_markdown_cell(f"# {title}\n\ntext"), *(new_code_cell(f"{i}") for i in range(10))]
        nbformat.write(new_notebook(cells=cells), tmp_path / "lectures" / f"{name}.ipynb")
    monkeypatch.chdir(tmp_path / "lectures")
    return course.root


def assignment(root):
    return root / "assignments" / NAME / f"{NAME}.ipynb"


def change(path, what):
    notebook = nbformat.read(path, as_version=4)
    what(notebook)
    nbformat.write(notebook, path)


def work_on(root, answers, monkeypatch):
    """Write answers and run each check cell as Jupyter would, with the real checker: what it shows is the output."""
    monkeypatch.chdir(assignment(root).parent)
    names, shown = {}, []
    shell = SimpleNamespace(kernel="a kernel")
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    monkeypatch.setattr("IPython.display.publish_display_data", shown.append)

    def what(notebook):
        check = Checker(NAME)
        for cell in notebook.cells:
            identity = cell.metadata.get("nbgrader", {}).get("grade_id", "")
            cell.source = answers.get(identity, cell.source)
            if identity in answers and cell.cell_type == "code":
                exec("import torch\n" + cell.source, names)
            if identity.removeprefix("check_") in names:
                check(names[identity.removeprefix("check_")])
                cell.outputs = [new_output("display_data", data=json.loads(json.dumps(shown.pop())))]

    change(assignment(root), what)
    monkeypatch.chdir(root / "lectures")


def run_cells(root, name, number):
    def what(notebook):
        for cell in [c for c in notebook.cells if c.cell_type == "code"][:number]:
            cell.execution_count = 1

    change(root / "lectures" / f"{name}.ipynb", what)


def so_far():
    return {str(title): stands for title, stands in progress.show().rows}


def following():
    return "".join(str(part) for part in progress.show().sentence)


def test_a_fresh_course_begins_with_the_first_lecture(root):
    assert set(so_far().values()) == {"not begun"}
    assert list(so_far()) == ["01 · First", "02 · <Second>", "A small assignment"]
    assert following() == "Next: 01 · First"


def test_it_counts_what_is_written_and_what_the_last_check_said(root, monkeypatch):
    work_on(root, HALF, monkeypatch)
    assert so_far()["A small assignment"] == (
        "2 of 2 exercises written; 0 right, 2 of 5 points by their last check; no answer in words yet"
    )
    assert following() == "Go on with: A small assignment"
    work_on(root, RIGHT, monkeypatch)
    assert "2 right, 5 of 5 points" in so_far()["A small assignment"]
    assert following() == "Go on with: A small assignment"  # the answer in words is missing
    work_on(root, {"why": "It is linear."}, monkeypatch)
    assert so_far()["A small assignment"].endswith("answered in words")
    assert following() == "Next: 01 · First"


def test_written_but_never_checked(root):
    def what(notebook):
        cell = next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "double")
        cell.source = RIGHT["double"]

    change(assignment(root), what)
    assert so_far()["A small assignment"].startswith("1 of 2 exercises written; none checked;")


def test_an_exercise_that_was_emptied_again_is_not_right(root, monkeypatch):
    work_on(root, RIGHT, monkeypatch)

    def what(notebook):
        cell = next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "double")
        cell.source = "def double(x):\n    # Your code here.\n    raise NotImplementedError"

    change(assignment(root), what)
    assert so_far()["A small assignment"].startswith("1 of 2 exercises written; 1 right, 3 of 5 points")


def test_lectures_are_done_when_most_of_their_cells_were_run(root):
    run_cells(root, "01_first", 3)
    assert so_far()["01 · First"] == "3 of 10 cells run" and following() == "Go on with: 01 · First"
    run_cells(root, "01_first", 8)
    assert following() == "Next: 02 · <Second>"
    run_cells(root, "02_second", 10)
    assert following() == "Next: A small assignment"


def test_an_assignment_stands_after_its_lecture(root, monkeypatch):
    monkeypatch.setitem(progress.AFTER, NAME, "01")
    assert list(so_far()) == ["01 · First", "A small assignment", "02 · <Second>"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"cells": 3}', b'{"cells": [{"cell_type": "code"}]}', b"[" * 100_000, None],
)
def test_a_broken_notebook_is_a_row_that_says_so(root, content):
    for path in (assignment(root), root / "lectures" / "01_first.ipynb"):
        path.unlink()
        path.mkdir() if content is None else path.write_bytes(content)
    found = so_far()
    assert found[NAME].startswith("cannot be read (") and found["01_first"].startswith("cannot be read (")
    assert following() == "Next: 02 · <Second>"


@pytest.mark.parametrize(
    "mark", [[], "x", {"grade_id": 3, "grade": True}, {"grade_id": "x", "grade": True, "points": "y"}]
)
def test_odd_marks_and_outputs_are_passed_over(root, mark):
    other = {"exercise": "other", "held": 1, "cases": 1, "points": 9}
    notebook = json.loads(assignment(root).read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [{"text": ["x"]}, {}, {"data": []}, {"data": {VERDICT: "x"}}, {"data": {VERDICT: other}}]
    notebook["cells"][0]["metadata"]["nbgrader"] = mark
    assignment(root).write_text(json.dumps(notebook), encoding="utf-8")
    assert so_far()["A small assignment"] == "not begun"


def test_without_assignments_and_without_anything(root, tmp_path, monkeypatch):
    shutil.rmtree(root / "assignments")
    assert following() == "Next: 01 · First (There is no folder assignments/ here.)"
    (tmp_path / "alone").mkdir()
    assert progress.show(tmp_path / "alone").rows == []
    assert "open it in the course's folder" in "".join(map(str, progress.show(tmp_path / "alone").sentence))


def test_its_links_lead_from_the_lectures_to_what_they_name(root):
    html = progress.show()._repr_html_()
    links = re.findall(r'href="([^"]+)"', html)
    assert len(links) == 4 and all((root / "lectures" / link).exists() for link in links)
    assert "02 · &lt;Second&gt;" in html and "<Second>" not in html
    assert html.count('scope="row"') == 3 and "<caption" in html and 'scope="col"' in html


def test_the_order_is_that_of_the_map_in_the_home_notebook():
    cells = json.loads((ROOT / progress.HOME).read_text(encoding="utf-8"))["cells"]
    map_ = "".join(next(c["source"] for c in cells if c["id"] == "map"))
    rows = re.findall(r"\| a\d \| \[[^]]+\]\(\.\./assignments/(\w+)/\w+\.ipynb\) \| (\d\d) \|", map_)
    assert dict(rows) == progress.AFTER
    assert {p.stem for p in ROOT.glob("assignments/*/*.ipynb")} <= set(progress.AFTER)


def test_every_assignment_of_the_course_is_read():
    work = [w for w in progress.read(ROOT) if w.path.startswith("assignments/")]
    assert all(not w.trouble and len([e for e in w.exercises if not e.by_hand]) >= 5 for w in work)
    assert all(sum(e.by_hand for e in w.exercises) == 1 for w in work)
