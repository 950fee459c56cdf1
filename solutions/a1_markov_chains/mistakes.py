"""Assignment 1, Markov chains: what is asked in each exercise, how it is compared, and the mistakes we know by name.

Each exercise stands in one place: points and comparison, then its cases (small ones that can be checked by hand, then
random ones; the same function draws the visible and the hidden cases), then wrong functions with the hint for those who
wrote them.
"""

import math

import torch
from torch import Tensor

from autograder.author.exercise import Case, Exercise, Promises, Recipe, Seed, accuracy, close, distribution

LIBRARY = ["course_utils.models.ngram.NGramModel"]


def _chain(g: torch.Generator, size: int, length: int) -> Tensor:
    """(length,) codes 0 … size − 1 of a chain of its own, uneven enough that order and direction matter."""
    table = torch.rand(size, size, generator=g).pow(3) + 1e-3
    codes = [0]
    for _ in range(length - 1):
        codes.append(int(torch.multinomial(table[codes[-1]], 1, generator=g)))
    return torch.tensor(codes)


def _integer(g: torch.Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, (), generator=g))


# --- 1. Counting ------------------------------------------------------------------------------------------------------

count_transitions = Exercise(
    "count_transitions", points=2, compare=close(), banned=LIBRARY, promises=Promises(device="warns")
)


@count_transitions.cases
def _(g):
    yield Case((torch.tensor([0, 1, 1, 0, 2]), 3), note="the example in the text")
    yield Case((torch.tensor([0, 0, 0, 0]), 1), note="one symbol: one pair, three times")
    yield Case((torch.tensor([2]), 4), note="no pair at all")
    yield Case((torch.tensor([0, 0, 1, 2]), 5), note="some symbols never occur")
    for _ in range(2):
        size = _integer(g, 3, 6)
        yield _chain(g, size, _integer(g, 30, 60)), size
    yield torch.randint(0, 24, (2_000,), generator=g), 27
    often = torch.zeros(4098 + 2 * _integer(g, 0, 100), dtype=torch.long)  # an odd number of pairs
    codes = torch.cat([often, torch.randint(1, 27, (200,), generator=g)])
    yield Case((codes, 27), note="a pair that comes thousands of times")


@count_transitions.mistake(
    "your table is transposed: rows are the symbol *before*, columns the symbol *after*. N[i, j] counts “i, then j”."
)
def transposed(codes, size):
    return torch.bincount(codes[1:] * size + codes[:-1], minlength=size * size).view(size, size)


@count_transitions.mistake(
    "the last pair is missing: a text of T characters has T − 1 pairs, and the last of them ends with the last "
    "character."
)
def last_pair_dropped(codes, size):
    return torch.bincount(codes[:-2] * size + codes[1:-1], minlength=size * size).view(size, size)


@count_transitions.mistake(
    "you count one pair too many: after the last character yours goes on with the first one, as if the text were "
    "a ring."
)
def wrapped_around(codes, size):
    return torch.bincount(codes * size + codes.roll(-1), minlength=size * size).view(size, size)


@count_transitions.mistake(
    "a pair that occurs many times is counted once: `N[i, j] += 1` with index tensors writes each place once, "
    "however often it is named. Look for an operation that adds up."
)
def repeats_counted_once(codes, size):
    counts = torch.zeros(size, size, dtype=torch.long)
    counts[codes[:-1], codes[1:]] += 1
    return counts


