"""Pretext tasks: whole-batch functions against slow independent versions, one picture at a time."""

import math
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F

from course_utils.learn import pretext
from course_utils.models.convnet import ConvNetConfig
from course_utils.runtime import seed

SMALL = ConvNetConfig(width=4)


def numbered(n: int, side: int, columns: int | None = None) -> torch.Tensor:
    """(N, 3, H, W): the channels of each pixel say its picture, its row and its column."""
    columns = columns or side
    picture, row, column = torch.meshgrid(*(torch.arange(k) for k in (n, side, columns)), indexing="ij")
    return torch.stack([picture, row, column], dim=1).float()


# --- patches ----------------------------------------------------------------------------------------------------------


def test_cut_takes_each_picture_its_own_square():
    images = torch.rand(5, 3, 12, 17, generator=seed(0))
    top, left = torch.tensor([0, 3, 8, 1, 7]), torch.tensor([0, 13, 2, 6, 5])
    found = pretext.cut(images, top, left, 4)
    for n in range(5):
        assert found[n].equal(images[n, :, top[n] : top[n] + 4, left[n] : left[n] + 4])
    for bad in ((top - 1, left), (top + 1, left), (top, left + 1)):
        with pytest.raises(ValueError, match="do not fit"):
            pretext.cut(images, *bad, 4)


