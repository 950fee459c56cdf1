"""Assignment 2 is fair: all right answers score full, each known mistake loses its exercise and is named."""

import collections
import itertools
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from assignment_tests import *  # noqa: F403
from assignment_tests import Assignment

from course_utils.models.rnn import MultiplicativeRNN

ASSIGNMENT = Assignment(
    "a2_rnn",
    guesses={
        "rnn_step": lambda x, h, weights: h,
        "run_rnn": lambda codes, h, weights: (
            torch.zeros(*codes.shape, h.shape[1]),
            torch.zeros(*codes.shape, len(weights["c"])),
        ),
        "next_character_loss": lambda logits, codes: torch.tensor(1.0),
        "bptt": lambda codes, h, states, logits, weights: {k: torch.zeros_like(v) for k, v in weights.items()},
        "clip_by_global_norm": lambda gradients, limit: (gradients, limit),
        "write": lambda prompt, length, temperature, weights, generator: prompt[:, -1:].repeat(1, length),
        "multiplicative_step": lambda x, h, weights: h,
        "far_back": lambda texts, answers, new_texts, generator: torch.zeros(len(new_texts), dtype=torch.long),
    },
    names={"torch": torch, "math": math, "F": F},
    slow=("far_back",),
)


def first_case(name):
    return next(iter(ASSIGNMENT.arguments(name, torch.Generator().manual_seed(0))))


def test_examples_by_hand_are_what_the_solution_gives():
    found = {name: ASSIGNMENT.solution(name) for name in ASSIGNMENT.exercises}
    assert found["rnn_step"](*first_case("rnn_step"))[0].tolist() == pytest.approx([0.6, 0.8])
    states, logits = found["run_rnn"](*first_case("run_rnn"))
    assert states.flatten().tolist() == pytest.approx([0.8, 0.6])
    assert logits.flatten().tolist() == pytest.approx([0.8, 0, 0.6, 0])
    loss = found["next_character_loss"](*first_case("next_character_loss"))
    assert float(loss) == pytest.approx(math.log(4))
    gradient = found["bptt"](*first_case("bptt"))
    assert {k: v.flatten().tolist() for k, v in gradient.items()} == {
        "W_x": [0.5, 0],
        "W_h": [0],
        "b": [0.5],
        "W_o": [0, 0],
        "c": [0, 0],
    }
    clipped, norm = found["clip_by_global_norm"](*first_case("clip_by_global_norm"))
    assert norm == pytest.approx(5)
    assert [*clipped["W"].flatten(), *clipped["b"]] == pytest.approx([0.6, 0, 0.8])
    states = found["multiplicative_step"](*first_case("multiplicative_step"))
    assert states.flatten().tolist() == pytest.approx([0.6, -15 / 17])


@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_autograds(seed):
    g = torch.Generator().manual_seed(seed)
    *_, (codes, h, _, _, weights) = ASSIGNMENT.arguments("bptt", g)
    weights = {name: value.requires_grad_() for name, value in weights.items()}
    states, logits = ASSIGNMENT.solution("run_rnn")(codes, h, weights)
    loss = ASSIGNMENT.solution("next_character_loss")(logits, codes)
    expected = torch.autograd.grad(loss, list(weights.values()))
    with torch.no_grad():
        found = ASSIGNMENT.solution("bptt")(codes, h, states, logits, weights)
    for name, gradient in zip(weights, expected):
        torch.testing.assert_close(found[name], gradient)


