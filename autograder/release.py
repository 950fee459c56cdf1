"""From `solutions/` to `assignments/`: what students get is generated, never edited.

`mistakes.py` says which exercises there are and what they are worth; `sync` writes that into the solution notebook as
nbgrader's metadata, nbgrader takes the solutions out, and the visible cases go beside the notebook.
"""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder.author.exercise import VISIBLE_SEED
from autograder.author.generate import CHECKSUMS, changed_since, checksums, files_of, generate, points_of
from autograder.course import Assignment, Course
from autograder.run.cases import build_cases
from autograder.temporary import temporary_folder
from course_utils.checking.cases import CASES_FILE, load_cases, save_cases
from course_utils.notebook import normalise, read, sync, text
from course_utils.paths import write

if TYPE_CHECKING:
    from course_utils.plain import Answer


def release(assignment: Assignment) -> list[str]:
    """Generate `assignments/NAME/` from `solutions/NAME/`; the names of the files that changed."""
    source = assignment.solution
    notebook = read(source)
    sync(notebook, points_of(assignment))
    files = {}
    if text(normalise(notebook)) != source.read_text(encoding="utf-8"):
        files[source] = text(notebook).encode()
        write(source, files[source])
    with temporary_folder() as temporary:
        files |= build(assignment, Path(temporary), assignment.course.directory().db_url)
    changed = [p for p, data in files.items() if p == source or not p.exists() or p.read_bytes() != data]
    for path in changed:
        write(path, files[path])
    for path in files_of(assignment.released.parent):
        if path not in files:
            path.unlink()
            changed.append(path)
    return sorted(str(p.relative_to(assignment.root)) for p in changed)


def complete(assignment: str, **_: Any) -> None:
    """Make a release whole that nbgrader (Formgrader's Generate) made without cases and checksums (its hook).

    Raises:
        SystemExit: it cannot be made, and nothing is left of it. nbgrader passes over every other exception.
    """
    made = Assignment(Course(Path.cwd()), assignment)  # where nbgrader goes before it calls
    try:
        release(made)
    except Exception as error:
        shutil.rmtree(made.released.parent, ignore_errors=True)
        raise SystemExit(f"{assignment} was not released: {error}") from None


def build(assignment: Assignment, temporary: Path, db_url: str) -> dict[Path, bytes]:
    """What `assignments/NAME/` should hold, by path; the gradebook behind `db_url` learns of the assignment."""
    folder = generate(assignment, temporary, db_url)
    files = {assignment.released.parent / p.relative_to(folder): p.read_bytes() for p in files_of(folder)}
    if cases := build_cases(assignment, VISIBLE_SEED):
        files[assignment.released.parent / CASES_FILE] = save_cases(cases)
    files[assignment.released.parent / CHECKSUMS] = checksums(assignment, files)
    return files


def check_release(assignment: Assignment) -> list[str]:
    """Where `assignments/NAME/` is not what `solutions/NAME/` gives, as sentences; none if all is well."""
    with temporary_folder() as temporary:
        expected = build(assignment, Path(temporary), f"sqlite:///{temporary}/gradebook.db")
    problems = []
    notebook = read(assignment.solution)
    sync(notebook, points_of(assignment))
    if text(normalise(notebook)) != assignment.solution.read_text(encoding="utf-8"):
        problems.append(f"solutions/{assignment.name}/{assignment.name}.ipynb is not as `course release` writes it")
    for path in sorted(set(expected) | set(files_of(assignment.released.parent))):
        label = path.relative_to(assignment.root)
        if path not in expected:
            problems.append(f"{label} is not made from solutions/{assignment.name}")
        elif not path.exists():
            problems.append(f"{label} is missing")
        elif path.name == CASES_FILE:
            problems += [f"{label}: {problem}" for problem in _compare_cases(path, expected[path])]
        elif path.name != CHECKSUMS and path.read_bytes() != expected[path]:
            problems.append(f"{label} is not what solutions/{assignment.name} gives")
    return problems + changed_since(assignment)


def _compare_cases(path: Path, expected: bytes) -> list[str]:
    """Byte for byte would fail on another kind of CPU: tensors are compared to 1e-5, draws by their distribution."""
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
