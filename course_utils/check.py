"""The students' checker: calls a function on the cases of its exercise, compares what comes back, names the mistake.

    check = Checker("a1_markov_chains")
    check(count_transitions)

In a student's notebook the cases are the *visible* ones, stored beside it in `cases.safetensors` as inputs, expected
outputs and the outputs of known mistakes. In the grader the same line is a dumb client: it receives inputs, calls the
function and sends back what it gave; the verdict is made elsewhere (`autograder.run.judge`), with the very
functions of `course_utils.checking` and of `course_utils.compare`.
"""

import inspect
import os
import pkgutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from course_utils import plain
from course_utils.checking import promises
from course_utils.checking.cases import CASES_FILE, load_cases
from course_utils.checking.verdict import Verdict, verdict
from course_utils.plain import Answer, pack, receive, send, unpack

VERDICT = "application/vnd.course.verdict+json"  # the MIME type of a verdict in a saved notebook
JUDGE_VARIABLE = "COURSE_JUDGE"  # in the grader: where the judge listens
VALIDATING = "NBGRADER_VALIDATING"  # set by JupyterLab's Validate button, which takes whatever raises nothing for right


# --- calling ----------------------------------------------------------------------------------------------------------


def answer(
    function: Callable,
    ask: Any,
    banned: list[str] = (),
    most: int = plain.MAX_BYTES,
    seconds: float | None = None,
) -> Answer:
    """What one call of the student's function or class gave, as plain data; never raises for what it does.

    Args:
        ask: the arguments, a tuple; or `{"how": …, "arguments": …}`, for a promise.
        banned: names of functions and classes that raise when they are called.
        most: bytes that the answer may have.
        seconds: of processor time that the call may take.
    """
    found: dict[str, Any] = {}
    try:
        arguments = plain.cook(ask if isinstance(ask, tuple) else ask["arguments"])  # outside the ban: a recipe may
        mine = plain.resolve(arguments)  # use what the student may not
        with _limit(seconds):
            match ask:
                case {"how": promises.GRADIENTS, "of": of}:
                    found["value"] = promises.gradients(function, mine, of)
                case {"how": promises.NEXT}:
                    with _ban(banned):
                        found["value"] = promises.following(function, arguments)
                case {"how": promises.DEVICE}:
                    found["value"] = promises.on_device(function, mine)
                case {"how": promises.AGAIN} if promises.is_module(mine):
                    with _ban(banned):  # one module is asked twice: what it keeps shows in the second answer
                        module = mine[0].built(function)
                        mine[0].call(module, plain.resolve(arguments)[0].inputs)
                        found["value"] = mine[0].call(module, mine[0].inputs)
                case _:
                    with _ban(banned):
                        found["value"] = mine[0].run(function) if promises.is_module(mine) else function(*mine)
                    if names := promises.changed(function, arguments, mine):
                        found["changed"] = names
        return unpack(pack(found), most)  # a copy: nothing that the student's objects do later can change it
    except TooLong:
        return {"error": "TooLong", "message": f"the call took more than {seconds:g} s of processor time"}
    except (Exception, SystemExit) as error:
        return {"error": type(error).__name__, "message": _message(function, error)}


class TooLong(BaseException):
    """Raised into a call that has used its processor time; no `except Exception` of the student's stops it."""


@contextmanager
def _limit(seconds: float | None) -> Iterator[None]:
    """Raise `TooLong` after so much processor time of this process, where the system can tell (not on Windows)."""
    main = threading.current_thread() is threading.main_thread()
    if seconds is None or not main or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _message(function: Callable, error: BaseException) -> str:
    """An error's text. Only a stub's own NotImplementedError has none: one from elsewhere says where it comes from."""
    text = str(error)[:500]
    if isinstance(error, NotImplementedError) and not text and (trace := error.__traceback__):
        while trace.tb_next:
            trace = trace.tb_next
        place, own = trace.tb_frame.f_code.co_qualname, getattr(function, "__qualname__", "")
        if own and not f"{place}.".startswith(f"{own}."):
            return f"it comes from {place}"
    return text


class Banned(Exception):
    """Raised inside a call of something that the exercise asks the student to build."""


