"""What a submission may hold and use. An instructor sets it in `limits.toml`, for the course or for one assignment."""

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from course_utils.paths import CourseError

FILE = "limits.toml"  # at the course's root
DEFAULT = "default"  # its section for all assignments
MiB = 2**20
SIZE = "_bytes"  # in a name here is `_mib` in the file
MOST = {"float": 7 * 86_400, "int": 2**20}  # seconds, and counts or MiB: beyond that a limit is none


@dataclass(frozen=True)
class Limits:
    """What a submission may hold and use, sizes in bytes. A cell's and a notebook's seconds are its own.

    They count processor time, and time in which it only waits; a machine that is busy with others takes none of them.
    """

    # while it runs
    cell_s: float = 60
    notebook_s: float = 600
    startup_s: float = 60
    memory_bytes: int = 4096 * MiB  # of all its processes together
    processes: int = 128  # and threads
    threads: int = 1  # that torch and numpy start
    file_bytes: int = 256 * MiB  # of one file that it writes
    disk_bytes: int = 512 * MiB  # its folder, /tmp and HOME together; /dev/shm has as much again
    output_bytes: int = MiB  # kept of one cell's outputs
    message_bytes: int = 16 * MiB  # of one output
    traffic_bytes: int = 64 * MiB  # sent by one kernel
    answer_bytes: int = 16 * MiB  # of what a function gives back in one case
    deaths: int = 3  # of kernels, then no more cells run
    device: str = "cpu"  # or "cuda": the sandbox shows the GPU's device files; not in the file, but on the command line
    gpu_memory_bytes: int = 4096 * MiB  # of the GPU's, of all its processes together
    # what the grader itself takes for it
    grader_s: float = 60  # of a processor, to judge one exercise, or to make one page
    grader_bytes: int = 2048 * MiB  # beside what it has loaded
    # when it is taken in
    notebook_bytes: int = 32 * MiB  # a zip may have twice as much
    cells: int = 2000
    characters: int = 500_000  # in all cells together
    files: int = 500  # beside the notebook
    files_bytes: int = 200 * MiB  # all of them together
    zip_files: int = 1000

    @property
    def path_s(self) -> float:
        """From the folder to the result, at most: beyond what the executor allows, something has gone wrong."""
        return self.notebook_s + self.deaths * self.startup_s + 2 * self.grader_s


DEFAULTS = Limits()


def mib(size: int) -> str:
    """A size in MiB, for people."""
    return f"{size / MiB:.1f}".removesuffix(".0")


# --- the file ---------------------------------------------------------------------------------------------------------

KEYS = {f.name.replace(SIZE, "_mib"): f for f in fields(Limits) if f.name != "device"}  # as the file calls them


def read_limits(root: Path, name: str, assignments: list[str]) -> Limits:
    """The limits of an assignment: what its own section says, else `[default]`, else `DEFAULTS`.

    Args:
        root: the course's folder; without `limits.toml` in it, `DEFAULTS` hold.
        assignments: sections that there may be.

    Raises:
        CourseError: the file is wrong in any of its sections; the text says where, and what is allowed.
    """
    path = root / FILE
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return DEFAULTS
    except ValueError as error:  # not TOML, or not UTF-8
        raise CourseError(f"{path} cannot be read as TOML: {error}") from None
    found = {section: _section(path, section, table, assignments) for section, table in sections.items()}
    return replace(DEFAULTS, **found.get(DEFAULT, {}) | found.get(name, {}))


def _section(path: Path, section: str, table: Any, assignments: list[str]) -> dict[str, Any]:
    """A section's settings, by the names of `Limits`."""
    if not isinstance(table, dict):
        raise CourseError(f"{path}: {section} stands outside a section: put it under [{DEFAULT}] or [ASSIGNMENT]")
    if section != DEFAULT and section not in assignments:
        allowed = ", ".join([DEFAULT, *assignments])
        raise CourseError(f"{path}: there is no assignment for [{section}]: a section is called one of {allowed}")
    return {_field(path, section, key).name: _value(path, section, key, value) for key, value in table.items()}


def _field(path: Path, section: str, key: str) -> Any:
    if key not in KEYS:
        raise CourseError(f"{path}: [{section}] has no limit {key!r}: the limits are {', '.join(KEYS)}")
    return KEYS[key]


def _value(path: Path, section: str, key: str, value: Any) -> float | int:
    kind = KEYS[key].type
    most = MOST[kind.__name__]
    whole = kind is int and not key.endswith("_mib")
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not fits or not (1 <= value if whole else 0 < value) or value > most:
        allowed = f"a whole number from 1 to {most}" if whole else f"a number above 0, and at most {most}"
        raise CourseError(f"{path}: [{section}] {key} = {value!r}: it must be {allowed}{_unit(key)}")
    return round(value * MiB) if key.endswith("_mib") else kind(value)


def _unit(key: str) -> str:
    return " (MiB)" if key.endswith("_mib") else " (seconds)" if key.endswith("_s") else ""
