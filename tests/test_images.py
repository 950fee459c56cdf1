"""Real pictures: what a folder may hold, and what is said about what it may not."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from course_utils.data import images


def write(path: Path, rgb=(255, 0, 0), size=(40, 40), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, rgb).save(path, **options)


@pytest.fixture
def two_classes(tmp_path):
    for i in range(3):
        write(tmp_path / "cat" / f"{i}.png", (255, 0, 0))
    write(tmp_path / "ant" / "a.jpg", (0, 0, 255), size=(64, 48))
    return tmp_path


def test_folder(two_classes):
    data = images.folder(two_classes, size=16)
    assert data.images.shape == (4, 3, 16, 16) and data.images.dtype == torch.float32 and len(data) == 4
    assert data.classes == ["ant", "cat"] and data.labels.tolist() == [0, 1, 1, 1] and data.skipped == []
    assert data.labels.dtype == torch.int64
    torch.testing.assert_close(data.images[0].mean((1, 2)), torch.tensor([0.0, 0.0, 1.0]), atol=0.02, rtol=0)
    torch.testing.assert_close(data.images[1], torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 16, 16))


def test_limit(two_classes):
    assert images.folder(two_classes, limit=2).labels.tolist() == [0, 1, 1]


def test_pixels_are_those_of_the_file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    (tmp_path / "c").mkdir()
    Image.fromarray(pixels).save(tmp_path / "c" / "a.png")
    assert torch.equal(images.folder(tmp_path).images[0], torch.tensor(pixels).permute(2, 0, 1) / 255)


def test_the_middle_is_cut_out_and_shrunk_smoothly(tmp_path):
    wide = np.zeros((64, 128, 3), dtype=np.uint8)
    wide[:, 32:96] = np.indices((64, 64)).sum(0)[..., None] % 2 * 255  # a fine chessboard in the middle, black beside
    (tmp_path / "c").mkdir()
    Image.fromarray(wide).save(tmp_path / "c" / "a.png")
    found = images.folder(tmp_path, size=16).images[0]
    assert (found[:, 1:-1, 1:-1] - 0.5).abs().max() < 0.05, "grey, not black and white at random"


@pytest.mark.parametrize(
    "mode, colour, expected",
    [
        ("L", 128, (128, 128, 128)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("LA", (0, 255), (0, 0, 0)),
        ("P", 0, (0, 0, 0)),
        ("I;16", 32896, (128, 128, 128)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
    ],
)
def test_grey_transparent_and_other_kinds(tmp_path, mode, colour, expected):
    write(tmp_path / "c" / ("a.tif" if mode == "CMYK" else "a.png"), colour, mode=mode)
    found = images.folder(tmp_path, size=8).images[0]
    torch.testing.assert_close(found.mean((1, 2)) * 255, torch.tensor(expected).float(), atol=1.0, rtol=0)


def test_turned_by_the_camera(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    (tmp_path / "c").mkdir()
    upper = Image.new("RGB", (32, 32), "white")
    upper.paste("black", (0, 0, 32, 16))
    upper.save(tmp_path / "c" / "a.jpg", exif=exif)
    found = images.folder(tmp_path).images[0]
    assert found[:, :14].mean() > 0.95 and found[:, 18:].mean() < 0.05


def test_damaged_files_are_named_skipped_and_counted(two_classes):
    (two_classes / "cat" / "broken.png").write_bytes(b"this is no picture")
    whole = (two_classes / "ant" / "a.jpg").read_bytes()
    (two_classes / "ant" / "cut_off.jpg").write_bytes(whole[: len(whole) // 2])
    (two_classes / "ant" / "empty.jpg").touch()
    (two_classes / "ant" / "notes.txt").write_text("not meant as a picture")
    (two_classes / "ant" / ".hidden.png").write_bytes(b"")
    (two_classes / "readme.md").touch()
    with pytest.warns(UserWarning, match="3 files left out: .*cut_off.jpg") as found:
        data = images.folder(two_classes)
    assert len(found) == 1
    assert len(data) == 4 and [Path(s.split(": ")[0]).name for s in data.skipped] == [
        "cut_off.jpg", "empty.jpg", "broken.png",
    ]  # fmt: skip


def test_one_class_is_enough(tmp_path):
    write(tmp_path / "only" / "a.png")
    assert images.folder(tmp_path).classes == ["only"]


def test_folders_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere.*sub-folder for each class"):
        images.folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="has no sub-folders"):
        images.folder(tmp_path)
    write(tmp_path / "full" / "a.png")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match=r"nothing has no picture \(known endings"):
        images.folder(tmp_path)
    (tmp_path / "nothing" / "bad.png").write_bytes(b"bad")
    with pytest.raises(ValueError, match=r"nothing has no picture \(none of its 1 can be read, e.g. .*bad.png"):
        images.folder(tmp_path)
    for wrong in (dict(size=0), dict(limit=0)):
        with pytest.raises(ValueError, match="must be ≥ 1"):
            images.folder(tmp_path, **wrong)


# --- torchvision ------------------------------------------------------------------------------------------------------


class Stored:
    """What torchvision's data sets look like, without their files."""

    classes = ["zero", "one"]

    def __init__(self, root, download, train):
        self.train = train

    def __iter__(self):
        for i in range(10):
            yield Image.new("L", (28, 28), 255 * (i % 2)), i % 2


def test_torchvision(monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "MNIST", Stored)
    data = images.torchvision("mnist", size=32, limit=3)
    assert data.images.shape == (6, 3, 32, 32) and data.classes == ["zero", "one"]
    assert data.labels.tolist() == [0, 1] * 3
    assert data.images.mean((1, 2, 3)).tolist() == [0.0, 1.0] * 3


@pytest.mark.parametrize("name", images.KNOWN)
def test_without_a_network(tmp_path, name):
    with pytest.raises(ConnectionError, match=rf"cannot fetch {name} .*images.folder.*postcards") as error:
        images.torchvision(name, root=tmp_path)
    assert os.fspath(tmp_path) in str(error.value)


def test_torchvision_s_names_and_parts():
    with pytest.raises(ValueError, match="no data set 'ImageNet' here: choose from CIFAR10"):
        images.torchvision("ImageNet")
    with pytest.raises(ValueError, match='"train" or "test", got \'valid\''):
        images.torchvision("MNIST", part="valid")
