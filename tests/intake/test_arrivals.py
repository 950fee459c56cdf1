"""Hand-ins from a folder: each file ends in one sentence, and nothing is written but to where a hand-in belongs."""

import os
import re
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from small_course import HALF, NAME, RIGHT, hand_in

from autograder.course import Assignment
from autograder.intake.arrivals import take_in
from autograder.intake.roster import load_roster
from autograder.limits import DEFAULTS
from course_utils.command.student import submit
from course_utils.paths import CourseError


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
    return {a.file: (a.left, a.said) for a in take_in(Assignment(course, NAME), box)}


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
    (kept,) = (Assignment(course, NAME).private / "earlier" / "ann").iterdir()
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
    assert result["bob.zip"][0] is False and "Its receipt says 'ann'" in result["bob.zip"][1]
    assert "larger than" in result["cyd.zip"][1]
    assert result["dan.zip"] == (True, "left where it is: it is for a9_other, by its receipt")
    assert "taken for eve" in result["eve.zip"][1] and "Its receipt says '../../eve'" in result["eve.zip"][1]
    assert result["fay.zip"] == (False, "taken for fay. It has no receipt.")
    assert {f.split("/")[0] for f in files(course)} == {"ann", "bob", "eve", "fay"}


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


def damaged_lzma(path: Path, notebook: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.ipynb", notebook * 20)
    data = bytearray(path.read_bytes())
    data[45:120] = bytes(75)
    path.write_bytes(data)


def crowded(path: Path, notebook: bytes) -> None:
    """A zip whose table has 1.3 million rows: reading it would take most of a minute."""
    row = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    table = row * 1_300_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 7, 7, len(table), 0, 0)
    path.write_bytes(table + end)


