"""What the benchmarks measured, with date, machine and command: for a lecture to show where it cannot run."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def load(name: str, folder: Path | None = None) -> dict[str, Any]:
    """What a benchmark has stored: "ladder" (benchmarks/ladder.py), "tales" (facts.py), "kinds" (labels.py),
    "race" (race.py), "contrast_NAME" (contrast.py).

    Raises:
        FileNotFoundError: there is none of this name; it says which there are.
    """
    folder = folder or FOLDER
    path = folder / f"{name}.json"
    if not path.is_file():
        there = ", ".join(sorted(path.stem for path in folder.glob("*.json"))) or "none yet"
        raise FileNotFoundError(f"nothing was measured for {name!r}: there are {there}")
    return json.loads(path.read_text(encoding="utf-8"))
