"""`course grade --import DOWNLOAD`: what a learning system gave, from a folder or a zip, into `submitted/`.

Whose something is, the roster and the system's own names decide (`roster`, `lms`); a receipt only advises. Whatever a
file holds ends in one sentence about it, and what is not clear is left where it is.
"""

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from autograder.course import Assignment, Course
from autograder.intake import lms
from autograder.intake.bundle import Item, Refused, items
from autograder.intake.lms import Claim
from autograder.intake.roster import Person, Roster, in_order, load_roster
from autograder.intake.submissions import is_notebook, shown, student_name
from autograder.limits import Limits
from course_utils.command.student import RECEIPT, TIMESTAMP
from course_utils.names import composed, folded, is_account
from course_utils.notebook import read
from course_utils.paths import CourseError, write

KEPT = "earlier"  # folder in `Assignment.private`: hand-ins that were replaced
STAMP = "%Y-%m-%d %H:%M:%S.%f"
DOUBT = timedelta(minutes=10)  # by so much a receipt's clock may differ without a word
UNSIGNED = "it does not say whose it is: call it after the student"
ATTEMPT = re.compile(r"(?: \(\d+\)|-\d+| - copy|_copy)+$", re.IGNORECASE)  # what systems put behind a file's name


@dataclass
class Arrival:
    """What became of one file of the download.

    Attributes:
        said: a sentence about it.
        left: it is not in `submitted/`, and nothing of its student's is in its place.
    """

    file: str
    said: str
    left: bool = False


@dataclass
class _Unit:
    """What belongs together: the files of one hand-in."""

    label: str
    claims: list[Claim]
    files: list[Item]


@dataclass(frozen=True)
class _Receipt:
    """What came with a hand-in, if anything did; `fits` says that it is of this very notebook."""

    data: bytes | None
    says: dict[str, Any]
    fits: bool


@dataclass
class _HandIn:
    file: str
    student: str
    claim: Claim
    notebook: bytes
    time: datetime
    receipt: bytes | None = None
    notes: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[bool, int, datetime]:
        """A system's own count of attempts goes before clocks."""
        return bool(self.claim.number), self.claim.number, self.time


def take_in(assignment: Assignment, place: Path, roster: Path | None = None) -> list[Arrival]:
    """Put what a download holds for an assignment into `submitted/`; a sentence for every hand-in and odd file.

    Of several for one student the last one is taken. What is in `submitted/` already stays if it is newer; what is
    replaced is kept in the grader's private folder.

    Args:
        place: a folder or a zip.
        roster: who is in the class; None is `roster.csv` of the course, if there is one.

    Raises:
        CourseError: there is no such download, or the roster is none.
    """
    if not place.exists():
        raise CourseError(f"{place} is not there: name the folder or the zip that holds the hand-ins")
    if not place.is_dir() and place.suffix.lower() != ".zip":
        raise CourseError(f"{place} is no folder and no zip: name the one that holds the hand-ins (*.zip, *.ipynb)")
    who, limits = load_roster(assignment.course, roster), assignment.limits()
    arrivals: list[Arrival] = []
    found: list[_HandIn] = []
    idle: list[tuple[str, str]] = []  # files beside a hand-in: student, label
    for unit in _units(assignment, list(items(place, limits)), who):
        try:
            found += _hand_ins(assignment, unit, who, limits)
        except _Beside as reason:
            idle.append((reason.student, unit.label))
        except Refused as reason:
            arrivals.append(Arrival(unit.label, f"left where it is: {reason}", left=True))
    clear, ambiguous = _told_apart(assignment.course, found, who)
    arrivals += ambiguous
    clear.sort(key=lambda h: h.order)
    last = {hand_in.student: hand_in for hand_in in clear}
    for hand_in in clear:
        arrivals.append(_arrive(assignment, hand_in, last[hand_in.student]))
    for student, label in idle:
        arrivals.append(Arrival(label, "left where it is: it is neither a zip nor a notebook", student not in last))
    return sorted(arrivals, key=lambda a: a.file)


class _Beside(Exception):
    """A file without a notebook whose student may have handed one in beside it."""

    def __init__(self, student: str):
        self.student = student


def _arrive(assignment: Assignment, hand_in: _HandIn, best: _HandIn) -> Arrival:
    if hand_in is not best:
        return Arrival(hand_in.file, f"left where it is: {best.file} is taken for {hand_in.student}")
    try:
        return Arrival(hand_in.file, " ".join([_put(assignment, hand_in), *hand_in.notes]))
    except Refused as reason:
        return Arrival(hand_in.file, f"left where it is: {reason}", left=True)


