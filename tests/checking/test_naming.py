"""A known mistake is named where it explains every case that fails, and never another one."""

import dataclasses

import pytest
import torch

from autograder.author.exercise import Case, Exercise, accuracy, close, complete, distribution
from course_utils import readers
from course_utils.check import answer, verdict
from course_utils.models.convnet import small_encoder
from course_utils.plain import Seed


def exercise_of(compare, draw, mistakes):
    exercise = Exercise("f", points=1, compare=compare)
    exercise.cases(draw)
    for function in mistakes:
        exercise.mistake(f"hint of {function.__name__}")(function)
    return exercise


def judged(exercise, right, student):
    cases = exercise.build(0)
    complete(cases, [answer(right, ask) for ask in cases.asks])
    return verdict(cases, [answer(student, ask) for ask in cases.asks], show=True)


# --- numbers: the mean of what is there, 0 for nothing ----------------------------------------------------------------


def means(g):
    yield torch.tensor([1.0, 2.0, 6.0])
    yield torch.rand(4, generator=g)
    yield torch.rand(7, generator=g)
    yield torch.zeros(0)


def mean(x):
    return x.sum() / max(len(x), 1)


def summed(x):
    return x.sum()


def nan_for_nothing(x):
    return x.mean()


def over_n_minus_1(x):
    return x.sum() / (len(x) - 1)


MEAN = exercise_of(close(), means, [nan_for_nothing, over_n_minus_1])


def test_it_is_named_where_the_corner_case_was_handled():
    def careful(x):
        return x.sum() / (len(x) - 1) if len(x) else torch.tensor(0.0)

    result = judged(MEAN, mean, careful)
    assert (result.held, result.mistake) == (1, "over_n_minus_1")


def test_it_is_named_although_another_case_took_too_long():
    cases = MEAN.build(0)
    complete(cases, [answer(mean, ask) for ask in cases.asks])
    answers = [answer(over_n_minus_1, ask) for ask in cases.asks]
    answers[1] = {"error": "TooLong", "message": "the call took more than 3 s of processor time"}
    assert verdict(cases, answers, show=True).mistake == "over_n_minus_1"
    assert verdict(cases, [answers[1]] * len(answers), show=True).mistake is None


def test_it_is_not_named_where_it_explains_only_some_of_what_fails():
    def two_mistakes(x):
        return x.sum() / (len(x) - 1) if len(x) > 4 else x.sum()

    assert judged(MEAN, mean, two_mistakes).mistake is None


def test_one_label_for_all_names_a_mistake_that_says_the_same_elsewhere_too():
    def cases(g):
        yield Case((torch.tensor([1, 2, 9, 9, 3, 8]),), truth=torch.tensor([0, 0, 1, 1, 0, 1]))
        yield Case((torch.tensor([5, 6, 3, 2]),), truth=torch.tensor([1, 1, 0, 0]))

    def only_huge_ones(x):
        return (x > 7).long()

    exercise = exercise_of(accuracy(0.8), cases, [only_huge_ones])
    right = lambda x: (x > 4).long()  # noqa: E731
    assert judged(exercise, right, only_huge_ones).mistake == "only_huge_ones"
    other = judged(exercise, right, lambda x: (x > 8).long())
    assert (other.held, other.mistake) == (1, None)


def test_it_is_not_named_where_it_fails_more_than_it_explains():
    def absolute(x):
        return abs(x.sum() / max(len(x), 1))

    def signs_turned(x):
        return -mean(x)

    def draw(g):
        for x in ([1.0, 2.0], [3.0, 4.0, 5.0], [-1.0, -3.0], [2.0]):
            yield torch.tensor(x)

    exercise = exercise_of(close(), draw, [signs_turned])
    assert judged(exercise, mean, absolute).held == 3 and judged(exercise, mean, absolute).mistake is None
    assert judged(exercise, mean, signs_turned).mistake == "signs_turned"


def test_nan_alone_is_no_evidence():
    assert judged(MEAN, mean, nan_for_nothing).mistake == "nan_for_nothing"
    assert judged(MEAN, mean, lambda x: mean(x) * (1 if len(x) == 4 else float("nan"))).mistake is None
    assert judged(MEAN, mean, lambda x: mean(x) if len(x) == 4 else x.mean() * float("nan")).mistake is None


def test_another_error_of_the_same_kind_is_not_named():
    def raises(x):
        raise ValueError("this")

    exercise = exercise_of(close(), means, [raises])
    assert judged(exercise, mean, raises).mistake == "raises"

    def raises_too(x):
        raise ValueError("that")

    assert judged(exercise, mean, raises_too).mistake is None


def test_the_more_specific_one_is_named_or_none():
    def doubled_if_long(x):
        return mean(x) * (2 if len(x) > 4 else 1)

    def doubled(x):
        return mean(x) * 2

    def doubled_if_odd(x):
        return mean(x) * (2 if len(x) in (3, 7) else 1)

    both = exercise_of(close(), means, [doubled, doubled_if_long])
    assert judged(both, mean, doubled_if_long).mistake == "doubled_if_long"
    assert judged(both, mean, doubled).mistake == "doubled"
    twins = exercise_of(close(), means, [doubled_if_odd, lambda x: mean(x) * (1 if len(x) == 3 else 2)])
    assert judged(twins, mean, doubled_if_long).mistake is None


