"""What an instructor writes for an exercise, in `solutions/aN_topic/mistakes.py`: cases, comparison, points, mistakes.

count = Exercise("count", points=2, compare=exact())

@count.cases
def _(g):
    yield torch.tensor([0, 1, 0]), 2

@count.mistake("rows are the *previous* symbol; yours are the next one")
def transposed(codes, size): ...

Where students write a class, a case is a `Module`: what it is built with, its weights, its inputs.

What a statement promises beside values is one field, `Exercise(…, promises=Promises(gradients=(0, 1)))`; that arguments
stay as they were, that the generator is followed, that nothing hangs on earlier calls, and that it runs on a GPU hold
without a word.
"""

import hashlib
import hmac
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

from course_utils import readers
from course_utils.check import answer
from course_utils.checking.cases import ExerciseCases, Mistake
from course_utils.checking.promises import AGAIN, ARGUMENTS, DEVICE, DTYPE, GENERATOR, GRADIENTS, NEXT, Promise, broken
from course_utils.compare import difference
from course_utils.plain import Answer, Module, Recipe, Seed, pack, replaced

__all__ = [
    "Case",
    "Exercise",
    "Module",
    "Promises",
    "Recipe",
    "Seed",
    "accuracy",
    "close",
    "complete",
    "distribution",
    "exact",
    "load_exercises",
]


VISIBLE_SEED = 0  # what students get is drawn with it
WORDS, STATE = 624, 24  # of torch's Mersenne Twister: its words, 8 bytes each, and where in the state they begin
SLOW = 3  # times as long as the statement says a call may take: not every machine is the author's


def close(rtol: float = 1e-4, atol: float = 1e-6) -> dict[str, Any]:
    """Equal numbers up to a relative and an absolute tolerance; also inside lists, tuples and dicts.

    Integers and text exactly.
    """
    return {"kind": "close", "rtol": rtol, "atol": atol}


def exact() -> dict[str, Any]:
    """Equal to the last bit."""
    return {"kind": "exact"}


def distribution(of: str = "values", alpha: float = 1e-6) -> dict[str, Any]:
    """The draws follow the same law as the reference's (two-sample chi-square; a right answer fails once in 1/alpha).

    Args:
        of: "values": every entry of an integer tensor is a draw of its own; "pairs": in (n, T) chains, the step from
            one symbol to the next is, and each row is drawn independently of the one above.
    """
    if of not in ("values", "pairs"):
        raise ValueError(f'distribution is of "values" or of "pairs", got {of!r}')
    return {"kind": "distribution", "of": of, "alpha": alpha}


def accuracy(threshold: float, reader: str | None = None) -> dict[str, Any]:
    """At least this share of the labels is that of the case's `truth`.

    Args:
        reader: the answer is a network that was trained, not labels: this one of `readers.READERS` has it label what
            the student's function never saw, and `truth` is a dict of what that takes, the true "labels" among it.

    Raises:
        ValueError: there is no such reader.
    """
    if reader not in (None, *readers.READERS):
        raise ValueError(f"reader must be one of {', '.join(readers.READERS)}, got {reader!r}")
    return {"kind": "accuracy", "threshold": threshold} | ({} if reader is None else {"reader": reader})


@dataclass
class Case:
    """A case with more than its arguments.

    Attributes:
        truth: what `accuracy` compares with, which the student's function never sees.
        note: what the case tries, in a few words. A student reads it where the case fails, hidden ones included: it
            names what is special, and no number of the case.
    """

    arguments: tuple
    truth: Any = None
    note: str = ""


@dataclass(frozen=True)
class Promises:
    """What holds beside the values. A promise that is broken costs as much as a case.

    Attributes:
        arguments: they are after the call what they were before.
        generator: where a case has one, all randomness comes from it; where none has, there is none.
        gradients: places of the arguments that gradients must reach; with any, a module's parameters, too.
        finite: whether these gradients are finite in the other cases, too.
        dtype: tensors of the answer have the reference's dtype, not only its kind.
        device: True where it must run with its tensors on a GPU; "warns" if that is said and costs nothing.
        case: the number of the case that calls more than once are made for, from 0; by default the last.
    """

    arguments: bool = True
    generator: bool = True
    gradients: tuple[int, ...] = ()
    finite: bool = True
    dtype: bool = False
    device: bool | str = True
    case: int = -1

    def of(self, inputs: list[tuple], slow: bool = False) -> list[Promise]:
        """What is asked for them, given the cases.

        Args:
            slow: whether a call takes its time: it is not asked twice, and on another device about one case alone.
        """
        case = self.case % len(inputs)
        arguments = inputs[case]
        found = [Promise(ARGUMENTS)] if self.arguments else []
        found += [Promise(DTYPE)] if self.dtype else []
        if self.generator and (another := _reseeded(arguments)) != arguments:
            after = [] if slow else [{"how": NEXT, "arguments": case}]
            found.append(Promise(GENERATOR, case, [arguments, another, *after]))
        elif self.generator and not slow:
            found.append(Promise(AGAIN, case, [{"how": AGAIN, "arguments": case}]))
        if self.gradients:
            places = [case, *(i for i in range(len(inputs)) if self.finite and i != case)]
            asks = [{"how": GRADIENTS, "arguments": i, "of": list(self.gradients)} for i in places]
            found.append(Promise(GRADIENTS, case, asks))
        if self.device and _has_tensors(arguments):
            ask = {"how": DEVICE, "arguments": [case] if slow else list(range(len(inputs)))}
            found.append(Promise(DEVICE, case, [ask], warns=self.device == "warns"))
        return found


