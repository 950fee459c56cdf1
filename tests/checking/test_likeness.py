"""What is said of wrong answers that no known mistake explains: facts about all cases that fail, and nothing more."""

import math

import pytest
import torch

from course_utils.check import verdict
from course_utils.checking.cases import ExerciseCases
from course_utils.checking.likeness import likeness


def cases_of(right, inputs, kind="close"):
    compare = {"kind": kind, "rtol": 1e-4, "atol": 1e-6}
    if kind in ("distribution", "pairs"):
        compare |= {"kind": "distribution", "of": "pairs" if kind == "pairs" else "values", "alpha": 1e-6}
    if kind == "accuracy":
        compare |= {"threshold": 0.9}
    truths = [right(*i) if kind == "accuracy" else None for i in inputs]
    expected = [{"value": right(*i)} for i in inputs]
    return ExerciseCases("f", 1, compare, inputs, truths, expected=expected)


def said(right, student, inputs, kind="close"):
    exercise = cases_of(right, inputs, kind)
    answers = []
    for arguments in inputs:
        try:
            answers.append({"value": student(*arguments)})
        except ZeroDivisionError as error:
            answers.append({"error": type(error).__name__, "message": str(error)})
    shown = verdict(exercise, answers, show=False)
    assert shown.held < shown.cases
    return shown.wrong.partition("; ")[2]


G = torch.Generator().manual_seed(0)
VECTORS = [(torch.rand(n, generator=G) + 0.1,) for n in (3, 4, 6)]
TABLES = [(torch.rand(n, m, generator=G) + 0.1,) for n, m in ((3, 4), (5, 2), (4, 6))]
SQUARES = [(torch.rand(n, n, generator=G) + 0.1,) for n in (3, 4, 5)]


def rows(x):
    return x / x.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    ("right", "student", "inputs", "says"),
    [
        (torch.Tensor.mean, torch.Tensor.sum, VECTORS, "times n, with n the size of axis 0 of the argument"),
        (torch.Tensor.var, lambda x: x.var(correction=0), VECTORS, r"times \(n − 1\)/n, with n the size of axis 0"),
        (torch.Tensor.sum, lambda x: x.sum() / x.shape[0] ** 0.5, VECTORS, "times 1/√n"),
        (torch.Tensor.log, torch.Tensor.log2, VECTORS, "times 1 / ln 2"),
        (lambda x: x, lambda x: -x, VECTORS, "with the other sign"),
        (lambda x: x, lambda x: x / 2, VECTORS, "times 0.5"),
        (lambda x: x, lambda x: x + 1, VECTORS, "plus 1"),
        (lambda x: x, lambda x: x - math.log(len(x)), VECTORS, "minus ln n, with n the size of axis 0"),
        (lambda x: x, lambda x: x * x, VECTORS, "the squares of the right numbers"),
        (lambda x: x, lambda x: 1 - x, VECTORS, "1 minus the right numbers"),
        (lambda x: x, torch.Tensor.log, VECTORS, "the logarithms of the right"),
        (lambda x: x, torch.Tensor.tanh, VECTORS, "tanh of the right numbers"),
        (lambda x: x, lambda x: x.log_softmax(1), TABLES, "log_softmax of the right numbers, along the last axis"),
        (lambda x: x, lambda x: x.softmax(0), TABLES, "softmax of the right numbers, along the last axis but one"),
        (lambda x: 9 * x, lambda x: x / x.norm(dim=1, keepdim=True), TABLES, r"the directions \(all of length 1\) of"),
        (lambda x: x, lambda x: x.cumsum(0), TABLES[1:], "the running sums of the right numbers"),
        (lambda x: x * len(x), lambda x: torch.cat([x[:1] * len(x), x[1:].flip(1)]), SQUARES[1:], "first place along"),
        (lambda x: x, lambda x: x.sort().values, VECTORS, "in another order: yours are sorted"),
        (lambda x: x, lambda x: x.flip(0), VECTORS, "reverse order along the last axis"),
        (lambda x: x, lambda x: x.roll(1), VECTORS, "one place too late along the last axis"),
        (lambda x: x, lambda x: x[1:], VECTORS, "one place is missing at the beginning of the last axis"),
        (lambda x: x[:-1], lambda x: x, VECTORS, "one place too many at the end"),
        (lambda x: (3 * x).long(), lambda x: (3 * x).long().float(), VECTORS, r"only their dtype is not: `\.long"),
        (lambda x: x > 0.5, lambda x: x <= 0.5, VECTORS, "True and False are exchanged"),
        (lambda x: x > 0.5, lambda x: x > 0.2, VECTORS, "all that should be True is, and more"),
        (lambda x: x, torch.Tensor.tolist, VECTORS, "make a tensor of them"),
        (lambda x: x, lambda x: x[:, None], VECTORS, "only the shape is not"),
        (torch.Tensor.sum, lambda x: x, VECTORS, "yours is not yet summed over the last axis"),
        (lambda x: x, lambda x: x.mean(-1), TABLES, "averaged over the last axis, which has to stay"),
        (lambda x: x, lambda x: x.T, TABLES, "yours is transposed"),
        (lambda x: x, lambda x: x.T, SQUARES, "yours is transposed"),
        (rows, lambda x: x / x.sum(0), TABLES, "yours sums to 1 along the last axis but one"),
        (rows, lambda x: x, TABLES, "divide it by its sum"),
        (rows, lambda x: x * x, TABLES, "each row has to sum to 1, and yours does not"),
        (lambda x: x / x.norm(dim=1, keepdim=True), lambda x: x, TABLES, "divide it by its length"),
        (lambda x: x.softmax(1), lambda x: x, TABLES, "softmax of yours would be right"),
        (lambda x: x, lambda x: x * (1 - torch.eye(len(x))), SQUARES, "right but"),
        (lambda x: x, lambda x: x + torch.eye(len(x)), SQUARES, "right but for the diagonal"),
        (
            lambda x: x,
            lambda x: torch.cat([x[:, :-1], x[:, :1]], 1),
            SQUARES,
            "right but for the last place along the l",
        ),
        (
            lambda x: (x, 2 * x),
            lambda x: (2 * x, x),
            VECTORS,
            "the two values are exchanged",
        ),
        (
            lambda x: (x, x.sum()),
            lambda x: (x, x.mean()),
            VECTORS,
            "only the second value is wrong, the other is right; ",
        ),
        (lambda x: {"a": x, "b": x * x}, lambda x: {"a": -x, "b": -x * x}, VECTORS, "with the other sign"),
        (lambda x: {"a": x, "b": x * x}, lambda x: {"a": x, "b": x}, VECTORS, "only 'b' is wrong, the other is right"),
    ],
)
def test_what_relates_all_wrong_answers_to_the_right_ones_is_said(right, student, inputs, says):
    import re

    assert re.search(says, said(right, student, inputs))


