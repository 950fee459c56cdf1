"""Assignment 6, pretext tasks: what is asked in each exercise, how it is compared, and the mistakes we know by name.

Each exercise stands in one place: points and comparison, then its cases (small ones that can be checked by hand, then
random ones; the same function draws the visible and the hidden cases), then wrong functions with the hint for those who
wrote them.
"""

import math
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autograder.author.exercise import Case, Exercise, Promises, Recipe, accuracy, close, exact
from course_utils.data import captioned
from course_utils.models.convnet import small_encoder

LIBRARY = [
    "course_utils.learn.pretext.patch_pairs",
    "course_utils.learn.pretext.cut",
    "course_utils.learn.pretext.permutation_set",
    "course_utils.learn.pretext.jigsaw",
    "course_utils.learn.pretext.cut_tiles",
    "course_utils.learn.pretext.shuffle_tiles",
    "course_utils.learn.pretext.colour_targets",
    "course_utils.learn.pretext.rebalanced_weights",
    "course_utils.learn.pretext.annealed_mean",
    "course_utils.learn.evaluate.knn_probe",
    "course_utils.learn.evaluate.linear_probe",
    "course_utils.learn.evaluate.accuracy",
]

OFFSETS = torch.tensor([[-1, -1], [-1, 0], [-1, 1], [0, -1], [0, 1], [1, -1], [1, 0], [1, 1]])


def _squares(images: Tensor, corners: Tensor, side: int) -> Tensor:
    """(N, C, S, S) pictures, (N, …, 2) corners -> (N, …, C, side, side); corners outside are moved in."""
    corners = corners.clamp(0, images.shape[-1] - side)
    windows = images.unfold(2, side, 1).unfold(3, side, 1)
    n = torch.arange(len(images)).view(-1, *[1] * (corners.ndim - 2))
    return windows[n, :, corners[..., 0], corners[..., 1]]


def _orders(g: torch.Generator, n: int, size: int) -> Tensor:
    """(n, size) random permutations."""
    return torch.rand(n, size, generator=g).argsort(1)


# --- 1. Pairs of patches ----------------------------------------------------------------------------------------------

patch_pairs = Exercise("patch_pairs", points=3, compare=exact(), banned=LIBRARY)


@patch_pairs.cases
def _(g):
    images = torch.arange(49.0).view(1, 1, 7, 7)
    yield Case((images, torch.tensor([1]), torch.tensor([[[0, 0], [0, 1]]]), 1, 1), note="the example in the text")
    still = torch.zeros(8, 2, 2, dtype=torch.int64)
    yield Case((images.expand(8, 1, 7, 7), torch.arange(8), still, 1, 2), note="each place once, without jitter")
    for n, channels, side, patch, gap, most in ((6, 3, 16, 4, 1, 1), (10, 2, 21, 5, 2, 1), (9, 1, 18, 3, 2, 2)):
        images = torch.rand(n, channels, side, side, generator=g)
        which = torch.cat([torch.tensor([1, 6, 3, 4]), torch.randint(8, (n - 4,), generator=g)])
        jitter = torch.randint(-most, most + 1, (n, 2, 2), generator=g)
        jitter[:4] = torch.tensor([[[most, 0], [0, -most]], [[0, most], [-most, 0]], [[-most, most], [most, 0]],
                                   [[most, -most], [0, most]]])  # fmt: skip
        even = "an even" if (side - patch) % 2 == 0 else "an odd"
        yield Case((images, which, jitter, patch, gap), note=f"{even} number of pixels beside the patch; both move")


patch_pairs.equivalent("the pictures are square", "images.shape[-[-1-]{+2+}]")


def _pairs(images, which, jitter, patch, gap, offsets=OFFSETS, first=1, second=1):
    middle = (images.shape[-1] - patch) // 2
    return (
        _squares(images, middle + first * jitter[:, 0], patch),
        _squares(images, middle + (patch + gap) * offsets[which] + second * jitter[:, 1], patch),
    )


@patch_pairs.mistake("the gap is missing: neighbours lie p + g pixels apart, not p, so that no line runs on.")
def gap_forgotten(images, which, jitter, patch, gap):
    return _pairs(images, which, jitter, patch, 0)


@patch_pairs.mistake("rows and columns are exchanged: the offset and the jitter are (rows down, columns to the right).")
def rows_and_columns_exchanged(images, which, jitter, patch, gap):
    return _pairs(images, which, jitter.flip(2), patch, gap, OFFSETS.flip(1))


@patch_pairs.mistake(
    "the two axes of a jitter are exchanged. Of picture i, `jitter[i, 0]` is the first patch's (rows down, columns to "
    "the right), `jitter[i, 1]` the second's: `jitter[:, 0]`, not `jitter[:, :, 0]`."
)
def jitter_read_along_the_other_axis(images, which, jitter, patch, gap):
    return _pairs(images, which, jitter.transpose(1, 2), patch, gap)


@patch_pairs.mistake(
    "the second patch moves with the first: its jitter counts from its own place, not from the first's."
)
def second_counts_from_the_first(images, which, jitter, patch, gap):
    return _pairs(images, which, torch.stack([jitter[:, 0], jitter.sum(1)], 1), patch, gap)


@patch_pairs.mistake("only the second patch is moved. Both have their jitter.")
def first_does_not_move(images, which, jitter, patch, gap):
    return _pairs(images, which, jitter, patch, gap, first=0)


@patch_pairs.mistake("only the first patch is moved. Both have their jitter.")
def second_does_not_move(images, which, jitter, patch, gap):
    return _pairs(images, which, jitter, patch, gap, second=0)


@patch_pairs.mistake("you go the opposite way: 1 (↑) lies above the first patch, at *smaller* row numbers.")
def opposite_place(images, which, jitter, patch, gap):
    return _pairs(images, which, jitter, patch, gap, -OFFSETS)


@patch_pairs.mistake(
    "which // 3 and which % 3 count the middle, too: place 4 is →, not the middle. From 4 on the numbers are shifted."
)
def middle_counted(images, which, jitter, patch, gap):
    return _pairs(images, which, jitter, patch, gap, torch.cartesian_prod(torch.arange(3), torch.arange(3)) - 1)


@patch_pairs.mistake("the second patch comes first. Return (first, second).")
def second_patch_first(images, which, jitter, patch, gap):
    return _pairs(images, which, jitter, patch, gap)[::-1]


@patch_pairs.mistake(
    "both patches move by the *first* patch's jitter. Each has its own: jitter[:, 0] and jitter[:, 1]."
)
def one_jitter_for_both(images, which, jitter, patch, gap):
    return _pairs(images, which, jitter[:, [0, 0]], patch, gap)


@patch_pairs.mistake("the jitter is not used: each patch moves by its own.")
def no_jitter(images, which, jitter, patch, gap):
    return _pairs(images, which, torch.zeros_like(jitter), patch, gap)


