"""Recipes for the last exercise of assignment 6, learn_to_look: pictures without labels -> a trained encoder."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from recipe_parts import alternatives, learn
from torch import Tensor, nn

from course_utils.learn.losses import nt_xent
from course_utils.models.convnet import small_encoder
from course_utils.readers import scaled


def turning(
    steps: int = 500,
    lr: float = 6e-3,
    size: int = 32,
    schedule: str = "up, then down",
    one_way: bool = False,
    guess: bool = False,
    **how,
) -> Callable[[Tensor], nn.Module]:
    """A recipe that learns which way is up.

    Args:
        one_way: each picture of a batch is turned in one way, instead of in all four.
        guess: the answers are drawn, and have nothing to do with the pictures.
    """

    def recipe(images: Tensor) -> nn.Module:
        body, head = small_encoder(normed=True), nn.Linear(64, 4)

        def loss() -> Tensor:
            x = scaled(images[torch.randint(len(images), (size,))])
            parts = x.chunk(4) if one_way else [x] * 4
            turns = torch.arange(4).repeat_interleave(len(parts[0]))
            turned = torch.cat([part.rot90(r, (2, 3)) for r, part in enumerate(parts)])
            return F.cross_entropy(head(body(turned)), turns[torch.randperm(len(turns))] if guess else turns)

        learn([body, head], loss, steps, lr, schedule, **how)
        return body

    return recipe


def reconstructing(images: Tensor) -> nn.Module:
    """An autoencoder: it learns from the same pictures, and nothing has to be told apart."""
    body = small_encoder(normed=True)
    back = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 3 * 24 * 24))

    def loss() -> Tensor:
        x = scaled(images[torch.randint(len(images), (128,))])
        return F.mse_loss(back(body(x)), x.flatten(1))

    learn([body, back], loss, 500, 2e-3)
    return body


def mean_colours(images: Tensor) -> nn.Module:
    """Another question that pictures answer: their mean colour, which says nothing of the object."""
    body, head = small_encoder(normed=True), nn.Linear(64, 3)

    def loss() -> Tensor:
        x = scaled(images[torch.randint(len(images), (128,))])
        return F.mse_loss(head(body(x)), x.mean((2, 3)))

    learn([body, head], loss, 300, 3e-3)
    return body


def two_views(images: Tensor) -> nn.Module:
    """Another idea, of assignment 7: two noisy, shifted views find each other."""
    body, head = small_encoder(normed=True), nn.Linear(64, 64)

    def view(x: Tensor) -> Tensor:
        x = x.roll(torch.randint(-4, 5, (2,)).tolist(), (2, 3))
        return x[:, torch.randperm(3)] * (0.6 + 0.8 * torch.rand(len(x), 3, 1, 1)) + 0.05 * torch.randn_like(x)

    def loss() -> Tensor:
        x = scaled(images[torch.randint(len(images), (64,))])
        return nt_xent(head(body(view(x))), head(body(view(x))), 0.2)

    learn([body, head], loss, 500, 3e-3)
    return body


LEARN_TO_LOOK = {
    "good": {
        "hint 3: 32 pictures four ways, rate 0.006": turning(),
        "a steady rate of 0.003": turning(lr=3e-3, schedule="steady"),
        "AdamW, cosine from 0.005": turning(lr=5e-3, schedule="cosine", optimizer=torch.optim.AdamW),
        "128 pictures, each turned one way": turning(size=128, one_way=True),
        "16 pictures, 900 steps, rate 0.004": turning(size=16, steps=900, lr=4e-3),
    }
    | alternatives("a6_pretext", "learn_to_look"),
    "without the idea": {
        "not trained": turning(steps=0),
        "answers that have nothing to do with the pictures": turning(guess=True, steps=200),
        "an autoencoder": reconstructing,
        "their mean colour": mean_colours,
    },
    "another idea": {"two views that find each other": two_views},
}
