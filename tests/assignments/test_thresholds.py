"""The thresholds of final exercises lie where the stored measurements say: between the idea and what goes without."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from autograder.author.exercise import load_exercises
from course_utils.models.convnet import small_encoder

ROOT = Path(__file__).parents[2]
ROOM = 0.03  # on either side
STORED = sorted((ROOT / "docs" / "thresholds").glob("*.json"))


@pytest.fixture
def thresholds(monkeypatch):
    """The script that measures, as if it were run from its folder."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(sys, "argv", ["thresholds.py", "a7_contrastive", "--seeds", "2"])
    return import_module("thresholds")


def ends(rows):
    """(least, most) of all recipes of a group that were measured."""
    found = [value for row in rows.values() for value in row]
    return min(found), max(found)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_the_worst_good_recipe_passes_and_the_best_without_the_idea_fails(path):
    exercises = load_exercises(ROOT / "solutions" / path.stem)
    for name, stored in json.loads(path.read_text(encoding="utf-8")).items():
        threshold = exercises[name].compare["threshold"]
        assert exercises[name].compare["kind"] == "accuracy"
        assert threshold == stored["threshold"], "measured for another threshold: run benchmarks/thresholds.py again"
        assert len(stored["good"]) > 2, "several good recipes"
        assert ends(stored["good"])[0] >= round(threshold + ROOM, 3)
        assert ends(stored["without the idea"])[1] <= round(threshold - ROOM, 3)


def test_what_is_stored_are_values_of_the_recipes(thresholds):
    assert [path.stem for path in STORED] == sorted(thresholds.SWEEPS)
    for path in STORED:
        name, _, _, groups = thresholds.SWEEPS[path.stem]
        stored = json.loads(path.read_text(encoding="utf-8"))[name]
        assert set(stored) == {"threshold", "note", *groups}
        for group, rows in groups.items():
            assert set(stored[group]) <= set(rows), "run benchmarks/thresholds.py again"
            assert any(stored[group].values())


def test_a_sweep_goes_on_where_it_was_stopped(thresholds, monkeypatch, tmp_path):
    asked = []

    def recipe(first, second):
        asked.append(len(first))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return [nothing, torch.nn.Sequential(*drawn)]

    drawn = small_encoder(out=64)
    nothing = {name: torch.zeros_like(w) for name, w in drawn.state_dict().items()}  # takes every card for the first

    groups = {"good": {"one": recipe, "another": recipe}}
    monkeypatch.setattr(thresholds, "STORED", tmp_path)
    name, draw, note, _ = thresholds.SWEEPS["a7_contrastive"]
    monkeypatch.setitem(thresholds.SWEEPS, "a7_contrastive", (name, draw, note, groups))
    with pytest.raises(KeyboardInterrupt):
        thresholds.main()
    thresholds.main()
    stored = json.loads((tmp_path / "a7_contrastive.json").read_text(encoding="utf-8"))["learn_to_find"]["good"]
    assert asked == [400] * 5  # one draw of both, the second of one cut off, the second of both
    assert stored["one"] == stored["another"]
    assert min(stored["one"]) >= 0.042, "the better of the two answers, of which one is worth 1/24"
