"""What takes longer to measure than lectures 09 and 10 have time for.

    python benchmarks/contrast.py negatives      # or graphs, views, labels

Each takes at most a quarter of an hour of one core and writes course_utils/results/contrast_NAME.json, with the date,
the machine and the command; the lecture shows it by `results.load("contrast_graphs")`.

    negatives   number of negatives and size of the batch, one without the other: probes and the gradients' signal
    graphs      GraphCL beside networks that are trained on the labels alone, 5 to 100 of each class
    views       SimCLR with crops and jitter, with either alone, and no training: what probes find, over several seeds
    labels      networks that are trained on labelled cards alone, 5 to 50 of each kind, in SimCLR's views
"""

import argparse
import math
import statistics
import time

import torch
import torch.nn.functional as F
from results import FOLDER, store
from torch import Tensor, nn

from course_utils import runtime
from course_utils.data import graphs as worlds
from course_utils.data import postcards
from course_utils.learn import augment, evaluate, losses, train
from course_utils.models.convnet import ConvNet, ConvNetConfig, projection_head
from course_utils.models.gnn import GNN, GNNConfig
from course_utils.recipes import pictures

DRAWS = 3  # of labels


def mean_and_error(values: list[float]) -> dict[str, float]:
    """Return the mean of several runs and its standard error."""
    return {"mean": statistics.fmean(values), "error": statistics.stdev(values) / math.sqrt(len(values))}


def ask(read, factors: tuple[str, ...], known: postcards.Postcards, new: postcards.Postcards) -> dict[str, dict]:
    """Return what linear probes of frozen features find: {factor: {"mean", "error"}}."""
    x, x_new = evaluate.features(read, known.images), evaluate.features(read, new.images)
    found = {}
    for name in factors:
        probe = evaluate.ridge_probe if known.factors[name].is_floating_point() else evaluate.linear_probe
        answer = probe(x, known.factors[name], x_new, new.factors[name], l2=1e-3)
        found[name] = {"mean": answer.score, "error": answer.error}
    return found


def draws(y: Tensor, per_kind: int) -> list[Tensor]:
    """Return the rows of `per_kind` examples of each kind, for each draw others."""
    each = [(y == kind).nonzero()[:, 0] for kind in y.unique()]
    orders = [runtime.seed(seed) for seed in range(DRAWS)]
    return [torch.cat([r[torch.randperm(len(r), generator=g)[:per_kind]] for r in each]) for g in orders]


# --- negatives --------------------------------------------------------------------------------------------------------

PAIRS = ((64, 1), (64, 4), (64, 16), (64, 63), (32, 16), (256, 16))  # batch, negatives
SEEDS, STEPS_SMALL = 40, 120


def negatives(share: float) -> dict:
    """Small networks on cards of 16 × 16 pixels: forty seeds for each size of the batch and number of negatives."""
    cards, new = (postcards.draw(n, runtime.seed(seed), size=16) for n, seed in ((1500, 0), (1000, 1)))
    way = augment.Compose(augment.CropResize((0.4, 1.0)), augment.ColourJitter(0.4, 0.4, 0.4, 0.05, p=0.8))
    g = runtime.seed(2)
    many = torch.stack([way(cards.images, g) for _ in range(6)], dim=1)  # (1500, 6, 3, 16, 16)
    probes, signal = {}, {}
    for size, count in PAIRS:
        found = [
            small(many, size, count, seed, round(STEPS_SMALL * share)) for seed in range(SEEDS if share == 1 else 2)
        ]
        asked = [ask(encoder, ("object", "biome"), cards, new) for encoder, _ in found]
        key = f"{size}, {count}"
        probes[key] = {f: mean_and_error([a[f]["mean"] for a in asked]) for f in ("object", "biome")}
        signal[key] = mean_and_error([ratio for _, ratio in found])
        print(key, probes[key], signal[key], flush=True)
    what = "probes, and |mean| / deviation of the gradient over 16 batches"
    return {"what": what, "seeds": SEEDS, "steps": STEPS_SMALL,
            "probes": probes, "signal": signal}  # fmt: skip


def small(many: Tensor, size: int, count: int, seed: int, steps: int) -> tuple[ConvNet, float]:
    """Return a trained encoder, and its gradient's signal-to-noise ratio halfway."""
    encoder, head = ConvNet(ConvNetConfig(width=8), runtime.seed(seed)), projection_head(32, 32, runtime.seed(seed + 1))
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer, g = torch.optim.AdamW(weights, lr=3e-3), runtime.seed(seed)

    def gradient() -> Tensor:
        rows, pair = torch.randperm(len(many), generator=g)[:size], torch.rand(size, 6, generator=g).topk(2).indices
        a, b = head(encoder(torch.cat([many[rows, pair[:, 0]], many[rows, pair[:, 1]]]))).chunk(2)
        loss = sum(losses.info_nce(*ab, 0.2, negatives=count, generator=g) for ab in ((a, b), (b, a))) / 2
        optimizer.zero_grad()
        loss.backward()
        return torch.cat([w.grad.flatten() for w in weights])

    ratio = math.nan
    for step in range(steps):
        if step == steps // 2:
            several = torch.stack([gradient() for _ in range(16)])  # the weights stay where they are
            ratio = float(several.mean(0).norm() / several.var(0).sum().sqrt())
        gradient()
        optimizer.step()
    return encoder, ratio


