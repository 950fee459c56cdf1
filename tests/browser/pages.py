"""JupyterLab in Chromium: how both are started, a notebook that is open, its cells, and the live widgets in them."""

import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.request
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

import lecture_runs
import nbformat
from effort import SOAK, patient

from course_utils.command.lab import lab_command

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
RUN_ALL_S = 840  # for a lecture, where other tests run, too
ANSWER_S = 20  # for a widget: far above what it takes
# The notebook in front, in JupyterLab's own objects; the state of its kernel.
CONTENT = "window.jupyterapp?.shell.currentWidget?.content"
KERNEL = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
# Ids of the code cells that have not run yet; none once one has failed: those below it do not run.
WAITING = f"""() => {{
    const code = {CONTENT}.widgets.map(w => w.model).filter(m => m.type === 'code');
    const failed = m => [...Array(m.outputs.length).keys()].some(i => m.outputs.get(i).type === 'error');
    return code.some(failed) ? [] : code.filter(m => !m.executionCount).map(m => m.id);
}}"""

# Ends the kernel of the notebook in front, and closes it unsaved, once another is open.
CHANGE_TO = """async path => {
    const app = window.jupyterapp, before = app.shell.currentWidget;
    await before.sessionContext.shutdown();
    const widget = await app.commands.execute('docmanager:open', {path});
    before.dispose();
    await widget.context.ready;
    await widget.revealed;
}"""


Lab = namedtuple("Lab", "address token root")  # its address, its token, and the folder that it shows


def wait_ms(seconds):
    """Milliseconds to wait, as Playwright wants them, for what takes less on a quiet machine."""
    return 1000 * patient(seconds)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


