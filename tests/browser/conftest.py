"""What the tests in a browser share: the real JupyterLab, started as `course lab` starts it, and Chromium.

JupyterLab works on a copy of the notebooks, so its autosave never touches the repository.
"""

import os
from pathlib import Path

import pytest
from pages import CHROMIUM, Notebook, chromium, running_lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A running JupyterLab for all tests of this process: its address, its token, and the folder that it shows."""
    with running_lab(tmp_path_factory.mktemp("course")) as lab:
        yield lab


@pytest.fixture(scope="module")  # while it is open, no other test can run a loop of asyncio
def browser():
    if not Path(CHROMIUM).exists():
        sentence = f"{CHROMIUM} is not installed: apt-get install chromium"
        pytest.fail(sentence) if os.environ.get("CI") else pytest.skip(sentence)
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def opened(browser, lab):
    """Opens a notebook, in the place of the one that was opened before."""
    notebooks = []

    def open_notebook(path):
        if notebooks:
            notebooks[0].change_to(path)
        else:
            notebooks.append(Notebook(browser, lab, path))
        return notebooks[0]

    yield open_notebook
    for notebook in notebooks:
        notebook.close()
