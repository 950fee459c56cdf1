"""nbgrader's exchange as instructors use it here: whose a hand-in is, and what in it costs nobody else anything."""

import os
import pwd
import shutil

import pytest
from nbgrader.exchange import ExchangeFactory
from nbgrader.utils import notebook_hash
from small_course import NAME, hand_in

pytestmark = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="gives files to other users")
ANN, BOB = pwd.getpwnam("daemon"), pwd.getpwnam("nobody")  # two users that every Linux has


@pytest.fixture
def course(course, tmp_path):
    (tmp_path / "exchange" / "shannon-to-clip" / "inbound").mkdir(parents=True)
    return course


def exchange(course, action, **options):
    """One of nbgrader's actions, as its commands and Formgrader make it."""
    config = course.config()
    config.Exchange.root = str(course.root.parent / "exchange")
    config.CourseDirectory.groupshared = True
    config.merge(options)
    directory = course.directory(assignment_id=NAME, groupshared=True)
    getattr(ExchangeFactory(config=config), action)(coursedir=directory, config=config).start()


def inbound(course, owner, name, time="2026-10-01 12:00:00 UTC", says="", random="x"):
    """A hand-in in the exchange as `nbgrader submit` leaves it."""
    place = course.root.parent / "exchange" / "shannon-to-clip" / "inbound" / f"{name}+{NAME}+{time}+{random}"
    source = hand_in(course, "writer")
    shutil.move(source.parent, place)
    shutil.rmtree(course.root / "submitted")
    (place / "says.txt").write_text(says)
    (place / "submission_secret.txt").write_text(f"secret of {says}")
    for path in (place, *place.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    return place


def collected(course):
    return {p.parts[-3]: p.read_text() for p in course.root.glob(f"submitted/*/{NAME}/says.txt")}


def test_a_hand_in_is_whose_who_made_it(course):
    inbound(course, ANN, ANN.pw_name, says="Ann's")
    inbound(course, BOB, ANN.pw_name, time="2026-10-02 12:00:00 UTC", says="Bob's, in Ann's name, and later")
    inbound(course, pwd.getpwuid(0), "carl", says="for Carl, by an instructor")
    exchange(course, "Collect")
    assert collected(course) == {
        ANN.pw_name: "Ann's",
        BOB.pw_name: "Bob's, in Ann's name, and later",
        "carl": "for Carl, by an instructor",
    }


def test_links_lead_nowhere_and_nobodys_trouble_is_anothers(course, tmp_path):
    (secret := tmp_path / "secret").mkdir()
    (secret / "says.txt").write_text("the solution")
    place = inbound(course, BOB, BOB.pw_name, says="Bob's")
    (place / "link.txt").symlink_to(secret / "says.txt")
    (place / "folder").symlink_to(secret)
    os.mkfifo(place / "pipe")
    (place / "deep" / "er").mkdir(parents=True)
    (place / "deep" / "er" / "notes.txt").write_text("kept")
    (link := place.with_name(f"ann+{NAME}+2026-10-03 12:00:00 UTC+y")).symlink_to(secret)
    os.lchown(link, 4_000_000, 4_000_000)  # no user has this number
    (place.with_name(f"x+{NAME}+no time at all")).mkdir()
    (place.with_name(f"y+{NAME}+99999999999999999999")).write_text("no folder")
    inbound(course, ANN, ANN.pw_name, says="Ann's")
    exchange(course, "Collect")
    assert collected(course) == {BOB.pw_name: "Bob's", ANN.pw_name: "Ann's"}
    mine = course.root / "submitted" / BOB.pw_name / NAME
    assert not [p for p in mine.rglob("*") if p.is_symlink() or p.is_fifo()] and not (mine / "folder").exists()
    assert (mine / "deep" / "er" / "notes.txt").read_text() == "kept"
    assert not [p for p in course.root.glob("submitted/**/*.txt") if p.read_text() == "the solution"]


def test_what_is_too_much_is_left_out(course):
    from autograder.intake.exchange import copy_plain

    place = inbound(course, BOB, BOB.pw_name, says="Bob's")
    bottom = place
    for _ in range(60):
        bottom = bottom / "d"
    bottom.mkdir(parents=True)
    (place / "large").write_bytes(b"0" * 10_000)
    left_out = copy_plain(place, course.root / "copy", 5_000)
    assert [text for text in left_out if "too much" in text]
    left_out = copy_plain(place, course.root / "another", 10**9)
    assert left_out == ["d (too deep)"]


def test_feedback_goes_to_who_knows_the_secret(course):
    for user, says in ((ANN, "Ann's"), (BOB, "Bob's")):
        inbound(course, user, user.pw_name, says=says)
    exchange(course, "Collect")
    os.remove(course.root / "submitted" / BOB.pw_name / NAME / "submission_secret.txt")
    (course.root / "submitted" / BOB.pw_name / NAME / "submission_secret.txt").symlink_to("says.txt")
    for user in (ANN, BOB):
        (page := course.root / "feedback" / user.pw_name / NAME / f"{NAME}.html").parent.mkdir(parents=True)
        page.write_text(f"page of {user.pw_name}")
    exchange(course, "ReleaseFeedback")
    places = [p for p in (course.root.parent / "exchange" / "shannon-to-clip" / "feedback").iterdir()]
    assert [p.name for p in places] == [notebook_hash(secret="secret of Ann's", notebook_id=NAME) + ".html"]
    assert places[0].read_text() == f"page of {ANN.pw_name}" and places[0].stat().st_mode & 0o777 == 0o644
    assert places[0].parent.stat().st_mode & 0o777 in (0o711, 0o771)
