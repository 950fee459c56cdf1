"""Drawing a token in float32: never one that is impossible, never one that does not exist, whatever the chance is."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils import runtime
from course_utils.models import sampling
from course_utils.models.sampling import draw

CHANCES = [0.0, 2**-24, 0.5, 1 - 2**-23, 1 - 2**-24]  # the last is the largest that torch.rand gives in float32


def draw_at(p, chance):
    """What is drawn where torch.rand gives this chance."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand", lambda n, one, **more: torch.full((n, one), chance))
        return draw(p)


@settings(max_examples=200, deadline=None)
@given(
    p=st.lists(st.sampled_from([0.0, 1e-30, 1e-7, 1 / 3, 0.9999999, 1.0, 7.5]), min_size=1, max_size=30).filter(any),
    chance=st.sampled_from(CHANCES),
)
def test_only_possible_tokens(p, chance):
    p = torch.tensor([p])
    assert p[0, draw_at(p, chance)] > 0


@pytest.mark.parametrize("chance", CHANCES)
@pytest.mark.parametrize("size", [7, 50_257])
def test_only_possible_tokens_of_a_large_vocabulary(size, chance):
    generator = runtime.seed(size)
    logits = 4 * torch.randn(8, size, generator=generator)
    logits[torch.rand(8, size, generator=generator) < 0.9] = -math.inf
    logits[:, [0, -1]] = -math.inf  # the ends are where sums that were rounded would end up
    logits[:, size // 2] = 0
    p = logits.softmax(1)
    token = draw_at(p, chance)
    assert (p.gather(1, token[:, None]) > 0).all()


@pytest.mark.parametrize("chance", CHANCES)
def test_sums_of_a_gpu_may_waver(chance, monkeypatch):
    """A GPU adds in another order: equal sums may differ by rounding, so that they rise where p is 0, or fall."""
    p = torch.tensor([[0.0, 0.0, 0.4, 0.0, 0.0, 0.6, 0.0, 0.0]])
    cumsum, noise = torch.Tensor.cumsum, torch.tensor([1e-7, -1e-7, 0, 2e-7, -1e-7, -2e-7, 1e-7, 3e-7])
    monkeypatch.setattr(sampling, "ADDS_IN_ORDER", ())
    monkeypatch.setattr(torch.Tensor, "cumsum", lambda self, dim: cumsum(self, dim) + noise)
    assert int(draw_at(p, chance)) in (2, 5)


def test_the_chance_decides_by_the_share():
    p = torch.tensor([[1.0, 0.0, 2.0, 1.0]])  # need not sum to 1
    drawn = {chance: int(draw_at(p, chance)) for chance in (0, 0.2499, 0.25, 0.7499, 0.75, 0.9999)}
    assert drawn == {0: 0, 0.2499: 0, 0.25: 2, 0.7499: 2, 0.75: 3, 0.9999: 3}


def test_shares_of_many_draws():
    p = torch.randn(12, generator=runtime.seed(0)).softmax(0)
    n = 200_000
    counts = draw(p.expand(n, -1), runtime.seed(1)).bincount(minlength=12)
    assert ((counts - n * p).abs() < 5 * (n * p * (1 - p)).sqrt()).all()


@pytest.mark.parametrize("row", [[0.0, 0.0], [1e-45, 0.0], [math.nan, 1.0], [math.inf, 1.0], [1.0, -math.inf]])
def test_rows_that_allow_no_token_are_refused(row):
    with pytest.raises(ValueError, match=r"no token is possible|the probabilities of the next token: of 4 numbers"):
        draw(torch.tensor([[0.5, 0.5], row]))


def test_it_does_without_float64():
    from mac import pretended

    p = torch.randn(5, 9, generator=runtime.seed(0)).softmax(1)
    here = draw(p, runtime.seed(2))
    with pretended() as mps:
        assert draw(p.to(mps), runtime.seed(2)).cpu().equal(here)
