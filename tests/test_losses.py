"""Each loss against an independent slow version; masking by its frequencies; DP-SGD by a loop over the samples."""

import math

import pytest
import torch
from scipy.stats import binomtest, kstest
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

from course_utils import runtime
from course_utils.losses import (
    dp_sgd_epsilon,
    dp_sgd_gradient,
    mask_tokens,
    masked_language_modelling_loss,
    next_token_loss,
)
from course_utils.models.transformer import BERT, GPT, BERTConfig, Config


def tokens(*shape, vocab=11, seed=0):
    return torch.randint(0, vocab, shape, generator=runtime.seed(seed))


def logits(*shape, scale=1.0, seed=1):
    return scale * torch.randn(*shape, generator=runtime.seed(seed))


# ------------------------------------------------------------------------------------------------------------- language


def slow_next_token_loss(logits, tokens, mask):
    nats = []
    for b in range(tokens.shape[0]):
        for t in range(tokens.shape[1] - 1):
            if mask[b, t] and mask[b, t + 1]:
                row = [float(value) for value in logits[b, t]]
                top = max(row)
                nats.append(math.log(sum(math.exp(v - top) for v in row)) + top - row[tokens[b, t + 1]])
    return sum(nats) / len(nats)


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("scale", [0.1, 1, 1000])
@pytest.mark.parametrize("padded", [False, True])
def test_next_token_loss_by_loop(extra, scale, padded):
    out, x = logits(3, 6, 11, scale=scale), tokens(3, 6 + extra)
    mask = torch.ones(3, 6 + extra, dtype=torch.bool)
    if padded:
        mask[1, :3] = mask[2, 4:] = False
    found = next_token_loss(out, x, mask if padded else None)
    torch.testing.assert_close(float(found), slow_next_token_loss(out, x, mask), rtol=1e-5, atol=1e-6)


def test_next_token_loss_is_the_hubs():
    model, x = (
        GPT2LMHeadModel(GPT2Config(vocab_size=11, n_positions=8, n_embd=12, n_layer=1, n_head=3)).eval(),
        tokens(3, 8),
    )
    out = model(x, labels=x)
    torch.testing.assert_close(next_token_loss(out.logits, x), out.loss)


def test_nothing_to_predict_is_zero_and_has_a_zero_gradient():
    out = logits(2, 3, 11).requires_grad_()
    loss = next_token_loss(out, tokens(2, 3), torch.zeros(2, 3, dtype=torch.bool))
    loss = loss + next_token_loss(out[:, :1], tokens(2, 1))
    loss = loss + masked_language_modelling_loss(out, torch.full((2, 3), -100))
    loss.backward()
    assert loss == 0 and (out.grad == 0).all()


def test_shapes_that_do_not_belong_together():
    with pytest.raises(ValueError, match=r"\(2, 3\) or \(2, 4\) .* got \(2, 5\)"):
        next_token_loss(logits(2, 3, 11), tokens(2, 5))
    with pytest.raises(ValueError, match=r"mask must have the tokens' shape"):
        next_token_loss(logits(2, 3, 11), tokens(2, 4), torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"targets must have the shape \(2, 3\), got \(2, 4\)"):
        masked_language_modelling_loss(logits(2, 3, 11), tokens(2, 4))


def hide(x, **more):
    return mask_tokens(x, mask_token=4, vocab_size=50, special=range(4), generator=runtime.seed(0), **more)


def test_masking_has_the_papers_frequencies():
    x = torch.randint(5, 50, (200, 500), generator=runtime.seed(1))
    hidden, targets = hide(x)
    chosen = targets != -100
    assert targets[chosen].equal(x[chosen]) and hidden[~chosen].equal(x[~chosen])
    n, became = int(chosen.sum()), hidden[chosen]
    assert binomtest(n, x.numel(), 0.15).pvalue > 1e-4
    masked, same = int((became == 4).sum()), int((became == x[chosen]).sum())
    assert binomtest(masked, n, 0.8).pvalue > 1e-4
    assert binomtest(same, n, 0.1 + 0.1 / 45).pvalue > 1e-4  # a random token can be the same by chance
    random = became[(became != 4) & (became != x[chosen])]
    assert random.min() == 5 and random.max() == 49  # never a special token
    assert binomtest(int((random < 25).sum()), len(random), 20 / 45).pvalue > 1e-4


def test_special_tokens_and_padding_are_never_chosen():
    x = torch.randint(0, 50, (100, 100), generator=runtime.seed(1))
    mask = torch.rand(100, 100, generator=runtime.seed(2)) > 0.5
    hidden, targets = hide(x, mask=mask, share=1.0)
    assert (targets[(x <= 4) | ~mask] == -100).all() and hidden[(x <= 4) | ~mask].equal(x[(x <= 4) | ~mask])
    assert (targets[(x > 4) & mask] == x[(x > 4) & mask]).all()
    hidden, targets = hide(x, share=0)
    assert hidden.equal(x) and (targets == -100).all()


