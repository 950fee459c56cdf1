"""A Mac without a Mac: the library, and the lectures that write text, on a stand-in for its GPU (see `mac.py`)."""

import math
from pathlib import Path

import lecture_runs
import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mac import pretended
from torch import nn

from course_utils import runtime
from course_utils.data import graphs, postcards
from course_utils.learn import augment, evaluate, losses, pretext, privacy, train
from course_utils.models import autoencoder, clip
from course_utils.models.convnet import ConvNetConfig
from course_utils.models.gnn import GNN
from course_utils.models.ngram import NGramModel
from course_utils.models.rnn import CharRNN, RNNConfig
from course_utils.models.transformer import BERT, GPT, BERTConfig, Config, mean_pool

ROOT = Path(__file__).parents[2]
TESTS = Path(__file__).parents[1]


@pytest.fixture
def mps():
    with pretended() as device:
        yield device


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=runtime.seed(seed)).to("mps")


def whole(*shape, below=4, seed=0):
    return torch.randint(below, shape, generator=runtime.seed(seed)).to("mps")


# --- the stand-in -----------------------------------------------------------------------------------------------------


def test_the_device_is_named_and_stays(mps):
    x = torch.arange(6, device=mps).view(2, 3)
    assert runtime.device() == mps and x.device.type == "mps"
    for y in (x[:, 1:], x.float() @ torch.ones(3, 1, device=x.device), F.one_hot(x), x.new_zeros(2), x.T.unique()):
        assert y.device.type == "mps"
    assert x.cpu().device.type == x.to("cpu").device.type == torch.ones(2).device.type == "cpu"
    assert x.to(mps) is x
    layer = nn.Linear(3, 1).to(mps)
    layer(numbers(2, 3)).sum().backward()
    assert layer.weight.device.type == layer.weight.grad.device.type == "mps"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x.double(),
        lambda x: x.to(torch.float64),
        lambda x: torch.zeros(3, dtype=torch.float64, device=x.device),
        lambda x: torch.tensor(np.ones(3), device=x.device),
        lambda x: torch.as_tensor(np.ones(3)).to(x.device),
        lambda x: x[None][:, 1:].type(torch.float64),
        lambda x: x + x.cpu().double().to(x.device),
        lambda x: torch.linspace(0, 1, 3, dtype=torch.float64, device=x.device),
        lambda x: x.to(torch.complex128),
        lambda x: nn.Linear(3, 2).double().to(x.device),
        lambda x: nn.Linear(3, 2).to(x.device).double(),
    ],
)
def test_double_precision_is_refused(mps, wrong):
    with pytest.raises(TypeError, match="the MPS framework doesn't support (float64|complex128)"):
        wrong(torch.ones(3, device=mps))


def test_what_mps_lacks_is_refused(mps):
    x = torch.ones(3, 2, device=mps)
    for lacking in (lambda: torch.pdist(x), lambda: x.mode()):
        with pytest.raises(NotImplementedError, match="not currently implemented for the MPS device"):
            lacking()
    for mixed in (lambda: x + torch.ones(3, 2), lambda: torch.cat([x, torch.ones(1, 2)]), lambda: torch.ones(3)[x > 0]):
        with pytest.raises(RuntimeError, match="at least two devices"):
            mixed()
    with pytest.raises(TypeError, match=r"Use Tensor.cpu\(\) first"):
        x.numpy()
    for drawn in (lambda g: torch.rand(3, device=mps, generator=g), lambda g: x.normal_(generator=g)):
        with pytest.raises(RuntimeError, match="device type for generator"):
            drawn(runtime.seed(0))


def test_the_processor_may_do_what_it_likes(mps):
    x = numbers(3, 2)
    assert x.cpu().double().numpy().dtype == np.float64
    assert torch.pdist(x.cpu().double()).dtype == torch.float64
    assert (torch.rand(3, generator=runtime.seed(0), dtype=torch.float64) + 1).float().to(mps).device == mps
    assert (x + torch.tensor(1.0)).device == mps  # one number may lie anywhere
    assert x[torch.tensor([0, 1])].device == mps  # and so may places
    x[:1] = torch.zeros(1, 2)
    assert (x[0] == 0).all()


# --- the library ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"temperature": 0}, {"temperature": 0.7, "top_k": 3}, {"top_p": 0.8}])
def test_models_write(how):
    prompt = torch.tensor([[1, 2], [3, 4]])
    for make in (
        lambda: GPT(Config(9, 8, dim=8, layers=1, heads=2), runtime.seed(0)),
        *(lambda cell=cell: CharRNN(RNNConfig(9, cell=cell, hidden=8), runtime.seed(0))
          for cell in ("tanh", "gru", "lstm", "multiplicative")),
    ):  # fmt: skip
        here = make().generate(prompt, 12, generator=runtime.seed(1), **how)
        with pretended() as mps:
            model = make().to(mps)
            there = model.generate(prompt.to(mps), 12, generator=runtime.seed(1), **how)
            assert there.device == mps and there.cpu().equal(here)  # a seed draws the same on every device
            logp = model.log_probabilities(torch.tensor([1, 2, 3, 4], device=mps))
            assert logp.device == mps and logp.isfinite().all()


