"""How much the tests try, and how long they wait.

`make test` tries what shows a fault soonest; `make test-all` (or COURSE_SOAK=1) tries all of it. Whoever waits for
something waits longer on a busy machine.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

SOAK = "COURSE_SOAK" in os.environ
OWN_LOAD = 2  # processes for each core that the tests keep busy by themselves


def often(times: int, soak: int) -> int:
    """How often something is repeated: so many times in `make test`, and so many in a soak."""
    return soak if SOAK else times


def some(number: int, values: Iterable[Any]) -> list[Any]:
    """Parameters of a test: so many of them, spread evenly, in `make test`, and all of them in a soak.

    Args:
        values: the parameters, a tuple where a test takes several; or name -> parameter.
    """
    named = list(values.items() if isinstance(values, Mapping) else ((None, value) for value in values))
    chosen = {round(i * len(named) / number) for i in range(number)}
    marks = [() if place in chosen else pytest.mark.soak for place in range(len(named))]
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), id=name, marks=mark)
        for (name, value), mark in zip(named, marks)
    ]


def patient(seconds: float) -> float:
    """The seconds to wait for something that takes less on a quiet machine; more where others use the cores, too."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0  # not on Windows
    return seconds * max(1.0, load / (OWN_LOAD * (os.cpu_count() or 1)))
