"""Every assignment, through the real sandbox and judge: the solution wins, the release gets nothing, mistakes lose.

On kernels that are forked from a warm parent, as those of a class, and on the cases that students have. A soak starts
each kernel for itself, draws hidden cases, has every exercise's mistake made, those that train included, and trains
again in the cells that only look.
"""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from assignment_tests import ROOT, source
from effort import SOAK, often

from autograder.author.exercise import load_exercises
from autograder.course import Assignment, Course
from autograder.release import build_cases
from autograder.run.execute import execute
from autograder.sandbox import warm
from autograder.sandbox.provisioner import missing
from autograder.sandbox.warm import imports
from course_utils.checking.cases import CASES_FILE, load_cases

NAMES = sorted(p.parent.name for p in (ROOT / "solutions").glob("*/mistakes.py"))

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]


def solution(name):
    return nbformat.read(ROOT / "solutions" / name / f"{name}.ipynb", as_version=4)


@pytest.fixture(scope="module")
def forks():
    """One warm parent for all assignments: it has imported what any of them imports."""
    yield None if SOAK else warm.shared(dict.fromkeys(module for name in NAMES for module in imports(solution(name))))
    warm.close()


@pytest.fixture(scope="module", params=NAMES)
def course(request, forks, tmp_path_factory):
    """(exercises, a function that grades a notebook, its release)."""
    name, folder = request.param, tmp_path_factory.mktemp("files")
    course, released = Course(ROOT), ROOT / "assignments" / name
    cases = build_cases(Assignment(course, name), seed=12345) if SOAK else load_cases(released / CASES_FILE)
    for path in released.iterdir():
        if path.suffix != ".ipynb" and path.is_file():
            shutil.copy(path, folder)

    def grade(notebook):
        result = execute(notebook, cases, files=Path(folder), limits=Assignment(course, name).limits(), warm=forks)
        return result, {v.exercise: v for v in result.verdicts.values()}

    return load_exercises(ROOT / "solutions" / name), grade, nbformat.read(released / f"{name}.ipynb", as_version=4)


def put(notebook, answers):
    """The notebook with these answers, and without the cells that only look."""
    notebook = nbformat.from_dict(notebook)
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.source = answers.get(name, cell.source)
    notebook.cells = [cell for cell in notebook.cells if not looks(cell)]
    return notebook


def looks(cell):
    """Whether a cell is there only to look."""
    return cell.cell_type == "code" and "nbgrader" not in cell.metadata and "Checker(" not in cell.source


def without_training(notebook):
    """The notebook without the cells that only look and take as much as the machine gives, and what hangs on them."""
    gone, kept = set(), []
    for cell in notebook.cells:
        defined = re.findall(r"^(?:def|class) (\w+)|^(\w[\w, ]*) =", cell.source, re.MULTILINE)
        made = set(re.findall(r"\w+", str(defined)))
        used = set(re.findall(r"\w+", cell.source)) - made
        if looks(cell) and (gone & used or "runtime.scale(" in cell.source):
            gone |= made
        else:
            kept.append(cell)
            gone -= made if looks(cell) else set()
    notebook.cells = kept
    return notebook


def errors(result):
    return [o for c in result.notebook.cells for o in c.get("outputs", []) if o.output_type == "error"]


def test_release_runs_top_to_bottom_and_scores_nothing(course):
    exercises, grade, released = course
    result, verdicts = grade(released)
    assert set(verdicts) == set(exercises)
    assert {v.points for v in verdicts.values()} == {0}
    assert not errors(result) and not result.notes


def test_solution_gets_full_marks_and_each_first_mistake_loses(course):
    exercises, grade, released = course
    right_ones = solution(released_name(released))
    result, verdicts = grade(right_ones if SOAK else without_training(right_ones))
    assert {n: v.points for n, v in verdicts.items()} == {n: e.points for n, e in exercises.items()}, result.notes
    assert not errors(result)
    right = {c.metadata["nbgrader"]["grade_id"]: c.source for c in right_ones.cells if "nbgrader" in c.metadata}
    names = [n for n, e in exercises.items() if SOAK or not e.slow]  # what trains stays unanswered
    for first in range(often(1, 2)):  # the others stay right: no mistake may spoil them
        made = set(names[first::2])
        wrong = {n: source(next(iter(exercises[n].mistakes.values()))[1], n) for n in made}
        result, verdicts = grade(put(released, {n: right[n] for n in names} | wrong))
        for name, exercise in exercises.items():
            if name not in names:
                continue
            assert (verdicts[name].points < exercise.points) == (name in made), verdicts[name].message
            if name in made:
                assert verdicts[name].mistake == next(iter(exercise.mistakes))


def released_name(notebook):
    return re.search(r'Checker\("(\w+)"\)', "\n".join(c.source for c in notebook.cells))[1]
