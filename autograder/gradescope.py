"""Grades the one hand-in that Gradescope puts into a container, and writes its results.json.

    python -m autograder.gradescope a1_markov_chains [--root /autograder]

Run it in the course's folder. The judge, the limits and the sandbox are those of `course grade`. Where the container
refuses namespaces, the notebook runs as another user, to whom all but libraries is closed (`sandbox/alone.py`). Where
that cannot be either, nothing of the student's is run: results.json says so; instructors grade the export elsewhere.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from autograder.book.marks import results
from autograder.book.sheets import sheets
from autograder.course import Assignment, Course
from autograder.grade import grade
from autograder.intake.submissions import student_name
from autograder.run.cases import handed_in_elsewhere
from autograder.sandbox import provisioner
from course_utils.paths import CourseError, write

OPEN = (".venv", "course_utils")  # of the course: what a notebook imports


def shut(course: Course, root: Path) -> None:
    """Close what lies in Gradescope's folder to other users, but for libraries and what leads to them."""
    for folder in (root, course.root.parent, course.root):
        for place in folder.iterdir():
            needed = course.root.is_relative_to(place) or (folder == course.root and place.name in OPEN)
            if not needed and not place.is_symlink():
                place.chmod(0o700)


def student(root: Path) -> str:
    """Who handed in, by Gradescope's metadata: the address of the first of a group."""
    try:
        users = json.loads((root / "submission_metadata.json").read_text(encoding="utf-8"))["users"]
        return student_name(str(users[0].get("email") or users[0]["id"]))
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return "student"


def earlier(root: Path) -> int:
    """How often the student handed in before, by Gradescope's metadata."""
    try:
        return len(json.loads((root / "submission_metadata.json").read_text(encoding="utf-8"))["previous_submissions"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def run(assignment: Assignment, root: Path) -> dict[str, Any]:
    """Grade what lies in `submission/`; what results.json is to say. Nothing that a student wrote raises."""
    who = student(root)
    handed_in_elsewhere(assignment, who, earlier(root))
    place = assignment.submitted(who)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(root / "submission", place, symlinks=True)
    try:
        for _ in grade(assignment, [who]):
            pass
        (sheet,) = sheets(assignment, [who])
    except CourseError as error:
        said = f"This was not graded: {error}. Your hand-in is kept; your instructor can grade it elsewhere."
        return {"score": 0, "output": said, "visibility": "visible", "tests": []}
    return results(sheet)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("assignment")
    parser.add_argument("--root", type=Path, default=Path("/autograder"), help="Gradescope's folder")
    asked = parser.parse_args(arguments)
    assignment = Assignment.find(asked.assignment)
    (results_folder := asked.root / "results").mkdir(exist_ok=True)
    if provisioner.is_root() and (why := provisioner.refused()):
        shut(assignment.course, asked.root)
        os.environ[provisioner.ALONE] = "1"
        print(f"no namespaces here ({why}): the notebook runs as another user")
    found = run(assignment, asked.root)
    write(results_folder / "results.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
