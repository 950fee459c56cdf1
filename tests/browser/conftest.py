"""What the tests in a browser share: the real JupyterLab, started as `course lab` starts it, and Chromium.

JupyterLab works on a copy of the notebooks, so its autosave never touches the repository.
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
