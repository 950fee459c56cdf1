"""Two houses: `course_utils`, which lectures and students import, and `autograder` on top of it. Arrows go one way."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GROUND = ("limits", "course", "stock", "notes", "temporary", "table")  # of the autograder, below its wings
WINGS = ("sandbox", "author", "intake", "run", "book")  # each may use those before it
TOP = ("release", "grade", "regrade", "gradescope", "cli")
FLOOR = {name: 0 for name in GROUND} | {name: n for n, name in enumerate((*WINGS, "publish", *TOP), start=1)}


def modules(house):
    paths = [p for p in sorted((ROOT / house).rglob("*.py")) if p.name != "__main__.py"]
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in paths}


def imported(path, known):
    """The modules of the course that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in known else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in known}


LIBRARY, GRADER = modules("course_utils"), modules("autograder")


@cache
def arrows():
    """module -> the modules that it imports."""
    return {name: imported(path, LIBRARY | GRADER) for name, path in (LIBRARY | GRADER).items()}


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_knows_nothing_of_the_autograder(name):
    assert not arrows()[name] & GRADER.keys()


@pytest.mark.parametrize("name", [name for name in GRADER if "." in name])
def test_a_wing_uses_those_below_it(name):
    room = name.split(".")[1]
    above = {used for used in arrows()[name] & GRADER.keys() if "." in used and FLOOR[used.split(".")[1]] > FLOOR[room]}
    assert not above


def test_no_room_leads_back_to_itself():
    try:
        list(TopologicalSorter({name: used - {name} for name, used in arrows().items()}).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))


def room(name):
    """Of a module of the library: its folder, or itself at the top."""
    return ".".join(name.split(".")[:2])


def test_the_rooms_of_the_library_stand_on_each_other():
    rooms = {}
    for name in LIBRARY:
        rooms.setdefault(room(name), set()).update(
            {room(used) for used in arrows()[name]} - {room(name), "course_utils"}
        )
    try:
        list(TopologicalSorter(rooms).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))


def test_the_library_works_without_the_autograder():
    """As in a student's copy."""
    code = "import sys; sys.modules['autograder'] = None\n"
    code += "import course_utils.cli, course_utils.command.student, course_utils.command.doctor"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["doctor", "progress"])
def test_an_older_home_notebook_finds_what_it_imports(name):
    code = f"from course_utils import {name}; import course_utils.command.{name} as now; assert {name} is now"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_old_name_of_the_grader_says_the_new_one():
    with pytest.raises(ModuleNotFoundError, match="autograder.author.exercise import Exercise"):
        import course_utils.grading.exercise  # noqa: F401
