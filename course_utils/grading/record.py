"""The two places where this course steps into nbgrader's autograde: how a submission is read, and how it is run.

`nbgrader_config.py` names both, so that `nbgrader autograde`, Formgrader and `course grade` go the same way.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.preprocessors.base import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution
from traitlets import Bool

import course_utils
from course_utils.check import ExerciseCases, load_cases, save_cases
from course_utils.grading import execute as executor
from course_utils.grading import sandbox, warm
from course_utils.grading.course import Course, CourseError, write
from course_utils.grading.feedback import harmless
from course_utils.grading.release import build_cases, read
from course_utils.grading.repair import NOTES, repair
from course_utils.grading.submissions import copy_files
from course_utils.grading.temporary import temporary_folder
from course_utils.grading.warm import Parent, imports

STAGED = "staged"  # folder in `Course.private`: submissions that are repaired already


class SubmissionExporter(NotebookExporter):
    """Reads what was handed in through `repair`, so that no file is too broken to be graded."""

    def from_filename(self, filename: str, resources: Any = None, **kw: Any) -> tuple[str, Any]:
        directory, name = self.parent.coursedir, resources["nbgrader"]["assignment"]
        submitted = Path(directory.format_path(directory.submitted_directory, "x", "x")).parents[1]
        if submitted.name == STAGED or submitted not in Path(filename).parents:
            return super().from_filename(filename, resources, **kw)
        notebook, notes = repair(Path(filename), read(Course(Path(directory.root)).released(name)))
        notebook.metadata[NOTES] = {"notes": notes}
        resources["metadata"] = {"name": Path(filename).stem, "path": str(Path(filename).parent)}
        return self.from_notebook_node(notebook, resources, **kw)


class Execute(NbGraderPreprocessor):
    """Runs the notebook in the sandbox, judged from outside, in place of nbgrader's own Execute."""

    enabled = Bool(True)  # not to be switched off: a notebook that was not run would get full marks
    sandbox = Bool(True, help="Whether students' code runs in a sandbox").tag(config=True)
    done = 0  # notebooks in this process

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        directory, names = self.parent.parent.coursedir, resources["nbgrader"]
        course, name = Course(Path(directory.root)), names["assignment"]
        place = Path(directory.format_path(directory.submitted_directory, names["student"], name))
        Execute.done += 1  # one kernel is as quick from cold; nbgrader may ask for a whole class
        forks = parent(course, name) if self.sandbox and Execute.done > 1 else None
        outcome = run(course, name, nb, place, hidden_cases(course, name), self.sandbox, forks=forks)
        return inscribe(nb, outcome), resources


def inscribe(notebook: NotebookNode, outcome: dict[str, Any]) -> NotebookNode:
    """Write an outcome's outputs, verdicts and notes into the notebook."""
    for cell, outputs in zip(notebook.cells, outcome["outputs"], strict=True):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = nbformat.from_dict(outputs), None
            if is_grade(cell) and not is_solution(cell):
                _fail_closed(cell, cell.metadata["nbgrader"]["grade_id"] in outcome["verdicts"])
    harmless(notebook.cells)
    notes = notebook.metadata.get(NOTES, {}).get("notes", []) + outcome["notes"]
    grader = {k: outcome[k] for k in ("verdicts", "usage", "key")} | {"notes": notes}
    notebook.metadata[NOTES] = nbformat.from_dict(grader)
    if notes:
        lines = ["**Grader's notes**", ""] + [f"- {plain(note)}" for note in notes]
        notebook.cells.insert(0, nbformat.v4.new_markdown_cell("\n".join(lines), id="grader-notes"))
    return notebook


def _fail_closed(cell: NotebookNode, judged: bool) -> None:
    """No points where nbgrader would give them all: to a judged cell without a value, to a value that is no number."""
    values = [o.data.get("text/plain", "") for o in cell.outputs if o.output_type == "execute_result"]
    try:
        if all(0 <= float(v) <= cell.metadata["nbgrader"]["points"] for v in values) and len(values) >= judged:
            return
    except ValueError:
        pass
    error = nbformat.v4.new_output("error", ename="NotGraded", evalue="no points could be read", traceback=[])
    cell.outputs = [error, *(o for o in cell.outputs if o.output_type != "execute_result")]


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


