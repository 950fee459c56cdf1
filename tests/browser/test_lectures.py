"""Every lecture in the real JupyterLab: Run All ends without a complaint, and each live widget answers its keyboard.

A soak leaves screenshots of the widgets in both themes in artifacts/ (or, at any time, in $COURSE_ARTIFACTS). Lectures
00 and 01 are run in test_lab.py, which looks closer.
"""

import pytest
from pages import ROOT, complaints, move_each_widget

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LECTURES = [path.stem for path in sorted((ROOT / "lectures").glob("*.ipynb")) if path.name[:2] not in ("00", "01")]


@pytest.mark.parametrize("name", LECTURES)
def test_lecture_runs_and_its_widgets_answer(opened, name, tmp_path_factory):
    lecture = opened(f"lectures/{name}.ipynb")
    assert complaints(lecture.run_lecture(tmp_path_factory)) == []
    answers = move_each_widget(lecture, name)
    assert answers, "each lecture has a live widget"
    assert set(answers.values()) == {"answered"}, answers
