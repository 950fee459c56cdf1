"""Outputs of cells: what a kernel sent, made harmless, and the ones that nbgrader reads marks from.

nbgrader 0.9 gives a cell of tests full marks when it has no output, none for an error or anything on stderr, and
otherwise the number that is its value.
"""

import itertools
import math
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

from course_utils.checking.verdict import Verdict

KINDS = ("stream", "error", "display_data", "execute_result")
SHOWN = ("text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml", "image/png", "image/jpeg")


def of_verdict(verdict: Verdict, most: float) -> list[NotebookNode]:
    """What nbgrader reads as the verdict: the message, then the points as the cell's value."""
    points = min(verdict.points, most) if verdict.points > 0 else 0.0
    return [
        new_output("stream", name="stdout", text=_text(verdict.message).rstrip() + "\n"),
        new_output("execute_result", data={"text/plain": str(float(points))}),
    ]


def of_tests(outputs: list[NotebookNode], most: float) -> list[NotebookNode]:
    """A plain test cell's outputs such that nbgrader reads what the tests meant: an error is 0, a warning is free.

    A number as the cell's value is partial credit; of several the lowest counts, and one that cannot be is an error.
    """
    others = [o for o in outputs if o.output_type == "display_data" or o.get("name") == "stdout"]
    if errors := [o for o in outputs if o.output_type == "error"]:
        return errors + others
    values = [o.data.get("text/plain", "") for o in outputs if o.output_type == "execute_result"]
    points = sorted(n for n in map(_number, values) if n is not None)
    if points and not 0 <= points[0] <= points[-1] <= most:
        return [error("ValueError", f"the value of this cell is no number of points from 0 to {most:g}"), *others]
    return others + [new_output("execute_result", data={"text/plain": str(n)}) for n in points[:1]]


def error(name: str, text: str) -> NotebookNode:
    return new_output("error", ename=_text(name), evalue=_text(text), traceback=[f"{_text(name)}: {_text(text)}"])


def text_alone(output: NotebookNode) -> NotebookNode:
    """An output as it came, with nothing in it that is no text: a small message can hold millions of lists."""
    if output.output_type != "stream":
        return _well_formed(output)
    text = output.get("text")
    return _stream(str(output.get("name"))[:10], text if isinstance(text, str) else "")


def clean(outputs: list[NotebookNode], limit: int) -> list[NotebookNode]:
    """Outputs with nothing in them but text of known kinds, cut after `limit` characters with a line that says so."""
    kept, left = [], limit
    for (kind, name), group in itertools.groupby(outputs, lambda o: (o.get("output_type"), o.get("name"))):
        for output in [_joined(name, list(group))] if kind == "stream" else map(_well_formed, group):
            size = sum(len(part) for part in _parts(output))
            if size <= left:
                kept.append(output)
            elif kind == "stream":
                kept.append(_stream(output.name, output.text[: max(0, left)]))
            elif kind == "error":  # decides over marks: never left out
                kept.append(error(output.ename, output.evalue))
            left -= size
    if left < 0:
        kept.append(_stream("stdout", f"\n… cut: this cell put out more than {limit / 2**20:.3g} MiB\n"))
    return kept


def _joined(name: str, parts: list[NotebookNode]) -> NotebookNode:
    """One stream of many, as a terminal would show it: what a progress bar overwrote is gone."""
    lines = _text("".join(str(part.get("text")) for part in parts)).split("\n")
    return _stream(name, "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines))


def _stream(name: str, text: str) -> NotebookNode:
    return NotebookNode(output_type="stream", name="stderr" if name == "stderr" else "stdout", text=text)


def _well_formed(output: NotebookNode) -> NotebookNode:
    """An error or a display (put together by hand: nbformat's `new_output` takes a millisecond to check it)."""
    if output.output_type == "error":
        name, value = _text(output.get("ename"))[:200], _text(output.get("evalue"))[:2000]
        lines = output.traceback[:200] if isinstance(output.get("traceback"), list) else []
        lines = [_text(line)[:2000] for line in lines]
        return NotebookNode(output_type="error", ename=name, evalue=value, traceback=lines)
    data = output.data if isinstance(output.get("data"), dict) else {}
    data = NotebookNode({kind: _text(data[kind]) for kind in SHOWN if isinstance(data.get(kind), str)})
    count = {"execution_count": None} if output.output_type == "execute_result" else {}
    return NotebookNode(output_type=output.output_type, data=data, metadata=NotebookNode(), **count)


def _parts(output: NotebookNode) -> list[str]:
    match output.output_type:
        case "stream":
            return [output.text]
        case "error":
            return output.traceback
    return list(output.data.values())


def _text(value: Any) -> str:
    """As text that can be written to a file (no halves of surrogate pairs)."""
    return str(value).encode("utf-8", "replace").decode()


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return -1.0 if math.isnan(number) else number
