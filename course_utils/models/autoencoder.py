"""Autoencoders: a picture squeezed through a narrow code and back. Linear (PCA), deep, denoising and variational.

All have `encode` (pictures -> codes) and `decode` (codes -> pictures); calling one does both.
A denoising autoencoder is a `DeepAutoencoder` that reads `corrupt(images)` and is judged by `images`.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_utils.models.convnet import ConvNet, ConvNetConfig, Decoder, initialise


class LinearAutoencoder(nn.Module):
    """x -> W_d (W_e (x - mean)) + mean: with squared error, its best subspace is PCA's.

    Args:
        mean: of the training data.
        latent: how many numbers a code has.

    Source: P. Baldi and K. Hornik, Neural Networks and Principal Component Analysis (1989).
    """

    def __init__(self, mean: Float[Tensor, " inputs"], latent: int, generator: torch.Generator | None = None):
        super().__init__()
        inputs = len(mean)
        if not 1 <= latent <= inputs:
            raise ValueError(f"latent must be between 1 and the {inputs} inputs, got {latent}")
        self.register_buffer("mean", mean.clone())
        self.encoder, self.decoder = nn.Linear(inputs, latent, bias=False), nn.Linear(latent, inputs, bias=False)
        with torch.no_grad():
            self.encoder.weight.normal_(0, inputs**-0.5, generator=generator)
            self.decoder.weight.copy_(self.encoder.weight.T)

    def encode(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch latent"]:
        return self.encoder(x - self.mean)

    def decode(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch inputs"]:
        return self.decoder(z) + self.mean

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch inputs"]:
        return self.decode(self.encode(x))


class DeepAutoencoder(nn.Module):
    """Convolutions down to `latent` numbers and back to logits, for pictures of 32 × 32.

    Args:
        linear: add two matrices beside the convolutions, from the pixels to the code and from the code to the logits.
            The network then contains a linear autoencoder, and can start where PCA ends: `start_as_pca`.
    """

    def __init__(
        self,
        latent: int = 32,
        config: ConvNetConfig | None = None,
        generator: torch.Generator | None = None,
        *,
        linear: bool = False,
    ):
        super().__init__()
        if latent < 1:
            raise ValueError(f"latent must be ≥ 1, got {latent}")
        self.config = config = config or ConvNetConfig()
        self.latent = latent
        self.encoder = ConvNet(
            config, generator
        ).layers  # -> (N, 4 W, 4, 4): no mean over the places, which matter here
        self.to_code = self.code_layer(16 * config.dim, generator)
        self.decoder = Decoder(latent, config, generator)
        self.linear = linear
        if linear:
            pixels = config.channels * 32 * 32
            self.linear_encoder, self.linear_decoder = nn.Linear(pixels, latent), nn.Linear(latent, pixels)
            initialise(self.linear_encoder, generator)
            initialise(self.linear_decoder, generator)

    def code_layer(self, inputs: int, generator: torch.Generator | None, outputs: int | None = None) -> nn.Linear:
        layer = nn.Linear(inputs, outputs or self.latent)
        with torch.no_grad():
            layer.weight.normal_(0, inputs**-0.5, generator=generator)
            layer.bias.zero_()
        return layer

    def encode(self, images: Float[Tensor, "batch channels 32 32"]) -> Float[Tensor, "batch latent"]:
        z = self.to_code(self.encoder(images).flatten(1))
        return z + self.linear_encoder(images.flatten(1)) if self.linear else z

    def decode(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels 32 32"]:
        """Return logits; the picture is their sigmoid."""
        logits = self.decoder(z)
        return logits + self.linear_decoder(z).view_as(logits) if self.linear else logits

    def forward(self, images: Float[Tensor, "batch channels 32 32"]) -> Float[Tensor, "batch channels 32 32"]:
        return self.decode(self.encode(images))


class VariationalAutoencoder(DeepAutoencoder):
    """The code is a Gaussian; `forward` draws one z from it, in a way that lets gradients reach its mean and variance.

    Source: D. P. Kingma and M. Welling, Auto-Encoding Variational Bayes (2014), section 2.4.
    """

    def code_layer(self, inputs: int, generator: torch.Generator | None) -> nn.Linear:
        return super().code_layer(inputs, generator, 2 * self.latent)

    def distribution(self, images: Tensor) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return the mean and the logarithm of the variance of each picture's code."""
        mean, log_variance = self.to_code(self.encoder(images).flatten(1)).chunk(2, dim=1)
        return mean + self.linear_encoder(images.flatten(1)) if self.linear else mean, log_variance

    def encode(self, images: Tensor) -> Float[Tensor, "batch latent"]:
        """Return the mean of each picture's code."""
        return self.distribution(images)[0]

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return (logits of the picture from one draw, mean, log variance): what `elbo_loss` needs."""
        mean, log_variance = self.distribution(images)
        return self.decode(draw(mean, log_variance, generator)), mean, log_variance


@torch.no_grad()
def start_as_pca(model: DeepAutoencoder, images: Float[Tensor, "n channels 32 32"]) -> None:
    """Set the linear part to PCA of these pictures, with codes of variance 1, and let the convolutions add nothing yet.

    The decoder gives logits, so its matrix is PCA's divided by the sigmoid's slope at the mean picture.

    Raises:
        ValueError: if the model has no linear part, or there are fewer pictures than numbers in a code.
    """
    if not model.linear or len(images) < model.latent:
        raise ValueError(f"a linear part and at least {model.latent} pictures are needed, got {len(images)}")
    x = images.flatten(1)
    mean = x.mean(0)
    variances, directions = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    directions, deviations = directions[:, -model.latent :], variances[-model.latent :].clamp(min=1e-8).sqrt()
    model.linear_encoder.weight.copy_((directions / deviations).T)
    model.linear_encoder.bias.copy_(-(directions / deviations).T @ mean)
    slope = (mean * (1 - mean)).clamp(min=0.1)[:, None]
    model.linear_decoder.weight.copy_(directions * deviations / slope)
    model.linear_decoder.bias.copy_(mean.logit(eps=1e-3))
    for last in (model.to_code, model.decoder.layers[-1]):
        last.weight.zero_()
        last.bias.zero_()


def draw(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return z = mean + deviation · noise: one draw, through which gradients can flow."""
    where = generator.device if generator is not None else mean.device
    return mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=generator, device=where).to(mean)


def corrupt(images: Tensor, sigma: float = 0.3, generator: torch.Generator | None = None) -> Tensor:
    """Add noise of standard deviation sigma and clip to [0, 1]: what a denoising autoencoder has to undo.

    Source: P. Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders (2008).
    """
    if sigma < 0:
        raise ValueError(f"sigma must be ≥ 0, got {sigma}")
    where = generator.device if generator is not None else images.device
    return (images + sigma * torch.randn(images.shape, generator=generator, device=where).to(images)).clamp(0, 1)
