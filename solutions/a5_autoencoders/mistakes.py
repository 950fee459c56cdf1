"""Assignment 5, autoencoders: what is asked in each exercise, how it is compared, and the mistakes we know by name.

Each exercise stands in one place: points and comparison, then its cases (small ones that can be checked by hand, then
random ones; the same function draws the visible and the hidden cases), then wrong functions with the hint for those who
wrote them.
"""

import math

import torch
from torch import Tensor

from autograder.author.exercise import Case, Exercise, Promises, accuracy, close

LIBRARY = [
    "course_utils.learn.evaluate.principal_angles",
    "course_utils.learn.losses.elbo_loss",
    "course_utils.learn.losses.gaussian_kl",
    "course_utils.learn.losses.reconstruction_nats",
    "course_utils.models.autoencoder.corrupt",
    "course_utils.models.autoencoder.draw",
    "course_utils.models.autoencoder.LinearAutoencoder",
]


def _double(g: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=g, dtype=torch.double)


# --- 1. PCA -----------------------------------------------------------------------------------------------------------

READY_MADE = [
    "sklearn.decomposition.PCA",
    "sklearn.decomposition.TruncatedSVD",
    "torch.pca_lowrank",
]
pca = Exercise("pca", points=3, compare=close(), banned=LIBRARY + READY_MADE)


@pca.cases
def _(g):
    yield Case((torch.tensor([[0.0, 0.0], [6.0, 8.0]], dtype=torch.double), 1), note="the example in the text")
    yield Case(
        (torch.tensor([[5.0, 1.0], [1.0, 4.0], [5.0, 1.0], [1.0, 4.0]], dtype=torch.double), 1),
        note="the entry of largest size is negative in the decomposition",
    )
    lean = torch.tensor([0.8, -0.5, -0.45], dtype=torch.double) + 0.02 * _double(g, 3)  # its sum is below 0
    along = _double(g, 20, 1)
    along[0] = -6  # the sample that is farthest out lies on the other side
    yield Case((along * lean + 0.01 * _double(g, 20, 3), 1), note="a direction whose entries sum to less than 0")
    yield Case(
        (
            _double(g, 30, 4) * torch.tensor([4.0, 2.0, 1.0, 0.5], dtype=torch.double)
            + 1e7 * (1 + _double(g, 4).abs()),
            2,
        ),
        note="samples that lie close together, very far from zero",
    )
    for samples, inputs, k in ((40, 5, 2), (6, 9, 3), (30, 4, 4)):  # the second: fewer samples than numbers in each
        spread = torch.arange(inputs, 0, -1, dtype=torch.double) ** 1.5
        turn = torch.linalg.qr(_double(g, inputs, inputs)).Q
        while True:  # until the decomposition's own directions differ in sign, and one begins with a negative entry
            x = _double(g, samples, inputs) * spread @ turn + 10 * _double(g, inputs)
            raw = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:k]
            signs = raw.gather(1, raw.abs().argmax(1, keepdim=True)).sign()
            if signs.min() < signs.max() and (signs[:, 0] * raw[:, 0]).min() < 0:
                break
        yield x, k


pca.equivalent(
    "the rows that are added stand behind the first k", "[-, full_matrices=False-]", "full_matrices=[-False-]{+True+}"
)
pca.equivalent("dividing by ±1 is multiplying by it", "directions [-*-]{+/+} largest")


def _turned(directions: Tensor) -> Tensor:
    """Each row with the sign that makes its largest entry positive."""
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return directions * largest.sign()


def _svd(centred: Tensor, k: int) -> tuple[Tensor, Tensor]:
    found = torch.linalg.svd(centred, full_matrices=False)
    return _turned(found.Vh[:k]), found.S[:k]


@pca.mistake(
    "the mean is not taken out before the decomposition: your first direction points from zero to the middle of the "
    "data, and says nothing of how they spread."
)
def not_centred(x, k):
    directions, s = _svd(x, k)
    return x.mean(0), directions, s**2 / len(x)


@pca.mistake(
    "you take out each *row's* own mean. Taken out is the mean over the samples, one number for each of the D."
)
def rows_centred(x, k):
    rows = x - x.mean(1, keepdim=True)
    directions, s = _svd(rows - rows.mean(0), k)
    return x.mean(0), directions, s**2 / len(x)


@pca.mistake("the variances are divided by N − 1. Here they are the mean of the squared coordinates: divide by N.")
def divided_by_n_minus_1(x, k):
    directions, s = _svd(x - x.mean(0), k)
    return x.mean(0), directions, s**2 / (len(x) - 1)


@pca.mistake("those are the singular values themselves. A variance is s² / N.")
def singular_values(x, k):
    return x.mean(0), *_svd(x - x.mean(0), k)


@pca.mistake(
    "you have the directions of the *smallest* variance. `eigh` sorts from the smallest to the largest: flip it."
)
def smallest_variance(x, k):
    centred = x - x.mean(0)
    values, columns = torch.linalg.eigh(centred.T @ centred / len(x))
    return x.mean(0), _turned(columns[:, :k].T), values[:k]


@pca.mistake("you divide by the standard deviations. PCA takes out the mean alone: where data spread more, it looks.")
def standardised(x, k):
    mean = x.mean(0)
    directions, s = _svd((x - mean) / x.std(0, correction=0), k)
    return mean, directions, s**2 / len(x)


@pca.mistake(
    "a direction may come with either sign, and here one is agreed on: the entry that is largest *in size* is "
    "positive. You look at the first entry."
)
def first_entry_positive(x, k):
    directions, s = _svd(x - x.mean(0), k)
    return x.mean(0), directions * directions[:, :1].sign(), s**2 / len(x)


@pca.mistake("all signs are turned round: the entry of each direction that is largest in size must be *positive*.")
def largest_entry_negative(x, k):
    directions, s = _svd(x - x.mean(0), k)
    return x.mean(0), -directions, s**2 / len(x)


@pca.mistake("the directions stand in your columns. They are asked for as rows, (k, D).")
def directions_as_columns(x, k):
    directions, s = _svd(x - x.mean(0), k)
    return x.mean(0), directions.T, s**2 / len(x)


@pca.mistake("`svd` gives $V^\\top$: its first k *rows* are the directions. You take its columns.")
def columns_of_the_transposed(x, k):
    found = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return x.mean(0), _turned(found.Vh[:, :k].T), found.S[:k] ** 2 / len(x)


@pca.also("columns_of_the_transposed")
def columns_of_the_whole_transposed(x, k):
    found = torch.linalg.svd(x - x.mean(0))
    return x.mean(0), _turned(found.Vh[:, :k].T), found.S[:k] ** 2 / len(x)


@pca.mistake(
    "a direction may come with either sign, and here one is agreed on: the entry that is largest in size is positive. "
    "Yours are as the decomposition gave them (or hang on the largest entry without `abs()`, which is nearly always "
    "positive)."
)
def signs_as_they_come(x, k):
    found = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return x.mean(0), found.Vh[:k], found.S[:k] ** 2 / len(x)


@pca.mistake(
    "the sign is agreed on by the *samples'* coordinates (the largest of each column of U), as scikit-learn had it. "
    "Here it is by v_j itself: its entry that is largest in size is positive."
)
def sign_by_the_samples(x, k):
    found = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    U, s, directions = found.U[:, :k], found.S[:k], found.Vh[:k]
    largest = U.gather(0, U.abs().argmax(0, keepdim=True))[0]
    return x.mean(0), directions * largest.sign()[:, None], s**2 / len(x)


@pca.mistake("those are deviations, the roots of the variances: a variance is s² / N.")
def deviations(x, k):
    directions, s = _svd(x - x.mean(0), k)
    return x.mean(0), directions, s / len(x) ** 0.5


