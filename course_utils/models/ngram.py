"""Order-k Markov chains over characters, words or any other symbols.

The whole idea: to guess the next symbol, look only at the last `order` symbols (the *context*), and remember how often
each symbol followed that context in a text. Shannon made his "approximations to English" this way in 1948.

Read from top to bottom:

1. `Alphabet` turns symbols into numbers 0 … V-1 (*codes*) and back.
2. `Level` j counts all sequences of j + 1 symbols: a context of j symbols and the one that followed it.
   A model of order k has the levels 0 … k. A sequence found on level j has an id, and that id is its name as a context
   on level j + 1, so a text walks down the levels one symbol at a time (the levels are a trie). No id is ever larger
   than the text, however long the context: nothing overflows.
3. `NGramModel` turns counts into probabilities (smoothing: two lines, `_smooth`), probabilities into the bits that a
   text costs, and random numbers into new text.

Sources: C. E. Shannon, A Mathematical Theory of Communication (1948), section 3; I. H. Witten and T. C. Bell, The
zero-frequency problem (IEEE Transactions on Information Theory, 1991), method C; S. F. Chen and J. Goodman, An
Empirical Study of Smoothing Techniques for Language Modeling (TR-10-98, 1998), section 2, for the interpolated form.
"""

# ruff: noqa: F722  (jaxtyping writes shapes as strings)
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

Symbols = str | Sequence[str] | Tensor  # characters, words, or codes

DENSE_ENTRIES = 2**22  # a level with at most this many possible sequences is one full table (32 MB), else a sorted list


# ---------------------------------------------------------------------------------------------------- symbols <-> codes


def kind_of(sequence: Symbols) -> str:
    """Return "characters", "words" or "codes". Raises ValueError for anything else."""
    if isinstance(sequence, str):
        return "characters"
    if isinstance(sequence, Tensor):
        if sequence.ndim != 1 or sequence.is_floating_point() or sequence.is_complex() or sequence.dtype == torch.bool:
            raise ValueError(
                f"codes must be integers on one axis, got {sequence.dtype} of shape {tuple(sequence.shape)}: "
                "join several texts with torch.cat, convert with .long()"
            )
        return "codes"
    if isinstance(sequence, list | tuple) and all(isinstance(word, str) for word in sequence):
        return "words"
    raise ValueError(
        f"a text must be a str (characters), a list of str (words) or a LongTensor (codes), got {describe(sequence)}"
    )


def describe(value: object) -> str:
    """Say what a wrong argument was, for an error message."""
    if isinstance(value, list | tuple):
        kinds = sorted({type(item).__name__ for item in value})
        return f"a {type(value).__name__} of {' and '.join(kinds) or 'nothing'}"
    return f"{type(value).__name__} {value!r:.60}"


