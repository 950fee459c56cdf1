"""Work that a student's data could drag out happens apart: in a process that ends when it has used what it may.

`pool`'s workers are such processes, and each can have others work for it. Elsewhere the same work is done on the spot.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


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


elsewhere: Callable[..., Any] | None = None  # in a worker of `pool`: calls a function in another one, within bounds


def apart(function: Callable, *arguments: Any, bounds: Bounds) -> Any:
    """Call a function in a process that has bounds, where there can be one; else here, without any.

    Raises:
        Exceeded: it used more than its bounds.
    """
    return elsewhere(function, *arguments, bounds=bounds) if elsewhere else function(*arguments)


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
