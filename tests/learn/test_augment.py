"""Each augmentation against torchvision's function for the same parameters, picture by picture; and what is drawn."""

import numpy
import pytest
import scipy.ndimage
import torch
from scipy.stats import ks_2samp

from course_utils import runtime
from course_utils.learn import augment

N = 12


@pytest.fixture(scope="module")
def v2():
    """torchvision's transforms; whoever only collects tests need not wait for them."""
    from torchvision.transforms import v2

    return v2


def pictures(n=N, height=32, width=32, seed=0):
    return torch.rand(n, 3, height, width, generator=runtime.seed(seed))


ROUNDED = 1.5e-4  # torchvision rounds red's share of the brightness, .299, down to .2989


def same(found, *slow, **tolerance):
    torch.testing.assert_close(found, torch.stack(slow), **{"atol": 2e-5, "rtol": 1e-4, **tolerance})


@pytest.mark.parametrize("height, width", [(32, 32), (24, 40)])
@pytest.mark.parametrize("flip", [0, 0.5, 1])
def test_crop_resize(height, width, flip, v2):
    x = pictures(height=height, width=width)
    p = augment.CropResize(flip=flip).draw(x, runtime.seed(1))
    del p["chosen"]
    slow = []
    for i in range(N):
        box = [int(p[name][i]) for name in ("top", "left", "height", "width")]
        one = v2.functional.resized_crop(x[i], *box, [height, width], antialias=True)
        slow.append(v2.functional.horizontal_flip(one) if p["flip"][i] else one)
    same(augment.crop_resize(x, **p), *slow)


@pytest.mark.parametrize("size", [7, 24, 50])
def test_crop_resize_to_another_size(size, v2):
    x, crop = pictures(height=24, width=40), augment.CropResize(flip=0.5, size=size)
    p = crop.draw(x, runtime.seed(1))
    slow = []
    for i in range(N):
        box = [int(p[name][i]) for name in ("top", "left", "height", "width")]
        one = v2.functional.resized_crop(x[i], *box, [size, size], antialias=False)
        slow.append(v2.functional.horizontal_flip(one) if p["flip"][i] else one)
    same(crop.apply(x, p), *slow)
    assert augment.Compose(crop, augment.ColourDrop(p=0.2))(x, runtime.seed(2)).shape == (N, 3, size, size)


@pytest.mark.parametrize("height, width", [(32, 32), (24, 40)])
def test_rotate(height, width, v2):
    x, angle = pictures(height=height, width=width), torch.tensor([0, 90, 180, 270, 5, -30, 45, 60, 12, 99, -1, 359.0])
    same(
        augment.rotate(x, angle),
        *(v2.functional.rotate(a, float(d), v2.InterpolationMode.BILINEAR) for a, d in zip(x, angle)),
        atol=1e-3,
    )
    torch.testing.assert_close(augment.rotate(x, 0 * angle), x)


def test_colour_drop(v2):
    x = pictures()
    same(augment.colour_drop(x), *(v2.functional.rgb_to_grayscale(a, 3) for a in x), atol=ROUNDED)


@pytest.mark.parametrize("name, factors", [
    ("brightness", (0, 0.5, 1, 1.8)), ("contrast", (0, 0.5, 1, 1.8)), ("saturation", (0, 0.5, 1, 1.8)),
    ("hue", (-0.5, -0.2, 0, 0.1, 1 / 3, 0.5)),
])  # fmt: skip
def test_each_adjustment(name, factors, v2):
    x, factor = pictures(), torch.tensor(factors).repeat(N)[:N]
    x[0] = 0.3  # grey, black and white have no hue
    x[1], x[2] = 0, 1
    x[3, :2] = 0.7  # two channels tie for the largest
    x[4, 1:] = 0.9
    x[5, 0] = x[5, 2] = 0.8
    x.requires_grad_(False)
    before = x.clone()
    theirs = getattr(v2.functional, f"adjust_{name}")
    same(getattr(augment, f"adjust_{name}")(x, factor), *(theirs(a, float(f)) for a, f in zip(x, factor)), atol=ROUNDED)
    assert torch.equal(x, before)