@count_transitions.mistake(
    "you cut the text into separate pairs (1st and 2nd, 3rd and 4th, …). Pairs overlap: every character but the "
    "last begins one."
)
def every_second_pair(codes, size):
    codes = codes[: len(codes) // 2 * 2].view(-1, 2)
    return torch.bincount(codes[:, 0] * size + codes[:, 1], minlength=size * size).view(size, size)


@count_transitions.mistake(
    "the table is as large as the largest code that occurs. It must be (size, size): symbols that this text never"
    " uses have their row and column, too."
)
def alphabet_from_the_text(codes, size):
    size = int(codes.max()) + 1
    return torch.bincount(codes[:-1] * size + codes[1:], minlength=size * size).view(size, size)


@count_transitions.mistake(
    "each pair is counted in both directions, so that your table is symmetric. N[i, j] counts “i, then j” alone."
)
def both_directions(codes, size):
    counts = torch.bincount(codes[:-1] * size + codes[1:], minlength=size * size).view(size, size)
    return counts + counts.T


@count_transitions.mistake("a symbol that follows itself is not counted: “aa” is a pair like any other.")
def repeats_left_out(codes, size):
    counts = torch.bincount(codes[:-1] * size + codes[1:], minlength=size * size).view(size, size)
    return counts - counts.diag().diag()


@count_transitions.mistake(
    "you count how often j comes *anywhere* after i. Only the very next place counts: the pair (t, t + 1)."
)
def anywhere_later(codes, size):
    ones = torch.nn.functional.one_hot(codes, size)
    return (ones.cumsum(0) - ones).T @ ones


@count_transitions.mistake("your pairs are two places apart: to the symbol at t belongs the one at t + 1.")
def two_apart(codes, size):
    return torch.bincount(codes[:-2] * size + codes[2:], minlength=size * size).view(size, size)


@count_transitions.mistake(
    "your counts go through half precision (`half`, `float16`, `bfloat16`), which rounds whole numbers above 2,048. "
    "Count in int64."
)
@count_transitions.breaks("entry [i, j] is how often j came right after i")
def rounded_counts(codes, size):
    ones = torch.nn.functional.one_hot(codes, size).half()
    return (ones[:-1].T @ ones[1:]).round().long()


@count_transitions.mistake(
    "different pairs get the same number in yours: (i, j) is the number i · V + j, with V = `size`, and j runs from 0 "
    "to V − 1."
)
def numbers_that_collide(codes, size):
    numbers = codes[:-1] * (size - 1) + codes[1:]
    return torch.bincount(numbers, minlength=size * size).view(size, size)


@count_transitions.also("numbers_that_collide")
def numbered_by_the_largest_code(codes, size):
    numbers = codes[:-1] * int(codes.max()) + codes[1:]
    return torch.bincount(numbers, minlength=size * size)[: size * size].view(size, size)


@count_transitions.mistake(
    "a pair begins in front of the text in yours (with a 0, a space). The first character follows nothing: T − 1 pairs."
)
def zero_in_front(codes, size):
    before = torch.cat([codes.new_zeros(1), codes[:-1]])
    return torch.bincount(before * size + codes, minlength=size * size).view(size, size)


# --- 2. Probabilities -------------------------------------------------------------------------------------------------

probabilities = Exercise("probabilities", points=3, compare=close(), banned=LIBRARY, promises=Promises(device="warns"))


@probabilities.cases
def _(g):
    yield Case((torch.tensor([[3, 1], [1, 1]]), 0.0), note="the example in the text: nothing is smoothed")
    yield Case(
        (torch.tensor([[3, 1, 0], [0, 2, 1], [0, 0, 0]]), 0.5),
        note="pairs that never occur, and a row without counts, smoothed",
    )
    yield Case((torch.tensor([[0, 1], [0, 0]]), 0.0), note="a row seen once, and one never: that one is uniform")
    yield Case((torch.tensor([[5]]), 0.1), note="one symbol")
    little = 0.01 + 0.1 * float(torch.rand((), generator=g))
    yield Case(
        (torch.tensor([[0, 0, 0], [4, 0, 1], [0, 0, 0]]), little),
        note="rows without counts, and so little smoothing that theirs add up to less than 1",
    )
    column = torch.randint(1, 5, (3, 3), generator=g) * torch.tensor([1, 0, 1])
    yield Case((column, 0.5), note="a symbol that never comes next, smoothed")
    for smoothing in (0.0, 0.01 + float(torch.rand((), generator=g)), 2.0):
        size = _integer(g, 3, 7)
        counts = torch.randint(0, 5, (size, size), generator=g).pow(2)
        counts[_integer(g, 0, size - 1)] = 0
        yield counts, smoothing


probabilities.equivalent("the table is square", "counts.shape[[-1-]{+0+}]")


@probabilities.mistake(
    "your *columns* sum to 1. The next symbol is drawn from row i, so each row must: which dimension do you sum "
    "over, and does that sum keep its dimension (`keepdim`)?"
)
def columns_normalised(counts, smoothing):
    counts = counts + smoothing
    total = counts.sum(0, keepdim=True)
    return torch.where(total > 0, counts / total, 1 / len(counts))


@probabilities.mistake(
    "every cell of a row gets the smoothing, a symbol that never came next, too: the denominator has α for each of the "
    "V symbols."
)
def smoothed_for_known_symbols_alone(counts, smoothing):
    known = int((counts.sum(0) > 0).sum())
    total = counts.sum(1, keepdim=True)
    return torch.where(total > 0, (counts + smoothing) / (total + smoothing * known), 1 / len(counts))


@probabilities.mistake(
    "the smoothing is in the numerator only, so your rows sum to more than 1: all V cells of a row got a little, "
    "and the total of the row must know."
)
def smoothing_in_the_numerator_only(counts, smoothing):
    return (counts + smoothing) / counts.sum(1, keepdim=True)


@probabilities.mistake(
    "the denominator got the smoothing once, but it was added to each of the V cells of the row: the rows do not "
    "sum to 1."
)
def smoothing_added_once_to_the_total(counts, smoothing):
    return (counts + smoothing) / (counts.sum(1, keepdim=True) + smoothing)


@probabilities.mistake(
    "all V² cells together sum to 1: that is the probability of the *pair*, P(i, j). Wanted is the next symbol "
    "given this one, P(j | i): each row is a distribution of its own."
)
def joint_probabilities(counts, smoothing):
    counts = counts + smoothing
    return counts / counts.sum()


@probabilities.mistake(
    "with smoothing 0, a row without any count gives 0/0 = nan. Nothing is known about what follows this symbol, "
    "so all V symbols are equally likely."
)
def unseen_row_is_nan(counts, smoothing):
    counts = counts + smoothing
    return counts / counts.sum(1, keepdim=True)


@probabilities.mistake(
    "a row without any count stays all zeros, and zeros are no distribution: nothing could be drawn from it. With"
    " smoothing 0 such a row is uniform."
)
def unseen_row_is_zero(counts, smoothing):
    counts = counts + smoothing
    return counts / counts.sum(1, keepdim=True).clamp(min=1e-9)


@probabilities.mistake(
    "you smooth only the cells that are 0. Then a pair seen once may become less likely than one never seen: "
    "every cell gets the same amount."
)
def only_zeros_smoothed(counts, smoothing):
    counts = torch.where(counts == 0, smoothing, counts.float())
    total = counts.sum(1, keepdim=True)
    return torch.where(total > 0, counts / total, 1 / len(counts))


@probabilities.mistake(
    "that is a softmax: it exponentiates the counts, and a pair seen 10 times comes out e⁹ times as likely as one"
    " seen once. Relative frequencies are the counts divided by their sum."
)
def softmax_of_counts(counts, smoothing):
    return (counts + smoothing).float().softmax(1)


@probabilities.mistake(
    "the smoothing is added to the *probabilities*, after dividing. It belongs to the counts: a row with few counts is "
    "then smoothed more than a row with many."
)
def smoothing_added_to_the_probabilities(counts, smoothing):
    total = counts.sum(1, keepdim=True)
    table = torch.where(total > 0, counts / total.clamp(min=1), 1 / len(counts)) + smoothing
    return table / table.sum(1, keepdim=True)


@probabilities.mistake(
    "`sum(1)` without `keepdim=True` has the shape (V,), and dividing by it lines it up with the *columns*: each "
    "column is divided by another row's sum."
)
def row_sums_along_the_columns(counts, smoothing):
    smoothed = counts + float(smoothing)
    return torch.nan_to_num(smoothed / smoothed.sum(1), nan=1 / len(counts))


@probabilities.mistake("α is shared out among the V cells of a row. Each count gets all of it: N + α, not N + α/V.")
def smoothing_shared_out(counts, smoothing):
    counts = counts + smoothing / len(counts)
    total = counts.sum(1, keepdim=True)
    return torch.where(total > 0, counts / total, 1 / len(counts))


@probabilities.mistake(
    "one row without counts makes *all* rows uniform in yours. Ask each row for itself (`torch.where`, row by row)."
)
def all_rows_uniform(counts, smoothing):
    counts = counts + smoothing
    total = counts.sum(1, keepdim=True)
    return counts / total if (total > 0).all() else torch.full(counts.shape, 1 / len(counts))


@probabilities.mistake("each row is divided by its length (the root of its squares). Divide it by its *sum*.")
def divided_by_the_row_s_length(counts, smoothing):
    counts = counts + smoothing
    total = counts.pow(2).sum(1, keepdim=True).sqrt()
    return torch.where(total > 0, counts / total, 1 / len(counts))


@probabilities.mistake(
    "a row without counts gets the overall frequencies of the symbols. Nothing is known about what follows it: "
    "1/V each."
)
def unseen_row_gets_frequencies(counts, smoothing):
    counts = counts + smoothing
    total = counts.sum(1, keepdim=True)
    return torch.where(total > 0, counts / total, counts.sum(0) / counts.sum().clamp(min=1))


@probabilities.mistake("there is always some smoothing in yours. With α = 0 nothing is added: what never came gets 0.")
def never_without_smoothing(counts, smoothing):
    counts = counts + max(smoothing, 0.01)
    return counts / counts.sum(1, keepdim=True)


@probabilities.mistake(
    "α becomes a whole number in yours, so that 0.5 is 0. The counts must be floats before it is added."
)
def whole_smoothing(counts, smoothing):
    counts = counts + int(smoothing)
    total = counts.sum(1, keepdim=True)
    return torch.where(total > 0, counts / total, 1 / len(counts))


@probabilities.mistake(
    "only pairs that came get α in yours, and what never came keeps probability 0. It is there for *those*: every cell "
    "gets α."
)
def zeros_not_smoothed(counts, smoothing):
    counts = torch.where(counts > 0, counts + smoothing, 0.0)
    total = counts.sum(1, keepdim=True)
    return torch.where(total > 0, counts / total, 1 / len(counts))


# --- 3. Bits per character --------------------------------------------------------------------------------------------

bits_per_character = Exercise(
    "bits_per_character", points=3, compare=close(), banned=LIBRARY, promises=Promises(device="warns")
)


@bits_per_character.cases
def _(g):
    yield Case((torch.tensor([0, 1, 0, 1]), torch.tensor([[0.5, 0.5], [0.25, 0.75]])), note="the example in the text")
    yield Case((torch.tensor([1, 0]), torch.tensor([[0.9, 0.1], [0.125, 0.875]])), note="a single step")
    yield Case((torch.tensor([0, 0, 0]), torch.tensor([[1.0]])), note="nothing to guess")
    yield Case(
        (torch.tensor([0, 1, 1, 0]), torch.tensor([[0.5, 0.5], [0.0, 1.0]])),
        note="an impossible step: infinitely many bits",
    )
    yield Case(
        (torch.tensor([2, 0, 1, 1, 0, 1]), torch.tensor([[0.0, 0.75, 0.25], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])),
        note="steps of probability 0 that the text never makes",
    )
    for length in (20, 50, 3_000):  # the probability of the last one is far below the smallest float
        size = _integer(g, 3, 9)
        yield torch.randint(0, size, (length,), generator=g), torch.rand(size, size, generator=g).mul(3).softmax(1)


@bits_per_character.mistake("these are nats: you took the natural logarithm. One bit is ln 2 = 0.693 nats.")
def nats_instead_of_bits(codes, table):
    return -table[codes[:-1], codes[1:]].log().mean()


@bits_per_character.mistake(
    "the probabilities go through a softmax once more. The table's rows sum to 1 already, and `cross_entropy` wants "
    "logits: look the probability of each step up, and take its logarithm."
)
def one_softmax_more(codes, table):
    return -table.log_softmax(1)[codes[:-1], codes[1:]].mean() / math.log(2)


@bits_per_character.mistake(
    "that is the whole text's bits. Divide by the number of characters that were predicted, so that long and "
    "short texts compare."
)
def not_divided(codes, table):
    return -table[codes[:-1], codes[1:]].log2().sum()


@bits_per_character.mistake(
    "you divide by T. The chain predicts T − 1 characters: the first one is given, no step leads to it."
)
def divided_by_the_length(codes, table):
    return -table[codes[:-1], codes[1:]].log2().sum() / len(codes)


@bits_per_character.mistake(
    "the last step is missing: a text of T characters has T − 1 steps, the last one to its last character."
)
def last_step_missing(codes, table):
    costs = -table[codes[:-1], codes[1:]].log2()
    return float(costs[: max(1, len(costs) - 1)].mean())


@bits_per_character.mistake(
    "the sign: logarithms of probabilities are negative, and bits are what it costs to say which character came, "
    "so ≥ 0."
)
def sign_forgotten(codes, table):
    return table[codes[:-1], codes[1:]].log2().mean()


@bits_per_character.mistake(
    "you averaged first and took the logarithm then. Probabilities of steps multiply, so their *logarithms* are "
    "averaged; the logarithm of the mean is always the smaller number of bits."
)
def logarithm_of_the_mean(codes, table):
    return -table[codes[:-1], codes[1:]].mean().log2()


@bits_per_character.mistake(
    "right on short texts, infinite on a long one: the product of thousands of probabilities is smaller than any "
    "float and becomes 0. Take the logarithm of each factor, and add."
)
def product_underflows(codes, table):
    return -table[codes[:-1], codes[1:]].prod().log2() / (len(codes) - 1)


@bits_per_character.mistake(
    "you read the table as table[next, previous]. Row first: table[i, j] is the probability of j after i."
)
def read_backwards(codes, table):
    return -table[codes[1:], codes[:-1]].log2().mean()


@bits_per_character.mistake(
    "something small is added or clamped before the logarithm, and hides that the chain called a step impossible "
    "which did happen. The honest price is infinite; the cure is smoothing, in the table."
)
def impossible_made_cheap(codes, table):
    return -table[codes[:-1], codes[1:]].clamp(min=1e-9).log2().mean()


@bits_per_character.mistake("that is the perplexity, 2 to the power of the bits. Asked for are the bits themselves.")
def perplexity(codes, table):
    return float(2 ** -table[codes[:-1], codes[1:]].log2().mean())


@bits_per_character.mistake(
    "you give the entropy of the chain's rows: what the chain *expects* to pay. Asked for is what the text cost, by "
    "the step that really came."
)
def entropy_of_the_rows(codes, table):
    rows = table[codes[:-1]]
    return float(-torch.special.xlogy(rows, rows).sum(1).mean() / math.log(2))


@bits_per_character.mistake(
    "the first character costs something, too (as one of V, or by its own). It is given: only the T − 1 steps cost."
)
def first_character_costs_too(codes, table):
    return (math.log2(len(table)) - table[codes[:-1], codes[1:]].log2().sum()) / len(codes)


@bits_per_character.mistake(
    "you average over *all* rows and columns that occur, each with each (`table[a][:, b]`). Index with both at once, "
    "`table[a, b]`: one number for each step."
)
def each_with_each(codes, table):
    return -table[codes[:-1]][:, codes[1:]].log2().mean()


@bits_per_character.mistake("that is the median of the steps. Asked for is their mean.")
def median_of_the_steps(codes, table):
    return -table[codes[:-1], codes[1:]].log2().median()


@bits_per_character.mistake("you leave out the steps that the chain called impossible. They cost infinitely many bits.")
def impossible_left_out(codes, table):
    bits = -table[codes[:-1], codes[1:]].log2()
    return bits[bits.isfinite()].mean()


@bits_per_character.mistake(
    "each *different* pair costs once in yours, however often the text makes that step. Every step of the text counts."
)
def each_pair_once(codes, table):
    pairs = torch.stack([codes[:-1], codes[1:]]).unique(dim=1)
    return -table[pairs[0], pairs[1]].log2().mean()


@bits_per_character.mistake(
    "you weigh each step with its probability, as the entropy does. The text has made each of these steps once: the "
    "plain mean of −log₂ P."
)
def weighed_with_its_probability(codes, table):
    p = table[codes[:-1], codes[1:]]
    return float(-torch.special.xlogy(p, p).mean() / math.log(2))


# --- 4. Sampling with temperature -------------------------------------------------------------------------------------

sample = Exercise(
    "sample", points=4, compare=distribution(of="pairs"), banned=LIBRARY, promises=Promises(case=3, device="warns")
)


@sample.cases
def _(g):
    def seed():
        return Seed(_integer(g, 0, 2**31))

    def starts(size, n=600):
        return torch.arange(n) % size

    yield Case(
        (torch.tensor([[0.8, 0.2], [0.3, 0.7]]), torch.zeros(600, dtype=torch.long), 2, 1.0, seed()),
        note="one step of all chains, from one symbol",
    )
    yield Case(
        (torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]), starts(3), 7, 2.0, seed()),
        note="a ring: only one way to go, at any temperature",
    )
    yield Case(
        (torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([1, 0, 1]), 1, 1.0, seed()),
        note="a length of 1: nothing to draw",
    )
    for size, temperature in ((3, 1.0), (5, 0.5), (4, 2.0)):
        yield _uneven(g, size), starts(size), 8, temperature, seed()
    # what is impossible stays so where all that is possible is nearly alike
    table = (1 - torch.eye(6)) * (1 + torch.rand(6, 6, generator=g))
    yield Case(
        (table / table.sum(1, keepdim=True), starts(6, 1200), 8, 8.0, seed()),
        note="steps that are impossible, at a high temperature",
    )
    # two symbols that are nearly alike: only so low a temperature tells them apart
    more = 0.5 + 0.004 + 0.002 * float(torch.rand((), generator=g))
    yield Case(
        (torch.tensor([[more, 1 - more], [1 - more, more]], dtype=torch.double), starts(2), 6, 0.01, seed()),
        note="a temperature of 0.01, and symbols that are nearly alike",
    )
    # almost no randomness: p^100 is below the smallest float, its logarithm is not
    yield (torch.randn(8, 8, generator=g) * 0.3).softmax(1), starts(8), 6, 0.01, seed()