# --- what belongs together --------------------------------------------------------------------------------------------


def _units(assignment: Assignment, found: list[Item], roster: Roster) -> list[_Unit]:
    """The files by hand-in: by the part of their path that a system has named, else by the first that is a person."""
    units: dict[tuple[str, ...], _Unit] = {}
    people = {item.parts[:-1]: lms.gradescope(_quietly(item)) for item in found if item.name == lms.METADATA}
    known = {(*where, folder): claims for where, said in people.items() for folder, claims in said.items()}
    plain = []
    for item in found:
        if item.name == lms.METADATA:
            continue
        for depth, part in enumerate(item.parts, start=1):
            folder = depth < len(item.parts)
            if claim := lms.claim(
                part.removesuffix(".zip") if folder else part, assignment.name, folder or bool(item.why)
            ):
                where = item.parts[:depth]
                claims = [replace(c, number=claim.number) for c in known.get(where, ())] or [claim]
                units.setdefault(where, _Unit("/".join(map(shown, where)), claims, [])).files.append(item)
                break
        else:
            plain.append(item)
    for item, depth in _plain_places(assignment, plain, roster):
        where = item.parts[:depth]
        text = _bare(where[-1], assignment.name, depth < len(item.parts))
        claim = Claim(
            "", name="" if text in assignment.course.names() else text, ends=text if depth < len(item.parts) else ""
        )
        units.setdefault(where, _Unit("/".join(map(shown, where)), [claim], [])).files.append(item)
    return list(units.values())


def _quietly(item: Item) -> bytes:
    try:
        return item.read(2**24)
    except Refused:
        return b""


def _plain_places(assignment: Assignment, found: list[Item], roster: Roster) -> Iterable[tuple[Item, int]]:
    """Each file, and how many parts of its path lead to what is called after its student."""
    wrappers = _wrappers(assignment.course, found) if not roster else 0
    for item in found:
        depths = range(1, len(item.parts) + 1)
        named = (d for d in depths if _somebody(_bare(item.parts[d - 1], assignment.name, d < len(item.parts)), roster))
        yield item, next(named, min(1 + wrappers, len(item.parts)))


def _somebody(text: str, roster: Roster) -> bool:
    return bool(roster.called(text) or roster.named(text) or roster.at_the_end_of(text, "-"))


def _wrappers(course: Course, found: list[Item]) -> int:
    """How many folders are around all, and called after nobody: each holds several folders with notebooks in them."""
    depth = 0
    while True:
        inside = [i for i in found if len(i.parts) > depth + 1]
        if len(inside) != len(found) or len({i.parts[depth] for i in inside}) != 1:
            return depth
        deeper = {i.parts[depth + 1] for i in inside if len(i.parts) > depth + 2 and is_notebook(Path(i.name))}
        if len(deeper - set(course.names())) < 2:
            return depth
        depth += 1


def _bare(part: str, name: str, folder: bool) -> str:
    """What is left of a file's or a folder's name without its ending and the assignment's name."""
    stem = re.sub(r"\.zip$" if folder else r"\.(zip|ipynb)$", "", part, flags=re.IGNORECASE)
    return re.sub(rf"[_ -]{re.escape(name)}$|^{re.escape(name)}[_ -]", "", ATTEMPT.sub("", stem) or stem).strip()


# --- whose it is ------------------------------------------------------------------------------------------------------


def _whose(claim: Claim, roster: Roster) -> str:
    """The student of a claim.

    Raises:
        Refused: nobody or several people fit.
    """
    if roster:
        return _on_roster(claim, roster).student
    who = claim.who or (claim.ends.rpartition("_")[2] if claim.system else "")
    if not who:
        raise Refused(UNSIGNED)
    student = _folder(composed(in_order(who)))
    if is_account(student):
        raise Refused(f"{shown(student)!r} is an account of many machines or a file's name, and nobody's: rename it")
    return student


def _on_roster(claim: Claim, roster: Roster) -> Person:
    for people in (
        roster.called(claim.key) if claim.key else [],
        roster.at_the_end_of(claim.ends) if claim.ends and claim.system else [],
        roster.called(claim.name) if claim.name else [],
        roster.named(claim.name) if claim.name else [],
        roster.at_the_end_of(claim.ends, "-") if claim.ends else [],  # a repository: ASSIGNMENT-LOGIN
    ):
        if len(people) == 1:
            return people[0]
        if people:
            names = ", ".join(f"{p.name or p.student} ({p.student})" for p in people)
            raise Refused(f"{len(people)} people on the roster fit: {shown(names)}")
    who = claim.name or claim.key or (claim.ends if claim.system else "")
    if not who:
        raise Refused(UNSIGNED)
    raise Refused(f"{shown(who)!r} is not on the roster {roster.path}")


