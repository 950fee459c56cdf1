"""The recipes of the models of pictures, which learn from postcards: new ones in every step, none of them twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import augment, evaluate, losses, pretext, pretrained, runtime
from course_utils.data import postcards
from course_utils.models.autoencoder import DeepAutoencoder, VariationalAutoencoder, corrupt
from course_utils.models.clip import CLIP, CLIPConfig, WordTokenizer
from course_utils.models.convnet import ConvNet, ConvNetConfig, projection_head
from course_utils.recipes.job import Job, Recipe

WIDTH = 32  # of the ConvNets: 128 features
PAIRS = "nats per picture: the right one among the batch's"
CODE = 64  # numbers of an autoencoder's code
PERMUTATIONS = 32  # of the jigsaw
PROBED = ("object", "colour", "biome", "weather", "night", "size", "x", "y")

Batch = tuple[Tensor, ...]


# --------------------------------------------------------------------------------------------------- what was kept


def probes(encoder: nn.Module, cards: int = 3000) -> dict[str, float]:
    """Return what linear probes of frozen features find: accuracies, and R² for size, x and y.

    Of so many cards that no recipe learns from, two thirds train the probes and a third judges.
    """
    drawn = postcards.draw(cards, runtime.seed(3))
    features = {"encoder": evaluate.features(encoder, drawn.images)}
    card = evaluate.report_card(features, {name: drawn.factors[name] for name in PROBED}, share=2 / 3, l2=1e-3)
    return {name: round(card["encoder", name][0], 4) for name in PROBED}


def quick_probes(model: nn.Module) -> dict[str, float]:
    """Return `probes` of half as many cards: for the learning curve."""
    return probes(pretrained.encoder_of(model), 1500)


def stored_probes(folder: Path) -> dict[str, Any]:
    """Return the probes of a stored checkpoint, as it will be loaded."""
    return {"probes": probes(pretrained.load_encoder(folder, device=runtime.device()))}


# ------------------------------------------------------------------------------------------------------ the jobs


def images_alone(n: int, generator: torch.Generator) -> Batch:
    """Draw n cards, and give the pictures."""
    return (postcards.render(postcards.sample(n, generator), 32)[0],)


def images_and_kinds(n: int, generator: torch.Generator) -> Batch:
    """Draw n cards, and give the pictures and the kinds of objects."""
    factors = postcards.sample(n, generator)
    return postcards.render(factors, 32)[0], factors["object"]


def picture_job(
    model: nn.Module,
    prepare: Callable[..., Batch],
    loss: Callable[..., Tensor],
    draw: Callable[[int, torch.Generator], Batch] = images_alone,
    *,
    size: int = 256,
    lr: float = 3e-3,
    unit: str,
    kept: Callable[[nn.Module], nn.Module] = lambda model: model.encoder,
) -> Job:
    """A pretext task on postcards.

    draw: called as draw(n, generator), returns what is known about n new cards, one row for each. prepare: called as
    prepare(*rows, generator), makes the task out of some of them, all randomness included. loss: called as
    loss(model, *what prepare returned).
    """
    judged = prepare(*draw(2 * size, runtime.seed(1)), runtime.seed(2))

    def held_out(model: nn.Module) -> float:
        device = next(model.parameters()).device
        parts = [[part[i : i + size].to(device) for part in judged] for i in (0, size)]
        return sum(float(loss(model, *rows)) for rows in parts) / 2

    return Job(
        model,
        None,
        lambda generator: prepare(*draw(size, generator), generator),
        loss,
        held_out,
        lr,
        f"postcards.sample({size}, generator) anew in each step, 32 × 32, no combination of postcards.HELD_OUT",
        unit=unit,
        kept=kept,
        note=lambda model: quick_probes(kept(model)),
        measure=stored_probes,
        bf16=fast_convolutions(),
    )


def fast_convolutions() -> bool | None:
    """Whether to compute in bfloat16: with AVX-512's instructions for it convolutions are twice as fast."""
    return True if runtime.device().type == "cpu" and torch.cpu._is_avx512_bf16_supported() else None


