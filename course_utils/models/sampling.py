"""From logits to a token: the ways to choose what comes next. Used by every model that writes.

`next_token_probabilities` bends the model's distribution (temperature, top-k, top-p); `draw` takes a token from it.
Both work in float32, because not every device has float64.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_utils.models.finite import DIVERGED, check_finite


def next_token_probabilities(
    logits: Float[Tensor, "batch vocab"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    *,
    step: int | None = None,
) -> Float[Tensor, "batch vocab"]:
    """Return the distribution that the next token is drawn from. Rows sum to 1.

    Args:
        temperature: divides the logits: below 1 safer, above 1 wilder; 0 is greedy, all on the likeliest token.
        top_k: keep only the k likeliest tokens (and those as likely as the k-th); more than there are means all.
        top_p: keep only the likeliest tokens that together first reach this share, 0 < top_p ≤ 1 (the "nucleus", never
            empty).
        step: how many tokens were written before, so that an error can say where the numbers broke down.

    Raises:
        ValueError: if the temperature is negative, top_k is below 1, or top_p lies outside (0, 1]; if a row of logits
            has NaN or +inf, or nothing but -inf (some -inf are fine: those tokens are never chosen).

    Source: A. Holtzman et al., The Curious Case of Neural Text Degeneration (2020), sections 3.1, 3.2.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be ≥ 0 (0 = always the likeliest, 1 = as learned), got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k, the number of tokens to choose from, must be ≥ 1, got {top_k}: None chooses from all")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(
            f"top_p must be a share of probability, 0 < top_p ≤ 1, got {top_p}: for greedy, use temperature=0"
        )
    largest = logits.amax(-1, keepdim=True)  # (B, 1)
    where = "" if step is None else f" at step {step}"
    check_finite(largest, f"no token can be chosen{where}: the largest logits", DIVERGED)
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    if temperature != 1:
        logits = (logits - largest) / temperature  # the largest is 0: nothing overflows
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[:, -1:]  # (B, 1) the k-th likeliest
        logits = logits.masked_fill(logits < least, -math.inf)
    p = logits.softmax(-1)
    if top_p is not None and top_p < 1:
        ordered, index = p.sort(descending=True, stable=True)  # (B, V)
        before = ordered.cumsum(-1) - ordered  # what the likelier ones have together
        p = p.scatter(-1, index, ordered.masked_fill(before >= top_p, 0))
        p = p / p.sum(-1, keepdim=True)
    return p


ADDS_IN_ORDER = {"cpu"}  # devices on which cumsum adds one number after another, so that it never decreases


def draw(p: Float[Tensor, "batch vocab"], generator: torch.Generator | None = None) -> Int[Tensor, " batch"]:
    """Draw a token from each row.

    Random numbers come from the generator's device, so a seed gives the same everywhere. Rows need not sum to 1. A
    token with p = 0 is never drawn, nor one that does not exist, however the sums are rounded.

    Raises:
        ValueError: if a row has NaN or infinity, or nothing in it is possible.
    """
    where = generator.device if generator is not None else p.device
    chance = torch.rand(len(p), 1, generator=generator, device=where).to(p.device)  # (B, 1) in [0, 1)
    p = p.float()
    sums = p.cumsum(-1)  # (B, V)
    in_order = p.device.type in ADDS_IN_ORDER  # elsewhere sums may grow by rounding, even where p is 0
    total = sums if in_order else sums.masked_fill(p <= 0, 0)
    top = sums[:, -1:] if in_order else total.amax(-1, keepdim=True)  # (B, 1)
    if not ((top >= torch.finfo(top.dtype).tiny) & (sums[:, -1:].abs() < math.inf)).all():
        check_finite(p, "the probabilities of the next token", DIVERGED)
        raise ValueError("no token is possible: a row of probabilities is all 0 (or sums to infinity)")
    # Rounded, chance * top may be top itself, and nothing lies above that: stay one place below.
    threshold = torch.minimum(chance * top, top * (1 - 2**-23))
    # The first whose sum lies above.
    return torch.searchsorted(total, threshold, right=True)[:, 0] if in_order else (total > threshold).int().argmax(-1)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """No dropout inside; afterwards the model is back in the mode it was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
