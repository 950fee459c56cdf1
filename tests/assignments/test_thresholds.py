"""The thresholds of final exercises lie where the stored measurements say: between the idea and what goes without."""

import json
from pathlib import Path

import pytest

from autograder.author.exercise import load_exercises

ROOT = Path(__file__).parents[2]
ROOM = 0.03  # on either side
STORED = sorted((ROOT / "docs" / "thresholds").glob("*.json"))


def ends(rows):
    """(least, most) of all recipes of a group: each has its values, or what is left of them."""
    found = [row if isinstance(row, list) else [row["least"], row["most"]] for row in rows.values()]
    return min(map(min, found)), max(map(max, found))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_the_worst_good_recipe_passes_and_the_best_without_the_idea_fails(path):
    exercises = load_exercises(ROOT / "solutions" / path.stem)
    for name, stored in json.loads(path.read_text(encoding="utf-8")).items():
        threshold = exercises[name].compare["threshold"]
        assert threshold == stored["threshold"], "measured for another threshold: run benchmarks/thresholds.py again"
        assert len(stored["good"]) > 2, "several good recipes"
        assert ends(stored["good"])[0] >= threshold + ROOM
        assert ends(stored["without the idea"])[1] <= threshold - ROOM


def test_every_sweep_measures_an_exercise_that_is_judged_by_its_accuracy():
    assert len(STORED) >= 4
    for path in STORED:
        exercises = load_exercises(ROOT / "solutions" / path.stem)
        assert all(exercises[name].compare["kind"] == "accuracy" for name in json.loads(path.read_text("utf-8")))
