"""Assignment 9 is fair: all right answers score full, each known mistake loses its exercise and is named."""

import math
import re

import pytest
import torch
from assignment_tests import *  # noqa: F403
from assignment_tests import Assignment

from course_utils.learn import privacy
from course_utils.plain import resolve

ASSIGNMENT = Assignment(
    "a9_memorization",
    guesses={
        "longest_match": lambda generated, training: (0, len(generated)),
        "mark_copied": lambda generated, training, n: torch.ones(len(generated), dtype=torch.bool),
        "exposure": lambda losses, canaries: torch.full((len(canaries),), math.log2(len(losses))),
        "contamination": lambda q, training, n, threshold: (torch.ones(len(q)), torch.ones(len(q), dtype=torch.bool)),
        "score_gap": lambda correct, leaked: (float(correct.double().mean()), 0.0, 0.0),
        "private_gradient": lambda gradients, max_norm, noise_multiplier, noise: [g.mean(0) for g in gradients],
        "find_leaks": lambda training, questions: [True] * len(questions),
    },
    names={"torch": torch, "re": re},
    slow=("find_leaks", "longest_match"),
)


def test_librarys_own_is_banned_during_the_check(assignment, name):
    borrowed = [
        lambda *arguments: privacy.dp_sgd_gradient(None, None, max_norm=1.0, noise_multiplier=0.0),
        lambda *arguments: privacy.PassageIndex(["a", "b"]).longest_match(["a"]),
        lambda *arguments: privacy.longest_match(["a"], ["a", "b"]),
        lambda *arguments: privacy.verbatim(["a"], ["a"]),
        lambda *arguments: privacy.common_runs(["a"], ["a"]),
        lambda *arguments: privacy.exposure(torch.zeros(4), 1),
        lambda *arguments: privacy.ngram_overlap(["a"], ["a", "b"], 1),
    ]
    for function in borrowed:
        result = assignment.judged(function, name)
        assert result.points == 0
        assert "build it yourself" in result.message


# --- right ------------------------------------------------------------------------------------------------------------


def test_examples_by_hand_are_what_the_solution_gives():
    generated, training = torch.tensor([5, 1, 2, 3, 1, 2]), torch.tensor([0, 1, 2, 3, 0, 4, 1, 2])
    assert ASSIGNMENT.solution("longest_match")(generated, training) == (1, 3)
    generated, training = torch.tensor([0, 1, 9, 1, 2, 3, 8, 4]), torch.tensor([0, 1, 2, 3, 4])
    marks = {n: ASSIGNMENT.solution("mark_copied")(generated, training, n).int().tolist() for n in (2, 3, 4)}
    assert marks == {2: [1, 1, 0, 1, 1, 1, 0, 0], 3: [0, 0, 0, 1, 1, 1, 0, 0], 4: [0] * 8}
    assert ASSIGNMENT.solution("exposure")(torch.tensor([2.0, 5.0, 3.0, 7.0]), torch.tensor([0, 2, 3])).tolist() == [
        2,
        1,
        0,
    ]
    training = "the cat sat on the mat and the dog sat on the cat".split()
    questions = [q.split() for q in ("the cat sat down", "dog sat on the mat", "mat")]
    shares, flagged = ASSIGNMENT.solution("contamination")(questions, training, 2, 0.5)
    assert shares.tolist() == pytest.approx([2 / 3, 1, 1])
    assert flagged.all()
    correct = torch.tensor([1, 1, 1, 0, 1, 0, 0, 1]).bool()
    found = ASSIGNMENT.solution("score_gap")(correct, torch.tensor([1, 1, 1, 1, 0, 0, 0, 0]).bool())
    assert found == pytest.approx((1 / 2, 1 / 4, math.sqrt(0.1875 / 4 + 0.25 / 4)))
    gradients, z = [torch.tensor([[3.0, 4.0], [0.0, 0.5]])], [torch.tensor([1.0, -1.0])]
    for sigma, expected in ((0.0, (0.3, 0.65)), (2.0, (1.3, -0.35))):
        (gradient,) = ASSIGNMENT.solution("private_gradient")(gradients, 1.0, sigma, z)
        assert torch.allclose(gradient, torch.tensor(expected))


