"""The transformer against a loop, against transformers' own GPT-2 and BERT, with and without cache and padding."""

import copy
import math

import pytest
import torch
import transformers as hf
from scipy.stats import chisquare

from course_utils import runtime
from course_utils.models.hugging_face import from_hugging_face
from course_utils.models.sampling import draw, next_token_probabilities
from course_utils.models.transformer import (
    BERT,
    GPT,
    BERTConfig,
    Config,
    KVCache,
    Stepper,
    attention,
    left_pad,
    mean_pool,
    visible_keys,
)

CLOSE = dict(rtol=1e-4, atol=1e-4)
TINY = Config(vocab_size=17, context=12, dim=24, layers=3, heads=4)


@pytest.fixture(scope="module")
def gpt():
    return sharpen(GPT(TINY, runtime.seed(0)))


@pytest.fixture(scope="module")
def bert():
    return sharpen(BERT(BERTConfig(vocab_size=17, context=12, dim=24, layers=3, heads=4), runtime.seed(0)))


@pytest.fixture(scope="module")
def hub_gpt():
    torch.manual_seed(0)
    config = hf.GPT2Config(vocab_size=31, n_positions=16, n_embd=24, n_layer=3, n_head=4, initializer_range=0.2)
    return sharpen(hf.GPT2LMHeadModel(config))


@pytest.fixture(scope="module")
def hub_bert():
    torch.manual_seed(0)
    config = hf.BertConfig(
        vocab_size=31, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=50,
        max_position_embeddings=16, initializer_range=0.2,
    )  # fmt: skip
    return sharpen(hf.BertForMaskedLM(config))


def sharpen(model):
    """Give every parameter, biases and norms too, a value that matters."""
    g = runtime.seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=g) * 0.1)
    return model.eval()


def tokens(*shape, vocab=17, seed=0):
    return torch.randint(0, vocab, shape, generator=runtime.seed(seed))


# --- attention --------------------------------------------------------------------------------------------------------


def slow_attention(q, k, v, visible):
    out = torch.zeros_like(q)
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for t in range(q.shape[2]):
                seen = [s for s in range(k.shape[2]) if visible[b, h, t, s]]
                fits = [math.exp(float(q[b, h, t] @ k[b, h, s]) / math.sqrt(q.shape[3])) for s in seen]
                for s, fit in zip(seen, fits):
                    out[b, h, t] += fit / sum(fits) * v[b, h, s]
    return out


def test_attention_by_loop():
    g = runtime.seed(0)
    q, k, v = (
        torch.randn(2, 2, 3, 4, generator=g),
        torch.randn(2, 2, 5, 4, generator=g),
        torch.randn(2, 2, 5, 4, generator=g),
    )
    visible = torch.rand(2, 2, 3, 5, generator=g) > 0.4
    visible[..., 0] = True
    out, weights = attention(q, k, v, visible)
    torch.testing.assert_close(out, slow_attention(q, k, v, visible))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 3))
    assert (weights[~visible] == 0).all()


def test_attention_is_what_torch_computes_and_survives_huge_scores():
    q, k, v = (1000 * torch.randn(3, 2, 2, 6, 8, generator=runtime.seed(0))).unbind(0)
    visible = visible_keys(6, 6, causal=True)
    theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    out, _ = attention(q, k, v, visible)
    assert out.isfinite().all()
    torch.testing.assert_close(out, theirs)


def test_visible_keys():
    assert visible_keys(2, 4, causal=True)[0, 0].tolist() == [[True, True, True, False], [True] * 4]
    mask = torch.tensor([[False, True, True], [False, False, False]])
    both = visible_keys(3, 3, causal=False, mask=mask)
    assert both[0, 0].tolist() == [[True, True, True], [False, True, True], [False, True, True]]
    assert both[1, 0].equal(torch.eye(3, dtype=torch.bool))  # all padding: each sees itself, no empty row


