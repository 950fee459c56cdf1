"""The four networks of lecture 02's race, from several seeds: the lecture has time for one.

    python benchmarks/race.py

Same text, weights, steps and learning rates as in the lecture, section 8; a seed draws the first weights and the order
of the pieces of text. About three minutes of one core. Writes course_utils/results/race.json.
"""

import argparse
import math
import statistics
import time

import torch
from results import FOLDER, store

from course_utils import pretrained, runtime
from course_utils.data import text
from course_utils.learn import train
from course_utils.learn.evaluate import bits
from course_utils.learn.losses import next_token_loss
from course_utils.models.rnn import CharRNN, RNNConfig

SIZES = {"tanh": 215, "gru": 120, "lstm": 104, "multiplicative": 150}  # hidden units: about as many weights in each
RATES = {"tanh": 0.02, "gru": 0.04, "lstm": 0.04, "multiplicative": 0.01}
STEPS, BATCH, LENGTH = 230, 32, 64
JUDGED = 20_000  # characters of held-out text


def raced(kind: str, seed: int, known: torch.Tensor, judged: torch.Tensor, vocabulary: int) -> float:
    """Return the bits per character of held-out text after the lecture's training from this seed."""
    model = CharRNN(RNNConfig(vocabulary, cell=kind, hidden=SIZES[kind]), runtime.seed(seed))

    def loss(model, x):  # (B, T + 1)
        return next_token_loss(model(x[:, :-1])[0], x)

    batches = train.windows(known, LENGTH + 1, BATCH)
    train.fit(model, batches, loss, steps=STEPS, lr=RATES[kind], generator=runtime.seed(seed), progress=False)
    return bits(-model.log_probabilities(judged).mean().item())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    start = time.process_time()
    signs = pretrained.load("char-rnn")[1]
    known, judged = ("".join(c if c in signs.alphabet else "?" for c in part.text)
                     for part in text.load("numpy", view="raw").split(0.1))  # fmt: skip
    codes = signs.encode(known), signs.encode(judged[:JUDGED])
    found = {}
    for kind in SIZES:
        scores = [raced(kind, seed, *codes, len(signs)) for seed in range(seeds)]
        found[kind] = {"scores": scores, "mean": statistics.fmean(scores),
                       "error": statistics.stdev(scores) / math.sqrt(seeds)}  # fmt: skip
        print(kind, found[kind], flush=True)
    what = f"bits per character of {JUDGED:,} held-out characters after {STEPS} steps"
    seconds = time.process_time() - start
    print(store(FOLDER / "race.json", {"what": what, "seeds": seeds, "networks": found}, seconds))


if __name__ == "__main__":
    main()