def _reseeded(arguments: tuple) -> tuple:
    return replaced(arguments, lambda value: Seed(value.n + 1) if isinstance(value, Seed) else value)


def _has_tensors(value: Any) -> bool:
    found = []
    replaced(value, lambda leaf: found.append(leaf) if isinstance(leaf, torch.Tensor) else None)
    return bool(found)


class Exercise:
    """One exercise: see the module's text for how it is written.

    Args:
        name: of the function or class that the student writes.
        points: that all cases together are worth.
        compare: `close()`, `exact()`, `distribution()` or `accuracy()`.
        banned: dotted names of library functions and classes that may not be called during the check.
        promises: what holds beside the values.
        seconds: of processor time within which, by the statement, one call answers.
    """

    def __init__(
        self,
        name: str,
        points: float,
        compare: dict[str, Any],
        banned: list[str] = (),
        promises: Promises = Promises(),
        seconds: float | None = None,
    ):
        self.name, self.points, self.compare, self.banned = name, points, compare, list(banned)
        self.promises, self.seconds = promises, seconds
        self.draw: Callable[[torch.Generator], Iterator] | None = None
        self.mistakes: dict[str, tuple[str, Callable]] = {}
        self.breaking: dict[str, list[Callable]] = {}
        self.equivalents: dict[str, str] = {}
        self.known_survivors: dict[str, str] = {}

    def cases(self, draw: Callable[[torch.Generator], Iterator]) -> Callable:
        """Decorator: the function yields each case's arguments as a tuple (or a `Case`; for a class a `Module`).

        What is random comes from its generator.
        """
        self.draw = draw
        return draw

    def mistake(self, hint: str) -> Callable[[Callable], Callable]:
        """Decorator: a wrong function or class, named after itself, and what to tell the student who made it."""

        def register(function: Callable) -> Callable:
            self.mistakes[function.__name__] = (hint, function)
            return function

        return register

    def also(self, name: str) -> Callable[[Callable], Callable]:
        """Decorator: another function that makes the mistake called `name`, with other numbers in some cases."""
        return self.mistake(self.mistakes[name][0])

    def breaks(self, sentence: str) -> Callable[[Callable], Callable]:
        """Decorator: a wrong function or class that breaks this sentence of the statement, and has to lose by it.

        Below `@exercise.mistake` for one that students make; alone for one whose message needs no hint.
        """

        def register(function: Callable) -> Callable:
            self.breaking.setdefault(sentence, []).append(function)
            return function

        return register

    def equivalent(self, why: str, *changes: str) -> None:
        """Small changes of the solution that make no difference to anybody, and why: they need not be caught.

        Args:
            changes: each as `course release NAME --mutants` prints it, or a part of it: `clamp(min=[-1-]{+0+})`.
        """
        self.equivalents |= dict.fromkeys(changes, why)

    def uncaught(self, why: str, *changes: str) -> None:
        """Small changes of the solution that do make a difference, and why no case is there to catch them.

        Args:
            changes: as those of `equivalent`; unlike these they count as survivors.
        """
        self.known_survivors |= dict.fromkeys(changes, why)

    def build(self, seed: int | bytes) -> ExerciseCases:
        """The cases drawn with a seed, with the mistakes' answers; the reference's are added by `complete`."""
        return self.add_mistakes(self.drawn(seed))

    def drawn(self, seed: int | bytes) -> ExerciseCases:
        """The cases drawn with a seed, without any answers.

        Args:
            seed: a number; or a key, of which each exercise makes a stream of its own.
        """
        if self.draw is None:
            raise ValueError(f"exercise {self.name} has no cases: write a function under @{self.name}.cases")
        if isinstance(seed, bytes):
            g = keyed_generator(hmac.digest(seed, self.name.encode(), "sha256"))
        else:
            g = torch.Generator().manual_seed(seed)
        drawn = [c if isinstance(c, Case) else Case(c if isinstance(c, tuple) else (c,)) for c in self.draw(g)]
        inputs = [case.arguments for case in drawn]
        return ExerciseCases(
            self.name,
            self.points,
            self.compare,
            inputs,
            [case.truth for case in drawn],
            self.banned,
            promises=self.promises.of(inputs, self.slow),
            seconds=self.seconds and SLOW * self.seconds,
            notes=[case.note for case in drawn],
            names=self._arguments(),
        )

    def _arguments(self) -> list[str]:
        """What the arguments are called, as the mistakes have them: they are written like the student's answer."""
        for _, function in self.mistakes.values():
            if isinstance(function, type):
                return list(inspect.signature(function.forward).parameters)[1:]
            return list(inspect.signature(function).parameters)
        return []

    @property
    def slow(self) -> bool:
        """Whether an answer may take its time: by its statement, or since something is trained for it."""
        return self.seconds is not None or self.compare["kind"] == "accuracy"

    def known(self, seeds: Iterable[int | bytes] = ()) -> set[bytes]:
        """What students may have seen: the inputs of the visible cases, and of those drawn with these seeds."""
        return {pack(inputs) for seed in (VISIBLE_SEED, *seeds) for inputs in self.drawn(seed).inputs}

    def seen(self, cases: ExerciseCases, known: set[bytes] | None = None) -> list[int]:
        """Places of the cases that are `known` (by default: visible); none where all of them are."""
        known = self.known() if known is None else known
        found = [place for place, inputs in enumerate(cases.inputs) if pack(inputs) in known]
        return found if len(found) < len(cases.inputs) else []

    def add_mistakes(self, cases: ExerciseCases) -> ExerciseCases:
        """Have all mistakes answer the cases."""
        cases.mistakes = [
            Mistake(name, hint, [_small(cases, answer(f, i), t) for i, t in zip(cases.inputs, cases.truths)])
            for name, (hint, f) in self.mistakes.items()
        ]
        return cases


