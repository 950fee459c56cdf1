"""Other right answers to assignment 4, in the styles that students write: loops, numpy, einsum, library."""

import math
from collections.abc import Callable

import torch

ALTERNATIVES: dict[str, list[Callable]] = {}


def alternative(exercise: str) -> Callable[[Callable], Callable]:
    """Register a right answer to the exercise."""

    def register(function: Callable) -> Callable:
        ALTERNATIVES.setdefault(exercise, []).append(function)
        return function

    return register


# --- 1 ----------------------------------------------------------------------------------------------------------------


@alternative("mask_tokens")
def masked_in_loops(codes, choose, how, other, mask_code, special, share):
    inputs, targets = codes.clone(), torch.full_like(codes, -100)
    for b in range(codes.shape[0]):
        for t in range(codes.shape[1]):
            if codes[b, t] < special or choose[b, t] >= share:
                continue
            targets[b, t] = codes[b, t]
            if how[b, t] < 0.8:
                inputs[b, t] = mask_code
            elif how[b, t] < 0.9:
                inputs[b, t] = other[b, t]
    return inputs, targets


@alternative("mask_tokens")
def masked_by_assignment(codes, choose, how, other, mask_code, special, share):
    chosen = torch.logical_and(choose < share, codes >= special)
    inputs, targets = codes.clone(), codes.clone()
    targets[~chosen] = -100
    swapped = chosen & (how < 0.9)
    inputs[swapped] = other[swapped]
    inputs[chosen & (how < 0.8)] = mask_code
    return [inputs, targets]


# --- 2 ----------------------------------------------------------------------------------------------------------------


@alternative("mlm_loss")
def loss_in_loops(logits, targets):
    total, count = logits[:0].double().sum(), 0  # 0, and no constant
    for row, wanted in zip(logits.flatten(0, 1), targets.flatten().tolist()):
        if wanted != -100:
            total = total + row.double().logsumexp(0) - row[wanted].double()
            count += 1
    return torch.as_tensor(total / max(count, 1)).float()


@alternative("mlm_loss")
def loss_with_einsum(logits, targets):
    chosen = (targets != -100).to(logits.dtype)
    one_hot = torch.nn.functional.one_hot(targets.clamp(min=0), logits.shape[-1]).to(logits.dtype)
    shifted = logits - logits.amax(-1, keepdim=True)
    log_p = shifted - shifted.exp().sum(-1, keepdim=True).log()
    return -torch.einsum("btv,btv,bt->", log_p, one_hot, chosen) / max(float(chosen.sum()), 1.0)


# --- 3 ----------------------------------------------------------------------------------------------------------------


@alternative("attention_weights")
def weights_in_loops(scores, mask):
    found = torch.zeros_like(scores)
    for b, real in enumerate(mask):
        if real.any():
            found[b][:, :, real] = scores[b][:, :, real].softmax(-1)
    return found


@alternative("attention_weights")
def weights_written_out(scores, mask):
    scores = torch.where(mask[:, None, None, :], scores, -math.inf)
    top = scores.amax(-1, keepdim=True)
    e = torch.exp(scores - torch.where(top.isinf(), 0.0, top))
    total = e.sum(-1, keepdim=True)
    return e / torch.where(total == 0, 1.0, total)


@alternative("attention_weights")
def weights_with_nan_removed(scores, mask):
    B, H, T, _ = scores.shape
    visible = mask.view(B, 1, 1, T).expand(B, H, T, T)
    return torch.nan_to_num(torch.softmax(scores.masked_fill(visible.logical_not(), float("-inf")), dim=3))


# --- 4 ----------------------------------------------------------------------------------------------------------------


@alternative("mean_pool")
def pooled_in_a_loop(hidden, mask):
    rows = [h[m].mean(0) if m.any() else torch.zeros_like(h[0]) for h, m in zip(hidden, mask)]
    return torch.stack(rows)


@alternative("mean_pool")
def pooled_with_einsum(hidden, mask):
    weight = mask.to(hidden.dtype)
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("bt,btd->bd", weight, hidden)


@alternative("mean_pool")
def pooled_with_nanmean(hidden, mask):
    return torch.nanmean(hidden.masked_fill(~mask.unsqueeze(-1), math.nan), dim=1).nan_to_num(0.0)


# --- 5 ----------------------------------------------------------------------------------------------------------------


@alternative("draw_labels")
def drawn_with_randperm(labels, k, repeats, generator):
    rows = []
    for _ in range(repeats):
        row = []
        for c in labels.unique():
            members = torch.where(labels == c)[0]
            row += members[torch.randperm(len(members), generator=generator)[:k]].tolist()
        rows.append(sorted(row))
    return torch.tensor(rows)


@alternative("draw_labels")
def drawn_with_multinomial(labels, k, repeats, generator):
    classes = int(labels.max()) + 1
    weight = torch.nn.functional.one_hot(labels, classes).T.double()  # (C, N)
    drawn = torch.multinomial(weight.repeat(repeats, 1), k, generator=generator)  # (R · C, k), without replacement
    return drawn.view(repeats, classes * k).sort(1)[0]


