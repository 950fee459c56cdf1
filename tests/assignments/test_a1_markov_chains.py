"""Assignment 1 is fair: all right answers score full, each known mistake loses its exercise and is named."""

import math

import pytest
import torch
from assignment_tests import *  # noqa: F403
from assignment_tests import Assignment

from course_utils.data import text
from course_utils.models.ngram import NGramModel
from course_utils.plain import resolve

ASSIGNMENT = Assignment(
    "a1_markov_chains",
    guesses={
        "count_transitions": lambda codes, size: torch.zeros(size, size, dtype=torch.long),
        "probabilities": lambda counts, smoothing: torch.full(counts.shape, 1 / len(counts)),
        "bits_per_character": lambda codes, table: math.log2(len(table)),
        "sample": lambda table, start, length, temperature, generator: start[:, None].repeat(1, length),
        "witten_bell": lambda codes, size: torch.full((size, size, size), 1 / size),
        "which_library": lambda training, sentences: [list(training)[0]] * len(sentences),
    },
    names={"torch": torch, "text": text},
    slow=("which_library",),
)


def test_librarys_own_chain_is_banned_during_the_check(assignment, name):
    result = assignment.judged(lambda *arguments: NGramModel(1), name)
    assert result.points == 0
    assert "build it yourself" in result.message


# --- right ------------------------------------------------------------------------------------------------------------


def test_examples_by_hand_are_what_the_solution_gives():
    count, probabilities = ASSIGNMENT.solution("count_transitions"), ASSIGNMENT.solution("probabilities")
    assert count(torch.tensor([0, 1, 1, 0, 2]), 3).tolist() == [[0, 1, 1], [1, 1, 0], [0, 0, 0]]
    counts = torch.tensor([[3, 1], [1, 1]])
    assert probabilities(counts, 0.0).tolist() == [[3 / 4, 1 / 4], [1 / 2, 1 / 2]]
    assert torch.allclose(probabilities(counts, 1.0), torch.tensor([[4 / 6, 2 / 6], [2 / 4, 2 / 4]]))
    table = torch.tensor([[1 / 2, 1 / 2], [1 / 4, 3 / 4]])
    assert ASSIGNMENT.solution("bits_per_character")(torch.tensor([0, 1, 0, 1]), table) == pytest.approx(4 / 3)
    table = ASSIGNMENT.solution("witten_bell")(torch.tensor([0, 0, 1]), 2)
    expected = [[[0.275, 0.725], [0.6, 0.4]], [[0.55, 0.45], [0.6, 0.4]]]
    assert torch.allclose(table, torch.tensor(expected))


@pytest.mark.parametrize(("temperature", "expected"), [(0.5, (0.94, 0.06)), (2.0, (0.67, 0.33))])
def test_example_of_temperature_by_hand(temperature, expected):
    table = torch.tensor([[0.8, 0.2], [0.8, 0.2]])
    drawn = ASSIGNMENT.solution("sample")(
        table, torch.zeros(200_000).long(), 2, temperature, torch.Generator().manual_seed(0)
    )
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
    assert torch.allclose(ASSIGNMENT.solution("witten_bell")(codes, 6), expected, atol=1e-6)
    model = NGramModel(1, 0.5).fit(codes, size=6)
    expected = torch.stack([model.distribution(torch.tensor([a])) for a in range(6)])
    counts = ASSIGNMENT.solution("count_transitions")(codes, 6)
    assert torch.allclose(ASSIGNMENT.solution("probabilities")(counts, 0.5), expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_threshold_of_the_last_exercise_has_room_on_both_sides(seed):
    exercise = ASSIGNMENT.exercises["which_library"]
    threshold = exercise.compare["threshold"]
    functions = {
        "order 0": exercise.mistakes["letters_only"][1],
        "order 1": next(
            f for f in ASSIGNMENT.alternatives["which_library"] if f.__name__ == "library_as_a_matrix_product"
        ),
        "order 2": ASSIGNMENT.solution("which_library"),
    }
    for case in list(exercise.draw(torch.Generator().manual_seed(100 + seed)))[3:]:
        arguments = resolve(case.arguments)
        found = {}
        for name, function in functions.items():
            found[name] = sum(a == b for a, b in zip(function(*arguments), case.truth)) / len(case.truth)
        assert found["order 0"] < threshold - 0.04, found
        assert found["order 1"] > threshold + 0.03, found
        assert found["order 2"] > threshold + 0.1, found
