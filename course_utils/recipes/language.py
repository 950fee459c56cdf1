"""The recipes of the language models, which read the docstrings of the course's own locked packages."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_utils import pretrained, runtime
from course_utils.data import text
from course_utils.data.bpe import BERT_SPECIAL, BPETokenizer
from course_utils.learn import losses, train
from course_utils.models.rnn import CharRNN, RNNConfig
from course_utils.models.transformer import BERT, GPT, BERTConfig, Config
from course_utils.recipes.job import Job, Recipe

SYMBOLS = 1024  # of the tokenizers
BERT_SYMBOLS = 2048  # more whole words, which are worth a vector each
CONTEXT = 128  # tokens a model reads


def gpt_job(config: dict[str, Any], size: int, lr: float) -> Job:
    """Next-token prediction on the course's English, in pieces of words."""
    learn, judge = text.load("docs").split(0.1)
    tokenizer = BPETokenizer.train(learn.text, vocab_size=SYMBOLS)
    model = GPT(Config(vocab_size=SYMBOLS, context=CONTEXT, **config), runtime.seed(0))
    held_out = tokenizer.encode(judge.text)[:20_000]

    def bits(folder: Path) -> dict[str, float]:
        stored, _ = pretrained.load(folder, device=runtime.device())
        nats = -float(stored.log_probabilities(held_out).mean())
        per_token = len(tokenizer.decode(held_out)) / len(held_out)  # characters
        return {"held_out_bits_per_character": round(nats / math.log(2) / per_token, 4)}

    return Job(
        model,
        tokenizer,
        train.windows(tokenizer.encode(learn.text), CONTEXT + 1, size),
        lambda model, x: losses.next_token_loss(model(x[:, :-1]), x),
        lambda model: -float(model.log_probabilities(held_out).mean()),
        lr,
        'text.load("docs").split(0.1)[0]: English sentences of the docstrings of ' + ", ".join(text.LIBRARIES),
        measure=bits,
    )


def bert_job(config: dict[str, Any], size: int, lr: float) -> Job:
    """Masked language modelling that reads none of the sentences of `labelled_sentences("held_out")`.

    There are two kinds of batches, drawn by chance: single paragraphs, which soon teach how a sentence is built, and
    windows over neighbouring ones, where knowing what they have in common pays.
    """
    learn, judge = text.load("docs").split(text.HELD_OUT, seed=0)
    tokenizer = BPETokenizer.train(learn.text, vocab_size=BERT_SYMBOLS, special=BERT_SPECIAL)
    model = BERT(BERTConfig(vocab_size=BERT_SYMBOLS, context=CONTEXT, token_types=1, **config), runtime.seed(0))
    paragraphs, real = encode_paragraphs(tokenizer, learn)
    window = train.windows(tokenizer.encode(learn.text), CONTEXT, size // 4)

    def hide(codes: Tensor, mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        special = [tokenizer.pad, tokenizer.unknown, tokenizer.cls, tokenizer.sep]
        hidden, targets = losses.mask_tokens(
            codes, mask_token=tokenizer.mask, vocab_size=BERT_SYMBOLS, special=special, mask=mask, generator=generator
        )
        return hidden, targets, mask

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        if torch.rand((), generator=generator) < 0.5:
            codes = window(generator)
            codes[:, 0], codes[:, -1] = tokenizer.cls, tokenizer.sep
            return hide(codes, torch.ones_like(codes, dtype=torch.bool), generator)
        rows = torch.randint(len(paragraphs), (size,), generator=generator)
        T = int(real[rows].sum(1).max())
        return hide(paragraphs[rows, :T], real[rows, :T], generator)

    def loss(model: nn.Module, hidden: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        chosen = targets != losses.NOT_A_TARGET
        vectors = model.encode(hidden, mask)[chosen]  # (chosen, D): the others need no logits
        return losses.masked_language_modelling_loss(model.logits(vectors), targets[chosen])

    new_paragraphs, new_real = encode_paragraphs(tokenizer, judge)
    judged = hide(new_paragraphs[:512], new_real[:512], runtime.seed(1))

    def held_out(model: nn.Module) -> float:
        device = next(model.parameters()).device
        return float(loss(model, *(part.to(device) for part in judged)))

    data = (
        'text.load("docs").split(0.2)[0]: English sentences of the docstrings of ' + ", ".join(text.LIBRARIES) + ", "
        'none of which is in labelled_sentences("held_out")'
    )
    return Job(model, tokenizer, batch, loss, held_out, lr, data)


def encode_paragraphs(tokenizer: BPETokenizer, corpus: text.Corpus) -> tuple[Tensor, Tensor]:
    """Return a corpus's paragraphs, each cut after 64 tokens, in a fixed random order: codes (N, 64), mask (N, 64)."""
    lines = [line for document in corpus.documents for line in document.text.splitlines() if len(line) >= 20]
    codes, real = tokenizer.encode_batch(lines, CONTEXT // 2)
    order = torch.randperm(len(codes), generator=runtime.seed(0))
    return codes[order], real[order]


def char_rnn_job(config: dict[str, Any], size: int, lr: float) -> Job:
    """Next-character prediction on docstrings as they are, with their brackets, quotes and code."""
    learn, judge = text.load("numpy", view="raw").split(0.1)
    plain = "".join(map(chr, range(32, 127))) + "\n"
    tokenizer = text.CharTokenizer("".join(sorted(plain + "\x00")), unknown="\x00")
    model = CharRNN(RNNConfig(len(tokenizer), **config), runtime.seed(0))
    held_out = tokenizer.encode(judge.text)[:20_000]
    return Job(
        model,
        tokenizer,
        train.windows(tokenizer.encode(learn.text), CONTEXT + 1, size),
        lambda model, x: losses.next_token_loss(model(x[:, :-1])[0], x),
        lambda model: -float(model.log_probabilities(held_out).mean()),
        lr,
        'text.load("numpy", view="raw").split(0.1)[0]: numpy\'s docstrings as they are',
    )


RECIPES = {
    "gpt-small": Recipe(lambda: gpt_job(dict(dim=80, layers=3, heads=4), size=16, lr=3e-3), steps=4000, hours=0.25),
    "char-rnn": Recipe(lambda: char_rnn_job(dict(cell="lstm", hidden=256), size=32, lr=3e-3), steps=3000, hours=0.15),
    "bert": Recipe(lambda: bert_job(dict(dim=128, layers=4, heads=4), size=64, lr=1e-3), steps=5000, hours=0.35),
    "gpt": Recipe(
        lambda: gpt_job(dict(dim=256, layers=4, heads=8, dropout=0.1), size=24, lr=1.5e-3), steps=2600, hours=0.7
    ),
}
