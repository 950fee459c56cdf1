"""Whatever file is handed in, a whole notebook comes out: locked cells are the release's; what was wrong is said."""

import copy
import json
import os

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell
from small_course import POINTS, solution_notebook

from autograder.intake.repair import repair
from autograder.limits import DEFAULTS, Limits
from autograder.notes import NOTES, UNANSWERED, Kind, as_json, note, sentence
from course_utils.notebook import normalise, sync


def released():
    notebook = solution_notebook()
    sync(notebook, POINTS)
    return normalise(notebook)


RELEASE = released()
ANSWER = "def double(x):\n    return x + x"
GRADED = [c.metadata.nbgrader.grade_id for c in RELEASE.cells if "nbgrader" in c.metadata and c.metadata.nbgrader.grade]


@pytest.fixture
def submit(tmp_path):
    """Repairs a notebook (or text, or bytes), and holds what must always be true against the result."""

    def repaired(content, limits=DEFAULTS):
        path = tmp_path / "submitted.ipynb"
        if isinstance(content, dict):
            content = json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        notebook, notes = repair(path, RELEASE, limits)
        hold(notebook, notes)
        return notebook, notes

    return repaired


def kinds(notes):
    return [note.kind for note in notes]


def hold(notebook, notes):
    nbformat.validate(notebook)
    nbformat.writes(notebook).encode()
    assert notebook.metadata[NOTES]["notes"] == as_json(notes)
    assert notebook.metadata.kernelspec.name == "python3"
    names = [c.metadata.nbgrader.grade_id for c in notebook.cells if "nbgrader" in c.metadata]
    assert len(set(names)) == len(names) and set(GRADED) <= set(names) and "setup" in names
    for released_cell in RELEASE.cells:
        if released_cell.metadata.get("nbgrader", {}).get("locked"):
            found = cell(notebook, released_cell.metadata.nbgrader.grade_id)
            assert (found.source, found.metadata) == (released_cell.source, released_cell.metadata)


def cell(notebook, name):
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def fresh():
    return copy.deepcopy(RELEASE)


def order(notebook):
    return [c.metadata.nbgrader.grade_id for c in notebook.cells if "nbgrader" in c.metadata]


def test_a_whole_notebook_stays_as_it_is(submit):
    notebook = fresh()
    cell(notebook, "double").source = "def double(x): return x + x"
    notebook.cells.insert(4, nbformat.v4.new_code_cell("1 + 1"))
    repaired, notes = submit(notebook)
    assert notes == []
    assert [c.source for c in repaired.cells] == [c.source for c in notebook.cells]
    assert submit(repaired)[0] == repaired


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n",
        b"{broken",
        b"\x89PNG\r\n\x00\xff",
        b"[]",
        b'"text"',
        b"{}",
        b'{"cells": 3}',
        b"[" * 100_000,
        b"nul\x00",
    ],
)
def test_what_cannot_be_read_is_graded_unanswered(submit, content):
    notebook, notes = submit(content)
    assert len(notes) == 1 and notes[0].kind in UNANSWERED and "unanswered" in sentence(notes[0])
    assert [c.source for c in notebook.cells] == [c.source for c in RELEASE.cells]


@pytest.mark.parametrize("kind", ["missing", "folder", "link", "pipe", "large"])
def test_what_is_no_plain_file_is_not_opened(tmp_path, kind):
    limits = DEFAULTS
    path = tmp_path / "notebook.ipynb"
    other = tmp_path / "other.ipynb"
    nbformat.write(RELEASE, other)
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(other)
    elif kind == "pipe":
        os.mkfifo(path)  # opening it would wait for ever
    elif kind == "large":
        path.write_bytes(other.read_bytes())
        limits = Limits(notebook_bytes=100)
    notebook, notes = repair(path, RELEASE, limits)
    hold(notebook, notes)
    assert len(notes) == 1 and notes[0].kind in UNANSWERED and "unanswered" in sentence(notes[0])


def test_changed_locked_cells_get_their_text_back(submit):
    notebook = fresh()
    for name, source in {"check_double": "print('2.0')", "plain": "pass", "setup": "check = print"}.items():
        cell(notebook, name).source = source
    _, notes = submit(notebook)
    assert kinds(notes).count(Kind.TEXT_RESTORED) == 3


