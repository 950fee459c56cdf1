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
    total, count = 0.0, 0
    for row, wanted in zip(logits.flatten(0, 1), targets.flatten().tolist()):
        if wanted != -100:
            total += float(row.double().logsumexp(0) - row[wanted].double())
            count += 1
    return torch.tensor(total / max(count, 1))


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
