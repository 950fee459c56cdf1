"""What students get of an assignment: nbgrader's release version of its solution notebook, and checksums beside it.

`mistakes.py` says which exercises there are and what they are worth; that is written into the solution notebook as
nbgrader's metadata, and nbgrader takes the solutions out.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

from autograder.course import IGNORED, Assignment, Course
from autograder.stock import convert, make_gradebook, opened
from autograder.temporary import temporary_folder
from course_utils.notebook import normalise, read, sync, text
from course_utils.paths import write

CHECKSUMS = "checksums.sha256"  # `sha256sum --check` reads it, from the course's folder


def points_of(assignment: Assignment) -> dict[str, float]:
    """What each exercise of an assignment is worth (nothing, where it has only plain `assert` cells)."""
    if not (assignment.solution.parent / "mistakes.py").exists():
        return {}
    from autograder.author.exercise import load_exercises

    return {e.name: e.points for e in load_exercises(assignment.solution.parent).values()}


def generate(assignment: Assignment, temporary: Path, db_url: str, points: dict[str, float] | None = None) -> Path:
    """nbgrader's generate_assignment from the synchronised source; the folder with what students get, but the cases.

    Args:
        points: of each exercise, where they are known already.
    """
    from nbgrader.converters import GenerateAssignment

    source = temporary / "solutions" / assignment.name
    copy(assignment.solution.parent, source)
    notebook = read(assignment.solution)
    sync(notebook, points_of(assignment) if points is None else points)
    write(source / f"{assignment.name}.ipynb", text(normalise(notebook)))
    directory = assignment.course.directory(root=str(temporary), assignment_id=assignment.name, db_url=db_url)
    make_gradebook(db_url)
    config = assignment.course.config()
    config.GenerateAssignment.pop("post_convert_hook", None)  # it would make a release of this one
    convert(GenerateAssignment(coursedir=directory, config=config, force=True))
    released = temporary / "assignments" / assignment.name
    path = released / f"{assignment.name}.ipynb"
    write(path, text(normalise(read(path))))
    return released


def make_known(assignment: str, **_: Any) -> None:
    """Tell the gradebook of a fresh clone which assignment there is, before nbgrader's autograde looks (its hook)."""
    from nbgrader.api import MissingEntry

    course = Course(Path.cwd())  # where nbgrader goes before it calls
    with opened(course) as gradebook:
        try:
            gradebook.find_notebook(assignment, assignment)
            return
        except MissingEntry:
            pass
    with temporary_folder() as temporary:
        generate(Assignment(course, assignment), Path(temporary), course.directory().db_url)


# --- checksums --------------------------------------------------------------------------------------------------------


def stamp(assignment: Assignment) -> None:
    """Write the checksums of what lies in `assignments/NAME/` and `solutions/NAME/` now, if it has been released."""
    path = assignment.released.parent / CHECKSUMS
    if path.exists():
        present = {p: p.read_bytes() for p in files_of(path.parent) if p != path}
        write(path, checksums(assignment, present))


def changed_since(assignment: Assignment) -> list[str]:
    path = assignment.released.parent / CHECKSUMS
    if not path.exists():
        return []
    present = {p: p.read_bytes() for p in files_of(path.parent) if p != path}
    recorded = path.read_text(encoding="utf-8").splitlines()
    found = checksums(assignment, present).decode().splitlines()
    names = {line[66:] for line in set(recorded) ^ set(found)}
    return [f"{n} has changed since the last release" for n in sorted(names)]


def checksums(assignment: Assignment, files: dict[Path, bytes]) -> bytes:
    files = files | {p: p.read_bytes() for p in files_of(assignment.solution.parent, everything=True)}
    lines = [
        f"{hashlib.sha256(data).hexdigest()}  {p.relative_to(assignment.root).as_posix()}\n"
        for p, data in files.items()
    ]
    return "".join(sorted(lines, key=lambda line: line[66:])).encode()


# --- files ------------------------------------------------------------------------------------------------------------


def files_of(folder: Path, everything: bool = False) -> list[Path]:
    ignored = IGNORED - ({"mistakes.py"} if everything else set())
    found = [p for p in folder.rglob("*") if p.is_file() and not ignored & set(p.relative_to(folder).parts)]
    return sorted(p for p in found if not p.name.endswith(".part"))


def copy(source: Path, target: Path, notebooks: bool = True) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in files_of(source):
        if notebooks or path.suffix != ".ipynb":
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / path.relative_to(source))
