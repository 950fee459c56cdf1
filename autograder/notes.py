"""What the grader has to say about a hand-in: a kind, the cell, and what is particular about it.

The grader goes by kinds alone. Sentences are made where a person reads them, by `sentence`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

NOTES = "grader"  # key in a notebook's metadata: what the grader has to say


class Kind(StrEnum):
    """What happened. The sentence about it stands in `SENTENCES`."""

    # found in submitted/
    RENAMED = "renamed"
    NAME_TAKEN = "name taken"
    LOOSE_NOTEBOOK = "loose notebook"
    LOOSE_FILE = "loose file"
    CLOSED_FOLDER = "closed folder"
    OUTSIDE = "outside its folder"
    NOTHING = "nothing handed in"
    UNREADABLE = "cannot be opened"
    LINK = "link"
    NO_NOTEBOOK = "no notebook"
    FOUND_INSTEAD = "other files"
    UNTOUCHED = "untouched original"
    OTHER_NAME = "another name"
    NONE_NAMED = "none has the name"
    OTHERS = "other notebooks"
    LINKED_FILE = "linked file"
    CLOSED_FILE = "closed file"
    TOO_MUCH = "too many files"
    NO_TIME = "no time"
    FILE_NOT_COPIED = "file not copied"
    FILES_NOT_COPIED = "files not copied"
    CHANGED = "changed while graded"
    # repaired in the notebook
    NO_FILE = "no file"
    NOT_OPENED = "not opened"
    NOT_PLAIN = "not a plain file"
    TOO_LARGE = "too large"
    EMPTY = "empty file"
    NOT_JSON = "not JSON"
    OTHER_FORMAT = "another format"
    NEARLY_JSON = "nearly JSON"
    NO_CELLS = "no cells"
    NOT_READ = "not read"
    OLD_FORMAT = "old format"
    CELLS_LEFT_OUT = "cells left out"
    OTHER_KERNEL = "another kernel"
    COPY = "copy of a cell"
    UNKNOWN_CELL = "unknown cell"
    MARK_RESTORED = "mark restored"
    MARKS_RESTORED = "marks restored"
    TYPE_RESTORED = "type restored"
    TEXT_RESTORED = "text restored"
    CELL_RESTORED = "cell restored"
    CELL_MOVED = "cell moved"
    ANSWER_FOUND = "answer found"
    WORDS_FOUND = "words found"
    # seen while it ran
    INTERRUPTED = "interrupted"
    OUT_OF_TIME = "out of time"
    DIED = "kernel died"
    DIED_AT_LAST = "kernel died for the last time"
    PATIENT = "machine was busy"
    IN_KERNEL = "judged in the student's kernel"
    # of marks over time
    LATE = "late"
    EXTENDED = "within an extension"
    MARKED_BEFORE = "marked by hand before"
    OVERRIDDEN = "marked in place of the grader"
    # of the grader itself
    LOST = "process lost"
    EXCEEDED = "more than the grader gives"
    FAILED = "grader failed"
    PLAIN = "plain"  # written by an earlier version, as a sentence


SENTENCES = {
    Kind.RENAMED: "Recorded under the name {0!r}.",
    Kind.NAME_TAKEN: "The entry {0!r} is not graded: as a name it is {1!r}, who is there already. Say who is who.",
    Kind.LOOSE_NOTEBOOK: "A file lay where a folder should be; it was taken.",
    Kind.LOOSE_FILE: "A file lay where a folder should be, and it is no notebook.",
    Kind.CLOSED_FOLDER: "The folder {0} cannot be opened ({1}).",
    Kind.OUTSIDE: "The notebook lay outside the folder {0}; it was taken.",
    Kind.NOTHING: "Nothing was handed in for this assignment.",
    Kind.UNREADABLE: "What was handed in cannot be opened ({0}): graded unanswered.",
    Kind.LINK: "What was handed in is a link, and links are not followed: graded unanswered.",
    Kind.NO_NOTEBOOK: "No notebook was found: graded unanswered.",
    Kind.FOUND_INSTEAD: "No notebook was found, only {0}: graded unanswered.",
    Kind.UNTOUCHED: "{0} is as it was released; {1}, which has answers in it, was taken in its place.",
    Kind.OTHER_NAME: "The notebook was called {0}; it was taken as {1}.ipynb.",
    Kind.NONE_NAMED: "None of {0} notebooks is called {1}.ipynb ({2}).",
    Kind.OTHERS: "Other notebooks were not looked at: {0}.",
    Kind.LINKED_FILE: "{0} is a link and was not followed.",
    Kind.CLOSED_FILE: "The file {0} cannot be opened ({1}).",
    Kind.TOO_MUCH: "More than {0} files or {1} MiB: the rest was left out.",
    Kind.NO_TIME: "{0} holds no time and was left out.",
    Kind.FILE_NOT_COPIED: "The file {0} was not copied: {1}.",
    Kind.FILES_NOT_COPIED: "From file {0} on files were not copied: too many or too large.",
    Kind.CHANGED: "It was changed while it was being graded: grade again for what is there now.",
    Kind.NO_FILE: "No notebook was handed in; the released notebook was graded unanswered.",
    Kind.NOT_OPENED: "The notebook cannot be opened ({0}); the released notebook was graded unanswered.",
    Kind.NOT_PLAIN: "The notebook is not a plain file; the released notebook was graded unanswered.",
    Kind.TOO_LARGE: "The notebook has {0} MiB, and {1} are allowed; the released notebook was graded unanswered.",
    Kind.EMPTY: "The notebook is an empty file; the released notebook was graded unanswered.",
    Kind.NOT_JSON: "The notebook is damaged: it is not JSON; the released notebook was graded unanswered.",
    Kind.OTHER_FORMAT: "The notebook is no notebook but {0}; the released notebook was graded unanswered.",
    Kind.NEARLY_JSON: "The notebook was stored in an odd way ({0}), and was read all the same.",
    Kind.NO_CELLS: "The notebook is damaged: it has no cells; the released notebook was graded unanswered.",
    Kind.NOT_READ: "The notebook cannot be read ({0}); the released notebook was graded unanswered.",
    Kind.OLD_FORMAT: "The notebook was in an old format (nbformat 3) and was converted.",
    Kind.CELLS_LEFT_OUT: "{0} cells were damaged, or too much to read, and were left out.",
    Kind.OTHER_KERNEL: "The kernel was {0!r}; it was run with the course's Python.",
    Kind.COPY: "Cell {cell} is a copy of {0}: only the first one counts.",
    Kind.UNKNOWN_CELL: "Cell {cell} called itself {0!r}, which is no cell of this assignment.",
    Kind.MARK_RESTORED: "Cell {cell} had lost its mark as {0} and got it back.",
    Kind.MARKS_RESTORED: "{0} cells had lost their marks, as some editors do to them, and were found again.",
    Kind.TYPE_RESTORED: "Cell {cell} was made a {0} cell; it is a {1} cell again.",
    Kind.TEXT_RESTORED: "Cell {cell} is locked and had been changed: the released text was put back.",
    Kind.CELL_RESTORED: "The cell {cell} was missing and was put back.",
    Kind.CELL_MOVED: "The cell {cell} stood where it cannot work and was moved {0}.",
    Kind.ANSWER_FOUND: "The cell for {0} is as it was released; cell {cell}, which defines it, was taken in its place.",
    Kind.WORDS_FOUND: "The cell for {0} holds no answer; what is written in cell {cell} was taken as it.",
    Kind.INTERRUPTED: "Cell {cell} was interrupted after {0} s.",
    Kind.OUT_OF_TIME: "From Cell {cell} on nothing ran: the notebook's time limit of {0} s was used up.",
    Kind.DIED: "Cell {cell} {0}; what follows ran in a new kernel, without this cell.",
    Kind.DIED_AT_LAST: "Cell {cell} {0}; nothing ran after that, because the kernel died {1} times.",
    Kind.PATIENT: "The machine was busy with other work and broke this off; it ran again, with more time.",
    Kind.IN_KERNEL: "Cell {cell} was judged by tests that ran in the student's kernel.",
    Kind.LATE: "Handed in {0} late (it was due {1}): {2}.",
    Kind.EXTENDED: "Handed in after {0}, within the extension to {1}.",
    Kind.MARKED_BEFORE: "{cell}: the mark by hand ({0}) is for an earlier hand-in; look at it again.",
    Kind.OVERRIDDEN: "{cell}: {0} of {1} by hand, in place of the grader's {2}.",
    Kind.LOST: "The processes that ran this notebook were lost, again and again ({0}): look at it, then grade again.",
    Kind.EXCEEDED: "Grading this notebook {0}, and was stopped: look at it, then grade again.",
    Kind.FAILED: "The grader failed ({0}); see {1}.",
    Kind.PLAIN: "{0}",
}

UNANSWERED = frozenset(
    {
        Kind.NOTHING,
        Kind.UNREADABLE,
        Kind.LINK,
        Kind.NO_NOTEBOOK,
        Kind.FOUND_INSTEAD,
        Kind.NO_FILE,
        Kind.NOT_OPENED,
        Kind.NOT_PLAIN,
    }
    | {Kind.TOO_LARGE, Kind.EMPTY, Kind.NOT_JSON, Kind.OTHER_FORMAT, Kind.NO_CELLS, Kind.NOT_READ}
)  # there was nothing to grade
DEATHS = frozenset({Kind.DIED, Kind.DIED_AT_LAST})
TIME_OUTS = frozenset({Kind.INTERRUPTED, Kind.OUT_OF_TIME})


@dataclass(frozen=True)
class Note:
    """One finding.

    Attributes:
        cell: the cell it is about, as people count and call it: "3", or "3 (check_softmax)"; "" if it is about none.
        text: what fills the gaps of the kind's sentence.
    """

    kind: Kind
    cell: str = ""
    text: tuple[str, ...] = ()

    def as_json(self) -> list[Any]:
        return [str(self.kind), self.cell, list(self.text)]


def note(kind: Kind, *text: object, cell: object = "") -> Note:
    """A note whose parts are text that fits into a file (no halves of surrogate pairs)."""
    return Note(kind, _text(cell), tuple(map(_text, text)))


def _text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


def sentence(note: Note) -> str:
    """The note in plain words."""
    return SENTENCES[note.kind].format(*note.text, cell=note.cell)


def brief(notes: list[Note]) -> list[Note]:
    """The notes, with one in place of those that say the same of nearly every cell."""
    marks = [n for n in notes if n.kind == Kind.MARK_RESTORED]
    if len(marks) <= 3:
        return notes
    return [note(Kind.MARKS_RESTORED, len(marks)), *(n for n in notes if n.kind != Kind.MARK_RESTORED)]


def from_json(found: Iterable[Any]) -> list[Note]:
    """The notes in a result or a graded notebook; a sentence that an earlier version wrote stays one."""
    return [Note(Kind.PLAIN, "", (n,)) if isinstance(n, str) else Note(Kind(n[0]), n[1], tuple(n[2])) for n in found]


def as_json(notes: Iterable[Note]) -> list[Any]:
    return [note.as_json() for note in notes]
