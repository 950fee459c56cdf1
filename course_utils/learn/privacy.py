"""What a model knows by heart, and how to train one that does not.

    index = PassageIndex(train.text.split())            # once; a second for 300,000 words
    index.longest_match(continuation.split())           # Match(start=3, length=27, place=81_204)
    index.count("if it is a tuple".split())             # how often this passage occurs
    exposure(log_p, secret=4821)                        # bits
    ngram_overlap(question.split(), index, n=8)         # 0 … 1
    dp_sgd_gradient(model, loss, x, max_norm=1, noise_multiplier=1)     # in place of loss.backward()
    dp_sgd_epsilon(1, sample_rate=0.01, steps=1000, delta=1e-6)         # what it guarantees

Passages are lists of words (any strings), so the caller decides what counts as the same: `text.split()` is verbatim,
`data.text.words(text)` ignores capitals and punctuation.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_utils.models.finite import DIVERGED, check_finite


class Match(NamedTuple):
    """A passage found in a source: its start in what was written, its length in words, and its place in the source."""

    start: int
    length: int
    place: int


class PassageIndex:
    """All places of a text, sorted by the words that follow (a suffix array), so that a passage is found at once.

    Building it takes O(n log² n); after that each question takes O(log n), however long the text is.

    Args:
        words: the text.

    Raises:
        TypeError: if `words` is one string instead of a list.

    Source: U. Manber, G. Myers, Suffix arrays: a new method for on-line string searches (1993).
    """

    def __init__(self, words: Sequence[str]):
        if isinstance(words, str):
            raise TypeError("words must be a list such as text.split(), not one string")
        self.words = list(words)
        self.order = _suffix_array(self.words)

    def __len__(self) -> int:
        return len(self.words)

    def places(self, passage: Sequence[str]) -> list[int]:
        """Return where a passage starts in the text, in ascending order; [] if it is not there.

        Raises:
            ValueError: if the passage is empty.
        """
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
        """Return the longest run of words of `written` that occurs in the text (the first, of equally long ones).

        If the two have nothing in common, or nothing was written: Match(0, 0, 0).
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
        """Where `passage` would stand among the sorted places: before those that begin with it, or after them."""
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
    """The places 0 … n - 1, sorted by the words that follow: first by 1 word, then 2, 4, 8 … (prefix doubling)."""
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
    """Return how many words of `written` agree with `truth` before the first that differs."""
    return _common_prefix(list(written), list(truth))


def common_runs(written: Sequence[str], truth: Sequence[str], least: int = 2) -> tuple[list[bool], list[bool]]:
    """Return which words of each text belong to a run of at least `least` words that both have in the same order."""
    marks = [False] * len(written), [False] * len(truth)
    for a, b, length in SequenceMatcher(None, written, truth, autojunk=False).get_matching_blocks():
        if length >= least:
            marks[0][a : a + length] = marks[1][b : b + length] = [True] * length
    return marks


def longest_match(written: Sequence[str], source: Sequence[str] | PassageIndex) -> Match:
    """Return the longest run of words of `written` that occurs in `source`; see `PassageIndex.longest_match`."""
    index = source if isinstance(source, PassageIndex) else PassageIndex(source)
    return index.longest_match(written)


# --- secrets ----------------------------------------------------------------------------------------------------------


def exposure(log_p: Float[Tensor, " candidates"], secret: int) -> float:
    """Return log2(candidates) - log2(rank): by how many bits the model narrows the search for the secret.

    The likeliest candidate has the full log2(candidates) bits, the last one 0. A secret that the model never saw has a
    random rank, which is worth 1 / ln 2 = 1.44 bits on average, not 0. Of equal scores the secret's counts as the last.

    Args:
        log_p: how likely the model finds each candidate (any monotonic score).
        secret: the index of the true one.

    Raises:
        ValueError: if a score is NaN or +inf (-inf means impossible, and is fine), or the secret is not among the
            candidates.

    Source: N. Carlini et al., The Secret Sharer (2019), definition 4 (where ranks count from 1).
    """
    if log_p.ndim != 1 or not 0 <= secret < len(log_p):
        raise ValueError(
            f"log_p must have the shape (candidates,) and secret be one of them, got {tuple(log_p.shape)} and {secret}"
        )
    check_finite(log_p.masked_fill(log_p == -math.inf, 0), "the scores", DIVERGED)
    rank = int((log_p >= log_p[secret]).sum())  # 1 = the likeliest
    return math.log2(len(log_p)) - math.log2(rank)


# --- contamination ----------------------------------------------------------------------------------------------------


def ngram_overlap(words: Sequence[str], source: Sequence[str] | PassageIndex, n: int = 8) -> float:
    """Return the share of the n-grams of `words` that occur in `source`, 0 … 1. A shorter text counts as one n-gram.

    Raises:
        ValueError: if n < 1, or there are no words.

    Source: T. Brown et al., Language Models are Few-Shot Learners (2020), appendix C, which looks for any 13-gram.
    """
    if n < 1:
        raise ValueError(f"n, the number of words that must agree, must be ≥ 1, got {n}")
    if not words:
        raise ValueError("there are no words to look for")
    index = source if isinstance(source, PassageIndex) else PassageIndex(source)
    n = min(n, len(words))
    ngrams = [words[i : i + n] for i in range(len(words) - n + 1)]
    return sum(index.count(ngram) > 0 for ngram in ngrams) / len(ngrams)


# --- training with privacy --------------------------------------------------------------------------------------------


