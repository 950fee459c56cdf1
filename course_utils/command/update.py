"""`course update`: a student's copy gets the new edition of the course, and keeps all that the student wrote.

Nothing is merged. Every file of an edition stands with its checksum in `course-edition.json`; that tells a file which
the student never touched, which is replaced, from one that was run or changed, which is kept.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any

from course_utils.paths import CourseError, write

EDITION = "course-edition.json"
MINE = "yours"  # in the name of a file of the student's that made room


@dataclass
class Update:
    """What an update did; paths are relative to the course.

    Attributes:
        new: files that were not there before.
        replaced: files that the student had not touched.
        kept: (what the student wrote, where it lies now, where the new one lies).
        gone: files that the new edition has no longer.
    """

    tag: str
    new: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    kept: list[tuple[str, str, str]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For the terminal."""
        said = [f"{what}: yours is {mine}, the new one is {theirs}" for what, mine, theirs in self.kept]
        if not (self.new or self.replaced or self.kept or self.gone):
            return [f"nothing is newer than what you have ({self.tag})"]
        counts = [(self.new, "new"), (self.replaced, "replaced"), (self.gone, "no longer part of the course")]
        said.append(f"{self.tag}: " + (", ".join(f"{len(w)} files {how}" for w, how in counts if w) or "done"))
        if {"requirements.lock", "pyproject.toml"} & {*self.new, *self.replaced}:
            said.append("the packages have changed: run make setup (or python -m course_utils.setup)")
        return said


def update(root: Path, source: str | None = None) -> Update:
    """Bring a student's copy up to the newest edition.

    Args:
        root: the copy.
        source: a git address or a folder with an edition; None is where the copy came from.

    Raises:
        CourseError: this is no student's copy, or the edition cannot be fetched. Nothing was changed then.
    """
    before = read_edition(root)
    if before is None:
        raise CourseError(f"{root} is no student's copy ({EDITION} is missing): get news here with git pull")
    with fetched(source or before["address"]) as folder:
        after = read_edition(folder)
        if after is None:
            raise CourseError(f"{source or before['address']} holds no student's copy of the course")
        done = Update(after["tag"])
        for name in after["files"]:
            _bring(root, folder, name, before["files"].get(name), done)
        for name in before["files"].keys() - after["files"].keys():
            if _sum(root / name) == before["files"][name]:
                (root / name).unlink()
                done.gone.append(name)
        write(root / EDITION, (folder / EDITION).read_bytes())
        _move_branch(root, folder)
    return done


def read_edition(root: Path) -> dict[str, Any] | None:
    """What an edition says of itself: its `tag`, its `address`, and `files` with their checksums; None if it is none.

    Raises:
        CourseError: the file is damaged, or names files outside the folder.
    """
    try:
        found = json.loads((root / EDITION).read_text(encoding="utf-8"))
        files = {str(name): str(digest) for name, digest in found["files"].items()}
        edition = {"tag": str(found["tag"]), "address": str(found["address"]), "files": files}
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CourseError(f"{root / EDITION} is damaged: get it back with git checkout {EDITION}") from None
    for name in files:
        parts = PurePosixPath(name).parts
        if not parts or parts[0] in ("/", ".git") or ".." in parts or "\\" in name or ":" in name:
            raise CourseError(f"{root / EDITION} names a file that is not of a course: {name[:80]!r}")
    return edition


@contextmanager
def fetched(source: str) -> Iterator[Path]:
    """A folder with what lies at a git address now; a folder without git is taken as it is."""
    place = Path(source).expanduser()
    if place.is_dir() and not is_repository(place):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="course-", ignore_cleanup_errors=True) as temporary:
        git("clone", "--quiet", "--depth", "1", _url(source), temporary + "/new")
        yield Path(temporary) / "new"


def _url(source: str) -> str:
    """git leaves `--depth` out for a plain path, and says so at length."""
    place = Path(source).expanduser()
    return place.resolve().as_uri() if place.exists() else source


def is_repository(folder: Path) -> bool:
    return (folder / ".git").exists() or ((folder / "HEAD").is_file() and (folder / "objects").is_dir())


def git(*arguments: str, folder: Path | None = None) -> str:
    """Run git; what it printed.

    Raises:
        CourseError: it failed, or there is none.
    """
    hooks = {name: value for name, value in os.environ.items() if not name.startswith("GIT_DIR")}
    settings = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=hooks | settings, capture_output=True, text=True, errors="replace"
        )
    except FileNotFoundError:
        raise CourseError("git is not installed here: install it (https://git-scm.com), then try again") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise CourseError(f"git {arguments[0]} failed: {said[-1]}")
    return done.stdout.strip()


# --- one file ---------------------------------------------------------------------------------------------------------


def _bring(root: Path, folder: Path, name: str, old: str | None, done: Update) -> None:
    """Put one file of the new edition into its place, unless that would cost the student something."""
    data = (folder / name).read_bytes()
    path, new = root / name, hashlib.sha256(data).hexdigest()
    here = _sum(path)
    if here == new or (here is not None and old == new):  # the same, or only the student changed it
        return
    if here is None and not _there(path):
        done.new.append(name)
    elif here is not None and here == old:
        done.replaced.append(name)
    elif _is_assignment(name):  # what is being worked on, and will be handed in, stays where it is
        beside = path.with_suffix(".new.ipynb")
        if _sum(beside) not in (None, new, old):
            _make_room(beside)
        write(beside, data)
        done.kept.append((name, name, beside.relative_to(root).as_posix()))
        return
    else:
        aside = _make_room(path)
        done.kept.append((name, aside.relative_to(root).as_posix(), name))
    for parent in reversed(path.relative_to(root).parents[:-1]):
        if _there(root / parent) and not (root / parent).is_dir():  # a file where a folder belongs
            done.kept.append((str(parent), _make_room(root / parent).relative_to(root).as_posix(), str(parent)))
    write(path, data, (folder / name).stat().st_mode & 0o777)


def _is_assignment(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return parts[0] == "assignments" and parts[-1].endswith(".ipynb")


def _make_room(path: Path) -> Path:
    """Give what lies there a name beside it, under which nothing lies yet; it is whole before that."""
    stem, suffix = (path.stem, path.suffix) if path.is_file() else (path.name, "")
    label = f"{stem} ({MINE} {date.today()}"
    number, aside = 2, path.with_name(f"{label}){suffix}")
    while _there(aside):
        if path.is_file() and _sum(aside) == _sum(path):  # an update that was stopped had made it
            return aside
        number, aside = number + 1, path.with_name(f"{label} {number}){suffix}")
    if path.is_file() and not path.is_symlink():
        write(aside, path.read_bytes())
        shutil.copystat(path, aside)
    else:
        path.rename(aside)
    return aside


def _sum(path: Path) -> str | None:
    """The checksum of a plain file; None where there is none."""
    if path.is_symlink() or not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _there(path: Path) -> bool:
    return os.path.lexists(path)


def _move_branch(root: Path, folder: Path) -> None:
    """Let git know that the files are those of the new edition, where the student made no commits of their own."""
    try:
        if not is_repository(root) or not is_repository(folder):
            return
        commit = git("rev-parse", "HEAD", folder=folder)
        git("fetch", "--quiet", "--tags", git("remote", "get-url", "origin", folder=folder), "HEAD", folder=root)
        if git("rev-parse", "FETCH_HEAD", folder=root) == commit:
            git("merge-base", "--is-ancestor", "HEAD", commit, folder=root)
            git("reset", "--quiet", "--mixed", commit, folder=root)  # no file is touched
    except CourseError:
        pass  # git's view is a convenience: the files are right
