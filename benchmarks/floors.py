"""The floors of the bundled checkpoints beside what they reach: from the bundled files, on held-out data.

python benchmarks/floors.py [pictures kinds tales]

Prints a Markdown table with standard errors, and below it the learning curve of each checkpoint that misses a floor.
Ends with 1 if one does. No floor is ever lowered here: they are the course's promises.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

import floors_language
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils import pretrained, runtime
from course_utils.data import postcards
from course_utils.learn import evaluate
from course_utils.models.autoencoder import corrupt
from course_utils.models.clip import zero_shot_classifier
from course_utils.models.convnet import ConvNet, ConvNetConfig


@dataclass(frozen=True)
class Row:
    """One floor. It is met if reached - floor ≥ by · error."""

    checkpoint: str
    what: str
    reached: float
    error: float  # standard error of `reached`
    floor: float = 0.0
    by: float = 0.0  # standard errors
    aim: bool = False  # a wish, no promise: missing it is shown, and fails nothing

    @property
    def met(self) -> bool:
        return self.reached - self.floor >= self.by * self.error

    def __str__(self) -> str:
        """A line of the table."""
        floor = f"> {self.floor:g} by {self.by:g} SE" if self.by else f"{'aim ' if self.aim else '≥ '}{self.floor:.2f}"
        verdict = "yes" if self.met else "not yet" if self.aim else "**no**"
        return f"| {self.checkpoint} | {self.what} | {floor} | {self.reached:.3f} ± {self.error:.3f} | {verdict} |"


HEAD = "| checkpoint | what | floor | reached ± standard error | met |\n|---|---|---|---:|---|"


# --- pictures ---------------------------------------------------------------------------------------------------------

LABELLED = 2000  # cards that train the probes, as in lecture 12
CODE = 64  # numbers that an autoencoder and PCA have for a picture
SIGMA = 0.3  # of the noise that a denoising autoencoder is asked to take away


def pictures(judged: int = 4000) -> list[Row]:
    """Return the rows of the models of pictures, judged on so many cards of each kind."""
    return [*probed(judged), *unseen_combinations(judged), *rebuilt(judged)]


def probed(judged: int) -> list[Row]:
    """What linear probes find in frozen features."""
    cards = postcards.draw(LABELLED + judged, runtime.seed(3))
    random = ConvNet(ConvNetConfig(pretrained.load_encoder("simclr").config.width), runtime.seed(0))
    encoders = {"pixels": lambda images: F.avg_pool2d(images, 2), "random": random}
    pretext = ("patch", "jigsaw", "colour")
    encoders |= {name: pretrained.load_encoder(name) for name in ("simclr", "supcon", "clip", *pretext)}
    features = {name: evaluate.features(encoder, cards.images) for name, encoder in encoders.items()}
    factors = {name: cards.factors[name] for name in ("object", "colour")}
    card = evaluate.report_card(features, factors, share=LABELLED / len(cards), l2=1e-3)

    def at_least(name: str, factor: str, floor: float, aim: bool = False) -> Row:
        return Row(name, f"{factor}, linear probe", *card[name, factor], floor, aim=aim)

    def above(name: str, other: str, by: float) -> Row:
        (one, a), (two, b) = card[name, "object"], card[other, "object"]
        return Row(name, f"object, gain over {other}", one - two, math.hypot(a, b), by=by)

    rows = [at_least("simclr", "object", 0.90), at_least("supcon", "object", 0.97), above("supcon", "simclr", 5)]
    rows += [at_least("clip", "object", 0.95), at_least("clip", "colour", 0.96)]
    for name in pretext:
        rows += [above(name, "pixels", 3), above(name, "random", 3), at_least(name, "object", 0.50, aim=True)]
    return rows


def unseen_combinations(judged: int) -> list[Row]:
    """CLIP names object and colour of cards whose combination no training picture and no caption had."""
    model = pretrained.load_model("clip")
    cards = postcards.draw(judged, runtime.seed(4), part="held_out")
    pairs = [(o, c) for o in postcards.OBJECTS for c in postcards.COLOURS]
    prompts = [[form.format(object=o, colour=c) for form in postcards.TEMPLATES[:6]] for o, c in pairs]
    classes = zero_shot_classifier(model, model.tokenizer, prompts)
    said = (evaluate.features(model.encode_image, cards.images) @ classes.T).argmax(1)
    right = said == len(postcards.COLOURS) * cards.factors["object"] + cards.factors["colour"]
    return [Row("clip", "object and colour of unseen combinations, zero-shot", *mean(right.double()), 0.90)]


def rebuilt(judged: int) -> list[Row]:
    """How far the autoencoders' pictures are from the cards, beside PCA's with as many numbers."""
    new, learned = (postcards.draw(n, runtime.seed(seed)).images for n, seed in ((judged, 4), (8000, 0)))
    noisy = corrupt(new, SIGMA, runtime.seed(5))
    middle, directions = principal_components(learned.flatten(1))

    def pca(images: Tensor, k: int = CODE) -> Tensor:
        kept = directions[:, :k]
        return (((images.flatten(1) - middle) @ kept) @ kept.T + middle).view_as(images)

    def wrong(found: Tensor) -> Tensor:
        return ((found - new) ** 2).flatten(1).sum(1)  # (N,): squared error of each card

    models = {name: pretrained.load_model(name) for name in ("ae", "dae", "vae")}
    rebuild = {name: lambda images, m=model: m.decode(m.encode(images)).sigmoid() for name, model in models.items()}
    clean = {name: wrong(evaluate.features(model, new).view_as(new)) for name, model in rebuild.items()}
    rows = [
        Row(name, f"squared error below PCA's with {CODE} numbers", *mean(wrong(pca(new)) - found), by=3)
        for name, found in clean.items()
    ]
    cleaned = {name: wrong(evaluate.features(model, noisy).view_as(new)) for name, model in rebuild.items()}
    cleaned["PCA, its best size"] = min((wrong(pca(noisy, k)) for k in (8, 16, 24, 32, 48, 64)), key=Tensor.mean)
    ours = cleaned.pop("dae")
    rows += [
        Row("dae", f"noisy cards: squared error below that of {name}", *mean(found - ours), by=3)
        for name, found in cleaned.items()
    ]
    return rows


def principal_components(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean, and the directions as columns, the largest first."""
    middle = x.mean(0)
    return middle, torch.linalg.eigh((x - middle).T @ (x - middle)).eigenvectors.flip(1)


