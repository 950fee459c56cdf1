"""Assignment 7, contrastive learning: what is asked, how it is compared, and the mistakes we know by name.

Each exercise stands in one place: points and comparison, then its cases (small ones that can be checked by hand, then
random ones; the same function draws the visible and the hidden cases), then wrong functions with the hint for those who
wrote them.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from autograder.author.exercise import Case, Exercise, Promises, Recipe, accuracy, close
from course_utils.data import captioned
from course_utils.models.convnet import small_encoder

LIBRARY = [
    "course_utils.learn.losses.nt_xent",
    "course_utils.learn.losses.sup_con",
    "course_utils.learn.losses.info_nce",
    "course_utils.learn.losses.clip_loss",
    "course_utils.learn.evaluate.alignment",
    "course_utils.learn.evaluate.uniformity",
    "course_utils.learn.evaluate.info_nce_bound",
    "course_utils.learn.evaluate.hsic",
    "course_utils.learn.augment.two_views",
    "course_utils.learn.augment.crop_resize",
]


def _unit(z: Tensor) -> Tensor:
    return z / z.norm(dim=1, keepdim=True)


# --- 1. Two views of each picture -------------------------------------------------------------------------------------

two_views = Exercise("two_views", points=3, compare=close(), banned=LIBRARY)


@two_views.cases
def _(g):
    picture = torch.arange(9.0).view(1, 1, 3, 3)
    no = torch.zeros(2, 1, dtype=torch.bool)
    yield Case((picture, torch.tensor([[0], [1]]), torch.tensor([[0], [1]]), ~no, 2), note="the example in the text")
    yield Case((picture, torch.tensor([[1], [0]]), torch.tensor([[0], [1]]), no, 2), note="nothing is mirrored")
    for n, channels, height, width, side in ((3, 1, 5, 7, 4), (4, 3, 8, 8, 6), (5, 3, 9, 6, 3)):
        top = torch.randint(height - side + 1, (2, n), generator=g)
        left = torch.randint(width - side + 1, (2, n), generator=g)
        top[0, 0], top[1, 0], left[0, 1], left[1, 1] = 0, 1, 2, 1
        flip = torch.rand(2, n, generator=g) < 0.5
        flip[:, 0], flip[:, 1] = torch.tensor([True, False]), torch.tensor([False, True])
        yield torch.rand(n, channels, height, width, generator=g), top, left, flip, side


def _view(image: Tensor, top: Tensor, left: Tensor, flip: Tensor, side: int) -> Tensor:
    cut = image[:, int(top) : int(top) + side, int(left) : int(left) + side]
    return cut.flip(2) if flip else cut


@two_views.mistake(
    "your rows alternate: view 1 of picture 0, view 2 of picture 0, view 1 of picture 1 … Asked for are all first "
    "views, then all second views: row i and row N + i belong together."
)
def views_alternate(images, top, left, flip, side):
    rows = [(v, i) for i in range(len(images)) for v in range(2)]
    return torch.stack([_view(images[i], top[v, i], left[v, i], flip[v, i], side) for v, i in rows])


@two_views.mistake("both views of a picture are cut at the same place: the second has places and a flip of its own.")
def same_view_twice(images, top, left, flip, side):
    return torch.stack([_view(images[i], top[0, i], left[0, i], flip[0, i], side) for i in range(len(images))] * 2)


@two_views.mistake("top and left are exchanged: `top` counts rows, the third axis of `images`; `left` counts columns.")
def rows_and_columns_exchanged(images, top, left, flip, side):
    found = []
    for v in range(2):
        for i, image in enumerate(images):
            row, column = (int(a[v, i].clamp(max=n - side)) for a, n in zip((left, top), image.shape[1:]))
            found.append(_view(image, row, column, flip[v, i], side))
    return torch.stack(found)


@two_views.also("rows_and_columns_exchanged")
def rows_and_columns_exchanged_as_far_as_they_go(images, top, left, flip, side):
    places = [(v, i) for v in range(2) for i in range(len(images))]
    return torch.stack([_view(images[i], left[v, i], top[v, i], flip[v, i], side) for v, i in places])


@two_views.mistake("your flip turns the picture upside down. Mirror left and right: the last axis.")
def upside_down(images, top, left, flip, side):
    found = []
    for v in range(2):
        for i, image in enumerate(images):
            cut = _view(image, top[v, i], left[v, i], torch.tensor(False), side)
            found.append(cut.flip(1) if flip[v, i] else cut)
    return torch.stack(found)


@two_views.mistake("nothing is mirrored: flip[v, i] says whether view v of picture i is.")
def never_mirrored(images, top, left, flip, side):
    return torch.stack(
        [_view(images[i], top[v, i], left[v, i], torch.tensor(False), side) for v in (0, 1) for i in range(len(images))]
    )


@two_views.mistake("every picture is cut at the place of picture 0: each has a place of its own.")
def one_place_for_all(images, top, left, flip, side):
    return torch.stack(
        [_view(images[i], top[v, 0], left[v, 0], flip[v, 0], side) for v in (0, 1) for i in range(len(images))]
    )


@two_views.mistake(
    "the second views are cut at the places of the first ones: view v of picture i has top[v, i] and left[v, i]."
)
def places_of_the_first_views(images, top, left, flip, side):
    rows = [(v, i) for v in range(2) for i in range(len(images))]
    return torch.stack([_view(images[i], top[0, i], left[0, i], flip[v, i], side) for v, i in rows])


@two_views.mistake(
    "you mirror the whole picture and cut afterwards, so `left` counts from the other side. Cut first, then mirror the "
    "square."
)
def mirrored_before_the_cut(images, top, left, flip, side):
    no, found = torch.tensor(False), []
    for v in range(2):
        for i, image in enumerate(images):
            found.append(_view(image.flip(2) if flip[v, i] else image, top[v, i], left[v, i], no, side))
    return torch.stack(found)


def _views(images, top, left, flip, side, mirror=lambda cut: cut.flip(2), order=(0, 1)) -> Tensor:
    """All views; `mirror` is what is done where `flip` says so."""
    no, found = torch.tensor(False), []
    for v in order:
        for i, image in enumerate(images):
            cut = _view(image, top[v, i], left[v, i], no, side)
            found.append(mirror(cut) if flip[v, i] else cut)
    return torch.stack(found)


@two_views.mistake(
    "your flip turns the square by half a turn: it mirrors rows *and* columns. Left and right alone: the last axis."
)
def half_a_turn(images, top, left, flip, side):
    return _views(images, top, left, flip, side, lambda cut: cut.flip(1, 2))


@two_views.mistake("your flip exchanges the colours: it turns the axis of the channels round. Mirror the last axis.")
def channels_turned_round(images, top, left, flip, side):
    return _views(images, top, left, flip, side, lambda cut: cut.flip(0))


@two_views.mistake(
    "your flip exchanges rows and columns (a transpose). It mirrors left and right: the last axis, turned."
)
def transposed_for_mirrored(images, top, left, flip, side):
    return _views(images, top, left, flip, side, lambda cut: cut.mT)


@two_views.mistake("all second views come first. First the first views of all pictures, then the second ones.")
def second_views_first(images, top, left, flip, side):
    return _views(images, top, left, flip, side, order=(1, 0))


@two_views.mistake(
    "your squares are one pixel too small: a slice ends *before* its second number, so it is l : l + side."
)
def one_pixel_too_small(images, top, left, flip, side):
    return _views(images, top, left, torch.zeros_like(flip), side - 1)


@two_views.mistake("those are mirrored that should not be, and the others are not: `flip` says which *are*.")
def the_others_mirrored(images, top, left, flip, side):
    return _views(images, top, left, ~flip, side)


@two_views.mistake(
    "both views of a picture are mirrored alike, as the first one is. Each has a flip of its own: flip[v, i]."
)
def flips_of_the_first_views(images, top, left, flip, side):
    return _views(images, top, left, flip[[0, 0]], side)


# --- 2. NT-Xent -------------------------------------------------------------------------------------------------------

CROSS_ENTROPY = ["torch.nn.functional.cross_entropy", "torch.nn.functional.nll_loss"]
nt_xent_loss = Exercise(
    "nt_xent_loss",
    points=4,
    compare=close(atol=3e-5),
    banned=LIBRARY + CROSS_ENTROPY,
    promises=Promises(gradients=(0, 1)),
)


@nt_xent_loss.cases
def _(g):
    east, north = [1.0, 0.0], [0.0, 1.0]
    yield Case(
        (torch.tensor([east, north]), torch.tensor([[3.0, 0.0], [0.0, 2.0]]), 1.0), note="the example in the text"
    )
    yield Case(
        (torch.tensor([[2.0, 1.0], [1.0, 3.0]]), torch.tensor([[1.0, -1.0], [4.0, 1.0]]), 0.5),
        note="vectors of different lengths",
    )
    z1, z2 = torch.randn(2, 3, 4, generator=g)
    yield Case((z1, z1 + 0.1 * z2, 0.002), note="a small temperature: cosines / temperature up to 500")
    yield Case((z1, 0.1 * z2 - z1, 0.002), note="a small temperature, and each partner is thought impossible")
    for n, dim, temperature in ((2, 3, 0.1), (5, 8, 0.5), (16, 4, 2.0)):
        z1, z2 = torch.randn(2, n, dim, generator=g)
        size = 1e-3 if n == 16 else 3  # no length is too small for a direction
        short = "vectors much shorter than 1, which have a direction like all others"
        yield Case((size * z1, z1 + z2, temperature), note=short if size < 1 else "")


nt_xent_loss.equivalent("`normalize` goes along dimension 1 by default", "z2])[-, dim=1-]")
nt_xent_loss.equivalent(
    "the similarities are symmetric: the columns hold the losses of the same pairs, in another order",
    "log_softmax([-1-]{+0+})",
)


def _nt_xent(z: Tensor, temperature: float, partner: Tensor | None = None, itself: bool = False) -> Tensor:
    """(2N,) the loss of each view."""
    n = len(z) // 2
    logits = z @ z.T / temperature
    if not itself:
        logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
    partner = torch.arange(2 * n).roll(n) if partner is None else partner
    return -logits.log_softmax(1)[torch.arange(2 * n), partner]


@nt_xent_loss.mistake(
    "you divide by the length only where it is large enough: short vectors stay short. Vectors of any length come in, "
    "and each is brought to length 1."
)
@nt_xent_loss.breaks("Vectors of any length come in.")
def short_vectors_stay_short(z1, z2, temperature):
    z = torch.cat([z1, z2])
    return _nt_xent(z / z.norm(dim=1, keepdim=True).clamp(min=1), temperature).mean()


@nt_xent_loss.mistake(
    "the vectors are not brought to length 1. s is the *cosine*: divide each row by its length first, else a network "
    "lowers the loss by making its vectors longer."
)
def not_normalised(z1, z2, temperature):
    return _nt_xent(torch.cat([z1, z2]), temperature).mean()


@nt_xent_loss.mistake(
    "each view is among its own candidates, and its cosine with itself is 1, the largest there is. Leave k = i out of "
    "the sum (set its logit to −∞)."
)
def itself_among_the_candidates(z1, z2, temperature):
    return _nt_xent(_unit(torch.cat([z1, z2])), temperature, itself=True).mean()


@nt_xent_loss.mistake(
    "the candidates of a first view are the second views alone (that is CLIP's loss). Here all the 2N − 1 other views "
    "are candidates, first ones too."
)
def candidates_from_the_other_side_only(z1, z2, temperature):
    logits = _unit(z1) @ _unit(z2).T / temperature
    return -(logits.log_softmax(1).diag().mean() + logits.log_softmax(0).diag().mean()) / 2


@nt_xent_loss.mistake("only the first views are anchors. The mean goes over all 2N views.")
def only_first_views_are_anchors(z1, z2, temperature):
    return _nt_xent(_unit(torch.cat([z1, z2])), temperature)[: len(z1)].mean()


@nt_xent_loss.mistake("you multiply by the temperature. The logits are cosine / temperature.")
def multiplied_by_the_temperature(z1, z2, temperature):
    return _nt_xent(_unit(torch.cat([z1, z2])), 1 / temperature).mean()


@nt_xent_loss.mistake(
    "you take the neighbour in the list for the partner (rows 0 and 1, 2 and 3, …). After cat([z1, z2]) the partner of "
    "row i is row i + N, and the other way round."
)
def neighbour_is_the_partner(z1, z2, temperature):
    z = _unit(torch.cat([z1, z2]))
    return _nt_xent(z, temperature, torch.arange(len(z)) ^ 1).mean()


@nt_xent_loss.mistake(
    "the partner is missing from the sum below the line. The sum goes over all k ≠ i, so the partner's term stands in "
    "it too."
)
def partner_not_in_the_sum(z1, z2, temperature):
    z = _unit(torch.cat([z1, z2]))
    n, index = len(z1), torch.arange(len(z))
    logits = z @ z.T / temperature
    own = logits[index, index.roll(n)]
    hidden = torch.eye(2 * n, dtype=torch.bool) | (index[:, None] == index.roll(n)[None])
    return (logits.masked_fill(hidden, -math.inf).logsumexp(1) - own).mean()


@nt_xent_loss.mistake("that is the sum over the views. Divide it by 2N.")
def sum_instead_of_mean(z1, z2, temperature):
    return _nt_xent(_unit(torch.cat([z1, z2])), temperature).sum()


@nt_xent_loss.mistake(
    "the diagonal gets the logit 0, and $e^0 = 1$: each view still counts among its own candidates. The logit that "
    "leaves it out is −∞."
)
def diagonal_set_to_zero(z1, z2, temperature):
    z = _unit(torch.cat([z1, z2]))
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), 0)
    return -logits.log_softmax(1)[torch.arange(len(z)), torch.arange(len(z)).roll(len(z1))].mean()


@nt_xent_loss.mistake(
    "softmax first and its logarithm then: a partner that is very unlikely is rounded to 0, and its logarithm is −∞. "
    "`log_softmax` does both in one."
)
@nt_xent_loss.breaks("A small temperature makes logits of some hundreds")
def logarithm_of_the_softmax(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    n = len(z1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
    return -logits.softmax(1)[torch.arange(2 * n), torch.arange(2 * n).roll(n)].log().mean()


@nt_xent_loss.mistake(
    "something small is added before the logarithm, so no view can cost more than about 20 nats. Take `log_softmax`, "
    "which needs no help."
)
@nt_xent_loss.breaks("A small temperature makes logits of some hundreds")
def cut_before_the_logarithm(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    n = len(z1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
    return -(logits.softmax(1)[torch.arange(2 * n), torch.arange(2 * n).roll(n)] + 1e-8).log().mean()


@nt_xent_loss.mistake("the temperature is kept at 0.01 or more. Take the one that is given, however small it is.")
@nt_xent_loss.breaks("A small temperature makes logits of some hundreds")
def temperature_with_a_floor(z1, z2, temperature):
    return _nt_xent(F.normalize(torch.cat([z1, z2]), dim=1), max(temperature, 0.01)).mean()


@nt_xent_loss.mistake(
    "the columns are normalised, not the rows: each *vector* gets the length 1, `F.normalize(…, dim=1)`."
)
def columns_normalised(z1, z2, temperature):
    return _nt_xent(F.normalize(torch.cat([z1, z2]), dim=0), temperature).mean()


@nt_xent_loss.mistake(
    "first views look for their partner among the second views alone, and second views for nothing. All 2N are "
    "anchors, and all but the anchor itself are candidates."
)
def first_against_second(z1, z2, temperature):
    logits = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T / temperature
    return -logits.log_softmax(1).diagonal().mean()


@nt_xent_loss.mistake(
    "s is minus the *distance* in yours. It is the cosine: the inner product of the vectors of length 1."
)
def distances_for_cosines(z1, z2, temperature):
    z = _unit(torch.cat([z1, z2]))
    logits = (-torch.cdist(z, z) / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    rows = torch.arange(len(z))
    return -logits.log_softmax(1)[rows, rows.roll(len(z1))].mean()


@nt_xent_loss.mistake(
    "all vectors are divided by *one* length, that of the whole table. Each row has its own: `norm(dim=1, …)`."
)
def one_length_for_all(z1, z2, temperature):
    z = torch.cat([z1, z2])
    z = z / z.norm()
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    rows = torch.arange(len(z))
    return -logits.log_softmax(1)[rows, rows.roll(len(z1))].mean()


@nt_xent_loss.mistake(
    "s is minus the *squared distance* in yours, which is 2 cos − 2 for vectors of length 1: twice as steep. It is the "
    "cosine itself."
)
def squared_distances_for_cosines(z1, z2, temperature):
    return _nt_xent(_unit(torch.cat([z1, z2])), temperature / 2).mean()


@nt_xent_loss.mistake(
    "on the diagonal stands a finite number in place of a view's cosine with itself (−1, say): it still counts among "
    "its own candidates. What leaves it out is −∞."
)
def itself_as_the_opposite(z1, z2, temperature):
    z = _unit(torch.cat([z1, z2]))
    logits = (z @ z.T).masked_fill(torch.eye(len(z), dtype=torch.bool), -1) / temperature
    return -logits.log_softmax(1)[torch.arange(len(z)), torch.arange(len(z)).roll(len(z1))].mean()


@nt_xent_loss.mistake(
    "something is added to the lengths before you divide, so that the cosines come out too small. `F.normalize` needs "
    "no help."
)
def something_added_to_the_lengths(z1, z2, temperature):
    z = torch.cat([z1, z2])
    return _nt_xent(z / (z.norm(dim=1, keepdim=True) + 1e-3), temperature).mean()


# --- 3. With labels ---------------------------------------------------------------------------------------------------

sup_con_loss = Exercise(
    "sup_con_loss", points=3, compare=close(atol=3e-5), banned=LIBRARY, promises=Promises(gradients=(0,))
)


@sup_con_loss.cases
def _(g):
    z = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    yield Case((z, torch.tensor([7, 7, 9]), 1.0), note="the example in the text")
    yield Case(
        (torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 3.0], [-1.0, 0.0]]), torch.tensor([0, 0, 0, 1]), 0.5),
        note="three of one class, and one alone in its class",
    )
    yield Case(
        (torch.randn(6, 3, generator=g), torch.tensor([0, 0, 1, 1, 2, 0]), 0.005),
        note="a small temperature: cosines / temperature up to 200",
    )
    for n, dim, classes, temperature in ((8, 3, 3, 0.1), (12, 6, 4, 0.5), (15, 5, 2, 1.5)):
        labels = torch.randint(classes, (n,), generator=g)
        labels[1:4] = 0  # one class has at least three
        if classes > 2:
            labels[0] = classes  # it is alone in its class
        labels[4] = 1
        labels[5] = 1
        note = "labels are names: any whole numbers" if n == 8 else ""
        labels = 100 * labels - 200 if n == 8 else labels
        yield Case(((1e-3 if n == 12 else 2) * torch.randn(n, dim, generator=g), labels, temperature), note=note)


sup_con_loss.equivalent("`normalize` goes along dimension 1 by default", "F.normalize(z[-, dim=1-])")
sup_con_loss.equivalent(
    "similarities and positives are symmetric, and positives have equally many positives: the sum has the same terms",
    "log_softmax([-1-]{+0+})",
    "masked_fill(~positive, 0).sum([-1-]{+0+})",
)
sup_con_loss.equivalent("the positives are symmetric", "positive.sum([-1-]{+0+})")
sup_con_loss.equivalent(
    "anchors without positives are left out in the next line", "count[-.clamp(min=1)-]", "clamp(min=[-1-]{+0+})"
)


def _parts(z: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """(N, N) ln P of each candidate, and which are positives."""
    itself = torch.eye(len(z), dtype=torch.bool)
    log_p = (z @ z.T / temperature).masked_fill(itself, -math.inf).log_softmax(1)
    return log_p, (labels[:, None] == labels[None, :]) & ~itself


def _over_anchors(per_anchor: Tensor, count: Tensor) -> Tensor:
    return per_anchor[count > 0].mean()


@sup_con_loss.mistake(
    "the anchors' positives are averaged *inside* the logarithm. First −ln P of each positive, then the mean: only "
    "then does each positive have to be found."
)
def mean_inside_the_logarithm(z, labels, temperature):
    log_p, positive = _parts(_unit(z), labels, temperature)
    count = positive.sum(1)
    inside = -log_p.masked_fill(~positive, -math.inf).logsumexp(1) + count.clamp(min=1).log()
    return _over_anchors(inside, count)


@sup_con_loss.mistake(
    "all pairs of one class are averaged in one go, so that a large class counts more. First the mean over each "
    "anchor's positives, then the mean over the anchors."
)
def mean_over_all_pairs(z, labels, temperature):
    log_p, positive = _parts(_unit(z), labels, temperature)
    return -log_p[positive].mean()


@sup_con_loss.mistake(
    "an anchor that is alone in its class counts with a loss of 0. It has nothing to find: leave it out of the mean, "
    "and of its count."
)
def lonely_anchors_count_as_zero(z, labels, temperature):
    log_p, positive = _parts(_unit(z), labels, temperature)
    return (-log_p.masked_fill(~positive, 0).sum(1) / positive.sum(1).clamp(min=1)).mean()


@sup_con_loss.mistake("an anchor that is alone in its class gives 0/0 = nan. Leave such anchors out.")
def nan_for_lonely_anchors(z, labels, temperature):
    log_p, positive = _parts(_unit(z), labels, temperature)
    return (-log_p.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()


@sup_con_loss.mistake(
    "each vector is among its own positives: its cosine with itself is 1 whatever the network does. Leave it out of "
    "the positives, and of the sum below the line."
)
def itself_is_a_positive(z, labels, temperature):
    z = _unit(z)
    log_p, positive = (z @ z.T / temperature).log_softmax(1), labels[:, None] == labels[None, :]
    return (-(log_p * positive).sum(1) / positive.sum(1)).mean()


@sup_con_loss.mistake("the vectors are not brought to length 1: the logits are cosines / temperature.")
def vectors_not_normalised(z, labels, temperature):
    log_p, positive = _parts(z, labels, temperature)
    count = positive.sum(1)
    return _over_anchors(-log_p.masked_fill(~positive, 0).sum(1) / count.clamp(min=1), count)


@sup_con_loss.mistake("that is the sum over the anchors' positives. Divide by how many positives each anchor has.")
def sum_over_the_positives(z, labels, temperature):
    log_p, positive = _parts(_unit(z), labels, temperature)
    return _over_anchors(-log_p.masked_fill(~positive, 0).sum(1), positive.sum(1))


@sup_con_loss.mistake(
    "each vector is among its own candidates: the sum below the line goes over k ≠ i. Set the diagonal's logits to −∞."
)
def itself_below_the_line(z, labels, temperature):
    z = _unit(z)
    _, positive = _parts(z, labels, temperature)
    log_p = (z @ z.T / temperature).log_softmax(1)
    count = positive.sum(1)
    return _over_anchors(-log_p.masked_fill(~positive, 0).sum(1) / count.clamp(min=1), count)


@sup_con_loss.mistake(
    "the positives are missing from the sum below the line. It goes over all k ≠ i, the positives among them, so that "
    "each term is −ln of a probability."
)
def positives_not_in_the_sum(z, labels, temperature):
    z = _unit(z)
    _, positive = _parts(z, labels, temperature)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    others = logits.masked_fill(positive, -math.inf).logsumexp(1, keepdim=True)
    count = positive.sum(1)
    return _over_anchors((others - logits).masked_fill(~positive, 0).sum(1) / count.clamp(min=1), count)


@sup_con_loss.mistake(
    "below the line stand only the negatives and the one positive that is above it. The sum goes over all k ≠ i, the "
    "other positives among them."
)
def other_positives_not_in_the_sum(z, labels, temperature):
    z = _unit(z)
    _, positive = _parts(z, labels, temperature)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    others = logits.masked_fill(positive, -math.inf).logsumexp(1, keepdim=True)
    count = positive.sum(1)
    terms = torch.logaddexp(others, logits) - logits
    return _over_anchors(terms.masked_fill(~positive, 0).sum(1) / count.clamp(min=1), count)


@sup_con_loss.mistake(
    "on the diagonal you multiply −∞ by 0, which is nan, and that spreads to the whole sum. Set what is no positive to "
    "0 with `masked_fill` or `torch.where`; do not multiply."
)
def infinity_times_zero(z, labels, temperature):
    log_p, positive = _parts(_unit(z), labels, temperature)
    count = positive.sum(1)
    return _over_anchors(-(log_p * positive).sum(1) / count.clamp(min=1), count)


@sup_con_loss.mistake(
    "views that are alone in their class are thrown out of the batch. They are no anchors, but the others still have "
    "them among their candidates."
)
def lonely_ones_thrown_out(z, labels, temperature):
    kept = (labels[:, None] == labels).sum(1) > 1
    log_p, positive = _parts(F.normalize(z[kept], dim=1), labels[kept], temperature)
    return (-log_p.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()


@sup_con_loss.mistake(
    "only the first positive of each anchor counts. An anchor has to find *each* of them: take their mean."
)
def first_positive_alone(z, labels, temperature):
    log_p, positive = _parts(F.normalize(z, dim=1), labels, temperature)
    first = positive.int().argmax(1)
    return _over_anchors(-log_p[torch.arange(len(z)), first], positive.sum(1))


@sup_con_loss.mistake(
    "the probabilities of the positives are added up, and one logarithm is taken of the sum. Take the logarithm of "
    "each, then the mean."
)
def sum_inside_the_logarithm(z, labels, temperature):
    log_p, positive = _parts(F.normalize(z, dim=1), labels, temperature)
    per_anchor = -log_p.masked_fill(~positive, -math.inf).logsumexp(1)
    return _over_anchors(per_anchor, positive.sum(1))


@sup_con_loss.mistake("this is the sum over the anchors. Divide it by how many have a positive.")
def sum_over_the_anchors(z, labels, temperature):
    log_p, positive = _parts(F.normalize(z, dim=1), labels, temperature)
    count = positive.sum(1)
    return (-log_p.masked_fill(~positive, 0).sum(1) / count.clamp(min=1)).sum()


@sup_con_loss.mistake("you divide each anchor's sum by N or N − 1. Divide by how many positives *this* anchor has.")
def divided_by_all_candidates(z, labels, temperature):
    log_p, positive = _parts(_unit(z), labels, temperature)
    return _over_anchors(-log_p.masked_fill(~positive, 0).sum(1) / (len(z) - 1), positive.sum(1))


@sup_con_loss.mistake(
    "only the likeliest positive of each anchor counts. An anchor has to find *each* of them: take their mean."
)
def likeliest_positive_alone(z, labels, temperature):
    log_p, positive = _parts(_unit(z), labels, temperature)
    return _over_anchors(-log_p.masked_fill(~positive, -math.inf).amax(1), positive.sum(1))


@sup_con_loss.mistake("the temperature is not used: the logits are cosines / temperature.")
def temperature_not_used(z, labels, temperature):
    log_p, positive = _parts(_unit(z), labels, 1.0)
    count = positive.sum(1)
    return _over_anchors(-log_p.masked_fill(~positive, 0).sum(1) / count.clamp(min=1), count)


def _terms(z: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """(N,) the sum of −ln P over each anchor's positives, and how many there are."""
    z, alone = _unit(z), torch.eye(len(z), dtype=torch.bool)
    log_p = (z @ z.T / temperature).masked_fill(alone, -math.inf).log_softmax(1)
    positive = (labels[:, None] == labels) & ~alone
    return -log_p.masked_fill(~positive, 0).sum(1), positive.sum(1)


