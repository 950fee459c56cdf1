"""Assignment 1 is fair: all right answers score full, each known mistake loses its exercise and is named."""

import math
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
import torch
from alternatives.a1_markov_chains import ALTERNATIVES, source

from course_utils.check import ExerciseCases, Verdict, answer, verdict
from course_utils.data import text
from course_utils.grading.exercise import complete, load_exercises
from course_utils.models.ngram import NGramModel
from course_utils.plain import Seed, cook, resolve

FOLDER = Path(__file__).parents[1] / "solutions" / "a1_markov_chains"
NOTEBOOK = nbformat.read(FOLDER / "a1_markov_chains.ipynb", as_version=4)
EXERCISES = load_exercises(FOLDER)
NAMES = list(EXERCISES)
SEEDS = {name: range(1) if name == "which_library" else range(4) for name in NAMES}
DRAWS = [(name, seed) for name in NAMES for seed in SEEDS[name]]
STUB = re.compile(r"### BEGIN SOLUTION.*### END SOLUTION", re.DOTALL)


def cell(name: str):
    (found,) = [c for c in NOTEBOOK.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name]
    return found


def defined(code: str, name: str):
    names = {"torch": torch, "text": text}  # what the set-up cell brings
    exec(code, names)
    return names[name]


@cache
def solution(name: str):
    """The solution's function, from its cell alone: an exercise that needed another one would fail here."""
    return defined(cell(name).source, name)


@cache
def cases(name: str, seed: int) -> ExerciseCases:
    drawn = EXERCISES[name].build(seed)
    drawn.inputs = cook(drawn.inputs)  # once, as the judge does, and not for each function again
    return complete(drawn, [answer(solution(name), inputs, drawn.banned) for inputs in drawn.inputs])


def judged(function, name: str, seed: int) -> Verdict:
    """The verdict on a function, with other random numbers than the reference's: it must not depend on them."""
    drawn = cases(name, seed)
    torch.manual_seed(seed)  # for answers that draw from torch's own generator
    inputs = [tuple(Seed(a.n + 1) if isinstance(a, Seed) else a for a in arguments) for arguments in drawn.inputs]
    return verdict(drawn, [answer(function, arguments, drawn.banned) for arguments in inputs], show=True)


# --- fair -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "seed"), DRAWS)
def test_solution_scores_full(name, seed):
    result = judged(solution(name), name, seed)
    assert result.held == result.cases, result.message
    assert result.points == EXERCISES[name].points


@pytest.mark.parametrize(("name", "seed"), DRAWS)
def test_other_right_answers_score_full(name, seed):
    assert len(ALTERNATIVES[name]) >= 2
    for function in ALTERNATIVES[name]:
        result = judged(function, name, seed)
        assert result.held == result.cases, f"{function.__name__}: {result.message}"


@pytest.mark.parametrize(("name", "seed"), DRAWS)
def test_each_mistake_loses_points_and_is_named(name, seed):
    assert len(EXERCISES[name].mistakes) >= 3
    for mistake, (hint, function) in EXERCISES[name].mistakes.items():
        result = judged(function, name, seed)
        assert result.held < result.cases, f"{mistake} passes"
        assert result.mistake == mistake, f"{mistake} was taken for {result.mistake}: {result.message}"
        assert hint in result.message


@pytest.mark.parametrize("name", NAMES)
def test_unanswered_exercise_scores_nothing(name):
    stub = defined(STUB.sub("raise NotImplementedError", cell(name).source), name)
    result = judged(stub, name, 0)
    assert result.points == 0
    assert "not answered yet" in result.message


@pytest.mark.parametrize("name", NAMES)
def test_what_is_easiest_earns_little(name):
    """Without an idea of the exercise there is less than half of its points to get."""
    guesses = {
        "count_transitions": lambda codes, size: torch.zeros(size, size, dtype=torch.long),
        "probabilities": lambda counts, smoothing: torch.full(counts.shape, 1 / len(counts)),
        "bits_per_character": lambda codes, table: math.log2(len(table)),
        "sample": lambda table, start, length, temperature, generator: start[:, None].repeat(1, length),
        "witten_bell": lambda codes, size: torch.full((size, size, size), 1 / size),
        "which_library": lambda training, sentences: [list(training)[0]] * len(sentences),
    }
    result = judged(guesses[name], name, 0)
    assert result.held < result.cases / 2, result.message


@pytest.mark.parametrize("name", NAMES)
def test_librarys_own_chain_is_banned_during_the_check(name):
    def borrowed(*arguments):
        return NGramModel(1)

    result = judged(borrowed, name, 0)
    assert result.points == 0
    assert "build it yourself" in result.message


@pytest.mark.parametrize("name", NAMES)
def test_hidden_cases_are_others_and_stay_the_same(name):
    visible, hidden, again = (list(EXERCISES[name].draw(torch.Generator().manual_seed(seed))) for seed in (0, 1, 1))
    assert len(visible) == len(hidden) >= 4
    assert repr(visible) != repr(hidden) == repr(again)


@pytest.mark.parametrize("name", NAMES)
def test_answers_can_be_put_into_a_notebook(name):
    """The source of each alternative and each mistake stands alone and does what the function does."""
    functions = ALTERNATIVES[name] + [function for _, function in EXERCISES[name].mistakes.values()]
    inputs = cases(name, 0).inputs[0]
    for function in functions:
        torch.manual_seed(0)
        expected = answer(function, inputs)
        torch.manual_seed(0)
        assert repr(answer(defined(source(function, name), name), inputs)) == repr(expected)


