"""How what is wrong hangs on the arguments: where it stands, and by how much it is off."""

import pytest
import torch

from course_utils.check import verdict
from course_utils.checking.cases import ExerciseCases, Mistake

G = torch.Generator().manual_seed(0)
COMPARE = {"kind": "close", "rtol": 1e-4, "atol": 1e-6}


def exercise(right, inputs, names, notes=(), mistakes=None, seen=()):
    expected = [{"value": right(*i)} for i in inputs]
    known = [Mistake(n, f"hint of {n}", [{"value": f(*i)} for i in inputs]) for n, f in (mistakes or {}).items()]
    truths = [None] * len(inputs)
    return ExerciseCases(
        *("f", 1, COMPARE, inputs, truths),
        expected=expected,
        mistakes=known,
        names=names,
        notes=list(notes),
        seen=list(seen),
    )


def judged(cases, student, show=False):
    return verdict(cases, [{"value": student(*i)} for i in cases.inputs], show)


def table(n=6, m=5):
    return torch.randn(n, m, generator=G)


PAIRS = [(table(), table()) for _ in range(3)]
MASKED = [(table(20, 6), torch.rand(20, 6, generator=G) < 0.5) for _ in range(2)]
SHARES = [(table(20, 6), torch.rand(20, 6, generator=G), share) for share in (0.3, 0.5)]
LABELLED = [(table(9, 3), torch.tensor([0, 0, 1, 1, 2, 3, 3, 4, 4])), (table(6, 3), torch.tensor([5, 6, 6, 7, 7, 8]))]


@pytest.mark.parametrize(
    ("right", "student", "inputs", "names", "says"),
    [
        (lambda x, y: x - y, lambda x, y: x, PAIRS, ["x", "y"], "yours is `x` as it came"),
        (lambda x, y: x - y, lambda x, y: x + y, PAIRS, ["x", "y"], "plus 2 times `y`"),
        (lambda x, y: x.sum(1), lambda x, y: (x + y).sum(1), PAIRS, ["x", "y"], "plus `y`, summed over the last axis"),
        (lambda x, y: x * y, lambda x, y: x * y * y.exp(), PAIRS, ["x", "y"], "times e to the power of `y`"),
        (lambda x, m: x.where(m, 7), lambda x, m: x.where(m, 8), MASKED, ["x", "m"], "stands only where `m` is False"),
        (
            lambda x, u, s: x.where(u >= s, 7),
            lambda x, u, s: x.where(u >= s, 8),
            SHARES,
            ["x", "u", "s"],
            "stands only where `u` is below `s`",
        ),
        (
            lambda x, u, s: x.where((u < 0.6) | (u > 0.8), 7),
            lambda x, u, s: x.where((u < 0.6) | (u > 0.8), 8),
            SHARES,
            ["x", "u", "s"],
            r"stands only where `u` lies between 0.6\d? and 0.(79|8)",
        ),
        (
            lambda x, y: x.where(((y[:, None] == y).sum(1) > 1)[:, None], 7),
            lambda x, y: x.where(((y[:, None] == y).sum(1) > 1)[:, None], 8),
            LABELLED,
            ["x", "y"],
            "stands only where a number of `y` occurs once",
        ),
        (
            lambda x, y: x / x.norm(dim=1, keepdim=True) @ (y / y.norm(dim=1, keepdim=True)).T,
            lambda x, y: x / (0.1 + x.norm(dim=1, keepdim=True)) @ (y / (0.1 + y.norm(dim=1, keepdim=True))).T,
            PAIRS,
            ["x", "y"],
            "each row and each column is off by a factor of its own",
        ),
    ],
)
def test_what_is_wrong_is_told_by_the_arguments(right, student, inputs, names, says):
    import re

    assert re.search(says, judged(exercise(right, inputs, names), student).wrong)


def test_places_that_have_nothing_in_common_are_not_told():
    inputs = [(table(20, 6), table(20, 6) + 3) for _ in range(2)]
    odd = torch.rand(20, 6, generator=G) < 0.2
    wrong = judged(exercise(lambda x, y: x * y, inputs, ["x", "y"]), lambda x, y: torch.where(odd, -9, x * y)).wrong
    assert "stands only where" not in wrong


def test_between_which_bounds_is_told_of_measures_and_not_of_names():
    """A code between 3 and 9 is no reason: its size means nothing."""
    names = [(torch.arange(40).view(8, 5) + shift, table(8, 5)) for shift in (0, 3)]

    def odd(low, high):
        return lambda x, y: torch.where((x >= low) & (x <= high), -9, y)

    assert "stands only where" not in judged(exercise(lambda x, y: y, names, ["x", "y"]), odd(11, 29)).wrong
    sizes = [(x.double(), y) for x, y in names]
    assert "`x` lies between" in judged(exercise(lambda x, y: y, sizes, ["x", "y"]), odd(11, 29)).wrong


# --- what a case tries ------------------------------------------------------------------------------------------------