@sup_con_loss.mistake(
    "each anchor's sum is divided by the size of its class, itself included. It has one positive less: divide "
    "by |P(i)|."
)
def divided_by_the_class(z, labels, temperature):
    sums, many = _terms(z, labels, temperature)
    return (sums / (many + 1))[many > 0].mean()


@sup_con_loss.mistake("you average class by class, then the classes. The last mean is over the *anchors*, all alike.")
def mean_of_the_classes(z, labels, temperature):
    sums, many = _terms(z, labels, temperature)
    each = [(sums / many)[labels == c].mean() for c in labels[many > 0].unique()]
    return torch.stack(each).mean()


# --- 4. Alignment and uniformity --------------------------------------------------------------------------------------

alignment_uniformity = Exercise("alignment_uniformity", points=3, compare=close(), banned=LIBRARY)


@alignment_uniformity.cases
def _(g):
    z1 = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    yield Case((z1, torch.tensor([[0.0, 1.0], [0.0, 5.0]])), note="the example in the text")
    z2 = torch.tensor([[1.0, 1.0], [-1.0, 0.0], [1.0, 0.0]])
    yield torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 1.0]]), z2
    yield Case((torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), z2), note="two first views in one direction")
    yield Case((torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), z2), note="all first views in one direction")
    for n, dim, near in ((4, 2, 0.3), (7, 5, 1.0), (20, 16, 0.1)):
        z1, noise = torch.randn(2, n, dim, generator=g)
        yield (1e-3 if n == 7 else 2) * z1, z1 + near * noise


