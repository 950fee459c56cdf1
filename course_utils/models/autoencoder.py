"""Autoencoders: a picture through a narrow place and back. Linear (PCA), deep, denoising and variational.

All have `encode` (pictures -> codes) and `decode` (codes -> pictures), and calling one does both.
A denoising autoencoder is a `DeepAutoencoder` that reads `corrupt(images)` and is judged by `images`.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_utils.models.convnet import ConvNet, ConvNetConfig, Decoder


class LinearAutoencoder(nn.Module):
    """x -> W_d (W_e (x - mean)) + mean: with squared error its best subspace is PCA's.

    mean: of the training data, (inputs,). Codes are (N, latent).
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
    """Convolutions down to `latent` numbers and back to logits, for pictures of 32 × 32."""

    def __init__(self, latent: int = 32, config: ConvNetConfig | None = None, generator: torch.Generator | None = None):
        super().__init__()
        if latent < 1:
            raise ValueError(f"latent must be ≥ 1, got {latent}")
        self.config = config = config or ConvNetConfig()
        self.latent = latent
        self.encoder = ConvNet(config, generator).layers  # -> (N, 4 W, 4, 4): here the places matter
        self.to_code = self.code_layer(16 * config.dim, generator)
        self.decoder = Decoder(latent, config, generator)

    def code_layer(self, inputs: int, generator: torch.Generator | None, outputs: int | None = None) -> nn.Linear:
        layer = nn.Linear(inputs, outputs or self.latent)
        with torch.no_grad():
            layer.weight.normal_(0, inputs**-0.5, generator=generator)
            layer.bias.zero_()
        return layer

    def encode(self, images: Float[Tensor, "batch channels 32 32"]) -> Float[Tensor, "batch latent"]:
        return self.to_code(self.encoder(images).flatten(1))

    def decode(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels 32 32"]:
        """Return logits; the picture is their sigmoid."""
        return self.decoder(z)

    def forward(self, images: Float[Tensor, "batch channels 32 32"]) -> Float[Tensor, "batch channels 32 32"]:
        return self.decode(self.encode(images))


class VariationalAutoencoder(DeepAutoencoder):
    """The code is a Gaussian; `forward` draws one z from it, so that gradients reach its mean and its variance.

    Source: D. P. Kingma and M. Welling, Auto-Encoding Variational Bayes (2014), section 2.4.
    """

    def code_layer(self, inputs: int, generator: torch.Generator | None) -> nn.Linear:
        return super().code_layer(inputs, generator, 2 * self.latent)

    def distribution(self, images: Tensor) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return the mean and the logarithm of the variance."""
        mean, log_variance = self.to_code(self.encoder(images).flatten(1)).chunk(2, dim=1)
        return mean, log_variance

    def encode(self, images: Tensor) -> Float[Tensor, "batch latent"]:
        """Return the mean."""
        return self.distribution(images)[0]

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return (logits of the picture from one draw, mean, log variance): what `elbo_loss` needs."""
        mean, log_variance = self.distribution(images)
        return self.decode(draw(mean, log_variance, generator)), mean, log_variance


def draw(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return z = mean + deviation · noise: one draw, through which gradients can flow."""
    where = generator.device if generator is not None else mean.device
    return mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=generator, device=where).to(mean)


def corrupt(images: Tensor, sigma: float = 0.3, generator: torch.Generator | None = None) -> Tensor:
    """Add noise of deviation sigma and cut to [0, 1]: what a denoising autoencoder has to undo.

    Source: P. Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders (2008).
    """
    if sigma < 0:
        raise ValueError(f"sigma must be ≥ 0, got {sigma}")
    where = generator.device if generator is not None else images.device
    return (images + sigma * torch.randn(images.shape, generator=generator, device=where).to(images)).clamp(0, 1)
