"""What the tests in a browser know of JupyterLab's page: a notebook that is open, and its cells."""

import os
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN_ALL_S = 900  # for a lecture, on a machine that runs other tests too
ANSWER_S = 20  # for a widget: far above what it takes, but a machine under test is slow
# The notebook in front, in JupyterLab's own objects; the state of its kernel.
CONTENT = "window.jupyterapp?.shell.currentWidget?.content"
KERNEL = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"


class Notebook:
    """A notebook open in JupyterLab."""

    def __init__(self, browser, lab, path):
        address, token = lab
        self.page = browser.new_page(viewport={"width": 1400, "height": 1000})
        self.page.goto(f"{address}/lab/tree/{path}?token={token}&reset")
        self.page.wait_for_function(f"() => {KERNEL} === 'idle'", timeout=90_000)
        self.page.locator(".jp-Notebook:visible").wait_for()

    def command(self, name, **arguments):
        self.page.evaluate("([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, arguments])

    def run_all(self):
        """Run › Run All Cells, by the menu; return when the last cell has run."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        deadline = time.monotonic() + RUN_ALL_S
        while waiting := [cell["id"] for cell in self.cells() if not cell["count"]]:
            assert time.monotonic() < deadline, f"still running after {RUN_ALL_S} s: {waiting}"
            self.page.wait_for_timeout(500)
        return self.cells()

    def cells(self):
        """Code cells of the notebook's model, also those that are out of view (JupyterLab draws only what is seen)."""
        return self.page.evaluate(
            f"""() => {CONTENT}.widgets.map(w => w.model).filter(m => m.type === 'code').map(m =>
                ({{id: m.id, count: m.executionCount, outputs: m.outputs.toJSON()}}))"""
        )

    def show(self, cell_id):
        """Scroll to a cell."""
        self.page.evaluate(
            f"""async id => {{
                const index = {CONTENT}.widgets.findIndex(w => w.model.id === id);
                {CONTENT.replace("?", "")}.activeCellIndex = index;
                await {CONTENT}.scrollToItem(index, 'start');
            }}""",
            cell_id,
        )
        self.page.wait_for_timeout(700)

    def screenshot(self, name):
        folder = Path(os.environ.get("COURSE_ARTIFACTS", ROOT / "artifacts"))
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png")


class Explorer:
    """A chain_explorer in the page."""

    def __init__(self, page):
        self.page = page
        self.text = page.locator("div[aria-live=polite]:visible").last
        self.text.wait_for(timeout=30_000)

    def slider(self, name):
        return self.page.locator(".widget-inline-hbox:visible", has_text=name).locator(".noUi-handle")

    def press(self, name, key, times=1):
        """Put the focus on a slider and press a key; return the new text and the seconds until it stood there."""
        before, started = self.text.inner_text(), time.monotonic()
        for _ in range(times):
            self.slider(name).press(key)
        while (now := self.text.inner_text()) == before:
            assert time.monotonic() - started < ANSWER_S, f"{name} moved, the text did not"
            time.sleep(0.005)
        return now, time.monotonic() - started

    def settled(self):
        """The text, once it has stopped changing."""
        now = self.text.inner_text()
        while True:
            time.sleep(1)
            if (later := self.text.inner_text()) == now:
                return now
            now = later


def complaints(cells):
    """What a cell wrote to stderr, and exceptions."""
    outputs = [(cell["id"], output) for cell in cells for output in cell["outputs"]]
    return [(name, o) for name, o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
