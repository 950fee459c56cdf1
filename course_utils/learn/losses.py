"""What a model is trained to do: the losses of the course, each a few lines that read like the formula.

Language: `next_token_loss` (GPT, RNN), `mask_tokens` and `masked_language_modelling_loss` (BERT).
Contrast: `nt_xent` (SimCLR), `sup_con`, `clip_loss`, and `info_nce` with any number of negatives.
Autoencoders: `elbo_loss` = `reconstruction_nats` + `gaussian_kl`.

All losses are in nats (natural logarithm), per predicted token, per anchor or per sample.

A NaN anywhere in the input makes the loss NaN, even where a mask or a draw of negatives leaves that number out: it is
a sign that something is broken, and a finite loss would hide it. No loss raises an error for it, because checking would
make a GPU wait at every step; `train.fit` checks from time to time, and raises.
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
    """Return the mean of -ln P(token t + 1 | tokens up to t): the logits at t are judged by the token that follows.

    If there is nothing to predict, the loss is 0.

    Args:
        tokens: what the model read, and one more token if there is one (the last logits need it).
        mask: False for padding, which is neither predicted nor predicts anything. Its logits may be anything finite.

    Raises:
        ValueError: if the shapes do not match.
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
    """Return the loss, or NaN if any input contains NaN (or +inf), used or not. No gradient flows from this."""
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
    """Hide some of the tokens, for BERT to guess.

    Each token is chosen with probability `share`. Of those chosen, 80 % become `mask_token`, 10 % become a random
    token, and 10 % stay as they are (and must still be predicted).

    Args:
        special: tokens that are never chosen and never used as a replacement ([CLS], [SEP], [PAD] …).
        mask: False for padding, which is never chosen.

    Returns:
        The tokens with some hidden, and the targets: the true token where one was chosen, -100 elsewhere.

    Raises:
        ValueError: if `share` lies outside [0, 1], or every token of the vocabulary is special.

    Source: Devlin et al. (2019), section 3.1 and appendix A.1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be the part of the tokens to hide, 0 ≤ share ≤ 1, got {share}")
    special = torch.tensor([mask_token, *special], device=tokens.device).unique()
    ordinary = torch.ones(vocab_size, dtype=torch.bool, device=tokens.device).index_fill(0, special, False)
    ordinary = ordinary.nonzero()[:, 0]  # (V - special,)
    if len(ordinary) == 0:
        raise ValueError(f"all {vocab_size} tokens are special: none is left to serve as a random replacement")
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

    Raises:
        ValueError: if the shapes do not match.
    """
    if logits.shape[:-1] != targets.shape:
        raise ValueError(f"targets must have the shape {tuple(logits.shape[:-1])}, got {tuple(targets.shape)}")
    return mean_cross_entropy(logits.flatten(0, -2), targets.flatten())


# --- contrastive ------------------------------------------------------------------------------------------------------


def unit(z: Float[Tensor, "*shape dim"]) -> Float[Tensor, "*shape dim"]:
    """Return z / |z| along the last axis. A zero vector stays zero and gets no gradient; NaN stays NaN."""
    length = z.norm(dim=-1, keepdim=True)
    return torch.where(length == 0, 0, z / length.clamp(min=torch.finfo(z.dtype).tiny))


