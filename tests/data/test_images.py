"""Real pictures: what a folder may hold, and what is said about what it may not."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
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


# --- more than 8 bits -------------------------------------------------------------------------------------------------

TYPES = {"u": 1, "i": 2, "f": 3}


def tiff(path, numbers, bits=None, order="<", white_is_zero=False):
    """Write a plain TIFF of one or three channels by hand: Pillow writes few of the kinds that it reads."""
    kind = TYPES[numbers.dtype.kind]
    bits = bits or 8 * numbers.itemsize
    channels = 1 if numbers.ndim == 2 else numbers.shape[2]
    if bits == 12:  # two pixels in three bytes
        pairs = numbers.reshape(len(numbers), -1, 2).astype(np.uint32)
        word = pairs[..., 0] << 12 | pairs[..., 1]
        data = np.stack([word >> 16, word >> 8 & 255, word & 255], -1).astype(np.uint8).tobytes()
    else:
        data = numbers.astype(numbers.dtype.newbyteorder(order)).tobytes()
    entries = [  # tag, type (3: 16 bits, 4: 32 bits), value
        (256, 4, numbers.shape[1]), (257, 4, numbers.shape[0]), (258, 3, bits), (259, 3, 1),
        (262, 3, 0 if white_is_zero else 1 if channels == 1 else 2), (273, 4, 200), (277, 3, channels),
        (278, 4, numbers.shape[0]), (279, 4, len(data)), (339, 3, kind),
    ]  # fmt: skip
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8) + struct.pack(order + "H", len(entries))
    for tag, size, value in entries:
        if size == 3 and tag in (258, 339) and channels == 3:  # three values do not fit in: they stand further on
            head += struct.pack(order + "HHII", tag, 3, 3, 150 if tag == 258 else 156)
        else:
            padding = (value, 0) if size == 3 else (value,)
            head += struct.pack(order + ("HHIHH" if size == 3 else "HHII"), tag, size, 1, *padding)
    head = (head + bytes(4)).ljust(150, b"\0") + struct.pack(order + "6H", *[bits] * 3, *[kind] * 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head.ljust(200, b"\0") + data)


RAMP = np.linspace(0, 1, 32)[None].repeat(32, 0)


@pytest.mark.parametrize(
    "numbers, how",
    [
        ((RAMP * 4095).round().astype(np.uint16), dict(bits=12)),
        ((RAMP * 65535).round().astype(np.uint16), {}),
        ((RAMP * 65535).round().astype(np.uint16), dict(order=">")),
        (((1 - RAMP) * 65535).round().astype(np.uint16), dict(white_is_zero=True)),
        (((1 - RAMP) * 255).round().astype(np.uint8), dict(white_is_zero=True)),
        ((RAMP * 65535).round().astype(np.uint16)[..., None].repeat(3, 2), {}),
        (RAMP.astype(np.float32), {}),
        (RAMP.astype(np.float32), dict(order=">")),
        ((1 - RAMP).astype(np.float32), dict(white_is_zero=True)),
    ],
    ids=[
        "12",
        "16",
        "16 big-endian",
        "16 inverted",
        "8 inverted",
        "16 RGB",
        "float",
        "float big-endian",
        "float inverted",
    ],
)
def test_tiffs_of_many_bits_come_out_right(tmp_path, numbers, how):
    tiff(tmp_path / "c" / "a.tif", numbers, **how)
    found = images.folder(tmp_path).images[0]
    torch.testing.assert_close(found, torch.tensor(RAMP).float().expand(3, 32, 32), atol=1.1 / 255, rtol=0)


@pytest.mark.parametrize(
    "numbers, how, message",
    [
        ((RAMP * 4095).astype(np.uint32), {}, "whole numbers of 32 bits, and nothing says which is white"),
        ((RAMP * (2**32 - 1)).astype(np.uint32), {}, "whole numbers of 32 bits"),
        ((RAMP * 255).astype(np.int32), {}, "have a sign"),
        ((RAMP * 32767).astype(np.int16), {}, "have a sign"),
        ((RAMP * 127).astype(np.int8), {}, "have a sign"),
        ((RAMP * 4095).astype(np.uint16), {}, "less than a sixteenth"),
        ((RAMP * 4095).astype(np.uint16)[..., None].repeat(3, 2), {}, "less than a sixteenth"),
        ((RAMP * 255).astype(np.float32), {}, "floating-point numbers are 0 … 255, but black and white are 0 and 1"),
        ((RAMP - 0.5).astype(np.float32), {}, "floating-point numbers are -0.5 … 0.5"),
        ((RAMP * np.nan).astype(np.float32), {}, "floating-point numbers are nan"),
    ],
)
def test_tiffs_whose_white_nobody_knows_are_refused_by_name(tmp_path, numbers, how, message):
    tiff(tmp_path / "c" / "odd.tif", numbers, **how)
    write(tmp_path / "c" / "a.png")
    with pytest.warns(UserWarning, match=f"1 files left out: .*odd.tif: .*{message}"):
        assert len(images.folder(tmp_path)) == 1


def test_grey_maps_and_png_of_many_bits(tmp_path):
    (tmp_path / "c").mkdir()
    numbers = (RAMP * 4095).round().astype(">u2")
    (tmp_path / "c" / "a.pgm").write_bytes(b"P5 32 32 4095\n" + numbers.tobytes())
    Image.fromarray((RAMP * 65535).round().astype(np.uint16)).save(tmp_path / "c" / "b.png")
    for found in images.folder(tmp_path).images:
        torch.testing.assert_close(found, torch.tensor(RAMP).float().expand(3, 32, 32), atol=1.1 / 255, rtol=0)


def test_palettes_animations_and_opacity(tmp_path):
    (tmp_path / "c").mkdir()
    red, blue = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")
    for name in ("a.gif", "b.png", "c.webp", "d.tif"):
        red.save(tmp_path / "c" / name, save_all=True, append_images=[blue])
    palette = red.convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "c" / "e.png")
    palette.save(tmp_path / "c" / "f.png", transparency=palette.getpixel((0, 0)))
    Image.new("YCbCr", (32, 32), (76, 85, 255)).save(tmp_path / "c" / "g.jpg")
    found = images.folder(tmp_path).images.mean((2, 3))
    expected = torch.tensor([[1.0, 0, 0]] * 5 + [[1.0, 1, 1]] + [[1.0, 0, 0]])
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_turns_of_a_camera(tmp_path, orientation):
    upright = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
    undo = {
        2: 0,
        3: 3,
        4: 1,
        5: 5,
        6: 2,
        7: 6,
        8: 4,
    }  # the transposition that stores it so that the camera's note undoes it
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "c").mkdir()
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    stored.save(tmp_path / "c" / "a.png", exif=exif)
    found = images.folder(tmp_path, size=8).images[0, 0]
    assert torch.equal(found, torch.tensor(np.asarray(upright)) / 255)


# --- what else lies in a folder ---------------------------------------------------------------------------------------


def test_what_lies_elsewhere_is_counted(two_classes):
    for name in ("cat/more/1.png", "cat/more/deeper/2.png", "ant/x.png/3.png", "beside.png"):
        write(two_classes / name)
    (two_classes / "cat" / "photo.HEIC").write_bytes(b"....ftypheic")
    for name in ("cat/.ipynb_checkpoints/a.png", "__MACOSX/cat/a.png", "cat/more/.hidden.png", ".git/a.png"):
        write(two_classes / name)
    (two_classes / "cat" / "empty").mkdir()
    with pytest.warns(UserWarning, match="5 files left out: ") as found:
        data = images.folder(two_classes)
    assert len(found) == 1 and len(data) == 4 and data.classes == ["ant", "cat"]
    said = " ".join(data.skipped)
    assert "more: a folder in a class's folder, with 2 pictures" in said and "x.png: a folder" in said
    assert "beside.png: it lies beside" in said and ".HEIC is not read here: save it as PNG or JPEG" in said


def test_a_folder_one_level_too_high_is_told(two_classes):
    two_classes.rename(two_classes.parent / "train")
    write(two_classes / "train" / "cat" / "a.png")
    with pytest.raises(ValueError, match="train has no picture .*one level deeper, in cat: .* give .*train"):
        images.folder(two_classes)


def test_files_links_and_pipes(two_classes, tmp_path):
    with pytest.raises(NotADirectoryError, match="a.jpg is a file: give a folder with a sub-folder for each class"):
        images.folder(two_classes / "ant" / "a.jpg")
    (two_classes / "linked").symlink_to("cat")
    (two_classes / "ant" / "b.jpg").symlink_to("../cat/0.png")
    (two_classes / "ant" / "gone.png").symlink_to("nowhere.png")
    (two_classes / "ant" / "round").symlink_to("..")
    os.mkfifo(two_classes / "ant" / "pipe.png")
    with pytest.warns(UserWarning, match="9 files left out: .*gone.png.*pipe.png: it is a pipe.*round: a folder"):
        data = images.folder(two_classes)
    assert data.classes == ["ant", "cat", "linked"] and data.labels.tolist() == [0, 0, 1, 1, 1, 2, 2, 2]


def test_a_folder_that_may_not_be_read(two_classes, monkeypatch):
    listed = Path.iterdir

    def refuse(self):
        if self.name == "cat":
            raise PermissionError(13, "Permission denied")
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(OSError, match=r"cannot read the folder .*cat \(Permission denied\): make it readable"):
        images.folder(two_classes)


def test_a_huge_picture_is_refused_before_it_is_decoded(two_classes, monkeypatch):
    monkeypatch.setattr(images, "MOST_PIXELS", 40 * 40)
    with pytest.warns(UserWarning, match="1 files left out: .*a.jpg: it has 3,072 pixels, more than 1,600") as found:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # Pillow warns too, of the same
        write(two_classes / "ant" / "small.png")
        assert len(images.folder(two_classes)) == 4
    assert len(found) == 1


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
    monkeypatch.setattr("torchvision.datasets.MNIST", Stored)
    data = images.torchvision("mnist", size=32, limit=3)
    assert data.images.shape == (6, 3, 32, 32) and data.classes == ["zero", "one"]
    assert data.labels.tolist() == [0, 1] * 3
    assert data.images.mean((1, 2, 3)).tolist() == [0.0, 1.0] * 3


@pytest.mark.parametrize("name", images.KNOWN)
def test_without_a_network(tmp_path, name):
    with pytest.raises(ConnectionError, match=rf"cannot fetch {name} .*images.folder.*postcards") as error:
        images.torchvision(name, root=tmp_path)
    assert os.fspath(tmp_path) in str(error.value)


def idx(numbers):
    return struct.pack(f">I{numbers.ndim}I", 0x0800 + numbers.ndim, *numbers.shape) + numbers.tobytes()


@pytest.fixture(params=["MNIST", "FashionMNIST"])
def raw(tmp_path, request):
    """torchvision's raw files of a small data set."""
    folder = tmp_path / request.param / "raw"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(np.full((20, 28, 28), 255, np.uint8)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(20, dtype=np.uint8) % 10))
    return folder


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
@pytest.mark.parametrize("left", [0, 1, 3, 4, 6, 8, 12, 17, 26])
def test_what_was_unpacked_in_part_is_named(raw, file, left):
    name, root = raw.parent.name, raw.parents[1]
    assert len(images.torchvision(name, root=root)) == 20
    (raw / file).write_bytes((raw / file).read_bytes()[:left])
    with pytest.raises(ValueError, match=f"{name} is here, but cannot be read .*Delete the folder .*raw and") as error:
        images.torchvision(name, root=root)
    assert os.fspath(raw) in str(error.value) and "fetches it once" not in str(error.value)
    if left == 0:
        assert f"{file} is empty" in str(error.value)


def test_fewer_labels_than_pictures_are_named(raw):
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(19, np.uint8)))
    with pytest.raises(ValueError, match="not as many labels as pictures.*Delete the folder"):
        images.torchvision(raw.parent.name, root=raw.parents[1])


def test_a_damaged_set_that_a_download_replaces_is_told_too(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"cut off")
    with pytest.raises(
        ConnectionError, match="What lies in .*cifar-10-batches-py is incomplete. With a network, this call"
    ):
        images.torchvision("CIFAR10", root=tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torchvision.datasets.MNIST.download", full)
    with pytest.raises(OSError, match="cannot write MNIST into .*No space left.*another folder as root"):
        images.torchvision("MNIST", root=tmp_path)


def test_torchvision_s_names_and_parts():
    with pytest.raises(ValueError, match="unknown data set 'ImageNet': choose from CIFAR10"):
        images.torchvision("ImageNet")
    with pytest.raises(ValueError, match='"train" or "test", got \'valid\''):
        images.torchvision("MNIST", part="valid")
