"""From `solutions/` to `assignments/`: what students get is generated, never edited.

`mistakes.py` says which exercises there are and what they are worth; `sync` writes that into the solution notebook as
nbgrader's metadata, nbgrader takes the solutions out, and the visible cases go beside the notebook.
"""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.grading.course import IGNORED, Course, CourseError, convert, make_gradebook, write
from course_utils.grading.notebook import normalise, read, sync, text
from course_utils.grading.notes import sentence
from course_utils.grading.temporary import temporary_folder

if TYPE_CHECKING:
    from course_utils.check import ExerciseCases
    from course_utils.grading.warm import Parent
    from course_utils.plain import Answer

VISIBLE_SEED = 0
CASES_FILE = "cases.safetensors"
CHECKSUMS = "checksums.sha256"  # `sha256sum --check` reads it, from the course's folder


# --- cases ------------------------------------------------------------------------------------------------------------


def points_of(course: Course, name: str) -> dict[str, float]:
    """What each exercise of an assignment is worth (nothing, where it has only plain `assert` cells)."""
    if not (course.solution(name).parent / "mistakes.py").exists():
        return {}
    from course_utils.grading.exercise import load_exercises

    return {e.name: e.points for e in load_exercises(course.solution(name).parent).values()}


def build_cases(course: Course, name: str, seed: int, forks: "Parent | None" = None) -> "dict[str, ExerciseCases]":
    """The cases drawn with a seed, with the answers of the solution notebook, which runs as students' notebooks do.

    Args:
        forks: the warm parent of the kernel.

    Raises:
        CourseError: the solution does not answer a case, or a mistake passes them all.
    """
    if not points_of(course, name):
        return {}
    from course_utils.grading import sandbox
    from course_utils.grading.execute import execute
    from course_utils.grading.exercise import complete, load_exercises
    from course_utils.grading.judge import Recorder

    folder = course.solution(name).parent
    notebook = read(course.solution(name))
    sync(notebook, points_of(course, name))
    exercises = load_exercises(folder)
    cases = {n: e.drawn(seed) for n, e in exercises.items()}
    with temporary_folder() as files, ThreadPoolExecutor(1) as thread:
        # while the solution runs in its kernel
        wrong = thread.submit(lambda: [e.add_mistakes(cases[n]) for n, e in exercises.items()])
        _copy(folder, Path(files), notebooks=False)
        # it is the course's own code: an ordinary kernel does, too
        sandboxed = forks is not None or sandbox.missing() is None
        try:
            result = execute(notebook, cases, files=Path(files), judge_class=Recorder, sandbox=sandboxed, warm=forks)
        except sandbox.SandboxError as error:
            raise CourseError(f"{name}: the solution did not run: {error}") from None
        wrong.result()
    for exercise in cases.values():
        if not result.answers.get(exercise.name):
            said = " ".join(map(sentence, result.notes))
            raise CourseError(f"{name}: the solution gave no answer to {exercise.name}. {said}".strip())
        try:
            complete(exercise, result.answers[exercise.name])
        except ValueError as error:
            raise CourseError(f"{name}: {error}") from None
    return cases


# --- release ----------------------------------------------------------------------------------------------------------


def release(course: Course, name: str) -> list[str]:
    """Generate `assignments/NAME/` from `solutions/NAME/`; the names of the files that changed."""
    source = course.solution(name)
    notebook = read(source)
    sync(notebook, points_of(course, name))
    files = {}
    if text(normalise(notebook)) != source.read_text(encoding="utf-8"):
        files[source] = text(notebook).encode()
        write(source, files[source])
    with temporary_folder() as temporary:
        files |= build(course, name, Path(temporary), course.directory().db_url)
    changed = [p for p, data in files.items() if p == source or not p.exists() or p.read_bytes() != data]
    for path in changed:
        write(path, files[path])
    for path in _files(course.released(name).parent):
        if path not in files:
            path.unlink()
            changed.append(path)
    return sorted(str(p.relative_to(course.root)) for p in changed)


def build(course: Course, name: str, temporary: Path, db_url: str) -> dict[Path, bytes]:
    """What `assignments/NAME/` should hold, by path; the gradebook behind `db_url` learns of the assignment."""
    folder = generate(course, name, temporary, db_url)
    files = {course.released(name).parent / p.relative_to(folder): p.read_bytes() for p in _files(folder)}
    if cases := build_cases(course, name, VISIBLE_SEED):
        from course_utils.check import save_cases

        files[course.released(name).parent / CASES_FILE] = save_cases(cases)
    files[course.released(name).parent / CHECKSUMS] = _checksums(course, name, files)
    return files


def generate(course: Course, name: str, temporary: Path, db_url: str, points: dict[str, float] | None = None) -> Path:
    """nbgrader's generate_assignment from the synchronised source; the folder with what students get, but the cases.

    Args:
        points: of each exercise, where they are known already.
    """
    from nbgrader.converters import GenerateAssignment

    source = temporary / "solutions" / name
    _copy(course.solution(name).parent, source)
    notebook = read(course.solution(name))
    sync(notebook, points_of(course, name) if points is None else points)
    write(source / f"{name}.ipynb", text(normalise(notebook)))
    directory = course.directory(root=str(temporary), assignment_id=name, db_url=db_url)
    make_gradebook(db_url)
    convert(GenerateAssignment(coursedir=directory, config=course.config(), force=True))
    released = temporary / "assignments" / name
    path = released / f"{name}.ipynb"
    write(path, text(normalise(read(path))))
    return released