def test_fast_and_written_out_attention_agree(gpt, bert):
    """`maps=[]` takes the written-out way, else torch's kernel."""
    x, mask = tokens(3, 9), torch.ones(3, 9, dtype=torch.bool)
    for model, padded in ((gpt, mask.clone()), (bert, mask.clone())):
        padded[1, :4] = False
        for m in (None, padded):
            maps = []
            torch.testing.assert_close(model.encode(x, m, maps=maps), model.encode(x, m))
            assert len(maps) == 3


@pytest.mark.parametrize("mask", [None, torch.tensor([[True] * 9, [False] * 3 + [True] * 6])])
def test_bfloat16_trains_on_the_same_gradients(gpt, mask):
    """On a CPU it takes another way through attention than float32 does."""
    found = []
    for bf16 in (False, True):
        gpt.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = gpt(tokens(2, 9), mask)
        logits.float().log_softmax(-1)[:, 4:, 3].sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in gpt.parameters()]))
    gpt.zero_grad()
    assert torch.cosine_similarity(*found, dim=0) > 0.999


def test_attention_maps(gpt, bert):
    x = tokens(2, 7)
    maps = gpt.attention_maps(x)
    assert maps.shape == (2, 3, 4, 7, 7)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 3, 4, 7))
    assert (maps.triu(1) == 0).all()  # nobody sees the future
    assert (bert.attention_maps(x).triu(1) > 0).any()


# --- as the hub's -----------------------------------------------------------------------------------------------------


def test_gpt2_logits(hub_gpt):
    gpt, x = from_hugging_face(hub_gpt), tokens(3, 16, vocab=31)
    torch.testing.assert_close(gpt(x), hub_gpt(x).logits, **CLOSE)
    assert hub_gpt(x).logits.std() > 0.3  # a test that could fail


def test_gpt2_attention_maps(hub_gpt):
    x = tokens(2, 9, vocab=31)
    hub_gpt.set_attn_implementation("eager")
    theirs = torch.stack(hub_gpt(x, output_attentions=True).attentions, 1)
    hub_gpt.set_attn_implementation("sdpa")
    torch.testing.assert_close(from_hugging_face(hub_gpt).attention_maps(x), theirs, **CLOSE)


@pytest.mark.parametrize("side", ["left", "right"])
def test_gpt2_logits_with_padding(hub_gpt, side):
    gpt, x, mask = from_hugging_face(hub_gpt), tokens(3, 10, vocab=31), torch.ones(3, 10, dtype=torch.bool)
    mask[1, :4] = mask[2, :9] = False
    mask = mask if side == "left" else mask.flip(1)
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    theirs = hub_gpt(x, attention_mask=mask.long(), position_ids=positions).logits
    torch.testing.assert_close(gpt(x, mask)[mask], theirs[mask], **CLOSE)
    for row, real, out in zip(x, mask, gpt(x, mask)):  # as if the padding were not there
        torch.testing.assert_close(out[real], gpt(row[real][None])[0], **CLOSE)


@pytest.mark.parametrize("padded", [False, True])
def test_gpt2_logits_with_cache(hub_gpt, padded):
    gpt, x, mask = from_hugging_face(hub_gpt), tokens(3, 16, vocab=31), torch.ones(3, 16, dtype=torch.bool)
    mask[1, :3] = mask[2, :4] = not padded
    cache, theirs, ours = KVCache(gpt.config, 3), None, []
    for start, end in ((0, 5), (5, 6), (6, 10), (10, 11), (11, 16)):
        if padded:
            positions = (mask[:, :end].long().cumsum(1) - 1).clamp(min=0)[:, start:]
            theirs = hub_gpt(
                x[:, start:end], attention_mask=mask[:, :end].long(), position_ids=positions,
                past_key_values=theirs and theirs.past_key_values, use_cache=True,
            )  # fmt: skip
            logits = gpt(x[:, start:end], mask[:, :end], cache=cache)
        else:
            theirs = hub_gpt(x[:, start:end], past_key_values=theirs and theirs.past_key_values, use_cache=True)
            logits = gpt(x[:, start:end], cache=cache)
        real = mask[:, start:end]
        torch.testing.assert_close(logits[real], theirs.logits[real], **CLOSE)
        ours.append(logits)
    torch.testing.assert_close(torch.cat(ours, 1)[mask], gpt(x, mask)[mask], **CLOSE)
    assert cache.length == 16


