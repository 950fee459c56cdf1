"""The lectures as a person meets them: the real JupyterLab in a real browser.

Screenshots go to artifacts/ (or $COURSE_ARTIFACTS). JupyterLab works on a copy of the lectures, so its autosave never
touches the repository.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from course_utils.setup import lab_command

ROOT = Path(__file__).parents[2]
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RUN_ALL_S = 900  # for a lecture, on a machine that runs other tests too
ANSWER_S = 20  # for a widget: far above what it takes, but a machine under test is slow
# The notebook in front, in JupyterLab's own objects; the state of its kernel.
CONTENT = "window.jupyterapp?.shell.currentWidget?.content"
KERNEL = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
pytestmark = [pytest.mark.browser, pytest.mark.slow]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a running JupyterLab, started as `course lab` starts it, with its token in it."""
    root = tmp_path_factory.mktemp("course")
    for folder in ("lectures", "assignments"):
        if (ROOT / folder).exists():
            shutil.copytree(ROOT / folder, root / folder)
    port, token = free_port(), secrets.token_hex(16)
    command, _ = lab_command(["--no-browser", f"--port={port}", "--ServerApp.port_retries=0"], root=root)
    command += [f"--IdentityProvider.token={token}", "--LabApp.expose_app_in_browser=True"]
    log = (root / "jupyter.log").open("w")
    settings = {"JUPYTER_CONFIG_PATH": str(ROOT / "course_utils" / "jupyter")}
    process = subprocess.Popen(command, cwd=root, env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while not answers(f"{address}/api?token={token}"):
            said = (root / "jupyter.log").read_text()
            assert process.poll() is None, f"JupyterLab ended:\n{said}"
            assert time.monotonic() < deadline, f"JupyterLab does not answer:\n{said}"
            time.sleep(0.3)
        yield address, token
    finally:
        process.terminate()  # it ends its kernels
        process.wait(30)
        log.close()


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def browser():
    if not Path(CHROMIUM).exists():
        sentence = f"{CHROMIUM} is not installed: apt-get install chromium"
        pytest.fail(sentence) if os.environ.get("CI") else pytest.skip(sentence)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


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
