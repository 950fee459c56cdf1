"""Recipes for the last exercise of assignment 8, name_new_pictures: pictures with captions, prompts -> classes."""

import math
from collections.abc import Callable, Iterable

import by_hand
import torch
import torch.nn.functional as F
from recipe_parts import alternatives, encoder, learn, unit
from recipes_a7 import alignment
from torch import Tensor, nn

from course_utils.learn.losses import clip_loss
from course_utils.models.clip import CLIP, CLIPConfig, WordTokenizer, words_of, zero_shot_classifier

OBJECTS, COLOURS = 5, 8


def by_captions(
    lr: float = 3e-3,
    size: int = 64,
    loss: Callable = clip_loss,
    temperature: float | None = None,
    mirrored: bool = False,
    trained: bool = True,
    shape: dict | None = None,
    own: bool = True,
    **how,
) -> Callable:
    """A recipe that trains a CLIP.

    Args:
        temperature: None where it is learned.
        own: an encoder of pictures in the place of the library's.
    """

    def recipe(images: Tensor, captions: list[str], prompts: list, new: Tensor, steps: int) -> Tensor:
        tokenizer = WordTokenizer.fit(captions)
        codes, mask = tokenizer.encode_batch(captions)
        model = CLIP(CLIPConfig(len(tokenizer), image_width=16, text_dim=32, text_layers=1))
        if own:
            model.image = encoder(**shape or {})

        def step() -> Tensor:
            rows = torch.randperm(len(images))[:size]
            turned = torch.rand(len(rows), 1, 1, 1) < (0.5 if mirrored else 0)
            x, y, scale = model(
                torch.where(turned, images[rows].flip(3), images[rows]) / 255 - 0.5, codes[rows], mask[rows]
            )
            return loss(x, y, scale if temperature is None else -math.log(temperature))

        learn([model], step, steps if trained else 0, lr, **how)
        classes = zero_shot_classifier(model.eval(), tokenizer, prompts)
        with torch.no_grad():
            return (model.encode_image(new / 255 - 0.5) @ classes.T).argmax(1)

    return recipe


