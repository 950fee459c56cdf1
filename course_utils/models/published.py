"""How large the well-known models are: each built from its published shape, without weights, and counted.

    for model in published.MODELS:
        print(model.name, published.count(model), "published:", model.claim)

Everything is built on torch's meta device, where a tensor has a shape but no content, so GPT-3 fits on a laptop.
Nothing is downloaded: the shapes are written down here, with where they were published.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

VISION, BOTH_WAYS, NEXT_TOKEN = "vision", "language, reads both ways", "language, predicts the next token"


@dataclass(frozen=True)
class Published:
    """A model, what was published about its size, and how to build it."""

    name: str
    year: int
    family: str
    claim: str  # the published number, as the source gives it
    parameters: float  # the same as a number
    source: str  # where it was published
    shape: str  # in a few words
    build: Callable[[], nn.Module]


def count(model: Published) -> int:
    """Return the number of parameters of a model, built on the meta device. A tied tensor counts once."""
    with torch.device("meta"):
        return sum(p.numel() for p in model.build().parameters())


def _torchvision(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import torchvision

        return torchvision.models.get_model(name, weights=None)

    return build


def _bert_base() -> nn.Module:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=30522,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
        type_vocab_size=2,
    )
    return BertModel(config)


def _modernbert(layers: int, width: int, heads: int, hidden: int) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from transformers import ModernBertConfig, ModernBertModel

        config = ModernBertConfig(
            vocab_size=50368,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=hidden,
            attn_implementation="eager",
        )
        return ModernBertModel(config)

    return build


def _gpt2_xl() -> nn.Module:
    from transformers import GPT2Config, GPT2Model

    return GPT2Model(GPT2Config(vocab_size=50257, n_positions=1024, n_embd=1600, n_layer=48, n_head=25))


def _gpt3() -> nn.Module:
    from course_utils.models.transformer import GPT, Config

    return GPT(Config(vocab_size=50257, context=2048, dim=12288, layers=96, heads=96))


MODELS = (
    Published(
        "AlexNet",
        2012,
        VISION,
        "60 M",
        60e6,
        "Krizhevsky et al. (2012), abstract",
        "5 convolutions, 3 dense layers (torchvision's is the variant of 2014)",
        _torchvision("alexnet"),
    ),
    Published(
        "ResNet-50",
        2015,
        VISION,
        "25 M",
        25e6,
        "usual figure; He et al. (2015) give the shape",
        "50 layers",
        _torchvision("resnet50"),
    ),
    Published(
        "BERT-base",
        2018,
        BOTH_WAYS,
        "110 M",
        110e6,
        "Devlin et al. (2018), section 3",
        "L = 12, D = 768, V = 30,522",
        _bert_base,
    ),
    Published(
        "GPT-2 XL",
        2019,
        NEXT_TOKEN,
        "1.5 B",
        1.5e9,
        "Radford et al. (2019), abstract",
        "L = 48, D = 1600, V = 50,257",
        _gpt2_xl,
    ),
    Published(
        "GPT-3",
        2020,
        NEXT_TOKEN,
        "175 B",
        175e9,
        "Brown et al. (2020), table 2.1",
        "L = 96, D = 12,288, V = 50,257",
        _gpt3,
    ),
    Published(
        "ModernBERT-base",
        2024,
        BOTH_WAYS,
        "149 M",
        149e6,
        "Warner et al. (2024), section 2",
        "L = 22, D = 768, gated MLP of 1152, V = 50,368",
        _modernbert(22, 768, 12, 1152),
    ),
    Published(
        "ModernBERT-large",
        2024,
        BOTH_WAYS,
        "395 M",
        395e6,
        "Warner et al. (2024), section 2",
        "L = 28, D = 1024, gated MLP of 2624, V = 50,368",
        _modernbert(28, 1024, 16, 2624),
    ),
)
