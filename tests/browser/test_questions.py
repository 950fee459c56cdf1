"""The questions at the end of a lecture, answered in JupyterLab with nothing but the keyboard."""

import pytest
from pages import Notebook, wait_ms
from playwright.sync_api import expect

from course_utils.show import quiz

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LECTURE = "05_memorization"
expect.set_options(timeout=wait_ms(20))


def test_questions_are_answered_by_keyboard_in_light_and_dark(browser, lab):
    lecture = Notebook(browser, lab, f"lectures/{LECTURE}.ipynb")
    page, question = lecture.page, quiz.load(LECTURE)[0]
    lecture.show("questions")  # a cell that needs none of the others
    lecture.command("notebook:run-cell")
    first = page.locator(".course-quiz-question").first
    first.wait_for()
    answer, focus = first.get_by_role("alert"), page.locator("*:focus")
    first.get_by_role("button").first.focus()
    for option, key in zip(question.options, ("Enter", "Space", "Enter", "Space")):
        expect(focus).to_have_accessible_name(quiz._name(option.text))
        page.keyboard.press(key)
        expect(answer).to_contain_text("Right." if option.right else "Not this one.")
        expect(focus).to_have_accessible_name(f"{'right' if option.right else 'wrong'}: {quiz._name(option.text)}")
        page.keyboard.press("Tab")
    expect(page.locator(".course-quiz-foot")).to_contain_text("1 of 5 solved")
    lecture.screenshot("questions_light")

    first.locator(".course-quiz-option").first.locator(".widget-htmlmath").click(force=True)  # its text can be clicked
    expect(answer).to_contain_text("Not this one.")
    lecture.command("apputils:change-theme", theme="JupyterLab Dark")
    page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")
    ground, ink = (
        first.locator(".course-quiz-option").first.evaluate(f"e => getComputedStyle({what}).{property}")
        for what, property in (
            ("e.closest('.jp-Notebook')", "backgroundColor"),
            ("e.querySelector('.widget-htmlmath-content')", "color"),
        )
    )
    assert sum(map(int, ink[4:-1].split(","))) - sum(map(int, ground[4:-1].split(",")[:3])) > 500, (ink, ground)
    lecture.screenshot("questions_dark")
