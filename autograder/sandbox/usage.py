"""What the processes of a sandbox use, as Linux counts it: also memory that is in no process, and shares of processors.

Where no cgroup counts for us, this does. What resident memory leaves out is taken at the most that it can be.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOCKET_BYTES = 2 * 212_992  # what one holds at most, sent and not yet read: Linux's default, which seccomp keeps
INODE_BYTES = 1200  # an empty file in a tmpfs, and its name
TICK_S = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01


@dataclass
class Usage:
    """Of all processes of a sandbox together.

    Attributes:
        resident_bytes: memory of the processes.
        kernel_bytes: what Linux holds for them beside that: page tables, what sockets may hold, files without content.
        cpu_s: processor time, of children that have ended and were waited for, too.
        running: processes that run, or wait for a processor.
    """

    resident_bytes: int = 0
    kernel_bytes: int = 0
    cpu_s: float = 0.0
    running: int = 0
    processes: int = 0


def measure(pids: list[int]) -> Usage:
    """What these processes use; those that have ended meanwhile are left out."""
    usage = Usage()
    for pid in pids:
        try:
            status = dict(_lines(f"/proc/{pid}/status"))
            state, *numbers = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
            resident, tables = _kib(status, "VmRSS"), _kib(status, "VmPTE")
        except (OSError, ValueError, IndexError):  # it ends while it is looked at
            continue
        usage.processes += 1
        usage.resident_bytes += resident
        usage.kernel_bytes += tables
        usage.cpu_s += sum(map(int, numbers[10:14])) * TICK_S
        usage.running += state == "R"
    if pids:
        usage.kernel_bytes += _sockets(pids[-1]) + _inodes(pids[-1])
    return usage


def last(pids: list[int]) -> None:
    """Have these processes run only where nobody else wants to; what they start inherits it, and cannot undo it."""
    for pid in pids:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setscheduler(int(thread), os.SCHED_IDLE, os.sched_param(0))
        except OSError:
            pass


def _sockets(pid: int) -> int:
    """What the sockets of its network namespace may hold; those that are sent through others are among them."""
    try:
        if os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
            return 0  # it has only just started: those are this machine's
        used = int(_text(f"/proc/{pid}/net/sockstat").split()[2])
        queues = [
            row.split()[4] for name in ("tcp", "tcp6") for row in _text(f"/proc/{pid}/net/{name}").split("\n")[1:-1]
        ]
    except (OSError, IndexError, ValueError):
        return 0
    return used * SOCKET_BYTES + sum(int(size, 16) for pair in queues for size in pair.split(":"))


def _inodes(pid: int) -> int:
    """Of its temporary folders."""
    found = 0
    for folder in ("tmp", "dev/shm"):
        try:
            if os.stat(f"/proc/{pid}/root/{folder}").st_dev == os.stat(f"/{folder}").st_dev:
                continue  # it has only just started: that is this machine's
            status = os.statvfs(f"/proc/{pid}/root/{folder}")
            found += (status.f_files - status.f_ffree) * INODE_BYTES
        except OSError:
            pass
    return found


def _text(path: str) -> str:
    return Path(path).read_text(errors="replace")


def _lines(path: str) -> Iterator[tuple[str, str]]:
    for line in _text(path).splitlines():
        name, _, value = line.partition(":")
        yield name, value


def _kib(status: dict[str, str], name: str) -> int:
    return int(status.get(name, "0 kB").split()[0]) * 1024