alignment_uniformity.equivalent(
    "`normalize` goes along dimension 1 by default", "F.normalize(z1[-, dim=1-])", "F.normalize(z2[-, dim=1-])"
)


def _squares(z: Tensor) -> Tensor:
    return (z[:, None] - z[None, :]).pow(2).sum(2)


def _uniformity(z: Tensor) -> Tensor:
    pairs = ~torch.eye(len(z), dtype=torch.bool)
    return (-2 * _squares(z)[pairs]).exp().mean().log()


@alignment_uniformity.mistake("the vectors are not brought to length 1. Both numbers are about directions.")
def lengths_left_as_they_are(z1, z2):
    return (z1 - z2).pow(2).sum(1).mean(), _uniformity(z1)


@alignment_uniformity.mistake("your alignment is the mean distance: it is the mean *squared* distance.")
def distance_not_squared(z1, z2):
    a, b = _unit(z1), _unit(z2)
    return (a - b).norm(dim=1).mean(), _uniformity(a)


@alignment_uniformity.mistake(
    "your uniformity counts each vector's distance to itself, 0, as a pair. It is over pairs of different rows."
)
def pairs_with_itself(z1, z2):
    a, b = _unit(z1), _unit(z2)
    return (a - b).pow(2).sum(1).mean(), (-2 * _squares(a)).exp().mean().log()


