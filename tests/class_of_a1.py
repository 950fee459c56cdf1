"""A made class that hands in assignment 1: right, half done, wrong in every known way, hostile, broken.

`hand_in_all(course)` writes `submitted/`; `CLASS` says for each student what must come out.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from alternatives.a1_markov_chains import ALTERNATIVES
from assignment_tests import source
from effort import SOAK, often
from lecture_runs import shared_folder
from nbformat import NotebookNode

from autograder.author.exercise import load_exercises

ROOT = Path(__file__).parents[1]
NAME = "a1_markov_chains"
EXERCISES = load_exercises(ROOT / "solutions" / NAME)
FULL = {name: e.points for name, e in EXERCISES.items()}
SOLUTION = nbformat.read(ROOT / "solutions" / NAME / f"{NAME}.ipynb", as_version=4)


@dataclass
class Student:
    """What one student hands in.

    Attributes:
        answers: exercise -> source of its cell (others stay unanswered).
        expected: exercise -> points; "less" for a known mistake (its cases decide how many points remain).
        reason: what the line about this student says.
        change: what is done to the notebook before it is written.
        write: how it is written into its folder, if not as usual.
        demos: whether the cells that only show something are kept (they cost seconds).
    """

    answers: dict[str, str]
    expected: dict[str, float | str] = field(default_factory=lambda: dict(FULL))
    reason: str = ""
    change: Callable[[NotebookNode], object] = lambda notebook: None
    write: Callable[[Path, NotebookNode], object] | None = None
    files: dict[str, str] = field(default_factory=dict)
    demos: bool = False


def graded(notebook: NotebookNode, name: str) -> NotebookNode:
    """The cell of that grade_id."""
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def released() -> NotebookNode:
    return nbformat.read(ROOT / "assignments" / NAME / f"{NAME}.ipynb", as_version=4)


def notebook_of(student: Student) -> NotebookNode:
    notebook = released()
    for name, code in student.answers.items():
        graded(notebook, name).source = code
    if not student.demos:
        notebook.cells = [
            c for c in notebook.cells if c.cell_type != "code" or "nbgrader" in c.metadata or "Checker(" in c.source
        ]
    student.change(notebook)
    return notebook


def hand_in_all(root: Path, names: list[str] | None = None) -> None:
    """Write the class (or some of it) into `submitted/` of the course at `root`."""
    for name in names or CLASS:
        student = CLASS[name]
        folder = root / "submitted" / name / NAME
        folder.mkdir(parents=True)
        for file, text in student.files.items():
            (folder / file).write_text(text)
        write = student.write or (lambda folder, notebook: nbformat.write(notebook, folder / f"{NAME}.ipynb"))
        write(folder, notebook_of(student))


def leave_hidden_cases(root: Path, tmp_path_factory) -> None:
    """Once a class was graded: its key and hidden cases, which cost a run of the solution, for other tests."""
    made, left = root / ".grading" / NAME, shared_folder(tmp_path_factory) / "hidden"
    shutil.copytree(made / "cases", left / "new" / "cases")
    shutil.copy(made / "seed", left / "new")
    (left / "new").rename(left / NAME)


def take_hidden_cases(root: Path, tmp_path_factory) -> None:
    """Give a course of one's own those that were left, if any were."""
    if (left := shared_folder(tmp_path_factory) / "hidden" / NAME).exists():
        shutil.copytree(left, root / ".grading" / NAME)


RANKS = range(1, max(len(e.mistakes) for e in EXERCISES.values()), often(5, 1))  # of mistakes beyond the first
RIGHT = {name: graded(SOLUTION, name).source for name in FULL}
ZERO = dict.fromkeys(FULL, 0)


def without(name: str, code: str) -> dict[str, str]:
    """The right answers, but for one exercise."""
    return RIGHT | {name: code}


def loses(*names: str) -> dict[str, float | str]:
    return FULL | dict.fromkeys(names, 0)


def wrong(extra: str) -> str:
    """A wrong `probabilities`, and something that tries to make it right."""
    return f"def probabilities(counts, smoothing):\n    return counts.float()\n\n{extra}"


