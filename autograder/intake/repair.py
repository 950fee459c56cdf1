"""Whatever was handed in becomes a whole notebook: the student's cells, with the release's metadata and locked cells.

Only cell types, texts and pasted pictures are taken from the file; all that nbgrader or a kernel goes by comes from the
release.
"""

import copy
import json
import re
from itertools import accumulate
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.intake.plain_file import NotPlain, open_plain
from autograder.limits import DEFAULTS, Limits, mib
from autograder.notes import NOTES, Kind, Note, as_json, note
from course_utils.notebook import KERNEL

PICTURES = ("image/png", "image/jpeg", "image/gif")


def repair(path: Path, release: NotebookNode, limits: Limits = DEFAULTS) -> tuple[NotebookNode, list[Note]]:
    """The notebook to be graded, and what had to be put right. Never raises.

    Args:
        path: what the student handed in; it may be missing, broken or hostile.
        release: the released notebook.
        limits: how large it may be.
    """
    try:
        cells, kernel, notes = _parse(_bytes(Path(path), limits.notebook_bytes), limits)
    except _Unusable as error:
        return blank(release, error.note)
    except Exception as error:  # the parsers' own troubles with hostile files
        return blank(release, note(Kind.NOT_READ, type(error).__name__))
    if kernel and kernel != KERNEL["kernelspec"]["name"]:
        notes.append(note(Kind.OTHER_KERNEL, kernel))
    cells = _match(cells, release, notes)
    _put_back(cells, release, notes)
    return _notebook(cells, notes), notes


def blank(release: NotebookNode, *notes: Note) -> tuple[NotebookNode, list[Note]]:
    """The released notebook, unanswered, for whom there is nothing else to grade."""
    return _notebook(copy.deepcopy(release.cells), list(notes)), list(notes)


def _notebook(cells: list[NotebookNode], notes: list[Note]) -> NotebookNode:
    used = {cell.metadata["nbgrader"]["grade_id"] for cell in cells if "nbgrader" in cell.metadata}
    for number, cell in enumerate(cells):
        own = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.id = (
            re.sub(r"[^a-zA-Z0-9_-]", "-", own)[:60] if own else f"cell-{number}" + "-" * (f"cell-{number}" in used)
        )
    metadata = nbformat.from_dict(copy.deepcopy(KERNEL) | {NOTES: {"notes": as_json(notes)}})
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata, nbformat_minor=5)


# --- reading ----------------------------------------------------------------------------------------------------------


class _Unusable(Exception):
    """Nothing of the file can be graded; the note says why."""

    def __init__(self, kind: Kind, *text: object):
        super().__init__(kind)
        self.note = note(kind, *text)


def _bytes(path: Path, most: int) -> bytes:
    """The file's content, if it is a plain file of a sane size (never a link, a pipe or a device)."""
    try:
        file, status = open_plain(path)
    except FileNotFoundError:
        raise _Unusable(Kind.NO_FILE) from None
    except NotPlain:
        raise _Unusable(Kind.NOT_PLAIN) from None
    except OSError as error:
        raise _Unusable(Kind.NOT_OPENED, error.strerror) from None
    with file:
        if status.st_size > most:
            raise _Unusable(Kind.TOO_LARGE, mib(status.st_size), mib(most))
        return file.read(most + 1)


def _parse(data: bytes, limits: Limits) -> tuple[list[NotebookNode], str, list[Note]]:
    """New cells with the types and texts of the file's, what may identify them, the kernel's name, and notes."""
    if not data.strip():
        raise _Unusable(Kind.EMPTY)
    notes: list[Note] = []
    try:
        tree = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):  # ValueError: also what is not UTF-8
        raise _Unusable(Kind.NOT_JSON) from None
    if not isinstance(tree, dict):
        raise _Unusable(Kind.NO_CELLS)
    sheets = tree.get("worksheets")
    if isinstance(sheets, list):
        tree = tree | {"cells": [c for s in sheets if isinstance(s, dict) for c in s.get("cells") or []]}
        notes.append(note(Kind.OLD_FORMAT))
    if not isinstance(tree.get("cells"), list):
        raise _Unusable(Kind.NO_CELLS)
    cells = [cell for cell in map(_cell, tree["cells"][: limits.cells]) if cell]
    lengths = accumulate(len(cell.source) for cell in cells)
    cells = [cell for cell, length in zip(cells, lengths) if length <= limits.characters]
    if len(cells) < len(tree["cells"]):
        notes.append(note(Kind.CELLS_LEFT_OUT, len(tree["cells"]) - len(cells)))
    metadata = tree.get("metadata")
    spec = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    kernel = spec.get("name") if isinstance(spec, dict) else None
    return cells, _clean(kernel)[:80] if isinstance(kernel, str) else "", notes


