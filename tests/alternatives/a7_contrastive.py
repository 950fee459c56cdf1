"""Other right answers to assignment 7, in the styles that students write: loops, numpy, einsum, library."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

ALTERNATIVES: dict[str, list[Callable]] = {}


def alternative(exercise: str) -> Callable[[Callable], Callable]:
    """Register a right answer to the exercise."""

    def register(function: Callable) -> Callable:
        ALTERNATIVES.setdefault(exercise, []).append(function)
        return function

    return register


# --- 1 ----------------------------------------------------------------------------------------------------------------


@alternative("two_views")
def views_with_index_tensors(images, top, left, flip, side):
    n, steps = len(images), torch.arange(side)
    found = []
    for v in range(2):
        columns = torch.where(flip[v][:, None], steps.flip(0), steps) + left[v][:, None]  # (N, side)
        rows = top[v][:, None] + steps
        cut = images[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (N, side, side, C)
        found.append(cut.permute(0, 3, 1, 2))
    return torch.cat(found)


@alternative("two_views")
def views_with_unfold(images, top, left, flip, side):
    windows = images.unfold(2, side, 1).unfold(3, side, 1)  # (N, C, rows, columns, side, side)
    found = torch.cat([windows[torch.arange(len(images)), :, top[v], left[v]] for v in range(2)])
    mirrored = flip.flatten()
    found[mirrored] = found[mirrored].flip(-1)
    return found


# --- 2 ----------------------------------------------------------------------------------------------------------------


@alternative("nt_xent_loss")
def loss_in_loops(z1, z2, temperature):
    z = [row / row.norm() for row in [*z1.double(), *z2.double()]]
    n, total = len(z1), 0.0
    for i in range(2 * n):
        logits = torch.stack([z[i] @ z[k] / temperature for k in range(2 * n) if k != i])
        total += float(logits.logsumexp(0) - z[i] @ z[(i + n) % (2 * n)] / temperature)
    return torch.tensor(total / (2 * n))


@alternative("nt_xent_loss")
def loss_by_blocks(z1, z2, temperature):
    a, b = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    off = torch.eye(len(a)) * 1e30
    across = a @ b.T / temperature
    first = torch.cat([across, a @ a.T / temperature - off], 1).logsumexp(1)
    second = torch.cat([across.T, b @ b.T / temperature - off], 1).logsumexp(1)
    return (first + second - 2 * across.diag()).mean() / 2


# --- 3 ----------------------------------------------------------------------------------------------------------------


@alternative("sup_con_loss")
def supervised_in_loops(z, labels, temperature):
    z = F.normalize(z.double(), dim=1)
    found = []
    for i in range(len(z)):
        others = [k for k in range(len(z)) if k != i]
        positives = [k for k in others if labels[k] == labels[i]]
        if positives:
            below = torch.stack([z[i] @ z[k] / temperature for k in others]).logsumexp(0)
            found.append(sum(float(below - z[i] @ z[p] / temperature) for p in positives) / len(positives))
    return torch.tensor(sum(found) / len(found))


@alternative("sup_con_loss")
def supervised_with_weights(z, labels, temperature):
    z = z / z.norm(dim=1, keepdim=True)
    others = 1 - torch.eye(len(z))
    same = torch.eq(labels[:, None], labels[None, :]).float() * others
    logits = torch.einsum("id,kd->ik", z, z) / temperature
    below = (logits.exp() * others).sum(1, keepdim=True).log()
    weights = same / same.sum(1, keepdim=True).clamp(min=1)
    return ((below - logits) * weights).sum() / (same.sum(1) > 0).sum()


# --- 4 ----------------------------------------------------------------------------------------------------------------


@alternative("alignment_uniformity")
def with_pdist(z1, z2):
    a, b = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    return (a - b).norm(dim=1).pow(2).mean(), torch.pdist(a).pow(2).mul(-2).exp().mean().log()


@alternative("alignment_uniformity")
def with_cosines(z1, z2):
    a, b = z1 / z1.norm(dim=1, keepdim=True), z2 / z2.norm(dim=1, keepdim=True)
    n, squares = len(a), 2 - 2 * a @ a.T
    total = (-2 * squares).exp().sum() - (-2 * squares.diag()).exp().sum()
    return [2 - 2 * (a * b).sum(1).mean(), (total / (n * (n - 1))).log()]


# --- 5 ----------------------------------------------------------------------------------------------------------------


@alternative("information_bound")
def bound_with_cross_entropy(scores):
    n = len(scores)
    return math.log(n) - F.cross_entropy(scores, torch.arange(n))


@alternative("information_bound")
def bound_in_loops(scores):
    rows = [float(row[i] - row.logsumexp(0)) for i, row in enumerate(scores.double())]
    return math.log(len(rows)) + sum(rows) / len(rows)


# --- 6 ----------------------------------------------------------------------------------------------------------------


@alternative("hsic")
def hsic_by_means(k, l):  # noqa: E741
    centred = k - k.mean(0, keepdim=True) - k.mean(1, keepdim=True) + k.mean()
    return (centred * l.T).sum() / (len(k) - 1) ** 2


@alternative("hsic")
def hsic_both_centred(k, l):  # noqa: E741
    n = len(k)
    H = torch.eye(n, dtype=torch.double) - torch.full((n, n), 1 / n, dtype=torch.double)
    a, b = H @ k.double() @ H, H @ l.double() @ H
    return torch.einsum("ij,ji->", a, b).float() / (n - 1) ** 2


# --- 7 ----------------------------------------------------------------------------------------------------------------


@alternative("find_again")
def two_layers(images, lights, gallery, new):
    g = torch.Generator().manual_seed(7)
    first = (torch.randn(768, 256, generator=g) / 28).requires_grad_()
    second = (torch.randn(256, 64, generator=g) / 16).requires_grad_()
    optimizer = torch.optim.Adam([first, second], lr=3e-3)

    def encode(x):
        return F.normalize(torch.relu((x - 0.5).flatten(1) @ first) @ second, dim=1)

    for _ in range(200):
        rows, views = images[torch.randint(len(images), (128,), generator=g)].float() / 255, []
        for _ in range(2):
            waves = (torch.randn(128, 3, len(lights), generator=g) @ lights.flatten(1)).view_as(rows)
            views.append(encode((rows * waves.exp()).clamp(0, 1)))
        logits = views[0] @ views[1].T / 0.1
        loss = F.cross_entropy(logits, torch.arange(128)) + F.cross_entropy(logits.T, torch.arange(128))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return (encode(new.float() / 255) @ encode(gallery.float() / 255).T).argmax(1)


@alternative("find_again")
def light_taken_out_by_least_squares(images, lights, gallery, new):
    basis = torch.linalg.svd(lights.double().flatten(1).T, full_matrices=False)
    span = basis.U[:, basis.S > 1e-6]  # (256, 6)
    found = []
    for part in (gallery, new):
        x = (part.double().flatten(2) / 255 + 0.02).log()  # light is a factor: a sum in the logarithm
        found.append((x - x @ span @ span.T).flatten(1))
    a, b = (x - found[0].mean(0) for x in found)
    return (F.normalize(b, dim=1) @ F.normalize(a, dim=1).T).argmax(1)
