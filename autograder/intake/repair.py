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
    _order(cells, release, notes)
    return _notebook(cells, notes), notes


def blank(release: NotebookNode, *notes: Note) -> tuple[NotebookNode, list[Note]]:
    """The released notebook, unanswered, for whom there is nothing else to grade."""
    return _notebook(copy.deepcopy(release.cells), list(notes)), list(notes)


def answered(path: Path, release: NotebookNode, limits: Limits = DEFAULTS) -> bool:
    """Whether anything is written in it where the release asks for an answer."""
    notebook, _ = repair(path, release, limits)
    found = {c.metadata["nbgrader"]["grade_id"]: c.source for c in notebook.cells if "nbgrader" in c.metadata}
    asked = [c for c in release.cells if c.metadata.get("nbgrader", {}).get("solution")]
    return any(found.get(c.metadata["nbgrader"]["grade_id"], c.source).strip() != c.source.strip() for c in asked)


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
    tree = _tree(data, notes)
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


INSTEAD = {  # how a file begins that is no notebook
    b"PK\x03\x04": "a zip",
    b"\x1f\x8b": "a packed file (gzip)",
    b"%PDF": "a PDF",
    b"<!doctype": "a web page (download the file itself)",
    b"<html": "a web page (download the file itself)",
}


def _tree(data: bytes, notes: list[Note]) -> Any:
    """The file as JSON, also where an editor or a transfer has changed how it is stored."""
    odd = ""
    try:
        text = data.decode(json.detect_encoding(data[:4]))
    except UnicodeDecodeError:
        text, odd = data.decode("cp1252", "replace"), "not as UTF-8"
    text = text.removeprefix("\ufeff").strip("\0 \t\r\n")
    try:
        tree, end = json.JSONDecoder().raw_decode(text)
    except RecursionError:
        raise _Unusable(Kind.NOT_JSON) from None
    except ValueError:
        odd = odd or "with signs that JSON does not have"
        tree, end = _leniently(data, text)
    if end < len(text):
        odd = odd or "with more behind its end"
    if odd:
        notes.append(note(Kind.NEARLY_JSON, odd))
    return tree


def _leniently(data: bytes, text: str) -> tuple[Any, int]:
    try:
        return json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        pass
    start = data[:1000].lstrip().lower()
    if what := next((what for begin, what in INSTEAD.items() if start.startswith(begin.lower())), ""):
        raise _Unusable(Kind.OTHER_FORMAT, what)
    if re.search(r"^(<<<<<<<|>>>>>>>) ", text, re.MULTILINE):
        raise _Unusable(Kind.OTHER_FORMAT, "two versions of one, with git's conflict marks between them")
    raise _Unusable(Kind.NOT_JSON)


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
        if name not in owners and (found := next((i for i in free if _is(cells[i], released)), None)) is not None:
            owners[name] = found
            notes.append(note(Kind.MARK_RESTORED, name, cell=found + 1))
    for name, released in known.items():
        if released.cell_type == "code" and not released.metadata["nbgrader"]["grade"] and not _locked(released):
            _find_answer(name, released, cells, owners, known, notes)
    for name, index in owners.items():
        cells[index] = _restored(cells[index], known[name], index, notes)
    for name, released in known.items():
        if _in_words(released):
            _find_words(name, released, cells, owners, release, notes)
    for cell in cells:
        cell.metadata.pop("claims", None)
    return cells


def _find_answer(
    name: str,
    released: NotebookNode,
    cells: list[NotebookNode],
    owners: dict[str, int],
    known: dict[str, NotebookNode],
    notes: list[Note],
) -> None:
    """Let an answer in a cell of the student's own, or in a copy, take the place of a cell that was left as it was."""
    place = owners.get(name)
    if place is not None and cells[place].source.strip() != released.source.strip():
        return
    claims = [cell.metadata.get("claims") for cell in cells]
    written = [
        i
        for i, cell in enumerate(cells)
        if i != place
        and (claims[i] not in known or not _locked(known[claims[i]]))
        and cell.source.strip() != released.source.strip()
        and _defines(cell, name)
    ]
    if not written:
        return
    free = [i for i in written if i not in owners.values() and (claims[i] == name or claims[i] not in known)]
    owners.pop(name, None)
    if free:
        owners[name] = free[-1]
    if place is not None:
        cells[place] = nbformat.v4.new_code_cell("")
        notes.append(note(Kind.ANSWER_FOUND, name, cell=(free or written)[-1] + 1))