def _cell(raw: Any) -> NotebookNode | None:
    if not isinstance(raw, dict):
        return None
    source = raw.get("source", raw.get("input", ""))
    source = "".join(map(str, source)) if isinstance(source, list) else source if isinstance(source, str) else ""
    kind = raw.get("cell_type")
    if kind == "heading":  # of nbformat 3
        level = raw.get("level")
        kind, source = "markdown", "#" * (level if level in range(1, 7) else 1) + " " + source
    makers = {
        "code": nbformat.v4.new_code_cell,
        "markdown": nbformat.v4.new_markdown_cell,
        "raw": nbformat.v4.new_raw_cell,
    }
    if not isinstance(kind, str) or kind not in makers:
        return None
    cell = makers[kind](_clean(source))
    attachments = raw.get("attachments")
    if kind == "markdown" and isinstance(attachments, dict):
        cell.attachments = nbformat.from_dict(
            {
                _clean(name): {mime: data[mime] for mime in PICTURES if isinstance(data.get(mime), str)}
                for name, data in attachments.items()
                if isinstance(data, dict)
            }
        )
    metadata = raw.get("metadata")
    grading = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    grade_id = grading.get("grade_id") if isinstance(grading, dict) else None
    cell.metadata["claims"] = grade_id if isinstance(grade_id, str) else None
    cell.id = raw["id"] if isinstance(raw.get("id"), str) else ""
    return cell


def _clean(text: str) -> str:
    """Text that can be written to a file: half characters (lone surrogates) replaced."""
    return text.encode("utf-8", "replace").decode()


# --- matching with the release ----------------------------------------------------------------------------------------


def _match(cells: list[NotebookNode], release: NotebookNode, notes: list[Note]) -> list[NotebookNode]:
    """Give the student's cells the metadata, and the locked ones also the text, of the released cells that they are."""
    known = {c.metadata["nbgrader"]["grade_id"]: c for c in release.cells if "nbgrader" in c.metadata}
    owners: dict[str, int] = {}
    for index, cell in enumerate(cells):
        claim = cell.metadata.get("claims")
        if claim in known and claim not in owners:
            owners[claim] = index
        elif claim in known:
            notes.append(note(Kind.COPY, claim, cell=index + 1))
        elif claim:
            notes.append(note(Kind.UNKNOWN_CELL, _clean(claim)[:60], cell=index + 1))
    for name, released in known.items():
        taken = set(owners.values())
        free = (i for i, c in enumerate(cells) if i not in taken and c.metadata.get("claims") not in known)
        if (
            name not in owners
            and (found := next((i for i in free if _is(cells, i, released, release)), None)) is not None
        ):
            owners[name] = found
            notes.append(note(Kind.MARK_RESTORED, name, cell=found + 1))
    for name, index in owners.items():
        cells[index] = _restored(cells[index], known[name], index, notes)
    for cell in cells:
        cell.metadata.pop("claims", None)
    return cells


def _is(cells: list[NotebookNode], index: int, released: NotebookNode, release: NotebookNode) -> bool:
    """Whether a cell without its mark is this released one."""
    cell = cells[index]
    if cell.cell_type != released.cell_type:
        return False
    if cell.id == released.id or (_locked(released) and cell.source.strip() == released.source.strip()):
        return True
    if cell.cell_type == "code":
        name = released.metadata["nbgrader"]["grade_id"]
        return not _locked(released) and _defines(cell, name)
    before = release.cells.index(released) - 1  # an answer in words follows its question
    return index > 0 and before >= 0 and cells[index - 1].source.strip() == release.cells[before].source.strip() != ""


def _restored(cell: NotebookNode, released: NotebookNode, index: int, notes: list[Note]) -> NotebookNode:
    whole = copy.deepcopy(released)
    name = released.metadata["nbgrader"]["grade_id"]
    if cell.cell_type != released.cell_type:
        notes.append(note(Kind.TYPE_RESTORED, cell.cell_type, released.cell_type, cell=f"{index + 1} ({name})"))
    if not _locked(released):
        whole.source = cell.source
        if whole.cell_type == "markdown" and cell.get("attachments"):
            whole.attachments = cell.attachments
    elif cell.source.strip() != released.source.strip():
        notes.append(note(Kind.TEXT_RESTORED, cell=f"{index + 1} ({name})"))
    return whole


def _put_back(cells: list[NotebookNode], release: NotebookNode, notes: list[Note]) -> None:
    """Insert the locked and graded cells that are missing, each after the cells that it needs."""
    for position, released in enumerate(release.cells):
        grading = released.metadata.get("nbgrader")
        if not grading or grading["grade_id"] in _names(cells) or not (grading["grade"] or grading["locked"]):
            continue
        earlier = {c.metadata["nbgrader"]["grade_id"] for c in release.cells[:position] if "nbgrader" in c.metadata}
        needed = grading["grade_id"].removeprefix("check_")
        places = [
            i + 1
            for i, c in enumerate(cells)
            if c.metadata.get("nbgrader", {}).get("grade_id") in earlier or (grading["grade"] and _defines(c, needed))
        ]
        cells.insert(max(places, default=0), copy.deepcopy(released))
        notes.append(note(Kind.CELL_RESTORED, cell=grading["grade_id"]))


def _names(cells: list[NotebookNode]) -> set[str]:
    return {c.metadata["nbgrader"]["grade_id"] for c in cells if "nbgrader" in c.metadata}


def _locked(cell: NotebookNode) -> bool:
    grading = cell.metadata["nbgrader"]
    return not grading["solution"] and (grading["grade"] or grading["locked"])


def _defines(cell: NotebookNode, name: str) -> bool:
    pattern = rf"^(?:(?:async\s+)?def|class)\s+{re.escape(name)}\b|^{re.escape(name)}\s*="
    return cell.cell_type == "code" and bool(re.search(pattern, cell.source, re.MULTILINE))
