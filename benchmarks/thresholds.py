"""Where the thresholds of final exercises lie between those who have the idea and those who do not.

python benchmarks/thresholds.py a6_pretext [--seeds 30] [--only "by hand"]

For each draw of the data and each recipe: the share of right answers by which the exercise is judged. Adds to
docs/thresholds/a6_pretext.json what it lacks, one draw after the other, so it can be stopped at any time.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from autograder.author.exercise import load_exercises
from course_utils.compare import labels_of
from course_utils.data import captioned
from course_utils.paths import write

ROOT = Path(__file__).parents[1]
NOTE = (
    "each value is the share of 480 new pictures whose object a linear probe names, trained on the features of 480 "
    "others; guessing gives 1/12; one value for each draw of the pictures, in the order of their seeds 1000, 1001, …; "
    "the threshold is drawn between what learns and what is made by hand without learning; k-means of patches learns "
    "from the same pictures without labels, is another right idea, and passes; the pictures were designed on the draw "
    "of seed 1000, and the threshold was raised twice while the first draws came in, so only later draws are fresh"
)

# --- a6, learn_to_look ------------------------------------------------------------------------------------------------


def encoder(width: int = 16, normed: bool = True, mean: bool = False) -> nn.Sequential:
    """The encoder of hint 3, or one that is a little different."""
    layers, channels = [], (3, width, 2 * width, 64)
    for i, o in zip(channels, channels[1:]):
        norm = [nn.BatchNorm2d(o)] if normed else []
        layers += [nn.Conv2d(i, o, 3, padding=1), *norm, nn.ReLU(), nn.MaxPool2d(2)]
    pool = nn.AdaptiveAvgPool2d(1) if mean else nn.AdaptiveMaxPool2d(1)
    return nn.Sequential(*layers[:-1], pool, nn.Flatten())


def rate(schedule: str, step: int, steps: int) -> float:
    """What the learning rate is multiplied with."""
    match schedule:
        case "up, then down":
            return min((step + 1) / 20, 1.5 * (1 - step / steps), 1)
        case "cosine":
            return (1 + math.cos(math.pi * step / steps)) / 2
    return 1.0


def turning(
    steps: int = 500,
    lr: float = 6e-3,
    size: int = 32,
    schedule: str = "up, then down",
    optimizer: type = torch.optim.Adam,
    one_way: bool = False,
    guess: bool = False,
    **shape,
) -> Callable[[Tensor, Tensor], Tensor]:
    """A recipe that learns which way is up.

    Args:
        one_way: each picture of a batch is turned in one way, instead of in all four.
        guess: the answers are drawn, and have nothing to do with the pictures.
        shape: of the encoder.
    """

    def recipe(images: Tensor, new: Tensor) -> Tensor:
        body, head = encoder(**shape), nn.Linear(64, 4)
        learning = optimizer([*body.parameters(), *head.parameters()], lr=lr)
        for step in range(steps):
            learning.param_groups[0]["lr"] = lr * rate(schedule, step, steps)
            x = images[torch.randint(len(images), (size,))] / 255 - 0.5
            parts = x.chunk(4) if one_way else [x] * 4
            turns = torch.arange(4).repeat_interleave(len(parts[0]))
            turned = torch.cat([part.rot90(r, (2, 3)) for r, part in enumerate(parts)])
            loss = F.cross_entropy(head(body(turned)), turns[torch.randperm(len(turns))] if guess else turns)
            learning.zero_grad()
            loss.backward()
            learning.step()
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
    body = nn.Sequential(*encoder()[:-2], nn.MaxPool2d(2), nn.Flatten(), nn.Linear(576, 64))
    back = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 3 * 24 * 24))
    learning = torch.optim.Adam([*body.parameters(), *back.parameters()], lr=2e-3)
    for _ in range(600):
        x = images[torch.randint(len(images), (128,))] / 255 - 0.5
        learning.zero_grad()
        F.mse_loss(back(body(x)), x.flatten(1)).backward()
        learning.step()
    with torch.no_grad():
        return body.eval()(new / 255 - 0.5)


def grey_pixels(images: Tensor, new: Tensor) -> Tensor:
    """8 × 8 grey squares."""
    return F.adaptive_avg_pool2d(new.float().mean(1), 8).flatten(1)


def stands_out(images: Tensor, new: Tensor) -> Tensor:
    """By hand: how much each of 8 × 8 squares stands out from what is around it."""
    x = F.pad(new / 255, (3, 3, 3, 3), mode="replicate")
    return F.adaptive_avg_pool2d((new / 255 - F.avg_pool2d(x, 7, 1)).abs().amax(1), 8).flatten(1)


def off_the_border(new: Tensor, apart: float = 0.12) -> Tensor:
    """(M, S, S) the largest connected part of a picture that has none of the colours at its border."""
    x = new / 255
    border = torch.cat([x[:, :, 0], x[:, :, -1], x[:, :, :, 0], x[:, :, :, -1]], dim=2)  # (M, 3, 96)
    parts = []
    for picture, colours in zip(x, border):
        distance = (picture[..., None] - colours[:, None, None]).abs().amax(0).amin(-1)  # (S, S)
        numbers, _ = ndimage.label((distance > apart).numpy())
        sizes = np.bincount(numbers.ravel(), minlength=2)[1:]
        parts.append(torch.from_numpy(numbers == 1 + sizes.argmax()))
    return torch.stack(parts)


def cut_out(new: Tensor) -> Tensor:
    """By hand: what differs from the border, cut out and brought to one size."""
    shapes = []
    for mask in off_the_border(new).float():
        places = mask.nonzero()
        (top, left), (below, right) = (places.amin(0), places.amax(0) + 1) if len(places) else ((0, 0), (24, 24))
        shapes.append(F.adaptive_avg_pool2d(mask[None, None, top:below, left:right], 8).flatten())
    return torch.stack(shapes)


def moments(new: Tensor) -> Tensor:
    """By hand: the shape of what differs from the border, in moments that know neither place nor size."""
    mask = off_the_border(new).double()
    rows, columns = torch.meshgrid(*[torch.arange(24.0, dtype=torch.double)] * 2, indexing="ij")
    area = mask.sum((1, 2)).clamp(min=1)
    down, across = (
        (z - (mask * z).sum((1, 2), keepdim=True) / area[:, None, None]) / area.sqrt()[:, None, None]
        for z in (rows, columns)
    )
    powers = [(i, j) for i in range(6) for j in range(6 - i) if i + j > 1]
    found = [(mask * across**i * down**j).sum((1, 2)) / area for i, j in powers]
    return F.pad(torch.stack([area.log(), *found], 1).float(), (0, 63 - len(powers)))


def gradients(new: Tensor) -> tuple[Tensor, Tensor]:
    """(M, S, S) how steep the steepest colour is at each place, and in which direction."""
    x = F.pad(new / 255, (1, 1, 1, 1), mode="replicate")
    across, down = x[:, :, 1:-1, 2:] - x[:, :, 1:-1, :-2], x[:, :, 2:, 1:-1] - x[:, :, :-2, 1:-1]
    size, channel = (across**2 + down**2).max(1, keepdim=True)
    return size[:, 0].sqrt(), torch.atan2(down.gather(1, channel), across.gather(1, channel))[:, 0]


def oriented(new: Tensor, cells: int, bins: int) -> Tensor:
    """By hand: histograms of the directions of edges, in cells × cells squares (HOG)."""
    size, angle = gradients(new)
    which = ((angle / math.tau % 1) * bins).long().clamp(max=bins - 1)
    spread = F.one_hot(which, bins).movedim(-1, 1) * size[:, None]
    return F.normalize(F.adaptive_avg_pool2d(spread, cells).flatten(1), dim=1)


def spectrum(new: Tensor) -> Tensor:
    """By hand: how strong each frequency is, wherever its waves lie."""
    strength = torch.fft.fftshift(torch.fft.fft2(new / 255).abs(), dim=(2, 3))
    return strength[:, :, 12:, 2:22].log1p().flatten(1)


def autocorrelation(new: Tensor) -> Tensor:
    """By hand: at which distances edges lie from each other, wherever they are."""
    power = torch.fft.fft2(gradients(new)[0], s=(48, 48)).abs() ** 2
    found = torch.fft.fftshift(torch.fft.ifft2(power).real, dim=(1, 2))[:, 24:32, 20:28].flatten(1)
    return found / found[:, 4:5].clamp(min=1e-6)


def colours(images: Tensor, new: Tensor) -> Tensor:
    """By hand: which of 64 colours occur how often."""
    red, green, blue = (new.long() // 64).flatten(2).unbind(1)
    return F.one_hot(16 * red + 4 * green + blue, 64).float().mean(1)


def random_convolutions(new: Tensor, width: int = 400) -> Tensor:
    """The largest answer of each of many random filters."""
    filters = torch.randn(width, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    filters = F.normalize((filters - filters.mean((1, 2, 3), keepdim=True)).flatten(1), dim=1).view_as(filters)
    return torch.cat([F.conv2d(part / 255, filters).amax((2, 3)) for part in new.split(200)])


def all_by_hand(new: Tensor) -> Tensor:
    """All that is made by hand, side by side."""
    parts = cut_out(new), moments(new), oriented(new, 2, 16), oriented(new, 4, 8), spectrum(new), autocorrelation(new)
    return torch.cat(parts, dim=1)


def compressed(by_hand: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A recipe that brings many features to one scale, and keeps 64 principal components of them."""

    def recipe(images: Tensor, new: Tensor) -> Tensor:
        known = by_hand(images[:1000])
        middle, scale = known.mean(0), known.std(0) + 1e-6
        return components((by_hand(new) - middle) / scale, (known - middle) / scale)

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