@pca.mistake("those are shares of all the variance. Asked for are the variances themselves, s² / N.")
def shares_of_the_variance(x, k):
    s = torch.linalg.svdvals(x - x.mean(0))
    directions, _ = _svd(x - x.mean(0), k)
    return x.mean(0), directions, s[:k] ** 2 / (s**2).sum()


@pca.mistake("the right directions, the smallest variance first. Asked for is the largest first.")
def smallest_of_them_first(x, k):
    directions, s = _svd(x - x.mean(0), k)
    return x.mean(0), directions.flip(0), (s**2 / len(x)).flip(0)


@pca.mistake(
    "the sign is chosen by the sum of the entries. Here it is agreed on otherwise: the entry that is largest *in size* "
    "is positive."
)
def positive_sum(x, k):
    directions, s = _svd(x - x.mean(0), k)
    return x.mean(0), directions * directions.sum(1, keepdim=True).sign(), s**2 / len(x)


@pca.mistake("the squared singular values are divided by D. The variance is a mean over the N samples: s² / N.")
def divided_by_the_dimensions(x, k):
    directions, s = _svd(x - x.mean(0), k)
    return x.mean(0), directions, s**2 / x.shape[1]


@pca.mistake("you divide the singular values by N without squaring them: a variance is s² / N.")
def not_squared(x, k):
    directions, s = _svd(x - x.mean(0), k)
    return x.mean(0), directions, s / len(x)


@pca.mistake("those are shares of the variance of the k directions. Asked for are the variances themselves, s² / N.")
def shares_among_the_k(x, k):
    directions, s = _svd(x - x.mean(0), k)
    return x.mean(0), directions, s**2 / (s**2).sum()


@pca.mistake(
    "one sign is found for all directions together. Each has its own: the entry of largest size of *each row*."
)
def one_sign_for_all(x, k):
    found = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    directions = found.Vh[:k]
    return x.mean(0), directions * directions.flatten()[directions.abs().argmax()].sign(), found.S[:k] ** 2 / len(x)


@pca.mistake("the features are divided by their deviations first. Take the mean away, and nothing else.")
def divided_by_the_deviations(x, k):
    centred = x - x.mean(0)
    directions, s = _svd(centred / x.std(0).clamp(min=1e-8), k)
    return x.mean(0), directions, s**2 / len(x)


# --- 2. A linear autoencoder and its gradients ------------------------------------------------------------------------

AUTOGRAD = [
    "torch.autograd.grad",
    "torch.autograd.backward",
    "torch.Tensor.backward",
    "torch.func.grad",
    "torch.func.jacrev",
    "torch.autograd.functional.jacobian",
]
linear_autoencoder = Exercise("linear_autoencoder", points=3, compare=close(), banned=LIBRARY + AUTOGRAD)


@linear_autoencoder.cases
def _(g):
    def tensor(rows):
        return torch.tensor(rows, dtype=torch.double)

    yield Case((tensor([[1.0, 2.0]]), tensor([[1.0, 0.0]]), tensor([[1.0], [1.0]])), note="the example in the text")
    yield Case(
        (tensor([[1.0, 2.0], [3.0, -1.0]]), torch.eye(2).double(), torch.eye(2).double()), note="nothing is lost"
    )
    yield Case(
        (tensor([[3.0, 0.0], [0.0, 1.0]]), tensor([[1.0, 0.0]]), tensor([[1.0], [0.0]])), note="the gradient is zero"
    )
    for samples, inputs, k in ((5, 3, 2), (12, 6, 3), (7, 8, 1)):
        x = _double(g, samples, inputs)
        yield x - x.mean(0), _double(g, k, inputs), _double(g, inputs, k)


def _loss_and_gradients(x, encoder, decoder) -> tuple[Tensor, Tensor, Tensor]:
    """Summed over the samples, without the factor 2 of the gradients."""
    codes = x @ encoder.T
    wrong = codes @ decoder.T - x
    return (wrong**2).sum(), (wrong @ decoder).T @ x, wrong.T @ codes


@linear_autoencoder.mistake(
    "you take the mean over all N · D numbers. The squared error is *summed* over a sample's D numbers; the mean is "
    "over the N samples."
)
def mean_over_all_numbers(x, encoder, decoder):
    loss, e, d = _loss_and_gradients(x, encoder, decoder)
    return loss / x.numel(), 2 * e / x.numel(), 2 * d / x.numel()


@linear_autoencoder.mistake("the factor 2 is missing in the gradients: the derivative of r² is 2 r.")
def factor_2_missing(x, encoder, decoder):
    loss, e, d = _loss_and_gradients(x, encoder, decoder)
    return loss / len(x), e / len(x), d / len(x)


@linear_autoencoder.mistake("those are sums over the samples. Divide by N, the loss and both gradients.")
def sums_over_samples(x, encoder, decoder):
    loss, e, d = _loss_and_gradients(x, encoder, decoder)
    return loss, 2 * e, 2 * d


@linear_autoencoder.mistake(
    "your loss is the mean *length* of the errors. It is that of their squares: without the root."
)
def lengths_not_squared(x, encoder, decoder):
    _, e, d = _loss_and_gradients(x, encoder, decoder)
    loss = (x @ encoder.T @ decoder.T - x).norm(dim=1).mean()
    return loss, 2 * e / len(x), 2 * d / len(x)


@linear_autoencoder.mistake(
    "the gradients have the wrong sign: you would go uphill. The error is $r = \\hat x - x$, and so the loss rises "
    "with $\\hat x$ where $r > 0$."
)
def uphill(x, encoder, decoder):
    loss, e, d = _loss_and_gradients(x, encoder, decoder)
    return loss / len(x), -2 * e / len(x), -2 * d / len(x)


@linear_autoencoder.mistake(
    "on its way back to the encoder the error goes through the *decoder*, $G^\\top r$. You send it through the encoder."
)
def back_through_the_encoder(x, encoder, decoder):
    loss, e, d = _loss_and_gradients(x, encoder, decoder)
    wrong = x @ encoder.T @ decoder.T - x
    return loss / len(x), 2 * (wrong @ encoder.T).T @ x / len(x), 2 * d / len(x)


@linear_autoencoder.mistake(
    "your gradient of the encoder uses the reconstruction $\\hat x$ where the input $x$ belongs: the encoder reads x."
)
def reconstruction_as_input(x, encoder, decoder):
    loss, e, d = _loss_and_gradients(x, encoder, decoder)
    again = x @ encoder.T @ decoder.T
    return loss / len(x), 2 * ((again - x) @ decoder).T @ again / len(x), 2 * d / len(x)


@linear_autoencoder.mistake("the two gradients are exchanged: first the encoder's, (k, D), then the decoder's, (D, k).")
def gradients_exchanged(x, encoder, decoder):
    loss, e, d = _loss_and_gradients(x, encoder, decoder)
    return loss / len(x), 2 * d / len(x), 2 * e / len(x)


@linear_autoencoder.mistake("the decoder's gradient joins the error with the *codes*; yours joins the input with them.")
def input_instead_of_the_error(x, encoder, decoder):
    z = x @ encoder.T
    r = z @ decoder.T - x
    return r.square().sum() / len(x), 2 / len(x) * (r @ decoder).T @ x, 2 / len(x) * x.T @ z


@linear_autoencoder.mistake("you centre x once more inside. It comes in as it is to be used, centred or not.")
def centred_once_more(x, encoder, decoder):
    loss, e, d = _loss_and_gradients(x - x.mean(0), encoder, decoder)
    return loss / len(x), 2 * e / len(x), 2 * d / len(x)


@linear_autoencoder.mistake("the gradients are those of the sum over the samples: 2, in place of 2/N.")
def gradients_of_the_sum(x, encoder, decoder):
    loss, e, d = _loss_and_gradients(x, encoder, decoder)
    return loss / len(x), 2 * e, 2 * d


