"""The loop: learns, stops, goes on after a kill with the same weights, and never leaves half a file."""

import errno
import hashlib
import math
import os
import pickle
import subprocess
import sys
import textwrap
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import nn

from course_utils import runtime
from course_utils.learn import train
from course_utils.learn.losses import next_token_loss
from course_utils.models.transformer import GPT, Config


def regression(seed=0):
    """A line to find, and a model with dropout: its randomness must survive a kill too."""
    x = torch.randn(256, 4, generator=runtime.seed(seed))
    y = x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]]) + 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Dropout(0.1), nn.Linear(32, 1))
    return model, train.samples(x, y, size=16)


def loss(model, x, y):
    return (model(x) - y).square().mean()


def run(model, batch, **more):
    torch.manual_seed(1)  # dropout
    look = train.Look(**{f.name: more.pop(f.name) for f in fields(train.Look) if f.name in more})
    settings = train.Settings(**{f.name: more.pop(f.name) for f in fields(train.Settings) if f.name in more})
    options = {"steps": 60, "lr": 0.01, "progress": False, **more}
    return train.fit(model, batch, loss, settings=settings, look=look, **options)


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# --- it learns --------------------------------------------------------------------------------------------------------


def test_it_learns_and_says_so():
    model, batch = regression()
    x, y = batch(runtime.seed(5))
    history = run(model, batch, steps=400, validate=lambda m: float(loss(m, x, y)), every=100)
    assert len(history.loss) == len(history.lr) == 400 and list(history.held_out) == [100, 200, 300, 400]
    assert sum(history.loss[-50:]) < 0.1 * sum(history.loss[:50]) and history.held_out[400] < 0.2
    assert history.best == min(history.held_out, key=history.held_out.get) and history.seconds > 0
    curves = history.curves(points=10)
    assert list(curves["training"]) == [40 * i for i in range(1, 11)] and curves["held-out"] == history.held_out
    assert curves["training"][40] == pytest.approx(sum(history.loss[:40]) / 40)


def test_it_is_the_plain_loop():
    """Step by step as anyone would write it."""
    model, batch = regression()
    theirs, _ = regression()
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in theirs.parameters() if p.ndim == 2], "weight_decay": 0.3},
            {"params": [p for p in theirs.parameters() if p.ndim == 1], "weight_decay": 0},
        ],
        betas=(0.9, 0.99),
    )
    torch.manual_seed(1)
    g = runtime.seed(7)
    for step in range(30):
        rate = (step + 1) / 5 if step < 5 else 0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * (step - 5) / 24))
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * rate
        optimizer.zero_grad()
        loss(theirs, *batch(g)).backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        optimizer.step()
    run(model, batch, steps=30, warmup=5, final=0.2, clip=0.5, weight_decay=0.3, generator=runtime.seed(7))
    torch.testing.assert_close(flat(model), flat(theirs))


