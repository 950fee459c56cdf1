"""Nothing of a killed grader stays: what it left in temporary folders, the next one removes; its processes die with it.

Each folder is locked for as long as its maker lives (the system drops a dead process's locks), so that nothing depends
on clocks or on numbers of processes.
"""

import ctypes
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

try:
    import fcntl
except ImportError:  # Windows, where nothing is graded but one's own notebook is checked
    fcntl = None

PREFIX = "course-run-"
PR_SET_PDEATHSIG = 1
PART = re.compile(r"\..*\.(\d+)-\d+\.part")  # what `paths.replacing` writes first


class Folder:
    """A folder of this process, until `close`. Its path is short: those of unix sockets have at most 107 characters."""

    def __init__(self) -> None:
        sweep()
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_room()))
            self._lock = _locked(self.path, wait=True)
            if self._lock is not None or self.path.is_dir():  # without a lock where there are none
                return  # else a sweep came between the two lines

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


@contextmanager
def temporary_folder() -> Iterator[Path]:
    made = Folder()
    try:
        yield made.path
    finally:
        made.close()


@cache
def sweep() -> None:
    """Remove the folders of this user's dead graders (once in a process)."""
    if fcntl is None:
        return
    with os.scandir(_room() or tempfile.gettempdir()) as entries:
        found = [e.path for e in entries if e.name.startswith(PREFIX) and e.is_dir(follow_symlinks=False)]
    for path in found:
        with suppress(OSError):
            if os.lstat(path).st_uid == os.geteuid() and (lock := _locked(Path(path), wait=False)) is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def remove_parts(*folders: Path) -> None:
    """Remove files that a process which has ended was still writing."""
    for folder in folders:
        for path in folder.glob(".*.part"):
            if (found := PART.fullmatch(path.name)) and not psutil.pid_exists(int(found[1])):
                path.unlink(missing_ok=True)


def end_with_parent() -> None:
    """From now on, this process dies with the one that started it, however that ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _room() -> str | None:
    """Not TMPDIR, whose path can be long."""
    return "/tmp" if os.path.isdir("/tmp") else None


def _locked(path: Path, wait: bool) -> int | None:
    """A descriptor that holds the folder's lock; None if another has it, or the folder has gone."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
