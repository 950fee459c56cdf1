"""Not-a-number is never hidden: put once into any input of any loss, probe, sampler, measure or `fit`, it comes out, or
is named in a sentence. Which function is tried, with which input and at which place, hypothesis decides."""

import inspect
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_utils import runtime
from course_utils.learn import evaluate, losses, privacy, train
from course_utils.models import clip, sampling
from course_utils.models.finite import check_finite
from course_utils.models.rnn import CharRNN, RNNConfig
from course_utils.models.transformer import GPT, Config

BAD = st.sampled_from([math.nan, math.inf, -math.inf])


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=runtime.seed(seed))


def whole(*shape, below=4, seed=0):
    return torch.randint(below, shape, generator=runtime.seed(seed))


PADDING = torch.tensor([[True, True, True, True, False], [True, True, False, False, False]])
LABELS = torch.tensor([0, 1, 0, 1, 2, 0])
MASKED = torch.tensor([[-100, 1, -100, 2], [-100, -100, -100, 3]])

# name -> (function of the inputs that are numbers, these inputs)
LOSSES = {
    "next_token_loss": (lambda x: losses.next_token_loss(x, whole(2, 6)), [numbers(2, 5, 4)]),
    "next_token_loss, last logits unused": (lambda x: losses.next_token_loss(x, whole(2, 5)), [numbers(2, 5, 4)]),
    "next_token_loss, padding": (lambda x: losses.next_token_loss(x, whole(2, 5), PADDING), [numbers(2, 5, 4)]),
    "mean_cross_entropy": (lambda x: losses.mean_cross_entropy(x, MASKED.flatten()), [numbers(8, 4)]),
    "masked_language_modelling_loss": (
        lambda x: losses.masked_language_modelling_loss(x, MASKED),
        [numbers(2, 4, 4)],
    ),
    "unit": (losses.unit, [numbers(6, 3)]),
    "nt_xent": (losses.nt_xent, [numbers(6, 3), numbers(6, 3, seed=1), torch.tensor(0.5)]),
    "sup_con": (lambda z, t: losses.sup_con(z, LABELS, t), [numbers(6, 3), torch.tensor(0.5)]),
    "clip_loss": (losses.clip_loss, [numbers(6, 3), numbers(6, 3, seed=1), torch.tensor(1.0)]),
    "info_nce": (losses.info_nce, [numbers(6, 3), numbers(6, 3, seed=1), torch.tensor(0.5)]),
    "info_nce, few negatives": (
        lambda a, p, t: losses.info_nce(a, p, t, negatives=1, generator=runtime.seed(0)),
        [numbers(6, 3), numbers(6, 3, seed=1), torch.tensor(0.5)],
    ),
    "info_nce, few of a pool": (
        lambda a, p, pool: losses.info_nce(a, p, 0.5, negatives=2, pool=pool, generator=runtime.seed(0)),
        [numbers(2, 3), numbers(2, 3, seed=1), numbers(9, 3, seed=2)],
    ),
    "gaussian_kl": (losses.gaussian_kl, [numbers(3, 2), numbers(3, 2, seed=1)]),
    "reconstruction_nats": (losses.reconstruction_nats, [numbers(3, 4).sigmoid(), numbers(3, 4, seed=1)]),
    "reconstruction_nats, gaussian": (
        lambda x, decoded, sigma: losses.reconstruction_nats(x, decoded, "gaussian", sigma=float(sigma)),
        [numbers(3, 4), numbers(3, 4, seed=1), torch.tensor(0.5)],
    ),
    "elbo_loss": (
        lambda *inputs: losses.elbo_loss(*inputs, beta=0),
        [numbers(3, 4).sigmoid(), numbers(3, 4, seed=1), numbers(3, 2), numbers(3, 2, seed=1)],
    ),
    "dp_sgd_gradient": (
        lambda x, max_norm, noise: privacy.dp_sgd_gradient(
            LINEAR, lambda m, x: m(x).square().sum(), x, max_norm=float(max_norm), noise_multiplier=float(noise),
            generator=runtime.seed(0),
        )[0]["weight"],
        [numbers(4, 3), torch.tensor(1.0), torch.tensor(0.5)],
    ),
    "dp_sgd_epsilon": (
        lambda *given: privacy.dp_sgd_epsilon(*map(float, given)),
        [torch.tensor(1.0), torch.tensor(0.1), torch.tensor(10.0), torch.tensor(1e-5)],
    ),
    "renyi_divergence": (
        lambda *given: privacy.renyi_divergence(*map(float, given), 3),
        [torch.tensor(1.0), torch.tensor(0.1)],
    ),
}  # fmt: skip
LINEAR = nn.Linear(3, 2)
TARGETS = torch.tensor([0, 1, 0, 1, 0, 1])


