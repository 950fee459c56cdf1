"""Where what the benchmarks measured is kept: JSON with the date, the machine and the command, for lectures to show."""

import json
import platform
import sys
import time
from pathlib import Path

from course_utils.paths import write
from course_utils.results import FOLDER

__all__ = ["FOLDER", "store"]


def machine() -> str:
    """Return the processor's name, how many threads are used, and torch's version."""
    import torch

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} thread, torch {torch.__version__}"


def rounded(found):
    """Return the same with five digits behind the point: none is known better."""
    if isinstance(found, dict):
        return {key: rounded(value) for key, value in found.items()}
    if isinstance(found, list):
        return [rounded(value) for value in found]
    return round(found, 5) if isinstance(found, float) else found


def store(path: Path, found: dict, seconds: float) -> Path:
    """Write a result, whole or not at all. seconds: processor time."""
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "processor_seconds": round(seconds),
    }
    write(path, json.dumps(about | rounded(found), indent=1, ensure_ascii=False) + "\n")
    return path