def make_known(assignment: str, **_: Any) -> None:
    """Tell the gradebook of a fresh clone which assignment there is, before nbgrader's autograde looks (its hook)."""
    from nbgrader.api import Gradebook, MissingEntry

    course = Course(Path.cwd())  # where nbgrader goes before it calls
    with Gradebook(course.directory().db_url) as gradebook:
        try:
            gradebook.find_notebook(assignment, assignment)
            return
        except MissingEntry:
            pass
    with temporary_folder() as temporary:
        generate(course, assignment, Path(temporary), course.directory().db_url)


def check_release(course: Course, name: str) -> list[str]:
    """Where `assignments/NAME/` is not what `solutions/NAME/` gives, as sentences; none if all is well."""
    with temporary_folder() as temporary:
        expected = build(course, name, Path(temporary), f"sqlite:///{temporary}/gradebook.db")
    problems = []
    notebook = read(course.solution(name))
    sync(notebook, points_of(course, name))
    if text(normalise(notebook)) != course.solution(name).read_text(encoding="utf-8"):
        problems.append(f"solutions/{name}/{name}.ipynb is not as `course release` writes it")
    for path in sorted(set(expected) | set(_files(course.released(name).parent))):
        label = path.relative_to(course.root)
        if path not in expected:
            problems.append(f"{label} is not made from solutions/{name}")
        elif not path.exists():
            problems.append(f"{label} is missing")
        elif path.name == CASES_FILE:
            problems += [f"{label}: {problem}" for problem in _compare_cases(path, expected[path])]
        elif path.name != CHECKSUMS and path.read_bytes() != expected[path]:
            problems.append(f"{label} is not what solutions/{name} gives")
    return problems + _check_sums(course, name)


def _check_sums(course: Course, name: str) -> list[str]:
    path = course.released(name).parent / CHECKSUMS
    if not path.exists():
        return []
    present = {p: p.read_bytes() for p in _files(path.parent) if p != path}
    recorded = path.read_text(encoding="utf-8").splitlines()
    found = _checksums(course, name, present).decode().splitlines()
    names = {line[66:] for line in set(recorded) ^ set(found)}
    return [f"{n} has changed since the last release" for n in sorted(names)]


def stamp(course: Course, name: str) -> None:
    """Write the checksums of what lies in `assignments/NAME/` and `solutions/NAME/` now, if it has been released."""
    path = course.released(name).parent / CHECKSUMS
    if path.exists():
        present = {p: p.read_bytes() for p in _files(path.parent) if p != path}
        write(path, _checksums(course, name, present))


def _checksums(course: Course, name: str, files: dict[Path, bytes]) -> bytes:
    files = files | {p: p.read_bytes() for p in _files(course.solution(name).parent, everything=True)}
    lines = [
        f"{hashlib.sha256(data).hexdigest()}  {p.relative_to(course.root).as_posix()}\n" for p, data in files.items()
    ]
    return "".join(sorted(lines, key=lambda line: line[66:])).encode()


def _compare_cases(path: Path, expected: bytes) -> list[str]:
    """Byte for byte would fail on another kind of CPU: tensors are compared to 1e-5, draws by their distribution."""
    from course_utils.check import load_cases

    with temporary_folder() as temporary:
        fresh_path = Path(temporary) / CASES_FILE
        fresh_path.write_bytes(expected)
        fresh = load_cases(fresh_path)
    try:
        old = load_cases(path)
    except ValueError as error:
        return [str(error)]
    if list(old) != list(fresh):
        return [f"it holds {', '.join(old)}; mistakes.py has {', '.join(fresh)}"]
    problems = []
    for name, a in old.items():
        b = fresh[name]
        compare = a.compare | ({"rtol": 1e-5, "atol": 1e-5} if a.compare["kind"] == "close" else {})
        answers = [(a.expected, b.expected)] + [(x.answers, y.answers) for x, y in zip(a.mistakes, b.mistakes)]
        bare_a, bare_b = (
            replace(x, expected=[], mistakes=[replace(m, answers=[]) for m in x.mistakes]) for x in (a, b)
        )
        if not _near(asdict(bare_a), asdict(bare_b)):
            problems.append(f"{name}: its cases are not those that mistakes.py gives")
        elif any(
            len(x) != len(y) or not all(_same(compare, g, e, t) for g, e, t in zip(x, y, a.truths)) for x, y in answers
        ):
            problems.append(f"{name}: its answers are not those that the solution and mistakes.py give")
    return problems


def _same(compare: dict[str, Any], a: "Answer", b: "Answer", truth: Any) -> bool:
    """Whether two answers are worth the same. What was trained differs a little between CPUs; its mark counts."""
    from course_utils.compare import difference

    if compare["kind"] == "accuracy":
        return (difference(compare, a, a, truth) is None) == (difference(compare, b, b, truth) is None)
    return difference(compare, a, b, truth) is None


def _near(a: Any, b: Any) -> bool:
    import torch

    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        same = a.shape == b.shape and a.dtype == b.dtype
        return same and torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-5, equal_nan=True)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_near, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(_near(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


# --- files ------------------------------------------------------------------------------------------------------------


def _files(folder: Path, everything: bool = False) -> list[Path]:
    ignored = IGNORED - ({"mistakes.py"} if everything else set())
    found = [p for p in folder.rglob("*") if p.is_file() and not ignored & set(p.relative_to(folder).parts)]
    return sorted(p for p in found if not p.name.endswith(".part"))


def _copy(source: Path, target: Path, notebooks: bool = True) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in _files(source):
        if notebooks or path.suffix != ".ipynb":
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / path.relative_to(source))
