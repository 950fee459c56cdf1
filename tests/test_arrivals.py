"""Hand-ins from a folder: each file ends in one sentence, and nothing is written but to where a hand-in belongs."""

import os
import re
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from small_course import HALF, NAME, RIGHT, hand_in, install, released_course

from autograder.intake.arrivals import take_in
from autograder.limits import DEFAULTS
from course_utils.paths import CourseError
from course_utils.student import submit


@pytest.fixture
def course(tmp_path, monkeypatch):
    install(monkeypatch)
    return released_course(tmp_path / "course")


@pytest.fixture
def box(tmp_path):
    (tmp_path / "box").mkdir()
    return tmp_path / "box"


@pytest.fixture
def notebook(course, tmp_path):
    path = tmp_path / "mine.ipynb"
    hand_in(course, "me", RIGHT).rename(path)
    (course.root / "submitted" / "me" / NAME).rmdir()
    (course.root / "submitted" / "me").rmdir()
    return path


def said(course, box):
    return {a.file: (a.left, a.said) for a in take_in(course, NAME, box)}


def files(course):
    room = course.root / "submitted"
    return sorted(str(p.relative_to(room)) for p in room.rglob("*") if not p.is_dir())


def zipped(path: Path, members: dict[str, bytes | str], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return path


def test_packed_and_plain_hand_ins_arrive_as_they_were_sent(course, box, notebook):
    submit(NAME, notebook, None, "Ann Ünal", box / "Ann Ünal.zip")
    with zipfile.ZipFile(box / "Ann Ünal.zip") as archive:
        assert archive.namelist() == [f"{NAME}.ipynb", "receipt.json"]
        receipt = archive.read("receipt.json")
    (box / "bob.ipynb").write_bytes(notebook.read_bytes())
    (box / f"cyd_{NAME}.ipynb").write_text("{broken")
    (box / "notes.txt").write_text("hello")
    result = said(course, box)
    assert result["Ann Ünal.zip"] == (False, "taken for Ann Ünal.")
    assert result[f"cyd_{NAME}.ipynb"] == (False, "taken for cyd.") and result["bob.ipynb"][1] == "taken for bob."
    assert result["notes.txt"] == (True, "left where it is: it is neither a zip nor a notebook")
    folder = course.root / "submitted" / "Ann Ünal" / NAME
    assert (folder / f"{NAME}.ipynb").read_bytes() == notebook.read_bytes()
    assert (folder / "receipt.json").read_bytes() == receipt and "UTC" in (folder / "timestamp.txt").read_text()
    assert len(files(course)) == 3 + 2 + 2
    before = {p: (course.root / "submitted" / p).stat().st_mtime_ns for p in files(course)}
    assert said(course, box)["bob.ipynb"] == (False, "was there already, for bob.")
    assert {p: (course.root / "submitted" / p).stat().st_mtime_ns for p in files(course)} == before


def test_the_newest_of_several_is_taken_and_what_it_replaces_is_kept(course, box, notebook):
    old, new = box / "ann.ipynb", box / f"ann_{NAME}.ipynb"
    old.write_bytes(notebook.read_bytes())
    os.utime(old, (1_000_000, 1_000_000))
    new.write_bytes(notebook.read_bytes() + b"\n")
    result = said(course, box)
    assert result[old.name] == (False, f"left where it is: {new.name} is taken for ann")
    path = course.root / "submitted" / "ann" / NAME / f"{NAME}.ipynb"
    assert path.read_bytes() == new.read_bytes()
    new.unlink()
    left, why = said(course, box)[old.name]
    assert left and "submitted/ann holds a newer one" in why and path.read_bytes().endswith(b"\n\n")
    newer = notebook.read_bytes() + b" "
    (box / "ann.zip").unlink(missing_ok=True)
    old.write_bytes(newer)
    assert "the earlier one is kept as .grading" in said(course, box)[old.name][1]
    (kept,) = (course.private(NAME) / "earlier" / "ann").iterdir()
    assert path.read_bytes() == newer and kept.read_bytes() == notebook.read_bytes() + b"\n"


def test_a_receipt_that_does_not_fit_is_said(course, box, notebook):
    submit(NAME, notebook, None, "ann", box / "ann.zip")
    with zipfile.ZipFile(box / "ann.zip") as archive:
        receipt = archive.read("receipt.json")
    zipped(box / "ann.zip", {f"{NAME}.ipynb": notebook.read_bytes() + b" ", "receipt.json": receipt})
    zipped(box / "bob.zip", {f"{NAME}.ipynb": notebook.read_bytes(), "receipt.json": receipt})  # bob says he is ann
    zipped(box / "cyd.zip", {"x.ipynb": notebook.read_bytes(), "data.csv": "1", "receipt.json": "[" * 100_000})
    zipped(box / "dan.zip", {"x.ipynb": b"", "receipt.json": receipt.replace(NAME.encode(), b"a9_other")})
    zipped(box / "eve.zip", {"x.ipynb": b"", "receipt.json": receipt.replace(b'"ann"', b'"../../eve"')})
    zipped(box / "fay.zip", {"x.ipynb": notebook.read_bytes(), "__MACOSX/._x.ipynb": b"junk"})
    result = said(course, box)
    assert "changed after it was packed" in result["ann.zip"][1]
    assert result["bob.zip"] == (False, "left where it is: ann.zip is taken for ann")
    assert "larger than" in result["cyd.zip"][1]
    assert result["dan.zip"] == (True, "left where it is: it is for a9_other, by its receipt")
    assert "cannot be a student's name" in result["eve.zip"][1]
    assert result["fay.zip"] == (False, "taken for fay. It has no receipt.")
    assert {f.split("/")[0] for f in files(course)} == {"ann", "fay"}


def lying(path: Path, notebook: bytes) -> None:
    """A zip that says its notebook is small, and unpacks to much more."""
    zipped(path, {"x.ipynb": b"0" * (DEFAULTS.notebook_bytes + 5_000_000)})
    data = path.read_bytes()
    size = struct.pack("<I", DEFAULTS.notebook_bytes + 5_000_000)
    assert data.count(size) == 2
    path.write_bytes(data.replace(size, struct.pack("<I", 1000)))


def locked(path: Path, notebook: bytes) -> None:
    zipped(path, {"x.ipynb": notebook})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)


