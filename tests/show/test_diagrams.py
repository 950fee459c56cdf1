"""course_utils.show.diagrams: each drawing says the same in words, and nothing leaves its sheet."""

import inspect
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from course_utils.show import diagrams, plots
from course_utils.show.diagrams import Diagram

DRAWINGS = [
    draw
    for name, draw in inspect.getmembers(diagrams, inspect.isfunction)
    if draw.__module__ == diagrams.__name__ and not name.startswith("_")
]


CARD = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def shown(monkeypatch):
    """What was shown: a list of (figure, text)."""
    calls = []
    monkeypatch.setattr(plots, "show", lambda figure, text: calls.append((figure, text)))
    return calls


@pytest.mark.parametrize("draw", DRAWINGS, ids=lambda draw: draw.__name__)
def test_a_drawing_says_itself_in_words_and_stays_on_its_sheet(draw, shown):
    needed = {name: p.annotation for name, p in inspect.signature(draw).parameters.items() if p.default is p.empty}
    draw(
        **{
            name: {Tensor: CARD, Sequence[Tensor]: [CARD] * 3}.get(kind, ["red car"] * 3)
            for name, kind in needed.items()
        }
    )
    ((figure, text),) = shown
    assert len(text.split()) > 15, "who does not see it reads this"
    figure.canvas.draw()
    sheet = figure.bbox.padded(1)
    for said in figure.axes[0].texts:
        extent = said.get_window_extent()
        assert sheet.x0 <= extent.x0 and extent.x1 <= sheet.x1, f"{said.get_text()!r} leaves the sheet"
        assert sheet.y0 <= extent.y0 and extent.y1 <= sheet.y1, f"{said.get_text()!r} leaves the sheet"


def test_an_arrow_ends_at_the_edges_of_its_boxes():
    d = Diagram(4, 1)
    a, b = d.box("a", (0.5, 0.5), width=0.6), d.box("b", (3.5, 0.5), width=0.6)
    d.arrow(a, b)
    d.figure.canvas.draw()
    extent = d.axes.patches[-1].get_window_extent()
    left, right = extent.x0 / d.figure.dpi, extent.x1 / d.figure.dpi
    assert 0.8 <= left < 0.9 and 3.1 < right <= 3.22


def test_cells_stand_row_by_row_below_their_corner():
    d = Diagram(4, 2)
    d.cells([["a", "b"], ["c", "d"]], (1, 2), side=0.5)
    places = {t.get_text(): t.get_position() for t in d.axes.texts}
    assert places == {"a": (1.25, 1.75), "b": (1.75, 1.75), "c": (1.25, 1.25), "d": (1.75, 1.25)}


def test_the_title_comes_first_in_words(shown):
    d = Diagram(3, 1, title="A finding")
    d.show("What is drawn.")
    assert shown[0][1] == "A finding\nWhat is drawn."


def test_a_picture_stands_where_it_is_asked_to_and_moves_nothing_else():
    d = Diagram(4, 2)
    d.picture(CARD, (1, 1), side=0.8)
    assert d.axes.images[0].get_extent() == pytest.approx((0.6, 1.4, 0.6, 1.4))
    assert (d.axes.get_xlim(), d.axes.get_ylim()) == ((0, 4), (0, 2))