def test_example_of_a_leaked_question_by_hand():
    training, questions = next(ASSIGNMENT.exercises["find_leaks"].draw(torch.Generator().manual_seed(0))).arguments
    assert questions[1] == "the bread comes with the day of soup the"  # as in the text
    triples = [" ".join(t) for q in questions[:2] for t in zip(*(q.split()[k:] for k in range(3)))]
    said = " ".join(" ".join(training.values()).lower().split())
    assert sum(t in said for t in triples) == len(questions[0].split()) - 2  # all of the first, none of the second


@pytest.mark.parametrize("seed", range(3))
def test_solution_agrees_with_the_library(seed):
    for case in ASSIGNMENT.arguments("longest_match", torch.Generator().manual_seed(seed)):
        generated, training = case
        start, length = ASSIGNMENT.solution("longest_match")(generated, training)
        found = privacy.longest_match([str(t) for t in generated.tolist()], [str(t) for t in training.tolist()])
        assert length == found.length
        assert start <= found.place or not length  # the first of equals
    g = torch.Generator().manual_seed(seed)
    losses, canaries = torch.rand(500, generator=g), torch.tensor([3, 77])
    expected = [privacy.exposure(-losses, int(c)) for c in canaries]
    assert ASSIGNMENT.solution("exposure")(losses, canaries).tolist() == pytest.approx(expected)
    training = [f"w{i}" for i in torch.randint(0, 6, (200,), generator=g)]
    questions = [[f"w{i}" for i in torch.randint(0, 6, (9,), generator=g)] for _ in range(5)]
    shares, _ = ASSIGNMENT.solution("contamination")(questions, training, 3, 0.5)
    assert shares.tolist() == pytest.approx([privacy.ngram_overlap(q, training, 3) for q in questions])


@pytest.mark.parametrize("seed", range(3))
def test_gradient_without_noise_is_the_librarys(seed):
    g = torch.Generator().manual_seed(seed)
    model = torch.nn.Linear(5, 3)
    x, y = torch.randn(12, 5, generator=g), torch.randint(3, (12,), generator=g)

    def loss(model, x, y):
        return torch.nn.functional.cross_entropy(model(x), y)

    own = []
    for b in range(len(x)):
        model.zero_grad()
        loss(model, x[b : b + 1], y[b : b + 1]).backward()
        own.append([p.grad.clone() for p in model.parameters()])
    gradients = [torch.stack(g) for g in zip(*own)]
    noise = [torch.zeros_like(p) for p in model.parameters()]
    expected, norms = privacy.dp_sgd_gradient(model, loss, x, y, max_norm=1.0, noise_multiplier=0.0)
    assert norms.min() < 1 < norms.max() or seed, "both kinds of samples occur"
    found = ASSIGNMENT.solution("private_gradient")(gradients, 1.0, 0.0, noise)
    for a, b in zip(found, expected.values()):
        assert torch.allclose(a, b, atol=1e-6)


def test_no_sample_moves_the_gradient_further_than_its_share():
    g = torch.Generator().manual_seed(0)
    gradients = [torch.randn(8, 4, 3, generator=g), torch.randn(8, 3, generator=g)]
    noise = [torch.zeros(4, 3), torch.zeros(3)]
    other = [x.clone() for x in gradients]
    for x in other:
        x[5] *= -1e6
    pairs = zip(*(ASSIGNMENT.solution("private_gradient")(x, 0.5, 1.0, noise) for x in (gradients, other)))
    moved = torch.cat([(a - b).flatten() for a, b in pairs]).norm()
    assert moved <= 2 * 0.5 / 8 + 1e-6


def share(function, arguments: tuple, truth: list[bool]) -> float:
    return sum(a == b for a, b in zip(function(*arguments), truth)) / len(truth)


@pytest.mark.parametrize("seed", range(2))
def test_threshold_of_the_last_exercise_has_room_on_both_sides(seed):
    exercise = ASSIGNMENT.exercises["find_leaks"]
    threshold = exercise.compare["threshold"]
    wrong = [function for _, function in exercise.mistakes.values()]
    right = [ASSIGNMENT.solution("find_leaks"), *ASSIGNMENT.alternatives["find_leaks"]]
    for case in list(exercise.draw(torch.Generator().manual_seed(100 + seed)))[1:]:
        arguments = resolve(case.arguments)
        assert sum(case.truth) * 2 == len(case.truth), "as many leaked as fresh"

        assert max(share(function, arguments, case.truth) for function in wrong) < threshold - 0.1
        assert min(share(function, arguments, case.truth) for function in right) > threshold + 0.08
