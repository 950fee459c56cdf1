"""How much the tests try, and how long they wait.

`make test` tries what shows a fault soonest; `make test-all` (or COURSE_SOAK=1) tries all of it. Whoever waits for
something waits longer on a busy machine.
"""

import os

SOAK = "COURSE_SOAK" in os.environ
OWN_LOAD = 2  # processes for each core that the tests keep busy by themselves


def often(times: int, soak: int) -> int:
    """How often something is repeated: so many times in `make test`, and so many in a soak."""
    return soak if SOAK else times


def patient(seconds: float) -> float:
    """The seconds to wait for something that takes less on a quiet machine; more where others use the cores, too."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0  # not on Windows
    return seconds * max(1.0, load / (OWN_LOAD * (os.cpu_count() or 1)))