def test_colour_jitter_with_orders(v2):
    x = pictures(24)
    p = augment.ColourJitter().draw(x, runtime.seed(2))
    names, slow = ["brightness", "contrast", "saturation", "hue"], []
    for i in range(24):
        one = x[i]
        for which in p["order"][i].tolist():
            one = getattr(v2.functional, f"adjust_{names[which]}")(one, float(p[names[which]][i]))
        slow.append(one)
    same(augment.colour_jitter(x, **{k: v for k, v in p.items() if k != "chosen"}), *slow, atol=5e-4)
    assert len({tuple(o) for o in p["order"].tolist()}) > 8
    fixed = augment.colour_jitter(x, *(p[name] for name in names))
    same(fixed, *augment.colour_jitter(x, *(p[name] for name in names), torch.arange(4).expand(24, 4)))


def test_cutout(v2):
    x = pictures(height=24, width=40)
    p = augment.Cutout().draw(x, runtime.seed(1))
    boxes = [[int(p[name][i]) for name in ("top", "left", "height", "width")] for i in range(N)]
    for value in (0.0, 0.5):
        found = augment.cutout(x, *(p[name] for name in ("top", "left", "height", "width")), value=value)
        same(found, *(v2.functional.erase(a, *box, torch.tensor([value])) for a, box in zip(x, boxes)))


def test_gaussian_noise(v2):
    x, sigma, slow, noise = pictures(), torch.linspace(0, 0.5, N), [], []
    for i in range(N):
        torch.manual_seed(i)
        noise.append(torch.randn_like(x[i]))
        torch.manual_seed(i)
        slow.append(v2.functional.gaussian_noise(x[i], 0.0, float(sigma[i]), clip=True))
    same(augment.gaussian_noise(x, sigma, torch.stack(noise)), *slow)


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_gaussian_blur(size, v2):
    x, sigma = pictures(height=24, width=40), torch.linspace(0.1, 2, N)
    same(
        augment.gaussian_blur(x, sigma, size),
        *(v2.functional.gaussian_blur(a, [size, size], [float(s)] * 2) for a, s in zip(x, sigma)),
    )


def test_sobel_is_scipys():
    x = pictures(height=24, width=40)
    slow = []
    for channel in x.flatten(0, 1).double().numpy():
        across, down = (scipy.ndimage.sobel(channel, axis, mode="nearest") for axis in (1, 0))
        slow.append(torch.tensor(numpy.minimum(numpy.hypot(across, down) / 4, 1)).float())
    same(augment.sobel(x).flatten(0, 1), *slow)
    assert (augment.sobel(torch.full((2, 3, 8, 8), 0.7)) < 1e-6).all()


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_boxes_are_drawn_as_torchvision_draws_them(v2):
    x = pictures(3000)
    p = augment.CropResize().draw(x, runtime.seed(0))
    torch.manual_seed(0)
    theirs = [v2.RandomResizedCrop(32).make_params([x[0]]) for _ in range(3000)]
    for name in ("top", "left", "height", "width"):
        assert ks_2samp(p[name].numpy(), [t[name] for t in theirs]).pvalue > 1e-4, name
    assert (p["top"] + p["height"]).max() == 32 and p["top"].min() == 0 and p["height"].min() >= 1


@pytest.mark.parametrize("name", augment.gallery())
def test_every_augmentation_of_the_gallery(name):
    x, change = pictures(64), augment.gallery()[name]
    before, y = x.clone(), change(x, runtime.seed(0))
    assert y.shape == x.shape and y.dtype == x.dtype and y.min() >= 0 and y.max() <= 1 + 1e-5 and torch.equal(x, before)
    torch.testing.assert_close(y, change(x, runtime.seed(0)))  # the same seed, the same pictures
    assert torch.equal(y, change.apply(x, change.draw(x, runtime.seed(0))))
    assert len(change(x[:1], runtime.seed(0))) == 1 and len(change(x[:0], runtime.seed(0))) == 0
    if name != "original":
        assert (y != x).flatten(1).any(1).float().mean() > 0.9
    if name not in ("original", "colour drop", "Sobel filtering"):  # each picture has parameters of its own
        equal = change(x[:1].expand(64, -1, -1, -1).contiguous(), runtime.seed(3))
        assert len({tuple(row) for row in equal.flatten(1)[:, :50].tolist()} | {()}) > 3 or name == "cutout"