def test_schedule():
    rates = [train.cosine(step, 100, warmup=10, final=0.1) for step in range(100)]
    assert rates[0] == 0.1 and rates[9] == rates[10] == 1 and rates[99] == pytest.approx(0.1)
    assert all(a < b for a, b in zip(rates[:9], rates[1:10])) and all(a > b for a, b in zip(rates[10:], rates[11:]))
    assert rates[10 + 89 // 2] == pytest.approx(0.55, abs=0.01)
    assert train.cosine(0, 1, warmup=0) == 1


def test_own_optimizer_backward_and_watch():
    model, batch = regression()
    seen = []

    def backward(model, x, y, *, generator):
        assert isinstance(generator, torch.Generator)
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        return loss(model, x, y)

    start = flat(model)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    run(
        model,
        batch,
        steps=2,
        warmup=0,
        final=1,
        clip=None,
        optimizer=sgd,
        backward=backward,
        every=1,
        watch=seen.append,
    )
    torch.testing.assert_close(flat(model), start - 0.2)
    assert len(seen) == 2 and len(seen[0].loss) == 2


def test_validation_is_without_dropout_and_gradients_and_modes_are_kept():
    model, batch = regression()
    x, _ = batch(runtime.seed(5))

    def validate(m):
        assert not m.training and not torch.is_grad_enabled()
        return float((m(x) - m(x)).abs().sum())

    history = run(model.eval(), batch, validate=validate, every=20)
    assert set(history.held_out.values()) == {0.0} and not model.training
    frozen, batch = regression()
    frozen[0].requires_grad_(False)
    before = frozen[0].weight.clone()
    run(frozen.train(), batch)
    assert frozen[0].weight.equal(before) and frozen.training


def test_early_stopping_goes_back_to_the_best():
    model, batch = regression()
    values, weights = iter([3.0, 1.0, 2.0, 2.0, 0.0]), {}

    def validate(m):
        weights[len(weights)] = flat(m)
        return next(values)

    history = run(model, batch, steps=50, validate=validate, every=10, patience=2)
    assert list(history.held_out) == [10, 20, 30, 40] and "2 validations after step 20" in history.stopped
    assert flat(model).equal(weights[1]) and len(history.loss) == 40


def test_batches():
    codes = torch.arange(100)
    draw = train.windows(codes, length=5, size=2000)
    x = draw(runtime.seed(0))
    assert x.shape == (2000, 5) and (x[:, 1:] - x[:, :-1] == 1).all() and x.min() == 0 and x.max() == 99
    assert x.equal(draw(runtime.seed(0))) and not x.equal(draw(runtime.seed(1)))
    a, b = train.samples(codes, codes * 2, size=7)(runtime.seed(0))
    assert b.equal(a * 2) and a.shape == (7,)
    with pytest.raises(ValueError, match="at least 101 tokens"):
        train.windows(codes, length=101, size=1)
    with pytest.raises(ValueError, match="equally long"):
        train.samples(codes, codes[1:], size=1)
    with pytest.raises(ValueError, match="equally long"):
        train.samples(codes[:0], size=1)


# --- checkpoints ------------------------------------------------------------------------------------------------------

TESTS = [str(folder) for folder in Path(__file__).parents[:2]]
SCRIPT = """
    import os, signal, sys, torch
    sys.path[:0] = sys.argv[1:]
    from test_train import flat, regression, run

    def part(name, die):
        torch.set_num_threads(1)
        model, batch = regression()
        count = 0

        def dying(generator):
            nonlocal count
            count += 1
            if count == die:
                os.kill(os.getpid(), signal.SIGKILL)
            return batch(generator)

        history = run(model, dying, checkpoint=name, every=8, validate=lambda m: float(flat(m).sum()), patience=100)
        torch.save([flat(model), history.loss, history.held_out], name + ".result")

    flat(regression()[0]), torch.optim.SGD([torch.zeros(1)])  # what torch imports late, before the first fork
    for name, die in (("killed", 21), ("killed", 30), ("killed", 0), ("whole", 0)):
        child = os.fork()  # a process of its own for each part, and torch is imported once
        if not child:
            part(name, die)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        assert status == (signal.SIGKILL if die else 0), (name, die, status)
"""


def test_killed_twice_and_resumed_gives_the_same_bits(tmp_path):
    """60 steps with checkpoints at 8, 16, …: killed in step 21 and, resumed at 16, in step 46."""
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), *TESTS]
    subprocess.run(command, cwd=tmp_path, timeout=300, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    a, b = (torch.load(tmp_path / f"{name}.result") for name in ("killed", "whole"))
    assert a[0].equal(b[0]) and a[1] == b[1] and a[2] == b[2] and len(a[1]) == 60
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed", "killed.result", "whole", "whole.result"]


def test_a_finished_run_is_only_loaded(tmp_path):
    model, batch = regression()
    first = run(model, batch, checkpoint=tmp_path / "run.pt")
    again, _ = regression()
    history = run(again, lambda g: pytest.fail("a batch was drawn"), checkpoint=tmp_path / "run.pt")
    assert flat(again).equal(flat(model)) and history.loss == first.loss


def test_checkpoint_of_another_run_is_refused(tmp_path):
    model, batch = regression()
    run(model, batch, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"another run: its steps differ \(60 there, 70 here\)"):
        run(model, batch, steps=70, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="its learning rates differ"):
        run(model, batch, lr=0.5, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"its optimizer differs \(AdamW there, SGD here\)"):
        run(model, batch, optimizer=torch.optim.SGD(model.parameters(), lr=0.01), checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="its parameters differ"):
        run(nn.Linear(4, 1), batch, checkpoint=tmp_path / "run.pt")


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-100], lambda b: b[:10], lambda b: b"", lambda b: b[:-9] + b"?" + b[-8:]]
)
def test_damaged_checkpoint_is_named(tmp_path, damage):
    model, batch = regression()
    run(model, batch, checkpoint=tmp_path / "run.pt")
    (tmp_path / "run.pt").write_bytes(damage((tmp_path / "run.pt").read_bytes()))
    with pytest.raises(ValueError, match="run.pt is not a checkpoint, or was cut off or changed"):
        run(model, batch, checkpoint=tmp_path / "run.pt")


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    content = pickle.dumps(Evil(), protocol=2)
    (tmp_path / "run.pt").write_bytes(hashlib.sha256(content).digest() + content)
    with pytest.raises(pickle.UnpicklingError):
        run(*regression(), checkpoint=tmp_path / "run.pt")
    assert not (tmp_path / "owned").exists()