GOOD = {
    "hint 3: 32 pictures four ways, rate 0.006": turning(),
    "a steady rate of 0.003": turning(lr=3e-3, schedule="steady"),
    "AdamW, cosine from 0.005": turning(lr=5e-3, schedule="cosine", optimizer=torch.optim.AdamW),
    "128 pictures, each turned one way": turning(size=128, one_way=True),
    "16 pictures, 900 steps, rate 0.004": turning(size=16, steps=900, lr=4e-3),
    "8 channels first": turning(width=8),
}
WEAKER = {"without batch normalization": turning(normed=False)}
WITHOUT = {
    "not trained": turning(steps=0),
    "answers that have nothing to do with the pictures": turning(guess=True, steps=200),
    "8 × 8 grey pixels": grey_pixels,
    "64 principal components": principal_components(64),
    "20 principal components": principal_components(20),
    "an autoencoder": reconstructing,
    "by hand: which colours occur": colours,
    "by hand: what stands out": stands_out,
    "by hand: what differs from the border, cut out": lambda images, new: cut_out(new),
    "by hand: moments of what differs from the border": lambda images, new: moments(new),
    "by hand: directions of edges in 2 × 2 cells": lambda images, new: oriented(new, 2, 16),
    "by hand: directions of edges in 4 × 4 cells": compressed(lambda new: oriented(new, 4, 8)),
    "by hand: frequencies": compressed(spectrum),
    "by hand: distances between edges": lambda images, new: autocorrelation(new),
    "400 random convolutions": compressed(random_convolutions),
    "all by hand together": compressed(all_by_hand),
}
OTHER = {"patches by k-means": patches_by_k_means}


