"""What a grader would miss of a notebook that is about to be handed in: files beside it, marks, checks, room."""

import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_utils.checking.cases import CASES_FILE
from course_utils.notebook import CHECK, grading, is_code

STRIPPED = 2 * 2**20  # bytes from which on saved outputs are left out: the grader makes them anew
MOST = 32 * 2**20  # bytes that a grader reads, unless its instructor has set another limit
IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+(\w+)[\w.]*[ \t]+import|import[ \t]+([\w., \t]+))", re.MULTILINE)
TEXT = re.compile(r"""["']([^"'\n]{1,200})["']""")


def own_files(cells: list[NotebookNode], folder: Path) -> list[Path]:
    """The files beside a notebook that its code names: modules that it imports, files that stand in it as text.

    The modules that these import are found, too. What came with the assignment is not among them.
    """
    found: set[Path] = set()
    waiting = [cell.source for cell in cells if is_code(cell)]
    while waiting:
        source = waiting.pop()
        for path in {*_modules(source, folder), *_named(source, folder)} - found:
            found.add(path)
            if path.suffix == ".py":
                waiting.append(path.read_text(encoding="utf-8", errors="replace"))
    released = {CASES_FILE, "checksums.sha256"}
    return sorted(p for p in found if p.name not in released and p.suffix != ".ipynb")


def _modules(source: str, folder: Path) -> set[Path]:
    names = {
        name.split()[0].split(".")[0]
        for one, many in IMPORT.findall(source)
        for name in (one, *many.split(","))
        if name.strip()
    }
    single = {folder / f"{name}.py" for name in names}
    packages = {path for name in names if (folder / name).is_dir() for path in (folder / name).rglob("*.py")}
    return {path for path in single | packages if path.is_file()}


def _named(source: str, folder: Path) -> set[Path]:
    names = {name for name in TEXT.findall(source) if not name.startswith(("/", "~", "..")) and "\0" not in name}
    return {folder / name for name in names if (folder / name).is_file()}


def checks(cells: list[NotebookNode], exercises: list[str]) -> list[str]:
    """Sentences about the check cells that are not there, and marks that an editor has taken away."""
    code = [cell for cell in cells if cell.cell_type == "code"]
    there = {match[1] for cell in code if (match := CHECK.search(cell.source))}
    said = []
    if missing := [name for name in exercises if name not in there]:
        said.append(
            f"no cell says check({'), check('.join(missing)}): the grader puts it back, but you cannot see your points"
        )
    marked = {grading(cell).get("grade_id") for cell in cells}
    lost = [name for name in exercises if name in there and f"check_{name}" not in marked]
    if lost:
        said.append(
            f"an editor has taken the marks off the cells of {', '.join(lost)}: the grader goes by their text; better "
            "copy your answers into a fresh copy of the notebook"
        )
    return said


def without_outputs(notebook: NotebookNode) -> bytes:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("widgets", None)
    return (nbformat.writes(notebook).rstrip("\n") + "\n").encode()
