"""Assignment 3 is fair: all right answers score full, each known mistake loses its exercise and is named."""

import math

import pytest
import torch
import torch.nn.functional as F
from assignment_tests import *  # noqa: F403
from assignment_tests import Assignment
from torch import nn

from course_utils import pretrained
from course_utils.check import answer
from course_utils.learn import losses
from course_utils.models import transformer
from course_utils.models.sampling import next_token_probabilities


class Nothing(nn.Module):
    """A guess: parameters of the right names, and what comes in goes out."""

    def __init__(self, dim, heads):
        super().__init__()
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.heads = heads

    def forward(self, x, past=None):
        B, T, D = x.shape
        return x, (torch.zeros(B, self.heads, T, D // self.heads),) * 2


class NothingBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Nothing(dim, heads)
        self.mlp = nn.ModuleDict({"up": nn.Linear(dim, 4 * dim), "down": nn.Linear(4 * dim, dim)})

    def forward(self, x, past=None):
        return self.attention(x, past)


class NothingGPT(nn.Module):
    def __init__(self, vocab_size, context, dim, layers, heads):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab_size, dim), nn.Embedding(context, dim)
        self.blocks = nn.ModuleList(NothingBlock(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens, past=None):
        x = self.tokens(tokens)
        return x @ self.tokens.weight.T, [block(x)[1] for block in self.blocks]


ASSIGNMENT = Assignment(
    "a3_gpt",
    guesses={
        "causal_attention": lambda q, k, v: (v[..., -q.shape[-2] :, :], torch.ones(*q.shape[:-1], k.shape[-2])),
        "SelfAttention": Nothing,
        "Block": NothingBlock,
        "count_parameters": lambda V, C, D, L, H: 12 * L * D**2 + V * D,
        "next_token_loss": lambda logits, tokens: torch.tensor(math.log(logits.shape[-1])),
        "next_probabilities": lambda logits, *how: logits.softmax(-1),
        "GPT": NothingGPT,
    },
    names={"torch": torch, "math": math, "nn": nn, "F": F},
)


@pytest.fixture(scope="module")
def trained():
    return pretrained.load("gpt-small")[0]


def filled(name: str, *init, state: dict) -> nn.Module:
    """The solution's class with these weights."""
    module = ASSIGNMENT.solution(name)(*init)
    module.load_state_dict(state)
    return module.eval()


def part(model: nn.Module, prefix: str) -> dict:
    return {n.removeprefix(prefix): w for n, w in model.state_dict().items() if n.startswith(prefix)}


def first_answer(name: str, case: int = 0):
    inputs = ASSIGNMENT.cases(name, 0).inputs[case]
    return answer(ASSIGNMENT.solution(name), inputs)["value"]


def test_examples_by_hand_are_what_the_solution_gives():
    y, weights = first_answer("causal_attention")
    assert y[0, 0, :, 0].tolist() == pytest.approx([8, 5])
    assert weights[0, 0].tolist() == [[1, 0], pytest.approx([0.25, 0.75])]
    assert first_answer("causal_attention", 1)[0][0, 0, :, 0].tolist() == pytest.approx([5])
    assert first_answer("SelfAttention")[0][0].tolist() == [[1, 2, 3, 4], [3, 4, 5, 6]]
    y, (k, v) = first_answer("SelfAttention", 1)
    assert y[0].tolist() == [[3, 4, 5, 6]]
    assert k.eq(0).all() and v.transpose(1, 2).reshape(2, 4).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert first_answer("Block")[0][0].tolist() == [[11, 23], [31, 53]]
    assert first_answer("count_parameters") == 32
    assert float(first_answer("next_token_loss")) == pytest.approx(math.log(4))
    for case, expected in ((0, [2 / 3, 1 / 3, 0, 0]), (1, [2 / 3, 1 / 3, 0, 0]), (2, [2 / 3, 1 / 6, 1 / 6])):
        assert first_answer("next_probabilities", case)[0].tolist() == pytest.approx(expected)
    assert first_answer("GPT")[0][0].tolist() == [pytest.approx(row, abs=1e-4) for row in ([1, -1], [-1, 1])]
    assert first_answer("GPT", 1)[0][0, 0].tolist() == pytest.approx([-1, 1], abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_functions_are_the_librarys(seed):
    g = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, 2, 3, 7, 4, generator=g)
    visible = transformer.visible_keys(4, 7, causal=True)
    ours = ASSIGNMENT.solution("causal_attention")(q[:, :, 3:], k, v)
    theirs = transformer.attention(q[:, :, 3:], k, v, visible)
    torch.testing.assert_close(ours, theirs)
    logits, tokens = torch.randn(4, 9, 7, generator=g), torch.randint(7, (4, 9), generator=g)
    torch.testing.assert_close(
        ASSIGNMENT.solution("next_token_loss")(logits, tokens), losses.next_token_loss(logits, tokens)
    )
    for how in ((1.0, None, None), (0.7, 3, None), (1.4, None, 0.8), (0.9, 4, 0.6), (0, None, None)):
        ours = ASSIGNMENT.solution("next_probabilities")(logits[:, 0], *how)
        torch.testing.assert_close(ours, next_token_probabilities(logits[:, 0], *how))


def test_count_is_that_of_the_model_that_was_built(trained):
    c = trained.config
    found = ASSIGNMENT.solution("count_parameters")(c.vocab_size, c.context, c.dim, c.layers, c.heads)
    assert found == sum(p.numel() for p in trained.parameters())


@torch.no_grad()
def test_parts_with_trained_weights_give_what_the_librarys_give(trained):
    c, x = trained.config, torch.randn(2, 9, trained.config.dim, generator=torch.Generator().manual_seed(0))
    attention = filled("SelfAttention", c.dim, c.heads, state=part(trained, "blocks.1.attention."))
    torch.testing.assert_close(attention(x)[0], trained.blocks[1].attention(x, None, True, None, None))
    block = filled("Block", c.dim, c.heads, state=part(trained, "blocks.1."))
    torch.testing.assert_close(block(x)[0], trained.blocks[1](x, None, True, None, None))


@torch.no_grad()
def test_whole_with_trained_weights_gives_the_librarys_logits_with_and_without_cache(trained):
    c = trained.config
    model = filled("GPT", c.vocab_size, c.context, c.dim, c.layers, c.heads, state=trained.state_dict())
    tokens = torch.randint(c.vocab_size, (2, c.context), generator=torch.Generator().manual_seed(0))
    expected = trained(tokens)
    torch.testing.assert_close(model(tokens)[0], expected, rtol=1e-4, atol=1e-4)
    found, past = [], None
    for chunk in tokens.split([1, 5, 1, 60, 61], dim=1):
        logits, past = model(chunk, past)
        found.append(logits)
    torch.testing.assert_close(torch.cat(found, 1), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "ban"),
    [
        ("causal_attention", lambda q, k, v: (F.scaled_dot_product_attention(q, k, v), q)),
        ("causal_attention", lambda q, k, v: transformer.attention(q, k, v)),
        ("next_token_loss", lambda z, x: F.cross_entropy(z[:, :-1].flatten(0, 1), x[:, 1:].flatten())),
        ("next_token_loss", lambda z, x: nn.CrossEntropyLoss()(z[:, :-1].flatten(0, 1), x[:, 1:].flatten())),
        ("next_token_loss", losses.next_token_loss),
        ("next_probabilities", next_token_probabilities),
    ],
)
def test_library_functions_earn_nothing(name, ban):
    result = ASSIGNMENT.judged(ban, name)
    assert result.points == 0 and "build it yourself" in result.message, result.message


def test_library_classes_earn_nothing():
    class Bought(Nothing):
        def forward(self, x, past=None):
            multihead = nn.MultiheadAttention(x.shape[-1], self.heads, batch_first=True)
            return multihead(x, x, x)[0], super().forward(x)[1]

    result = ASSIGNMENT.judged(Bought, "SelfAttention")
    assert result.points == 0 and "build it yourself" in result.message, result.message
    result = ASSIGNMENT.judged(lambda V, C, D, L, H: transformer.GPT(transformer.Config(V, C, D, L, H)), "GPT")
    assert result.points == 0 and "build it yourself" in result.message, result.message


def test_parameters_of_another_name_are_said(assignment):
    class Misnamed(Nothing):
        def __init__(self, dim, heads):
            super().__init__(dim, heads)
            self.projection = self.out
            del self.out

    result = assignment.judged(Misnamed, "SelfAttention")
    assert result.points == 0
    assert "missing out.weight (4, 4)" in result.message and "unexpected projection.weight" in result.message
