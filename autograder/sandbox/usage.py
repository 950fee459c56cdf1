"""What the processes of a sandbox use, as Linux counts it: also memory that is in no process, and shares of processors.

Where no cgroup counts for us, this does. What resident memory leaves out is taken at the most that it can be.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOCKET_BYTES = 2 * 212_992  # what one holds at most, sent and not yet read: Linux's default, which seccomp keeps
THREADS = 16  # a kernel's process has fewer; those of one that has more are looked at one by one
INODE_BYTES = 1200  # an empty file in a tmpfs, and its name
TICK_S = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01


@dataclass
class Usage:
    """Of all processes of a sandbox together.

    Attributes:
        resident_bytes: memory of the processes.
        kernel_bytes: what Linux holds for them beside that: page tables, what sockets may hold, files without content.
        cpu_s: processor time, of children that have ended and were waited for, too.
        running: processes that run, or wait for a processor; of one with many threads, these.
    """

    resident_bytes: int = 0
    kernel_bytes: int = 0
    cpu_s: float = 0.0
    running: int = 0
    processes: int = 0


def folders(first: int | None) -> list[str]:
    """The folders in /proc of all processes of a sandbox, as its own /proc lists them; none if it has not yet its own.

    All of this machine's would have to be looked through otherwise, several times a second.

    Args:
        first: a process in the sandbox.
    """
    own = f"/proc/{first}/root/proc"
    try:
        namespace = os.stat(f"/proc/{first}/ns/pid").st_ino
        if namespace == os.stat("/proc/self/ns/pid").st_ino or namespace != os.stat(f"{own}/1/ns/pid").st_ino:
            return []
        return [f"{own}/{name}" for name in os.listdir(own) if name.isdigit()]
    except OSError:
        return []


def busy(folders: list[str]) -> tuple[float, bool]:
    """Seconds of processor time that processes have used, and whether any of them would run if it could."""
    used, runs = 0.0, False
    for folder in folders:
        try:
            state, *numbers = _stat(folder)
        except (OSError, ValueError):
            continue
        used += sum(map(int, numbers[10:14])) * TICK_S
        runs |= state in "RDW"
    return used, runs


def measure(folders: list[str]) -> Usage:
    """What processes use, by their folders in /proc; those that have ended meanwhile are left out."""
    usage = Usage()
    for folder in folders:
        try:
            status = dict(_lines(f"{folder}/status"))
            state, *numbers = _stat(folder)
            resident, tables = _kib(status, "VmRSS"), _kib(status, "VmPTE")
        except (OSError, ValueError, IndexError):  # it ends while it is looked at
            continue
        usage.processes += 1
        usage.resident_bytes += resident
        usage.kernel_bytes += tables
        usage.cpu_s += sum(map(int, numbers[10:14])) * TICK_S
        usage.running += _running(folder) if int(numbers[16]) > THREADS else state == "R"
    for folder in folders:
        try:
            usage.kernel_bytes += _sockets(folder) + _inodes(folder)
            break  # it is the same for all
        except (OSError, ValueError, IndexError):  # it has ended, if nobody has waited for it yet
            pass
    return usage


def last(pids: list[int]) -> None:
    """Have these processes run only where nobody else wants to; what they start inherits it, and cannot undo it."""
    for pid in pids:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setscheduler(int(thread), os.SCHED_IDLE, os.sched_param(0))
        except OSError:
            pass


def _running(folder: str) -> int:
    """How many threads of a process run, or wait for a processor."""
    found = 0
    with contextlib.suppress(OSError, IndexError):  # it may end while it is looked at
        for thread in os.listdir(f"{folder}/task"):
            found += _stat(f"{folder}/task/{thread}")[0] == "R"
    return found


def _sockets(folder: str) -> int:
    """What the sockets of its network namespace may hold; those that are sent through others are among them."""
    if os.stat(f"{folder}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
        return 0  # it has only just started: those are this machine's
    used = int(_text(f"{folder}/net/sockstat").split()[2])
    queues = []
    for counts, table in (("sockstat", "tcp"), ("sockstat6", "tcp6")):
        path = f"{folder}/net/{counts}"  # the second is missing where there is no IPv6
        if os.path.exists(path) and any(int(v.split()[1]) for name, v in _lines(path) if name.startswith("TCP")):
            queues += [row.split()[4] for row in _text(f"{folder}/net/{table}").split("\n")[1:-1]]  # it takes its time
    return used * SOCKET_BYTES + sum(int(size, 16) for pair in queues for size in pair.split(":"))


def _inodes(folder: str) -> int:
    """Of its temporary folders."""
    found = 0
    for place in ("tmp", "dev/shm"):
        if os.stat(f"{folder}/root/{place}").st_dev == os.stat(f"/{place}").st_dev:
            continue  # it has only just started: that is this machine's
        status = os.statvfs(f"{folder}/root/{place}")
        found += (status.f_files - status.f_ffree) * INODE_BYTES
    return found


def _stat(folder: str) -> list[str]:
    """The state of a process, and the numbers that follow it."""
    return _text(f"{folder}/stat").rpartition(")")[2].split()


def _text(path: str) -> str:
    return Path(path).read_text(errors="replace")


def _lines(path: str) -> Iterator[tuple[str, str]]:
    for line in _text(path).splitlines():
        name, _, value = line.partition(":")
        yield name, value


def _kib(status: dict[str, str], name: str) -> int:
    return int(status.get(name, "0 kB").split()[0]) * 1024
