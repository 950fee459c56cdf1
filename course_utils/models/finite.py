"""One guard against NaN and infinity, which would otherwise spread in silence.

Losses pass NaN on, as torch's do, so that a GPU need not wait for an answer. Whatever reports, chooses or runs for
hours (`train.fit`, probes, report cards, samplers) calls this guard, which raises.
"""

from __future__ import annotations

import math

from torch import Tensor

DIVERGED = "training diverged, or the weights are damaged. Try a lower lr, a longer warmup, or an earlier checkpoint"
BROKEN_ENCODER = "the encoder is broken, its training diverged, or its input was not finite either"
LEAVE_OUT = "a value is missing there: leave those rows out"


def check_finite(values: Tensor | float, what: str, why: str) -> None:
    """Check that all values are finite.

    Args:
        values: a number, or a tensor of any shape and type; whole numbers always pass.
        what: what they are, and in which step: the beginning of the message.
        why: the likely cause, and what to do.

    Raises:
        ValueError: if they are not, such as "{what}: of 10 numbers 2 are NaN, 1 infinite. Likely {why}".
    """
    if not isinstance(values, Tensor):
        if not math.isfinite(values):
            raise ValueError(f"{what}. Likely {why}")
        return
    if values.isfinite().all():
        return
    nan, infinite = int(values.isnan().sum()), int(values.isinf().sum())
    raise ValueError(f"{what}: of {values.numel()} numbers {nan} are NaN, {infinite} infinite. Likely {why}")
