"""Where the thresholds of final exercises lie between those who have the idea and those who do not.

python benchmarks/thresholds.py [a2_rnn a6_pretext …] [--seeds 30] [--only "by hand"]

For each draw of the data and each recipe (recipes_*.py): the share of right answers by which the exercise is judged.
Adds to docs/thresholds/ what is not there yet, one draw for every recipe, then the next, so it can be stopped at any
time. A recipe is called as the student's function is; if it gives a list of answers, the best of them counts.
"""

import argparse
import json
from collections.abc import Callable
from functools import lru_cache

import torch
from recipe_parts import ROOT
from recipes_a2 import FAR_BACK
from recipes_a6 import LEARN_TO_LOOK
from recipes_a7 import FIND
from recipes_a8 import NAME

from autograder.author.exercise import Exercise, load_exercises
from course_utils.compare import labels_of
from course_utils.paths import write
from course_utils.plain import pack, resolve, unpack

STORED = ROOT / "docs" / "thresholds"


@lru_cache(maxsize=1)
def first_case(exercise: Exercise, seed: int) -> tuple:
    """Arguments and true labels of the first case that is drawn from a seed."""
    case = next(iter(exercise.draw(torch.Generator().manual_seed(1000 + seed))))
    return case.arguments, case.truth


SWEEPS = {  # by assignment: its exercise, where its data come from, what a value is, the recipes
    "a2_rnn": (
        "far_back",
        first_case,
        "each value is the share of 150 new texts that are answered rightly; the usual answer gives less than half",
        FAR_BACK,
    ),
    "a6_pretext": (
        "learn_to_look",
        first_case,
        "each value is the share of 480 new pictures whose object a linear probe names, trained on the features of "
        "480 others, by the encoder that the recipe has trained; the encoder is the same for all; guessing gives 1/12",
        LEARN_TO_LOOK,
    ),
    "a7_contrastive": (
        "learn_to_find",
        first_case,
        "each value is the share of 72 new cards that are found again in the gallery of 24 by the encoder that the "
        "recipe has trained; the encoder is the same for all; guessing gives 1/24",
        FIND,
    ),
    "a8_clip": (
        "learn_to_name",
        first_case,
        "each value is the share of 120 new cards, all of pairs of object and colour that no training card shows, "
        "that are named rightly among 40 classes by the CLIP that the recipe has trained; the model is the same for "
        "all; 1000 training cards, 400 steps",
        NAME,
    ),
}
DRAWS = "; one value for each draw of the data, in the order of their seeds 1000, 1001, …: those there was time for"


def share(exercise: Exercise, draw: Callable, seed: int, recipe: Callable) -> float:
    """The share of right answers that a recipe gives on one draw; of several answers, the best one's."""
    arguments, truth = draw(exercise, seed)
    torch.manual_seed(seed)
    answers = recipe(*resolve(arguments))
    answers = [unpack(pack(a)) for a in (answers if isinstance(answers, list) else [answers])]  # as the judge has them
    pairs = [labels_of(exercise.compare, a, truth) for a in answers]
    return max(float((said == true).double().mean()) for said, true in pairs)


def sweep(assignment: str, seed: int, only: str) -> None:
    """Run what is not stored yet for this seed."""
    name, draw, note, groups = SWEEPS[assignment]
    exercise = load_exercises(ROOT / "solutions" / assignment)[name]
    path = STORED / f"{assignment}.json"
    stored = json.loads(path.read_text(encoding="utf-8"))[name] if path.exists() else {}
    values = {group: {row: stored.get(group, {}).get(row, []) for row in rows} for group, rows in groups.items()}
    for group, rows in groups.items():
        for row, recipe in rows.items():
            found = values[group][row]
            if len(found) > seed or only not in row:
                continue
            found.append(round(share(exercise, draw, seed, recipe), 3))
            table = {name: {"threshold": exercise.compare["threshold"], "note": note + DRAWS} | values}
            write(path, (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode())
            mean = sum(found) / len(found)
            print(f"{name}: {min(found):.3f} … {mean:.3f} … {max(found):.3f}  {len(found)}  {row}", flush=True)


def main() -> None:
    """One draw for all recipes, then the next."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("assignments", nargs="*", default=list(SWEEPS), metavar="assignment")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--only", default="", help="recipes with this in their name")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(asked.seeds):
        for assignment in asked.assignments:
            sweep(assignment, seed, asked.only)


if __name__ == "__main__":
    main()
