"""Who is in the class: `roster.csv`, or what a learning system exports. Identity is exact; nothing is guessed."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from autograder.course import Course
from autograder.intake.submissions import student_name
from autograder.table import Table, read_table
from course_utils.names import composed, folded
from course_utils.paths import CourseError

FILE = "roster.csv"  # in the course's folder
LOGINS = ("login", "username", "user name", "sis login id", "net id", "netid", "github_username", "github")
IDS = ("id", "sis user id", "student id", "student_id", "id number", "sid", "orgdefinedid", "identifier", "lms_user_id")
EMAILS = ("email", "email address", "e-mail")
NAMES = ("name", "full name", "student name", "student")
FIRST = ("first name", "first_name", "given name")
LAST = ("last name", "last_name", "surname", "family name")


@dataclass(frozen=True)
class Person:
    """One row of a roster.

    Attributes:
        student: the folder in `submitted/`, and the name in the gradebook.
        name: as people say it, "Daniel Okafor"; "" if the roster does not say.
        keys: numbers, logins, addresses, folded: each of them is this person's alone.
    """

    student: str
    name: str
    keys: frozenset[str]

    @property
    def spellings(self) -> set[str]:
        """What systems make of the name: in both orders, also without spaces and signs."""
        words = self.name.split()
        orders = {self.name, f"{words[-1]} {' '.join(words[:-1])}", f"{words[-1]}, {' '.join(words[:-1])}"}
        return {folded(o) for o in orders} | {squeezed(o) for o in orders} if words else set()


def squeezed(name: str) -> str:
    """A name as Canvas writes it into file names: small letters and digits alone."""
    return re.sub(r"[\W_]", "", folded(name))


@dataclass
class Roster:
    """All people of a class; an empty roster knows nobody, and says so of nobody."""

    people: list[Person] = field(default_factory=list)
    path: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.people)

    def called(self, key: str) -> list[Person]:
        """Whose number, login, address or folder this is, exactly."""
        return [p for p in self.people if folded(key) in p.keys]

    def named(self, name: str) -> list[Person]:
        """Whose name this may be."""
        wanted = {folded(name)} | ({squeezed(name)} if " " not in composed(name) else set())
        return [p for p in self.people if wanted & p.spellings]

    def at_the_end_of(self, text: str, separators: str = "-_") -> list[Person]:
        """Whose login (or number) a text ends in, after a separator."""
        ends = {folded(text[i + 1 :]) for i, letter in enumerate(text) if letter in separators}
        return [p for p in self.people if p.keys & ends]


def load_roster(course: Course, path: Path | None = None) -> Roster:
    """Read a roster; without one an empty one.

    Args:
        path: a roster, or an export of Canvas, Moodle, Gradescope, Blackboard, GitHub Classroom; None is the course's.

    Raises:
        CourseError: it is missing or no roster, or two people in it cannot be told apart.
    """
    if path is None and not (path := course.root / FILE).is_file():
        return Roster()
    if not path.is_file():
        raise CourseError(f"there is no roster {path}")
    return Roster(people_of(read_table(path)), path)


def people_of(table: Table) -> list[Person]:
    """The people of a table with columns such as `login`, `id`, `name`, `email`.

    Raises:
        CourseError: it has no such column, or two rows have the same login and number.
    """
    columns = {what: table.column(*titles) for what, titles in (("first", FIRST), ("last", LAST))}
    keyed = [table.column(title) for title in (*LOGINS, *IDS, *EMAILS)]
    keyed = [place for place in keyed if place is not None]
    name = table.column(*NAMES)
    if not keyed and name is None and columns["last"] is None:
        raise CourseError(f"{table.path} is no roster: it needs a column such as login, id or name")
    found = []
    for row in table.rows:
        first, last = (row[c].strip() if c is not None else "" for c in (columns["first"], columns["last"]))
        said = " ".join(filter(None, [first, last])) or (in_order(row[name]) if name is not None else "")
        values = [_key(row[place]) for place in keyed if row[place].strip()]
        if said == "Points Possible" or not (values or said.strip()):
            continue
        found.append((composed(said), values))
    return _told_apart(found, table.path)


def _told_apart(found: list[tuple[str, list[str]]], path: Path) -> list[Person]:
    """Each person with the first key that is theirs alone; what several addresses begin with is nobody's key."""
    found = list({(name, *(values or [i])): (name, values) for i, (name, values) in enumerate(found)}.values())
    twice = [value for value, n in Counter(folded(v) for _, values in found for v in set(values)).items() if n > 1]
    if twice:
        raise CourseError(f"{path} gives two people one login or number: {', '.join(twice[:5])}")
    shared = Counter(key for _, values in found for key in {folded(k) for v in values for k in _forms(v)})
    names, people = Counter(folded(name) for name, _ in found), []
    for name, values in found:
        own = [k for v in values for k in _forms(v) if shared[folded(k)] == 1]
        if not own and (not name or names[folded(name)] > 1):
            raise CourseError(f"{path} has two people that nothing tells apart: {name or ', '.join(values)}")
        student = student_name(own[0] if own else name)
        people.append(Person(student, name, frozenset(map(folded, [*own, student]))))
    return people


def _forms(key: str) -> Iterable[str]:
    """A key, and of an address also what stands before the @, first."""
    return dict.fromkeys([key.partition("@")[0], key]) if "@" in key else [key]


def _key(value: str) -> str:
    found = re.fullmatch(r"\s*(?:Participant\s+)?(.*?)\s*", value)  # as Moodle's worksheet writes its numbers
    return composed(found[1]) if found else value


def in_order(name: str) -> str:
    """A name as people say it: "Okafor, Daniel" is Daniel Okafor."""
    last, comma, first = name.partition(",")
    return composed(f"{first} {last}" if comma else name)
