"""Tests that become other users: who can reach this Python even where it lies in root's home."""

import sys
from pathlib import Path


def reachable_python() -> list[str]:
    """A command that what follows it runs under: an empty home in place of a closed one, with Python in it."""
    home, base = Path.home(), Path(sys.base_prefix)
    options = ["bwrap", "--dev-bind", "/", "/"]
    if home in base.parents:
        options += ["--perms", "0755", "--tmpfs", str(home)]
        for folder in reversed([p for p in base.parents if home in p.parents]):
            options += ["--perms", "0755", "--dir", str(folder)]
        options += ["--ro-bind", str(base), str(base)]
    return options
