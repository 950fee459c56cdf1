"""Postcards: every factor is really in the picture, the caption tells the truth, and the same seed draws the same."""

import re

import pytest
import torch
import torch.nn.functional as F

from course_utils import runtime
from course_utils.data import postcards
from course_utils.data.postcards import BIOMES, COLOURS, HELD_OUT, OBJECTS, PARTS, WEATHERS
from course_utils.show import pictures


@pytest.fixture(scope="module")
def cards():
    return postcards.draw(600, runtime.seed(0), part="all")


def plain(n=1, **changes):
    """Factors of n equal cards: a clear day, an upright object, without a shade of its own; then the changes."""
    f = postcards.sample(1, runtime.seed(4))
    f = {name: value.repeat(n, *[1] * (value.ndim - 1)) for name, value in f.items()}
    fixed = {"object": 0, "colour": 0, "biome": 0, "weather": 0, "night": False, "size": 0.5, "x": 0.5, "y": 0.55}
    for name, value in {**fixed, "angle": 0.0, "_shade": 1.0, "_mirror": 1.0, **changes}.items():
        f[name] = torch.as_tensor(value).to(f[name].dtype).expand(n).clone()
    return f


# --- form -------------------------------------------------------------------------------------------------------------


def test_shapes_and_ranges(cards):
    assert len(cards) == 600 and cards.images.shape == (600, 3, 32, 32) and cards.images.dtype == torch.float32
    assert cards.masks.shape == cards.free.shape == (600, 1, 32, 32) and len(cards.captions) == 600
    for part in (cards.images, cards.masks, cards.free):
        assert part.isfinite().all() and part.min() >= 0 and part.max() <= 1
    assert (cards.free <= cards.masks + 1e-6).all(), "what is painted is part of the object"
    for name, choices in {"object": OBJECTS, "colour": COLOURS, "biome": BIOMES, "weather": WEATHERS}.items():
        assert cards.factors[name].dtype == torch.int64
        assert cards.factors[name].unique().tolist() == list(range(len(choices))), f"every {name} occurs"
    assert cards.factors["night"].dtype == torch.bool
    for name in ("size", "x", "y", "angle"):
        assert cards.factors[name].is_floating_point()
    assert all(len(value) == 600 for value in cards.factors.values())


def test_there_is_enough_to_see():
    assert len(OBJECTS) >= 10 and len(COLOURS) >= 8 and len(BIOMES) >= 5
    assert set(postcards.SHAPES) == set(OBJECTS) and set(postcards.LANDS) == set(BIOMES)


@pytest.mark.parametrize("size", [1, 2, 7, 33, 64])
def test_any_size(size):
    cards = postcards.draw(7, runtime.seed(0), size=size)
    assert cards.images.shape == (7, 3, size, size) and cards.images.isfinite().all()


def test_none_at_all():
    cards = postcards.draw(0, runtime.seed(0))
    assert cards.images.shape == (0, 3, 32, 32) and cards.masks.shape == (0, 1, 32, 32) and cards.captions == []
    assert len(postcards.draw(1, runtime.seed(0))) == 1


