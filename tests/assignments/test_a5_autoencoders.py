"""Assignment 5 is fair: all right answers score full, each known mistake loses its exercise and is named."""

import math

import pytest
import torch
from assignment_tests import *  # noqa: F403
from assignment_tests import Assignment
from sklearn.decomposition import PCA
from torch import nn

from course_utils import runtime
from course_utils.learn import evaluate, losses

ASSIGNMENT = Assignment(
    "a5_autoencoders",
    guesses={
        "pca": lambda x, k: (x.mean(0), torch.eye(x.shape[1], dtype=x.dtype)[:k], x.var(0)[:k]),
        "linear_autoencoder": lambda x, encoder, decoder: (
            ((x @ encoder.T @ decoder.T - x) ** 2).mean(), torch.zeros_like(encoder), torch.zeros_like(decoder)
        ),
        "principal_angles": lambda a, b: torch.zeros(a.shape[1], dtype=a.dtype),
        "corrupt": lambda x, noise, choose, sigma, share: (x + noise).clamp(0, 1),
        "draw_and_kl": lambda mean, log_variance, noise: (mean + noise, mean.square().sum(1)),
        "elbo": lambda x, logits, kl, beta: -kl,
        "latent_walk": lambda start, end, steps: torch.stack([start] * (steps - 1) + [end]),
        "clean_up": lambda training, noisy, sigma: torch.zeros(noisy.shape, dtype=torch.bool),
    },
    names={"torch": torch, "math": math, "nn": nn},
    slow=("clean_up",),
)  # fmt: skip


def first(name: str):
    """The solution's answer to the example in the text."""
    return ASSIGNMENT.solution(name)(*ASSIGNMENT.cases(name, 0).inputs[0])


def test_examples_by_hand_are_what_the_solution_gives():
    mean, directions, variances = first("pca")
    assert mean.tolist() == [3, 4] and variances.tolist() == pytest.approx([25])
    assert directions[0].tolist() == pytest.approx([0.6, 0.8])
    loss, encoder, decoder = first("linear_autoencoder")
    assert (float(loss), encoder.tolist(), decoder.tolist()) == (1, [[-2, -4]], [[0], [-2]])
    assert first("principal_angles").tolist() == pytest.approx([0, math.pi / 4], abs=1e-6)
    assert first("corrupt")[0].tolist() == pytest.approx([0.8, 0, 0, 0.8])
    z, kl = first("draw_and_kl")
    assert z[0].tolist() == [2, -1] and float(kl) == pytest.approx((4 - math.log(4)) / 2)
    assert float(first("elbo")) == pytest.approx(-math.log(8) - 0.5)
    assert first("latent_walk").flatten().tolist() == pytest.approx([2, 0, 2**0.5, 2**0.5, 0, 2], abs=1e-6)
    assert first("clean_up")[0].tolist() == [True] * 3 + [False] * 3


def test_pca_is_scikit_learns():
    x = torch.randn(50, 7, generator=runtime.seed(0), dtype=torch.double) @ torch.diag(torch.arange(1.0, 8.0).double())
    mean, directions, variances = ASSIGNMENT.solution("pca")(x, 4)
    theirs = PCA(4).fit(x.numpy())
    assert torch.allclose(mean, torch.tensor(theirs.mean_))
    assert torch.allclose(variances * 50 / 49, torch.tensor(theirs.explained_variance_))
    assert torch.allclose((directions @ torch.tensor(theirs.components_).T).abs(), torch.eye(4).double(), atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_autograds(seed):
    g = runtime.seed(seed)
    x, encoder, decoder = torch.randn(9, 5, generator=g), torch.randn(2, 5, generator=g), torch.randn(5, 2, generator=g)
    weights = encoder.requires_grad_(), decoder.requires_grad_()
    loss = ((x @ encoder.T @ decoder.T - x) ** 2).sum(1).mean()
    wanted = (loss, *torch.autograd.grad(loss, weights))
    with torch.no_grad():
        for ours, theirs in zip(ASSIGNMENT.solution("linear_autoencoder")(x, encoder, decoder), wanted):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("seed", range(3))
def test_others_are_the_librarys(seed):
    g = runtime.seed(seed)
    a, b = torch.randn(2, 7, 3, generator=g, dtype=torch.double)
    torch.testing.assert_close(ASSIGNMENT.solution("principal_angles")(a, b), evaluate.principal_angles(a, b))
    mean, log_variance, noise = torch.randn(3, 4, 5, generator=g)
    z, kl = ASSIGNMENT.solution("draw_and_kl")(mean, log_variance, noise)
    torch.testing.assert_close(z, torch.distributions.Normal(mean, (log_variance / 2).exp()).icdf(
        torch.distributions.Normal(0, 1).cdf(noise)), atol=1e-3, rtol=1e-3)  # fmt: skip
    torch.testing.assert_close(kl, losses.gaussian_kl(mean, log_variance))
    x, logits = torch.rand(4, 6, generator=g), torch.randn(2, 4, 6, generator=g)
    wanted = [losses.elbo_loss(x, one, mean, log_variance, beta=0.5) for one in logits]
    found = ASSIGNMENT.solution("elbo")(x, logits, kl, 0.5).mean()
    torch.testing.assert_close(-found, torch.stack(wanted).mean())


@pytest.mark.parametrize("seed", range(20, 23))
def test_threshold_of_the_last_exercise_separates(seed):
    """Whatever the draw: PCA with a good number of directions reaches it, without training pictures nothing does."""
    exercise = ASSIGNMENT.exercises["clean_up"]
    drawn = exercise.build(seed)
    for (training, noisy, _), truth in list(zip(drawn.inputs, drawn.truths))[1:]:
        mean = training.mean(0)
        rows = torch.linalg.svd(training - mean, full_matrices=False).Vh[:11]
        with_pca = (noisy - mean) @ rows.T @ rows + mean > 0.5
        near = torch.nn.functional.avg_pool2d(noisy.view(-1, 1, 8, 8), 3, 1, 1).flatten(1) > 0.5
        bars = [float((ink == truth).float().mean()) for ink in (near, noisy > 0.5, with_pca)]
        best = float((ASSIGNMENT.solution("clean_up")(training, noisy, 0.5) == truth).float().mean())
        assert max(bars[:2]) < exercise.compare["threshold"] - 0.03, bars
        assert bars[2] > exercise.compare["threshold"] - 0.01, bars
        assert best > exercise.compare["threshold"] + 0.01
