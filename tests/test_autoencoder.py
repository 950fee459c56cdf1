"""Autoencoders: the linear one finds PCA's subspace, the others' shapes, seeds, draws and gradients."""

import math

import pytest
import torch

from course_utils import runtime
from course_utils.evaluate import principal_angles
from course_utils.losses import elbo_loss
from course_utils.models.autoencoder import DeepAutoencoder, LinearAutoencoder, VariationalAutoencoder, corrupt, draw
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