@pytest.mark.parametrize(
    "wrong, said",
    [
        (dict(n=-1), "n must be ≥ 0, got -1"),
        (dict(n=2, size=0), "size must be ≥ 1 pixel, got 0"),
        (dict(n=2, part="test"), "part must be one of train, held_out, all, got 'test'"),
    ],
)
def test_bad_input(wrong, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        postcards.draw(generator=runtime.seed(0), **wrong)


# --- randomness -------------------------------------------------------------------------------------------------------


def test_same_seed_same_cards():
    a, b, c = (postcards.draw(40, runtime.seed(seed)) for seed in (7, 7, 8))
    assert a.images.equal(b.images) and a.masks.equal(b.masks) and a.captions == b.captions
    assert not a.images.equal(c.images) and a.captions != c.captions


def test_drawing_leaves_torch_s_own_randomness_alone():
    before = torch.get_rng_state()
    postcards.draw(5, runtime.seed(0))
    assert torch.get_rng_state().equal(before)


def test_the_first_cards_do_not_depend_on_how_many_follow(cards):
    few = postcards.draw(50, runtime.seed(0), part="all")
    assert few.captions == cards.captions[:50]
    for name, value in few.factors.items():
        assert value.equal(cards.factors[name][:50]), name
    torch.testing.assert_close(few.images, cards.images[:50], atol=1e-5, rtol=0)


def test_pictures_do_not_depend_on_their_neighbours(cards, monkeypatch):
    monkeypatch.setattr(postcards, "CHUNK", 3 * 32 * 32)
    images, masks = postcards.render({name: value[:90] for name, value in cards.factors.items()})
    torch.testing.assert_close(images, cards.images[:90], atol=1e-5, rtol=0)
    torch.testing.assert_close(masks, cards.masks[:90], atol=1e-5, rtol=0)


def test_render_is_what_draw_does():
    cards = postcards.draw(30, runtime.seed(2), size=48, part="held_out")
    factors = postcards.sample(30, runtime.seed(2), "held_out")
    before = {name: value.clone() for name, value in factors.items()}
    images, masks = postcards.render(factors, 48, device=None)
    assert images.equal(cards.images) and masks.equal(cards.masks)
    assert postcards.describe(factors) == cards.captions
    assert all(value.equal(before[name]) for name, value in factors.items()), "factors are only read"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_same_pictures_on_the_gpu(cards):
    there = postcards.draw(600, runtime.seed(0), part="all", device="cuda")
    assert there.images.is_cuda and there.factors["object"].is_cuda and there.captions == cards.captions
    off = (there.images.cpu() - cards.images).abs()
    assert (off > 1e-3).float().mean() < 1e-4  # a window's edge may fall on the other side of a pixel's centre


# --- held out ---------------------------------------------------------------------------------------------------------


def test_held_out_combinations_are_never_in_train():
    for part in PARTS:
        f = postcards.sample(5000, runtime.seed(1), part)
        seen = torch.zeros_like(HELD_OUT)
        seen[f["object"], f["colour"]] = True
        expected = {"train": ~HELD_OUT, "held_out": HELD_OUT, "all": torch.ones_like(HELD_OUT)}[part]
        assert seen.equal(expected), part


def test_held_out_is_the_same_number_for_each():
    assert HELD_OUT.sum(1).eq(2).all() and HELD_OUT.sum(0).eq(3).all()


def test_factors_are_independent():
    f = postcards.sample(20_000, runtime.seed(1), "all")
    names = ["object", "colour", "biome", "weather", "night", "size", "x", "angle"]
    columns = torch.stack([f[name].double() for name in names])
    off = torch.corrcoef(columns).fill_diagonal_(0).abs()
    assert off.max() < 0.035  # five standard errors
    counts = torch.zeros(len(OBJECTS), len(COLOURS))
    counts.index_put_((f["object"], f["colour"]), torch.ones(20_000), accumulate=True)
    expected = 20_000 / counts.numel()
    assert ((counts - expected) ** 2 / expected).sum() < 96 + 5 * (2 * 96) ** 0.5, "chi squared, 5 sigma"


# --- what is in the picture -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", range(len(OBJECTS)), ids=OBJECTS)
def test_the_object_is_painted_in_its_colour(kind):
    f = plain(8, object=kind, colour=torch.arange(8))
    images, masks, free = postcards.paint(f, 64)
    palette = torch.tensor(list(COLOURS.values()))
    inside = (free > 0.999).float()
    assert inside.sum((1, 2, 3)).min() > 100
    assert (free.sum() / masks.sum()) > 0.5, "the larger part of the object is painted"
    # Shadow and highlight shift it: its median over the painted part is still nearest to its own name.
    for i in range(8):
        pixels = images[i][:, inside[i, 0] > 0]  # (3, pixels)
        assert (pixels.median(1).values - palette).norm(dim=1).argmin() == i
    outside = masks.expand_as(images) == 0
    assert torch.where(outside, images - images[:1], 0.0).abs().max() == 0, "colour changes nothing but the object"


def test_a_factor_changes_what_it_should(cards):
    f = {name: value[:60] for name, value in cards.factors.items()}
    images, masks = postcards.render(f)
    for name, other in {"biome": 6, "weather": 5, "night": 2}.items():
        changed = {**f, name: (f[name].long() + 1).remainder(other).to(f[name].dtype)}
        new, same = postcards.render(changed)
        assert same.equal(masks), f"{name} does not touch the object's shape"
        assert ((new - images).abs().mean((1, 2, 3)) > 0.01).all(), name


def test_night_is_dark(cards):
    f = {name: value[:200] for name, value in cards.factors.items()}
    by = [postcards.render({**f, "night": torch.full_like(f["night"], night)})[0] for night in (False, True)]
    assert (by[1].mean((1, 2, 3)) < 0.75 * by[0].mean((1, 2, 3))).all()


def test_grass_is_green_and_the_sea_is_blue():
    def ground(biome):
        images, _ = postcards.render({**plain(40, biome=BIOMES.index(biome), y=0.3, size=0.36), **nuisance})
        return images[:, :, -3:].mean((0, 2, 3))

    nuisance = {k: v for k, v in postcards.sample(40, runtime.seed(9)).items() if k in ("_texture", "_far", "_ground")}
    (r, g, b), (r2, g2, b2) = ground("meadow"), ground("sea")
    assert g > r + 0.1 and g > b + 0.2 and b2 > g2 + 0.1 > r2 + 0.2
    assert ground("snow").min() > 0.75
    sand, road = ground("desert"), ground("city")
    assert sand[0] > sand[2] + 0.2 and (road.max() - road.min()) < 0.08


@pytest.mark.parametrize("kind", range(len(OBJECTS)), ids=OBJECTS)
def test_place_and_size_can_be_read_off_the_mask(kind):
    n = 60
    f = postcards.sample(n, runtime.seed(3), "all")
    f |= {"object": torch.full((n,), kind), "angle": torch.zeros(n), "_mirror": torch.ones(n)}
    f |= {"y": 0.45 + 0.1 * f["_drops"]}
    _, masks = postcards.render(f, 64)
    mass = masks[:, 0].sum((1, 2))  # pixels
    at = (torch.arange(64) + 0.5) / 64
    x = (masks[:, 0].sum(1) * at).sum(1) / mass
    y = (masks[:, 0].sum(2) * at).sum(1) / mass
    side = (mass / 64**2).sqrt() / f["size"]  # the same for all of one kind, if nothing is cut off
    inside = masks[:, 0, :, [0, -1]].amax((1, 2)) == 0
    assert inside.sum() > 20
    assert side[inside].std() / side.mean() < 0.01
    for found, name in ((x, "x"), (y, "y")):
        shift = ((found - f[name]) / f["size"])[inside]  # the shape's own centre, in its own square
        assert shift.std() < 0.004 and shift.abs().max() < 0.25, name


def test_angle_turns_counter_clockwise():
    _, masks = postcards.render(plain(2, object=OBJECTS.index("rocket"), angle=[-0.15, 0.15]), 64)
    at = torch.arange(64.0)
    top = masks[:, 0, :24]  # the rocket's nose
    x = (top.sum(1) * at).sum(1) / top.sum((1, 2))
    assert x[1] < 31 < 32 < x[0]


def test_edges_are_smoothed_as_by_many_more_pixels(cards):
    """The share of a pixel that a shape covers is close to what 8 × 8 pixels in its place say."""
    few = {name: value[:80] for name, value in cards.factors.items()}
    images, masks = postcards.render(few, 32)
    fine_images, fine_masks = (F.avg_pool2d(part, 8) for part in postcards.render(few, 256))
    assert (masks - fine_masks).abs().mean() < 0.004
    assert (images - fine_images).abs().mean() < 0.02


def test_objects_stand_on_the_ground(cards):
    f = cards.factors
    stand = torch.tensor([name not in postcards.FLYING for name in OBJECTS])[f["object"]]
    rows = torch.arange(32)[:, None]
    lowest = torch.where(cards.masks[:, 0] > 0.3, rows, -1).amax((1, 2)) / 32
    assert (lowest[stand] > f["_horizon"][stand] - 0.02).all()
    assert (f["y"][~stand] < f["_horizon"][~stand]).all()


# --- captions ---------------------------------------------------------------------------------------------------------


def named(caption, names):
    return [name for name in names if re.search(rf"\b{name}\b", caption)]


def test_captions_tell_the_truth(cards):
    f = cards.factors
    for i, caption in enumerate(cards.captions):
        assert named(caption, OBJECTS) == [OBJECTS[f["object"][i]]], caption
        spare = {"the green meadow": "the meadow", "the blue sea": "the sea"}  # the ground's colour
        of_object = caption
        for said, less in spare.items():
            of_object = of_object.replace(said, less)
        assert named(of_object, COLOURS) == [list(COLOURS)[f["colour"][i]]], caption
        assert named(caption, BIOMES) == [BIOMES[f["biome"][i]]], caption
        assert f["night"][i] or not named(caption, ["night"]), caption
        assert not (f["night"][i] and named(caption, ["day", "daylight"])), caption
        assert not (named(caption, ["small", "little"]) and f["size"][i] >= 0.43), caption
        assert not (named(caption, ["big", "large"]) and f["size"][i] <= 0.57), caption
        for weather, phrases in postcards._AIR.items():
            if any(phrase in caption for phrase in phrases):
                assert weather == WEATHERS[f["weather"][i]], caption
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  | ,|[{}]", caption), caption


def test_captions_vary(cards):
    assert len(set(cards.captions)) > 0.9 * len(cards.captions)
    nights = [c for c, night in zip(cards.captions, cards.factors["night"]) if night]
    assert sum("night" in c for c in nights) > 0.8 * len(nights)
    first = [c.split()[0] for c in cards.captions]
    assert len(set(first)) >= 5


def test_templates():
    assert len(postcards.TEMPLATES) >= 5
    for template in postcards.TEMPLATES:
        assert named(template.format(object="boat", colour="red"), ["boat", "red"]) == ["boat", "red"]


# --- shown ------------------------------------------------------------------------------------------------------------


def test_grid_and_html(cards, capsys):
    pictures.grid(cards.images[:10], titles=cards.captions[:10], columns=4, title="Ten cards")
    pictures.grid([cards.images[0], torch.rand(1, 7, 9)], columns=1)
    html = pictures.html(cards.images[:3], titles=["<a>", 0.123, 5], zoom=2)
    assert html.count("data:image/png;base64,") == 3 and 'width="64"' in html
    assert "&lt;a&gt;" in html and "0.12" in html and "<a>" not in html
    assert pictures.html(cards.images[0]).count("<img") == 1


def test_html_holds_the_pixels(cards):
    import base64
    from io import BytesIO

    import numpy as np
    from PIL import Image

    data = pictures.data_url(cards.images[0]).split(",")[1]
    pixels = torch.tensor(np.array(Image.open(BytesIO(base64.b64decode(data))))).permute(2, 0, 1) / 255
    assert (pixels - cards.images[0]).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("show", [pictures.grid, pictures.html])
def test_pictures_that_cannot_be_shown(show):
    with pytest.raises(ValueError, match="no picture"):
        show(torch.zeros(0, 3, 4, 4))
    with pytest.raises(ValueError, match=r"\(3, H, W\) or \(1, H, W\), got \(2, 4, 4\)"):
        show(torch.zeros(1, 2, 4, 4))
    with pytest.raises(ValueError, match="2 pictures, 1 titles"):
        show(torch.zeros(2, 3, 4, 4), titles=["a"])
    with pytest.raises(ValueError, match="columns must be ≥ 1, got 0"):
        show(torch.zeros(2, 3, 4, 4), columns=0)
