"""The cases of an assignment: drawn with a seed, answered by the solution notebook in a kernel like students'."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import autograder
import course_utils
from autograder.author.generate import copy, points_of
from autograder.course import Course
from autograder.notes import sentence
from autograder.temporary import temporary_folder
from course_utils.cases import ExerciseCases, load_cases, save_cases
from course_utils.notebook import read, sync
from course_utils.paths import CourseError, write

if TYPE_CHECKING:
    from autograder.sandbox.warm import Parent


def build_cases(
    course: Course, name: str, seed: int | bytes, forks: "Parent | None" = None
) -> dict[str, ExerciseCases]:
    """The cases drawn with a seed, with the answers of the solution notebook, which runs as students' notebooks do.

    Args:
        forks: the warm parent of the kernel.

    Raises:
        CourseError: the solution does not answer a case, or a mistake passes them all.
    """
    if not points_of(course, name):
        return {}
    from autograder.author.exercise import VISIBLE_SEED, complete, load_exercises
    from autograder.run.execute import execute
    from autograder.run.judge import Recorder
    from autograder.sandbox import provisioner

    folder = course.solution(name).parent
    notebook = read(course.solution(name))
    sync(notebook, points_of(course, name))
    exercises = load_exercises(folder)
    cases = {n: e.drawn(seed) for n, e in exercises.items()}
    with temporary_folder() as files, ThreadPoolExecutor(1) as thread:
        # while the solution runs in its kernel
        wrong = thread.submit(lambda: [e.add_mistakes(cases[n]) for n, e in exercises.items()])
        copy(folder, Path(files), notebooks=False)
        # it is the course's own code: an ordinary kernel does, too
        sandboxed = forks is not None or provisioner.missing() is None
        options = {"files": Path(files), "limits": course.limits(name)}
        try:
            result = execute(notebook, cases, **options, judge_class=Recorder, sandbox=sandboxed, warm=forks)
        except provisioner.SandboxError as error:
            raise CourseError(f"{name}: the solution did not run: {error}") from None
        wrong.result()
    if seed != VISIBLE_SEED:
        for n, e in exercises.items():
            cases[n].seen = e.seen(cases[n])
    for exercise in cases.values():
        if not result.answers.get(exercise.name):
            said = " ".join(map(sentence, result.notes))
            raise CourseError(f"{name}: the solution gave no answer to {exercise.name}. {said}".strip())
        try:
            complete(exercise, result.answers[exercise.name])
        except ValueError as error:
            raise CourseError(f"{name}: {error}") from None
    return cases


def hidden_cases(course: Course, name: str, forks: "Parent | None" = None) -> dict[str, ExerciseCases]:
    """The assignment's hidden cases: drawn with its private seed, answered by the solution, kept beside the seed."""
    folder = course.private(name)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    source = course.solution(name).parent
    if not source.is_dir():
        raise CourseError(f"{source} is missing: without the solution nobody knows what is right")
    key = _key(folder)
    parts = [key.hex(), digests(source), version(course.root)]
    path = folder / "cases" / f"{sha(parts)[:32]}.safetensors"
    try:
        return _cases_in(path)
    except (FileNotFoundError, ValueError):
        write(path, save_cases(build_cases(course, name, key, forks)), 0o600)
    return load_cases(path)


@lru_cache(1)
def _cases_in(path: Path) -> dict[str, ExerciseCases]:
    return load_cases(path)


def _key(folder: Path) -> bytes:
    """The assignment's 256-bit key, made when it is first wanted."""
    path = folder / "seed"
    if not path.exists():
        write(path, secrets.token_hex(32), 0o600)
    return path.read_text().strip().encode()


@cache
def version(root: Path) -> str:
    """A digest of the library and of the locked packages: results of other versions are not used."""
    lock = root / "requirements.lock"
    return hashlib.sha256((library() + (lock.read_text() if lock.exists() else "")).encode()).hexdigest()


@cache
def library() -> str:
    """A digest of the code that gives marks: the library and the grader."""
    folders = [Path(package.__file__).parent for package in (course_utils, autograder)]
    return sha([digests(folder, folder.rglob("*.py")) for folder in folders])


def digests(folder: Path, paths: Iterable[Path] | None = None) -> dict[str, str]:
    paths = sorted(p for p in paths or folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {os.fsencode(p.relative_to(folder)).hex(): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def sha(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