@patch_pairs.mistake(
    "the offsets are (columns, rows) in your table: ↑ goes to the left. Rows down come first: 1 (↑) is (−1, 0)."
)
def offsets_exchanged(images, which, jitter, patch, gap):
    return _pairs(images, which, jitter, patch, gap, OFFSETS.flip(1))


@patch_pairs.mistake("neighbours lie only g pixels apart in yours, so the patches overlap. They lie p + g apart.")
def gap_alone(images, which, jitter, patch, gap):
    first, _ = _pairs(images, which, jitter, patch, gap)
    middle = (images.shape[-1] - patch) // 2
    return first, _squares(images, middle + gap * OFFSETS[which] + jitter[:, 1], patch)


@patch_pairs.mistake("the two jitters are exchanged: jitter[:, 0] moves the first patch, jitter[:, 1] the second.")
def jitters_exchanged(images, which, jitter, patch, gap):
    return _pairs(images, which, jitter.flip(1), patch, gap)


@patch_pairs.mistake("your places go round clockwise. They go row by row, as one reads: ↖ ↑ ↗, then ← →, then ↙ ↓ ↘.")
def places_go_round(images, which, jitter, patch, gap):
    return _pairs(images, which, jitter, patch, gap, OFFSETS[[0, 1, 2, 4, 7, 6, 5, 3]])


@patch_pairs.mistake("the middle is in another place: m = ⌊(S − p) / 2⌋, rounded down.")
def middle_rounded_up(images, which, jitter, patch, gap):
    return _pairs(images, which, jitter + (images.shape[-1] - patch) % 2, patch, gap)


@patch_pairs.mistake("the middle is in another place: m = ⌊(S − p) / 2⌋, half of what the patch leaves free.")
def middle_minus_a_patch(images, which, jitter, patch, gap):
    moved = images.shape[-1] // 2 - patch - (images.shape[-1] - patch) // 2
    return _pairs(images, which, jitter + moved, patch, gap)


@patch_pairs.mistake("all pictures get the first one's place. Each has its own: `which[n]`.")
def one_place_for_all(images, which, jitter, patch, gap):
    return _pairs(images, which[:1].expand_as(which), jitter, patch, gap)


@patch_pairs.mistake("all pictures get the first one's jitter. Each has its own: `jitter[n]`.")
def one_jitter_for_all(images, which, jitter, patch, gap):
    return _pairs(images, which, jitter[:1].expand_as(jitter), patch, gap)


@patch_pairs.mistake(
    "the gap is added on the same side for every place. It lies between the patches: (p + g) times the offset, so that "
    "↑ and ← go the other way, and where the offset is 0 there is none."
)
def gap_on_one_side(images, which, jitter, patch, gap):
    first, _ = _pairs(images, which, jitter, patch, gap)
    middle = (images.shape[-1] - patch) // 2
    return first, _squares(images, middle + patch * OFFSETS[which] + gap + jitter[:, 1], patch)


# --- 2. Permutations that are far apart -------------------------------------------------------------------------------

far_permutations = Exercise("far_permutations", points=2, compare=exact(), banned=LIBRARY)


@far_permutations.cases
def _(g):
    yield Case((torch.tensor([0, 1, 2]), 4), note="the example in the text")
    yield Case((_orders(g, 1, 4)[0], 12), note="half of all there are; the first is in no order")
    yield Case((_orders(g, 1, 4)[0], 24), note="all there are")
    yield Case((_orders(g, 1, 5)[0], 1), note="one alone, which is given")
    yield Case((torch.tensor([0, 2, 1, 4, 3]), 24), note="the sum is tempted to outweigh the smallest distance")
    for size, count in ((5, 40), (6, 30)):
        yield _orders(g, 1, size)[0], count


far_permutations.equivalent(
    "the same is added to every candidate's sum", "torch.[-zeros_like-]{+ones_like+}(nearest)", "{+nearest+}"
)
far_permutations.uncaught(
    "it differs only if a sum exceeds another by `count`: of those tried, with up to six tiles, none does",
    "nearest * [-T * -]count",
)


def _greedy(first: Tensor, count: int, distance, better) -> Tensor:
    """Choose by better(smallest distance, sum, last distance): a score for each candidate, the first of the best."""
    pool = torch.tensor(list(permutations(range(len(first)))))
    chosen, near, total = [first], torch.full((len(pool),), 1_000), torch.zeros(len(pool)).long()
    while len(chosen) < count:
        last = distance(pool, chosen[-1])
        near, total = near.minimum(last), total + last
        chosen.append(pool[better(near, total, last)])
    return torch.stack(chosen)


def _hamming(pool: Tensor, one: Tensor) -> Tensor:
    return (pool != one).sum(1)


@far_permutations.mistake(
    "you take the largest *sum* of distances alone. The smallest distance comes first, the sum decides among equals: "
    "with the sum alone two permutations may be equal, if only they are far from the rest."
)
def sum_alone(first, count):
    return _greedy(first, count, _hamming, lambda near, total, last: total.argmax())


@far_permutations.mistake(
    "of equally good ones you take the first at once. Those with the largest sum come before that."
)
def sum_forgotten(first, count):
    return _greedy(first, count, _hamming, lambda near, total, last: near.argmax())


@far_permutations.mistake("you look at the last chosen one only. The next must be far from *all* chosen before.")
def last_one_only(first, count):
    return _greedy(first, count, _hamming, lambda near, total, last: last.argmax())


@far_permutations.mistake(
    "the Hamming distance counts at how many places two permutations differ; by how much the numbers differ is nothing "
    "to it."
)
def absolute_difference(first, count):
    distance = lambda pool, one: (pool - one).abs().sum(1)  # noqa: E731
    return _greedy(first, count, distance, lambda near, total, last: (near * 10_000 + total).argmax())


@far_permutations.mistake("of equals you take the last one in the order of a dictionary; it is the first.")
def last_of_equals(first, count):
    def better(near, total, last):
        score = near * 10_000 + total
        return (score == score.max()).nonzero()[-1, 0]

    return _greedy(first, count, _hamming, better)


@far_permutations.mistake("you choose the *nearest* that is not chosen yet. Far apart is what we want.")
def nearest_first(first, count):
    def better(near, total, last):
        return torch.where(near == 0, 10_000_000, near * 10_000 + total).argmin()

    return _greedy(first, count, _hamming, better)


@far_permutations.mistake("of equals you take the *smallest* sum of distances; it is the largest.")
def smallest_sum(first, count):
    return _greedy(first, count, _hamming, lambda near, total, last: (near * 10_000 - total).argmax())


@far_permutations.mistake("the first permutation is given; it belongs to the set, at the beginning.")
def first_left_out(first, count):
    better = lambda near, total, last: (near * 10_000 + total).argmax()  # noqa: E731
    found = _greedy(first, count, _hamming, better)
    return torch.cat([found[1:], found[:1]])


@far_permutations.mistake("you begin with 0 1 2 …, whatever `first` is. The first of the set is the one that is given.")
def begins_with_the_identity(first, count):
    return _greedy(torch.arange(len(first)), count, _hamming, lambda low, total: low * 10_000 + total)