def _in_words(cell: NotebookNode) -> bool:
    return cell.cell_type == "markdown" and cell.metadata["nbgrader"]["grade"]


def _find_words(
    name: str,
    released: NotebookNode,
    cells: list[NotebookNode],
    owners: dict[str, int],
    release: NotebookNode,
    notes: list[Note],
) -> None:
    """Take an answer in words from the student's own cells between its question and the next of the release's."""
    place = owners.get(name)
    if place is not None and cells[place].source.strip() != released.source.strip():
        return
    here = [_is_released(cell, release) for cell in cells]
    if place is None:  # the question, or what stands nearest above it
        above = release.cells[: release.cells.index(released)]
        place = max((i for i, cell in enumerate(cells) if any(_alike(cell, r) for r in above)), default=None)
        if place is None:
            return
    end = next((i for i in range(place + 1, len(cells)) if here[i]), len(cells))
    own = [i for i in range(place + 1, end) if cells[i].source.strip()]
    own = [i for i in own if cells[i].cell_type != "code"] or own
    if not own:
        return
    whole = copy.deepcopy(released)
    whole.source = "\n\n".join(cells[i].source for i in own)
    if attachments := {k: v for i in own for k, v in cells[i].get("attachments", {}).items()}:
        whole.attachments = attachments
    if name not in owners:
        place, cells[own[0]] = own[0], whole
        owners[name] = place
        notes.append(note(Kind.MARK_RESTORED, name, cell=place + 1))
        for i in own[1:]:
            cells[i] = nbformat.v4.new_markdown_cell("")
        return
    cells[place] = whole
    notes.append(note(Kind.WORDS_FOUND, name, cell=", ".join(str(i + 1) for i in own)))


def _is_released(cell: NotebookNode, release: NotebookNode) -> bool:
    return "nbgrader" in cell.metadata or any(_alike(cell, released) for released in release.cells)


def _alike(cell: NotebookNode, released: NotebookNode) -> bool:
    """Whether a cell is this one of the release, by its name or its text."""
    if "nbgrader" in cell.metadata or "nbgrader" in released.metadata:
        return cell.metadata.get("nbgrader", {}).get("grade_id") == released.metadata.get("nbgrader", {}).get(
            "grade_id"
        )
    return cell.id == released.id or cell.source.strip() == released.source.strip() != ""


def _is(cell: NotebookNode, released: NotebookNode) -> bool:
    """Whether a cell without its mark is this released one."""
    if cell.cell_type != released.cell_type:
        return False
    if cell.id == released.id or (_locked(released) and cell.source.strip() == released.source.strip()):
        return True
    name = released.metadata["nbgrader"]["grade_id"]
    return cell.cell_type == "code" and not _locked(released) and _defines(cell, name)


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


def _order(cells: list[NotebookNode], release: NotebookNode, notes: list[Note]) -> None:
    """Move the locked cells that cannot work where they stand: a set-up below its use, a check above its function."""
    for position, released in enumerate(release.cells):
        if "nbgrader" not in released.metadata or not _locked(released):
            continue
        name = released.metadata["nbgrader"]["grade_id"]
        place = next(i for i, cell in enumerate(cells) if name in _names([cell]))
        if not released.metadata["nbgrader"]["grade"]:
            later = [r for r in release.cells[position + 1 :] if r.cell_type == "code"]
            target = min((i for i, c in enumerate(cells[:place]) if any(_alike(c, r) for r in later)), default=None)
            where = "up"
        else:
            exercise = name.removeprefix("check_")
            found = [i for i, c in enumerate(cells) if exercise in _names([c])]
            found = found or [i for i, c in enumerate(cells) if _defines(c, exercise)][:1]
            target, where = (found[0] if found and found[0] > place else None), "down"
        if target is not None:
            cells.insert(target, cells.pop(place))
            notes.append(note(Kind.CELL_MOVED, where, cell=name))


def _names(cells: list[NotebookNode]) -> set[str]:
    return {c.metadata["nbgrader"]["grade_id"] for c in cells if "nbgrader" in c.metadata}


def _locked(cell: NotebookNode) -> bool:
    grading = cell.metadata["nbgrader"]
    return not grading["solution"] and (grading["grade"] or grading["locked"])


def _defines(cell: NotebookNode, name: str) -> bool:
    pattern = rf"^(?:(?:async\s+)?def|class)\s+{re.escape(name)}\b|^{re.escape(name)}\s*="
    return cell.cell_type == "code" and bool(re.search(pattern, cell.source, re.MULTILINE))
