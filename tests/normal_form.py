"""A notebook's normal form: what a person wrote, and nothing that a run or an editor left behind.

python tests/normal_form.py lectures/01_shannon_markov_chains.ipynb …
"""

import json
import sys
from pathlib import Path

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
# deletable, editable: nbgrader locks its check cells; jupyter: a cell that is collapsed
CELL_METADATA = {"nbgrader", "deletable", "editable", "tags", "jupyter", "slideshow"}


def normal_form(notebook: dict) -> str:
    """The file as it is committed: what a person wrote, and nothing that a run or an editor left behind."""
    cells = []
    for cell in notebook["cells"]:
        kept = {key: cell[key] for key in ("cell_type", "id", "source")}
        kept["metadata"] = {key: value for key, value in cell["metadata"].items() if key in CELL_METADATA}
        if "attachments" in cell:
            kept["attachments"] = cell["attachments"]
        if cell["cell_type"] == "code":
            kept |= {"execution_count": None, "outputs": []}
        source = kept["source"] if isinstance(kept["source"], str) else "".join(kept["source"])
        kept["source"] = source.splitlines(keepends=True)
        cells.append(kept)
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    whole = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(normal_form(json.loads(Path(name).read_text(encoding="utf-8"))), encoding="utf-8")