@far_permutations.mistake(
    "you look at the *sum* before the smallest distance. The smallest comes first; the sum decides ties alone."
)
def sum_before_the_smallest(first, count):
    return _greedy(
        first, count, _hamming, lambda near, total, last: torch.where(near > 0, 100 * total + near, -1).argmax()
    )


@far_permutations.mistake(
    "each is compared with the *first* one alone. What counts is the smallest distance to *all* that were "
    "chosen so far."
)
def compared_with_the_first_alone(first, count):
    every = torch.tensor(list(permutations(range(len(first)))))
    order = (every != first).sum(1).argsort(descending=True, stable=True)
    return torch.cat([first[None], every[order[: count - 1]]])


@far_permutations.mistake(
    "the sum alone decides in yours, among those not chosen yet. The smallest distance comes first; the sum "
    "decides ties."
)
def sum_alone_of_what_is_left(first, count):
    return _greedy(first, count, _hamming, lambda near, total, last: torch.where(near > 0, total, -1).argmax())


@far_permutations.mistake(
    "each is compared with the one chosen *last* alone. Keep the smallest distance so far, to all that were chosen."
)
def compared_with_the_last_alone(first, count):
    return _greedy(first, count, _hamming, lambda near, total, last: torch.where(near > 0, last, -1).argmax())


@far_permutations.mistake(
    "among equals you take the largest distance to the one chosen *last*. The sum over *all* that were chosen decides: "
    "add up."
)
def last_distance_for_the_sum(first, count):
    return _greedy(first, count, _hamming, lambda near, total, last: (near * 1_000 + last).argmax())


@far_permutations.mistake(
    "of equals you take the first in an order of your own, made from `first`. The order of a dictionary goes by the "
    "numbers themselves: `itertools.permutations(range(T))`."
)
def dictionary_made_from_the_first(first, count):
    def better(near, total, last):
        return (near * 10_000 + total).argmax()

    return first[_greedy(torch.arange(len(first)), count, _hamming, better)]


@far_permutations.mistake(
    "the sum that decides among equals leaves one out. It runs over *all* that were chosen so far: the one that is "
    "given is among them, and so is the last."
)
def first_not_in_the_sum(first, count):
    pool = torch.tensor(list(permutations(range(len(first)))))
    chosen, near, total = [first], _hamming(pool, first), torch.zeros(len(pool)).long()
    while len(chosen) < count:
        chosen.append(pool[(near * 10_000 + total).argmax()])
        last = _hamming(pool, chosen[-1])
        near, total = near.minimum(last), total + last
    return torch.stack(chosen)


@far_permutations.also("first_not_in_the_sum")
def last_not_in_the_sum(first, count):
    return _greedy(first, count, _hamming, lambda near, total, last: (near * 10_000 + total - last).argmax())


# --- 3. The puzzle ----------------------------------------------------------------------------------------------------

make_puzzle = Exercise("make_puzzle", points=2, compare=exact(), banned=LIBRARY)


@make_puzzle.cases
def _(g):
    images = torch.arange(16.0).view(1, 1, 4, 4)
    shift = torch.tensor([[[0, 0], [1, 1], [0, 0], [0, 0]]])
    yield Case((images, torch.tensor([[1, 2, 3, 0]]), shift, 1), note="the example in the text")
    shift = torch.tensor([[[0, 1], [1, 0], [1, 1], [0, 0]]])
    yield Case((images, torch.tensor([[2, 0, 1, 3]]), shift, 1), note="another shift for each cell")
    three, two = "three channels", "two channels"
    for n, channels, grid, cell, tile, note in (
        (4, 3, 3, 4, 3, three),
        (5, 1, 2, 6, 4, ""),
        (3, 2, 3, 5, 3, two),
        (2, 1, 4, 3, 2, ""),
    ):
        T = grid * grid
        images = torch.rand(n, channels, grid * cell, grid * cell, generator=g)
        order = _orders(g, n, T)
        order[0] = (torch.arange(T) + 1) % T  # no permutation that is its own inverse
        yield Case((images, order, torch.randint(cell - tile + 1, (n, T, 2), generator=g), tile), note=note)


make_puzzle.equivalent("the pictures are square", "images.shape[-[-1-]{+2+}]")


