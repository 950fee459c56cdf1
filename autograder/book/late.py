"""Lateness: due dates, extensions, late days and what they cost, told by `late.toml` and worked out anew in every run.

Without that file the due dates of nbgrader's gradebook hold, and the penalty that `nbgrader_config.py` names.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nbformat import NotebookNode
from nbgrader.api import SubmittedAssignment
from nbgrader.preprocessors import AssignLatePenalties

from autograder.course import Assignment, Course
from autograder.notes import Kind, Note, note
from autograder.stock import opened
from course_utils.paths import CourseError

FILE = "late.toml"  # at the course's root
DEFAULT = "default"  # its section for all assignments
NUMBERS = {"late_days": 0.0, "per_day": 0.0, "most": 1.0, "grace_minutes": 0.0}  # and what holds where they are missing
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Rules:
    """What holds for one assignment.

    Attributes:
        late_days: that each student has, over all assignments, before being late costs anything.
        per_day: share of the points for each further day that has begun; `most` at most.
        due: None where the gradebook's due date holds.
        extensions: student -> days, or another due date.
    """

    late_days: float = 0.0
    per_day: float = 0.0
    most: float = 1.0
    grace_minutes: float = 0.0
    due: datetime | None = None
    extensions: Mapping[str, float | datetime] = field(default_factory=dict)


@dataclass(frozen=True)
class Lateness:
    """How late a student's hand-in is, and what that costs.

    Attributes:
        due: for this student, extension included; `first` without it.
        days: that have begun since then; `free` of them are late days.
        share: of the points that it costs.
    """

    first: datetime
    due: datetime
    handed_in: datetime
    days: int
    free: int
    share: float

    def told(self, penalty: float) -> Note:
        """In words.

        Args:
            penalty: points that it costs.
        """
        if not self.days:
            return note(Kind.EXTENDED, _time(self.first), _time(self.due))
        used = f"{self.free} late day{'s' * (self.free > 1)} used, " if self.free else ""
        cost = f"{penalty:.4g} points less" if penalty else "no points less"
        return note(Kind.LATE, _duration(self.handed_in - self.due), _time(self.due), used + cost)


def of_assignment(assignment: Assignment) -> dict[str, Lateness]:
    """How late each student is who is late, or who needed an extension.

    Raises:
        CourseError: `late.toml` is wrong.
    """
    rules = read_rules(assignment.course)
    with opened(assignment.course) as gradebook:
        if not rules and not gradebook.find_assignment(assignment.name).duedate:
            return {}  # nothing is late
        found = [s for a in gradebook.assignments for s in a.submissions if s.timestamp]
        dues = {a.name: _utc(a.duedate) for a in gradebook.assignments}
        times = {(s.student_id, s.assignment.name): _utc(s.timestamp) for s in found}
    dues = {name: rules.get(name, Rules()).due or due for name, due in dues.items()}
    used: dict[str, int] = {}
    late: dict[str, Lateness] = {}
    for name, first in sorted(((a, d) for a, d in dues.items() if d), key=lambda item: item[1]):
        held = rules.get(name, Rules())
        for student in [s for s, a in times if a == name]:
            due, handed_in = _extended(held, student, first), times[student, name]
            over = handed_in - due - timedelta(minutes=held.grace_minutes)
            days = max(0, math.ceil(over / DAY))
            free = int(min(days, max(0, held.late_days - used.get(student, 0))))
            used[student] = used.get(student, 0) + free
            if name == assignment.name and (days or handed_in > first < due):
                share = min(held.most, held.per_day * (days - free))
                late[student] = Lateness(first, due, handed_in, days, free, share)
    return late


def penalty(course: Course, submission: SubmittedAssignment, late: Lateness | None) -> float:
    """Points that a hand-in loses for being late: by `late.toml`, or else by nbgrader's plugin."""
    if (course.root / FILE).exists():
        return late.share * submission.score if late else 0.0
    if not late or not submission.total_seconds_late:
        return 0.0
    step = AssignLatePenalties(config=course.config())
    step.init_plugin()
    student, seconds = submission.student_id, submission.total_seconds_late
    found = ((n, step.plugin_inst.late_submission_penalty(student, n.score, seconds)) for n in submission.notebooks)
    return sum(step._check_late_penalty(notebook, points or 0.0) for notebook, points in found)


