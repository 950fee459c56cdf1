"""The recipe of the BERT that learns kinds of things from unlabelled texts (`data.tales.kinds`).

Its loss rests on a plateau, the loss of a model that sees no tie between verb and noun, and falls late to the world's
own entropy. Large batches and many hidden words get it there sooner.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_utils import pretrained, runtime
from course_utils.data.tales import kinds
from course_utils.learn import losses, train
from course_utils.models.transformer import BERT, BERTConfig
from course_utils.recipes.job import Job, Recipe

TEXTS = 30_000  # to learn from, of three sentences each
HIDDEN = 0.3  # share of the words to guess


@functools.cache
def learned() -> Tensor:
    """Return the codes of the training texts, (TEXTS, T); all texts have the same length."""
    return kinds.tokenizer().encode_batch(kinds.write(TEXTS, runtime.seed(0)))[0]


def hide(codes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return (codes with some hidden, targets)."""
    tokenizer = kinds.tokenizer()
    special = [tokenizer.end, tokenizer.pad, tokenizer.unknown, tokenizer.cls, tokenizer.sep]
    return losses.mask_tokens(
        codes, mask_token=tokenizer.mask, vocab_size=len(tokenizer), special=special, share=HIDDEN, generator=generator
    )


def hidden_word_loss(model: nn.Module, codes: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of -ln P(hidden word | the text around it)."""
    chosen = targets != losses.NOT_A_TARGET
    vectors = model.encode(codes)[chosen]  # (chosen, D): the others need no logits
    return losses.masked_language_modelling_loss(model.logits(vectors).float(), targets[chosen])


def neighbours(model: BERT) -> float:
    """Return the share of the nouns whose nearest other noun, by the angle of their vectors, is of the same kind."""
    tokenizer = kinds.tokenizer()
    nouns = [(noun, kind) for kind in kinds.KINDS for noun in kinds.NOUNS[kind]]
    vectors = model.tokens.weight[[tokenizer.encode(noun).item() for noun, _ in nouns]]
    vectors = nn.functional.normalize(vectors.detach().float(), dim=1)
    nearest = (vectors @ vectors.T).fill_diagonal_(-math.inf).argmax(1).tolist()
    return sum(nouns[i][1] == kind for i, (_, kind) in zip(nearest, nouns)) / len(nouns)


def kinds_job(config: dict[str, Any], size: int, lr: float) -> Job:
    """Masked language modelling on texts about things of five kinds."""
    tokenizer = kinds.tokenizer()
    judged = hide(tokenizer.encode_batch(kinds.write(8000, runtime.seed(2)))[0], runtime.seed(3))  # error: 0.012
    length = judged[0].shape[1]

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = learned()  # made when it is first needed
        return hide(rows[torch.randint(len(rows), (size,), generator=generator)], generator)

    def held_out(model: nn.Module) -> float:
        device = next(model.parameters()).device
        return float(hidden_word_loss(model, *(part.to(device) for part in judged)))

    def measure(folder: Path) -> dict[str, float]:
        stored, _ = pretrained.load(folder, device="cpu")
        entropy = {"entropy": kinds.entropy(HIDDEN), "plateau": kinds.entropy(HIDDEN, tied=False)}
        return {"neighbours": neighbours(stored)} | {name: round(value, 4) for name, value in entropy.items()}

    return Job(
        BERT(BERTConfig(len(tokenizer), length, token_types=1, **config), runtime.seed(0)),
        tokenizer,
        batch,
        hidden_word_loss,
        held_out,
        lr,
        f"kinds.write({TEXTS}, runtime.seed(0))",
        unit="nats per hidden word",
        note=lambda model: {"neighbours": neighbours(model)},
        measure=measure,
        optimizer=lambda model: train.adamw(model, lr),
        bf16=runtime.fast_bfloat16(),
    )


RECIPES = {
    "kinds-bert": Recipe(
        lambda: kinds_job(dict(dim=128, layers=2, heads=4), size=192, lr=1.5e-3), steps=1300, hours=0.08
    )
}
