"""Perplexity and bits, against numbers that can be worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils import evaluate
from course_utils.models.ngram import NGramModel


def test_bits_of_known_probabilities():
    assert evaluate.bits(-math.log(1 / 8)) == pytest.approx(3)
    assert evaluate.bits(0) == 0
    torch.testing.assert_close(evaluate.bits(-torch.tensor([1 / 2, 1 / 4]).log()), torch.tensor([1.0, 2.0]))


def test_perplexity_is_the_number_of_equally_likely_symbols():
    assert evaluate.perplexity(math.log(27)) == pytest.approx(27)
    assert evaluate.perplexity(0) == 1
    logits = torch.zeros(5, 65)  # a model that knows nothing
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(5))
    assert evaluate.perplexity(loss).item() == pytest.approx(65, rel=1e-6)


@pytest.mark.parametrize("nats", [1000, math.inf, torch.tensor(1000.0), torch.tensor(math.inf)])
def test_perplexity_of_a_huge_loss_is_infinite(nats):
    assert evaluate.perplexity(nats) == math.inf


@given(st.floats(0, 500))
def test_perplexity_is_two_to_the_bits(nats):
    assert evaluate.perplexity(nats) == pytest.approx(2 ** evaluate.bits(nats), rel=1e-9)


def test_bits_per_character():
    assert evaluate.bits_per_character(10 * math.log(2), characters=5) == pytest.approx(2)
    text = "to be or not to be"
    model = NGramModel(2).fit(text)
    expected = evaluate.bits_per_character(-model.log_probability(text), len(text))
    assert model.bits_per_character(text) == pytest.approx(expected)


@pytest.mark.parametrize("characters", [0, -1])
def test_bits_per_character_of_an_empty_text(characters):
    with pytest.raises(ValueError, match="characters must be > 0, got"):
        evaluate.bits_per_character(1.0, characters)
