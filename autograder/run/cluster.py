"""Notebooks run on the workers of a Dask scheduler: `course grade NAME --scheduler tcp://host:port`.

What travels to a worker: the repaired notebook, its files, the hidden cases (workers are the grader's own, and trusted;
their sandboxes see no cases), the limits. What comes back: the outcome. A worker that is lost costs nothing but time:
Dask gives its notebooks to others, as often as the scheduler's `allowed-failures` says (3 times, unless it is set). One
with which workers die again and again is tried once more, with nothing else running, and then given up.
"""

import importlib.metadata
import json
import platform
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder.course import Assignment, Blocked, Course
from autograder.run.options import Cluster, Options
from autograder.run.pool import Here, Lost
from course_utils.paths import CourseError, explain

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_S = 20
NO_WORKER_S = 600  # without a worker that could do the work
LOOK_S = 2
FEW = 8
GOES_ON = "what is graded is kept, the same command goes on"


@contextmanager
def connect(cluster: Cluster, course: Course) -> Iterator["Remote"]:
    """The workers of a scheduler.

    Raises:
        CourseError: nobody answers there.
    """
    from distributed import Client

    try:
        client = Client(cluster.address, timeout=CONNECT_S, set_as_default=False, name="course-grade")
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        raise CourseError(
            f"no Dask scheduler answers at {cluster.address} ({_short(error)}): start one with `dask scheduler`, "
            "and workers with `dask worker`; then the same command goes on"
        ) from None
    remote = Remote(client, cluster, expected(course.root))
    try:
        yield remote
    finally:
        remote.close()
        client.close(timeout=5)


def resources(text: str) -> dict[str, float]:
    """`"GPU=0.25,disk=1"` as a dict.

    Raises:
        CourseError: it is something else.
    """
    try:
        pairs = [part.split("=") for part in text.split(",") if part.strip()]
        found = {name.strip(): float(amount) for name, amount in pairs}
        if all(name and amount > 0 for name, amount in found.items()):
            return found
    except ValueError:
        pass
    raise CourseError(f"--resources {text!r}: write NAME=AMOUNT, with commas between several, e.g. GPU=0.25")


class Remote(Here):
    """Submissions go to workers; the rest happens here. Any number of threads may call at the same time."""

    at_once = 256  # that may wait; `_turn` says how many run
    attempts = 2  # of each, Dask makes as many as `allowed-failures` says and one more

    def __init__(self, client: "Client", cluster: Cluster, expects: dict[str, str]):
        super().__init__()
        self._client, self._cluster, self._expects = client, cluster, expects
        self._stop, self._modules = threading.Event(), []
        self._turns, self._running, self._alone = threading.Condition(), 0, False
        self._looked, self._slots = 0.0, 0
        self._suspected: set[str] = set()  # students whose notebooks were on workers that died

    def grade(self, assignment: Assignment, submission: Any, options: Options) -> dict[str, Any]:
        from autograder.run.work import grade_one
        from autograder.sandbox.warm import imports
        from course_utils.notebook import read

        self._modules = self._modules or imports(read(assignment.solution))
        student = submission.student
        compute = partial(self._compute, alone=student in self._suspected)
        try:
            return grade_one(assignment, submission, options, compute=compute)
        except Lost:
            self._suspected.add(student)
            raise

    @contextmanager
    def _turn(self, alone: bool) -> Iterator[None]:
        """Wait until a worker is free: Dask suspects all that waits at a worker which dies, so nothing shall.

        Args:
            alone: until nothing else runs, so that nobody else can be suspected, or be to blame.
        """
        with self._turns:
            while self._alone or self._running >= (1 if alone else self._room()):
                if self._stop.is_set():
                    raise Lost("the grader is ending")
                self._turns.wait(LOOK_S)
            self._running += 1
            self._alone = alone
        try:
            yield
        finally:
            with self._turns:
                self._running -= 1
                self._alone = False
                self._turns.notify_all()

    def _room(self) -> int:
        """How many submissions the workers that are there now can take (where there are none yet, a few may wait)."""
        if time.monotonic() > self._looked + LOOK_S:
            self._slots = sum(self._takes(worker) for worker in self._workers())
            self._looked = time.monotonic()
        return self._slots or FEW

    def _takes(self, worker: dict[str, Any]) -> int:
        each = [int(worker["resources"].get(n, 0) / amount + 1e-6) for n, amount in self._cluster.resources.items()]
        return min([worker["nthreads"], *each])

    def _workers(self) -> list[dict[str, Any]]:
        try:
            return list(self._client.scheduler_info(n_workers=-1)["workers"].values())
        except (OSError, RuntimeError):  # time-outs, too; RuntimeError: the client has given up
            raise self._gone() from None

    def _compute(self, notebook: Any, cases: Any, files: Path, limits: Any, alone: bool) -> dict[str, Any]:
        """As `work.told(execute(…))`.

        Raises:
            Lost: Dask has given up on it, since workers died of it.
            Blocked: nobody can go on.
        """
        from course_utils.checking.cases import save_cases

        with self._turn(alone):
            job = {
                "notebook": json.dumps(notebook),
                "files": {str(p.relative_to(files)): p.read_bytes() for p in files.rglob("*") if p.is_file()},
                "cases": save_cases(cases),
                "limits": asdict(limits),
                "modules": self._modules,
                "expects": self._expects,
            }
            try:
                future = self._client.submit(perform, job, pure=False, resources=self._cluster.resources or None)
            except Exception:  # its client says in many ways that it is closed
                raise self._gone() from None
            try:
                answer = self._wait(future)
            finally:
                future.release()
        if "refused" in answer:
            raise Blocked(f"a worker refused: {answer['refused']}; {GOES_ON}")
        if "failed" in answer:
            raise RuntimeError(answer["failed"])
        return answer

    def _wait(self, future: "Future") -> dict[str, Any]:
        from distributed import CancelledError, KilledWorker

        since = time.monotonic()  # that there was somebody to do it
        while True:
            try:
                return future.result(timeout=LOOK_S)
            except KilledWorker as error:
                raise Lost(f"Dask lost {error.last_worker.address if error.last_worker else 'its workers'}") from None
            except ModuleNotFoundError as error:
                raise Blocked(f"a worker lacks the course ({error}): install it there; {GOES_ON}") from None
            except OSError as error:  # a time-out is one, too
                if future.status == "error":
                    raise Blocked(f"a worker could not go on: {explain(error)}; {GOES_ON}") from None
                if self._stop.is_set():
                    raise Lost("the grader is ending") from None
                if self._client.status != "running" or not isinstance(error, TimeoutError):
                    raise self._gone() from None
                since = time.monotonic() if any(map(self._takes, self._workers())) else since
                if time.monotonic() > since + NO_WORKER_S:
                    raise Blocked(f"{self._nobody()}; {GOES_ON}") from None
            except CancelledError:
                raise self._gone() from None

    def _nobody(self) -> str:
        needed = ",".join(f"{name}={amount:g}" for name, amount in self._cluster.resources.items())
        with_ = f" that offers {needed}" if needed else ""
        options = f" --resources {needed}" if needed else ""
        return (
            f"for {NO_WORKER_S / 60:.0f} minutes there was no worker{with_}: "
            f"start one with `dask worker {self._cluster.address}{options}`"
        )

    def _gone(self) -> Blocked:
        return Blocked(f"the Dask scheduler at {self._cluster.address} is gone: start it and its workers; {GOES_ON}")

    def close(self) -> None:
        self._stop.set()


