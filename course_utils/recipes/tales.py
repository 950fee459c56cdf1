"""The recipes of the models that tell tales, and read them.

Every tale is a row of its own that begins and ends with the end token, so a model knows where a tale starts and has
all of it in sight. `facts_kept` is what these models are for: of the claims that a text makes, the share that holds
with what was told before, by grade.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from course_utils import losses, runtime, train
from course_utils.data import tales
from course_utils.data.bpe import BPETokenizer
from course_utils.models.rnn import CharRNN, RNNConfig
from course_utils.models.transformer import GPT, Config
from course_utils.recipes.job import Job, Recipe

TALES = 60_000  # that they learn from
LONGEST = 144  # tokens of a tale, with its two ends; none has more
SYMBOLS = 2048  # more than enough: joining ends at whole words
GRADES = (1, 2, 3, 4)


def tokenizer() -> BPETokenizer:
    """Return the tokenizer of all models of tales; nearly every word is one symbol."""
    return BPETokenizer.train([tale.text for tale in tales.write(4000, runtime.seed(0))], vocab_size=SYMBOLS)


def rows(texts: list[str], pieces: BPETokenizer) -> tuple[Tensor, Tensor]:
    """Return the codes of tales (N, T), an end token on both sides and padding of the same, and their lengths (N,)."""
    codes = [[pieces.end, *pieces.encode(text).tolist(), pieces.end] for text in texts]
    lengths = torch.tensor(list(map(len, codes)))
    table = torch.full((len(codes), int(lengths.max())), pieces.end, dtype=torch.int16)
    for row, code in zip(table, codes):
        row[: len(code)] = torch.tensor(code)
    return table, lengths


def batches(texts: list[str], pieces: BPETokenizer, size: int):
    """Return a function that draws `size` tales of nearly one length, so that little of a batch is padding."""
    table, lengths = rows(texts, pieces)
    order = lengths.argsort(stable=True)
    table, lengths = table[order], lengths[order]

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        start = int(torch.randint(len(table) - size + 1, (), generator=generator))
        length = lengths[start : start + size]
        T = int(length.max())
        return table[start : start + size, :T].long(), torch.arange(T) < length[:, None]

    return draw


def next_word_loss(model: nn.Module, codes: Tensor, real: Tensor) -> Tensor:
    """Next-token prediction on tales; what comes after a tale's end is neither read nor predicted."""
    hidden = model.encode(codes[:, :-1])
    hidden = hidden[0] if isinstance(hidden, tuple) else hidden  # an RNN returns its state too
    wanted = real[:, 1:]
    return losses.mean_cross_entropy(model.logits(hidden[wanted]).float(), codes[:, 1:][wanted])


def texts_of(model: nn.Module, pieces: BPETokenizer, n: int, seed: int) -> list[str]:
    """Return n tales that a model writes, each from the end token alone."""
    g, found = runtime.seed(seed), []
    prompt = torch.full((n, 1), pieces.end, device=next(model.parameters()).device)
    for part in prompt.split(250):
        for row in model.generate(part, LONGEST - 1, generator=g).tolist():
            found.append(pieces.decode(row[: row.index(pieces.end)] if pieces.end in row else row))
    return found


def facts_kept(texts: list[str]) -> dict[str, float]:
    """Return the share of well-formed sentences, and of the facts kept of each grade; nan where there are none."""
    found = tales.score(texts)
    kept = {f"grade {grade}": found.kept.get(grade, (float("nan"),))[0] for grade in GRADES}
    return {"well formed": found.well_formed / max(1, found.sentences), **kept}


def telling_job(build, size: int, optimizer) -> Job:
    """A model that learns to tell tales.

    build: called with the number of symbols, returns the model. optimizer: called with the model.
    """
    pieces = tokenizer()
    model = build(len(pieces))
    texts = [tale.text for tale in tales.write(TALES, runtime.seed(1))]
    judged = batches([tale.text for tale in tales.write(256, runtime.seed(2))], pieces, 256)(runtime.seed(0))

    def held_out(model: nn.Module) -> float:
        device = next(model.parameters()).device
        return float(next_word_loss(model, *(part.to(device) for part in judged)))

    return Job(
        model,
        pieces,
        batches(texts, pieces, size),
        next_word_loss,
        held_out,
        0.0,
        f"tales.write({TALES:,}, runtime.seed(1))",
        note=lambda model: facts_kept(texts_of(model, pieces, 64, 3)),
        optimizer=optimizer,
        bf16=runtime.fast_bfloat16(),
    )


def gpt_job(config: dict[str, Any], size: int, lr: float) -> Job:
    """A GPT that tells tales; Muon, since facts come late and every step counts."""
    return telling_job(
        lambda symbols: GPT(Config(symbols, LONGEST, activation="gelu", **config), runtime.seed(0)),
        size,
        lambda model: train.muon(model, lr=lr, adamw_lr=lr / 4, bf16=runtime.fast_bfloat16()),
    )


def rnn_job(config: dict[str, Any], size: int, lr: float) -> Job:
    """An LSTM that tells tales."""
    return telling_job(
        lambda symbols: CharRNN(RNNConfig(symbols, **config), runtime.seed(0)), size, lambda model: train.adamw(model, lr)
    )


RECIPES = {
    "tales-gpt": Recipe(lambda: gpt_job(dict(dim=192, layers=4, heads=6), size=32, lr=0.02), steps=4000, hours=0.5),
    "tales-gpt-small": Recipe(lambda: gpt_job(dict(dim=64, layers=2, heads=4), size=32, lr=0.02), steps=3000, hours=0.1),
    "tales-rnn": Recipe(
        lambda: rnn_job(dict(cell="lstm", hidden=256, embedding=128), size=32, lr=3e-3), steps=2000, hours=0.1
    ),
}
