"""The site: all of it is there, no solution is, nothing leads nowhere or is fetched from elsewhere."""

import re
import zipfile

import nbformat
import pytest
from built_pages import broken_links, external
from lecture_runs import LECTURES, ROOT, built_site
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from autograder.publish import run, site, still
from course_utils.show.moving import STYLE, VIEW, Moving

ASSIGNMENTS = sorted(path.stem for path in ROOT.glob("assignments/*/*.ipynb"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return built_site(tmp_path_factory)


@pytest.mark.slow
def test_every_lecture_assignment_and_module_has_a_page(pages):
    missing = [f"lectures/{path.stem}" for path in LECTURES] + [f"assignments/{name}" for name in ASSIGNMENTS]
    missing += ["index", "about", "search", "library/course_utils.learn.losses"]
    assert [name for name in missing if not (pages / f"{name}.html").is_file()] == []


@pytest.mark.slow
def test_sphinx_has_no_complaint(pages):
    assert (pages.parent / "complaints.txt").read_text(encoding="utf-8") == ""


@pytest.mark.slow
def test_no_link_is_broken_and_nothing_comes_from_elsewhere(pages):
    assert broken_links(pages) == []
    assert external(pages) == []


@pytest.mark.slow
def test_pictures_have_words_and_widgets_are_stills(pages):
    for path in sorted(pages.glob("lectures/*.html")):
        text = path.read_text(encoding="utf-8")
        assert [image for image in re.findall(r"<img\b[^>]*>", text) if not re.search(r'alt="[^"]', image)] == []
        assert "widget-view+json" not in text and "Explorer(" not in text
        assert text.count(Moving.still_note) == text.count('class="course-still"') > 0, "each widget is shown, and once"


@pytest.mark.slow
@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_an_assignment_gives_no_solution_away(pages, name):
    solution = nbformat.read(ROOT / "solutions" / name / f"{name}.ipynb", as_version=4)
    released = (ROOT / "assignments" / name / f"{name}.ipynb").read_text(encoding="utf-8")
    marked = re.compile(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", re.DOTALL)
    secret = [
        line.strip() for cell in solution.cells for part in marked.findall(cell.source) for line in part.split("\n")
    ]
    secret = [line for line in secret if len(line) > 30 and '"' not in line and line not in released]
    assert len(secret) > 3
    page = re.sub(r"<[^>]*>", "", (pages / "assignments" / f"{name}.html").read_text(encoding="utf-8"))
    with zipfile.ZipFile(pages / "_static" / "assignments" / f"{name}.zip") as archive:
        given = {entry: archive.read(entry) for entry in archive.namelist()}
    assert f"{name}/{name}.ipynb" in given and not [entry for entry in given if "mistakes" in entry]
    everything = page + "".join(content.decode(errors="replace") for content in given.values())
    assert [line for line in secret if line in everything] == []


def test_dead_links_and_what_is_fetched_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#there">1</a><a href="b.html#gone">2</a><img src="no.png" alt="">')
    (tmp_path / "b.html").write_text('<p id="there"><a href="https://example.org">clicked, not fetched</a></p>')
    assert broken_links(tmp_path) == ["a.html: b.html#gone", "a.html: no.png"]
    assert external(tmp_path) == []
    (tmp_path / "b.html").write_text('<p id="there"></p><script src="https://example.org/a.js"></script>')
    assert external(tmp_path) == ["b.html: https://example.org/a.js"]


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(site.SiteError, match="another folder"):
        site.build({}, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_lecture_that_fails_is_named_with_its_cell(tmp_path):
    good, bad = tmp_path / "01_good.ipynb", tmp_path / "02_bad.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("print(6 * 7)", id="answer")]), good)
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Bad"), new_code_cell("1 / 0", id="divide")]), bad)
    kept = tmp_path / "kept"
    found = dict(run.executed([good, bad], folder=kept))
    assert found[good].cells[0].outputs[0].text == "42\n"
    assert isinstance(found[bad], run.LectureError)
    assert "02_bad.ipynb, cell 2 (divide): ZeroDivisionError" in str(found[bad])
    assert run.kept(good, kept) is not None and run.kept(bad, kept) is None
    nbformat.write(new_notebook(cells=[new_code_cell("print(6 * 8)", id="answer")]), good)
    assert run.kept(good, kept) is None, "a lecture that was changed runs again"


def test_stills_need_no_kernel():
    picture = new_output("display_data", {"text/html": f"{STYLE}<b>hi</b>", "text/plain": "hi"})
    view = new_output("display_data", {VIEW: {"model_id": "x"}, "text/plain": ""})
    foreign = new_output("execute_result", {VIEW: {"model_id": "y"}, "text/plain": "IntSlider()"})
    prints = [new_output("stream", name="stdout", text=text) for text in ("a\n", "b\n")]
    cell = new_code_cell("x", outputs=[picture, view, foreign, *prints])
    found = still.still(new_notebook(cells=[cell]), lambda name, content: name).cells[0].outputs
    assert found[0].data == {"text/html": "<b>hi</b>", "text/plain": "hi"} and found[1].data == {
        "text/plain": "IntSlider()"
    }
    assert [output.text for output in found[2:]] == ["a\nb\n"]


def test_docstrings_become_restructured_text():
    lines = ["Do `this`s.", "", "x_: a *", "    b", "", "Then", "", "    f(*x)", "", "Args:", "    y: c"]
    site.as_restructured_text(None, "", "", None, None, lines)
    assert lines[:4] == [r"Do `this`\ s.", "", r"- \x_: a \*", "  b"]
    assert lines[5:11] == ["Then", "", "::", "", "    f(*x)", ""] and lines[11:13] == ["Args:", "    y: c"]
