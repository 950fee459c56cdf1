"""Recipes for the last exercise of assignment 8, learn_to_name: pictures with captions -> a trained CLIP."""

import math
from collections.abc import Callable

import torch
from recipe_parts import alternatives, learn
from recipes_a7 import alignment
from torch import Tensor

from course_utils.learn.losses import clip_loss
from course_utils.models.clip import CLIP, small_clip, words_of
from course_utils.readers import scaled


def by_captions(
    lr: float = 3e-3,
    size: int = 64,
    loss: Callable = clip_loss,
    temperature: float | None = None,
    mirrored: bool = False,
    trained: bool = True,
    **how,
) -> Callable:
    """A recipe that trains a CLIP.

    Args:
        temperature: None where it is learned.
        mirrored: half of the pictures, left and right.
    """

    def recipe(images: Tensor, captions: list[str], steps: int) -> CLIP:
        model, tokenizer = small_clip(captions)
        codes, mask = tokenizer.encode_batch(captions)

        def step() -> Tensor:
            rows = torch.randperm(len(images))[:size]
            turned = torch.rand(len(rows), 1, 1, 1) < (0.5 if mirrored else 0)
            seen = torch.where(turned, images[rows].flip(3), images[rows])
            x, y, scale = model(scaled(seen), codes[rows], mask[rows])
            return loss(x, y, scale if temperature is None else -math.log(temperature))

        learn([model], step, steps if trained else 0, lr, **how)
        return model

    return recipe


def not_told_apart(x: Tensor, y: Tensor, log_scale: float | Tensor) -> Tensor:
    """A picture comes to its caption, and that is all."""
    return alignment(x, y, 1.0)


def words_alone(images: Tensor, captions: list[str], steps: int) -> CLIP:
    """The encoder of pictures learns which words stand in the caption; nothing compares pictures with sentences."""
    model, tokenizer = small_clip(captions)
    words = sorted({word for caption in captions for word in words_of(caption)})
    y = torch.tensor([[float(word in words_of(caption)) for word in words] for caption in captions])
    head = torch.nn.Linear(64, len(words))

    def loss() -> Tensor:
        rows = torch.randint(len(images), (64,))
        return torch.nn.functional.binary_cross_entropy_with_logits(head(model.image(scaled(images[rows]))), y[rows])

    learn([model.image, head], loss, steps, 3e-3, "up, then down")
    return model


NAME = {
    "good": {
        "hint 3: rate 0.003, up, then down": by_captions(schedule="up, then down"),
        "a steady rate of 0.003": by_captions(),
        "AdamW, rate 0.002": by_captions(lr=2e-3, optimizer=torch.optim.AdamW),
        "batches of 32": by_captions(size=32),
        "temperature fixed at 0.1": by_captions(temperature=0.1),
        "half of the pictures mirrored": by_captions(mirrored=True),
    }
    | alternatives("a8_clip", "learn_to_name"),
    "without the idea": {
        "not trained": by_captions(trained=False),
        "alignment without negatives": by_captions(loss=not_told_apart),
        "pictures and captions drawn apart": by_captions(loss=lambda x, y, s: clip_loss(x, y.roll(1, 0), s)),
        "words of the captions, and no sentences": words_alone,
    },
}
