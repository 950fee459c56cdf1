"""The pictures of the README, made anew: `python docs/pictures.py postcards`."""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torchvision.utils import make_grid, save_image

from course_utils import runtime
from course_utils.data import postcards

HERE = Path(__file__).parent


def make_postcards() -> Path:
    """A sheet of 64 cards: the upper half as the lectures' models see them (32 × 32), the lower half drawn larger."""
    factors = postcards.sample(64, runtime.seed(12), "all")
    small, _ = postcards.render({name: value[:32] for name, value in factors.items()}, 32)
    large, _ = postcards.render({name: value[32:] for name, value in factors.items()}, 96)
    sheet = torch.cat([F.interpolate(small, scale_factor=3), large])
    save_image(make_grid(sheet, nrow=8, padding=4, pad_value=1), HERE / "postcards.png")
    return HERE / "postcards.png"


MAKE = {"postcards": make_postcards}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", choices=MAKE)
    print(MAKE[parser.parse_args().picture]())


if __name__ == "__main__":
    main()
