"""Recipes for the last exercise of assignment 7, find_again: pairs, a gallery and new cards -> their rows of it."""

import math
from collections.abc import Callable

import by_hand
import torch
from recipe_parts import alternatives, encoder, learn, unit
from torch import Tensor, nn

from course_utils.learn.losses import clip_loss, nt_xent


def both_ways(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Each first view asks the second ones, and each second view the first ones."""
    return clip_loss(z1, z2, -math.log(temperature))


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
    shape: dict | None = None,
    **how,
) -> Callable:
    """A recipe that trains an encoder on pairs; `mirrored`: half of the first ones, left and right."""

    def recipe(first: Tensor, second: Tensor, gallery: Tensor, new: Tensor) -> Tensor:
        body = nn.Sequential(encoder(**shape or {}), nn.Linear(64, 64))

        def encoded(pictures: Tensor) -> Tensor:
            return unit(body(pictures / 255 - 0.5))

        def step() -> Tensor:
            rows = torch.randint(len(first), (size,))
            turned = torch.rand(size, 1, 1, 1) < (0.5 if mirrored else 0)
            one = torch.where(turned, first[rows].flip(3), first[rows])
            return loss(encoded(one), encoded(second[rows]), temperature)

        learn([body], step, steps, lr, **how)
        body.eval()
        with torch.no_grad():
            return (encoded(new) @ encoded(gallery).T).argmax(1)

    return recipe


def linear_maps(features: Callable[[Tensor], Tensor]) -> Callable:
    """Closed forms: what differs between partners is made small, what differs between cards stays (15 of them)."""

    def recipe(*pictures: Tensor) -> list[Tensor]:
        first, second, gallery, new = (features(part).double() for part in pictures)
        middle, scale = torch.cat([first, second]).mean(0), torch.cat([first, second]).std(0) + 1e-3
        first, second, gallery, new = ((x - middle) / scale for x in (first, second, gallery, new))
        directions = torch.linalg.svd(torch.cat([first, second]), full_matrices=False)[2][:300]
        first, second, gallery, new = (x @ directions.T for x in (first, second, gallery, new))
        within, whole = ((d.T @ d) / len(d) for d in (first - second, torch.cat([first, second])))
        answers = []
        for shrink in (0.01, 0.1, 0.3, 1, 10):
            inverse = torch.linalg.inv(within + shrink * within.diagonal().mean() * torch.eye(len(within)))
            white = torch.linalg.cholesky(inverse)
            axes = torch.linalg.eigh(white.T @ whole @ white)[1]
            for most in (10, 23, 300):
                seen = white @ axes[:, -most:]
                answers.append((unit(new @ seen) @ unit(gallery @ seen).T).argmax(1))
        return answers

    return recipe


def nearest_pixels(first: Tensor, second: Tensor, gallery: Tensor, new: Tensor) -> Tensor:
    """The card of the gallery that looks most alike."""
    new, gallery = ((x / 255 - 0.5).flatten(1) for x in (new, gallery))
    return (unit(new) @ unit(gallery).T).argmax(1)


FIND_AGAIN = {
    "good": {
        "hint 3: NT-Xent, rate up, then down": by_pairs(schedule="up, then down"),
        "a steady rate": by_pairs(),
        "both ways, rate 0.01": by_pairs(loss=both_ways, lr=1e-2),
        "AdamW, rate 0.001, 200 steps": by_pairs(200, lr=1e-3, optimizer=torch.optim.AdamW),
        "temperature 0.5": by_pairs(temperature=0.5),
        "temperature 0.07, cosine": by_pairs(temperature=0.07, schedule="cosine"),
        "8 channels first, 150 steps": by_pairs(150, shape={"width": 8}),
        "batch normalization": by_pairs(shape={"normed": True}),
        "half of the pictures mirrored": by_pairs(mirrored=True),
        "mean over places, 400 steps": by_pairs(400, shape={"pool": "mean"}),
    }
    | alternatives("a7_contrastive", "find_again"),
    "the idea, with an encoder that the hint does not recommend": {
        "mean over places, 200 steps, where the statement says 400": by_pairs(200, shape={"pool": "mean"}),
        "mean over places, batch normalization, 200 steps": by_pairs(200, shape={"pool": "mean", "normed": True}),
        "all places side by side, 200 steps": by_pairs(200, shape={"pool": "none"}),
    },
    "without the idea": {
        "alignment alone": by_pairs(loss=alignment),
        "alignment alone, with batch normalization": by_pairs(loss=alignment, shape={"normed": True}),
        "not trained": by_pairs(0),
        "nearest pixels": nearest_pixels,
        "linear maps of the pixels": linear_maps(lambda pictures: pictures.flatten(1) / 255),
    },
    "another idea: cards are kept apart in closed form, by features that know no place": {
        "linear maps of random convolutions": linear_maps(by_hand.random_convolutions),
        "linear maps of what is made by hand": linear_maps(by_hand.colours_and_shapes),
    },
}
