"""Every committed notebook is in its normal form, and every lecture runs from top to bottom with no network."""

import json
import re
import subprocess
import sys

import nbformat
import pytest
from lecture_runs import LECTURES, ROOT, executed, run
from normal_form import KERNEL, normal_form

from course_utils.show.moving import STYLE, VIEW

NOTEBOOKS = LECTURES + sorted(ROOT.glob("assignments/*/*.ipynb")) + sorted(ROOT.glob("solutions/*/*.ipynb"))
SECONDS = 120  # for a lecture, on a machine that does nothing else
BUSY = 1.6  # times as much processor time is taken for the same work where other tests share the cores' units


def notebooks(paths):
    return pytest.mark.parametrize("path", paths, ids=[str(p.relative_to(ROOT)) for p in paths])


def outputs(notebook: nbformat.NotebookNode) -> list[dict]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


# --- form -------------------------------------------------------------------------------------------------------------


def test_there_are_lectures():
    assert [path.name[:2] for path in LECTURES][:2] == ["00", "01"]


@notebooks(NOTEBOOKS)
def test_notebook_is_in_its_normal_form(path):
    text = path.read_text(encoding="utf-8")
    relative = path.relative_to(ROOT)
    nbformat.validate(json.loads(text))
    assert text == normal_form(json.loads(text)), f"run `python tests/normal_form.py {relative}`, commit it"


@notebooks(NOTEBOOKS)
def test_cell_ids_are_unique(path):
    ids = [cell["id"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    assert len(set(ids)) == len(ids)


@notebooks(LECTURES)
def test_lecture_cell_ids_say_what_the_cell_is(path):
    ids = [cell["id"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    drawn = [i for i in ids if not re.fullmatch(r"[a-z]+[a-z0-9]*(-[a-z0-9]+)*", i) or re.fullmatch(r"[0-9a-f]{8}", i)]
    assert not drawn, f"name these cells by what they do, e.g. 'count-by-hand': {drawn}"


@notebooks(LECTURES)
def test_lecture_cells_fit_on_a_screen(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    long = {c["id"]: len(c["source"]) for c in cells if c["cell_type"] == "code" and len(c["source"]) > 25}
    assert not long, f"lines of code in one cell: {long}"


def test_home_links_to_all_there_is():
    """The map in lecture 00 is written by hand: no lecture or assignment is forgotten there."""
    cells = json.loads((ROOT / "lectures/00_start_here.ipynb").read_text(encoding="utf-8"))["cells"]
    prose = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    there = [p.name for p in LECTURES[1:]]
    there += [f"../{p.relative_to(ROOT).as_posix()}" for p in sorted(ROOT.glob("assignments/*/*.ipynb"))]
    assert [path for path in there if f"]({path})" not in prose] == []


@notebooks(LECTURES)
def test_links_of_a_lecture_lead_somewhere(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    local = [to for to in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"https?:|#", to)]
    missing = [to for to in local if not (path.parent / to.partition("#")[0]).exists()]
    assert not missing


def test_notebooks_pass_the_linter():
    files = [str(path) for path in NOTEBOOKS]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *files], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


# --- runs -------------------------------------------------------------------------------------------------------------


@notebooks(LECTURES)
def test_lecture_runs_offline_in_time(path, tmp_path_factory):
    done = executed(path, tmp_path_factory)
    seconds = done.metadata["processor_seconds"]
    print(f"{path.name}: {seconds:.0f} s of processor time")
    assert seconds < SECONDS * BUSY
    said = [output for output in outputs(done) if output.get("name") == "stderr"]
    assert not said, f"a lecture warns or complains: {said}"
    shown = [o.get("data", {}) for o in outputs(done)]
    stills = [still for still, live in zip(shown, shown[1:]) if VIEW in live]
    assert stills, "each lecture has something to move"
    for data in stills:
        assert STYLE in data["text/html"], "a still before each live widget"
        assert "No result" not in data["text/plain"]
        assert len(data["text/plain"]) > 200, "without a browser a widget is still readable"


def test_the_run_has_no_network(tmp_path):
    """The guard itself: addresses out there are refused, by number and by name; a local server is not."""
    cell = """
import socket, urllib.request
server = socket.create_server(("127.0.0.1", 0))
socket.socket().connect(server.getsockname())
for attempt in (lambda: socket.socket().connect(("192.0.2.1", 80)), lambda: urllib.request.urlopen("http://example.org")):
    try:
        attempt()
        print("went through")
    except OSError as error:
        print(error)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    printed = "".join(output["text"] for output in outputs(run(notebook, tmp_path)))
    assert printed.count("no network in this test") == 2
    assert "went through" not in printed


def test_normal_form_drops_what_a_run_leaves():
    cell = nbformat.v4.new_code_cell("1 + 1", id="add", execution_count=3, metadata={"scrolled": True, "tags": ["x"]})
    cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=3)]
    notebook = nbformat.v4.new_notebook(
        cells=[cell], metadata={"widgets": {}, "language_info": {"name": "python", "version": "3.11.7"}}
    )
    clean = json.loads(normal_form(notebook))
    (cell,) = clean["cells"]
    assert (cell["id"], cell["source"], cell["metadata"]) == ("add", ["1 + 1"], {"tags": ["x"]})
    assert (cell["execution_count"], cell["outputs"]) == (None, [])
    assert clean["metadata"] == {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    assert normal_form(clean) == normal_form(notebook)
