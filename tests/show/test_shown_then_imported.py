"""What a lecture writes out is what the library has: the lecture's own cells against `course_utils`, on random inputs.

(Each lecture also checks itself while it runs; here the inputs are others, and more.)
"""

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from course_utils import runtime
from course_utils.learn import pretext
from course_utils.models import transformer
from course_utils.models.rnn import MultiplicativeRNN
from course_utils.models.transformer import Block, Config

LECTURES = Path(__file__).parents[2] / "lectures"


def names_of(lecture: str, *cells: str) -> dict:
    """What these cells of a lecture define. Only their definitions run, not what they try out below."""
    import ast

    found = {"torch": torch, "F": F, "math": math}
    for cell in json.loads((LECTURES / lecture).read_text(encoding="utf-8"))["cells"]:
        if cell["id"] in cells:
            tree = ast.parse("".join(cell["source"]))
            tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
            exec(compile(tree, cell["id"], "exec"), found)
    return found


@pytest.fixture(autouse=True)
def double(monkeypatch):
    torch.set_default_dtype(torch.double)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float)


@pytest.mark.parametrize("factors", [3, 5, 9])
def test_multiplicative_cell(factors):
    cell = names_of("02_recurrent_networks.ipynb", "multiplicative-by-hand")["multiplicative_cell"]
    library = MultiplicativeRNN(7, 5, factors)
    x, h = torch.randn(2, 6, 7), torch.randn(2, 5)
    wanted, last = library(x, h[None])
    weights = [getattr(library, name).weight for name in ("fx", "fh", "hf", "hx")]
    found = []
    for x_t in x.unbind(1):
        h = cell(x_t, h, *weights)
        found.append(h)
    torch.testing.assert_close(torch.stack(found, 1), wanted)
    torch.testing.assert_close(h, last[0])
    ours, theirs = (torch.autograd.grad((y**2).sum(), weights, retain_graph=True) for y in (torch.stack(found), wanted))
    torch.testing.assert_close(ours, theirs)


def test_back_propagation_through_time():
    names = names_of("02_recurrent_networks.ipynb", "cell", "bptt")
    shapes = {"W_x": (6, 5), "W_h": (5, 5), "b": (5,), "W_o": (5, 6), "c": (6,)}
    p = {name: torch.randn(shape, requires_grad=True) for name, shape in shapes.items()}
    x, targets = F.one_hot(torch.randint(6, (3, 8)), 6).double(), torch.randint(6, (3, 8))
    h = torch.stack(names["unroll"](x, p["W_x"], p["W_h"], p["b"])[1:], 1)
    loss = F.cross_entropy((h @ p["W_o"] + p["c"]).flatten(0, 1), targets.flatten())
    wanted = dict(zip(p, torch.autograd.grad(loss, list(p.values()))))
    with torch.no_grad():
        torch.testing.assert_close(names["back_through_time"](x, targets, p), wanted)


def test_attention():
    attention = names_of("03_transformers.ipynb", "attention")["attention"]
    q, k, v = torch.randn(3, 2, 4, 7, 5)
    causal = torch.ones(7, 7, dtype=torch.bool).tril()
    for visible in (None, causal, causal.T):
        torch.testing.assert_close(attention(q, k, v, visible), transformer.attention(q, k, v, visible))


def test_block():
    names = names_of("03_transformers.ipynb", "attention", "block")
    library = Block(Config(vocab_size=1, context=1, dim=12, heads=3), 0, pre_norm=True)
    modules = {
        "qkv": library.attention.qkv,
        "out": library.attention.out,
        "up": library.mlp.up,
        "down": library.mlp.down,
    }
    p = {f"W_{name}": module.weight.T for name, module in modules.items()}
    p |= {f"b_{name}": module.bias for name, module in modules.items()}
    x = torch.randn(2, 9, 12)
    torch.testing.assert_close(names["block"](x, p, 3), library(x, None, True, None, None))


def test_autoencoders():
    from course_utils import runtime
    from course_utils.learn import evaluate, losses
    from course_utils.models import autoencoder

    names = names_of("07_autoencoders.ipynb", "angles", "denoise-train", "vae-train")
    a, b = torch.randn(2, 9, 4)
    torch.testing.assert_close(names["principal_angles"](a, b), evaluate.principal_angles(a, b))
    mean, log_variance = torch.randn(2, 5, 3)
    torch.testing.assert_close(names["kl"](mean, log_variance), losses.gaussian_kl(mean, log_variance))
    drawn = [draw(mean, log_variance, runtime.seed(1)) for draw in (names["draw"], autoencoder.draw)]
    torch.testing.assert_close(*drawn)
    x = torch.rand(4, 6)
    spoiled = [corrupt(x, 0.4, runtime.seed(2)) for corrupt in (names["corrupt"], autoencoder.corrupt)]
    torch.testing.assert_close(*spoiled)


@pytest.mark.parametrize("n, temperature", [(2, 0.1), (9, 0.5), (30, 2.0)])
def test_nt_xent(n, temperature):
    from course_utils.learn import losses

    nt_xent = names_of("09_contrastive.ipynb", "nt-xent")["nt_xent"]
    views = torch.randn(2, n, 6, requires_grad=True)
    shown, library = nt_xent(*views, temperature), losses.nt_xent(*views, temperature)
    torch.testing.assert_close(shown, library)
    torch.testing.assert_close(*(torch.autograd.grad(loss, views)[0] for loss in (shown, library)))


def test_patches_and_chroma():
    names = names_of("08_pretext_tasks.ipynb", "patch-by-hand", "split-by-hand")
    names["OFFSETS"] = torch.tensor(pretext.OFFSETS)
    images = torch.rand(50, 3, 32, 32)
    for seed in range(3):
        ours = names["patch_pairs"](images, runtime.seed(seed))
        for a, b in zip(ours, pretext.patch_pairs(images, runtime.seed(seed)), strict=True):
            assert a.equal(b)
    torch.testing.assert_close(names["split_colour"](images), pretext.split_colour(images))
