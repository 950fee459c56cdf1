"""Slides: what stands on which, what the speaker's notes say, and that a page needs nothing from elsewhere."""

import json
import re

import nbformat
import pytest
from lecture_runs import LECTURES
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from autograder.publish import slides
from course_utils.show import quiz

PLOT = '<img class="course-plot" src="p.png" alt="a line" width="640" height="400" />'


def marked(cell, kind):
    cell.metadata["slideshow"] = {"slide_type": kind}
    return cell


def printed(lines):
    return new_output("stream", name="stdout", text="\n".join(f"line {i}" for i in range(lines)) + "\n")


def lecture(*cells):
    title = marked(new_markdown_cell("# 99 · A lecture\n\nWhat it is about."), "slide")
    return new_notebook(cells=[title, *cells])


def groups(notebook):
    """The cells of each slide, without notes."""
    found = []
    for cell in slides.laid_out(notebook).cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type")
        if kind in ("slide", "subslide"):
            found.append((kind, []))
        if kind != "notes":
            found[-1][1].append(cell)
    return found


def notes(notebook):
    cells = slides.laid_out(notebook).cells
    return [c.source for c in cells if c.metadata.get("slideshow", {}).get("slide_type") == "notes"]


def test_a_heading_begins_a_slide_and_skipped_cells_are_gone():
    found = groups(
        lecture(
            marked(new_code_cell("import torch"), "skip"),
            marked(new_markdown_cell("## 1 · One  *(10 min)*"), "slide"),
            new_code_cell("print(1)", outputs=[printed(1)]),
            marked(new_markdown_cell("### More"), "subslide"),
        )
    )
    assert [(kind, [c.source for c in cells]) for kind, cells in found] == [
        ("slide", ["# 99 · A lecture\n\nWhat it is about."]),
        ("slide", ["## 1 · One", "print(1)"]),
        ("subslide", ["### More"]),
    ]


def test_a_slide_holds_a_text_or_code_with_its_result():
    plot = new_output("display_data", {"text/html": PLOT})
    found = groups(
        lecture(
            marked(new_markdown_cell("## 1 · One\n\n" + "word " * 80), "slide"),
            new_code_cell("import this"),
            new_code_cell("show()", outputs=[plot]),
            new_code_cell("more()", outputs=[plot]),
            new_markdown_cell("So it is."),
        )
    )
    assert [[c.source.split("\n")[0] for c in cells] for _, cells in found[1:]] == [
        ["## 1 · One"],
        ["import this", "show()"],
        ["more()"],
        ["So it is."],
    ]


def test_code_is_folded_above_its_result(tmp_path):
    plot = new_output("display_data", {"text/html": PLOT})
    notebook = lecture(new_code_cell("show()", outputs=[plot]))
    text = slides.build(notebook, "99_lecture", tmp_path).read_text(encoding="utf-8")
    assert re.search(r'<details class="course-code"><summary>Code</summary>.*show.*</details>.*course-plot', text, re.S)


def test_long_texts_are_cut_and_nothing_is_lost():
    paragraphs = [f"Paragraph {i}. " + ("word " * 80).strip() for i in range(8)]
    text = marked(new_markdown_cell("\n\n".join(["## 1 · Long", *paragraphs])), "slide")
    code = new_code_cell("run()", outputs=[printed(70)])
    found = groups(lecture(text, code))
    assert len(found) == 1 + 8 + 1
    whole = "\n\n".join(c.source for _, cells in found for c in cells if c.cell_type == "markdown")
    assert [re.sub(r"\s+", " ", p) in re.sub(r"\s+", " ", whole) for p in paragraphs] == 8 * [True]
    said = "".join(o.text for _, cells in found for c in cells for o in c.get("outputs", []))
    assert said == printed(70).text


def test_code_and_formulas_of_a_text_are_not_cut():
    code = "```python\nx = 1\n\n\ny = 2\n```"
    formula = "$$\na\n\n= b\n$$"
    assert slides._blocks(f"Text.\n\n{code}\n\nMore.\n\n{formula}") == ["Text.", code, "More.", formula]


def test_each_question_has_a_slide_and_its_code_none():
    html = quiz.still(quiz.load("01_shannon_markov_chains"))
    shown = new_output("display_data", {"text/html": html})
    ask = new_code_cell('quiz.ask("01_shannon_markov_chains")', outputs=[shown])
    found = groups(lecture(marked(new_markdown_cell("## Questions"), "slide"), ask))
    shown = [o.data["text/html"] for _, cells in found for c in cells for o in c.get("outputs", [])]
    assert len(shown) == len(quiz.load("01_shannon_markov_chains")) and len(found) == len(shown) + 1
    assert [re.search(r'start="(\d+)"', one)[1] for one in shown] == [str(i + 1) for i in range(len(shown))]
    assert sum(one.count("<summary>") for one in shown) == html.count("<summary>")
    assert not any("quiz.ask" in c.source for _, cells in found for c in cells)


def test_the_notes_have_a_running_clock_and_what_is_asked():
    found = notes(
        lecture(
            marked(new_markdown_cell("## 1 · One  *(50 min)*\n\n**Predict:** which wins?"), "slide"),
            marked(new_markdown_cell("### Later"), "subslide"),
            marked(new_markdown_cell("## 2 · Two  *(15 min)*"), "slide"),
            marked(new_markdown_cell("## What to keep"), "slide"),
        )
    )
    assert found[0].startswith("**99 · A lecture** starts at 0:00")
    assert found[1] == "**1 · One** starts at 0:00, 50 min · slide 1 of 2\n\n**Predict:** which wins?"
    assert found[2].startswith("**1 · One** starts at 0:00, 50 min · slide 2 of 2")
    assert found[3].startswith("**2 · Two** starts at 0:50, 15 min")
    assert found[4].startswith("**What to keep** starts at 1:05")


def test_a_lecture_without_slides_says_what_to_do():
    with pytest.raises(slides.SlidesError, match="slide type"):
        slides.laid_out(new_notebook(cells=[new_markdown_cell("# Title")]))


def test_a_page_needs_nothing_from_elsewhere(tmp_path):
    picture = new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "a < b"})
    notebook = lecture(marked(new_markdown_cell("## 1 · One  *(3 min)*\n\n$x^2$"), "slide"), new_code_cell("plot()"))
    notebook.cells[-1].outputs = [picture]
    page = slides.build(notebook, "99_lecture", tmp_path / "slides")
    text = page.read_text(encoding="utf-8")
    assert 'alt="a &lt; b"' in text and '<aside class="notes">' in text and 'data-timing="180"' in text
    needed = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert not [target for target in needed if "//" in target]
    assert [target for target in needed if not (page.parent / target).resolve().exists()] == []
    assert "require(" not in text and "mermaid" not in text


@pytest.mark.parametrize("path", LECTURES, ids=[path.stem for path in LECTURES])
def test_each_section_of_a_lecture_begins_a_slide(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    kinds = {c["id"]: c["metadata"].get("slideshow", {}).get("slide_type") for c in cells}
    headed = [c["id"] for c in cells if c["cell_type"] == "markdown" and re.match("##? ", "".join(c["source"]))]
    assert [i for i in headed if kinds[i] != "slide"] == []
    assert kinds["install"] == "skip"
    assert slides.laid_out(nbformat.read(path, as_version=4)).cells
