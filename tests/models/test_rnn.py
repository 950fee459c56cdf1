"""The recurrent models against slow loops, finite differences, and their own text read piece by piece."""

import math

import pytest
import torch
from scipy.stats import chisquare

from course_utils import runtime
from course_utils.models.rnn import CELLS, CharRNN, MultiplicativeRNN, RNNConfig
from course_utils.models.sampling import next_token_probabilities


def tokens(*shape, vocab=7, seed=0):
    return torch.randint(0, vocab, shape, generator=runtime.seed(seed))


def model(cell, **sizes):
    return CharRNN(RNNConfig(**{"vocab_size": 7, "hidden": 5, "cell": cell, **sizes}), runtime.seed(0)).eval()


@torch.no_grad()
def test_multiplicative_is_one_matrix_per_character():
    """f = diag(W_fx x) W_fh h, so h ← tanh(W_hf diag(W_fx x) W_fh h + W_hx x): build each character's whole matrix."""
    torch.manual_seed(0)
    cell, x = MultiplicativeRNN(7, 5, factors=3), tokens(2, 6)
    onehot = torch.nn.functional.one_hot(x, 7).float()
    out, last = cell(onehot)
    matrices = [cell.hf.weight @ torch.diag(cell.fx.weight[:, c]) @ cell.fh.weight for c in range(7)]
    for b in range(2):
        h = torch.zeros(5)
        for t in range(6):
            c = int(x[b, t])
            h = torch.tanh(matrices[c] @ h + cell.hx.weight[:, c])
            torch.testing.assert_close(out[b, t], h)
        torch.testing.assert_close(last[0, b], h)


def test_multiplicative_gradients():
    torch.manual_seed(0)
    cell = MultiplicativeRNN(4, 3, factors=2).double()
    x, h = torch.randn(2, 5, 4, dtype=torch.double), torch.randn(1, 2, 3, dtype=torch.double)
    names, values = zip(*cell.named_parameters())

    def run(x, h, *values):
        return torch.func.functional_call(cell, dict(zip(names, values)), (x, h))

    inputs = [value.detach().requires_grad_() for value in (x, h, *values)]
    assert torch.autograd.gradcheck(run, inputs)


@torch.no_grad()
def test_lstm_by_loop():
    """Which gate is which: the forget bias is set by its place."""
    m = model("lstm", embedding=4)
    x = tokens(1, 6)
    h, c = torch.zeros(5), torch.zeros(5)
    hidden, (last_h, last_c) = m.encode(x)
    for t in range(6):
        e = m.embedding.weight[x[0, t]]
        gates = m.cell.weight_ih_l0 @ e + m.cell.bias_ih_l0 + m.cell.weight_hh_l0 @ h + m.cell.bias_hh_l0
        i, f, g, o = gates.split(5)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        torch.testing.assert_close(hidden[0, t], h)
    torch.testing.assert_close(last_c[0, 0], c)
    assert (m.cell.bias_ih_l0 + m.cell.bias_hh_l0).split(5)[1].tolist() == [1] * 5  # forget gate open at first


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("embedding", [None, 4])
def test_state_carries_the_text_on(cell, embedding):
    m, x = model(cell, embedding=embedding), tokens(3, 9)
    logits, state = m(x)
    first, middle = m(x[:, :4])
    second, last = m(x[:, 4:], middle)
    assert logits.shape == (3, 9, 7) and m.encode(x)[0].shape == (3, 9, 5)
    torch.testing.assert_close(torch.cat([first, second], 1), logits)
    torch.testing.assert_close(last, state)


@pytest.mark.parametrize("cell", CELLS)
def test_log_probabilities_by_loop(cell):
    m, x = model(cell), tokens(23)
    found = m.log_probabilities(x, chunk=4)
    with torch.no_grad():
        wanted = [m(x[None, :t])[0][0, -1].log_softmax(-1)[x[t]] for t in range(1, 23)]
    torch.testing.assert_close(found, torch.stack(wanted))