@alternative("draw_labels")
def drawn_by_one_shuffle(labels, k, repeats, generator):
    rows = []
    for _ in range(repeats):
        order = torch.randperm(len(labels), generator=generator)  # all of them; then the first k of each class
        taken = [order[(labels[order] == c).cpu()][:k] for c in range(int(labels.max()) + 1)]
        rows.append(torch.cat(taken).sort().values)
    return torch.stack(rows)


# --- 6 ----------------------------------------------------------------------------------------------------------------


@alternative("mean_and_error")
def error_in_loops(right):
    means, errors = [], []
    for table in right.tolist():
        shares = [sum(row) / len(row) for row in table]
        R, mean = len(shares), sum(shares) / len(shares)
        means.append(mean)
        errors.append(math.sqrt(sum((s - mean) ** 2 for s in shares) / (R - 1) / R))
    return torch.tensor(means), torch.tensor(errors)


@alternative("mean_and_error")
def error_with_numpy(right):
    import numpy

    share = right.numpy().mean(2)
    return share.mean(1), share.std(1, ddof=1) / numpy.sqrt(share.shape[1])


# --- 7 ----------------------------------------------------------------------------------------------------------------


@alternative("which_library")
def library_by_gradient_descent(features, labels, new_features, penalty):
    mean, deviation = features.mean(0), features.std(0, correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    x, new = ((f - mean) / deviation for f in (features, new_features))
    truth = torch.nn.functional.one_hot(labels).to(x.dtype)  # (N, C)
    W, b = x.new_zeros(x.shape[1], truth.shape[1]), x.new_zeros(truth.shape[1])
    for _ in range(1000):
        gradient = ((x @ W + b).softmax(1) - truth) / len(x)
        W -= 0.05 * (x.T @ gradient + penalty * W)
        b -= 0.05 * gradient.sum(0)
    return (new @ W + b).softmax(1)


@alternative("which_library")
def library_by_adam(features, labels, new_features, penalty):
    deviation, mean = torch.std_mean(features, 0, correction=0)
    x, new = ((f - mean) / (deviation + 1e-8) for f in (features, new_features))
    model = torch.nn.Linear(x.shape[1], int(labels.max()) + 1).to(x.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    for _ in range(400):
        loss = torch.nn.functional.cross_entropy(model(x), labels) + penalty / 2 * model.weight.pow(2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model(new).detach().softmax(1)


@alternative("which_library")
def library_by_newton(features, labels, new_features, penalty):
    deviation, mean = torch.std_mean(features.double(), 0, correction=0)
    x, new = ((f.double() - mean) / deviation.clamp(min=1e-6) for f in (features, new_features))
    values, turn = torch.linalg.eigh(x.T @ x)
    turn = turn[:, values > 1e-9]  # what the labelled sentences never show keeps the weight 0
    x, new = (torch.cat([f @ turn, torch.ones_like(f[:, :1])], 1) for f in (x, new))
    C, D = int(labels.max()) + 1, x.shape[1]
    W, truth = x.new_zeros(D, C), torch.nn.functional.one_hot(labels, C).double()
    held = torch.ones(D, dtype=torch.double, device=x.device) * penalty
    held[-1] = 1e-6
    for _ in range(12):
        p = (x @ W).softmax(1)
        gradient = x.T @ (p - truth) / len(x) + held[:, None] * W
        curvature = torch.einsum("nd,ne,nc,nck->dcek", x, x, p / len(x), torch.eye(C).to(x) - p[:, None])
        curvature = curvature.reshape(D * C, D * C) + torch.diag(held.repeat_interleave(C))
        W = W - torch.linalg.solve(curvature, gradient.flatten()).view(D, C)
    return (new @ W).softmax(1).float()


# --- more styles ------------------------------------------------------------------------------------------------------


@alternative("mask_tokens")
def masked_by_arithmetic(codes, choose, how, other, mask_code, special, share):
    chosen = ((choose < share) & (codes >= special)).long()
    hidden = chosen * (how < 0.8).long()
    random = chosen * (how < 0.9).long() - hidden
    inputs = codes * (1 - hidden - random) + mask_code * hidden + other * random
    return inputs, codes * chosen - 100 * (1 - chosen)


@alternative("mean_pool")
def pooled_by_a_running_mean(hidden, mask):
    mean = torch.zeros_like(hidden[:, 0])
    count = mean[:, :1]
    for t in range(hidden.shape[1]):
        seen = mask[:, t : t + 1].to(hidden.dtype)
        count = count + seen
        mean = mean + seen * (hidden[:, t] - mean) / count.clamp(min=1)
    return mean


@alternative("draw_labels")
def drawn_one_by_one(labels, k, repeats, generator):
    """Each member is taken with the chance that is left: how many are still needed, of how many still to come."""
    rows = []
    for _ in range(repeats):
        row = []
        for c in range(int(labels.max()) + 1):
            members, need = (labels == c).nonzero()[:, 0].tolist(), k
            for place, member in enumerate(members):
                if float(torch.rand((), generator=generator)) * (len(members) - place) < need:
                    row.append(member)
                    need -= 1
        rows.append(sorted(row))
    return torch.tensor(rows)


@alternative("mean_and_error")
def error_from_all_pairs(right):
    shares = right.double().mean(2)
    R = shares.shape[1]
    apart = (shares[:, :, None] - shares[:, None]).square().sum((1, 2))
    return shares.mean(1), (apart / (2 * R * R * (R - 1))).sqrt()