def _folder(name: str) -> str:
    """The student's folder in `submitted/`."""
    student = student_name(name)
    if student != Path(student).name or "\\" in student or len(os.fsencode(student)) > 200:
        raise Refused(f"{shown(name)!r} cannot be a student's name")
    if re.sub(r'[,"*?\[\]]', "_", name).strip() != student:
        raise Refused(f"{shown(name)!r} cannot be a student's name: it holds, or begins with, a sign that none has")
    return student


def _told_apart(course: Course, found: list[_HandIn], roster: Roster) -> tuple[list[_HandIn], list[Arrival]]:
    """Those whose student is beyond doubt, and a sentence for each of the others."""
    spellings, numbers = defaultdict(set), defaultdict(set)
    room = course.root / "submitted"
    there = {e.name for e in os.scandir(room) if e.is_dir()} if room.is_dir() else set()
    for student in {composed(n) for n in there} | {h.student for h in found}:
        spellings[folded(student)].add(student)
    for hand_in in found:
        if hand_in.claim.key and not roster:
            numbers[hand_in.student].add(hand_in.claim.key)
    clear, left = [], []
    for hand_in in found:
        alike = spellings[folded(hand_in.student)] - {hand_in.student}
        if len(numbers[hand_in.student]) > 1:
            which = ", ".join(sorted(numbers[hand_in.student]))
            why = f"two people are called {hand_in.student} (numbers {which}): say who is who in a roster"
        elif alike and not (roster and hand_in.student in {p.student for p in roster.people}):
            why = (
                f"{hand_in.student} and {', '.join(sorted(alike))} differ in capitals alone: say who is who in a roster"
            )
        else:
            clear.append(hand_in)
            continue
        left.append(Arrival(hand_in.file, f"left where it is: {why}", left=True))
    return clear, left


# --- reading ----------------------------------------------------------------------------------------------------------


def _hand_ins(assignment: Assignment, unit: _Unit, roster: Roster, limits: Limits) -> list[_HandIn]:
    """The hand-in of a unit; of a group's one for each of its people."""
    for item in unit.files:
        if item.why:
            raise Refused(item.why)
    kept = [item for item in unit.files if not item.name.startswith("._")]
    chosen = _notebook(assignment, unit, kept, roster, limits)
    notebook = chosen.read(limits.notebook_bytes)
    receipts = [i for i in kept if i.name == RECEIPT]
    receipt = _receipt(receipts[0].read(10_000) if receipts else None, notebook)
    if receipt.says.get("assignment", assignment.name) != assignment.name:
        raise Refused(f"it is for {shown(str(receipt.says['assignment']))}, by its receipt")
    others = [shown("/".join(i.parts[-2:])) for i in kept if i is not chosen and i not in receipts[:1]]
    hand_ins = []
    for claim in unit.claims:
        try:
            student = _whose(claim, roster)
        except Refused as reason:
            name = receipt.says.get("name")
            advice = f"; its receipt says {shown(str(name))!r}" if name else ""
            raise Refused(f"{reason}{advice}") from None
        time = claim.time or chosen.time
        notes = list(_remarks(unit, receipt, student, time, claim))
        if others:
            notes.append(f"Not taken with it: {', '.join(others[:5])}{' …' if len(others) > 5 else ''}.")
        its_receipt = receipt.data if receipt.fits else None
        hand_ins.append(_HandIn(unit.label, student, claim, notebook, time, its_receipt, tuple(notes)))
    return hand_ins


def _remarks(unit: _Unit, receipt: _Receipt, student: str, time: datetime, claim: Claim) -> Iterable[str]:
    """What a receipt, which any student can write, says other than the download does."""
    if claim.late:
        yield f"{claim.system} marks it as late."
    says = receipt.says
    if receipt.data is None:
        if unit.label.lower().endswith(".zip"):
            yield "It has no receipt."
        return
    if not receipt.fits:
        yield "Its receipt is of another notebook: it was changed after it was packed."
    if "name" in says and folded(str(says["name"])) not in (folded(student), folded(claim.name)):
        yield f"Its receipt says {shown(str(says['name']))!r}; whose it is was decided by the download."
    if receipt.fits and (packed := _time(str(says.get("time")))) and abs(packed - time) > DOUBT:
        yield f"Its receipt says {packed:%Y-%m-%d %H:%M} UTC, by the student's clock; {time:%Y-%m-%d %H:%M} UTC counts."


