"""The recipes of the models that tell tales.

Every tale is a row of its own between two end tokens, so a model knows where a tale starts and has all of it in sight.
`facts_kept` is the point of these models: the share of a text's claims that hold with what was told before, by grade.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course_utils import runtime
from course_utils.data import tales
from course_utils.data.bpe import BPETokenizer
from course_utils.learn import losses, train
from course_utils.models.ngram import NGramModel
from course_utils.models.rnn import CharRNN, RNNConfig
from course_utils.models.transformer import GPT, Config
from course_utils.recipes.job import Job, Recipe

TALES = 40_000  # to learn from
LONGEST = 144  # the most tokens a tale has, with its two ends
GRADES = (1, 2, 3, 4)
CHAIN_ORDER = 5  # words that the Markov chain looks back: half of its sentences are well formed


# --- tales as rows ----------------------------------------------------------------------------------------------------


def rows(texts: Sequence[str], tokenizer: BPETokenizer) -> tuple[Tensor, Tensor]:
    """Return the codes of tales (N, T), with end tokens on both sides and as padding, and their lengths (N,)."""
    codes = [torch.tensor([tokenizer.end, *tokenizer.encode(text).tolist(), tokenizer.end]) for text in texts]
    table = nn.utils.rnn.pad_sequence(codes, batch_first=True, padding_value=tokenizer.end)
    return table.to(torch.int16), torch.tensor(list(map(len, codes)))


@functools.cache
def learned(n: int = TALES) -> tuple[Tensor, Tensor]:
    """Return the training data of all models of tales, as rows, the shortest first."""
    table, lengths = rows([tale.text for tale in tales.write(n, runtime.seed(1))], tales.tokenizer())
    order = lengths.argsort(stable=True)
    return table[order], lengths[order]


def cut(table: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows as a batch: their codes up to the longest, and the mask of what belongs to a tale."""
    T = int(lengths.max())
    return table[:, :T].long(), torch.arange(T) < lengths[:, None]


def batches(size: int) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """Return a function that draws `size` tales of nearly equal length, so that little of a batch is padding."""

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        table, lengths = learned()  # made when first needed, so that judging alone need not wait
        start = int(torch.randint(len(table) - size + 1, (), generator=generator))
        return cut(table[start : start + size], lengths[start : start + size])

    return draw


def next_word_loss(model: nn.Module, codes: Tensor, real: Tensor) -> Tensor:
    """Return the mean of -ln P(word | the tale so far); what comes after a tale's end is not predicted."""
    hidden = model.encode(codes[:, :-1])
    hidden = hidden[0] if isinstance(hidden, tuple) else hidden  # an RNN returns its state too
    wanted = real[:, 1:]
    return losses.mean_cross_entropy(model.logits(hidden[wanted]).float(), codes[:, 1:][wanted])


# --- what they write --------------------------------------------------------------------------------------------------


def told_by(
    model: nn.Module | NGramModel, tokenizer: BPETokenizer, n: int, seed: int, temperature: float = 1.0
) -> list[str]:
    """Return n tales that a model tells, each from the end token alone."""
    g = runtime.seed(seed)
    if isinstance(model, NGramModel):
        start = torch.tensor([tokenizer.end] * model.order)
        found = model.sample(LONGEST - 1, n, temperature, start, g)
    else:
        prompt = torch.full((n, 1), tokenizer.end, device=next(model.parameters()).device)
        parts = [model.generate(p, LONGEST - 1, temperature=temperature, generator=g) for p in prompt.split(250)]
        found = torch.cat(parts)
    return [
        tokenizer.decode(row[: row.index(tokenizer.end)] if tokenizer.end in row else row) for row in found.tolist()
    ]


def chain(tokenizer: BPETokenizer, order: int = CHAIN_ORDER) -> NGramModel:
    """Return a Markov chain of words, counted in the same tales, each preceded by `order` end tokens."""
    table, lengths = learned()
    start = torch.tensor([tokenizer.end] * order)
    codes = [part for row, length in zip(table, lengths.tolist()) for part in (start, row[1 : length - 1].long())]
    return NGramModel(order, "witten-bell").fit(torch.cat([*codes, start]), size=len(tokenizer))


def facts_kept(texts: Sequence[str]) -> dict[str, float]:
    """Return the share of well-formed sentences, and of the facts kept for each grade; nan where there are none."""
    found = tales.score(texts)
    return {"well formed": found.form.share} | {
        f"grade {grade}": found.kept[grade].share if grade in found.kept else math.nan for grade in GRADES
    }


# --- recipes ----------------------------------------------------------------------------------------------------------


def telling_job(
    model: Callable[[int], nn.Module], optimizer: Callable[[nn.Module], torch.optim.Optimizer], size: int, bf16: bool
) -> Job:
    """A model that learns to tell tales.

    Args:
        model: makes it, called with the number of symbols.
    """
    tokenizer = tales.tokenizer()
    judged = cut(*rows([tale.text for tale in tales.write(256, runtime.seed(2))], tokenizer))

    def held_out(model: nn.Module) -> float:
        device = next(model.parameters()).device
        return float(next_word_loss(model, *(part.to(device) for part in judged)))

    return Job(
        model(len(tokenizer)),
        tokenizer,
        batches(size),
        next_word_loss,
        held_out,
        math.nan,  # the optimizer has its own
        f"tales.write({TALES}, runtime.seed(1))",
        unit="nats per word",
        note=lambda model: facts_kept(told_by(model, tokenizer, 64, 3)),
        optimizer=optimizer,
        bf16=bf16,
    )


def gpt_job(config: dict[str, Any], size: int, lr: float) -> Job:
    """A GPT that tells tales, trained with Muon, because facts come late and every step counts."""
    bf16 = runtime.fast_bfloat16()
    return telling_job(
        lambda symbols: GPT(Config(symbols, LONGEST, activation="gelu", **config), runtime.seed(0)),
        lambda model: train.muon(model, lr=lr, adamw_lr=lr / 4, momentum=0.95, bf16=bf16),
        size,
        bf16,
    )


def rnn_job(config: dict[str, Any], size: int, lr: float) -> Job:
    """An LSTM that tells tales."""
    return telling_job(
        lambda symbols: CharRNN(RNNConfig(symbols, **config), runtime.seed(0)),
        lambda model: train.adamw(model, lr),
        size,
        bf16=False,
    )


RECIPES = {
    "tales-gpt": Recipe(lambda: gpt_job(dict(dim=192, layers=4, heads=6), size=32, lr=0.02), steps=7000, hours=1.0),
    "tales-gpt-small": Recipe(
        lambda: gpt_job(dict(dim=64, layers=2, heads=4), size=32, lr=0.02), steps=3000, hours=0.1
    ),
    "tales-rnn": Recipe(
        lambda: rnn_job(dict(cell="lstm", hidden=256, embedding=128), size=32, lr=3e-3), steps=2000, hours=0.1
    ),
}
