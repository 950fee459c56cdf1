"""Other right answers to assignment 1, in the styles that students write: loops, one-hot products, numpy, library.

Each function stands alone (its imports are inside), so that its source can be put into a notebook.
"""

from collections.abc import Callable

ALTERNATIVES: dict[str, list[Callable]] = {}


def alternative(exercise: str) -> Callable[[Callable], Callable]:
    """Register a right answer to the exercise."""

    def register(function: Callable) -> Callable:
        ALTERNATIVES.setdefault(exercise, []).append(function)
        return function

    return register


# --- 1 ----------------------------------------------------------------------------------------------------------------


@alternative("count_transitions")
def count_in_a_loop(codes, size):
    import torch

    counts = torch.zeros(size, size, dtype=torch.int64)
    for before, after in zip(codes.tolist(), codes.tolist()[1:]):
        counts[before, after] += 1
    return counts


@alternative("count_transitions")
def count_with_one_hot(codes, size):
    import torch

    hot = torch.nn.functional.one_hot(codes, size)  # (T, V)
    return torch.einsum("ti,tj->ij", hot[:-1], hot[1:])


@alternative("count_transitions")
def count_with_index_put(codes, size):
    import torch

    counts = torch.zeros(size, size, dtype=torch.long)
    return counts.index_put_((codes[:-1], codes[1:]), torch.ones(len(codes) - 1, dtype=torch.long), accumulate=True)


@alternative("count_transitions")
def count_with_numpy(codes, size):
    import numpy as np

    counts = np.zeros((size, size), dtype=int)
    np.add.at(counts, (codes[:-1].numpy(), codes[1:].numpy()), 1)
    return counts


# --- 2 ----------------------------------------------------------------------------------------------------------------


@alternative("probabilities")
def probabilities_in_a_loop(counts, smoothing):
    import torch

    rows = []
    for row in counts.tolist():
        total = sum(n + smoothing for n in row)
        rows.append([(n + smoothing) / total if total else 1 / len(row) for n in row])
    return torch.tensor(rows)


@alternative("probabilities")
def probabilities_with_nan_to_num(counts, smoothing):
    counts = counts.double() + smoothing
    return (counts / counts.sum(dim=1, keepdim=True)).nan_to_num(1 / counts.shape[1])


@alternative("probabilities")
def probabilities_with_normalize(counts, smoothing):
    import torch

    counts = counts + smoothing
    counts[counts.sum(1) == 0] = 1
    return torch.nn.functional.normalize(counts.float(), p=1, dim=1)


@alternative("probabilities")
def probabilities_with_numpy(counts, smoothing):
    import numpy as np

    counts = counts.numpy() + np.float32(smoothing)
    counts = np.where(counts.sum(1, keepdims=True) == 0, np.float32(1), counts)
    return counts / counts.sum(1, keepdims=True)


# --- 3 ----------------------------------------------------------------------------------------------------------------


@alternative("bits_per_character")
def bits_in_a_loop(codes, table):
    import math

    bits = 0.0
    for before, after in zip(codes.tolist(), codes.tolist()[1:]):
        p = float(table[before, after])
        bits += -math.log2(p) if p > 0 else math.inf
    return bits / (len(codes) - 1)


@alternative("bits_per_character")
def bits_as_cross_entropy(codes, table):
    import math

    import torch

    nats = torch.nn.functional.nll_loss(table.log()[codes[:-1]], codes[1:])
    return nats / math.log(2)


@alternative("bits_per_character")
def bits_with_numpy(codes, table):
    import numpy as np

    codes, table = codes.numpy(), table.numpy()
    with np.errstate(divide="ignore"):
        return float(-np.log2(table[codes[:-1], codes[1:]]).mean())


# --- 4 ----------------------------------------------------------------------------------------------------------------


