"""Every lecture in the real JupyterLab: Run All ends without a complaint, and each live widget answers its keyboard.

Screenshots of the widgets, in the light and the dark theme, go to artifacts/ (or $COURSE_ARTIFACTS). Lectures 00 and 01
are run in test_lab.py, which looks closer.
"""

import nbformat
import pytest
from pages import ROOT, Notebook, complaints, move_each_widget

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LECTURES = [path.stem for path in sorted((ROOT / "lectures").glob("*.ipynb")) if path.name[:2] not in ("00", "01")]

DEAD = """
import ipywidgets
from course_utils.show import widgets
explorer = widgets.Explorer(lambda a, b: f"{a} {b}", {name: ipywidgets.IntSlider(1) for name in "ab"})
explorer._controls["a"].unobserve_all()
explorer
"""
ALIVE = DEAD.replace(".unobserve_all()", "")
SPEECHLESS = DEAD.replace('f"{a} {b}"', "1 / 0")


@pytest.mark.parametrize("name", LECTURES)
def test_lecture_runs_and_its_widgets_answer(browser, lab, name):
    lecture = Notebook(browser, lab, f"lectures/{name}.ipynb")
    assert complaints(lecture.run_all()) == []
    answers = move_each_widget(lecture, name)
    assert answers, "each lecture has a live widget"
    assert set(answers.values()) == {"answered"}, answers
    lecture.close()


def test_a_dead_widget_is_found_out(browser, lab):
    """The test of the test: a widget that lives, one whose first control leads nowhere, one with nothing but errors."""
    cells = [nbformat.v4.new_code_cell(source) for source in (ALIVE, DEAD, SPEECHLESS)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, lab.root / "dead.ipynb")
    opened = Notebook(browser, lab, "dead.ipynb")
    opened.run_all()
    assert list(move_each_widget(opened, "dead").values()) == ["answered", "no answer", "an error"]
    opened.close()
