"""What the lectures have in common in their words: minutes in headings, predictions, closings, pictures with a text."""

import json
import re
from pathlib import Path

import pytest

LECTURES = sorted(Path(__file__).parents[2].glob("lectures/*.ipynb"))[1:]  # the home notebook is no lecture
lectures = pytest.mark.parametrize("path", LECTURES, ids=[path.stem for path in LECTURES])


def prose(path):
    """The Markdown cells by id."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"}


@lectures
def test_sections_begin_in_cells_of_their_own_and_are_numbered_with_minutes(path):
    cells = prose(path)
    inside = [name for name, text in cells.items() if re.search(r"\n#{1,2} ", text)]
    assert not inside, f"a heading in the middle of {inside}: begin a cell with it"
    heads = [text.partition("\n")[0] for text in cells.values() if text.startswith("## ")]
    assert heads[-3:] == ["## What to keep", "## Questions  *(5 min)*", "## References"]
    numbers = [re.fullmatch(r"## (\d+) · .+  \*\(\d+ min\)\*", head) for head in heads[:-3]]
    assert [int(found[1]) for found in numbers] == list(range(1, len(numbers) + 1)), heads


@lectures
def test_the_time_on_top_is_the_sum_of_the_sections(path):
    cells = prose(path)
    said = re.search(r"\*About (an hour|(\d+) minutes) to teach", cells["title"])
    minutes = sum(int(m) for text in cells.values() for m in re.findall(r"(?m)^## .*\((\d+) min\)", text))
    assert abs(minutes - int(said[2] or 60)) <= 5, f"{said[0]}, the sections and questions take {minutes}"


@lectures
def test_a_prediction_is_asked_for_in_nearly_every_section(path):
    sections = re.split(r"(?m)^## (?=\d)", "\n".join(prose(path).values()))[1:]
    without = [text.partition("\n")[0] for text in sections if "redict" not in text]
    assert len(without) <= 2, without  # a section that only loads data asks for none
    assert "**Predict**" in prose(path)["title"], "say on top what to do where a cell says Predict"


@lectures
def test_pictures_have_a_text(path):
    assert not [name for name, text in prose(path).items() if re.search(r"!\[\s*\]\(|<img(?![^>]*alt=\"[^\"])", text)]


@lectures
def test_references_name_year_and_title(path):
    entries = [line for line in prose(path)["references"].splitlines() if line.startswith("- ")]
    assert len(entries) >= 4
    assert not [entry for entry in entries if not re.search(r"\((1[89]|20)\d\d\)\. \*.+\*", entry)]
