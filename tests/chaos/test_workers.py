"""What works for the grader dies in the middle of it: nobody's mark is another for that."""

import contextlib
import os
import signal
import threading
import time

import psutil
import pytest
from effort import some
from kernels import ASK, check, run, said

from autograder.notes import Kind
from autograder.sandbox import provisioner, warm

from .conftest import NAME, differences, written

pytestmark = pytest.mark.skipif(provisioner.missing() is not None, reason=str(provisioner.missing()))


def wait_for(found, seconds: float = 120):
    deadline = time.monotonic() + seconds
    while not (result := found()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return result


def named(process: psutil.Process, text: str) -> list[psutil.Process]:
    """Its descendants whose command line has the text; none where it has ended."""
    found, children = [], []
    with contextlib.suppress(psutil.NoSuchProcess):
        children = process.children(recursive=True)
    for child in children:
        try:
            if text in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


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


@pytest.mark.slow
@pytest.mark.parametrize("victim", some(1, ["autograder.run.pool", "parent.py"]))
def test_a_run_whose_workers_are_killed_gives_the_same_marks(course, commands, undisturbed, victim):
    grader = commands.start(course, "grade", NAME)
    deadline = time.monotonic() + 0.5 * undisturbed[1]
    killed = 0
    while time.monotonic() < deadline and killed < 2:
        for process in named(grader, victim)[-1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                killed += 1
        time.sleep(undisturbed[1] / 10)
    if commands.wait():  # what was lost was lost before the first notebook
        assert "run the same command again" in commands.said()
        commands.run(course, "grade", NAME)
    assert not differences(written(course), undisturbed[0])
    assert killed