def test_bert_logits(hub_bert):
    bert, x = from_hugging_face(hub_bert), tokens(3, 16, vocab=31)
    torch.testing.assert_close(bert(x), hub_bert(x).logits, **CLOSE)
    assert hub_bert(x).logits.std() > 0.3


def test_bert_logits_with_padding_and_token_types(hub_bert):
    bert, x, mask = from_hugging_face(hub_bert), tokens(3, 10, vocab=31), torch.ones(3, 10, dtype=torch.bool)
    mask[1, 6:] = mask[2, 1:] = False
    types = tokens(3, 10, vocab=2, seed=1)
    theirs = hub_bert(x, attention_mask=mask.long(), token_type_ids=types).logits
    torch.testing.assert_close(bert(x, mask, types)[mask], theirs[mask], **CLOSE)
    torch.testing.assert_close(bert(x, mask)[mask], hub_bert(x, attention_mask=mask.long()).logits[mask], **CLOSE)
    assert not torch.allclose(bert(x, mask, types)[mask], bert(x, mask)[mask], **CLOSE)


def test_bert_head_of_chosen_tokens_only(bert):
    x, chosen = tokens(3, 8), tokens(3, 8, vocab=2).bool()
    torch.testing.assert_close(bert.logits(bert.encode(x)[chosen]), bert(x)[chosen])


# --- what they can see ------------------------------------------------------------------------------------------------


def test_gpt_is_causal(gpt):
    x, y = tokens(2, 9), tokens(2, 9)
    y[:, 5:] = (y[:, 5:] + 1) % 17
    torch.testing.assert_close(gpt(x)[:, :5], gpt(y)[:, :5])
    assert not torch.allclose(gpt(x)[:, 5:], gpt(y)[:, 5:])


def test_padding_is_never_seen(gpt, bert):
    x, mask = tokens(2, 9), torch.ones(2, 9, dtype=torch.bool)
    mask[:, :3] = False
    y = torch.where(mask, x, (x + 5) % 17)
    for model in (gpt, bert):
        torch.testing.assert_close(model(x, mask)[mask], model(y, mask)[mask], rtol=0, atol=0)


def test_all_padding_rows_are_finite_and_pool_to_zero(gpt, bert):
    x, mask = tokens(2, 6), torch.ones(2, 6, dtype=torch.bool)
    mask[1] = False
    for model in (gpt, bert):
        hidden = model.encode(x, mask)
        assert hidden.isfinite().all()
        assert (mean_pool(hidden, mask)[1] == 0).all()
        hidden.sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        model.zero_grad()


def test_mean_pool_by_loop(bert):
    hidden, mask = bert.encode(tokens(3, 6)), torch.tensor([[1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]])
    wanted = torch.stack([h[: int(m.sum())].mean(0) for h, m in zip(hidden, mask)])
    torch.testing.assert_close(mean_pool(hidden, mask.bool()), wanted)
    torch.testing.assert_close(mean_pool(hidden), hidden.mean(1))


# --- weights ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_initial_weights():
    model = GPT(Config(vocab_size=300, context=64, dim=128, layers=8), runtime.seed(0))
    assert model.tokens.weight.std() == pytest.approx(0.02, rel=0.02)
    assert model.blocks[3].attention.qkv.weight.std() == pytest.approx(0.02, rel=0.02)
    assert model.blocks[3].mlp.down.weight.std() == pytest.approx(0.02 / 4, rel=0.02)  # √(2 · 8) = 4
    logits, targets = model(tokens(4, 64, vocab=300)), tokens(4, 64, vocab=300, seed=1)
    loss = torch.nn.functional.cross_entropy(logits.mT, targets)
    assert float(loss) == pytest.approx(math.log(300), abs=0.1)  # at first it knows nothing