def mistakes(rank: int) -> Student:
    """Who makes the known mistake of that rank in every exercise that has so many."""
    made = {n: list(e.mistakes.values())[rank][1] for n, e in EXERCISES.items() if rank < len(e.mistakes)}
    return Student(RIGHT | {n: source(f, n) for n, f in made.items()}, FULL | dict.fromkeys(made, "less"))


def one_mistake(exercise: str) -> Student:
    name, (_, function) = next(iter(EXERCISES[exercise].mistakes.items()))
    return Student(without(exercise, source(function, exercise)), FULL | {exercise: "less"}, f"“{name}”")


def alternatives(rank: int) -> Student:
    return Student({n: source(ALTERNATIVES[n][rank % len(ALTERNATIVES[n])], n) for n in FULL})


# --- what is done to notebooks ----------------------------------------------------------------------------------------


def change_points(notebook):
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            cell.metadata.nbgrader["points"] = 100


def change_flags(notebook):
    graded(notebook, "check_probabilities").metadata.nbgrader.update(grade=False, solution=True, locked=False)


def change_ids(notebook):
    graded(notebook, "check_probabilities").metadata.nbgrader["grade_id"] = "mine"


def edit_check(notebook):
    cell = graded(notebook, "check_probabilities")
    cell.metadata.nbgrader["locked"] = False
    cell.source = "3.0"


def copy_cell(notebook):
    for name in ("check_probabilities", "probabilities"):
        cell = graded(notebook, name)
        notebook.cells.insert(notebook.cells.index(cell) + 1, nbformat.from_dict(json.loads(json.dumps(cell))))


def delete_cells(notebook):
    for name in ("check_probabilities", "check_sample", "short_answer"):
        notebook.cells.remove(graded(notebook, name))


def split_cell(notebook):
    cell = graded(notebook, "probabilities")
    place = notebook.cells.index(cell)
    head, tail = "SCALE = 1", cell.source
    cell.source = head
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(tail))


def forget_metadata(notebook):
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})


def other_kernel(notebook):
    notebook.metadata.kernelspec = {"name": "julia-1.11", "display_name": "Julia", "language": "julia"}


def old_format(folder, notebook):
    nbformat.write(nbformat.convert(notebook, 3), folder / f"{NAME}.ipynb", version=3)