def test_ten_augmentations():
    assert len(augment.gallery()) == 10


def test_only_the_chosen_are_changed():
    x = pictures(2000, 4, 4)
    drop = augment.ColourDrop(p=0.2)
    p = drop.draw(x, runtime.seed(0))
    y = drop.apply(x, p)
    changed = (y != x).flatten(1).any(1)
    assert torch.equal(changed, p["chosen"]) and 0.15 < changed.float().mean() < 0.25
    assert torch.equal(augment.Sobel(p=0)(x), x)


def test_chunks_change_nothing():
    x, change = pictures(50), augment.simclr()
    p = change.draw(x, runtime.seed(0))
    whole = augment.Compose(*change.augmentations, chunk=50).apply(x, p)
    for chunk in (1, 7, 64):
        torch.testing.assert_close(augment.Compose(*change.augmentations, chunk=chunk).apply(x, p), whole)


def test_the_given_pictures_stay_as_they_were():
    x = pictures(20)
    before = x.clone()
    for parts in (augment.simclr().augmentations, [augment.ColourDrop(p=0.5), augment.Sobel(p=0.5)]):
        for chunk in (7, 64):
            augment.Compose(*parts, chunk=chunk)(x, runtime.seed(0))
    view = augment.Augmentation()
    view.change = lambda images: images[:]
    augment.Compose(view, augment.Sobel(p=0.5))(x, runtime.seed(0))
    assert torch.equal(x, before)
    assert not torch.equal(augment.Sobel(p=0.5).apply(x, augment.Sobel(p=0.5).draw(x), inplace=True), before)


@pytest.mark.parametrize("turns", [-2, -1, 1, 3])
def test_whole_turns_of_the_colour_wheel_change_nothing(turns):
    x = pictures(10)
    torch.testing.assert_close(augment.adjust_hue(x, torch.full((10,), float(turns))), x, atol=1e-5, rtol=0)


def test_two_views_are_independent_views_of_the_same_pictures():
    x = pictures(40)
    a, b = augment.two_views(x, augment.simclr(), runtime.seed(0))
    assert a.shape == b.shape == x.shape and not torch.allclose(a, b)
    c, d = augment.two_views(x, augment.simclr(), runtime.seed(0))
    assert torch.equal(a, c) and torch.equal(b, d)
    same, also = augment.two_views(x, augment.Compose())
    assert torch.equal(same, x) and torch.equal(also, x)
    assert len(augment.simclr(blur=0).augmentations) == 3


def test_bad_input():
    for wrong in (pictures()[0], pictures()[:, :1], (pictures() * 255).byte()):
        with pytest.raises(ValueError, match=r"floats in \[0, 1\] of the shape"):
            augment.simclr()(wrong)
    for size in (2, 0, 65):
        with pytest.raises(ValueError, match="size must be odd"):
            augment.gaussian_blur(pictures(), torch.ones(N), size)
    for make in (
        lambda: augment.Sobel(p=1.5), lambda: augment.CropResize(scale=(0, 1)), lambda: augment.Cutout(scale=(0.5, 2)),
        lambda: augment.ColourJitter(hue=0.6), lambda: augment.GaussianBlur((0, 1)),
        lambda: augment.GaussianNoise((-1, 1)), lambda: augment.CropResize(size=16, p=0.5),
        lambda: augment.CropResize(size=0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="got"):
            make()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
def test_cuda_gives_the_same():
    x = pictures(64)
    for name, change in {**augment.gallery(), "simclr": augment.simclr()}.items():
        there = change(x.cuda(), runtime.seed(0)).cpu()
        torch.testing.assert_close(there, change(x, runtime.seed(0)), atol=2e-3, rtol=1e-3, msg=name)