def test_full_disk_is_named_and_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    model, batch = regression()
    run(model, batch, checkpoint=tmp_path / "run.pt")
    before = (tmp_path / "run.pt").read_bytes()
    fsync = os.fsync

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    steps = train.Run(model, torch.optim.SGD(model.parameters()), runtime.seed(0), {})
    with pytest.raises(
        OSError, match="cannot write the checkpoint of step 0 .*No space left.*Free some space"
    ) as caught:
        steps.save(tmp_path / "run.pt")
    assert caught.value.errno == errno.ENOSPC
    assert (tmp_path / "run.pt").read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["run.pt"]
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="cannot write the checkpoint .*inside.pt"):
        steps.save(tmp_path / "run.pt" / "inside.pt")


# --- bad input --------------------------------------------------------------------------------------------------------


def test_divergence_is_named_before_it_is_saved(tmp_path):
    model, batch = regression()
    with pytest.raises(ValueError, match="the loss is (nan|inf) at step 1. Likely .* lower lr"):
        train.fit(
            model, batch, lambda m, x, y: loss(m, x, y) * math.nan, steps=20, checkpoint=tmp_path / "c", progress=False
        )
    assert not list(tmp_path.iterdir())


def test_bad_settings():
    model, batch = regression()
    for more, message in (
        (dict(steps=-1), "steps must be ≥ 0"),
        (dict(every=0), "every and patience must be ≥ 1"),
        (dict(patience=0), "every and patience must be ≥ 1"),
        (dict(patience=3), "give `validate`"),
    ):
        with pytest.raises(ValueError, match=message):
            run(model, batch, **more)
    assert run(model, batch, steps=0).loss == []
    with pytest.raises(ValueError, match="there was no validation"):
        _ = train.History().best


