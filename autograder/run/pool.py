"""Processes that run notebooks for the grader, forked from one that has loaded the executor: each is there at once.

    grader ── socket ──▶ loader: imports the executor, then forks a worker for each request
       └───── socket ──▶ worker: takes a function and its arguments, sends back what it returned or raised

The loader is this file, as a program. What a dead worker was doing is `Lost`; the next call gets a new worker.
Linux alone has what this needs; elsewhere the same calls run in the grader's own process (`Here`).

What a student's data could drag out has bounds: a worker that uses more time, processor or memory ends, and the caller
is told so by `Exceeded`. A worker may ask the loader for one more, for work with bounds of its own (`apart`).
"""

import contextlib
import copyreg
import io
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autograder.run import apart as boundaries
from autograder.run.apart import NO_BOUNDS, Bounds, Exceeded, bind
from autograder.temporary import end_with_parent

if TYPE_CHECKING:
    from autograder.course import Assignment
    from autograder.intake.submissions import Submission
    from autograder.run.options import Options
    from autograder.sandbox.warm import Parent

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}
GRACE_S = 5.0  # for workers to clean up


class Lost(Exception):
    """The process that did the work is gone."""


@dataclass(frozen=True)
class OfWork:
    """A function of `work`, imported only where it is called: it needs torch, and who records does not."""

    function: str

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from autograder.run import work

        return getattr(work, self.function)(*arguments, **options)


class Here:
    """Calls in the grader's own process."""

    at_once: int | None = None  # how many submissions, where it is not for the caller to say
    attempts = 3  # to grade a submission whose processes are lost

    def __init__(self):
        self.forks: Parent | None = None

    def grade(self, assignment: "Assignment", submission: "Submission", options: "Options") -> dict[str, Any]:
        """`work.grade_one`, for one submission.

        Raises:
            Exceeded: it used more than is given to anybody.
            Lost: its process has gone, whoever is to blame.
        """
        limits = assignment.limits()
        bounds = Bounds(options.patience * limits.path_s, memory_bytes=limits.grader_bytes)
        return self.call(OfWork("grade_one"), assignment, submission, options, bounds=bounds)

    def call(self, function: Callable, *arguments: Any, bounds: Bounds = NO_BOUNDS) -> Any:
        return function(*arguments, forks=self.forks)

    def close(self) -> None:
        """Nothing is left."""


class Workers(Here):
    """Any number of threads may `call` at the same time: each call has a worker for itself.

    Args:
        control: our end of a connection to a loader.
    """

    def __init__(self, control: socket.socket):
        super().__init__()
        self._control = control
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._lock, self._closed = threading.Lock(), False

    def call(self, function: Callable, *arguments: Any, bounds: Bounds = NO_BOUNDS) -> Any:
        """What the function returns, or raises; it gets the warm parent, or None, as `forks`.

        Raises:
            Exceeded: the worker used more than its bounds, and is ended.
            Lost: the worker died.
        """
        worker = self._take()
        try:
            kind, value = worker.ask((function, arguments, bounds), bounds.wall_s)
        except TimeoutError:
            worker.kill()
            self._drop(worker)
            raise Exceeded(str(bounds)) from None
        except (OSError, EOFError) as error:
            self._drop(worker)
            if bounds.cpu_s:  # its processor time was up; a lack of memory is an error that it tells of
                raise Exceeded(str(bounds)) from None
            raise Lost(str(error) or "it ended") from None
        with self._lock:
            self._idle.append(worker)
        if kind == "raised":
            raise value
        return value

    def _take(self) -> "_Worker":
        with self._lock:
            if self._closed:
                raise Lost("the grader is ending")
            if self._idle:
                return self._idle.pop()
            try:
                worker = _Worker(self._control, self.forks)
            except OSError as error:
                raise Lost(f"no process could be started ({error})") from None
            self._all.add(worker)
            return worker

    def _drop(self, worker: "_Worker") -> None:
        with self._lock:
            self._all.discard(worker)
        worker.end.close()