def test_masking_by_seed():
    x = tokens(5, 40, vocab=50)
    a, b = hide(x), hide(x)
    assert a[0].equal(b[0]) and a[1].equal(b[1])
    other = mask_tokens(x, mask_token=4, vocab_size=50, generator=runtime.seed(1))
    assert not other[1].equal(a[1])
    assert x.equal(tokens(5, 40, vocab=50))  # the input is left as it was


def test_masking_bad_input():
    with pytest.raises(ValueError, match="share .* got 1.5"):
        hide(tokens(1, 3), share=1.5)
    with pytest.raises(ValueError, match="all 2 tokens are special"):
        mask_tokens(tokens(1, 3, vocab=2), mask_token=0, vocab_size=2, special=[1])


def test_mlm_loss_by_loop_and_by_the_hub():
    x = tokens(4, 8)
    hidden, targets = mask_tokens(x, mask_token=0, vocab_size=11, share=0.4, generator=runtime.seed(0))
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=11,
            hidden_size=12,
            num_hidden_layers=1,
            num_attention_heads=3,
            intermediate_size=20,
            max_position_embeddings=8,
        )  # fmt: skip
    ).eval()
    out = model(hidden, labels=targets)
    found = masked_language_modelling_loss(out.logits, targets)
    torch.testing.assert_close(found, out.loss)
    logp = out.logits.log_softmax(-1)
    places = [(b, t) for b in range(4) for t in range(8) if targets[b, t] != -100]
    torch.testing.assert_close(found, -sum(logp[b, t, x[b, t]] for b, t in places) / len(places))
    chosen = targets != -100  # the head computed at the chosen tokens only
    torch.testing.assert_close(masked_language_modelling_loss(out.logits[chosen], targets[chosen]), found)


# -------------------------------------------------------------------------------------------------------------- privacy


def language_loss(predict, x):
    return next_token_loss(predict(x), x)


def small_gpt():
    return GPT(Config(vocab_size=11, context=8, dim=16, layers=2, heads=2), runtime.seed(0))


def slow_dp_sgd(model, loss, *batch, max_norm):
    total, norms = [torch.zeros_like(p) for p in model.parameters()], []
    for sample in zip(*batch):
        gradient = torch.autograd.grad(loss(model, *(t[None] for t in sample)), list(model.parameters()))
        norm = float(torch.cat([g.flatten() for g in gradient]).norm())
        total = [t + g * min(1, max_norm / norm) for t, g in zip(total, gradient)]
        norms.append(norm)
    return [t / len(batch[0]) for t in total], norms


@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("chunk", [2, 16])
def test_clipped_gradient_by_loop(max_norm, chunk):
    model, x = small_gpt(), tokens(5, 8)
    gradient, norms = dp_sgd_gradient(model, language_loss, x, max_norm=max_norm, noise_multiplier=0, chunk=chunk)
    wanted, wanted_norms = slow_dp_sgd(model, language_loss, x, max_norm=max_norm)
    torch.testing.assert_close(norms, torch.tensor(wanted_norms), rtol=1e-4, atol=1e-6)
    for g, w in zip(gradient.values(), wanted):
        torch.testing.assert_close(g, w, rtol=1e-3, atol=1e-4 * max_norm / 5 if max_norm < 1e6 else 1e-6)
    assert list(gradient) == [name for name, _ in model.named_parameters()]
    assert all(p.grad is None for p in model.parameters())


def test_without_clipping_and_noise_it_is_the_plain_gradient():
    model, x = small_gpt(), tokens(6, 8)
    gradient, _ = dp_sgd_gradient(model, language_loss, x, max_norm=1e9, noise_multiplier=0)
    language_loss(model, x).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(gradient[name], p.grad, rtol=1e-3, atol=1e-6)


def test_one_sample_moves_the_sum_by_at_most_max_norm():
    model, x = small_gpt(), tokens(4, 8)
    y = x.clone()
    y[2] = tokens(8, seed=9)
    a, b = (dp_sgd_gradient(model, language_loss, t, max_norm=0.5, noise_multiplier=0)[0] for t in (x, y))
    moved = torch.cat([(a[name] - b[name]).flatten() for name in a]).norm() * 4
    assert 0.1 < moved <= 2 * 0.5 + 1e-4  # one goes, another comes


