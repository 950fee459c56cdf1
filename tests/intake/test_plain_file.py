"""Opening what a student handed in: a plain file, or an error at once."""

import os

import pytest

from autograder.intake.plain_file import NotPlain, open_plain

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="made for systems with links and pipes")


def test_a_plain_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    file, status = open_plain(tmp_path / "a")
    with file:
        assert file.read() == b"content" and status.st_size == 7


def test_what_is_no_plain_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # with nobody at its other end: reading it would wait for ever
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for path in (tmp_path, tmp_path / "pipe", "/dev/null"):
        with pytest.raises(NotPlain):
            open_plain(path)
    assert before is None or len(os.listdir("/proc/self/fd")) == before, "no descriptor stays open"


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to("secret")
    with pytest.raises(OSError, match="symbolic"):
        open_plain(tmp_path / "link")