def dp_sgd_gradient(
    model: nn.Module,
    loss: Callable[..., Tensor],
    *batch: Tensor,
    max_norm: float,
    noise_multiplier: float,
    generator: torch.Generator | None = None,
    chunk: int = 16,
) -> tuple[dict[str, Tensor], Float[Tensor, " batch"]]:
    """Return DP-SGD's gradient (by parameter name), and the norm of each sample's own gradient.

    Each sample's gradient is clipped to length `max_norm`; their sum gets normal noise, σ = noise_multiplier ·
    max_norm; then it is divided by the number of samples B. No sample moves it by more than max_norm / B, and the noise
    hides that. Only parameters with `requires_grad` get a gradient. The model must not mix samples (no batch norm).

    Args:
        loss: called as loss(model, *sample) with each sample a batch of one; returns a number.
        batch: tensors (B, …), cut into samples along the first axis.
        chunk: how many samples to process at once (each needs memory for a gradient of its own).

    Raises:
        ValueError: if `max_norm` is not positive, `noise_multiplier` is negative, or the batch is empty.

    Source: M. Abadi et al., Deep Learning with Differential Privacy (2016), algorithm 1.
    """
    if not max_norm > 0 or not noise_multiplier >= 0:
        raise ValueError(f"max_norm must be > 0 and noise_multiplier ≥ 0, got {max_norm} and {noise_multiplier}")
    if not batch or len(batch[0]) == 0:
        raise ValueError("the batch is empty: give tensors of shape (B, …) with B ≥ 1")
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}

    def sample_loss(parameters: dict[str, Tensor], *sample: Tensor) -> Tensor:
        def predict(*args, **kwargs):
            return torch.func.functional_call(model, parameters, args, kwargs)

        return loss(predict, *(tensor[None] for tensor in sample))

    per_sample = torch.func.vmap(
        torch.func.grad(sample_loss), in_dims=(None, *[0] * len(batch)), randomness="different"
    )
    total, norms = {name: torch.zeros_like(p) for name, p in parameters.items()}, []
    for part in zip(*(tensor.split(chunk) for tensor in batch)):
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # the fast kernels do not support vmap
            gradients = per_sample(parameters, *part)  # each (chunk, *shape of the parameter)
        norm = torch.stack([g.flatten(1).norm(dim=1) for g in gradients.values()]).norm(dim=0)  # (chunk,)
        scale = (max_norm / norm.clamp(min=1e-12)).clamp(max=1)  # 1 for those that are short enough
        for name, g in gradients.items():
            total[name] += torch.einsum("b,b...->...", scale, g)
        norms.append(norm)
    B = len(batch[0])
    for name, g in total.items():
        where = generator.device if generator is not None else g.device
        noise = torch.randn(g.shape, generator=generator, device=where).to(g)
        total[name] = (g + noise_multiplier * max_norm * noise) / B
    return total, torch.cat(norms)


def dp_sgd_epsilon(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """Return ε: after `steps` steps of DP-SGD the model is (ε, δ)-differentially private.

    e ** ε bounds how much likelier any result can become because one sample was used; δ is the chance that the bound
    fails. A small ε is a strong guarantee: 1 is good, 10 says little.

    Args:
        noise_multiplier: 0 gives infinity; below about 0.7 the bound is looser than necessary (whole orders α only).
        sample_rate: batch size / size of the data set; in the theory each sample joins each batch with this
            probability.
        delta: choose it far below 1 / number of samples.

    Raises:
        ValueError: if `sample_rate` lies outside [0, 1] or `delta` outside (0, 1), or steps or noise are negative.

    Source: I. Mironov, K. Talwar and L. Zhang, Rényi Differential Privacy of the Sampled Gaussian Mechanism (2019),
    section 3.3; from there to (ε, δ): B. Balle et al., Hypothesis Testing Interpretations and Renyi Differential
    Privacy (2020), theorem 21.
    """
    if not 0 <= sample_rate <= 1 or not 0 < delta < 1 or not steps >= 0 or not noise_multiplier >= 0:
        raise ValueError(
            "sample_rate must be in [0, 1], delta in (0, 1), steps and noise_multiplier ≥ 0, "
            f"got {sample_rate}, {delta}, {steps}, {noise_multiplier}"
        )
    if steps == 0 or sample_rate == 0:
        return 0.0
    if noise_multiplier == 0:
        return math.inf
    best = math.inf
    for order in range(2, 257):  # any order gives a valid bound: take the best
        spent = steps * renyi_divergence(noise_multiplier, sample_rate, order)
        epsilon = spent + math.log((order - 1) / order) - (math.log(delta) + math.log(order)) / (order - 1)
        best = min(best, epsilon)
    return max(best, 0.0)


def renyi_divergence(noise_multiplier: float, sample_rate: float, order: int) -> float:
    """Return an upper bound on the Rényi divergence of order α ≥ 2 between one step with a sample and one without it.

    It is ln(Σ_k C(α, k) q^k (1 - q)^(α - k) e^((k² - k) / 2σ²)) / (α - 1).

    Source: Mironov, Talwar & Zhang (2019), section 3.3.
    """
    k = torch.arange(order + 1, dtype=torch.double)
    if sample_rate == 1:
        return order / (2 * noise_multiplier**2)
    choose = math.lgamma(order + 1) - torch.lgamma(k + 1) - torch.lgamma(order - k + 1)  # ln of α over k
    chance = k * math.log(sample_rate) + (order - k) * math.log1p(-sample_rate)
    return float(torch.logsumexp(choose + chance + (k * k - k) / (2 * noise_multiplier**2), 0)) / (order - 1)
