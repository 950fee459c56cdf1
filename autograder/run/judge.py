"""The judge: gives inputs to the student's process, takes its answers as plain data, and makes the verdict out here.

It listens on a unix socket in the folder that the sandbox shares with us (on Windows, where nothing is graded but one's
own notebook is checked, on a port of this machine that asks for a token), answers one connection while the executor has
an exercise open, and passes over every other one. Answers are only stored while the student's process can still talk,
as the bytes that came; they are read and compared when the exercise is closed, in a process with bounds where there can
be one. Nothing but inputs is ever sent.
"""

import contextlib
import math
import secrets
import select
import socket
import threading
import time
from pathlib import Path
from typing import Any, Self

from autograder.limits import DEFAULTS, Limits
from autograder.run.apart import Bounds, Exceeded, apart
from course_utils import plain
from course_utils.checking.cases import ExerciseCases
from course_utils.checking.verdict import Verdict, verdict
from course_utils.plain import Answer, receive, send

SOCKET = "judge.sock"
UNIX = hasattr(socket, "AF_UNIX")
TOKEN_S = 5.0  # for a connection to a port to show its token
END_S = 10.0  # for a connection that was cut to end


def no_verdict(exercise: str, max_points: float, reason: str) -> Verdict:
    """The verdict where none could be made: no points (fail closed), and why."""
    return Verdict(exercise, 0.0, max_points, 0, 0, wrong=reason)


class Judge:
    """Use as a context manager; `open(name)` before the check cell runs, `close()` after it.

    Args:
        exercises: the cases with their expected answers.
        folder: where `judge.sock` is made (its path must stay below 100 characters).
        limits: how large an answer may be, and what judging an exercise may take.
    """

    many: float = 4  # answers as large as one may be, or as much in smaller ones: an exercise takes no more

    def __init__(self, exercises: dict[str, ExerciseCases], folder: Path, limits: Limits = DEFAULTS):
        self.exercises, self.limits = exercises, limits
        self._path = Path(folder) / SOCKET
        self._listener = socket.socket(socket.AF_UNIX if UNIX else socket.AF_INET)
        self._token = "" if UNIX else secrets.token_hex(16)
        self._closed = False
        self._session: _Session | None = None

    def __enter__(self) -> Self:
        if self._token:
            self._listener.bind(("127.0.0.1", 0))
        else:
            self._listener.bind(str(self._path))
            self._path.chmod(0o666)  # the sandbox's user is another one; the folder around it is private
        self._listener.listen(128)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._session:
            self._session.end()
        self._closed = True
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        except OSError:  # not on macOS and Windows: there one more connection does
            with contextlib.suppress(OSError):
                plain.connect(self.address).close()
        self._listener.close()
        self._thread.join(timeout=5)
        self._path.unlink(missing_ok=True)

    @property
    def address(self) -> str:
        """Where `plain.connect` finds it."""
        return f"tcp://{self._listener.getsockname()[1]}/{self._token}" if self._token else str(self._path)

    def open(self, name: str) -> None:
        """From now on answer one connection, for this exercise; those that wait already came too early."""
        deadline = time.monotonic() + 1
        while select.select([self._listener], [], [], 0)[0] and time.monotonic() < deadline:
            time.sleep(0.001)  # the listener is turning them away
        self._session = _Session(self.exercises[name], self.limits.answer_bytes, self.many)

    def close(self) -> Verdict:
        """Answer no more; the verdict on what came."""
        session, self._session = self._session, None
        return self._judge(session.exercise, session.end(), session.problem)

    def _judge(self, exercise: ExerciseCases, packed: list[bytes], problem: str) -> Verdict:
        bounds = Bounds(cpu_s=self.limits.grader_s, memory_bytes=self.limits.grader_bytes)  # it waits for nothing
        try:
            return apart(judged, exercise, packed, problem, self.limits.answer_bytes, bounds=bounds)
        except Exceeded as error:
            return no_verdict(exercise.name, exercise.points, f"comparing its answers {error}")

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed: the work is done
                return
            if self._closed:
                connection.close()
                return
            session = self._session
            if session is None or not self._knows(connection) or not session.start(connection):
                connection.close()

    def _knows(self, connection: socket.socket) -> bool:
        """Whether it is a client of ours: on a port any program of this machine may knock."""
        if not self._token:
            return True
        try:
            connection.settimeout(TOKEN_S)
            known = receive(connection) == self._token
            connection.settimeout(None)
            return known
        except (OSError, EOFError, ValueError):
            return False


