"""What is done for one submission before it is recorded: read it, look whether its result is known, run it, keep it.

Nothing here writes to the gradebook, and nothing needs nbgrader: it happens in `pool`'s processes, several at a time.
"""

import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from autograder.author.generate import CHECKSUMS, points_of
from autograder.course import Assignment
from autograder.intake.submissions import Submission, copy_files, stage
from autograder.notes import NOTES, Kind, as_json, from_json
from autograder.run import execute as executor
from autograder.run.cases import VARIANTS, digests, hand_in_number, hidden_cases, prepare, sha, version
from autograder.run.options import Options
from autograder.sandbox import warm
from autograder.sandbox.warm import Parent, imports
from autograder.temporary import temporary_folder
from course_utils.checking.cases import CASES_FILE, ExerciseCases, save_cases
from course_utils.notebook import checked, grade_id, read
from course_utils.paths import write

VISIBLE = {name.encode().hex() for name in (CASES_FILE, CHECKSUMS)}  # of the release: no verdict depends on them


def grade_one(
    assignment: Assignment,
    submission: Submission,
    options: Options,
    compute: Callable[..., dict[str, Any]] | None = None,
    forks: Parent | None = None,
) -> dict[str, Any]:
    """The outcome for one entry of `submitted/`, with what was odd about it as `staged`."""
    place = assignment.staged(submission.student)
    shutil.rmtree(place, ignore_errors=True)  # of a process that was lost
    notebook = stage(assignment, submission, place)
    outcome = run(assignment, Submission(submission.student, place), notebook, options, forks, compute)
    return outcome | {"staged": notebook.metadata[NOTES]["notes"]}


def run(
    assignment: Assignment,
    submission: Submission,
    notebook: NotebookNode,
    options: Options,
    forks: Parent | None = None,
    compute: Callable[..., dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The outcome of a repaired notebook: outputs, verdicts, notes, usage; kept, so that it is found out once.

    Where only some exercises' cases have changed since, only their check cells run again, beside all that is no check.

    Args:
        submission: the files in its place are there when the notebook runs, but the release's win.
        forks: the warm parent of the kernels.
        compute: gives what is `told` of it, in place of `execute` here.
    """
    limits = replace(assignment.limits(), device=options.device)
    with temporary_folder() as temporary:
        files, notes = Path(temporary), []
        if assignment.released.parent.is_dir():
            copy_files(assignment.released.parent, files, [], limits)
        released = digests(files).keys()
        if submission.place.is_dir():
            copy_files(submission.place, files, notes, limits)
        around = {path: digest for path, digest in digests(files).items() if path not in VISIBLE}
        own = sha([content(notebook), {path: d for path, d in around.items() if path not in released}])
        number = hand_in_number(assignment, submission.student, own)
        cases = hidden_cases(assignment, submission.student, number, forks)
        asked = _asked(cases)
        ran = sha([content(notebook), around, repr(limits), options.sandboxed, version(assignment.root)])[:32]
        key = sha([ran, asked])
        kept = assignment.private / "results" / f"{ran}-{key}.json"
        if not options.again and (outcome := _load(kept)):
            return outcome | {"notes": as_json(notes) + outcome["notes"]}
        earlier, same = ({}, set()) if options.again else _earlier(kept.parent, ran, asked, notebook)
        todo = {n: c for n, c in cases.items() if n not in same}
        if compute:
            found = compute(_without_checks(notebook, same), todo, files=files, limits=limits)
        else:
            how = {"files": files, "limits": limits, "sandbox": options.sandboxed, "warm": forks}
            found = told(executor.execute(_without_checks(notebook, same), todo, **how))
        if same:
            found["verdicts"] = {n: found["verdicts"].get(n, v) for n, v in earlier["verdicts"].items()}
            pairs = zip(notebook.cells, found["outputs"], earlier["outputs"], strict=True)
            found["outputs"] = [old if checked(cell) in same else new for cell, new, old in pairs]
    outcome = {"key": key, "cells": fingerprint(notebook), "asked": asked} | found
    write(kept, json.dumps(outcome), 0o600)
    return outcome | {"notes": as_json(notes) + outcome["notes"]}


def _earlier(room: Path, ran: str, asked: dict[str, str], notebook: NotebookNode) -> tuple[dict[str, Any], set[str]]:
    """An earlier outcome of the same notebook, and the exercises whose verdicts are as good as new.

    None of one that did not go smoothly: in a new kernel, or after an interrupt, one cell's fate hangs on another's.
    """
    checks = {name for cell in notebook.cells if (name := checked(cell))}
    best: tuple[dict[str, Any], set[str]] = ({}, set())
    for path in room.glob(f"{ran}-*.json"):
        outcome = _load(path) or {}
        smooth = outcome.get("usage", {}).get("kernels", 1) == 1
        smooth &= all(note.kind == Kind.IN_KERNEL for note in from_json(outcome.get("notes", [])))
        if smooth and outcome.get("asked", {}).keys() == asked.keys():
            same = {name for name in checks & asked.keys() if outcome["asked"][name] == asked[name]}
            best = max(best, (outcome, same), key=lambda found: len(found[1]))
    return best


def _without_checks(notebook: NotebookNode, names: set[str]) -> NotebookNode:
    """The notebook with the check cells of these exercises empty: there is nothing to run or to judge in them."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if checked(cell) in names:
            cell.source = ""
            del cell.metadata["nbgrader"]
    return notebook


_digested: list[tuple[dict[str, ExerciseCases], dict[str, str]]] = []


def _asked(cases: dict[str, ExerciseCases]) -> dict[str, str]:
    """A digest of each exercise's cases; submissions ask for those of the same few objects, so the last ones stay."""
    for known, found in _digested:
        if known is cases:
            return found
    _digested.append((cases, {n: hashlib.sha256(save_cases({n: c})).hexdigest() for n, c in cases.items()}))
    del _digested[:-VARIANTS]
    return _digested[-1][1]


def told(result: executor.Result) -> dict[str, Any]:
    """A result as JSON holds it."""
    return {
        "outputs": [c.get("outputs", []) for c in result.notebook.cells],
        "verdicts": {grade_id: asdict(verdict) for grade_id, verdict in result.verdicts.items()},
        "notes": as_json(result.notes),
        "usage": result.usage,
    }


def content(notebook: NotebookNode) -> list[tuple[str, str, str | None]]:
    """What of a notebook decides over its result."""
    return [(c.cell_type, c.source, grade_id(c) or None) for c in notebook.cells]


def fingerprint(notebook: NotebookNode) -> str:
    return sha(content(notebook))


def parent(assignment: Assignment) -> Parent | None:
    """The warm parent for an assignment: it has imported what the solution imports."""
    return warm.shared(imports(read(assignment.solution)), assignment.limits())


def points(assignment: Assignment, forks: Parent | None = None) -> dict[str, float]:
    """`points_of`, for another process to ask."""
    return points_of(assignment)


def prepare_cases(assignment: Assignment, forks: "Parent | None" = None) -> None:
    """Have the hidden cases made, for another process to ask."""
    prepare(assignment, forks)


def _load(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