def test_changed_points_flags_and_checksums_are_the_releases_again(submit):
    notebook = fresh()
    cell(notebook, "check_double").metadata.nbgrader |= {
        "points": 100,
        "solution": True,
        "locked": False,
        "checksum": "x",
    }
    cell(notebook, "why").metadata.nbgrader |= {"points": 100, "grade": False}
    cell(notebook, "double").metadata.nbgrader |= {"grade": True, "points": 7, "schema_version": 99}
    repaired, _ = submit(notebook)
    for name in ("check_double", "why", "double"):
        assert cell(repaired, name).metadata == cell(RELEASE, name).metadata


def test_of_copies_only_the_first_counts(submit):
    notebook = fresh()
    second = copy.deepcopy(cell(notebook, "double"))
    cell(notebook, "double").source = "def double(x): return 6"
    second.source = "def double(x): return 7"
    notebook.cells.append(second)
    repaired, notes = submit(notebook)
    assert "nbgrader" not in repaired.cells[-1].metadata and repaired.cells[-1].source == second.source
    assert ("double",) in {n.text for n in notes if n.kind == Kind.COPY}


def test_unknown_ids_are_taken_off(submit):
    notebook = fresh()
    notebook.cells.append(copy.deepcopy(cell(notebook, "check_double")))
    notebook.cells[-1].metadata.nbgrader.grade_id = "check_bonus"
    repaired, notes = submit(notebook)
    assert "nbgrader" not in repaired.cells[-1].metadata
    assert "check_bonus" in {n.text[0] for n in notes if n.kind == Kind.UNKNOWN_CELL}


def test_missing_cells_are_put_back_where_they_can_work(submit):
    notebook = fresh()
    notebook.cells = [nbformat.v4.new_code_cell("def total(x): return x.sum()"), cell(notebook, "double")]
    notebook.cells.append(nbformat.v4.new_code_cell("def double(x): return x + x"))
    repaired, notes = submit(notebook)
    sources = [c.source for c in repaired.cells]
    assert order(repaired)[0] == "setup"
    assert sources.index("check(double)") > sources.index("def double(x): return x + x")
    assert sources.index("check(total)") > sources.index("def total(x): return x.sum()")
    assert kinds(notes).count(Kind.CELL_RESTORED) == 5  # setup, two checks, why, plain


def test_no_unanswered_function_is_put_over_an_answer(submit):
    notebook = fresh()
    notebook.cells = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") != "double"]
    notebook.cells.insert(2, nbformat.v4.new_code_cell("double = lambda x: x + x"))
    repaired, _ = submit(notebook)
    assert cell(repaired, "double").source == "double = lambda x: x + x"


@pytest.mark.parametrize("ids", [True, False])
def test_lost_metadata_is_found_again(submit, ids):
    notebook = fresh()
    cell(notebook, "why").source = "Distributive law."
    cell(notebook, "total").source = "import math\n\ndef total(x):\n    return x.sum()"
    for number, c in enumerate(notebook.cells):
        c.metadata = {}
        c.id = c.id if ids else f"other-{number}"
    repaired, _ = submit(notebook)
    assert order(repaired) == order(RELEASE)
    assert cell(repaired, "why").source == "Distributive law."
    assert [c.source for c in repaired.cells] == [c.source for c in notebook.cells]


def test_a_cell_of_another_type_is_turned_back(submit):
    notebook = fresh()
    index = notebook.cells.index(cell(notebook, "check_total"))
    notebook.cells[index] = nbformat.v4.new_markdown_cell("check(total)", metadata=notebook.cells[index].metadata)
    repaired, notes = submit(notebook)
    assert cell(repaired, "check_total").cell_type == "code"
    assert ("markdown", "code") in {n.text for n in notes if n.kind == Kind.TYPE_RESTORED}