def mean(values: Tensor) -> tuple[float, float]:
    """Return the mean and its standard error; of values that are all alike, half of what one other would change."""
    return float(values.mean()), max(float(values.std()) / math.sqrt(len(values)), 0.5 / len(values))


# --- together ---------------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[], list[Row]]] = {
    "pictures": pictures,
    "kinds": lambda: [Row(*values) for values in floors_language.kinds()],
    "tales": lambda: [Row(*values) for values in floors_language.tales()],
}


def learning_curve(name: str) -> str:
    """Return the learning curve that stands in a checkpoint's card, as text."""
    curve = pretrained.card(name).get("curve")
    if not curve:
        return f"{name}: its card has no learning curve"
    lines = [f"{name}, by step:", *(f"  {key:<14}" + " ".join(f"{v:g}" for v in row) for key, row in curve.items())]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[], help="without any, all")
    missed = []
    print(HEAD)
    for part in parser.parse_args().parts or PARTS:
        try:
            rows = PARTS[part]()
        except FileNotFoundError as error:  # a checkpoint that is not bundled
            rows, missed = [], [*missed, part]
            print(f"| {part} | | | {error} | **no** |")
        for row in rows:
            print(row)
            if not row.met and not row.aim:
                missed.append(row.checkpoint)
    for name in dict.fromkeys(missed):
        if name not in PARTS:
            print(f"\n{learning_curve(name)}")
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    main()
