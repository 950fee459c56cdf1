"""benchmarks/contrast.py in miniature: what it measures has the form that lecture 10 shows."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

from course_utils import results

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


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


def test_draws_have_as_many_of_each_kind(contrast):
    y = torch.arange(60) % 3
    drawn = contrast.draws(y, 4)
    assert len({tuple(rows.tolist()) for rows in drawn}) == len(drawn)
    assert all(y[rows].bincount().tolist() == [4, 4, 4] for rows in drawn)


@pytest.mark.parametrize("name", ["negatives", "graphs"])
def test_each_is_stored_with_its_command(name):
    assert results.load(f"contrast_{name}")["command"].endswith(f"contrast.py {name}")
