"""What a model knows by heart: verbatim copies, exposure of planted secrets, questions that were in the training text.

    index = PassageIndex(train.text.split())            # once, a second for 300,000 words
    index.longest_match(continuation.split())           # Match(start=3, length=27, place=81_204)
    index.count("if it is a tuple".split())             # how often this passage occurs
    exposure(log_p, secret=4821)                        # bits
    ngram_overlap(question.split(), index, n=8)         # 0 … 1

Passages are lists of words (any strings), so the caller decides what counts as the same: `text.split()` is verbatim,
`data.text.words(text)` forgives capitals and punctuation.
"""

# ruff: noqa: F722  (jaxtyping writes shapes as strings)
from __future__ import annotations

import math
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from course_utils.finite import DIVERGED, check_finite


class Match(NamedTuple):
    """A passage that stands in a source: where it starts in what was written, how many words, where in the source."""

    start: int
    length: int
    place: int


class PassageIndex:
    """All places of a text in the order of the words that follow (a suffix array), so that a passage is found at once.

    words: the text. It takes O(n log² n) once; then each question takes O(log n), however long the text is.
    Source: U. Manber, G. Myers, Suffix arrays: a new method for on-line string searches (1993).
    """

    def __init__(self, words: Sequence[str]):
        if isinstance(words, str):
            raise TypeError("give a list of words, e.g. text.split(), not one str")
        self.words = list(words)
        self.order = _suffix_array(self.words)

    def __len__(self) -> int:
        return len(self.words)

    def places(self, passage: Sequence[str]) -> list[int]:
        """Return where a passage starts in the text, in order; [] if it is not there."""
        passage = list(passage)
        if not passage:
            raise ValueError("the passage has no words: the empty passage is everywhere")
        first, last = self._find(passage), self._find(passage, after=True)
        return sorted(self.order[first:last].tolist())

    def count(self, passage: Sequence[str]) -> int:
        """Return how often a passage occurs."""
        passage = list(passage)
        return self._find(passage, after=True) - self._find(passage) if passage else len(self)

    def longest_match(self, written: Sequence[str]) -> Match:
        """Return the longest run of words of `written` that stands in the text (the first of equally long ones).

        Nothing in common, or nothing written: Match(0, 0, 0).
        """
        written, best = list(written), Match(0, 0, 0)
        for start in range(len(written)):
            if len(written) - start <= best.length:
                break
            rest = written[start:]
            at = self._find(rest)
            for neighbour in self.order[max(0, at - 1) : at + 1].tolist():  # its longest prefix is with a neighbour
                length = _common_prefix(rest, self.words[neighbour : neighbour + len(rest)])
                if length > best.length:
                    best = Match(start, length, neighbour)
        return best

    def _find(self, passage: list[str], after: bool = False) -> int:
        """Where `passage` would stand among the ordered places: before those that begin with it, or after them."""
        low, high, n = 0, len(self.order), len(passage)
        while low < high:
            middle = (low + high) // 2
            here = self.words[self.order[middle] : self.order[middle] + n]
            if here < passage or (after and here == passage):
                low = middle + 1
            else:
                high = middle
        return low


def _suffix_array(words: list[str]) -> np.ndarray:
    """The places 0 … n - 1, ordered by the words from there on: sort by 1 word, then 2, 4, 8 … (prefix doubling)."""
    n = len(words)
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    code = {word: i + 1 for i, word in enumerate(sorted(set(words)))}
    rank = np.array([code[word] for word in words], dtype=np.int64)  # (n,), ≥ 1; 0 = after the end
    length = 1
    while True:
        behind = np.zeros(n, dtype=np.int64)
        behind[: max(0, n - length)] = rank[length:]  # the rank of the words that come `length` later
        key = rank * (rank.max() + 1) + behind
        order = np.argsort(key, kind="stable")
        new = np.concatenate([[True], np.diff(key[order]) > 0])
        rank = np.empty(n, dtype=np.int64)
        rank[order] = np.cumsum(new)
        if new.all():
            return order
        length *= 2


def _common_prefix(a: Sequence[str], b: Sequence[str]) -> int:
    """How many words the two begin with in common."""
    for i, (left, right) in enumerate(zip(a, b)):
        if left != right:
            return i
    return min(len(a), len(b))


def verbatim(written: Sequence[str], truth: Sequence[str]) -> int:
    """Return how many words of `written` are those of `truth` before the first that differs."""
    return _common_prefix(list(written), list(truth))


def common_runs(written: Sequence[str], truth: Sequence[str], least: int = 2) -> tuple[list[bool], list[bool]]:
    """Return which words of each stand in a run, at least `least` words long, that both have in the same order."""
    marks = [False] * len(written), [False] * len(truth)
    for a, b, length in SequenceMatcher(None, written, truth, autojunk=False).get_matching_blocks():
        if length >= least:
            marks[0][a : a + length] = marks[1][b : b + length] = [True] * length
    return marks


def longest_match(written: Sequence[str], source: Sequence[str] | PassageIndex) -> Match:
    """Return the longest run of words of `written` that stands in `source`; see `PassageIndex.longest_match`."""
    index = source if isinstance(source, PassageIndex) else PassageIndex(source)
    return index.longest_match(written)


# ------------------------------------------------------------------------------------------------------------- secrets


def exposure(log_p: Float[Tensor, " candidates"], secret: int) -> float:
    """Return log2(candidates) - log2(rank): by how many bits the model narrows the search for the secret.

    log_p: how likely the model finds each candidate (any monotonic score). secret: the index of the true one.
    The likeliest candidate has the full log2(candidates) bits, the last one 0. A secret that the model never saw has a
    random rank, which is 1 / ln 2 = 1.44 bits on average, not 0. Of equal scores the secret counts as the last.
    Raises ValueError for scores that are NaN or +inf (-inf says impossible, and is fine), or a secret that is not among
    the candidates.
    Source: N. Carlini et al., The Secret Sharer (2019), definition 4 (their rank counts from 1).
    """
    if log_p.ndim != 1 or not 0 <= secret < len(log_p):
        raise ValueError(
            f"log_p must have the shape (candidates,) and secret be one of them, got {tuple(log_p.shape)} and {secret}"
        )
    check_finite(log_p.masked_fill(log_p == -math.inf, 0), "the scores", DIVERGED)
    rank = int((log_p >= log_p[secret]).sum())  # 1 = the likeliest
    return math.log2(len(log_p)) - math.log2(rank)


# ------------------------------------------------------------------------------------------------------- contamination


def ngram_overlap(words: Sequence[str], source: Sequence[str] | PassageIndex, n: int = 8) -> float:
    """Return the share of the n-grams of `words` that occur in `source`, 0 … 1. A shorter text is one n-gram.

    Source: T. Brown et al., Language Models are Few-Shot Learners (2020), appendix C, which looks for any 13-gram.
    """
    if n < 1:
        raise ValueError(f"n is how many words must agree, ≥ 1, got {n}")
    if not words:
        raise ValueError("there are no words to look for")
    index = source if isinstance(source, PassageIndex) else PassageIndex(source)
    n = min(n, len(words))
    ngrams = [words[i : i + n] for i in range(len(words) - n + 1)]
    return sum(index.count(ngram) > 0 for ngram in ngrams) / len(ngrams)
