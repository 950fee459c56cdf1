"""The convolutional encoder: sizes, a known sum, the same seed, and that it can learn."""

import pytest
import torch

from course_utils import runtime
from course_utils.models.convnet import ConvNet, ConvNetConfig, Decoder, projection_head


def pictures(n=6, side=32):
    return torch.rand(n, 3, side, side, generator=runtime.seed(0))


def test_sizes():
    model = ConvNet(generator=runtime.seed(0))
    assert 2e5 < sum(p.numel() for p in model.parameters()) < 5e5
    assert model(pictures()).shape == (6, model.config.dim) and model(pictures(2, 48)).shape == (2, 128)
    assert ConvNet(ConvNetConfig(width=8))(pictures()).shape == (6, 32)
    assert projection_head(128, 16)(model(pictures())).shape == (6, 16)
    assert Decoder(10)(torch.randn(3, 10)).shape == (3, 3, 32, 32)


def test_the_same_seed_gives_the_same_weights_and_activations_keep_their_size():
    a, b, c = (ConvNet(generator=runtime.seed(n)).state_dict() for n in (0, 0, 1))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["layers.0.0.weight"], c["layers.0.0.weight"])
    assert 0.2 < ConvNet(generator=runtime.seed(0))(pictures(64)).mean() < 0.7  # half a normal's mean is 0.4


def test_it_learns():
    x, y = pictures(32), torch.arange(32) % 2
    x[y == 1, 0] *= 0.5  # less red
    model = torch.nn.Sequential(
        ConvNet(ConvNetConfig(width=8), runtime.seed(0)), projection_head(32, 2, runtime.seed(1))
    )
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_bad_input():
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\), got \(2, 1, 32, 32\)"):
        ConvNet()(torch.rand(2, 1, 32, 32))
    with pytest.raises(ValueError, match="width must be ≥ 1, got 0"):
        ConvNetConfig(width=0)