@contextmanager
def _ban(names: list[str]) -> Iterator[None]:
    """Make every call of the named functions and classes raise, however they were imported."""
    forbidden = {key: name for name in names for key in _callables(name)}
    if not forbidden:
        yield
        return
    caught: list[str] = []

    def watch(frame, event, argument):
        if event == "call":
            name = forbidden.get(frame.f_code)
        elif event == "c_call":  # a built-in function, or a built-in method bound to its object
            name = forbidden.get(getattr(type(argument.__self__), argument.__name__, None) or argument)
        else:
            return
        if name:
            caught.append(name)
            raise Banned(name)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(before)
        if caught:
            raise Banned(f"{caught[0]} does this exercise's work: build it yourself")


def _callables(name: str) -> list[Any]:
    """What the profiler sees when the named thing is called: code objects of Python functions, built-ins themselves.

    Of a decorated function it is the function inside: the wrapper's code object may be shared with other functions
    (`torch.no_grad()` gives one and the same to all that it decorates, the steps of optimizers among them).
    """
    try:
        thing = pkgutil.resolve_name(name)
    except (ImportError, AttributeError):  # not there (in the grader's sandbox, say): then it cannot be called either
        return []
    members = list(vars(thing).values()) if isinstance(thing, type) else [thing]
    members = [inspect.unwrap(getattr(m, "__func__", m)) for m in members if callable(getattr(m, "__func__", m))]
    return [getattr(m, "__code__", m) for m in members]


# --- the student's side -----------------------------------------------------------------------------------------------


class Checker:
    """`check = Checker("a1_markov_chains")`, then `check(function)` prints what holds and names the mistake.

    Raises:
        FileNotFoundError: there is no file of cases beside the notebook (it comes with the assignment).
        LookupError: the assignment has no exercise of the function's name.
    """

    def __init__(self, assignment: str):
        self.assignment = assignment
        self._judge = os.environ.get(JUDGE_VARIABLE)
        self._exercises = {} if self._judge else load_cases(self._find())

    def __call__(self, function: Callable) -> None:
        if self._judge:
            return _serve(function, self._judge)
        exercise = self._exercises[self._name(function, sys._getframe(1).f_globals)]
        answers = [answer(function, ask, exercise.banned, seconds=exercise.seconds) for ask in exercise.asks]
        _show(found := verdict(exercise, answers, show=True))
        if os.environ.get(VALIDATING) and found.held < found.cases:
            raise AssertionError(found.message)

    def _find(self) -> Path:
        """The file beside the notebook, or in the `assignments/` of a course around it or just below."""
        beside = Path("assignments", self.assignment, CASES_FILE)
        places = [Path(CASES_FILE), *(p / beside for p in (Path.cwd(), *Path.cwd().parents))]
        places += sorted(Path.cwd().glob(f"*/{beside.as_posix()}"))  # in Colab: a clone lies in the working folder
        for place in places:
            if place.exists():
                return place
        raise FileNotFoundError(
            f"no {CASES_FILE} beside this notebook: copy the whole folder assignments/{self.assignment}, "
            "not the notebook alone"
        )

    def _name(self, function: Callable, names: dict[str, Any]) -> str:
        """The exercise that the function answers: by the name it has in the notebook, else by its own."""
        bound = [name for name in self._exercises if names.get(name) is function]
        name = (bound or [getattr(function, "__name__", repr(function))])[0]
        if name not in self._exercises:
            raise LookupError(f"{self.assignment} has no exercise called {name}: it has {', '.join(self._exercises)}")
        return name


def _show(found: Verdict) -> None:
    """Print the message; in a notebook, with the verdict as data beside it, which the home notebook reads."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(shell, "kernel"):
        return print(found.message)
    from IPython.display import publish_display_data

    publish_display_data({"text/plain": found.message, VERDICT: asdict(found)})


def _serve(function: Callable, path: str) -> None:
    """Answer the judge's cases, one after the other."""
    with plain.connect(path) as connection:
        hello = receive(connection)
        for _ in range(hello["cases"]):
            ask = receive(connection)
            send(connection, answer(function, ask, hello["banned"], hello["most"], hello.get("seconds")))
        receive(connection)  # the judge has all answers
    print("Checked by the grader.")
