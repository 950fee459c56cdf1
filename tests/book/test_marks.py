"""Marks for other systems: the right row, the right column, the export left as it was, and nothing guessed."""

import csv
import io
import json

import pytest
from small_course import NAME, install, released_course

from autograder.book import marks
from autograder.book.marks import results, write_marks
from autograder.book.sheets import Sheet
from autograder.course import Assignment
from autograder.notes import Kind, note
from autograder.table import read_table
from course_utils.check import Verdict
from course_utils.paths import CourseError

TITLE = "A small assignment (98765)"
CANVAS = (
    f"Student,ID,SIS User ID,SIS Login ID,Section,Essay (7),{TITLE},Final Score\n"
    ",,,,,Manual Posting,,\n    Points Possible,,,,,5.00,10.00,(read only)\n"
    '"Okafor, Daniel",101,u1,okafor@uni.example,S1,4,3,90\n"Lee, Ann",102,,lee1,S1,3,,80\n'
    '"Lee, Ann",103,,lee2,S1,,8.0,\n'
    '"Núñez, José",104,,,S1,,,\n"Student, Test",105,,x,S1,,,\n'
)
WORKSHEET = (
    "Identifier,Full name,ID number,Email address,Status,Grade,Maximum Grade,Last modified (grade),Feedback comments\n"
    "Participant 101,Daniel Okafor,u1,okafor@uni.example,Submitted,3.00,10.00,-,good\n"
    "Participant 102,Ann Lee,u2,lee1@uni.example,Submitted,,10.00,-,\n"
    "Participant 103,Ann Lee,u3,lee2@uni.example,Submitted,8.00,10.00,-,\n"
)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        return released_course(tmp_path_factory.mktemp("course"))


@pytest.fixture
def graded(released, monkeypatch):
    """Call it with students and points: a class that was graded."""

    def of(**points):
        found = [Sheet(student, float(p), 10.0, {"check_double": (float(p), 10.0)}) for student, p in points.items()]
        monkeypatch.setattr(marks, "sheets", lambda *_: found)
        monkeypatch.setattr(marks, "make_gradebook", lambda url: None)
        (released.root / "roster.csv").unlink(missing_ok=True)
        return released

    return of


def export(folder, text=CANVAS, encoding="utf-8"):
    path = folder / "export.csv"
    path.write_bytes(text.encode(encoding))
    return path


def table(path, encoding="utf-8"):
    return list(csv.reader(io.StringIO(path.read_bytes().decode(encoding))))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_an_export_of_canvas_is_filled_beside_it_by_number_and_title(graded, tmp_path, encoding):
    course, path = graded(okafor=9, lee2=8, **{"José Núñez": 7}), export(tmp_path, encoding=encoding)
    before = path.read_bytes()
    said = write_marks(Assignment(course, NAME), "canvas", path)
    filled = tmp_path / f"export_{NAME}.csv"
    assert table(filled, encoding) == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", TITLE],
        ["    Points Possible", "", "", "", "", "10.00"],
        ["Okafor, Daniel", "101", "u1", "okafor@uni.example", "S1", "9.00"],
        ["Lee, Ann", "102", "", "lee1", "S1", ""],
        ["Lee, Ann", "103", "", "lee2", "S1", "8.0"],
        ["Núñez, José", "104", "", "", "S1", "7.00"],
        ["Student, Test", "105", "", "x", "S1", ""],
    ]
    assert path.read_bytes() == before and said == [f"3 marks written to {filled}, 2 of them new or other"]
    assert read_table(filled).encoding == encoding


def test_namesakes_are_told_apart_or_left_out(graded, tmp_path):
    course, path = graded(okafor=9, **{"Ann Lee": 8}), export(tmp_path)
    said = write_marks(Assignment(course, NAME), "canvas", path)
    assert "Ann Lee is left out: 2 rows of export.csv are called so; say who in a roster" in said
    course = graded(a1=8, a2=6)
    (course.root / "roster.csv").write_text("login,id,name\na1,103,Ann Lee\na2,102,Ann Lee\n")
    write_marks(Assignment(course, NAME), "canvas", path)
    rows = {row[1]: row[5] for row in table(tmp_path / f"export_{NAME}.csv")}
    assert (rows["103"], rows["102"]) == ("8.0", "6.00")


def test_another_in_capitals_takes_nobodys_row(graded, tmp_path):
    course, path = graded(lee1=9, LEE1=2, LEE2=5), export(tmp_path)
    said = write_marks(Assignment(course, NAME), "canvas", path)
    rows = {row[1]: row[5] for row in table(tmp_path / f"export_{NAME}.csv")}
    assert rows["102"] == "9.00" and any(line.startswith("LEE1 is left out") for line in said)
    assert "nobody is not in export.csv" in write_marks(Assignment(graded(nobody=1), NAME), "canvas", path)


@pytest.mark.parametrize("title", [NAME, f"{NAME} (5)", "A Small  Assignment (5)", "a small assignment"])
def test_the_assignment_is_found_by_its_own_title(graded, tmp_path, title):
    path = export(tmp_path, CANVAS.replace(TITLE, title))
    write_marks(Assignment(graded(okafor=9), NAME), "canvas", path)
    assert table(tmp_path / f"export_{NAME}.csv")[0][5] == title