def damaged(path: Path, notebook: bytes) -> None:
    data = bytearray(zipped(path, {"x.ipynb": notebook}).read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


HOSTILE = {
    "zip slip": (lambda p, n: zipped(p, {"../../x.ipynb": n}), "leads out of it"),
    "slip beside": (lambda p, n: zipped(p, {"x.ipynb": n, "/etc/passwd": "x"}), "leads out of it"),
    "windows slip": (lambda p, n: zipped(p, {"..\\x.ipynb": n}), "leads out of it"),
    "drive": (lambda p, n: zipped(p, {"C:\\x.ipynb": n}), "leads out of it"),
    "bomb": (lambda p, n: zipped(p, {"x.ipynb": b"0" * (DEFAULTS.notebook_bytes + 1)}), "larger than"),
    "lying bomb": (lying, "larger than|damaged"),
    "link": (lambda p, n: zipped(p, {"x.ipynb": "/etc/passwd"}, stat.S_IFLNK | 0o777), "holds a link"),
    "many": (lambda p, n: zipped(p, {f"{i}.txt": b"" for i in range(1001)}), "1001 files"),
    "two": (lambda p, n: zipped(p, {"x.ipynb": n, "y.ipynb": n}), "2 notebooks"),
    "none": (lambda p, n: zipped(p, {"x.py": n}), "no notebook"),
    "no zip": (lambda p, n: p.write_bytes(b"hello"), "damaged"),
    "empty": (lambda p, n: p.write_bytes(b""), "damaged"),
    "cut": (lambda p, n: p.write_bytes(zipped(p, {"x.ipynb": n}).read_bytes()[:-40]), "damaged"),
    "one byte": (damaged, "damaged"),
    "password": (locked, "password"),
    "is a link": (lambda p, n: p.symlink_to("/etc/passwd"), "it is a link"),
    "is a folder": (lambda p, n: p.mkdir(), "no plain file"),
    "is a pipe": (lambda p, n: os.mkfifo(p), "no plain file"),
}


def test_hostile_and_damaged_zips_are_each_a_sentence_and_the_rest_goes_on(course, box, notebook):
    for name, (make, _) in HOSTILE.items():
        make(box / f"{name}.zip", notebook.read_bytes())
    with open(box / "sparse.zip", "wb") as file:
        file.truncate(2 * 2**30)
    (box / "good.ipynb").write_bytes(notebook.read_bytes())
    outside = {p for p in box.parent.rglob("*") if "submitted" not in p.parts}
    result = said(course, box)
    for name, (_, sentence) in HOSTILE.items():
        left, why = result[f"{name}.zip"]
        assert left and why.startswith("left where it is: ") and re.search(sentence, why), (name, why)
    assert "too large (2048 MiB; 64 are allowed)" in result["sparse.zip"][1]
    assert files(course) == [f"good/{NAME}/{NAME}.ipynb", f"good/{NAME}/timestamp.txt"]
    assert {p for p in box.parent.rglob("*") if "submitted" not in p.parts} == outside


def test_links_and_files_in_the_way_are_not_written_through(course, box, notebook, tmp_path):
    room, away = course.root / "submitted", tmp_path / "away"
    away.mkdir()
    for name in ("ann", "bob", "cyd", "dan"):
        (box / f"{name}.ipynb").write_bytes(notebook.read_bytes())
    (room / "ann").symlink_to(away)
    (room / "bob").mkdir()
    (room / "bob" / NAME).symlink_to(away)
    (room / "cyd").write_text("a file")
    (room / "dan" / NAME).mkdir(parents=True)
    (room / "dan" / NAME / f"{NAME}.ipynb").symlink_to(away / "x")
    assert all(left and "is there already" in why for left, why in said(course, box).values())
    assert not list(away.iterdir())


def test_what_is_for_another_assignment_or_nobody_stays(course, box, notebook):
    (course.root / "solutions" / "a9_other").mkdir()
    (course.root / "solutions" / "a9_other" / "a9_other.ipynb").write_text("{}")
    (box / "ann_a9_other.ipynb").write_bytes(notebook.read_bytes())
    (box / (b"\xff\xfe.ipynb".decode("utf-8", "surrogateescape"))).write_bytes(notebook.read_bytes())
    (box / "..x.ipynb").write_bytes(notebook.read_bytes())  # hidden: passed over
    (box / "a=b; rm -rf.ipynb").write_bytes(notebook.read_bytes())
    result = said(course, box)
    assert result["ann_a9_other.ipynb"] == (True, "left where it is: it is for a9_other, by its name")
    assert {f.split("/")[0] for f in files(course)} == {"a=b; rm -rf", "__"}
    with pytest.raises(CourseError, match="is no folder"):
        take_in(course, NAME, box / "nothing")


def test_a_half_done_student_is_replaced_by_a_packed_one_of_later(course, box, notebook):
    path = hand_in(course, "ann", HALF)
    submit(NAME, notebook, None, "ann", box / "ann.zip")
    os.utime(path, (1_000_000, 1_000_000))
    assert "the earlier one is kept" in said(course, box)["ann.zip"][1]
    assert path.read_bytes() == notebook.read_bytes()