@linear_autoencoder.mistake(
    "loss and gradients are those of *half* the squared error. Here no ½ stands in front of the sum, and so the "
    "gradients have their 2."
)
def half_of_everything(x, encoder, decoder):
    loss, e, d = _loss_and_gradients(x, encoder, decoder)
    return loss / (2 * len(x)), e / len(x), d / len(x)


@linear_autoencoder.mistake(
    "the encoder's gradient joins the error that came back with the error itself. The other factor is the *input*, x."
)
def error_for_the_input(x, encoder, decoder):
    loss, _, d = _loss_and_gradients(x, encoder, decoder)
    wrong = x @ encoder.T @ decoder.T - x
    return loss / len(x), 2 * (wrong @ decoder).T @ wrong / len(x), 2 * d / len(x)


# --- 3. The same subspace? --------------------------------------------------------------------------------------------

principal_angles = Exercise(
    "principal_angles",
    points=2,
    compare=close(rtol=1e-4, atol=1e-5),
    banned=[*LIBRARY, "scipy.linalg.subspace_angles"],
)


@principal_angles.cases
def _(g):
    def tensor(*columns):
        return torch.tensor(columns, dtype=torch.double).T

    yield Case((tensor([1.0, 0, 0], [0, 1, 0]), tensor([2.0, 0, 0], [0, 3, 3])), note="the example in the text")
    yield Case((tensor([1.0, 0, 0, 0], [0, 1, 0, 0]), tensor([0, 0, 5.0, 1], [0, 0, 1, 5])), note="nothing in common")
    a = _double(g, 6, 3)
    yield Case((a, a @ _double(g, 3, 3)), note="the same subspace, other columns")
    for inputs, k in ((12, 6), (30, 9)):  # the very same: rounding makes some cosine more than 1
        a = _double(g, inputs, k)
        yield a, a.clone()
    for inputs, k, near in ((5, 2, 1.0), (8, 3, 0.3), (20, 4, 1.0)):
        a = _double(g, inputs, k)
        yield a, a @ _double(g, k, k) + near * _double(g, inputs, k)


def _cosines(a: Tensor, b: Tensor) -> Tensor:
    """Largest first."""
    return torch.linalg.svdvals(torch.linalg.qr(a).Q.T @ torch.linalg.qr(b).Q).clamp(max=1)


@principal_angles.mistake(
    "your columns have length 1, but they are not at right angles to each other. Make each basis *orthonormal* first, "
    "with `torch.linalg.qr` for example."
)
def normalised_only(a, b):
    p, q = a / a.norm(dim=0), b / b.norm(dim=0)
    return torch.linalg.svdvals(p.T @ q).clamp(max=1).acos()


@principal_angles.mistake(
    "you use the columns as they are. The angles are between the *subspaces*: make each basis orthonormal first, so "
    "that longer or tilted columns change nothing."
)
def columns_as_they_are(a, b):
    return torch.linalg.svdvals(a.T @ b).clamp(max=1).acos()


@principal_angles.mistake("the smallest angle comes first: singular values are sorted from the largest down, and so "
                          "are their angles from the smallest up. You have turned them round.")  # fmt: skip
def largest_first(a, b):
    return _cosines(a, b).acos().flip(0)


@principal_angles.mistake("those are degrees. Asked for are radians, 0 … π/2.")
def in_degrees(a, b):
    return _cosines(a, b).acos() * 180 / math.pi


@principal_angles.mistake("those are the cosines. The angles are their arccos.")
def cosines(a, b):
    return _cosines(a, b)


@principal_angles.mistake(
    "you compare the first column with the first, the second with the second. Two bases of one subspace can have no "
    "column in common: take the singular values of $Q_a^\\top Q_b$."
)
def column_by_column(a, b):
    cosine = (torch.linalg.qr(a).Q * torch.linalg.qr(b).Q).sum(0).abs().clamp(max=1)
    return cosine.acos().sort().values


@principal_angles.mistake(
    "you take the diagonal of $Q_a^\\top Q_b$: that compares column with column. The cosines are its singular values."
)
def diagonal_of_the_products(a, b):
    qa, qb = torch.linalg.qr(a).Q, torch.linalg.qr(b).Q
    return (qa.T @ qb).diagonal().clamp(-1, 1).acos().sort().values


@principal_angles.mistake("you take eigenvalues. The cosines are the *singular* values of $Q_a^\\top Q_b$: `svdvals`.")
def eigenvalues(a, b):
    qa, qb = torch.linalg.qr(a).Q, torch.linalg.qr(b).Q
    return torch.linalg.eigvals(qa.T @ qb).abs().clamp(max=1).acos().sort().values


@principal_angles.mistake("the singular values are squared before arccos. They are the cosines as they are.")
def squared_cosines(a, b):
    qa, qb = torch.linalg.qr(a).Q, torch.linalg.qr(b).Q
    return torch.linalg.svdvals(qa.T @ qb).clamp(max=1).square().acos()


@principal_angles.mistake(
    "the cosines are cut well below 1, so that an angle of 0 never comes out. Cut at 1: only what rounding put "
    "above it."
)
def cut_below_1(a, b):
    return _cosines(a, b).clamp(max=1 - 1e-4).acos()


@principal_angles.mistake("those are the arcsines. The singular values are the *cosines* of the angles.")
def arcsine(a, b):
    return _cosines(a, b).clamp(max=1).asin().flip(0)


@principal_angles.mistake(
    "all your angles are 0, as if your bases spanned one and the same space: the whole one. Each basis has as many "
    "columns as `a`, k of D numbers: that of `qr(a)`, not of `qr(a.T)`; of a full `svd` the first k columns of U alone."
)
def bases_of_the_whole_space(a, b):
    p, q = torch.linalg.qr(a.T).Q, torch.linalg.qr(b.T).Q
    return torch.linalg.svdvals(p.T @ q).clamp(max=1).acos()


@principal_angles.mistake(
    "a mean is taken out of the columns. A subspace goes through the origin: nothing is centred here."
)
def centred(a, b):
    return _cosines(a - a.mean(0), b - b.mean(0)).clamp(max=1).acos()


@principal_angles.mistake("you take eigenvalues. The cosines are the *singular* values of $Q_a^\\top Q_b$: `svdvals`.")
def sizes_of_the_eigenvalues(a, b):
    p, q = torch.linalg.qr(a).Q, torch.linalg.qr(b).Q
    return torch.linalg.eigvals(p.T @ q).real.abs().clamp(max=1).acos().sort().values


# --- 4. Spoil it ------------------------------------------------------------------------------------------------------

corrupt = Exercise("corrupt", points=2, compare=close(), banned=LIBRARY)


@corrupt.cases
def _(g):
    x, noise = torch.tensor([[0.5, 1.0, 0.2, 0.8]]), torch.tensor([[1.0, 1.0, -1.0, 0.0]])
    yield Case((x, noise, torch.tensor([[0.9, 0.05, 0.5, 0.2]]), 0.3, 0.1), note="the example in the text")
    yield Case(
        (x, noise, torch.tensor([[0.0, 0.1, 0.25, 0.3]]), 0.0, 0.25),
        note="numbers equal to the share: those are not hidden",
    )
    yield Case((x, 3 * noise, torch.full((1, 4), 0.5), 0.5, 0.0), note="much noise, and a share of 0")
    for samples, inputs, sigma, share in ((4, 10, 0.3, 0.2), (6, 20, 0.6, 0.5), (3, 30, 0.1, 0.1)):
        x, choose = torch.rand(2, samples, inputs, generator=g)
        x = (1.6 * x - 0.3).clamp(0, 1)  # paper is exactly 0, and the blackest ink exactly 1
        yield x, torch.randn(samples, inputs, generator=g), choose, sigma, share