def code_points(text: str) -> np.ndarray:
    """Return the number of each character, (T,): one byte each if the text is ASCII, else four."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


class Alphabet:
    """The symbols a model knows, numbered 0 … size-1 in sorted order.

    `unknown` is the symbol that stands for all that are not in the alphabet; without one they raise ValueError.
    """

    def __init__(self, kind: str, symbols: Sequence[str] | None, size: int, unknown: str | None = None):
        self.kind, self.symbols, self.size, self.unknown = kind, symbols, size, unknown
        if kind != "codes":
            number = {symbol: code for code, symbol in enumerate(symbols)}
            self._missing = number.get(unknown, -1)
            self._number = number
        if kind == "characters":
            points = [ord(symbol) for symbol in symbols]
            # character number -> code, in one look-up; the last entry is for every character beyond the table
            self._table = np.full(max(points, default=0) + 2, self._missing, np.int32)
            self._table[points] = np.arange(size)
            self._points = np.array(points, np.uint32)

    @classmethod
    def of(
        cls,
        sequence: Symbols,
        size: int | None = None,
        alphabet: Sequence[str] | None = None,
        unknown: str | None = None,
    ) -> Alphabet:
        """Return the alphabet of a text, or check the one that was given."""
        kind = kind_of(sequence)
        if kind == "codes":
            if alphabet is not None or unknown is not None:
                raise ValueError("codes have no alphabet and no unknown symbol: give the number of symbols as size=")
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(f"codes need the number of symbols: fit(codes, size=V), V ≥ 1, got size={size!r}")
            return cls(kind, None, size)
        if size is not None:
            raise ValueError(f"size is for codes only, and this text is {kind}: leave it out, or give alphabet=")
        if alphabet is not None and not (isinstance(alphabet, str) or kind_of(alphabet) == "words"):
            raise ValueError(f"alphabet must be a str or a list of str, got {describe(alphabet)}")
        if kind == "characters" and alphabet is None:
            present = np.flatnonzero(torch.bincount(torch.from_numpy(code_points(sequence).astype(np.int32))).numpy())
            symbols = set(map(chr, present.tolist()))
        else:
            symbols = set(sequence if alphabet is None else alphabet)
        if unknown is not None:
            symbols.add(unknown)
        if kind == "characters" and any(len(symbol) != 1 for symbol in symbols):
            raise ValueError(f"a character alphabet holds single characters, got {max(symbols, key=len)!r}")
        if not symbols:
            raise ValueError("the text is empty: there is nothing to count (give a longer text)")
        return cls(kind, sorted(symbols), len(symbols), unknown)

    def encode(self, sequence: Symbols) -> Int[Tensor, " time"]:
        """Return the codes of a text, (T,) int32. Raises ValueError for another kind of text or unknown symbols."""
        kind = kind_of(sequence)
        if kind != self.kind and not (self.kind == "words" and len(sequence) == 0):
            example = {"characters": '"a text"', "words": '"a text".split()', "codes": "torch.tensor([0, 1, 0])"}
            raise ValueError(f"this model was fitted on {self.kind}, got {kind}: give e.g. {example[self.kind]}")
        if kind == "codes":
            if len(sequence) and not (0 <= int(sequence.min()) and int(sequence.max()) < self.size):
                low, high = int(sequence.min()), int(sequence.max())
                raise ValueError(f"codes must be in 0 … {self.size - 1} (size={self.size}), got {low} … {high}")
            return sequence.int()
        if kind == "characters":
            points = code_points(sequence)
            codes = self._table.take(points, mode="clip")
        else:
            codes = np.array([self._number.get(word, self._missing) for word in sequence], np.int32)
        if self._missing < 0 and len(codes) and codes.min() < 0:
            strangers = sorted({sequence[i] for i in np.flatnonzero(codes < 0).tolist()})
            raise ValueError(
                f"{len(strangers)} symbols are not in the model's alphabet of {self.size}: "
                f"{', '.join(map(repr, strangers[:5]))}{' …' if len(strangers) > 5 else ''}. "
                "Fit with alphabet= (all symbols that may come) or unknown= (a symbol that stands for the rest)"
            )
        return torch.from_numpy(codes)

    def decode(self, codes: Int[Tensor, "n time"]) -> list[str] | list[list[str]] | Tensor:
        """Return n texts of the alphabet's kind: list of str, list of list of str, or the (n, T) codes themselves."""
        if self.kind == "codes":
            return codes
        if self.kind == "words":
            return [[self.symbols[code] for code in row] for row in codes.tolist()]
        return [row.tobytes().decode("utf-32-le", "surrogatepass") for row in self._points[codes.cpu().numpy()]]


# ------------------------------------------------------------------------------------------------------------- counting


