"""The sizes of well-known models: counted on the meta device, against layer-by-layer sums and the published numbers."""

import pytest
import torch

from course_utils.models import published

BY_NAME = {model.name: model for model in published.MODELS}


@pytest.mark.parametrize("model", published.MODELS, ids=list(BY_NAME))
def test_counts_are_near_the_published_numbers(model):
    assert published.count(model) == pytest.approx(model.parameters, rel=0.05)


def test_nothing_has_any_content():
    with torch.device("meta"):
        assert {p.device.type for p in BY_NAME["GPT-3"].build().parameters()} == {"meta"}


def transformer_sum(layers, D, V, context):
    """Matrices and biases of a block, two norms; token and position vectors; the last norm."""
    block = D * 3 * D + 3 * D + D * D + D + D * 4 * D + 4 * D + 4 * D * D + D + 4 * D
    return layers * block + V * D + context * D + 2 * D


def test_gpts_by_sum():
    assert published.count(BY_NAME["GPT-2 XL"]) == transformer_sum(48, 1600, 50257, 1024)
    assert published.count(BY_NAME["GPT-3"]) == transformer_sum(96, 12288, 50257, 2048)


def test_bert_by_sum():
    """The same block; token types; a norm before the blocks in place of the one after; the pooler."""
    wanted = transformer_sum(12, 768, 30522, 512) + 2 * 768 + 768 * 768 + 768
    assert published.count(BY_NAME["BERT-base"]) == wanted


def test_modernbert_by_sum():
    """No biases; a gated MLP has two matrices up; the first layer has no norm before attention; rotary positions."""
    for name, layers, D, hidden in (("ModernBERT-base", 22, 768, 1152), ("ModernBERT-large", 28, 1024, 2624)):
        block = 4 * D * D + 3 * D * hidden + 2 * D
        assert published.count(BY_NAME[name]) == layers * block - D + 50368 * D + D + D
