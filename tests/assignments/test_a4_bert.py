"""Assignment 4 is fair: all right answers score full, each known mistake loses its exercise and is named."""

import math

import pytest
import scipy.stats
import torch
from assignment_tests import *  # noqa: F403
from assignment_tests import Assignment
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from autograder.author.exercise import distribution
from course_utils.check import answer
from course_utils.compare import difference
from course_utils.learn import evaluate, losses
from course_utils.models import transformer

ASSIGNMENT = Assignment(
    "a4_bert",
    guesses={
        "mask_tokens": lambda codes, *others: (codes, codes),
        "mlm_loss": lambda logits, targets: torch.tensor(1.0),
        "attention_weights": lambda scores, mask: torch.full_like(scores, 1 / scores.shape[-1]),
        "mean_pool": lambda hidden, mask: hidden.mean(1),
        "draw_labels": lambda labels, k, repeats, generator: torch.randint(
            len(labels), (repeats, k * (int(labels.max()) + 1)), generator=generator
        ),
        "mean_and_error": lambda right: (right.float().mean((1, 2)), torch.zeros(len(right))),
        "which_library": lambda features, labels, new, penalty: torch.full(
            (len(new), int(labels.max()) + 1), 1 / (int(labels.max()) + 1)
        ),
    },
    names={"torch": torch, "math": math},
    slow=("which_library",),
)


def test_examples_by_hand_are_what_the_solution_gives():
    codes, u = torch.tensor([[2, 7, 8, 9, 3, 0]]), torch.tensor([[0.01, 0.10, 0.90, 0.14, 0.02, 0.05]])
    for v, read in ((0.5, [2, 4, 8, 4, 3, 0]), (0.95, [2, 7, 8, 9, 3, 0])):
        how, other = torch.full((1, 6), v), torch.full((1, 6), 6)
        inputs, targets = ASSIGNMENT.solution("mask_tokens")(codes, u, how, other, 4, 5, 0.15)
        assert inputs.tolist() == [read]
        assert targets.tolist() == [[-100, 7, -100, 9, -100, -100]]
    logits, targets = next(ASSIGNMENT.arguments("mlm_loss", torch.Generator()))
    assert float(ASSIGNMENT.solution("mlm_loss")(logits, targets)) == pytest.approx(math.log(4))
    scores, mask = next(ASSIGNMENT.arguments("attention_weights", torch.Generator()))
    weights = ASSIGNMENT.solution("attention_weights")(scores, mask)
    assert weights[0, 0, 0].tolist() == pytest.approx([0.8, 0.2, 0.0])


@pytest.mark.parametrize("seed", range(3))
def test_loss_is_the_librarys(seed):
    g = torch.Generator().manual_seed(seed)
    logits, targets = torch.randn(4, 9, 7, generator=g), torch.randint(7, (4, 9), generator=g)
    targets[torch.rand(4, 9, generator=g) < 0.7] = -100
    expected = losses.masked_language_modelling_loss(logits, targets)
    assert torch.allclose(ASSIGNMENT.solution("mlm_loss")(logits, targets), expected)


def test_later_examples_by_hand_are_what_the_solution_gives():
    hidden, mask = next(ASSIGNMENT.arguments("mean_pool", torch.Generator()))
    assert ASSIGNMENT.solution("mean_pool")(hidden, mask).tolist() == [[2, 3]]
    labels, k, _, seed = next(ASSIGNMENT.arguments("draw_labels", torch.Generator()))
    rows = ASSIGNMENT.solution("draw_labels")(labels, k, 6000, torch.Generator().manual_seed(seed.n))
    found, count = rows.unique(dim=0, return_counts=True)
    assert found.tolist() == [[0, 1], [0, 2], [0, 4], [1, 3], [2, 3], [3, 4]]
    assert (count - 1000).abs().max() < 5 * math.sqrt(6000 / 6 * 5 / 6)
    (right,) = next(ASSIGNMENT.arguments("mean_and_error", torch.Generator()))
    mean, error = ASSIGNMENT.solution("mean_and_error")(right)
    assert (float(mean), float(error)) == pytest.approx((0.75, 0.25 / math.sqrt(3)))
    case = next(ASSIGNMENT.arguments("which_library", torch.Generator()))
    guessed = ASSIGNMENT.solution("which_library")(*case)
    assert float(guessed[0, 1]) == pytest.approx(0.733, abs=5e-4)  # as the text says


def test_pooled_vectors_are_the_librarys():
    g = torch.Generator().manual_seed(0)
    hidden, mask = torch.randn(4, 9, 7, generator=g), torch.rand(4, 9, generator=g) < 0.6
    mask[1] = False
    assert torch.allclose(ASSIGNMENT.solution("mean_pool")(hidden, mask), transformer.mean_pool(hidden, mask))