def keyed_generator(key: bytes) -> torch.Generator:
    """A generator whose whole state hangs on a key: `manual_seed` would use 32 bits of it, which can be tried out."""
    g = torch.Generator()
    words = numpy.frombuffer(hashlib.shake_256(key).digest(4 * WORDS), dtype="<u4").astype("<u8")
    state = g.manual_seed(0).get_state()
    state[STATE : STATE + 8 * WORDS] = torch.from_numpy(words.view(numpy.uint8))
    return g.set_state(state)


def complete(exercise: ExerciseCases, expected: list[Answer]) -> ExerciseCases:
    """Add the reference's answers, and refuse cases that could not do their work.

    Args:
        expected: to all that `exercise.asks`.

    Raises:
        ValueError: the reference fails its own cases, or a mistake passes them all; the message says what to change.
    """
    expected, own = expected[: len(exercise.inputs)], expected[len(exercise.inputs) :]
    exercise.expected = [_small(exercise, a, t) for a, t in zip(expected, exercise.truths)]
    for promise in exercise.promises:
        promise.expected, own = own[: len(promise.asks)], own[len(promise.asks) :]
        if len(promise.expected) < len(promise.asks):
            raise ValueError(f"{exercise.name}: the solution gave no answer to what is asked for its promises")
        if said := broken(promise, expected, expected, promise.expected)[0]:
            raise ValueError(f"{exercise.name}: the solution breaks a promise: {said}")
    for number, (reply, truth) in enumerate(zip(expected, exercise.truths, strict=True), start=1):
        if (
            reply.get("error", "ValueError") != "ValueError"
        ):  # a case may ask that bad input is refused, with a ValueError
            raise ValueError(
                f"{exercise.name}: the solution raises {reply['error']} in case {number}: {reply['message']}"
            )
        if wrong := difference(exercise.compare, reply, reply, truth, show=True):
            raise ValueError(f"{exercise.name}: the solution fails case {number}: {wrong}")
    for m in exercise.mistakes:
        if all(
            difference(exercise.compare, a, e, t) is None
            for a, e, t in zip(m.answers, exercise.expected, exercise.truths)
        ):
            raise ValueError(f"{exercise.name}: the mistake {m.name} passes every case: add a case that tells it apart")
    return exercise


def _small(exercise: ExerciseCases, reply: dict[str, Any], truth: Any) -> dict[str, Any]:
    """What a file of cases keeps of an answer: of a trained network the labels that are read from it.

    Draws take one byte each where they can: only their distribution is looked at.
    """
    value = reply.get("value")
    if "reader" in exercise.compare and isinstance(value, dict):
        reader = exercise.compare["reader"]
        if readers.misfit(reader, value, truth):
            return reply
        told = {"value": readers.read(reader, value, truth), "symptom": readers.symptom(reader, value, truth)}
        return told | {"read": True}
    if (
        exercise.compare["kind"] == "distribution"
        and isinstance(value, torch.Tensor)
        and value.numel()
        and 0 <= value.min()
        and value.max() < 256
    ):
        return {"value": value.to(torch.uint8)}
    return reply


def load_exercises(folder: Path) -> dict[str, Exercise]:
    """The exercises that stand in a solution folder's `mistakes.py`, by name, in the order in which they are written.

    Raises:
        FileNotFoundError: there is no `mistakes.py` (an assignment of plain assert cells has none).
    """
    path = Path(folder) / "mistakes.py"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: exercises and their known mistakes stand there")
    spec = importlib.util.spec_from_file_location(f"mistakes_of_{path.parent.name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # so that `inspect` finds the source of its classes
    spec.loader.exec_module(module)
    return {e.name: e for e in vars(module).values() if isinstance(e, Exercise)}
