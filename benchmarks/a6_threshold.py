"""Where the threshold of assignment 6's last exercise lies between those who learn to see and those who do not.

python benchmarks/a6_threshold.py [--seeds 30]

For each draw of the pictures and each recipe: which share of the objects the judge's probe names by its features.
Adds to docs/thresholds/a6_pretext.json what it lacks, one draw after the other, so it can be stopped at any time.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autograder.author.exercise import load_exercises
from course_utils.compare import labels_of
from course_utils.data import captioned
from course_utils.paths import write

ROOT = Path(__file__).parents[1]
STORED = ROOT / "docs" / "thresholds" / "a6_pretext.json"
NOTE = (
    "each value is the share of 240 new pictures whose object a linear probe names, trained on the features of 240 "
    "others; guessing gives 1/12; one value for each draw of the pictures, in the order of their seeds 1000, 1001, …"
)


def encoder(width: int = 16, normed: bool = False, mean: bool = False) -> nn.Sequential:
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
    steps: int = 400,
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


def principal_components(count: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A recipe that knows the directions in which pictures differ most."""

    def recipe(images: Tensor, new: Tensor) -> Tensor:
        x = images.flatten(1) / 255
        directions = torch.linalg.svd(x - x.mean(0), full_matrices=False)[2][:count]
        return F.pad((new.flatten(1) / 255 - x.mean(0)) @ directions.T, (0, 64 - count))

    return recipe


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
        return body(new / 255 - 0.5)


def grey_pixels(images: Tensor, new: Tensor) -> Tensor:
    """8 × 8 grey squares."""
    return F.adaptive_avg_pool2d(new.float().mean(1), 8).flatten(1)


def edges(images: Tensor, new: Tensor) -> Tensor:
    """By hand: how much each of 8 × 8 squares stands out from what is around it."""
    x = F.pad(new / 255, (3, 3, 3, 3), mode="replicate")
    return F.adaptive_avg_pool2d((new / 255 - F.avg_pool2d(x, 7, 1)).abs().amax(1), 8).flatten(1)


def cut_out(images: Tensor, new: Tensor) -> Tensor:
    """By hand: what differs from the colours at the border, cut out and brought to one size."""
    x, shapes = new / 255, []
    border = torch.cat([x[:, :, 0], x[:, :, -1], x[:, :, :, 0], x[:, :, :, -1]], dim=2)  # (M, 3, 96)
    apart = (x[:, :, :, :, None] - border[:, :, None, None]).abs().amax(1).amin(-1)  # (M, 24, 24)
    for mask in (apart > 0.06).float():
        places = mask.nonzero()
        (top, left), (below, right) = (places.amin(0), places.amax(0) + 1) if len(places) else ((0, 0), (24, 24))
        shapes.append(F.adaptive_avg_pool2d(mask[None, None, top:below, left:right], 8).flatten())
    return torch.stack(shapes)


GOOD = {
    "hint 3: 32 pictures four ways, rate 0.006": turning(),
    "a steady rate of 0.003": turning(lr=3e-3, schedule="steady"),
    "AdamW, cosine from 0.005": turning(lr=5e-3, schedule="cosine", optimizer=torch.optim.AdamW),
    "128 pictures, each turned one way": turning(size=128, one_way=True),
    "16 pictures, 700 steps, rate 0.004": turning(size=16, steps=700, lr=4e-3),
    "with batch normalization": turning(normed=True),
    "8 channels first": turning(width=8),
}
WITHOUT = {
    "not trained": turning(steps=0),
    "answers that have nothing to do with the pictures": turning(guess=True, steps=200),
    "8 × 8 grey pixels": grey_pixels,
    "64 principal components": principal_components(64),
    "20 principal components": principal_components(20),
    "an autoencoder": reconstructing,
    "by hand: what stands out": edges,
}
OTHER = {"by hand: what differs from the border, cut out": cut_out}


def main() -> None:
    """Run what is not stored yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=30)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    judge = load_exercises(ROOT / "solutions" / "a6_pretext")["learn_to_look"].compare
    stored = json.loads(STORED.read_text())["learn_to_look"] if STORED.exists() else {}
    groups = {"good": GOOD, "without the idea": WITHOUT, "another idea": OTHER}
    values = {group: {name: stored.get(group, {}).get(name, []) for name in found} for group, found in groups.items()}
    for seed in range(seeds):
        images, new, labels = captioned.objects_alone(2000, 1000 + seed)
        for group, recipes in groups.items():
            for name, recipe in recipes.items():
                if len(values[group][name]) == seed:
                    torch.manual_seed(seed)
                    said, true = labels_of(judge, recipe(images, new), labels)
                    values[group][name].append(round(float((said == true).double().mean()), 3))
        table = {"learn_to_look": {"threshold": judge["threshold"], "note": NOTE} | values}
        write(STORED, (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode())
        for name, found in (values["good"] | values["without the idea"] | values["another idea"]).items():
            print(
                f"{min(found):.3f} … {sum(found) / len(found):.3f} … {max(found):.3f}  {len(found)}  {name}", flush=True
            )


if __name__ == "__main__":
    main()