@pytest.mark.parametrize(("side", "columns", "kwargs"), [
    (32, 32, {}), (64, 64, {}), (40, 52, {}), (33, 33, {"patch": 8, "gap": 0, "jitter": 0}),
    (32, 32, {"patch": 6, "gap": 2, "jitter": 3}),
])  # fmt: skip
def test_patch_pairs_lie_where_they_say(side, columns, kwargs):
    images = numbered(400, side, columns)
    first, second, which = pretext.patch_pairs(images, seed(1), **kwargs)
    short = min(side, columns)
    patch, gap = kwargs.get("patch", short // 4), kwargs.get("gap", 3 * short // 32)
    jitter = kwargs.get("jitter", short // 32)
    assert first.shape == second.shape == (400, 3, patch, patch)
    seen = set()
    for n in range(400):
        corners = []
        for part in (first[n], second[n]):
            assert (part[0] == n).all(), "both patches come from the same picture"
            row, column = int(part[1, 0, 0]), int(part[2, 0, 0])
            assert part.equal(images[n, :, row : row + patch, column : column + patch])
            corners.append((row, column))
        middle = ((side - patch) // 2, (columns - patch) // 2)
        down, right = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)][which[n]]
        wanted = (middle[0] + down * (patch + gap), middle[1] + right * (patch + gap))
        moves = [(a - b) for corner, at in zip(corners, (middle, wanted)) for a, b in zip(corner, at)]
        assert max(map(abs, moves)) <= jitter
        seen.update(moves)
    assert seen == set(range(-jitter, jitter + 1)), "all of the jitter is used"
    assert set(which.tolist()) == set(range(8))


def test_patch_pairs_are_drawn_evenly_and_repeatably():
    images = torch.rand(4000, 1, 32, 32, generator=seed(0))
    first, second, which = pretext.patch_pairs(images, seed(3))
    again = pretext.patch_pairs(images, seed(3))
    assert all(a.equal(b) for a, b in zip((first, second, which), again))
    counts = torch.bincount(which, minlength=8).float()
    assert ((counts - 500).abs() < 5 * math.sqrt(4000 * 1 / 8 * 7 / 8)).all()


@pytest.mark.parametrize(
    "kwargs", [{"patch": 11}, {"gap": 5}, {"jitter": 2}, {"gap": -1}, {"jitter": -1}, {"patch": 0}]
)
def test_patches_that_do_not_fit_are_refused(kwargs):
    with pytest.raises(ValueError, match="pixels"):
        pretext.patch_pairs(torch.rand(2, 3, 32, 32), seed(0), **kwargs)


# --- jigsaw -----------------------------------------------------------------------------------------------------------


def hamming(a, b) -> int:
    return sum(x != y for x, y in zip(a, b))


@pytest.mark.parametrize(("tiles", "count"), [(1, 1), (3, 6), (4, 7), (4, 24), (5, 15)])
@pytest.mark.parametrize("first", [None, 0, 1])
def test_permutations_are_chosen_greedily(tiles, count, first):
    found = pretext.permutation_set(count, tiles, None if first is None else seed(first)).tolist()
    pool = sorted(map(list, permutations(range(tiles))))
    if first is None:
        assert found[0] == list(range(tiles))
    assert found[0] in pool
    for k in range(1, count):
        before = found[:k]
        key = lambda p: (min(hamming(p, q) for q in before), sum(hamming(p, q) for q in before))  # noqa: B023, E731
        assert found[k] == max(pool, key=key)  # max gives the first of equals
    assert len({tuple(p) for p in found}) == count


def test_nine_tiles_far_apart():
    found = pretext.permutation_set(10)
    far = (found[:, None] != found[None]).sum(2)
    assert far[~torch.eye(10, dtype=torch.bool)].min() >= 8
    assert found.sort(1).values.equal(torch.arange(9).expand(10, 9))


@pytest.mark.parametrize(("count", "tiles"), [(0, 4), (25, 4), (2, 10), (1, 0)])
def test_permutations_that_do_not_exist_are_refused(count, tiles):
    with pytest.raises(ValueError, match="between 1 and"):
        pretext.permutation_set(count, tiles)


@pytest.mark.parametrize(("side", "tiles", "tile"), [(32, 9, None), (32, 4, None), (32, 9, 10), (31, 4, 7)])
def test_jigsaw_shows_cell_pi_at_place_i(side, tiles, tile):
    grid = math.isqrt(tiles)
    images, orders = numbered(60, side), pretext.permutation_set(6, tiles, seed(0))
    pieces, which = pretext.jigsaw(images, orders, seed(1), tile=tile)
    cell, margin = side // grid, (side - grid * (side // grid)) // 2
    P = tile or cell * 4 // 5
    assert pieces.shape == (60, tiles, 3, P, P)
    moves = set()
    for n in range(60):
        for place in range(tiles):
            down, right = divmod(int(orders[which[n], place]), grid)
            row, column = (int(pieces[n, place, k, 0, 0]) for k in (1, 2))
            assert pieces[n, place].equal(images[n, :, row : row + P, column : column + P])
            moves |= {row - margin - down * cell, column - margin - right * cell}
    assert moves == set(range(cell - P + 1)), "anywhere in the cell, and nowhere else"
    assert set(which.tolist()) == set(range(6))


def test_jigsaw_refuses_what_is_no_puzzle():
    images = torch.rand(2, 3, 32, 32)
    with pytest.raises(ValueError, match="T = 4, 9"):
        pretext.jigsaw(images, torch.arange(5)[None], seed(0))
    with pytest.raises(ValueError, match="between 1 and 10"):
        pretext.jigsaw(images, torch.arange(9)[None], seed(0), tile=11)


# --- shortcuts --------------------------------------------------------------------------------------------------------


def test_aberration_leaves_green_and_moves_red_out_and_blue_in():
    images = numbered(1, 32)[:, 2:].expand(1, 3, 32, 32)  # each pixel holds its column: x - 15.5 from the middle
    red, green, blue = pretext.chromatic_aberration(images, 0.1)[0]
    away = torch.arange(32) - 15.5
    torch.testing.assert_close(green, images[0, 1])
    torch.testing.assert_close(red[5], 15.5 + away / 1.1, atol=1e-4, rtol=0)
    torch.testing.assert_close(blue[5], (15.5 + away / 0.9).clamp(0, 31), atol=1e-4, rtol=0)
    grey = torch.rand(2, 1, 32, 32, generator=seed(0)).expand(2, 3, 32, 32)
    torch.testing.assert_close(pretext.chromatic_aberration(grey, 0.0), grey, atol=1e-5, rtol=0)


def test_corners_are_darkened_and_the_middle_is_not():
    found = pretext.vignette(torch.ones(1, 3, 33, 65), 0.4)
    assert float(found[0, 0, 16, 32]) == 1
    for i, j in ((0, 0), (5, 60), (32, 10)):
        r2 = (((i - 16) / 16.5) ** 2 + ((j - 32) / 32.5) ** 2) / 2
        assert found[0, :, i, j].tolist() == pytest.approx([1 - 0.4 * r2] * 3)


def test_one_channel_stays_and_the_others_become_noise():
    patches = torch.rand(300, 3, 8, 8, generator=seed(0))
    found = pretext.drop_channels(patches, seed(1))
    kept = [[c for c in range(3) if found[n, c].equal(patches[n, c])] for n in range(300)]
    assert all(len(k) == 1 for k in kept)
    assert {k[0] for k in kept} == {0, 1, 2}
    for n, (c,) in enumerate(kept[:20]):
        for other in {0, 1, 2} - {c}:
            rest = found[n, other] - patches[n, c].mean()
            spread = float(patches[n, c].std(correction=0)) / 100
            assert rest.abs().max() < 5 * spread
            assert 0.5 * spread < rest.std() < 1.5 * spread


# --- colour -----------------------------------------------------------------------------------------------------------


def test_colour_comes_apart_and_together():
    images = torch.rand(4, 3, 8, 8, generator=seed(0))
    grey, chroma = pretext.split_colour(images)
    assert torch.allclose(pretext.join_colour(grey, chroma), images, atol=1e-6)
    for n, i, j in ((0, 0, 0), (1, 3, 4), (3, 7, 7)):
        r, g, b = images[n, :, i, j].tolist()
        y = 0.299 * r + 0.587 * g + 0.114 * b
        assert float(grey[n, 0, i, j]) == pytest.approx(y, abs=1e-6)
        cb = -0.168736 * r - 0.331264 * g + 0.5 * b  # BT.601 in numbers, as in the JPEG standard
        cr = 0.5 * r - 0.418688 * g - 0.081312 * b
        assert chroma[n, :, i, j].tolist() == pytest.approx([cb, cr], abs=1e-5)
    flat = images.mean(1, keepdim=True).expand_as(images)
    assert pretext.split_colour(flat)[1].abs().max() < 1e-6
    coarse = pretext.join_colour(grey, F.avg_pool2d(chroma, 2))
    assert coarse.shape == images.shape


@pytest.mark.parametrize("spacing", [0.25, 0.125, 0.1, 0.07])
def test_bins_are_the_colours_that_exist(spacing):
    bins = pretext.colour_bins(spacing)
    steps = int(0.5 / spacing + 1e-6)
    wanted = []
    for i in range(-steps, steps + 1):
        for j in range(-steps, steps + 1):
            cb, cr = i * spacing, j * spacing
            for y in [k / 400 for k in range(401)]:  # is there a brightness at which a screen can show it?
                r, b = y + 1.402 * cr, y + 1.772 * cb
                g = (y - 0.299 * r - 0.114 * b) / 0.587
                if all(-2e-3 <= v <= 1 + 2e-3 for v in (r, g, b)):
                    wanted.append((cb, cr))
                    break
    assert torch.allclose(bins, torch.tensor(wanted), atol=1e-6)
    assert (bins == 0).all(1).any()
    with pytest.raises(ValueError, match="spacing"):
        pretext.colour_bins(0.0)


def test_target_is_the_nearest_bin():
    bins = pretext.colour_bins(0.1)
    images = torch.rand(3, 3, 6, 5, generator=seed(0))
    chroma = pretext.split_colour(images)[1]
    found = pretext.colour_targets(chroma, bins)
    assert found.shape == (3, 6, 5)
    for n in range(3):
        for i in range(6):
            for j in range(5):
                distance = [math.dist(chroma[n, :, i, j].tolist(), q) for q in bins.tolist()]
                assert distance[found[n, i, j]] == pytest.approx(min(distance), abs=1e-6)
    assert float((bins[found] - chroma.permute(0, 2, 3, 1)).abs().max()) <= 0.05 + 0.03  # at the rim a little more


@pytest.mark.parametrize("mix", [0.0, 0.3, 0.5, 1.0])
def test_weights_are_those_of_the_paper(mix):
    targets = torch.randint(5, (4, 6, 6), generator=seed(0)) ** 2 // 4  # 0, 0, 1, 2, 4: bin 3 never occurs
    weight = pretext.rebalanced_weights(targets, 6, mix)
    share = [targets.flatten().tolist().count(q) / targets.numel() for q in range(6)]
    raw = [1 / ((1 - mix) * p + mix / 6) if (1 - mix) * p + mix / 6 else 0.0 for p in share]
    mean = sum(p * w for p, w in zip(share, raw))
    assert weight.tolist() == pytest.approx([w / mean for w in raw], rel=1e-5)
    assert float(weight[targets].mean()) == pytest.approx(1, rel=1e-5)
    if mix == 1:
        assert torch.allclose(weight, torch.ones(6))


def test_weights_refuse_what_makes_no_sense():
    for targets, mix in ((torch.zeros(0, dtype=torch.long), 0.5), (torch.zeros(3, dtype=torch.long), 1.5)):
        with pytest.raises(ValueError, match="mix"):
            pretext.rebalanced_weights(targets, 4, mix)


@pytest.mark.parametrize("temperature", [0.1, 0.38, 1.0, 3.0])
def test_annealed_mean(temperature):
    bins = pretext.colour_bins(0.25)
    logits = 5 * torch.randn(2, len(bins), 3, 4, generator=seed(0))
    found = pretext.annealed_mean(logits, bins, temperature)
    for n, i, j in ((0, 0, 0), (1, 2, 3)):
        p = logits[n, :, i, j].double().softmax(0) ** (1 / temperature)  # the paper's form: exp(log z / T), normalised
        p = p / p.sum()
        wanted = [sum(float(p[q]) * float(bins[q, c]) for q in range(len(bins))) for c in range(2)]
        assert found[n, :, i, j].tolist() == pytest.approx(wanted, abs=1e-5)
    with pytest.raises(ValueError, match="temperature"):
        pretext.annealed_mean(logits, bins, 0.0)


def test_annealed_mean_goes_from_the_mean_to_the_mode():
    bins = pretext.colour_bins(0.25)
    logits = torch.randn(1, len(bins), 4, 4, generator=seed(0))
    mode = bins[logits.argmax(1)].permute(0, 3, 1, 2)
    torch.testing.assert_close(pretext.annealed_mean(logits, bins, 1e-3), mode)
    flat = pretext.annealed_mean(logits, bins, 1e4)
    torch.testing.assert_close(flat, bins.mean(0)[None, :, None, None].expand_as(flat), atol=1e-3, rtol=0)


# --- models -----------------------------------------------------------------------------------------------------------


def test_models_answer_in_the_right_shapes_and_their_encoders_learn():
    images = torch.rand(6, 3, 32, 32, generator=seed(0))
    first, second, which = pretext.patch_pairs(images, seed(0))
    orders = pretext.permutation_set(5, 9)
    tiles, order = pretext.jigsaw(images, orders, seed(0))
    grey, chroma = pretext.split_colour(images)
    bins = pretext.colour_bins(0.25)
    targets = pretext.colour_targets(pretext.half(chroma), bins)
    patch, puzzle = pretext.PatchModel(SMALL, seed(1)), pretext.JigsawModel(5, 9, SMALL, seed(1))
    regress, classify = pretext.Colourizer(2, SMALL, seed(1)), pretext.Colourizer(len(bins), SMALL, seed(1))
    assert patch(first, second).shape == (6, 8)
    assert puzzle(tiles).shape == (6, 5)
    assert regress(grey).shape == (6, 2, 16, 16) == pretext.half(chroma).shape
    assert regress.chroma(grey).shape == classify.chroma(grey, bins).shape == (6, 2, 32, 32)
    for model, loss in (
        (patch, F.cross_entropy(patch(first, second), which)),
        (puzzle, F.cross_entropy(puzzle(tiles), order)),
        (regress, F.mse_loss(regress(grey), pretext.half(chroma))),
        (classify, F.cross_entropy(classify(grey), targets)),
    ):
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())
        assert model.encoder(images).shape == (6, model.encoder.config.dim)
    with pytest.raises(ValueError, match="grey pictures"):
        regress(images)


def test_puzzle_head_knows_the_places_and_the_encoder_does_not():
    """Exchanging two tiles changes the answer, exchanging the two patches as well; each tile's vector stays."""
    images = torch.rand(4, 3, 32, 32, generator=seed(0))
    tiles, _ = pretext.jigsaw(images, pretext.permutation_set(5, 9), seed(0))
    model = pretext.JigsawModel(5, 9, SMALL, seed(1)).eval()
    assert not torch.allclose(model(tiles), model(tiles.flip(1)), atol=1e-4)
    first, second, _ = pretext.patch_pairs(images, seed(0))
    pairs = pretext.PatchModel(SMALL, seed(1)).eval()
    assert not torch.allclose(pairs(first, second), pairs(second, first), atol=1e-4)


def test_same_seed_same_model():
    a, b = (pretext.JigsawModel(5, 4, SMALL, seed(2)).state_dict() for _ in range(2))
    assert all(a[name].equal(b[name]) for name in a)
