"""Each loss against an independent slow version; masking by its frequencies; DP-SGD by a loop over the samples."""

import itertools
import math

import pytest
import torch
import transformers as hf
from scipy.stats import binomtest, kstest

from course_utils import runtime
from course_utils.learn.losses import (
    clip_loss,
    elbo_loss,
    gaussian_kl,
    info_nce,
    mask_tokens,
    masked_language_modelling_loss,
    next_token_loss,
    nt_xent,
    reconstruction_nats,
    sup_con,
)
from course_utils.learn.privacy import dp_sgd_epsilon, dp_sgd_gradient
from course_utils.models.transformer import BERT, GPT, BERTConfig, Config


def tokens(*shape, vocab=11, seed=0):
    return torch.randint(0, vocab, shape, generator=runtime.seed(seed))


def logits(*shape, scale=1.0, seed=1):
    return scale * torch.randn(*shape, generator=runtime.seed(seed))


# --- language ---------------------------------------------------------------------------------------------------------


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
        hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=11, n_positions=8, n_embd=12, n_layer=1, n_head=3)).eval(),
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
    model = hf.BertForMaskedLM(
        hf.BertConfig(
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


# --- privacy ----------------------------------------------------------------------------------------------------------


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


# --- contrastive ------------------------------------------------------------------------------------------------------


def vectors(n, dim=5, seed=0):
    return torch.randn(n, dim, generator=runtime.seed(seed), dtype=torch.double)


def cosine(a, b):
    length = math.sqrt(sum(float(x) ** 2 for x in a)) * math.sqrt(sum(float(x) ** 2 for x in b))
    return sum(float(x) * float(y) for x, y in zip(a, b)) / length if length else 0.0


def slow_cross_entropy(scores, right):
    """-ln of the right one's share of Σ exp, by hand."""
    top = max(scores)
    return math.log(sum(math.exp(s - top) for s in scores)) + top - scores[right]


def slow_sup_con(z, labels, temperature):
    losses = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        positives = [j for j in others if labels[j] == labels[i]]
        scores = [cosine(z[i], z[j]) / temperature for j in others]
        if positives:
            losses.append(sum(slow_cross_entropy(scores, others.index(j)) for j in positives) / len(positives))
    return sum(losses) / len(losses)


def slow_nt_xent(z1, z2, temperature):
    z, N, losses = [*z1, *z2], len(z1), []
    for i in range(2 * N):
        others = [j for j in range(2 * N) if j != i]
        losses.append(
            slow_cross_entropy([cosine(z[i], z[j]) / temperature for j in others], others.index((i + N) % (2 * N)))
        )
    return sum(losses) / len(losses)


def slow_clip_loss(image, text, log_scale):
    losses = []
    for i in range(len(image)):
        losses.append(slow_cross_entropy([math.exp(log_scale) * cosine(image[i], t) for t in text], i))
        losses.append(slow_cross_entropy([math.exp(log_scale) * cosine(v, text[i]) for v in image], i))
    return sum(losses) / len(losses)


def slow_info_nce(a, p, temperature):
    return sum(slow_cross_entropy([cosine(x, y) / temperature for y in p], i) for i, x in enumerate(a)) / len(a)


TEMPERATURES = [0.01, 0.1, 0.5, 1, 10]


@pytest.mark.parametrize("n", [2, 3, 9])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_contrastive_losses_by_loop(n, temperature):
    a, b = vectors(n), vectors(n, seed=1)
    labels = torch.arange(2 * n) % 3
    labels[:2] = 7  # so that some class is there twice, even in the smallest batch
    for fast, slow in (
        (nt_xent(a, b, temperature), slow_nt_xent(a, b, temperature)),
        (sup_con(torch.cat([a, b]), labels, temperature), slow_sup_con(torch.cat([a, b]), labels, temperature)),
        (clip_loss(a, b, -math.log(temperature)), slow_clip_loss(a, b, -math.log(temperature))),
        (info_nce(a, b, temperature), slow_info_nce(a, b, temperature)),
    ):
        assert float(fast) == pytest.approx(slow, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_contrastive_losses_are_symmetric(temperature):
    """Two views may change places; the batch may be shuffled; lengths do not matter. InfoNCE has one direction."""
    a, b, order = vectors(6), vectors(6, seed=1), torch.randperm(6, generator=runtime.seed(2))
    labels = torch.tensor([0, 1, 0, 2, 1, 3])
    close = torch.testing.assert_close
    for loss in (lambda x, y: nt_xent(x, y, temperature), lambda x, y: clip_loss(x, y, -math.log(temperature))):
        close(loss(a, b), loss(b, a))
        close(loss(a, b), loss(a[order], b[order]))
        close(loss(a, b), loss(3 * a, b * torch.arange(1, 7)[:, None]))
        assert not torch.isclose(loss(a, b), loss(a, b[order]))  # who belongs to whom does matter
    close(sup_con(a, labels, temperature), sup_con(a[order], labels[order], temperature))
    close(clip_loss(a, b, 1.0), (info_nce(a, b, math.exp(-1)) + info_nce(b, a, math.exp(-1))) / 2)


def test_sup_con_without_labels_is_nt_xent():
    a, b, number = vectors(5), vectors(5, seed=1), torch.arange(5)
    torch.testing.assert_close(nt_xent(a, b, 0.3), sup_con(torch.cat([a, b]), torch.cat([number, number]), 0.3))


def test_sup_con_passes_over_who_is_alone():
    z = vectors(5)
    alone = sup_con(z, torch.tensor([0, 0, 1, 2, 3]), 0.5)
    assert float(alone) == pytest.approx(slow_sup_con(z, [0, 0, 1, 2, 3], 0.5))
    with pytest.raises(ValueError, match="every label occurs only once"):
        sup_con(z, torch.arange(5), 0.5)


@pytest.mark.parametrize("temperature", [0.1, 1])
def test_contrastive_gradients(temperature):
    """Against differences, where two views agree, and with a zero vector (whose own direction is nowhere)."""
    a, b = vectors(4, 3).requires_grad_(), vectors(4, 3, seed=1).requires_grad_()
    t = torch.tensor(temperature, dtype=torch.double, requires_grad=True)
    labels = torch.tensor([0, 1, 0, 1])
    assert torch.autograd.gradcheck(nt_xent, (a, b, t))
    assert torch.autograd.gradcheck(lambda a, t: sup_con(a, labels, t), (a, t))
    assert torch.autograd.gradcheck(clip_loss, (a, b, -t.detach().log().requires_grad_()))
    assert torch.autograd.gradcheck(info_nce, (a, b, t))
    assert torch.autograd.gradcheck(lambda a, b: info_nce(a, b, t, negatives=2, generator=runtime.seed(0)), (a, b))


@pytest.mark.parametrize("dtype", [torch.float, torch.double, torch.half, torch.bfloat16])
def test_zero_vectors_give_no_nan(dtype):
    a, b = vectors(4).to(dtype), vectors(4, seed=1).to(dtype)
    a[1] = b[2] = b[1] = 0
    labels, exact = torch.tensor([0, 1, 0, 1]), dtype == torch.double
    losses = {
        lambda a, b: nt_xent(a, b, 0.5): slow_nt_xent(a, b, 0.5),
        lambda a, b: sup_con(a, labels, 0.5) + 0 * b.sum(): slow_sup_con(a, labels, 0.5),
        lambda a, b: clip_loss(a, b, 0.5): slow_clip_loss(a, b, 0.5),
        lambda a, b: info_nce(a, b, 0.5): slow_info_nce(a, b, 0.5),
    }
    for loss, slow in losses.items():
        x, y = a.clone().requires_grad_(), b.clone().requires_grad_()
        value = loss(x, y)
        value.backward()
        assert value.item() == pytest.approx(slow, rel=1e-9 if exact else 0.02)
        assert x.grad.isfinite().all() and y.grad.isfinite().all() and (x.grad[1] == 0).all()
        assert x.grad.abs().max() < 10 and y.grad.abs().max() < 10
    assert float(nt_xent(a * 0, b * 0, 0.5)) == pytest.approx(math.log(7), rel=0.01)  # one guess of 2 N - 1


def test_views_that_agree_and_temperatures():
    a = torch.eye(8)
    assert nt_xent(a, a, 0.05) < 1e-6 and clip_loss(a, a, math.log(20)) < 1e-6
    assert nt_xent(a, a.roll(1, 0), 0.01) > 50  # sharp and wrong
    assert nt_xent(a, a, 1e-6).isfinite() and nt_xent(a, a.roll(1, 0), 1e6) == pytest.approx(math.log(15), rel=1e-3)


@pytest.mark.parametrize("n, negatives", [(4, 1), (4, 2), (9, 3), (9, 8)])
def test_info_nce_has_the_number_of_negatives_asked_for(n, negatives):
    """With all cosines equal the loss is ln(K + 1), whatever the batch; and K of N - 1 is right on average."""
    same = torch.ones(n, 3, dtype=torch.double)
    assert float(info_nce(same, same, 0.1, negatives=negatives)) == pytest.approx(math.log(negatives + 1))
    a, b, generator = vectors(n), vectors(n, seed=1), runtime.seed(0)
    drawn = torch.stack([info_nce(a, b, 0.5, negatives=negatives, generator=generator) for _ in range(400)])
    by_hand = []
    for i in range(n):
        sets = list(itertools.combinations([j for j in range(n) if j != i], negatives))
        scores = [[cosine(a[i], b[j]) / 0.5 for j in (i, *chosen)] for chosen in sets]
        by_hand.append(sum(slow_cross_entropy(s, 0) for s in scores) / len(sets))
    error = float(drawn.std()) / math.sqrt(len(drawn))
    assert abs(float(drawn.mean()) - sum(by_hand) / n) <= 5 * error + 1e-9


def test_info_nce_with_a_pool():
    a, b, pool = vectors(3), vectors(3, seed=1), vectors(40, seed=2)
    by_hand = [slow_cross_entropy([cosine(a[i], v) / 0.2 for v in (b[i], *pool)], 0) for i in range(3)]
    assert float(info_nce(a, b, 0.2, pool=pool)) == pytest.approx(sum(by_hand) / 3)
    assert float(info_nce(a[:1], b[:1], 0.2, pool=pool)) == pytest.approx(
        by_hand[0]
    )  # a batch of one has negatives here
    same = torch.ones(3, 5, dtype=torch.double)
    assert float(info_nce(same, same, 0.2, pool=same[:1].expand(40, -1), negatives=17)) == pytest.approx(math.log(18))


@pytest.mark.parametrize("temperature", [0, -1, math.nan, torch.tensor(0.0)])
def test_contrastive_bad_temperature(temperature):
    a, labels = vectors(4), torch.tensor([0, 0, 1, 1])
    for loss in (
        lambda: nt_xent(a, a, temperature),
        lambda: sup_con(a, labels, temperature),
        lambda: info_nce(a, a, temperature),
        lambda: info_nce(a, a, temperature, pool=a),
    ):
        with pytest.raises(ValueError, match="temperature must be > 0 and finite, got"):
            loss()


def test_contrastive_bad_shapes():
    a = vectors(4)
    for loss in (nt_xent, info_nce, clip_loss):
        with pytest.raises(ValueError, match="at least 2, got 1"):
            loss(a[:1], a[:1], 0.5)
        with pytest.raises(ValueError, match=r"got \(4, 5\), \(3, 5\)"):
            loss(a, a[:3], 0.5)
        with pytest.raises(ValueError, match=r"\(batch, dim\)"):
            loss(a[0], a[0], 0.5)
    with pytest.raises(ValueError, match="at least 2, got 1"):
        sup_con(a[:1], torch.zeros(1), 0.5)
    with pytest.raises(ValueError, match=r"labels must have the shape \(4,\), got \(3,\)"):
        sup_con(a, torch.zeros(3), 0.5)
    for K in (0, 4, -1):
        with pytest.raises(ValueError, match=f"between 1 and the 3 .* got {K}"):
            info_nce(a, a, 0.5, negatives=K)
    with pytest.raises(ValueError, match="pool"):
        info_nce(a, a, 0.5, pool=a[:, :3])
    for scale in (math.inf, math.nan, 1e4, -1e4):
        with pytest.raises(ValueError, match="log_scale must be finite"):
            clip_loss(a, a, scale)


# --- autoencoders -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("sigma", [0.1, 1, 3])
def test_elbo_by_loop_and_by_torch(n, sigma):
    from torch import distributions as D

    x, out = torch.rand(n, 3, 2, generator=runtime.seed(0)), logits(n, 3, 2, scale=3)
    mean, log_variance = logits(n, 4, seed=2), logits(n, 4, seed=3)
    kl = D.kl_divergence(D.Normal(mean, (log_variance / 2).exp()), D.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(gaussian_kl(mean, log_variance), kl)
    torch.testing.assert_close(
        reconstruction_nats(x, out, "gaussian", sigma), -D.Normal(out, sigma).log_prob(x).flatten(1).sum(1)
    )
    slow = []
    for i in range(n):
        pairs = zip(x[i].flatten().tolist(), out[i].flatten().tolist())
        slow.append(
            -sum(v * math.log(1 / (1 + math.exp(-o))) + (1 - v) * math.log(1 / (1 + math.exp(o))) for v, o in pairs)
        )
    found = reconstruction_nats(x, out)
    assert found.tolist() == pytest.approx(slow, rel=1e-5)
    for beta in (0, 1, 4):
        loss = elbo_loss(x, out, mean, log_variance, likelihood="gaussian", sigma=sigma, beta=beta)
        torch.testing.assert_close(loss, (reconstruction_nats(x, out, "gaussian", sigma) + beta * kl).mean())
    torch.testing.assert_close(elbo_loss(x, out, mean, log_variance), (found + kl).mean())


def test_elbo_bounds_the_evidence_and_reaches_it():
    """Linear decoder, x = w z + noise: ln p(x) is known; the true posterior's ELBO equals it, any other's is lower."""
    w, sigma, x = 1.7, 0.5, torch.tensor([[0.9]], dtype=torch.double)
    evidence = float(torch.distributions.Normal(0, math.sqrt(w * w + sigma * sigma)).log_prob(x))
    precision = 1 + w * w / sigma**2
    true = (w * x / sigma**2 / precision, torch.full_like(x, -math.log(precision)))

    def elbo(mean, log_variance, draws=200_000):
        z = mean + (log_variance / 2).exp() * torch.randn(draws, 1, generator=runtime.seed(0), dtype=torch.double)
        every = (x.expand(draws, 1), w * z, mean.expand(draws, 1), log_variance.expand(draws, 1))
        return -float(elbo_loss(*every, likelihood="gaussian", sigma=sigma))

    assert elbo(*true) == pytest.approx(evidence, abs=0.01)
    assert elbo(true[0] + 0.3, true[1]) < evidence - 0.05 and elbo(true[0], true[1] + 1) < evidence - 0.05


def test_elbo_gradients_and_extremes():
    x = torch.rand(3, 4, generator=runtime.seed(0), dtype=torch.double)
    args = [logits(3, 4, seed=s).double().requires_grad_() for s in (1, 2, 3)]
    for likelihood in ("bernoulli", "gaussian"):
        assert torch.autograd.gradcheck(lambda *a, kind=likelihood: elbo_loss(x, *a, likelihood=kind), args)
    assert (gaussian_kl(torch.zeros(2, 3), torch.zeros(2, 3)) == 0).all()
    sure = reconstruction_nats(torch.tensor([[1.0, 0.0]]), torch.tensor([[1e4, -1e4]]))
    assert float(sure) == 0 and reconstruction_nats(torch.tensor([[1.0]]), torch.tensor([[-1e4]])) == 1e4


def test_elbo_bad_input():
    x, z = torch.rand(2, 3), torch.zeros(2, 1)
    for wrong, message in (
        (lambda: elbo_loss(x, x[:, :2], z, z), "must share a shape"),
        (lambda: elbo_loss(x, x, z, z[:1]), "mean and log_variance must share a shape"),
        (lambda: elbo_loss(x + 1, x, z, z), r"x in \[0, 1\]"),
        (lambda: elbo_loss(x, x, z, z, likelihood="poisson"), "bernoulli"),
        (lambda: elbo_loss(x, x, z, z, likelihood="gaussian", sigma=0), "sigma must be > 0"),
        (lambda: elbo_loss(x, x, z, z, beta=-1), "beta must be ≥ 0"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
