"""Pictures with short captions by a seed: they are postcards, the words are true, the seed decides."""

import pytest
import torch

from course_utils.data import captioned, postcards


def test_captions_say_what_is_there():
    images, captions, kinds, colours = captioned.postcards(60, 3, objects=("fish", "house"), colours=("orange", "blue"))
    assert images.shape == (60, 3, 32, 32) and images.dtype == torch.uint8 and images.max() > 200
    assert set(kinds.tolist()) == set(colours.tolist()) == {0, 1}
    for caption, kind, colour in zip(captions, kinds.tolist(), colours.tolist()):
        assert ("fish", "house")[kind] in caption and ("orange", "blue")[colour] in caption
        assert " a orange" not in f" {caption}"
    assert any("an orange" in caption for caption in captions) and any("a blue" in caption for caption in captions)
    assert len(set(captions)) > 10, "the wording varies"


def test_the_pictures_are_the_worlds():
    images, _, kinds, colours = captioned.postcards(20, 5, part="all", size=24)
    factors = postcards.sample(64, torch.Generator().manual_seed(5), "all")
    expected, _ = postcards.render({name: column[:20] for name, column in factors.items()}, 24)
    assert (images / 255 - expected).abs().max() < 0.003
    assert kinds.equal(factors["object"][:20]) and colours.equal(factors["colour"][:20])


def test_the_seed_decides_and_parts_are_kept_apart():
    a, b, c = (captioned.postcards(10, seed)[0] for seed in (0, 0, 1))
    assert a.equal(b) and not a.equal(c)
    for part, hidden in (("train", False), ("held_out", True)):
        kinds, colours = captioned.postcards(50, 0, part=part)[2:]
        assert (postcards.HELD_OUT[kinds, colours] == hidden).all()
    assert len(captioned.postcards(0, 0)[0]) == 0


def test_bad_input():
    with pytest.raises(ValueError, match="objects must be some of house, .*got .*'ship'"):
        captioned.postcards(3, 0, objects=("ship",))
    with pytest.raises(ValueError, match="colours must be some of red"):
        captioned.postcards(3, 0, colours=())
    with pytest.raises(ValueError, match="n must be"):
        captioned.postcards(-1, 0)
    with pytest.raises(ValueError, match="'held_out' has none"):
        captioned.postcards(3, 0, part="held_out", objects=("house",), colours=("blue",))
    with pytest.raises(ValueError, match="part must be one of"):
        captioned.postcards(3, 0, part="some")


def test_all_that_may_be_said_of_a_card():
    found = captioned.sentences("house", "orange")
    assert len(found) == len(captioned.TEMPLATES) and {"an orange house", "the house is orange"} <= set(found)
    images, captions, kinds, colours = captioned.postcards(40, 0)
    names = [(postcards.OBJECTS[k], list(postcards.COLOURS)[c]) for k, c in zip(kinds, colours)]
    assert all(caption in captioned.sentences(*name) for caption, name in zip(captions, names))


def test_objects_alone_stand_upright_on_a_noisy_patchwork_that_says_nothing():
    images, new, labels = captioned.objects_alone(300, 4, new=120)
    assert images.shape == (300, 3, 24, 24) and new.shape == (120, 3, 24, 24) and images.dtype == torch.uint8
    assert len(labels) == 120 and set(labels.tolist()) == set(range(len(postcards.OBJECTS)))
    factors = postcards.sample(420, torch.Generator().manual_seed(4), "all")
    drawn, mask = postcards.render(factors, 24)
    assert labels.equal(factors["object"][300:])
    seen, inside = torch.cat([images, new]) / 255, (mask == 1).expand_as(drawn)
    noise = (seen - drawn)[inside & (drawn > 0.25) & (drawn < 0.75)]
    assert abs(noise.mean()) < 0.003 and 0.077 < noise.std() < 0.083, "the object is the world's, upright and noisy"
    border = torch.cat([seen[:, :, 0], seen[:, :, -1], seen[..., 0], seen[..., -1]], 2)  # (n, 3, 96)
    covered = [
        float(((picture[:, hidden[0] == 1, None] - around[:, None]).abs().amax(0).amin(1) < 0.12).double().mean())
        for picture, hidden, around in zip(seen, mask, border)
    ]
    assert sum(covered) / len(covered) > 0.25, "much of an object has colours that the border has, too"
    top, bottom, left, right = (
        part.double().mean() for part in (images[:, :, 0], images[:, :, -1], images[..., 0], images[..., -1])
    )
    assert max(top, bottom, left, right) - min(top, bottom, left, right) < 12, "no side is the brighter one"


def test_the_seed_decides_which_objects_stand_alone():
    a, b, c = (captioned.objects_alone(5, seed, new=5)[0] for seed in (0, 0, 1))
    assert a.equal(b) and not a.equal(c)
    a.zero_()
    assert captioned.objects_alone(5, 0, new=5)[0].equal(b), "what is handed out is a copy"
