"""How good is a model? Numbers that can be compared.

For text: perplexity and bits. For frozen features: `linear_probe`, `ridge_probe`, `knn_probe`, and the `report_card`
over all factors. For the shape of features: `alignment`, `uniformity`, `hsic`, `info_nce_bound`, `principal_angles`.

Probes and report cards refuse features that are not finite; the measures of shape return NaN for them. Whatever needs
float64 is computed by numpy on the CPU, because not every device has it.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int
from scipy.linalg import subspace_angles
from torch import Tensor, nn

from course_utils import runtime
from course_utils.models.finite import BROKEN_ENCODER, DIVERGED, LEAVE_OUT, check_finite


def bits(nats: float | Tensor) -> float | Tensor:
    """Convert nats (natural logarithm) to bits (base 2): 1 nat = 1.4427 bits."""
    return nats / math.log(2)


def perplexity(nats_per_symbol: float | Tensor) -> float | Tensor:
    """Return e ** (nats per symbol): the number of equally likely symbols that would leave the model as uncertain.

    Args:
        nats_per_symbol: mean of -ln P(symbol), ≥ 0, such as a cross-entropy loss. An infinite loss gives infinity.

    Source: F. Jelinek, R. L. Mercer, L. R. Bahl and J. K. Baker, Perplexity (JASA 62, 1977).
    """
    if isinstance(nats_per_symbol, Tensor):
        return nats_per_symbol.exp()
    try:
        return math.exp(nats_per_symbol)
    except OverflowError:
        return math.inf


def bits_per_character(nats_total: float | Tensor, characters: int) -> float | Tensor:
    """Return how many bits a text costs per character, so that models with different symbols can be compared.

    Args:
        nats_total: -ln P(text), summed over whatever the model's symbols are (characters, words, tokens).
        characters: how many characters the text has, > 0.

    Raises:
        ValueError: if `characters` is not positive.
    """
    if characters <= 0:
        raise ValueError(f"characters must be > 0, got {characters}: an empty text has no bits per character")
    return bits(nats_total) / characters


# --- frozen features --------------------------------------------------------------------------------------------------


def features(
    encoder: nn.Module | Callable[[Tensor], Tensor], images: Float[Tensor, "n ..."], batch: int = 100
) -> Float[Tensor, "n dim"]:
    """Return a frozen encoder's output for each picture: in eval mode, without gradients, flattened to one row each.

    The encoder is left in the mode it was in. Each batch moves to the module's device; the rows come back on the
    pictures'.

    Args:
        encoder: a module, a module's method (`clip.encode_image`), or any function of a batch (`lambda x:
            x.flatten(1)`). Only in the first two cases can the module be put into eval mode here.
        batch: how many pictures go through the encoder at a time; more are slower on a CPU, whose caches are small.

    Raises:
        RuntimeError: if a parameter or buffer changed meanwhile.
        ValueError: if the features are not finite.
    """
    module = encoder if isinstance(encoder, nn.Module) else getattr(encoder, "__self__", None)
    module = module if isinstance(module, nn.Module) else nn.Identity()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    device = next(module.parameters(), images).device
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            rows = torch.cat([encoder(x.to(device)).flatten(1).to(images.device) for x in images.split(batch)])
    finally:
        for part, training in modes.items():
            part.training = training
    for name, tensor in module.state_dict().items():
        if not torch.equal(tensor, before[name]):
            raise RuntimeError(f"the encoder is not frozen: {name} changed while features were being computed")
    check_finite(rows, "the features", BROKEN_ENCODER)
    return rows


@dataclass(frozen=True)
class Probe:
    """How well a probe did on the test part."""

    score: float  # accuracy, or R²
    error: float  # its standard error, from the number of test samples
    chance: float  # what the same test gives without looking at the features
    l2: float | None  # the regulariser that was used
    predictions: Tensor  # (test,), in the labels' own numbers

    def __str__(self) -> str:
        return f"{self.score:.3f} ± {self.error:.3f} (chance {self.chance:.3f})"


L2 = (1e-1, 1e-2, 1e-3, 1e-4)  # strong to weak, for standardised features and a loss that is a mean


def linear_probe(
    train: Float[Tensor, "n dim"],
    train_labels: Int[Tensor, " n"],
    test: Float[Tensor, "m dim"],
    test_labels: Int[Tensor, " m"],
    *,
    l2: float | Sequence[float] = 1e-3,
    generator: torch.Generator | None = None,
) -> Probe:
    """Return the test accuracy of a multinomial logistic regression on frozen features.

    The features are standardised with the training part's mean and deviation (a constant feature becomes 0). The loss
    is the mean cross-entropy plus l2 / 2 · Σ W² (scikit-learn's C is 1 / (n · l2)). A test label that does not occur in
    the training part counts as wrong.

    Args:
        l2: one value, or several to choose from, such as `evaluate.L2`. Then a fifth of the training part, drawn with
            the generator, is held out; the value with the best accuracy wins (the strongest of equals), and the probe
            is fitted again on the whole training part.

    Raises:
        ValueError: if there are fewer than two classes, the shapes do not match, the features carry a gradient or
            contain NaN or infinity, or l2 is negative.
    """
    check_probe(train, train_labels, test, test_labels)
    candidates = strongest_first(l2)
    classes, y = train_labels.unique(return_inverse=True)  # (C,), (n,)
    if len(classes) < 2:
        raise ValueError(f"a probe needs at least two classes, got {len(classes)}: {classes.tolist()}")
    x, x_test = standardise(train, test)

    def right(weight: Tensor, x: Tensor, y: Tensor) -> float:
        return float(((x @ weight[:-1] + weight[-1]).argmax(1) == y).float().mean())

    if len(candidates) > 1:
        valid, fit = held_out_rows(len(x), x.device, generator)
        weights = logistic_regression(x[fit], y[fit], len(classes), candidates)
        scores = [right(weight, x[valid], y[valid]) for weight in weights]
        candidates = [candidates[scores.index(max(scores))]]
    (weight,) = logistic_regression(x, y, len(classes), candidates)
    predictions = classes[(x_test @ weight[:-1] + weight[-1]).argmax(1)]
    return accuracy(predictions, train_labels, test_labels, candidates[0])


def ridge_probe(
    train: Float[Tensor, "n dim"],
    train_values: Float[Tensor, " n"],
    test: Float[Tensor, "m dim"],
    test_values: Float[Tensor, " m"],
    *,
    l2: float | Sequence[float] = 1e-3,
    generator: torch.Generator | None = None,
) -> Probe:
    """Return the test R² of a linear regression on frozen features: 1 - squared error / variance of the test values.

    R² is 1 for a perfect prediction, 0 for predicting the mean, and negative for anything worse. The features are
    standardised; the loss is the mean squared error plus l2 · Σ w².

    Args:
        l2: as in `linear_probe`.

    Raises:
        ValueError: if all values are equal, and as `linear_probe` does.
    """
    check_probe(train, train_values, test, test_values)
    candidates = strongest_first(l2)
    x, x_test, y, target = map(wide, (*standardise(train, test), train_values, test_values))
    if np.ptp(y) == 0 or np.ptp(target) == 0:
        raise ValueError("the values are all equal: there is no variance to explain")
    if len(candidates) > 1:
        valid, fit = (rows.numpy() for rows in held_out_rows(len(x), torch.device("cpu"), generator))
        predicted = ridge(x[fit], y[fit], x[valid], candidates)  # one row for each candidate
        candidates = [candidates[int(((predicted - y[valid]) ** 2).mean(1).argmin())]]
    (predictions,) = ridge(x, y, x_test, candidates)
    wrong, spread = (predictions - target) ** 2, (target - target.mean()) ** 2  # each (m,)
    share = float(wrong.mean() / spread.mean())
    influence = (wrong - share * spread) / spread.mean()  # how much each sample moves R²: a ratio of two means
    error = float(influence.std(ddof=1)) / math.sqrt(len(target))
    return Probe(1 - share, error, 0.0, candidates[0], narrow(predictions, like=test_values))


def knn_probe(
    train: Float[Tensor, "n dim"],
    train_labels: Int[Tensor, " n"],
    test: Float[Tensor, "m dim"],
    test_labels: Int[Tensor, " m"],
    *,
    k: int = 20,
    temperature: float | None = None,
    batch: int = 1000,
) -> Probe:
    """Return the test accuracy of a vote among the k most similar training samples (by cosine). Nothing is trained.

    Args:
        temperature: a neighbour has exp(cosine / temperature) votes. None gives each neighbour one vote; of classes
            with equally many, the one with the larger sum of cosines wins.

    Raises:
        ValueError: unless 1 ≤ k ≤ n; if the temperature is not positive; and for shapes, as `linear_probe` does.

    Source: Z. Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination (2018), section 3.4.
    """
    check_probe(train, train_labels, test, test_labels)
    if not 1 <= k <= len(train):
        raise ValueError(f"k must be between 1 and the {len(train)} training samples, got {k}")
    if temperature is not None and not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be > 0 or None, got {temperature}")
    classes, y = train_labels.unique(return_inverse=True)
    known, predictions = F.normalize(train, dim=1), []
    for x in test.split(batch):
        cosine, near = (F.normalize(x, dim=1) @ known.T).topk(k, dim=1)  # each (batch, k)
        weight = 1 + cosine / (4 * k) if temperature is None else ((cosine - 1) / temperature).exp()
        votes = weight.new_zeros(len(x), len(classes)).scatter_add_(1, y[near], weight)  # (batch, C)
        predictions.append(classes[votes.argmax(1)])
    return accuracy(torch.cat(predictions), train_labels, test_labels, None)


def check_probe(train: Tensor, train_targets: Tensor, test: Tensor, test_targets: Tensor) -> None:
    """Check the two parts of a probe's data.

    Raises:
        ValueError: if the shapes do not match, a part is empty, or the features carry a gradient, NaN or infinity.
    """
    if train.ndim != 2 or test.ndim != 2 or train.shape[1] != test.shape[1]:
        shapes = f"{tuple(train.shape)} and {tuple(test.shape)}"
        raise ValueError(f"the features must be (samples, dim) with the same dim in both parts, got {shapes}")
    for x, y, name in ((train, train_targets, "training"), (test, test_targets, "test")):
        if y.shape != x.shape[:1] or len(x) == 0:
            raise ValueError(f"the {name} part has features {tuple(x.shape)} but targets {tuple(y.shape)}")
    if train.requires_grad or test.requires_grad:
        raise ValueError("the features carry a gradient: a probe needs a frozen encoder, see `evaluate.features`")
    for x, y, name in ((train, train_targets, "training"), (test, test_targets, "test")):
        check_finite(x, f"the features of the {name} part", BROKEN_ENCODER)
        check_finite(y, f"the targets of the {name} part", LEAVE_OUT)


def strongest_first(l2: float | Sequence[float]) -> list[float]:
    """Return the candidates in descending order.

    Raises:
        ValueError: if there are none, or one is negative.
    """
    candidates = [l2] if isinstance(l2, int | float) else list(l2)
    if not candidates or not all(0 <= strength < math.inf for strength in candidates):
        raise ValueError(f"l2 must be one or more numbers ≥ 0, got {l2}")
    return sorted(candidates, reverse=True)


def wide(values: Tensor) -> np.ndarray:
    """Return the values in double precision, as numpy has it: a Mac's GPU has no float64."""
    return values.detach().cpu().numpy().astype(np.float64)


def narrow(values: np.ndarray, like: Tensor) -> Tensor:
    """Return the values in the precision and on the device of another tensor."""
    return torch.as_tensor(values.astype(np.float64 if like.dtype == torch.float64 else np.float32)).to(like)


def standardise(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Return both parts, less the training part's mean and divided by its deviation; a constant feature becomes 0."""
    mean, deviation = train.mean(0), train.std(0, correction=0)
    live = deviation > 1e-6 * (1 + mean.abs())  # else it is only rounding
    scale = torch.where(live, 1 / deviation.clamp(min=1e-12), 0)
    return (train - mean) * scale, (test - mean) * scale


def held_out_rows(n: int, device: torch.device, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Return a fifth of the row numbers 0 … n - 1, and the rest, shuffled; without a generator, always the same way."""
    order = torch.randperm(n, generator=generator if generator is not None else runtime.seed(0)).to(device)
    return order[: max(1, n // 5)], order[max(1, n // 5) :]


def logistic_regression(
    x: Float[Tensor, "n dim"], y: Int[Tensor, " n"], classes: int, l2: Sequence[float], steps: int = 200
) -> list[Float[Tensor, "dim_and_1 classes"]]:
    """Return the weights (the last row is the bias) for each l2; each search starts where the one before it ended.

    The search runs along the features' principal axes, each scaled by about the root of the loss's curvature there.
    Features hang together, and without this it needs many more steps, or ends before the minimum.
    """
    spread, axes = np.linalg.eigh(wide(x.T @ x / len(x)))  # (D,), (D, D)
    spread, axes = narrow(spread.clip(min=0), like=x), narrow(axes, like=x)
    turned, weight, found = x @ axes, x.new_zeros(x.shape[1] + 1, classes), []
    for strength in l2:
        scale = (spread / classes + max(strength, 1e-6)).rsqrt()[:, None]  # (D, 1)
        seen = turned * scale.T
        inner = torch.cat([weight[:-1] / scale, weight[-1:]]).requires_grad_()
        optimizer = torch.optim.LBFGS(
            [inner], max_iter=steps, history_size=20, tolerance_grad=1e-5, tolerance_change=1e-7,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def loss(inner: Tensor = inner, seen: Tensor = seen, penalty: Tensor = strength / 2 * scale**2) -> Tensor:
            with torch.enable_grad():
                inner.grad = None
                nats = F.cross_entropy(seen @ inner[:-1] + inner[-1], y) + (penalty * inner[:-1] ** 2).sum()
                nats.backward()
            return nats

        optimizer.step(loss)
        weight = torch.cat([inner[:-1] * scale, inner[-1:]]).detach()  # along the axes
        found.append(torch.cat([axes @ weight[:-1], weight[-1:]]))
    return found


def ridge(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, l2: Sequence[float]) -> Float64[np.ndarray, "l2 test"]:
    """Return the predictions on x_test for each l2, from one eigendecomposition."""
    mean = y.mean()
    values, vectors = np.linalg.eigh(x.T @ x / len(x))  # (D,), (D, D)
    projected = vectors.T @ (x.T @ (y - mean)) / len(x)  # (D,)
    strength = np.array(l2)[:, None]
    return projected / (values.clip(min=0) + strength) @ (x_test @ vectors).T + mean


def accuracy(predictions: Tensor, train_labels: Tensor, test_labels: Tensor, l2: float | None) -> Probe:
    """Return the share of right predictions; chance means always guessing the commonest class of the training part."""
    classes, counts = train_labels.unique(return_counts=True)  # sorted; of equally common ones the first counts
    share = int((predictions == test_labels).sum()) / len(test_labels)
    chance = int((test_labels == classes[counts.argmax()]).sum()) / len(test_labels)
    return Probe(share, math.sqrt(share * (1 - share) / len(test_labels)), chance, l2, predictions)


# --- report card ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReportCard:
    """Which encoder kept which factor: a score with its standard error for each pair."""

    encoders: list[str]
    factors: list[str]
    kinds: list[str]  # of each factor: "accuracy" or "R²"
    score: Float[Tensor, "encoders factors"]
    error: Float[Tensor, "encoders factors"]  # standard error of the score
    chance: Float[Tensor, " factors"]  # always guessing the commonest class; for R², 0

    def __getitem__(self, pair: tuple[str, str]) -> tuple[float, float]:
        """Return card["simclr", "colour"]: the score and its standard error."""
        encoder, factor = pair
        where = self.encoders.index(encoder), self.factors.index(factor)
        return float(self.score[where]), float(self.error[where])

    def __str__(self) -> str:
        """The card as a Markdown table."""
        lines = ["| |" + "".join(f" {name} ({kind}) |" for name, kind in zip(self.factors, self.kinds))]
        lines += ["|---|" + "---:|" * len(self.factors)]
        for name, scores, errors in zip(self.encoders, self.score.tolist(), self.error.tolist()):
            lines.append(f"| {name} |" + "".join(f" {s:.2f} ± {e:.2f} |" for s, e in zip(scores, errors)))
        return "\n".join([*lines, "| *chance* |" + "".join(f" {c:.2f} |" for c in self.chance.tolist())])


def report_card(
    features: Mapping[str, Float[Tensor, "n dim"]],
    factors: Mapping[str, Tensor],
    *,
    share: float = 0.75,
    l2: float | Sequence[float] = 1e-3,
    generator: torch.Generator | None = None,
) -> ReportCard:
    """Ask every encoder's frozen features for every factor, with a linear probe.

    Args:
        features: {encoder: one row per picture}, all of the same pictures in the same order.
        factors: {name: (n,)}. Whole numbers and booleans are classes (accuracy); other numbers are values (R²).
        share: how much of the pictures trains the probes; the same pictures, drawn with the generator, for every pair.
        l2: as in `linear_probe`.

    Raises:
        ValueError: if the lengths differ, there is no encoder or no factor, or `share` lies outside (0, 1); and, naming
            the culprit, for NaN or infinity in the features or factors.
    """
    lengths = {name: len(tensor) for name, tensor in [*features.items(), *factors.items()]}
    if not features or not factors or len(set(lengths.values())) != 1:
        raise ValueError(f"features and factors must be of the same pictures, at least one of each; got {lengths}")
    n = next(iter(lengths.values()))
    if not 0 < share < 1 or not 0 < round(share * n) < n:
        raise ValueError(f"share must leave pictures for both parts, 0 < share < 1, got {share} of {n}")
    for name, x in features.items():
        check_finite(x, f"the features of {name}", BROKEN_ENCODER)
    for name, y in factors.items():
        check_finite(y, f"the factor {name}", LEAVE_OUT)
    order = torch.randperm(n, generator=generator if generator is not None else runtime.seed(0))
    train, test = order[: round(share * n)], order[round(share * n) :]
    probes = []
    for x in features.values():
        train, test = train.to(x.device), test.to(x.device)
        for y in factors.values():
            y = y.to(x.device)
            probe = ridge_probe if y.is_floating_point() else linear_probe
            probes.append(probe(x[train], y[train], x[test], y[test], l2=l2, generator=runtime.seed(0)))
    shape = len(features), len(factors)
    return ReportCard(
        list(features),
        list(factors),
        ["R²" if y.is_floating_point() else "accuracy" for y in factors.values()],
        torch.tensor([probe.score for probe in probes]).view(shape),
        torch.tensor([probe.error for probe in probes]).view(shape),
        torch.tensor([probe.chance for probe in probes]).view(shape)[0],
    )


# --- the shape of features --------------------------------------------------------------------------------------------


def alignment(z1: Float[Tensor, "n dim"], z2: Float[Tensor, "n dim"], alpha: float = 2) -> Float[Tensor, ""]:
    """Return the mean of distance ** alpha between two views' directions: 0 (equal) to 2 ** alpha (opposite).

    Raises:
        ValueError: if the shapes differ, or alpha is not positive.

    Source: T. Wang and P. Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on
    the Hypersphere (2020), section 4.1.
    """
    if z1.shape != z2.shape or z1.ndim != 2:
        raise ValueError(f"both views must be (n, dim), got {tuple(z1.shape)} and {tuple(z2.shape)}")
    if not alpha > 0:
        raise ValueError(f"alpha must be > 0, got {alpha}")
    return (F.normalize(z1, dim=1) - F.normalize(z2, dim=1)).norm(dim=1).pow(alpha).mean()


def uniformity(z: Float[Tensor, "n dim"], t: float = 2) -> Float[Tensor, ""]:
    """Return ln of the mean of exp(-t · distance²) over all pairs of directions: 0 if all are equal, else lower.

    Raises:
        ValueError: if there are fewer than two rows.

    Source: Wang & Isola (2020), section 4.1.
    """
    if z.ndim != 2 or len(z) < 2:
        raise ValueError(f"uniformity is about pairs: z must be (n, dim) with n ≥ 2, got {tuple(z.shape)}")
    z = F.normalize(z, dim=1)
    squares = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist").pow(2)  # (n, n): each pair twice
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    return (-t * squares).masked_fill(itself, -math.inf).flatten().logsumexp(0) - math.log(len(z) * (len(z) - 1))


def linear_kernel(x: Float[Tensor, "n dim"]) -> Float[Tensor, "n n"]:
    """Return all inner products."""
    return x @ x.T


def gaussian_kernel(x: Float[Tensor, "n dim"], sigma: float | None = None) -> Float[Tensor, "n n"]:
    """Return exp(-distance² / 2 sigma²) for all pairs.

    Args:
        sigma: > 0; None takes the median distance between two different rows.

    Raises:
        ValueError: if sigma is not positive (as the median is if most rows are equal), or for NaN or infinity.
    """
    check_finite(x, "the features", BROKEN_ENCODER)
    squares = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    if sigma is None:
        sigma = float(squares[~torch.eye(len(x), dtype=torch.bool, device=x.device)].median()) ** 0.5
    if not sigma > 0:
        raise ValueError(f"sigma must be > 0, got {sigma}: are most rows equal?")
    return (-squares / (2 * sigma**2)).exp()


def delta_kernel(labels: Int[Tensor, " n"]) -> Float[Tensor, "n n"]:
    """Return 1 where two labels are equal, else 0.

    Raises:
        ValueError: if a label is NaN.
    """
    check_finite(labels, "the labels", LEAVE_OUT)
    return (labels[:, None] == labels[None, :]).float()


def hsic(k: Float[Tensor, "n n"], l: Float[Tensor, "n n"]) -> Float[Tensor, ""]:  # noqa: E741
    """Return tr(K H L H) / (n - 1)²: how much two kernels of the same samples agree; 0 if independent (as n → ∞).

    This is the biased estimate: never negative, and of the order of 1 / n for independent variables.

    Args:
        k, l: kernels such as `linear_kernel`, `gaussian_kernel` and `delta_kernel` return.

    Raises:
        ValueError: if the shapes differ, or there are fewer than two samples.

    Source: A. Gretton et al., Measuring Statistical Dependence with Hilbert-Schmidt Norms (2005), equation 9.
    """
    if k.shape != l.shape or k.ndim != 2 or k.shape[0] != k.shape[1] or len(k) < 2:
        raise ValueError(f"both kernels must be (n, n) with n ≥ 2, got {tuple(k.shape)} and {tuple(l.shape)}")
    centred = k - k.mean(0, keepdim=True) - k.mean(1, keepdim=True) + k.mean()  # H K H
    return (centred * l).sum() / (len(k) - 1) ** 2


def info_nce_bound(loss: float | Tensor, negatives: int) -> float | Tensor:
    """Return ln(K + 1) - loss in nats: a lower bound on the mutual information of two views, from their InfoNCE loss.

    However much the views share, the bound is at most ln(K + 1): to show more, take more negatives.

    Args:
        negatives: K per anchor, ≥ 1.

    Raises:
        ValueError: if there is no negative.

    Source: van den Oord, Li & Vinyals (2018), equation 5; B. Poole et al., On Variational Bounds of Mutual Information
    (2019), section 2.3.
    """
    if negatives < 1:
        raise ValueError(f"negatives must be ≥ 1, got {negatives}")
    return math.log(negatives + 1) - loss


def principal_angles(a: Float[Tensor, "dim k"], b: Float[Tensor, "dim m"]) -> Float[Tensor, " min_k_m"]:
    """Return the angles between the subspaces that the columns of two matrices span, in radians, smallest first.

    If all are 0, one subspace lies inside the other. Small angles are exact too (found by their sine). The computation
    is in double precision on the CPU; the result has the precision and device of `a`.

    Raises:
        ValueError: if the numbers of rows differ, the columns are not independent, or for NaN or infinity.

    Source: Å. Björck and G. H. Golub, Numerical Methods for Computing Angles Between Linear Subspaces (1973).
    """
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b):
        raise ValueError(f"both bases must be (dim, vectors) with equal dim, got {tuple(a.shape)} and {tuple(b.shape)}")
    for basis in (a, b):
        check_finite(basis, "the columns of one basis", DIVERGED)
        if np.linalg.matrix_rank(wide(basis)) < basis.shape[1]:
            raise ValueError(f"the {basis.shape[1]} columns of one basis are not independent")
    return narrow(subspace_angles(wide(a), wide(b))[::-1], like=a)  # scipy's come largest first
