"""The convolutional encoder: sizes, a known sum, the same seed, and that it can learn."""

import pytest
import torch

from course_utils import runtime
from course_utils.models.convnet import ConvNet, ConvNetConfig, Decoder, OnTiles, projection_head


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


def test_on_tiles_is_the_mean_over_tiles_one_by_one():
    encoder = ConvNet(ConvNetConfig(4), runtime.seed(0)).eval()
    images = torch.rand(3, 3, 20, 16, generator=runtime.seed(1))
    with torch.no_grad():
        found = OnTiles(encoder, side=8, step=4)(images)
        tiles = [images[:, :, i : i + 8, j : j + 8] for i in (0, 4, 8, 12) for j in (0, 4, 8)]
        expected = torch.stack([encoder(tile) for tile in tiles]).mean(0)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(OnTiles(encoder, 8, 8)(images[:, :, :8, :8]), encoder(images[:, :, :8, :8]))
    with pytest.raises(ValueError, match="at least 8 × 8 pixels, got"):
        OnTiles(encoder, 8)(images[:, :, :7])
    with pytest.raises(ValueError, match="must be ≥ 1 pixel, got 8 and 0"):
        OnTiles(encoder, 8, 0)
