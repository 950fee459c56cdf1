"""What a model is trained to do: the losses of the course, each a few lines that read like the formula.

Language: `next_token_loss` (GPT, RNN), `mask_tokens` and `masked_language_modelling_loss` (BERT).
Privacy: `dp_sgd_gradient` in place of `loss.backward()`, and `dp_sgd_epsilon`, what it guarantees.

All losses are in nats (natural logarithm), per predicted token.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

NOT_A_TARGET = -100  # what torch's and transformers' cross-entropies pass over


# ------------------------------------------------------------------------------------------------------------- language


def next_token_loss(
    logits: Float[Tensor, "batch time vocab"],
    tokens: Int[Tensor, "batch time_or_one_more"],
    mask: Bool[Tensor, "batch time_or_one_more"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean of -ln P(token t + 1 | tokens up to t): the logits at t are judged by the token after them.

    tokens: what the model read, and one more token if there is one (the last logits need it).
    mask: False for padding, which is neither judged nor judges. Without anything to predict the loss is 0.
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
    return mean_cross_entropy(logits[:, : targets.shape[1]].flatten(0, 1), targets.flatten())


def mean_cross_entropy(logits: Float[Tensor, "n vocab"], targets: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Return the mean of -ln P(target) over the rows that have a target; 0 if none has."""
    total = F.cross_entropy(logits, targets, ignore_index=NOT_A_TARGET, reduction="sum")
    return total / (targets != NOT_A_TARGET).sum().clamp(min=1)


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


# -------------------------------------------------------------------------------------------------------------- privacy


def dp_sgd_gradient(
    model: nn.Module,
    loss: Callable[..., Tensor],
    *batch: Tensor,
    max_norm: float,
    noise_multiplier: float,
    generator: torch.Generator | None = None,
    chunk: int = 16,
) -> tuple[dict[str, Tensor], Float[Tensor, " batch"]]:
    """Return DP-SGD's gradient (by parameter name) and the norm that each sample's own gradient had.

    Each sample's gradient is cut to length `max_norm`; their sum gets normal noise, σ = noise_multiplier · max_norm;
    then it is divided by the number of samples B. No sample moves it by more than max_norm / B; the noise hides that.

    loss: called as loss(model, *sample) with each sample a batch of one; returns a number.
    batch: tensors (B, …), cut into samples along the first axis.
    chunk: how many samples at once (each needs memory for a gradient of its own).
    Only parameters with `requires_grad` get a gradient. The model must not mix samples (no batch norm).
    Raises ValueError for a max_norm that is not positive, a negative noise_multiplier, an empty batch.
    Source: M. Abadi et al., Deep Learning with Differential Privacy (2016), algorithm 1.
    """
    if max_norm <= 0 or noise_multiplier < 0:
        raise ValueError(f"max_norm must be > 0 and noise_multiplier ≥ 0, got {max_norm} and {noise_multiplier}")
    if not batch or len(batch[0]) == 0:
        raise ValueError("the batch is empty: give tensors of shape (B, …) with B ≥ 1")
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}

    def sample_loss(parameters: dict[str, Tensor], *sample: Tensor) -> Tensor:
        def predict(*args, **kwargs):
            return torch.func.functional_call(model, parameters, args, kwargs)

        return loss(predict, *(tensor[None] for tensor in sample))

    per_sample = torch.func.vmap(
        torch.func.grad(sample_loss), in_dims=(None, *[0] * len(batch)), randomness="different"
    )
    total, norms = {name: torch.zeros_like(p) for name, p in parameters.items()}, []
    for part in zip(*(tensor.split(chunk) for tensor in batch)):
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # the fast kernels know no vmap
            gradients = per_sample(parameters, *part)  # each (chunk, *shape of the parameter)
        norm = torch.stack([g.flatten(1).norm(dim=1) for g in gradients.values()]).norm(dim=0)  # (chunk,)
        scale = (max_norm / norm.clamp(min=1e-12)).clamp(max=1)  # 1 for those that are short enough
        for name, g in gradients.items():
            total[name] += torch.einsum("b,b...->...", scale, g)
        norms.append(norm)
    B = len(batch[0])
    for name, g in total.items():
        where = generator.device if generator is not None else g.device
        noise = torch.randn(g.shape, generator=generator, device=where).to(g)
        total[name] = (g + noise_multiplier * max_norm * noise) / B
    return total, torch.cat(norms)


def dp_sgd_epsilon(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """Return ε: after `steps` steps of DP-SGD the model is (ε, δ)-differentially private.

    e ** ε bounds how much likelier any result can become because one sample was used; δ is the chance that the bound
    fails (choose it far below 1 / number of samples). Small ε is strong: 1 is good, 10 says little.
    sample_rate: batch size / size of the data set; in the theory each sample joins each batch with this probability.
    noise_multiplier: 0 gives infinity; below about 0.7 the bound is looser than it need be (whole orders α only).
    Raises ValueError for a sample_rate outside [0, 1], delta outside (0, 1), negative steps or noise.
    Source: I. Mironov, K. Talwar and L. Zhang, Rényi Differential Privacy of the Sampled Gaussian Mechanism (2019),
    section 3.3; from there to (ε, δ): B. Balle et al., Hypothesis Testing Interpretations and Renyi Differential
    Privacy (2020), theorem 21.
    """
    if not 0 <= sample_rate <= 1 or not 0 < delta < 1 or steps < 0 or noise_multiplier < 0:
        raise ValueError(
            "sample_rate must be in [0, 1], delta in (0, 1), steps and noise_multiplier ≥ 0, "
            f"got {sample_rate}, {delta}, {steps}, {noise_multiplier}"
        )
    if steps == 0 or sample_rate == 0:
        return 0.0
    if noise_multiplier == 0:
        return math.inf
    best = math.inf
    for order in range(2, 257):  # any order gives a valid bound: take the best
        spent = steps * renyi_divergence(noise_multiplier, sample_rate, order)
        epsilon = spent + math.log((order - 1) / order) - (math.log(delta) + math.log(order)) / (order - 1)
        best = min(best, epsilon)
    return max(best, 0.0)


def renyi_divergence(noise_multiplier: float, sample_rate: float, order: int) -> float:
    """Return the Rényi divergence of order α ≥ 2 between one step with and without a sample, at most.

    It is ln(Σ_k C(α, k) q^k (1 - q)^(α - k) e^((k² - k) / 2σ²)) / (α - 1).
    Source: Mironov, Talwar & Zhang (2019), section 3.3.
    """
    k = torch.arange(order + 1, dtype=torch.double)
    if sample_rate == 1:
        return order / (2 * noise_multiplier**2)
    choose = math.lgamma(order + 1) - torch.lgamma(k + 1) - torch.lgamma(order - k + 1)  # ln of α over k
    chance = k * math.log(sample_rate) + (order - k) * math.log1p(-sample_rate)
    return float(torch.logsumexp(choose + chance + (k * k - k) / (2 * noise_multiplier**2), 0)) / (order - 1)
