"""How soon a small character GPT learns, beside the usual settings, and beside other models of one minute.

    python benchmarks/gpt.py race   [--text FILE] [--iterations 2000]
    python benchmarks/gpt.py minute [--text FILE] [--seconds 60] [--plot FILE.png]

`race`: one architecture (4 layers, 128 wide, 4 heads, context 64), trained twice: as nanoGPT's README says for a CPU
(batches of 12, AdamW at 1e-3 down a cosine to 1e-4, 100 steps of warm-up), in plain torch, and by `train.fit` with the
course's settings (the same batches, Muon; in bfloat16 where this processor multiplies faster in it). How much time
until the second reaches the loss that the first ends with?
`minute`: a 5-gram, an LSTM, the multiplicative RNN and the GPT, each as good as it gets in the same time.

One thread. Time is processor time, of training alone: looking at held-out text does not count. The last tenth of the
text is held out; losses are nats per character on its first 50,000 characters, with the context that each model has.
"""

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from course_utils import runtime
from course_utils.data import text
from course_utils.learn import train
from course_utils.learn.losses import next_token_loss
from course_utils.models.ngram import NGramModel
from course_utils.models.rnn import CharRNN, RNNConfig
from course_utils.models.transformer import GPT, Config

CONTEXT, DIM, LAYERS, HEADS = 64, 128, 4, 4
JUDGED = 50_000
TURNS = 8  # looks at held-out text in a race


class Stopwatch:
    """Processor seconds, but those spent looking."""

    def __init__(self):
        self.spent, self.started = 0.0, time.process_time()

    def pause(self) -> float:
        self.spent += time.process_time() - self.started
        return self.spent

    def go_on(self) -> None:
        self.started = time.process_time()


# --- the usual settings -----------------------------------------------------------------------------------------------


class PlainBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm_1, self.norm_2 = torch.nn.LayerNorm(DIM, bias=False), torch.nn.LayerNorm(DIM, bias=False)
        self.qkv, self.out = torch.nn.Linear(DIM, 3 * DIM, bias=False), torch.nn.Linear(DIM, DIM, bias=False)
        self.up, self.down = torch.nn.Linear(DIM, 4 * DIM, bias=False), torch.nn.Linear(4 * DIM, DIM, bias=False)

    def forward(self, x):
        B, T, _ = x.shape
        q, k, v = (part.view(B, T, HEADS, -1).transpose(1, 2) for part in self.qkv(self.norm_1(x)).split(DIM, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, DIM))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class PlainGPT(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.tokens, self.positions = torch.nn.Embedding(size, DIM), torch.nn.Embedding(CONTEXT, DIM)
        self.blocks = torch.nn.Sequential(*(PlainBlock() for _ in range(LAYERS)))
        self.norm = torch.nn.LayerNorm(DIM, bias=False)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                deep = name.endswith(("out.weight", "down.weight"))
                torch.nn.init.normal_(p, 0, 0.02 / math.sqrt(2 * LAYERS) if deep else 0.02)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        return F.linear(self.norm(self.blocks(x)), self.tokens.weight)


def usual(codes, held_out, size, iterations, every=250):
    """Yield (iteration, seconds, held-out loss)."""
    torch.manual_seed(0)
    model = PlainGPT(size)
    decay = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
    g, watch = runtime.seed(0), Stopwatch()
    for i in range(iterations):
        share = (i + 1) / 101 if i < 100 else 0.1 + 0.45 * (1 + math.cos(math.pi * (i - 100) / (iterations - 100)))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * share
        starts = torch.randint(len(codes) - CONTEXT, (12,), generator=g)
        x = torch.stack([codes[s : s + CONTEXT] for s in starts])
        y = torch.stack([codes[s + 1 : s + 1 + CONTEXT] for s in starts])
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (i + 1) % every == 0 or i + 1 == iterations:
            spent = watch.pause()
            yield i + 1, spent, block_loss(model, held_out)
            watch.go_on()


# --- looking ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def block_loss(model, held_out):
    """The mean loss over blocks of CONTEXT characters that do not overlap: what nanoGPT reports, up to sampling."""
    blocks = held_out[: len(held_out) // CONTEXT * CONTEXT + 1]
    x, y = blocks[:-1].view(-1, CONTEXT), blocks[1:].view(-1, CONTEXT)
    total = 0.0
    for a, b in zip(x.split(128), y.split(128)):
        total += float(F.cross_entropy(model(a).flatten(0, 1), b.flatten(), reduction="sum"))
    return total / x.numel()


class Timed:
    """A batch function for `fit` that knows how long the training took; `validate` stops the watch while it looks."""

    def __init__(self, batch, look):
        self.batch, self.look, self.watch, self.found = batch, look, Stopwatch(), []

    def __call__(self, generator):
        return self.batch(generator)

    def validate(self, model):
        spent = self.watch.pause()
        with torch.autocast("cpu", enabled=False):
            loss = self.look(model)
        self.found.append((spent, loss))
        self.watch.go_on()
        return loss


def fit(model, codes, look, *, context, size, steps, every, loss, lr=None, bf16=False):
    """lr: AdamW's; None: Muon, with its own."""
    timed = Timed(train.windows(codes, context + 1, size), look)
    optimizer = train.muon(model, bf16=bf16) if lr is None else train.adamw(model, lr)
    train.fit(
        model, timed, loss, steps=steps, look=train.Look(timed.validate, every),
        settings=train.Settings(warmup=max(1, steps // 30), final=0.02, optimizer=optimizer, bf16=bf16),
        generator=runtime.seed(0), progress=False,
    )  # fmt: skip
    return timed.found


# --- race -------------------------------------------------------------------------------------------------------------


def race(codes, held_out, size, iterations, steps, bf16):
    """Both in turns, so that a machine that is busy now and then is unfair to neither."""
    peer, there = usual(codes, held_out, size, iterations, every=iterations // TURNS), []

    def look(model):
        if len(there) < TURNS:
            with torch.enable_grad():
                there.append(next(peer))
        return block_loss(model, held_out)

    model = GPT(Config(size, CONTEXT, DIM, LAYERS, HEADS, activation="gelu"), runtime.seed(0))
    here = fit(
        model, codes, look, context=CONTEXT, size=12, steps=steps, every=steps // TURNS, bf16=bf16,
        loss=lambda model, x: next_token_loss(model(x[:, :-1]).float(), x),
    )  # fmt: skip
    there += peer
    print(f"| the usual settings | | the course's, {'bfloat16' if bf16 else 'float32'}, {steps} steps | |")
    print("|---:|---:|---:|---:|\n| seconds | held-out loss | seconds | held-out loss |")
    for (_, seconds, loss), (spent, found) in zip(there, here):
        print(f"| {seconds:.1f} | {loss:.4f} | {spent:.1f} | {found:.4f} |")
    reached = [spent for spent, found in here if found <= loss]
    if not reached:
        return print(f"it did not reach {loss:.4f}")
    print(
        f"loss {loss:.4f} after {reached[0]:.1f} s instead of {seconds:.1f} s: {reached[0] / seconds:.2f} of the time"
    )


# --- minute -----------------------------------------------------------------------------------------------------------


def steps_that_fit(model, codes, context, size, loss, seconds, lr, bf16):
    """How many steps there are in the time, from a trial of 20."""
    batch, g = train.windows(codes, context + 1, size), runtime.seed(0)
    optimizer = train.muon(model, bf16=bf16) if lr is None else train.adamw(model, lr)
    for step in range(25):
        if step == 5:
            start = time.process_time()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            value = loss(model, batch(g))
        value.backward()
        optimizer.step()
    return max(20, int(seconds / ((time.process_time() - start) / 20)))


def minute(codes, held_out, size, seconds, plot, bf16):
    curves = {"5-gram": five_gram(codes, held_out, size, seconds)}

    def rnn_loss(model, x):
        return next_token_loss(model(x[:, :-1])[0], x)

    def gpt_loss(model, x):
        return next_token_loss(model(x[:, :-1]).float(), x)

    def look(model):
        return -float(model.log_probabilities(held_out).mean())

    def gpt():
        return GPT(Config(size, CONTEXT, 96, 2, HEADS, activation="gelu"), runtime.seed(0))  # small enough for a minute

    contestants = {
        "LSTM": (lambda: CharRNN(RNNConfig(size, "lstm", 256), runtime.seed(0)), rnn_loss, 64, 32, 1e-2, False),
        "multiplicative RNN": (
            lambda: CharRNN(RNNConfig(size, "multiplicative", 256), runtime.seed(0)), rnn_loss, 64, 32, 3e-3, False,
        ),
        "GPT": (gpt, gpt_loss, CONTEXT, 16, None, bf16),
    }  # fmt: skip
    for name, (build, loss, context, batch, lr, half) in contestants.items():
        steps = steps_that_fit(build(), codes, context, batch, loss, seconds, lr, half)
        curves[name] = fit(
            build(), codes, look, context=context, size=batch, steps=steps, lr=lr, every=max(1, steps // 6), loss=loss,
            bf16=half,
        )  # fmt: skip
    print("| model | seconds | held-out loss, nats per character |\n|---|---:|---:|")
    for name, curve in curves.items():
        print(f"| {name} | {curve[-1][0]:.1f} | {curve[-1][1]:.3f} |")
    for name, curve in curves.items():
        print(f"{name}: " + ", ".join(f"{spent:.0f} s {loss:.3f}" for spent, loss in curve))
    if plot:
        from matplotlib import pyplot

        from course_utils.show import plots

        figure, axes = pyplot.subplots(figsize=(8, 5))
        plots.curve(
            {name: dict(curve) for name, curve in curves.items()}, x="processor seconds", y="nats per character",
            title=f"{seconds:.0f} seconds each: held-out loss", ax=axes,
        )  # fmt: skip
        figure.savefig(plot, dpi=120, bbox_inches="tight")


def five_gram(codes, held_out, size, seconds):
    """Counting takes a moment; the rest of the time is spent on nothing."""
    watch = Stopwatch()
    model = NGramModel(4, "witten-bell").fit(codes, size=size)
    spent = watch.pause()
    loss = model.bits_per_symbol(held_out) * math.log(2)
    return [(spent, loss), (seconds, loss)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["race", "minute"])
    parser.add_argument("--text", help="a file, or a name for text.load", default="docs")
    parser.add_argument("--iterations", type=int, default=2000, help="of the usual settings")
    parser.add_argument("--steps", type=int, default=560, help="of the course's settings (Muon)")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--float32", action="store_true", help="do not compute the GPT in bfloat16")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bf16 = runtime.fast_bfloat16() and not options.float32
    whole = text.load(options.text).text[:1_200_000]
    tokenizer = text.CharTokenizer.from_text(whole)
    codes = tokenizer.encode(whole)
    cut = round(len(codes) * 0.9)
    codes, held_out = codes[:cut], codes[cut : cut + JUDGED]
    print(f"{len(codes):,} characters of {len(tokenizer)} kinds, {len(held_out):,} held out, torch {torch.__version__}")
    if options.what == "race":
        race(codes, held_out, len(tokenizer), options.iterations, options.steps, bf16)
    else:
        minute(codes, held_out, len(tokenizer), options.seconds, options.plot, bf16)


if __name__ == "__main__":
    main()