GUARDED = {
    "linear_probe": (
        lambda x, t, l2: evaluate.linear_probe(x, TARGETS, t, TARGETS, l2=float(l2)).score,
        [numbers(6, 2), numbers(6, 2, seed=1), torch.tensor(0.1)],
    ),
    "ridge_probe": (
        lambda x, y, t, z, l2: evaluate.ridge_probe(x, y, t, z, l2=[float(l2), 1.0]).score,
        [numbers(6, 2), numbers(6), numbers(6, 2, seed=1), numbers(6, seed=1), torch.tensor(0.1)],
    ),
    "knn_probe": (
        lambda x, t: evaluate.knn_probe(x, TARGETS, t, TARGETS, k=2).score,
        [numbers(6, 2), numbers(6, 2, seed=1)],
    ),
    "knn_probe, weighted": (
        lambda x, t, tau: evaluate.knn_probe(x, TARGETS, t, TARGETS, k=2, temperature=float(tau)).score,
        [numbers(6, 2), numbers(6, 2, seed=1), torch.tensor(0.1)],
    ),
    "report_card": (
        lambda x, y: evaluate.report_card({"model": x}, {"size": y, "kind": LABELS.repeat(3)}).score,
        [numbers(18, 2), numbers(18)],
    ),
    "features": (lambda x: evaluate.features(nn.Flatten(), x), [numbers(6, 2, 2)]),
    "alignment": (evaluate.alignment, [numbers(6, 2), numbers(6, 2, seed=1), torch.tensor(2.0)]),
    "uniformity": (evaluate.uniformity, [numbers(6, 2), torch.tensor(2.0)]),
    "linear_kernel": (evaluate.linear_kernel, [numbers(6, 2)]),
    "gaussian_kernel": (evaluate.gaussian_kernel, [numbers(6, 2)]),
    "gaussian_kernel, sigma": (lambda x: evaluate.gaussian_kernel(x, 1.0), [numbers(6, 2)]),
    "delta_kernel": (evaluate.delta_kernel, [LABELS.float()]),
    "hsic": (evaluate.hsic, [numbers(6, 6), numbers(6, 6, seed=1)]),
    "principal_angles": (evaluate.principal_angles, [numbers(6, 2), numbers(6, 2, seed=1)]),
    "info_nce_bound": (lambda x: evaluate.info_nce_bound(x, 3), [torch.tensor(1.0)]),
    "bits": (evaluate.bits, [torch.tensor(1.0)]),
    "recall_at_k": (lambda s: clip.recall_at_k(s, 1), [numbers(4, 4)]),
    "draw": (lambda p: sampling.draw(p, runtime.seed(0)), [numbers(3, 5).softmax(1)]),
}
# A score of -inf says "impossible" here, and is one of the numbers that may come.
IMPOSSIBLE_IS_FINE = {
    "next_token_probabilities": (sampling.next_token_probabilities, [numbers(3, 5)]),
    "next_token_probabilities, greedy": (lambda x: sampling.next_token_probabilities(x, 0), [numbers(3, 5)]),
    "next_token_probabilities, top k": (lambda x: sampling.next_token_probabilities(x, 0.7, 2), [numbers(3, 5)]),
    "next_token_probabilities, top p": (lambda x: sampling.next_token_probabilities(x, 2, None, 0.5), [numbers(3, 5)]),
    "exposure": (lambda x: privacy.exposure(x, 1), [numbers(5)]),
    "perplexity": (evaluate.perplexity, [torch.tensor(1.0)]),
}
ALL = {**LOSSES, **GUARDED, **IMPOSSIBLE_IS_FINE}


