"""The cases of an exercise, as plain data, and the file that they lie in."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_utils import plain
from course_utils.checking.promises import Promise
from course_utils.plain import Answer, pack, unpack

CASES_FILE = "cases.safetensors"


@dataclass
class Mistake:
    """A known wrong function: its name, the hint that a student reads, and its answers to the cases."""

    name: str
    hint: str
    answers: list[Answer]


@dataclass
class ExerciseCases:
    """All that is needed to judge one exercise, as plain data.

    Attributes:
        inputs: for each case the tuple of arguments that the function is called with; for a class `(Module(…),)`.
        truths: for each case what `accuracy` compares with (never sent to the function), else None.
        expected: for each case the reference's answer.
        compare: how answers are compared, e.g. `{"kind": "close", "rtol": 1e-4, "atol": 1e-6}`.
        banned: dotted names that may not be called during the check.
        promises: what has to hold beside the values.
        seen: places of the cases that students have, too: they earn nothing, and cost something if they do not hold.
        seconds: of processor time that one call may take; None is no limit.
        notes: for each case what it tries, in a few words that tell no value of it; "" for the ordinary ones.
        names: of the arguments, in their order; none where nobody knows them.
    """

    name: str
    points: float
    compare: dict[str, Any]
    inputs: list[tuple]
    truths: list[Any]
    banned: list[str] = field(default_factory=list)
    expected: list[Answer] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    seconds: float | None = None
    notes: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def note(self, i: int) -> str:
        """What case i tries; "" for an ordinary one."""
        return self.notes[i] if i < len(self.notes) else ""

    @property
    def asks(self) -> list[Any]:
        """All that the function is asked: the cases, then what is asked for the promises."""
        return self.inputs + [self._asked(ask) for promise in self.promises for ask in promise.asks]

    def _asked(self, ask: tuple | dict[str, Any]) -> tuple | dict[str, Any]:
        match ask:
            case {"arguments": int(case)}:
                return ask | {"arguments": self.inputs[case]}
            case {"arguments": list(cases)}:
                return ask | {"arguments": [self.inputs[case] for case in cases]}
        return ask


def save_cases(exercises: dict[str, ExerciseCases]) -> bytes:
    parts = ("mistakes", "promises")
    return pack([vars(e) | {part: [vars(p) for p in getattr(e, part)] for part in parts} for e in exercises.values()])


def load_cases(path: Path) -> dict[str, ExerciseCases]:
    """The exercises in a file of cases, by name.

    Raises:
        FileNotFoundError, ValueError: the file is missing or damaged.
    """
    return _exercises(plain.load(path))


def cases_from(data: bytes) -> dict[str, ExerciseCases]:
    """What `save_cases` was given, from what it gave."""
    return _exercises(unpack(data))


def hints(path: Path) -> dict[tuple[str, str], str]:
    """(exercise, mistake) -> hint, of a file of cases; without its tensors.

    Raises:
        FileNotFoundError, ValueError: the file is missing or damaged.
    """
    found = _exercises(plain.outline(path.read_bytes()))
    return {(e.name, m.name): m.hint for e in found.values() for m in e.mistakes}


def _exercises(found: list[dict[str, Any]]) -> dict[str, ExerciseCases]:
    exercises = [ExerciseCases(**e) for e in found]
    for e in exercises:
        e.mistakes = [Mistake(**m) for m in e.mistakes]
        e.promises = [Promise(**p) for p in e.promises]
    return {e.name: e for e in exercises}
