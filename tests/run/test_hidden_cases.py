"""Hidden cases cannot be learned: each hand-in is asked others, which nobody was asked in an earlier one."""

import json
import re
import shutil

import nbformat
import numbers_course
import pytest
import torch
from effort import some
from small_course import HALF, NAME, RIGHT, graded, hand_in

from autograder import gradescope
from autograder.author import exercise as exercises
from autograder.course import Assignment
from autograder.release import release
from autograder.run.cases import TURNS, VARIANTS, hidden_cases
from autograder.sandbox import provisioner
from course_utils.check import verdict
from course_utils.paths import CourseError

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning", "ignore::nbformat.warnings.DuplicateCellId")


def counted(course, student, number=0):
    """What is asked and earns something."""
    cases = hidden_cases(Assignment(course, NAME), student, number)
    return [(name, x.tolist()) for name, c in cases.items() for at, (x,) in enumerate(c.inputs) if at not in c.seen]


def test_nobody_is_asked_what_anybody_was_asked_in_an_earlier_hand_in(course, executor):
    class_, before = [f"student {n}" for n in range(8)], executor.calls
    turns = [{str(ask) for student in class_ for ask in counted(course, student, n)} for n in range(5)]
    assert len(set.union(*turns)) == sum(map(len, turns))
    assert len({str(counted(course, student)) for student in class_}) > 1, "it hangs on the student, too"
    assert executor.calls - before == 3, "one run of the solution answers for two hand-ins of everybody"


def test_what_an_earlier_hand_in_kept_is_worth_nothing(course):
    """A function that has a table of all that was asked before, and the right answers."""
    known = set()
    for number in range(TURNS + 1):
        for name, right in (("double", lambda x: 2 * x), ("total", torch.sum)):
            cases = hidden_cases(Assignment(course, NAME), "ann", number)[name]
            answers = [{"value": right(x) * (str(x) in known)} for (x,) in cases.inputs]
            assert verdict(cases, answers, show=False).points == 0
            known |= {str(x) for (x,) in cases.inputs}


def test_a_small_case_that_comes_again_by_chance_earns_nothing_either(course):
    path = course.solution(NAME).parent / "mistakes.py"
    path.write_text(path.read_text().replace("torch.rand(2, generator=g)", "torch.randint(0, 3, (1,), generator=g)"))
    turns = [
        [str(ask) for n in range(30) for ask in counted(course, f"student {n}", turn) if ask[0] == "total"]
        for turn in (0, 1)
    ]
    assert min(map(len, turns)) >= 60 and not set(turns[0]) & set(turns[1])


def test_another_version_is_asked_other_cases_and_the_same_one_the_same(course, executor):
    runs = []
    for answers in (RIGHT, HALF, RIGHT, RIGHT | {"why": "A third."}):
        hand_in(course, "ann", answers)
        before = executor.calls
        graded(course)
        runs.append(executor.calls - before)
    assert runs == [2, 1, 1, 1], "the solution runs first of all, and once two versions are there"
    (kept,) = (Assignment(course, NAME).private / "hand_ins").iterdir()
    assert len(json.loads(kept.read_text())) == 3 and kept.stat().st_mode & 0o077 == 0
    graded(course, again=True)
    assert len(json.loads(kept.read_text())) == 3


def test_an_exercise_that_takes_its_time_is_asked_the_same_of_all_in_a_turn(course):
    path = course.solution(NAME).parent / "mistakes.py"
    path.write_text(path.read_text().replace("points=2,", "points=2, seconds=5,"))
    sets = [counted(course, f"student {n}") for n in range(8)]
    assert len({str([x for name, x in found if name == "double"]) for found in sets}) == 1
    assert len({str([x for name, x in found if name == "total"]) for found in sets}) > 1


