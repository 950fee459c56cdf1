"""Other right answers to assignment 7, in the styles that students write: loops, numpy, einsum, library."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from course_utils.models.convnet import small_encoder

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
    n, steps = len(images), torch.arange(side, device=images.device)
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
        total += logits.logsumexp(0) - z[i] @ z[(i + n) % (2 * n)] / temperature
    return (total / (2 * n)).float()


@alternative("nt_xent_loss")
def loss_by_blocks(z1, z2, temperature):
    a, b = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    off = torch.eye(len(a), device=a.device) * 1e30
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
            found.append(sum(below - z[i] @ z[p] / temperature for p in positives) / len(positives))
    return (sum(found) / len(found)).float()


@alternative("sup_con_loss")
def supervised_with_weights(z, labels, temperature):
    z = z / z.norm(dim=1, keepdim=True)
    others = 1 - torch.eye(len(z), device=z.device)
    same = torch.eq(labels[:, None], labels[None, :]).float() * others
    logits = torch.einsum("id,kd->ik", z, z) / temperature
    top = (logits - 1e9 * (1 - others)).detach().amax(1, keepdim=True)  # so that no power is too large
    below = (((logits - top) * others).exp() * others).sum(1, keepdim=True).log() + top
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
    return math.log(n) - F.cross_entropy(scores, torch.arange(n, device=scores.device))


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
    H = torch.eye(n, dtype=torch.double, device=k.device) - 1 / n
    a, b = H @ k.double() @ H, H @ l.double() @ H
    return torch.einsum("ij,ji->", a, b).float() / (n - 1) ** 2


# --- 7 ----------------------------------------------------------------------------------------------------------------


@alternative("learn_to_find")
def each_side_asks_the_other(first, second):
    torch.manual_seed(3)
    encoder = small_encoder(out=64).to(first.device)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=3e-3)
    own = torch.arange(64, device=first.device)
    for _ in range(130):
        rows = torch.randint(len(first), (64,), device=first.device)
        z1, z2 = (F.normalize(encoder(x[rows].float() / 255 - 0.5), dim=1) for x in (first, second))
        logits = z1 @ z2.T / 0.1
        loss = F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return encoder


@alternative("learn_to_find")
def larger_batches_and_a_steady_rate(first, second):
    torch.manual_seed(8)
    encoder = small_encoder(out=64).to(first.device)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-3)
    for _ in range(100):
        rows = torch.randperm(len(first), device=first.device)[:100]
        z = F.normalize(encoder(torch.cat([first[rows], second[rows]]) / 255 - 0.5), dim=1)
        s = z @ z.T / 0.1 - 1e4 * torch.eye(len(z), device=z.device)
        n = len(rows)
        loss = (s.logsumexp(1) - torch.cat([s.diagonal(n), s.diagonal(-n)])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return encoder


@alternative("learn_to_find")
def with_a_head_that_is_thrown_away(first, second):
    """As SimCLR has it; returned as its parameters, in eval mode."""
    torch.manual_seed(5)
    device = first.device
    encoder, head = small_encoder(out=64).to(device), torch.nn.Linear(64, 32).to(device)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)
    partner = torch.arange(128, device=device).roll(64)
    for _ in range(140):
        rows = torch.randint(len(first), (64,), device=device)
        z = torch.cat([head(encoder(x[rows] / 255 - 0.5)) for x in (first, second)])
        z = z / z.norm(dim=1, keepdim=True)
        s = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)
        loss = -s.log_softmax(1)[torch.arange(128, device=device), partner].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return encoder.eval().state_dict()


# --- more styles ------------------------------------------------------------------------------------------------------


@alternative("two_views")
def views_by_one_hot_products(images, top, left, flip, side):
    height, width = images.shape[2:]
    steps = torch.arange(side, device=images.device)
    rows = F.one_hot(top.reshape(-1, 1) + steps, height).to(images.dtype)
    turned = torch.where(flip.reshape(-1, 1), steps.flip(0), steps)
    columns = F.one_hot(left.reshape(-1, 1) + turned, width).to(images.dtype)
    return torch.einsum("nah,nchw,nbw->ncab", rows, torch.cat([images, images]), columns)


@alternative("sup_con_loss")
def supervised_by_sums_of_classes(z, labels, temperature):
    """The sum of the cosines with all positives is one product: with the sum of the class, less oneself."""
    z = F.normalize(z, dim=1)
    member = F.one_hot(labels.unique(return_inverse=True)[1]).to(z.dtype)
    many = member.sum(0)[member.argmax(1)] - 1
    near = ((member @ (member.T @ z) - z) * z).sum(1) / temperature
    alone = torch.eye(len(z), dtype=torch.bool, device=z.device)
    whole = (z @ z.T / temperature).masked_fill(alone, -float("inf")).logsumexp(1)
    return (whole - near / many.clamp(min=1))[many > 0].mean()


@alternative("hsic")
def hsic_multiplied_out(k, l):  # noqa: E741
    n = len(k)
    mixed = 2 / n * (k.sum(0) * l.sum(0)).sum()
    return ((k * l).sum() - mixed + k.sum() * l.sum() / n**2) / (n - 1) ** 2
