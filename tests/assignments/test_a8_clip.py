"""Assignment 8 is fair: all right answers score full, each known mistake loses its exercise and is named."""

import math
from contextlib import suppress

import pytest
import torch
import torch.nn.functional as F
from assignment_tests import *  # noqa: F403
from assignment_tests import Assignment

from course_utils import runtime
from course_utils.data import captioned, postcards
from course_utils.learn import losses
from course_utils.models import clip
from course_utils.plain import cook, pack, unpack
from course_utils.readers import read
from course_utils.show import pictures, plots

ASSIGNMENT = Assignment(
    "a8_clip",
    guesses={
        "clip_logits": lambda image, text, log_scale: torch.zeros(len(image), len(text)),
        "symmetric_loss": lambda logits: torch.tensor(1.0),
        "distinct_batch": lambda order, captions, n: torch.arange(n),
        "class_vectors": lambda prompts, classes, count: torch.ones(count, prompts.shape[1]),
        "zero_shot": lambda image, pairs, scale: torch.full((len(image), len(pairs)), 1 / len(pairs)),
        "recall_both_ways": lambda similarity, k: (k / len(similarity), k / len(similarity)),
        "learn_to_name": lambda images, captions, steps: clip.small_clip(captions)[0],
    },
    names={
        "math": math, "suppress": suppress, "torch": torch, "F": F, "runtime": runtime, "captioned": captioned,
        "CLIP": clip.CLIP, "CLIPConfig": clip.CLIPConfig, "WordTokenizer": clip.WordTokenizer, "pictures": pictures,
        "plots": plots, "nn": torch.nn, "postcards": postcards,
        "small_clip": clip.small_clip, "zero_shot_classifier": clip.zero_shot_classifier,
    },
    slow=("learn_to_name",),
)  # fmt: skip


def test_examples_by_hand_are_what_the_solution_gives():
    def first(name):
        return ASSIGNMENT.solution(name)(*next(ASSIGNMENT.arguments(name, torch.Generator())))

    assert first("clip_logits").tolist() == [pytest.approx([6, 8])]
    assert float(first("symmetric_loss")) == pytest.approx(math.log(24) / 4)
    order, captions = torch.tensor([2, 0, 3, 1, 4]), ["a fish", "a car", "a fish", "a car", "a house"]
    batches = [ASSIGNMENT.solution("distinct_batch")(order, captions, n).tolist() for n in (2, 3, 4)]
    assert batches == [[2, 3], [2, 3, 4], [2, 3, 4]]
    assert first("class_vectors").tolist() == [pytest.approx([0.5**0.5, 0.5**0.5])]
    assert first("zero_shot").tolist() == [pytest.approx([0.5, 0.5])]
    assert [float(value) for value in first("recall_both_ways")] == pytest.approx([2 / 3, 1])


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_librarys(seed):
    g = torch.Generator().manual_seed(seed)
    x, y, log_scale = torch.randn(6, 5, generator=g), torch.randn(6, 5, generator=g), torch.tensor(2.0)
    logits = ASSIGNMENT.solution("clip_logits")(x, y, log_scale)
    assert torch.allclose(ASSIGNMENT.solution("symmetric_loss")(logits), losses.clip_loss(x, y, log_scale))
    for k in (1, 3):
        expected = [clip.recall_at_k(logits, k), clip.recall_at_k(logits.T, k)]
        found = ASSIGNMENT.solution("recall_both_ways")(logits, k)
        assert [float(value) for value in found] == pytest.approx(expected)


@pytest.mark.soak
def test_the_last_exercise_needs_its_idea():
    """Nothing but sentences told from one another names what was never shown."""
    exercise = ASSIGNMENT.exercises["learn_to_name"]
    names = exercise.mistakes["not_trained"][1].__globals__
    case = next(iter(exercise.draw(torch.Generator().manual_seed(1))))
    images, captions, steps = cook(case.arguments)
    truth = cook(case.truth)

    def right(loss):
        said = read("sentences", unpack(pack(names["_clip"](images, captions, steps, loss))), truth)
        return float((said == truth["labels"]).float().mean())

    assert not set(captions) & {sentence for c in truth["labels"].tolist() for sentence in truth["prompts"][c]}
    assert right(names["_both_ways"]) > exercise.compare["threshold"]
    assert right(names["_alignment_alone"]) < exercise.compare["threshold"] / 4