def learn_to_look(seed: int, recipe: Callable[[Tensor, Tensor], Tensor], judge: dict) -> float:
    """The share of objects that the judge names by a recipe's features."""
    images, new, labels = captioned.objects_alone(6000, 1000 + seed)
    torch.manual_seed(seed)
    said, true = labels_of(judge, recipe(images, new), labels)
    return float((said == true).double().mean())


# --- the sweep --------------------------------------------------------------------------------------------------------

SWEEPS = {  # by assignment: its exercise, how a recipe is judged, the note, the recipes
    "a6_pretext": (
        learn_to_look,
        NOTE,
        {
            "good": GOOD,
            "the idea, with a weaker encoder": WEAKER,
            "without the idea": WITHOUT,
            "another idea": OTHER,
        },
    ),
}


def main() -> None:
    """Run what is not stored yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("assignment", choices=SWEEPS)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--only", default="", help="recipes with this in their name")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    judged, note, groups = SWEEPS[asked.assignment]
    judge = load_exercises(ROOT / "solutions" / asked.assignment)[judged.__name__].compare
    path = ROOT / "docs" / "thresholds" / f"{asked.assignment}.json"
    stored = json.loads(path.read_text())[judged.__name__] if path.exists() else {}
    values = {group: {name: stored.get(group, {}).get(name, []) for name in found} for group, found in groups.items()}
    for seed in range(asked.seeds):
        for group, recipes in groups.items():
            for name, recipe in recipes.items():
                if len(values[group][name]) > seed or asked.only not in name:
                    continue
                values[group][name].append(round(judged(seed, recipe, judge), 3))
                table = {judged.__name__: {"threshold": judge["threshold"], "note": note} | values}
                write(path, (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode())
                found = values[group][name]
                row = f"{min(found):.3f} … {sum(found) / len(found):.3f} … {max(found):.3f}  {len(found)}  {name}"
                print(row, flush=True)


if __name__ == "__main__":
    main()