def test_where_the_assignment_is_not_clear_it_is_asked_for(graded, tmp_path):
    course, path = graded(okafor=9), export(tmp_path, CANVAS.replace("A small assignment", "Homework one"))
    with pytest.raises(CourseError, match=r"--column, one of: 'Essay \(7\)', 'Homework one \(98765\)'"):
        write_marks(Assignment(course, NAME), "canvas", path)
    twice = export(tmp_path, CANVAS.replace("Essay (7)", "A small assignment (7)"))
    with pytest.raises(CourseError, match="which assignment"):
        write_marks(Assignment(course, NAME), "canvas", twice)
    for column in ("98765", TITLE):
        write_marks(Assignment(course, NAME), "canvas", twice, column=column)
        assert table(tmp_path / f"export_{NAME}.csv")[0][5] == TITLE
    with pytest.raises(CourseError, match="which assignment"):
        write_marks(Assignment(course, NAME), "canvas", twice, column="5")


def test_dry_says_what_would_change_and_writes_nothing(graded, tmp_path):
    course, path = graded(okafor=9, lee2=8, lee1=1), export(tmp_path)
    said = write_marks(Assignment(course, NAME), "canvas", path, dry=True)
    assert set(said[:2]) == {"okafor: 3 → 9.00", "lee1: nothing → 1.00"}
    assert said[2] == f"2 marks would change in {tmp_path}/export_{NAME}.csv; nothing was written"
    assert [p.name for p in tmp_path.iterdir()] == ["export.csv"]


def test_the_export_is_never_written_over(graded, tmp_path):
    course, path = graded(okafor=9), export(tmp_path)
    before = path.read_bytes()
    for system in ("canvas", "moodle"):
        with pytest.raises(CourseError):
            write_marks(Assignment(course, NAME), system, path, to=path)
    assert path.read_bytes() == before
    (tmp_path / "link.csv").symlink_to(path)
    with pytest.raises(CourseError, match="the export itself"):
        write_marks(Assignment(course, NAME), "canvas", path, to=tmp_path / "link.csv")


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00"])
def test_another_file_is_no_export(graded, tmp_path, content):
    (tmp_path / "precious.csv").write_bytes(content)
    for system in ("canvas", "moodle"):
        with pytest.raises(CourseError):
            write_marks(Assignment(graded(okafor=9), NAME), system, tmp_path / "precious.csv")
    assert (tmp_path / "precious.csv").read_bytes() == content and len(list(tmp_path.iterdir())) == 1


def test_without_an_export_canvas_gets_a_new_table(graded, tmp_path):
    write_marks(Assignment(graded(okafor=9, lee=8), NAME), "canvas", tmp_path / "new.csv")
    header, possible, *rows = table(tmp_path / "new.csv")
    assert header == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", NAME]
    assert possible == ["    Points Possible", "", "", "", "", "10.00"]
    assert {row[3]: row[5] for row in rows} == {"okafor": "9.00", "lee": "8.00"}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_moodles_worksheet_keeps_all_its_other_columns(graded, tmp_path, newline):
    path = export(tmp_path, WORKSHEET.replace("\n", newline), "utf-8-sig")
    said = write_marks(Assignment(graded(okafor=9, u3=8), NAME), "moodle", path, to=tmp_path / "out.csv")
    wanted = WORKSHEET.replace("3.00,10.00", "9.00,10.00", 1).replace("\n", newline)
    assert (tmp_path / "out.csv").read_bytes() == wanted.encode("utf-8-sig")
    assert said[0].startswith("2 marks written") and "1 of them new" in said[0]
    path = export(tmp_path, WORKSHEET.replace("10.00", "100.00"))
    assert any("100.00 points at most" in line for line in write_marks(Assignment(graded(u1=9), NAME), "moodle", path))


def test_gradescope_and_a_plain_table(graded, released, tmp_path):
    sheet = Sheet("ann", 3.0, 9.0, {"check_double": (2.0, 2.0), "check_total": (1.0, 3.0), "why": (None, 4.0)})
    sheet.verdicts["check_total"] = Verdict("total", 1.0, 3.0, 1, 3, wrong="its sign is wrong")
    sheet.notes = [note(Kind.EMPTY)]
    found = results(sheet)
    assert found["score"] == 3.0 and [t["score"] for t in found["tests"]] == [2.0, 1.0, 0]
    assert [t["max_score"] for t in found["tests"]] == [2.0, 3.0, 4.0] and "by hand" in found["tests"][2]["output"]
    assert "1 of 3 cases" in found["tests"][1]["output"] and "empty file" in found["output"]
    course = graded(ann=3, bob=4)
    write_marks(Assignment(course, NAME), "gradescope", tmp_path / "results")
    assert json.loads((tmp_path / "results" / "bob" / "results.json").read_text())["score"] == 4.0
    write_marks(Assignment(course, NAME), "csv", tmp_path / "all.csv")
    rows = table(tmp_path / "all.csv", "utf-8-sig")
    assert rows[0] == ["student", "name", "points", "of", "to be marked by hand", "double"]
    assert rows[1:] == [["ann", "", "3", "10", "0", "3"], ["bob", "", "4", "10", "0", "4"]]
