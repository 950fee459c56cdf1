"""The lectures as a person meets them: the real JupyterLab in a real browser.

A soak leaves screenshots in artifacts/ (or, at any time, in $COURSE_ARTIFACTS). JupyterLab works on a copy of the
lectures, so its autosave never touches the repository.
"""

import pytest
from pages import complaints, move_each_widget

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_home_runs_and_its_widgets_answer(opened, tmp_path_factory):
    home = opened("lectures/00_start_here.ipynb")
    home.screenshot("home_opened")
    assert complaints(home.run_lecture(tmp_path_factory)) == []
    assert move_each_widget(home, "home") == {"taste": "answered", "taste-tale": "answered"}


@pytest.fixture(scope="module")
def lecture_01(opened, tmp_path_factory):
    """Lecture 01, and its cells after Run All."""
    lecture = opened("lectures/01_shannon_markov_chains.ipynb")
    return lecture, lecture.run_lecture(tmp_path_factory)


def test_lecture_01_runs_and_its_widgets_answer(lecture_01):
    lecture, cells = lecture_01
    assert complaints(cells) == []
    assert move_each_widget(lecture, "lecture01") == {"explore": "answered", "typing": "answered"}


def test_sliders_rewrite_the_text_and_reset_brings_it_back(lecture_01):
    lecture, _ = lecture_01
    widget = lecture.widget("explore")
    controls = {name.split(" ", 1)[1]: control for name, control in widget.controls().items()}
    order, temperature = controls["order k"], controls["temperature"]
    widget.press(controls["Reset"], "Enter")
    first = widget.text
    assert widget.press(order, "ArrowRight", wait=20_000) and widget.text != first
    assert widget.press(order, "ArrowLeft", wait=20_000) and widget.text == first, "the same settings, the same text"
    assert widget.press(temperature, "ArrowLeft", wait=20_000) and widget.text != first
    assert widget.press(order, *4 * ["ArrowRight"], wait=20_000)  # quick changes: the last one wins
    assert order.get_attribute("aria-valuetext") == "7" and "held-out" in widget.text
    seventh = widget.text
    assert widget.press(controls["Reset"], "Enter", wait=20_000) and widget.text == first != seventh
    assert widget.by_tab(), "the Tab key leads to each control"


def test_letters_are_expected_while_one_types_and_a_button_writes_them(lecture_01):
    lecture, _ = lecture_01
    widget = lecture.widget("typing")
    field = widget.root.locator("input")
    before = field.input_value()
    assert widget.press(field, "End", "s", wait=20_000)
    assert f"“{(before + 's')[-3:]}”" in widget.text
    first = widget.root.locator(".widget-button:not(:has(i))").first
    letter = first.inner_text()
    assert widget.press(first, "Enter", wait=20_000)
    assert field.input_value() == before + "s" + letter.replace("␣", " ")
    assert first.evaluate("button => button === document.activeElement"), "the keyboard stays where it was"


def test_in_presentation_mode_letters_are_larger_code_is_folded_and_widgets_move(lecture_01):
    lecture, _ = lecture_01
    widget = lecture.widget("explore")
    size = "result => parseFloat(getComputedStyle(result.querySelector('p, div, span')).fontSize)"
    before = widget.root.locator(".course-result").evaluate(size)
    lecture.view("Appearance", "Presentation Mode")
    lecture.view("Appearance", "Simple Interface")
    lecture.view("Collapse All Code")
    widget = lecture.widget("explore")
    cell = lecture.page.locator('[data-id="explore"]')
    assert cell.locator(".jp-InputPlaceholder").is_visible() and not cell.locator(".jp-InputArea-editor").is_visible()
    assert widget.root.locator(".course-result").evaluate(size) > 1.15 * before
    shown = widget.text
    assert widget.press(next(iter(widget.controls().values())), "ArrowRight", wait=20_000) and widget.text != shown
    lecture.screenshot("lecture01_presented")
    lecture.view("Appearance", "Simple Interface")
    lecture.view("Appearance", "Presentation Mode")
    lecture.view("Expand All Code")


@pytest.mark.soak
def test_lecture_01_has_its_pictures_light_and_dark(lecture_01):
    """Takes the screenshots that a person should look at; asserts that every plot is there."""
    lecture, cells = lecture_01
    plots = [cell["id"] for cell in cells if any("image/png" in o.get("data", {}) for o in cell["outputs"])]
    assert len(plots) > 8
    for number, cell_id in enumerate(plots):
        lecture.show(cell_id)
        lecture.screenshot(f"lecture01_{number:02}_{cell_id}")
    lecture.theme("Dark")
    lecture.show("overfitting")
    lecture.screenshot("lecture01_dark_overfitting")
