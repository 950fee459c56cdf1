"""Order-k Markov chains over characters, words or any other symbols.

The whole idea: to guess the next symbol, look only at the last `order` symbols (the *context*), and remember how often
each symbol followed that context in a text. Shannon made his "approximations to English" this way in 1948.

Read from top to bottom:

1. `Alphabet` turns symbols into numbers 0 … V-1 (*codes*) and back.
2. `count_tables` counts all sequences of 1, 2, … symbols in full tables, as long as these fit into memory. A sequence
   is a number in base V, so counting is one `bincount`.
3. `Trie` takes over where a full table would not fit, and keeps only the sequences that occur. They are numbered one
   length after another, so the numbers grow with the text and not with V ** length: nothing overflows.
4. `NGramModel` turns counts into probabilities (smoothing: two formulas, `_smooth`), probabilities into the bits that a
   text costs, and random numbers into new text.

Sources: C. E. Shannon, A Mathematical Theory of Communication (1948), section 3; I. H. Witten and T. C. Bell, The
zero-frequency problem (IEEE Transactions on Information Theory, 1991), method C; S. F. Chen and J. Goodman, An
Empirical Study of Smoothing Techniques for Language Modeling (TR-10-98, 1998), section 2, for the interpolated form.
"""

# ruff: noqa: F722  (jaxtyping writes shapes as strings)
from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

Symbols = str | Sequence[str] | Tensor  # characters, words, or codes

TABLE_ENTRIES = 2**22  # sequences with at most this many possibilities are counted in a full table (32 MB)


# --- symbols <-> codes ------------------------------------------------------------------------------------------------


def kind_of(sequence: Symbols) -> str:
    """Return "characters", "words" or "codes".

    Raises:
        ValueError: if the sequence is none of these.
    """
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
    """Describe a wrong argument, for an error message."""
    if isinstance(value, list | tuple):
        kinds = sorted({type(item).__name__ for item in value})
        return f"a {type(value).__name__} of {' and '.join(kinds) or 'nothing'}"
    return f"{type(value).__name__} {value!r:.60}"


def code_points(text: str) -> np.ndarray:
    """Return the number of each character, (T,): one byte each if the text is ASCII, otherwise four."""
    if text.isascii():
        return np.frombuffer(bytearray(text, "ascii"), np.uint8)
    return np.frombuffer(bytearray(text, "utf-32-le", "surrogatepass"), np.int32)


class Alphabet:
    """The symbols a model knows, numbered 0 … size-1 in sorted order.

    Args:
        unknown: the symbol that stands for all symbols outside the alphabet. Without one, these raise ValueError.
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
                raise ValueError("codes have no alphabet and no unknown symbol: pass the number of symbols as size=")
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(f"codes need the number of symbols: fit(codes, size=V), V ≥ 1, got size={size!r}")
            return cls(kind, None, size)
        if size is not None:
            raise ValueError(f"size is for codes only, and this text is {kind}: leave it out, or give alphabet=")
        if alphabet is not None:
            if not isinstance(alphabet, str | list | tuple | set) or not all(isinstance(s, str) for s in alphabet):
                raise ValueError(f"alphabet must be a str or a list of str, got {describe(alphabet)}")
        if kind == "characters" and alphabet is None:
            present = torch.bincount(torch.from_numpy(code_points(sequence))).nonzero()[:, 0]
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
        """Return the codes of a text, (T,) int32, on the CPU.

        Raises:
            ValueError: if the text is of another kind, or contains unknown symbols.
        """
        kind = kind_of(sequence)
        if kind != self.kind:
            example = {"characters": '"a text"', "words": '"a text".split()', "codes": "torch.tensor([0, 1, 0])"}
            raise ValueError(f"this model was fitted on {self.kind}, got {kind}: give e.g. {example[self.kind]}")
        if kind == "codes":
            low, high = map(int, sequence.aminmax()) if len(sequence) else (0, 0)
            if low < 0 or high >= self.size:
                raise ValueError(f"codes must be in 0 … {self.size - 1} (size={self.size}), got {low} … {high}")
            return sequence.cpu().int()
        if kind == "characters":
            points = code_points(sequence).astype(np.intp)  # numpy looks up at intp fastest
            codes = self._table.take(points, mode="clip")
        else:
            codes = np.array([self._number.get(word, self._missing) for word in sequence], np.int32)
        if self._missing < 0 and len(codes) and codes.min() < 0:
            strangers = sorted({sequence[i] for i in np.flatnonzero(codes < 0).tolist()})
            raise ValueError(
                f"{len(strangers)} symbols are not in the model's alphabet of {self.size}: "
                f"{', '.join(map(repr, strangers[:5]))}{' …' if len(strangers) > 5 else ''}. "
                "Fit with alphabet= (all symbols that may occur) or unknown= (a symbol that stands for the rest)"
            )
        return torch.from_numpy(codes)

    def decode(self, codes: Int[Tensor, "n time"]) -> list[str] | list[list[str]] | Tensor:
        """Return n texts of the alphabet's kind: list of str, list of lists of str, or the (n, T) codes themselves."""
        if self.kind == "codes":
            return codes
        if self.kind == "words":
            return [[self.symbols[code] for code in row] for row in codes.tolist()]
        return [row.tobytes().decode("utf-32-le", "surrogatepass") for row in self._points[codes.cpu().numpy()]]


