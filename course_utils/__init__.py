"""What lectures and students import."""

from importlib import import_module
from types import ModuleType

MOVED = ("doctor", "progress")  # what older copies of the home notebook import from here


def __getattr__(name: str) -> ModuleType:
    if name in MOVED:
        return import_module(f"course_utils.command.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
