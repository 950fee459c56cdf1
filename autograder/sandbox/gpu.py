"""A GPU for students' code: which device files the sandbox shows, and how much of its memory each submission uses.

A submission's share of the memory is kept twice: by torch's allocator, set before the student's first line, so that
too much is an ordinary `OutOfMemoryError` there; and from outside, by what the driver says of each process, since what
is set inside can be unset inside.
"""

import os
import re
import shutil
import subprocess
import threading
import time
from functools import cache
from pathlib import Path

FOLDER = Path("/dev")
CONTROL = ("nvidiactl", "nvidia-uvm")  # what CUDA opens beside the GPU itself
CONTEXT_BYTES = 1024 * 2**20  # of a process's driver state and kernels, which torch's allocator does not count
LOOK_S = 0.5  # one look at the driver serves all submissions for so long
PATIENCE_S = 10


def device_files() -> list[str]:
    """The files of one GPU: the first that `CUDA_VISIBLE_DEVICES` names by its number, else the first there is."""
    numbers = sorted(int(m[1]) for p in FOLDER.glob("nvidia*") if (m := re.fullmatch(r"nvidia(\d+)", p.name)))
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if wanted.isdigit():
        numbers = [n for n in numbers if n == int(wanted)]
    if not numbers:
        return []
    return [str(FOLDER / name) for name in (f"nvidia{numbers[0]}", *CONTROL) if (FOLDER / name).exists()]


@cache
def missing() -> str | None:
    """None if students' code can use a GPU here; else what to do about it."""
    files = [Path(path).name for path in device_files()]
    if not files or "nvidiactl" not in files:
        return (
            f"there is no NVIDIA GPU here ({FOLDER}/nvidia0 and {FOLDER}/nvidiactl): grade with --device cpu, "
            "or on a machine that has one"
        )
    if not shutil.which("nvidia-smi"):
        return (
            "nvidia-smi is missing, which says how much of the GPU's memory each process uses: install it with the "
            "driver, or grade with --device cpu"
        )
    try:
        total_bytes()
        _ask("--query-compute-apps=pid,used_memory")
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return f"nvidia-smi does not answer ({error}): put the GPU's driver right, or grade with --device cpu"
    return None


@cache
def total_bytes() -> int:
    """The memory of the GPU that is used."""
    number = re.sub(r"\D", "", Path(device_files()[0]).name)
    return int(_ask("--query-gpu=memory.total", f"--id={number}").split()[0]) * 2**20


def crowded(workers: int, share_bytes: int) -> str | None:
    """What to do where the shares of all notebooks that run at the same time are more than the GPU has."""
    share, total = share_bytes + CONTEXT_BYTES, total_bytes()
    if workers == 1 or workers * share <= total:
        return None
    needed, there = (f"{n / 2**20:.0f} MiB" for n in (workers * share, total))
    return (
        f"{workers} notebooks at a time take up to {needed} of the GPU's memory, which has {there}: "
        f"say --workers {max(1, total // share)}"
    )


def _ask(*query: str) -> str:
    command = ["nvidia-smi", *query, "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout


class _Driver:
    """What the driver says, asked anew when the last answer is older than `LOOK_S`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = -LOOK_S
        self._used: dict[int, float] = {}

    def used(self) -> dict[int, float]:
        """Bytes by process; infinite where the driver does not say."""
        with self._lock:
            if time.monotonic() - self._asked >= LOOK_S:
                found: dict[int, float] = {}
                for line in _ask("--query-compute-apps=pid,used_memory").splitlines():
                    pid, _, mebibytes = line.partition(",")
                    if pid.strip().isdigit():
                        known = float(mebibytes) * 2**20 if mebibytes.strip().isdigit() else float("inf")
                        found[int(pid)] = found.get(int(pid), 0) + known
                self._used, self._asked = found, time.monotonic()
            return self._used


_driver = _Driver()


def used_bytes(pids: list[int]) -> float:
    """GPU memory of these processes together.

    Raises:
        OSError, subprocess.SubprocessError: the driver does not answer.
    """
    used = _driver.used()
    return sum(used.get(pid, 0) for pid in pids)
