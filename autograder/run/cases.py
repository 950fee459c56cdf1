"""The cases of an assignment: drawn with a seed, answered by the solution notebook in a kernel like students'."""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, lru_cache, partial
from itertools import groupby, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import autograder
import course_utils
from autograder.author.generate import copy, points_of
from autograder.course import Assignment
from autograder.notes import sentence
from autograder.temporary import temporary_folder
from course_utils.checking.cases import ExerciseCases, load_cases, save_cases
from course_utils.notebook import read, sync
from course_utils.paths import CourseError, write
from course_utils.plain import Answer

if TYPE_CHECKING:
    from autograder.author.exercise import Exercise
    from autograder.sandbox.warm import Parent


def build_cases(assignment: Assignment, seed: int | bytes, forks: "Parent | None" = None) -> dict[str, ExerciseCases]:
    """The cases drawn with a seed, with the answers of the solution notebook, which runs as students' notebooks do.

    Args:
        forks: the warm parent of the kernel.

    Raises:
        CourseError: the solution does not answer a case, or a mistake passes them all.
    """
    from autograder.author.exercise import VISIBLE_SEED

    exercises = _exercises(assignment)
    (cases,) = _built(assignment, exercises, [lambda _: seed], forks)
    if seed != VISIBLE_SEED:
        for n, e in exercises.items():
            cases[n].seen = e.seen(cases[n])
    return cases


class _Unfit(CourseError):
    """Cases that could not do their work; others, of another seed, may."""


def _exercises(assignment: Assignment) -> dict[str, "Exercise"]:
    from autograder.author.exercise import load_exercises

    return load_exercises(assignment.solution.parent) if points_of(assignment) else {}


def _built(
    assignment: Assignment,
    exercises: dict[str, "Exercise"],
    sets: list[Callable[["Exercise"], int | bytes]],
    forks: "Parent | None",
) -> list[dict[str, ExerciseCases]]:
    """Sets of cases, all of them answered by one run of the solution notebook.

    Args:
        sets: for each, the seed with which an exercise's cases are drawn.
    """
    if not exercises:
        return [{} for _ in sets]
    from autograder.author.exercise import complete

    drawn = {n: {seed: e.drawn(seed) for seed in dict.fromkeys(of(e) for of in sets)} for n, e in exercises.items()}
    with ThreadPoolExecutor(1) as thread:
        # while the solution runs in its kernel
        wrong = thread.submit(lambda: [e.add_mistakes(c) for n, e in exercises.items() for c in drawn[n].values()])
        answers = _solved(assignment, {n: list(cases.values()) for n, cases in drawn.items()}, forks)
        wrong.result()
    for n, cases in drawn.items():
        for one in cases.values():
            try:
                complete(one, [next(answers[n]) for _ in one.asks])
            except ValueError as error:
                raise _Unfit(f"{assignment.name}: {error}") from None
    return [{n: drawn[n][of(e)] for n, e in exercises.items()} for of in sets]


def _solved(
    assignment: Assignment, cases: dict[str, list[ExerciseCases]], forks: "Parent | None"
) -> dict[str, Iterator[Answer]]:
    """What the solution notebook answers, for each exercise to one set after the other."""
    from autograder.run.execute import execute
    from autograder.run.judge import Recorder
    from autograder.sandbox import provisioner

    notebook, limits, most = read(assignment.solution), assignment.limits(), max(map(len, cases.values()))
    sync(notebook, points_of(assignment))
    asked = {n: replace(c[0], inputs=[ask for one in c for ask in one.asks], promises=[]) for n, c in cases.items()}
    # it is the course's own code: an ordinary kernel does, too
    sandboxed = forks is not None or provisioner.missing() is None
    limits = replace(limits, cell_s=most * limits.cell_s, notebook_s=most * limits.notebook_s)
    with temporary_folder() as files:
        copy(assignment.solution.parent, Path(files), notebooks=False)
        options = {"files": Path(files), "limits": limits, "judge_class": Recorder}
        try:
            result = execute(notebook, asked, **options, sandbox=sandboxed, warm=forks)
        except provisioner.SandboxError as error:
            raise CourseError(f"{assignment.name}: the solution did not run: {error}") from None
    for n, one in asked.items():
        if len(result.answers.get(n, ())) < len(one.inputs):
            said = " ".join(map(sentence, result.notes))
            raise CourseError(f"{assignment.name}: the solution gave no answer to {n}. {said}".strip())
    return {n: iter(found) for n, found in result.answers.items()}


# --- hidden cases -----------------------------------------------------------------------------------------------------

# In each hand-in a student is asked other cases, which nobody was asked in an earlier one: what a notebook kept of them
# is worth nothing in the next. `TURNS` are made by one run of the solution, since most students hand in once or twice.
# Of each turn there are `VARIANTS`, and it hangs on the student which one it is; an exercise that takes its time
# (`Exercise.slow`) has one for all.
TURNS, VARIANTS = 2, 4
MOST_TURNS = 40  # then they come again
HAND_INS = "hand_ins"  # folder in `Assignment.private`: what each student has handed in
TRIES = 3  # to draw cases that do their work: a mistake may pass all of them by chance


