"""Tests that become other users: who can reach this Python even where it, or the course, lies in a closed folder."""

import stat
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def reachable_python() -> list[str]:
    """A command that what follows it runs under: closed folders are empty there, but for Python and the course."""
    needed = [Path(sys.base_prefix).resolve(), ROOT]
    closed = {place: top for place in needed if (top := _closed(place))}
    options = ["bwrap", "--dev-bind", "/", "/"]
    for top in sorted(set(closed.values())):
        options += ["--perms", "0755", "--tmpfs", str(top)]
    for place, top in closed.items():
        for folder in reversed([p for p in place.parents if top in p.parents]):
            options += ["--perms", "0755", "--dir", str(folder)]
        options += ["--bind", str(place), str(place)]
    return options


def _closed(place: Path) -> Path | None:
    """The outermost folder around a place that others may not enter."""
    return next((p for p in reversed(place.parents) if not p.stat().st_mode & stat.S_IXOTH), None)