@alignment_uniformity.mistake(
    "your uniformity leaves out each vector's pair with itself, and still divides by N². There are N (N − 1) pairs of "
    "different rows."
)
def pairs_divided_by_n_squared(z1, z2):
    a, b = _unit(z1), _unit(z2)
    close = (-2 * _squares(a)).exp() * ~torch.eye(len(a), dtype=torch.bool)
    return (a - b).pow(2).sum(1).mean(), close.mean().log()


@alignment_uniformity.mistake(
    "your uniformity is the mean of the logarithms (which is −2 times the mean squared distance). It is the logarithm "
    "of the mean: pairs that are close count most."
)
def mean_of_logarithms(z1, z2):
    a, b = _unit(z1), _unit(z2)
    return (a - b).pow(2).sum(1).mean(), (-2 * _squares(a)[~torch.eye(len(a), dtype=torch.bool)]).mean()


@alignment_uniformity.mistake("the factor t = 2 in the exponent of the uniformity is missing.")
def factor_two_missing(z1, z2):
    a, b = _unit(z1), _unit(z2)
    pairs = ~torch.eye(len(a), dtype=torch.bool)
    return (a - b).pow(2).sum(1).mean(), (-_squares(a)[pairs]).exp().mean().log()


@alignment_uniformity.mistake(
    "alignment is the mean over the pairs: you take the mean over the coordinates too. Sum over these first."
)
def mean_over_the_coordinates(z1, z2):
    a, b = _unit(z1), _unit(z2)
    return (a - b).pow(2).mean(), _uniformity(a)