# --- right ------------------------------------------------------------------------------------------------------------


def test_examples_by_hand_are_what_the_solution_gives():
    count, probabilities = solution("count_transitions"), solution("probabilities")
    assert count(torch.tensor([0, 1, 1, 0, 2]), 3).tolist() == [[0, 1, 1], [1, 1, 0], [0, 0, 0]]
    counts = torch.tensor([[3, 1], [1, 1]])
    assert probabilities(counts, 0.0).tolist() == [[3 / 4, 1 / 4], [1 / 2, 1 / 2]]
    assert torch.allclose(probabilities(counts, 1.0), torch.tensor([[4 / 6, 2 / 6], [2 / 4, 2 / 4]]))
    table = torch.tensor([[1 / 2, 1 / 2], [1 / 4, 3 / 4]])
    assert solution("bits_per_character")(torch.tensor([0, 1, 0, 1]), table) == pytest.approx(4 / 3)
    table = solution("witten_bell")(torch.tensor([0, 0, 1]), 2)
    expected = [[[0.275, 0.725], [0.6, 0.4]], [[0.55, 0.45], [0.6, 0.4]]]
    assert torch.allclose(table, torch.tensor(expected))


@pytest.mark.parametrize(("temperature", "expected"), [(0.5, (0.94, 0.06)), (2.0, (0.67, 0.33))])
def test_example_of_temperature_by_hand(temperature, expected):
    table = torch.tensor([[0.8, 0.2], [0.8, 0.2]])
    drawn = solution("sample")(table, torch.zeros(200_000).long(), 2, temperature, torch.Generator().manual_seed(0))
    share = drawn[:, 1].bincount(minlength=2) / len(drawn)
    assert torch.allclose(share, torch.tensor(expected), atol=0.006)  # 5 sigma, and the text rounds to two digits


@pytest.mark.parametrize("seed", range(3))
def test_solution_agrees_with_the_library(seed):
    g = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 5, (300,), generator=g) * torch.randint(0, 2, (300,), generator=g)
    model = NGramModel(2, "witten-bell").fit(codes, size=6)
    expected = torch.stack(
        [torch.stack([model.distribution(torch.tensor([a, b])) for b in range(6)]) for a in range(6)]
    )
    assert torch.allclose(solution("witten_bell")(codes, 6), expected, atol=1e-6)
    model = NGramModel(1, 0.5).fit(codes, size=6)
    expected = torch.stack([model.distribution(torch.tensor([a])) for a in range(6)])
    counts = solution("count_transitions")(codes, 6)
    assert torch.allclose(solution("probabilities")(counts, 0.5), expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_threshold_of_the_last_exercise_has_room_on_both_sides(seed):
    exercise = EXERCISES["which_library"]
    threshold = exercise.compare["threshold"]
    functions = {
        "order 0": exercise.mistakes["letters_only"][1],
        "order 1": next(f for f in ALTERNATIVES["which_library"] if f.__name__ == "library_as_a_matrix_product"),
        "order 2": solution("which_library"),
    }
    for case in list(exercise.draw(torch.Generator().manual_seed(100 + seed)))[3:]:
        arguments = resolve(case.arguments)
        found = {}
        for name, function in functions.items():
            found[name] = sum(a == b for a, b in zip(function(*arguments), case.truth)) / len(case.truth)
        assert found["order 0"] < threshold - 0.04, found
        assert found["order 1"] > threshold + 0.03, found
        assert found["order 2"] > threshold + 0.1, found


# --- whole ------------------------------------------------------------------------------------------------------------


def test_points():
    assert sum(e.points for e in EXERCISES.values()) == 20
    table = next(c.source for c in NOTEBOOK.cells if c.id == "title")
    promised = {name: float(points) for name, points in re.findall(r"\| `(\w+)` \| (\d+) \|", table)}
    assert promised == {name: EXERCISES[name].points for name in NAMES}
    in_cells = {name: cell(f"check_{name}").metadata["nbgrader"]["points"] for name in NAMES}
    assert in_cells == promised
    assert sum(map(int, re.findall(r"\| (\d+) \|$", table, re.MULTILINE))) == 180, "about three hours"


def test_question_is_marked_by_hand():
    metadata = cell("short_answer").metadata["nbgrader"]
    assert metadata["grade"] and metadata["solution"] and metadata["points"] == 4
    assert not metadata["locked"]


@pytest.mark.parametrize("name", NAMES)
def test_each_exercise_is_explained_written_and_checked_in_this_order(name):
    ids = [c.id for c in NOTEBOOK.cells]
    at = ids.index(name)
    assert "$$" in NOTEBOOK.cells[at - 1].source, "a formula"
    assert "**By hand.**" in NOTEBOOK.cells[at - 1].source
    assert NOTEBOOK.cells[at + 1].source == f"check({name})"
    assert "Args:" in (solution(name).__doc__ or "") and "Returns:" in solution(name).__doc__
    assert not re.search(rf"\b{'|'.join(n for n in NAMES if n != name)}\(", STUB.search(cell(name).source)[0])


def test_cells_that_look_are_silent_until_the_exercise_is_done():
    """*Run All* on the released notebook stops nowhere: what uses an answer waits for it."""
    users = [c for c in NOTEBOOK.cells if c.cell_type == "code" and "nbgrader" not in c.metadata]
    users = [c for c in users if re.search("|".join(rf"\b{n}\(" for n in NAMES), c.source)]
    assert len(users) >= len(NAMES)
    assert all("with suppress(NotImplementedError):" in c.source for c in users)