def apply(assignment: Assignment, students: list[str] | None = None) -> None:
    """Write the penalties that hold now into the gradebook, so that nbgrader and its table say the same."""
    late = of_assignment(assignment)
    with opened(assignment.course) as gradebook:
        for submission in gradebook.assignment_submissions(assignment.name):
            if students is None or submission.student_id in students:
                points = penalty(assignment.course, submission, late.get(submission.student_id))
                for number, notebook in enumerate(submission.notebooks):
                    notebook.late_submission_penalty = points if points and number == 0 else None
        gradebook.db.commit()


class Penalties(AssignLatePenalties):
    """nbgrader's step, by the rules of this course."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        course = Course.find(self.parent.parent.coursedir.root)
        names = resources["nbgrader"]
        apply(Assignment(course, names["assignment"]), [names["student"]])
        return nb, resources


# --- the file ---------------------------------------------------------------------------------------------------------


def read_rules(course: Course) -> dict[str, Rules]:
    """The rules of all assignments: what an assignment's own section says, else `[default]`.

    Raises:
        CourseError: the file is wrong; the text says where.
    """
    path = course.root / FILE
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CourseError(f"{path} cannot be read as TOML: {error}") from None
    names = course.names()
    if unknown := set(sections) - {DEFAULT, *names}:
        raise CourseError(f"{path}: there is no assignment for [{min(unknown)}]: there are {', '.join(names)}")
    default = sections.get(DEFAULT, {})
    return {name: _rules(str(path), name, default | sections.get(name, {})) for name in names}


def _rules(path: str, name: str, said: dict[str, Any]) -> Rules:
    zone = said.get("zone")
    try:
        here = ZoneInfo(zone) if zone else None
    except (ZoneInfoNotFoundError, ValueError, TypeError):
        raise CourseError(f"{path}: [{name}] zone = {zone!r} is no time zone, such as Europe/Berlin") from None
    known = [*NUMBERS, "due", "zone", "extensions"]
    if unknown := set(said) - set(known):
        raise CourseError(f"{path}: [{name}] has {min(unknown)!r}: it may have {', '.join(known)}")
    for key in NUMBERS:
        value = said.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise CourseError(f"{path}: [{name}] {key} = {value!r}: it must be a number from 0 on")
    numbers = {key: float(said.get(key, missing)) for key, missing in NUMBERS.items()}
    due = _moment(path, name, "due", said["due"], here) if "due" in said else None
    extensions = {
        student: float(value) if isinstance(value, int | float) else _moment(path, name, student, value, here)
        for student, value in said.get("extensions", {}).items()
    }
    return Rules(**numbers, due=due, extensions=extensions)


def _moment(path: str, name: str, key: str, value: Any, zone: ZoneInfo | None) -> datetime:
    """A time of the file in UTC: a day means its end, and a time without an offset is one of `zone`, else of here."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, 23, 59, 59)
    if not isinstance(value, datetime):
        raise CourseError(f"{path}: [{name}] {key} = {value!r}: write a time, such as 2026-10-20T23:59:00+02:00")
    return (value if value.tzinfo or not zone else value.replace(tzinfo=zone)).astimezone(UTC)


def _extended(rules: Rules, student: str, due: datetime) -> datetime:
    extension = rules.extensions.get(student, 0.0)
    return max(due, extension) if isinstance(extension, datetime) else due + extension * DAY


def _utc(moment: datetime | None) -> datetime | None:
    """A time of nbgrader's gradebook, which is in UTC and does not say so."""
    return moment.replace(tzinfo=UTC) if moment else None


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _duration(length: timedelta) -> str:
    hours, minutes = divmod(int(length.total_seconds()) // 60, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{n} {what}{'s' * (n > 1)}" for n, what in ((days, "day"), (hours, "hour"), (minutes, "minute")) if n]
    return " ".join(parts[:2]) or "less than a minute"
