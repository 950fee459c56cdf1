"""Assignment 7 is fair: all right answers score full, each known mistake loses its exercise and is named."""

import math

import pytest
import torch
import torch.nn.functional as F
from assignment_tests import *  # noqa: F403
from assignment_tests import Assignment

from course_utils.learn import evaluate, losses
from course_utils.models.convnet import small_encoder
from course_utils.plain import cook, pack, unpack
from course_utils.readers import read

ASSIGNMENT = Assignment(
    "a7_contrastive",
    guesses={
        "two_views": lambda images, top, left, flip, side: torch.cat([images[:, :, :side, :side]] * 2),
        "nt_xent_loss": lambda z1, z2, temperature: torch.tensor(1.0),
        "sup_con_loss": lambda z, labels, temperature: torch.tensor(1.0),
        "alignment_uniformity": lambda z1, z2: (torch.tensor(1.0), torch.tensor(-1.0)),
        "information_bound": lambda scores: torch.tensor(math.log(len(scores))),
        "hsic": lambda k, l: (k * l).mean(),  # noqa: E741
        "learn_to_find": lambda first, second: small_encoder(out=64),
    },
    names={"torch": torch, "math": math, "F": F, "small_encoder": small_encoder},
    slow=("learn_to_find",),
)


def test_examples_by_hand_are_what_the_solution_gives():
    def first(name):
        arguments = next(iter(ASSIGNMENT.arguments(name, torch.Generator().manual_seed(0))))
        return ASSIGNMENT.solution(name)(*arguments)

    assert first("two_views").tolist() == [[[[1, 0], [4, 3]]], [[[5, 4], [8, 7]]]]
    assert float(first("nt_xent_loss")) == pytest.approx(math.log(1 + 2 / math.e))
    assert float(first("sup_con_loss")) == pytest.approx(math.log(1 + 1 / math.e))
    assert [float(x) for x in first("alignment_uniformity")] == pytest.approx([1, -4])
    assert float(first("information_bound")) == pytest.approx(math.log(2) + math.log(0.75 * 0.875) / 2)
    assert float(first("hsic")) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_answers_are_the_librarys(seed):
    g = torch.Generator().manual_seed(seed)
    z1, z2 = torch.randn(2, 9, 5, generator=g)
    labels, close = torch.randint(3, (9,), generator=g), torch.testing.assert_close
    close(ASSIGNMENT.solution("nt_xent_loss")(z1, z2, 0.3), losses.nt_xent(z1, z2, 0.3))
    close(ASSIGNMENT.solution("sup_con_loss")(z1, labels, 0.3), losses.sup_con(z1, labels, 0.3))
    found = ASSIGNMENT.solution("alignment_uniformity")(z1, z2)
    close(found, (evaluate.alignment(z1, z2), evaluate.uniformity(z1)))
    k, l = z1 @ z1.T, evaluate.gaussian_kernel(z2)  # noqa: E741
    close(ASSIGNMENT.solution("hsic")(k, l), evaluate.hsic(k, l))
    logits = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T / 0.3
    bound = evaluate.info_nce_bound(losses.info_nce(z1, z2, 0.3), negatives=8)
    close(ASSIGNMENT.solution("information_bound")(logits), bound)


@pytest.mark.soak
def test_the_last_exercise_needs_negatives():
    """One encoder, with the loss of exercise 2 and without negatives."""
    names = ASSIGNMENT.exercises["learn_to_find"].mistakes["no_negatives"][1].__globals__
    case = next(iter(ASSIGNMENT.exercises["learn_to_find"].draw(torch.Generator().manual_seed(1))))
    threshold = ASSIGNMENT.exercises["learn_to_find"].compare["threshold"]

    def right(loss):
        encoder = names["_trained"](*cook(case.arguments), 120, 0, loss)
        said = read("gallery", unpack(pack(encoder)), case.truth)
        return float((said == case.truth["labels"]).float().mean())

    assert right(lambda z1, z2: losses.nt_xent(z1, z2, 0.1)) > threshold
    assert right(names["_alignment_alone"]) < threshold - 0.1