@corrupt.mistake("values below 0 or above 1 are no greys: cut to 0 … 1 after the noise.")
def not_cut(x, noise, choose, sigma, share):
    return (x + sigma * noise).masked_fill(choose < share, 0)


@corrupt.mistake("hidden pixels get noise, too: hide them *after* adding it. A hidden pixel is exactly 0.")
def hidden_before_the_noise(x, noise, choose, sigma, share):
    return (x.masked_fill(choose < share, 0) + sigma * noise).clamp(0, 1)


@corrupt.mistake("σ is the standard deviation: multiply the noise by σ itself, not by its root or its square.")
def sigma_squared(x, noise, choose, sigma, share):
    return (x + sigma**2 * noise).clamp(0, 1).masked_fill(choose < share, 0)


@corrupt.mistake("`choose < share` picks the pixels to hide; you hide the others.")
def the_others_are_hidden(x, noise, choose, sigma, share):
    return (x + sigma * noise).clamp(0, 1).masked_fill(choose >= share, 0)


@corrupt.mistake(
    "you scale the visible pixels by 1 / (1 − share), as dropout does. Here they keep their values: the model must "
    "learn from a spoiled picture, not from a brighter one."
)
def scaled_like_dropout(x, noise, choose, sigma, share):
    return (x + sigma * noise).clamp(0, 1).masked_fill(choose < share, 0) / (1 - share)


@corrupt.also("scaled_like_dropout")
def scaled_like_dropout_and_cut(x, noise, choose, sigma, share):
    return ((x + sigma * noise).masked_fill(choose < share, 0) / (1 - share)).clamp(0, 1)


@corrupt.mistake("a pixel whose number *equals* the share is not hidden: <, not ≤.")
def equal_is_hidden(x, noise, choose, sigma, share):
    return (x + sigma * noise).clamp(0, 1).masked_fill(choose <= share, 0)


@corrupt.mistake("the noise is not added.")
def without_noise(x, noise, choose, sigma, share):
    return x.masked_fill(choose < share, 0)


@corrupt.mistake("a hidden pixel is 0, the colour of paper; you set it to 1.")
def hidden_is_ink(x, noise, choose, sigma, share):
    return (x + sigma * noise).clamp(0, 1).masked_fill(choose < share, 1)


@corrupt.mistake("you multiply the noise by √σ. σ is its deviation already: x + σ ε.")
def root_of_sigma(x, noise, choose, sigma, share):
    return (x + sigma**0.5 * noise).clamp(0, 1).masked_fill(choose < share, 0)


@corrupt.mistake("the noise is not multiplied by σ.")
def noise_without_sigma(x, noise, choose, sigma, share):
    return (x + noise).clamp(0, 1).masked_fill(choose < share, 0)


@corrupt.mistake(
    "the noise is multiplied by the picture: dark paper gets none. It is *added*, equally strong at every pixel."
)
def noise_times_the_picture(x, noise, choose, sigma, share):
    return (x * (1 + sigma * noise)).clamp(0, 1).masked_fill(choose < share, 0)


@corrupt.mistake(
    "the picture is stretched to 0 … 1. What lies outside is *cut* to 0 or 1, and all else stays: `clamp`."
)
def stretched_instead_of_cut(x, noise, choose, sigma, share):
    y = x + sigma * noise
    return ((y - y.min()) / (y.max() - y.min())).masked_fill(choose < share, 0)


@corrupt.mistake("the *noise* is cut to 0 … 1, so that it can only add ink. Cut the sum x + σ ε.")
def noise_cut(x, noise, choose, sigma, share):
    return (x + (sigma * noise).clamp(0, 1)).clamp(0, 1).masked_fill(choose < share, 0)


@corrupt.mistake("the first number decides over its whole row. Each pixel has its own number in `choose`.")
def whole_rows_hidden(x, noise, choose, sigma, share):
    return (x + sigma * noise).clamp(0, 1).masked_fill(choose[:, :1] < share, 0)


@corrupt.mistake("only pixels with some ink get noise in yours. Paper, exactly 0, gets it, too: *every* pixel.")
@corrupt.breaks("noise of deviation $\\sigma$ on every pixel")
def noise_on_ink_alone(x, noise, choose, sigma, share):
    return torch.where(x > 0, x + sigma * noise, x).clamp(0, 1).masked_fill(choose < share, 0)


@corrupt.mistake(
    "what is above 1 begins again at 0 in yours (`%`, `remainder`, or a cast to small whole numbers). It is cut: 1.3 "
    "is 1, and −0.1 is 0."
)
def begins_again(x, noise, choose, sigma, share):
    return (x + sigma * noise).remainder(1.0).masked_fill(choose < share, 0)


# --- 5. A code with an error bar --------------------------------------------------------------------------------------

KL = ["torch.distributions.kl.kl_divergence", "torch.distributions.kl_divergence"]
draw_and_kl = Exercise(
    "draw_and_kl", points=2, compare=close(), banned=LIBRARY + KL, promises=Promises(gradients=(0, 1))
)


@draw_and_kl.cases
def _(g):
    log_variance = torch.tensor([[math.log(4.0), 0.0]])
    yield Case((torch.tensor([[1.0, 0.0]]), log_variance, torch.tensor([[0.5, -1.0]])), note="the example in the text")
    yield Case((torch.zeros(2, 3), torch.zeros(2, 3), torch.randn(2, 3, generator=g)), note="the prior itself")
    yield Case(
        (
            torch.tensor([[3.0], [0.0], [0.0], [0.0]]),
            torch.tensor([[0.0], [-60.0], [25.0], [-120.0]]),
            torch.ones(4, 1),
        ),
        note="one number in the code: a mean alone, small variances, a large one",
    )
    for samples, latent in ((4, 2), (5, 8), (3, 5)):
        mean, noise = torch.randn(2, samples, latent, generator=g)
        yield 2 * mean, 1.5 * torch.randn(samples, latent, generator=g) - 1, noise