@pytest.mark.parametrize("cell", CELLS)
def test_greedy_is_the_loop(cell):
    m, text = model(cell), tokens(2, 3)
    for _ in range(8):
        text = torch.cat([text, m(text)[0][:, -1].argmax(-1, keepdim=True)], 1)
    assert m.generate(text[:, :3], 8, temperature=0).equal(text[:, 3:])


def test_samples_follow_the_distribution():
    m, x = model("multiplicative"), tokens(1, 4)
    with torch.no_grad():
        p = next_token_probabilities(m(x)[0][:, -1], temperature=0.7, top_p=0.9)[0]
    found = m.generate(x.expand(20_000, 4), 1, temperature=0.7, top_p=0.9, generator=runtime.seed(0))[:, 0]
    counts = torch.bincount(found, minlength=7)
    assert (counts[p == 0] == 0).all()
    assert chisquare(counts[p > 0], 20_000 * p[p > 0].double() / p.double().sum()).pvalue > 1e-4


@pytest.mark.parametrize("cell", CELLS)
def test_the_seed_decides(cell):
    a, b, c = (CharRNN(RNNConfig(7, cell, 5), runtime.seed(n)) for n in (0, 0, 1))
    assert all(a.state_dict()[name].equal(b.state_dict()[name]) for name in a.state_dict())
    assert not a.head.weight.equal(c.head.weight)
    x = tokens(1, 3)
    assert a.generate(x, 20, generator=runtime.seed(5)).equal(b.generate(x, 20, generator=runtime.seed(5)))


@pytest.mark.parametrize("cell", CELLS)
def test_learns_what_was_said_five_characters_ago(cell):
    """A marker, five of the same letter, and the marker again: only the state can know it."""
    g, m = runtime.seed(0), model(cell, hidden=32)
    optimizer = torch.optim.Adam(m.train().parameters(), lr=0.005)
    for _ in range(300):
        marker = torch.randint(0, 2, (32, 1), generator=g)
        x = torch.cat([marker, torch.full((32, 5), 2)], 1)
        loss = torch.nn.functional.cross_entropy(m(x)[0][:, -1], marker[:, 0])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        optimizer.step()
    assert loss < 0.1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: RNNConfig(7, "rnn"), "cell must be one of tanh, gru, lstm, multiplicative, got 'rnn'"),
        (lambda: RNNConfig(7, "multiplicative", layers=2), "one layer, got layers=2"),
        (lambda: RNNConfig(7, hidden=0), "hidden must be ≥ 1, got 0"),
        (lambda: RNNConfig(7, dropout=1), "dropout"),
        (lambda: model("gru").generate(tokens(1, 0), 3), "time ≥ 1"),
        (lambda: model("gru").generate(tokens(3), 3), r"\(batch, time\)"),
        (lambda: model("gru").generate(tokens(1, 2), -3), "got -3"),
        (lambda: model("gru").generate(tokens(1, 2), 3, temperature=-1), "temperature"),
        (lambda: model("gru").generate(tokens(1, 2), 3, top_p=0), "top_p"),
        (lambda: model("gru").log_probabilities(tokens(1)), "time ≥ 2"),
        (lambda: model("gru")(tokens(2, 0)), "time ≥ 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("cell", CELLS)
def test_at_first_it_knows_nothing_and_nothing_explodes(cell):
    m, x = CharRNN(RNNConfig(60, cell, 64), runtime.seed(0)), tokens(4, 100, vocab=60)
    logits, _ = m(x)
    loss = torch.nn.functional.cross_entropy(logits.mT, tokens(4, 100, vocab=60, seed=1))
    assert math.log(60) - 0.1 < float(loss.detach()) < math.log(60) + 1
    loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in m.parameters()])
    assert 0.01 < norm < 10


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
@pytest.mark.parametrize("cell", CELLS)
def test_cuda_gives_the_same(cell):
    m, x = model(cell, hidden=16), tokens(3, 9)
    here, _ = m(x)
    there, _ = m.cuda()(x.cuda())
    torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-3)
    assert m.generate(x, 5, generator=runtime.seed(0)).is_cuda
