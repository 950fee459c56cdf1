"""Work that a student's data could drag out happens apart: in a process that ends when it has used what it may.

`pool`'s workers are such processes, and each can have others work for it. Elsewhere the same work is done on the spot.
"""

import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autograder.course import is_ours


class Exceeded(Exception):
    """The process that did the work was ended, since it used more than its bounds; says of what."""


@dataclass(frozen=True)
class Bounds:
    """What one call may use of a worker; None: as much as it likes.

    Attributes:
        wall_s: until its answer is there.
        cpu_s: of the worker's own processor time.
        memory_bytes: that it takes beside what it has loaded already.
    """

    wall_s: float | None = None
    cpu_s: float | None = None
    memory_bytes: int | None = None

    def __str__(self) -> str:
        parts = [
            f"{self.wall_s:.0f} s" if self.wall_s else "",
            f"{self.cpu_s:.0f} s of a processor" if self.cpu_s else "",
        ]
        parts += [f"{self.memory_bytes / 2**20:.0f} MiB" if self.memory_bytes else ""]
        return "took more than " + " or ".join(part for part in parts if part)


NO_BOUNDS = Bounds()
CROWD = 2  # processes for each processor, in the last minute
OURS = 3  # the exit code of a copy of this process that the grader's own places failed


elsewhere: Callable[..., Any] | None = None  # in a worker of `pool`: calls a function in another one, within bounds


def apart(function: Callable, *arguments: Any, bounds: Bounds) -> Any:
    """Call a function in a process that has bounds, where there can be one; else here, without any.

    Raises:
        Exceeded: it used more than its bounds.
    """
    return elsewhere(function, *arguments, bounds=bounds) if elsewhere else function(*arguments)


def crowded() -> bool:
    """Whether far more would run on this machine than it has processors for: then what is slow may not be to blame."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > CROWD * (os.cpu_count() or 1)


def bind(bounds: Bounds) -> None:
    """Keep this process to its bounds (the hard limits stay, so that they can be lifted)."""
    import resource  # not there on Windows

    with open("/proc/self/statm") as file:
        held = int(file.read().split()[5]) * resource.getpagesize()
    used = time.process_time()
    for limit, most in (
        (resource.RLIMIT_CPU, bounds.cpu_s and math.ceil(used + bounds.cpu_s)),
        (resource.RLIMIT_DATA, bounds.memory_bytes and held + bounds.memory_bytes),
    ):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (most or hard, hard))


def side_by_side(
    make: Callable[[list[str]], None],
    parts: list[list[str]],
    bounds: Callable[[list[str]], Bounds],
    at_once: int | None = None,
) -> list[list[str]]:
    """Call a function for each part, in copies of this process that have bounds; those for which it failed.

    A process with threads cannot be copied safely, and not every system can copy at all: then it happens here.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return [part for part in parts if not _works(make, part)]
    failed, waiting, running = [], list(parts), {}
    while waiting or running:
        while waiting and len(running) < (at_once or len(parts)):
            part = waiting.pop(0)
            if (pid := os.fork()) == 0:
                code = 1
                try:
                    bind(bounds(part))
                    make(part)
                    code = 0
                except Exception as error:
                    code = OURS if is_ours(error) else 1
                finally:
                    os._exit(code)
            running[os.pidfd_open(pid)] = pid, part, time.monotonic() + (bounds(part).wall_s or math.inf)
        soonest = min(end for _, _, end in running.values()) - time.monotonic()
        ended = select.select(list(running), [], [], max(0.0, min(soonest, 3600)))[0]
        for pidfd, (pid, part, end) in list(running.items()):
            if pidfd not in ended and time.monotonic() < end:
                continue
            if pidfd not in ended:
                os.kill(pid, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if code != 0 and not (code == OURS and _works(make, part)):  # here it says what is wrong
                failed.append(part)
            os.close(pidfd)
            del running[pidfd]
    return failed


def _works(make: Callable[[list[str]], None], part: list[str]) -> bool:
    try:
        make(part)
        return True
    except Exception as error:
        if is_ours(error):
            raise
        return False
