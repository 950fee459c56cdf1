"""Assignment 4 is fair: all right answers score full, each known mistake loses its exercise and is named."""

import math

import pytest
import torch
from assignment_tests import *  # noqa: F403
from assignment_tests import Assignment

from course_utils import losses

ASSIGNMENT = Assignment(
    "a4_bert",
    guesses={
        "mask_tokens": lambda codes, *others: (codes, codes),
        "mlm_loss": lambda logits, targets: torch.tensor(1.0),
        "attention_weights": lambda scores, mask: torch.full_like(scores, 1 / scores.shape[-1]),
    },
    names={"torch": torch, "math": math},
)


def test_examples_by_hand_are_what_the_solution_gives():
    codes, u = torch.tensor([[2, 7, 8, 9, 3, 0]]), torch.tensor([[0.01, 0.10, 0.90, 0.14, 0.02, 0.05]])
    for v, read in ((0.5, [2, 4, 8, 4, 3, 0]), (0.95, [2, 7, 8, 9, 3, 0])):
        how, other = torch.full((1, 6), v), torch.full((1, 6), 6)
        inputs, targets = ASSIGNMENT.solution("mask_tokens")(codes, u, how, other, 4, 5, 0.15)
        assert inputs.tolist() == [read]
        assert targets.tolist() == [[-100, 7, -100, 9, -100, -100]]
    logits, targets = next(ASSIGNMENT.exercises["mlm_loss"].draw(torch.Generator()))
    assert float(ASSIGNMENT.solution("mlm_loss")(logits, targets)) == pytest.approx(math.log(4))
    scores, mask = next(ASSIGNMENT.exercises["attention_weights"].draw(torch.Generator()))
    weights = ASSIGNMENT.solution("attention_weights")(scores, mask)
    assert weights[0, 0, 0].tolist() == pytest.approx([0.8, 0.2, 0.0])


@pytest.mark.parametrize("seed", range(3))
def test_loss_is_the_librarys(seed):
    g = torch.Generator().manual_seed(seed)
    logits, targets = torch.randn(4, 9, 7, generator=g), torch.randint(7, (4, 9), generator=g)
    targets[torch.rand(4, 9, generator=g) < 0.7] = -100
    expected = losses.masked_language_modelling_loss(logits, targets)
    assert torch.allclose(ASSIGNMENT.solution("mlm_loss")(logits, targets), expected)
