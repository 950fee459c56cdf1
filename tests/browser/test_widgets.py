"""Live widgets under bad treatment: a dead one, a kernel that restarts, too much text, a JupyterLab without widgets."""

import json

import nbformat
import pages
import pytest
import torch
from pages import Notebook, move_each_widget, notebook_of, running_lab
from test_reopened import is_still

from course_utils.show import pictures

pytestmark = [pytest.mark.browser, pytest.mark.slow]
DEAD = """
import ipywidgets
from course_utils.show import widgets
explorer = widgets.Explorer(lambda a, b: f"{a} {b}", **{name: ipywidgets.IntSlider(1) for name in "ab"})
explorer._controls["a"].unobserve_all()
explorer
"""
ALIVE = DEAD.replace(".unobserve_all()", "")
SPEECHLESS = DEAD.replace('f"{a} {b}"', "1 / 0")
LETTERS = """
from course_utils.models.ngram import NGramModel
from course_utils.show import widgets
line = "the cat sat on the mat and ate the rat "
chains = {k: NGramModel(k, smoothing="witten-bell").fit(9 * line) for k in range(4)}
widgets.next_letter_explorer(chains, prompt="the ", order=2)
"""


def written(lab, name, *cells):
    """A new notebook's path in the JupyterLab."""
    nbformat.write(notebook_of(*cells), lab.root / f"{name}.ipynb")
    return f"{name}.ipynb"


def test_a_dead_widget_is_found_out(opened, lab, monkeypatch):
    """The test of the test: a widget that lives, one whose first control leads nowhere, one with nothing but errors."""
    monkeypatch.setattr(pages, "ANSWER_S", 4)
    notebook = opened(written(lab, "dead", ALIVE, DEAD, SPEECHLESS))
    notebook.run_all()
    assert list(move_each_widget(notebook, "dead").values()) == ["answered", "no answer", "an error"]


def test_a_pasted_book_and_a_restarted_kernel_get_a_sentence(opened, lab):
    notebook = opened(written(lab, "letters", LETTERS))
    notebook.run_all()
    widget = notebook.widget(notebook.widgets()[0])
    field = widget.root.locator("input")
    for pasted in ("the rat 🦊 é " * 9000, ""):
        field.fill(pasted)  # as by the clipboard: one change
        widget.root.locator(".course-result", has_text="characters long" if pasted else "at no letter").wait_for()
    assert "No result" not in widget.text

    # Zoomed in, and as large as for a room: nothing may be wider than the page.
    notebook.command("application:toggle-presentation-mode")
    last = "[...root.querySelectorAll('.course-result p')].at(-1)"  # looked up and asked at once: it may be replaced
    size = widget.root.evaluate(f"root => parseFloat(getComputedStyle({last}).fontSize)")
    notebook.screenshot("widget_presentation")
    assert size >= 16
    notebook.page.set_viewport_size({"width": 700, "height": 500})  # what is left of a window at a zoom of 200 %
    notebook.command("application:toggle-left-area")
    widget.root.scroll_into_view_if_needed()
    wide, room = widget.root.evaluate("root => [root.scrollWidth, root.clientWidth]")
    notebook.screenshot("widget_zoomed")
    assert wide <= room

    notebook.page.set_viewport_size({"width": 1400, "height": 1000})
    notebook.restart()
    notebook.page.locator(".course-explorer.jupyter-widgets-disconnected").wait_for(timeout=pages.wait_ms(30))
    said = widget.root.evaluate("root => getComputedStyle(root, '::before').content")
    assert "run this cell again" in said
    notebook.screenshot("widget_restarted")
    notebook.save()
    opened(written(lab, "nothing"))  # the kernel ends


def test_a_notebook_opened_again_shows_its_widget_as_a_still(browser, lab):
    """As the test before left it. More widgets, other looks, and Notebook 7: a soak, test_reopened.py."""
    tomorrow = Notebook(browser, lab, "letters.ipynb")
    is_still(tomorrow.page, explorers=1, quizzes=0)
    tomorrow.close()


@pytest.mark.soak  # it starts a JupyterLab of its own; stills are seen every day in the test above
def test_without_widgets_in_jupyterlab_there_is_the_result(browser, tmp_path, monkeypatch):
    settings = tmp_path / "config" / "labconfig"
    settings.mkdir(parents=True)
    (settings / "page_config.json").write_text(
        json.dumps({"disabledExtensions": {"@jupyter-widgets/jupyterlab-manager": True}})
    )
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    root = tmp_path / "course"
    root.mkdir()
    with running_lab(root) as lab:
        notebook = Notebook(browser, lab, written(lab, "letters", LETTERS))
        notebook.run_all()
        still = notebook.page.locator(".course-still:visible")
        still.wait_for()
        assert "type here: the " in still.inner_text() and "It has seen “e␣”" in still.inner_text()
        assert not notebook.page.locator(".course-explorer").count()
        notebook.screenshot("widget_still")
        notebook.close()


def test_pictures_become_smaller_where_there_is_no_room(browser):
    row = pictures.html(torch.zeros(5, 3, 32, 32), titles=["crop, resize, flip"] * 5, columns=5, zoom=5)
    page = browser.new_page()
    for room, side in ((400, 76.8), (1000, 160)):
        page.set_content(f'<div style="width: {room}px">{row}</div>')
        boxes = page.locator("img").evaluate_all("all => all.map(i => i.getBoundingClientRect().toJSON())")
        left = boxes[0]["left"]
        assert len(boxes) == 5 and all(box["right"] <= left + room for box in boxes)
        assert all(abs(box["width"] - side) < 1 and abs(box["height"] - side) < 1 for box in boxes), "square, still"
    page.close()