def _short(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


# --- the same versions on both sides ----------------------------------------------------------------------------------


def expected(root: Path) -> dict[str, str]:
    """What a worker must have: this Python, this library, the versions of the lock as they are installed here."""
    lock = root / "requirements.lock"
    names = re.findall(r"^([A-Za-z0-9._-]+)==", lock.read_text(), re.MULTILINE) if lock.exists() else []
    return {name: have for name in ["Python", "course_utils", *names] if (have := _installed(name)) is not None}


@cache
def _installed(name: str) -> str | None:
    if name == "Python":
        return ".".join(platform.python_version_tuple()[:2])
    if name == "course_utils":
        from autograder.run.cases import library

        return library()
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _difference(expects: dict[str, str]) -> str | None:
    """Why this process may not grade for one that has these versions."""
    for name, wanted in expects.items():
        if (have := _installed(name)) != wanted:
            what = "another course_utils" if name == "course_utils" else f"{name} {have or '(not there)'}"
            than = "" if name == "course_utils" else f" where the grader has {wanted}"
            return f"{platform.node()} has {what}{than}: set the same course up there, from the same requirements.lock"
    return None


# --- on the worker ----------------------------------------------------------------------------------------------------


def perform(job: dict[str, Any]) -> dict[str, Any]:
    """Run a notebook on this worker; the outcome, or `refused` with what a person has to do here first."""
    if problem := _difference(job["expects"]):
        return {"refused": problem}
    import nbformat

    from autograder.limits import Limits
    from autograder.run import execute as executor
    from autograder.run.work import told
    from autograder.sandbox import provisioner, warm
    from autograder.temporary import temporary_folder
    from course_utils.checking.cases import cases_from

    notebook, limits = nbformat.from_dict(json.loads(job["notebook"])), Limits(**job["limits"])
    with temporary_folder() as files:
        for name, data in job["files"].items():
            (Path(files) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(files) / name).write_bytes(data)
        try:
            forks = warm.shared(job["modules"], limits)
            found = executor.execute(notebook, cases_from(job["cases"]), files=Path(files), limits=limits, warm=forks)
        except provisioner.SandboxError as error:
            return {"refused": f"{platform.node()}: {error}"}
        except OSError:  # of this machine: a full disk, say
            raise
        except Exception as error:  # as words: not every exception survives the way back, and its future never ends
            return {"failed": f"on {platform.node()}, {type(error).__name__}: {str(error)[:500]}"}
    return told(found) | {"worker": platform.node()}
