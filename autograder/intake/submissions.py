"""Finds what was handed in, and copies it to where it is graded from: plain files of a sane size, no links."""

import io
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from unicodedata import category, normalize

from nbformat import NotebookNode

from autograder.course import Assignment, is_ours
from autograder.intake.plain_file import NotPlain, open_plain
from autograder.intake.repair import answered, blank, repair
from autograder.limits import Limits, mib
from autograder.notes import NOTES, Kind, Note, as_json, note
from course_utils.command.student import TIMESTAMP
from course_utils.notebook import read, text
from course_utils.paths import write

MAX_READ = 10  # notebooks in one folder in which answers are looked for
MAX_WALK = 100_000  # files among which notebooks are looked for
MAX_DEPTH = 40  # folders in folders
MAX_PATH = 1000  # bytes of a file's path below the hand-in: it is copied to where paths are longer
UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}  # kinds of characters
BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # letters and marks by their kind that nobody sees
FORMULA = "=+@-＝＋＠－. "  # what a spreadsheet takes for a formula, at the beginning of a name
PASSED_OVER = re.compile(r"\..*|__pycache__|.*\.pyc|Thumbs\.db|desktop\.ini|.*\.ipynb(\.txt|\.json)?", re.IGNORECASE)


@dataclass
class Submission:
    """One entry of `submitted/`.

    Attributes:
        student: the name in the gradebook.
        place: the folder (or file) that was handed in; None if there is none for this assignment.
        notes: what was odd about it.
        refused: it is nobody's: its name is another's in disguise. It is not graded.
    """

    student: str
    place: Path | None
    notes: list[Note] = field(default_factory=list)
    refused: bool = False


def submissions(assignment: Assignment) -> list[Submission]:
    """Every entry of `submitted/`, so that nobody is lost: folders, misplaced files, students who handed in nothing.

    An entry that is called exactly as its student goes before others; what then has a name that is taken is refused.
    """
    room = assignment.root / "submitted"
    found: list[Submission] = []
    entries = (
        sorted((e for e in os.scandir(room) if not e.name.startswith(".")), key=lambda e: e.name)
        if room.is_dir()
        else []
    )
    for entry in sorted(entries, key=lambda e: (not e.is_dir(follow_symlinks=False), student_name(e.name) != e.name)):
        submission = _submission(Path(entry.path), entry, assignment.name)
        if submission.student in {s.student for s in found}:
            taken = note(Kind.NAME_TAKEN, shown(entry.name), submission.student)
            label = f"{shown(entry.name)} ({len(found) + 1})"  # nobody's name, and not that of another one refused
            submission = Submission(label, None, [taken], refused=True)
        elif submission.student != normalize("NFC", entry.name):
            submission.notes.append(note(Kind.RENAMED, submission.student))
        found.append(submission)
    return sorted(found, key=lambda s: s.student)


def _submission(path: Path, entry: os.DirEntry, name: str) -> Submission:
    student = student_name(entry.name)
    if entry.is_symlink():
        return Submission(student, path)
    if entry.is_file(follow_symlinks=False):
        if path.suffix == ".ipynb":
            return Submission(student_name(path.stem), path, [note(Kind.LOOSE_NOTEBOOK)])
        return Submission(student, path, [note(Kind.LOOSE_FILE)])
    try:
        inside = os.listdir(path)
    except OSError as error:
        return Submission(student, path, [note(Kind.CLOSED_FOLDER, shown(entry.name), error.strerror)])
    if name in inside:
        return Submission(student, path / name)
    if any(is_notebook(Path(n)) for n in inside):
        return Submission(student, path, [note(Kind.OUTSIDE, name)])
    return Submission(student, None, [note(Kind.NOTHING)])


def student_name(name: str) -> str:
    """A name that the gradebook, its table and nbgrader's patterns can hold."""
    name = normalize("NFC", name.encode("utf-8", "replace").decode())  # file names need not be text
    return re.sub(r'[,"*?\[\]]', "_", seen(name, "_")).strip().lstrip(FORMULA) or "nameless"


