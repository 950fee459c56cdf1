"""A run notebook changed so that a page of it needs no kernel: widgets stand still, plots have words."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from html import escape

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_output

from course_utils.show.moving import STYLE, VIEW


def still(notebook: NotebookNode, save: Callable[[str, bytes], str]) -> NotebookNode:
    """The notebook with outputs that any browser shows by itself.

    Args:
        save: called with a file's name and content, returns the address under which a page finds it.
    """
    found = nbformat.from_dict(notebook)
    for cell in found.cells:
        if cell.cell_type == "code":
            cell.outputs = [_still(output, save) for output in _joined(_without_views(cell.outputs))]
            cell.execution_count = None
    found.metadata.pop("widgets", None)
    return found


def _without_views(outputs: Iterable[NotebookNode]) -> Iterator[NotebookNode]:
    """Outputs without what lives on a kernel: of the course's widgets their stills are left, of others their text."""
    for output in outputs:
        if STYLE in output.get("data", {}).get("text/html", ""):
            output.data["text/html"] = output.data["text/html"].replace(STYLE, "")
        if VIEW not in output.get("data", {}):
            yield output
        elif data := {kind: said for kind, said in output.data.items() if kind != VIEW and said}:
            yield new_output("display_data", data)


def _joined(outputs: Iterable[NotebookNode]) -> Iterator[NotebookNode]:
    """Outputs, where what was printed in several goes is one."""
    last = None
    for output in outputs:
        if last is not None and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
            continue
        if last is not None:
            yield last
        last = output
    if last is not None:
        yield last


def _still(output: NotebookNode, save: Callable[[str, bytes], str]) -> NotebookNode:
    data = output.get("data", {})
    said = data.get("text/plain", "")
    if "image/png" not in data:
        return output
    content = base64.b64decode(data["image/png"])
    address = save(f"{hashlib.sha256(content).hexdigest()[:16]}.png", content)
    sides = output.get("metadata", {}).get("image/png", {})  # as JupyterLab shows it; the file has twice as many
    size = "".join(f' {side}="{sides[side]}"' for side in ("width", "height") if side in sides)
    html = f'<img class="course-plot" src="{address}" alt="{escape(" ".join(said.split()))}"{size} />'
    return new_output("display_data", {"text/html": html, "text/plain": said})