def test_where_infinities_are_is_said():
    x = torch.tensor([[0.0, 0.5, 0.5], [0.2, 0.3, 0.5]])
    assert "infinite is right where yours is finite" in said(torch.log, lambda x: (x + 1e-9).log(), [(x,), (x / 2,)])
    never = torch.tensor(
        [0.0, 0.0, 1.0]
    )  # nothing but whole numbers and −∞: no rounding, however large what stands there
    found = said(torch.log, lambda x: x.log().nan_to_num(neginf=-1e38), [(never,), (never.flip(0),)])
    assert "infinite is right where yours is finite" in found
    large = torch.tensor([1000.0, 1.0, 2.0])
    assert "`exp` of a large number" in said(
        lambda x: x.softmax(0), lambda x: x.exp() / x.exp().sum(), [(large,), (large * 2,)]
    )


def test_what_only_the_failing_cases_have_is_said():
    def student(x):
        return x.sum() if len(x) and float(x.min()) >= 0 else x.sum() ** 3 + 0.7

    inputs = [(v,) for v in (torch.rand(3), torch.rand(4), -torch.rand(3), torch.rand(5), -torch.rand(2))]
    assert "is called with negative numbers in the argument" in said(torch.Tensor.sum, student, inputs)
    errors = [(4, 2), (3, 1), (5, 0), (1, 3)]
    assert "is called with 0 as the second argument" in said(
        lambda a, b: a / b if b else 0.0, lambda a, b: a / b, errors
    )


@pytest.mark.parametrize(
    "student",
    [
        lambda x: x.sin() + x.sum(),
        lambda x: x * torch.arange(1, len(x) + 1),
        lambda x: torch.zeros(2, 3, 4),
        lambda x: "text",
        lambda x: {"a": [None, 1j]},
        lambda x: torch.full((len(x),), math.nan),
        lambda x: None,
        lambda x: torch.zeros(0),
    ],
)
def test_of_others_nothing_false_is_said(student):
    found = said(torch.Tensor.clone, student, VECTORS)
    assert found == "" or "nan" in found


def test_one_number_alone_is_no_factor_and_two_cases_of_one_size_no_size():
    assert said(torch.Tensor.mean, torch.Tensor.sum, VECTORS[:1]) == ""
    assert "with n" not in said(torch.Tensor.mean, torch.Tensor.sum, [VECTORS[0], VECTORS[0]])