def test_right_draws_fail_as_rarely_as_they_should():
    """The rows' steps are taken for independent: at 1 in 20, about 1 right answer in 20 must fail, and no more."""
    draw, loose, failed, tried = ASSIGNMENT.solution("draw_labels"), distribution("pairs", alpha=0.05), 0, 0
    for seed in range(60):
        g = torch.Generator().manual_seed(seed)
        for labels, k, repeats, _ in ASSIGNMENT.arguments("draw_labels", g):
            if repeats < 100:
                continue  # there is one answer alone
            ours, theirs = ({"value": draw(labels, k, repeats, g)} for _ in range(2))
            failed, tried = failed + (difference(loose, ours, theirs) is not None), tried + 1
    assert abs(failed - 0.05 * tried) < 4 * math.sqrt(0.05 * 0.95 * tried)


def one_draw_for_all(labels, k, repeats, generator):
    """Wrong, and without a name in `mistakes.py`: which row it repeats is chance, so no stored answer is like it."""
    members = [(labels == c).nonzero()[:, 0] for c in range(int(labels.max()) + 1)]
    row = torch.cat([m[torch.randperm(len(m), generator=generator)[:k]] for m in members])
    return row.sort().values.repeat(repeats, 1)


def classes_drawn_alike(labels, k, repeats, generator):
    """Wrong: the same random numbers for each class, so who is drawn in one tells who is drawn in the next."""
    same, drawn = torch.rand(repeats, len(labels), generator=generator), []
    for c in range(int(labels.max()) + 1):
        members = (labels == c).nonzero()[:, 0]
        drawn.append(members[same[:, : len(members)].argsort(1)[:, :k]])
    return torch.cat(drawn, 1).sort(1).values


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("wrong", [one_draw_for_all, classes_drawn_alike])
def test_draws_that_depend_on_each_other_lose_points(wrong, seed):
    result = ASSIGNMENT.judged(wrong, "draw_labels", seed)
    assert result.held < result.cases


@pytest.mark.parametrize("seed", range(3))
def test_errors_are_scipys(seed):
    g = torch.Generator().manual_seed(seed)
    right = torch.rand(3, 7, 20, generator=g) < 0.6
    mean, error = ASSIGNMENT.solution("mean_and_error")(right)
    share = right.double().mean(2)
    assert mean.tolist() == pytest.approx(share.mean(1).tolist())
    assert error.tolist() == pytest.approx(scipy.stats.sem(share.numpy(), axis=1).tolist())


def test_classifier_agrees_with_scikit_learn():
    """The same loss: scikit-learn's C is 1 / (N λ)."""
    for *_, case in (list(ASSIGNMENT.arguments("which_library", torch.Generator().manual_seed(s))) for s in (0, 1)):
        x, y, new, penalty = case
        scaler = StandardScaler().fit(x)
        model = LogisticRegression(C=1 / (len(x) * penalty), max_iter=1000, tol=1e-8).fit(scaler.transform(x), y)
        theirs = torch.from_numpy(model.predict_proba(scaler.transform(new)))
        assert (ASSIGNMENT.solution("which_library")(*case) - theirs).abs().max() < 0.005


@pytest.mark.parametrize(
    "borrowed",
    [
        lambda x, y, new, penalty: LogisticRegression().fit(x, y).predict_proba(new),
        lambda x, y, new, penalty: evaluate.linear_probe(x, y, new, torch.zeros(len(new)).long()),
    ],
)
def test_librarys_classifier_is_banned_during_the_check(borrowed):
    result = ASSIGNMENT.judged(borrowed, "which_library")
    assert result.points == 0
    assert "build it yourself" in result.message


def test_scaler_of_scikit_learn_is_allowed():
    def by_scaler(x, y, new, penalty):
        scaler = StandardScaler().fit(x.numpy())
        x, new = (torch.tensor(scaler.transform(f.numpy())).float() for f in (x, new))
        return ASSIGNMENT.solution("which_library")(x, y, new, penalty)

    drawn = ASSIGNMENT.cases("which_library", 0)  # numpy runs on no GPU; the numbers hold
    for inputs, expected in zip(drawn.inputs, drawn.expected):
        assert difference(drawn.compare, answer(by_scaler, inputs, drawn.banned), expected) is None


def _steps(number):
    def few_steps(features, labels, new_features, penalty):
        x, new = ((f - features.mean(0)) / features.std(0).clamp(min=1e-8) for f in (features, new_features))
        W = torch.zeros(x.shape[1], int(labels.max()) + 1)
        for _ in range(number):
            truth = torch.nn.functional.one_hot(labels, W.shape[1])
            W = W - 0.5 * (x.T @ ((x @ W).softmax(1) - truth) / len(x) + penalty * W)
        return (new @ W).softmax(1)

    return few_steps


def _centroids(temperature):
    def nearest_centroid(features, labels, new_features, penalty):
        x, new = ((f - features.mean(0)) / features.std(0).clamp(min=1e-8) for f in (features, new_features))
        centres = torch.stack([x[labels == c].mean(0) for c in labels.unique()])
        return (-torch.cdist(new, centres).square() / temperature).softmax(1)

    return nearest_centroid


@pytest.mark.parametrize("wrong", [_steps(1), _steps(3), _centroids(0.5), _centroids(2.0), _centroids(5.0)])
def test_without_the_minimum_there_is_little_to_get(wrong):
    result = ASSIGNMENT.judged(wrong, "which_library")
    assert result.held <= 1, result.message
