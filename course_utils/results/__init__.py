"""What the benchmarks measured, with date, machine and command: for a lecture to show where it cannot run."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def load(name: str) -> dict[str, Any]:
    """Return what a benchmark has stored: "ladder" (benchmarks/ladder.py), "tales" (facts.py), "kinds" (labels.py).

    Raises FileNotFoundError, saying which there are, for another name.
    """
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        there = ", ".join(sorted(path.stem for path in FOLDER.glob("*.json"))) or "none yet"
        raise FileNotFoundError(f"nothing was measured for {name!r}: there are {there}")
    return json.loads(path.read_text(encoding="utf-8"))
