"""The scaling ladder: GPTs of several sizes on several amounts of text, and the law that their losses follow.

    python benchmarks/ladder.py [--steps 600] [--out FILE.json]

The text is tales (`course_utils.data.tales`), in words. Every model takes the same steps; one that has read its text so
often that it gets worse on held-out text is judged where it was best. A run that was stopped goes on where it was: what
is in the file is not trained again.

To the losses, one for each size N (parameters without embeddings) and amount D (tokens), it fits

    L(N, D) = E + ((A / N) ** (alpha / beta) + B / D) ** beta

which says that where text is scarce, size is of little use, and the other way round. It gives the standard error of
each exponent: from the curvature of the fit, and from 200 fits to losses that were drawn anew from the residuals
(bootstrap). Source: J. Kaplan et al., Scaling Laws for Neural Language Models (2020), equation 1.5; the floor E, which
no model passes, is from J. Hoffmann et al., Training Compute-Optimal Large Language Models (2022), equation 2.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy
import torch
from results import FOLDER, store
from scipy.optimize import curve_fit

from course_utils import runtime
from course_utils.data import tales
from course_utils.learn import train
from course_utils.learn.losses import next_token_loss
from course_utils.models.transformer import GPT, Config
from course_utils.recipes.tales import rows

SIZES = ((16, 1), (32, 1), (48, 2), (80, 2), (128, 3))  # width, layers
TOKENS = (40_000, 160_000, 640_000)
CONTEXT, BATCH, JUDGED, LOOKS = 64, 24, 20_000, 12


def texts(amounts):
    """Return the tokenizer, the codes to learn from (as many as the largest amount) and those to judge by."""
    tokenizer = tales.tokenizer()

    def codes(length, seed):
        """Tales of a seed, one after the other: any part of them is as typical as any other."""
        told = tales.write(length // 20, runtime.seed(seed))  # a tale has more than 20 tokens
        return torch.cat([row[1:n] for row, n in zip(*rows([tale.text for tale in told], tokenizer))])[:length].long()

    return tokenizer, codes(max(amounts), 1), codes(JUDGED, 2)


def climb(width, layers, symbols, codes, held_out, steps):
    """Train one model; return what is stored of it."""
    bf16 = runtime.fast_bfloat16()
    model = GPT(Config(symbols, CONTEXT, width, layers, max(1, width // 16), activation="gelu"), runtime.seed(0))
    start, errors = time.process_time(), {}

    def look(model):
        with torch.autocast("cpu", enabled=False):
            losses = -model.log_probabilities(held_out)
        blocks = losses[: len(losses) // CONTEXT * CONTEXT].view(-1, CONTEXT).mean(1)
        errors[float(losses.mean())] = float(blocks.std() / math.sqrt(len(blocks)))
        return losses.mean()

    history = train.fit(
        model.to(runtime.device()),
        train.windows(codes, CONTEXT + 1, BATCH),
        lambda model, x: next_token_loss(model(x[:, :-1]).float(), x),
        steps=steps,
        settings=train.Settings(final=0.0, optimizer=train.muon(model, bf16=bf16), bf16=bf16),
        look=train.Look(look, max(1, steps // LOOKS)),
        progress=False,
    )
    best = history.held_out[history.best]
    return {
        "width": width,
        "layers": layers,
        "parameters": sum(p.numel() for p in model.blocks.parameters()),
        "tokens": len(codes),
        "steps": steps,
        "loss": round(best, 4),
        "standard_error": round(errors[best], 4),  # over blocks of held-out text
        "best_step": history.best,
        "training_loss": round(sum(history.loss[-50:]) / len(history.loss[-50:]), 4),
        "processor_seconds": round(time.process_time() - start, 1),
        "curve": {step: round(loss, 4) for step, loss in history.held_out.items()},
    }


# --- the law ----------------------------------------------------------------------------------------------------------


def law(x, e, a, alpha, b, beta):
    """x: (N, D). All but the exponents are logarithms, so that they stay positive."""
    n, d = x
    return numpy.exp(e) + (numpy.exp(alpha / beta * (a - numpy.log(n))) + numpy.exp(b - numpy.log(d))) ** beta


def fit_law(n, d, loss):
    """Return the parameters of `law` and their covariance."""
    guess = (math.log(0.8 * min(loss)), math.log(min(n)), 0.4, math.log(min(d)), 0.4)
    return curve_fit(law, (n, d), loss, guess, maxfev=20_000)


def scaling(runs, draws=200):
    """Return the fitted law of some runs as a dict, each exponent with two standard errors."""
    n, d, loss = (numpy.array([run[name] for run in runs], float) for name in ("parameters", "tokens", "loss"))
    found, covariance = fit_law(n, d, loss)
    residuals = loss - law((n, d), *found)
    chance, again = numpy.random.default_rng(0), []
    for _ in range(draws):
        drawn = law((n, d), *found) + chance.choice(residuals, len(loss)) * math.sqrt(len(loss) / (len(loss) - 5))
        try:
            again.append(curve_fit(law, (n, d), drawn, found, maxfev=20_000)[0])
        except RuntimeError:  # no minimum was found
            continue
    error, bootstrap = numpy.sqrt(numpy.diag(covariance)), numpy.std(again, axis=0)
    return {
        "E": math.exp(found[0]),
        "A": math.exp(found[1]),
        "B": math.exp(found[3]),
        "alpha": {"value": found[2], "standard_error": error[2], "bootstrap": bootstrap[2]},
        "beta": {"value": found[4], "standard_error": error[4], "bootstrap": bootstrap[4]},
        "residual": float(numpy.sqrt(numpy.mean(residuals**2))),
        "bootstrap_fits": len(again),
    }


def table(runs, fitted):
    """The losses as Markdown, a row for each size, and the exponents."""
    amounts = sorted({run["tokens"] for run in runs})
    lines = [
        "| parameters | " + " | ".join(f"{d:,} tokens" for d in amounts) + " |",
        "|---:" * (len(amounts) + 1) + "|",
    ]
    for n in sorted({run["parameters"] for run in runs}):
        row = {
            run["tokens"]: f"{run['loss']:.3f} ± {run['standard_error']:.3f}" for run in runs if run["parameters"] == n
        }
        lines.append(f"| {n:,} | " + " | ".join(row.get(d, "") for d in amounts) + " |")
    for name, what in (("alpha", "parameters"), ("beta", "tokens")):
        exponent = fitted[name]
        lines.append(
            f"{name} (with {what}): {exponent['value']:.3f} ± {exponent['standard_error']:.3f} "
            f"(bootstrap ± {exponent['bootstrap']:.3f})"
        )
    return "\n".join([*lines, f"E, where both are endless: {fitted['E']:.3f}; residual {fitted['residual']:.4f}"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, default=FOLDER / "ladder.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = json.loads(options.out.read_text("utf-8"))["runs"] if options.out.exists() else []
    runs = [run for run in runs if run["steps"] == options.steps]
    tokenizer, codes, held_out = texts(TOKENS)
    for width, layers in SIZES:
        for tokens in TOKENS:
            if any((run["width"], run["layers"], run["tokens"]) == (width, layers, tokens) for run in runs):
                continue
            runs.append(climb(width, layers, len(tokenizer), codes[:tokens], held_out, options.steps))
            print({name: value for name, value in runs[-1].items() if name != "curve"}, flush=True)
            keep(options.out, runs)
    fitted = scaling(runs)
    keep(options.out, runs, fitted)
    print(table(runs, fitted))


def keep(path, runs, fitted=None):
    store(path, {"law": fitted, "runs": runs}, sum(run["processor_seconds"] for run in runs))


if __name__ == "__main__":
    main()
