"""What is done for one submission before it is recorded: read it, look whether its result is known, run it, keep it.

Nothing here writes to the gradebook, and nothing needs nbgrader: it happens in `pool`'s processes, several at a time.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

import course_utils
from course_utils.check import ExerciseCases, load_cases, save_cases
from course_utils.grading import execute as executor
from course_utils.grading import sandbox, warm
from course_utils.grading.course import STAGED, Course, CourseError, write
from course_utils.grading.release import build_cases, points_of, read
from course_utils.grading.repair import NOTES
from course_utils.grading.submissions import Submission, copy_files, stage
from course_utils.grading.temporary import temporary_folder
from course_utils.grading.warm import Parent, imports


def grade_one(
    course: Course,
    name: str,
    submission: Submission,
    sandboxed: bool,
    again: bool,
    device: str = "cpu",
    compute: Callable[..., dict[str, Any]] | None = None,
    forks: Parent | None = None,
) -> dict[str, Any]:
    """The outcome for one entry of `submitted/`, with what was odd about it as `staged`."""
    place = course.private(name) / STAGED / submission.student / name
    notebook = stage(course, name, submission, place)
    outcome = run(course, name, notebook, place, hidden_cases(course, name), sandboxed, again, forks, compute, device)
    return outcome | {"staged": notebook.metadata[NOTES]["notes"]}


def run(
    course: Course,
    name: str,
    notebook: NotebookNode,
    place: Path,
    cases: dict[str, ExerciseCases],
    sandboxed: bool = True,
    again: bool = False,
    forks: Parent | None = None,
    compute: Callable[..., dict[str, Any]] | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """The outcome of a repaired notebook: outputs, verdicts, notes, usage; kept, so that it is found out once.

    Args:
        place: the submission's folder; its files are there when the notebook runs, but the release's win.
        again: do not use what is kept.
        forks: the warm parent of the kernels.
        compute: gives what is `told` of it, in place of `execute` here.
        device: "cuda" lets it use the GPU.
    """
    with temporary_folder() as temporary:
        files, notes = Path(temporary), []
        for folder in (place, course.released(name).parent):
            if folder.is_dir():
                copy_files(folder, files, notes if folder == place else [])
        limits = replace(sandbox.DEFAULTS, device=device)
        judged = _digest(cases)
        parts = [content(notebook), digests(files), judged, repr(limits), sandboxed, version(course.root)]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        kept = course.private(name) / "results" / f"{key}.json"
        if not again and (outcome := _load(kept)):
            return outcome | {"notes": notes + outcome["notes"]}
        if compute:
            found = compute(notebook, cases, files=files, limits=limits)
        else:
            options = {"files": files, "limits": limits, "sandbox": sandboxed, "warm": forks}
            found = told(executor.execute(notebook, cases, **options))
    outcome = {"key": key, "cells": fingerprint(notebook)} | found
    write(kept, json.dumps(outcome), 0o600)
    return outcome | {"notes": notes + outcome["notes"]}


_digested: tuple[dict[str, ExerciseCases], str] = ({}, "")


def _digest(cases: dict[str, ExerciseCases]) -> str:
    """Of the cases; every submission asks for that of the same object, so the last one is kept."""
    global _digested
    if _digested[0] is not cases:
        _digested = (cases, hashlib.sha256(save_cases(cases)).hexdigest())
    return _digested[1]


def told(result: executor.Result) -> dict[str, Any]:
    """A result as JSON holds it."""
    return {
        "outputs": [c.get("outputs", []) for c in result.notebook.cells],
        "verdicts": {grade_id: asdict(verdict) for grade_id, verdict in result.verdicts.items()},
        "notes": result.notes,
        "usage": result.usage,
    }


def content(notebook: NotebookNode) -> list[tuple[str, str, str | None]]:
    """What of a notebook decides over its result."""
    return [(c.cell_type, c.source, c.metadata.get("nbgrader", {}).get("grade_id")) for c in notebook.cells]


def fingerprint(notebook: NotebookNode) -> str:
    return hashlib.sha256(json.dumps(content(notebook)).encode()).hexdigest()


def parent(course: Course, name: str) -> Parent | None:
    """The warm parent for an assignment: it has imported what the solution imports."""
    return warm.shared(imports(read(course.solution(name))))


def points(course: Course, name: str, forks: Parent | None = None) -> dict[str, float]:
    """`points_of`, for another process to ask."""
    return points_of(course, name)


def prepare_cases(course: Course, name: str, forks: Parent | None = None) -> None:
    """Have the hidden cases made, for another process to ask."""
    hidden_cases(course, name, forks)


def hidden_cases(course: Course, name: str, forks: Parent | None = None) -> dict[str, ExerciseCases]:
    """The assignment's hidden cases: drawn with its private seed, answered by the solution, kept beside the seed."""
    folder = course.private(name)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    source = course.solution(name).parent
    if not source.is_dir():
        raise CourseError(f"{source} is missing: without the solution nobody knows what is right")
    parts = [_seed(folder), digests(source), version(course.root)]
    path = folder / "cases" / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}.safetensors"
    try:
        return _cases_in(path)
    except (FileNotFoundError, ValueError):
        write(path, save_cases(build_cases(course, name, parts[0], forks)), 0o600)
    return load_cases(path)


@lru_cache(1)
def _cases_in(path: Path) -> dict[str, ExerciseCases]:
    return load_cases(path)


def _seed(folder: Path) -> int:
    path = folder / "seed"
    if not path.exists():
        write(path, str(secrets.randbits(62)), 0o600)
    return int(path.read_text())


@cache
def version(root: Path) -> str:
    """A digest of the library and of the locked packages: results of other versions are not used."""
    lock = root / "requirements.lock"
    return hashlib.sha256((library() + (lock.read_text() if lock.exists() else "")).encode()).hexdigest()


@cache
def library() -> str:
    """A digest of `course_utils`."""
    folder = Path(course_utils.__file__).parent
    return hashlib.sha256(json.dumps(digests(folder, folder.rglob("*.py"))).encode()).hexdigest()


def digests(folder: Path, paths: Iterable[Path] | None = None) -> dict[str, str]:
    paths = sorted(p for p in paths or folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {os.fsencode(p.relative_to(folder)).hex(): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def _load(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
