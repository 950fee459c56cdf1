"""All that a GPU must show, in one command and so many minutes: one table.

    python benchmarks/gpu.py [--minutes 8] [--text FILE] [--parts tests gpt simclr postcards sampling recipes]
    python benchmarks/gpu.py --dry                       # every part in miniature, on any machine

`tests` runs the tests that need CUDA. `gpt` trains nanoGPT's GPU settings (6 layers, 384 wide, context 256, batches of
64, dropout 0.2) with the course's optimizer, and says when the held-out loss is at or below 1.4697, what nanoGPT's
README reports after 5,000 iterations on tiny Shakespeare (give that file with --text). `simclr` counts pictures per
second in float32, in bfloat16, and compiled as well. `postcards` and `sampling` count cards and tokens per second.
`recipes` says how much sooner a step of each recipe is over than on this machine's CPU.

A part that fails is a row that says why, and the exit code is 1; the others go on. What is over its time is stopped:
the parts share the minutes. A clock on the wall, after `torch.cuda.synchronize`.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from course_utils import runtime
from course_utils.data import postcards, text
from course_utils.learn import augment, losses, train
from course_utils.models.convnet import ConvNet, projection_head
from course_utils.models.transformer import GPT, Config
from course_utils.recipes.run import RECIPES

ROOT = Path(__file__).resolve().parents[1]
GOAL = 1.4697  # nats per character: nanoGPT's README, "best validation loss"
SHARES = {"tests": 0.2, "gpt": 0.45, "simclr": 0.1, "postcards": 0.05, "sampling": 0.05, "recipes": 0.15}  # of the time


class Over(Exception):
    """The time of a part is over."""


def now(device):
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def per_second(call, device, seconds, warm=3):
    """Call again and again for so many seconds; return calls per second, from the median."""
    for _ in range(warm):
        call()
    took, end = [], now(device) + seconds
    while not took or now(device) < end:
        start = now(device)
        call()
        took.append(now(device) - start)
    return 1 / statistics.median(took)


# --- parts ------------------------------------------------------------------------------------------------------------
# Each is called with the options, the device and its seconds, and yields rows: what, result.


def tests(options, device, seconds):
    """The tests that are skipped where there is no CUDA."""
    names = "augment clip losses postcards pretrained rnn train transformer".split()
    files = [str(path) for name in names for path in (ROOT / "tests").glob(f"*/test_{name}.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "cuda or gpu", *files]
    command += ["--collect-only"] if options.dry else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=max(seconds, 120))
    said = (done.stdout + done.stderr).strip().splitlines()[-1]
    if done.returncode:
        raise RuntimeError(said)
    yield "tests with CUDA in their name", said


def gpt(options, device, seconds):
    """nanoGPT's GPU settings with Muon, until the held-out loss is nanoGPT's."""
    whole = text.load(options.text).text[:1_200_000]
    tokenizer = text.CharTokenizer.from_text(whole)
    codes = tokenizer.encode(whole)
    cut = round(len(codes) * 0.9)
    codes, held_out = codes[:cut], codes[cut:]
    context, width, layers, size, steps = (256, 384, 6, 64, 1500) if not options.dry else (16, 16, 1, 4, 4)
    config = Config(len(tokenizer), context, width, layers, max(1, width // 64), dropout=0.2, activation="gelu")
    model = GPT(config, runtime.seed(0)).to(device)
    blocks = held_out[: (len(held_out) - 1) // context * context + 1]
    blocks = blocks[: context * (4 if options.dry else 400) + 1].to(device)
    x, y = blocks[:-1].view(-1, context), blocks[1:].view(-1, context)
    start, found = now(device), []

    def look(model):
        parts = zip(x.split(64), y.split(64))
        total = sum(
            float(losses.mean_cross_entropy(model(a).float().flatten(0, 1), b.flatten())) * len(a) for a, b in parts
        )
        found.append((now(device) - start, total / len(x)))
        return found[-1][1]

    def watch(history):
        if found[-1][0] > seconds:
            raise Over

    with contextlib.suppress(Over):
        train.fit(
            model, train.windows(codes, context + 1, size),
            lambda model, x: losses.next_token_loss(model(x[:, :-1]).float(), x),
            steps=steps, look=train.Look(look, max(1, steps // 20), watch=watch), progress=False,
            settings=train.Settings(final=0.02, optimizer=train.muon(model), compile=device.type == "cuda"),
        )  # fmt: skip
    reached = next((spent for spent, loss in found if loss <= GOAL), None)
    best = min(loss for _, loss in found)
    when = f"after {reached:.0f} s" if reached is not None else f"not reached in {found[-1][0]:.0f} s, best {best:.4f}"
    yield f"nanoGPT's GPU settings, to {GOAL} (compiling included)", when
    yield "characters trained on per second", f"{size * context * len(found) * max(1, steps // 20) / found[-1][0]:,.0f}"


def simclr(options, device, seconds):
    """Two views, the encoder, the loss and the step: pictures per second."""
    size = 8 if options.dry else 512
    images = postcards.draw(size, runtime.seed(0), device=device).images
    views = augment.Compose(
        augment.CropResize((0.4, 1.0), flip=0.5),
        augment.ColourJitter(0.4, 0.4, 0.4, 0.5, p=0.8),
        augment.ColourDrop(p=0.2),
    )
    ways = {"float32": (False, False), "bfloat16": (True, False), "bfloat16, compiled": (True, True)}
    for name, (bf16, compiled) in ways.items():
        g = runtime.seed(0)
        encoder = ConvNet(generator=g)
        model = torch.nn.Sequential(encoder, projection_head(encoder.config.dim, 64, g)).to(device)
        optimizer, run = train.adamw(model, 1e-3), torch.compile(model) if compiled and not options.dry else model

        def step(run=run, optimizer=optimizer, bf16=bf16, g=g):
            both = torch.cat(augment.two_views(images, views, g))
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                z = run(both - 0.5)
            optimizer.zero_grad()
            losses.nt_xent(*z.float().chunk(2), 0.2).backward()
            optimizer.step()

        rate = per_second(step, device, seconds / 3 if not options.dry else 0, warm=1 if options.dry else 5)
        yield f"SimCLR, batches of {size}, {name}", f"{size * rate:,.0f} pictures/s"


def cards(options, device, seconds):
    """Postcards with their captions."""
    n = 16 if options.dry else 4096
    for size in (32, 64):
        rate = per_second(
            lambda size=size: postcards.draw(n, runtime.seed(0), size=size, device=device), device, seconds / 2, warm=1
        )
        yield f"postcards, {size} × {size}", f"{n * rate:,.0f} cards/s"


def sampling(options, device, seconds):
    """A GPT that writes, with a cache."""
    config = Config(1024, 128, 256, 4, 8) if not options.dry else Config(64, 16, 16, 1, 2)
    model = GPT(config, runtime.seed(0)).to(device)
    length = 100 if not options.dry else 8
    for batch in (1, 32, 512) if not options.dry else (1, 4):
        prompt = torch.zeros(batch, 1, dtype=torch.long, device=device)
        rate = per_second(lambda prompt=prompt: model.generate(prompt, length), device, seconds / 3, warm=1)
        yield f"sampling, batch {batch}", f"{batch * length * rate:,.0f} tokens/s"


def recipes(options, device, seconds):
    """One step of each recipe, here and on the CPU."""
    names = list(RECIPES)[: 1 if options.dry else None]
    for name in names:
        took = {}
        for where in {device.type: device, "cpu": torch.device("cpu")}.values():
            job = RECIPES[name].job()
            model, g = job.model.to(where).train(), runtime.seed(0)
            optimizer = train.adamw(model, 1e-4) if job.optimizer is None else job.optimizer(model)

            def step(job=job, model=model, where=where, optimizer=optimizer, g=g):
                parts = job.batch(g)
                parts = [part.to(where) for part in (parts if isinstance(parts, tuple) else (parts,))]
                optimizer.zero_grad()
                with torch.autocast(where.type, torch.bfloat16, enabled=where.type == "cuda"):
                    value = job.loss(model, *parts)
                value.backward()
                optimizer.step()

            took[where.type] = 1 / per_second(step, where, seconds / len(names) / 3, warm=1 if options.dry else 2)
        yield (
            f"recipe {name}",
            (f"{took['cpu'] / took[device.type]:.1f} × as fast as this CPU ({1000 * took[device.type]:.1f} ms a step)"),
        )


PARTS = {
    "tests": tests, "gpt": gpt, "simclr": simclr, "postcards": cards, "sampling": sampling, "recipes": recipes,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--text", default="docs", help="a file, or a name for text.load")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--dry", action="store_true", help="every part in miniature: does it run to its end?")
    options = parser.parse_args()
    device = runtime.device()
    if device.type != "cuda" and not options.dry:
        print(f"no CUDA GPU here, only {device}: try --dry", file=sys.stderr)
        return 2
    about = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    print(f"{about}, torch {torch.__version__}{', a dry run: its numbers mean nothing' if options.dry else ''}")
    print("| what | result |\n|---|---:|")
    failed, whole = 0, sum(SHARES[part] for part in options.parts)
    for part in options.parts:
        seconds = 0.0 if options.dry else 60 * options.minutes * SHARES[part] / whole
        try:
            for what, result in PARTS[part](options, device, seconds):
                print(f"| {what} | {result} |", flush=True)
        except Exception as error:  # one part must not end the others
            failed += 1
            said = str(error).strip() or repr(error)
            print(f"| {part} | failed: {said.splitlines()[0]} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