# --- labels -----------------------------------------------------------------------------------------------------------


def signs(g):
    for _ in range(4):
        x = torch.randn(60, 2, generator=g)
        yield Case((x,), x.sum(1) > 0)


def both_positive(x):
    return (x > 0).all(1)


def first_alone(x):
    return x[:, 0] > 0


SIGNS = exercise_of(accuracy(0.9), signs, [both_positive, first_alone])


def test_labels_are_a_mistakes_if_they_err_where_it_errs():
    assert judged(SIGNS, lambda x: x.sum(1) > 0, first_alone).mistake == "first_alone"

    def nearly(x):
        found = x[:, 0] > 0
        found[:1] = ~found[:1]
        return found

    assert judged(SIGNS, lambda x: x.sum(1) > 0, nearly).mistake == "first_alone"
    for other in (lambda x: x[:, 1] > 0, lambda x: x.amin(1) > 0.5, lambda x: x[:, 0] > 0.4):
        assert judged(SIGNS, lambda x: x.sum(1) > 0, other).mistake is None


def test_one_label_for_all_is_no_mistake_but_one_that_gives_it():
    always = exercise_of(accuracy(0.9), signs, [lambda x: x.sum(1) > -9 + 1e-9 * x[:, 0]])
    found = judged(always, lambda x: x.sum(1) > 0, lambda x: torch.ones(len(x), dtype=torch.bool))
    assert found.mistake and "every time" in found.wrong
    seldom = exercise_of(accuracy(0.9), signs, [lambda x: x.sum(1) > -3])
    assert judged(seldom, lambda x: x.sum(1) > 0, lambda x: torch.ones(len(x), dtype=torch.bool)).mistake is None


# --- draws ------------------------------------------------------------------------------------------------------------


def laws(g):
    for p in ([1.0, 0.0, 0.0], [0.7, 0.2, 0.1], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]):
        yield torch.tensor(p), Seed(int(torch.randint(2**31, (), generator=g)))


def drawn(p, generator):
    return torch.multinomial(p, 3000, replacement=True, generator=generator)


def uniform(p, generator):
    return drawn(torch.ones(3), generator)


def test_draws_are_a_mistakes_if_they_follow_its_law():
    exercise = exercise_of(distribution(), laws, [uniform])
    assert judged(exercise, drawn, uniform).mistake == "uniform"
    assert judged(exercise, drawn, lambda p, g: uniform(p, g) if p[1] else drawn(p, g)).mistake == "uniform"
    assert judged(exercise, drawn, lambda p, g: drawn(torch.tensor([0.2, 0.4, 0.4]), g)).mistake is None


# --- networks that a reader reads -------------------------------------------------------------------------------------


def bright_and_dark(g):
    """Cards of one colour, to be found again among the same colours."""
    gallery = torch.rand(6, 3, 1, 1, generator=g).mul(255).to(torch.uint8).expand(6, 3, 8, 8).clone()
    yield Case((3,), {"gallery": gallery, "new": gallery.flip(0), "labels": torch.arange(5, -1, -1)})


def trained(x):
    """Weights beyond those that are drawn, all of one size."""
    torch.manual_seed(x)
    encoder = small_encoder(out=64)
    for layer in encoder:
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data *= 3
    return encoder


def untrained(x):
    return small_encoder(out=64)


def collapsed(x):
    encoder = trained(x)
    encoder[-1].bias.data += 1e3
    return encoder


def died(x):
    encoder = trained(x)
    encoder[6].bias.data.fill_(-1e3)
    return encoder


def test_of_a_network_a_file_of_cases_keeps_what_is_read_from_it():
    exercise = exercise_of(accuracy(0.9, reader="gallery"), bright_and_dark, [died])
    (kept,) = exercise.build(0).mistakes[0].answers
    assert kept["value"].shape == (6,) and kept["symptom"] == "dead"
    assert judged(exercise, trained, trained).held == 1


@pytest.mark.parametrize("student", [untrained, collapsed, died])
def test_a_network_is_named_by_what_went_wrong_in_its_training_whatever_its_labels_are(student, monkeypatch):
    blind = dataclasses.replace(readers.READERS["gallery"], labels=lambda *_: torch.zeros(6, dtype=torch.int64))
    monkeypatch.setitem(readers.READERS, "gallery", blind)
    exercise = exercise_of(accuracy(0.9, reader="gallery"), bright_and_dark, [untrained, collapsed, died])
    cases = exercise.build(0)
    complete(cases, [{"value": cases.truths[0]["labels"], "read": True}])
    found = verdict(cases, [answer(student, ask) for ask in cases.asks], show=True)
    assert (found.held, found.mistake) == (0, student.__name__)


def test_a_mistake_whose_network_is_as_good_is_refused():
    with pytest.raises(ValueError, match="the mistake trained passes every case"):
        judged(exercise_of(accuracy(0.9, reader="gallery"), bright_and_dark, [trained]), trained, trained)
