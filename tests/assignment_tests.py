"""What every assignment must prove: right answers score full, each known mistake loses its exercise, and so on.

A test file of an assignment sets one up and takes the tests in:

    from assignment_tests import *  # noqa: F403

    ASSIGNMENT = Assignment("a1_markov_chains", guesses={...}, names={"torch": torch}, points=20)

pytest then finds the tests here in that file. A test of its own may ask for `assignment`, and for `name` (it is run
for each exercise) or for `name` and `seed` (for several draws of each exercise's cases).
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from effort import often

from autograder.author.exercise import VISIBLE_SEED, Case, Exercise, complete, load_exercises
from course_utils.check import Verdict, answer, verdict
from course_utils.checking.cases import CASES_FILE, ExerciseCases, load_cases
from course_utils.plain import Answer, Seed, cook, pack, replaced

ROOT = Path(__file__).parents[1]
STUB = re.compile(r"### BEGIN SOLUTION.*?### END SOLUTION", re.DOTALL)


# --- alternatives -----------------------------------------------------------------------------------------------------


def source(function: Callable, exercise: str) -> str:
    """Code for a notebook cell: the function or class, what it uses of its own file, bound to the exercise's name."""
    file = inspect.getsourcefile(function)
    module = ast.parse(Path(file).read_text())
    lines = Path(file).read_text().splitlines()
    there = {}  # what the file's top level defines: name -> its statement
    for statement in module.body:
        match statement:
            case ast.FunctionDef(name="_"):  # draws cases; in answers `_` is a variable
                pass
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                there[name] = statement
            case ast.Assign(targets=[ast.Name(id=name)]):
                there[name] = statement
    there |= {function.__name__: _statement_of(function, module)}
    needed, waiting = [], [function.__name__]
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.append(name)
        used = [n.id for n in ast.walk(_bare(there[name])) if isinstance(n, ast.Name)]
        waiting += [n for n in used if n in there and n not in needed]
    needed.sort(key=lambda name: there[name].lineno)
    imports = [s for s in module.body if isinstance(s, (ast.Import, ast.ImportFrom))]
    imports = [s for s in imports if not (getattr(s, "module", "") or "").startswith(("autograder", "assign"))]
    statements = imports + [there[name] for name in needed]
    parts = ["\n".join(lines[s.lineno - 1 : s.end_lineno]) for s in statements]
    head, body = "\n".join(parts[: len(imports)]), "\n\n\n".join(parts[len(imports) :])
    return f"{head}\n\n\n{body}\n\n\n{exercise} = {function.__name__}\n"


def _statement_of(function: Callable, module: ast.Module) -> ast.stmt:
    """The last definition of that name at or after where the object says it begins: names may be used again."""
    first = inspect.getsourcelines(function)[1]
    found = [s for s in module.body if getattr(s, "name", None) == function.__name__]
    return next(s for s in found if s.end_lineno >= first)


def _bare(statement: ast.stmt) -> ast.AST:
    """The statement without its decorators."""
    match statement:
        case ast.FunctionDef():
            return ast.Module([statement.args, *statement.body])
        case ast.ClassDef():
            return ast.Module([*statement.bases, *statement.body])
    return statement