# --- running, or remembering ------------------------------------------------------------------------------------------


def run(
    course: Course,
    name: str,
    notebook: NotebookNode,
    place: Path,
    cases: dict[str, ExerciseCases],
    sandboxed: bool = True,
    again: bool = False,
    forks: Parent | None = None,
) -> dict[str, Any]:
    """The outcome of a repaired notebook: outputs, verdicts, notes, usage; kept, so that it is found out once.

    Args:
        place: the submission's folder; its files are there when the notebook runs, but the release's win.
        again: do not use what is kept.
        forks: the warm parent of the kernels.

    Raises:
        CourseError: there is no sandbox here.
    """
    if sandboxed and (why := sandbox.missing()):
        raise CourseError(f"{why} (without a sandbox, students' code could do all that you can: see --unsafe)")
    cells = [(c.cell_type, c.source, c.metadata.get("nbgrader", {}).get("grade_id")) for c in notebook.cells]
    with temporary_folder() as temporary:
        files, notes = Path(temporary), []
        for folder in (place, course.released(name).parent):
            if folder.is_dir():
                copy_files(folder, files, notes if folder == place else [])
        limits = sandbox.DEFAULTS
        judged = hashlib.sha256(save_cases(cases)).hexdigest()
        parts = [cells, _digests(files), judged, repr(limits), sandboxed, version(course.root)]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        kept = course.private(name) / "results" / f"{key}.json"
        if not again and (outcome := _load(kept)):
            return outcome | {"notes": notes + outcome["notes"]}
        result = executor.execute(notebook, cases, files=files, limits=limits, sandbox=sandboxed, warm=forks)
    outcome = {
        "key": key,
        "outputs": [c.get("outputs", []) for c in result.notebook.cells],
        "verdicts": {grade_id: asdict(verdict) for grade_id, verdict in result.verdicts.items()},
        "notes": result.notes,
        "usage": result.usage,
    }
    write(kept, json.dumps(outcome), 0o600)
    return outcome | {"notes": notes + outcome["notes"]}


def parent(course: Course, name: str) -> Parent | None:
    """The warm parent for an assignment: it has imported what the solution imports."""
    return warm.shared(imports(read(course.solution(name))))


def hidden_cases(course: Course, name: str) -> dict[str, ExerciseCases]:
    """The assignment's hidden cases: drawn with its private seed, answered by the solution, kept beside the seed."""
    folder = course.private(name)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    source = course.solution(name).parent
    if not source.is_dir():
        raise CourseError(f"{source} is missing: without the solution nobody knows what is right")
    parts = [_seed(folder), _digests(source), version(course.root)]
    path = folder / "cases" / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}.safetensors"
    try:
        return load_cases(path)
    except (FileNotFoundError, ValueError):
        write(path, save_cases(build_cases(course, name, parts[0])), 0o600)
    return load_cases(path)


def _seed(folder: Path) -> int:
    path = folder / "seed"
    if not path.exists():
        write(path, str(secrets.randbits(62)), 0o600)
    return int(path.read_text())


@cache
def version(root: Path) -> str:
    """A digest of the library and of the locked packages: results of other versions are not used."""
    folder = Path(course_utils.__file__).parent
    parts: dict[str, str] = _digests(folder, folder.rglob("*.py"))
    lock = root / "requirements.lock"
    return hashlib.sha256((json.dumps(parts) + (lock.read_text() if lock.exists() else "")).encode()).hexdigest()


def _digests(folder: Path, paths: Iterable[Path] | None = None) -> dict[str, str]:
    paths = sorted(p for p in paths or folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {os.fsencode(p.relative_to(folder)).hex(): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def _load(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