@alignment_uniformity.mistake(
    "your uniformity takes the distances as they are. In the exponent stands the *squared* distance."
)
def uniformity_of_distances(z1, z2):
    a, b = _unit(z1), _unit(z2)
    pairs = ~torch.eye(len(a), dtype=torch.bool)
    return (a - b).pow(2).sum(1).mean(), (-2 * _squares(a)[pairs].sqrt()).exp().mean().log()


@alignment_uniformity.mistake(
    "your uniformity is that of both views together. It is that of the first views, z1, alone."
)
def uniformity_of_both_views(z1, z2):
    a, b = _unit(z1), _unit(z2)
    return (a - b).pow(2).sum(1).mean(), _uniformity(torch.cat([a, b]))


@alignment_uniformity.also("uniformity_of_both_views")
def mean_of_both_uniformities(z1, z2):
    a, b = _unit(z1), _unit(z2)
    return (a - b).pow(2).sum(1).mean(), (_uniformity(a) + _uniformity(b)) / 2


@alignment_uniformity.mistake(
    "your uniformity is the logarithm of the *sum*. It is that of the mean: divide by N (N − 1)."
)
def logarithm_of_the_sum(z1, z2):
    a, b = _unit(z1), _unit(z2)
    pairs = ~torch.eye(len(a), dtype=torch.bool)
    return (a - b).pow(2).sum(1).mean(), (-2 * _squares(a)[pairs]).exp().sum().log()