def cut(folder, notebook):
    text = nbformat.writes(notebook)
    (folder / f"{NAME}.ipynb").write_text(text[: len(text) // 2])


PRINTING = (
    RIGHT["probabilities"].replace(
        '    """Turn',
        "    import sys, warnings\n    from tqdm.auto import tqdm\n    import matplotlib.pyplot as plt\n"
        '    print("0.0"); print("careful", file=sys.stderr); warnings.warn("careful")\n'
        '    list(tqdm(range(3))); plt.plot([1]); plt.show()\n    """Turn',
    )
    + "\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\n"
)
EQUAL = """
class Yes(torch.Tensor):
    __torch_function__ = classmethod(lambda cls, *a, **k: torch.tensor(True))
    __eq__ = lambda self, other: True
    __hash__ = None
def probabilities(counts, smoothing):
    return torch.zeros(counts.shape).as_subclass(Yes)
"""
NO_ASSERT = """
import ast
class Drop(ast.NodeTransformer):
    def visit_Assert(self, node): return ast.Pass()
get_ipython().ast_transformers.append(Drop())
"""
PATCHED = """
import numpy.testing, torch.testing, course_utils.compare
numpy.testing.assert_allclose = torch.testing.assert_close = lambda *a, **k: None
course_utils.compare.difference = lambda *a, **k: None
"""
READS = """
import os, sys
found = []
for folder, folders, files in os.walk("/"):
    skipped = ("/proc", "/sys", "/usr", sys.prefix, sys.base_prefix)
    folders[:] = [f for f in folders if os.path.join(folder, f) not in skipped]
    found += [f for f in files + folders if f in ("mistakes.py", "gradebook.db", "submitted", "solutions", "seed")]
print("FOUND", found)
"""
SCRIPT = """
from IPython.display import HTML, Javascript, display
print("<script>alert('printed')</script>")
display(HTML("<script>alert('shown')</script><img src=x onerror=alert('image')>"), Javascript("alert('js')"))
"""

# They show, through the whole of the grader, what other tests show of its parts (test_repair.py, test_verdict.py,
# test_resources.py, test_assignments.py), and take about three seconds each.
IN_A_SOAK = {
    "grace",
    "first_half",
    *(f"wrong_{name}" for name in list(FULL)[1:]),
    "drops_asserts",
    "patches_the_checker",
    "eats_memory",
    "floods",
    "points_changed",
    "flags_changed",
    "ids_changed",
    "cell_split",
    "renamed",
    "other_kernel",
}
EVERYBODY: dict[str, Student] = {
    # right
    "ada": Student(RIGHT, demos=True, reason="20 of 24"),
    "alan": alternatives(0),
    "grace": alternatives(1),
    "prints_and_warns": Student(without("probabilities", PRINTING)),
    # half done
    "nothing_done": Student({}, ZERO, "not answered yet", demos=True),
    "first_half": Student(
        {n: RIGHT[n] for n in list(FULL)[:3]}, FULL | dict.fromkeys(list(FULL)[3:], 0), "not answered yet"
    ),
    # each kind of wrong
    **{f"wrong_{name}": one_mistake(name) for name in FULL},
    **{f"mistakes_{rank}": mistakes(rank) for rank in RANKS},
    # hostile
    "equals_everything": Student(without("probabilities", EQUAL), loses("probabilities")),
    "drops_asserts": Student(without("probabilities", wrong(NO_ASSERT)), loses("probabilities")),
    "patches_the_checker": Student(without("probabilities", wrong(PATCHED)), loses("probabilities")),
    "exits": Student(without("probabilities", wrong("import os\nos._exit(0)")), loses("probabilities"), "kernel"),
    "never_ends": Student(without("probabilities", wrong("while True: pass")), loses("probabilities"), "interrupted"),
    "eats_memory": Student(without("probabilities", wrong("x = bytearray(30 * 2**30)")), loses("probabilities")),
    "floods": Student(
        without("probabilities", wrong("for _ in range(200): print('x' * 10**6)")), loses("probabilities")
    ),
    "reads_around": Student(without("probabilities", wrong(READS)), loses("probabilities")),
    "shadows_torch": Student(
        without("probabilities", wrong("")), loses("probabilities"), files={"torch.py": "1 / 0", "numpy.py": "1 / 0"}
    ),
    "writes_scripts": Student(without("probabilities", wrong(SCRIPT)), loses("probabilities")),
    # metadata
    "points_changed": Student(without("probabilities", wrong("")), loses("probabilities"), change=change_points),
    "flags_changed": Student(without("probabilities", wrong("")), loses("probabilities"), change=change_flags),
    "ids_changed": Student(without("probabilities", wrong("")), loses("probabilities"), change=change_ids),
    "check_edited": Student(
        without("probabilities", wrong("")), loses("probabilities"), "had been changed", change=edit_check
    ),
    # broken
    "cells_copied": Student(RIGHT, reason="is a copy of", change=copy_cell),
    "cells_deleted": Student(RIGHT, reason="was missing and was put back", change=delete_cells),
    "cell_split": Student(RIGHT, change=split_cell),
    "metadata_lost": Student(RIGHT, change=forget_metadata),
    "json_cut": Student(RIGHT, ZERO, "damaged", write=cut),
    "empty_file": Student(RIGHT, ZERO, "empty", write=lambda folder, n: (folder / f"{NAME}.ipynb").touch()),
    "renamed": Student(RIGHT, write=lambda folder, n: nbformat.write(n, folder / "my homework (2).ipynb")),
    "one_too_many": Student(
        RIGHT,
        write=lambda folder, n: [nbformat.write(n, folder / f) for f in (f"{NAME}.ipynb", "scratch.ipynb")],
    ),
    "no_notebook": Student(RIGHT, ZERO, "No notebook", write=lambda folder, n: (folder / "notes.txt").write_text("?")),
    "nbformat_3": Student(RIGHT, reason="nbformat 3", write=old_format),
    "other_kernel": Student(RIGHT, change=other_kernel),
}
CLASS = {name: student for name, student in EVERYBODY.items() if SOAK or name not in IN_A_SOAK}