TEXTS = [(torch.tensor([3.0, 1.0]),), (torch.tensor([]),), (torch.tensor([0.0, 0.0]),), (torch.tensor([2.0, 5.0]),)]
NOTES = ["", "an empty text", "all zeros", ""]


def total(x):
    return x.sum()


def test_the_case_that_fails_says_what_it_tries():
    found = judged(exercise(total, TEXTS, ["x"], NOTES), lambda x: x.sum() + (len(x) == 0))
    assert (found.case, found.note) == (2, "an empty text")
    told = "what fails, and nothing else, is called with `x` empty; all other cases hold"
    assert found.message.splitlines()[1] == f"  case 2 (an empty text): value: it differs; {told}"


def test_special_cases_that_fail_alone_are_listed_and_ordinary_ones_are_not():
    cases = exercise(total, TEXTS, ["x"], NOTES)
    assert "the only others that fail: all zeros" in judged(cases, lambda x: x.sum() + (x.sum() == 0)).wrong
    assert "only others" not in judged(cases, lambda x: x.sum() + (x.sum() <= 4)).wrong


def test_in_the_grader_a_case_that_students_have_shows_what_is_right_and_not_what_came():
    cases = exercise(total, TEXTS, ["x"], NOTES, seen=[0])
    wrong = judged(cases, lambda x: torch.tensor(123.25)).wrong
    assert wrong.startswith("value: expected 4") and "123" not in wrong
    hidden = judged(exercise(total, TEXTS, ["x"], NOTES), lambda x: torch.tensor(123.25)).wrong
    assert hidden.startswith("value: it differs")


# --- two mistakes at once ---------------------------------------------------------------------------------------------

ROWS = [(torch.tensor([3.0, 1.0, 2.0]),), (torch.tensor([1.0, 4.0]),), (torch.tensor([]),)]


def mean_or_0(x):
    return x.sum() / max(1, len(x))


def squares(x):
    return x.square().sum() / max(1, len(x))


def test_a_mistake_is_named_beside_a_nan_of_another_cause():
    cases = exercise(mean_or_0, ROWS, ["x"], mistakes={"squares": squares})
    found = judged(cases, lambda x: x.square().mean())  # of nothing the mean is nan
    assert found.mistake == "squares"
    assert found.hint == "hint of squares (What is wrong in case 3 comes from something else.)"


def test_no_mistake_is_named_for_one_case_alone_or_beside_other_wrong_numbers():
    cases = exercise(mean_or_0, ROWS, ["x"], mistakes={"squares": squares})
    assert judged(cases, lambda x: squares(x) if len(x) == 3 else x.sum() / 0).mistake is None
    assert judged(cases, lambda x: squares(x) if len(x) else torch.tensor(7.0)).mistake is None


def test_two_ways_to_make_one_mistake_do_not_hide_each_other():
    mistakes = {"squares": squares, "too": squares}
    cases = exercise(mean_or_0, ROWS, ["x"], mistakes=mistakes)
    assert judged(cases, squares).mistake is None  # two hints explain it equally well
    cases.mistakes[1].hint = cases.mistakes[0].hint
    assert judged(cases, squares).mistake == "squares"


def test_a_mistake_is_named_of_one_part_where_another_part_has_one_too():
    def both(x):
        return x.sum(), x.square().sum()

    def counted(x):
        return x.sum() / len(x), x.square().sum()

    cases = exercise(both, ROWS[:2] * 2, ["x"], mistakes={"counted": counted})
    found = judged(cases, lambda x: (x.sum() / len(x), x.square().sum() + x[0] * x[1]))
    assert found.mistake == "counted"
    assert found.hint == "hint of counted (The other value is wrong, too: from this, or from something else.)"
    assert judged(cases, lambda x: (x.sum() / len(x) + x[0], x.square().sum() + x[0] * x[1])).mistake is None


def test_a_mistake_is_named_where_all_answers_are_a_plain_multiple_of_its():
    right, inputs = (lambda x: x.log().sum()), [(table(n, 1)[:, 0] + 2,) for n in (3, 4, 6, 7)]
    cases = exercise(right, inputs, ["x"], mistakes={"inside": lambda x: x.sum().log()})
    found = judged(cases, lambda x: x.sum().log2())
    assert found.mistake == "inside" and "yours is that times 1 / ln 2" in found.hint
    assert judged(cases, lambda x: 0.7 * x.sum().log()).mistake is None  # such a number is nobody's mistake


def test_rare_yes_is_no_likeness():
    """Two that say no nearly always agree nearly everywhere, for different reasons."""
    truth = [True, False] * 30
    rare = [i in (0, 2, 4) for i in range(60)]
    other = [i in (10, 12, 14) for i in range(60)]
    compare = {"kind": "accuracy", "threshold": 0.8}
    mistake = Mistake("rare", "hint", [{"value": rare}])
    cases = ExerciseCases("f", 1, compare, [(1,)], [truth], expected=[{"value": truth}], mistakes=[mistake])
    assert verdict(cases, [{"value": rare}], False).mistake == "rare"
    assert verdict(cases, [{"value": other}], False).mistake is None