def test_the_seed_decides_the_weights():
    a, b, c = (GPT(TINY, runtime.seed(n)).state_dict() for n in (0, 0, 1))
    assert all(a[name].equal(b[name]) for name in a) and not a["tokens.weight"].equal(c["tokens.weight"])


def test_input_and_output_vectors_are_one(gpt):
    assert sum(p.numel() for p in gpt.parameters()) == 17 * 24 + 12 * 24 + 3 * (12 * 24**2 + 13 * 24) + 2 * 24
    model = GPT(TINY, runtime.seed(0))
    model(tokens(1, 3))[0, 2, 16].backward()
    assert (model.tokens.weight.grad[16] != 0).any()


# --- generation -------------------------------------------------------------------------------------------------------


def test_cache_changes_nothing_even_beyond_the_context(gpt):
    for ways in ({"temperature": 0}, {"top_k": 5}, {"top_p": 0.7, "temperature": 1.3}):
        a = gpt.generate(tokens(3, 4), 40, generator=runtime.seed(3), **ways)
        b = gpt.generate(tokens(3, 4), 40, generator=runtime.seed(3), use_cache=False, **ways)
        assert a.shape == (3, 40) and a.equal(b)


@torch.no_grad()
def test_one_step_is_the_whole_model(gpt):
    x = tokens(3, 12)
    cache = KVCache(gpt.config, 3)
    gpt(x[:, :4], cache=cache)
    read_on = Stepper(gpt, cache)
    for t in range(4, 12):
        assert torch.allclose(read_on(x[:, t]), gpt(x[:, : t + 1])[:, -1], atol=1e-5), t
    assert cache.length == 12


def test_greedy_is_the_loop(gpt):
    text = tokens(2, 3)
    for _ in range(9):
        text = torch.cat([text, gpt(text)[:, -1].argmax(-1, keepdim=True)], 1)
    assert gpt.generate(text[:, :3], 9, temperature=0).equal(text[:, 3:])


def test_greedy_is_transformers_generate(hub_gpt):
    x = tokens(2, 3, vocab=31)
    theirs = hub_gpt.generate(x, attention_mask=torch.ones_like(x), max_new_tokens=10, do_sample=False, pad_token_id=0)
    assert from_hugging_face(hub_gpt).generate(x, 10, temperature=0).equal(theirs[:, 3:])


def test_prompts_of_different_lengths(gpt):
    prompts = [tokens(1), tokens(6, seed=1), tokens(12, seed=2), tokens(15, seed=3)]
    together = gpt.generate(prompts[:2], 6, temperature=0)
    for prompt, row in zip(prompts[:2], together):
        assert gpt.generate(prompt[None], 6, temperature=0)[0].equal(row)
    assert gpt.generate(prompts, 30, temperature=0).equal(gpt.generate(prompts, 30, temperature=0, use_cache=False))
    padded, mask = left_pad(prompts[:2])
    assert mask.tolist() == [[False] * 5 + [True], [True] * 6] and padded[0, -1] == prompts[0][0]


def test_long_prompt_is_read_from_its_end(gpt):
    x = tokens(2, 30)
    assert gpt.generate(x, 5, temperature=0).equal(gpt.generate(x[:, -12:], 5, temperature=0))


def test_stop_token_ends_a_text(gpt):
    free = gpt.generate(tokens(4, 3), 30, generator=runtime.seed(0))
    stop = int(free[0, 3])
    ended = gpt.generate(tokens(4, 3), 30, generator=runtime.seed(0), stop=stop)
    for row, end in zip(free.tolist(), ended.tolist()):
        at = row.index(stop) if stop in row else 30
        assert end == row[:at] + [stop] * (30 - at)