class Processes(Workers):
    """Loads in the background from its making on."""

    def __init__(self):
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(control)
        with theirs:
            command = [sys.executable, "-P", "-m", "autograder.run.pool", str(theirs.fileno())]
            self._loader = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=os.environ | ONE_THREAD
            )

    def close(self) -> None:
        """End all workers: those at work may remove their temporary folders."""
        with self._lock:
            self._closed = True
            workers = list(self._all)
            busy = [w for w in workers if w not in self._idle and w.pid]
        for worker in busy:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while any(w in self._all for w in busy) and time.monotonic() < deadline:
            time.sleep(0.02)  # their callers see the end of the connection and drop them
        self._control.close()
        for worker in workers:
            worker.end.close()
        try:
            self._loader.wait(GRACE_S)
        except subprocess.TimeoutExpired:  # it is still importing
            self._loader.kill()
            self._loader.wait()


class _Worker:
    """Our end of the connection to one worker."""

    def __init__(self, control: socket.socket, forks: "Parent | None"):
        self.end, theirs = socket.socketpair()
        self.pid = 0
        parts = [theirs, control]
        warm = None
        if forks and forks.alive:
            parts.append(forks.control)
            warm = (str(forks.spool), forks.modules, forks.device)
        with theirs:
            socket.send_fds(control, [pickle.dumps(warm)], [s.fileno() for s in parts])

    def ask(self, question: Any, wall_s: float | None) -> Any:
        if not self.pid:
            self.pid = _receive(self.end)
        _send(self.end, question)
        if not select.select([self.end], [], [], wall_s)[0]:
            raise TimeoutError
        return _receive(self.end)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def start() -> Processes | None:
    """Processes, where there can be any."""
    return Processes() if sys.platform == "linux" else None


def _send(end: socket.socket, value: Any) -> None:
    packed = io.BytesIO()
    pickler = pickle.Pickler(packed)
    if torch := sys.modules.get("torch"):
        pickler.dispatch_table = copyreg.dispatch_table | {torch.Tensor: _as_array}
    pickler.dump(value)
    data = packed.getvalue()
    end.sendall(struct.pack("<Q", len(data)) + data)


def _as_array(tensor: Any) -> Any:
    """How a tensor travels: torch's own way takes fifty times as long for a small one, and cases are full of them."""
    import torch

    try:
        return torch.from_numpy, (tensor.numpy(),)
    except (TypeError, RuntimeError):  # numpy has no such numbers, or it lies on another device
        return tensor.__reduce_ex__(2)


def _receive(end: socket.socket) -> Any:
    with end.makefile("rb") as file:
        head = file.read(8)
        if len(head) < 8 or len(data := file.read(struct.unpack("<Q", head)[0])) < struct.unpack("<Q", head)[0]:
            raise EOFError
    return pickle.loads(data)


# --- the other side ---------------------------------------------------------------------------------------------------


def load() -> None:
    """Import what workers need, once."""
    import gc

    gc.disable()  # there is no garbage yet
    import autograder.author.exercise
    import autograder.run.work  # noqa: F401

    gc.freeze()  # the collector does not write to what all workers share
    gc.enable()


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    end_with_parent()  # also while it is importing, when it does not look at the connection
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is the grader's to answer; kernels do not inherit this
    load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # workers leave no zombies
    me = os.getpid()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 65536, 3)
        if not message:
            os._exit(0)  # at once: torch takes its time to leave
        if os.fork() == 0:
            try:
                control.close()
                work(me, pickle.loads(message), *(socket.socket(fileno=d) for d in descriptors))
            except (EOFError, OSError):  # nobody asks any more
                pass
            finally:
                os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def work(
    loader: int,
    warm: tuple[str, tuple[str, ...], str] | None,
    end: socket.socket,
    control: socket.socket,
    *parent: socket.socket,
) -> None:
    """Answer calls until the other side hangs up."""
    end_with_parent()
    if os.getppid() != loader:
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    forks = None
    if warm:
        from autograder.sandbox.warm import Guest

        forks = Guest(parent[0], *warm)
    workers = Workers(control)
    boundaries.elsewhere = lambda f, *a, bounds: workers.call(Plain(f), *a, bounds=bounds)
    _send(end, os.getpid())
    while True:
        function, arguments, bounds = _receive(end)
        bind(bounds)
        try:
            answer = ("returned", function(*arguments, forks=forks))
        except MemoryError:
            answer = ("raised", Exceeded(str(bounds)))
        except Exception as error:
            answer = ("raised", _sendable(error))
        bind(NO_BOUNDS)
        _send(end, answer)


@dataclass(frozen=True)
class Plain:
    """A function that has no use for the warm parent."""

    function: Callable

    def __call__(self, *arguments: Any, forks: "Parent | None") -> Any:
        return self.function(*arguments)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    from autograder.run import pool  # what travels is named by that

    pool.main()
