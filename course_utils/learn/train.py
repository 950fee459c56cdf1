"""The training loop of the course: one for all models.

    windows = train.windows(codes, length=65, size=16)                      # what a batch is
    history = train.fit(model, windows, lambda model, x: next_token_loss(model(x[:, :-1]), x), steps=500)
    plots.curve(history.curves(), x="step", y="loss (nats per token)")

Read `fit` from top to bottom: draw a batch, compute the loss, take a step downhill; every so often, look at held-out
data and write a checkpoint. A run that was killed continues from its checkpoint and, on a CPU, ends with the same
weights.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import hashlib
import io
import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_utils.models.finite import DIVERGED, check_finite
from course_utils.paths import write

Batch = Tensor | tuple[Tensor, ...]


@dataclass
class History:
    """What happened, step by step."""

    loss: list[float] = field(default_factory=list)  # of each step's batch
    lr: list[float] = field(default_factory=list)  # learning rate of each step
    held_out: dict[int, float] = field(default_factory=dict)  # step -> what `validate` returned
    noted: dict[int, dict[str, float]] = field(default_factory=dict)  # step -> what `note` returned
    seconds: float = 0.0  # spent on steps and validation, over all resumed parts
    processor_seconds: float = 0.0  # of all this process's threads, over all resumed parts
    stopped: str = ""  # why it ended before `steps`; "" if it did not

    @property
    def best(self) -> int:
        """The step with the lowest held-out value.

        Raises:
            ValueError: if there was no validation.
        """
        if not self.held_out:
            raise ValueError("there was no validation: give fit a `look` with `validate`")
        return min(self.held_out, key=self.held_out.get)

    def curves(self, points: int = 100) -> dict[str, dict[int, float]]:
        """Return {"training": {step: loss}, "held-out": {step: loss}} for `plots.curve`, training in bins."""
        width = max(1, math.ceil(len(self.loss) / points))
        bins = [self.loss[start : start + width] for start in range(0, len(self.loss), width)]
        training = {min((i + 1) * width, len(self.loss)): sum(part) / len(part) for i, part in enumerate(bins)}
        return {"training": training, **({"held-out": dict(self.held_out)} if self.held_out else {})}


# --- batches ----------------------------------------------------------------------------------------------------------


def windows(codes: Int[Tensor, " time"], length: int, size: int) -> Callable[[torch.Generator], Tensor]:
    """Return a function that draws `size` pieces of a text, (size, length) tokens, from random places.

    A model that reads `context` tokens needs length = context + 1: the last token is only predicted.

    Raises:
        ValueError: if the text is shorter than `length`.
    """
    if codes.ndim != 1 or len(codes) < length:
        raise ValueError(f"the text must have the shape (time,) and at least {length} tokens, got {tuple(codes.shape)}")
    view = codes.unfold(0, length, 1)  # (T - length + 1, length), no copy

    def draw(generator: torch.Generator) -> Tensor:
        return view[torch.randint(len(view), (size,), generator=generator)]

    return draw


def samples(*tensors: Tensor, size: int) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    """Return a function that draws `size` rows with replacement, the same rows from each of several tensors (N, …).

    Raises:
        ValueError: if the tensors are empty, or differ in length.
    """
    lengths = {len(tensor) for tensor in tensors}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"the tensors must be equally long, at least 1, got {[len(tensor) for tensor in tensors]}")
    (n,) = lengths

    def draw(generator: torch.Generator) -> tuple[Tensor, ...]:
        rows = torch.randint(n, (size,), generator=generator)
        return tuple(tensor[rows] for tensor in tensors)

    return draw


# --- schedule ---------------------------------------------------------------------------------------------------------


def cosine(step: int, steps: int, warmup: int, final: float = 0.1) -> float:
    """Return the share of the full learning rate in step 0 … steps - 1: a line up, then half a cosine down to `final`.

    Source: I. Loshchilov and F. Hutter, SGDR (2017), equation 5; with warm-up as in Vaswani et al. (2017), section 5.3.
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - 1 - warmup)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(done, 1)))