@alternative("sample")
def sample_by_inverting_the_cumulative(table, start, length, temperature, generator):
    import torch

    cumulative = (table.double().log() / temperature).softmax(1).cumsum(1)
    cumulative = cumulative / cumulative[:, -1:]
    chains = start[:, None].repeat(1, length)
    for t in range(1, length):
        u = torch.rand(len(start), 1, generator=generator, dtype=torch.double).to(start.device)
        chains[:, t] = torch.searchsorted(cumulative[chains[:, t - 1]], u, right=True)[:, 0]
    return chains


@alternative("sample")
def sample_with_gumbel_noise(table, start, length, temperature, generator):
    import torch

    logits, chains = table.log() / temperature, [start]
    for _ in range(length - 1):
        u = torch.rand(len(start), table.shape[1], generator=generator, dtype=torch.double).to(start.device)
        chains.append((logits[chains[-1]] - (-u.log()).log()).argmax(1))
    return torch.stack(chains, dim=1)


@alternative("sample")
def sample_with_distributions(table, start, length, temperature, generator):
    import torch

    rows, chains = torch.distributions.Categorical(logits=table.log() / temperature).probs, [start]
    for _ in range(length - 1):
        times = torch.empty_like(rows[chains[-1]]).exponential_(generator=generator)  # whoever comes first, is drawn
        chains.append((rows[chains[-1]] / times).argmax(1))
    return torch.stack(chains, dim=1)


@alternative("sample")
def sample_chain_by_chain(table, start, length, temperature, generator):
    import random

    import torch

    draw = random.Random(int(torch.randint(2**31, (), generator=generator)))
    rows = [[(p / max(row)) ** (1 / temperature) for p in row] for row in table.tolist()]
    chains = []
    for symbol in start.tolist():
        chain = [symbol]
        while len(chain) < length:
            chain += draw.choices(range(len(rows)), rows[chain[-1]])
        chains.append(chain)
    return torch.tensor(chains)


# --- 5 ----------------------------------------------------------------------------------------------------------------


@alternative("witten_bell")
def witten_bell_in_loops(codes, size):
    from collections import Counter
    from itertools import product

    import torch

    codes = codes.tolist()
    counts = [Counter(tuple(codes[t : t + k + 1]) for t in range(len(codes) - k)) for k in range(3)]

    def p(symbol, context):
        shorter = p(symbol, context[1:]) if context else 1 / size
        follow = [counts[len(context)][*context, c] for c in range(size)]
        total, different = sum(follow), sum(n > 0 for n in follow)
        return (follow[symbol] + different * shorter) / (total + different) if total else shorter

    table = torch.empty(size, size, size)
    for a, b, c in product(range(size), repeat=3):
        table[a, b, c] = p(c, (a, b))
    return table


@alternative("witten_bell")
def witten_bell_with_one_hot(codes, size):
    import torch

    hot = torch.nn.functional.one_hot(codes, size).float()  # (T, V)
    counts = [
        hot.sum(0),
        torch.einsum("ti,tj->ij", hot[:-1], hot[1:]),
        torch.einsum("ti,tj,tk->ijk", hot[:-2], hot[1:-1], hot[2:]),
    ]
    table = torch.ones(size, device=codes.device) / size
    for n in counts:
        total = n.sum(-1, keepdim=True)
        followers = n.count_nonzero(-1).unsqueeze(-1)
        weight = (total / (total + followers)).nan_to_num(0.0)  # of the context's own frequencies
        table = weight * (n / total).nan_to_num(0.0) + (1 - weight) * table
    return table


@alternative("witten_bell")
def witten_bell_with_numpy(codes, size):
    import numpy as np

    codes, table = codes.numpy(), np.full(size, 1 / size)
    for order in range(3):
        counts = np.zeros((size,) * (order + 1))
        np.add.at(counts, tuple(codes[k : len(codes) - order + k] for k in range(order + 1)), 1)
        total, followers = counts.sum(-1, keepdims=True), (counts > 0).sum(-1, keepdims=True)
        mixed = (counts + followers * table) / np.maximum(total + followers, 1)
        table = np.where(total > 0, mixed, np.broadcast_to(table, mixed.shape))
    return table


# --- 6 ----------------------------------------------------------------------------------------------------------------