# --- graphs -----------------------------------------------------------------------------------------------------------

GRAPH_LABELS = (5, 20, 100)


def graph_view(g: worlds.Graphs, masked: float, generator: torch.Generator) -> worlds.Graphs:
    """One of GraphCL's views, as lecture 10 has them."""
    if torch.rand((), generator=generator) < 0.5:
        g = worlds.subgraph(g, 0.75, generator)
    else:
        g = worlds.drop_nodes(g, 0.2, generator)
    return worlds.mask_attributes(g, masked, generator)


def graphs(share: float) -> dict:
    """Frozen features of GraphCL, trained on 6,000 graphs, beside networks that have the labelled graphs alone."""
    known, new = worlds.draw(1500, runtime.seed(0)), worlds.draw(2000, runtime.seed(1))
    many = worlds.draw(round(6000 * share), runtime.seed(5))
    encoders = {
        "GraphCL, frozen": graph_contrast(many, round(1500 * share)),
        "random encoder": GNN(GNNConfig(), runtime.seed(0)),
    }
    curves = {}
    for name, encoder in encoders.items():
        with torch.no_grad():
            x, y = encoder(known), encoder(new)
        found = [
            [evaluate.linear_probe(x[r], known.labels[r], y, new.labels, l2=1e-2).score for r in draws(known.labels, n)]
            for n in GRAPH_LABELS
        ]
        curves[name] = [mean_and_error(scores) for scores in found]
        print(name, curves[name], flush=True)
    for name, masked in (("supervised", None), ("supervised, same views", 0.95)):
        found = [
            [graph_supervised(known[r], new, s, masked, share) for s, r in enumerate(draws(known.labels, n))]
            for n in GRAPH_LABELS
        ]
        curves[name] = [mean_and_error(scores) for scores in found]
        print(name, curves[name], flush=True)
    return {
        "what": f"share of {len(new):,} new graphs whose class is named; mean of {DRAWS} draws of labels",
        "unlabelled": len(many),
        "x": {"labels per class": list(GRAPH_LABELS)},
        "curves": curves,
        "chance": 1 / len(worlds.CLASSES),
    }


def graph_contrast(many: worlds.Graphs, steps: int) -> GNN:
    """GraphCL with the kinds of nodes masked."""
    g = runtime.seed(0)
    encoder, head = GNN(GNNConfig(), runtime.seed(0)), projection_head(96, 32, runtime.seed(1))

    def loss(model, rows):
        batch = many[rows]
        return losses.nt_xent(*(model(graph_view(batch, 0.95, g)) for _ in range(2)), 0.2)

    rows = train.samples(torch.arange(len(many)), size=128)
    how = {"lr": 3e-3, "settings": train.Settings(final=0.0, weight_decay=0.01), "generator": g, "progress": False}
    train.fit(nn.Sequential(encoder, head), rows, loss, steps=steps, **how)
    return encoder.eval()


def graph_supervised(known: worlds.Graphs, new: worlds.Graphs, seed: int, masked: float | None, share: float) -> float:
    """Return the accuracy of a network that has these graphs and their labels alone, perhaps in GraphCL's views."""
    g = runtime.seed(seed)
    model = nn.Sequential(GNN(GNNConfig(), g), nn.BatchNorm1d(96), nn.Linear(96, len(worlds.CLASSES)))

    def loss(model, rows):
        batch = known[rows] if masked is None else graph_view(known[rows], masked, g)
        return F.cross_entropy(model(batch), batch.labels)

    rows = train.samples(torch.arange(len(known)), size=min(64, len(known)))
    how = {"lr": 3e-3, "settings": train.Settings(final=0.0, weight_decay=0.01), "generator": g, "progress": False}
    train.fit(model, rows, loss, steps=max(1, round(250 * share)), **how)
    with torch.no_grad():
        return float((model.eval()(new).argmax(1) == new.labels).float().mean())


# --- views and labels -------------------------------------------------------------------------------------------------

CROP = augment.CropResize((0.5, 1), flip=0.5, size=24)
JITTER = (augment.ColourJitter(0.5, 0.5, 0.8, hue=0.5), augment.ColourDrop(p=0.2))
VIEWS = {"crop + jitter": augment.Compose(CROP, *JITTER), "crop only": CROP, "jitter only": augment.Compose(*JITTER)}
VIEW_SEEDS, VIEW_STEPS = 3, 250
LABEL_STEPS = {5: 300, 20: 600, 50: 900}  # labels of each kind -> steps: more cards take longer to learn
CARDS, NEW_CARDS = 3000, 2000