@contextmanager
def running_lab(root):
    """A JupyterLab, as `course lab` starts it, in the folder `root`, on its notebooks or else on copies of ours."""
    for folder in ("lectures", "assignments"):
        if not (root / folder).exists():
            shutil.copytree(ROOT / folder, root / folder)
    port, token = free_port(), secrets.token_hex(16)
    command, _ = lab_command(["--no-browser", f"--port={port}", "--ServerApp.port_retries=0"], root=root)
    command += [f"--IdentityProvider.token={token}", "--LabApp.expose_app_in_browser=True"]
    command += ["--JupyterNotebookApp.expose_app_in_browser=True"]
    log = (root / "jupyter.log").open("w")
    settings = lecture_runs.offline(root / "kernels") | {
        "JUPYTER_CONFIG_PATH": str(ROOT / "course_utils" / "command" / "jupyter")
    }
    process = subprocess.Popen(command, cwd=root, env=settings, stdout=log, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + patient(120)
        while not answers(f"{address}/api?token={token}"):
            said = (root / "jupyter.log").read_text()
            assert process.poll() is None, f"JupyterLab ended:\n{said}"
            assert time.monotonic() < deadline, f"JupyterLab does not answer:\n{said}"
            time.sleep(0.3)
        yield Lab(address, token, root)
    finally:
        process.terminate()  # it ends its kernels
        process.wait(patient(120))
        log.close()


@contextmanager
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


def watched(context):
    """A new page, the addresses that it asks for from elsewhere, and what goes wrong in it; both lists grow."""
    page = context.new_page()
    page.set_default_timeout(wait_ms(120))
    elsewhere, errors = [], []
    here = ("file:", "data:", "blob:")
    page.on("request", lambda request: request.url.startswith(here) or elsewhere.append(request.url))
    page.on("requestfailed", lambda request: errors.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    return page, elsewhere, errors


class Notebook:
    """A notebook open in JupyterLab, or in Notebook 7 (`app="notebooks"`)."""

    def __init__(self, browser, lab, path, app="lab/tree"):
        self.root, self.file = lab.root, lab.root / path
        self.page = browser.new_page(viewport={"width": 1400, "height": 1000})
        self.page.goto(f"{lab.address}/{app}/{path}?token={lab.token}&reset", timeout=wait_ms(90))
        self.wait_for_kernel()
        self.page.locator(".jp-Notebook:visible").wait_for()

    def change_to(self, path):
        """Open another notebook in this one's place: JupyterLab, which takes seconds to load, stays as it is."""
        self.page.evaluate(CHANGE_TO, path)
        shown = "path => window.jupyterapp.shell.currentWidget?.context?.path === path"
        self.page.wait_for_function(shown, arg=path, timeout=wait_ms(90))
        self.file = self.root / path
        self.wait_for_kernel()
        self.page.locator(".jp-Notebook:visible").wait_for()

    def wait_for_kernel(self):
        self.page.wait_for_function(f"() => {KERNEL} === 'idle'", timeout=wait_ms(90))

    def command(self, name, **arguments):
        self.page.evaluate("([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, arguments])

    def run_all(self):
        """Run › Run All Cells, by the menu; return when the last cell has run, or one has failed."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        deadline = time.monotonic() + patient(RUN_ALL_S)
        while waiting := self.page.evaluate(WAITING):
            assert time.monotonic() < deadline, f"still running after {RUN_ALL_S} s: {waiting}"
            self.page.wait_for_timeout(500)
        return self.cells()

    def run_lecture(self, tmp_path_factory):
        """As `run_all`, and leave what came out to the tests that read it."""
        with lecture_runs.elsewhere(ROOT / "lectures" / self.file.name, tmp_path_factory) as leave:
            cells = self.run_all()
            if not complaints(cells):
                self.save()
                leave(nbformat.read(self.file, as_version=4), float(self.said(lecture_runs.PROCESSOR_SECONDS)))
        return cells

    def said(self, code):
        """What the kernel prints for some code that stands in no cell."""
        return self.page.evaluate(
            """async code => {
                const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const future = kernel.requestExecute({code, store_history: false});
                let said = '';
                future.onIOPub = m => { if (m.header.msg_type === 'stream') said += m.content.text; };
                await future.done;
                return said;
            }""",
            code,
        )

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
                {CONTENT.replace("?", "")}.widgets[index].node.dataset.id = id;
                await {CONTENT}.scrollToItem(index, 'start');
            }}""",
            cell_id,
        )
        self.page.wait_for_timeout(700)

    def theme(self, name):
        """Change to JupyterLab's "Light" or "Dark" theme."""
        self.command("apputils:change-theme", theme=f"JupyterLab {name}")
        self.page.locator(f"body[data-jp-theme-light={str(name == 'Light').lower()}]").wait_for(state="attached")
        self.page.wait_for_timeout(500)  # the style sheet is fetched

    def view(self, *names):
        """Choose from the View menu: an item, or a menu in it and an item of that."""
        self.page.get_by_role("menuitem", name="View", exact=True).click()
        for name in names:
            self.page.locator(".lm-Menu-itemLabel").get_by_text(name, exact=True).click()
        self.page.wait_for_timeout(700)  # the notebook is laid out anew

    def save(self):
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")

    def restart(self):
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")

    def close(self):
        """End the notebook's kernel and close the page."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.page.close()

    def widgets(self):
        """Ids of the cells that show an Explorer (its HTML says so), by the model."""
        found = [(cell["id"], output.get("data", {})) for cell in self.cells() for output in cell["outputs"]]
        return [cell_id for cell_id, data in found if 'class="course-still"' in "".join(data.get("text/html", ""))]

    def widget(self, cell_id):
        """The live widget in a cell."""
        self.show(cell_id)
        return Widget(self.page, cell_id)

    def screenshot(self, name):
        """A picture for people to look at: in a soak, or where $COURSE_ARTIFACTS asks for it."""
        if not (SOAK or "COURSE_ARTIFACTS" in os.environ):
            return
        folder = Path(os.environ.get("COURSE_ARTIFACTS", ROOT / "artifacts"))
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png")


# Watches one widget: when a key went down, and when what the widget shows had been drawn anew (first, and for good).
WATCH = """root => {
    const result = root.querySelector('.course-result');
    const seen = root.seen = {key: null, first: null, last: null, changed: null};
    const drawn = new MessageChannel();
    drawn.port1.onmessage = () => { seen.last = performance.now(); seen.first ??= seen.last; };
    root.addEventListener('keydown', event => { seen.key ??= event.timeStamp; }, {capture: true});
    new MutationObserver(async () => {
        seen.changed = performance.now();
        await Promise.all([...result.querySelectorAll('img')].map(image => image.decode().catch(() => 0)));
        requestAnimationFrame(() => drawn.port2.postMessage(0));  // the message comes after the frame was drawn
    }).observe(result, {childList: true, subtree: true, characterData: true, attributes: true});
}"""
# Returns once nothing has changed for `quiet` ms; null if nothing changes within `wait` ms.
SETTLED = """async (root, [quiet, wait]) => {
    const started = performance.now(), seen = root.seen;
    while (true) {
        await new Promise(done => setTimeout(done, 50));
        const now = performance.now();
        if (seen.changed === null && now - started > wait) return null;
        if (seen.last !== null && seen.last >= seen.changed && now - seen.changed > quiet)
            return {first: seen.first - seen.key, last: seen.last - seen.key};
    }
}"""
CONTROLS = ".noUi-handle, input, select, textarea, button"


class Widget:
    """An Explorer in the page: its controls are moved by keyboard, and the seconds are taken inside the page."""

    def __init__(self, page, cell_id):
        self.page = page
        self.root = page.locator(f'[data-id="{cell_id}"] .course-explorer')
        self.root.wait_for(timeout=wait_ms(30))
        self.root.scroll_into_view_if_needed()
        self.root.evaluate(WATCH)
        self.up = self.down = True

    @property
    def text(self):
        return self.root.locator(".course-result").inner_text()

    @property
    def shown(self):
        """What stands there with its pictures: they may be all that changes."""
        return self.root.locator(".course-result").inner_html()

    def controls(self):
        """All that takes the keyboard's focus and is in sight, in the order of the page, with its name."""
        found = [one for one in self.root.locator(CONTROLS).all() if one.is_visible() and one.is_enabled()]
        return {f"{number} {self.name(control)}": control for number, control in enumerate(found)}

    @staticmethod
    def name(control):
        return control.evaluate(
            """control => {
                const box = control.closest('.jupyter-widgets'), label = box.querySelector('label');
                return (label?.innerText || control.innerText || control.type || 'slider').trim().slice(0, 30);
            }"""
        )

    def by_tab(self):
        """Whether the Tab key leads from the first control to all the others, in order, and nowhere else between."""
        controls = list(self.controls().values())
        controls[0].focus()
        for control in controls[1:]:
            while not control.evaluate("control => control === document.activeElement"):
                self.page.keyboard.press("Tab")
                if not self.root.evaluate("root => root.contains(document.activeElement)"):
                    return False
        return True

    def settled(self, quiet=400, wait=3000):
        """Milliseconds from the key to the first and to the last change that it made, or None."""
        return self.root.evaluate(SETTLED, [quiet, patient(wait)])

    def press(self, control, *keys, wait=3000):
        """Press keys on a control; the last of them is the one that counts. Returns as `settled` does."""
        control.focus()
        for key in keys[:-1]:
            self.page.keyboard.press(key)
        forget = "root => Object.assign(root.seen, {key: null, first: null, last: null, changed: null})"
        self.root.evaluate(forget)
        self.page.keyboard.press(keys[-1])
        return self.settled(wait=wait)

    def keys(self, control, number):
        """The keys that change a control for the time `number`: there and back again, and to where there is room."""
        kind = control.evaluate(
            "c => c.tagName === 'INPUT' ? c.type : c.matches('.noUi-handle') ? 'slider' : c.tagName.toLowerCase()"
        )
        if kind == "slider":
            now, least, most = (float(control.get_attribute(f"aria-value{name}")) for name in ("now", "min", "max"))
            up = now - least <= most - now if number == 0 else None
            self.up = self.up if up is None else up
            if now >= most or now <= least:
                self.up = now <= least
            return ["ArrowRight" if self.up else "ArrowLeft"]
        if kind == "select":
            at, count = control.evaluate("c => [c.selectedIndex, c.options.length]")
            if at in (0, count - 1):
                self.down = at == 0
            return ["ArrowDown" if self.down else "ArrowUp"]
        if kind in ("button", "checkbox"):
            return ["Space"]
        value = control.input_value()
        typed = ["Home", "Delete", "End", value[0]] if value.isdigit() else ["End", "abcde"[number % 5]]
        return typed if self.while_typing(control) else [*typed, "Tab" if kind == "textarea" else "Enter"]

    def while_typing(self, control):
        """Whether a text field is answered at each letter (else at Enter, or when it is left)."""
        return control.evaluate("control => Boolean(control.closest('.course-while-typing'))")


def notebook_of(*sources):
    """A notebook with these code cells."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def complaints(cells):
    """What a cell wrote to stderr, and exceptions."""
    outputs = [(cell["id"], output) for cell in cells for output in cell["outputs"]]
    return [(name, o) for name, o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]


def move_each_widget(notebook, name):
    """Moves the first control of each widget by keyboard; takes pictures of them all, in a soak in the dark, too.

    Returns {cell id: "answered", "no answer" or "an error"}, of the result after the move.
    """
    found = {}
    for cell_id in notebook.widgets():
        widget = notebook.widget(cell_id)
        control = next(iter(widget.controls().values()))
        before = widget.shown
        answer = widget.press(control, *widget.keys(control, 0), wait=1000 * ANSWER_S)
        if widget.root.locator("[role=alert]").count():
            found[cell_id] = "an error"
        else:
            found[cell_id] = "answered" if answer and widget.shown != before else "no answer"
        notebook.screenshot(f"{name}_{cell_id}")
    if SOAK:
        notebook.theme("Dark")
        for cell_id in found:
            notebook.show(cell_id)
            notebook.screenshot(f"{name}_{cell_id}_dark")
        notebook.theme("Light")
    return found