def test_prompts_of_two_lengths_and_attention(mps):
    gpt = GPT(Config(9, 8, dim=8, layers=1, heads=2), runtime.seed(0)).to(mps)
    prompts = [torch.tensor([1], device=mps), torch.tensor([2, 3], device=mps)]
    assert gpt.generate(prompts, 10, generator=runtime.seed(0), stop=0).shape == (2, 10)
    bert = BERT(BERTConfig(9, 8, dim=8, layers=1, heads=2), runtime.seed(0)).to(mps)
    tokens, mask = whole(2, 5, below=9), torch.ones(2, 5, dtype=torch.bool, device=mps)
    mask[1, 3:] = False
    assert bert.attention_maps(tokens, mask).device == mean_pool(bert.encode(tokens, mask), mask).device == mps
    hidden, targets = losses.mask_tokens(tokens, mask_token=8, vocab_size=9, mask=mask, generator=runtime.seed(0))
    losses.masked_language_modelling_loss(bert(hidden, mask), targets).backward()


def test_losses(mps):
    z, other, labels = numbers(6, 3).requires_grad_(), numbers(6, 3, seed=1), whole(6, below=2)
    logits = numbers(2, 5, 4).requires_grad_()
    for loss in (
        losses.nt_xent(z, other, 0.5),
        losses.sup_con(z, labels, 0.5),
        losses.clip_loss(z, other, torch.tensor(1.0, device=mps)),
        losses.info_nce(z, other, 0.5, negatives=2, generator=runtime.seed(0)),
        losses.next_token_loss(logits, whole(2, 5), torch.ones(2, 5, dtype=torch.bool, device=mps)),
        losses.elbo_loss(other.sigmoid(), z, z[:, :2], other[:, :2]),
        losses.elbo_loss(other, z, z[:, :2], other[:, :2], likelihood="gaussian"),
    ):
        assert loss.device == mps
        loss.backward()
    model = nn.Linear(3, 2).to(mps)
    gradient, norms = privacy.dp_sgd_gradient(
        model, lambda m, x: m(x).square().mean(), other, max_norm=1, noise_multiplier=1, generator=runtime.seed(0)
    )
    assert gradient["weight"].device == norms.device == mps


def test_evaluate():
    x = torch.randn(80, 5, generator=runtime.seed(0))
    labels = torch.randint(3, (80,), generator=runtime.seed(1))
    values = torch.randn(80, generator=runtime.seed(2))
    x[:, 0] += labels

    def all_probes(x, labels, values):
        half = slice(0, 50), slice(50, 80)
        first, second = half
        parts = x[first], labels[first], x[second], labels[second]
        return [
            evaluate.linear_probe(*parts, l2=evaluate.L2),
            evaluate.knn_probe(*parts, k=5),
            evaluate.knn_probe(*parts, k=5, temperature=0.1),
            evaluate.ridge_probe(x[first], values[first], x[second], values[second], l2=evaluate.L2),
        ]

    here = all_probes(x, labels, values)
    with pretended() as mps:
        there = all_probes(*(t.to(mps) for t in (x, labels, values)))
        for a, b in zip(here, there):
            assert b.predictions.device == mps
            assert (a.score, a.error, a.chance) == pytest.approx((b.score, b.error, b.chance), abs=1e-5)
        card = evaluate.report_card({"x": x.to(mps)}, {"label": labels, "value": values.to(mps)})
        assert math.isfinite(card["x", "value"][0])
        z = x.to(mps)
        for measure in (
            evaluate.alignment(z, z + 1),
            evaluate.uniformity(z),
            evaluate.hsic(evaluate.gaussian_kernel(z), evaluate.delta_kernel(labels.to(mps))),
            evaluate.hsic(evaluate.linear_kernel(z), evaluate.linear_kernel(z)),
            evaluate.principal_angles(z[:, :2], z[:, 2:4]),
        ):
            assert measure.device == mps and measure.isfinite().all()
        assert evaluate.features(nn.Linear(5, 2).to(mps), x).device.type == "cpu"
        assert 0 <= privacy.exposure(z[:, 0], 3) <= math.log2(80)