def stage(assignment: Assignment, submission: Submission, target: Path) -> NotebookNode:
    """Copy a submission into an empty folder, its notebook repaired; the notebook, with all notes in its metadata."""
    notes = list(submission.notes)
    place = submission.place
    release = read(assignment.released)
    try:
        notebook, said = _take(assignment.name, place, target, release, notes, assignment.limits())
        _give_way(target, assignment.released.parent, said)
    except OSError as error:
        if place is None or place not in (Path(error.filename or "/"), *Path(error.filename or "/").parents):
            raise  # not the student's doing
        notebook, said = blank(release, note(Kind.UNREADABLE, error.strerror))
    notes += said
    notebook.metadata[NOTES] = {"notes": as_json(notes)}
    write(target / f"{assignment.name}.ipynb", text(notebook))
    return notebook


def _take(
    name: str, place: Path | None, target: Path, release: NotebookNode, notes: list[Note], limits: Limits
) -> tuple[NotebookNode, list[Note]]:
    """The repaired notebook and what had to be repaired; the files beside it are copied."""
    if place is None:
        return blank(release)
    if place.is_symlink():
        return blank(release, note(Kind.LINK))
    where = _notebook(place, name, notes, lambda path: answered(path, release, limits))
    notebook, said = repair(where, release, limits) if where else blank(release, _no_notebook(place))
    if place.is_dir():
        copy_files(place, target, said, limits)
    return notebook, said


def _give_way(target: Path, release: Path, notes: list[Note]) -> None:
    """Leave out folders that have the name of a file of the release's: nbgrader puts that there."""
    for path in _walk(release, notes=[]):
        if (folder := target / path.relative_to(release)).is_dir():
            shutil.rmtree(folder)
            notes.append(note(Kind.FILE_NOT_COPIED, folder.name, "a file of the assignment has this name"))


def signature(submission: Submission, files: int) -> object:
    """What tells whether an entry was changed: names, sizes and times of its files.

    Args:
        files: how many may be handed in; twice as many are looked at.
    """
    if submission.place is None:
        return None
    try:
        paths = [submission.place]
        if submission.place.is_dir() and not submission.place.is_symlink():
            paths += islice(_walk(submission.place, notes=[]), 2 * files)
        return [(str(p), (s := p.lstat()).st_size, s.st_mtime_ns, s.st_ino) for p in paths]
    except OSError as error:  # it went away, or may not be read
        return error.errno


def _notebook(place: Path, name: str, notes: list[Note], answered: Callable[[Path], bool]) -> Path | None:
    """The notebook to grade: the one with the assignment's name, else the only one; the only one with answers in it."""
    if not place.is_dir():
        return place if is_notebook(place) or place.name == name else None
    found = sorted(p for p in islice(_walk(place, notes=[]), MAX_WALK) if is_notebook(p))
    exact = min((p for p in found if p.name == f"{name}.ipynb"), key=lambda p: len(p.parts), default=None)
    chosen = exact or (found[0] if len(found) == 1 else None)
    if 1 < len(found) <= MAX_READ and not (exact and answered(exact)):
        written = [p for p in found if p != exact and answered(p)]
        chosen = written[0] if len(written) == 1 else chosen
    if not chosen:
        if found:
            notes.append(note(Kind.NONE_NAMED, len(found), name, ", ".join(shown(p.name) for p in found[:5])))
        return None
    if exact and chosen != exact:
        notes.append(note(Kind.UNTOUCHED, shown(exact.name), shown(chosen.name)))
    elif not exact:
        notes.append(note(Kind.OTHER_NAME, shown(chosen.name), name))
    others = [shown(p.name) for p in found if p != chosen]
    if others:
        notes.append(note(Kind.OTHERS, ", ".join(others[:5]) + (" …" if len(others) > 5 else "")))
    return chosen


def is_notebook(path: Path) -> bool:
    """By its name, also where a system wrote that in capitals or put an ending of its own behind it."""
    return not path.name.startswith(".") and path.name.lower().endswith((".ipynb", ".ipynb.txt", ".ipynb.json"))