# --- counting ---------------------------------------------------------------------------------------------------------


def count_tables(
    codes: Int[Tensor, " time"], longest: int, size: int
) -> tuple[list[Int[Tensor, "contexts V"]], Int[Tensor, " time-longest"]]:
    """Count the sequences of 1 … longest + 1 symbols: table j is (V ** j contexts of j symbols, V next symbols).

    Returns:
        The tables, and the longest sequences themselves: number t consists of the codes t … t + longest.
    """
    sequences = codes[: len(codes) - longest]
    for j in range(1, longest + 1):
        newest = codes[j : len(codes) - longest + j]
        sequences = torch.add(newest, sequences, alpha=size)  # (T - longest,) sequences * V + newest: numbers in base V
    tables = [torch.bincount(sequences, minlength=size ** (longest + 1)).view(-1, size)]
    for j in range(longest, 0, -1):
        # Shorter sequences need no second pass: sum over the oldest symbol, then add the one that starts the text.
        shorter = tables[0].view(size, -1).sum(0)  # (V ** j,)
        shorter[sequences[0] // size ** (longest + 1 - j)] += 1
        tables.insert(0, shorter.view(-1, size))
    return tables, sequences


class Trie:
    """Counts of the sequences that occur, for those too long for a table.

    Each sequence is a *node*: it has a count, and it is the context of the sequences that are one symbol longer. The
    nodes 0 … V ** (longest + 1) - 1 are the sequences of the last table. The nodes of each greater length follow those
    of the length before, sorted by context, then by symbol. Node -1 means "never seen" and reads as zeros.
    """

    def __init__(self, table: Int[Tensor, "contexts V"], sequences: Int[Tensor, " n"], codes: Tensor, order: int):
        self.size, self.roots = table.shape[1], table.numel()
        nodes, known, keys, counts = sequences.long(), self.roots, [], [table.flatten()]
        for j in range(len(codes) - len(sequences) + 1, order + 1):
            pairs = nodes[:-1] * self.size + codes[j:]  # (T - j,) the j symbols before position t, and symbol t
            key, nodes, count = torch.unique(pairs, return_inverse=True, return_counts=True)
            nodes += known
            known += len(key)
            keys.append(key)
            counts.append(count)
        self.keys = torch.cat(keys)  # (found,) context * V + symbol of the nodes roots, roots + 1 …; sorted
        context = self.keys // self.size
        # (nodes + 1,) each: c(context, symbol); T(context), how many different symbols follow; N(context), how many
        # follow in all; and where in keys the symbols that follow begin
        self.count = torch.cat([*counts, counts[0].new_zeros(1)]).int()
        self.kinds = torch.bincount(context, minlength=known + 1).int()
        self.total = torch.zeros_like(self.count).index_add_(0, context, self.count[self.roots : -1])
        self.first = (self.kinds.cumsum(0) - self.kinds).int()

    def find(self, node: Int[Tensor, " n"], symbol: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Return the node of each sequence followed by each symbol, or -1 where that was never seen. Any shape."""
        key = node * self.size + symbol  # negative after node -1, so never found
        at = torch.searchsorted(self.keys, key).clamp(max=len(self.keys) - 1)
        return torch.where(self.keys[at] == key, at + self.roots, -1)

    def rows(self, node: Int[Tensor, "n lengths"]) -> Int[Tensor, "n lengths V"]:
        """Return the counts of all V symbols after each sequence."""
        kinds = self.kinds[node][..., None]  # (n, lengths, 1)
        step = torch.arange(int(kinds.max()), device=node.device)  # (most,)
        # One context's next symbols stand side by side in keys; where it has fewer than the others, read zeros at -1.
        at = torch.where(step < kinds, self.first[node][..., None] + step, -1)  # (n, lengths, most)
        symbols = self.keys[at] % self.size
        count = self.count[torch.where(at < 0, -1, at + self.roots)]
        return self.count.new_zeros(*node.shape, self.size).scatter_add_(-1, symbols, count)


# --- the model --------------------------------------------------------------------------------------------------------


class State(NamedTuple):
    """Where n chains stand, side by side: everything that the next symbol depends on."""

    seen: int  # how many symbols the chains look back on, at most `order`
    context: Int[Tensor, " n"]  # the last of these, as many as the last table knows, as a number in base V
    nodes: Int[Tensor, "n lengths"]  # the last dense + 1, dense + 2 … seen symbols as nodes of the trie


class NGramModel:
    """A Markov chain of a given order: P(symbol | the `order` symbols before it), counted in a text.

        model = NGramModel(3).fit(text)
        model.bits_per_character(other_text)
        model.sample(200, temperature=0.8, generator=torch.Generator().manual_seed(0))[0]

    The first `order` symbols of a text have fewer symbols before them, so they are predicted from what there is (the
    first from nothing, the second from one symbol …). A text's bits therefore cover *all* its symbols, whatever the
    order, and orders can be compared.

    Everything is counted and computed on the CPU, wherever the codes come from: probabilities are float64, which not
    every device has.

    Args:
        order: 0 (symbols are independent), 1, 2 …: how many symbols the model looks back.
        smoothing: a number α ≥ 0 that is added to every count, or "witten-bell": each context trusts its own counts as
            far as they go, and leaves the rest to the context that is one symbol shorter, down to the uniform
            distribution. With α = 0, what was never seen is impossible. A context that was never seen predicts
            uniformly (additive), or whatever its longest ending that was seen predicts (Witten-Bell).

    Raises:
        ValueError: if the order or the smoothing is none of these.
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
        self.alphabet: Alphabet | None = None  # known after fit

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

        Args:
            size: for codes, the number V of different symbols.
            alphabet: the symbols the model knows (a str or a list of str); None takes those of the text.
            unknown: a symbol that stands for all others, here and in every text scored later.

        Raises:
            ValueError: if the text has fewer than order + 1 symbols, or the arguments do not fit its kind.
        """
        letters = Alphabet.of(sequence, size, alphabet, unknown)
        codes = letters.encode(sequence)  # (T,)
        if len(codes) <= self.order:
            raise ValueError(
                f"a chain of order {self.order} needs a text of at least {self.order + 1} symbols, got {len(codes)}: "
                "give a longer text or a lower order"
            )
        return self._count(codes, letters)

    @classmethod
    def uniform(cls, alphabet: int | Sequence[str]) -> NGramModel:
        """Return the chain that has counted nothing: all symbols equally likely (Shannon's zero-order approximation).

        Args:
            alphabet: a str of characters, a list of words, or the number of codes.
        """
        model = cls(0, smoothing=1)
        if isinstance(alphabet, int):
            letters = Alphabet.of(torch.zeros(0, dtype=torch.long), size=alphabet)
        else:
            letters = Alphabet.of(alphabet)
        return model._count(torch.zeros(0, dtype=torch.int32), letters)

    def _count(self, codes: Int[Tensor, " time"], letters: Alphabet) -> NGramModel:
        """Count in full tables as long as they fit, and in a trie beyond that."""
        V = letters.size
        dense = max([j for j in range(self.order + 1) if V ** (j + 1) <= TABLE_ENTRIES], default=0)
        self._tables, sequences = count_tables(codes, dense, V)
        self._trie = Trie(self._tables[-1], sequences, codes, self.order) if dense < self.order else None
        self.alphabet, self._dense, self._chances, self._lines = letters, dense, {}, {}
        return self

    def view(self, order: int | None = None, smoothing: float | str | None = None) -> NGramModel:
        """Return the model of a lower order or with another smoothing over the same counts, without counting again.

        Raises:
            ValueError: if that order was not counted.
        """
        other = NGramModel(self.order if order is None else order, self.smoothing if smoothing is None else smoothing)
        if self.alphabet is None or other.order > self.order:
            raise ValueError(f"order {other.order} was not counted by {self!r}: fit a model of that order")
        other.alphabet, other._tables, other._trie = self.alphabet, self._tables, self._trie
        other._chances, other._lines = {}, {}
        other._dense = min(self._dense, other.order)
        return other

    @property
    def counts(self) -> Int[Tensor, " ..."]:
        """How often each sequence of order + 1 symbols occurs, (V, …, V); the newest symbol is the last axis.

        Raises:
            ValueError: if the model is not fitted, or the counts do not fit into one table.
        """
        self._fitted()
        if self._dense < self.order:
            raise ValueError(
                f"{self.alphabet.size} ** {self.order + 1} counts do not fit in one table: "
                f"ask for a lower order, model.view(order={self._dense}).counts"
            )
        return self._tables[self.order].view((self.alphabet.size,) * (self.order + 1))

    def _fitted(self) -> None:
        if self.alphabet is None:
            raise ValueError("the model has not counted a text yet: call fit(text) first")

    def _encode(self, sequence: Symbols) -> Int[Tensor, " time"]:
        self._fitted()
        return self.alphabet.encode(sequence).to(self._tables[0].device)

    # --- probabilities ------------------------------------------------------------------------------------------------

    def _smooth(self, count: Tensor, total: Tensor, kinds: Tensor, shorter: Tensor) -> Tensor:
        """Turn counts into probabilities, elementwise.

        Args:
            count: c(context, symbol).
            total: N, how often the context was followed by any symbol.
            kinds: T, by how many different ones.
            shorter: P(symbol | context without its oldest symbol).
        """
        if self.smoothing == "witten-bell":
            kinds = kinds.clamp(min=1)  # so a context never seen, all zeros, hands on `shorter`
            return (count + kinds * shorter) / (total + kinds)
        V, alpha = self.alphabet.size, self.smoothing
        return torch.where(total > 0, (count.double() + alpha) / (total.double() + alpha * V), 1 / V)

    def _table(self, j: int) -> Float64[Tensor, "contexts V"]:
        """Return P(· | context) for all V ** j contexts of j symbols, j ≤ dense (computed once)."""
        if j not in self._chances:
            counts, V = self._tables[j].double(), self.alphabet.size  # (V ** j, V)
            # Without its oldest symbol, context c is c % V ** (j - 1): the shorter table, V times one below the other.
            shorter = self._table(j - 1).repeat(V, 1) if j else torch.full_like(counts, 1 / V)
            total, kinds = counts.sum(1, keepdim=True), (counts > 0).sum(1, keepdim=True)  # (V ** j, 1)
            self._chances[j] = self._smooth(counts, total, kinds, shorter)
        return self._chances[j]

    def probabilities(self, sequence: Symbols) -> Float64[Tensor, " time"]:
        """Return the probability of each symbol of a text given those before it, (T,) float64.

        Raises:
            ValueError: if the text is empty, of another kind, or contains symbols outside the alphabet.
        """
        codes = self._encode(sequence)  # (T,)
        if len(codes) == 0:
            raise ValueError("the text is empty: there is nothing to predict")
        p = torch.empty(len(codes), dtype=torch.float64, device=codes.device)
        found = codes.new_zeros(len(codes) + 1, dtype=torch.long)  # the empty sequence, at each position
        for j in range(min(self.order + 1, len(codes))):
            context = found[:-1]  # (T - j,) the j symbols before each of the positions j … T - 1
            if j <= self._dense:
                found = context * self.alphabet.size + codes[j:]  # (T - j,) those and the symbol itself
                here = None if j == self._dense else 1  # positions with more than j symbols before them come later
                p[j:][:here] = self._table(j).flatten()[found[:here]]
            else:
                found = self._trie.find(context, codes[j:])
                p[j:] = self._smooth(
                    self._trie.count[found], self._trie.total[context], self._trie.kinds[context], p[j:]
                )
        return p

    def log_probability(self, sequence: Symbols) -> float:
        """Return ln P(text) in nats (≤ 0; -inf if a symbol is impossible).

        Raises:
            ValueError: as `probabilities` does.
        """
        return float(self.probabilities(sequence).log().sum())

    def bits_per_symbol(self, sequence: Symbols) -> float:
        """Return the mean of -log2 P(symbol | symbols before it) over all symbols of a text."""
        return float(-self.probabilities(sequence).log2().mean())

    def bits_per_character(self, sequence: Symbols) -> float:
        """Return the bits of a text divided by its characters (words are joined by one space each).

        Raises:
            ValueError: for codes, which have no characters; and as `probabilities` does.
        """
        if isinstance(sequence, Tensor):
            raise ValueError("codes have no characters: use bits_per_symbol")
        text = sequence if isinstance(sequence, str) else " ".join(sequence)
        return float(-self.probabilities(sequence).log2().sum()) / len(text)

    def counts_after(self, context: Symbols) -> Int[Tensor, " V"]:
        """How often each symbol followed the last `order` symbols of a context; a shorter one is used as it is."""
        state = self._state(self._encode(context), 1)
        if state.nodes.shape[1]:
            return self._trie.rows(state.nodes[:, -1:])[0, 0]
        return self._tables[min(state.seen, self._dense)][state.context[0]]

    def distribution(self, context: Symbols) -> Float[Tensor, " V"]:
        """Return P(next symbol | context), (V,) float32, in the order of `alphabet.symbols`.

        Only the last `order` symbols of the context count; a shorter context is used as it is.
        """
        return self._predict(self._state(self._encode(context), 1))[0].float()

    # --- chains -------------------------------------------------------------------------------------------------------

    def _state(self, prompt: Int[Tensor, " time"], n: int) -> State:
        """Return n chains that have just read the prompt."""
        empty = torch.zeros(n, dtype=torch.long, device=prompt.device)
        state = State(0, empty, empty[:, None][:, :0])
        for code in prompt[max(0, len(prompt) - self.order) :]:
            state = self._push(state, code.expand(n))
        return state

    def _push(self, state: State, symbol: Int[Tensor, " n"]) -> State:
        """Return the chains with one more symbol, and the oldest forgotten."""
        V, seen, nodes = self.alphabet.size, min(state.seen + 1, self.order), state.nodes
        context = state.context * V + symbol  # (n,)
        if seen > self._dense:  # each node leads to one that is a symbol longer; the longest drops out
            nodes = torch.cat([context[:, None], self._trie.find(nodes, symbol[:, None])], 1)[:, : seen - self._dense]
        return State(seen, context % V ** min(seen, self._dense), nodes)

    def _predict(self, state: State) -> Float64[Tensor, "n V"]:
        """Return P(· | context) of each chain."""
        p = self._table(min(state.seen, self._dense))[state.context]  # (n, V)
        nodes = state.nodes if self.smoothing == "witten-bell" else state.nodes[:, -1:]  # additive: the longest only
        if nodes.shape[1]:
            counts = self._trie.rows(nodes)  # (n, lengths, V)
            total, kinds = self._trie.total[nodes][..., None], self._trie.kinds[nodes][..., None]  # (n, lengths, 1)
            for i in range(nodes.shape[1]):
                p = self._smooth(counts[:, i], total[:, i], kinds[:, i], p)
        return p

    def sample(
        self,
        length: int,
        n: int = 1,
        temperature: float = 1.0,
        prompt: Symbols | None = None,
        generator: torch.Generator | None = None,
    ) -> list[str] | list[list[str]] | Int[Tensor, "n length"]:
        """Return n texts of `length` symbols that follow the prompt (which is not repeated), all drawn side by side.

        Args:
            temperature: P ** (1 / temperature), normalised: 1 is the model itself, below 1 safer, above 1 wilder, 0
                always the likeliest symbol (greedy; the first of equals).
            prompt: a text of the kind that the model was fitted on.
            generator: where the randomness comes from; None draws differently each time.

        Returns:
            The kind that the model was fitted on: a list of str, a list of lists of words, or codes (n, length).

        Raises:
            ValueError: if length or n is below 1, the temperature is negative, or the prompt contains symbols outside
                the alphabet.
        """
        for name, value, least in (("length", length, 1), ("n", n, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number ≥ {least}, got {value!r}")
        if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 <= temperature < math.inf:
            raise ValueError(f"temperature must be a number ≥ 0 (0 = greedy, 1 = as counted), got {temperature!r}")
        if generator is None:
            generator = torch.Generator()
            generator.seed()
        self._fitted()
        codes = self._tables[0].new_zeros(0) if prompt is None else self._encode(prompt)
        # Stay 1e-9 below 1: in `_sample_tables`, context + chance must not round up to the next context.
        chance = torch.rand(length, n, dtype=torch.float64, generator=generator, device=generator.device)
        chance = chance.clamp(max=1 - 2**-30).to(codes.device)
        draw = self._sample_tables if self._dense == self.order else self._sample_trie
        if draw == self._sample_trie and n == 1 and self.smoothing == "witten-bell" and codes.device.type == "cpu":
            draw = self._sample_one
        return self.alphabet.decode(draw(self._state(codes, n), chance, float(temperature)))

    def _sample_tables(self, state: State, chance: Float64[Tensor, "length n"], temperature: float) -> Tensor:
        """Draw by one binary search per step, on a line where context c owns the stretch from c to c + 1."""
        V, seen, context, found = self.alphabet.size, state.seen, state.context, []
        lines = [self._line(j, temperature) for j in range(self.order + 1)]
        for u in chance:  # (n,)
            # A stretch has V pieces, each as long as its symbol is likely: piece number context * V + symbol is hit.
            found.append(torch.searchsorted(lines[seen], context + u, right=True))  # (n,)
            seen = min(seen + 1, self.order)
            context = found[-1] % V**seen  # forget the oldest symbol
        return torch.stack(found, 1) % V

    def _line(self, j: int, temperature: float) -> Float64[Tensor, " contexts*V"]:
        """Return c + cumulative probabilities, for all contexts c of j symbols in a row (kept for the next call)."""
        if self._lines.get("temperature") != temperature:
            self._lines = {"temperature": temperature}
        if j not in self._lines:
            cumulative = cumulate(temper(self._table(j), temperature))  # (V ** j, V)
            start = torch.arange(len(cumulative), device=cumulative.device)
            self._lines[j] = (cumulative + start[:, None]).flatten()
        return self._lines[j]

    def _sample_trie(self, state: State, chance: Float64[Tensor, "length n"], temperature: float) -> Tensor:
        """Draw from the chains' own probabilities, computed at each step."""
        symbols = []
        for u in chance:  # (n,)
            p = cumulate(temper(self._predict(state), temperature))  # (n, V)
            symbols.append(torch.searchsorted(p, u[:, None], right=True)[:, 0])  # (n,)
            state = self._push(state, symbols[-1])
        return torch.stack(symbols, 1)

    def _sample_one(self, state: State, chance: Float64[Tensor, "length 1"], temperature: float) -> Tensor:
        """Draw a single text as `_sample_trie` does, in a fifth of the time: on short rows numpy's calls cost less.

        Of the longer contexts it visits only those that were seen, and for each only the symbols that followed.
        """
        V, seen, context, symbols = self.alphabet.size, state.seen, int(state.context), []
        trie, nodes = self._trie, state.nodes[0].tolist()  # from short to long
        keys, count, kinds, total, first = (
            part.numpy() for part in (trie.keys, trie.count, trie.kinds, trie.total, trie.first)
        )
        for u in chance[:, 0].tolist():
            p = self._table(min(seen, self._dense))[context].numpy().copy()  # (V,)
            ways = []  # for each context that was seen: where its continuations begin in keys, and their sorted symbols
            for node in itertools.takewhile(lambda node: node >= 0, nodes):
                begin, T = int(first[node]), int(kinds[node])
                follow = keys[begin : begin + T] - node * V  # (T,)
                ways.append((begin, follow))
                if T:  # the formula of `_smooth`
                    p *= T
                    p[follow] += count[trie.roots + begin : trie.roots + begin + T]
                    p /= int(total[node]) + T
            p = temper(torch.from_numpy(p)[None], temperature)[0].numpy().cumsum()
            symbol = int((p / p[-1]).searchsorted(u, side="right"))
            symbols.append(symbol)
            longer = []
            for begin, follow in ways:
                at = int(follow.searchsorted(symbol))
                longer.append(trie.roots + begin + at if at < len(follow) and follow[at] == symbol else -1)
            seen = min(seen + 1, self.order)
            context = context * V + symbol
            nodes = [context, *longer][: seen - self._dense] if seen > self._dense else []
            context %= V ** min(seen, self._dense)
        return torch.tensor([symbols])


def temper(p: Float64[Tensor, "n V"], temperature: float) -> Float64[Tensor, "n V"]:
    """Return P ** (1 / temperature), not normalised; the largest entry of each row is 1."""
    if temperature == 0:
        return torch.nn.functional.one_hot(p.argmax(1), p.shape[1]).double()
    return (p / p.amax(1, keepdim=True)).pow(1 / temperature)


def cumulate(p: Float64[Tensor, "n V"]) -> Float64[Tensor, "n V"]:
    """Return each row's cumulative probabilities; the last is exactly 1."""
    total = p.cumsum(1)
    return total / total[:, -1:]