def _puzzle(images, order, shift, tile, down_first=True):
    grid = math.isqrt(order.shape[1])
    cell = images.shape[-1] // grid
    corner = torch.stack([order // grid, order % grid] if down_first else [order % grid, order // grid], -1)
    return _squares(images, cell * corner + shift, tile)


def _of_cells(shift: Tensor, order: Tensor) -> Tensor:
    return shift.gather(1, order[:, :, None].expand(-1, -1, 2))


@make_puzzle.mistake(
    "this is the inverse permutation: tile i goes to place π(i). Asked for is the other reading: at place i stands the "
    "tile of cell π(i)."
)
def inverse_permutation(images, order, shift, tile):
    back = order.argsort(1)
    return _puzzle(images, back, _of_cells(shift, back), tile)


@make_puzzle.mistake("the shift is taken by place. It belongs to the cell that the tile comes from: shift[n, π(i)].")
def shift_by_place(images, order, shift, tile):
    return _puzzle(images, order, shift, tile)


@make_puzzle.mistake("the cells are numbered column by column. They go row by row: cell 1 lies to the right of cell 0.")
def cells_column_by_column(images, order, shift, tile):
    return _puzzle(images, order, _of_cells(shift, order), tile, down_first=False)


@make_puzzle.mistake("the shift is (rows down, columns to the right); you have it the other way round.")
def shift_exchanged(images, order, shift, tile):
    return _puzzle(images, order, _of_cells(shift, order).flip(2), tile)


@make_puzzle.mistake("all tiles are cut at their cells' corners. Each cell has a shift.")
def no_shift(images, order, shift, tile):
    return _puzzle(images, order, torch.zeros_like(shift), tile)


@make_puzzle.mistake("all pictures get the first one's permutation. Each has its own: order[n].")
def one_order_for_all(images, order, shift, tile):
    same = order[:1].expand_as(order)
    return _puzzle(images, same, _of_cells(shift, same), tile)


@make_puzzle.mistake("the tiles stand in their own order: nothing is shuffled.")
def not_shuffled(images, order, shift, tile):
    return _puzzle(images, torch.arange(order.shape[1]).expand_as(order), shift, tile)


@make_puzzle.mistake(
    "your cells lie t pixels apart, the side of a tile. Cells are c = S / G pixels apart, and a tile is smaller than "
    "its cell."
)
def cells_as_small_as_tiles(images, order, shift, tile):
    G = math.isqrt(order.shape[1])
    found = []
    for image, places, shifts in zip(images, order.tolist(), shift.tolist()):
        for q in places:
            row, column = tile * (q // G) + shifts[q][0], tile * (q % G) + shifts[q][1]
            found.append(image[:, row : row + tile, column : column + tile])
    return torch.stack(found).view(*order.shape, images.shape[1], tile, tile)


@make_puzzle.mistake(
    "two things are exchanged: your tile i goes to place π(i), and the shift is taken by place. At place i "
    "stands the tile "
    "of cell π(i), moved by that cell's shift."
)
def inverse_and_shift_by_place(images, order, shift, tile):
    inverse = order.argsort(1)
    return _puzzle(images, inverse, shift, tile)


@make_puzzle.mistake("G is 3 in yours, whatever there is. It is √T, and c = S / G.")
def always_three_by_three(images, order, shift, tile):
    cell, found = images.shape[-1] // 3, []
    for image, places, shifts in zip(images, order.tolist(), shift.tolist()):
        for q in places:
            row, column = cell * (q // 3) + shifts[q][0], cell * (q % 3) + shifts[q][1]
            found.append(image[:, row : row + tile, column : column + tile])
    return torch.stack(found).view(*order.shape, images.shape[1], tile, tile)


@make_puzzle.mistake(
    "the channels of different cells are mixed: a `reshape` takes what lies next to each other. `unfold` leaves "
    "(N, C, G, G, c, c), so bring C behind the cells (`permute`) before you make T of G and G."
)
def channels_mixed(images, order, shift, tile):
    N, C = images.shape[:2]
    grid = math.isqrt(order.shape[1])
    cell = images.shape[-1] // grid
    cells = images.unfold(2, cell, cell).unfold(3, cell, cell).reshape(N, grid * grid, C, cell, cell)
    rows = []
    for own, places, shifts in zip(cells, order.tolist(), shift.tolist()):
        for q in places:
            (down, right) = shifts[q]
            rows.append(own[q, :, down : down + tile, right : right + tile])
    return torch.stack(rows).view(N, grid * grid, C, tile, tile)


@make_puzzle.also("channels_mixed")
def channels_of_the_tiles_mixed(images, order, shift, tile):
    right = _puzzle(images, order, _of_cells(shift, order), tile)
    return right.transpose(1, 2).reshape(right.shape)


# --- 4. Colours as classes --------------------------------------------------------------------------------------------

colour_targets = Exercise("colour_targets", points=2, compare=exact(), banned=LIBRARY, promises=Promises(dtype=True))


@colour_targets.cases
def _(g):
    bins = torch.tensor([[0.0, 0.0], [0.2, 0.0], [0.0, 0.2]])
    yield Case((torch.tensor([0.05, 0.12]).view(1, 2, 1, 1), bins), note="the example in the text")
    chroma = torch.tensor([[[[0.3, 0.02], [-0.3, 0.01]], [[0.01, 0.25], [-0.2, 0.07]]]])
    yield Case((chroma, bins), note="far from every bin, on either side")
    for n, height, width, count in ((3, 4, 5, 9), (2, 6, 6, 20), (4, 2, 7, 40)):
        bins = torch.rand(count, 2, generator=g) - 0.5
        yield torch.rand(n, 2, height, width, generator=g) - 0.5, bins


colour_targets.equivalent("half the squared distance has its minimum at the same bin", "[-sum-]{+mean+}(-1)")


def _apart(chroma: Tensor, bins: Tensor) -> Tensor:
    return chroma.permute(0, 2, 3, 1)[:, :, :, None] - bins  # (N, H, W, Q, 2)


@colour_targets.mistake(
    "|Δ₁| + |Δ₂| is the way round the block. The distance is the straight one: squares, then the sum."
)
def city_block(chroma, bins):
    return _apart(chroma, bins).abs().sum(-1).argmin(-1)


@colour_targets.mistake("this is the bin that is *farthest* away: take argmin of the distance.")
def farthest_bin(chroma, bins):
    return _apart(chroma, bins).square().sum(-1).argmax(-1)


@colour_targets.mistake(
    "the largest inner product is not the nearest bin: it favours bins far from grey. Use the distance."
)
def inner_product(chroma, bins):
    return torch.einsum("nchw,qc->nhwq", chroma, bins).argmax(-1)


@colour_targets.mistake(
    "`reshape(-1, 2)` pairs neighbouring pixels of one channel with each other. Bring the chroma axis to the end "
    "first: `permute(0, 2, 3, 1)`."
)
def reshaped_without_permuting(chroma, bins):
    N, _, H, W = chroma.shape
    pixels = chroma.reshape(N, H, W, 2)
    return (pixels[:, :, :, None] - bins).square().sum(-1).argmin(-1)


@colour_targets.mistake("the two chroma channels are exchanged.")
def channels_exchanged(chroma, bins):
    return _apart(chroma.flip(1), bins).square().sum(-1).argmin(-1)


@colour_targets.mistake("only the first chroma channel counts in your distance.")
def first_channel_only(chroma, bins):
    return _apart(chroma, bins)[..., 0].square().argmin(-1)


@colour_targets.mistake(
    "rows and columns of your targets are exchanged: `permute(0, 2, 3, 1)` keeps H before W, `permute(0, 3, 2, 1)` "
    "does not."
)
def rows_and_columns_of_the_targets_exchanged(chroma, bins):
    return _apart(chroma, bins).argmin(-1).transpose(1, 2)


@colour_targets.mistake(
    "the two differences are added up with their signs, so that they cancel. Square each of them before the sum."
)
def signs_cancel(chroma, bins):
    return (chroma.permute(0, 2, 3, 1)[..., None, :] - bins).sum(-1).abs().argmin(-1)


@colour_targets.mistake(
    "only the *larger* of the two differences counts in yours. The distance is the straight one: squares, then the sum."
)
def larger_difference_alone(chroma, bins):
    return _apart(chroma, bins).abs().amax(-1).argmin(-1)


# --- 5. Rare colours count more ---------------------------------------------------------------------------------------

class_weights = Exercise("class_weights", points=2, compare=close(), banned=LIBRARY)


@class_weights.cases
def _(g):
    yield Case((torch.tensor([0, 0, 0, 1]), 2, 0.5), note="the example in the text")
    yield Case((torch.tensor([[0, 2], [2, 2]]), 4, 0.25), note="bins without a pixel")
    for shape, size, mix in (((3, 4, 4), 5, 0.5), ((2, 5, 6), 9, 0.1), ((40,), 7, 0.75), ((6, 7), 12, 0.3)):
        targets = (torch.rand(shape, generator=g) ** 2 * (size - 1)).long()  # small numbers are common, the last is not
        yield Case((targets, size, mix), note="the last bin has no pixel")


class_weights.equivalent("the weights are divided by their mean", "weight = [-1-]{+2+} /")


def _share(targets: Tensor, Q: int) -> Tensor:
    return torch.bincount(targets.flatten(), minlength=Q) / targets.numel()


def _raw(targets: Tensor, Q: int, mix: float) -> Tensor:
    return 1 / ((1 - mix) * _share(targets, Q) + mix / Q)


@class_weights.mistake("the weights are not divided by Σ p v: the mean weight of a pixel must be 1.")
def not_normalised(targets, Q, mix):
    return _raw(targets, Q, mix)


@class_weights.mistake(
    "the mean over the *bins* is 1 in your answer. It is the mean over the *pixels* that must be 1: bins are weighted "
    "with p."
)
def mean_over_bins(targets, Q, mix):
    weight = _raw(targets, Q, mix)
    return weight / weight.mean()


@class_weights.mistake("your weights sum to 1. Their mean over the pixels must be 1: Σ p w = 1.")
def weights_sum_to_1(targets, Q, mix):
    weight = _raw(targets, Q, mix)
    return weight / weight.sum()


@class_weights.mistake("λ and 1 − λ are exchanged: λ belongs to the uniform distribution.")
def mix_exchanged(targets, Q, mix):
    weight = _raw(targets, Q, 1 - mix)
    return weight / (_share(targets, Q) * weight).sum()


@class_weights.mistake("the uniform distribution over Q bins is 1/Q for each; you add λ itself.")
def uniform_without_q(targets, Q, mix):
    share = _share(targets, Q)
    weight = 1 / ((1 - mix) * share + mix)
    return weight / (share * weight).sum()


@class_weights.mistake(
    "you mix the *weights* 1/p with the uniform ones. Mix the shares first, then take 1 over that: a bin without a "
    "pixel has no 1/p."
)
def mixed_after_inverting(targets, Q, mix):
    share = _share(targets, Q)
    weight = (1 - mix) / share.clamp(min=1 / targets.numel()) + mix * Q
    return weight / (share * weight).sum()


@class_weights.mistake(
    "a bin without a pixel has weight 0 in your answer. The formula gives it Q / λ, before dividing."
)
def unseen_bins_are_0(targets, Q, mix):
    share = _share(targets, Q)
    weight = _raw(targets, Q, mix) * (share > 0)
    return weight / (share * weight).sum()


@class_weights.mistake("this makes common colours count more: the weight is 1 *over* the mixed share.")
def common_colours_count_more(targets, Q, mix):
    share = _share(targets, Q)
    weight = (1 - mix) * share + mix / Q
    return weight / (share * weight).sum()


@class_weights.mistake(
    "p is a share, between 0 and 1; you mix the *counts* with λ/Q, which is next to nothing beside them."
)
def counts_mixed(targets, Q, mix):
    counts = torch.bincount(targets.flatten(), minlength=Q)
    weight = 1 / ((1 - mix) * counts + mix / Q)
    return weight / (counts / counts.sum() * weight).sum()


@class_weights.mistake(
    "the weights are divided by the largest. Their denominator is the mean over the *pixels*, $\\sum_q p_q v_q$."
)
def largest_weight_is_1(targets, Q, mix):
    p = torch.bincount(targets.flatten(), minlength=Q) / targets.numel()
    v = 1 / ((1 - mix) * p + mix / Q)
    return v / v.max()


@class_weights.mistake(
    "the mean in the denominator is over the *mixture*. It is over the pixels: the shares p as they are, not mixed."
)
def mean_over_the_mixture(targets, Q, mix):
    p = torch.bincount(targets.flatten(), minlength=Q) / targets.numel()
    mixed = (1 - mix) * p + mix / Q
    return (1 / mixed) / (mixed / mixed).sum()


@class_weights.mistake("the shares are divided by `len(targets)`, the first axis. There are `targets.numel()` pixels.")
def divided_by_the_first_axis(targets, Q, mix):
    p = torch.bincount(targets.flatten(), minlength=Q) / len(targets)
    v = 1 / ((1 - mix) * p + mix / Q)
    return v / (p * v).sum()


@class_weights.mistake("Q in the mixture counts only the bins that occur. It counts all bins, the empty ones, too.")
def only_bins_that_occur(targets, Q, mix):
    p = torch.bincount(targets.flatten(), minlength=Q) / targets.numel()
    v = 1 / ((1 - mix) * p + mix / (p > 0).sum())
    return v / (p * v).sum()


@class_weights.mistake("the weights are 1 over the *root* of the mixed shares. It is 1 over the shares themselves.")
def root_of_the_shares(targets, Q, mix):
    p = _share(targets, Q)
    v = ((1 - mix) * p + mix / Q) ** -0.5
    return v / (p * v).sum()


@class_weights.mistake(
    "p is a count in yours. It is a *share*: divide by how many targets there are, `targets.numel()`."
)
def counts_throughout(targets, Q, mix):
    counts = torch.bincount(targets.flatten(), minlength=Q)
    v = 1 / ((1 - mix) * counts + mix / Q)
    return v / (counts * v).sum()


# --- 6. From classes back to a colour ---------------------------------------------------------------------------------

annealed_mean = Exercise("annealed_mean", points=2, compare=close(1e-4, 1e-5), banned=LIBRARY)


@annealed_mean.cases
def _(g):
    bins = torch.tensor([[-0.2, 0.0], [0.2, 0.0]])
    logits = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1)
    yield Case((logits, bins, 1.0), note="the example in the text")
    yield Case((logits, bins, 0.5), note="the example in the text, at the lower temperature")
    logits, bins = torch.tensor([1000.0, 999.0, -1000.0]), torch.tensor([[0.1, 0.2], [0.3, -0.1], [0.0, 0.4]])
    yield Case((logits.view(1, 3, 1, 1), bins, 0.5), note="very large logits")
    logits, bins = torch.randn(2, 12, 3, 2, generator=g), torch.rand(12, 2, generator=g) - 0.5
    logits[:, 0] = logits[:, 1:].amax(1) + 0.005 * torch.rand(2, 3, 2, generator=g)  # two bins share every pixel
    yield Case((logits, bins, 0.005), note="a temperature so low that p^(1/T) is 0 for every bin, and two compete")
    for n, count, height, width, temperature in ((2, 5, 3, 4, 0.38), (1, 12, 5, 2, 2.0), (3, 9, 2, 2, 0.1)):
        logits = 2 * torch.randn(n, count, height, width, generator=g)
        yield logits, torch.rand(count, 2, generator=g) - 0.5, temperature


def _mean(p: Tensor, bins: Tensor) -> Tensor:
    return torch.einsum("nqhw,qc->nchw", p, bins)


@annealed_mean.mistake("you multiply by the temperature. A small T must make the distribution *sharper*: divide.")
def multiplied_by_temperature(logits, bins, temperature):
    return _mean((logits * temperature).softmax(1), bins)


@annealed_mean.mistake("the temperature is not used: this is the mean of the distribution as it is.")
def temperature_not_used(logits, bins, temperature):
    return _mean(logits.softmax(1), bins)


@annealed_mean.mistake("this is the mode, the single most likely bin. Take the mean of the sharpened distribution.")
def most_likely_bin(logits, bins, temperature):
    return bins[logits.argmax(1)].permute(0, 3, 1, 2)


@annealed_mean.mistake(
    "$e^{1000}$ is infinite, and your answer is nan. Use `softmax`, or subtract the largest logit first."
)
def overflow(logits, bins, temperature):
    e = (logits / temperature).exp()
    return _mean(e / e.sum(1, keepdim=True), bins)


@annealed_mean.mistake("softmax runs along the last axis, the columns of the picture. The bins are axis 1.")
def softmax_over_columns(logits, bins, temperature):
    return _mean((logits / temperature).softmax(-1), bins)


@annealed_mean.mistake(
    "you divide the *probabilities* by T; normalised again they are what they were. The logits are divided."
)
def probabilities_divided(logits, bins, temperature):
    return _mean(logits.softmax(1) / temperature, bins)


@annealed_mean.mistake(
    "softmax is taken twice: of the logits, and of the probabilities over T. Divide the logits by T, once."
)
def softmax_twice(logits, bins, temperature):
    p = (logits.softmax(1) / temperature).softmax(1)
    return torch.einsum("nqhw,qc->nchw", p, bins)


@annealed_mean.mistake("the sharpened probabilities do not sum to 1: divide them by their sum over the bins.")
def not_normalised_again(logits, bins, temperature):
    return torch.einsum("nqhw,qc->nchw", logits.softmax(1) ** (1 / temperature), bins)


@annealed_mean.mistake("your softmax goes along the rows of the picture. It goes over the bins, axis 1.")
def softmax_over_rows(logits, bins, temperature):
    return _mean((logits / temperature).softmax(2), bins)


@annealed_mean.mistake(
    "the logits are cut before softmax. Nothing needs to be cut: `softmax` subtracts the largest one, and takes "
    "any size."
)
def logits_cut(logits, bins, temperature):
    return _mean((logits / temperature).clamp(-20, 20).softmax(1), bins)


# --- 7. The judge -----------------------------------------------------------------------------------------------------

knn_probe = Exercise("knn_probe", points=3, compare=close(1e-4, 1e-5), banned=LIBRARY)


@knn_probe.cases
def _(g):
    features = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    new = torch.tensor([[1.0, 0.1], [-1.0, 5.0], [1.0, 1.5], [-1.0, 4.0]])
    yield Case((features, torch.tensor([0, 1, 1]), new, torch.tensor([0, 1, 1, 0]), 1), note="the example in the text")
    at = torch.tensor([0.0, 0.5, 0.6, 1.1, 2.5])
    features = torch.stack([at.cos(), at.sin()], 1)
    new = torch.tensor([[1.0, 0.45], [0.5, 1.0], [1.0, 0.65]])
    right = torch.tensor([1, 0, 0])
    yield Case((features, torch.tensor([1, 0, 1, 0, 2]), new, right, 4), note="equally many votes: the sum decides")
    at = torch.tensor([0.0, 1.2, -1.2, 3.0])  # two votes with cosines that sum to less than that of one
    features = torch.stack([at.cos(), at.sin()], 1)
    new, votes = torch.tensor([[1.0, 0.0], [1.0, 0.05]]), "one near neighbour against two far ones"
    yield Case((features, torch.tensor([1, 0, 0, 1]), new, torch.tensor([0, 1]), 3), note=votes)
    yield Case(
        (
            torch.eye(3),
            torch.tensor([0, 2, 2]),
            torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.5, 1.0]]),
            torch.tensor([0, 1]),
            1,
        ),
        note="no new picture is of the commonest labelled class",
    )
    # one near neighbour against two far ones; then all neighbours on the far side, where every cosine is below 0
    turn = 6.28 * torch.rand((), generator=g)
    for at, y, k, note in (
        ([0.1, 1.2, -1.3, 3.0], [1, 0, 0, 1], 3, votes),
        ([2.0, -2.1, 2.4, 2.9], [0, 0, 1, 2], 4, "every cosine is below 0"),
    ):
        at = turn + torch.tensor(at) + 0.03 * torch.randn(4, generator=g)
        asked = turn + 0.03 * torch.randn(5, generator=g)
        features, new = (torch.stack([a.cos(), a.sin()], 1) for a in (at, asked))
        yield Case((features, torch.tensor(y), new, torch.tensor([0, 0, 1, 0, 2]), k), note=note)
    for classes, dim, labelled, asked, k, dtype in (
        (3, 6, 40, 30, 5, torch.float),
        (4, 5, 60, 41, 8, torch.float),
        (5, 8, 50, 37, 3, torch.float),
        (3, 4, 45, 33, 12, torch.double),
    ):
        centres = torch.randn(classes, dim, generator=g)
        weight = torch.arange(1.0, classes + 1).flip(0) if classes != 4 else torch.arange(1.0, classes + 1)
        y = torch.multinomial(weight, labelled, replacement=True, generator=g)
        new_y = torch.randint(classes, (asked,), generator=g)
        y[:classes] = torch.arange(classes)
        length = torch.rand(labelled + asked, 1, generator=g) * 3 + 0.1  # that must not matter
        x = (centres[torch.cat([y, new_y])] + 1.1 * torch.randn(labelled + asked, dim, generator=g)) * length
        x[0] = 0
        x, precision = x.to(dtype), ", of double precision" if dtype == torch.double else ""
        arguments = x[:labelled], y, x[labelled:], new_y, k
        yield Case(arguments, note=f"features of any length, one of them without a direction{precision}")


