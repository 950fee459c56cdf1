"""The lectures as a person meets them: the real JupyterLab in a real browser.

Screenshots go to artifacts/ (or $COURSE_ARTIFACTS). JupyterLab works on a copy of the lectures, so its autosave never
touches the repository.
"""

import pytest
from pages import Explorer, Notebook, complaints

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_home_runs_and_its_slider_answers(browser, lab):
    home = Notebook(browser, lab, "lectures/00_start_here.ipynb")
    home.screenshot("home_opened")
    assert complaints(home.run_all()) == []
    home.show("taste")
    explorer = Explorer(home.page)
    first = explorer.text.inner_text()
    moved, _ = explorer.press("order k", "ArrowRight")
    assert moved != first
    home.screenshot("home_taste")


@pytest.fixture(scope="module")
def lecture_01(browser, lab):
    """Lecture 01, and its cells after Run All."""
    lecture = Notebook(browser, lab, "lectures/01_shannon_markov_chains.ipynb")
    return lecture, lecture.run_all()


def test_lecture_01_runs_and_its_sliders_rewrite_the_text(lecture_01):
    lecture, cells = lecture_01
    assert complaints(cells) == []
    lecture.show("explore")
    explorer = Explorer(lecture.page)
    first = explorer.settled()
    lecture.screenshot("lecture01_explorer")

    seconds = {}
    _, seconds["order + 1"] = explorer.press("order k", "ArrowRight")
    second = explorer.settled()
    assert second != first
    _, seconds["order - 1"] = explorer.press("order k", "ArrowLeft")
    assert explorer.settled() == first, "the same settings write the same text"
    _, seconds["temperature - 0.1"] = explorer.press("temperature", "ArrowLeft")
    assert explorer.settled() != first
    _, seconds["sample + 1"] = explorer.press("sample", "ArrowRight")

    explorer.press("order k", "ArrowRight", times=4)  # quick changes: the last one wins
    assert explorer.settled() not in (first, second)
    assert lecture.page.locator(".widget-inline-hbox:visible", has_text="order k").inner_text().split()[-1] == "7"
    lecture.screenshot("lecture01_explorer_moved")
    lecture.page.get_by_role("button", name="Reset").last.click()
    assert explorer.settled() == first
    print("seconds from key to new text:", {name: round(value, 2) for name, value in seconds.items()})


def test_lecture_01_has_its_pictures_light_and_dark(lecture_01):
    """Takes the screenshots that a person should look at; asserts that every plot is there."""
    lecture, cells = lecture_01
    plots = [cell["id"] for cell in cells if any("image/png" in o.get("data", {}) for o in cell["outputs"])]
    assert len(plots) > 8
    for number, cell_id in enumerate(plots):
        lecture.show(cell_id)
        lecture.screenshot(f"lecture01_{number:02}_{cell_id}")
    lecture.command("apputils:change-theme", theme="JupyterLab Dark")
    lecture.page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")
    for cell_id in ("overfitting", "explore"):
        lecture.show(cell_id)
        lecture.screenshot(f"lecture01_dark_{cell_id}")
