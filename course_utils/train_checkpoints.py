"""How the bundled checkpoints were made: `course train` runs this, and writes each with its card.

Language: the docstrings of the course's own locked packages (`text.load("docs")`). Pictures: postcards, which are drawn
anew. So anyone can make the same again, on a CPU in minutes. `RECIPES` says what each checkpoint is; `make` trains one
and saves it. A run that was killed goes on where it was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import augment, evaluate, losses, pretext, pretrained, runtime, train
from course_utils.data import postcards, text
from course_utils.data.bpe import BERT_SPECIAL, BPETokenizer
from course_utils.models.autoencoder import DeepAutoencoder, VariationalAutoencoder, corrupt
from course_utils.models.clip import CLIP, CLIPConfig, WordTokenizer
from course_utils.models.convnet import ConvNet, ConvNetConfig, projection_head
from course_utils.models.rnn import CharRNN, RNNConfig
from course_utils.models.transformer import BERT, GPT, BERTConfig, Config

SYMBOLS = 1024  # of the tokenizers
BERT_SYMBOLS = 2048  # more whole words, which are worth a vector each
CONTEXT = 128  # tokens that a model reads


@dataclass
class Job:
    """All that `make` needs: a model, what it learns from, and what its card says."""

    model: nn.Module
    tokenizer: pretrained.Tokenizer | None  # None: a model of pictures
    batch: Callable[[torch.Generator], Any]
    loss: Callable[..., Tensor]
    held_out: Callable[[nn.Module], float]  # in `unit`
    steps: int
    lr: float
    data: str
    characters: float = 1.0  # per symbol of the held-out text, on average
    unit: str = "nats per predicted symbol"
    kept: Callable[[nn.Module], nn.Module] = lambda model: model  # what is saved of a model of pictures


def gpt_job(config: dict[str, Any], steps: int, size: int, lr: float) -> Job:
    """Next-token prediction on the course's English, in pieces of words."""
    learn, judge = text.load("docs").split(0.1)
    tokenizer = BPETokenizer.train(learn.text, vocab_size=SYMBOLS)
    model = GPT(Config(vocab_size=SYMBOLS, context=CONTEXT, **config), runtime.seed(0))
    held_out = tokenizer.encode(judge.text)
    return Job(
        model,
        tokenizer,
        train.windows(tokenizer.encode(learn.text), CONTEXT + 1, size),
        lambda model, x: losses.next_token_loss(model(x[:, :-1]), x),
        lambda model: -float(model.log_probabilities(held_out[:20_000]).mean()),
        steps,
        lr,
        'text.load("docs").split(0.1)[0]: English sentences of the docstrings of ' + ", ".join(text.LIBRARIES),
        len(tokenizer.decode(held_out[:20_000])) / min(len(held_out), 20_000),
    )