def test_nbformat_3_is_read(submit):
    notebook = fresh()
    cells = [{"cell_type": "heading", "level": 2, "source": ["Title"], "metadata": {}}]
    for c in notebook.cells:
        key = "input" if c.cell_type == "code" else "source"
        cells.append({"cell_type": c.cell_type, key: c.source.splitlines(True), "metadata": c.metadata, "outputs": []})
    repaired, notes = submit(
        {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": cells}]}
    )
    assert [c.source for c in repaired.cells] == ["## Title"] + [c.source for c in notebook.cells]
    assert Kind.OLD_FORMAT in kinds(notes)


def test_the_kernel_is_the_courses(submit):
    notebook = fresh()
    notebook.metadata.kernelspec = {"name": "bash", "display_name": "Bash"}
    assert note(Kind.OTHER_KERNEL, "bash") in submit(notebook)[1]


def test_half_characters_and_odd_ids_can_be_written(submit):
    notebook = json.loads(nbformat.writes(fresh()))
    notebook["cells"].append(
        {"cell_type": "code", "id": "setup", "source": 'x = "\ud800"', "metadata": {}, "outputs": []}
    )
    notebook["cells"].append({"cell_type": "code", "id": "a b/..", "source": ["y", 3], "metadata": None})
    repaired, _ = submit(notebook)
    assert repaired.cells[-1].source == "y3"


def test_pasted_pictures_stay_and_other_attachments_go(submit):
    notebook = fresh()
    cell(notebook, "why").attachments = {"a.png": {"image/png": "iVBO", "text/html": "<script>"}}
    repaired, _ = submit(notebook)
    assert cell(repaired, "why").attachments == {"a.png": {"image/png": "iVBO"}}


def test_too_many_cells_are_left_out(submit):
    notebook = fresh()
    notebook.cells += [nbformat.v4.new_code_cell("1")] * 30
    repaired, notes = submit(notebook, Limits(cells=20))
    assert len(repaired.cells) == 20 and note(Kind.CELLS_LEFT_OUT, 19) in notes


def test_an_answer_in_another_cell_takes_the_place_of_the_untouched_one(submit):
    for place in (0, 2, 4, None):
        notebook = fresh()
        notebook.cells.insert(len(notebook.cells) if place is None else place, new_code_cell(ANSWER))
        repaired, notes = submit(notebook)
        assert cell(repaired, "double").source == ANSWER and Kind.ANSWER_FOUND in kinds(notes)
        sources = [c.source for c in repaired.cells]
        assert sources.index("check(double)") > sources.index(ANSWER)
        assert cell(RELEASE, "double").source not in sources
    notebook = fresh()
    notebook.cells.append(copy.deepcopy(cell(notebook, "double")))  # a copy with its mark, as JupyterLab makes it
    notebook.cells[-1].source = ANSWER
    assert cell(submit(notebook)[0], "double").source == ANSWER
    notebook = fresh()
    cell(notebook, "double").source = ANSWER
    notebook.cells.append(new_code_cell("def double(x): return 0"))
    assert cell(submit(notebook)[0], "double").source == ANSWER


def test_one_cell_may_answer_more_than_one(submit):
    whole = ANSWER + "\n\ndef total(x):\n    return sum(x)"
    for change in (lambda n: n.cells.insert(0, new_code_cell(whole)), lambda n: cell(n, "total").update(source=whole)):
        notebook = fresh()
        change(notebook)
        sources = [c.source for c in submit(notebook)[0].cells]
        assert cell(RELEASE, "double").source not in sources
        assert sources.index("check(total)") > sources.index(whole) < sources.index("check(double)")


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("kind", ["markdown", "raw", "code", "two"])
def test_words_below_their_cell_are_found(submit, kind, ids):
    notebook = fresh()
    at = notebook.cells.index(cell(notebook, "why")) + 1
    makers = {"raw": nbformat.v4.new_raw_cell, "code": new_code_cell}
    notebook.cells.insert(at, makers.get(kind, nbformat.v4.new_markdown_cell)("It distributes."))
    if kind == "two":
        notebook.cells.insert(at + 1, nbformat.v4.new_markdown_cell("Doubly."))
    for number, c in enumerate(notebook.cells):
        c.id = c.id if ids else f"other-{number}"
    repaired, notes = submit(notebook)
    assert cell(repaired, "why").source == "It distributes." + "\n\nDoubly." * (kind == "two")
    assert Kind.WORDS_FOUND in kinds(notes)


def test_words_without_their_mark_are_found_beside_a_note(submit):
    notebook = fresh()
    at = notebook.cells.index(cell(notebook, "why"))
    for c in notebook.cells:
        c.metadata, c.id = {}, "x"
    notebook.cells[at : at + 1] = [nbformat.v4.new_markdown_cell(text) for text in ("A note.", "It distributes.")]
    repaired, notes = submit(notebook)
    assert cell(repaired, "why").source == "A note.\n\nIt distributes."
    assert note(Kind.MARK_RESTORED, "why", cell=at + 1) in notes
    notebook.cells[at - 1].source = "(the question in my own words)"
    assert "It distributes." in cell(submit(notebook)[0], "why").source
    del notebook.cells[at - 1 : at + 2]
    assert Kind.CELL_RESTORED in kinds(submit(notebook)[1])


def test_a_question_that_was_left_alone_takes_no_other_cells(submit):
    notebook = fresh()
    notebook.cells.append(nbformat.v4.new_markdown_cell("Thank you."))
    assert cell(submit(notebook)[0], "why").source == cell(RELEASE, "why").source
    cell(notebook, "why").source = "Because."
    notebook.cells.insert(8, nbformat.v4.new_markdown_cell("More."))
    assert cell(submit(notebook)[0], "why").source == "Because."


def test_cells_that_cannot_work_where_they_stand_are_moved(submit):
    notebook = fresh()
    notebook.cells.append(notebook.cells.pop(1))  # the set-up, to the end
    notebook.cells.insert(1, notebook.cells.pop(notebook.cells.index(cell(notebook, "check_total"))))
    repaired, notes = submit(notebook)
    found = order(repaired)
    assert found.index("setup") == 0 and found.index("check_total") > found.index("total")
    assert {n.cell for n in notes if n.kind == Kind.CELL_MOVED} == {"setup", "check_total"}


TEXT = json.dumps(json.loads(nbformat.writes(RELEASE)), ensure_ascii=False).replace("Double,", "Double –")


@pytest.mark.parametrize(
    ("data", "odd"),
    [
        (TEXT.encode("utf-16"), False),
        (TEXT.encode("utf-16-be"), False),
        (TEXT.encode("utf-32"), False),
        (TEXT.encode("utf-8-sig"), False),
        (TEXT.encode("cp1252"), True),
        (TEXT.encode() + bytes(5000), False),
        (TEXT.replace("then add", "then\tadd").encode(), True),
        (TEXT.encode() + b"}\n]", True),
    ],
)
def test_what_is_nearly_json_is_read(submit, data, odd):
    repaired, notes = submit(data)
    assert [c.source.replace("\t", " ") for c in repaired.cells[1:]] == [c.source for c in RELEASE.cells[1:]]
    assert "Double –" in repaired.cells[0].source
    assert kinds(notes) == [Kind.NEARLY_JSON] * odd


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04abc", "a zip"),
        (b"\n<!DOCTYPE html><p>", "a web page"),
        (b"%PDF-1.7", "a PDF"),
        (TEXT.replace('"cells"', '\n<<<<<<< HEAD\n"cells"').encode(), "conflict marks"),
        (TEXT[: len(TEXT) // 2].encode(), "damaged"),
    ],
)
def test_what_is_no_notebook_is_called_what_it_is(submit, data, said):
    _, (found,) = submit(data)
    assert found.kind in UNANSWERED and said in sentence(found)


plain = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([*GRADED, "setup", "double"])
)
tree = st.recursive(plain, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text(), t, max_size=3), max_leaves=5)
odd_cell = st.fixed_dictionaries(
    {},
    optional={
        "cell_type": st.sampled_from(["code", "markdown", "raw", "heading"]) | tree,
        "source": st.sampled_from(["check(double)", "def total(x): 1"]) | tree,
        "id": tree,
        "metadata": st.fixed_dictionaries({}, optional={"nbgrader": st.dictionaries(st.just("grade_id"), plain)})
        | tree,
        "attachments": tree,
        "level": tree,
    },
)
released_cell = st.sampled_from([json.loads(json.dumps(c)) for c in RELEASE.cells])
odd_notebook = st.fixed_dictionaries(
    {}, optional={"cells": st.lists(odd_cell | released_cell, max_size=8) | tree, "metadata": tree, "worksheets": tree}
)


@settings(max_examples=150, deadline=None)
@given(odd_notebook)
def test_any_json_becomes_a_whole_notebook(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.ipynb"
    path.write_text(json.dumps(content))
    hold(*repair(path, RELEASE))