knn_probe.equivalent("a class that nobody votes for is never chosen", "int(labels.max()) + [-1-]{+2+}")
knn_probe.equivalent(
    "the length of a new picture's features makes all its similarities larger, and changes no order",
    "[-F.normalize(new, dim=1)-]{+new+}",
)
knn_probe.equivalent(
    "`normalize` goes along dimension 1 by default", "F.normalize(new[-, dim=1-])", "F.normalize(features[-, dim=1-])"
)
knn_probe.equivalent("`topk` goes along the last dimension by default", "topk(k[-, dim=1-])")
knn_probe.equivalent("one vote more for every class changes no order", "torch.[-zeros-]{+ones+}(len(new)")


def _vote(similarity: Tensor, labels: Tensor, k: int, by_sum: bool = True, votes_count: bool = True) -> Tensor:
    """(M,) the class with most votes of the k most similar."""
    near, at = similarity.topk(k, dim=1)
    empty = torch.zeros(len(similarity), int(labels.max()) + 1, dtype=near.dtype)
    votes, total = empty.scatter_add(1, labels[at], torch.ones_like(near)), empty.scatter_add(1, labels[at], near)
    if not votes_count:
        return total.argmax(1)
    if not by_sum:
        return votes.argmax(1)
    return total.masked_fill(votes < votes.amax(1, keepdim=True), -math.inf).argmax(1)