def hidden_cases(
    assignment: Assignment, student: str, number: int = 0, forks: "Parent | None" = None
) -> dict[str, ExerciseCases]:
    """What a student is asked: drawn with the assignment's private key, answered by the solution, kept beside the key.

    Args:
        number: of other versions that the student handed in before.
    """
    turn = number % MOST_TURNS
    chosen = hmac.digest(_key(assignment), b"%d %s" % (number, os.fsencode(student)), "sha256")
    path = _path(assignment, turn, chosen[0] % VARIANTS)
    try:
        return _cases_in(path)
    except (FileNotFoundError, ValueError):
        _make(assignment, turn // TURNS, forks)
    return load_cases(path)


def prepare(assignment: Assignment, forks: "Parent | None" = None) -> None:
    """Have those hidden cases made that the next hand-in of anybody may want."""
    counts = [0, *(len(_handed_in(path)) for path in (_folder(assignment) / HAND_INS).glob("*.json"))]
    for batch in {count % MOST_TURNS // TURNS for count in counts}:
        if not all(_path(assignment, *place).exists() for place in _places(batch)):
            _make(assignment, batch, forks)


def _places(batch: int) -> list[tuple[int, int]]:
    """Turn and variant of the sets that are made together."""
    return list(product(range(batch * TURNS, (batch + 1) * TURNS), range(VARIANTS)))


def _make(assignment: Assignment, batch: int, forks: "Parent | None") -> None:
    exercises, key = _exercises(assignment), _key(assignment)
    for attempt in range(TRIES):
        seed = partial(_seed, key, attempt)
        try:
            made = _built(assignment, exercises, [partial(seed, *place) for place in _places(batch)], forks)
            break
        except _Unfit:
            if attempt == TRIES - 1:
                raise
    for n, e in exercises.items():
        for turn, those in groupby(zip(_places(batch), made), lambda each: each[0][0]):
            before = {seed(turn - 1, variant, e) for variant in range(VARIANTS)} if turn else ()
            known = e.known(before)  # small cases may come again by chance
            for _, cases in those:
                cases[n].seen = e.seen(cases[n], known)
    for place, cases in zip(_places(batch), made):
        write(_path(assignment, *place), save_cases(cases), 0o600)


def _seed(key: bytes, attempt: int, turn: int, variant: int, exercise: "Exercise") -> bytes:
    return hmac.digest(key, b"%d %d %d" % (turn, 0 if exercise.slow else variant, attempt), "sha256")


def _path(assignment: Assignment, turn: int, variant: int) -> Path:
    """Where a set of hidden cases lies: others of the same solution, library and packages have the same beginning.

    Raises:
        CourseError: the solution is missing.
    """
    source = assignment.solution.parent
    if not source.is_dir():
        raise CourseError(f"{source} is missing: without the solution nobody knows what is right")
    parts = [_key(assignment).hex(), digests(source), version(assignment.root)]
    return _folder(assignment) / "cases" / f"{sha(parts)[:32]}-{turn}-{variant}.safetensors"


@lru_cache(VARIANTS)
def _cases_in(path: Path) -> dict[str, ExerciseCases]:
    return load_cases(path)


def _folder(assignment: Assignment) -> Path:
    """The assignment's private folder, for the grader alone."""
    folder = assignment.private
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _key(assignment: Assignment) -> bytes:
    """The assignment's 256-bit key, made when it is first wanted."""
    path = _folder(assignment) / "seed"
    if not path.exists():
        write(path, secrets.token_hex(32), 0o600)
    return path.read_text().strip().encode()


def hand_in_number(assignment: Assignment, student: str, content: str) -> int:
    """How many other versions the student handed in before this one; what was handed in once keeps its number.

    Args:
        content: a digest of the hand-in.
    """
    path = _folder(assignment) / HAND_INS / f"{sha(student)[:32]}.json"
    known = _handed_in(path)
    if content not in known:
        known.append(content)
        write(path, json.dumps(known), 0o600)
    return known.index(content)


def handed_in_elsewhere(assignment: Assignment, student: str, times: int) -> None:
    """Where each version comes to a new machine: have the next one asked other cases than the one before it.

    The turns that are made together take turns, so that the solution need not run for each hand-in.
    """
    path = _folder(assignment) / HAND_INS / f"{sha(student)[:32]}.json"
    write(path, json.dumps([f"elsewhere {n}" for n in range(times % TURNS)]), 0o600)


def _handed_in(path: Path) -> list[str]:
    """Digests of what a student handed in, in the order in which it came."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return []


# --- what results hang on ---------------------------------------------------------------------------------------------


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
