"""Where the cache is, and files that appear whole or not at all."""

import errno
import os
import stat

import pytest

from autograder.sandbox import provisioner
from course_utils import paths


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("COURSE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert paths.cache_folder() == tmp_path / ".cache" / "course_utils"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert paths.cache_folder() == tmp_path / "xdg" / "course_utils"
    monkeypatch.setenv("COURSE_CACHE", "~/own")
    assert paths.cache_folder() == tmp_path / "own"


@pytest.mark.parametrize("setting", ["relative", "absolute"])
def test_the_sandbox_shows_the_cache_that_the_course_uses(monkeypatch, tmp_path, setting):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COURSE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", {"relative": "xdg", "absolute": str(tmp_path / "xdg")}[setting])
    (tmp_path / "xdg" / "course_utils").mkdir(parents=True)
    (tmp_path / "home" / ".cache" / "course_utils").mkdir(parents=True)
    assert provisioner._cache() == paths.cache_folder()


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_is_written_with_its_folders_and_rights(tmp_path):
    paths.write(tmp_path / "new" / "folder" / "a.txt", "é\n", mode=0o600)
    path = tmp_path / "new" / "folder" / "a.txt"
    assert path.read_bytes() == "é\n".encode() and stat.S_IMODE(path.stat().st_mode) == 0o600
    paths.write(path, b"other")
    assert path.read_bytes() == b"other" and files(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_after_a_full_disk_the_old_file_is_there_and_nothing_else(tmp_path, monkeypatch, failing):
    def fail(*args):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    paths.write(tmp_path / "a.txt", "old")
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError) as error:
        paths.write(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old" and files(tmp_path) == ["a.txt"]
    assert "the disk is full: make room" in paths.explain(error.value)


def test_whoever_reads_meanwhile_sees_the_old_file(tmp_path):
    paths.write(tmp_path / "a.txt", "old")
    with paths.replacing(tmp_path / "a.txt") as file:
        file.write(b"half of it")
        file.flush()
        assert (tmp_path / "a.txt").read_text() == "old"
    assert (tmp_path / "a.txt").read_text() == "half of it" and files(tmp_path) == ["a.txt"]
    with pytest.raises(KeyboardInterrupt), paths.replacing(tmp_path / "a.txt") as file:
        raise KeyboardInterrupt
    assert (tmp_path / "a.txt").read_text() == "half of it" and files(tmp_path) == ["a.txt"]


def test_a_long_name_has_room_for_its_other_name(tmp_path):
    paths.write(tmp_path / ("n" * 250), "x")
    assert files(tmp_path) == ["n" * 250]


def test_in_colab_the_course_is_the_clone_below(tmp_path, monkeypatch):
    (tmp_path / "shannon").mkdir()
    (tmp_path / "shannon" / paths.CONFIG).touch()
    with pytest.raises(paths.CourseError):
        paths.Course.find(tmp_path)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab")
    assert paths.Course.find(tmp_path).root == tmp_path / "shannon"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / paths.CONFIG).touch()
    with pytest.raises(paths.CourseError):  # which of the two?
        paths.Course.find(tmp_path)
