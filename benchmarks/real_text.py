"""Real texts: spam by few labels, and who predicts Shakespeare best after how many minutes. See real.py."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from torch import nn

from course_utils import pretrained, runtime
from course_utils.data import text
from course_utils.learn import train
from course_utils.learn.losses import next_token_loss
from course_utils.models.ngram import NGramModel
from course_utils.models.rnn import CharRNN, RNNConfig
from course_utils.models.transformer import BERT, GPT, BERTConfig, Config, mean_pool

# --- spam -------------------------------------------------------------------------------------------------------------

LABELS = (5, 10, 20, 50, 100, 500)  # per class
DRAWS = 10
LENGTH = 96  # tokens that are read of a message


def spam(share: float) -> dict:
    """Balanced accuracy by labels per class: the mean over draws of labels, and its standard error."""
    documents = {d.text: d.label for d in text.load("sms_spam").documents}  # each message once
    messages, y = list(documents), torch.tensor([label == "spam" for label in documents.values()]).long()
    draws, labels = max(2, round(DRAWS * share)), LABELS if share == 1 else LABELS[:3]

    ours, words = pretrained.load("bert")
    codes, mask = words.encode_batch(messages, LENGTH)
    start = time.process_time()
    features = {"MiniLM, frozen": pooled(*pretrained.load("all-MiniLM-L6-v2"), messages)}
    minutes = (time.process_time() - start) / 60
    features["this course's BERT, frozen"] = pooled(ours, words, messages)

    contestants = {name: lambda rows, _, x=x: by_features(x, y, rows) for name, x in features.items()}
    contestants["word counts (tf-idf)"] = lambda rows, _: by_words(messages, y, rows)
    contestants["a transformer from scratch"] = lambda rows, seed: from_scratch(codes, mask, y, rows, len(words), seed)
    scores = {name: [] for name in contestants}
    for n in labels:
        for name, predict in contestants.items():
            found = torch.zeros(draws)
            for seed in range(draws):
                rows, test = drawn(y, n, seed)
                found[seed] = balanced_accuracy_score(y[test], predict(rows, seed)[test])
            scores[name].append({"mean": float(found.mean()), "error": float(found.std()) / math.sqrt(draws)})
    print(curves_table("labels per class", labels, scores))
    return {
        "what": f"balanced accuracy, {draws} draws of labels, judged by a fifth of the messages, drawn with them",
        "messages": len(messages),
        "spam": int(y.sum()),
        "minutes_of_minilm": round(minutes, 2),
        "our_bert": pretrained.card("bert")["date"],
        "x": {"labels per class": list(labels)},
        "curves": scores,
        "chance": 0.5,
    }


def drawn(y: torch.Tensor, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return n rows of each class to learn from, and a fifth of each class to be judged by; more n, the same first."""
    g = runtime.seed(seed)
    orders = [rows[torch.randperm(len(rows), generator=g)] for rows in ((y == k).nonzero()[:, 0] for k in (0, 1))]
    cuts = [len(order) // 5 for order in orders]
    return (
        torch.cat([order[cut : cut + n] for order, cut in zip(orders, cuts)]),
        torch.cat([order[:cut] for order, cut in zip(orders, cuts)]),
    )


@torch.no_grad()
def pooled(model: BERT, tokenizer, messages: list[str]) -> torch.Tensor:
    """Return the mean of the frozen model's vectors for each message, of length 1."""
    codes, mask = tokenizer.encode_batch(messages, min(LENGTH, model.config.context))
    found = torch.empty(len(codes), model.config.dim)
    for rows in mask.sum(1).argsort().split(64):  # messages of one length together: little padding
        T = int(mask[rows].sum(1).max())
        found[rows] = mean_pool(model.encode(codes[rows, :T], mask[rows, :T]), mask[rows, :T])
    return F.normalize(found, dim=1)


def by_features(x: torch.Tensor, y: torch.Tensor, rows: torch.Tensor):
    x = (x - x[rows].mean(0)) / x[rows].std()
    return LogisticRegression(C=0.1, max_iter=1000).fit(x[rows], y[rows]).predict(x)


def by_words(messages: list[str], y: torch.Tensor, rows: torch.Tensor):
    counts = TfidfVectorizer(sublinear_tf=True)
    known = counts.fit_transform([messages[i] for i in rows])
    return LogisticRegression(C=10, max_iter=1000).fit(known, y[rows]).predict(counts.transform(messages))


class Classifier(nn.Module):
    """A small transformer whose mean vector is classified, all of it learned together."""

    def __init__(self, vocabulary: int, seed: int):
        super().__init__()
        config = BERTConfig(vocabulary, context=LENGTH, dim=64, layers=2, heads=4, token_types=1, dropout=0.0)
        self.body, self.head = BERT(config, runtime.seed(seed)), nn.Linear(64, 2)

    def forward(self, codes: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        T = int(mask.sum(1).max())
        return self.head(mean_pool(self.body.encode(codes[:, :T], mask[:, :T]), mask[:, :T]))


@torch.no_grad()
def from_scratch(codes, mask, y, rows, vocabulary: int, seed: int):
    model = Classifier(vocabulary, seed)
    steps = max(30, min(250, 3 * len(rows) // 32))  # three times through, if that is enough
    batch = train.samples(codes[rows], mask[rows], y[rows], size=32)
    with torch.enable_grad():
        train.fit(
            model, batch, lambda model, x, m, y: F.cross_entropy(model(x, m), y), steps=steps, lr=4e-3,
            generator=runtime.seed(seed), progress=False,
        )  # fmt: skip
    model.eval()
    found = torch.empty(len(codes), dtype=torch.long)
    for some in mask.sum(1).argsort().split(256):
        found[some] = model(codes[some], mask[some]).argmax(1)
    return found


def curves_table(x: str, points, curves: dict[str, list[dict]]) -> str:
    """A Markdown table: a row for each curve, mean ± standard error."""
    lines = [f"| {x} | " + " | ".join(f"{point:g}" for point in points) + " |", "|---|" + "---:|" * len(points)]
    for name, curve in curves.items():
        cells = (f"{at['mean']:.3f}" + (f" ± {at['error']:.3f}" if "error" in at else "") for at in curve)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


# --- shakespeare ------------------------------------------------------------------------------------------------------

MINUTES = (0.5, 1.5, 5)
JUDGED = 50_000  # characters of the last tenth


def shakespeare(share: float) -> dict:
    """Bits per character after so many minutes of one core; each point is a run of its own, its schedule to the end."""
    whole = text.load("tiny_shakespeare").text
    tokenizer = text.CharTokenizer.from_text(whole)
    codes = tokenizer.encode(whole)
    cut = round(len(codes) * 0.9)
    codes, judged, size = codes[:cut], codes[cut : cut + JUDGED], len(tokenizer)
    minutes = [m * share for m in MINUTES]
    curves = {"5-gram": [chain(codes, judged, size)] * len(minutes)}
    for name, contestant in contestants(size).items():
        curves[name] = [trained(contestant, codes, judged, 60 * m) for m in minutes]
    print(curves_table("minutes of one core", minutes, curves))
    best = min(at["mean"] for name, curve in curves.items() if name != "GPT" for at in curve)
    wins = [m for i, m in enumerate(minutes) if curves["GPT"][i]["mean"] < min(c[i]["mean"] for c in other(curves))]
    return {
        "what": f"bits per character on {len(judged):,} held-out characters; each point is a run of its own",
        "x": {"minutes of one core": minutes},
        "curves": curves,
        "best_of_the_others": best,
        "gpt_wins_from_minute": next((m for m in wins if all(n in wins for n in minutes if n >= m)), None),
    }


def other(curves: dict) -> list:
    return [curve for name, curve in curves.items() if name != "GPT"]


def chain(codes, judged, size: int) -> dict:
    """The best order of a smoothed chain: counting takes a moment, and more time would not help it."""
    found = {k + 1: NGramModel(k, "witten-bell").fit(codes, size=size).bits_per_symbol(judged) for k in range(3, 7)}
    n = min(found, key=found.get)
    return {"mean": found[n], "n": n}


@dataclass(frozen=True)
class Contestant:
    """A model that learns by gradient descent: what a batch is, and the optimizer that suits it."""

    build: Callable[[], nn.Module]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    context: int
    size: int  # windows in a batch
    bf16: bool

    def fit(self, codes: torch.Tensor, steps: int) -> tuple[nn.Module, float]:
        """Return the trained model and the processor seconds that it took."""
        model, start = self.build(), time.process_time()
        train.fit(
            model, train.windows(codes, self.context + 1, self.size), next_character_loss, steps=steps,
            settings=train.Settings(max(1, steps // 30), 0.02, optimizer=self.optimizer(model), bf16=self.bf16),
            generator=runtime.seed(0), progress=False,
        )  # fmt: skip
        return model, time.process_time() - start


def next_character_loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    logits = model(x[:, :-1])
    return next_token_loss((logits[0] if isinstance(logits, tuple) else logits).float(), x)


def contestants(size: int) -> dict[str, Contestant]:
    fast = runtime.fast_bfloat16()
    return {
        "LSTM": Contestant(
            lambda: CharRNN(RNNConfig(size, "lstm", 256), runtime.seed(0)),
            lambda model: train.adamw(model, 1e-2), context=64, size=32, bf16=False,
        ),
        "GPT": Contestant(
            lambda: GPT(Config(size, 64, dim=128, layers=3, heads=4, activation="gelu"), runtime.seed(0)),
            lambda model: train.muon(model, bf16=fast), context=64, size=32, bf16=fast,
        ),
    }  # fmt: skip


def trained(contestant: Contestant, codes: torch.Tensor, judged: torch.Tensor, seconds: float) -> dict:
    """Train for about so many seconds of processor time, and judge once, at the end."""
    _, trial = contestant.fit(codes, 30)
    model, spent = contestant.fit(codes, max(20, round(30 * seconds / trial)))
    with torch.no_grad():
        nats = -float(model.eval().log_probabilities(judged).mean())
    return {"mean": nats / math.log(2), "minutes": round(spent / 60, 3)}
