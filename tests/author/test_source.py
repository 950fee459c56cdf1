"""What of a `mistakes.py` an exercise hangs on: its own statements, what they use, and nothing of the others."""

import pytest

from autograder.author.source import source_of

WRITTEN = '''
import math
import random
from autograder.author.exercise import Exercise, close

SIZE = 3
LIBRARY = ["math.dist"]

def _half(x):
    """Of a number."""
    return x / SIZE

double = Exercise("double", points=2, compare=close(), banned=LIBRARY)

@double.cases
def _(g):
    yield 1,

@double.mistake("you halved")
def halved(x):
    return _half(x)

double.equivalent("nothing is added", "x [-+ 0-]")

total = Exercise("total", points=3, compare=close())

@total.cases
def _(g):
    yield random.random(),

@total.mistake("that is the mean")
@total.breaks("Add up.")
def mean(x):
    # of all
    return sum(x) / len(x)

@total.also("mean")
class Mean:
    pass
'''


def changed(old: str, new: str) -> set[str]:
    """The exercises whose source is another one when a text in the file is."""
    assert WRITTEN.count(old) == 1
    after = WRITTEN.replace(old, new)
    return {name for name in ("double", "total") if source_of(WRITTEN, name) != source_of(after, name)}


@pytest.mark.parametrize(
    ("old", "new", "whose"),
    [
        ("points=2", "points=4", {"double"}),
        ("yield 1", "yield 2", {"double"}),
        ("random.random()", "random.gauss()", {"total"}),
        ("return _half(x)", "return -_half(x)", {"double"}),
        ("x / SIZE", "SIZE / x", {"double"}),  # a function that a mistake uses,
        ("SIZE = 3", "SIZE = 2", {"double"}),  # and what that uses
        ('"math.dist"', '"math.hypot"', {"double"}),
        ("[-+ 0-]", "[-- 0-]", {"double"}),
        ("sum(x) / len(x)", "sum(x)", {"total"}),
        ("Add up.", "Add.", {"total"}),
        ("class Mean:\n    pass", "class Mean:\n    size = 1", {"total"}),
        ("import random", "import numpy.random as random", {"total"}),
        ("import Exercise, close", "import close, Exercise", {"double", "total"}),
        ("import math", "import cmath", set()),  # nobody uses it
        ("you halved", "that is the half", set()),
        ("# of all", "# of all of them", set()),
        ("Of a number.", "Of any number.", set()),
    ],
)
def test_source_changes_with_what_the_exercise_hangs_on(old, new, whose):
    assert changed(old, new) == whose


def test_source_of_the_other_exercise_is_not_in_it():
    assert "total" not in source_of(WRITTEN, "double") and "halved" not in source_of(WRITTEN, "total")