# --- an assignment ----------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Assignment:
    """An assignment under test.

    Attributes:
        name: of its folder in `solutions/`.
        guesses: exercise -> what somebody writes who has no idea: it must earn less than half of the points.
        names: what the notebook's set-up cell brings and the solutions use.
        points: of all exercises together.
        by_hand: points of the question that a person marks.
        slow: exercises that are judged on one draw of their cases instead of several.
    """

    name: str
    guesses: dict[str, Callable]
    names: dict[str, Any] = field(default_factory=lambda: {"torch": torch})
    points: float = 20
    by_hand: float = 4
    slow: tuple[str, ...] = ()

    @cached_property
    def folder(self) -> Path:
        return ROOT / "solutions" / self.name

    @cached_property
    def notebook(self) -> nbformat.NotebookNode:
        return nbformat.read(self.folder / f"{self.name}.ipynb", as_version=4)

    @cached_property
    def exercises(self) -> dict[str, Exercise]:
        return load_exercises(self.folder)

    @cached_property
    def released(self) -> dict[str, ExerciseCases]:
        """What students have, as `course release` has built it."""
        return load_cases(ROOT / "assignments" / self.name / CASES_FILE)

    @cached_property
    def alternatives(self) -> dict[str, list[Callable]]:
        return import_module(f"alternatives.{self.name}").ALTERNATIVES

    def cell(self, name: str) -> nbformat.NotebookNode:
        """The cell of that grade_id."""
        (found,) = [c for c in self.notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name]
        return found

    def defined(self, code: str, name: str) -> Any:
        """What the code binds to the name, beside what the set-up cell brings."""
        names = {"__name__": "notebook"} | self.names
        exec(code, names)
        return names[name]

    @cache  # noqa: B019
    def solution(self, name: str) -> Callable:
        """The solution's function, from its cell alone: an exercise that needed another one would fail here."""
        return self.defined(self.cell(name).source, name)

    def arguments(self, name: str, generator: torch.Generator) -> Iterator[tuple]:
        """Yield those of each case of an exercise."""
        for case in self.exercises[name].draw(generator):
            yield case.arguments if isinstance(case, Case) else case

    @cache  # noqa: B019
    def cases(self, name: str, seed: int) -> ExerciseCases:
        """The cases drawn with a seed; of what is slow those that are released: nothing has to train for them."""
        if name in self.slow and seed == VISIBLE_SEED:
            released = self.released[name]
            released.inputs = cook(released.inputs)
            return released
        drawn = self.exercises[name].build(seed)
        drawn.inputs = cook(drawn.inputs)  # once, as the judge does, and not for each function again
        drawn.promises = self.exercises[name].promises.of(drawn.inputs, self.exercises[name].slow)
        known, asked = [], drawn.asks
        if drawn.compare["kind"] == "accuracy":  # the truth is known: nothing has to be trained for it
            known, asked = [_sure(drawn.compare, truth) for truth in drawn.truths], asked[len(drawn.inputs) :]
        return complete(drawn, known + [answer(self.solution(name), ask, drawn.banned) for ask in asked])

    def judged(self, function: Callable, name: str, seed: int = 0) -> Verdict:
        """The verdict on a function, with other random numbers than the reference's: it must not depend on them."""
        drawn = self.cases(name, seed)
        torch.manual_seed(seed)  # for answers that draw from torch's own generator
        asks = replaced(drawn.asks, lambda value: Seed(value.n + 1) if isinstance(value, Seed) else value)
        answers = [answer(function, ask, drawn.banned, seconds=drawn.seconds) for ask in asks]
        return verdict(drawn, answers, show=True)


def _sure(compare: dict[str, Any], truth: Any) -> Answer:
    """What is right for certain: the truth, as if it had been read from a trained network where one is asked for."""
    return {"value": truth["labels"], "read": True} if "reader" in compare else {"value": truth}