def test_generation_leaves_the_model_as_it_was(gpt):
    model = GPT(Config(vocab_size=17, context=12, dim=24, layers=1, dropout=0.5), runtime.seed(0)).train()
    a = model.generate(tokens(1, 3), 9, temperature=0)
    assert model.training and a.equal(model.generate(tokens(1, 3), 9, temperature=0))  # no dropout inside
    with pytest.raises(ValueError):
        model.generate(tokens(1, 3), 9, temperature=-1)
    assert model.training


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: m.generate(torch.zeros(1, 0, dtype=torch.long), 3), "prompt is empty"),
        (lambda m: m.generate([torch.tensor([1]), torch.tensor([], dtype=torch.long)], 3), "prompt is empty"),
        (lambda m: m.generate([], 3), "at least one"),
        (lambda m: m.generate(torch.tensor([1]), 3), "use prompt"),
        (lambda m: m.generate(torch.tensor([[17]]), 3), "0 … 16, got 17"),
        (lambda m: m.generate(torch.tensor([[1]]), -1), "length must be ≥ 0, got -1"),
        (lambda m: m.generate(torch.tensor([[1]]), 3, top_p=0.0), "top_p .* got 0.0"),
        (lambda m: m.generate(torch.tensor([[1]]), 3, top_p=1.1), "top_p .* got 1.1"),
        (lambda m: m.generate(torch.tensor([[1]]), 3, top_k=0), "top_k, .* got 0"),
        (lambda m: m.generate(torch.tensor([[1]]), 3, temperature=-0.5), "temperature must be ≥ 0 .* got -0.5"),
        (lambda m: m.generate(torch.tensor([[1]]), 3, temperature=math.nan), "temperature must be ≥ 0"),
        (lambda m: m(torch.zeros(1, 13, dtype=torch.long)), "at most 12 tokens, got 13"),
        (lambda m: m(torch.zeros(1, 3, dtype=torch.long), torch.ones(1, 2)), "mask"),
        (lambda m: m(torch.zeros(3, dtype=torch.long)), r"\(batch, time\)"),
        (lambda m: Config(vocab_size=5, context=5, dim=10, heads=3), "multiple of heads"),
        (lambda m: Config(vocab_size=0, context=5), "vocab_size must be ≥ 1, got 0"),
        (lambda m: Config(vocab_size=5, context=5, activation="relu"), "activation"),
        (lambda m: Config(vocab_size=5, context=5, dropout=1.0), "dropout"),
    ],
)
def test_bad_input(gpt, call, message):
    with pytest.raises(ValueError, match=message):
        call(gpt)


def test_damaged_weights_are_named():
    model = GPT(TINY, runtime.seed(0))
    torch.nn.init.constant_(model.norm.weight, math.nan)
    with pytest.raises(ValueError, match="NaN"):
        model.generate(tokens(1, 3), 2)


# --- sampling ---------------------------------------------------------------------------------------------------------


LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, 1.0]])  # shares .50 .18 .07 .02 .18 (rounded)


def test_next_token_probabilities_by_hand():
    p = LOGITS.softmax(-1)
    torch.testing.assert_close(next_token_probabilities(LOGITS), p)
    torch.testing.assert_close(next_token_probabilities(LOGITS, 0.5), p**2 / (p**2).sum())
    assert next_token_probabilities(LOGITS, 0).tolist() == [[1, 0, 0, 0, 0]]
    assert next_token_probabilities(LOGITS, 1e-40).tolist() == [[1, 0, 0, 0, 0]]
    assert (next_token_probabilities(LOGITS, top_k=1) > 0).tolist() == [[True, False, False, False, False]]
    assert (next_token_probabilities(LOGITS, top_k=2) > 0).tolist() == [[True, True, False, False, True]]  # a tie
    assert next_token_probabilities(LOGITS, top_k=99).equal(p)
    assert (next_token_probabilities(LOGITS, top_p=1e-9) > 0).sum() == 1  # never empty
    assert (next_token_probabilities(LOGITS, top_p=0.6) > 0).tolist() == [[True, True, False, False, False]]
    assert (next_token_probabilities(LOGITS, top_p=0.9) > 0).tolist() == [[True, True, False, False, True]]
    assert next_token_probabilities(LOGITS, top_p=1.0).equal(p)