def _three(predicted: Tensor, labels: Tensor, new_labels: Tensor) -> tuple[float, float, float]:
    score = float((predicted == new_labels).double().mean())
    chance = float((new_labels == labels.bincount().argmax()).double().mean())
    return score, math.sqrt(score * (1 - score) / len(new_labels)), chance


def _cosine(features: Tensor, new: Tensor) -> Tensor:
    return F.normalize(new, dim=1) @ F.normalize(features, dim=1).T


@knn_probe.mistake(
    "long vectors win: this is the inner product. Divide each vector by its length first: only direction counts."
)
def lengths_count(features, labels, new, new_labels, k):
    return _three(_vote(new @ features.T, labels, k), labels, new_labels)


@knn_probe.mistake(
    "these are the nearest by Euclidean distance. Asked for is the largest cosine: direction, not length."
)
def euclidean(features, labels, new, new_labels, k):
    return _three(_vote(-torch.cdist(new, features), labels, k), labels, new_labels)


@knn_probe.mistake("the votes are those of the *least* similar pictures: take the largest cosines.")
def least_similar(features, labels, new, new_labels, k):
    return _three(_vote(-_cosine(features, new), labels, k), labels, new_labels)


@knn_probe.mistake("only the nearest one votes in your answer; k of them should.")
def nearest_one_only(features, labels, new, new_labels, k):
    return _three(_vote(_cosine(features, new), labels, 1), labels, new_labels)


