"""Perplexity and bits, against numbers that can be worked out by hand; probes and measures, against other libraries."""

import math

import numpy
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsClassifier

from course_utils import runtime
from course_utils.learn import evaluate
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


# --- frozen features --------------------------------------------------------------------------------------------------


def blobs(n=400, dim=6, classes=3, seed=0, spread=1.0):
    """Samples around one point per class, and the classes, named 10, 20, 30 …"""
    g = runtime.seed(seed)
    y = torch.arange(n) % classes
    centres = torch.randn(classes, dim, generator=runtime.seed(99))
    return centres[y] + spread * torch.randn(n, dim, generator=g), 10 * (y + 1)


def encoder():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.5), torch.nn.Flatten()
    )


def test_features_come_from_a_frozen_encoder():
    model, x = encoder(), torch.rand(7, 3, 5, 5, generator=runtime.seed(0))
    model[2].eval()  # a part that stands otherwise than the rest must stand so afterwards
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = evaluate.features(model, x, batch=3)
    assert rows.shape == (7, 36) and not rows.requires_grad
    torch.testing.assert_close(rows, evaluate.features(model, x, batch=7))  # no dropout, no batch statistics
    assert model.training and model[1].training and not model[2].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    torch.testing.assert_close(rows, evaluate.features(model.forward, x))  # a method is its module
    torch.testing.assert_close(evaluate.features(lambda x: x, x), x.flatten(1))


def test_features_of_an_encoder_that_is_not_frozen():
    class Learns(torch.nn.Linear):
        def forward(self, x):
            self.weight.data += 1
            return super().forward(x)

    with pytest.raises(RuntimeError, match="not frozen: weight changed"):
        evaluate.features(Learns(3, 2), torch.rand(4, 3))
    with pytest.raises(
        ValueError, match="the features: of 4 numbers 0 are NaN, 4 infinite. Likely the encoder is broken"
    ):
        evaluate.features(lambda x: x / 0, torch.ones(2, 2))
    weight = torch.ones(3, 2, requires_grad=True)
    x, y = torch.rand(4, 3), torch.tensor([0, 1, 0, 1])
    with pytest.raises(ValueError, match="carry a gradient"):
        evaluate.linear_probe(x @ weight, y, x @ weight, y)


@pytest.mark.parametrize("l2", [1e-1, 1e-2, 1e-3])
@pytest.mark.parametrize("classes", [2, 4])
def test_linear_probe_is_scikit_learns(l2, classes):
    (x, y), (x_test, y_test) = blobs(classes=classes), blobs(300, classes=classes, seed=1)
    scale = torch.tensor([1, 100, 1e-3, 1, 1, 1])
    probe = evaluate.linear_probe(x * scale + 7, y, x_test * scale + 7, y_test, l2=l2)
    mean, deviation = x.mean(0), x.std(0, correction=0)
    theirs = LogisticRegression(C=1 / (len(x) * l2), tol=1e-8, max_iter=5000).fit((x - mean) / deviation, y)
    agree = (torch.tensor(theirs.predict((x_test - mean) / deviation)) == probe.predictions).double().mean()
    assert agree > 0.99 and probe.score > 0.6
    assert probe.score == pytest.approx(float((probe.predictions == y_test).double().mean()))
    assert probe.error == pytest.approx(math.sqrt(probe.score * (1 - probe.score) / 300)) and probe.l2 == l2