HOSTILE = {
    "lzma": (damaged_lzma, "damaged"),
    "crowded": (crowded, "more than 1000 files"),
    "zip slip": (lambda p, n: zipped(p, {"../../x.ipynb": n}), "leads out of it"),
    "slip beside": (lambda p, n: zipped(p, {"x.ipynb": n, "/etc/passwd": "x"}), "leads out of it"),
    "windows slip": (lambda p, n: zipped(p, {"..\\x.ipynb": n}), "leads out of it"),
    "drive": (lambda p, n: zipped(p, {"C:\\x.ipynb": n}), "leads out of it"),
    "bomb": (lambda p, n: zipped(p, {"x.ipynb": b"0" * (DEFAULTS.notebook_bytes + 1)}), "larger than"),
    "lying bomb": (lying, "larger than|damaged"),
    "link": (lambda p, n: zipped(p, {"x.ipynb": "/etc/passwd"}, stat.S_IFLNK | 0o777), "holds a link"),
    "many": (lambda p, n: zipped(p, {f"{i}.txt": b"" for i in range(1001)}), "more than 1000 files"),
    "two": (lambda p, n: zipped(p, {"x.ipynb": n, "y.ipynb": n}), "2 notebooks"),
    "none": (lambda p, n: zipped(p, {"x.py": n}), "no notebook"),
    "no zip": (lambda p, n: p.write_bytes(b"hello"), "damaged"),
    "empty": (lambda p, n: p.write_bytes(b""), "damaged"),
    "cut": (lambda p, n: p.write_bytes(zipped(p, {"x.ipynb": n}).read_bytes()[:-40]), "damaged"),
    "one byte": (damaged, "damaged"),
    "password": (locked, "password"),
    "is a link": (lambda p, n: p.symlink_to("/etc/passwd"), "it is a link"),
    "is a folder": (lambda p, n: p.mkdir(), "empty folder"),
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
    assert {f.split("/")[0] for f in files(course)} == {"a=b; rm -rf"}
    assert sum(left and "a sign that none has" in why for left, why in result.values()) == 1
    with pytest.raises(CourseError, match="is not there"):
        take_in(Assignment(course, NAME), box / "nothing")


def test_a_table_of_a_million_rows_is_refused_before_it_is_read(course, box, notebook, monkeypatch):
    crowded(box / "crowd.zip", b"")
    monkeypatch.setattr(zipfile, "ZipFile", None)  # whoever opened it would read the table
    assert "more than 1000 files" in said(course, box)["crowd.zip"][1]


# --- what learning systems give ---------------------------------------------------------------------------------------

ROSTER = """login,id,name,email,github
okafor,12346,Daniel Okafor,okafor@uni.example,d-okafor
jose,12347,José Núñez,jose@uni.example,josen
lee1,12348,Ann Lee,ann.lee@uni.example,annlee
lee2,12349,Ann Lee,ann.lee2@uni.example,ann-lee-2
smith_j,12350,Jo Smith,j.smith@uni.example,jsmith
oneil,12351,Siobhán O'Neil,oneil@uni.example,
li,12352,Wei Li,li@uni.example,weili
"""
METADATA = """---
submission_987001:
  :submitters:
  - :name: Daniel Okafor
    :sid: '12346'
    :email: okafor@uni.example
  :created_at: 2026-10-01 12:30:45.000000000 Z
submission_987002:
  :submitters:
  - :name: Wei Li
    :sid: ''
    :email: li@uni.example
  - :name: Siobhán O'Neil
    :sid: '12351'
    :email: oneil@uni.example
  :created_at: 2026-10-02 12:30:45.000000000 +02:00
submission_987003: !ruby/hash:ActiveSupport::HashWithIndifferentAccess
  :submitters:
  - :name: Ann Lee
    :sid: '99999'
    :email: nobody@uni.example
"""
JOSE = "Jose\u0301 Nu\u0301n\u0303ez"  # decomposed, as macOS packs it
NAMES = {  # of a file in a download: whose it is; None: refused; "": passed over without a word
    # Canvas
    f"okafordaniel_12346_778901_{NAME}.ipynb": "okafor",
    f"okafordaniel_LATE_12346_778902_{NAME}-1.ipynb": "okafor",
    f"josénúñez_12347_778903_{NAME}.ipynb": "jose",
    f"leeann_12349_778904_{NAME} (1).ipynb": "lee2",
    f"leeann_LATE_12348_778905_{NAME}-2.zip": "lee1",
    "liwei_12352_778906_Untitled3.ipynb": "li",
    "okafordaniel_12346_778907_plot.png": "okafor",
    "oneilsiobhan_12351_778908_photo.png": None,  # nothing of hers is there
    f"studenttest_1_778909_{NAME}.ipynb": None,
    # Moodle
    f"Daniel Okafor_550101_assignsubmission_file_/{NAME}.ipynb": "okafor",
    f"{JOSE}_550102_assignsubmission_file_/{NAME}.ipynb": "jose",
    f"Wei Li_550103_assignsubmission_file_{NAME}.ipynb": "li",
    f"Ann Lee_550104_assignsubmission_file_/{NAME}.ipynb": None,  # two are called so
    "Siobhán O'Neil_550105_assignsubmission_onlinetext_/onlinetext.html": None,
    f"Jo Smith_550106_assignsubmission_file_/work/.ipynb_checkpoints/{NAME}-checkpoint.ipynb": "",
    f"Jo Smith_550106_assignsubmission_file_/work/{NAME}.ipynb": "smith_j",
    # Blackboard
    f"gradebook_CS101_Assignment20One_okafor_attempt_2026-10-01-12-30-45_{NAME}.ipynb": "okafor",
    f"Assignment 1_smith_j_attempt_2026-10-03-23-59-59_{NAME}.ipynb": "smith_j",
    "Assignment 1_smith_j_attempt_2026-10-03-23-59-59.txt": "smith_j",
    f"Assignment 1_nobody9_attempt_2026-10-03-23-59-59_{NAME}.ipynb": None,
    # Gradescope
    f"assignment_5_export/submission_987001/{NAME}.ipynb": "okafor",
    f"assignment_5_export/submission_987002/{NAME}.ipynb": ("li", "oneil"),
    f"assignment_5_export/submission_987003/{NAME}.ipynb": None,
    f"assignment_5_export/submission_987004/{NAME}.ipynb": None,  # the YAML knows nothing of it
    # GitHub Classroom
    f"{NAME}-submissions/{NAME.replace('_', '-')}-d-okafor/{NAME}.ipynb": "okafor",
    f"{NAME}-submissions/{NAME.replace('_', '-')}-ann-lee-2/assignments/{NAME}/{NAME}.ipynb": "lee2",
    f"{NAME.replace('_', '-')}-weili-main.zip": "li",
    f"{NAME.replace('_', '-')}-stranger/{NAME}.ipynb": None,
    f"week-1-submissions/homework-1-josen/{NAME}.ipynb": "jose",
    # Brightspace
    f"12346-77 - Daniel Okafor - Oct 1, 2026 1230 PM/{NAME}.ipynb": "okafor",
    # plain
    "okafor.ipynb": "okafor",
    f"okafor@uni.example_{NAME}.ipynb": "okafor",
    f"Daniel Okafor/{NAME}.ipynb": "okafor",
    "Okafor, Daniel.ipynb": "okafor",
    "José Núñez.ipynb": "jose",
    f"{JOSE}.zip": "jose",
    f"{NAME}_12350.ipynb": "smith_j",
    f"LI/{NAME}/{NAME}.ipynb": "li",
    f"jovyan_{NAME}.zip": None,
    f"{NAME}.ipynb": None,
    "Ann Lee.ipynb": None,
    "__MACOSX/._okafor.ipynb": "",
    "._okafor.ipynb": "",
}


def download(folder: Path, names, notebook: bytes) -> Path:
    """Files with these names, each with content of its own."""
    folder.mkdir()
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = notebook + b"\n" * number
        if path.suffix == ".zip":
            zipped(path, {f"work/{NAME}.ipynb": content, "__MACOSX/._x.ipynb": b"junk", "work/.DS_Store": b""})
        else:
            path.write_bytes(content)
    return folder


@pytest.fixture
def roster(course):
    (course.root / "roster.csv").write_text(ROSTER)


def became(course, place: Path) -> dict[str, tuple[bool, str]]:
    return {a.file: (a.left, a.said) for a in take_in(Assignment(course, NAME), place)}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "one big zip"])
