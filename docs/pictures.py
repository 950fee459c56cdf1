"""The pictures of the README, made anew: `python docs/pictures.py postcards`, `python docs/pictures.py report_card`."""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torchvision.utils import make_grid, save_image

from course_utils import evaluate, pretrained, runtime
from course_utils.data import postcards
from course_utils.models.convnet import ConvNet, ConvNetConfig
from course_utils.show import plots
from course_utils.train_checkpoints import PICTURES, PROBED

HERE = Path(__file__).parent


def make_postcards() -> Path:
    """A sheet of 64 cards: the upper half as the lectures' models see them (32 × 32), the lower half drawn larger."""
    factors = postcards.sample(64, runtime.seed(12), "all")
    small, _ = postcards.render({name: value[:32] for name, value in factors.items()}, 32)
    large, _ = postcards.render({name: value[32:] for name, value in factors.items()}, 96)
    sheet = torch.cat([F.interpolate(small, scale_factor=3), large])
    save_image(make_grid(sheet, nrow=8, padding=4, pad_value=1), HERE / "postcards.png")
    return HERE / "postcards.png"


def make_report_card() -> Path:
    """Every encoder of the course by every factor, as in lecture 12."""

    def small(cards: postcards.Postcards) -> torch.Tensor:
        return F.avg_pool2d(cards.images, 2).flatten(1)  # (N, 768)

    cards, learned = postcards.draw(3000, runtime.seed(3)), small(postcards.draw(3000, runtime.seed(0)))
    mean = learned.mean(0)
    _, vectors = torch.linalg.eigh((learned - mean).T @ (learned - mean))
    names = {"ae": "AE", "dae": "DAE", "vae": "VAE", "simclr": "SimCLR", "supcon": "SupCon", "clip": "CLIP"}
    random = ConvNet(ConvNetConfig(24), runtime.seed(0))
    features = {
        "pixels": small(cards),
        "PCA": (small(cards) - mean) @ vectors[:, -64:],
        "random": evaluate.features(random, cards.images),
    }
    for name in PICTURES:
        features[names.get(name, name)] = evaluate.features(pretrained.load_encoder(name), cards.images)
    card = evaluate.report_card(features, {f: cards.factors[f] for f in PROBED}, share=2 / 3, l2=1e-3)
    print(card)
    figure = Figure(figsize=(9.6, 5.9), dpi=110, layout="constrained", facecolor="white")
    title = "Which encoder kept which factor (linear probes of frozen features; the best in bold)"
    plots.report_card(card, title=title, ax=figure.add_subplot())
    figure.savefig(HERE / "report_card.png")
    return HERE / "report_card.png"


MAKE = {"postcards": make_postcards, "report_card": make_report_card}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", choices=MAKE)
    print(MAKE[parser.parse_args().picture]())


if __name__ == "__main__":
    main()