def test_linear_probe_weights_are_scikit_learns():
    x, y = blobs()
    x = evaluate.standardise(x, x)[0]
    (weight,) = evaluate.logistic_regression(x, y // 10 - 1, 3, [1e-2])
    theirs = LogisticRegression(C=1 / (len(x) * 1e-2), tol=1e-8, max_iter=5000).fit(x, y)
    torch.testing.assert_close(weight[:-1].T.double(), torch.tensor(theirs.coef_).double(), atol=2e-3, rtol=0.01)


def test_the_search_reaches_the_minimum_where_features_hang_together():
    g = runtime.seed(0)
    x = torch.randn(400, 8, generator=g) @ torch.randn(8, 100, generator=g) + 0.1 * torch.randn(400, 100, generator=g)
    y = (x[:, :3] + 3 * torch.randn(400, 3, generator=g)).argmax(1)
    x, l2 = evaluate.standardise(x, x)[0], 1e-4

    def nats(weight, bias):
        return float(F.cross_entropy(x.double() @ weight.double() + bias, y) + l2 / 2 * (weight**2).sum())

    (weight,) = evaluate.logistic_regression(x, y, 3, [l2])
    theirs = LogisticRegression(C=1 / (400 * l2), tol=1e-10, max_iter=20_000).fit(x, y)
    assert nats(weight[:-1], weight[-1]) < nats(torch.tensor(theirs.coef_.T), torch.tensor(theirs.intercept_)) + 2e-5


def test_the_regulariser_is_chosen_without_the_test_part():
    g = runtime.seed(3)
    x, y = torch.randn(600, 80, generator=g), torch.randint(2, (600,), generator=g)
    x[:, 0] += 1.5 * (2 * y - 1)  # one feature says it, 79 are noise: a strong regulariser is right
    parts = x[:100], y[:100], x[100:], y[100:]
    weak = evaluate.linear_probe(*parts, l2=1e-6)
    chosen = evaluate.linear_probe(*parts, l2=(1e-6, 1e-3, 1.0))
    assert chosen.l2 == 1.0 and chosen.score > weak.score
    other = evaluate.linear_probe(x[:100], y[:100], x[100:], 1 - y[100:], l2=(1e-6, 1e-3, 1.0))
    assert other.l2 == chosen.l2 and torch.equal(other.predictions, chosen.predictions)


def test_probe_on_features_without_information_is_at_chance():
    _, y = blobs(4000)
    x = torch.randn(4000, 6, generator=runtime.seed(5))
    probe = evaluate.linear_probe(x[:2000], y[:2000], x[2000:], y[2000:])
    assert abs(probe.score - 1 / 3) < 5 * probe.error
    constant = evaluate.linear_probe(torch.full((6, 3), 0.1), y[:6], torch.full((6, 3), 0.2), y[:6])
    assert constant.score == constant.chance == pytest.approx(1 / 3)
    assert "chance 0.333" in str(constant)


def test_ridge_probe_is_scikit_learns():
    x, _ = blobs()
    y = x[:, 0] - 2 * x[:, 1] + 0.5 * torch.randn(400, generator=runtime.seed(8)) + 3
    probe = evaluate.ridge_probe(x[:300], y[:300], x[300:], y[300:], l2=1e-2)
    a, b = evaluate.standardise(x[:300], x[300:])
    theirs = Ridge(alpha=300 * 1e-2).fit(a, y[:300]).predict(b)
    torch.testing.assert_close(probe.predictions.double(), torch.tensor(theirs).double(), rtol=1e-4, atol=1e-4)
    assert probe.score == pytest.approx(r2_score(y[300:], theirs), abs=1e-5)
    again = []
    for _ in range(300):  # bootstrap of the test part
        rows = torch.randint(100, (100,), generator=runtime.seed(len(again)))
        again.append(r2_score(y[300:][rows], torch.tensor(theirs)[rows]))
    assert probe.error == pytest.approx(numpy.std(again), rel=0.35)
    assert evaluate.ridge_probe(x[:300], y[:300], x[300:], y[300:], l2=(1e2, 1e-3)).l2 == 1e-3


@pytest.mark.parametrize("temperature", [None, 0.1])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_knn_probe_by_loop(k, temperature):
    (x, y), (x_test, y_test) = blobs(90, spread=2), blobs(40, seed=1, spread=2)
    probe = evaluate.knn_probe(x, y, x_test, y_test, k=k, temperature=temperature, batch=7)
    for row, found in zip(x_test, probe.predictions):
        cosines = torch.nn.functional.cosine_similarity(row[None], x).tolist()
        near = sorted(range(90), key=lambda i: -cosines[i])[:k]
        votes = {}
        for i in near:
            weight = (1, cosines[i]) if temperature is None else (math.exp(cosines[i] / temperature), 0)
            so_far = votes.get(int(y[i]), (0, 0))
            votes[int(y[i])] = so_far[0] + weight[0], so_far[1] + weight[1]
        assert max(votes, key=votes.get) == found
    if k == 1:
        theirs = KNeighborsClassifier(1, metric="cosine").fit(x, y).predict(x_test)
        assert (theirs == probe.predictions.numpy()).all()


def test_probes_with_bad_input():
    x, y = blobs(30)
    for probe in (evaluate.linear_probe, evaluate.knn_probe, evaluate.ridge_probe):
        with pytest.raises(ValueError, match="same dim in both parts"):
            probe(x, y, x[:, :2], y)
        with pytest.raises(ValueError, match="training part has features"):
            probe(x, y[:3], x, y)
        with pytest.raises(ValueError, match="test part has features"):
            probe(x, y, x[:0], y[:0])
    with pytest.raises(ValueError, match=r"at least two classes, got 1: \[10\]"):
        evaluate.linear_probe(x, y * 0 + 10, x, y)
    with pytest.raises(ValueError, match="all equal"):
        evaluate.ridge_probe(x, y * 0.0, x, y)
    for more in (dict(k=0), dict(k=31), dict(temperature=0)):
        with pytest.raises(ValueError, match="must be"):
            evaluate.knn_probe(x, y, x, y, **more)


# --- report card ------------------------------------------------------------------------------------------------------


def test_report_card_says_which_encoder_kept_which_factor():
    g = runtime.seed(0)
    shape, day = torch.randint(4, (1200,), generator=g), torch.rand(1200, generator=g) < 0.7
    size = torch.rand(1200, generator=g)
    noise = torch.randn(1200, 4, generator=g)
    kept = {
        "shape": torch.cat([torch.eye(4)[shape], noise], 1),
        "size": torch.cat([size[:, None] + 0.05 * noise[:, :1], noise], 1),
        "nothing": noise,
    }
    card = evaluate.report_card(kept, {"shape": shape, "day": day, "size": size}, generator=runtime.seed(1))
    assert card.kinds == ["accuracy", "accuracy", "R²"] and card.score.shape == card.error.shape == (3, 3)
    assert card["shape", "shape"] == (1.0, 0.0) and card["size", "size"][0] > 0.9
    for encoder, factor in (("size", "shape"), ("nothing", "shape"), ("nothing", "day"), ("shape", "day"),
                            ("shape", "size"), ("nothing", "size")):  # fmt: skip
        score, error = card[encoder, factor]
        assert abs(score - float(card.chance[card.factors.index(factor)])) < 5 * error + 0.02
    assert 0.2 < card.chance[0] < 0.3 and 0.65 < card.chance[1] < 0.75 and card.chance[2] == 0
    lines = str(card).splitlines()
    assert (
        len(lines) == 6 and lines[2].startswith("| shape | 1.00 ± 0.00 |") and len({x.count("|") for x in lines}) == 1
    )


def test_report_card_bad_input():
    x, y = blobs(30)
    for features, factors, more in (
        ({}, {"y": y}, {}), ({"x": x}, {}, {}), ({"x": x}, {"y": y[:3]}, {}), ({"x": x}, {"y": y}, {"share": 1}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="features and factors|share"):
            evaluate.report_card(features, factors, **more)


# --- the shape of features --------------------------------------------------------------------------------------------


def cloud(n, dim=3, seed=0):
    return torch.randn(n, dim, generator=runtime.seed(seed), dtype=torch.double)


@pytest.mark.parametrize("n", [2, 7])
@pytest.mark.parametrize("power", [1, 2, 3])
def test_alignment_and_uniformity_by_loop(n, power):
    a, b = cloud(n), cloud(n, seed=1)
    unit = [[row / numpy.linalg.norm(row) for row in z.numpy()] for z in (a, b)]
    slow = numpy.mean([numpy.linalg.norm(p - q) ** power for p, q in zip(*unit)])
    assert float(evaluate.alignment(a, b, power)) == pytest.approx(slow)
    pairs = [(p, q) for i, p in enumerate(unit[0]) for q in unit[0][:i]]
    slow = math.log(numpy.mean([math.exp(-power * numpy.linalg.norm(p - q) ** 2) for p, q in pairs]))
    assert float(evaluate.uniformity(a, power)) == pytest.approx(slow)
    assert evaluate.alignment(a, 3 * a) < 1e-12 and evaluate.alignment(a, -a) == pytest.approx(4)
    assert abs(evaluate.uniformity(a[:1].expand(5, -1))) < 1e-6


def test_uniformity_is_lowest_on_the_whole_circle():
    angle = 2 * math.pi * torch.rand(2000, generator=runtime.seed(0))
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    exact = math.log(float(numpy.i0(4)) * math.exp(-4))  # E exp(-2 (2 - 2 cos φ)) = e^-4 I0(4)
    assert float(evaluate.uniformity(circle)) == pytest.approx(exact, abs=0.02)
    half = torch.stack([(angle / 2).cos(), (angle / 2).sin()], 1)
    assert evaluate.uniformity(half) > evaluate.uniformity(circle) + 0.3


@pytest.mark.parametrize("n", [2, 5, 30])
def test_hsic_by_loop(n):
    x, y = cloud(n), torch.arange(n) % 2
    for k in (evaluate.linear_kernel(x), evaluate.gaussian_kernel(x, 0.7), evaluate.gaussian_kernel(x)):
        for other in (evaluate.delta_kernel(y).double(), evaluate.linear_kernel(cloud(n, 2, seed=1))):
            H = torch.eye(n, dtype=torch.double) - 1 / n
            slow = torch.trace(k @ H @ other @ H) / (n - 1) ** 2
            torch.testing.assert_close(evaluate.hsic(k, other), slow)
            torch.testing.assert_close(evaluate.hsic(k, other), evaluate.hsic(other, k))
            assert evaluate.hsic(k, other) > -1e-12
    i, j = 0, n - 1
    distance = float((x[i] - x[j]).norm())
    assert float(evaluate.gaussian_kernel(x, 0.7)[i, j]) == pytest.approx(math.exp(-(distance**2) / 0.98))
    assert evaluate.delta_kernel(y).tolist() == [[float(a == b) for b in y] for a in y]


def test_hsic_sees_dependence():
    x = cloud(300, 1)
    same, free = evaluate.gaussian_kernel(x**2), evaluate.gaussian_kernel(cloud(300, 1, seed=1))
    k = evaluate.gaussian_kernel(x)
    assert evaluate.hsic(k, same) > 10 * evaluate.hsic(k, free)
    covariance = ((x - x.mean(0)).T @ (x**2 - (x**2).mean(0)) / 299) ** 2  # linear kernels: the covariance, squared
    linear = evaluate.hsic(evaluate.linear_kernel(x), evaluate.linear_kernel(x**2))
    assert float(linear) == pytest.approx(float(covariance), rel=1e-9)


@pytest.mark.parametrize("negatives", [1, 7, 255])
def test_info_nce_bound_and_its_ceiling(negatives):
    ceiling = math.log(negatives + 1)
    assert evaluate.info_nce_bound(0.0, negatives) == pytest.approx(ceiling)  # perfect: no more than this
    assert evaluate.info_nce_bound(ceiling, negatives) == 0  # a guess: nothing shown


def test_principal_angles_are_scipys():
    for seed, (k, m) in enumerate([(1, 1), (2, 3), (3, 2), (4, 4)]):
        a, b = cloud(8, k, seed), cloud(8, m, seed + 10)
        theirs = torch.tensor(scipy.linalg.subspace_angles(a.numpy(), b.numpy())).flip(0)
        torch.testing.assert_close(evaluate.principal_angles(a, b), theirs)
        torch.testing.assert_close(evaluate.principal_angles(b, a), theirs)
        mixed = a @ (cloud(k, k, seed + 20) + 3 * torch.eye(k))  # another basis of the same subspace
        assert evaluate.principal_angles(a, mixed).max() < 1e-12
    tiny = torch.tensor([[1.0, 0], [0, 1], [0, 0]], dtype=torch.double), torch.tensor([[1.0], [0], [1e-9]]).double()
    assert float(evaluate.principal_angles(*tiny)) == pytest.approx(1e-9)
    line = torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [1.0]])
    assert float(evaluate.principal_angles(*line)) == pytest.approx(math.pi / 4)


def test_measures_with_bad_input():
    z = cloud(4)
    for call in (
        lambda: evaluate.alignment(z, z[:2]),
        lambda: evaluate.uniformity(z[:1]),
        lambda: evaluate.hsic(torch.eye(3), torch.eye(4)),
        lambda: evaluate.hsic(torch.eye(1), torch.eye(1)),
        lambda: evaluate.gaussian_kernel(z, 0),
        lambda: evaluate.gaussian_kernel(z * 0),
        lambda: evaluate.info_nce_bound(1.0, 0),
        lambda: evaluate.principal_angles(z, z[:2]),
        lambda: evaluate.principal_angles(z, torch.ones(4, 2)),
    ):
        with pytest.raises(ValueError, match="got|must|independent"):
            call()
