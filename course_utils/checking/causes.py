"""Why a check came to no verdict: what a person would look for, found in the cells and in what they put out.

What a notebook says is its author's: of an error only its name, names of modules and of variables, and line numbers are
repeated, never its text. From the first check on even names could be made of hidden inputs: those alone are repeated
that stand in the notebook.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from nbformat import NotebookNode

from course_utils.checking.verdict import Verdict
from course_utils.notebook import UNWRITTEN, exercise, is_code
from course_utils.plain import usual

CHECKER = "check"  # what the setup cell calls it
UNDEFINED = re.compile(r"name '(\w{1,60})' is not defined")
NO_MODULE = re.compile(r"No module named '([A-Za-z_][\w.]{0,59})'")
LINE = re.compile(r"line (\d{1,6})\)")
NAMES = re.compile(r"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(\w{1,60})\b", re.MULTILINE)
MAGIC = re.compile(r"\s*(%%[a-z]\w{0,30})")
OPEN_MAGICS = {"%%time", "%%capture", "%%prun"}  # what their cell defines stays
MEANING = {
    "KernelDied": "ended its kernel",
    "KeyboardInterrupt": "was interrupted",
    "NotRun": "was not run",
    "StdinNotImplementedError": "asks for input, and nobody is there to type it",
    "UsageError": "uses a magic command (%…) that is not there",
    "FileNotFoundError": "reads a file that is not there (FileNotFoundError): hand it in beside the notebook",
}
Outputs = Mapping[int, Iterable[Mapping[str, Any]]]


def explain(verdict: Verdict, cells: Sequence[NotebookNode], outputs: Outputs, index: int) -> None:
    """Say in a verdict of 0 points why there is none, or where an answer stands that the check did not see.

    Args:
        cells: of the notebook, in the order in which they ran.
        outputs: index of a cell -> what it put out.
        index: of the check cell.
    """
    if not verdict.cases:
        verdict.wrong = no_verdict(cells, outputs, index) or verdict.wrong
    elif not verdict.held and not verdict.case:  # not answered
        if place := elsewhere(cells, index, verdict.exercise):
            verdict.wrong += f": {place}"


def no_verdict(cells: Sequence[NotebookNode], outputs: Outputs, index: int) -> str:
    """Why a check cell brought no verdict; "" where nothing tells. The arguments are those of `explain`."""
    error = _error(outputs.get(index, ()))
    if error and error[0] == "NotRun":
        return ""
    missing = UNDEFINED.search(error[1]) if error and error[0] == "NameError" else None
    if missing and _known(cells, index)(missing[1]):
        return _undefined(cells, outputs, index, missing[1])
    place = next((i for i in reversed(range(index)) if _binds(cells[i], CHECKER) and not _is_setup(cells[i])), None)
    if place is not None:
        return f"cell {place + 1} gives the name `{CHECKER}` to something else: choose another name there"
    return f"its check cell {stopped(*error, _known(cells, index))}" if error else ""


def elsewhere(cells: Sequence[NotebookNode], index: int, exercise: str) -> str:
    """Where else an exercise that counts as not answered is written; "" if nowhere. `index` is its check cell's."""
    written = [i for i, cell in enumerate(cells) if _binds(cell, exercise) and not UNWRITTEN.search(cell.source)]
    if not written:
        return ""
    place = written[-1]
    if place > index:
        return f"cell {place + 1} defines `{exercise}`, but below the check, which sees only what is above it"
    return f"cell {place + 1} defines `{exercise}`, but the unanswered cell below it takes its place"


def stopped(name: str, text: str, known: Callable[[str], bool] = lambda word: True) -> str:
    """What an error did to its cell, in words that hold nothing of the student's but names.

    Args:
        known: whether a name may be repeated that is no usual error's.
    """
    if name in MEANING:
        return MEANING[name]
    name = usual(name) or (name if name.isidentifier() and len(name) <= 60 and known(name) else "an error")
    if (module := NO_MODULE.search(text)) and known(module[1]):
        return f"stopped with {name}: {module[1]}{_hint(module[1])}"
    if (missing := UNDEFINED.search(text)) and known(missing[1]):
        return f"stopped with {name}: `{missing[1]}` is not defined"
    line = LINE.search(text) if name in ("SyntaxError", "IndentationError", "TabError") else None
    return f"stopped with {name}" + (f" in line {line[1]}" if line else "")


def says_exit(reply: Mapping[str, Any]) -> bool:
    """Whether a kernel's reply tells that its cell called exit() or quit(): it ends a moment later, in another cell."""
    payload = reply.get("payload")
    asked = [part for part in payload if isinstance(part, dict)] if isinstance(payload, list) else []
    return any(part.get("source") == "ask_exit" and not part.get("keepkernel") for part in asked)


def _known(cells: Sequence[NotebookNode], index: int) -> Callable[[str], bool]:
    """Whether a name that a cell's error tells may be repeated: before the first check any, later what is written."""
    if not any(map(exercise, cells[: index + 1])):
        return lambda word: True
    words = set(re.findall(r"[\w.]+", "\n".join(cell.source for cell in cells if is_code(cell))))
    return lambda word: word in words or word in {part for each in words for part in each.split(".")}


def _hint(module: str) -> str:
    if module.split(".")[0] == "google":
        return " (it exists in Colab alone: take it out)"
    return " (if it is a file of your own, hand it in beside the notebook; else it is not installed here)"


def _undefined(cells: Sequence[NotebookNode], outputs: Outputs, index: int, name: str) -> str:
    places = [i for i, cell in enumerate(cells) if _binds(cell, name)]
    above = [i for i in places if i < index]
    said = f"`{name}` is not defined: "
    if not places:
        known = {
            other: i for i, cell in enumerate(cells[:index]) for other in NAMES.findall(cell.source) if is_code(cell)
        }
        near = get_close_matches(name, list(known)[:500], 1) if len(name) <= 60 else []
        return said + "no cell defines it" + "".join(f"; cell {known[n] + 1} defines `{n}`" for n in near)
    if not above:
        return said + f"cell {places[0] + 1}, which defines it, stands below its check"
    place = above[-1]
    if error := _error(outputs.get(place, ())):
        return said + f"cell {place + 1} {stopped(*error, _known(cells, place))}"
    magic = MAGIC.match(cells[place].source)
    if magic and magic[1] not in OPEN_MAGICS:
        return said + f"cell {place + 1} begins with {magic[1]}, and nothing that such a cell defines stays"
    return said + f"cell {place + 1} ran, but did not come to its definition, or a later cell took it away"


def _error(outputs: Iterable[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Name and text of the first error that a cell put out."""
    for output in outputs:
        if output.get("output_type") == "error":
            return str(output.get("ename", "")), str(output.get("evalue", ""))[:2000]
    return None


def _binds(cell: NotebookNode, name: str) -> bool:
    """Whether a cell gives a name a meaning. By its lines: they are read where code of students is not compiled."""
    name = re.escape(name)
    pattern = (
        rf"^[ \t]*(?:(?:async[ \t]+)?(?:def|class)[ \t]+{name}\b|{name}[ \t]*(?::[^=\n]*)?=(?!=)"
        rf"|(?:from|import)[ \t].*\b{name}[ \t]*(?:$|[,)#;])|for[ \t]+{name}[ \t]+in\b)"
    )
    return is_code(cell) and bool(re.search(pattern, cell.source, re.MULTILINE))


def _is_setup(cell: NotebookNode) -> bool:
    return "Checker(" in cell.source
