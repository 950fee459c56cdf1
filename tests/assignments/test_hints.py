"""Hints in three steps, folded up above each exercise's code, and none of them is the answer."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from autograder.intake.repair import repair
from course_utils.notebook import CHECK

ROOT = Path(__file__).parents[2]
COURSE = sorted(path.stem for path in (ROOT / "tests" / "alternatives").glob("a*.py"))  # an exercise to try needs none
NOTEBOOKS = [ROOT / place / name / f"{name}.ipynb" for place in ("solutions", "assignments") for name in COURSE]
notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=[str(p.parent.relative_to(ROOT)) for p in NOTEBOOKS])
solutions = pytest.mark.parametrize("path", NOTEBOOKS[: len(COURSE)], ids=COURSE)

FOLD = re.compile(
    r"<details>\n<summary>([^<\n]+)</summary>\n\n(.+?)\n\n</details>", re.DOTALL
)  # the empty lines: Markdown
SUMMARIES = ["Hint 1: a nudge", "Hint 2: the idea", "Hint 3: nearly the answer"]
SOLUTION = re.compile(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", re.DOTALL)
LONG = 15  # characters without blanks: a shorter piece of code, `g = seed()`, is nobody's answer


def cells_of(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def exercises_of(cells):
    """Where each exercise's code stands: name -> index."""
    ids = [cell["id"] for cell in cells]
    names = [match[1] for cell in cells if (match := CHECK.fullmatch(cell["source"].strip()))]
    return {name: ids.index(name) for name in names}


def squeezed(code):
    return re.sub(r"\s|`", "", code)


def pieces(code):
    """What would be the answer if it stood in a hint: each line of a solution, and what a line returns or binds."""
    found = set()
    for line in code.splitlines():
        line = line.partition("#")[0].strip()
        found |= {line, line.removeprefix("return "), line.partition(" = ")[2], line.removeprefix("return -")}
    return {piece for piece in map(squeezed, found) if len(piece) >= LONG}


def test_all_nine_assignments_are_looked_at():
    assert len(COURSE) >= 9 and all(path.exists() for path in NOTEBOOKS)


@notebooks
def test_each_exercise_has_three_hints_above_its_code(path):
    cells = cells_of(path)
    exercises = exercises_of(cells)
    assert 5 <= len(exercises) <= 9
    for name, at in exercises.items():
        text, hints = cells[at - 2], cells[at - 1]
        assert text["cell_type"] == "markdown" and "**By hand.**" in text["source"], name
        assert (hints["id"], hints["cell_type"], hints["metadata"]) == (f"hints-{name}", "markdown", {})
        folds = FOLD.findall(hints["source"])
        assert [summary for summary, _ in folds] == SUMMARIES, name
        assert FOLD.sub("", hints["source"]).strip() == "", f"{name}: something stands outside of the folds"
        assert all(len(hint) > 40 for _, hint in folds), name
    assert sum(cell["id"].startswith("hints-") for cell in cells) == len(exercises)


@notebooks
def test_hints_render_as_they_are_meant(path):
    """What breaks a fold or a formula: HTML of its own, an odd dollar or backtick, a block of code."""
    for cell in cells_of(path):
        for _, hint in FOLD.findall(cell["source"]):
            without_code = re.sub(r"`[^`\n]+`", "", hint)
            assert "`" not in without_code and without_code.count("$") % 2 == 0, cell["id"]
            assert not re.search(r"</?[a-z]+>|^    |\$\s|\n\n\n", without_code.replace("$ ", "$").strip()), cell["id"]


@notebooks
def test_the_question_for_a_person_has_no_hint(path):
    cells = cells_of(path)
    (question,) = [c for c in cells if "marked by a person, 4 points" in c["source"]]
    assert "<details>" not in question["source"]
    assert re.search(r"Where to look: .*lecture \d\d", question["source"])


@solutions
def test_no_hint_holds_a_line_of_the_solution(path):
    cells = cells_of(path)
    for name, at in exercises_of(cells).items():
        hints = squeezed(cells[at - 1]["source"])
        answer = pieces("\n".join(SOLUTION.findall(cells[at]["source"])))
        assert answer, f"no solution of {name} was found"
        assert not [piece for piece in answer if piece in hints], name


def test_a_line_of_a_solution_would_be_found():
    """The comparison itself: blanks, backticks, comments and the name that is bound make no difference."""
    answer = pieces("total = counts.sum(1, keepdim=True)  # (V, 1)\nreturn -x.log2().mean().item()\ng = seed()")
    assert squeezed("take `counts.sum(1,  keepdim=True)`").removeprefix("take") in answer
    assert "x.log2().mean().item()" in answer and "g=seed()" not in answer


@pytest.mark.parametrize("name", ["a1_markov_chains", "a3_gpt"])
def test_grading_does_not_care_for_the_hints(name, tmp_path):
    """With its hints, without them, and with hints written into: the same cells are graded, and nothing is noted."""
    release = nbformat.read(ROOT / "assignments" / name / f"{name}.ipynb", as_version=4)
    kinds = {"as it is": lambda cells: cells, "without": _without_hints, "written into": _written_into}
    graded = {}
    for kind, change in kinds.items():
        handed_in = nbformat.from_dict(json.loads(nbformat.writes(release)))
        handed_in.cells = change(handed_in.cells)
        nbformat.write(handed_in, tmp_path / "hand_in.ipynb")
        repaired, notes = repair(tmp_path / "hand_in.ipynb", release)
        assert notes == [], kind
        graded[kind] = [(c.id, c.source, c.metadata["nbgrader"]) for c in repaired.cells if "nbgrader" in c.metadata]
    assert graded["as it is"] == graded["without"] == graded["written into"]
    assert len(graded["without"]) > 10


def _without_hints(cells):
    return [cell for cell in cells if not cell.id.startswith("hints-")]


def _written_into(cells):
    for cell in cells:
        if cell.id.startswith("hints-"):
            cell.source += "\n\nmy own note: `check(sample)`"
    return cells
