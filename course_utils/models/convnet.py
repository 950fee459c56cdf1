"""A small convolutional encoder for small pictures, the head that contrastive learning throws away, and a decoder.

    encoder = ConvNet(ConvNetConfig(), generator)
    features = encoder(images)                       # (N, 3, 32, 32) -> (N, 128)

Letters in the shape comments: N pictures, W the config's width.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass
class ConvNetConfig:
    """The sizes of a ConvNet."""

    width: int = 32  # W, channels after the first layer; the features have 4 W numbers
    channels: int = 3  # of a picture

    def __post_init__(self):
        for name in ("width", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be ≥ 1, got {getattr(self, name)}")

    @property
    def dim(self) -> int:
        """How many numbers the features have."""
        return 4 * self.width


def layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3 × 3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


@torch.no_grad()
def initialise(model: nn.Module, generator: torch.Generator | None) -> None:
    """Draw the weights so that ReLU layers keep the scale of what they pass on; biases start at 0.

    Source: K. He et al., Delving Deep into Rectifiers (2015), equation 10.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.zero_()


class ConvNet(nn.Module):
    """Five convolutions and a mean over all places: what is in the picture, not where.

    The first layer already halves the side, which makes it fast on a CPU.

    Args:
        generator: where the initial weights are drawn from (CPU); None uses torch's global generator.
    """

    def __init__(self, config: ConvNetConfig | None = None, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config = config or ConvNetConfig()
        W = config.width
        self.layers = nn.Sequential(
            layer(config.channels, W, stride=2),  # (N, 3, 32, 32) -> (N, W, 16, 16)
            layer(W, 2 * W),
            layer(2 * W, 2 * W, stride=2),  # -> (N, 2 W, 8, 8)
            layer(2 * W, 4 * W, stride=2),  # -> (N, 4 W, 4, 4)
            layer(4 * W, 4 * W),
        )
        initialise(self, generator)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dim"]:
        """Return one vector per picture.

        Raises:
            ValueError: if the pictures have another number of channels.
        """
        if images.ndim != 4 or images.shape[1] != self.config.channels:
            raise ValueError(f"pictures must be (N, {self.config.channels}, H, W), got {tuple(images.shape)}")
        images = images.contiguous(memory_format=torch.channels_last)  # the same numbers, in a fifth less time on a CPU
        return self.layers(images).mean((2, 3))


class OnTiles(nn.Module):
    """An encoder of small tiles, applied to a whole picture: the mean over all its tiles, `step` pixels apart.

    An encoder that has only ever seen tiles of `side` × `side` pixels must be asked about such tiles. In a larger
    picture its last convolutions would read neighbours that were never there in training, with weights left over from
    the random start.
    """

    def __init__(self, encoder: ConvNet, side: int = 8, step: int = 4):
        super().__init__()
        if side < 1 or step < 1:
            raise ValueError(f"side and step must be ≥ 1 pixel, got {side} and {step}")
        self.encoder, self.side, self.step = encoder, side, step

    @property
    def config(self) -> ConvNetConfig:
        return self.encoder.config

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dim"]:
        """Return one vector per picture.

        Raises:
            ValueError: if a picture is smaller than a tile.
        """
        if min(images.shape[2:]) < self.side:
            raise ValueError(f"pictures must have at least {self.side} × {self.side} pixels, got {tuple(images.shape)}")
        tiles = images.unfold(2, self.side, self.step).unfold(3, self.side, self.step)  # (N, C, rows, columns, P, P)
        tiles = tiles.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)  # (N, tiles, C, P, P)
        return self.encoder(tiles.flatten(0, 1)).view(len(images), -1, self.config.dim).mean(1)


def small_encoder(normed: bool = False, out: int | None = None, width: int = 16) -> nn.Sequential:
    """Return three convolutions and the largest value of each channel: is it there at all, wherever it is?

    The encoder that is trained in assignments 6, 7 and 8, for pictures that show one small thing anywhere. Its weights
    are drawn as torch's layers draw theirs.

    Args:
        normed: whether batch norm follows each convolution.
        out: with it, a linear layer makes so many numbers of the 4 · width that the convolutions find.
        width: channels after the first convolution.

    Returns:
        A module: (N, 3, H, W) floating point -> (N, out), or (N, 4 · width).
    """
    layers, channels = [], (3, width, 2 * width, 4 * width)
    for inputs, outputs in zip(channels, channels[1:]):
        norm = [nn.BatchNorm2d(outputs)] if normed else []
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), *norm, nn.ReLU(), nn.MaxPool2d(2)]
    last = [] if out is None else [nn.Linear(4 * width, out)]
    return nn.Sequential(*layers[:-1], nn.AdaptiveMaxPool2d(1), nn.Flatten(), *last)  # the last pool sees all places


def projection_head(dim: int, out: int = 64, generator: torch.Generator | None = None) -> nn.Sequential:
    """Return the small network between the features and the contrastive loss; it is thrown away after training.

    Source: T. Chen et al., A Simple Framework for Contrastive Learning of Visual Representations (2020), section 4.2.
    """
    head = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, out))
    initialise(head, generator)
    return head


class Decoder(nn.Module):
    """From a vector back to a picture of 32 × 32: logits, or means."""

    def __init__(self, dim: int, config: ConvNetConfig | None = None, generator: torch.Generator | None = None):
        super().__init__()
        config = config or ConvNetConfig()
        W = config.width

        def larger(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(nn.Upsample(scale_factor=2), layer(inputs, outputs))

        self.start = nn.Linear(dim, 4 * W * 16)
        self.layers = nn.Sequential(
            nn.Unflatten(1, (4 * W, 4, 4)), nn.ReLU(),
            larger(4 * W, 2 * W),  # -> (N, 2 W, 8, 8)
            larger(2 * W, W),  # -> (N, W, 16, 16)
            nn.Upsample(scale_factor=2), nn.Conv2d(W, config.channels, 3, padding=1),  # -> (N, 3, 32, 32)
        )  # fmt: skip
        initialise(self, generator)

    def forward(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch channels 32 32"]:
        return self.layers(self.start(z))