def finite(result) -> bool:
    return bool(torch.as_tensor(result, dtype=torch.float64).isfinite().all())


def test_without_nan_all_results_are_finite():
    for name, (function, inputs) in ALL.items():
        assert finite(function(*inputs)), name


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_nan_is_never_hidden(name, data):
    function, inputs = ALL[name]
    bad = data.draw(st.sampled_from([math.nan, math.inf]) if name in IMPOSSIBLE_IS_FINE else BAD)
    which = data.draw(st.integers(0, len(inputs) - 1))
    inputs = [x.clone() for x in inputs]
    inputs[which].view(-1)[data.draw(st.integers(0, inputs[which].numel() - 1))] = bad
    if bad == -math.inf and name.startswith(("next_token", "mean_cross", "masked_language")):
        return  # a token that is impossible, and did not come
    if math.isinf(bad) and name.startswith(("dp_sgd_epsilon", "renyi")):
        return  # with infinite noise nothing is told
    try:
        result = function(*inputs)
    except (ValueError, TypeError) as error:
        assert len(str(error)) > 20
    else:
        assert not finite(result), f"{name} gives {result} with {bad} in input {which}"


def test_all_public_losses_are_tried():
    public = {
        name
        for name, value in vars(losses).items()
        if inspect.isfunction(value) and value.__module__ == losses.__name__ and not name.startswith("_")
    }
    tried = {name.split(",")[0] for name in LOSSES}
    assert public - tried == {"mask_tokens", "check_contrast", "carry_nan"}  # the first two give no number
    assert tried - public == {"dp_sgd_gradient", "dp_sgd_epsilon", "renyi_divergence"}  # of `privacy`


def test_zero_rows_have_a_finite_gradient():
    z = torch.zeros(4, 3, requires_grad=True)
    losses.nt_xent(z, numbers(4, 3), 0.5).backward()
    assert z.grad.isfinite().all()


def test_padding_costs_no_gradient():
    x = numbers(2, 5, 4).requires_grad_()
    losses.next_token_loss(x, whole(2, 5), PADDING).backward()
    assert (x.grad[0, 3:] == 0).all() and (x.grad[1, 1:] == 0).all() and x.grad[0, :3].abs().sum() > 0


# --- writing ----------------------------------------------------------------------------------------------------------


def writers():
    yield GPT(Config(8, 8, dim=8, layers=1, heads=2), runtime.seed(0))
    for cell in ("lstm", "gru", "tanh", "multiplicative"):
        yield CharRNN(RNNConfig(8, cell=cell, hidden=8), runtime.seed(0))


@pytest.mark.parametrize("how", [{}, {"temperature": 0}, {"top_k": 2}, {"top_p": 0.5}])
@pytest.mark.parametrize("model", list(writers()), ids=lambda m: getattr(m.config, "cell", "gpt"))
def test_a_model_that_breaks_while_it_writes_names_the_step(model, how, monkeypatch):
    logits, calls = type(model).logits, []

    def breaking(self, hidden):
        calls.append(1)
        return logits(self, hidden) * (math.nan if len(calls) == 4 else 1)

    monkeypatch.setattr(type(model), "logits", breaking)
    more = {"use_cache": False} if isinstance(model, GPT) else {}
    with pytest.raises(ValueError, match="no token can be chosen at step 3: .*NaN.*training diverged"):
        model.generate(torch.tensor([[1, 2]]), 9, generator=runtime.seed(0), **how, **more)
    assert len(calls) == 4


@pytest.mark.parametrize("use_cache", [True, False])
def test_nan_in_a_weight_that_is_read_later_is_found(use_cache):
    model = GPT(Config(8, 8, dim=8, layers=1, heads=2), runtime.seed(0))
    with torch.no_grad():
        model.positions.weight[5] = math.nan  # the fourth new token is read at this place
    with pytest.raises(ValueError, match="at step 4"):
        model.generate(torch.tensor([[1, 2]]), 9, generator=runtime.seed(0), use_cache=use_cache)


