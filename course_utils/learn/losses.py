"""What a model is trained to do: the losses of the course, each a few lines that read like the formula.

Language: `next_token_loss` (GPT, RNN), `mask_tokens` and `masked_language_modelling_loss` (BERT).
Contrast: `nt_xent` (SimCLR), `sup_con`, `clip_loss`, `info_nce` with any number of negatives.
Autoencoders: `elbo_loss` = `reconstruction_nats` + `gaussian_kl`.

All losses are in nats (natural logarithm), per predicted token, per anchor or per sample.

A NaN in any number that goes in comes out as NaN, also one that a mask or a draw of negatives leaves out: it says that
something is broken, and a finite loss would hide it. (No loss raises for it: asking would make a GPU wait at every
step. `train.fit` asks now and then, and raises.)
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

NOT_A_TARGET = -100  # what torch's and transformers' cross-entropies pass over


# --- language ---------------------------------------------------------------------------------------------------------


def next_token_loss(
    logits: Float[Tensor, "batch time vocab"],
    tokens: Int[Tensor, "batch time_or_one_more"],
    mask: Bool[Tensor, "batch time_or_one_more"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean of -ln P(token t + 1 | tokens up to t): the logits at t are judged by the token after them.

    tokens: what the model read, and one more token if there is one (the last logits need it).
    mask: False for padding, which is neither judged nor judges; its logits may be anything but NaN or infinite. Without
    anything to predict the loss is 0.
    Raises ValueError for shapes that do not belong together.
    """
    B, T, V = logits.shape
    if tokens.shape not in ((B, T), (B, T + 1)):
        raise ValueError(
            f"tokens must have the shape {(B, T)} or {(B, T + 1)} for these logits, got {tuple(tokens.shape)}"
        )
    if mask is not None and mask.shape != tokens.shape:
        raise ValueError(f"mask must have the tokens' shape {tuple(tokens.shape)}, got {tuple(mask.shape)}")
    targets = tokens[:, 1:].long()  # (B, T or T - 1)
    if mask is not None:
        targets = targets.masked_fill(~(mask[:, 1:] & mask[:, :-1]).bool(), NOT_A_TARGET)
    loss = mean_cross_entropy(logits[:, : targets.shape[1]].flatten(0, 1), targets.flatten())
    return carry_nan(loss, logits[:, targets.shape[1] :])  # what has no target


