"""Does pre-training pay? Kinds of things told apart with few labels: frozen features, word counts, from scratch.

    python benchmarks/labels.py [--draws 10] [--out FILE.json]

The task: "Ben saw the harp." is about an instrument (`data.tales.kinds`); nothing but the noun tells. BERT has read
texts in which nobody named a kind. Its features are frozen and pooled; a linear probe learns from 2 … 100 labelled
sentences per kind, drawn anew each time, and is judged on 1,000 others. Beside it stand the mean of its word vectors,
an untrained BERT, word counts, and a small transformer that learns all its weights from the labels alone.
"""

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from results import FOLDER, store
from torch import nn

from course_utils import pretrained, runtime
from course_utils.data.tales import kinds
from course_utils.learn import evaluate, train
from course_utils.models.transformer import BERT, BERTConfig, mean_pool

LABELS = (2, 5, 10, 20, 50, 100)  # per kind
JUDGED = 200  # sentences per kind
BERT_NAME, COUNTS, SCRATCH = "BERT, frozen", "word counts", "from scratch"


def sentences(per_kind, seed):
    """Return the codes of labelled sentences (N, T) and their kinds (N,) as numbers."""
    texts, labels = kinds.labelled(per_kind, runtime.seed(seed))
    codes, _ = kinds.tokenizer().encode_batch(texts)
    return codes, torch.tensor([kinds.KINDS.index(label) for label in labels])


@torch.no_grad()
def pooled(model):
    """Return a function from codes to the mean of a BERT's last vectors."""
    return lambda codes: mean_pool(model.encode(codes))


def counts(codes):
    """How often each word occurs in each sentence: (N, V)."""
    return F.one_hot(codes, len(kinds.tokenizer())).sum(1).float()


class Classifier(nn.Module):
    """A small transformer that learns from labels alone."""

    def __init__(self, seed):
        super().__init__()
        g = runtime.seed(seed)
        self.body = BERT(BERTConfig(len(kinds.tokenizer()), 8, 64, 2, 4, token_types=1, dropout=0.1), g)
        self.head = nn.Linear(64, len(kinds.KINDS))

    def forward(self, codes):
        return self.head(mean_pool(self.body.encode(codes)))


def from_scratch(codes, labels, judged, truth, seed):
    """Return the accuracy of a network that starts from nothing; a fifth of the labels says when to stop."""
    torch.manual_seed(seed)
    model = Classifier(seed)
    order = torch.randperm(len(codes), generator=runtime.seed(seed))
    held, learn = order[: max(1, len(codes) // 5)], order[max(1, len(codes) // 5) :]
    train.fit(
        model,
        train.samples(codes[learn], labels[learn], size=min(64, len(learn))),
        lambda model, x, y: F.cross_entropy(model(x), y),
        steps=200,
        lr=1e-3,
        look=train.Look(lambda model: float(F.cross_entropy(model(codes[held]), labels[held])), every=20, patience=5),
        generator=runtime.seed(seed),
        progress=False,
    )
    with torch.no_grad():
        return float((model.eval()(judged).argmax(1) == truth).float().mean())


def scores(draws):
    """Return {contestant: {labels per kind: [accuracy of each draw]}}."""
    bert, _ = pretrained.load("kinds-bert", device="cpu")
    untrained = BERT(bert.config, runtime.seed(1)).eval()
    features = {
        BERT_NAME: pooled(bert),
        "BERT's word vectors": lambda codes: mean_pool(bert.tokens(codes)),
        "untrained BERT": pooled(untrained),
        COUNTS: counts,
    }
    judged, truth = sentences(JUDGED, 1)
    found = {name: {n: [] for n in LABELS} for name in (*features, SCRATCH)}
    for seed in range(draws):
        for n in LABELS:
            codes, labels = sentences(n, 100 + 1000 * seed + n)
            for name, encode in features.items():
                with torch.no_grad():
                    x, x_judged = encode(codes), encode(judged)
                probe = evaluate.linear_probe(x, labels, x_judged, truth, l2=evaluate.L2, generator=runtime.seed(seed))
                found[name][n].append(probe.score)
            found[SCRATCH][n].append(from_scratch(codes, labels, judged, truth, seed))
    return found


def summary(found):
    """Return what is stored: means, standard errors over the draws, and how far BERT is ahead in standard errors."""
    rows = {
        name: {
            str(n): {
                "mean": sum(values) / len(values),
                "error": float(torch.tensor(values).std()) / math.sqrt(len(values)),
                "draws": [round(value, 4) for value in values],
            }
            for n, values in by_count.items()
        }
        for name, by_count in found.items()
    }
    ahead = {
        other: {
            n: (row["mean"] - rows[other][n]["mean"]) / max(1e-9, math.hypot(row["error"], rows[other][n]["error"]))
            for n, row in rows[BERT_NAME].items()
        }
        for other in (COUNTS, SCRATCH)
    }
    card = pretrained.card("kinds-bert")
    world = {name: card[name] for name in ("entropy", "plateau", "held_out_loss", "neighbours", "curve")}
    return {"labels per kind": list(LABELS), "accuracy": rows, "ahead": ahead, "pre-training": world}


def table(result):
    """The means with their errors as Markdown."""
    counted = result["labels per kind"]
    lines = ["| labels per kind | " + " | ".join(map(str, counted)) + " |", "|---|" + "---:|" * len(counted)]
    for name, row in result["accuracy"].items():
        lines.append(f"| {name} | " + " | ".join(f"{v['mean']:.3f} ± {v['error']:.3f}" for v in row.values()) + " |")
    for name, row in result["ahead"].items():
        lines.append(f"| {BERT_NAME} ahead of {name}, errors | " + " | ".join(f"{v:.1f}" for v in row.values()) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--out", type=Path, default=FOLDER / "kinds.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    result = summary(scores(options.draws))
    store(options.out, result, time.process_time() - start)
    print(table(result))


if __name__ == "__main__":
    main()
