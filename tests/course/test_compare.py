"""Comparisons: what must hold holds, and what differs is named: first shape, then dtype, then value."""

import pytest
import torch

from autograder.author.exercise import accuracy, close, distribution, exact
from course_utils.check import answer
from course_utils.compare import difference


def say(got, expected, compare=None, truth=None, show=True):
    return difference(compare or close(), {"value": got}, {"value": expected}, truth, show)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.00001])),
        (torch.tensor([1.0, 2.0], dtype=torch.float32), torch.tensor([1.0, 2.0], dtype=torch.float64)),
        (torch.tensor([1, 2], dtype=torch.int32), torch.tensor([1, 2])),
        (torch.tensor(2.5), 2.5),
        (3, 3.0),
        ((1, torch.ones(2)), [1, torch.ones(2)]),
        ({"a": 1.0}, {"a": 1.0}),
        (torch.tensor([float("-inf"), float("nan")]), torch.tensor([float("-inf"), float("nan")])),
        ("text", "text"),
        (None, None),
        (torch.zeros(0), torch.zeros(0)),
    ],
)
def test_different_forms_of_a_right_answer_hold(got, expected):
    assert say(got, expected) is None


@pytest.mark.parametrize(
    ("got", "expected", "says"),
    [
        (torch.ones(3, 2).int(), torch.ones(2, 3), r"shape: expected \(2, 3\), got \(3, 2\)"),
        (torch.ones(1), 1.0, r"shape: expected \(\), got \(1,\)"),
        (torch.ones(2).int(), torch.zeros(2), "dtype: expected floating-point numbers, got integers"),
        (torch.ones(2).bool(), torch.ones(2).int(), "dtype: expected integers, got booleans"),
        (
            torch.tensor([1.0, 2.1]),
            torch.tensor([1.0, 2.0]),
            r"1 of 2 entries differ, the first at \[1\]: expected 2, got 2.1",
        ),
        (torch.tensor([100_000, 1]), torch.tensor([100_001, 1]), "1 of 2 entries differ"),
        (1.0, 2.0, "expected 2, got 1"),
        (float("nan"), 2.0, "got nan"),
        ([1, 2], torch.tensor([1, 2]), r"type: expected a tensor of shape \(2,\), got a list of length 2"),
        ([1, 2], [1, 2, 3], "shape: expected 3 values, got 2"),
        ([1.0, 5.0], [1.0, 2.0], "value 1: value: expected 2, got 5"),
        ({"a": 1}, {"b": 1}, r"keys: expected \['b'\], got \['a'\]"),
        ({"a": 1}, {"a": 2}, "'a': value"),
        ("a", "b", "expected 'b', got 'a'"),
        (None, 1.0, "returned None"),
        (1.0, "a", "type: expected text, got a float"),
        (1033964032.0, 1033964032, r"type: expected an int \(a whole number\), got a float: 1033964032"),
        (0.0, 3, "type: expected an int"),
        (torch.tensor(3.0), 3, "type: expected an int"),
        (33554433, 33554432, "expected 33554432, got 33554433"),
        (torch.tensor([1.0, float("nan")]), torch.tensor([1.0, 2.0]), "1 of 2 entries differ, 1 of them nan"),
        (torch.tensor([True]), torch.tensor([False]), "expected False, got True"),
    ],
)
def test_what_differs_is_named(got, expected, says):
    text = say(got, expected)
    assert text is not None
    import re

    assert re.search(says, text), text


def test_exact_tolerates_nothing():
    assert say(torch.tensor([1.0]), torch.tensor([1.0 + 1e-6]), exact()) is not None
    assert say(torch.tensor([1.0]), torch.tensor([1.0]), exact()) is None


def test_hidden_values_are_not_shown():
    secret = torch.tensor([123456.0, 1.0])
    text = say(torch.tensor([654321.0, 1.0]), secret, show=False)
    assert text == "value: 1 of 2 entries differ"
    for got in ({"error": "Leak123456", "message": "123456"}, {"error": "Banned", "message": "123456"}):
        assert "message" not in difference(close(), got, {"value": secret})
        assert "is 123456" not in difference(close(), got, {"value": secret})
    assert "123456" not in difference(close(), {"error": "E", "message": "123456"}, {"value": secret})
    assert "123456" not in difference(close(), {"error": "Banned", "message": "123456"}, {"value": secret})
    assert "123456" not in say({"123456": 1}, {"a": 1}, show=False)


def test_nan_is_told_where_values_are_not():
    assert say(float("nan"), 2.0, show=False) == "value: it is nan"
    assert say(torch.tensor([float("nan"), 2.0]), torch.ones(2), show=False) == (
        "value: 2 of 2 entries differ, 1 of them nan"
    )


def test_one_answer_for_everything_is_told():
    truth = torch.tensor([0, 1, 2, 1])
    assert say(torch.full((4,), 2), None, accuracy(0.7), truth).endswith("at least 70%: your answer is 2 every time")
    assert "every time" not in say(torch.tensor([2, 2, 2, 0]), None, accuracy(0.7), truth)


def test_an_expected_error_must_be_raised():
    expected = {"error": "ValueError", "message": "smoothing must be ≥ 0"}
    assert difference(close(), {"error": "ValueError", "message": "other words"}, expected) is None
    assert "got an answer" in difference(close(), {"value": 1}, expected)
    assert "raised KeyError" in difference(close(), {"error": "KeyError", "message": ""}, expected)


