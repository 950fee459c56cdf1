"""Other right answers to assignment 6, in the styles that students write: loops, numpy, einsum, library."""

import math
from collections.abc import Callable
from itertools import permutations

import numpy as np
import torch

from course_utils.models.convnet import small_encoder

ALTERNATIVES: dict[str, list[Callable]] = {}


def alternative(exercise: str) -> Callable[[Callable], Callable]:
    """Register a right answer to the exercise."""

    def register(function: Callable) -> Callable:
        ALTERNATIVES.setdefault(exercise, []).append(function)
        return function

    return register


# --- 1 ----------------------------------------------------------------------------------------------------------------


@alternative("patch_pairs")
def pairs_in_loops(images, which, jitter, patch, gap):
    places = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    m = (images.shape[-1] - patch) // 2
    first, second = [], []
    for image, place, ((a, b), (c, d)) in zip(images, which.tolist(), jitter.tolist()):
        down, right = places[place]
        first.append(image[:, m + a : m + a + patch, m + b : m + b + patch])
        row, column = m + c + down * (patch + gap), m + d + right * (patch + gap)
        second.append(image[:, row : row + patch, column : column + patch])
    return torch.stack(first), torch.stack(second)


@alternative("patch_pairs")
def pairs_by_gathering(images, which, jitter, patch, gap):
    N, C, S, _ = images.shape
    number = which + (which >= 4)  # as if the middle had a number, too
    offset = torch.stack([number // 3 - 1, number % 3 - 1], 1)
    middle = (S - patch) // 2
    steps = torch.arange(patch, device=which.device)

    def cut(corner):
        rows, columns = corner[:, 0:1] + steps, corner[:, 1:2] + steps  # (N, p)
        strips = images.gather(2, rows[:, None, :, None].expand(N, C, patch, S))
        return strips.gather(3, columns[:, None, None, :].expand(N, C, patch, patch))

    return [cut(middle + jitter[:, 0]), cut(middle + offset * (patch + gap) + jitter[:, 1])]


# --- 2 ----------------------------------------------------------------------------------------------------------------


@alternative("far_permutations")
def permutations_with_max(first, count):
    chosen = [tuple(first.tolist())]
    keys = {p: (len(first), 0) for p in permutations(range(len(first)))}
    while len(chosen) < count:
        for p, (near, total) in keys.items():
            d = sum(a != b for a, b in zip(p, chosen[-1]))
            keys[p] = (min(near, d), total + d)
        chosen.append(max(keys, key=keys.get))
    return torch.tensor(chosen)


@alternative("far_permutations")
def permutations_with_numpy(first, count):
    pool = np.array(list(permutations(range(len(first)))))
    chosen = first.numpy()[None]
    while len(chosen) < count:
        distance = (pool[:, None] != chosen[None]).sum(2)  # (T!, chosen)
        near, total = distance.min(1), distance.sum(1)
        best = np.flatnonzero(near == near.max())
        best = best[total[best] == total[best].max()]
        chosen = np.concatenate([chosen, pool[best[:1]]])
    return torch.from_numpy(chosen)


# --- 3 ----------------------------------------------------------------------------------------------------------------


@alternative("make_puzzle")
def puzzle_in_loops(images, order, shift, tile):
    N, T = order.shape
    G = math.isqrt(T)
    c = images.shape[-1] // G
    found = torch.empty(N, T, images.shape[1], tile, tile)
    for n in range(N):
        for i in range(T):
            cell = int(order[n, i])
            row, column = c * (cell // G) + int(shift[n, cell, 0]), c * (cell % G) + int(shift[n, cell, 1])
            found[n, i] = images[n, :, row : row + tile, column : column + tile]
    return found


@alternative("make_puzzle")
def puzzle_cells_first(images, order, shift, tile):
    N, C, S, _ = images.shape
    T = order.shape[1]
    G = math.isqrt(T)
    cells = images.view(N, C, G, S // G, G, S // G).permute(0, 2, 4, 1, 3, 5).reshape(N, T, C, S // G, S // G)
    steps = torch.arange(tile, device=shift.device)
    rows = (shift[:, :, 0, None] + steps)[:, :, None, :, None]  # (N, T, 1, t, 1)
    columns = (shift[:, :, 1, None] + steps)[:, :, None, None, :]
    n, t, c = torch.arange(N), torch.arange(T), torch.arange(C)
    tiles = cells[n[:, None, None, None, None], t[:, None, None, None], c[:, None, None], rows, columns]
    return torch.stack([tiles[i, order[i]] for i in range(N)])


# --- 4 ----------------------------------------------------------------------------------------------------------------


@alternative("colour_targets")
def targets_with_cdist(chroma, bins):
    N, _, H, W = chroma.shape
    pixels = chroma.movedim(1, -1).reshape(-1, 2)
    return torch.cdist(pixels.double(), bins.double()).argmin(1).view(N, H, W)


@alternative("colour_targets")
def targets_bin_by_bin(chroma, bins):
    best = torch.full_like(chroma[:, 0], math.inf)
    found = torch.zeros(best.shape, dtype=torch.int64, device=best.device)
    for q, (a, b) in enumerate(bins):
        distance = (chroma[:, 0] - a) ** 2 + (chroma[:, 1] - b) ** 2
        found[distance < best] = q
        best = torch.minimum(best, distance)
    return found


# --- 5 ----------------------------------------------------------------------------------------------------------------


@alternative("class_weights")
def weights_in_loops(targets, Q, mix):
    flat = targets.flatten().tolist()
    v = [1 / ((1 - mix) * flat.count(q) / len(flat) + mix / Q) for q in range(Q)]
    mean = sum(v[q] for q in flat) / len(flat)
    return torch.tensor([x / mean for x in v])


@alternative("class_weights")
def weights_by_pixels(targets, Q, mix):
    share = torch.nn.functional.one_hot(targets.flatten(), Q).float().mean(0)
    weight = torch.lerp(share, torch.full_like(share, 1 / Q), mix).reciprocal()
    return weight / weight[targets].mean()


# --- 6 ----------------------------------------------------------------------------------------------------------------


@alternative("annealed_mean")
def mean_in_loops(logits, bins, temperature):
    N, Q, H, W = logits.shape
    found = torch.zeros(N, 2, H, W, device=logits.device)
    for n in range(N):
        for i in range(H):
            for j in range(W):
                z = logits[n, :, i, j].double() / temperature
                p = (z - z.max()).exp()
                found[n, :, i, j] = ((p / p.sum()) @ bins.double()).float()
    return found


@alternative("annealed_mean")
def mean_as_a_matrix_product(logits, bins, temperature):
    p = torch.softmax(logits.movedim(1, -1) / temperature, dim=-1)  # (N, H, W, Q)
    return (p @ bins).movedim(-1, 1)


# --- 7 ----------------------------------------------------------------------------------------------------------------


@alternative("knn_probe")
def probe_in_loops(features, labels, new, new_labels, k):
    def unit(x):
        return x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)

    cosines, right = unit(new) @ unit(features).T, 0
    for row, truth in zip(cosines, new_labels.tolist()):
        said = {}
        for m in row.argsort(descending=True)[:k].tolist():
            votes, total = said.get(int(labels[m]), (0, 0.0))
            said[int(labels[m])] = (votes + 1, total + float(row[m]))
        right += max(said, key=said.get) == truth
    score = right / len(new)
    known = labels.tolist()
    commonest = max(sorted(set(known)), key=known.count)
    return score, (score * (1 - score) / len(new)) ** 0.5, new_labels.tolist().count(commonest) / len(new)


@alternative("knn_probe")
def probe_with_one_sum(features, labels, new, new_labels, k):
    cosine = torch.cosine_similarity(new[:, None], features[None], dim=2)  # (M, N)
    near, at = cosine.topk(k, dim=1)
    one_hot = torch.nn.functional.one_hot(labels[at], int(labels.max()) + 1).float()  # (M, k, C)
    votes = ((1 + near / (4 * k))[:, :, None] * one_hot).sum(1)  # the cosines together are less than half a vote
    right = (votes.argmax(1) == new_labels).float()
    chance = (new_labels == labels.mode().values).float().mean()
    score = right.mean()
    return score, (score * (1 - score) / len(new)).sqrt(), chance


# --- 8 ----------------------------------------------------------------------------------------------------------------


@alternative("four_ways")
def turned_by_mirrors(images):
    once = images.transpose(2, 3).flip(2)
    ways = [images, once, images.flip(2).flip(3), once.flip(2).flip(3)]
    n = len(images)
    return torch.cat(ways), torch.tensor([0] * n + [1] * n + [2] * n + [3] * n, device=images.device)


@alternative("four_ways")
def turned_one_by_one(images):
    turned, turns = [], []
    for r in range(4):
        for image in images:
            turned.append(torch.rot90(image, r, dims=(-2, -1)))
            turns.append(r)
    return torch.stack(turned), torch.tensor(turns, device=images.device)


# --- 9 ----------------------------------------------------------------------------------------------------------------


@alternative("learn_to_look")
def one_turn_each(images, steps=500):
    """Each picture once, turned at random; the rate rises and falls."""
    torch.manual_seed(2)
    encoder, head = small_encoder(normed=True).to(images.device), torch.nn.Linear(64, 4).to(images.device)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps + 1)
    for _ in range(steps):
        x = images[torch.randint(len(images), (128,), device=images.device)]
        turns = torch.randint(4, (128,), device=images.device)
        x = torch.stack([image.rot90(int(r), (1, 2)) for image, r in zip(x, turns.tolist())])
        loss = torch.nn.functional.cross_entropy(head(encoder(x / 255 - 0.5)), turns)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return encoder


@alternative("learn_to_look")
def a_steady_rate_and_a_deeper_head(images, steps=500):
    """The parameters are returned, in eval mode."""
    torch.manual_seed(5)
    encoder = small_encoder(normed=True)
    head = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4))
    model = torch.nn.Sequential(encoder, head).to(images.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        x = images[torch.randperm(len(images), device=images.device)[:32]].float() / 255 - 0.5
        p = model(torch.cat([x.rot90(r, (2, 3)) for r in range(4)])).log_softmax(1)
        loss = -torch.stack([part[:, r] for r, part in enumerate(p.chunk(4))]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return encoder.eval().state_dict()


# --- more styles ------------------------------------------------------------------------------------------------------


@alternative("patch_pairs")
def pairs_by_one_hot_products(images, which, jitter, patch, gap):
    side, steps = images.shape[-1], torch.arange(patch, device=images.device)
    place = which + (which > 3)
    offsets = torch.stack([place // 3 - 1, place % 3 - 1], 1)

    def cut(corner):
        rows = torch.nn.functional.one_hot(corner[:, :1] + steps, side).to(images.dtype)
        columns = torch.nn.functional.one_hot(corner[:, 1:] + steps, side).to(images.dtype)
        return torch.einsum("npr,ncrs,nqs->ncpq", rows, images, columns)

    middle = (side - patch) // 2
    return cut(middle + jitter[:, 0]), cut(middle + (patch + gap) * offsets + jitter[:, 1])


@alternative("annealed_mean")
def mean_as_a_convolution(logits, bins, temperature):
    return torch.nn.functional.conv2d((logits / temperature).softmax(1), bins.T[:, :, None, None])


@alternative("class_weights")
def weights_with_a_histogram(targets, Q, mix):
    p = torch.histc(targets.float(), Q, -0.5, Q - 0.5) / targets.numel()
    v = torch.lerp(p, torch.full_like(p, 1 / Q), mix).reciprocal()
    return v / p.dot(v)
