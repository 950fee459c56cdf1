"""kill -9 at any moment, then the same command again: nothing is lost, nothing is left, the marks are the same."""

import os
import random
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from effort import patient, some

from autograder import temporary
from autograder.course import Course

from .conftest import NAME, TIMES, differences, named, written

pytestmark = pytest.mark.slow
HOW = ("grader", "group")
PARTS = min(4, TIMES)  # of a run


def kill(grader: psutil.Process, how: str) -> tuple[list[psutil.Process], list[str]]:
    """End it as nothing can be ended more rudely; the processes and the temporary folders that it had."""
    children, folders = [], []
    with suppress(psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError):  # it had ended by itself
        grader.suspend()  # so that what is listed is all there is
        deadline = time.monotonic() + 5
        while grader.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
            time.sleep(0.001)
        children = grader.children(recursive=True)
        descriptors = Path(f"/proc/{grader.pid}/fd")
        folders = [target for d in descriptors.iterdir() if temporary.PREFIX in (target := os.readlink(d))]
        (os.killpg if how == "group" else os.kill)(grader.pid, signal.SIGKILL)
    return children, folders


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=patient(30))
    return not alive


@pytest.mark.parametrize("number", range(TIMES))
def test_a_killed_run_goes_on_to_the_same_marks(number, released, commands, undisturbed, tmp_path):
    expected, seconds = undisturbed
    course = Course(shutil.copytree(released, tmp_path / "course"))
    chance = random.Random(f"moment {number}")
    kills = chance.choice([1, 1, 2])
    left: list[str] = []
    for attempt in range(20):  # a moment after its end does not count
        grader = commands.start(course, "grade", NAME)
        # stratified: over all moments of a proof, each part of a run is met
        moment = (number % PARTS + chance.random()) / PARTS if attempt == 0 else chance.random()
        time.sleep(moment * seconds)
        children, folders = kill(grader, HOW[number % 2])
        killed = commands.wait() == -signal.SIGKILL
        assert gone(children), "kernels, their sandboxes or the warm parent outlived the grader"
        left += folders
        kills -= killed
        if not kills:
            break
    said = commands.run(course, "grade", NAME)
    assert "[4/4]" in said
    assert not differences(written(course), expected)
    assert not [folder for folder in left if os.path.exists(folder)]
    assert not list(course.root.rglob("*.part"))
    print(f"killed ({HOW[number % 2]}), {len(children)} processes and {len(left)} folders were there")


@pytest.mark.parametrize("victim", some(1, ["autograder.run.pool", "parent.py"]))
def test_a_run_whose_workers_are_killed_gives_the_same_marks(course, commands, undisturbed, victim):
    grader = commands.start(course, "grade", NAME)
    deadline = time.monotonic() + 0.5 * undisturbed[1]
    killed = 0
    while time.monotonic() < deadline and killed < 2:
        for process in named(grader, victim)[-1:]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
                killed += 1
        time.sleep(undisturbed[1] / 10)
    if commands.wait():  # what was lost was lost before the first notebook
        assert "run the same command again" in commands.said()
        commands.run(course, "grade", NAME)
    assert not differences(written(course), undisturbed[0])
    assert killed


def test_only_what_is_dead_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(temporary, "_room", lambda: str(tmp_path))
    monkeypatch.setattr(temporary, "sweep", temporary.sweep.__wrapped__)
    (tmp_path / "precious").mkdir()
    (tmp_path / f"{temporary.PREFIX}link").symlink_to(tmp_path / "precious")
    (tmp_path / f"{temporary.PREFIX}file").touch()
    (tmp_path / f"{temporary.PREFIX}dead").mkdir()
    alive = temporary.Folder()
    with temporary.temporary_folder() as other:
        assert alive.path.is_dir() and other.is_dir()
    assert sorted(p.name.removeprefix(temporary.PREFIX) for p in tmp_path.iterdir() if p != alive.path) == [
        "file",
        "link",
        "precious",
    ]
    alive.close()
    assert not alive.path.exists()


def test_parts_of_dead_processes_alone_are_removed(tmp_path):
    dead = max(psutil.pids()) + 10_000_000
    for name in (f".a.{dead}-1.part", f".b.{os.getpid()}-1.part", ".c.part", f"d.{dead}-1.part"):
        (tmp_path / name).touch()
    temporary.remove_parts(tmp_path, tmp_path / "nothing")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [f".b.{os.getpid()}-1.part", ".c.part", f"d.{dead}-1.part"]
    )
