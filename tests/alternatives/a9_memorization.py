"""Other right answers to assignment 9, in the styles that students write: loops, strings, numpy, einsum, library.

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


@alternative("longest_match")
def match_with_growing_windows(generated, training):
    generated, training, best = generated.tolist(), training.tolist(), (0, 0)
    for length in range(1, len(generated) + 1):
        windows = {tuple(generated[i : i + length]) for i in range(len(generated) - length + 1)}
        starts = [i for i in range(len(training) - length + 1) if tuple(training[i : i + length]) in windows]
        if not starts:
            break
        best = starts[0], length
    return best


@alternative("longest_match")
def match_in_a_string(generated, training):
    def text(tokens):
        return "".join(map(chr, tokens.tolist()))

    generated, training, best = text(generated), text(training), (0, 0)
    for first in range(len(generated)):
        for last in range(first + max(best[1], 1), len(generated) + 1):
            start = training.find(generated[first:last])
            if start < 0:
                break
            if last - first > best[1] or start < best[0]:
                best = start, last - first
    return best


@alternative("longest_match")
def match_with_difflib(generated, training):
    from difflib import SequenceMatcher

    found = SequenceMatcher(None, training.tolist(), generated.tolist(), autojunk=False).find_longest_match()
    return (found.a, found.size) if found.size else (0, 0)


@alternative("longest_match")
def match_as_tensors(generated, training):

    run = training.new_zeros(len(generated) + 1, len(training) + 1)
    for t, token in enumerate(generated):
        run[t + 1, 1:] = (run[t, :-1] + 1) * (training == token)
    best = run.amax(0)
    length = best.max()
    return (best.argmax() - length) * (length > 0), length


# --- 2 ----------------------------------------------------------------------------------------------------------------


@alternative("mark_copied")
def marked_by_unfolding(generated, training, n):
    import torch

    marks = torch.zeros_like(generated, dtype=torch.bool)
    if min(len(generated), len(training)) < n:
        return marks
    own, known = generated.unfold(0, n, 1), training.unfold(0, n, 1)  # (T - n + 1, n), (N - n + 1, n)
    starts = torch.stack([(known == window).all(1).any() for window in own])
    for k in range(n):
        marks[k : k + len(starts)] |= starts
    return marks


@alternative("mark_copied")
def marked_by_growing_matches(generated, training, n):
    import torch

    known, generated = training.tolist(), generated.tolist()
    marks = [False] * len(generated)
    for start in range(len(generated)):
        length = 0
        for place in range(len(known)):
            k = 0
            while start + k < len(generated) and place + k < len(known) and generated[start + k] == known[place + k]:
                k += 1
            length = max(length, k)
        if length >= n:
            marks[start : start + length] = [True] * length
    return torch.tensor(marks)


@alternative("mark_copied")
def marked_with_numpy(generated, training, n):
    import numpy as np

    generated, training = generated.numpy(), training.numpy()
    run, ends = np.zeros(len(training) + 1, dtype=int), []
    for token in generated:  # how long the match is that ends here, at best
        run[1:] = np.where(training == token, run[:-1] + 1, 0)
        ends.append(run.max())
    marks = np.zeros(len(generated), dtype=bool)
    for end, length in enumerate(ends, start=1):
        if length >= n:
            marks[end - length : end] = True
    return marks


# --- 3 ----------------------------------------------------------------------------------------------------------------


@alternative("exposure")
def exposure_in_a_loop(losses, canaries):
    import math

    import torch

    losses, found = losses.tolist(), []
    for c in canaries.tolist():
        rank = sum(loss <= losses[c] for loss in losses)
        found.append(math.log2(len(losses) / rank))
    return torch.tensor(found)


@alternative("exposure")
def exposure_by_sorting(losses, canaries):
    import torch

    rank = torch.searchsorted(losses.sort().values, losses[canaries], right=True)
    return -(rank / len(losses)).log2()


@alternative("exposure")
def exposure_with_scipy(losses, canaries):
    import numpy as np
    from scipy.stats import rankdata

    rank = rankdata(losses.numpy(), method="max")[canaries.numpy()]
    return np.log2(len(losses)) - np.log2(rank)


# --- 4 ----------------------------------------------------------------------------------------------------------------


@alternative("contamination")
def contamination_with_joined_words(questions, training, n, threshold):
    import torch

    text, shares = f" {' '.join(training)} ", []
    for words in questions:
        m = min(n, len(words))
        found = [f" {' '.join(words[i : i + m])} " in text for i in range(len(words) - m + 1)]
        shares.append(sum(found) / len(found))
    return torch.tensor(shares), torch.tensor([share >= threshold for share in shares])


@alternative("contamination")
def contamination_with_zip(questions, training, n, threshold):
    import torch

    def grams(words, m):
        return list(zip(*(words[k:] for k in range(m))))

    known = {m: set(grams(training, m)) for m in range(1, n + 1)}
    shares = torch.empty(len(questions), dtype=torch.double)
    for i, words in enumerate(questions):
        m = min(n, len(words))
        own = grams(words, m)
        shares[i] = len([w for w in own if w in known[m]]) / len(own)
    return shares, shares.ge(threshold)


@alternative("contamination")
def contamination_with_codes(questions, training, n, threshold):
    import torch

    code = {}
    for word in [*training, *(word for words in questions for word in words)]:
        code.setdefault(word, len(code))
    text = torch.tensor([code[word] for word in training])
    shares = []
    for words in questions:
        m = min(n, len(words))
        own = torch.tensor([code[word] for word in words]).unfold(0, m, 1)  # (places, m)
        known = text.unfold(0, min(m, len(text)), 1)
        hit = [m <= len(text) and bool((known == window).all(1).any()) for window in own]
        shares.append(torch.tensor(hit).float().mean())
    shares = torch.stack(shares)
    return shares, shares >= threshold


# --- 5 ----------------------------------------------------------------------------------------------------------------


@alternative("score_gap")
def gap_in_a_loop(correct, leaked):
    import math

    right, total = {True: 0, False: 0}, {True: 0, False: 0}
    for is_right, has_leaked in zip(correct.tolist(), leaked.tolist()):
        right[has_leaked] += is_right
        total[has_leaked] += 1
    share = {key: right[key] / total[key] for key in total}
    error = math.sqrt(sum(share[key] * (1 - share[key]) / total[key] for key in total))
    return share[False], share[True] - share[False], error


@alternative("score_gap")
def gap_with_variances(correct, leaked):
    seen, new = correct[leaked].double(), correct[~leaked].double()
    error = (seen.var(correction=0) / len(seen) + new.var(correction=0) / len(new)).sqrt()
    return new.mean(), seen.mean() - new.mean(), error


@alternative("score_gap")
def gap_with_numpy(correct, leaked):
    import numpy as np

    groups = [correct.numpy()[leaked.numpy()], correct.numpy()[~leaked.numpy()]]
    seen, new = (group.mean() for group in groups)
    return [new, seen - new, np.hypot(*(group.std() / np.sqrt(len(group)) for group in groups))]


# --- 6 ----------------------------------------------------------------------------------------------------------------


@alternative("private_gradient")
def private_sample_by_sample(gradients, max_norm, noise_multiplier, noise):
    import torch

    B = len(gradients[0])
    sums = [torch.zeros_like(z) for z in noise]
    for b in range(B):
        length = sum(float((x[b] ** 2).sum()) for x in gradients) ** 0.5
        factor = max_norm / length if length > max_norm else 1.0
        for total, x in zip(sums, gradients):
            total += factor * x[b]
    return [(total + noise_multiplier * max_norm * z) / B for total, z in zip(sums, noise)]


@alternative("private_gradient")
def private_with_one_long_vector(gradients, max_norm, noise_multiplier, noise):
    import torch

    flat = torch.cat([x.flatten(1) for x in gradients], dim=1)  # (B, all parameters)
    flat = torch.renorm(flat, p=2, dim=0, maxnorm=max_norm)
    mean = (flat.sum(0) + noise_multiplier * max_norm * torch.cat([z.flatten() for z in noise])) / len(flat)
    return [part.view_as(z) for part, z in zip(mean.split([z.numel() for z in noise]), noise)]


@alternative("private_gradient")
def private_with_einsum(gradients, max_norm, noise_multiplier, noise):
    import torch

    squares = sum(torch.einsum("bi,bi->b", x.flatten(1), x.flatten(1)) for x in gradients)
    scale = torch.where(squares > max_norm**2, max_norm / squares.sqrt(), 1.0)
    sums = [torch.einsum("b,b...->...", scale, x) for x in gradients]
    return tuple((x + noise_multiplier * max_norm * z) / len(scale) for x, z in zip(sums, noise))


@alternative("private_gradient")
def private_with_torch_clipping(gradients, max_norm, noise_multiplier, noise):
    import torch

    B, clipped = len(gradients[0]), []
    for b in range(B):
        sample = [torch.zeros_like(x[b], requires_grad=True) for x in gradients]
        for parameter, x in zip(sample, gradients):
            parameter.grad = x[b].clone()
        torch.nn.utils.clip_grad_norm_(sample, max_norm)
        clipped.append([parameter.grad for parameter in sample])
    return [(torch.stack(x).sum(0) + noise_multiplier * max_norm * z) / B for x, z in zip(zip(*clipped), noise)]


# --- 7 ----------------------------------------------------------------------------------------------------------------


@alternative("find_leaks")
def leaks_by_runs_of_words(training, questions):
    import re

    def runs(string, n):
        words = re.findall(r"[a-z0-9]+", string.lower())
        return {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)}

    known = set().union(*(runs(written, 5) for written in training.values()))
    return [len(runs(question, 5) & known) >= 0.15 * len(runs(question, 5)) for question in questions]


@alternative("find_leaks")
def leaks_by_characters(training, questions):
    import re

    def pieces(string):
        string = re.sub("[^a-z0-9]+", " ", string.lower()).strip()
        return [string[i : i + 15] for i in range(len(string) - 14)]

    known = {piece for written in training.values() for piece in pieces(written)}
    return [sum(p in known for p in pieces(q)) > 0.4 * len(pieces(q)) for q in questions]


@alternative("find_leaks")
def leaks_line_by_line(training, questions):
    from course_utils.data import text

    def triples(string):
        words = text.words(string)
        return set(zip(words, words[1:], words[2:]))

    lines, places = [triples(line) for written in training.values() for line in written.split("\n")], {}
    for number, line in enumerate(lines):
        for triple in line:
            places.setdefault(triple, []).append(number)
    leaked = []
    for question in questions:
        own, hits = triples(question), {}
        for triple in own:
            for number in places.get(triple, []):
                hits[number] = hits.get(number, 0) + 1
        leaked.append(max(hits.values(), default=0) >= 0.4 * len(own))
    return leaked


# --- more styles ------------------------------------------------------------------------------------------------------


@alternative("longest_match")
def match_by_halving(generated, training):
    generated, training = generated.tolist(), training.tolist()

    def first(length):
        windows = {tuple(generated[i : i + length]) for i in range(len(generated) - length + 1)}
        places = range(len(training) - length + 1)
        return next((i for i in places if tuple(training[i : i + length]) in windows), None)

    start, low, high = 0, 0, min(len(generated), len(training))
    while low < high:
        middle = (low + high + 1) // 2
        place = first(middle)
        low, high, start = (low, middle - 1, start) if place is None else (middle, high, place)
    return start, low


@alternative("mark_copied")
def marked_by_a_running_sum(generated, training, n):
    import torch

    generated, training = generated.tolist(), training.tolist()
    windows = {tuple(training[i : i + n]) for i in range(len(training) - n + 1)}
    edges = torch.zeros(len(generated) + n + 1, dtype=torch.int64)
    for i in range(len(generated) - n + 1):
        if tuple(generated[i : i + n]) in windows:
            edges[i] += 1
            edges[i + n] -= 1
    return edges.cumsum(0)[: len(generated)] > 0


@alternative("exposure")
def exposure_by_counting_values(losses, canaries):
    _, place, often = losses.unique(return_inverse=True, return_counts=True)
    return (len(losses) / often.cumsum(0)[place][canaries].double()).log2()


@alternative("private_gradient")
def private_with_vmap(gradients, max_norm, noise_multiplier, noise):
    import torch

    def shortened(*parts):
        length = torch.sqrt(sum(part.square().sum() for part in parts)).clamp(min=max_norm)
        return [part * (max_norm / length) for part in parts]

    sums = [part.sum(0) for part in torch.func.vmap(shortened)(*gradients)]
    return [(x + noise_multiplier * max_norm * z) / len(g) for x, z, g in zip(sums, noise, gradients)]