def check_contrast(temperature: float | Tensor, *views: Tensor) -> None:
    """Check a temperature and one or two views.

    Raises:
        ValueError: unless the temperature is positive and all views share one shape (N, D) with N ≥ 2.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be > 0 and finite, got {float(temperature)}")
    shapes = [tuple(view.shape) for view in views]
    if len(set(shapes)) != 1 or len(shapes[0]) != 2:
        raise ValueError(f"the vectors must be (batch, dim), all of the same shape, got {', '.join(map(str, shapes))}")
    if shapes[0][0] < 2:
        raise ValueError(f"a contrastive loss needs negatives: a batch of at least 2, got {shapes[0][0]}")


def nt_xent(
    z1: Float[Tensor, "batch dim"], z2: Float[Tensor, "batch dim"], temperature: float | Tensor
) -> Float[Tensor, ""]:
    """Return SimCLR's loss: each of the 2 N views must find its partner among the 2 N - 1 others.

    The logits are cosines / temperature; those of a zero vector are 0.

    Args:
        z1: one view of each picture.
        z2: another view of each picture, in the same order.

    Raises:
        ValueError: if the temperature is not positive, the shapes differ, or the batch has only one picture.

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
    """Return the supervised contrastive loss: each vector must find the others of its class among all others.

    If every picture is a class of its own, this is `nt_xent`. The mean over an anchor's positives is taken outside the
    logarithm (the paper's L_out). An anchor that is alone in its class has nothing to find: it is skipped, but still
    serves as a negative for the others.

    Args:
        z: one row per view; for two views, torch.cat([z1, z2]) with torch.cat([labels, labels]).

    Raises:
        ValueError: if the temperature is not positive, the shapes do not match, the batch has only one row, or no two
            rows share a class.

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
        raise ValueError("every label occurs only once: there are no two rows of one class to bring together")
    log_p = (z @ z.T / temperature).masked_fill(itself, -math.inf).log_softmax(dim=1)  # (N, N)
    per_anchor = -log_p.masked_fill(~positive, 0).sum(dim=1) / count.clamp(min=1)
    return per_anchor.sum() / (count > 0).sum()


def clip_loss(
    image: Float[Tensor, "batch dim"], text: Float[Tensor, "batch dim"], log_scale: float | Tensor
) -> Float[Tensor, ""]:
    """Return CLIP's loss: each picture must find its caption in the batch, and each caption its picture.

    Two equal captions in a batch count as each other's negatives, as in the paper.

    Args:
        image, text: row i of one belongs to row i of the other; of any length (they are normalised here).
        log_scale: ln(1 / temperature), a number or a learned parameter. CLIP starts at ln(1 / 0.07), and its model
            keeps the scale at 100 or less.

    Raises:
        ValueError: if the batch has only one pair, the shapes differ, or `log_scale` is not finite.

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

    The number of negatives does not depend on the batch size: K ≤ N - 1 within the batch, any K with a pool.
    ln(K + 1) minus this loss is a lower bound on the mutual information of the two views.

    Args:
        negatives: K, drawn for each anchor without replacement; None takes all there are.
        pool: where the negatives come from; none of its rows may be a positive. None takes the positives of the other
            anchors.

    Raises:
        ValueError: if the temperature is not positive, the shapes do not match, K is below 1 or more than there are, or
            a batch of one comes without a pool.

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
    """Return KL(N(mean, variance) ‖ N(0, 1)) in nats per sample, summed over the latent numbers; always ≥ 0.

    Raises:
        ValueError: if the shapes differ.

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
    """Return -ln p(x | z) in nats per sample, summed over all its numbers.

    Args:
        x: the samples; in [0, 1] for "bernoulli".
        decoded: logits for "bernoulli", means for "gaussian".
        likelihood: "bernoulli" (for greys between 0 and 1 this is a cross-entropy, not a true likelihood), or
            "gaussian" (with its constant, so it is a true density, and the result can be negative for a small sigma).
        sigma: the standard deviation of every number, for "gaussian".

    Raises:
        ValueError: if the shapes differ, the likelihood is unknown, sigma is not positive, or x lies outside [0, 1]
            with "bernoulli".
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

    On average over the encoder's draws it is at least -ln p(x).

    Args:
        decoded: what the decoder made of one draw z ~ N(mean, exp(log_variance)).
        likelihood, sigma: as in `reconstruction_nats`.
        beta: 1 gives the ELBO; 0 leaves out the prior.

    Raises:
        ValueError: if beta is negative, and as `reconstruction_nats` and `gaussian_kl` do.

    Source: Kingma & Welling (2014), equation 10; beta: I. Higgins et al., beta-VAE (2017), equation 4.
    """
    if not beta >= 0:
        raise ValueError(f"beta must be ≥ 0, got {beta}")
    nats = reconstruction_nats(x, decoded, likelihood, sigma) + beta * gaussian_kl(mean, log_variance)
    return nats.mean()
