"""Recipes for the last exercise of assignment 7, learn_to_find: pairs of cards -> a trained encoder."""

import math
from collections.abc import Callable

import torch
from recipe_parts import alternatives, learn, unit
from torch import Tensor, nn

from course_utils.learn.losses import clip_loss, nt_xent
from course_utils.models.convnet import small_encoder
from course_utils.readers import scaled


def both_ways(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Each first view asks the second ones, and each second view the first ones."""
    return clip_loss(z1, z2, -math.log(temperature))


def one_way(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Each first view asks the second ones, and that is all."""
    return nn.functional.cross_entropy(z1 @ z2.T / temperature, torch.arange(len(z1)))


def alignment(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Partners come together, and that is all."""
    return (z1 - z2).square().sum(1).mean()


def by_pairs(
    steps: int = 120,
    lr: float = 3e-3,
    loss: Callable = nt_xent,
    size: int = 64,
    temperature: float = 0.1,
    mirrored: bool = False,
    head: bool = False,
    **how,
) -> Callable:
    """A recipe that trains the encoder on pairs.

    Args:
        mirrored: half of the first ones, left and right.
        head: a linear layer between encoder and loss, thrown away after training.
    """

    def recipe(first: Tensor, second: Tensor) -> nn.Module:
        body, top = small_encoder(out=64), nn.Linear(64, 64) if head else nn.Identity()

        def step() -> Tensor:
            rows = torch.randint(len(first), (size,))
            turned = torch.rand(size, 1, 1, 1) < (0.5 if mirrored else 0)
            one = torch.where(turned, first[rows].flip(3), first[rows])
            return loss(unit(top(body(scaled(one)))), unit(top(body(scaled(second[rows])))), temperature)

        learn([body, top], step, steps, lr, **how)
        return body

    return recipe


def last_layer_in_closed_form(first: Tensor, second: Tensor) -> list[nn.Module]:
    """The convolutions as they were drawn; the last layer makes small what differs between partners (15 settings)."""
    body = small_encoder(out=64)
    with torch.no_grad():
        a, b = (body[:-1](scaled(part)).double() for part in (first, second))
    both, answers = torch.cat([a, b]), []
    within, whole = (x.T @ x / len(x) for x in (a - b, both - both.mean(0)))
    for shrink in (0.01, 0.1, 0.3, 1, 10):
        inverse = torch.linalg.inv(within + shrink * within.diagonal().mean() * torch.eye(64))
        white = torch.linalg.cholesky(inverse)
        axes = torch.linalg.eigh(white.T @ whole @ white)[1]
        for most in (10, 23, 64):
            made, seen = small_encoder(out=64), white @ axes[:, -most:]
            made.load_state_dict(body.state_dict())
            made[-1].weight.data.zero_()[:most] = seen.T
            made[-1].bias.data.zero_()[:most] = -both.mean(0) @ seen
            answers.append(made)
    return answers


FIND = {
    "good": {
        "hint 3: NT-Xent, rate up, then down": by_pairs(schedule="up, then down"),
        "a steady rate": by_pairs(),
        "both ways, rate 0.005": by_pairs(loss=both_ways, lr=5e-3),
        "one way": by_pairs(loss=one_way),
        "AdamW, rate 0.001, 200 steps": by_pairs(200, lr=1e-3, optimizer=torch.optim.AdamW),
        "temperature 0.2": by_pairs(temperature=0.2),
        "temperature 0.07, cosine": by_pairs(temperature=0.07, schedule="cosine"),
        "half of the pictures mirrored": by_pairs(mirrored=True),
        "a head that is thrown away": by_pairs(head=True),
        "batches of 128": by_pairs(size=128),
    }
    | alternatives("a7_contrastive", "learn_to_find"),
    "without the idea": {
        "not trained": by_pairs(0),
        "alignment alone": by_pairs(loss=alignment),
        "alignment alone, rate 0.0003": by_pairs(loss=alignment, lr=3e-4),
        "last layer in closed form (best of 15)": last_layer_in_closed_form,
    },
}