def test_noise_is_normal_and_has_the_stated_size():
    model, x = small_gpt(), tokens(4, 8)
    exact, _ = dp_sgd_gradient(model, language_loss, x, max_norm=0.5, noise_multiplier=0)
    noisy, _ = dp_sgd_gradient(model, language_loss, x, max_norm=0.5, noise_multiplier=3, generator=runtime.seed(0))
    again, _ = dp_sgd_gradient(model, language_loss, x, max_norm=0.5, noise_multiplier=3, generator=runtime.seed(0))
    assert all(noisy[name].equal(again[name]) for name in noisy)
    noise = torch.cat([(noisy[name] - exact[name]).flatten() for name in exact])
    assert kstest(noise / (3 * 0.5 / 4), "norm").pvalue > 1e-4


def test_several_tensors_and_frozen_parameters():
    model = BERT(BERTConfig(vocab_size=11, context=8, dim=16, layers=1, heads=2), runtime.seed(0))
    model.tokens.requires_grad_(False)
    x, targets = mask_tokens(tokens(3, 8), mask_token=0, vocab_size=11, share=0.5, generator=runtime.seed(0))

    def loss(predict, x, y):
        return torch.nn.functional.cross_entropy(predict(x).flatten(0, 1), y.flatten().clamp(min=0))

    gradient, norms = dp_sgd_gradient(model, loss, x, targets, max_norm=1.0, noise_multiplier=1.0)
    assert "tokens.weight" not in gradient and "blocks.0.mlp.up.weight" in gradient and norms.shape == (3,)


def test_dp_sgd_bad_input():
    for more, message in (
        (dict(max_norm=0, noise_multiplier=1), "max_norm must be > 0"),
        (dict(max_norm=1, noise_multiplier=-1), "noise_multiplier ≥ 0"),
    ):
        with pytest.raises(ValueError, match=message):
            dp_sgd_gradient(small_gpt(), language_loss, tokens(2, 8), **more)
    with pytest.raises(ValueError, match="empty"):
        dp_sgd_gradient(small_gpt(), language_loss, tokens(0, 8), max_norm=1, noise_multiplier=1)


@pytest.mark.parametrize(
    "noise, rate, steps, delta, wanted",
    [  # opacus 1.6.0's RDPAccountant
        (4.0, 0.01, 10_000, 1e-5, 1.0354900660),
        (1.12, 256 / 60_000, 14_063, 1e-5, 2.5186864791),
        (1.0, 0.05, 200, 1e-5, 5.3676408416),
        (5.0, 1.0, 10, 1e-5, 2.8136532471),
        (10.0, 0.02, 1000, 1e-6, 0.2668654345),
    ],
)
def test_epsilon_as_other_accountants_have_it(noise, rate, steps, delta, wanted):
    assert wanted * 0.999 <= dp_sgd_epsilon(noise, rate, steps, delta) <= wanted * 1.002  # whole orders: a bit above


def test_epsilon_is_below_the_published_ones():
    """Abadi et al. (2016), section 5.1, has 1.26 from the same moments, by a looser step to (ε, δ)."""
    assert 1.0 < dp_sgd_epsilon(4.0, 0.01, 10_000, 1e-5) < 1.26


def test_epsilon_of_one_plain_gaussian_is_a_true_bound():
    """The exact δ of the Gaussian mechanism (Balle & Wang 2018, theorem 8) at our ε is at most the δ asked for."""
    for sigma in (0.8, 2.0, 5.0):
        epsilon = dp_sgd_epsilon(sigma, 1.0, 1, 1e-5)
        normal = torch.distributions.Normal(0.0, 1.0)
        a, b = (torch.tensor(sign / (2 * sigma) - epsilon * sigma, dtype=torch.double) for sign in (1, -1))
        assert 1e-7 < float(normal.cdf(a) - math.exp(epsilon) * normal.cdf(b)) <= 1e-5


def test_epsilon_at_the_edges():
    assert dp_sgd_epsilon(1, 0.1, 0, 1e-5) == dp_sgd_epsilon(1, 0, 10, 1e-5) == 0
    assert dp_sgd_epsilon(0, 0.1, 10, 1e-5) == math.inf
    few, many = dp_sgd_epsilon(1, 0.1, 10, 1e-5), dp_sgd_epsilon(1, 0.1, 100, 1e-5)
    assert few < many and dp_sgd_epsilon(2, 0.1, 10, 1e-5) < few
    for wrong in ((1, 1.5, 10, 1e-5), (1, 0.1, 10, 0), (1, 0.1, -1, 1e-5), (-1, 0.1, 1, 1e-5)):
        with pytest.raises(ValueError, match="sample_rate must be"):
            dp_sgd_epsilon(*wrong)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
def test_cuda():
    model, x = small_gpt().cuda(), tokens(5, 8).cuda()
    gradient, _ = dp_sgd_gradient(model, language_loss, x, max_norm=1, noise_multiplier=1, generator=runtime.seed(0))
    assert all(g.is_cuda for g in gradient.values())
    assert mask_tokens(x, mask_token=0, vocab_size=11, generator=runtime.seed(0))[0].is_cuda
