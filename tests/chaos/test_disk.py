"""A disk that is full, or that may not be written: a sentence, nothing half-written, and the run goes on later."""

import os
import sqlite3
import subprocess

import pytest
from small_course import HALF, NAME, RIGHT, hand_in, released_course

from autograder.course import Assignment
from autograder.grade import grade
from course_utils.paths import CourseError, explain

KiB = 1024


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={4 * KiB}k", "tmpfs", str(place)]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("only root may make disks")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def course(disk, executor):
    made = released_course(disk / "course")
    for student, answers in {"ann": RIGHT, "bob": HALF, "cyd": RIGHT | {"why": "It is linear."}}.items():
        hand_in(made, student, answers)
    return made


def points(course) -> dict[str, float]:
    return {sheet.student: sheet.points for _, _, sheet in grade(Assignment(course, NAME), [])}


def room(place) -> int:
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize


def whole(course) -> bool:
    with sqlite3.connect(course.root / "gradebook.db") as db:
        return db.execute("pragma integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("left", [0, 40 * KiB, 120 * KiB, 200 * KiB])
def test_a_disk_that_fills_up_stops_with_a_sentence_and_goes_on_later(course, disk, left):
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(room(disk) - left))
    try:
        points(course)
        said = ""
    except CourseError as error:
        said = str(error)
    except OSError as error:
        said = explain(error)
    assert "the disk is full" in said and "make room, then run the same command again" in said
    assert whole(course) and not list(course.root.rglob("*.part"))
    ballast.unlink()
    assert points(course) == {"ann": 6, "bob": 3, "cyd": 6}
    assert whole(course)


@pytest.fixture
def read_only(course, disk):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


def test_a_disk_that_may_not_be_written(course, read_only):
    before = (course.root / "gradebook.db").read_bytes()
    with pytest.raises((OSError, CourseError)) as error:
        points(course)
    said = explain(error.value) if isinstance(error.value, OSError) else str(error.value)
    assert "give yourself the right" in said
    assert (course.root / "gradebook.db").read_bytes() == before