def test_states_are_torchs():
    codes, h, weights = list(ASSIGNMENT.arguments("run_rnn", torch.Generator().manual_seed(0)))[-1]
    V, H = weights["W_x"].shape
    theirs = torch.nn.RNN(V, H, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(weights["W_x"].T)
        theirs.weight_hh_l0.copy_(weights["W_h"].T)
        theirs.bias_ih_l0.copy_(weights["b"])
        theirs.bias_hh_l0.zero_()
        expected = theirs(F.one_hot(codes, V).float(), h[None])[0]
    torch.testing.assert_close(ASSIGNMENT.solution("run_rnn")(codes, h, weights)[0], expected)


def test_multiplicative_step_is_the_librarys():
    x, h, weights = list(ASSIGNMENT.arguments("multiplicative_step", torch.Generator().manual_seed(0)))[-1]
    H, V = weights["W_hx"].shape
    theirs = MultiplicativeRNN(V, H, len(weights["W_fx"]))
    with torch.no_grad():
        for name in ("fx", "fh", "hf", "hx"):
            getattr(theirs, name).weight.copy_(weights[f"W_{name}"])
        expected = theirs(x[:, None], h[None])[0][:, 0]
    torch.testing.assert_close(ASSIGNMENT.solution("multiplicative_step")(x, h, weights), expected)


@pytest.mark.parametrize("seed", range(10))
def test_who_writes_right_passes_with_other_random_numbers(seed):
    """The pairs of a text with a memory are no chain's: that the test's law holds for them is worth a look."""
    result = ASSIGNMENT.judged(ASSIGNMENT.solution("write"), "write", seed)
    assert result.held == result.cases, result.message


def test_rules_that_one_might_guess_do_not_answer_the_last_exercise():
    """The last of two or three signals, or how often one came since another: the best rule of all on the texts."""
    exercise = ASSIGNMENT.exercises["far_back"]
    for case in exercise.draw(torch.Generator().manual_seed(2)):
        texts, answers, new_texts, _ = case.arguments
        said = max(_guessed(texts), key=lambda rule: _agree(rule(texts), answers)[0])
        right = _agree(said(texts), answers)[1][said(new_texts)] == case.truth
        assert right.float().mean() < exercise.compare["threshold"] - 0.05


def test_no_table_of_the_last_codes_that_count_answers_the_last_exercise():
    """Whatever four codes are taken to count, and however many of the last of them are looked up: the best of all."""
    exercise = ASSIGNMENT.exercises["far_back"]
    for case in exercise.draw(torch.Generator().manual_seed(5)):  # where a draw taken as it comes would let one pass
        texts, answers, new_texts, _ = case.arguments
        for counts in itertools.combinations(texts.unique().tolist(), 4):
            ends, new_ends = ([[c for c in text if c in counts] for text in t.tolist()] for t in (texts, new_texts))
            for order in range(2, 6):
                said = _looked_up(ends, answers.tolist(), new_ends, order)
                assert (said == case.truth).float().mean() < exercise.compare["threshold"] - 0.03


def _looked_up(ends, answers, new_ends, order):
    """The usual answer after the last `order` codes, after fewer where that never came."""
    seen = collections.defaultdict(collections.Counter)
    for end, answer in zip(ends, answers, strict=True):
        for start in range(order + 1):
            seen[tuple(end[-order:][start:])][answer] += 1
    known = [[e for e in (tuple(end[-order:][start:]) for start in range(order + 1)) if e in seen] for end in new_ends]
    return torch.tensor([seen[longest].most_common(1)[0][0] for longest, *_ in known])


def _guessed(texts):
    codes = texts.unique().tolist()
    signals = [c for n in (2, 3) for c in itertools.permutations(codes, n)]
    return [partial(_last, signals=s) for s in signals] + [
        partial(_since, reset=a, bell=b) for a, b in itertools.permutations(codes, 2)
    ]


def _last(texts, signals):
    state = torch.zeros(len(texts), dtype=torch.long)
    for column in texts.unbind(1):
        for answer, code in enumerate(signals):
            state = torch.where(column == code, answer, state)
    return state


def _since(texts, reset, bell):
    state = torch.zeros(len(texts), dtype=torch.long)
    for column in texts.unbind(1):
        state = torch.where(column == reset, 0, torch.where(column == bell, (state + 1).clamp(max=2), state))
    return state


def _agree(states, answers):
    """How often the best naming of the states gives the answer, and that naming."""
    table = torch.zeros(3, 3, dtype=torch.long).index_put_((states, answers), torch.tensor(1), accumulate=True)
    return float(table.amax(1).sum() / len(answers)), table.argmax(1)