@alignment_uniformity.mistake("your alignment is the mean cosine of the partners. It is the mean squared distance.")
def cosine_of_the_partners(z1, z2):
    z1, z2 = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    return (z1 * z2).sum(1).mean(), _uniformity(z1)


@alignment_uniformity.mistake("the sign in the exponent: it is $e^{-2\\,\\cdot}$, so that what is near counts.")
def exponent_without_minus(z1, z2):
    z1, z2 = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    pairs = ~torch.eye(len(z1), dtype=torch.bool)
    return (z1 - z2).square().sum(1).mean(), (2 * _squares(z1)[pairs]).exp().mean().log()


@alignment_uniformity.mistake("your uniformity compares first views with second ones. It is of the first views alone.")
def first_views_with_second(z1, z2):
    z1, z2 = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    pairs = ~torch.eye(len(z1), dtype=torch.bool)
    squares = (z1[:, None] - z2[None, :]).square().sum(2)
    return (z1 - z2).square().sum(1).mean(), (-2 * squares[pairs]).exp().mean().log()


@alignment_uniformity.mistake(
    "in your uniformity each vector's pair with itself is added up ($e^0 = 1$), though you divide by N (N − 1). "
    "Leave the "
    "diagonal out of the sum."
)
def diagonal_in_the_sum(z1, z2):
    z1, z2 = _unit(z1), _unit(z2)
    squares = (z1[:, None] - z1).square().sum(2)
    n = len(z1)
    return (z1 - z2).square().sum(1).mean(), ((-2 * squares).exp().sum() / (n * (n - 1))).log()


@alignment_uniformity.mistake(
    "you leave out all pairs at distance 0. Two different first views may point the same way, and count: only a vector "
    "with *itself* is no pair. Leave the diagonal out by its place, `~torch.eye(…)`."
)
@alignment_uniformity.breaks("0 if all point the same way")
def distance_zero_left_out(z1, z2):
    a, b = _unit(z1), _unit(z2)
    squares = _squares(a)
    return (a - b).pow(2).sum(1).mean(), (-2 * squares[squares > 0]).exp().mean().log()


# --- 5. A bound on mutual information ---------------------------------------------------------------------------------

information_bound = Exercise("information_bound", points=2, compare=close(), banned=LIBRARY)


@information_bound.cases
def _(g):
    yield Case((torch.tensor([[6.0, 2.0], [1.0, 7.0]]).log(),), note="the example in the text")
    yield Case((torch.zeros(4, 4),), note="all scores are alike")
    yield Case((torch.tensor([[900.0, 0.0, 100.0], [0.0, -1000.0, 0.0], [0.0, 0.0, 800.0]]),), note="scores of 1000")
    yield Case(
        (100 * torch.randn(4, 4, generator=g) - 150 * torch.eye(4),),
        note="large numbers, and the right ones were thought impossible",
    )
    for n in (2, 5, 32):
        yield (torch.randn(n, n, generator=g) + 3 * torch.eye(n),)


@information_bound.mistake("ln N is missing: this is minus the loss. The bound is ln N − loss.")
def without_log_n(scores):
    return scores.log_softmax(1).diag().mean()


@information_bound.mistake("your softmax goes over the whole table. Each x looks for its y in its own row.")
def softmax_over_the_table(scores):
    return math.log(len(scores)) + scores.flatten().log_softmax(0).view_as(scores).diag().mean()


@information_bound.mistake("there are N candidates, the right one among them: ln N, not ln(N − 1).")
def log_of_the_negatives(scores):
    return math.log(len(scores) - 1) + scores.log_softmax(1).diag().mean()


@information_bound.mistake("that is in bits. Asked for are nats: the natural logarithm.")
def in_bits(scores):
    return (math.log(len(scores)) + scores.log_softmax(1).diag().mean()) / math.log(2)


@information_bound.mistake(
    "your softmax goes down the columns: there each y looks for its x. Here each x_i looks for its y: along a row."
)
def down_the_columns(scores):
    return math.log(len(scores)) + scores.log_softmax(0).diag().mean()


@information_bound.mistake(
    "e to the power of a large score is more than any float: use `log_softmax` or `logsumexp`, which subtract the "
    "largest score first."
)
def overflow(scores):
    e = scores.exp()
    return math.log(len(scores)) + (e.diag() / e.sum(1)).log().mean()