@alternative("which_library")
def library_with_counters(training, sentences):
    import math
    from collections import Counter

    def pieces(text, length):
        return [text[t : t + length] for t in range(len(text) - length + 1)]

    alphabet = set("".join(training.values()) + "".join(sentences))
    chains = {name: (Counter(pieces(text, 3)), Counter(pieces(text[:-1], 2))) for name, text in training.items()}

    def bits(sentence, name):
        triples, pairs = chains[name]
        return -sum(math.log2((triples[s] + 0.05) / (pairs[s[:2]] + 0.05 * len(alphabet))) for s in pieces(sentence, 3))

    return [min(training, key=lambda name: bits(sentence, name)) for sentence in sentences]


@alternative("which_library")
def library_as_a_matrix_product(training, sentences):
    import torch

    code = {c: i for i, c in enumerate(sorted(set("".join(training.values()) + "".join(sentences))))}
    size = len(code)

    def count(text):  # order 1
        codes = torch.tensor([code[c] for c in text])
        return torch.bincount(codes[:-1] * size + codes[1:], minlength=size**2).float()

    tables = torch.stack([count(text) for text in training.values()]).view(-1, size, size) + 0.1
    logs = (tables / tables.sum(2, keepdim=True)).log().flatten(1)  # (L, V²)
    names = list(training)
    return [names[i] for i in (torch.stack([count(s) for s in sentences]) @ logs.T).argmax(1)]


@alternative("which_library")
def library_with_numpy_and_back_off(training, sentences):
    import numpy as np

    alphabet = "".join(sorted(set("".join(training.values()) + "".join(sentences))))
    size = len(alphabet)

    def encode(text):
        return np.searchsorted(np.array(list(alphabet)), np.array(list(text)))

    def ids(codes, order):
        return sum(codes[k : len(codes) - order + k] * size ** (order - k) for k in range(order + 1))

    encoded, scores = [encode(s) for s in sentences], []
    for text in training.values():
        codes, table = encode(text), np.full(size, 1 / size)
        for order in range(3):
            counts = np.bincount(ids(codes, order), minlength=size ** (order + 1)).reshape((size,) * (order + 1))
            total, followers = counts.sum(-1, keepdims=True), (counts > 0).sum(-1, keepdims=True)
            table = np.where(total > 0, (counts + followers * table) / np.maximum(total + followers, 1), table)
        logs = np.log(table).ravel()
        scores.append([logs[ids(c, 2)].sum() for c in encoded])
    return [list(training)[i] for i in np.argmax(scores, axis=0)]


# --- more styles ------------------------------------------------------------------------------------------------------


@alternative("count_transitions")
def count_by_halves(codes, size):
    import torch

    if len(codes) < 3:
        counts = torch.zeros(size, size, dtype=torch.long, device=codes.device)
        if len(codes) == 2:
            counts[codes[0], codes[1]] = 1
        return counts
    half = len(codes) // 2
    return count_by_halves(codes[: half + 1], size) + count_by_halves(codes[half:], size)


@alternative("count_transitions")
def count_with_unique(codes, size):
    import torch

    counts = torch.zeros(size, size, dtype=torch.long, device=codes.device)
    if len(codes) > 1:
        pairs, often = torch.stack([codes[:-1], codes[1:]]).unique(dim=1, return_counts=True)
        counts[pairs[0], pairs[1]] = often
    return counts


@alternative("bits_per_character")
def bits_from_counts(codes, table):
    import torch

    size = len(table)
    counts = torch.bincount(codes[:-1] * size + codes[1:], minlength=size**2).view(size, size)
    return -float(torch.where(counts > 0, counts * table.double().log2(), 0.0).sum() / counts.sum())


@alternative("sample")
def sample_by_an_exponential_race(table, start, length, temperature, generator):
    import torch

    table, chains = (table.log() / temperature).softmax(1), [start]
    for _ in range(length - 1):
        times = torch.empty(len(start), len(table)).exponential_(generator=generator)
        chains.append((table[chains[-1]] / times.to(table)).argmax(1))
    return torch.stack(chains, 1)
