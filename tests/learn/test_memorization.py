"""course_utils.learn.privacy: against slow versions that look at every place, and against values computed by hand."""

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils.learn import privacy
from course_utils.learn.privacy import (
    Match,
    PassageIndex,
    common_runs,
    exposure,
    longest_match,
    ngram_overlap,
    verbatim,
)

TEXT = "a rose is a rose is a rose said she".split()

few_words = st.lists(st.sampled_from("abc"), max_size=14)  # many repeats


def slow_places(passage, source):
    return [i for i in range(len(source) - len(passage) + 1) if source[i : i + len(passage)] == passage]


def slow_longest(written, source):
    """The length of the longest common run, by trying all."""
    runs = (written[i:j] for i in range(len(written)) for j in range(i + 1, len(written) + 1))
    return max((len(run) for run in runs if slow_places(run, source)), default=0)


def test_the_places_of_a_passage():
    index = PassageIndex(TEXT)
    assert index.places(["a", "rose"]) == [0, 3, 6]
    assert index.count(["rose", "is"]) == 2
    assert index.places(["rose", "a"]) == []
    assert index.count(TEXT) == 1
    assert index.count([*TEXT, "so"]) == 0
    assert len(index) == 10


@given(few_words, st.lists(st.sampled_from("abc"), min_size=1, max_size=4))
def test_places_are_those_of_a_search_of_the_whole_text(source, passage):
    index = PassageIndex(source)
    assert index.places(passage) == slow_places(passage, source)
    assert index.count(passage) == len(slow_places(passage, source))


@given(few_words, few_words)
def test_the_longest_match_is_that_of_trying_all(written, source):
    start, length, place = PassageIndex(source).longest_match(written)
    assert length == slow_longest(written, source)
    assert written[start : start + length] == source[place : place + length]


@given(few_words)
def test_places_are_in_the_order_of_the_rest_of_the_text(source):
    order = PassageIndex(source).order.tolist()
    assert order == sorted(range(len(source)), key=lambda i: source[i:])


def test_longest_match_of_a_list():
    match = longest_match("he said a rose is red".split(), TEXT)
    assert (match.start, match.length) == (2, 3)
    assert match.place in (0, 3)
    assert longest_match([], TEXT) == longest_match(["nothing", "like", "it"], TEXT) == Match(0, 0, 0)
    assert longest_match(["x"], []) == Match(0, 0, 0)


def test_a_text_with_one_word_again_and_again_is_indexed():
    index = PassageIndex(["la"] * 3000)
    assert index.count(["la"] * 2999) == 2
    assert index.longest_match(["la"] * 4000).length == 3000


def test_a_long_text_is_indexed_in_time_and_searched_at_once():
    draw = random.Random(0)
    source = [str(draw.randrange(2000)) for _ in range(200_000)]
    index = PassageIndex(source)
    assert index.longest_match(source[1000:1400]) == Match(0, 400, 1000)


def test_a_str_is_no_list_of_words():
    with pytest.raises(TypeError, match="split"):
        PassageIndex("a rose")


def test_the_empty_passage_has_no_places():
    with pytest.raises(ValueError, match="no words"):
        PassageIndex(TEXT).places([])


def test_verbatim_counts_up_to_the_first_difference():
    assert verbatim("a b c d".split(), "a b x d".split()) == 2
    assert verbatim(["a"], ["a", "b"]) == 1
    assert verbatim([], ["a"]) == 0


def test_common_runs_are_marked_in_both():
    written, truth = "the shape of an array is".split(), "of an array the shape is".split()
    marks = common_runs(written, truth)
    assert [w for w, m in zip(written, marks[0]) if m] == ["of", "an", "array"]
    assert [w for w, m in zip(truth, marks[1]) if m] == ["of", "an", "array"]
    assert common_runs(written, truth, least=4) == ([False] * 6, [False] * 6)
    assert common_runs([], truth) == ([], [False] * 6)


# --- exposure ---------------------------------------------------------------------------------------------------------


def test_exposure_of_the_first_the_middle_and_the_last_of_eight():
    log_p = torch.arange(8.0)
    assert exposure(log_p, 7) == 3
    assert exposure(log_p, 4) == 1  # rank 4 of 8
    assert exposure(log_p, 0) == 0


def test_exposure_of_equal_scores_is_the_cautious_one():
    assert exposure(torch.zeros(16), 3) == 0


def test_exposure_of_secrets_that_were_never_seen_is_1_44_bits_on_average():
    generator = torch.Generator().manual_seed(0)
    found = [exposure(torch.randn(1000, generator=generator), 17) for _ in range(2000)]
    assert sum(found) / len(found) == pytest.approx(1 / math.log(2), abs=0.15)


@pytest.mark.parametrize("log_p, secret", [(torch.zeros(4), 4), (torch.zeros(4), -1), (torch.zeros(2, 2), 0)])
def test_exposure_wants_a_secret_among_the_candidates(log_p, secret):
    with pytest.raises(ValueError, match="candidates"):
        exposure(log_p, secret)


def test_exposure_of_a_broken_model_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        exposure(torch.tensor([0.0, math.nan]), 0)


# --- contamination ----------------------------------------------------------------------------------------------------


def test_overlap_is_the_share_of_the_ngrams_that_occur():
    assert ngram_overlap("a rose is red".split(), TEXT, n=2) == pytest.approx(2 / 3)  # a rose, rose is; not: is red
    assert ngram_overlap("said she".split(), TEXT, n=13) == 1
    assert ngram_overlap("she said".split(), TEXT, n=13) == 0
    assert ngram_overlap(TEXT, PassageIndex(TEXT), n=4) == 1


@pytest.mark.parametrize("words, n, said", [(["a"], 0, "≥ 1"), ([], 8, "no words")])
def test_overlap_says_what_it_cannot_do(words, n, said):
    with pytest.raises(ValueError, match=said):
        ngram_overlap(words, TEXT, n)


def test_every_public_name_is_documented():
    for name in ("Match", "PassageIndex", "longest_match", "verbatim", "common_runs", "exposure", "ngram_overlap"):
        assert getattr(privacy, name).__doc__