@information_bound.mistake("the loss is added. The bound is ln N *minus* the loss, and never above ln N.")
def loss_added(scores):
    return math.log(len(scores)) - scores.log_softmax(1).diag().mean()


@information_bound.mistake(
    "the right one is missing from the sum below the line: all N candidates count, the right one among them."
)
def right_one_not_in_the_sum(scores):
    others = scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), -math.inf)
    return math.log(len(scores)) + (scores.diag() - others.logsumexp(1)).mean()


@information_bound.mistake("that is the InfoNCE loss. The bound is ln N *minus* the loss.")
def loss_itself(scores):
    return -scores.log_softmax(1).diagonal().mean()


@information_bound.mistake("ln N is in bits, the rest in nats: `math.log`, not `math.log2`.")
def log_n_in_bits(scores):
    return math.log2(len(scores)) + scores.log_softmax(1).diagonal().mean()


@information_bound.mistake("this is the sum over the rows. The formula takes their mean.")
def sum_over_the_rows(scores):
    return math.log(len(scores)) + scores.log_softmax(1).diagonal().sum()


@information_bound.mistake("you average over all N² pairs. Only those that belong together count, the diagonal.")
def all_pairs_averaged(scores):
    return math.log(len(scores)) + scores.log_softmax(1).mean()


@information_bound.mistake("what is below 0 is set to 0. A bad critic's bound may be negative: leave it so.")
@information_bound.breaks("it may be negative")
def never_negative(scores):
    return (math.log(len(scores)) + scores.log_softmax(1).diagonal().mean()).clamp(min=0)


@information_bound.mistake(
    "you average both directions, as CLIP's loss does. Here only x looks for its y: along the rows."
)
def both_directions(scores):
    return math.log(len(scores)) + (scores.log_softmax(1) + scores.log_softmax(0)).diagonal().mean() / 2


@information_bound.mistake("ln N is taken off. The bound is ln N *plus* the second term (which is below 0).")
def log_n_taken_off(scores):
    return scores.log_softmax(1).diagonal().mean() - math.log(len(scores))


# --- 6. HSIC ----------------------------------------------------------------------------------------------------------

hsic = Exercise("hsic", points=2, compare=close(atol=1e-5), banned=LIBRARY)


@hsic.cases
def _(g):
    same = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    yield Case((same, same), note="the example in the text")
    yield Case((torch.ones(3, 3), torch.eye(3)), note="all equal: nothing can depend on it")
    for n, dim in ((4, 2), (6, 3), (15, 5)):
        x, y = torch.randn(2, n, dim, generator=g)
        x = x + 1
        yield x @ x.T, (-torch.cdist(x + y, x + y).square() / dim).exp()


def _centring(n: int) -> Tensor:
    return torch.eye(n) - 1 / n


@hsic.mistake(
    "nothing is centred: two kernels that have nothing in common but a large mean would seem to depend on each other. "
    "Multiply by H on both sides of one of them."
)
def not_centred(k, l):  # noqa: E741
    return (k * l.T).sum() / (len(k) - 1) ** 2


@hsic.mistake("you divide by n². This estimate has (n − 1)² below the line.")
def divided_by_n_squared(k, l):  # noqa: E741
    H = _centring(len(k))
    return (k @ H @ l @ H).trace() / len(k) ** 2


@hsic.mistake("the factor 1 / (n − 1)² is missing.")
def not_divided(k, l):  # noqa: E741
    H = _centring(len(k))
    return (k @ H @ l @ H).trace()


@hsic.mistake("that is the root of HSIC: the trace alone is asked for.")
def root(k, l):  # noqa: E741
    H = _centring(len(k))
    return (k @ H @ l @ H).trace().clamp(min=0).sqrt() / (len(k) - 1)


@hsic.mistake(
    "only the mean of all entries is taken out. Centring takes the mean of each row and of each column out (and puts "
    "the mean of all back in): H K H."
)
def only_the_overall_mean(k, l):  # noqa: E741
    return ((k - k.mean()) * l).sum() / (len(k) - 1) ** 2


@hsic.mistake(
    "your H is I − I/n: it makes everything smaller and takes no mean out. $\\mathbf{1}\\mathbf{1}^\\top$ is 1 "
    "*everywhere*, so 1/n comes off every entry."
)
def identity_for_ones(k, l):  # noqa: E741
    n = len(k)
    H = torch.eye(n, dtype=k.dtype) * (1 - 1 / n)
    return (k @ H @ l @ H).trace() / (n - 1) ** 2


@hsic.mistake("you multiply entry by entry with `*`. These are products of matrices, `@`.")
def entry_by_entry(k, l):  # noqa: E741
    n = len(k)
    H = torch.eye(n, dtype=k.dtype) - 1 / n
    return (k * H * l * H).trace() / (n - 1) ** 2


@hsic.mistake("below the line stands (n − 1)²; you divide by n − 1.")
def divided_once(k, l):  # noqa: E741
    n = len(k)
    H = torch.eye(n, dtype=k.dtype) - 1 / n
    return (k @ H @ l @ H).trace() / (n - 1)


@hsic.mistake(
    "yours is tr(K H L): only one side is centred. Rows and columns both have to be: tr(K H L H), or H K H times L "
    "number by number. (K H is not symmetric: the trace of A @ B is `(A * B.T).sum()`, and `(A * B).sum()` is another.)"
)
def centred_on_one_side(k, l):  # noqa: E741
    return (k @ _centring(len(k)) @ l).trace() / (len(k) - 1) ** 2


@hsic.mistake("that is the sum of all entries of KHLH (it is always about 0). The trace is the sum of its diagonal.")
def sum_instead_of_trace(k, l):  # noqa: E741
    h = _centring(len(k))
    return (k @ h @ l @ h).sum() / (len(k) - 1) ** 2


@hsic.mistake("$H = I - \\frac1n \\mathbf{1}\\mathbf{1}^\\top$: yours adds it.")
def centring_with_plus(k, l):  # noqa: E741
    h = torch.eye(len(k)) + 1 / len(k)
    return (k @ h @ l @ h).trace() / (len(k) - 1) ** 2


@hsic.mistake("1 is taken off everywhere in place of 1/n.")
def ones_not_divided(k, l):  # noqa: E741
    h = torch.eye(len(k)) - 1
    return (k @ h @ l @ h).trace() / (len(k) - 1) ** 2


