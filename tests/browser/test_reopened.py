"""Tomorrow's notebook: run, saved, its kernel ended, opened again. Each widget is a still, with a line that says so.

A soak: in JupyterLab and in Notebook 7, light and dark, with screenshots in artifacts/ (or $COURSE_ARTIFACTS). In
test_widgets.py one notebook is opened again every day.
"""

import re

import nbformat
import pytest
from pages import Notebook, complaints, notebook_of, wait_ms
from playwright.sync_api import expect

from course_utils.show.moving import Moving
from course_utils.show.quiz import Quiz

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.soak]
APPS = {"lab": "lab/tree", "notebook7": "notebooks"}
BARS = """
from course_utils.show import widgets
widgets.bound_explorer(min)
"""
PICTURES = """
import torch
from course_utils.show import picture_widgets
darker = {"darker": lambda strength: lambda images, generator: images * (1 - strength)}
picture_widgets.augmentation_explorer(torch.rand(4, 3, 32, 32), darker)
"""
TWO_IN_A_CELL = """
display(widgets.bound_explorer(max))
print("a line between them")
display(widgets.bound_explorer(min))
"""
QUESTIONS = """
from course_utils.show import quiz
quiz.ask("04_gpt")
"""
EXPLORERS, QUIZZES = 4, 1
# How far the colours of an element's letters and of the page below it are apart, 0 … 765.
CONTRAST = """element => {
    const sum = colour => colour.match(/\\d+/g).slice(0, 3).reduce((total, part) => total + Number(part), 0);
    const page = getComputedStyle(element.closest('.jp-Notebook')).backgroundColor;
    return Math.abs(sum(getComputedStyle(element).color) - sum(page));
}"""


def count(page, selector, number):
    """Wait until so many of a kind can be seen."""
    expect(page.locator(selector).filter(visible=True)).to_have_count(number, timeout=wait_ms(30))


def is_live(page):
    count(page, ".course-explorer", EXPLORERS)
    count(page, ".course-quiz", QUIZZES)
    count(page, ".course-widget", 0)


def is_still(page, explorers=EXPLORERS, quizzes=QUIZZES):
    """The stills are there with their lines, and nothing else is; JupyterLab has given the widgets up by then."""
    number = explorers + quizzes
    expect(page.get_by_text("Error displaying widget")).to_have_count(number, timeout=wait_ms(30))
    expect(page.get_by_text("Error displaying widget").filter(visible=True)).to_have_count(0, timeout=wait_ms(30))
    stills_are_seen(page, explorers, quizzes)


def stills_are_seen(page, explorers=EXPLORERS, quizzes=QUIZZES):
    count(page, ".course-widget .course-still", explorers)
    count(page, ".course-widget .course-quiz-still", quizzes)
    for line, number in ((Moving.still_note, explorers), (Quiz.still_note, quizzes)):
        expect(page.get_by_text(line).filter(visible=True)).to_have_count(number)
    assert not page.get_by_text("Loading widget").filter(visible=True).count()


@pytest.mark.parametrize("app", APPS)
def test_a_notebook_opened_again_shows_its_widgets_as_stills(browser, lab, app):
    path = f"{app}.ipynb"
    nbformat.write(notebook_of(BARS, PICTURES, TWO_IN_A_CELL, QUESTIONS), lab.root / path)
    today = Notebook(browser, lab, path, APPS[app])
    assert complaints(today.run_all()) == []
    is_live(today.page)
    slider = today.page.locator(".course-explorer .noUi-handle").first
    slider.focus()
    for key, value in (("End", "12"), ("Home", "0.5")):  # in Notebook 7 no arrow keys: see README
        today.page.keyboard.press(key)
        expect(slider).to_have_attribute("aria-valuetext", value)
    today.save()
    today.close()

    tomorrow = Notebook(browser, lab, path, APPS[app])
    page = tomorrow.page
    is_still(page)
    assert (
        page.locator(".course-still img").filter(visible=True).evaluate_all("all => all.map(i => i.naturalWidth > 0)")
    )
    for theme in ("Dark", "Light"):
        tomorrow.theme(theme)
        for part in (".course-live", ".course-still p", ".course-quiz-still summary"):
            assert page.locator(part).first.evaluate(CONTRAST) > 300, (theme, part)
        tomorrow.screenshot(f"reopened_{app}_{theme.lower()}")
    page.locator(".course-quiz-still summary").first.click()
    expect(page.locator(".course-quiz-still details").first).to_contain_text(re.compile("Right|Not this one"))

    tomorrow.run_all()
    is_live(page)
    tomorrow.screenshot(f"reopened_{app}_run_again")
    tomorrow.restart()
    page.reload()
    is_still(page)
    tomorrow.wait_for_kernel()
    tomorrow.close()


@pytest.mark.parametrize("app", APPS)
def test_a_notebook_from_somebody_else_shows_them_too(browser, lab, app):
    """It is not trusted: no live widgets, no style rules."""
    notebook = nbformat.read(lab.root / f"{app}.ipynb", as_version=4)  # as the test before left it
    notebook.cells[0].source += "\n# written elsewhere"
    nbformat.write(notebook, lab.root / f"{app}_of_a_friend.ipynb")
    found = Notebook(browser, lab, f"{app}_of_a_friend.ipynb", APPS[app])
    stills_are_seen(found.page)
    assert not found.page.get_by_text("course-wait").count() and not found.page.get_by_text("Error displaying").count()
    found.screenshot(f"reopened_{app}_untrusted")
    found.close()


def test_a_lecture_opened_again(browser, lab):
    path = "lectures/00_start_here.ipynb"
    today = Notebook(browser, lab, path)
    assert complaints(today.run_all()) == []
    today.save()
    today.close()
    tomorrow = Notebook(browser, lab, path)
    tomorrow.show("taste")
    is_still(tomorrow.page, explorers=2, quizzes=0)
    tomorrow.screenshot("reopened_lecture_00")
    tomorrow.close()