def _kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """(N, L): of each number."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)


def _drawn(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    return mean + (log_variance / 2).exp() * noise


@draw_and_kl.mistake(
    "you multiply the noise by the *variance*. The standard deviation is its root: $e^{\\ell / 2}$, not $e^{\\ell}$."
)
def noise_times_variance(mean, log_variance, noise):
    return mean + log_variance.exp() * noise, _kl(mean, log_variance).sum(1)


@draw_and_kl.mistake(
    "you take $\\ell$ for the logarithm of the *deviation*. It is that of the variance, σ² = $e^\\ell$."
)
def logarithm_of_the_deviation(mean, log_variance, noise):
    return mean + log_variance.exp() * noise, _kl(mean, 2 * log_variance).sum(1)


@draw_and_kl.also("logarithm_of_the_deviation")
def deviation_in_both_and_its_logarithm_as_it_is(mean, log_variance, noise):
    kl = 0.5 * (mean**2 + (2 * log_variance).exp() - 1 - log_variance).sum(1)
    return mean + log_variance.exp() * noise, kl


@draw_and_kl.mistake("the KL is *summed* over the L numbers of a code; you take their mean.")
def mean_over_the_code(mean, log_variance, noise):
    return _drawn(mean, log_variance, noise), _kl(mean, log_variance).mean(1)


@draw_and_kl.mistake("the factor ½ of the KL is missing.")
def half_missing(mean, log_variance, noise):
    return _drawn(mean, log_variance, noise), 2 * _kl(mean, log_variance).sum(1)


@draw_and_kl.mistake("your KL has the wrong sign. It is never negative, and 0 for the prior alone.")
def negative_kl(mean, log_variance, noise):
    return _drawn(mean, log_variance, noise), -_kl(mean, log_variance).sum(1)


@draw_and_kl.mistake(
    "that is KL(prior ‖ code). The two are different: here the code's distribution comes first, KL(code ‖ prior)."
)
def the_other_way_round(mean, log_variance, noise):
    reverse = 0.5 * ((1 + mean**2) / log_variance.exp() - 1 + log_variance)
    return _drawn(mean, log_variance, noise), reverse.sum(1)


@draw_and_kl.mistake("one KL for each sample is asked for, (N,); you add up the batch.")
def summed_over_the_batch(mean, log_variance, noise):
    return _drawn(mean, log_variance, noise), _kl(mean, log_variance).sum()


@draw_and_kl.mistake("the code is not drawn: you return its mean. z = μ + σ · noise.")
def mean_without_noise(mean, log_variance, noise):
    return mean.clone(), _kl(mean, log_variance).sum(1)


@draw_and_kl.mistake(
    "you multiply the noise by √ℓ, as if ℓ were the variance. It is the variance's *logarithm*: $e^{\\ell/2}$."
)
def root_of_the_logarithm(mean, log_variance, noise):
    return mean + log_variance.abs().sqrt() * noise, _kl(mean, log_variance)


@draw_and_kl.mistake("the noise is multiplied by ln σ² itself. σ is $e^{\\ell/2}$.")
def noise_times_the_logarithm(mean, log_variance, noise):
    kl = (mean**2 + log_variance.exp() - 1 - log_variance).sum(1) / 2
    return mean + log_variance * noise, kl


@draw_and_kl.mistake("in the KL stands ln σ² where σ² belongs: $\\sigma^2 = e^{\\ell}$.")
def logarithm_in_place_of_the_variance(mean, log_variance, noise):
    kl = (mean**2 + log_variance**2 - 1 - log_variance).sum(1) / 2
    return mean + (log_variance / 2).exp() * noise, kl


@draw_and_kl.mistake("in the KL the mean is not squared: it is $\\mu_j^2$.")
def mean_not_squared(mean, log_variance, noise):
    kl = (mean.abs() + log_variance.exp() - 1 - log_variance).sum(1) / 2
    return mean + (log_variance / 2).exp() * noise, kl


@draw_and_kl.mistake("in the KL stand σ and ln σ where σ² and ln σ² belong: the draw needs σ, the KL the variance.")
def deviation_in_the_kl(mean, log_variance, noise):
    deviation = (log_variance / 2).exp()
    return mean + deviation * noise, (mean**2 + deviation - 1 - log_variance / 2).sum(1) / 2


@draw_and_kl.mistake("in the KL stands σ where σ² belongs: $e^\\ell$ is the variance, $e^{\\ell/2}$ the deviation.")
def deviation_for_the_variance_in_the_kl(mean, log_variance, noise):
    deviation = (log_variance / 2).exp()
    return mean + deviation * noise, (mean**2 + deviation - 1 - log_variance).sum(1) / 2


@draw_and_kl.mistake("in the KL stands ln σ where ln σ² belongs, half of it: what is taken off is $\\ell$ itself.")
def logarithm_halved_in_the_kl(mean, log_variance, noise):
    return _drawn(mean, log_variance, noise), (_kl(mean, log_variance) + log_variance / 4).sum(1)


@draw_and_kl.mistake("the KL ends in + ln σ² in yours. It is taken off: a small variance costs something, too.")
def logarithm_added(mean, log_variance, noise):
    kl = (mean**2 + log_variance.exp() - 1 + log_variance).sum(1) / 2
    return mean + (log_variance / 2).exp() * noise, kl


@draw_and_kl.mistake(
    "the KL takes ℓ for ln σ, so that it has e^{2ℓ} for σ² and 2ℓ for its logarithm. ℓ is ln σ² already: e^ℓ, and ℓ."
)
def logarithm_of_the_deviation_in_the_kl(mean, log_variance, noise):
    kl = 0.5 * (mean**2 + (2 * log_variance).exp() - 1 - 2 * log_variance).sum(1)
    return _drawn(mean, log_variance, noise), kl


@draw_and_kl.mistake(
    "ℓ is cut to some range, or a small number is added to the variance. ℓ may be any number: both formulas take it "
    "as it is."
)
@draw_and_kl.breaks("which may be any number")
def cut_to_a_range(mean, log_variance, noise):
    cut = log_variance.clamp(-30, 20)
    return _drawn(mean, cut, noise), _kl(mean, cut).sum(1)


@draw_and_kl.also("cut_to_a_range")
def more_variance_than_there_is(mean, log_variance, noise):
    variance = log_variance.exp() + 1e-12
    return mean + variance.sqrt() * noise, _kl(mean, variance.log()).sum(1)


@draw_and_kl.also("cut_to_a_range")
def cut_at_plus_and_minus_10(mean, log_variance, noise):
    cut = log_variance.clamp(-10, 10)
    return _drawn(mean, cut, noise), _kl(mean, cut).sum(1)


@draw_and_kl.also("cut_to_a_range")
def cut_at_plus_and_minus_10_in_the_draw_alone(mean, log_variance, noise):
    return _drawn(mean, log_variance.clamp(-10, 10), noise), _kl(mean, log_variance).sum(1)


@draw_and_kl.also("cut_to_a_range")
def cut_at_plus_and_minus_20(mean, log_variance, noise):
    cut = log_variance.clamp(-20, 20)
    return _drawn(mean, cut, noise), _kl(mean, cut).sum(1)


@draw_and_kl.mistake("that KL is in bits. Asked for are nats: the natural logarithm.")
def kl_in_bits(mean, log_variance, noise):
    return _drawn(mean, log_variance, noise), _kl(mean, log_variance).sum(1) / math.log(2)


@draw_and_kl.mistake(
    "you make the deviation with softplus. The network gives $\\ell = \\ln \\sigma^2$, so that $\\sigma = e^{\\ell / "
    "2}$."
)
def softplus(mean, log_variance, noise):
    deviation = torch.nn.functional.softplus(log_variance)
    return mean + deviation * noise, _kl(mean, (deviation**2).log()).sum(1)


@draw_and_kl.mistake(
    "your price hangs on the noise: it is that of this one draw, ln q(z) − ln p(z). The KL is its mean over all draws, "
    "and there is no ε in it."
)
def price_of_the_draw(mean, log_variance, noise):
    z = _drawn(mean, log_variance, noise)
    return z, 0.5 * (z**2 - noise**2 - log_variance).sum(1)


@draw_and_kl.mistake(
    "you take the logarithm of $e^\\ell$. Far below 0 that power is rounded to 0, and its "
    "logarithm is −∞: ln σ² is ℓ itself, which you were given."
)
def logarithm_of_the_power(mean, log_variance, noise):
    variance = log_variance.exp()
    return _drawn(mean, log_variance, noise), 0.5 * (mean**2 + variance - 1 - variance.log()).sum(1)


# --- 6. What a picture costs ------------------------------------------------------------------------------------------

CROSS_ENTROPY = [
    "torch.nn.functional.binary_cross_entropy",
    "torch.nn.functional.binary_cross_entropy_with_logits",
    "torch.distributions.Bernoulli",
]
elbo = Exercise("elbo", points=3, compare=close(), banned=LIBRARY + CROSS_ENTROPY, promises=Promises(gradients=(1, 2)))


@elbo.cases
def _(g):
    logits = torch.tensor([[[0.0, math.log(3.0)]]])
    yield Case((torch.tensor([[1.0, 0.0]]), logits, torch.tensor([0.5]), 1.0), note="the example in the text")
    yield Case(
        (torch.tensor([[1.0, 0.0, 0.5]]), torch.tensor([[[1000.0, 1000.0, -1000.0]]]), torch.zeros(1), 1.0),
        note="logits of 1000: 1 − p is 0 to the last digit",
    )
    yield Case(
        (torch.rand(3, 4, generator=g), 200 * torch.randn(2, 3, 4, generator=g), torch.zeros(3), 1.0),
        note="logits of some hundreds: sure, and wrong",
    )
    yield Case(
        (torch.rand(2, 3, generator=g), torch.randn(1, 2, 3, generator=g), torch.tensor([2.0, 5.0]), 0.0),
        note="β is 0: the KL costs nothing",
    )
    for draws, samples, inputs, beta in ((1, 4, 6, 1.0), (3, 5, 10, 4.0), (4, 2, 16, 0.25)):
        logits, kl = 2 * torch.randn(draws, samples, inputs, generator=g), 9 * torch.rand(samples, generator=g)
        yield torch.rand(samples, inputs, generator=g), logits, kl, beta


def _log_likelihood(x: Tensor, logits: Tensor) -> Tensor:
    """(S, N, D): ln p of every pixel. ln(1 - p) = ln p - logit."""
    log_p = torch.nn.functional.logsigmoid(logits)
    return x * log_p + (1 - x) * (log_p - logits)


@elbo.mistake(
    "the pixels are *summed*: together they are one picture. You take their mean, so the KL weighs D times too much."
)
def mean_over_pixels(x, logits, kl, beta):
    return _log_likelihood(x, logits).mean((0, 2)) - beta * kl


@elbo.mistake("β is cut to 1 in yours. It may be larger: the larger, the cheaper the code must be.")
@elbo.breaks("beta: weight of the KL, ≥ 0.")
def beta_at_most_1(x, logits, kl, beta):
    return _log_likelihood(x, logits).sum(2).mean(0) - min(beta, 1.0) * kl


@elbo.mistake("the KL is added. It is a cost: ELBO = reconstruction − β · KL.")
def kl_added(x, logits, kl, beta):
    return _log_likelihood(x, logits).sum(2).mean(0) + beta * kl


@elbo.mistake("β weighs the whole ELBO in yours. It weighs the KL alone.")
def beta_on_both(x, logits, kl, beta):
    return beta * (_log_likelihood(x, logits).sum(2).mean(0) - kl)


@elbo.mistake(
    "that is minus the ELBO, a loss. The ELBO itself is at most ln p(x), so for pixels 0 and 1 it is negative."
)
def minus_the_elbo(x, logits, kl, beta):
    return beta * kl - _log_likelihood(x, logits).sum(2).mean(0)


@elbo.mistake(
    "large logits give ln 0: sigmoid(1000) is 1 to the last digit. Use `logsigmoid`: ln p = logsigmoid(a), "
    "ln(1 − p) = logsigmoid(−a)."
)
def logarithm_of_zero(x, logits, kl, beta):
    p = logits.sigmoid()
    return (x * p.log() + (1 - x) * (1 - p).log()).sum(2).mean(0) - beta * kl


@elbo.mistake("only the ink counts in yours: x ln p. White pixels cost, too: (1 − x) ln(1 − p).")
def ink_alone(x, logits, kl, beta):
    return (x * torch.nn.functional.logsigmoid(logits)).sum(2).mean(0) - beta * kl


@elbo.mistake("the S draws are averaged, not added up.")
def draws_added_up(x, logits, kl, beta):
    return _log_likelihood(x, logits).sum((0, 2)) - beta * kl


@elbo.mistake(
    "you average the *likelihoods* of the draws and take the logarithm afterwards. The ELBO is the mean of the "
    "logarithms. (Yours, with the right weights, is another bound: that of importance-weighted autoencoders.)"
)
def logarithm_of_the_mean(x, logits, kl, beta):
    return _log_likelihood(x, logits).sum(2).logsumexp(0) - math.log(len(logits)) - beta * kl


@elbo.mistake("β is not used: it multiplies the KL.")
def beta_not_used(x, logits, kl, beta):
    return _log_likelihood(x, logits).sum(2).mean(0) - kl


@elbo.mistake("one number for each sample is asked for, (N,); yours is the mean of the batch.")
def mean_of_the_batch(x, logits, kl, beta):
    return (_log_likelihood(x, logits).sum(2).mean(0) - beta * kl).mean()


@elbo.mistake(
    "the probability is cut, or something small is added to it, before the logarithm: large logits cost too little."
)
def cut_before_the_logarithm(x, logits, kl, beta):
    p = logits.sigmoid().clamp(1e-7, 1 - 1e-7)
    return (x * p.log() + (1 - x) * (1 - p).log()).sum(2).mean(0) - beta * kl


@elbo.mistake("that is squared error. The formula takes the logarithm of each pixel's probability.")
def squared_error(x, logits, kl, beta):
    return -(logits.sigmoid() - x).square().sum(2).mean(0) - beta * kl


@elbo.mistake("only the first draw is used. The formula takes the mean over all S.")
def first_draw_alone(x, logits, kl, beta):
    log_p = torch.nn.functional.logsigmoid(logits[0])
    return (x * log_p + (1 - x) * (log_p - logits[0])).sum(1) - beta * kl


@elbo.mistake("the KL is averaged over the pictures. Each picture pays its own.")
def mean_kl(x, logits, kl, beta):
    log_p = torch.nn.functional.logsigmoid(logits)
    return (x * log_p + (1 - x) * (log_p - logits)).sum(2).mean(0) - beta * kl.mean()


@elbo.mistake("the logits of the draws are averaged first. What is averaged is the log-probability of each draw.")
def mean_of_the_logits(x, logits, kl, beta):
    return _log_likelihood(x, logits.mean(0, keepdim=True)).sum(2).mean(0) - beta * kl


@elbo.mistake(
    "the KL is divided by the number of draws. It is one number for each picture, however many draws there are."
)
def kl_divided_by_the_draws(x, logits, kl, beta):
    return _log_likelihood(x, logits).sum(2).mean(0) - beta * kl / len(logits)


@elbo.mistake("the pictures are made black and white first. A grey x counts for both: x ln p + (1 − x) ln(1 − p).")
def black_and_white(x, logits, kl, beta):
    return _log_likelihood((x > 0.5).to(logits.dtype), logits).sum(2).mean(0) - beta * kl


@elbo.mistake("β weighs the KL against 1 − β of the rest in yours. The first sum counts in full, whatever β is.")
def shared_out_by_beta(x, logits, kl, beta):
    return (1 - beta) * _log_likelihood(x, logits).sum(2).mean(0) - beta * kl


@elbo.mistake("you take the best of the draws. The ELBO is their *mean*.")
def best_of_the_draws(x, logits, kl, beta):
    return _log_likelihood(x, logits).sum(2).amax(0) - beta * kl


# --- 7. A walk between two codes --------------------------------------------------------------------------------------

latent_walk = Exercise("latent_walk", points=2, compare=close(rtol=3e-5, atol=1e-5), banned=LIBRARY)


@latent_walk.cases
def _(g):
    yield Case((torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]), 3), note="the example in the text")
    yield Case((torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 3.0]), 4), note="two codes of different lengths")
    yield Case(
        (torch.ones(2), 3 * torch.ones(2), 5),
        note="the same direction: a straight line, though rounding makes the cosine more than 1",
    )
    start, across = torch.linalg.qr(_double(g, 3, 2)).Q.T  # of length 1, at right angles
    for degrees, note in ((1.5, "codes 1.5° apart: the sine is above 1/1000"), (170, "codes that are nearly opposite")):
        angle = math.radians(degrees)
        end = 1000 * (math.cos(angle) * start + math.sin(angle) * across)
        yield Case((start.clone(), end, 11), note=note)
    for latent, steps in ((2, 2), (8, 7), (16, 10)):
        start, end = torch.randn(2, latent, generator=g)
        yield start, end, steps


latent_walk.equivalent("the inner product is symmetric", "dot([-start, end-]{+end, start+})")
latent_walk.equivalent("opposite codes are not asked for", "clamp(-[-1-]{+2+}, 1)")
latent_walk.equivalent("at the border itself both formulas give the same codes", "angle.sin() <{+=+} 0.001")
latent_walk.uncaught("it differs only for codes that are within 0.06° of being opposite", "angle[-.sin()-] < 0.001")


def _walk(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    cosine = torch.dot(start, end) / (start.norm() * end.norm())
    angle = cosine.clamp(-1, 1).acos()
    if angle.sin() < 1e-4:
        return start + t[:, None] * (end - start)
    a, b = ((1 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()
    return a[:, None] * start + b[:, None] * end


@latent_walk.mistake(
    "that is the straight line. It cuts through the inside of the sphere, where the prior has hardly any codes: go "
    "along the arc."
)
def straight_line(start, end, steps):
    t = torch.linspace(0, 1, steps)
    return start + t[:, None] * (end - start)


@latent_walk.mistake("your walk ends one step before the end: both ends belong to it, t = 0 and t = 1.")
def end_left_out(start, end, steps):
    return _walk(start, end, torch.arange(steps) / steps)


@latent_walk.mistake(
    "every code of your walk is as long as `start`, so that it does not arrive at `end`. In the formula both stand as "
    "they are, with their own lengths."
)
def as_long_as_the_start(start, end, steps):
    return _walk(start, end / end.norm() * start.norm(), torch.linspace(0, 1, steps))


@latent_walk.mistake("you walk from the end to the start: at t = 0 the weight of `start` is 1.")
def backwards(start, end, steps):
    return _walk(end, start, torch.linspace(0, 1, steps))


@latent_walk.mistake(
    "two codes in the same direction give 0/0 = nan, since sin Ω = 0, or acos of a cosine that rounding has made "
    "larger than 1. There the arc is a straight line."
)
def nan_for_one_direction(start, end, steps):
    t = torch.linspace(0, 1, steps)
    cosine = torch.dot(start, end) / (start.norm() * end.norm())
    angle = cosine.clamp(-1, 1).acos()
    if angle < 1e-3:
        return torch.full((steps, len(start)), math.nan)
    return _walk(start, end, t)


@latent_walk.mistake("the codes are scaled to length 1. Only the angle is taken from the scaled ones; the walk is not.")
def scaled_to_length_1(start, end, steps):
    return _walk(start / start.norm(), end / end.norm(), torch.linspace(0, 1, steps))


@latent_walk.mistake(
    "your weights are cos and sin of t · π/2: right for codes at right angles alone. Use the angle Ω between these two."
)
def always_a_right_angle(start, end, steps):
    t = torch.linspace(0, 1, steps)[:, None] * math.pi / 2
    return t.cos() * start + t.sin() * end


@latent_walk.mistake(
    "that is `steps` steps, and so steps + 1 codes. `steps` is how many codes there are, both ends among them."
)
def one_code_too_many(start, end, steps):
    return _walk(start, end, torch.linspace(0, 1, steps + 1))


@latent_walk.mistake(
    "the angle is taken from the inner product alone. Its cosine is the inner product *divided by both lengths*."
)
def angle_without_lengths(start, end, steps):
    t = torch.linspace(0, 1, steps, dtype=start.dtype)[:, None]
    angle = (start @ end).clamp(-1, 1).acos()
    if angle.sin() < 1e-3:
        return start + t * (end - start)
    return ((1 - t) * angle).sin() / angle.sin() * start + (t * angle).sin() / angle.sin() * end


@latent_walk.mistake(
    "you take the line for angles that are not that small: the arc ends where the *sine* is below 1/1000, at 0.06°. "
    "Near 180° there is an arc, too."
)
@latent_walk.breaks("take the line for all angles whose sine is below $10^{-3}$")
def line_for_small_angles(start, end, steps):
    cosine = start @ end / (start.norm() * end.norm())
    t = torch.linspace(0, 1, steps)
    return start + t[:, None] * (end - start) if cosine > 0.9995 else _walk(start, end, t)


@latent_walk.also("line_for_small_angles")
def line_for_large_angles(start, end, steps):
    cosine = start @ end / (start.norm() * end.norm())
    t = torch.linspace(0, 1, steps)
    return start + t[:, None] * (end - start) if abs(cosine) > 0.95 else _walk(start, end, t)


@latent_walk.mistake("the weights are not divided by sin Ω.")
def not_divided_by_the_sine(start, end, steps):
    angle = (start @ end / (start.norm() * end.norm())).clamp(-1, 1).acos()
    t = torch.linspace(0, 1, steps)[:, None]
    if angle.sin() < 1e-3:
        return start + t * (end - start)
    return ((1 - t) * angle).sin() * start + (t * angle).sin() * end


@latent_walk.mistake(
    "you bend the straight line to the right length: its steps along the arc are not equal. Take the two sines."
)
def bent_line(start, end, steps):
    t = torch.linspace(0, 1, steps)[:, None]
    line = start + t * (end - start)
    return line / line.norm(dim=1, keepdim=True) * ((1 - t) * start.norm() + t * end.norm())


@latent_walk.mistake(
    "for two codes in one direction you give the first one throughout. The line goes on to the second."
)
def stays_at_the_start(start, end, steps):
    angle = (start @ end / (start.norm() * end.norm())).clamp(-1, 1).acos()
    t = torch.linspace(0, 1, steps)[:, None]
    if angle.sin() < 1e-3:
        return start.expand(steps, -1).clone()
    return (((1 - t) * angle).sin() * start + (t * angle).sin() * end) / angle.sin()


@latent_walk.mistake("both ends are left out. They belong to the walk: t = 0 is `start`, t = 1 is `end`.")
def both_ends_left_out(start, end, steps):
    return _walk(start, end, torch.linspace(0, 1, steps + 2)[1:-1])


@latent_walk.mistake("an angle in degrees goes into sin. torch's functions count in radians: `acos()` as it is.")
def angle_in_degrees(start, end, steps):
    t = torch.linspace(0, 1, steps, dtype=start.dtype)[:, None]
    angle = torch.rad2deg((start @ end / (start.norm() * end.norm())).clamp(-1, 1).acos())
    if abs(angle.sin()) < 1e-3:
        return start + t * (end - start)
    return ((1 - t) * angle).sin() / angle.sin() * start + (t * angle).sin() / angle.sin() * end


@latent_walk.mistake(
    "your angle is at most 90°: the size of the cosine is taken, without its sign. Codes that point away from each "
    "other are more than 90° apart."
)
def never_more_than_a_right_angle(start, end, steps):
    angle = (torch.dot(start, end).abs() / (start.norm() * end.norm())).clamp(max=1).acos()
    t = torch.linspace(0, 1, steps)[:, None]
    if angle.sin() < 1e-3:
        return start + t * (end - start)
    return (((1 - t) * angle).sin() * start + (t * angle).sin() * end) / angle.sin()


@latent_walk.mistake(
    "the directions go along the arc and the lengths along a line of their own. In the formula the codes stand as they "
    "are."
)
def lengths_along_a_line(start, end, steps):
    t = torch.linspace(0, 1, steps)
    length = start.norm() + t * (end.norm() - start.norm())
    return length[:, None] * _walk(start / start.norm(), end / end.norm(), t)


# --- 8. Clean up ------------------------------------------------------------------------------------------------------

# Measured on eight draws of 200 digits: noise cut at one half 78 %, mean picture 79 %, PCA with 1 or 40 directions
# 81 % and 83 %; with 12 87 %, best linear denoiser 89 %, a denoising autoencoder and the exact mean over the training
# pictures 90 %. A test holds the threshold between the two groups.
clean_up = Exercise("clean_up", points=3, compare=accuracy(0.86), banned=LIBRARY, seconds=30)


@clean_up.cases
def _(g):
    left, right = torch.tensor([[1.0, 1, 1, 0, 0, 0]]), torch.tensor([[0, 0, 0, 1.0, 1, 1]])
    training = torch.cat([left, right]).repeat(20, 1)
    noisy = torch.tensor(
        [[0.9, 0.4, 0.8, 0.1, 0.3, 0.2], [0.1, 0.2, 0.6, 0.4, 1.1, 1.3], [0.2, 0.9, 1.4, 0.6, 0.2, 0.1]]
    )
    yield Case((training, noisy, 0.4), truth=torch.cat([left, right, left]) > 0.5, note="the example in the text")
    for _ in range(3):
        yield _digits(g, 400, 100, 0.5)


def _digits(g: torch.Generator, training: int, damaged: int, sigma: float) -> Case:
    """Digits of 8 × 8 to learn from, and others under noise (in steps of 1/256, which take less room)."""
    from sklearn.datasets import load_digits

    x = torch.tensor(load_digits().data, dtype=torch.float) / 16  # (1797, 64)
    x = x[torch.randperm(len(x), generator=g)[: training + damaged]]
    clean = x[training:]
    noisy = clean + sigma * torch.randn(clean.shape, generator=g)
    return Case((x[:training], (noisy * 256).round() / 256, sigma), truth=clean > 0.5)


def _projected(training: Tensor, noisy: Tensor, k: int, mean: Tensor) -> Tensor:
    rows = torch.linalg.svd(training - mean, full_matrices=False).Vh[:k]
    return (noisy - mean) @ rows.T @ rows + mean


@clean_up.mistake(
    "your ink is nearly that of the noisy pictures, cut at ½. Either you use nothing of the training pictures, or what "
    "you have trained copies its input: the target of a denoiser is the *clean* picture."
)
def cut_at_one_half(training, noisy, sigma):
    return noisy > 0.5


@clean_up.mistake("you answer with the mean picture, whatever is given. Each noisy picture still says something.")
def mean_picture(training, noisy, sigma):
    return (training.mean(0) > 0.5).expand(len(noisy), -1).clone()


@clean_up.mistake(
    "PCA with so few directions cannot draw ten different digits. Try more, and look at where it is best."
)
def one_direction(training, noisy, sigma):
    return _projected(training, noisy, 1, training.mean(0)) > 0.5


@clean_up.mistake("PCA with so many directions lets most of the noise pass. Try fewer, and look at where it is best.")
def too_many_directions(training, noisy, sigma):
    return _projected(training, noisy, 32, training.mean(0)) > 0.5


@clean_up.mistake("it is the other way round: True means ink, a value above ½.")
def turned_round(training, noisy, sigma):
    return _projected(training, noisy, 12, training.mean(0)) <= 0.5


@clean_up.mistake(
    "you look for directions in the *noisy* pictures. Their largest directions are noise for a good part; take those "
    "of the training pictures."
)
def directions_of_the_noise(training, noisy, sigma):
    return _projected(noisy, noisy, 24, noisy.mean(0)) > 0.5


@clean_up.mistake("you say that there is no ink anywhere. Cut what you have cleaned at ½, pixel by pixel.")
def no_ink_at_all(training, noisy, sigma):
    return torch.zeros(noisy.shape, dtype=torch.bool)


@clean_up.mistake(
    "mean and covariance are those of the *noisy* pictures, whose spread is mostly noise. Take them from the clean "
    "training pictures."
)
def learned_from_the_noisy(training, noisy, sigma):
    mean = noisy.mean(0)
    spread = (noisy - mean).T @ (noisy - mean) / len(noisy)
    eye = torch.eye(len(spread), dtype=spread.dtype)
    return mean + (noisy - mean) @ torch.linalg.solve(spread + sigma**2 * eye, spread) > 0.5


@clean_up.mistake(
    "the covariance is not divided by N, so σ² is next to nothing beside it and the noise passes. Σ is the *mean* of "
    "the products."
)
def covariance_not_divided(training, noisy, sigma):
    mean = training.mean(0)
    spread = (training - mean).T @ (training - mean)
    eye = torch.eye(len(spread), dtype=spread.dtype)
    return mean + (noisy - mean) @ torch.linalg.solve(spread + sigma**2 * eye, spread) > 0.5


@clean_up.mistake(
    "the mean is not taken out of the noisy pictures (or not put back in). The matrix is applied to what a picture has "
    "*beyond* the mean, and then the mean comes back."
)
def mean_forgotten(training, noisy, sigma):
    mean = training.mean(0)
    covariance = (training - mean).T @ (training - mean) / len(training)
    return noisy @ torch.linalg.solve(covariance + sigma**2 * torch.eye(len(mean)), covariance) > 0.5


@clean_up.also("mean_forgotten")
def mean_not_put_back(training, noisy, sigma):
    mean = training.mean(0)
    covariance = (training - mean).T @ (training - mean) / len(training)
    return (noisy - mean) @ torch.linalg.solve(covariance + sigma**2 * torch.eye(len(mean)), covariance) > 0.5


@clean_up.also("one_direction")
def two_directions(training, noisy, sigma):
    return _projected(training, noisy, 2, training.mean(0)) > 0.5


# --- Promises ---------------------------------------------------------------------------------------------------------
# Wrong answers whose values may be right: each breaks a sentence of the statement, and has to lose by it.


@corrupt.breaks("Leave `x` as it was")
def spoiled_in_the_argument(x, noise, choose, sigma, share):
    x += sigma * noise
    return x.clamp_(0, 1).masked_fill(choose < share, 0)


@pca.breaks("it leaves its arguments as they were")
def centred_in_the_argument(x, k):
    mean = x.mean(0)
    x -= mean
    directions, s = _svd(x, k)
    return mean, directions, s**2 / len(x)


@pca.breaks("the entry of $v_j$ that is largest in size is positive")
def sum_is_positive(x, k):
    mean = x.mean(0)
    found = torch.linalg.svd(x - mean, full_matrices=False)
    rows = found.Vh[:k]
    return mean, rows * rows.sum(1, keepdim=True).sign(), found.S[:k] ** 2 / len(x)


@principal_angles.breaks("cut it to at most 1")
def cosine_not_cut(a, b):
    return torch.linalg.svdvals(torch.linalg.qr(a).Q.T @ torch.linalg.qr(b).Q).acos()


@draw_and_kl.breaks("gradients flow through the draw to the mean and to the variance")
def draw_cut_off(mean, log_variance, noise):
    kl = (mean**2 + log_variance.exp() - 1 - log_variance).sum(1) / 2
    return (mean + (log_variance / 2).exp() * noise).detach(), kl


@draw_and_kl.breaks("gradients flow through the draw to the mean and to the variance")
def drawn_in_numpy(mean, log_variance, noise):
    m, v, e = mean.numpy(), log_variance.numpy(), noise.numpy()
    exp = torch.from_numpy(v).exp().numpy()
    return torch.tensor(m + exp**0.5 * e), torch.tensor((m**2 + exp - 1 - v).sum(1) / 2)


@elbo.breaks("Gradients must reach `logits` and `kl`")
def bound_in_numpy(x, logits, kl, beta):
    a = torch.from_numpy(logits.numpy())
    nats = x * torch.nn.functional.logsigmoid(a) + (1 - x) * torch.nn.functional.logsigmoid(-a)
    return nats.sum(-1).mean(0) - beta * kl


@elbo.breaks("A logit of 1000 gives")
def logarithm_of_a_sigmoid(x, logits, kl, beta):
    p = logits.sigmoid()
    return (x * (p + 1e-9).log() + (1 - x) * (1 - p + 1e-9).log()).sum(-1).mean(0) - beta * kl
