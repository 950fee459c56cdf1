"""The floors of the models of language, for `floors.py`: what they must keep, label by label and grade by grade."""

from __future__ import annotations

import math
from collections.abc import Iterator

import facts
import labels

TEXTS, DRAWS = 500, 10


def kinds() -> Iterator[tuple]:
    """Yield, for each number of labels, how far BERT's frozen features are ahead of word counts and from scratch."""
    accuracy = labels.summary(labels.scores(DRAWS))["accuracy"]
    ours = accuracy[labels.BERT_NAME]
    for other in (labels.COUNTS, labels.SCRATCH):
        for n, theirs in accuracy[other].items():
            gain, error = ours[n]["mean"] - theirs["mean"], math.hypot(ours[n]["error"], theirs["error"])
            yield "kinds-bert", f"accuracy with {n} labels per kind, gain over {other}", gain, error, 0.0, 5.0


def tales() -> Iterator[tuple]:
    """Yield what the larger GPT keeps of the first grade, and how far it is ahead of the others on each grade."""
    models = facts.report(TEXTS)[0]["models"]
    ours = models[facts.LARGER]["grades"]
    yield facts.LARGER, "facts of the first grade kept", ours["1"]["share"], ours["1"]["error"], 0.90, 0.0
    for other in facts.OTHERS:
        for grade, mine in ours.items():
            theirs = models[other]["grades"].get(grade, {"share": 0.0, "error": 0.0})  # it claims none
            gain, error = mine["share"] - theirs["share"], math.hypot(mine["error"], theirs["error"])
            yield facts.LARGER, f"facts of grade {grade} kept, gain over {other}", gain, error, 0.0, 5.0
