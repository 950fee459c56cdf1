"""One right a1, handed in by many honest students, each with one thing that is not as it should be.

`HAND_INS` says for each what must come out: all points, or a line in which a student reads what went wrong.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from class_of_a1 import FULL, NAME, RIGHT, Student, forget_metadata, graded, notebook_of, released
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output, new_raw_cell

WORDS = "With 1,000 characters most of the 729 contexts were never seen."
FIRST, LAST = "probabilities", "which_library"  # `sample` and others do not need them
SOURCE = RIGHT[FIRST]
PIXELS = "data:image/png;base64," + "iVBORw0KGgo" * 10


@dataclass
class HandIn:
    """What is done to the right notebook.

    Attributes:
        said: what the line says; "" if nothing must be.
        lost: exercises that bring no points.
        change: to the notebook; `text`: to its file; `file`: what that is called.
        files: beside it.
    """

    said: str = ""
    lost: tuple[str, ...] = ()
    change: Callable[[NotebookNode], object] = lambda notebook: None
    text: Callable[[str], bytes] = str.encode
    file: str = f"{NAME}.ipynb"
    files: dict[str, str] = field(default_factory=dict)
    original: bool = False  # lies beside it, untouched

    def write(self, folder: Path) -> None:
        notebook = notebook_of(Student(RIGHT))
        self.change(notebook)
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.text(json.dumps(notebook, ensure_ascii=False, indent=1)))
        if self.original:
            nbformat.write(released(), folder / f"{NAME}.ipynb")
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)


# --- changes ----------------------------------------------------------------------------------------------------------


def answer(source: str, name: str = FIRST) -> Callable[[NotebookNode], object]:
    return lambda notebook: graded(notebook, name).update(source=source)


def above(line: str) -> Callable[[NotebookNode], object]:
    return answer(f"{line}\n{SOURCE}")


def own(*cells: NotebookNode | str, at: int = 2) -> Callable[[NotebookNode], object]:
    made = [new_code_cell(c) if isinstance(c, str) else c for c in cells]
    return lambda notebook: notebook.cells.__setitem__(slice(at, at), copy.deepcopy(made))


def before(name: str, source: str) -> Callable[[NotebookNode], object]:
    return lambda notebook: notebook.cells.insert(place(notebook, name), new_code_cell(source))


def place(notebook: NotebookNode, name: str) -> int:
    return notebook.cells.index(graded(notebook, name))


def both(*changes: Callable[[NotebookNode], object]) -> Callable[[NotebookNode], object]:
    return lambda notebook: [change(notebook) for change in changes]


def every_cell(metadata: dict, ids: bool = True) -> Callable[[NotebookNode], object]:
    def change(notebook):
        for number, cell in enumerate(notebook.cells):
            cell.metadata.update(nbformat.from_dict(json.loads(json.dumps(metadata).replace("#", str(number)))))
            if not ids:
                del cell["id"]

    return change


def kernel(**metadata: object) -> Callable[[NotebookNode], object]:
    return lambda notebook: notebook.metadata.update(nbformat.from_dict(metadata))


def elsewhere(at: int | None) -> Callable[[NotebookNode], object]:
    """The answer in a new cell, so far from the cell for it, which is as it was released."""

    def change(notebook):
        stub = graded(released(), FIRST).source
        here = place(notebook, FIRST)
        graded(notebook, FIRST).source = stub
        notebook.cells.insert(len(notebook.cells) if at is None else here + at, new_code_cell(SOURCE))

    return change


def all_in_one(notebook):
    for name in FULL:
        graded(notebook, name).source = graded(released(), name).source
    notebook.cells.insert(2, new_code_cell("import torch\n" + "\n\n\n".join(RIGHT.values())))


def moved(name: str, to: int | None) -> Callable[[NotebookNode], object]:
    def change(notebook):
        cell = notebook.cells.pop(place(notebook, name))
        notebook.cells.insert(len(notebook.cells) if to is None else to, cell)

    return change


def removed(*names: str) -> Callable[[NotebookNode], object]:
    return lambda notebook: [notebook.cells.pop(place(notebook, name)) for name in names]


def words(*cells: NotebookNode, keep: bool = True) -> Callable[[NotebookNode], object]:
    def change(notebook):
        at = place(notebook, "short_answer")
        notebook.cells[at + keep : at + 1] = cells

    return change


def merged(notebook):
    graded(notebook, FIRST).source += f"\n\ncheck({FIRST})"
    removed(f"check_{FIRST}")(notebook)


def type_changed(name: str, kind: str) -> Callable[[NotebookNode], object]:
    def change(notebook):
        cell = graded(notebook, name)
        cell.cell_type = kind
        for key in ("outputs", "execution_count"):
            cell.pop(key)

    return change


def reversed_order(notebook):
    at = [i for i, c in enumerate(notebook.cells) if c.metadata.get("nbgrader", {}).get("grade_id") in FULL]
    for i, cell in zip(at, [notebook.cells[i] for i in reversed(at)]):
        notebook.cells[i] = cell


def saved_outputs(size: int) -> Callable[[NotebookNode], object]:
    def change(notebook):
        graded(notebook, FIRST).outputs = [new_output("stream", text="x" * size)]
        graded(notebook, FIRST).execution_count = 3

    return change


def in_sources(old: str, new: str) -> Callable[[NotebookNode], object]:
    return lambda notebook: [c.update(source=c.source.replace(old, new)) for c in notebook.cells]


COLAB = {"colab": {"provenance": [], "toc_visible": True}, "accelerator": "GPU"}
COLAB_CELL = {"id": "aB#", "outputId": "cd-#", "colab": {"base_uri": "https://localhost:8080/"}}
DEEPNOTE_CELL = {
    "cell_id": "f0#",
    "deepnote_cell_type": "code",
    "execution_millis": 3,
    "deepnote_to_be_reexecuted": False,
}
DEEPNOTE_LAST = new_markdown_cell("<a href='https://deepnote.example'>Created in Deepnote</a>")
KAGGLE_CELL = {"_uuid": "8f2839f25d086af736a60e9eeb907d3b93b6e0#", "trusted": True}
KAGGLE_FIRST = """# This Python 3 environment comes with many helpful analytics libraries installed
import numpy as np
import os
for dirname, _, filenames in os.walk('/kaggle/input'):
    for filename in filenames:
        print(os.path.join(dirname, filename))"""
UNDEFINED = f"{FIRST}: 0 points, `{FIRST}` is not defined: cell "

HAND_INS: dict[str, HandIn] = {
    # exports
    "colab": HandIn(change=both(kernel(**COLAB), every_cell(COLAB_CELL, ids=False))),
    "colab_form": HandIn(change=above('#@title Probabilities { display-mode: "form" }')),
    "colab_badge": HandIn(change=own(new_markdown_cell(f"<a href='x'><img src='{PIXELS}'/></a>"), at=0)),
    "colab_drive": HandIn(change=own("from google.colab import drive\ndrive.mount('/content/drive')")),
    "colab_import": HandIn(UNDEFINED, (FIRST,), above("from google.colab import files")),
    "colab_metadata_lost": HandIn(
        "had lost their marks", change=both(forget_metadata, every_cell(COLAB_CELL, ids=False))
    ),
    "vscode": HandIn(
        "'.venv'",
        change=both(
            kernel(kernelspec={"name": ".venv", "display_name": ".venv (3.12)"}),
            every_cell({"vscode": {"languageId": "python"}}),
        ),
    ),
    "deepnote": HandIn(
        "had lost their marks",
        change=both(
            forget_metadata, every_cell(DEEPNOTE_CELL, ids=False), kernel(deepnote={}), own(DEEPNOTE_LAST, at=99)
        ),
    ),
    "deepnote_kept": HandIn(change=both(every_cell(DEEPNOTE_CELL, ids=False), own(DEEPNOTE_LAST, at=99))),
    "kaggle": HandIn(change=both(every_cell(KAGGLE_CELL, ids=False), own(KAGGLE_FIRST, at=0))),
    "kaggle_metadata_lost": HandIn("had lost their marks", change=both(forget_metadata, own(KAGGLE_FIRST, at=0))),
    "papermill": HandIn(
        change=both(
            every_cell({"papermill": {"status": "completed"}, "tags": []}), own("# Injected-Parameters\nalpha = 0.1")
        )
    ),
    "widget_state": HandIn(change=kernel(widgets={"application/vnd.jupyter.widget-state+json": {"state": {}}})),
    "no_kernelspec": HandIn(change=lambda n: n.metadata.clear()),
    "same_ids": HandIn(change=lambda n: [c.update(id="same") for c in n.cells]),
    "newer_format": HandIn(change=lambda n: n.update(nbformat_minor=9)),
    "lists_of_lines": HandIn(change=lambda n: [c.update(source=c.source.splitlines(True)) for c in n.cells]),
    "skip_tags": HandIn(change=every_cell({"tags": ["skip-execution", "raises-exception"]})),
    # magics
    "inline": HandIn(change=own("%matplotlib inline")),
    "widget": HandIn(UNDEFINED, (FIRST,), above("%matplotlib widget")),
    "widget_alone": HandIn(change=own("%matplotlib widget")),
    "timed": HandIn(change=above("%%time")),
    "timeit": HandIn("begins with %%timeit", (FIRST,), above("%%timeit")),
    "timeit_line": HandIn(change=own("%timeit -n1 -r1 sum(range(3))")),
    "captured": HandIn(change=above("%%capture")),
    "bash": HandIn(change=own("%%bash\necho hello")),
    "script": HandIn("begins with %%script", (FIRST,), above("%%script echo skipped")),
    "autoreload": HandIn(change=own("%load_ext autoreload\n%autoreload 2")),
    "written_file": HandIn(change=both(own("%%writefile mine.py\nONE = 1"), above("from mine import ONE"))),
    "run_missing": HandIn(UNDEFINED, (FIRST,), above("%run missing.py")),
    "unknown_magic": HandIn("magic command", (FIRST,), above("%nosuchmagic")),
    "cd": HandIn(change=own("%cd ..\n%pwd")),
    "shell": HandIn(change=own("!echo hello\nfiles = !ls")),
    "installs": HandIn(change=own("!pip --version")),
    "reset": HandIn(f"{LAST}: 0 points, `check` is not defined", (LAST,), own("%reset -f", at=-4)),
    # names
    "helper_check": HandIn("gives the name `check`", tuple(FULL)[1:], before(FIRST, "def check(x):\n    assert x")),
    "loop_check": HandIn("gives the name `check`", (LAST,), own("for check in [1, 2]:\n    print(check)", at=-4)),
    "misspelt": HandIn("defines `probabilites`", (FIRST,), answer(SOURCE.replace(f"def {FIRST}", "def probabilites"))),
    "deleted": HandIn("took it away", (FIRST,), answer(f"{SOURCE}\n\ndel {FIRST}")),
    "lambda": HandIn(change=answer(f"{SOURCE.replace(FIRST, 'mine')}\n\n{FIRST} = lambda *a: mine(*a)")),
    "partial": HandIn(
        change=answer(f"import functools\n{SOURCE.replace(FIRST, 'mine')}\n{FIRST} = functools.partial(mine)")
    ),
    "callable": HandIn(
        change=answer(
            f"{SOURCE.replace(FIRST, 'mine')}\n\nclass P:\n    def __call__(self, *a):\n        return mine(*a)\n\n"
            f"{FIRST} = P()"
        )
    ),
    "hints_without_import": HandIn(
        "`Tensor` is not defined", (FIRST,), answer(SOURCE.replace("(counts,", "(counts: Tensor,"))
    ),
    "other_arguments": HandIn(change=answer(SOURCE.replace("counts", "N").replace("smoothing", "alpha"))),
    "no_such_function": HandIn(
        "raised AttributeError", (FIRST,), answer(SOURCE.replace("return ", "return torch.no_such or "))
    ),
    # what is not there
    "syntax": HandIn("stopped with SyntaxError in line", (FIRST,), answer(SOURCE + "\n    return )")),
    "indentation": HandIn("stopped with IndentationError", (FIRST,), answer(SOURCE.replace("    ", "   ", 1))),
    "quotes": HandIn("stopped with SyntaxError", (FIRST,), above("name = “probabilities”")),
    "no_break_space": HandIn("stopped with SyntaxError", (FIRST,), answer(SOURCE.replace("\n    ", "\n\u00a0   "))),
    "library": HandIn("pandas_of_mine (if it is a file of your own", (FIRST,), above("import pandas_of_mine as pd")),
    "module_at_home": HandIn("ModuleNotFoundError: my_helpers", (FIRST,), above("from my_helpers import one")),
    "module": HandIn(change=above("from my_helpers import one"), files={"my_helpers.py": "one = 1"}),
    "package": HandIn(
        change=above("from parts.more import one"), files={"parts/__init__.py": "", "parts/more.py": "one = 1"}
    ),
    "data_at_home": HandIn("reads a file that is not there", (FIRST,), above("words = open('words.txt').read()")),
    "data": HandIn(change=above("words = open('words.txt').read()"), files={"words.txt": "one two"}),
    "input": HandIn("asks for input", (FIRST,), above("name = input('Your name: ')")),
    "input_alone": HandIn(change=own("name = input('Your name: ')")),
    "exit": HandIn("said exit()", change=own("exit()")),
    "quit_last": HandIn("said exit()", change=own("quit()", at=999)),
    "exit_in_answer": HandIn("ended its kernel", (FIRST,), answer(SOURCE + "\n\nexit()")),
    "sys_exit": HandIn(change=own("import sys\nsys.exit()")),
    "error": HandIn(change=own("1 / 0")),
    # cells
    "setup_last": HandIn("setup stood where it cannot work", change=moved("setup", None)),
    "check_first": HandIn("stood where it cannot work", change=moved(f"check_{FIRST}", 0)),
    "answer_below": HandIn("was taken in its place", change=elsewhere(2)),
    "answer_above": HandIn("was taken in its place", change=elsewhere(0)),
    "answer_last": HandIn("was taken in its place", change=elsewhere(None)),
    "all_in_one": HandIn("was taken in its place", change=all_in_one),
    "reversed": HandIn(change=reversed_order),
    "no_checks": HandIn("was missing and was put back", change=removed(*(f"check_{n}" for n in FULL))),
    "no_setup": HandIn("was missing and was put back", change=removed("setup")),
    "merged": HandIn("was missing and was put back", change=merged),
    "check_markdown": HandIn("was made a markdown cell", change=type_changed(f"check_{FIRST}", "markdown")),
    "answer_raw": HandIn("was made a raw cell", change=type_changed(FIRST, "raw")),
    "metadata_lost": HandIn("had lost their marks", change=forget_metadata),
    "words_below": HandIn("up to 4 to be marked", change=words(new_markdown_cell(WORDS))),
    "words_raw": HandIn("up to 4 to be marked", change=words(new_raw_cell(WORDS))),
    "words_instead": HandIn("up to 4 to be marked", change=words(new_markdown_cell(WORDS), keep=False)),
    "words_after_a_note": HandIn(
        "up to 4 to be marked",
        change=both(words(new_markdown_cell("(my answer)"), new_markdown_cell(WORDS), keep=False), forget_metadata),
    ),
    # files
    "utf16": HandIn(text=lambda t: t.encode("utf-16")),
    "cp1252": HandIn(
        "in an odd way", change=own(new_markdown_cell("é –")), text=lambda t: t.encode("cp1252", "replace")
    ),
    "bom": HandIn(text=lambda t: t.encode("utf-8-sig")),
    "nuls": HandIn(text=lambda t: t.encode() + bytes(4096)),
    "tab": HandIn("in an odd way", text=lambda t: t.replace("You build", "You\tbuild").encode()),
    "crlf": HandIn(change=in_sources("\n", "\r\n")),
    "one_line": HandIn(text=lambda t: json.dumps(json.loads(t)).encode()),
    "outputs": HandIn(change=saved_outputs(3_000_000)),
    "outputs_too_large": HandIn("and 32 are allowed", tuple(FULL), saved_outputs(38 * 2**20)),
    "conflict": HandIn(
        "conflict marks", tuple(FULL), text=lambda t: t.replace('"cells"', '\n<<<<<<< HEAD\n"cells"').encode()
    ),
    "web_page": HandIn("a web page", tuple(FULL), text=lambda t: b"<!DOCTYPE html><html></html>"),
    "copy_1": HandIn("was taken in its place", file=f"{NAME} (1).ipynb", original=True),
    "jupyter_copy": HandIn("was taken in its place", file=f"{NAME}-Copy1.ipynb", original=True),
    "capitals": HandIn("was called", file=f"{NAME}.IPYNB"),
    "text_file": HandIn("was called", file=f"{NAME}.ipynb.txt"),
    "umlaut": HandIn("was called", file="Übung 1 – Lösung.ipynb"),
    "deeper": HandIn(file=f"my course/homework/{NAME}.ipynb"),
    "mac_zip": HandIn(files={f"__MACOSX/._{NAME}.ipynb": "\0\5\26\7"}),
    "checkpoint": HandIn(files={f".ipynb_checkpoints/{NAME}-checkpoint.ipynb": "{}"}),
    "shadow": HandIn(files={"random.py": "x = 1", "torch.py": "1 / 0"}),
}
# kept short for every day; all of them are a soak
QUICK = """colab_import deepnote kaggle widget timeit reset helper_check misspelt library input exit syntax
setup_last answer_last all_in_one words_below cp1252 copy_1 module""".split()