@pytest.mark.parametrize("name", NAMES)
def test_each_name_by_itself(course, roster, tmp_path, notebook, name, packed):
    """The table of what becomes of each name of a download; none is lost, none guessed."""
    place = download(tmp_path / "download", [name], notebook.read_bytes())
    if "submission_987" in name:
        (place / name.split("/")[0] / "submission_metadata.yml").write_text(METADATA)
    if packed:
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            for path in sorted(place.rglob("*")):
                archive.write(path, path.relative_to(place))
        place = tmp_path / "all.zip"
    result, expected = became(course, place), NAMES[name]
    taken = {f.split("/")[0] for f in files(course)}
    if name.endswith((".png", ".txt")) or not expected:
        assert not taken and (len(result) == 1 or not expected)
        assert all(left for left, _ in result.values())
    else:
        assert taken == ({expected} if isinstance(expected, str) else set(expected))
        assert not any(left for left, _ in result.values())


SYSTEMS = {
    "Canvas": lambda n: re.match(r"[a-zéúñ]+_(LATE_)?\d+_\d+_", n),
    "Moodle": lambda n: "assignsubmission" in n,
    "Blackboard": lambda n: "_attempt_" in n,
    "Gradescope": lambda n: "submission_987" in n,
    "GitHub Classroom": lambda n: n.startswith((f"{NAME}-submissions", NAME.replace("_", "-") + "-")),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_whole_download_of_a_system(course, roster, tmp_path, notebook, system):
    names = [n for n in NAMES if SYSTEMS[system](n)]
    place = download(tmp_path / "download", names, notebook.read_bytes())
    if system == "Gradescope":
        (place / "assignment_5_export" / "submission_metadata.yml").write_text(METADATA)
    result = became(course, place)
    wanted = {s for n in names for s in ([NAMES[n]] if isinstance(NAMES[n], str) else NAMES[n] or ())} - {""}
    assert {f.split("/")[0] for f in files(course)} == wanted
    assert len(result) >= len({n.split("/")[0] for n in names if NAMES[n] != ""}) - (system == "Gradescope")
    assert sum(left for left, _ in result.values()) == sum(NAMES[n] is None for n in names)


def test_the_last_attempt_counts_by_the_systems_own_count(course, roster, tmp_path, notebook):
    names = [f"okafordaniel_12346_77{n}_{NAME}{a}.ipynb" for n, a in ((9, ""), (100, "-2"), (10, "-1"))]
    place = download(tmp_path / "download", names, notebook.read_bytes())
    os.utime(place / names[1], (1_000_000, 1_000_000))
    assert "taken for okafor" in became(course, place)[names[1]][1]
    path = course.root / "submitted" / "okafor" / NAME / f"{NAME}.ipynb"
    assert path.read_bytes() == notebook.read_bytes() + b"\n"


def test_times_are_the_systems_and_not_the_receipts(course, roster, tmp_path, notebook):
    place = tmp_path / "download" / "submission_987002"
    place.mkdir(parents=True)
    (place.parent / "submission_metadata.yml").write_text(METADATA)
    submit(NAME, notebook, None, "li", place / "x.zip")
    with zipfile.ZipFile(place / "x.zip") as archive:
        says = archive.read("receipt.json").decode()
    (place / "x.zip").unlink()
    says = re.sub(r'"time": "[^"]+"', '"time": "2026-09-01T08:00:00-05:00"', says)
    (place / f"{NAME}.ipynb").write_bytes(notebook.read_bytes())
    (place / "receipt.json").write_text(says)
    ((_, why),) = set(became(course, place.parent).values()) - {""} or [(0, "")]
    folder = course.root / "submitted" / "li" / NAME
    assert (folder / "timestamp.txt").read_text().startswith("2026-10-02 10:30:45")
    assert "2026-09-01 13:00 UTC, by the student's clock; 2026-10-02 10:30 UTC counts" in why


def test_a_receipt_never_beats_the_name_that_a_system_gives(course, roster, tmp_path, notebook):
    place = tmp_path / "download"
    place.mkdir()
    theirs = place / f"okafordaniel_12346_778901_{NAME}.zip"
    submit(NAME, notebook, None, "li", theirs)
    (place / f"liwei_12352_778902_{NAME}.ipynb").write_bytes(notebook.read_bytes() + b" ")
    result = became(course, place)
    assert "Its receipt says 'li'" in result[theirs.name][1] and "taken for okafor" in result[theirs.name][1]
    path = course.root / "submitted" / "li" / NAME / f"{NAME}.ipynb"
    assert path.read_bytes() == notebook.read_bytes() + b" "


def test_without_a_roster_nobody_is_guessed(course, tmp_path, notebook):
    names = {
        f"leeann_1_778904_{NAME}.ipynb": None,  # two numbers, one name
        f"leeann_2_778905_{NAME}.ipynb": None,
        f"okafordaniel_3_778906_{NAME}.ipynb": "okafordaniel",
        "right.ipynb": None,  # differ in capitals alone
        "RIGHT.zip": None,
        "=right.ipynb": None,
        "jovyan.ipynb": None,
        f"root_{NAME}.zip": None,
        "Untitled2.ipynb": None,
        f"{NAME}.zip": None,
        "Okafor, Wei.ipynb": "Wei Okafor",
        f"{JOSE}.ipynb": "José Núñez",
        "José Núñez.zip": "José Núñez",
    }
    result = became(course, download(tmp_path / "download", names, notebook.read_bytes()))
    assert {f.split("/")[0] for f in files(course)} == set(names.values()) - {None}
    assert {file for file, (left, _) in result.items() if left} == {n for n, who in names.items() if not who}


def test_a_folder_around_all_is_nobody(course, tmp_path, notebook):
    names = [f"hand-ins of week 3/{who}/{NAME}.ipynb" for who in ("ann", "bob")]
    became(course, download(tmp_path / "download", names, notebook.read_bytes()))
    assert {f.split("/")[0] for f in files(course)} == {"ann", "bob"}


def test_the_untouched_original_beside_it_is_not_taken(course, roster, tmp_path, notebook):
    place = download(tmp_path / "download", [f"okafor/{NAME} (1).ipynb"], notebook.read_bytes())
    (place / "okafor" / f"{NAME}.ipynb").write_bytes(course.released(NAME).read_bytes())
    assert "Not taken with it" in became(course, place)["okafor"][1]
    path = course.root / "submitted" / "okafor" / NAME / f"{NAME}.ipynb"
    assert path.read_bytes() == notebook.read_bytes()


EXPORTS = {
    "Canvas": 'Student,ID,SIS User ID,SIS Login ID,Section\n  Points Possible,,,,\n"Okafor, Daniel",12346,,okafor,S\n',
    "Moodle": "Identifier,Full name,Email address,Status,Grade\nParticipant 12346,Daniel Okafor,okafor@x.example,,\n",
    "Gradescope": "First Name,Last Name,SID,Email\nDaniel,Okafor,12346,okafor@x.example\n",
    "Blackboard": "Last Name;First Name;Username;Student ID\nOkafor;Daniel;okafor;12346\n",
    "Classroom": '"identifier","github_username","github_id","name"\n"12346","okafor","7","Daniel Okafor"\n',
    "nbgrader": "id,first_name,last_name,email\n12346,Daniel,Okafor,okafor@x.example\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("system", EXPORTS)
def test_a_roster_may_be_what_a_system_exports(tmp_path, course, system, encoding):
    path = tmp_path / "export.csv"
    path.write_bytes(EXPORTS[system].replace("Daniel", "Daníel").encode(encoding))
    (person,) = load_roster(course, path).people
    assert person.name == "Daníel Okafor" and person.student in ("okafor", "12346")
    assert load_roster(course, path).called("12346") == load_roster(course, path).named("okafordaníel") == [person]


def test_a_roster_that_cannot_tell_two_people_apart_is_refused(tmp_path, course):
    for text in ("name\nAnn Lee\nAnn Lee\n", "login,name\nann,Ann\nann,Bob\n", "colour\nred\n"):
        (course.root / "roster.csv").write_text(text)
        with pytest.raises(CourseError):
            load_roster(course)
    with pytest.raises(CourseError, match="no roster"):
        load_roster(course, tmp_path / "nothing.csv")


def test_a_half_done_student_is_replaced_by_a_packed_one_of_later(course, box, notebook):
    path = hand_in(course, "ann", HALF)
    submit(NAME, notebook, None, "ann", box / "ann.zip")
    os.utime(path, (1_000_000, 1_000_000))
    assert "the earlier one is kept" in said(course, box)["ann.zip"][1]
    assert path.read_bytes() == notebook.read_bytes()


@pytest.mark.parametrize("account", ["jovyan", "root", "codespace"])
def test_a_machines_account_is_no_name_to_hand_in_under(box, notebook, monkeypatch, account):
    monkeypatch.setattr("getpass.getuser", lambda: account)
    with pytest.raises(CourseError, match="not your name: say who you are with --name"):
        submit(NAME, notebook, box)
    assert not list(box.iterdir())
    monkeypatch.setattr("getpass.getuser", lambda: "okafor")
    submit(NAME, notebook, box)
    assert [p.name for p in box.iterdir()] == ["okafor"]
