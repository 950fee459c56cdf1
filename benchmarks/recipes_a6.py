"""Recipes for the last exercise of assignment 6, learn_to_look: pictures and new pictures -> 64 features of these."""

from collections.abc import Callable

import by_hand
import torch
import torch.nn.functional as F
from recipe_parts import encoder, learn
from torch import Tensor, nn


def turning(
    steps: int = 500,
    lr: float = 6e-3,
    size: int = 32,
    schedule: str = "up, then down",
    one_way: bool = False,
    guess: bool = False,
    width: int = 16,
    normed: bool = True,
    **how,
) -> Callable[[Tensor, Tensor], Tensor]:
    """A recipe that learns which way is up.

    Args:
        one_way: each picture of a batch is turned in one way, instead of in all four.
        guess: the answers are drawn, and have nothing to do with the pictures.
        width, normed: of the encoder.
    """

    def recipe(images: Tensor, new: Tensor) -> Tensor:
        body, head = encoder(width, normed), nn.Linear(64, 4)

        def loss() -> Tensor:
            x = images[torch.randint(len(images), (size,))] / 255 - 0.5
            parts = x.chunk(4) if one_way else [x] * 4
            turns = torch.arange(4).repeat_interleave(len(parts[0]))
            turned = torch.cat([part.rot90(r, (2, 3)) for r, part in enumerate(parts)])
            return F.cross_entropy(head(body(turned)), turns[torch.randperm(len(turns))] if guess else turns)

        learn([body, head], loss, steps, lr, schedule, **how)
        with torch.no_grad():
            return body.eval()(new / 255 - 0.5)

    return recipe


def components(x: Tensor, known: Tensor, count: int = 64) -> Tensor:
    """The first principal components of x, by what is known of other pictures; the rest is 0."""
    directions = torch.linalg.svd(known - known.mean(0), full_matrices=False)[2][:count]
    return F.pad((x - known.mean(0)) @ directions.T, (0, 64 - count))


def principal_components(count: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A recipe that knows the directions in which pictures differ most."""
    return lambda images, new: components(new.flatten(1) / 255, images[:2000].flatten(1) / 255, count)


def reconstructing(images: Tensor, new: Tensor) -> Tensor:
    """An autoencoder: it learns from the same pictures, and nothing has to be told apart."""
    body = encoder(normed=True, pool="none")
    back = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 3 * 24 * 24))

    def loss() -> Tensor:
        x = images[torch.randint(len(images), (128,))] / 255 - 0.5
        return F.mse_loss(back(body(x)), x.flatten(1))

    learn([body, back], loss, 600, 2e-3)
    with torch.no_grad():
        return body.eval()(new / 255 - 0.5)


def seen(features: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A recipe that looks at the new pictures alone."""
    return lambda images, new: features(new)


def compressed(features: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A recipe that brings many features to one scale, and keeps 64 principal components of them."""

    def recipe(images: Tensor, new: Tensor) -> Tensor:
        known = features(images[:1000])
        middle, scale = known.mean(0), known.std(0) + 1e-6
        return components((features(new) - middle) / scale, (known - middle) / scale)

    return recipe


def patches_by_k_means(images: Tensor, new: Tensor, k: int = 200, side: int = 8) -> Tensor:
    """Which grey patches occur anywhere: the centres are learned from whitened patches (Coates and Ng 2012)."""
    generator = torch.Generator().manual_seed(0)

    def cut(pictures: Tensor) -> Tensor:  # -> (places, side²) at one contrast
        found = F.unfold(pictures.float().mean(1, keepdim=True) / 255, side).transpose(1, 2)
        return (found - found.mean(2, keepdim=True)) / (found.var(2, keepdim=True) + 0.01).sqrt()

    some = cut(images[:800]).flatten(0, 1)
    some = some[torch.randperm(len(some), generator=generator)[:20000]]
    values, directions = torch.linalg.eigh((some - some.mean(0)).T.cov())
    white = directions * (values + 0.1).rsqrt() @ directions.T
    points = (some - some.mean(0)) @ white
    centres = points[:k].clone()
    for _ in range(10):
        nearest = torch.cdist(points, centres).argmin(1)
        count = nearest.bincount(minlength=k)[:, None]
        centres = torch.where(count > 0, torch.zeros_like(centres).index_add(0, nearest, points) / count, centres)

    def occurs(pictures: Tensor) -> Tensor:
        distance = torch.cat([torch.cdist((cut(p) - some.mean(0)) @ white, centres) for p in pictures.split(100)])
        return (distance.mean(2, keepdim=True) - distance).relu().amax(1)

    return compressed(occurs)(images, new)


LEARN_TO_LOOK = {
    "good": {
        "hint 3: 32 pictures four ways, rate 0.006": turning(),
        "a steady rate of 0.003": turning(lr=3e-3, schedule="steady"),
        "AdamW, cosine from 0.005": turning(lr=5e-3, schedule="cosine", optimizer=torch.optim.AdamW),
        "128 pictures, each turned one way": turning(size=128, one_way=True),
        "16 pictures, 900 steps, rate 0.004": turning(size=16, steps=900, lr=4e-3),
    },
    "the idea, with a weaker encoder": {
        "without batch normalization": turning(normed=False),
        "8 channels first": turning(width=8),
    },
    "without the idea": {
        "not trained": turning(steps=0),
        "answers that have nothing to do with the pictures": turning(guess=True, steps=200),
        "8 × 8 grey pixels": seen(by_hand.grey_pixels),
        "64 principal components": principal_components(64),
        "20 principal components": principal_components(20),
        "an autoencoder": reconstructing,
        "by hand: which colours occur": seen(by_hand.colours),
        "by hand: what stands out": seen(by_hand.stands_out),
        "by hand: what differs from the border, cut out": seen(by_hand.cut_out),
        "by hand: moments of what differs from the border": seen(by_hand.moments),
        "by hand: directions of edges in 2 × 2 cells": seen(lambda new: by_hand.oriented(new, 2, 16)),
        "by hand: directions of edges in 4 × 4 cells": compressed(lambda new: by_hand.oriented(new, 4, 8)),
        "by hand: frequencies": compressed(by_hand.spectrum),
        "by hand: distances between edges": seen(by_hand.autocorrelation),
        "400 random convolutions": compressed(by_hand.random_convolutions),
        "all by hand together": compressed(by_hand.all_by_hand),
    },
    "another idea": {"patches by k-means": patches_by_k_means},
}