# What trains does so once every day: the solution in the sandbox (test_assignments.py), and mistakes as functions.
AGAIN = (
    "test_solution_scores_full",
    "test_other_right_answers_score_full",
    "test_answers_can_be_put_into_a_notebook",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give the tests that ask for it each exercise, and each draw of its cases."""
    assignment = getattr(metafunc.module, "ASSIGNMENT", None)
    if assignment is None or "assignment" not in metafunc.fixturenames:
        return
    again = metafunc.function.__name__ in AGAIN
    soaks = {name: [pytest.mark.soak] for name in assignment.slow} if again else {}
    names = list(assignment.exercises)
    if {"name", "seed"} <= set(metafunc.fixturenames):
        draws = [(name, seed) for name in names for seed in range(1 if name in assignment.slow else often(1, 4))]
        metafunc.parametrize(("name", "seed"), [pytest.param(*draw, marks=soaks.get(draw[0], [])) for draw in draws])
    elif "name" in metafunc.fixturenames:
        metafunc.parametrize("name", [pytest.param(name, marks=soaks.get(name, [])) for name in names])


@pytest.fixture(scope="module")
def assignment(request) -> Assignment:
    return request.module.ASSIGNMENT


# --- fair -------------------------------------------------------------------------------------------------------------


def test_solution_scores_full(assignment, name, seed):
    result = assignment.judged(assignment.solution(name), name, seed)
    assert result.held == result.cases, result.message
    assert result.points == assignment.exercises[name].points


def test_other_right_answers_score_full(assignment, name, seed):
    assert len(assignment.alternatives[name]) >= 2
    for function in assignment.alternatives[name]:
        result = assignment.judged(function, name, seed)
        assert result.held == result.cases, f"{function.__name__}: {result.message}"


def test_each_mistake_loses_points_and_is_named(assignment, name, seed):
    mistakes = assignment.exercises[name].mistakes
    assert len(mistakes) >= 3
    for mistake, (hint, function) in mistakes.items():
        result = assignment.judged(function, name, seed)
        assert result.held < result.cases, f"{mistake} passes"
        named = mistakes.get(result.mistake, ("",))[0]  # of `also` any name will do: what is told is the same
        assert named == hint, f"{mistake} was taken for {result.mistake}: {result.message}"
        assert hint in result.message


@pytest.mark.soak
def test_each_mistake_loses_whatever_is_drawn(assignment, name):
    """By its values alone, on thirty draws; where it is not named, no other is."""
    if name in assignment.slow:
        pytest.skip("it trains")
    exercise = assignment.exercises[name]
    for seed in range(30):
        drawn = exercise.drawn(seed)
        drawn.inputs, drawn.promises = cook(drawn.inputs), []
        complete(drawn, [answer(assignment.solution(name), inputs, drawn.banned) for inputs in drawn.inputs])
        for mistake in exercise.add_mistakes(drawn).mistakes:
            result = verdict(drawn, mistake.answers, show=True)
            assert result.held < result.cases, f"{mistake.name} passes with seed {seed}"
            named = exercise.mistakes[result.mistake][0] if result.mistake else mistake.hint
            assert named == mistake.hint, f"{mistake.name} is taken for {result.mistake}, seed {seed}"


def test_the_release_knows_each_mistake(assignment, name):
    found = {mistake.name for mistake in assignment.released[name].mistakes}
    assert found == set(assignment.exercises[name].mistakes), f"run `course release {assignment.name}`"


def test_each_promise_is_kept_track_of(assignment, name):
    """A wrong answer that breaks a sentence of the statement loses, whatever is drawn."""
    said = re.sub(r"\s+", " ", "\n".join(cell.source for cell in assignment.notebook.cells))
    for sentence, functions in assignment.exercises[name].breaking.items():
        assert re.sub(r"\s+", " ", sentence) in said, f"no statement says {sentence!r}"
        for function in functions:
            for seed in range(often(1, 30)):
                result = assignment.judged(function, name, seed)
                assert result.points < result.max_points, f"{function.__name__} has full marks with seed {seed}"


def test_unanswered_exercise_scores_nothing(assignment, name):
    code = STUB.sub("raise NotImplementedError", assignment.cell(name).source)
    result = assignment.judged(assignment.defined(code, name), name)
    assert result.points == 0
    assert "not answered yet" in result.message


def test_what_is_easiest_earns_little(assignment, name):
    """Without an idea of the exercise there is less than half of its points to get."""
    result = assignment.judged(assignment.guesses[name], name)
    assert result.held < result.cases / 2, result.message
    assert "raised" not in result.message, f"the guess should be wrong, not broken: {result.message}"


def test_hidden_cases_are_others_and_stay_the_same(assignment, name):
    exercise = assignment.exercises[name]
    visible, hidden, again = (list(exercise.draw(torch.Generator().manual_seed(seed))) for seed in (0, 1, 1))
    trains = "reader" in exercise.compare  # each case takes a training of its own
    assert len(visible) == len(hidden) >= (1 if trains else 2 if name in assignment.slow else 4)
    assert repr(visible) != repr(hidden) == repr(again)


def test_a_table_of_the_visible_answers_earns_nothing(assignment, name):
    exercise = assignment.exercises[name]
    visible, hidden = exercise.drawn(0), exercise.drawn(b"a key")
    hidden.seen, hidden.promises = exercise.seen(hidden), []
    if exercise.compare["kind"] == "accuracy":  # whatever is right, is right: nothing has to be trained
        known, right = ([_sure(exercise.compare, truth) for truth in cases.truths] for cases in (visible, hidden))
    else:
        known, right = (
            [answer(assignment.solution(name), i, cases.banned) for i in cases.inputs] for cases in (visible, hidden)
        )
    table = {pack(inputs): found for inputs, found in zip(visible.inputs, known)}
    complete(hidden, right)
    assert verdict(hidden, right, show=False).points == exercise.points
    assert verdict(hidden, [table.get(pack(i), {"value": None}) for i in hidden.inputs], show=False).points == 0


def test_answers_can_be_put_into_a_notebook(assignment, name):
    """The source of each alternative and each mistake stands alone and does what the function does."""
    functions = assignment.alternatives[name] + [f for _, f in assignment.exercises[name].mistakes.values()]
    inputs = assignment.cases(name, 0).inputs[0]
    for function in functions:
        torch.manual_seed(0)
        expected = answer(function, inputs)
        torch.manual_seed(0)
        alone = assignment.defined(source(function, name), name)
        assert repr(answer(alone, inputs)) == repr(expected), function.__name__


# --- whole ------------------------------------------------------------------------------------------------------------


def test_points_and_minutes(assignment):
    exercises = assignment.exercises
    assert sum(e.points for e in exercises.values()) == assignment.points
    table = next(c.source for c in assignment.notebook.cells if c.id == "title")
    promised = {name: float(points) for name, points in re.findall(r"\| `(\w+)` \| (\d+) \|", table)}
    assert promised == {name: e.points for name, e in exercises.items()}
    in_cells = {name: assignment.cell(f"check_{name}").metadata["nbgrader"]["points"] for name in exercises}
    assert in_cells == promised
    told = {"three": 180, "four": 240}[re.search(r"About (\w+) hours", table).group(1)]
    assert abs(sum(map(int, re.findall(r"\| (\d+) \|$", table, re.MULTILINE))) - told) <= 20, (
        "the time is told as it is"
    )


def test_question_is_marked_by_hand(assignment):
    metadata = assignment.cell("short_answer").metadata["nbgrader"]
    assert metadata["grade"] and metadata["solution"] and metadata["points"] == assignment.by_hand
    assert not metadata["locked"]


def test_each_exercise_is_explained_written_and_checked_in_this_order(assignment, name):
    cells, cell = assignment.notebook.cells, assignment.cell(name)
    at = [c.id for c in cells].index(name)
    before = next(c for c in reversed(cells[:at]) if not c.id.startswith("hints-"))
    assert "$$" in before.source, "a formula"
    assert "**By hand.**" in before.source
    assert cells[at + 1].source == f"check({name})"
    assert "Args:" in cell.source and "Returns:" in cell.source
    others = "|".join(n for n in assignment.exercises if n != name)
    assert not any(re.search(rf"\b(?:{others})\(", code) for code in STUB.findall(cell.source))


def test_cells_that_look_are_silent_until_the_exercise_is_done(assignment):
    """*Run All* on the released notebook stops nowhere: what uses an answer waits for it."""
    users = [c for c in assignment.notebook.cells if c.cell_type == "code" and "nbgrader" not in c.metadata]
    users = [c for c in users if re.search("|".join(rf"\b{n}\(" for n in assignment.exercises), c.source)]
    assert len(users) >= len(assignment.exercises)
    assert all("with suppress(NotImplementedError):" in c.source for c in users)