def test_pictures(mps):
    cards = postcards.draw(6, runtime.seed(0), device=mps)
    images = cards.images
    assert images.device == cards.masks.device == cards.factors["size"].device == mps
    for augmentation in (*augment.gallery().values(), augment.simclr()):
        assert augmentation(images, runtime.seed(0)).device == mps
    first, second, which = pretext.patch_pairs(images, runtime.seed(0))
    model = pretext.PatchModel(ConvNetConfig(width=4), runtime.seed(0)).to(mps)
    F.cross_entropy(model(first, second), which).backward()
    order = pretext.permutation_set(5, 9)
    tiles, which = pretext.jigsaw(images, order, runtime.seed(0))
    model = pretext.JigsawModel(5, config=ConvNetConfig(width=4), generator=runtime.seed(0)).to(mps)
    F.cross_entropy(model(tiles), which).backward()
    grey, chroma = pretext.split_colour(images)
    bins = pretext.colour_bins()
    targets = pretext.colour_targets(pretext.half(chroma), bins)
    weight = pretext.rebalanced_weights(targets, len(bins))
    model = pretext.Colourizer(len(bins), ConvNetConfig(width=4), runtime.seed(0)).to(mps)
    F.cross_entropy(model(grey), targets, weight=weight).backward()
    assert pretext.join_colour(grey, model.chroma(grey, bins)).device == mps
    assert pretext.drop_channels(pretext.vignette(pretext.chromatic_aberration(images)), runtime.seed(0)).device == mps
    vae = autoencoder.VariationalAutoencoder(4, ConvNetConfig(width=4), runtime.seed(0)).to(mps)
    losses.elbo_loss(images, *vae(autoencoder.corrupt(images, generator=runtime.seed(0)), runtime.seed(0))).backward()
    words = clip.WordTokenizer.fit(cards.captions)
    model = clip.CLIP(clip.CLIPConfig(len(words), dim=8, image_width=4, text_dim=8), runtime.seed(0)).to(mps)
    codes, mask = (t.to(mps) for t in words.encode_batch(cards.captions))
    losses.clip_loss(*model(images, codes, mask)).backward()
    classes = clip.zero_shot_classifier(model, words, ["a red car", ["a fish", "the fish"]])
    assert classes.device == mps and model.temperature < 1
    clip.recall_at_k(model.encode_image(images) @ model.encode_text(codes, mask).T, 2)


def test_graphs_and_chains(mps):
    some = graphs.draw(5, runtime.seed(0)).to(mps)
    GNN(generator=runtime.seed(0)).to(mps)(some).sum().backward()
    codes = whole(300, below=5)
    for order, smoothing in ((0, 0.1), (2, 0.1), (12, "witten-bell"), (12, 0.1)):
        chain = NGramModel(order, smoothing).fit(codes, size=5)
        assert math.isfinite(chain.bits_per_symbol(codes))
        assert chain.sample(20, 3, prompt=codes[:4], generator=runtime.seed(0)).shape == (3, 20)
        assert chain.distribution(codes[:4]).isfinite().all() and chain.counts_after(codes[:4]).sum() >= 0


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_fit(mps, optimizer, tmp_path):
    def run():
        model = GPT(Config(9, 8, dim=8, layers=1, heads=2), runtime.seed(0)).to(mps)
        text = torch.randint(9, (400,), generator=runtime.seed(0))
        return train.fit(
            model, train.windows(text, 9, 4), lambda m, x: losses.next_token_loss(m(x[:, :-1]), x), steps=20,
            look=train.Look(
                lambda m: float(losses.next_token_loss(m(text[None, :8].to(mps)), text[None, :9].to(mps))),
                every=10, patience=9,
            ),
            settings=train.Settings(optimizer=train.muon(model) if optimizer == "muon" else None),
            checkpoint=tmp_path / "run.pt", progress=False,
        )  # fmt: skip

    first = run()
    assert len(first.loss) == 20 and run().loss == first.loss  # the second finds all done


# --- lectures, assignment 9 -------------------------------------------------------------------------------------------


PRETEND = """
import contextlib, dataclasses, sys
sys.path.insert(0, {tests!r})
import mac
_mac = contextlib.ExitStack()
mac.enter(_mac)
import torch
torch.set_num_threads(1)
from course_utils.learn import train
_fit = train.fit
def fit(*args, steps, look=None, **options):
    look = dataclasses.replace(look or train.Look(), every=None)
    return _fit(*args, steps=min(steps, {steps}), look=look, **options)
train.fit = fit
"""
STEPS = 4  # of training: each of its kernels passes through two modes in Python


@pytest.mark.soak
@pytest.mark.parametrize(
    "path",
    [
        "lectures/02_recurrent_networks.ipynb",
        "lectures/04_gpt.ipynb",
        "lectures/05_memorization.ipynb",
        "solutions/a9_memorization/a9_memorization.ipynb",
    ],
)
def test_notebooks_that_write_run_on_a_mac(path, tmp_path):
    """What is not there on a Mac is never asked for. Claims about trained models may fail: training is cut short."""
    notebook = nbformat.read(ROOT / path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(PRETEND.format(tests=str(TESTS), steps=STEPS)))
    for cell in notebook.cells[1:]:
        cell.metadata["tags"] = ["raises-exception"]  # go on after it
    done = lecture_runs.run(notebook, tmp_path, cell_seconds=600)
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    errors = [f"{o.ename}: {o.evalue}" for o in outputs if o.output_type == "error"]
    assert [error for error in errors if not error.startswith("AssertionError")] == []