def test_on_gradescope_two_hand_ins_in_a_row_are_asked_other_cases(course, tmp_path):
    """Each comes to a container of its own, with the same key."""
    asked, box = [], tmp_path / "autograder"
    (box / "submission").mkdir(parents=True)
    shutil.move(hand_in(course, "x", RIGHT), box / "submission" / f"{NAME}.ipynb")
    shutil.rmtree(course.root / "submitted")
    for before in ([], [{"score": 1}], [{"score": 1}, {"score": 1}]):
        metadata = {"users": [{"email": "ann@uni.example"}], "previous_submissions": before}
        (box / "submission_metadata.json").write_text(json.dumps(metadata))
        assert gradescope.run(Assignment(course, NAME), box)["score"] == 6
        (outcome,) = map(json.loads, (p.read_text() for p in (Assignment(course, NAME).private / "results").iterdir()))
        asked.append(outcome["asked"])
        for room in ("results", "hand_ins"):
            shutil.rmtree(Assignment(course, NAME).private / room)
    assert asked[0] == asked[2] != asked[1]


def test_cases_that_a_mistake_passes_by_chance_are_drawn_again(course, monkeypatch):
    seen, complete = [], exercises.complete

    def by_chance(cases, expected):
        seen.append(cases.name)
        if len(seen) == 1:
            raise ValueError("the mistake passes every case")
        return complete(cases, expected)

    monkeypatch.setattr(exercises, "complete", by_chance)
    assert counted(course, "ann") and len(seen) == 1 + 2 * TURNS * VARIANTS

    def never(cases, expected):
        raise ValueError("the mistake passes every case")

    monkeypatch.setattr(exercises, "complete", never)
    with pytest.raises(CourseError, match="passes every case"):
        hidden_cases(Assignment(course, NAME), "ann", TURNS)


# --- with real kernels ------------------------------------------------------------------------------------------------

DRAWN = re.sub(r"yield \[.*\],", "yield torch.rand(3, generator=g).tolist(),", numbers_course.MISTAKES)
KEEPS = """
kept = []

def double(x):
    kept.append(x)
    return [2 * v for v in x]
"""
TELLS = """
def total(x):
    kept.append(x)
    print("KEPT", kept)
    raise type("N" + "_".join(f"{v:.6f}"[2:] for v in kept[-1]), (Exception,), {})
"""
TABLE = """
table = {tuple(x): x for x in KNOWN}

def double(x):
    return [2 * v for v in table.get(tuple(x), [0.0] * len(x))]
"""
TABLE_OF_SUMS = """
def total(x):
    return float(sum(table.get(tuple(x), [0.0])))
"""


@pytest.mark.skipif(provisioner.missing() is not None, reason=str(provisioner.missing()))
@pytest.mark.parametrize("others", some(1, {"warm": 1, "cold": 0}))
def test_round_two_has_a_table_of_round_one(tmp_path, others):
    course = numbers_course.numbers_course(tmp_path)
    (course.solution(NAME).parent / "mistakes.py").write_text("import torch\n" + DRAWN)
    release(Assignment(course, NAME))
    for number in range(others):  # a class of one is graded from cold
        hand_in(course, f"honest {number}", numbers_course.RIGHT)
    path = hand_in(course, "ann", {"double": KEEPS, "total": TELLS})
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell('print("KEPT", kept)\n{}[repr(kept)]'))
    nbformat.write(notebook, path)
    first = graded(course)
    assert first["ann"].cells["check_double"] == (2, 2)
    *_, text = [
        o.text
        for c in nbformat.read(autograded(course), as_version=4).cells
        for o in c.get("outputs", [])
        if o.get("text", "").startswith("KEPT")
    ]  # which a teacher may see
    known = json.loads(text.removeprefix("KEPT "))
    assert len(known) >= 5
    page = (course.root / "feedback" / "ann" / NAME / f"{NAME}.html").read_text()
    digits = {f"{v:.6f}"[2:] for x in known for v in x if 0 < v < 1}
    assert not [d for d in digits if d in page + first["ann"].line()]
    assert "KeyError" in page and "KEPT [" not in page
    hand_in(course, "ann", {"double": TABLE.replace("KNOWN", repr(known)), "total": TABLE_OF_SUMS})
    second = graded(course)["ann"]
    assert (second.cells["check_double"][0], second.cells["check_total"][0]) == (0, 0)
    for number in range(others):
        assert graded(course)[f"honest {number}"].points == first[f"honest {number}"].points == 6


def autograded(course):
    return course.root / "autograded" / "ann" / NAME / f"{NAME}.ipynb"
