"""Real pictures: what pretext tasks learn from photographs, and what goes through 64 numbers. See real.py."""

import math
import warnings

import torch
import torch.nn.functional as F
from real_text import curves_table
from simclr import all_layers
from torch import Tensor, nn
from torchvision import datasets

from course_utils import runtime
from course_utils.data import images, real
from course_utils.learn import augment, evaluate, losses, pretext, train
from course_utils.models.autoencoder import DeepAutoencoder, VariationalAutoencoder, corrupt, start_as_pca
from course_utils.models.convnet import ConvNet, ConvNetConfig, projection_head
from course_utils.recipes.pictures import VAE_SIGMA, in_full, lit_alone, reading_grey

# --- cifar ------------------------------------------------------------------------------------------------------------

LABELS = (10, 20, 50, 100, 500)  # per class
DRAWS = 3
SIDE = 24  # of the crops: more steps in the same time, and objects of the size that they have


def cifar(share: float) -> dict:
    """Linear probes of frozen features, with all labels and with few, beside a network that is trained on those few."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is a part: the result says how many there are
        train_part, test_part = (
            images.torchvision("CIFAR10", part=part, limit=max(20, round(most * share)))
            for part, most in (("train", 1500), ("test", 400))
        )
    x, y = train_part.images, train_part.labels
    x_test, y_test = test_part.images, test_part.labels
    labels = LABELS if share == 1 else LABELS[:1]
    tasks = {name: task(x, y) for name, task in TASKS.items()}
    encoders = {name: learn(*task, share) for name, task in tasks.items()}
    encoders["colour"] = reading_grey(encoders["colour"])  # what it learned from
    encoders["random encoder"] = ConvNet(generator=runtime.seed(0))
    features = {name: read(all_layers(encoder.eval()), x, x_test) for name, encoder in encoders.items()}
    features["pixels"] = x.flatten(1), x_test.flatten(1)
    mean, directions = principal(x.flatten(1), 64)
    features["PCA, 64 numbers"] = tuple((part - mean) @ directions for part in features["pixels"])

    probes, curves = {}, {}
    for name, (known, new) in features.items():
        whole = evaluate.linear_probe(known, y, new, y_test, l2=1e-1)
        probes[name] = {"mean": whole.score, "error": whole.error, "numbers": known.shape[1]}
        curves[name] = [
            spread([evaluate.linear_probe(known[r], y[r], new, y_test, l2=1e-1).score for r in rows(y, n)])
            for n in labels
        ]
        print(f"{name}: {whole}", flush=True)
    curves["supervised from scratch"] = [
        spread([supervised(x[r], y[r], x_test, y_test, seed, share) for seed, r in enumerate(rows(y, n))])
        for n in labels
    ]
    print(curves_table("labels per class", labels, curves))
    return {
        "what": f"share of {len(y_test):,} test pictures named rightly; the curve: mean of {DRAWS} draws of labels",
        "pictures": len(y),
        "part": len(y) < 50_000,
        "steps": {name: steps for name, (*_, steps) in tasks.items()},
        "all_labels": probes,
        "x": {"labels per class": list(labels)},
        "curves": curves,
        "chance": 0.1,
    }


def learn(model: nn.Module, columns: tuple[Tensor, ...], prepare, loss, steps: int, share: float) -> nn.Module:
    """Train on a task that `prepare` makes of some rows of `columns`; return the encoder."""
    draw = train.samples(*columns, size=128)
    train.fit(
        model, lambda g: prepare(*draw(g), g), loss, steps=max(2, round(steps * share)), lr=4e-3,
        settings=train.Settings(final=0.0, weight_decay=0.05, bf16=runtime.fast_bfloat16()),
        generator=runtime.seed(0), progress=False,
    )  # fmt: skip
    return model.encoder


class Headed(nn.Module):
    """An encoder, and a head that is thrown away, or that names the classes."""

    def __init__(self, outputs: int, seed: int = 0):
        super().__init__()
        g = runtime.seed(seed)
        self.encoder = ConvNet(generator=g)
        self.head = projection_head(self.encoder.config.dim, outputs, g)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


def contrastive(x: Tensor, y: Tensor, *, supervised: bool) -> tuple:
    views = augment.Compose(
        augment.CropResize((0.2, 1.0), flip=0.5, size=SIDE),
        augment.ColourJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        augment.ColourDrop(p=0.2),
    )

    def prepare(some: Tensor, kinds: Tensor, g: torch.Generator) -> tuple[Tensor, ...]:
        return *augment.two_views(some, views, g), kinds

    def loss(model: nn.Module, first: Tensor, second: Tensor, kinds: Tensor) -> Tensor:
        z = model(torch.cat([first, second]))
        if supervised:
            return in_full(losses.sup_con)(z, kinds.repeat(2), temperature=0.1)
        return in_full(losses.nt_xent)(*z.chunk(2), temperature=0.3)

    return Headed(64), (x, y), prepare, loss, 450 if supervised else 900


def jigsaw(x: Tensor, y: Tensor) -> tuple:
    permutations = pretext.permutation_set(32, tiles=9)
    model = pretext.JigsawModel(len(permutations), 9, ConvNetConfig(), runtime.seed(0))

    def prepare(some: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
        tiles, which = pretext.jigsaw(some, permutations, g)
        return lit_alone(tiles.flatten(0, 1), g).view_as(tiles), which

    loss = lambda model, tiles, which: F.cross_entropy(model(tiles), which)  # noqa: E731
    return model, (x,), prepare, loss, 600


def colour(x: Tensor, y: Tensor) -> tuple:
    bins = pretext.colour_bins()

    def prepare(some: Tensor, g: torch.Generator | None) -> tuple[Tensor, Tensor]:
        grey, chroma = pretext.split_colour(some)
        return grey, pretext.colour_targets(pretext.half(chroma), bins)

    weight = pretext.rebalanced_weights(prepare(x[:1000], None)[1], len(bins))
    loss = lambda model, grey, targets: F.cross_entropy(model(grey), targets, weight)  # noqa: E731
    return pretext.Colourizer(len(bins), ConvNetConfig(), runtime.seed(0)), (x,), prepare, loss, 400


TASKS = {
    "SimCLR": lambda x, y: contrastive(x, y, supervised=False),
    "SupCon (sees all labels)": lambda x, y: contrastive(x, y, supervised=True),
    "jigsaw": jigsaw,
    "colour": colour,
}


def supervised(x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor, seed: int, share: float) -> float:
    """Train a network of the same size on these labels alone, with crops and reflections; return its test score."""
    views = augment.CropResize((0.4, 1.0), flip=0.5, size=SIDE)
    draw, model = train.samples(x, y, size=64), Headed(10, seed)

    def batch(g: torch.Generator) -> tuple[Tensor, Tensor]:
        some, kinds = draw(g)
        return views(some, g), kinds

    steps = max(100, min(300, 10 * len(x) // 64))
    train.fit(
        model, batch, lambda model, some, kinds: F.cross_entropy(model(some), kinds), lr=4e-3,
        settings=train.Settings(final=0.0, weight_decay=0.05, bf16=runtime.fast_bfloat16()),
        steps=max(2, round(steps * share)), generator=runtime.seed(seed), progress=False,
    )  # fmt: skip
    small = F.interpolate(x_test, (SIDE, SIDE), mode="bilinear", antialias=True)
    return float((evaluate.features(model, small).argmax(1) == y_test).float().mean())


def rows(y: Tensor, n: int) -> list[Tensor]:
    """DRAWS draws of n rows of each class; of more, the same first."""
    found = []
    for seed in range(DRAWS):
        g = runtime.seed(seed)
        each = [(y == k).nonzero()[:, 0] for k in range(10)]
        found.append(torch.cat([kind[torch.randperm(len(kind), generator=g)[:n]] for kind in each]))
    return found


def spread(scores: list[float]) -> dict[str, float]:
    found = torch.tensor(scores)
    return {"mean": float(found.mean()), "error": float(found.std()) / math.sqrt(len(scores))}


def read(encoder, *parts: Tensor) -> tuple[Tensor, ...]:
    return tuple(evaluate.features(encoder, part) for part in parts)


def principal(x: Tensor, numbers: int) -> tuple[Tensor, Tensor]:
    """Return the mean and the first principal directions, (inputs, numbers)."""
    mean = x.mean(0)
    _, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    return mean, vectors.flip(1)[:, :numbers]


# --- fashion ----------------------------------------------------------------------------------------------------------

CODE = 64
SIGMA = 0.3


def fashion(share: float) -> dict:
    """Reconstruction of clean and of noisy pictures, and a linear probe of the 64 numbers."""
    (x, y), (x_test, y_test) = (clothes(part) for part in (True, False))
    if share < 1:
        x, y, x_test, y_test = x[:2000], y[:2000], x_test[:500], y_test[:500]
    noisy = corrupt(x_test, SIGMA, runtime.seed(1))
    contestants = {"PCA": pca(x)}
    for name, options in {
        "autoencoder": {},
        "denoising autoencoder": {"sigma": SIGMA},
        "variational autoencoder": {"variational": True},
    }.items():
        contestants[name] = autoencoder(x, max(2, round(300 * share)), **options)
    contestants["pixels"] = lambda some: some.flatten(1), None
    found = {}
    for name, (encode, decode) in contestants.items():
        known, new = read(encode, x[:10_000], x_test)
        probe = evaluate.linear_probe(known, y[:10_000], new, y_test, l2=1e-3)
        found[name] = {"numbers": known.shape[1], "probe": probe.score, "probe_error": probe.error}
        if decode is not None:
            for what, seen in (("clean", new), ("noisy", read(encode, noisy)[0])):
                each = (read(decode, seen)[0].view_as(x_test) - x_test).square().flatten(1).sum(1)
                found[name] |= {what: float(each.mean()), f"{what}_error": float(each.std()) / math.sqrt(len(each))}
    print("| 64 numbers | squared error | of noisy pictures | class, linear probe |\n|---|---:|---:|---:|")
    for name, row in found.items():
        errors = [f"{row[k]:.2f} ± {row[f'{k}_error']:.2f}" if k in row else "" for k in ("clean", "noisy")]
        print(f"| {name} | {errors[0]} | {errors[1]} | {row['probe']:.3f} ± {row['probe_error']:.3f} |")
    return {
        "what": f"squared error per picture (32 × 32), also of pictures with noise of {SIGMA}; probe on 10,000 labels",
        "pictures": len(x),
        "rows": found,
    }


def clothes(part: bool) -> tuple[Tensor, Tensor]:
    """Fashion-MNIST, with a margin: (N, 1, 32, 32), labels."""
    data = datasets.FashionMNIST(real.folder(), train=part)
    return F.pad(data.data[:, None] / 255, (2, 2, 2, 2)), data.targets


def pca(x: Tensor):
    mean, directions = principal(x.flatten(1), CODE)
    return lambda some: (some.flatten(1) - mean) @ directions, lambda codes: codes @ directions.T + mean


def autoencoder(x: Tensor, steps: int, sigma: float = 0.0, variational: bool = False):
    """Return (encode, decode) of a trained autoencoder, which starts as PCA; squared error, for the VAE its bound."""
    made = VariationalAutoencoder if variational else DeepAutoencoder
    model = made(CODE, ConvNetConfig(32, channels=1), runtime.seed(0), linear=True)
    start_as_pca(model, x[:10_000])
    draw = train.samples(x, size=128)

    def batch(g: torch.Generator) -> tuple[Tensor, ...]:
        (some,) = draw(g)
        return corrupt(some, sigma, g) if sigma else some, some, torch.randn(len(some), CODE, generator=g)

    def loss(model: nn.Module, seen: Tensor, some: Tensor, noise: Tensor) -> Tensor:
        if not variational:
            return (model(seen).float().sigmoid() - some).square().flatten(1).sum(1).mean()
        mean, log_variance = model.distribution(seen)
        decoded = model.decode(mean + (log_variance / 2).exp() * noise).float().sigmoid()
        return in_full(losses.elbo_loss)(some, decoded, mean, log_variance, likelihood="gaussian", sigma=VAE_SIGMA)

    train.fit(
        model, batch, loss, steps=steps, lr=2e-3, generator=runtime.seed(0), progress=False,
        settings=train.Settings(final=0.0, weight_decay=0.01, bf16=runtime.fast_bfloat16()),
    )  # fmt: skip
    model.eval()
    return model.encode, lambda codes: model.decode(codes).sigmoid()
