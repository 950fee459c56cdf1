"""How good is a model? Numbers that can be compared: perplexity and bits, for now."""

from __future__ import annotations

import math

from torch import Tensor


def bits(nats: float | Tensor) -> float | Tensor:
    """Convert nats (natural logarithm) to bits (base 2): 1 nat = 1.4427 bits."""
    return nats / math.log(2)


def perplexity(nats_per_symbol: float | Tensor) -> float | Tensor:
    """Return e ** (nats per symbol): among how many equally likely symbols the model is in doubt, on average.

    nats_per_symbol: mean of -ln P(symbol), ≥ 0, e.g. a cross-entropy loss. Infinite for an infinite loss.
    Source: F. Jelinek, R. L. Mercer, L. R. Bahl and J. K. Baker, Perplexity (JASA 62, 1977).
    """
    if isinstance(nats_per_symbol, Tensor):
        return nats_per_symbol.exp()
    try:
        return math.exp(nats_per_symbol)
    except OverflowError:
        return math.inf


def bits_per_character(nats_total: float | Tensor, characters: int) -> float | Tensor:
    """Return the bits that a text costs per character.

    nats_total: -ln P(text), summed over whatever the model's symbols are (characters, words, tokens).
    characters: how many characters the text has, > 0. So models with different symbols can be compared.
    """
    if characters <= 0:
        raise ValueError(f"characters must be > 0, got {characters}: an empty text has no bits per character")
    return bits(nats_total) / characters