def views(share: float) -> dict:
    """The encoders of lecture 09's section 4, trained for longer and from several seeds, beside untrained ones."""
    cards, new = postcards.draw(CARDS, runtime.seed(0)), postcards.draw(NEW_CARDS, runtime.seed(1))
    factors, found = ("object", "colour", "biome", "x"), {}
    for name, way in {"no training": None, **VIEWS}.items():
        many = None if way is None else several(cards.images, way, 8)
        asked = [
            ask(contrasted(many, seed, round(VIEW_STEPS * share)), factors, cards, new) for seed in range(VIEW_SEEDS)
        ]
        found[name] = {f: mean_and_error([a[f]["mean"] for a in asked]) for f in factors}
        print(name, found[name], flush=True)
    what = f"what linear probes find on {len(new):,} new cards (x: R²); mean of {VIEW_SEEDS} trainings"
    return {"what": what, "steps": VIEW_STEPS, "seeds": VIEW_SEEDS, "probes": found}


def several(images: Tensor, way: augment.Augmentation, count: int) -> Tensor:
    """Return several views of each picture, drawn once: (n, count, 3, H, W)."""
    g = runtime.seed(2)
    return torch.stack([way(images, g) for _ in range(count)], dim=1)


def contrasted(many: Tensor | None, seed: int, steps: int) -> ConvNet:
    """Return an encoder after SimCLR's training on pairs of these views, or as it was drawn."""
    g = runtime.seed(seed)
    encoder, head = ConvNet(ConvNetConfig(16), g), projection_head(64, 64, g)
    if many is None:
        return encoder.eval()

    def loss(model, rows):
        pair = torch.rand(len(rows), many.shape[1], generator=g).topk(2).indices  # two of each card's views
        z1, z2 = model(torch.cat([many[rows, pair[:, 0]], many[rows, pair[:, 1]]])).float().chunk(2)
        return losses.nt_xent(z1, z2, 0.1)

    rows = train.samples(torch.arange(len(many)), size=128)
    model = nn.Sequential(encoder, head)
    settings = train.Settings(final=0.0, bf16=pictures.fast_convolutions())
    train.fit(model, rows, loss, steps=steps, lr=1e-2, settings=settings, generator=g, progress=False)
    return encoder.eval()


def labels(share: float) -> dict:
    """Networks of the size of the bundled SimCLR that see labelled cards alone."""
    cards, new = postcards.draw(CARDS, runtime.seed(0)), postcards.draw(NEW_CARDS, runtime.seed(1))
    kinds, curve, fitted = cards.factors["object"], [], []
    for n, steps in LABEL_STEPS.items():
        chosen = enumerate(draws(kinds, n))
        runs = [supervised(cards.images[r], kinds[r], new, seed, round(steps * share)) for seed, r in chosen]
        curve.append(mean_and_error([right for right, _ in runs]))
        fitted.append(statistics.fmean(known for _, known in runs))
        print(n, curve[-1], fitted[-1], flush=True)
    return {
        "what": f"share of {len(new):,} new cards whose object is named; mean of {DRAWS} draws of labels",
        "steps": list(LABEL_STEPS.values()),
        "x": {"labels per kind": list(LABEL_STEPS)},
        "curves": {"from scratch": curve},
        "labelled cards named": fitted,
    }


def supervised(images: Tensor, kinds: Tensor, new: postcards.Postcards, seed: int, steps: int) -> tuple[float, float]:
    """Return which share of new cards, and of its own, a network names that has these labelled cards alone."""
    g = runtime.seed(seed)
    model = nn.Sequential(ConvNet(ConvNetConfig(32), g), nn.Linear(128, len(postcards.OBJECTS)))
    many = several(images, pictures.views(), 40 if len(images) < 500 else 10)  # as the bundled SimCLR had them

    def loss(model, rows):
        seen = many[rows, torch.randint(many.shape[1], (len(rows),), generator=g)]
        return F.cross_entropy(model(seen).float(), kinds[rows])

    def right(images: Tensor, kinds: Tensor) -> float:
        return float((evaluate.features(model, images).argmax(1) == kinds).float().mean())

    rows = train.samples(torch.arange(len(images)), size=64)
    settings = train.Settings(final=0.0, bf16=pictures.fast_convolutions())
    train.fit(model, rows, loss, steps=steps, lr=5e-3, settings=settings, generator=g, progress=False)
    return right(new.images, new.factors["object"]), right(images, kinds)


PARTS = {"negatives": negatives, "graphs": graphs, "views": views, "labels": labels}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage="%(prog)s PART [options]"
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--share", type=float, default=1.0, help="of the work, for a trial; it is not stored")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    found = PARTS[options.part](options.share)
    seconds = time.process_time() - start
    print(f"{seconds / 60:.1f} minutes of processor time")
    if options.share == 1:
        print(store(FOLDER / f"contrast_{options.part}.json", found, seconds))


if __name__ == "__main__":
    main()