def in_full(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compute a loss of vectors in float32, whatever the network was computed in: cosines need their digits."""

    def computed(*vectors: Tensor, **settings: Any) -> Tensor:
        with torch.autocast(vectors[0].device.type, enabled=False):
            return loss(*(v.float() if v.is_floating_point() else v for v in vectors), **settings)

    return computed


def autoencoder_job(sigma: float = 0.0, variational: bool = False) -> Job:
    """Reconstruction through 64 numbers: of the picture, of the picture without noise, or of one draw of a VAE."""
    g = runtime.seed(0)
    model = (VariationalAutoencoder if variational else DeepAutoencoder)(CODE, ConvNetConfig(WIDTH), g)

    def prepare(images: Tensor, generator: torch.Generator) -> Batch:
        seen = corrupt(images, sigma, generator) if sigma else images
        return seen, images, torch.randn(len(images), CODE, generator=generator)

    def loss(model: nn.Module, seen: Tensor, images: Tensor, noise: Tensor) -> Tensor:
        if not variational:
            return in_full(losses.reconstruction_nats)(images, model(seen)).mean()
        mean, log_variance = model.distribution(seen)
        z = mean + (log_variance / 2).exp() * noise
        return in_full(losses.elbo_loss)(images, model.decode(z), mean, log_variance)

    return picture_job(model, prepare, loss, size=128, unit="nats per picture", kept=lambda model: model)


def patch_job() -> Job:
    """Where does the second patch lie?"""
    return picture_job(
        pretext.PatchModel(ConvNetConfig(WIDTH), runtime.seed(0)),
        pretext.patch_pairs,
        lambda model, first, second, which: F.cross_entropy(model(first, second), which),
        unit="nats per pair of patches",
    )


def jigsaw_job() -> Job:
    """In which order are the tiles?"""
    permutations = pretext.permutation_set(PERMUTATIONS, tiles=9)
    return picture_job(
        pretext.JigsawModel(len(permutations), 9, ConvNetConfig(WIDTH), runtime.seed(0)),
        lambda images, generator: pretext.jigsaw(images, permutations, generator),
        lambda model, tiles, which: F.cross_entropy(model(tiles), which),
        unit="nats per puzzle",
    )


def colour_job() -> Job:
    """Which colour has each place of the grey picture? Classification, rare colours count more."""
    bins = pretext.colour_bins()

    def prepare(images: Tensor, generator: torch.Generator) -> Batch:
        grey, chroma = pretext.split_colour(images)
        return grey, pretext.colour_targets(pretext.half(chroma), bins)

    _, seen = prepare(*images_alone(1000, runtime.seed(0)), runtime.seed(0))
    weight = pretext.rebalanced_weights(seen, len(bins))
    return picture_job(
        pretext.Colourizer(len(bins), ConvNetConfig(WIDTH), runtime.seed(0)),
        prepare,
        lambda model, grey, targets: F.cross_entropy(model(grey), targets, weight.to(grey.device)),
        size=128,
        unit="nats per place, rare colours weighted",
    )


class Headed(nn.Module):
    """An encoder and the projection head that is thrown away."""

    def __init__(self):
        super().__init__()
        g = runtime.seed(0)
        self.encoder = ConvNet(ConvNetConfig(WIDTH), g)
        self.head = projection_head(self.encoder.config.dim, 64, g)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.encoder(images))


def views() -> augment.Compose:
    """Return SimCLR's augmentation for postcards: crops that still show most of a card, and every hue."""
    jitter = augment.ColourJitter(0.4, 0.4, 0.4, 0.5, p=0.8)
    return augment.Compose(augment.CropResize((0.4, 1.0), flip=0.5), jitter, augment.ColourDrop(p=0.2))


def contrastive_job(supervised: bool = False) -> Job:
    """Two views of the same picture must find each other; supervised: all views of the same kind of object."""

    def prepare(images: Tensor, kinds: Tensor, generator: torch.Generator) -> Batch:
        return *augment.two_views(images, views(), generator), kinds

    def loss(model: nn.Module, first: Tensor, second: Tensor, kinds: Tensor) -> Tensor:
        z = model(torch.cat([first, second]))
        if supervised:
            return in_full(losses.sup_con)(z, kinds.repeat(2), temperature=0.1)
        return in_full(losses.nt_xent)(*z.chunk(2), temperature=0.2)

    return picture_job(Headed(), prepare, loss, images_and_kinds, unit=PAIRS)


def clip_job() -> Job:
    """Pictures and captions must find each other; one word in fifty is unknown, as a stranger's may be."""
    captions = postcards.describe(postcards.sample(4000, runtime.seed(0)))
    tokenizer = WordTokenizer.fit([*captions, *(t.format(colour="red", object="car") for t in postcards.TEMPLATES)])
    model = CLIP(CLIPConfig(len(tokenizer), image_width=WIDTH), runtime.seed(0))
    model.tokenizer = tokenizer

    def draw(n: int, generator: torch.Generator) -> Batch:
        factors = postcards.sample(n, generator)
        codes, _ = tokenizer.encode_batch(postcards.describe(factors), model.config.context)
        return postcards.render(factors, 32)[0], codes

    def prepare(images: Tensor, codes: Tensor, generator: torch.Generator) -> Batch:
        forgotten = (torch.rand(codes.shape, generator=generator) < 0.02) & (codes != tokenizer.pad)
        return images, codes.masked_fill(forgotten, tokenizer.unknown)

    return picture_job(
        model,
        prepare,
        lambda model, images, codes: in_full(losses.clip_loss)(*model(images, codes)),
        draw,
        lr=2e-3,
        unit=PAIRS,
        kept=lambda model: model,
    )


RECIPES = {
    "ae": Recipe(autoencoder_job, steps=1500, hours=0.1),
    "dae": Recipe(lambda: autoencoder_job(sigma=0.3), steps=1500, hours=0.1),
    "vae": Recipe(lambda: autoencoder_job(variational=True), steps=1500, hours=0.1),
    "patch": Recipe(patch_job, steps=3000, hours=0.15),
    "jigsaw": Recipe(jigsaw_job, steps=3000, hours=0.15),
    "colour": Recipe(colour_job, steps=1500, hours=0.15),
    "simclr": Recipe(contrastive_job, steps=3000, hours=0.3),
    "supcon": Recipe(lambda: contrastive_job(supervised=True), steps=2400, hours=0.25),
    "clip": Recipe(clip_job, steps=2400, hours=0.3),
}
PICTURES = tuple(RECIPES)