def test_top_p_is_the_smallest_set_that_reaches_p():
    logits = torch.randn(50, 20, generator=runtime.seed(0))
    full, kept = logits.softmax(-1), next_token_probabilities(logits, top_p=0.8)
    for p, q in zip(full, kept):
        inside = p[q > 0]
        assert inside.sum() >= 0.8 - 1e-6 and inside.sum() - inside.min() < 0.8
        assert inside.min() >= p[q == 0].max()
        torch.testing.assert_close(q[q > 0], inside / inside.sum())


def test_draws_follow_the_distribution():
    p = torch.tensor([[0.5, 0.0, 0.3, 0.2, 0.0]])
    counts = torch.bincount(draw(p.expand(20_000, 5), runtime.seed(0)), minlength=5)
    assert counts[1] == counts[4] == 0
    assert chisquare(counts[[0, 2, 3]], [10_000, 6_000, 4_000]).pvalue > 1e-4


def test_draws_of_a_model_follow_its_distribution(gpt):
    x = tokens(1, 5)
    p = next_token_probabilities(gpt(x)[:, -1], temperature=0.8, top_k=6)[0].detach()
    found = gpt.generate(x.expand(20_000, 5), 1, temperature=0.8, top_k=6, generator=runtime.seed(0))[:, 0]
    counts = torch.bincount(found, minlength=17)
    assert (counts[p == 0] == 0).all()
    assert chisquare(counts[p > 0], 20_000 * p[p > 0].double() / p[p > 0].double().sum()).pvalue > 1e-4


# --- a text's probability ---------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("length", [2, 7, 12, 13, 14, 25, 60])
def test_log_probabilities_of_a_long_text(gpt, length):
    """Each token once, from at least half a context (or all there is)."""
    x = tokens(length)
    found = gpt.log_probabilities(x, batch=2)
    assert found.shape == (length - 1,)
    for t in range(length - 1):  # among the predictions from each possible past of 6 … 12 tokens there is this one
        pasts = range(max(0, t - 11), max(0, t - 5) + 1)
        possible = [gpt(x[None, s : t + 1])[0, -1].log_softmax(-1)[x[t + 1]] for s in pasts]
        assert min(abs(float(p - found[t])) for p in possible) < 1e-4
    start = gpt(x[None, :13][:, :12])[0].log_softmax(-1)  # the first window
    wanted = start[:-1] if length <= 12 else start
    torch.testing.assert_close(found[:12], wanted.gather(1, x[1:13, None])[:, 0])


def test_log_probabilities_need_two_tokens(gpt):
    with pytest.raises(ValueError, match="time ≥ 2"):
        gpt.log_probabilities(tokens(1))


# --- CUDA -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
def test_cuda_gives_the_same(gpt, bert):
    x, mask = tokens(3, 9), torch.ones(3, 9, dtype=torch.bool)
    mask[1, :4] = False
    for model in (gpt, bert):
        there = copy.deepcopy(model).cuda()(x.cuda(), mask.cuda())
        torch.testing.assert_close(there.cpu()[mask], model(x, mask)[mask], rtol=1e-3, atol=1e-3)
    here = gpt.generate(x, 20, generator=runtime.seed(0))
    assert copy.deepcopy(gpt).cuda().generate(x, 20, generator=runtime.seed(0)).cpu().equal(here)