def test_an_odd_factor_of_two_numbers_is_chance():
    """Shares of twelve things: 10/12 and 5/12 became 4/12 and 2/12."""
    exercise = cases_of(lambda x: (x, x / 2), [(torch.tensor(n / 12),) for n in (10, 6, 3)])

    def of(factor, offset=0.0, cases=1):
        wrong = ["it differs" if i < cases else None for i in range(3)]
        answers = [
            {"value": tuple(v * factor + offset for v in e["value"])} if w else e
            for e, w in zip(exercise.expected, wrong)
        ]
        return likeness(exercise, answers, wrong)

    assert "times" not in of(0.4) and "times 0.4" in of(0.4, cases=3)
    assert "times 0.5" in of(0.5) and "times 2" in of(2.0) and "times ln 2" in of(math.log(2))
    assert "minus" not in of(1.0, -1 / 12, cases=2) and "minus 0.08333" in of(1.0, -1 / 12, cases=3)
    assert "plus 1" in of(1.0, 1.0, cases=2)


def test_a_temperature_is_blamed_only_where_none_of_them_works():
    laws = [(torch.tensor([0.7, 0.3]), t) for t in (1.0, 0.5, 0.25)]

    def drawn(p, temperature):
        return torch.multinomial(p ** (1 / temperature), 3000, replacement=True, generator=G)

    def of(student, names):
        exercise = cases_of(drawn, laws, "distribution")
        exercise.names = names
        return verdict(exercise, [{"value": student(*law)} for law in laws], show=False).wrong

    guess = "a temperature that has no effect"
    assert guess in of(lambda p, t: drawn(p, 1.0), ["p", "temperature"])
    found = of(lambda p, t: drawn(p, 1.0 if t < 0.3 else t), ["p", "temperature"])
    assert "more even" in found and guess not in found
    assert guess not in of(lambda p, t: drawn(p, 1.0), ["p", "share"])


def test_what_holds_in_some_failing_cases_only_is_not_said():
    def sometimes(x):
        return -x if len(x) < 6 else x.cos()

    assert said(torch.Tensor.clone, sometimes, VECTORS) == ""


def test_the_usual_accidents_are_explained_without_their_text():
    exercise = cases_of(torch.Tensor.sum, VECTORS)
    text = "mat1 and mat2 shapes cannot be multiplied (3x4 and 3x4)"
    answers = [{"error": "RuntimeError", "message": text}] * 3
    found = verdict(exercise, answers, show=False).wrong
    assert "a matrix product runs over differ in size" in found and "3x4" not in found
    answers[0] = {"error": "RuntimeError", "message": "another"}
    assert likeness(exercise, answers, ["wrong"] * 3) == ""


def test_what_was_cut_off_below_0_and_what_lost_its_sign():
    inputs = [(torch.tensor(v),) for v in (-2.0, 3.0, -5.0, 4.0)]
    assert "cut off below 0" in said(torch.Tensor.clone, torch.relu, inputs)
    assert "without their minus sign" in said(torch.Tensor.clone, torch.abs, inputs)
    assert "more sharp" in said(rows, lambda x: rows(x**3), TABLES)


def test_labels_and_draws():
    inputs = [(torch.randn(300, 2, generator=G),) for _ in range(3)]
    assert "True too often" in said(lambda x: x[:, 0] > 0, lambda x: x[:, 0] > -1, inputs, "accuracy")
    assert said(lambda x: x[:, 0] > 0, lambda x: x[:, 1] > 0, inputs, "accuracy") == ""
    guesses = "no better than guessing"
    assert guesses in said(lambda x: x.argmax(1), lambda x: x.flip(0).argmax(1), inputs, "accuracy")
    assert said(lambda x: x.argmax(1), lambda x: (x + x.flip(0)).argmax(1), inputs, "accuracy") == ""
    assert guesses not in said(lambda x: x.argmax(1), lambda x: x.argmax(1) * 0, inputs, "accuracy")
    laws = [(torch.tensor(p),) for p in ([0.9, 0.1, 0.0], [0.5, 0.5, 0.0], [0.2, 0.8, 0.0])]

    def drawn(p):
        return torch.multinomial(p, 3000, replacement=True, generator=G)

    assert "that never should" in said(drawn, lambda p: drawn(p + 0.1), laws, "distribution")
    assert "should come never do" in said(drawn, lambda p: drawn(p * torch.tensor([1.0, 0, 0])), laws, "distribution")
    assert "more even" in said(drawn, lambda p: drawn(p.sqrt()), laws[::2], "distribution")


