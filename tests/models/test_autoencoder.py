"""Autoencoders: the linear one finds PCA's subspace, the others' shapes, seeds, draws and gradients."""

import math

import pytest
import torch
from effort import some

from course_utils import runtime
from course_utils.learn.evaluate import principal_angles
from course_utils.learn.losses import elbo_loss
from course_utils.models.autoencoder import (
    DeepAutoencoder,
    LinearAutoencoder,
    VariationalAutoencoder,
    corrupt,
    draw,
    start_as_pca,
)
from course_utils.models.convnet import ConvNetConfig

SMALL = ConvNetConfig(width=4)


def test_the_linear_one_finds_pcas_subspace():
    x = torch.randn(500, 6, generator=runtime.seed(0)) * torch.tensor([5.0, 4, 3, 0.5, 0.4, 0.3]) + 7
    model = LinearAutoencoder(x.mean(0), 3, runtime.seed(1))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = ((model(x) - x) ** 2).mean()
        value.backward()
        return value

    optimizer.step(loss)
    directions = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:3].T
    assert principal_angles(model.decoder.weight.detach(), directions).max() < 0.02


def test_shapes_seeds_and_gradients():
    x = torch.rand(5, 3, 32, 32, generator=runtime.seed(0))
    deep, vae = (kind(7, SMALL, runtime.seed(0)) for kind in (DeepAutoencoder, VariationalAutoencoder))
    assert deep.encode(x).shape == vae.encode(x).shape == (5, 7) and deep(x).shape == x.shape
    again = DeepAutoencoder(7, SMALL, runtime.seed(0))
    assert torch.equal(deep.to_code.weight, again.to_code.weight)
    logits, mean, log_variance = vae(x, runtime.seed(0))
    assert logits.shape == x.shape and mean.shape == log_variance.shape == (5, 7)
    torch.testing.assert_close(vae(x, runtime.seed(0))[0], logits)
    elbo_loss(x, logits, mean, log_variance).backward()
    assert (vae.to_code.weight.grad.abs().sum(1) > 0).all()  # mean and variance both learn


@pytest.mark.parametrize("kind", some(1, [DeepAutoencoder, VariationalAutoencoder]))
def test_with_a_linear_part_it_starts_where_pca_ends(kind):
    g = runtime.seed(0)
    hidden, mixed = torch.randn(400, 5, generator=g), torch.randn(5, 3 * 32 * 32, generator=g)
    x = (0.5 + 0.02 * hidden @ mixed).clamp(0, 1).view(-1, 3, 32, 32)
    model = kind(5, SMALL, g, linear=True).eval()
    with torch.no_grad():
        before = float((model.decode(model.encode(x)).sigmoid() - x).pow(2).mean())
        start_as_pca(model, x)
        code = model.encode(x)
        after = float((model.decode(code).sigmoid() - x).pow(2).mean())
    torch.testing.assert_close(code.T @ code / 400, torch.eye(5), atol=1e-3, rtol=0)  # variance 1, uncorrelated
    assert after < 0.02 * float(x.var()) < before, "five numbers are all that these pictures have"
    with pytest.raises(ValueError, match="a linear part and at least 5 pictures are needed, got 4"):
        start_as_pca(model, x[:4])
    with pytest.raises(ValueError, match="a linear part"):
        start_as_pca(kind(5, SMALL, g), x)


def test_draws_and_corruption():
    z = draw(torch.full((20_000,), 2.0), torch.full((20_000,), math.log(9.0)), runtime.seed(0))
    assert float(z.mean()) == pytest.approx(2, abs=0.1) and float(z.std()) == pytest.approx(3, abs=0.1)
    x = torch.full((9, 3, 32, 32), 0.5)
    noisy = corrupt(x, 0.1, runtime.seed(0))
    assert float((noisy - x).std()) == pytest.approx(0.1, abs=0.003) and torch.equal(corrupt(x, 0), x)


def test_bad_input():
    for wrong in (
        lambda: LinearAutoencoder(torch.zeros(3), 4), lambda: DeepAutoencoder(0), lambda: corrupt(torch.zeros(1), -1)
    ):  # fmt: skip
        with pytest.raises(ValueError, match="must be .* got"):
            wrong()
