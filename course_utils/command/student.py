"""The student's side of the command: `course check` and `course submit`."""

import getpass
import hashlib
import io
import json
import logging
import os
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_output

from course_utils.check import JUDGE_VARIABLE, VERDICT
from course_utils.checking import causes
from course_utils.checking.cases import CASES_FILE, ExerciseCases, load_cases
from course_utils.checking.verdict import Verdict
from course_utils.command import missed, progress
from course_utils.names import is_account
from course_utils.notebook import CHECK, grade_id, grading, read, sync
from course_utils.paths import Course, CourseError, write

TIMESTAMP = "timestamp.txt"  # beside a notebook that was handed in: when; nbgrader reads it, too
RECEIPT = "receipt.json"
CELL_S = 60  # before a cell is interrupted


class OwnPython(AsyncKernelManager):
    """A kernel of the Python that runs this, whatever else is called python3 on this machine."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"])


def check(notebook: Path | None = None) -> tuple[list[Verdict], list[str]]:
    """Run a notebook from top to bottom on the visible cases: a verdict per exercise, and what else is to be said.

    Args:
        notebook: as for `locate`.

    Raises:
        CourseError: there is no notebook, no file of cases beside it, or no kernel starts.
    """
    from course_utils.command.doctor import what_hides

    path = locate(notebook)
    found = read(path)
    try:
        exercises = load_cases(_cases(path))
    except ValueError as error:
        raise CourseError(f"{error}: copy it anew from the released assignment") from None
    sync(found, {e.name: e.points for e in exercises.values()})
    try:
        said = _run(found, path.parent)
    except RuntimeError as error:  # the kernel ended before it answered
        raise CourseError("\n".join(filter(None, [f"no kernel starts ({error})", what_hides(path.parent)]))) from None
    places = {grade_id(cell): place for place, cell in reversed(list(enumerate(found.cells)))}
    verdicts = [_verdict(found.cells, places[f"check_{e.name}"], e) for e in exercises.values()]
    if any(v.points < v.max_points for v in verdicts) and (hidden := what_hides(path.parent)):
        said.append(hidden + ", then check again.")
    return verdicts, said


def _run(notebook: NotebookNode, folder: Path) -> list[str]:
    """Run all cells, those after an error, too; the outputs stay in the notebook. Returns what was in the way."""
    last, exits = 0, False

    def begins(cell_index: int, **_: object) -> None:
        nonlocal last
        last = last if exits else cell_index + 1

    def ends(cell: NotebookNode, execute_reply: dict[str, Any], **_: object) -> None:
        nonlocal exits
        reply = execute_reply["content"]
        exits |= causes.says_exit(reply)
        if reply["status"] == "error" and not any(o.output_type == "error" for o in cell.outputs):
            cell.outputs.append(new_output("error", ename=reply["ename"], evalue=reply["evalue"]))  # IPython's own

    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    client = NotebookClient(
        notebook,
        kernel_manager_class=OwnPython,
        resources={"metadata": {"path": str(folder)}},
        timeout=CELL_S,
        interrupt_on_timeout=True,
        allow_errors=True,
        on_cell_start=begins,
        on_cell_executed=ends,
        extra_arguments=["--log-level=ERROR"],
    )
    client.log.setLevel(logging.CRITICAL)  # what it would say is said below
    environment = {name: value for name, value in os.environ.items() if name != JUDGE_VARIABLE}
    said = []
    try:
        client.execute(env=environment | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"})
    except DeadKernelError:
        how = "it says exit()" if exits else "out of memory, or it left Python"
        said.append(f"Cell {last} ended the kernel ({how}): nothing ran after it.")
    for number, cell in enumerate(notebook.cells, 1):
        if any(o.get("ename") == "KeyboardInterrupt" for o in cell.get("outputs", ())):
            said.append(f"Cell {number} was interrupted after {CELL_S} s.")
    return said


def _verdict(cells: list[NotebookNode], place: int, exercise: ExerciseCases) -> Verdict:
    """What a check cell showed; no points where it came to no verdict."""
    shown = [output.get("data", {}).get(VERDICT) for output in cells[place].get("outputs", ())]
    found = next(filter(None, shown), None)
    verdict = Verdict(**found) if found else Verdict(exercise.name, 0.0, exercise.points, 0, 0, wrong="it was not run")
    causes.explain(verdict, cells, {i: c.get("outputs", ()) for i, c in enumerate(cells)}, place)
    return verdict


def locate(named: Path | None = None) -> Path:
    """The notebook that somebody means, as a whole path.

    Args:
        named: a notebook, a folder with one in it, or an assignment's name; None is the working folder.

    Raises:
        CourseError: there is none, or more than one.
    """
    place = Path(named or Path.cwd()).resolve()
    if place.is_dir():
        own, found = place / f"{place.name}.ipynb", sorted(place.glob("*.ipynb"))
        if not own.exists() and len(found) != 1:
            here = f"{named} has" if named else "this folder has"
            names = ", ".join(p.name for p in found) or "none"
            raise CourseError(f"which notebook? {here} {names}: name one{_such_as()}")
        return own if own.exists() else found[0]
    if place.exists():
        return place
    try:
        return Course.find().released(str(named)) if str(named) in Course.find().names() else _missing(place)
    except CourseError:
        return _missing(place)


def _missing(place: Path) -> Path:
    raise CourseError(f"{place} is missing: name a notebook or an assignment{_such_as()}")


def _such_as() -> str:
    try:
        return f", one of {', '.join(Course.find().names())}"
    except CourseError:
        return ""


def _cases(notebook: Path) -> Path:
    places = [notebook.with_name(CASES_FILE)]
    try:
        places.append(Course.find(notebook.parent).released(notebook.stem).with_name(CASES_FILE))
    except CourseError:
        pass
    for place in places:
        if place.exists():
            return place
    raise CourseError(f"there is no {CASES_FILE} beside {notebook.name}: copy the whole folder of the assignment")


def submit(
    assignment: str | None,
    notebook: Path | None = None,
    to: Path | None = None,
    name: str | None = None,
    pack: Path | None = None,
) -> str:
    """Copy a notebook to where hand-ins are collected, or pack it into one file to send; the receipt.

    Args:
        assignment: its name; or its notebook or folder; None is the working folder's.
        notebook: if it lies elsewhere than here or in `assignments/`.
        pack: a zip to write (or the folder for it), with the notebook and its receipt, instead of the folder `to`.

    Raises:
        CourseError: there is no such notebook, it is damaged or empty, or a name cannot be used.
    """
    if assignment is None or Path(assignment).suffix == ".ipynb" or Path(assignment).is_dir():
        notebook = notebook or locate(Path(assignment) if assignment else None)
        assignment = notebook.stem
    if notebook is None or (to is None and pack is None):
        course = Course.find()
        course.require(assignment)
        here = Path.cwd() / f"{assignment}.ipynb"
        notebook = notebook or (here if here.exists() else course.released(assignment))
        to = to or course.root / "submitted"
    nobody = name is None and is_account(getpass.getuser())  # jovyan, root: every student on a hub is called so
    if nobody and sys.stdin.isatty():
        name = input("Your name or number, as your instructors know it: ").strip()
        nobody = not name
    name = name or getpass.getuser()
    if name != Path(name).name or name.startswith("."):
        raise CourseError(f"{name!r} cannot be the name of a folder: choose another with --name")
    if pack and pack.is_dir():
        pack = pack / f"{name}_{assignment}.zip"
    if pack and pack.suffix != ".zip":
        raise CourseError(f"{pack} is no name for a zip: let it end in .zip, such as {name}.zip")
    data = notebook.read_bytes()
    found = read(notebook)
    try:
        nbformat.validate(found)
    except nbformat.ValidationError as error:
        raise CourseError(f"{notebook} is damaged ({error.message[:100]}): open it in JupyterLab and save it") from None
    exercises = _exercises(notebook)
    if not any(grading(c).get("grade") or CHECK.fullmatch(c.source.strip()) for c in found.cells):
        raise CourseError(f"{notebook} is not an assignment: none of its cells is graded")
    said = missed.checks(found.cells, exercises)
    if len(data) > missed.STRIPPED and len(stripped := missed.without_outputs(found)) < len(data):
        said.append(f"its saved outputs ({len(data) >> 20} MiB) were left out: the grader runs it anew")
        data = stripped
    if len(data) > missed.MOST:
        said.append(f"it has {len(data) >> 20} MiB: a grader may not read it; take large texts and pictures out")
    beside = missed.own_files(found.cells, notebook.parent)
    names = ", ".join(path.relative_to(notebook.parent).as_posix() for path in beside)
    if beside and pack:
        said.append(f"your notebook uses {names}, which is not packed: copy what it needs of that into the notebook")
    elif beside:
        said.append(f"with it: {names}")
    if nobody:
        raise CourseError(f"{name} is this machine's account and not your name: say who you are with --name")
    time = datetime.now(UTC)
    digest = hashlib.sha256(data).hexdigest()
    receipt = {"assignment": assignment, "name": name, "sha256": digest, "time": time.isoformat(timespec="seconds")}
    text = json.dumps(receipt, indent=1) + "\n"
    signed = f"sha256 {digest}\nat {time:%Y-%m-%d %H:%M:%S} UTC, as {name}"
    if left := [e.name for e in progress.exercises(found.cells) if not e.written]:
        signed += f"\nnot written yet: {', '.join(left)} (you can hand in again; the last one counts)"
    signed += "".join(f"\n{sentence}" for sentence in said)
    if pack:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{assignment}.ipynb", data)
            archive.writestr(RECEIPT, text)
        write(pack, packed.getvalue())
        return f"packed: {pack}\n{signed}\nnot handed in yet: send this file to whoever collects them"
    folder = to / name / assignment
    write(folder / f"{assignment}.ipynb", data)
    write(folder / TIMESTAMP, f"{time:%Y-%m-%d %H:%M:%S.%f} UTC\n")  # nbgrader reads it
    write(folder / RECEIPT, text)
    for path in beside:
        write(folder / path.relative_to(notebook.parent), path.read_bytes())
    return f"handed in: {folder / f'{assignment}.ipynb'}\n{signed}"


def _exercises(notebook: Path) -> list[str]:
    """The exercises of the assignment, as far as the file of cases is to be found."""
    try:
        return list(load_cases(_cases(notebook)))
    except (CourseError, ValueError):
        return []