def by_classes(together: bool) -> Callable:
    """A recipe that knows which class each caption names, and learns these; or their objects and colours apart."""

    def recipe(images: Tensor, captions: list[str], prompts: list, new: Tensor, steps: int) -> Tensor:
        named = {sentence: c for c, group in enumerate(prompts) for sentence in group}
        y = torch.tensor([named[caption] for caption in captions])
        body = nn.Sequential(encoder(), nn.Linear(64, OBJECTS * COLOURS if together else OBJECTS + COLOURS))

        def loss() -> Tensor:
            rows = torch.randint(len(images), (64,))
            z = body(images[rows] / 255 - 0.5)
            if together:
                return F.cross_entropy(z, y[rows])
            thing, colour = z.split([OBJECTS, COLOURS], 1)
            return F.cross_entropy(thing, y[rows] // COLOURS) + F.cross_entropy(colour, y[rows] % COLOURS)

        learn([body], loss, steps, 3e-3, "up, then down")
        with torch.no_grad():
            z = body(new / 255 - 0.5)
        return z.argmax(1) if together else z[:, :OBJECTS].argmax(1) * COLOURS + z[:, OBJECTS:].argmax(1)

    return recipe


def bags(captions: list[str], prompts: list) -> tuple[Tensor, Tensor]:
    """(N, W) which words each caption has, and (C, W) how often the sentences of each class have them."""
    words = sorted({word for caption in captions for word in words_of(caption)})

    def bag(sentences: list[str]) -> Tensor:
        return torch.tensor([[float(word in words_of(s)) for word in words] for s in sentences])

    return bag(captions), torch.stack([bag(group).mean(0) for group in prompts])


def nearest_words(said: Iterable[Tensor], usual: Tensor, classes: Tensor) -> list[Tensor]:
    """The classes whose words fit best with what is said of them for new pictures, decided in six ways for each."""
    spread = usual * (1 - usual)
    weights = torch.ones_like(usual), spread.clamp(min=1e-4).rsqrt(), 1 / spread.clamp(min=1e-4)
    pairs = [(z * w, (classes - usual) * w) for z in said for w in weights]
    return [(a(z) @ a(c).T).argmax(1) for z, c in pairs for a in (unit, lambda x: x)]


def words_by_network(images: Tensor, captions: list[str], prompts: list, new: Tensor, steps: int) -> list[Tensor]:
    """Hint 3's encoder learns which words stand in the caption, and the class is the one whose words fit best."""
    y, classes = bags(captions, prompts)
    body = nn.Sequential(encoder(), nn.Linear(64, y.shape[1]))

    def loss() -> Tensor:
        rows = torch.randint(len(images), (64,))
        return F.cross_entropy(body(images[rows] / 255 - 0.5), y[rows] / y[rows].sum(1, keepdim=True))

    learn([body], loss, steps, 3e-3, "up, then down")
    with torch.no_grad():
        log_p = body(new / 255 - 0.5).log_softmax(1)
    usual = y.mean(0)
    return nearest_words([log_p, log_p - log_p.mean(0), log_p.exp() - log_p.exp().mean(0)], usual, classes)


def words_by_ridge(features: Callable[[Tensor], Tensor]) -> Callable:
    """A recipe in closed form, from features of the picture to the words of the caption."""

    def recipe(images: Tensor, captions: list[str], prompts: list, new: Tensor, steps: int) -> list[Tensor]:
        y, classes = (part.double() for part in bags(captions, prompts))
        x, z = (features(part).double() for part in (images, new))
        z, x = ((part - x.mean(0)) / (x.std(0) + 1e-3) for part in (z, x))
        kernel, said = x @ x.T, []
        for penalty in (1e-4, 1e-3, 1e-2, 1e-1, 1, 10):
            ridge = penalty * kernel.diagonal().mean() * torch.eye(len(x))
            said.append(z @ x.T @ torch.linalg.solve(kernel + ridge, y - y.mean(0)))
        return nearest_words(said, y.mean(0), classes)

    return recipe


def not_told_apart(x: Tensor, y: Tensor, log_scale: float | Tensor) -> Tensor:
    """A picture comes to its caption, and that is all."""
    return alignment(x, y, 1.0)


NAME_NEW_PICTURES = {
    "good": {
        "hint 3: rate 0.003, up, then down": by_captions(schedule="up, then down"),
        "a steady rate of 0.003": by_captions(),
        "AdamW, rate 0.002": by_captions(lr=2e-3, optimizer=torch.optim.AdamW),
        "batches of 32": by_captions(size=32),
        "temperature fixed at 0.1": by_captions(temperature=0.1),
        "batch normalization": by_captions(shape={"normed": True}),
        "half of the pictures mirrored": by_captions(mirrored=True),
    }
    | alternatives("a8_clip", "name_new_pictures"),
    "too slow in 400 steps, as the statement says": {
        "the library's encoder of pictures, rate 0.005": by_captions(lr=5e-3, own=False)
    },
    "without the idea": {
        "alignment without negatives": by_captions(loss=not_told_apart),
        "not trained": by_captions(trained=False),
        "a classifier of the pairs shown": by_classes(together=True),
        "words by a network (best of 18 ways to decide)": words_by_network,
        "words by ridge from pixels (best of 36)": words_by_ridge(lambda pictures: pictures.flatten(1) / 255),
        "words by ridge from random convolutions (best of 36)": words_by_ridge(by_hand.random_convolutions),
    },
    "another idea: what a person knows of the pictures or picks out of the captions": {
        "words by ridge from what is made by hand (best of 36)": words_by_ridge(by_hand.colours_and_shapes),
        "two classifiers": by_classes(together=False),
    },
}