def test_prompts_of_another_alphabet_are_refused():
    for model in writers():
        with pytest.raises(ValueError, match="must be in 0 … 7, got 1 … 9: was the prompt encoded with this model's"):
            model.generate(torch.tensor([[1, 9]]), 3)


# --- the loop ---------------------------------------------------------------------------------------------------------


def line():
    x = numbers(64, 3)
    model = nn.Linear(3, 1)
    return model, train.samples(x, x.sum(1, keepdim=True), size=8), lambda m, x, y: F.mse_loss(m(x), y)


def fit(*args, checkpoint=None, lr=1e-3, **settings):
    look = train.Look(every=5, **{name: settings.pop(name) for name in ("validate", "patience") if name in settings})
    settings = train.Settings(**settings)
    return train.fit(*args, steps=40, lr=lr, settings=settings, look=look, checkpoint=checkpoint, progress=False)


@settings(max_examples=25, deadline=None)
@given(step=st.integers(0, 39), bad=BAD, where=st.sampled_from(["batch", "loss", "gradient", "weight"]))
def test_fit_never_returns_from_nan(step, bad, where, tmp_path_factory):
    model, batch, loss = line()
    path, calls = tmp_path_factory.mktemp("run") / "run.pt", []

    def broken_batch(generator):
        calls.append(1)
        x, y = batch(generator)
        if len(calls) == step + 1 and where == "batch":
            x = x.clone()
            x[0, 0] = bad
        if len(calls) == step + 1 and where == "weight":
            with torch.no_grad():
                model.weight[0, 0] = bad
        return x, y

    def broken_loss(m, x, y):
        value = loss(m, x, y)
        if len(calls) == step + 1 and where == "loss":
            return value * bad
        if len(calls) == step + 1 and where == "gradient":  # the loss looks well, the weights do not
            return value + (bad * (m.weight.sum() - m.weight.sum().detach())).nan_to_num(0, 0, 0)
        return value

    if where == "gradient":
        model.weight.register_hook(lambda g: g * bad if len(calls) == step + 1 else g)
    with pytest.raises(ValueError, match=r"(the loss is|the largest weights).* step \d+.*Likely training diverged"):
        fit(model, broken_batch, broken_loss, checkpoint=path)
    if path.exists():  # written before it broke: it is whole
        model, batch, loss = line()
        history = fit(model, batch, loss, checkpoint=path)
        assert len(history.loss) == 40 and all(map(math.isfinite, history.loss))
    else:
        assert step < 5


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("at", [0, 2])
def test_fit_never_takes_nan_for_the_best(at, bad, tmp_path):
    model, batch, loss = line()
    values = iter([1.0] * at + [bad] + [0.5] * 9)
    with pytest.raises(ValueError, match=f"the held-out value is {bad} after step {5 * at + 5}.*Likely training div"):
        fit(model, batch, loss, validate=lambda m: next(values), patience=3, checkpoint=tmp_path / "run.pt")
    assert (tmp_path / "run.pt").exists() == (at > 0)


def test_fit_refuses_a_damaged_model():
    model, batch, loss = line()
    with torch.no_grad():
        model.bias.fill_(math.nan)
    with pytest.raises(ValueError, match="weights of each parameter before the first step"):
        fit(model, batch, lambda m, x, y: m.weight.square().sum())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("setting", ["lr", "clip", "weight_decay", "final"])
def test_fit_refuses_settings_that_are_no_numbers(setting, bad):
    model, batch, loss = line()
    if setting == "clip" and bad == math.inf:
        return  # the longest gradient allowed is any
    with pytest.raises(ValueError):
        fit(model, batch, loss, **{setting: bad})


def test_the_guard_passes_whole_numbers_and_says_how_many_are_bad():
    check_finite(torch.arange(3), "codes", "x")
    check_finite(1.0, "one", "x")
    with pytest.raises(ValueError, match=r"^these: of 4 numbers 1 are NaN, 2 infinite. Likely a test$"):
        check_finite(torch.tensor([math.nan, math.inf, -math.inf, 0]), "these", "a test")
    with pytest.raises(ValueError, match="^the loss is nan. Likely a test$"):
        check_finite(math.nan, "the loss is nan", "a test")