@hsic.mistake("K and L are multiplied number by number, and so is H. `@` multiplies matrices; then take the trace.")
def stars_for_products(k, l):  # noqa: E741
    h = torch.eye(len(k)) - 1 / len(k)
    return (k * h * l * h).sum() / (len(k) - 1) ** 2


@hsic.mistake(
    "you divide by the roots of both HSICs: that is CKA, between 0 and 1. Asked for is HSIC itself, over (n − 1)²."
)
def cka(k, l):  # noqa: E741
    h = torch.eye(len(k)) - 1 / len(k)

    def trace(a, b):
        return (a @ h @ b @ h).trace()

    return trace(k, l) / (trace(k, k) * trace(l, l)).clamp(min=1e-12).sqrt()


@hsic.mistake("in your H stands 1/(n − 1). It takes the mean out, over all n: I − 1/n everywhere.")
def centring_with_one_less(k, l):  # noqa: E741
    h = torch.eye(len(k)) - 1 / (len(k) - 1)
    return (k @ h @ l @ h).trace() / (len(k) - 1) ** 2


# --- 7. The same thing elsewhere --------------------------------------------------------------------------------------

# Measured (docs/thresholds/a7_contrastive.json): trained with negatives an encoder finds 51 % and more; without, or
# untrained, 25 % at most.
learn_to_find = Exercise(
    "learn_to_find",
    points=3,
    compare=accuracy(0.4, reader="gallery"),
    banned=[*LIBRARY, "course_utils.data.captioned.in_two_places"],
    seconds=30,
)


@learn_to_find.cases
def _(g):
    for seed in torch.randint(2**31, (4,), generator=g).tolist():
        first, second, gallery, new = (
            Recipe("captioned.in_two_places", {"n": 400, "seed": seed}, item=i) for i in range(4)
        )
        truth = captioned.in_two_places(n=400, seed=seed)[4]
        yield Case((first, second), {"gallery": gallery, "new": new, "labels": truth})


def _trained(first, second, steps, seed, loss=None, apart=False):
    torch.manual_seed(seed)
    encoder = small_encoder(out=64)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=3e-3)
    for _ in range(steps):
        rows, others = torch.randint(len(first), (2, 64))
        z1, z2 = (encoder(x / 255 - 0.5) for x in (first[rows], second[others if apart else rows]))
        optimizer.zero_grad()
        loss(F.normalize(z1, dim=1), F.normalize(z2, dim=1)).backward()
        optimizer.step()
    return encoder


def _alignment_alone(z1: Tensor, z2: Tensor) -> Tensor:
    return (z1 - z2).pow(2).sum(1).mean()


def _clip(z1: Tensor, z2: Tensor) -> Tensor:
    logits = z1 @ z2.T / 0.1
    return -(logits.log_softmax(1).diag().mean() + logits.log_softmax(0).diag().mean()) / 2


@learn_to_find.mistake(
    "your encoder answers like one that was never trained. Do its weights reach the optimizer, and does `step()` run?"
)
def encoder_not_trained(first, second):
    return _trained(first, second, 0, 1)


@learn_to_find.mistake(
    "your encoder gives nearly the same vector to every card: it has collapsed. Either the loss has no negatives, so "
    "nothing objects to one place for all; or the rows of `first` and `second` are drawn apart, so partners show "
    "different things. Draw row numbers once, and let each picture find its partner *among others*."
)
def no_negatives(first, second):
    return _trained(first, second, 20, 3, _alignment_alone)


@learn_to_find.mistake(
    "your encoder gives exactly the same vector to every card: it has died. Take a smaller learning rate, 0.003 or "
    "less."
)
def died(first, second):
    encoder = _trained(first, second, 1, 4, _clip)
    encoder[-5].bias.data.fill_(-9)  # where a rate that is too high leaves it: no picture gets above 0
    return encoder


# --- Promises ---------------------------------------------------------------------------------------------------------
# Wrong answers whose values may be right: each breaks a sentence of the statement, and has to lose by it.


@learn_to_find.breaks("all you know is that row $i$ of both shows the same one")
def drawn_apart(first, second):
    return _trained(first, second, 20, 4, _clip, apart=True)


@learn_to_find.breaks("What has to matter is what tells a card from the *others*")
def pushed_apart(first, second):
    return _trained(first, second, 20, 5, lambda z1, z2: -_clip(z1, z2))


@nt_xent_loss.breaks("it leaves its arguments as they were")
def shortened_in_the_argument(z1, z2, temperature):
    for z in (z1, z2):
        z /= z.norm(dim=1, keepdim=True)
    return _nt_xent(torch.cat([z1, z2]), temperature).mean()


@nt_xent_loss.breaks("Gradients must reach `z1` and `z2`")
def loss_as_a_number(z1, z2, temperature):
    return torch.tensor(_nt_xent(_unit(torch.cat([z1, z2])), temperature).mean().item())


@nt_xent_loss.breaks("on a GPU too")
def diagonal_on_the_cpu(z1, z2, temperature):
    z, n = F.normalize(torch.cat([z1, z2]), dim=1), len(z1)
    hidden = torch.eye(2 * n, dtype=torch.bool)
    log_p = (z @ z.T / temperature).masked_fill(hidden, -math.inf).log_softmax(1)
    return -torch.cat([log_p.diagonal(n), log_p.diagonal(-n)]).mean()


@sup_con_loss.breaks("a float > 0")
def plain_exponentials(z, labels, temperature):
    z = F.normalize(z, dim=1)
    others = 1 - torch.eye(len(z)).to(z)
    logits, same = z @ z.T / temperature, (labels[:, None] == labels) * others
    losses = -logits + (logits.exp() * others).sum(1, keepdim=True).log()
    return ((losses * same).sum(1) / same.sum(1).clamp(min=1)).sum() / (same.sum(1) > 0).sum()


@information_bound.breaks("Scores of 1000 occur")
def logarithm_after_softmax(scores):
    return math.log(len(scores)) + (scores.softmax(1).diagonal() + 1e-9).log().mean()


@sup_con_loss.breaks("labels: (N,) int64; at least two are equal")
def labels_as_places(z, labels, temperature):
    member = F.one_hot(labels).to(z.dtype)
    log_p, _ = _parts(F.normalize(z, dim=1), labels, temperature)
    positive = (member @ member.T).bool() & ~torch.eye(len(z), dtype=torch.bool)
    count = positive.sum(1)
    return _over_anchors(-log_p.masked_fill(~positive, 0).sum(1) / count.clamp(min=1), count)