def mean_cross_entropy(logits: Float[Tensor, "n vocab"], targets: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Return the mean of -ln P(target) over the rows that have a target; 0 if none has."""
    total = F.cross_entropy(logits, targets, ignore_index=NOT_A_TARGET, reduction="sum")
    return carry_nan(total / (targets != NOT_A_TARGET).sum().clamp(min=1), logits)


def carry_nan(loss: Float[Tensor, ""], *inputs: Tensor) -> Float[Tensor, ""]:
    """Return the loss, or NaN if an input has one (or +inf), used or not. No gradient comes of it."""
    for numbers in inputs:
        if numbers.numel():
            loss = loss + 0 * numbers.detach().amax()
    return loss


def mask_tokens(
    tokens: Int[Tensor, "batch time"],
    *,
    mask_token: int,
    vocab_size: int,
    special: Iterable[int] = (),
    mask: Bool[Tensor, "batch time"] | None = None,
    share: float = 0.15,
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"]]:
    """Return (tokens with some hidden, targets: the true token where one was chosen, else -100).

    Each token is chosen with probability `share`; of the chosen, 80 % become `mask_token`, 10 % a random token, and
    10 % stay as they are (and must be predicted all the same).
    special: tokens that are never chosen and never put in ([CLS], [SEP], [PAD] …).
    mask: False for padding, never chosen.
    Raises ValueError for a share outside [0, 1], or a vocabulary that is all special.
    Source: Devlin et al. (2019), section 3.1 and appendix A.1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is the part of the tokens to hide, 0 ≤ share ≤ 1, got {share}")
    special = torch.tensor([mask_token, *special], device=tokens.device).unique()
    ordinary = torch.ones(vocab_size, dtype=torch.bool, device=tokens.device).index_fill(0, special, False)
    ordinary = ordinary.nonzero()[:, 0]  # (V - special,)
    if len(ordinary) == 0:
        raise ValueError(f"all {vocab_size} tokens are special: there is none to put in at random")
    where = generator.device if generator is not None else tokens.device
    choose, how = torch.rand(2, *tokens.shape, generator=generator, device=where).to(tokens.device)  # each (B, T)
    other = torch.randint(len(ordinary), tokens.shape, generator=generator, device=where).to(tokens.device)

    chosen = (choose < share) & ~torch.isin(tokens, special)
    if mask is not None:
        chosen &= mask.bool()
    hidden = torch.where(chosen & (how < 0.8), mask_token, tokens)
    hidden = torch.where(chosen & (how >= 0.9), ordinary[other], hidden)
    return hidden, tokens.masked_fill(~chosen, NOT_A_TARGET)


def masked_language_modelling_loss(
    logits: Float[Tensor, "*shape vocab"], targets: Int[Tensor, "*shape"]
) -> Float[Tensor, ""]:
    """Return the mean of -ln P(true token) over the chosen tokens (targets other than -100); 0 if none was chosen.

    Raises ValueError for shapes that do not belong together.
    """
    if logits.shape[:-1] != targets.shape:
        raise ValueError(f"targets must have the shape {tuple(logits.shape[:-1])}, got {tuple(targets.shape)}")
    return mean_cross_entropy(logits.flatten(0, -2), targets.flatten())


# --- contrastive ------------------------------------------------------------------------------------------------------


def unit(z: Float[Tensor, "*shape dim"]) -> Float[Tensor, "*shape dim"]:
    """Return z / |z| along the last axis. A zero vector stays zero and gets no gradient; one with NaN stays NaN."""
    length = z.norm(dim=-1, keepdim=True)
    return torch.where(length == 0, 0, z / length.clamp(min=torch.finfo(z.dtype).tiny))


def check_contrast(temperature: float | Tensor, *views: Tensor) -> None:
    """Raise ValueError unless the temperature is positive and the views are (N, D) with N ≥ 2, all of one shape."""
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be > 0 and finite, got {float(temperature)}")
    shapes = [tuple(view.shape) for view in views]
    if len(set(shapes)) != 1 or len(shapes[0]) != 2:
        raise ValueError(f"the vectors must come as (batch, dim), all in one shape, got {', '.join(map(str, shapes))}")
    if shapes[0][0] < 2:
        raise ValueError(f"a contrastive loss needs negatives: a batch of at least 2, got {shapes[0][0]}")


def nt_xent(
    z1: Float[Tensor, "batch dim"], z2: Float[Tensor, "batch dim"], temperature: float | Tensor
) -> Float[Tensor, ""]:
    """Return SimCLR's loss: each of the 2 N views must find its partner among the 2 N - 1 others.

    z1[i] and z2[i] are two views of picture i. The logits are cosines / temperature; a zero vector's are 0.
    Raises ValueError for temperature ≤ 0, a batch of one (nothing to find the partner among), two different shapes.
    Source: T. Chen et al., A Simple Framework for Contrastive Learning of Visual Representations (2020), equation 1.
    """
    check_contrast(temperature, z1, z2)
    N, z = len(z1), unit(torch.cat([z1, z2]))  # (2N, D)
    itself = torch.eye(2 * N, dtype=torch.bool, device=z.device)
    logits = (z @ z.T / temperature).masked_fill(itself, -math.inf)  # (2N, 2N)
    partner = torch.arange(2 * N, device=z.device).roll(N)  # N … 2N - 1, 0 … N - 1
    return F.cross_entropy(logits, partner)


def sup_con(
    z: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"], temperature: float | Tensor
) -> Float[Tensor, ""]:
    """Return the supervised contrastive loss: each vector must find all others of its class, each among all others.

    z: one row per view; with two views, torch.cat([z1, z2]) and torch.cat([labels, labels]). For labels that are the
    pictures' numbers this is `nt_xent`. The mean over an anchor's positives stands outside the logarithm (L_out).
    An anchor that is alone in its class has nothing to find: it is passed over, but stays a negative for the others.
    Raises ValueError for temperature ≤ 0, a batch of one, no two rows of one class, shapes that do not belong together.
    Source: P. Khosla et al., Supervised Contrastive Learning (2020), equation 2.
    """
    check_contrast(temperature, z)
    if labels.shape != z.shape[:1]:
        raise ValueError(f"labels must have the shape {tuple(z.shape[:1])}, got {tuple(labels.shape)}")
    z = unit(z)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    positive = (labels[:, None] == labels[None, :]) & ~itself  # (N, N)
    count = positive.sum(dim=1)  # (N,)
    if not count.any():
        raise ValueError("every label is there once: there are no two rows of one class to bring together")
    log_p = (z @ z.T / temperature).masked_fill(itself, -math.inf).log_softmax(dim=1)  # (N, N)
    per_anchor = -log_p.masked_fill(~positive, 0).sum(dim=1) / count.clamp(min=1)
    return per_anchor.sum() / (count > 0).sum()


def clip_loss(
    image: Float[Tensor, "batch dim"], text: Float[Tensor, "batch dim"], log_scale: float | Tensor
) -> Float[Tensor, ""]:
    """Return CLIP's loss: each picture must find its caption among the batch's, and each caption its picture.

    image, text: row i of both belongs together; any length (they are normalised here).
    log_scale: ln(1 / temperature), a number or a learned parameter. CLIP starts at ln(1 / 0.07), and its model keeps
    the scale at 100 or less. Two equal captions in a batch are each other's false negatives, as in the paper.
    Raises ValueError for a batch of one, two different shapes, a log_scale that is not finite.
    Source: A. Radford et al., Learning Transferable Visual Models From Natural Language Supervision (2021), figure 3.
    """
    scale = torch.as_tensor(log_scale, dtype=image.dtype, device=image.device).exp()
    if not 0 < scale < math.inf:
        raise ValueError(f"log_scale must be finite, and so must its exponential, got {float(log_scale)}")
    check_contrast(1 / scale, image, text)
    logits = scale * unit(image) @ unit(text).T  # (N pictures, N captions)
    own = torch.arange(len(image), device=image.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def info_nce(
    anchors: Float[Tensor, "batch dim"],
    positives: Float[Tensor, "batch dim"],
    temperature: float | Tensor,
    *,
    negatives: int | None = None,
    pool: Float[Tensor, "pool dim"] | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """Return the mean of -ln P(positive | anchor) among the positive and K negatives per anchor.

    negatives: K, however large the batch is; drawn for each anchor without replacement. None: all there are.
    pool: where negatives come from; none of its rows may be a positive. None: the positives of the other anchors.
    So the number of negatives and the batch size can be varied one without the other: K < N - 1 with the batch alone,
    any K with a pool. ln(K + 1) minus this loss bounds the mutual information of the two views from below.
    Raises ValueError for temperature ≤ 0, more negatives than there are, fewer than 1, wrong shapes; for a batch of one
    without a pool.
    Source: A. van den Oord, Y. Li and O. Vinyals, Representation Learning with Contrastive Predictive Coding (2018),
    equation 4; J. Mitrovic, B. McWilliams and M. Rey, Less Can Be More in Contrastive Learning (2020), for K.
    """
    if pool is None:
        check_contrast(temperature, anchors, positives)
    elif pool.ndim != 2 or pool.shape[1] != anchors.shape[-1] or anchors.shape != positives.shape or anchors.ndim != 2:
        shapes = [tuple(t.shape) for t in (anchors, positives, pool)]
        raise ValueError(
            f"anchors, positives and pool must be (batch, dim), (batch, dim) and (pool, dim), got {shapes}"
        )
    elif not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be > 0 and finite, got {float(temperature)}")
    N = len(anchors)
    M = N - 1 if pool is None else len(pool)  # candidates per anchor
    K = M if negatives is None else negatives
    if not 1 <= K <= M:
        where = "the other rows of the batch" if pool is None else "the pool"
        raise ValueError(f"negatives must be between 1 and the {M} that are in {where}, got {K}")
    a, p = unit(anchors), unit(positives)
    own = (a * p).sum(dim=1, keepdim=True)  # (N, 1)
    others = a @ (p if pool is None else unit(pool)).T  # (N, N) or (N, M)
    if pool is None:  # without the diagonal: (N, N) -> (N, N - 1)
        others = others[~torch.eye(N, dtype=torch.bool, device=a.device)].view(N, M)
    everyone = others
    if K < M:
        where = generator.device if generator is not None else a.device
        chosen = torch.rand(N, M, generator=generator, device=where).topk(K, dim=1).indices  # K of M, no two equal
        others = others.gather(1, chosen.to(a.device))  # (N, K)
    logits = torch.cat([own, others], dim=1) / temperature  # (N, 1 + K)
    loss = F.cross_entropy(logits, torch.zeros(N, dtype=torch.long, device=a.device))
    return loss if K == M else carry_nan(loss, everyone)  # also of those that were not drawn


# --- autoencoders -----------------------------------------------------------------------------------------------------


def gaussian_kl(
    mean: Float[Tensor, "batch latent"], log_variance: Float[Tensor, "batch latent"]
) -> Float[Tensor, " batch"]:
    """Return KL(N(mean, variance) ‖ N(0, 1)) in nats, summed over the latent numbers, per sample; always ≥ 0.

    Raises ValueError for two different shapes.
    Source: D. P. Kingma and M. Welling, Auto-Encoding Variational Bayes (2014), appendix B.
    """
    if mean.shape != log_variance.shape:
        raise ValueError(f"mean and log_variance must share a shape, got {mean.shape} and {log_variance.shape}")
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).flatten(1).sum(dim=1)


def reconstruction_nats(
    x: Float[Tensor, "batch ..."],
    decoded: Float[Tensor, "batch ..."],
    likelihood: str = "bernoulli",
    sigma: float = 1.0,
) -> Float[Tensor, " batch"]:
    """Return -ln p(x | z), summed over all numbers of a sample, per sample.

    likelihood "bernoulli": `decoded` are logits; x in [0, 1]. (For greys between 0 and 1 this is a cross-entropy, no
    true likelihood.) "gaussian": `decoded` is the mean; every number has the standard deviation `sigma`. With its
    constant, so that it is a true density: it can be negative for a small sigma.
    Raises ValueError for two different shapes, another likelihood, sigma ≤ 0, x outside [0, 1] with "bernoulli".
    """
    if x.shape != decoded.shape:
        raise ValueError(f"x and decoded must share a shape, got {tuple(x.shape)} and {tuple(decoded.shape)}")
    if likelihood == "bernoulli":
        if not ((x >= 0) & (x <= 1)).all():
            raise ValueError(f"a Bernoulli likelihood needs x in [0, 1], got {float(x.min())} … {float(x.max())}")
        nats = F.binary_cross_entropy_with_logits(decoded, x, reduction="none")
    elif likelihood == "gaussian":
        if not sigma > 0:
            raise ValueError(f"sigma must be > 0, got {sigma}")
        nats = ((x - decoded) / sigma) ** 2 / 2 + math.log(sigma * math.sqrt(2 * math.pi))
    else:
        raise ValueError(f'likelihood must be "bernoulli" or "gaussian", got {likelihood!r}')
    return nats.flatten(1).sum(dim=1)


def elbo_loss(
    x: Float[Tensor, "batch ..."],
    decoded: Float[Tensor, "batch ..."],
    mean: Float[Tensor, "batch latent"],
    log_variance: Float[Tensor, "batch latent"],
    *,
    likelihood: str = "bernoulli",
    sigma: float = 1.0,
    beta: float = 1.0,
) -> Float[Tensor, ""]:
    """Return minus the ELBO: reconstruction + beta · KL, in nats per sample, averaged over the batch.

    It is at least -ln p(x), on average over the encoder's draws. decoded: what the decoder made of one draw
    z ~ N(mean, exp(log_variance)). likelihood, sigma: see `reconstruction_nats`. beta: 1 is the ELBO; 0 has no prior.
    Raises ValueError for a negative beta, and as its two parts do.
    Source: Kingma & Welling (2014), equation 10; beta: I. Higgins et al., beta-VAE (2017), equation 4.
    """
    if not beta >= 0:
        raise ValueError(f"beta must be ≥ 0, got {beta}")
    nats = reconstruction_nats(x, decoded, likelihood, sigma) + beta * gaussian_kl(mean, log_variance)
    return nats.mean()
