"""How learning systems name what they let instructors download: one table of patterns."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

METADATA = "submission_metadata.yml"  # Gradescope's


@dataclass(frozen=True)
class Claim:
    """What a name says of whose hand-in it is; "" where it says nothing.

    Attributes:
        key: a number or login of the student's.
        name: the student's name, or what the system makes of it.
        ends: a text that ends in a login.
        number: grows with each attempt.
        time: when it was handed in, if the name says.
        file: what the student had called the file.
    """

    system: str
    key: str = ""
    name: str = ""
    ends: str = ""
    number: int = 0
    time: datetime | None = None
    late: bool = False
    file: str = ""

    @property
    def who(self) -> str:
        """The best that the claim says, where there is no roster."""
        return self.name if self.system in ("Canvas", "Moodle", "Brightspace") else self.key or self.name


PATTERNS = {  # of a file's or a folder's name
    # okafordaniel_LATE_12346_778902_a1_markov_chains-1.ipynb
    "Canvas": r"(?P<name>[^\W_][^_]*)(?P<late>_LATE)?_(?P<key>\d+)_(?P<number>\d+)_(?P<file>.+)",
    # Daniel Okafor_123456_assignsubmission_file_/a1.ipynb, or without folders ..._file_a1.ipynb
    "Moodle": r"(?P<name>.+?)_(?P<key>\d+)_assignsubmission_(?:file|onlinetext)_?(?P<file>.*)",
    # gradebook_2026-CS101_Assignment20Shannon_dokafor_attempt_2026-10-01-12-30-45_a1_markov_chains.ipynb
    "Blackboard": r"(?P<ends>.+)_attempt_(?P<time>\d{4}(?:-\d\d){5})(?:_(?P<file>.+)|\.txt)",
    # assignment_123_export/submission_987654/, with a YAML beside it
    "Gradescope": r"submission_(?P<number>\d+)",
    # 12345-67890 - Daniel Okafor - Oct 1, 2026 1230 PM/
    "Brightspace": r"(?P<key>\d+)-\d+ - (?P<name>.+?) - (?P<file>\w+ \d+, \d{4} .+)",
}
COMPILED = {system: re.compile(pattern) for system, pattern in PATTERNS.items()}
BRANCH = re.compile(r"-(?:main|master)$")  # GitHub's zip of a repository


def claim(part: str, name: str, folder: bool) -> Claim | None:
    """What a part of a path claims by the table; None if it is no learning system's.

    Args:
        name: of the assignment; GitHub Classroom calls repositories ASSIGNMENT-LOGIN.
        folder: whether it is a folder or a zip.
    """
    for system, pattern in COMPILED.items():
        found = pattern.fullmatch(part)
        if found and (system != "Gradescope" or folder):
            return Claim(system, **_typed(found.groupdict()))
    slug = re.escape(name).replace("_", "[-_]")
    if part.endswith("-submissions"):  # around all, as `gh classroom clone` makes it
        return None
    if folder and (found := re.fullmatch(rf"{slug}-(?P<key>[A-Za-z0-9][A-Za-z0-9-]*)", BRANCH.sub("", part), re.I)):
        return Claim("GitHub Classroom", key=found["key"])
    return None


def _typed(found: dict[str, str | None]) -> dict[str, Any]:
    typed: dict[str, Any] = {k: v for k, v in found.items() if v}
    if "late" in typed:
        typed["late"] = True
    if "number" in typed:
        typed["number"] = int(typed["number"])
    if "time" in typed:
        try:
            typed["time"] = datetime.strptime(typed["time"], "%Y-%m-%d-%H-%M-%S").astimezone(UTC)
        except (ValueError, OverflowError, OSError):
            del typed["time"]
    return typed


class _Loader(yaml.SafeLoader):
    """Reads Ruby's symbols as text, and its own classes as what they hold."""


_Loader.add_multi_constructor("!ruby/", lambda loader, suffix, node: loader.construct_mapping(node, deep=True))


def gradescope(data: bytes) -> dict[str, list[Claim]]:
    """Who handed in what, by folder, from Gradescope's YAML; a group has several people. Empty if it is damaged."""
    try:
        found = yaml.load(data, _Loader)
        return {folder: _submitters(said) for folder, said in found.items() if isinstance(said, dict)}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, RecursionError):
        return {}


def _submitters(said: dict[str, Any]) -> list[Claim]:
    time = said.get(":created_at")
    time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC) if isinstance(time, datetime) else None
    claims = []
    for person in said.get(":submitters") or ():
        keys = [str(person.get(k) or "").strip() for k in (":sid", ":email")]
        claims.append(Claim("Gradescope", next(filter(None, keys), ""), str(person.get(":name") or ""), time=time))
    return claims
