"""Assignment 6 is fair: all right answers score full, each known mistake loses its exercise and is named."""

import math
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from assignment_tests import *  # noqa: F403
from assignment_tests import Assignment

from course_utils.learn import evaluate, pretext
from course_utils.models.convnet import small_encoder
from course_utils.plain import cook, pack, unpack
from course_utils.readers import read

ASSIGNMENT = Assignment(
    "a6_pretext",
    guesses={
        "patch_pairs": lambda images, which, jitter, patch, gap: (images[:, :, :patch, :patch],) * 2,
        "far_permutations": lambda first, count: torch.tensor(list(permutations(range(len(first)))))[:count],
        "make_puzzle": lambda images, order, shift, tile: images[:, None, :, :tile, :tile].repeat(
            1, order.shape[1], 1, 1, 1
        ),
        "colour_targets": lambda chroma, bins: torch.zeros_like(chroma[:, 0]).long(),
        "class_weights": lambda targets, Q, mix: torch.ones(Q),
        "annealed_mean": lambda logits, bins, temperature: logits[:, :2] * 0,
        "knn_probe": lambda features, labels, new, new_labels, k: (0.5, 0.1, 0.5),
        "four_ways": lambda images: (torch.cat([images] * 4), torch.zeros(4 * len(images), dtype=torch.int64)),
        "learn_to_look": lambda images: small_encoder(normed=True),
    },
    names={"torch": torch, "math": math, "F": F, "nn": torch.nn, "permutations": permutations, "losses": []}
    | {"small_encoder": small_encoder},
    slow=("learn_to_look",),
)


def test_examples_by_hand_are_what_the_solution_gives():
    solution = ASSIGNMENT.solution
    image = torch.arange(49.0).view(1, 1, 7, 7)
    for jitter, wanted in (([[0, 0], [0, 0]], 10), ([[0, 0], [0, 1]], 11)):
        first, second = solution("patch_pairs")(image, torch.tensor([1]), torch.tensor([jitter]), 1, 1)
        assert (float(first), float(second)) == (24, wanted)
    found = solution("far_permutations")(torch.tensor([0, 1, 2]), 4).tolist()
    assert found == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1]]
    image, order = torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[1, 2, 3, 0]])
    shift = torch.zeros(1, 4, 2, dtype=torch.int64)
    assert solution("make_puzzle")(image, torch.arange(4)[None], shift, 1).flatten().tolist() == [0, 2, 8, 10]
    assert solution("make_puzzle")(image, order, shift, 1).flatten().tolist() == [2, 8, 10, 0]
    shift[0, 1] = 1
    assert solution("make_puzzle")(image, order, shift, 1).flatten().tolist() == [7, 8, 10, 0]
    bins = torch.tensor([[0.0, 0.0], [0.2, 0.0], [0.0, 0.2]])
    pixel = torch.tensor([0.05, 0.12])
    assert (pixel - bins).square().sum(1).tolist() == pytest.approx([0.0169, 0.0369, 0.0089])
    assert int(solution("colour_targets")(pixel.view(1, 2, 1, 1), bins)) == 2
    weight = solution("class_weights")(torch.tensor([0, 0, 0, 1]), 2, 0.5)
    assert weight.tolist() == pytest.approx([6 / 7, 10 / 7])
    bins, logits = torch.tensor([[-0.2, 0.0], [0.2, 0.0]]), torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1)
    for temperature, wanted in ((1.0, 0.1), (0.5, 0.16)):
        found = solution("annealed_mean")(logits, bins, temperature)
        assert found.flatten().tolist() == pytest.approx([wanted, 0], abs=1e-6)
    arguments = next(ASSIGNMENT.arguments("knn_probe", torch.Generator()))
    assert solution("knn_probe")(*arguments) == pytest.approx((0.75, (0.75 * 0.25 / 4) ** 0.5, 0.5))


@pytest.mark.parametrize("seed", range(3))
def test_solution_agrees_with_the_library(seed):
    g = torch.Generator().manual_seed(seed)
    solution = ASSIGNMENT.solution
    first = solution("far_permutations")(torch.arange(5), 20)
    assert first.equal(pretext.permutation_set(20, 5))
    chroma, bins = torch.rand(3, 2, 5, 4, generator=g) - 0.5, pretext.colour_bins(0.1)
    targets = solution("colour_targets")(chroma, bins)
    assert targets.equal(pretext.colour_targets(chroma, bins))
    weight = solution("class_weights")(targets, len(bins), 0.3)
    assert torch.allclose(weight, pretext.rebalanced_weights(targets, len(bins), 0.3))
    logits = torch.randn(2, len(bins), 3, 3, generator=g)
    expected = pretext.annealed_mean(logits, bins, 0.38)
    assert torch.allclose(solution("annealed_mean")(logits, bins, 0.38), expected, atol=1e-6)
    x, new = torch.randn(60, 6, generator=g), torch.randn(50, 6, generator=g)
    y, new_y = torch.randint(3, (60,), generator=g), torch.randint(3, (50,), generator=g)
    probe = evaluate.knn_probe(x, y, new, new_y, k=7)
    assert solution("knn_probe")(x, y, new, new_y, 7) == pytest.approx((probe.score, probe.error, probe.chance))
    images = torch.rand(4, 3, 32, 32, generator=g)
    orders = pretext.permutation_set(6, 4)
    tiles, which = pretext.jigsaw(images, orders, torch.Generator().manual_seed(seed), tile=16)
    found = solution("make_puzzle")(images, orders[which], torch.zeros(4, 4, 2, dtype=torch.int64), 16)
    assert found.equal(tiles)


def test_turns_by_hand_are_what_the_solution_gives():
    turned, turns = ASSIGNMENT.solution("four_ways")(*next(ASSIGNMENT.arguments("four_ways", torch.Generator())))
    assert turned[:, 0].tolist() == [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]
    assert turns.tolist() == [0, 1, 2, 3]


@pytest.mark.soak
def test_the_last_exercise_needs_the_question():
    """One encoder that learns which way is up, one that learns answers by heart that say nothing, one untrained."""
    exercise = ASSIGNMENT.exercises["learn_to_look"]
    looked = exercise.mistakes["encoder_not_trained"][1].__globals__["_looked"]
    case = next(iter(exercise.draw(torch.Generator().manual_seed(1))))
    (images,) = cook(case.arguments)

    def named(encoder):
        said = read("probe", unpack(pack(encoder)), case.truth)
        return float((said == case.truth["labels"]).float().mean())

    threshold = exercise.compare["threshold"]
    assert named(looked(images, 500)) > threshold
    assert named(looked(images, 0)) < threshold - 0.05
    assert named(looked(images, 100, torch.arange(4).repeat(32))) < threshold - 0.05