def adamw(model: nn.Module, lr: float, weight_decay: float = 0.1, betas: tuple[float, float] = (0.9, 0.99)):
    """Return AdamW on the parameters that require a gradient; biases, norms and other vectors do not decay.

    Source: I. Loshchilov and F. Hutter, Decoupled Weight Decay Regularization (2019).
    """
    wanted = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in wanted if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in wanted if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)


class Together(torch.optim.Optimizer):
    """Several optimizers that act as one, each with its own parameters."""

    def __init__(self, *optimizers: torch.optim.Optimizer):
        self.optimizers = optimizers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {str(i): optimizer.state_dict() for i, optimizer in enumerate(self.optimizers)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for i, optimizer in enumerate(self.optimizers):
            optimizer.load_state_dict(state[str(i)])


class Muon(torch.optim.Optimizer):
    """Momentum whose step is made orthogonal: all directions of a matrix move equally far.

    torch.optim.Muon does the same in bfloat16, which a CPU without hardware for it computes ten times more slowly. Here
    matrices of one shape go through the iteration together, in bfloat16 only where that is fast.

    Args:
        bf16: whether to use it; None uses it on a GPU.
        parts: how many matrices lie upon each other in each one; each gets a step of its own.

    Source: K. Jordan et al., Muon: An optimizer for hidden layers in neural networks (2024).
    """

    def __init__(self, matrices, lr=0.02, momentum=0.95, weight_decay=0.01, bf16: bool | None = None, parts: int = 1):
        how = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "bf16": bf16, "parts": parts}
        super().__init__(matrices, how)

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(p.shape, []).append(p)
            for (rows, columns), same in shapes.items():
                steps = []
                for p in same:
                    velocity = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                    velocity.lerp_(p.grad, 1 - group["momentum"])
                    steps.append(p.grad.lerp(velocity, group["momentum"]))  # Nesterov's look ahead
                whole = torch.stack(steps)  # (K, rows, columns)
                parts = whole.view(-1, rows // group["parts"], columns)
                size = group["lr"] * max(1, parts.shape[1] / columns) ** 0.5
                torch._foreach_mul_(same, 1 - group["lr"] * group["weight_decay"])
                even = orthogonalise(parts, bf16=group["bf16"]).view_as(whole)
                torch._foreach_add_(same, list(even), alpha=-size)


def orthogonalise(
    x: Float[Tensor, "k rows columns"], steps: int = 3, bf16: bool | None = None
) -> Float[Tensor, "k rows columns"]:
    """Bring each matrix's singular values near 1 (0.3 … 1.3, unless they were tiny) and keep its singular vectors.

    Each of the steps applies the polynomial 3.4445 s - 4.775 s³ + 2.0315 s⁵ to the singular values s.

    Source: Jordan et al. (2024).
    """
    wide = x if x.shape[1] <= x.shape[2] else x.mT
    y = wide.bfloat16() if (wide.is_cuda if bf16 is None else bf16) else wide
    y = y / (y.norm(dim=(1, 2), keepdim=True) + 1e-7)  # now no singular value is above 1
    for _ in range(steps):
        gram = y @ y.mT  # (K, rows, rows)
        y = torch.baddbmm(y, torch.baddbmm(gram, gram, gram, beta=-4.775, alpha=2.0315), y, beta=3.4445)
    return (y if wide is x else y.mT).to(x.dtype)


def muon(
    model: nn.Module,
    lr: float = 0.04,
    adamw_lr: float = 0.015,
    weight_decay: float = 0.01,
    momentum: float = 0.9,
    bf16: bool | None = None,
) -> Together:
    """Return Muon, with orthogonal steps, for the matrices in the model's `blocks`, and AdamW for the rest.

    For transformers: reaches the same loss in fewer steps than `adamw`, and each step costs a little more. Queries,
    keys and values, which lie in one matrix, get a step each. The defaults suit hundreds of steps; thousands want more
    momentum.

    Raises:
        ValueError: if the model has no matrix in `blocks`.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = {name: p for name, p in named if p.ndim == 2 and "blocks." in name}
    rest = [p for name, p in named if name not in matrices]
    if not matrices:
        raise ValueError("this model has no matrix in `blocks`: use adamw")
    joined = [p for name, p in matrices.items() if name.endswith("qkv.weight")]
    single = [p for name, p in matrices.items() if not name.endswith("qkv.weight")]
    groups = [{"params": ps, "parts": n} for ps, n in ((joined, 3), (single, 1)) if ps]
    return Together(
        Muon(groups, lr=lr, momentum=momentum, weight_decay=weight_decay, bf16=bf16),
        torch.optim.AdamW(rest, lr=adamw_lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True),
    )


# --- the loop ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """How a step is taken; the defaults suit a minute's training.

    Attributes:
        warmup: steps until the full learning rate; None takes a twentieth of all, at most 100.
        final: the share of the learning rate that is left at the end (see `cosine`).
        weight_decay: AdamW's, for matrices.
        clip: the largest norm a gradient may have (a larger one is scaled down); None allows any.
        optimizer: replaces AdamW; the schedule scales its learning rates.
        backward: replaces `loss(…).backward()` (for DP-SGD): called as backward(model, *batch, generator=…), it leaves
            gradients in `.grad` and returns the loss.
        bf16: compute in bfloat16 where that is safe; None does so on a GPU that can.
        compile: use torch.compile: a minute of waiting, then faster steps on a GPU.
        about: what this run is, in words, written into its checkpoint; a checkpoint with other words is refused.
    """

    warmup: int | None = None
    final: float = 0.1
    weight_decay: float = 0.1
    clip: float | None = 1.0
    optimizer: torch.optim.Optimizer | None = None
    backward: Callable[..., Tensor] | None = None
    bf16: bool | None = None
    compile: bool = False
    about: str = ""


@dataclass(frozen=True)
class Look:
    """What happens every so often, and at the end.

    Attributes:
        validate: called as validate(model), without gradients or dropout; returns a number, lower is better.
        every: steps between looks; None looks ten times.
        patience: stop after this many looks without a new best, and return to the best weights.
        note: called as note(model); returns named numbers to keep beside the loss (`History.noted`).
        watch: called as watch(history), to draw a live curve.

    Raises:
        ValueError: `every` or `patience` is below 1, or there is patience but nothing to validate.
    """

    validate: Callable[[nn.Module], float] | None = None
    every: int | None = None
    patience: int | None = None
    note: Callable[[nn.Module], dict[str, float]] | None = None
    watch: Callable[[History], None] | None = None

    def __post_init__(self):
        if (self.every is not None and self.every < 1) or (self.patience is not None and self.patience < 1):
            raise ValueError(f"every and patience must be ≥ 1, got {self.every}, {self.patience}")
        if self.patience is not None and self.validate is None:
            raise ValueError("patience counts validations: give `validate` too")


def fit(
    model: nn.Module,
    batch: Callable[[torch.Generator], Batch],
    loss: Callable[..., Tensor],
    *,
    steps: int,
    lr: float = 1e-3,
    settings: Settings | None = None,
    look: Look | None = None,
    generator: torch.Generator | None = None,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = True,
) -> History:
    """Train a model on its own device, and return what happened.

    Args:
        batch: called as batch(generator); returns a tensor or a tuple of them. It must depend on the generator alone,
            so that a resumed run sees the same batches.
        loss: called as loss(model, *batch); returns the number to minimize.
        steps: how many batches to learn from.
        lr: AdamW's full learning rate, reached after the warm-up (see `cosine`).
        settings: all else about a step; None takes the defaults.
        look: what to look at from time to time, and when to stop.
        generator: where batches come from (CPU). Dropout uses torch's own state, which the checkpoint keeps too.
        checkpoint: a file, written at each look. If it exists already, the run continues from it.

    Raises:
        ValueError: if the loss, a weight or the validation value is no longer finite (nothing of that is written to the
            checkpoint), or the checkpoint is damaged or of another run.
        OSError: if the checkpoint cannot be written (the one before it stays).
        RuntimeError: if `compile` finds no compiler, or fails.
    """
    if steps < 0:
        raise ValueError(f"steps must be ≥ 0, got {steps}")
    how, look = settings or Settings(), look or Look()
    warmup = min(100, steps // 20) if how.warmup is None else how.warmup
    every = max(1, steps // 10) if look.every is None else look.every
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    optimizer = adamw(model, lr, how.weight_decay) if how.optimizer is None else how.optimizer
    full_lr = [group["lr"] for group in optimizer.param_groups]
    run = Run(
        model,
        optimizer,
        generator,
        settings={
            "recipe": how.about,
            "optimizer": kind(optimizer),
            "steps": steps,
            "learning rates": full_lr,
            "warmup": warmup,
            "final": how.final,
        },
    )
    if checkpoint is not None and Path(checkpoint).exists():
        run.restore(checkpoint)
    history = run.history
    run.check_weights("before the first step" if run.step == 0 else f"of step {run.step}, where {checkpoint} goes on")

    bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported() if how.bf16 is None else how.bf16
    precision = torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()
    forward = model
    if how.compile:
        check_compiler(device)
        forward, loss = torch.compile(model), explained(loss)
    was_training = model.training
    recent: list[Tensor] = []  # losses still on the device: reading each one would make a GPU wait
    clock, processor = time.perf_counter(), time.process_time()
    with tqdm(total=steps, initial=run.step, disable=not progress, unit="step") as bar:
        model.train()
        while run.step < steps and not history.stopped:
            scale = cosine(run.step, steps, warmup, how.final)
            for group, full in zip(optimizer.param_groups, full_lr):
                group["lr"] = full * scale
            parts = batch(generator)
            parts = [part.to(device, non_blocking=True) for part in (parts if isinstance(parts, tuple) else (parts,))]
            optimizer.zero_grad()
            if how.backward is None:
                with precision:
                    value = loss(forward, *parts)
                value.backward()
            else:
                value = how.backward(model, *parts, generator=generator)
            if how.clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), how.clip)
            optimizer.step()
            run.step += 1
            recent.append(value.detach())
            history.lr.append(full_lr[0] * scale)
            bar.update()

            due = run.step % every == 0 or run.step == steps
            if due or run.step % 10 == 0:
                history.loss += torch.stack(recent).float().tolist()
                for step, found in enumerate(history.loss[-len(recent) :], run.step - len(recent) + 1):
                    check_finite(found, f"the loss is {found} at step {step}", DIVERGED)
                recent.clear()
                bar.set_postfix(run.postfix(), refresh=False)
            if due:
                run.check_weights(f"after step {run.step}")
                model.eval()
                if look.validate is not None:
                    with torch.no_grad(), precision:
                        run.judge(float(look.validate(model)), look.patience)
                if look.note is not None:
                    with torch.no_grad():
                        history.noted[run.step] = look.note(model)
                model.train()
                history.seconds += time.perf_counter() - clock
                history.processor_seconds += time.process_time() - processor
                clock, processor = time.perf_counter(), time.process_time()
                if checkpoint is not None:
                    run.save(checkpoint)
                if look.watch is not None:
                    look.watch(history)
    if look.patience is not None and run.best is not None:
        model.load_state_dict(run.best)
    model.train(was_training)
    return history


def kind(optimizer: torch.optim.Optimizer) -> str:
    """Return an optimizer's name; for several together, all names."""
    parts = getattr(optimizer, "optimizers", None)
    return type(optimizer).__name__ if parts is None else " and ".join(map(kind, parts))


NO_COMPILER = (
    "leave compile=False (the steps are the same), or install one (Debian: g++; macOS: xcode-select --install)"
)


def check_compiler(device: torch.device) -> None:
    """Check for a compiler at once, because torch.compile would search for one for most of a minute, in vain.

    Raises:
        RuntimeError: if there is none.
    """
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    candidates = [os.environ.get("CC", "gcc"), "clang"] if device.type == "cuda" else [os.environ.get("CXX", usual)]
    if device.type in ("cpu", "cuda") and not any(map(shutil.which, candidates)):
        raise RuntimeError(f"compile=True needs a compiler, but {' or '.join(candidates)} is not here: {NO_COMPILER}")


def explained(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the loss of a compiled model; if it fails to compile, the error is one sentence."""

    def compute(*args: Any) -> Tensor:
        try:
            return loss(*args)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            reason = " ".join(str(error).split())[:200]
            raise RuntimeError(f"torch.compile could not compile this model ({reason}): {NO_COMPILER}") from error

    return compute


class Run:
    """Everything that decides how a run continues: the content of a checkpoint."""

    def __init__(self, model: nn.Module, optimizer, generator: torch.Generator, settings: dict[str, Any]):
        self.model, self.optimizer, self.generator = model, optimizer, generator
        shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
        self.settings = {**settings, "parameters": shapes}
        self.step, self.history, self.best = 0, History(), None

    def postfix(self) -> dict[str, str]:
        last = self.history.loss[-10:]
        found = {"loss": f"{sum(last) / len(last):.3f}"}
        if self.history.held_out:
            found["held-out"] = f"{next(reversed(self.history.held_out.values())):.3f}"
        return found

    def check_weights(self, when: str) -> None:
        """Check the parameters, because a loss can be finite although they are not.

        Raises:
            ValueError: unless all are finite.
        """
        with torch.no_grad():
            largest = [p.abs().amax() for p in self.model.parameters() if p.numel()]
            check_finite(torch.stack(largest).float(), f"the largest weights of each parameter {when}", DIVERGED)

    def judge(self, value: float, patience: int | None) -> None:
        """Record a held-out value; keep the best weights, and stop after `patience` values without a better one."""
        check_finite(value, f"the held-out value is {value} after step {self.step}", DIVERGED)
        self.history.held_out[self.step] = value
        if patience is None:
            return
        if self.history.best == self.step:
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        since = [step for step in self.history.held_out if step > self.history.best]
        if len(since) >= patience:
            self.history.stopped = f"no better held-out loss in {patience} validations after step {self.history.best}"

    def save(self, path: str | os.PathLike) -> None:
        """Write a checkpoint, whole or not at all.

        Raises:
            OSError: if it cannot be written.
        """
        states = {"generator": self.generator.get_state(), "torch": torch.get_rng_state()}
        if torch.cuda.is_available():
            states["cuda"] = torch.cuda.get_rng_state()
        buffer = io.BytesIO()
        torch.save(
            {
                "settings": self.settings,
                "step": self.step,
                "history": asdict(self.history),
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "best": self.best,
                "random": states,
            },
            buffer,
        )
        path, content = Path(path), buffer.getvalue()
        try:
            write(path, hashlib.sha256(content).digest() + content)
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot write the checkpoint of step {self.step} ({len(content):,} bytes) to {path}: {error.strerror}."
                " Free some space or give another file; the previous checkpoint, if any, is intact",
            ) from None

    def restore(self, path: str | os.PathLike) -> None:
        """Continue where a checkpoint was written.

        Raises:
            ValueError: if the file is damaged, or of another run.
        """
        content = Path(path).read_bytes()
        digest, content = content[:32], content[32:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError(
                f"{path} is not a checkpoint, or was cut off or changed ({len(content):,} bytes): "
                "delete it to start from the beginning, or give another file"
            )
        saved = torch.load(io.BytesIO(content), weights_only=True)  # data only: nothing in the file is executed
        for name, here in self.settings.items():
            there = saved["settings"].get(name, here if name == "optimizer" else "")  # older ones do not name it
            if there != here:
                verb = "differ" if name.endswith("s") else "differs"
                detail = "" if name == "parameters" else f" ({there or 'none'} there, {here or 'none'} here)"
                raise ValueError(
                    f"{path} belongs to another run: its {name} {verb}{detail}. Delete it, or give another file"
                )
        self.step, self.history, self.best = saved["step"], History(**saved["history"]), saved["best"]
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.generator.set_state(saved["random"]["generator"])
        torch.set_rng_state(saved["random"]["torch"])
        if "cuda" in saved["random"] and torch.cuda.is_available():
            torch.cuda.set_rng_state(saved["random"]["cuda"])
