"""A kernel in a container that refuses namespaces and holds one hand-in, nothing else: Gradescope's, say.

What bubblewrap would hide, another user may not touch: processes, files and memory of the grader. `provisioner.py` does
this only where `COURSE_ALONE=1` says that it is enough; the README of the grader says what it guarantees.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

import course_utils
from autograder import temporary
from autograder.sandbox import seccomp

UNIX_ALONE = (1,)  # families of sockets: the network is the container's own
PATIENCE_S = 10.0


class Alone(subprocess.Popen):
    """The kernel's process; with it, or when it has ended, all processes of its user end."""

    def __init__(self, command: list[str], uid: int, room: temporary.Folder, **options: Any):
        self._uid, self._room, self._lock = uid, room, threading.Lock()
        super().__init__(command, **options)

    def first(self) -> None:
        """It has no /proc of its own, in which others could not be seen."""

    def processes(self) -> list[psutil.Process]:
        """Those of its user."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if self._uid in process.uids() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def poll(self) -> int | None:
        if (code := super().poll()) is not None:
            self._sweep()
        return code

    def kill(self) -> None:
        super().kill()  # it may not have become that user yet
        self._sweep()
        self.wait()

    def _sweep(self) -> None:
        with self._lock:  # the watchdog and who waits for the kernel both come here
            if not self._room.path.exists():
                return
            deadline = time.monotonic() + PATIENCE_S
            while (left := self.processes()) and time.monotonic() < deadline:
                # one signal to all, whatever they start meanwhile, as that user; and as root, whom nobody can end first
                subprocess.run(["/bin/sh", "-c", "kill -KILL -1"], user=self._uid, group=self._uid, extra_groups=[])
                for process in left:
                    with contextlib.suppress(psutil.Error):
                        process.send_signal(signal.SIGKILL)
            self._room.close()


def start(
    spec: dict[str, Any],
    folder: Path,
    judge: Path | None,
    files: Path | None,
    keep: list[int],
    environment: dict[str, str],
    stderr: int,
) -> Alone:
    """Start the kernel.

    Args:
        spec: as `inside.py` wants it.
        folder: with `kernel.json`.
        judge: folder with the judge's socket.
        files: of the submission.
        keep: file descriptors that it inherits.
    """
    room = temporary.Folder()
    place = room.path
    place.chmod(0o711)
    (place / "kernel").mkdir()
    if (folder / "kernel.json").exists():
        shutil.copy(folder / "kernel.json", place / "kernel")
    if (folder / "fonts").exists():
        shutil.copytree(folder / "fonts", place / "kernel" / "fonts")
    for path in (place / "kernel", *(place / "kernel").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for socket in judge.iterdir() if judge else ():
        os.link(socket, place / socket.name)
    spec = spec | {
        "place": str(place),
        "submission": str(files or ""),
        "code": str(Path(course_utils.__file__).parents[1]),
        "filter": seccomp.filter_program(families=UNIX_ALONE).hex(),
    }
    own = {"HOME": f"{place}/home", "IPYTHONDIR": f"{place}/home/.ipython", "COURSE_JUDGE": f"{place}/judge.sock"}
    own["COURSE_CACHE"] = f"{place}/home/.cache/course_utils"
    try:
        return Alone(
            [sys.executable, "-I", "-B", str(Path(__file__).with_name("alone_inside.py")), json.dumps(spec)],
            spec["uid"],
            room,
            env=environment | own,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=keep,
            start_new_session=True,
        )
    except OSError:
        room.close()
        raise
