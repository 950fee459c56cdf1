"""What a recipe is: the model, the task, the budget. `run` trains it; `language` and `pictures` hold the recipes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_utils import pretrained


def nothing(folder: Path) -> dict[str, Any]:
    """Add nothing to the card."""
    return {}


@dataclass
class Job:
    """A model, what it learns from, and what its card says."""

    model: nn.Module
    tokenizer: pretrained.Tokenizer | None  # None: a model of pictures
    batch: Callable[[torch.Generator], Any]
    loss: Callable[..., Tensor]
    held_out: Callable[[nn.Module], float]  # in `unit`
    lr: float
    data: str
    unit: str = "nats per predicted symbol"
    kept: Callable[[nn.Module], nn.Module] = lambda model: model  # the part that is saved
    note: Callable[[nn.Module], dict[str, float]] | None = None  # named numbers for the learning curve; cheap
    measure: Callable[[Path], dict[str, Any]] = nothing  # additions to the card, measured on the stored files
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None  # None: AdamW with `lr`
    bf16: bool | None = None  # compute in bfloat16; None: where `train.fit` does, or the CPU has a matrix unit for it


@dataclass(frozen=True)
class Recipe:
    """How one checkpoint is made, and what it costs."""

    job: Callable[[], Job]
    steps: int
    hours: float  # of one processor core, roughly
    version: int = 1  # raise it with every change: a state left by another version is refused