def test_sets_that_hang_on_the_one_before_are_said():
    def sets(n, step):
        first = torch.rand(n // step, 8, generator=G).argsort(1)
        return first[:, : 2 * step].reshape(-1, 2).sort(1).values

    def kept(n):
        return sets(n, 1).repeat_interleave(2, 0)[:n]

    inputs = [(n,) for n in (800, 1200)]
    assert "less than they should in common" in said(lambda n: sets(n, 1), lambda n: sets(n, 4), inputs, "pairs")
    assert "more than they should in common" in said(lambda n: sets(n, 1), kept, inputs, "pairs")


def test_orders_of_the_same_numbers_tell_nothing():
    orders = [(torch.rand(n, 5, generator=G).argsort(1),) for n in (4, 6, 8)]
    assert said(lambda x: x, lambda x: x[:, torch.tensor([1, 0, 4, 2, 3])], orders) == ""
    others = [(x + 10 * torch.arange(len(x))[:, None],) for (x,) in orders]
    assert "in each row the right numbers in another order" in said(
        lambda x: x, lambda x: x[:, torch.tensor([1, 0, 4, 2, 3])], others
    )


def test_whether_chains_go_wrong_at_their_first_draw_is_said():
    laws = [(torch.tensor([[p, 1 - p], [1 - p, p]]),) for p in (0.9, 0.8, 0.95)]

    alike, both = torch.zeros(2000, dtype=torch.long), torch.arange(2000) % 2

    def chains(table, first, then, start=alike):
        rows = [start]
        for t in range(4):
            of = (first if t == 0 else then)(table)[rows[-1]]
            rows.append(torch.multinomial(of, 1, generator=G)[:, 0])
        return torch.stack(rows, 1)

    def right(table):
        return chains(table, lambda t: t, lambda t: t)

    assert "the first draw is wrong already" in said(
        right, lambda table: chains(table, torch.Tensor.sqrt, lambda t: t), laws, "distribution"
    )
    assert "the first draw is right, those after it are not" in said(
        right, lambda table: chains(table, lambda t: t, torch.Tensor.sqrt), laws, "distribution"
    )
    assert (
        "the first draw is wrong already"
        in said(  # from both symbols: each comes as often as the other all the same
            lambda table: chains(table, lambda t: t, lambda t: t, both),
            lambda table: chains(table, torch.Tensor.sqrt, torch.Tensor.sqrt, both),
            laws,
            "pairs",
        )
    )


def test_that_chains_do_not_hang_on_what_came_before_is_said():
    ring = torch.roll(torch.eye(4), 1, 1)
    starts = [(torch.randint(4, (n,), generator=G),) for n in (200, 300, 400)]

    def right(start):
        return torch.stack([start, ring[start].argmax(1), ring[ring[start].argmax(1)].argmax(1)], 1)

    def all_as_the_first(start):
        return torch.stack([start, *(torch.full_like(start, int(start[0] + t) % 4) for t in (1, 2))], 1)

    assert "does not hang on the symbol before it" in said(right, all_as_the_first, starts, "distribution")
    assert "does not hang" not in said(right, lambda s: right(s).clamp(max=1), starts, "distribution")


def test_rows_that_share_their_draws_are_told():
    tables = [(torch.rand(n, n, generator=G) + 0.2,) for n in (3, 4, 5)]

    def chains(table, draw):
        found = [torch.arange(900) % len(table)]
        for _ in range(3):
            found.append(draw(table)[found[-1]])
        return torch.stack(found, 1)

    def right(table):
        found = [torch.arange(900) % len(table)]
        for _ in range(3):
            found.append(torch.multinomial(table[found[-1]], 1, generator=G)[:, 0])
        return torch.stack(found, 1)

    def shared(table):  # one draw for each symbol, whoever stands there
        return torch.multinomial(table, 1, generator=G)[:, 0]

    assert "each draws for itself" in said(right, lambda table: chains(table, shared), tables, "pairs")
    assert "for itself" not in said(right, lambda table: right(table.square()), tables, "pairs")


def test_seldom_steps_that_are_impossible_are_told():
    rings = [(torch.roll(torch.eye(n), 1, 1),) for n in (3, 4, 5)]

    def steps(table):
        here = torch.arange(3000) % len(table)
        return torch.stack([here, torch.multinomial(table[here], 1, generator=G)[:, 0]], 1)

    assert "is something added" in said(steps, lambda table: steps(table + 0.01), rings, "pairs")


def test_of_sets_no_steps_are_spoken_of():
    def sets(n, most):
        return torch.rand(800, most, generator=G).argsort(1)[:, :3].sort(1).values

    sizes = [(n, n) for n in (6, 7, 8)]
    assert said(sets, lambda n, most: sets(n, most - 1), sizes, "pairs") == "numbers that should come never do"

    def neighbours(n, most):
        return torch.randint(n - 2, (800, 1), generator=G) + torch.arange(3)

    assert said(sets, neighbours, sizes, "pairs") == ""


def test_that_large_numbers_stop_is_said_where_ordinary_cases_hold():
    inputs = [(torch.tensor(x),) for x in (0.5, 0.1, 1e-30, 1e-35)]
    exercise = cases_of(lambda p: -p.double().log(), inputs)
    exercise.notes = ["", "", "nearly impossible", "nearly impossible"]

    def of(student):
        return verdict(exercise, [{"value": student(p.double())} for (p,) in inputs], show=False).wrong

    assert "something clamps, or adds a little" in of(lambda p: -(p + 1e-12).log())
    assert "something clamps" not in of(lambda p: -(p.clamp(max=1e-3) * 1e-9).log() if p < 0.01 else -p.log())
    assert "something clamps" not in of(lambda p: -(p + 0.05).log())


def test_nothing_hidden_is_told():
    exercise = cases_of(lambda x: x * 123.25, VECTORS)
    answers = [{"value": x * 0.5 + 7} for (x,) in VECTORS]
    found = likeness(exercise, answers, ["wrong"] * 3)
    assert not any(f"{v:.3g}" in found for e in exercise.expected for v in e["value"].tolist())


def test_the_smallest_failing_case_is_pointed_out_to_the_student_alone():
    inputs = [(torch.rand(100, generator=G),), (torch.rand(3, generator=G),), (torch.rand(2, generator=G),)]
    exercise = cases_of(torch.Tensor.clone, inputs)
    answers = [{"value": x.sin() + x.sum() * x} for (x,) in inputs]
    assert "case 3 is small" in verdict(exercise, answers, show=True).wrong
    assert "is small" not in verdict(exercise, answers, show=False).wrong
    large = cases_of(torch.Tensor.clone, inputs[:1])
    assert "is small" not in verdict(large, answers[:1], show=True).wrong


def test_what_is_small_has_small_numbers():
    inputs = [(20_000, 3), (70_000, 5)]
    exercise = cases_of(lambda a, b: a * b, inputs, "exact")
    answers = [{"value": a * b + a + 7} for a, b in inputs]
    assert "is small" not in verdict(exercise, answers, show=True).wrong
    exercise = cases_of(torch.Tensor.clone, [(torch.tensor([2e4]),)])
    assert "is small" not in verdict(exercise, [{"value": torch.tensor([3.0])}], show=True).wrong
    exercise = cases_of(lambda n: torch.arange(n), [(100,)])
    assert "is small" not in verdict(exercise, [{"value": torch.arange(100) % 7 + 3}], show=True).wrong


def test_whole_numbers_that_were_rounded_are_said():
    inputs = [(2**24 + 3, 5), (2**28 + 17, 7)]

    def rounded(a, b):
        return int(torch.tensor(float(a)) * b)

    assert "float32 holds whole numbers" in said(lambda a, b: a * b, rounded, inputs, "exact")
    assert "float32" not in said(lambda a, b: a * b, lambda a, b: a * b + 1, inputs, "exact")
    nearly = said(torch.Tensor.clone, lambda x: x * 1.0004, VECTORS)
    assert "times 1" not in nearly


def test_one_number_everywhere_is_said():
    assert "all numbers of yours are alike" in said(torch.Tensor.clone, lambda x: x * 0 + 7, VECTORS)


def test_that_large_numbers_stop_is_not_said_where_larger_ones_are_right():
    inputs = [(torch.tensor([1.0, 2.0]),), (torch.tensor([3.0, 4.0]),), (torch.tensor([20.0, 100.0, 1000.0]),)]
    exercise = cases_of(lambda x: x, inputs)
    exercise.notes = ["", "", "large"]

    def of(student):
        answers = [{"value": student(x)} for (x,) in inputs]
        return likeness(exercise, answers, [None, None, "it differs"])

    assert "stops where" in of(lambda x: x.clamp(max=50))
    assert "stops where" not in of(lambda x: torch.where(x == 100, 50, x))


def test_rows_explain_more_than_signs():
    inputs = [(torch.full((n, 3), float(sign)),) for n, sign in ((1, 1), (1, 1), (3, -1), (4, -1))]
    says = said(lambda x: x.sum(1).cos(), lambda x: x[:1].expand(len(x), -1).sum(1).cos() * len(x), inputs)
    assert "more than one row" in says or says.startswith("the right numbers times n"), says