def _notebook(assignment: Assignment, unit: _Unit, files: list[Item], roster: Roster, limits: Limits) -> Item:
    """The notebook to take: the only one, the only one that is called after the assignment, or that has answers."""
    found = [i for i in files if is_notebook(Path(i.name))]
    stems = {i.parts: _stem(unit, i) for i in found}
    others = [n for n in assignment.course.names() if n != assignment.name]
    for item in found:
        other = next((n for n in others if re.search(rf"(^|[_ -]){n}$", stems[item.parts])), None)
        if other and len(found) == 1:
            raise Refused(f"it is for {other}, by its name")
    if not found:
        if len(unit.files) == 1 and unit.claims[0].system:
            raise _Beside(_whose(unit.claims[0], roster))
        if len(files) == 1 and len(files[0].parts) == 1:
            raise Refused("it is neither a zip nor a notebook")
        names = ", ".join(shown(i.name) for i in files[:5])
        raise Refused(f"it holds no notebook; it must hold one ({names or 'nothing'} is there)")
    called = [i for i in found if stems[i.parts] == assignment.name]
    for some in (found, called):
        if len(some) == 1:
            return some[0]
    written = [i for i in called or found if _answered(i, assignment, limits)]
    if len(written) == 1:
        return written[0]
    names = ", ".join(shown(i.name) for i in found[:5])
    raise Refused(f"it holds {len(found)} notebooks ({names}); it must hold one")


def _stem(unit: _Unit, item: Item) -> str:
    """What the student had called the notebook, without what a system put behind it."""
    file = next((c.file for c in unit.claims if c.file and item.name.endswith(c.file)), item.name)
    return ATTEMPT.sub("", file[: file.lower().rindex(".ipynb")])


def _answered(item: Item, assignment: Assignment, limits: Limits) -> bool:
    """Whether a notebook holds a cell that the released one does not."""
    try:
        cells = json.loads(item.read(limits.notebook_bytes))["cells"]
        sources = {"".join(cell["source"]).strip() for cell in cells}
    except (Refused, ValueError, KeyError, TypeError, RecursionError):
        return False
    return not sources <= {cell.source.strip() for cell in read(assignment.released).cells} | {""}


def _receipt(data: bytes | None, notebook: bytes) -> _Receipt:
    try:
        says = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        says = {}
    says = says if isinstance(says, dict) else {}
    return _Receipt(data, says, says.get("sha256") == hashlib.sha256(notebook).hexdigest())


def _time(text: str) -> datetime | None:
    """A time in UTC, if the text is one; one without a zone is UTC's."""
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# --- writing ----------------------------------------------------------------------------------------------------------


def _put(assignment: Assignment, hand_in: _HandIn) -> str:
    """Write a hand-in to its place; what was done."""
    folder = assignment.submitted(hand_in.student)
    for place in (folder.parent, folder):
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise Refused(f"{place.relative_to(assignment.root)} is there already, and is no folder")
    path = folder / f"{assignment.name}.ipynb"
    if path.is_symlink():
        raise Refused(f"{path.relative_to(assignment.root)} is there already, and is a link")
    said = f"taken for {hand_in.student}."
    if path.exists():
        before = path.read_bytes()
        if before == hand_in.notebook:
            return f"was there already, for {hand_in.student}."
        there = _time_of(folder, path)
        if there > hand_in.time:
            raise Refused(f"submitted/{hand_in.student} holds a newer one, of {there:%Y-%m-%d %H:%M:%S} UTC")
        kept = assignment.private / KEPT / hand_in.student / f"{there:%Y-%m-%d %H-%M-%S-%f}.ipynb"
        write(kept, before, 0o600)
        said = f"taken for {hand_in.student}; the earlier one is kept as {kept.relative_to(assignment.root)}."
    write(path, hand_in.notebook)
    write(folder / TIMESTAMP, f"{hand_in.time:{STAMP}} UTC\n")  # nbgrader reads it
    if hand_in.receipt is not None:
        write(folder / RECEIPT, hand_in.receipt)
    else:
        (folder / RECEIPT).unlink(missing_ok=True)
    return said


def _time_of(folder: Path, path: Path) -> datetime:
    try:
        text = (folder / TIMESTAMP).read_text()[:200].strip().removesuffix(" UTC")
    except (OSError, UnicodeDecodeError):
        text = ""
    return _time(text) or datetime.fromtimestamp(path.stat().st_mtime, UTC)