def chains(transition, n, length, seed):
    g = torch.Generator().manual_seed(seed)
    x = [torch.randint(0, len(transition), (n,), generator=g)]
    for _ in range(length - 1):
        x.append(torch.multinomial(transition[x[-1]], 1, generator=g)[:, 0])
    return torch.stack(x, 1)


P = torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]])


def test_draws_from_the_same_law_hold_for_every_seed():
    for seed in range(200):
        pair = [
            torch.multinomial(P[0], 2000, replacement=True, generator=torch.Generator().manual_seed(2 * seed + k))
            for k in (0, 1)
        ]
        assert say(*pair, distribution()) is None
    for seed in range(100):
        assert say(chains(P, 100, 20, 2 * seed), chains(P, 100, 20, 2 * seed + 1), distribution(of="pairs")) is None


def test_draws_from_another_law_do_not_hold():
    expected = chains(P, 200, 20, 0)
    for wrong in (P.T / P.T.sum(1, keepdim=True), P.softmax(1), P[[1, 0, 2]], P**2 / (P**2).sum(1, keepdim=True)):
        assert "another distribution" in say(chains(wrong, 200, 20, 1), expected, distribution(of="pairs"))
    same_chain = chains(P, 1, 20, 3).expand(200, 20)
    assert say(same_chain, expected, distribution(of="pairs")) is not None
    one_start = chains(P, 200, 20, 1)
    one_start[:, 0] = 0
    assert say(one_start, expected, distribution(of="pairs")) is not None


def test_rows_that_hang_on_those_above_do_not_hold():
    def rows(seed):
        return torch.randint(3, (900, 1), generator=torch.Generator().manual_seed(seed))

    in_turns = torch.cat([torch.randperm(3, generator=torch.Generator().manual_seed(k)) for k in range(300)])[:, None]
    assert say(in_turns, rows(1), distribution(of="pairs")) is not None
    assert say(in_turns, rows(1), distribution(of="values")) is None  # each comes as often as the others
    assert all(say(rows(2 * k), rows(2 * k + 1), distribution(of="pairs")) is None for k in range(100))


def test_draws_outside_the_alphabet_do_not_hold():
    expected = torch.zeros(500, dtype=torch.long)
    assert say(torch.full((500,), 10**15), expected, distribution()) is not None
    assert say(torch.full((500,), -(10**15)), expected, distribution()) is not None
    pairs = torch.zeros(100, 10, dtype=torch.long)
    assert say(pairs + 1, pairs, distribution(of="pairs")) is not None


def test_accuracy_is_of_the_truth_and_not_of_the_reference():
    truth = ["a", "b", "a", "b"]
    assert say(["a", "b", "a", "a"], ["?"] * 4, accuracy(0.75), truth) is None
    assert "accuracy 50.0%, wanted at least 75%" in say(["a", "a", "a", "a"], truth, accuracy(0.75), truth)
    assert "shape: expected 4 values, got 3" in say(["a"] * 3, truth, accuracy(0.75), truth)
    assert "type" in say([0, 1, 0, 1], truth, accuracy(0.75), truth)
    assert say(torch.tensor([0, 1, 1]), None, accuracy(0.6), torch.tensor([0, 1, 0])) is None


def test_values_too_odd_to_compare_never_raise():
    deep = []
    for _ in range(100):
        deep = [deep]
    for got in (
        deep,
        {"x": deep},
        torch.zeros(2, dtype=torch.complex64),
        torch.ones(3).to(torch.float8_e5m2),
        "x" * 10**6,
    ):
        for expected in (1.0, torch.zeros(3), [1], {"x": 1}, "y"):
            for compare in (
                close(),
                exact(),
                distribution(),
                distribution(of="pairs"),
                accuracy(0.5),
                accuracy(0.5, "gallery"),
            ):
                assert say(got, expected, compare, truth=["a"]) is not None


def test_what_cannot_be_judged_was_returned_not_raised():
    got = answer(lambda: (torch.ones(2), {3}), ())
    said = "what it returned cannot be judged"
    assert difference(close(), got, {"value": torch.ones(2)}, show=True).startswith(
        f"{said}: expected numbers, text, tensors"
    )
    assert difference(close(), got, {"value": torch.ones(2)}, show=False) == said
    assert difference(close(), got, {"error": "TypeError", "message": ""})


def test_an_error_that_a_student_made_up_is_not_named_where_inputs_are_hidden():
    """Its name could be made of them."""
    for name, told in (("E3712", "an error"), ("KeyError", "KeyError"), ("LinAlgError", "LinAlgError")):
        said = difference(close(), {"error": name, "message": "0.3712"}, {"value": 1.0})
        assert said == f"raised {told}"
    assert "E3712: 0.3712" in difference(close(), {"error": "E3712", "message": "0.3712"}, {"value": 1.0}, show=True)


def test_what_takes_too_long_is_told_to_train_less_where_it_may_train():
    late = {"error": "TooLong", "message": "the call took more than 3 s of processor time"}
    assert "fewer Python loops" in difference(close(), late, {"value": 1.0})
    assert "trains" not in difference(close(), late, {"value": 1.0})
    assert "fewer steps, each on one batch" in difference(accuracy(0.8), late, {"value": ["a"]}, ["a"])
