"""What works for the grader dies in the middle of it: nobody's mark is another for that."""

import os
import signal
import threading
import time

import psutil
import pytest
from kernels import ASK, check, run, said

from autograder.notes import Kind
from autograder.sandbox import provisioner, warm

from .conftest import named

pytestmark = pytest.mark.skipif(provisioner.missing() is not None, reason=str(provisioner.missing()))


def wait_for(found, seconds: float = 120):
    deadline = time.monotonic() + seconds
    while not (result := found()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return result


def test_a_warm_parent_that_dies_takes_nobodys_points():
    """Its kernels die with it, in the middle of a cell: the notebook runs again, in a kernel of its own."""
    parent = warm.Parent()
    dead = []

    def kill():
        root = psutil.Process(parent._process.pid)
        if wait_for(lambda: named(root, "sleep 2.75")):
            dead.extend(p.pid for p in root.children())
            os.kill(dead[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        asks = ASK + "import subprocess; subprocess.run(['sleep', '2.75']); ask('right')"
        result = run("x = 1", check("a", asks), "print(x)", exercises=["a"], warm=parent)
    finally:
        thread.join()
        parent.close()
    assert dead and parent.gone
    assert result.notes == [] and said(result) == "1\n"
    assert result.verdicts["check_a"].points == 2


SUICIDE = """import os, signal
for pid in (-1, 1, os.getppid() or 1):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
os._exit(1)
"""


def test_a_student_cannot_have_a_notebook_run_again():
    parent = warm.Parent()
    try:
        result = run(SUICIDE, warm=parent)
        assert result.notes[0].kind == Kind.DIED and not parent.gone
    finally:
        parent.close()
