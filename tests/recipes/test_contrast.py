"""benchmarks/contrast.py in miniature: what it measures has the form that lectures 09 and 10 show."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

from course_utils import results

pytestmark = pytest.mark.soak  # it trains
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def contrast(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("contrast")
    for name in ("contrast", "results"):
        sys.modules.pop(name, None)


def test_graphs_have_a_curve_for_each_kind_of_features(contrast, monkeypatch):
    monkeypatch.setattr(contrast, "GRAPH_LABELS", (5,))
    monkeypatch.setattr(contrast, "DRAWS", 2)
    found = contrast.graphs(0.02)
    assert set(found["curves"]) == set(results.load("contrast_graphs")["curves"])
    assert all(len(curve) == 1 and 0 < curve[0]["mean"] < 1 for curve in found["curves"].values())


def test_negatives_have_probes_and_a_signal(contrast, monkeypatch):
    monkeypatch.setattr(contrast, "PAIRS", ((16, 3),))
    found = contrast.negatives(0.05)
    assert found["probes"]["16, 3"]["biome"]["mean"] > 1 / 6
    assert found["signal"]["16, 3"]["mean"] > 0


@pytest.fixture
def small(contrast, monkeypatch):
    for name, value in {"CARDS": 200, "NEW_CARDS": 100, "VIEW_SEEDS": 2, "DRAWS": 2, "LABEL_STEPS": {3: 300}}.items():
        monkeypatch.setattr(contrast, name, value)
    return contrast


def test_views_are_compared_with_no_training(small):
    probes = small.views(0.02)["probes"]
    stored = results.load("contrast_views")["probes"]
    assert list(probes) == list(stored) and all(set(probes[name]) == set(stored[name]) for name in stored)
    assert all(row["colour"]["error"] > 0 for row in probes.values()), "each seed is another network"
    assert probes["jitter only"] != probes["no training"]


def test_labels_are_learned_by_heart(small):
    found = small.labels(0.1)
    assert found["labelled cards named"][0] > 2 * found["curves"]["from scratch"][0]["mean"] > 0


def test_draws_have_as_many_of_each_kind(contrast):
    y = torch.arange(60) % 3
    drawn = contrast.draws(y, 4)
    assert len({tuple(rows.tolist()) for rows in drawn}) == len(drawn)
    assert all(y[rows].bincount().tolist() == [4, 4, 4] for rows in drawn)


@pytest.mark.parametrize("name", ["negatives", "graphs", "views", "labels"])
def test_each_is_stored_with_its_command(name):
    assert results.load(f"contrast_{name}")["command"].endswith(f"contrast.py {name}")
