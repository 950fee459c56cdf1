"""Runs mutants of a solution outside the sandbox (they are the course's own code), with limits on time and memory."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autograder.temporary import end_with_parent
from course_utils.check import JUDGE_VARIABLE, answer
from course_utils.checking.cases import ExerciseCases
from course_utils.checking.promises import Promise
from course_utils.checking.verdict import broken_promises
from course_utils.compare import difference
from course_utils.paths import CourseError
from course_utils.plain import Answer, cook, pack, unpack

MEMORY = 2 * 2**30  # bytes that a mutant may take beside what its process has anyway


class Worker:
    """A process that runs an exercise's mutants, one after the other; a new one takes its place when it dies.

    Use as a context manager.

    Args:
        setup: code of the cell that brings the names that solutions use.
        wall: seconds on the clock after which a mutant that only waits is given up; one that works is not.
    """

    def __init__(self, setup: str, wall: float = 60.0):
        self.setup, self.wall = setup, wall
        self._process: multiprocessing.Process | None = None
        self._cases: bytes | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def take(self, exercise: ExerciseCases) -> None:
        """From now on it is about this exercise; where `expected` is empty only `answers` may be asked for."""
        self._cases = pack(("cases", vars(exercise) | {"mistakes": [], "promises": list(map(vars, exercise.promises))}))
        if self._process is None:
            self._start()
        elif self._ask(self._cases, wall=600) is None:
            raise CourseError(f"{exercise.name}: the process for its mutants cannot take its cases")

    def answers(self, code: str) -> tuple[list[Answer], float]:
        """What the cell answers to each case, and the processor time that it took.

        Raises:
            CourseError: the cell does not run by itself.
        """
        reply = self._ask(pack(("answers", code, 600.0)), wall=1200)
        if reply is None or "error" in reply:
            why = reply["error"] if reply else "its process died"
            raise CourseError(f"the solution's cell does not run after the set-up cell alone ({why})")
        return reply["answers"], reply["seconds"]

    def caught(self, code: str, seconds: float) -> str | None:
        """Where a mutant's cell differs from the solution, in words; None where all its answers are the same.

        Args:
            seconds: of processor time that it may take.
        """
        if self._process is None:
            self._start()
        reply = self._ask(pack(("differs", code, seconds)), self.wall)
        return "its process died" if reply is None else reply["differs"]

    def _ask(self, question: bytes, wall: float) -> dict | None:
        try:
            self._connection.send_bytes(question)
            then, now = -1.0, self._used()
            while now > then + 0.02:  # it works, however slowly on a busy machine: its own limit ends it
                if self._connection.poll(wall):
                    return unpack(self._connection.recv_bytes())
                then, now = now, self._used()
        except (EOFError, OSError):  # it ended itself
            pass
        self._end()
        return None

    def _used(self) -> float:
        """Seconds of processor time that the process has taken so far."""
        import psutil

        try:
            return sum(psutil.Process(self._process.pid).cpu_times()[:2])
        except psutil.Error:
            return 0.0

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, self.setup), daemon=True)
        self._process.start()
        other.close()
        if self._ask(self._cases, wall=600) is None:
            raise CourseError("the process for mutants does not start: does the set-up cell run by itself?")

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None


class _TooLong(BaseException):
    """Raised into a mutant that has used its time; no `except Exception` of its own stops it."""


def _too_long(*_: object) -> None:
    raise _TooLong


def _work(connection: Any, setup: str) -> None:
    """The worker's side: takes questions until there are no more."""
    end_with_parent()
    sys.stdout = sys.stderr = open(os.devnull, "w")
    os.environ[JUDGE_VARIABLE] = "nobody"  # the set-up cell's Checker then looks for no file of cases
    import torch

    torch.set_num_threads(1)
    names: dict[str, Any] = {"__name__": "notebook"}
    exec(setup, names)
    timed = hasattr(signal, "setitimer")  # processor time: other work on the machine makes no difference
    if timed:
        signal.signal(signal.SIGPROF, _too_long)
    _limit_memory()
    exercise = None
    while True:
        try:
            match unpack(connection.recv_bytes()):
                case "cases", cases:
                    exercise = ExerciseCases(**cases)
                    exercise.inputs = cook(exercise.inputs)
                    exercise.promises = [Promise(**p) for p in exercise.promises]
                    connection.send_bytes(pack({}))
                case question, code, seconds:
                    before = time.process_time()
                    try:
                        if timed:
                            signal.setitimer(signal.ITIMER_PROF, seconds)
                        reply = _reply(question, exercise, code, dict(names))
                        if timed:
                            signal.setitimer(signal.ITIMER_PROF, 0)
                    except _TooLong:
                        reply = {"differs": "it takes too long", "error": "it takes too long"}
                    connection.send_bytes(pack(reply | {"seconds": time.process_time() - before}))
        except EOFError:
            return


def _reply(question: str, exercise: ExerciseCases, code: str, names: dict[str, Any]) -> dict[str, Any]:
    try:
        exec(compile(code, "solution", "exec"), names)
        function = names[exercise.name]
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return {"differs": text, "error": text}
    replies = _replies(exercise, function)
    return {"answers": list(replies)} if question == "answers" else {"differs": first_difference(exercise, replies)}


def _replies(exercise: ExerciseCases, function: Any) -> Iterator[Answer]:
    import torch

    torch.manual_seed(0)  # for solutions that make layers
    for ask in exercise.asks:
        yield answer(function, ask, exercise.banned)


def first_difference(exercise: ExerciseCases, replies: Iterator[Answer]) -> str | None:
    """The first case or promise that does not hold, and why; those after it are not run."""
    answers = []
    for number, (expected, truth) in enumerate(zip(exercise.expected, exercise.truths), start=1):
        answers.append(next(replies))
        if wrong := difference(exercise.compare, answers[-1], expected, truth, show=True):
            return f"case {number}: {wrong}"
    found = broken_promises(exercise, answers, list(replies), wrong=[None] * len(answers))
    return next((text for text, costs in found if costs), None)


def _limit_memory() -> None:
    try:
        import resource

        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):  # not Linux: the time limit ends it, too
        return
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, resource.RLIM_INFINITY))
