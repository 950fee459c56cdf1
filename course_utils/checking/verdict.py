"""The verdict on a student's answers: how many cases hold, what is wrong, and which known mistake it is."""

from dataclasses import dataclass, field
from typing import Any

from course_utils.checking import promises
from course_utils.checking.cases import ExerciseCases
from course_utils.plain import Answer, Module, Recipe


@dataclass
class Verdict:
    """What came out for one exercise, safe to show to the student.

    Attributes:
        held: of how many cases the answer was right.
        cases: how many there are, and broken promises; 0 where no verdict could be made, and `wrong` says why.
        mistake: the known mistake that was recognised, and its `hint`.
        case: the number of the first case that does not hold, from 1; 0 where none stands out.
        note: what that case tries, in a few words; "" for an ordinary one.
        wrong: what is wrong with it, in a few words.
        given: the input of that case, where it may be shown.
        missing: what kept further answers from coming.
        broken: in what the promises of the exercise are broken, in a few words each.
    """

    exercise: str
    points: float
    max_points: float
    held: int
    cases: int
    mistake: str | None = None
    hint: str = ""
    case: int = 0
    wrong: str = ""
    given: str = ""
    missing: str = ""
    broken: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def reason(self) -> str:
        """Why points are missing, in a few words; "" where none are."""
        if not self.case:
            return self.wrong
        return f"case {self.case}{f' ({self.note})' if self.note else ''}: {self.wrong}"

    @property
    def message(self) -> str:
        """What the student reads, in a few lines."""
        if not self.cases:
            return f"✘ {self.exercise}: no verdict, 0 of {self.max_points:.3g} points: {self.wrong}"
        lines = [
            f"{'✔' if self.held == self.cases else '✘'} {self.exercise}: {self.held} of {self.cases} cases hold, "
            f"{self.points:.3g} of {self.max_points:.3g} points",
            self.reason,
            self.given and f"its input: {self.given}",
            self.mistake and f"known mistake “{self.mistake}”: {self.hint}",
            self.missing,
            *(text for text in self.broken if text != self.wrong),
        ]
        return "\n  ".join(line for line in lines if line)


def verdict(exercise: ExerciseCases, answers: list[Answer], show: bool) -> Verdict:
    """The verdict on a student's answers, in the order of the cases (missing ones do not hold).

    Args:
        show: whether the message may show inputs and expected values (visible cases) or not (hidden ones).
    """
    from course_utils.checking.likeness import likeness, only_special, smallest
    from course_utils.checking.naming import beside, named
    from course_utils.compare import NOT_ANSWERED, difference  # imports torch: nobody compares in the sandbox

    asks, total = len(exercise.asks), len(exercise.inputs)
    answers = answers + [{"error": "NoAnswer", "message": "no answer came"}] * (asks - len(answers))
    answers, own = answers[:total], answers[total:]
    wrong = [
        difference(exercise.compare, a, e, t, show) for a, e, t in zip(answers, exercise.expected, exercise.truths)
    ]
    counted = [w for i, w in enumerate(wrong) if w or i not in exercise.seen]
    held = sum(w is None for w in counted)
    broken = broken_promises(exercise, answers, own, wrong)
    cases = len(counted) + sum(costs for _, costs in broken)
    result = Verdict(exercise.name, exercise.points * held / cases, exercise.points, held, cases)
    result.broken = [text for text, _ in broken]
    if all(w == NOT_ANSWERED for w in wrong):
        result.wrong = NOT_ANSWERED
    elif any(wrong):
        first = next(i for i, w in enumerate(wrong) if w)
        result.case, result.note, result.wrong = first + 1, exercise.note(first), wrong[first]
        if first in exercise.seen and not show:  # the student has it: what is right is no secret there
            case = answers[first], exercise.expected[first], exercise.truths[first]
            result.wrong = difference(exercise.compare, *case, show="right")
        if show:
            result.given = _short(exercise.inputs[first])
        if mistake := named(exercise, answers, wrong):
            result.mistake, result.hint = mistake.name, mistake.hint
        elif said := [text for text in (likeness(exercise, answers, wrong), only_special(exercise, wrong)) if text]:
            result.wrong += "".join(f"; {text}" for text in said)
        elif mistake := beside(exercise, answers, wrong):
            result.mistake, result.hint = mistake.name, mistake.hint
        elif show and "error" not in answers[first] and (number := smallest(exercise, wrong)):
            result.wrong += f"; case {number} is small: work it out by hand, and print what yours has after each line"
    elif broken:
        result.wrong = broken[0][0]
    return result


def broken_promises(
    exercise: ExerciseCases, answers: list[Answer], own: list[Answer], wrong: list[str | None]
) -> list[tuple[str, bool]]:
    """How promises are broken, and whether each of them costs anything.

    Args:
        answers: to the cases.
        own: to what is asked for the promises; missing ones break none.
        wrong: for each case what is wrong, None where it holds.
    """
    found, own = [], iter(own)
    for promise in exercise.promises:
        asked = [next(own, {"error": "NoAnswer", "message": "no answer came"}) for _ in promise.asks]
        found.append(promises.broken(promise, answers, exercise.expected, asked, wrong))
    return [(text, costs) for text, costs in found if text]


def _short(arguments: tuple) -> str:
    match arguments:
        case (Module() as case,):
            named = case.init.items() if isinstance(case.init, dict) else ((None, value) for value in case.init)
            built = ", ".join(f"{name}={value!r}" if name else repr(value) for name, value in named)
            return f"built with ({built}), called with {_short(case.inputs)}"
    text = ", ".join(map(_shown, arguments))
    return text if len(text) <= 300 else text[:300] + " …"


def _shown(value: Any) -> str:
    """An argument as somebody would write it: numbers with six digits at most, large tensors by their shape.

    What a function of `course_utils.data` returns is its call: who imports the module can run it.
    """
    if hasattr(value, "numel") and value.numel() > 200:
        return f"a tensor of shape {tuple(value.shape)}"
    match value.tolist() if hasattr(value, "tolist") else value:
        case float(number):
            return repr(float(f"{number:.6g}"))
        case list(values):
            return f"[{', '.join(map(_shown, values))}]"
        case tuple((only,)):
            return f"({_shown(only)},)"
        case tuple(values):
            return f"({', '.join(map(_shown, values))})"
        case dict(values):
            return f"{{{', '.join(f'{name!r}: {_shown(v)}' for name, v in values.items())}}}"
        case Recipe(function, arguments, item):
            call = f"{function}({', '.join(f'{name}={_shown(v)}' for name, v in arguments.items())})"
            return call if item is None else f"{call}[{item}]"
        case other:
            return repr(other)