def _no_notebook(place: Path) -> Note:
    """That there is none, and what is there."""
    there = [place] if place.is_file() else list(islice(_walk(place, notes=[]), 6))
    names = ", ".join(shown(p.name) for p in there[:5]) + " …" * (len(there) > 5)
    return note(Kind.FOUND_INSTEAD, names) if names else note(Kind.NO_NOTEBOOK)


def copy_files(place: Path, target: Path, notes: list[Note], limits: Limits) -> None:
    """Copy the plain files of a folder, up to the limits, but no notebooks and nothing hidden.

    Args:
        target: a folder; what is there already stays.
        notes: get what was left out, and why.
    """
    count = total = 0
    target.mkdir(parents=True, exist_ok=True)
    for path in _walk(place, notes):
        if PASSED_OVER.fullmatch(path.name):
            continue
        count += 1
        if len(os.fsencode(path.relative_to(place))) > MAX_PATH:
            notes.append(note(Kind.FILE_NOT_COPIED, shown(path.name), "its path is too long"))
            continue
        try:
            source, status = open_plain(path)
        except NotPlain:
            continue
        except OSError as error:
            notes.append(note(Kind.CLOSED_FILE, shown(path.name), error.strerror))
            continue
        with source:
            total += status.st_size
            if count > limits.files or total > limits.files_bytes:
                notes.append(note(Kind.TOO_MUCH, limits.files, mib(limits.files_bytes)))
                return
            if path.name == TIMESTAMP:
                if (moment := _time(source.read(200))) is None:
                    notes.append(note(Kind.NO_TIME, TIMESTAMP))
                    continue
                source = io.BytesIO(moment)
            source.seek(0)
            copy = target / path.relative_to(place)
            try:
                copy.parent.mkdir(parents=True, exist_ok=True)
                if not copy.exists():
                    with copy.open("xb") as out:
                        shutil.copyfileobj(source, out)
            except OSError as error:  # a folder has the name of one of the release's files, say
                if is_ours(error):
                    raise
                notes.append(note(Kind.FILE_NOT_COPIED, shown(path.name), error.strerror))


def _walk(place: Path, notes: list[Note]) -> Iterator[Path]:
    """The plain files under a folder; links and what cannot be opened are noted and passed over."""

    def closed(error: OSError) -> None:
        notes.append(note(Kind.CLOSED_FOLDER, shown(Path(error.filename).name), error.strerror))

    for folder, folders, files in os.walk(place, onerror=closed, followlinks=False):
        links = [n for n in folders + files if os.path.islink(os.path.join(folder, n))]
        notes += [note(Kind.LINKED_FILE, shown(n)) for n in links[:5]]
        deep = Path(folder).relative_to(place).parts[MAX_DEPTH:]
        folders[:] = sorted(n for n in folders if not (deep or n in links or PASSED_OVER.fullmatch(n)))
        for file in sorted(files):
            if _is_plain(path := Path(folder) / file):
                yield path


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def shown(name: str) -> str:
    """A file's name as text of a sane length."""
    return seen(name.encode("utf-8", "replace").decode(), "?")[:80]


def seen(text: str, sign: str) -> str:
    """Text with a sign in place of all that is not seen or turns the direction of a line: two could look like one."""
    return "".join(sign if category(c) in UNSEEN or c in BLANK else c for c in text)


def _time(data: bytes) -> bytes | None:
    """A time in UTC, as nbgrader reads it (of an offset it takes the hours for seconds); None if it is none."""
    import dateutil.parser
    from nbgrader.utils import parse_utc

    text = data.decode("ascii", "replace").strip()
    if not text:
        return b""
    try:
        moment = dateutil.parser.parse(text) if re.search(r"[+-]\d\d:?\d\d$", text) else parse_utc(text)
        return f"{parse_utc(moment):%Y-%m-%d %H:%M:%S.%f} UTC\n".encode()
    except Exception:  # whatever dateutil says about nonsense
        return None
