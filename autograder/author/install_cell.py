"""The cell after the title of every notebook, which installs the course where it is not, as in Colab.

    python -m autograder.author.install_cell            write it into all notebooks
    python -m autograder.author.install_cell --check    say which notebooks hold another one

The repository's address stands in one place, `[project.urls]` of `pyproject.toml`.
"""

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from course_utils import paths
from course_utils.paths import ROOT

ID = "install"
# collapsed in JupyterLab; not on the site and not on slides, which have nothing to install
METADATA = {"jupyter": {"source_hidden": True}, "slideshow": {"slide_type": "skip"}, "tags": ["remove-cell"]}
CELL = """try:
    import course_utils  # noqa: F401
except ImportError:  # in Colab, say: fetch the course and install what is missing
    !git clone --quiet --depth 1 {address}
    %pip install --quiet ./{folder}"""


def address(root: Path = ROOT) -> str:
    """Where the course can be cloned from.

    Raises:
        ValueError: pyproject.toml does not say.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = project.get("urls", {}).get("Repository", "")
    if not found or any(c.isspace() for c in found):
        raise ValueError('pyproject.toml needs an address without spaces: [project.urls] Repository = "https://…"')
    return found


def source(root: Path = ROOT) -> str:
    return source_for(address(root))


def source_for(where: str) -> str:
    """The cell for a course that lies at an address."""
    return CELL.format(address=where, folder=folder_of(where))


def folder_of(where: str) -> str:
    """The folder into which git clones an address."""
    return where.rstrip("/").rpartition("/")[2].removesuffix(".git")


def notebooks(root: Path = ROOT) -> list[Path]:
    return sorted(root.glob("lectures/*.ipynb")) + sorted(root.glob("[as]*s/a*/a*.ipynb"))


def wanted(notebook: dict[str, Any], text: str) -> dict[str, Any]:
    """The notebook with the cell, and no older one, after its first cell."""
    cells = [cell for cell in notebook["cells"] if cell.get("id") != ID]
    cell = {"cell_type": "code", "execution_count": None, "id": ID, "metadata": METADATA, "outputs": []}
    cells.insert(1, cell | {"source": text.splitlines(keepends=True)})
    return notebook | {"cells": cells}


def rewritten(before: str, cell: str) -> str:
    """A notebook's file with the cell in it."""
    return json.dumps(wanted(json.loads(before), cell), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def write(root: Path = ROOT, check: bool = False) -> list[Path]:
    """Write the cell where it is missing or another; those notebooks.

    Args:
        check: write nothing, and pass over assignments that have no such cell: an exercise of one's own needs none.
    """
    from autograder.author.generate import stamp
    from autograder.course import Assignment, Course

    text, changed = source(root), []
    for path in notebooks(root):
        before = path.read_text(encoding="utf-8")
        after = rewritten(before, text)
        own = path.parent.parent != root and f'"id": "{ID}"' not in before
        if before != after and not (check and own):
            changed.append(path)
            if not check:
                paths.write(path, after)
    for name in {} if check else dict.fromkeys(p.stem for p in changed if p.parent.parent != root):
        stamp(Assignment(Course(root), name))
    return changed


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if something is to be written")
    asked = parser.parse_args(arguments)
    changed = write(check=asked.check)
    print(*(path.relative_to(ROOT) for path in changed), sep="\n", end="\n" * bool(changed))
    print(f"{len(changed)} notebooks {'to be written' if asked.check else 'written'}, for {address()}")
    return int(asked.check and bool(changed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