@knn_probe.mistake(
    "of classes with equally many votes you take the smallest number. It is the one with the larger sum of cosines."
)
def ties_by_number(features, labels, new, new_labels, k):
    return _three(_vote(_cosine(features, new), labels, k, by_sum=False), labels, new_labels)


@knn_probe.mistake(
    "chance is what always saying the commonest *labelled* class scores on the new pictures; 1 / classes is that only "
    "if all are equally common."
)
def chance_one_over_classes(features, labels, new, new_labels, k):
    score, error, _ = _three(_vote(_cosine(features, new), labels, k), labels, new_labels)
    return score, error, 1 / (int(labels.max()) + 1)


@knn_probe.mistake(
    "you look up the commonest class among the *new* pictures: whoever knows that has looked at the answers. Take the "
    "commonest labelled class, and its share of the new ones."
)
def chance_from_the_answers(features, labels, new, new_labels, k):
    score, error, _ = _three(_vote(_cosine(features, new), labels, k), labels, new_labels)
    return score, error, float(new_labels.bincount().max()) / len(new_labels)


@knn_probe.mistake(
    "the error is the root of score · (1 − score) / M with M the number of *new* pictures; you divide by the labelled."
)
def error_by_labelled(features, labels, new, new_labels, k):
    score, _, chance = _three(_vote(_cosine(features, new), labels, k), labels, new_labels)
    return score, math.sqrt(score * (1 - score) / len(labels)), chance


@knn_probe.mistake("that is the variance of the score: take the root.")
def variance_instead_of_error(features, labels, new, new_labels, k):
    score, error, chance = _three(_vote(_cosine(features, new), labels, k), labels, new_labels)
    return score, error**2, chance


@knn_probe.mistake(
    "the votes are weighted by their cosines. Each of the k has one vote; only between classes with *equally many* "
    "does the sum of the cosines decide."
)
def votes_weighted_by_cosines(features, labels, new, new_labels, k):
    return _three(_vote(_cosine(features, new), labels, k, votes_count=False), labels, new_labels)


@knn_probe.mistake("your error is not divided by M: it is the root of score · (1 − score) / M.")
def error_not_divided(features, labels, new, new_labels, k):
    score, error, chance = _three(_vote(_cosine(features, new), labels, k), labels, new_labels)
    return score, error * len(new_labels) ** 0.5, chance


@knn_probe.mistake("you divide by M − 1. In the formula here stands M.")
def divided_by_one_less(features, labels, new, new_labels, k):
    score, error, chance = _three(_vote(_cosine(features, new), labels, k), labels, new_labels)
    return score, error * (len(new_labels) / (len(new_labels) - 1)) ** 0.5, chance


@knn_probe.mistake(
    "your chance is the commonest class's share among the *labelled* pictures. The class comes from those; how often "
    "it is right is counted among the *new* ones."
)
def chance_among_the_labelled(features, labels, new, new_labels, k):
    score, error, _ = _three(_vote(_cosine(features, new), labels, k), labels, new_labels)
    return score, error, float(labels.bincount().max() / len(labels))


@knn_probe.mistake(
    "of classes with equally many votes you take that of the *nearest* neighbour. It is the one with the larger "
    "sum of cosines."
)
def nearest_decides_ties(features, labels, new, new_labels, k):
    near = _cosine(features, new).topk(k, 1).indices
    said = []
    for row in labels[near].tolist():
        most = max(map(row.count, row))
        said.append(next(label for label in row if row.count(label) == most))
    return _three(torch.tensor(said), labels, new_labels)


@knn_probe.mistake(
    "sums of cosines may be negative, and you set those of the losing classes to 0: then a loser wins. Set them to −∞."
)
def losers_get_0(features, labels, new, new_labels, k):
    cosines, near = _cosine(features, new).topk(k, 1)
    zeros = torch.zeros(len(new), int(max(labels.max(), new_labels.max())) + 1, dtype=new.dtype)
    votes = zeros.scatter_add(1, labels[near], torch.ones_like(cosines))
    sums = zeros.scatter_add(1, labels[near], cosines)
    return _three((sums * (votes == votes.amax(1, keepdim=True))).argmax(1), labels, new_labels)


@knn_probe.mistake(
    "whoever is all zeros has cosine nan with everybody in yours, 0/0. It is 0: `F.normalize` leaves zeros alone."
)
def nan_without_direction(features, labels, new, new_labels, k):
    cosines = (new / new.norm(dim=1, keepdim=True)) @ (features / features.norm(dim=1, keepdim=True)).T
    return _three(_vote(cosines, labels, k), labels, new_labels)


# --- 8. Which way up? -------------------------------------------------------------------------------------------------

four_ways = Exercise("four_ways", points=1, compare=exact(), banned=LIBRARY, promises=Promises(dtype=True))


@four_ways.cases
def _(g):
    yield Case((torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]),), note="the example in the text")
    for n, channels, side in ((2, 1, 3), (3, 3, 4), (5, 3, 6)):
        yield Case((torch.rand(n, channels, side, side, generator=g),), note="several pictures in a batch")


def _turned(images: Tensor, turns: tuple[int, ...]) -> Tensor:
    return torch.cat([images.rot90(r, (2, 3)) for r in turns])


def _turns(images: Tensor) -> Tensor:
    return torch.arange(4).repeat_interleave(len(images))


@four_ways.mistake(
    "you turn clockwise (are rows and columns exchanged?). Counter-clockwise the right column becomes the upper row."
)
def clockwise(images):
    return _turned(images, (0, -1, -2, -3)), _turns(images)


@four_ways.mistake(
    "your answers run 0, 1, 2, 3, 0, 1, … but all pictures as they are come first, then all turned once: each number "
    "stands N times in a row."
)
def answers_in_turn(images):
    return _turned(images, (0, 1, 2, 3)), torch.arange(4).repeat(len(images))


