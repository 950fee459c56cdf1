"""course_utils.show.picture_widgets: live widgets with pictures answer as the others do."""

import pytest
import torch

from course_utils.show import picture_widgets

# --- autoencoders: a walk between codes, denoising --------------------------------------------------------------------


def test_walk_shows_the_ends_and_the_way_between():
    codes = torch.eye(3)

    def encode(images):
        return codes[images[:, 0, 0, 0].long()] * 2

    def decode(z):
        seen.append(z)
        return torch.full((len(z), 3, 4, 4), 0.5)

    seen, images = [], torch.arange(3.0)[:, None, None, None].expand(3, 3, 4, 4)
    explorer = picture_widgets.walk_explorer(images, encode, decode, start=0, end=2, pictures_between=3)
    walk = seen[-1]
    assert walk.shape == (6, 3)
    torch.testing.assert_close(walk[0], torch.tensor([2**0.5, 0, 2**0.5]))  # half way along the arc, no shorter
    torch.testing.assert_close(walk[1:3], 2 * codes[[0, 2]])
    assert "50% of the way" in explorer.text and explorer.result.value.count("<img") == 5 + 3
    explorer.set(way=0.0)
    torch.testing.assert_close(seen[-1][0], 2 * codes[0])
    explorer.set(end=0, way=0.5)
    torch.testing.assert_close(seen[-1], (2 * codes[[0]]).expand_as(seen[-1]))  # from a picture to itself: it stays
    with pytest.raises(ValueError, match="at least two"):
        picture_widgets.walk_explorer(images[:1], encode, decode)


def test_arc_of_parallel_codes_is_a_line():
    walk = picture_widgets.arc(torch.tensor([1.0, 0]), torch.tensor([3.0, 0]), torch.linspace(0, 1, 3))
    torch.testing.assert_close(walk, torch.tensor([[1.0, 0], [2.0, 0], [3.0, 0]]))


def test_denoiser_is_judged_by_the_clean_picture():
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def corrupt(x, sigma, generator):
        return x + sigma * torch.randn(x.shape, generator=generator)

    explorer = picture_widgets.denoise_explorer(images, corrupt, {"perfect": lambda _: images[:1]}, sigma=0.2)
    assert "perfect: 0.000" in explorer.text and "Nearest to the clean picture: perfect" in explorer.text
    before = explorer.text
    explorer.set(sample=2)
    assert explorer.text != before
    explorer.set(sample=1)
    assert explorer.text == before, "the same settings, the same noise"
    explorer.set(sigma=0.0)
    assert "noisy: 0.000" in explorer.text
    with pytest.raises(ValueError, match="at least one"):
        picture_widgets.denoise_explorer(images, corrupt, {})


def test_noise_is_drawn_where_one_says():
    images = torch.full((2, 3, 8, 8), 0.5)
    seen = []
    explorer = picture_widgets.denoise_explorer(
        images, lambda x, sigma, generator: x + sigma, {"none": lambda x: seen.append(x) or x}, sigma=0.3
    )
    torch.testing.assert_close(seen[-1], torch.full((1, 3, 8, 8), 0.8))
    explorer.set(columns=(3, 4), rows=(1, 8))
    expected = torch.full((1, 3, 8, 8), 0.5)
    expected[..., 2:4] = 0.8
    torch.testing.assert_close(seen[-1], expected)
    assert images.eq(0.5).all(), "the pictures stay clean"


def test_two_encoders_are_asked_for_one_factor():
    from course_utils.learn.evaluate import ReportCard

    score = torch.tensor([[0.5, 0.25], [1.0, -0.5]])
    card = ReportCard(["x", "y"], ["object", "size"], ["accuracy", "R²"], score, score * 0, torch.tensor([0.5, 0.0]))
    angle = torch.linspace(0, 6.0, 9)
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    features = {"x": circle, "y": circle[[0, 5, 1, 2, 3, 4, 6, 7, 8]]}
    factors = {"object": torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 0]), "size": torch.arange(9.0)}
    images, captions = torch.rand(9, 3, 4, 4), [f"card {i}" for i in range(9)]
    explorer = picture_widgets.report_card_explorer(
        images, features, card, factors, captions=captions, encoder="x", other="y"
    )
    assert explorer.result.value.count("<img") == 16
    assert "50% ± 0%" in explorer.text and "100% ± 0%" in explorer.text and "guessing: 50%" in explorer.text
    near = [0, 1, 8, 2, 7, 3, 6, 4]  # on the circle, of card 0; 5 is the furthest
    same = sum(int(factors["object"][i]) == 0 for i in near[1:])
    assert f"{same} of its 7 nearest have the same object" in explorer.text
    assert explorer.text.count("✓ same") >= same
    explorer.set(factor="size", picture=4, other="x")
    assert explorer.result.value.count("<img") == 8, "an encoder against itself is shown once"
    assert "R² 0.25" in explorer.text and "This card: “card 4”" in explorer.text and "size of its 7" in explorer.text
    with pytest.raises(ValueError, match="needs a caption"):
        picture_widgets.report_card_explorer(
            images, features, card, factors, captions=captions[:3], encoder="x", other="y"
        )
