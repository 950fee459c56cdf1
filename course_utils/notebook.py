"""The grammar of the course's notebooks: how one is read and written, and what its cells are."""

import re
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from course_utils.paths import CourseError

CHECK = re.compile(r"check\(\s*(\w+)\s*\)")
UNWRITTEN = re.compile(r"^[ \t]*raise NotImplementedError\b", re.MULTILINE)  # a stub
DEFINITION = re.compile(r"^(?:def|class)\s+(\w+)", re.MULTILINE)
KERNEL = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


# --- cells ------------------------------------------------------------------------------------------------------------


def is_code(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


def grading(cell: NotebookNode) -> dict[str, Any]:
    """nbgrader's metadata of a cell; empty where there is none."""
    found = cell.metadata.get("nbgrader")
    return found if isinstance(found, dict) else {}


def grade_id(cell: NotebookNode) -> str:
    """What nbgrader calls a cell; "" where it has no name."""
    return grading(cell).get("grade_id") or ""


def points(cell: NotebookNode) -> float:
    return float(grading(cell).get("points", 0))


def exercise(cell: NotebookNode) -> str:
    """The exercise whose mark is read from this cell; "" if it is none's."""
    judged = cell.cell_type == "code" and grading(cell).get("grade") and grade_id(cell).startswith("check_")
    return grade_id(cell).removeprefix("check_") if judged else ""


def checked(cell: NotebookNode) -> str:
    """The exercise that a cell checks, and does nothing else; "" if it is another cell."""
    found = CHECK.fullmatch(cell.source.strip()) if cell.cell_type == "code" else None
    return found[1] if found and grade_id(cell) == f"check_{found[1]}" else ""


def sync(notebook: NotebookNode, points: dict[str, float]) -> None:
    """Write nbgrader's metadata of the exercises into their cells, in place.

    `check(NAME)` becomes a locked grade cell, the definition of NAME (with BEGIN and END SOLUTION) a solution cell, the
    cell that makes the `Checker` a locked one. Other cells (answers marked by hand, `assert` cells) keep theirs.

    Args:
        points: of each exercise, by name.

    Raises:
        CourseError: an exercise has no check cell or two, or a check cell no exercise.
    """
    seen: set[str] = set()
    for cell in notebook.cells:
        metadata = _metadata(cell, points)
        if metadata:
            cell.metadata["nbgrader"] = {"schema_version": 3, "task": False} | metadata
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name in seen:
            raise CourseError(
                f"two cells are called {name}: give each exercise one cell and every other cell its own grade_id"
            )
        seen |= {name} if name else set()
    missing = [name for name in points if f"check_{name}" not in seen]
    if missing:
        raise CourseError(f"no cell says check({missing[0]}): add one after the cell that asks for {missing[0]}")


def _metadata(cell: NotebookNode, points: dict[str, float]) -> dict[str, Any] | None:
    if cell.cell_type != "code":
        return None
    if match := CHECK.fullmatch(cell.source.strip()):
        name = match[1]
        if name not in points:
            raise CourseError(
                f"check({name}): mistakes.py has no exercise of this name, only {', '.join(points) or 'none'}"
            )
        grade = {"grade": True, "solution": False, "locked": True}
        return grade | {"grade_id": f"check_{name}", "points": float(points[name])}
    if "BEGIN SOLUTION" in cell.source:
        names = DEFINITION.findall(cell.source)
        name = next((n for n in names if n in points), names[0] if names else None)
        old = cell.metadata.get("nbgrader")
        return None if old or not name else {"grade": False, "solution": True, "locked": False, "grade_id": name}
    if "Checker(" in cell.source:
        return {"grade": False, "solution": False, "locked": True, "grade_id": "setup"}
    return None


# --- reading and writing ----------------------------------------------------------------------------------------------


def normalise(notebook: NotebookNode) -> NotebookNode:
    """The notebook as it is committed: nbformat 4.5, no outputs, no counts, stable ids, little metadata."""
    used: set[str] = set()
    for number, cell in enumerate(notebook.cells):
        kept = ("nbgrader", "tags", "deletable", "editable", "jupyter", "slideshow")
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in kept and v != []}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        name = cell.metadata.get("nbgrader", {}).get("grade_id") or cell.get("id") or ""
        name = re.sub(r"[^a-zA-Z0-9_-]", "-", name)[:60]
        cell.id = name if name and name not in used else f"cell-{number}"
        used.add(cell.id)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(KERNEL)
    return notebook


def text(notebook: NotebookNode) -> str:
    nbformat.validate(notebook)
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def read(path: Path) -> NotebookNode:
    """A notebook of the course itself.

    Raises:
        CourseError: it is missing or damaged.
    """
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise CourseError(f"{path} is missing") from None
    except Exception as error:  # whatever nbformat says about a damaged file
        raise CourseError(f"{path} is not a notebook ({type(error).__name__}: {str(error)[:100]})") from None