def bert_job(config: dict[str, Any], steps: int, size: int, lr: float) -> Job:
    """Masked language modelling; none of the sentences of `labelled_sentences("held_out")` is read.

    Two kinds of batches, drawn by chance: single paragraphs, from which it soon learns how a sentence is built, and
    windows over neighbouring ones, where what they have in common is worth knowing.
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
    return Job(model, tokenizer, batch, loss, held_out, steps, lr, data)


def encode_paragraphs(tokenizer: BPETokenizer, corpus: text.Corpus) -> tuple[Tensor, Tensor]:
    """The paragraphs of a corpus, each cut after 64 tokens, in a fixed random order: codes (N, 64), mask (N, 64)."""
    lines = [line for document in corpus.documents for line in document.text.splitlines() if len(line) >= 20]
    codes, real = tokenizer.encode_batch(lines, CONTEXT // 2)
    order = torch.randperm(len(codes), generator=runtime.seed(0))
    return codes[order], real[order]


def char_rnn_job(config: dict[str, Any], steps: int, size: int, lr: float) -> Job:
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
        steps,
        lr,
        'text.load("numpy", view="raw").split(0.1)[0]: numpy\'s docstrings as they are',
    )


# ------------------------------------------------------------------------------------------------------------ pictures

WIDTH = 24  # of the ConvNets: 96 features
CARDS = 8000  # that they learn from
PAIRS = "nats per picture: the right one among the batch's"


def picture_job(
    model: nn.Module,
    prepare: Callable[..., tuple[Tensor, ...]],
    loss: Callable[..., Tensor],
    columns: Callable[[postcards.Postcards], tuple[Tensor, ...]] = lambda cards: (cards.images,),
    *,
    steps: int,
    size: int = 128,
    lr: float = 3e-3,
    unit: str,
    kept: Callable[[nn.Module], nn.Module] = lambda model: model.encoder,
) -> Job:
    """A pretext task on postcards.

    columns: what is known about the cards, one row for each. prepare: called as prepare(*rows, generator), makes the
    task out of some of them, all randomness included. loss: called as loss(model, *what prepare returned).
    """
    known = columns(postcards.draw(CARDS, runtime.seed(0)))
    draw = train.samples(*known, size=size)
    judged = prepare(*columns(postcards.draw(2 * size, runtime.seed(1))), runtime.seed(2))

    def held_out(model: nn.Module) -> float:
        device = next(model.parameters()).device
        parts = [[part[i : i + size].to(device) for part in judged] for i in (0, size)]
        return sum(float(loss(model, *rows)) for rows in parts) / 2

    return Job(
        model,
        None,
        lambda generator: prepare(*draw(generator), generator),
        loss,
        held_out,
        steps,
        lr,
        f"postcards.draw({CARDS}, runtime.seed(0)), 32 × 32",
        unit=unit,
        kept=kept,
    )


def autoencoder_job(steps: int, sigma: float = 0.0, variational: bool = False) -> Job:
    """Reconstruction through 32 numbers: of the picture, of the picture without noise, or of one draw of a VAE."""
    g = runtime.seed(0)
    model = (VariationalAutoencoder if variational else DeepAutoencoder)(32, ConvNetConfig(WIDTH), g)

    def prepare(images: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        seen = corrupt(images, sigma, generator) if sigma else images
        return seen, images, torch.randn(len(images), 32, generator=generator)

    def loss(model: nn.Module, seen: Tensor, images: Tensor, noise: Tensor) -> Tensor:
        if not variational:
            return losses.reconstruction_nats(images, model(seen)).mean()
        mean, log_variance = model.distribution(seen)
        z = mean + (log_variance / 2).exp() * noise
        return losses.elbo_loss(images, model.decode(z), mean, log_variance)

    return picture_job(
        model, prepare, loss, steps=steps, size=64, unit="nats per picture", kept=lambda model: model
    )  # fmt: skip


def patch_job(steps: int) -> Job:
    """Where does the second patch lie?"""
    return picture_job(
        pretext.PatchModel(ConvNetConfig(WIDTH), runtime.seed(0)),
        pretext.patch_pairs,
        lambda model, first, second, which: F.cross_entropy(model(first, second), which),
        steps=steps,
        unit="nats per pair of patches",
    )


def jigsaw_job(steps: int) -> Job:
    """In which order are the tiles?"""
    permutations = pretext.permutation_set(32, tiles=9)
    return picture_job(
        pretext.JigsawModel(len(permutations), 9, ConvNetConfig(WIDTH), runtime.seed(0)),
        lambda images, generator: pretext.jigsaw(images, permutations, generator),
        lambda model, tiles, which: F.cross_entropy(model(tiles), which),
        steps=steps,
        unit="nats per puzzle",
    )


def colour_job(steps: int) -> Job:
    """Which colour has each place of the grey picture? Classification, rare colours count more."""
    bins = pretext.colour_bins()

    def prepare(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        grey, chroma = pretext.split_colour(images)
        return grey, pretext.colour_targets(pretext.half(chroma), bins)

    _, seen = prepare(postcards.draw(1000, runtime.seed(0)).images, runtime.seed(0))
    weight = pretext.rebalanced_weights(seen, len(bins))
    return picture_job(
        pretext.Colourizer(len(bins), ConvNetConfig(WIDTH), runtime.seed(0)),
        prepare,
        lambda model, grey, targets: F.cross_entropy(model(grey), targets, weight.to(grey.device)),
        steps=steps,
        size=64,
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


def contrastive_job(steps: int, supervised: bool = False) -> Job:
    """Two views of the same picture must find each other; supervised: all views of the same kind of object."""

    def prepare(images: Tensor, kinds: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        return *augment.two_views(images, views(), generator), kinds

    def loss(model: nn.Module, first: Tensor, second: Tensor, kinds: Tensor) -> Tensor:
        z = model(torch.cat([first, second]))
        return losses.sup_con(z, kinds.repeat(2), 0.1) if supervised else losses.nt_xent(*z.chunk(2), 0.2)

    return picture_job(
        Headed(),
        prepare,
        loss,
        lambda cards: (cards.images, cards.factors["object"]),
        steps=steps,
        unit=PAIRS,
    )


def clip_job(steps: int) -> Job:
    """Pictures and captions must find each other; one word in fifty is unknown, as a stranger's may be."""
    captions = postcards.draw(CARDS, runtime.seed(0), size=1).captions
    tokenizer = WordTokenizer.fit([*captions, *(t.format(colour="red", object="car") for t in postcards.TEMPLATES)])
    model = CLIP(CLIPConfig(len(tokenizer), image_width=WIDTH), runtime.seed(0))
    model.tokenizer = tokenizer

    def prepare(images: Tensor, codes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        forgotten = (torch.rand(codes.shape, generator=generator) < 0.02) & (codes != tokenizer.pad)
        return images, codes.masked_fill(forgotten, tokenizer.unknown)

    return picture_job(
        model,
        prepare,
        lambda model, images, codes: losses.clip_loss(*model(images, codes)),
        lambda cards: (cards.images, tokenizer.encode_batch(cards.captions, model.config.context)[0]),
        steps=steps,
        lr=2e-3,
        unit=PAIRS,
        kept=lambda model: model,
    )


PROBED = ("object", "colour", "biome", "weather", "night", "size", "x", "y")


def probes(encoder: nn.Module) -> dict[str, float]:
    """Return what linear probes of frozen features find: accuracies, and R² for size, x and y.

    Of 3,000 cards that no recipe learns from, 2,000 train the probes and 1,000 judge.
    """
    cards = postcards.draw(3000, runtime.seed(3))
    features = {"encoder": evaluate.features(encoder, cards.images)}
    card = evaluate.report_card(features, {name: cards.factors[name] for name in PROBED}, share=2 / 3, l2=1e-3)
    return {name: round(card["encoder", name][0], 4) for name in PROBED}


RECIPES: dict[str, Callable[[], Job]] = {
    "gpt-small": lambda: gpt_job(dict(dim=80, layers=3, heads=4), steps=4000, size=16, lr=3e-3),
    "char-rnn": lambda: char_rnn_job(dict(cell="lstm", hidden=256), steps=3000, size=32, lr=3e-3),
    "bert": lambda: bert_job(dict(dim=128, layers=4, heads=4), steps=5000, size=64, lr=1e-3),
    "gpt": lambda: gpt_job(dict(dim=256, layers=4, heads=8, dropout=0.1), steps=2600, size=24, lr=1.5e-3),
    "ae": lambda: autoencoder_job(steps=450),
    "dae": lambda: autoencoder_job(steps=450, sigma=0.3),
    "vae": lambda: autoencoder_job(steps=350, variational=True),
    "patch": lambda: patch_job(steps=1500),
    "jigsaw": lambda: jigsaw_job(steps=600),
    "colour": lambda: colour_job(steps=450),
    "simclr": lambda: contrastive_job(steps=300),
    "supcon": lambda: contrastive_job(steps=240, supervised=True),
    "clip": lambda: clip_job(steps=300),
}
PICTURES = ("ae", "dae", "vae", "patch", "jigsaw", "colour", "simclr", "supcon", "clip")


def make(
    name: str, folder: Path = pretrained.BUNDLED, *, steps: int | None = None, work: Path | None = None
) -> dict[str, Any]:
    """Train one checkpoint of RECIPES, save it in `folder`/name and return its card.

    steps: fewer than the recipe's, for a trial. work: where a killed run's state is kept (None: in `folder`).
    Raises ValueError for a name that is not in RECIPES; OSError if the folder cannot be written.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe for {name!r}: choose from {', '.join(RECIPES)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    job = RECIPES[name]()
    steps = job.steps if steps is None else steps
    device = runtime.device()
    model = job.model.to(device)
    state = (folder if work is None else Path(work)) / f".{name}.state"
    started = time.strftime("%Y-%m-%d")
    history = train.fit(
        model, job.batch, job.loss, steps=steps, lr=job.lr, validate=job.held_out, checkpoint=state, bf16=fast_bf16()
    )
    nats = history.held_out[max(history.held_out)] if history.held_out else math.nan
    card = {
        "data": job.data,
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": steps,
        "training_loss": round(sum(history.loss[-100:]) / max(1, len(history.loss[-100:])), 4),
        "held_out_loss": round(nats, 4),
        "unit": job.unit,
        "seed": 0,
        "command": f"course train {name}" + ("" if steps == job.steps else f" --steps {steps}"),
        "seconds": round(history.seconds),
        "device": f"{device.type}, threads: {torch.get_num_threads()}" if device.type == "cpu" else device.type,
        "date": started,
    }
    if isinstance(model, GPT):
        card["held_out_bits_per_character"] = round(nats / math.log(2) / job.characters, 4)
    if job.tokenizer is None:
        kept = job.kept(model).eval()
        card["parameters"] = sum(p.numel() for p in kept.parameters())
        pretrained.save_model(folder / name, kept, card)
        card["probes"] = probes(pretrained.load_encoder(folder / name, device=device))  # as stored
        pretrained.save_model(folder / name, kept, card)
    else:
        pretrained.save(folder / name, model, job.tokenizer, card)
    state.unlink(missing_ok=True)
    return card


def fast_bf16() -> bool | None:
    """Whether to compute in bfloat16: on a CPU whose matrix unit has it, twice as fast; None: as `fit` decides."""
    return True if runtime.device().type == "cpu" and torch.cpu._is_amx_tile_supported() else None
