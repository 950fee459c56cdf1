"""What the recipes in recipes_*.py share: other people's answers, going downhill, an encoder. See thresholds.py."""

import math
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))  # where the right answers in other styles are


def alternatives(assignment: str, exercise: str) -> dict[str, Callable]:
    """Other right answers, by name."""
    found = import_module(f"alternatives.{assignment}").ALTERNATIVES[exercise]
    return {f.__name__.replace("_", " "): f for f in found}


def learn(
    parts: Iterable[nn.Module],
    loss: Callable[[], Tensor],
    steps: int,
    lr: float,
    schedule: str = "steady",
    optimizer: type = torch.optim.Adam,
    limit: float = math.inf,
) -> None:
    """Take so many steps downhill, each on what `loss` gives then; a gradient that is longer than `limit` is cut."""
    weights = [p for part in parts for p in part.parameters()]
    learning = optimizer(weights, lr=lr)
    for step in range(steps):
        learning.param_groups[0]["lr"] = lr * rate(schedule, step, steps)
        learning.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(weights, limit)
        learning.step()


def rate(schedule: str, step: int, steps: int) -> float:
    """What the learning rate is multiplied with."""
    match schedule:
        case "up, then down":
            return min((step + 1) / 20, 1.5 * (1 - step / steps), 1)
        case "cosine":
            return (1 + math.cos(math.pi * step / steps)) / 2
    return 1.0


def unit(z: Tensor) -> Tensor:
    """Each row at length 1."""
    return F.normalize(z, dim=1)