@four_ways.mistake(
    "the four ways of one picture follow one another in yours. First come all pictures as they are, then all of them "
    "turned once."
)
def picture_by_picture(images):
    found = torch.stack([images.rot90(r, (2, 3)) for r in range(4)], dim=1).flatten(0, 1)
    return found, torch.arange(4).repeat(len(images))


@four_ways.mistake("your pictures are mirrored, not turned: exchanging rows and columns gives a mirror image.")
def mirrored(images):
    ways = (images, images.transpose(2, 3), images.flip(2, 3), images.transpose(2, 3).flip(2, 3))
    return torch.cat(ways), _turns(images)


@four_ways.mistake("your answers are degrees. Asked for is how often it was turned: 0, 1, 2 or 3.")
def in_degrees(images):
    return _turned(images, (0, 1, 2, 3)), 90 * _turns(images)


@four_ways.mistake(
    "your half turn is a mirror image: it turns the rows round, or the columns. Half a turn does both, `flip((2, 3))`."
)
def half_turn_is_a_mirror_image(images):
    quarter = images.rot90(1, (2, 3))
    return torch.cat([images, quarter, images.flip(2), quarter.flip(2)]), _turns(images)


@four_ways.also("half_turn_is_a_mirror_image")
def half_turn_turns_the_columns_round(images):
    quarter = images.rot90(1, (2, 3))
    return torch.cat([images, quarter, images.flip(3), quarter.flip(3)]), _turns(images)


@four_ways.also("half_turn_is_a_mirror_image")
def only_the_half_turn_is_a_mirror_image(images):
    return torch.cat([images, images.rot90(1, (2, 3)), images.flip(2), images.rot90(3, (2, 3))]), _turns(images)


# --- 9. Learn to look -------------------------------------------------------------------------------------------------

# Measured (docs/thresholds/a6_pretext.json, by benchmarks/thresholds.py): by the features of encoders that have learned
# which way is up the probe names 44 % and more; by those of untrained ones, or of ones that learned to reconstruct,
# 16 % at most; by those of another question (two views that find each other) 20 to 36 %. Who draws such pictures has
# their labels, too, and could train on those: that is banned. One case: it trains for as long as others take for all.
learn_to_look = Exercise(
    "learn_to_look",
    points=3,
    compare=accuracy(0.38, reader="probe"),
    banned=[
        "course_utils.pretrained.load",
        "course_utils.data.captioned.objects_alone",
        "course_utils.data.postcards.paint",
    ],
    seconds=60,
)


@learn_to_look.cases
def _(g):
    drawn = {"n": 6000, "seed": int(torch.randint(2**31, (), generator=g))}
    images, new = (Recipe("captioned.objects_alone", drawn, item=i) for i in range(2))
    known, asked = captioned.objects_alone(**drawn)[2].chunk(2)
    truth = {"images": new, "known": known, "labels": asked}
    yield Case((images,), truth, note="what a probe reads from your encoder's features of new pictures")


learn_to_look.uncaught("the rate climbs two steps later, which is good enough on some draws", "min((step [-+-]{+-+}")


def _looked(images: Tensor, steps: int, turns: Tensor | None = None) -> nn.Module:
    """The encoder after some steps."""
    torch.manual_seed(0)
    encoder, head = small_encoder(normed=True), nn.Linear(64, 4)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(steps):
        x = images[torch.randint(len(images), (32,))] / 255 - 0.5
        optimizer.zero_grad()
        F.cross_entropy(head(encoder(_turned(x, (0, 1, 2, 3)))), _turns(x) if turns is None else turns).backward()
        optimizer.step()
    return encoder


@learn_to_look.mistake(
    "your encoder answers like one that was never trained. Do its weights reach the optimizer, does `step()` run, and "
    "is it *this* encoder that you return?"
)
def encoder_not_trained(images):
    return _looked(images, 0)


@learn_to_look.mistake(
    "your encoder was trained, and knows hardly more about the objects than one that was not. Does your loss fall "
    "below ln 4? If it does not: do the answers belong to the pictures (all as they are first, then all turned once: "
    "N zeros, N ones and so on), and is the rate neither too small nor too large? If it falls at once: can the "
    "question be answered without the object?"
)
def answers_in_another_order(images):
    return _looked(images, 15, torch.arange(4).repeat(32))


@learn_to_look.mistake(
    "your encoder gives exactly the same features to every picture: it has died. Take a smaller learning rate, 0.006 "
    "or less."
)
def died(images):
    encoder = _looked(images, 1)
    encoder[-4].bias.data.fill_(-9)  # where a rate that is too high leaves it: no picture gets above 0
    encoder[-4].weight.data.fill_(0)
    return encoder


# --- Promises ---------------------------------------------------------------------------------------------------------
# Wrong answers whose values may be right: each breaks a sentence of the statement, and has to lose by it.


@patch_pairs.breaks("it leaves its arguments as they were")
def moved_in_the_argument(images, which, jitter, patch, gap):
    offsets = torch.tensor([[-1, -1], [-1, 0], [-1, 1], [0, -1], [0, 1], [1, -1], [1, 0], [1, 1]])
    jitter += (images.shape[-1] - patch) // 2
    jitter[:, 1] += (patch + gap) * offsets[which]
    windows, n = images.unfold(2, patch, 1).unfold(3, patch, 1), torch.arange(len(images))
    return tuple(windows[n, :, at[:, 0], at[:, 1]] for at in jitter.unbind(1))


@colour_targets.breaks("(N, H, W) int64")
def half_the_bytes(chroma, bins):
    return (chroma[:, None] - bins[None, :, :, None, None]).square().sum(2).argmin(1).int()


@annealed_mean.breaks("Logits divided by a small temperature are large")
def powers_of_probabilities(logits, bins, temperature):
    p = logits.softmax(1) ** (1 / temperature)
    return torch.einsum("nqhw,qc->nchw", p / p.sum(1, keepdim=True), bins)


@four_ways.breaks("(4 N,) int64")
def turns_in_half_the_bytes(images):
    return _turned(images, (0, 1, 2, 3)), _turns(images).int()


@far_permutations.breaks("1 ≤ count ≤ T!")
def two_at_least(first, count):
    return _greedy(first, max(count, 2), _hamming, lambda near, total, last: (near * 10_000 + total).argmax())


@annealed_mean.breaks("$T = 1$ is the mean, $T \\to 0$ the mode")
def mode_for_small_temperatures(logits, bins, temperature):
    if temperature < 0.1:
        return bins[logits.argmax(1)].permute(0, 3, 1, 2)
    return _mean((logits / temperature).softmax(1), bins)


@knn_probe.breaks("is the score of always saying the class that is commonest among the *labelled* pictures")
def commonest_class_looked_up_among_the_new(features, labels, new, new_labels, k):
    score, error, _ = _three(_vote(_cosine(features, new), labels, k), labels, new_labels)
    return score, error, float(new_labels.bincount()[labels.bincount().argmax()]) / len(new_labels)
