"""What students get of an assignment: nbgrader's release version of its solution notebook, and checksums beside it.

`mistakes.py` says which exercises there are and what they are worth; that is written into the solution notebook as
nbgrader's metadata, and nbgrader takes the solutions out.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

from autograder.course import IGNORED, Course
from autograder.stock import convert, make_gradebook, opened
from autograder.temporary import temporary_folder
from course_utils.notebook import normalise, read, sync, text
from course_utils.paths import write

CHECKSUMS = "checksums.sha256"  # `sha256sum --check` reads it, from the course's folder


def points_of(course: Course, name: str) -> dict[str, float]:
    """What each exercise of an assignment is worth (nothing, where it has only plain `assert` cells)."""
    if not (course.solution(name).parent / "mistakes.py").exists():
        return {}
    from autograder.author.exercise import load_exercises

    return {e.name: e.points for e in load_exercises(course.solution(name).parent).values()}


def generate(course: Course, name: str, temporary: Path, db_url: str, points: dict[str, float] | None = None) -> Path:
    """nbgrader's generate_assignment from the synchronised source; the folder with what students get, but the cases.

    Args:
        points: of each exercise, where they are known already.
    """
    from nbgrader.converters import GenerateAssignment

    source = temporary / "solutions" / name
    copy(course.solution(name).parent, source)
    notebook = read(course.solution(name))
    sync(notebook, points_of(course, name) if points is None else points)
    write(source / f"{name}.ipynb", text(normalise(notebook)))
    directory = course.directory(root=str(temporary), assignment_id=name, db_url=db_url)
    make_gradebook(db_url)
    config = course.config()
    config.GenerateAssignment.pop("post_convert_hook", None)  # it would make a release of this one
    convert(GenerateAssignment(coursedir=directory, config=config, force=True))
    released = temporary / "assignments" / name
    path = released / f"{name}.ipynb"
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
        generate(course, assignment, Path(temporary), course.directory().db_url)


# --- checksums --------------------------------------------------------------------------------------------------------


def stamp(course: Course, name: str) -> None:
    """Write the checksums of what lies in `assignments/NAME/` and `solutions/NAME/` now, if it has been released."""
    path = course.released(name).parent / CHECKSUMS
    if path.exists():
        present = {p: p.read_bytes() for p in files_of(path.parent) if p != path}
        write(path, checksums(course, name, present))


def changed_since(course: Course, name: str) -> list[str]:
    path = course.released(name).parent / CHECKSUMS
    if not path.exists():
        return []
    present = {p: p.read_bytes() for p in files_of(path.parent) if p != path}
    recorded = path.read_text(encoding="utf-8").splitlines()
    found = checksums(course, name, present).decode().splitlines()
    names = {line[66:] for line in set(recorded) ^ set(found)}
    return [f"{n} has changed since the last release" for n in sorted(names)]


def checksums(course: Course, name: str, files: dict[Path, bytes]) -> bytes:
    files = files | {p: p.read_bytes() for p in files_of(course.solution(name).parent, everything=True)}
    lines = [
        f"{hashlib.sha256(data).hexdigest()}  {p.relative_to(course.root).as_posix()}\n" for p, data in files.items()
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