def test_compile_without_a_compiler_is_a_sentence_at_once(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    model, batch = regression()
    before = {name: p.clone() for name, p in model.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"compile=True needs a compiler, but .* is not here: leave compile=False"):
        run(model, batch, compile=True)
    assert all(p.equal(before[name]) for name, p in model.state_dict().items())


def test_a_compiler_that_fails_is_a_sentence(monkeypatch):
    def compiled(model):
        def forward(*args):
            raise torch._dynamo.exc.BackendCompilerFailed(print, OSError("no Python.h"), None)

        return forward

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr(train, "check_compiler", lambda device: None)
    with pytest.raises(RuntimeError, match="torch.compile could not compile this model .*no Python.h.*compile=False"):
        run(*regression(), compile=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
def test_cuda_bf16():
    model, batch = regression()
    kinds = set()

    def typed_loss(m, x, y):
        out = m(x)
        kinds.add((out.dtype, x.device.type))
        return (out.float() - y).square().mean()

    history = train.fit(model.cuda(), batch, typed_loss, steps=300, lr=0.01, progress=False)
    assert kinds == {(torch.bfloat16, "cuda")} and sum(history.loss[-50:]) < 0.1 * sum(history.loss[:50])


# --- Muon -------------------------------------------------------------------------------------------------------------


def small_gpt():
    return GPT(Config(vocab_size=11, context=8, dim=16, layers=2, heads=2), runtime.seed(0))


def test_muon_moves_matrices_of_the_blocks_along_orthogonal_steps():
    model = small_gpt()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = train.muon(model, lr=0.1, adamw_lr=1e-3, weight_decay=0.0)
    g = runtime.seed(1)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=g) * torch.rand(p.shape[-1], generator=g)
    optimizer.step()
    for name, p in model.named_parameters():
        step = p.detach() - before[name]
        if p.ndim == 2 and "blocks." in name:  # nearly orthogonal: no direction gets far more than the median one
            parts = 3 if "qkv" in name else 1  # queries, keys and values each for themselves
            for moved, gradient in zip(step.chunk(parts), p.grad.chunk(parts)):
                values, of_gradient = torch.linalg.svdvals(moved), torch.linalg.svdvals(gradient)
                assert values[0] / values.median() < min(2, of_gradient[0] / of_gradient.median()), name
        else:  # AdamW's first step is the learning rate, for every number that has a gradient
            assert step.abs().max() == pytest.approx(1e-3, rel=0.01), name


def test_every_parameter_is_in_one_optimizer():
    model = small_gpt()
    inside = [id(p) for group in train.muon(model).param_groups for p in group["params"]]
    assert sorted(inside) == sorted(id(p) for p in model.parameters())
    with pytest.raises(ValueError, match="use adamw"):
        train.muon(torch.nn.Linear(3, 3))


def test_muon_run_that_was_killed_ends_with_the_same_weights(tmp_path):
    codes = torch.randint(11, (500,), generator=runtime.seed(0))

    def run(checkpoint, kill=None):
        model = small_gpt()
        batch = train.windows(codes, 9, 4)
        calls = []

        def draw(generator):
            calls.append(1)
            if kill is not None and len(calls) > kill:
                raise KeyboardInterrupt
            return batch(generator)

        with suppress(KeyboardInterrupt):
            train.fit(
                model, draw, lambda m, x: next_token_loss(m(x[:, :-1]), x), steps=12, look=train.Look(every=4),
                settings=train.Settings(optimizer=train.muon(model), bf16=False), checkpoint=checkpoint, progress=False,
            )  # fmt: skip
        return model.state_dict()

    whole = run(None)
    run(tmp_path / "state", kill=9)
    again = run(tmp_path / "state")
    assert all(again[name].equal(tensor) for name, tensor in whole.items())


# --- Muon -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 20, 30), (2, 40, 10), (1, 16, 16)])
def test_orthogonalise_keeps_the_singular_vectors_and_evens_the_values(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    y = train.orthogonalise(x, steps=5)
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    values = (u.mT @ y @ v.mT).diagonal(dim1=1, dim2=2)
    assert torch.allclose(u @ torch.diag_embed(values) @ v, y, atol=1e-3)
    assert values[s > 0.2 * s.max()].min() > 0.6 and values.max() < 1.3


@pytest.mark.parametrize("bf16", [None, False, True])
def test_muon_is_torchs(bf16):
    """torch's own computes in bfloat16: equal to its rounding."""
    g = torch.Generator().manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape, generator=g)) for shape in ((8, 24), (24, 8), (8, 24))]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    one = train.Muon(ours, lr=0.02, weight_decay=0.1, bf16=bf16)
    other = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, ns_steps=3)
    for _ in range(5):
        for p, q in zip(ours, theirs):
            p.grad = torch.randn(p.shape, generator=g)
            q.grad = p.grad.clone()
        one.step()
        other.step()
    for p, q in zip(ours, theirs):
        assert torch.allclose(p, q, atol=2e-3)


def test_how_a_step_is_taken_when_nothing_is_said():
    """A twentieth of the steps up, then down to a tenth; matrices decay by a tenth. Trained models rest on this."""
    model, batch = regression()
    optimizer, rates = torch.optim.SGD(model.parameters(), lr=0.5), []

    def watched(model, *both):
        rates.append(optimizer.param_groups[0]["lr"])
        return loss(model, *both)

    train.fit(model, batch, watched, steps=100, settings=train.Settings(optimizer=optimizer), progress=False)
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5]) and max(rates) == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.05)

    def nothing(model, x, y):
        return 0 * loss(model, x, y)

    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train.fit(model, batch, nothing, steps=1, lr=0.5, progress=False)  # no gradient: only what decays is changed
    for name, tensor in model.state_dict().items():
        assert torch.allclose(tensor, before[name] * (0.95 if tensor.ndim > 1 else 1.0)), name