sample.uncaught(
    "the first of two draws has the law of one; only an alphabet of one symbol, not asked for, would tell",
    "rows, [-1-]{+2+}",
)
sample.equivalent("one symbol is drawn: the last is the first", "[:, [-0-]{+-1+}]")


def _uneven(g: torch.Generator, size: int) -> Tensor:
    """(size, size) rows with the weights 9 : 4 : 1.5 : 1 …, each in an order of its own."""
    weights = torch.ones(size)
    weights[:3] = torch.tensor([9.0, 4.0, 1.5])
    table = torch.stack([weights[torch.randperm(size, generator=g)] for _ in range(size)])
    table = table[:, torch.randperm(size, generator=g)]
    return table / table.sum(1, keepdim=True)


@sample.mistake(
    "you multiply by the temperature. Divide the logarithms by it: a *low* temperature makes the likely still likelier."
)
def multiplied_by_temperature(table, start, length, temperature, generator):
    table, chains = (table.log() * temperature).softmax(1), [start]
    for _ in range(length - 1):
        chains.append(torch.multinomial(table[chains[-1]], 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)


@sample.mistake(
    "the temperature has no effect. If you divide the *probabilities* by it and normalise, the division cancels: "
    "it belongs to their logarithms."
)
def temperature_without_effect(table, start, length, temperature, generator):
    chains = [start]
    for _ in range(length - 1):
        chains.append(torch.multinomial(table[chains[-1]], 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)


@sample.mistake(
    "you gave the probabilities themselves to softmax. It expects logarithms: at temperature 1 the table must "
    "come out unchanged."
)
def softmax_of_probabilities(table, start, length, temperature, generator):
    table, chains = (table / temperature).softmax(1), [start]
    for _ in range(length - 1):
        chains.append(torch.multinomial(table[chains[-1]], 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)


@sample.mistake(
    "right, but not at very low temperatures: p^(1/τ) falls below the smallest float and a whole row becomes 0. "
    "Stay with logarithms until the largest has been subtracted (softmax does that)."
)
def power_underflows(table, start, length, temperature, generator):
    table, chains = table ** (1 / temperature), [start]
    for _ in range(length - 1):
        chains.append(torch.multinomial(table[chains[-1]], 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)


@sample.mistake(
    "right, but not at very low temperatures: p^(1/τ) is far smaller there than what you add to it, or raise it to, so "
    "that all symbols become equally likely. Stay with logarithms: softmax needs no such help."
)
def power_below_what_is_added(table, start, length, temperature, generator):
    table, chains = table ** (1 / temperature) + 1e-12, [start]
    for _ in range(length - 1):
        chains.append(torch.multinomial(table[chains[-1]], 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)


@sample.mistake(
    "every step is drawn from the row of the *start* symbol. A chain forgets: the next symbol depends on the one "
    "just drawn."
)
def never_leaves_the_start(table, start, length, temperature, generator):
    table, chains = (table.log() / temperature).softmax(1), [start]
    for _ in range(length - 1):
        chains.append(torch.multinomial(table[start], 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)


@sample.mistake(
    "you draw from the *column* of the current symbol: how likely each symbol is to lead here. The row says how likely "
    "each symbol is to come next."
)
def column_instead_of_row(table, start, length, temperature, generator):
    table, chains = (table.log() / temperature).softmax(1), [start]
    for _ in range(length - 1):
        chains.append(torch.multinomial(table.T[chains[-1]], 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)


@sample.mistake(
    "you always take the likeliest symbol. That is the limit of temperature 0, and it soon runs in a circle; here"
    " the next symbol is *drawn*."
)
def likeliest_instead_of_drawn(table, start, length, temperature, generator):
    chains = [start]
    for _ in range(length - 1):
        chains.append(table[chains[-1]].argmax(1))
    return torch.stack(chains, 1)


@sample.mistake("the start symbols are missing: they are the first column, and length − 1 steps follow.")
def start_left_out(table, start, length, temperature, generator):
    table, chains = (table.log() / temperature).softmax(1), [start]
    for _ in range(length):
        chains.append(torch.multinomial(table[chains[-1]], 1, generator=generator)[:, 0])
    return torch.stack(chains[1:], 1)


@sample.mistake("your chains are one symbol too long: `length` counts the start symbol, too.")
def one_step_too_many(table, start, length, temperature, generator):
    table, chains = (table.log() / temperature).softmax(1), [start]
    for _ in range(length):
        chains.append(torch.multinomial(table[chains[-1]], 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)


@sample.mistake(
    "at low temperatures you take the likeliest symbol without drawing. Also below 1 the others come, only less often."
)
def greedy_below_1(table, start, length, temperature, generator):
    table, chains = (table.log() / temperature).softmax(1), [start]
    for _ in range(length - 1):
        row = table[chains[-1]]
        drawn = torch.multinomial(row, 1, generator=generator)[:, 0]
        chains.append(row.argmax(1) if temperature < 1 else drawn)
    return torch.stack(chains, 1)


@sample.mistake("your chains never stay at a symbol for two steps. Where P(i | i) is above 0 they may.")
def never_stays(table, start, length, temperature, generator):
    table, chains = (table.log() / temperature).softmax(1), [start]
    table = table * (1 - torch.eye(len(table))) + 1e-12
    for _ in range(length - 1):
        chains.append(torch.multinomial(table[chains[-1]], 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)


@sample.mistake(
    "you draw from the *column* of the current symbol: how likely each symbol is to lead here. The row says how likely "
    "each symbol is to come next."
)
def column_of_the_tempered_table(table, start, length, temperature, generator):
    table, chains = (table.log() / temperature).softmax(0), [start]
    for _ in range(length - 1):
        chains.append(torch.multinomial(table.T[chains[-1]], 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)


@sample.mistake(
    "only the first step knows the temperature: all others are drawn from the table as it was. Change the table once, "
    "before the loop."
)
def temperature_at_the_first_step_alone(table, start, length, temperature, generator):
    row, chains = (table.log() / temperature).softmax(1), [start]
    for _ in range(length - 1):
        chains.append(torch.multinomial(row[chains[-1]], 1, generator=generator)[:, 0])
        row = table
    return torch.stack(chains, 1)


@sample.mistake("the temperature is applied twice: to the table, and again in the loop. Once is enough.")
def temperature_twice(table, start, length, temperature, generator):
    table, chains = (table.log() / temperature**2).softmax(1), [start]
    for _ in range(length - 1):
        chains.append(torch.multinomial(table[chains[-1]], 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)


# --- 5. Interpolation -------------------------------------------------------------------------------------------------

witten_bell = Exercise("witten_bell", points=4, compare=close(), banned=LIBRARY, promises=Promises(device="warns"))


@witten_bell.cases
def _(g):
    yield Case((torch.tensor([0, 0, 1]), 2), note="the example in the text")
    yield Case((torch.tensor([2]), 3), note="one character: only order 0 has seen anything")
    yield Case((torch.tensor([0, 0, 0]), 1), note="one symbol: nothing to guess")
    yield Case((torch.tensor([0, 1, 2, 0, 1, 1]), 4), note="a symbol that never occurs is still possible")
    for length in (30, 100, 400):
        size = _integer(g, 4, 6)
        yield _chain(g, size, length), size


def _counts(codes: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """(V,), (V, V) and (V, V, V) counts of single symbols, pairs and triples."""
    singles = torch.bincount(codes, minlength=size)
    pairs = torch.bincount(codes[:-1] * size + codes[1:], minlength=size**2).view(size, size)
    triples = torch.bincount((codes[:-2] * size + codes[1:-1]) * size + codes[2:], minlength=size**3)
    return singles, pairs, triples.view(size, size, size)


@witten_bell.mistake(
    "the weight counts how *often* the context occurred, so both parts always get one half. D(h) is the number of"
    " *different* symbols that followed it."
)
def followers_counted_with_repeats(codes, size):
    table = torch.full((size,), 1 / size)
    for counts in _counts(codes, size):
        total = counts.sum(-1, keepdim=True)
        table = torch.where(total > 0, (counts + total * table) / (2 * total).clamp(min=1), table)
    return table


@witten_bell.mistake(
    "the shorter context keeps the wrong symbol: after (a, b) it is b, the *newest*, that stays. Check along "
    "which dimension your (V, V) table is repeated in (V, V, V)."
)
def oldest_symbol_kept(codes, size):
    table = torch.full((size,), 1 / size)
    for counts in _counts(codes, size):
        if counts.ndim == 3:
            table = table[:, None, :]
        total, followers = counts.sum(-1, keepdim=True), (counts > 0).sum(-1, keepdim=True)
        table = torch.where(total > 0, (counts + followers * table) / (total + followers).clamp(min=1), table)
    return table


@witten_bell.mistake(
    "the two weights are swapped: a context seen often (N(h) large) should trust its own counts, a context seen "
    "once the shorter context."
)
def weights_swapped(codes, size):
    table = torch.full((size,), 1 / size)
    for counts in _counts(codes, size):
        total, followers = counts.sum(-1, keepdim=True), (counts > 0).sum(-1, keepdim=True)
        own = counts / total.clamp(min=1)
        mixed = (followers * own + total * table) / (total + followers).clamp(min=1)
        table = torch.where(total > 0, mixed, table)
    return table


@witten_bell.mistake(
    "order 0 is not mixed with the uniform distribution: a symbol that never occurred keeps probability 0, in "
    "every table above."
)
def without_uniform_base(codes, size):
    table = torch.zeros(size)
    for order, counts in enumerate(_counts(codes, size)):
        total, followers = counts.sum(-1, keepdim=True), (counts > 0).sum(-1, keepdim=True)
        followers = followers * (order > 0)
        table = torch.where(total > 0, (counts + followers * table) / (total + followers).clamp(min=1), table)
    return table


@witten_bell.mistake(
    "you back off only where the context was never seen. Interpolation *always* mixes: a context seen once has "
    "seen one follower, and the others are not impossible."
)
def back_off_without_mixing(codes, size):
    table = torch.full((size,), 1 / size)
    for counts in _counts(codes, size):
        total = counts.sum(-1, keepdim=True)
        table = torch.where(total > 0, counts / total.clamp(min=1), table)
    return table


@witten_bell.mistake(
    "a context never seen is uniform in your table. It knows more than that: it takes over what the shorter "
    "context says."
)
def unseen_context_is_uniform(codes, size):
    table = torch.full((size,), 1 / size)
    for counts in _counts(codes, size):
        total, followers = counts.sum(-1, keepdim=True), (counts > 0).sum(-1, keepdim=True)
        table = torch.where(total > 0, (counts + followers * table) / (total + followers).clamp(min=1), 1 / size)
    return table


@witten_bell.mistake(
    "order 2 is mixed with order 0, and order 1 is skipped. Each table is mixed with the one whose context is one"
    " symbol shorter."
)
def order_one_skipped(codes, size):
    table = torch.full((size,), 1 / size)
    singles, _, triples = _counts(codes, size)
    for counts in (singles, triples):
        total, followers = counts.sum(-1, keepdim=True), (counts > 0).sum(-1, keepdim=True)
        table = torch.where(total > 0, (counts + followers * table) / (total + followers).clamp(min=1), table)
    return table.expand(size, size, size).clone()


@witten_bell.mistake(
    "order 0 is missing: below the pairs lies the frequency of the single symbols, mixed with 1/V, and not 1/V itself."
)
def order_zero_left_out(codes, size):
    table = torch.full((size,), 1 / size)
    for counts in _counts(codes, size)[1:]:
        total, followers = counts.sum(-1, keepdim=True), (counts > 0).sum(-1, keepdim=True)
        table = torch.where(total > 0, (counts + followers * table) / (total + followers).clamp(min=1), table)
    return table


@witten_bell.mistake(
    "D(h) counts over the wrong dimension: it is how many different symbols came *after* the context, so it is "
    "summed over the last dimension and has one value per context."
)
def followers_over_the_wrong_dimension(codes, size):
    table = torch.full((size,), 1 / size)
    for counts in _counts(codes, size):
        total, followers = counts.sum(-1, keepdim=True), (counts > 0).sum(0, keepdim=True)
        table = torch.where(total > 0, (counts + followers * table) / (total + followers).clamp(min=1), table)
    return table


@witten_bell.mistake(
    "a context never seen gives 0/0 = nan. There N(h) = D(h) = 0, and all the weight belongs to the shorter context."
)
def unseen_context_is_nan(codes, size):
    table = torch.full((size,), 1 / size)
    for counts in _counts(codes, size):
        total, followers = counts.sum(-1, keepdim=True), (counts > 0).sum(-1, keepdim=True)
        table = (counts + followers * table) / (total + followers)
    return table


@witten_bell.mistake(
    "every order is mixed with the uniform distribution. Only order 0 is: what lies below order 2 is order 1, and "
    "below order 1 order 0."
)
def uniform_below_every_order(codes, size):
    table = torch.full((size,), 1 / size)
    for counts in _counts(codes, size):
        total, followers = counts.sum(-1, keepdim=True), (counts > 0).sum(-1, keepdim=True)
        table = torch.where(total > 0, (counts + followers / size) / (total + followers).clamp(min=1), table)
    return table


def _mixed(codes: Tensor, size: int, followers, singles: Tensor | None = None) -> Tensor:
    """The three rounds, with D(h) by a function of the counts and of their sums."""
    table = torch.full((size,), 1 / size)
    first, *others = _counts(codes, size)
    for counts in (first if singles is None else singles, *others):
        total = counts.sum(-1, keepdim=True)
        different = followers(counts, total)
        table = torch.where(total > 0, (counts + different * table) / (total + different), table)
    return table


@witten_bell.mistake(
    "D(h) counts the different followers of *all* contexts together. Each context has its own: count along the "
    "last axis."
)
def followers_of_all_contexts(codes, size):
    return _mixed(codes, size, lambda counts, total: (counts > 0).sum() * torch.ones_like(total))


@witten_bell.mistake(
    "D(h) counts the symbols that *never* came after h. It is how many different ones did: counts above 0."
)
def those_that_never_followed(codes, size):
    return _mixed(codes, size, lambda counts, total: (counts == 0).sum(-1, keepdim=True))


@witten_bell.mistake(
    "D(h) is one number for all contexts in yours. It is how many different symbols followed *this* one."
)
def one_weight_for_all(codes, size):
    return _mixed(codes, size, torch.ones_like)


@witten_bell.mistake("you take the root of D(h). It stands in the formula as it is.")
def root_of_the_followers(codes, size):
    return _mixed(codes, size, lambda counts, total: (counts > 0).sum(-1, keepdim=True).sqrt())


@witten_bell.mistake(
    "D(h) counts the symbols that came after h exactly *once*. It is how many different ones came at all."
)
def seen_once(codes, size):
    return _mixed(codes, size, lambda counts, total: (counts == 1).sum(-1, keepdim=True))


@witten_bell.mistake("the first character is missing from order 0: N(j) counts all T characters.")
def first_character_missing(codes, size):
    singles = torch.bincount(codes[1:] if len(codes) > 1 else codes, minlength=size)
    return _mixed(codes, size, lambda counts, total: (counts > 0).sum(-1, keepdim=True), singles)


@witten_bell.mistake("the last character is missing from order 0: N(j) counts all T characters.")
def last_character_missing(codes, size):
    singles = torch.bincount(codes[:-1] if len(codes) > 1 else codes, minlength=size)
    return _mixed(codes, size, lambda counts, total: (counts > 0).sum(-1, keepdim=True), singles)


@witten_bell.mistake("order 2 is missing: your table says the same for each oldest symbol. There is one round more.")
def order_two_left_out(codes, size):
    table = torch.full((size,), 1 / size)
    for counts in _counts(codes, size)[:2]:
        total, different = counts.sum(-1, keepdim=True), (counts > 0).sum(-1, keepdim=True)
        table = torch.where(total > 0, (counts + different * table) / (total + different), table)
    return table.expand(size, size, size).clone()


@witten_bell.mistake(
    "N(h) is how often something came *after* h, the sum of the counts N(hj). You take how often h stands in the text, "
    "and at its very end nothing follows."
)
def how_often_the_context_stands(codes, size):
    table, below = torch.full((size,), 1 / size), torch.tensor(len(codes))
    for counts in _counts(codes, size):
        total, followers = below[..., None], (counts > 0).sum(-1, keepdim=True)
        table = torch.where(total > 0, (counts + followers * table) / (total + followers).clamp(min=1), table)
        below = counts
    return table


@witten_bell.mistake(
    "what λ leaves over goes only to symbols that have not come after h (a back-off). Interpolation mixes: *each* "
    "symbol gets its share of it, D(h) · P(j | h′)."
)
def the_rest_to_the_unseen(codes, size):
    table = torch.full((size,), 1 / size)
    for counts in _counts(codes, size):
        total, followers = counts.sum(-1, keepdim=True), (counts > 0).sum(-1, keepdim=True)
        rest = torch.where(counts > 0, 0, table)
        rest = rest / rest.sum(-1, keepdim=True).clamp(min=1e-12)
        mixed = (counts + followers * rest) / (total + followers).clamp(min=1)
        table = torch.where(total > 0, mixed / mixed.sum(-1, keepdim=True), table)
    return table


@witten_bell.mistake(
    "a context of two symbols that was never seen gets order 0 in yours. It takes over what the context without its "
    "oldest symbol says: order 1."
)
def unseen_context_asks_order_0(codes, size):
    table, lowest = torch.full((size,), 1 / size), None
    for counts in _counts(codes, size):
        total, followers = counts.sum(-1, keepdim=True), (counts > 0).sum(-1, keepdim=True)
        instead = table if lowest is None else lowest
        table = torch.where(total > 0, (counts + followers * table) / (total + followers).clamp(min=1), instead)
        lowest = table if lowest is None else lowest
    return table


@witten_bell.mistake(
    "D(h) counts the symbols that come after *anything*. Each context has its own: how many different ones came after "
    "h."
)
def followers_of_anything(codes, size):
    def of_all(counts, total):
        return (counts.reshape(-1, counts.shape[-1]).sum(0) > 0).sum() * (total > 0)

    return _mixed(codes, size, of_all).nan_to_num(1 / size)


def _by_one_weight(codes: Tensor, size: int, total_of_all: bool, different_of_all: bool) -> Tensor:
    """The three rounds, with N or D, or both, added up over all contexts of an order."""
    table = torch.full((size,), 1 / size)
    for counts in _counts(codes, size):
        total, different = counts.sum(-1, keepdim=True), (counts > 0).sum(-1, keepdim=True)
        n = counts.sum() if total_of_all else total
        d = (counts > 0).sum() if different_of_all else different
        weight = n / (n + d).clamp(min=1)
        mixed = weight * counts / total.clamp(min=1) + (1 - weight) * table
        table = torch.where(total > 0, mixed, table)
    return table


@witten_bell.mistake(
    "λ is one number for all contexts of an order: yours adds up N(h) and D(h) over the whole table. Each context has "
    "a λ of its own: sum along the last axis."
)
def one_lambda_for_each_order(codes, size):
    return _by_one_weight(codes, size, True, True)


@witten_bell.mistake(
    "N(h) in λ is the number of all pairs, or triples, in the text. Each context has its own: how often anything came "
    "after h."
)
def total_of_all_contexts(codes, size):
    return _by_one_weight(codes, size, True, False)


# --- 6. Which library wrote this? -------------------------------------------------------------------------------------

# Five libraries: letter frequencies stay well below one half, orders 1, 2 and 3 well above, whatever the seed.
# where the answers could be looked up
LABELS = ["course_utils.data.text.labelled_sentences", "course_utils.data.text.load"]
which_library = Exercise(
    "which_library",
    points=4,
    compare=accuracy(0.5),
    banned=LIBRARY + LABELS,
    promises=Promises(device="warns"),
    seconds=20,
)


@which_library.cases
def _(g):
    from course_utils.data import text

    # by hand: the letters are equally frequent, only what follows what tells the three apart
    training = {"blocks": "aaaabbbb" * 16, "pairs": "aabb" * 8, "zigzag": "ab" * 10}
    sentences = ["abababab", "aabbaabb", "aaaabbbb", "bbaabbaa", "babababa", "abbaabba", "baabbaab"]
    yield Case(
        (training, sentences),
        truth=["zigzag", "pairs", "blocks", "pairs", "zigzag", "pairs", "pairs"],
        note="by hand: letters are equally frequent, only what follows what tells",
    )
    # a character that no library has ever used
    sentences = ["ababab?abab", "aabbaabb?aabb", "aaaabbbb?aaaabbbb", "bbaabb!aabb", "babab!ababab"]
    yield Case(
        (training, sentences),
        truth=["zigzag", "pairs", "blocks", "pairs", "zigzag"],
        note="characters that no training text has",
    )
    # sentences so long that the product of their probabilities is no float any more
    authors = {"ada": (7, 1, 1, 1), "emmy": (1, 7, 1, 1), "grace": (1, 1, 7, 1)}
    truth = ["grace", "ada", "emmy", "grace", "emmy"]
    training = {name: _write(steps, 2_000, g) for name, steps in authors.items()}
    yield Case(
        (training, [_write(authors[name], 1_500, g) for name in truth]),
        truth=truth,
        note="sentences so long that the product of their probabilities is no float",
    )
    # the real thing: sentences from documentation that the training texts do not hold
    for _ in range(3):
        training = Recipe("text.training_texts", {"characters": _integer(g, 60, 100) * 1000})
        draw = {"part": "held_out", "limit": 100, "seed": _integer(g, 0, 2**31)}
        sentences = Recipe("text.labelled_sentences", draw, item=0)
        yield Case((training, sentences), truth=text.labelled_sentences(**draw)[1], note="sentences from documentation")


def _write(steps: tuple[int, ...], length: int, g: torch.Generator) -> str:
    """A text of a, b, c, d that goes on by 0, 1, 2 or 3 letters (after d comes a) as often as `steps` says."""
    drawn = torch.multinomial(torch.tensor(steps, dtype=torch.float), length, replacement=True, generator=g)
    return "".join("abcd"[i] for i in drawn.cumsum(0) % 4)


def _tables(training: dict[str, str], sentences: list[str], smoothing: float = 0.1) -> tuple[dict, list]:
    """(V, V) smoothed counts of each library, and (T,) codes of each sentence, over the characters of all of them."""
    from course_utils.data.text import CharTokenizer

    letters = CharTokenizer.from_text("".join([*training.values(), *sentences]))
    size, counts = len(letters), {}
    for name, text in training.items():
        codes = letters.encode(text)
        counts[name] = torch.bincount(codes[:-1] * size + codes[1:], minlength=size**2).view(size, size) + smoothing
    return counts, [letters.encode(s) for s in sentences]


@which_library.mistake(
    "this is what letter frequencies alone can do: which characters a library uses, not which follows which. The "
    "chain is in the *pairs*."
)
def letters_only(training, sentences):
    counts, encoded = _tables(training, sentences)
    tables = {name: (n.sum(0) / n.sum()).log() for name, n in counts.items()}
    return [max(tables, key=lambda name: float(tables[name][codes].sum())) for codes in encoded]


@which_library.mistake(
    "you choose the *least* likely library. Log-likelihoods are negative: the best is the largest, the one "
    "closest to 0. (Of bits it would be the smallest.)"
)
def least_likely(training, sentences):
    counts, encoded = _tables(training, sentences)
    tables = {name: (n / n.sum(1, keepdim=True)).log() for name, n in counts.items()}
    return [min(tables, key=lambda name: float(tables[name][c[:-1], c[1:]].sum())) for c in encoded]


@which_library.mistake(
    "the probability of a whole sentence is too small for a float: the product becomes 0 for every library, and "
    "the first one wins the tie. Add logarithms instead."
)
def product_is_zero(training, sentences):
    counts, encoded = _tables(training, sentences)
    tables = {name: n / n.sum(1, keepdim=True) for name, n in counts.items()}
    return [max(tables, key=lambda name: float(tables[name][c[:-1], c[1:]].prod())) for c in encoded]


@which_library.mistake(
    "steps that a library never made are skipped, so they cost nothing, and the library that has seen *least* "
    "looks best. A step never seen must be expensive: smooth."
)
def unseen_steps_are_free(training, sentences):
    counts, encoded = _tables(training, sentences, smoothing=0)
    tables = {name: torch.where(n > 0, (n / n.sum(1, keepdim=True)).log(), 0.0) for name, n in counts.items()}
    return [max(tables, key=lambda name: float(tables[name][c[:-1], c[1:]].sum())) for c in encoded]


@which_library.mistake(
    "one step never seen makes a sentence impossible (log 0 = −∞), for several libraries at once, and then chance"
    " decides. Every step needs a little probability: smooth."
)
def without_smoothing(training, sentences):
    counts, encoded = _tables(training, sentences, smoothing=0)
    tables = {name: (n / n.sum(1, keepdim=True).clamp(min=1)).log() for name, n in counts.items()}
    return [max(tables, key=lambda name: float(tables[name][c[:-1], c[1:]].sum())) for c in encoded]


@which_library.mistake(
    "you compare counts, not probabilities: the library with the longest training text has more of everything and"
    " wins too often. Each row must be divided by its sum."
)
def longest_text_wins(training, sentences):
    counts, encoded = _tables(training, sentences)
    tables = {name: n.log() for name, n in counts.items()}
    return [max(tables, key=lambda name: float(tables[name][c[:-1], c[1:]].sum())) for c in encoded]


@which_library.mistake(
    "each library's counts still hold those of the libraries before it: start every table from zero."
)
def counts_never_reset(training, sentences):
    counts, encoded = _tables(training, sentences)
    tables, total = {}, 0
    for name, n in counts.items():
        total = total + n
        tables[name] = (total / total.sum(1, keepdim=True)).log()
    return [max(tables, key=lambda name: float(tables[name][c[:-1], c[1:]].sum())) for c in encoded]


@which_library.mistake(
    "all sentences together get one answer. Add up the steps *within* a sentence, and choose for each sentence by"
    " itself."
)
def one_answer_for_all(training, sentences):
    counts, encoded = _tables(training, sentences)
    tables = {name: (n / n.sum(1, keepdim=True)).log() for name, n in counts.items()}
    best = max(tables, key=lambda name: sum(float(tables[name][c[:-1], c[1:]].sum()) for c in encoded))
    return [best for _ in sentences]


def _answered(training: dict[str, str], sentences: list[str]) -> list[str]:
    """What a chain of order 1 says."""
    counts, encoded = _tables(training, sentences)
    tables = {name: (n / n.sum(1, keepdim=True)).log() for name, n in counts.items()}
    return [max(tables, key=lambda name: float(tables[name][c[:-1], c[1:]].sum())) for c in encoded]


@which_library.mistake(
    "your answers stand in the order of the sentences' lengths, as they were sorted for a batch. Put each back: the "
    "first answer is that of the first sentence."
)
def answers_in_order_of_length(training, sentences):
    return _answered(training, sorted(sentences, key=len))


@which_library.also("answers_in_order_of_length")
def answers_from_the_longest_on(training, sentences):
    return _answered(training, sorted(sentences, key=len, reverse=True))


@which_library.mistake("your answers are in the reverse order: the first answer is that of the first sentence.")
def answers_in_reverse(training, sentences):
    return _answered(training, sentences)[::-1]


# --- Promises ---------------------------------------------------------------------------------------------------------
# Wrong answers whose values may be right: each breaks a sentence of the statement, and has to lose by it.


@sample.breaks("where the randomness comes from")
def draws_from_elsewhere(table, start, length, temperature, generator):
    table, chains = (table.log() / temperature).softmax(1), [start]
    for _ in range(length - 1):
        chains.append(torch.multinomial(table[chains[-1]], 1)[:, 0])
    return torch.stack(chains, 1)


@sample.breaks("where the randomness comes from")
def seeds_what_it_is_given(table, start, length, temperature, generator):
    table, chains = (table.log() / temperature).softmax(1), [start]
    generator.manual_seed(0)
    for _ in range(length - 1):
        chains.append(torch.multinomial(table[chains[-1]], 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)


@sample.breaks("What is impossible stays so")
def a_little_for_the_impossible(table, start, length, temperature, generator):
    table, chains = ((table + 1e-6).log() / temperature).softmax(1), [start]
    for _ in range(length - 1):
        chains.append(torch.multinomial(table[chains[-1]], 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)


@sample.breaks("may be as small as 0.01")
def never_colder_than_a_fiftieth(table, start, length, temperature, generator):
    table, chains = (table.log() / max(temperature, 0.02)).softmax(1), [start]
    for _ in range(length - 1):
        chains.append(torch.multinomial(table[chains[-1]], 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)


@sample.breaks("Stay with logarithms")
def powers_instead_of_logarithms(table, start, length, temperature, generator):
    table, chains = table.float() ** (1 / temperature), [start]
    for _ in range(length - 1):
        rows = table[chains[-1]] + 1e-30
        chains.append(torch.multinomial(rows, 1, generator=generator)[:, 0])
    return torch.stack(chains, 1)