def judged(exercise: ExerciseCases, packed: list[bytes], problem: str, most: int) -> Verdict:
    """The verdict on what came.

    Args:
        packed: the answers, one for each case, as they came.
        problem: what kept others from coming.
        most: bytes that an answer may have.
    """
    answers, problem = _answers(packed, problem, most)
    if not answers:
        return no_verdict(exercise.name, exercise.points, problem or "the check cell asked for none")
    result = verdict(exercise, answers, show=False)
    if len(answers) < len(exercise.asks):
        result.missing = f"only {len(answers)} answers came" + (f": {problem}" if problem else "")
    return result


def _answers(packed: list[bytes], problem: str, most: int) -> tuple[list[Answer], str]:
    """The answers up to the first that is none, and what is wrong with that."""
    answers: list[Answer] = []
    for data in packed:
        try:
            answers.append(_answer(plain.unpack(data, most)))
        except ValueError:
            return answers, "what came was no answer"
    return answers, problem


class Recorder(Judge):
    """Takes the solution's answers instead of judging them: `answers[name]` is the reference."""

    many = math.inf  # it is asked for many sets of cases at once

    def __init__(self, exercises: dict[str, ExerciseCases], folder: Path, limits: Limits = DEFAULTS):
        super().__init__(exercises, folder, limits)
        self.answers: dict[str, list[Answer]] = {}

    def _judge(self, exercise: ExerciseCases, packed: list[bytes], problem: str) -> Verdict:
        answers, problem = _answers(packed, problem, self.limits.answer_bytes)
        self.answers[exercise.name] = answers
        return Verdict(
            exercise.name, exercise.points, exercise.points, len(answers), len(exercise.asks), missing=problem
        )


class _Session:
    """One exercise while its check cell runs: the first connection gets the inputs and leaves the answers."""

    def __init__(self, exercise: ExerciseCases, most: int, many: float):
        self.exercise, self.most, self.left = exercise, most, many * most
        self.problem = ""
        self._answers: list[bytes] = []
        self._connection: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._ended = False

    def start(self, connection: socket.socket) -> bool:
        """Take the connection, unless there was one before or the exercise is closed."""
        with self._lock:
            if self._connection or self._ended:
                return False
            self._connection = connection
            self._thread = threading.Thread(target=self._talk, daemon=True)
            self._thread.start()
            return True

    def end(self) -> list[bytes]:
        """Cut the connection and return the answers that came in time."""
        with self._lock:
            self._ended = True
        if self._connection:
            self._cut()
            self._thread.join(END_S)
            self._connection.close()
        return list(self._answers)

    def _talk(self) -> None:
        try:
            hello = {"cases": len(self.exercise.asks), "banned": self.exercise.banned, "most": self.most}
            send(self._connection, hello | {"seconds": self.exercise.seconds})
            for ask in self.exercise.asks:
                send(self._connection, plain.cook(ask))
                answer = plain.receive_packed(self._connection, min(self.most, self.left))
                self.left -= len(answer)
                self._answers.append(answer)
            send(self._connection, "done")
        except EOFError:
            self.problem = "the connection ended before its time"
        except ValueError as error:
            self.problem = f"what came was no answer ({error})"
        except OSError:
            self.problem = "the connection broke"
        finally:
            self._cut()  # the student's side must not wait for more

    def _cut(self) -> None:
        with contextlib.suppress(OSError):  # the other side has gone
            self._connection.shutdown(socket.SHUT_RDWR)


def _answer(message: Any) -> Answer:
    """The message, if it has the form of an answer.

    Raises:
        ValueError: it has not.
    """
    match message:
        case {"value": _} if len(message) == 1:
            return message
        case {"value": _, "changed": list()} if len(message) == 2:  # names of arguments that were changed
            return message
        case {"error": str(), "message": str()} if len(message) == 2:
            return message
    raise ValueError("neither a value nor an error")