@dataclass
class Level:
    """How often each symbol followed each context of j symbols. Index -1 means "never seen" and reads a zero."""

    size: int  # V
    keys: Int[Tensor, " found"] | None  # sorted context * V + symbol; None: every sequence is there, its id is its key
    counts: Int[Tensor, " found+1"]  # c(context, symbol), then a 0
    totals: Int[Tensor, " contexts+1"]  # N(context): how often it was followed by anything, then a 0
    kinds: Int[Tensor, " contexts+1"]  # T(context): by how many different symbols, then a 0

    def find(self, context: Int[Tensor, " n"], symbol: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Return the id of each context followed by each symbol, -1 where that was never seen."""
        key = context * self.size + symbol  # (n,); negative for a context of -1, so never found
        if self.keys is None:
            return key
        at = torch.searchsorted(self.keys, key).clamp(max=len(self.keys) - 1)
        return torch.where(self.keys[at] == key, at, -1)

    def rows(self, context: Int[Tensor, " n"]) -> Int[Tensor, "n V"]:
        """Return the counts of all V symbols after each context."""
        if self.keys is None:
            return self.counts[:-1].view(-1, self.size)[context]
        length = self.kinds[context]  # (n,) the symbols after one context stand side by side in the sorted list
        first = torch.searchsorted(self.keys, context * self.size)  # (n,)
        row = torch.arange(len(context), device=context.device).repeat_interleave(length)  # (sum of length,)
        at = torch.arange(len(row), device=row.device) + (first - length.cumsum(0) + length)[row]
        counts = self.counts.new_zeros(len(context), self.size)
        counts[row, self.keys[at] % self.size] = self.counts[at]
        return counts


def with_zero(counts: Int[Tensor, " m"]) -> Int[Tensor, " m+1"]:
    """Append the zero that index -1 reads."""
    return torch.cat([counts, counts.new_zeros(1)])


def count_dense(codes: Int[Tensor, " time"], order: int, size: int) -> tuple[list[Level], Int[Tensor, " time-order"]]:
    """Count all sequences of 1 … order + 1 symbols in full tables. Returns the longest ones' ids too.

    One pass: a sequence is a number in base V.
    """
    keys = codes[: len(codes) - order]
    for j in range(1, order + 1):
        keys = keys * size + codes[j : len(codes) - order + j]  # (T - order,) the number of the j + 1 symbols from here
    counts = torch.bincount(keys, minlength=size ** (order + 1))  # (V ** (order + 1),)
    levels = []
    for j in range(order, -1, -1):
        table = counts.view(-1, size)  # (V ** j contexts, V)
        levels.append(Level(size, None, with_zero(counts), with_zero(table.sum(1)), with_zero((table > 0).sum(1))))
        # Shorter sequences need no second pass: sum over the oldest symbol, and add the one at the start of the text.
        start = sum(int(code) * size ** (j - 1 - i) for i, code in enumerate(codes[:j]))
        if j > 0:
            counts = counts.view(size, -1).sum(0)  # (V ** j,)
            counts[start] += 1
    return levels[::-1], keys


def count_sparse(
    contexts: Int[Tensor, " n"], symbols: Int[Tensor, " n"], before: int, size: int
) -> tuple[Level, Int[Tensor, " n"]]:
    """Count (context, symbol) pairs in a sorted list. before: the number of contexts. Returns the pairs' ids too."""
    keys, ids, counts = torch.unique(contexts * size + symbols, return_inverse=True, return_counts=True)
    parents = keys // size  # (found,) the context of each sequence
    totals = torch.zeros(before + 1, dtype=torch.long, device=keys.device).index_add_(0, parents, counts)
    kinds = torch.bincount(parents, minlength=before + 1)
    return Level(size, keys, with_zero(counts), totals, kinds), ids


# ------------------------------------------------------------------------------------------------------------ the model


class NGramModel:
    """A Markov chain of the given order: P(symbol | the `order` symbols before it), counted in a text.

    order: 0 (symbols are independent), 1, 2 … How many symbols are looked at.
    smoothing: a number α ≥ 0 that is added to every count, or "witten-bell": each context trusts its own counts as far
        as they go and leaves the rest to the context that is one symbol shorter, down to the uniform distribution.
        With α = 0 what was never seen is impossible. A context that was never seen predicts uniformly (additive), or
        what the longest seen end of it predicts (Witten-Bell).

    The first `order` symbols of a text have fewer symbols before them; they are predicted from those that there are
    (the first from none, the second from one, …). So a text's bits are over *all* its symbols, whatever the order, and
    orders can be compared.

        model = NGramModel(3).fit(text)
        model.bits_per_character(other_text)
        model.sample(200, temperature=0.8, generator=torch.Generator().manual_seed(0))[0]
    """

    def __init__(self, order: int, smoothing: float | str = 0.01):
        if isinstance(order, bool) or not isinstance(order, int) or order < 0:
            raise ValueError(
                f"order must be a whole number ≥ 0, got {order!r}: 0 looks at no context "
                "(for equally likely symbols there is NGramModel.uniform)"
            )
        additive = isinstance(smoothing, int | float) and not isinstance(smoothing, bool)
        if not (smoothing == "witten-bell" or additive and 0 <= smoothing < math.inf):
            raise ValueError(f'smoothing must be a number ≥ 0 or "witten-bell", got {smoothing!r}')
        self.order, self.smoothing = order, smoothing
        self.alphabet: Alphabet | None = None

    def __repr__(self) -> str:
        known = f"{self.alphabet.size} {self.alphabet.kind}" if self.alphabet else "not fitted"
        return f"NGramModel(order={self.order}, smoothing={self.smoothing!r}): {known}"

    def fit(
        self,
        sequence: Symbols,
        size: int | None = None,
        *,
        alphabet: Sequence[str] | None = None,
        unknown: str | None = None,
    ) -> NGramModel:
        """Count a text: a str (characters), a list of str (words) or a LongTensor (T,) of codes. Returns the model.

        size: for codes, the number V of different symbols.
        alphabet: the symbols that the model shall know (a str or a list of str); default: those of the text.
        unknown: a symbol that stands for all others, here and in every text scored later.
        Raises ValueError if the text has fewer than order + 1 symbols.
        """
        letters = Alphabet.of(sequence, size, alphabet, unknown)
        codes = letters.encode(sequence)  # (T,)
        if len(codes) <= self.order:
            raise ValueError(
                f"a chain of order {self.order} needs a text of at least {self.order + 1} symbols, got {len(codes)}: "
                "give a longer text or a lower order"
            )
        self.alphabet, self._cumulative = letters, {}
        V = letters.size
        dense = max([j for j in range(self.order + 1) if V ** (j + 1) <= DENSE_ENTRIES], default=0)
        self._levels, ids = count_dense(codes, dense, V)  # ids: (T - dense,)
        for j in range(dense + 1, self.order + 1):
            before = len(self._levels[-1].counts) - 1
            level, ids = count_sparse(ids[:-1].long(), codes[j:], before, V)  # what was found is now a context
            self._levels.append(level)
        return self

    @classmethod
    def uniform(cls, alphabet: int | Sequence[str]) -> NGramModel:
        """Return the chain that has counted nothing: all symbols equally likely (Shannon's zero-order approximation).

        alphabet: a str of characters, a list of words, or the number of codes.
        """
        model = cls(0, smoothing=1)
        if isinstance(alphabet, int):
            letters = Alphabet.of(torch.zeros(0, dtype=torch.long), size=alphabet)
        else:
            letters = Alphabet.of(alphabet)
        nothing = torch.zeros(0, dtype=torch.int32)
        model.alphabet, model._cumulative = letters, {}
        model._levels, _ = count_dense(nothing, 0, letters.size)
        return model

    # ---------------------------------------------------------------------------------------------------- probabilities

    def _smooth(self, count: Tensor, total: Tensor, kinds: Tensor, shorter: Tensor) -> Tensor:
        """Turn counts into probabilities, elementwise. `shorter` = what the context one symbol shorter predicts."""
        if self.smoothing == "witten-bell":  # Chen & Goodman eq. 17; a context never seen (0, 0, 0) hands on `shorter`
            kinds = kinds.clamp(min=1)
            return (count + kinds * shorter) / (total + kinds)
        V, alpha = self.alphabet.size, self.smoothing
        return torch.where(total > 0, (count + alpha) / (total + alpha * V), 1 / V)  # Chen & Goodman eq. 6

    def _walk(self, codes: Int[Tensor, " time"]) -> Iterator[tuple[int, Level, Tensor, Tensor]]:
        """Yield for each level j: j, the level, and for the positions j … T-1 the contexts' and the sequences' ids."""
        context = torch.zeros(len(codes), dtype=torch.long, device=codes.device)  # (T,) the empty context has id 0
        for j, level in enumerate(self._levels[: len(codes)]):
            found = level.find(context, codes[j:])  # (T - j,)
            yield j, level, context, found
            context = found[:-1]  # what ends at position t is the context of position t + 1

    def probabilities(self, sequence: Symbols) -> Float64[Tensor, " time"]:
        """Return the probability of each symbol of a text given those before it, (T,) float64.

        Raises ValueError for an empty text, a text of another kind, or symbols outside the alphabet.
        """
        codes = self._encode(sequence)
        if len(codes) == 0:
            raise ValueError("the text is empty: there is nothing to predict")
        p = torch.full((len(codes),), 1 / self.alphabet.size, dtype=torch.float64, device=codes.device)
        for j, level, context, found in self._walk(codes):
            p[j:] = self._smooth(level.counts[found], level.totals[context], level.kinds[context], p[j:])
        return p

    def log_probability(self, sequence: Symbols) -> float:
        """Return ln P(text) in nats (≤ 0; -inf if a symbol is impossible). Raises as `probabilities` does."""
        return float(self.probabilities(sequence).log().sum())

    def bits_per_symbol(self, sequence: Symbols) -> float:
        """Return the mean of -log2 P(symbol | symbols before it) over all symbols of a text."""
        p = self.probabilities(sequence)
        return float(-p.log2().mean())

    def bits_per_character(self, sequence: Symbols) -> float:
        """Return the bits of a text divided by its characters (words are counted with one space between them)."""
        if isinstance(sequence, Tensor):
            raise ValueError("codes have no characters: use bits_per_symbol")
        p = self.probabilities(sequence)
        return float(-p.log2().sum()) / len(sequence if isinstance(sequence, str) else " ".join(sequence))

    def distribution(self, context: Symbols) -> Float[Tensor, " V"]:
        """Return P(next symbol | context), (V,) float32, in the order of `alphabet.symbols`.

        Only the last `order` symbols of the context count; a shorter context is looked up as it is.
        """
        return self._rows(self._contexts(self._encode(context)))[0].float()

    def _encode(self, sequence: Symbols) -> Int[Tensor, " time"]:
        if self.alphabet is None:
            raise ValueError("the model has not counted a text yet: call fit(text) first")
        return self.alphabet.encode(sequence)

    def _contexts(self, codes: Int[Tensor, " time"]) -> list[Int[Tensor, " 1"]]:
        """Return the ids of the last 0, 1, … order symbols (fewer for a short text)."""
        codes = codes[len(codes) - min(self.order, len(codes)) :]
        empty = torch.zeros(1, dtype=torch.long, device=codes.device)
        return [empty] + [found[-1:] for _, _, _, found in self._walk(codes)][: self.order]

    def _rows(self, contexts: list[Int[Tensor, " n"]]) -> Float64[Tensor, "n V"]:
        """Return P(· | context) for n contexts, each given by its ids on the levels 0 … j."""
        p = torch.full((len(contexts[0]), self.alphabet.size), 1 / self.alphabet.size, dtype=torch.float64)
        p = p.to(contexts[0].device)
        for level, context in zip(self._levels, contexts):
            p = self._smooth(level.rows(context), level.totals[context, None], level.kinds[context, None], p)
        return p

    # --------------------------------------------------------------------------------------------------------- sampling

    def sample(
        self,
        length: int,
        n: int = 1,
        temperature: float = 1.0,
        prompt: Symbols | None = None,
        generator: torch.Generator | None = None,
    ) -> list[str] | list[list[str]] | Int[Tensor, "n length"]:
        """Return n texts of `length` symbols that follow the prompt (which is not repeated), all drawn side by side.

        temperature: P ** (1 / temperature), normalised: 1 = the model itself, below 1 safer, above 1 wilder,
            0 = always the likeliest symbol (greedy; the first of equals).
        generator: where the randomness comes from; None: fresh each time.
        Returns the kind that the model was fitted on: list of str, list of lists of words, or codes (n, length).
        Raises ValueError for a negative length, n, temperature, or a prompt outside the alphabet.
        """
        for name, value in (("length", length), ("n", n)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} must be a whole number ≥ 0, got {value!r}")
        if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 <= temperature < math.inf:
            raise ValueError(f"temperature must be a number ≥ 0 (0 = greedy, 1 = as counted), got {temperature!r}")
        if generator is None:
            generator = torch.Generator()
            generator.seed()
        if prompt is None:
            prompt = {"characters": "", "words": []}.get(self.alphabet and self.alphabet.kind, torch.zeros(0).long())
        contexts = self._contexts(self._encode(prompt))
        # In float64 the largest number below 1 + row would round up to the next row: stay 1e-9 away.
        chance = torch.rand(length, n, dtype=torch.float64, generator=generator, device=generator.device)
        chance = chance.clamp(max=1 - 2**-30).to(self._levels[0].counts.device)
        draw = self._sample_dense if self._levels[-1].keys is None else self._sample_sparse
        return self.alphabet.decode(draw([c.expand(n) for c in contexts], chance, temperature))

    def _sample_dense(self, contexts: list[Tensor], chance: Float64[Tensor, "length n"], temperature: float) -> Tensor:
        """One binary search per step, on a line where context r owns the stretch from r to r + 1."""
        level, context, keys = len(contexts) - 1, contexts[-1], []
        for u in chance:  # (n,)
            line = self._line(level, temperature)
            key = torch.searchsorted(line, context + u, right=True)  # (n,) context * V + symbol
            keys.append(key)
            context = key if level < self.order else key % self.alphabet.size**self.order  # forget the oldest symbol
            level = min(level + 1, self.order)
        return torch.stack(keys, 1) % self.alphabet.size if keys else chance.long().T

    def _line(self, j: int, temperature: float) -> Float64[Tensor, " V**(j+1)"]:
        """Return the cumulative probabilities of all contexts of j symbols, r added to those of context r; cached."""
        if (j, temperature) not in self._cumulative:
            if len(self._cumulative) > 2 * self.order + 2:
                self._cumulative.clear()
            V = self.alphabet.size
            row = torch.arange(V**j, device=self._levels[0].counts.device)  # all contexts of j symbols
            p = temper(self._rows([row % V**i for i in range(j + 1)]), temperature)
            self._cumulative[j, temperature] = (cumulate(p) + row[:, None]).flatten()
        return self._cumulative[j, temperature]

    def _sample_sparse(self, contexts: list[Tensor], chance: Float64[Tensor, "length n"], temperature: float) -> Tensor:
        """Compute the n rows of each step from the levels' lists, draw a symbol from each, and walk on."""
        symbols = []
        for u in chance:  # (n,)
            p = temper(self._rows(contexts), temperature)  # (n, V)
            symbol = torch.searchsorted(cumulate(p), u[:, None], right=True)[:, 0]  # (n,)
            symbols.append(symbol)
            found = [level.find(context, symbol) for level, context in zip(self._levels, contexts)]
            contexts = [contexts[0]] + found[: self.order]
        return torch.stack(symbols, 1) if symbols else chance.long().T


def temper(p: Float64[Tensor, "n V"], temperature: float) -> Float64[Tensor, "n V"]:
    """Return P ** (1 / temperature), not normalised; the largest entry of each row is 1."""
    if temperature == 0:
        return torch.nn.functional.one_hot(p.argmax(1), p.shape[1]).double()
    return (p / p.amax(1, keepdim=True)).pow(1 / temperature)


def cumulate(p: Float64[Tensor, "n V"]) -> Float64[Tensor, "n V"]:
    """Return each row's cumulative probabilities; the last is exactly 1."""
    total = p.cumsum(1)
    return total / total[:, -1:]
