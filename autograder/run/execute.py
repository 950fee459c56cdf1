"""Runs a notebook in a (sandboxed) kernel and lets the judge give the verdicts: notebook in, result out, no more.

The kernel is the student's: what it says is shown, never believed. Whatever it does ends in a result.
"""

import asyncio
import contextlib
import copy
import itertools
import math
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty
from typing import Any

import psutil
import zmq.asyncio
from jupyter_client import AsyncKernelClient, AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete, CellTimeoutError
from nbclient.util import run_sync
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder import temporary
from autograder.limits import DEFAULTS, Limits
from autograder.notes import Kind, Note, note
from autograder.run import judge as judges
from autograder.run import outputs
from autograder.run.judge import Judge, no_verdict
from autograder.sandbox import gpu, inside, usage
from autograder.sandbox.provisioner import SandboxError, missing
from autograder.sandbox.warm import Parent
from course_utils import plain
from course_utils.checking import causes
from course_utils.checking.cases import ExerciseCases
from course_utils.checking.verdict import Verdict
from course_utils.notebook import exercise, grade_id, grading, is_code, points
from course_utils.plain import Answer

TICK_S = 0.25  # between two looks at what a kernel has used
STARTS = 3  # of a kernel, before the grader's surroundings are said to allow none
GRACE_S = 3  # for a cell to end after its interrupt
IOPUB_S = 15  # of its own time, for outputs to arrive after the reply
FULL = 0.75  # of the memory: after a MemoryError with so much still held, the cells that follow would have no room


@dataclass
class Result:
    """What came of a notebook.

    Attributes:
        notebook: with outputs; those of check cells are the verdicts, written here.
        verdicts: grade_id of the check cell -> verdict; one for every exercise.
        notes: what happened, in which cell.
        usage: wall_s, cpu_s, peak_memory_bytes, kernels.
        answers: exercise -> what its function gave, where a `Recorder` took that instead of judging it.
    """

    notebook: NotebookNode
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    usage: dict[str, float] = field(default_factory=dict)
    answers: dict[str, list[Answer]] = field(default_factory=dict)


def execute(
    notebook: NotebookNode,
    exercises: dict[str, ExerciseCases],
    *,
    files: Path | None = None,
    limits: Limits = DEFAULTS,
    sandbox: bool = True,
    judge_class: type[Judge] = Judge,
    warm: Parent | None = None,
) -> Result:
    """Run all cells and judge the exercises.

    Args:
        exercises: name -> cases; the cell with grade_id `check_NAME` is judged.
        files: folder whose files (not its notebooks) are copied to where the notebook runs.
        sandbox: False runs an ordinary kernel, for one's own notebook.
        warm: forks the kernels, which start faster so; where it cannot, they start from cold.

    Raises:
        SandboxError: no kernel can be started here; never for what the notebook does.
    """
    warm = warm if sandbox and warm and warm.alive and warm.fits(limits) else None
    if sandbox and not warm and (problem := missing() or (limits.device == "cuda" and gpu.missing())):
        raise SandboxError(problem)
    begin = time.monotonic()
    result = _run(notebook, exercises, files, limits, sandbox, judge_class, warm)
    if warm and warm.gone:  # and with it, perhaps, a kernel that had done nothing wrong
        result = _run(notebook, exercises, files, limits, sandbox, judge_class, None)
    result.usage["wall_s"] = time.monotonic() - begin
    return result


def _run(
    notebook: NotebookNode,
    exercises: dict[str, ExerciseCases],
    files: Path | None,
    limits: Limits,
    sandbox: bool,
    judge_class: type[Judge],
    warm: Parent | None,
) -> Result:
    room = tempfile.TemporaryDirectory(prefix="course-", dir=warm.spool) if warm else temporary.temporary_folder()
    with _terminable(), room as name:
        judge_folder = Path(name, "judge")
        judge_folder.mkdir()
        judge_folder.chmod(0o755)  # whatever the umask
        with judge_class(exercises, judge_folder, limits) as judge:
            run = _Run(
                notebook,
                judge,
                _Place(Path(name), judge.address, files and Path(files).resolve(), limits, sandbox, warm),
            )
            try:
                run_sync(run.all_cells)()
            finally:
                run.close()
    result = run.result()
    result.answers = getattr(judge, "answers", {})
    return result


@dataclass
class _Place:
    """Where and how kernels run."""

    folder: Path
    judge: str  # its address
    files: Path | None
    limits: Limits
    sandbox: bool
    warm: Parent | None


class _Dead(Exception):
    """The kernel has ended, or has to; says what happened, to follow "Cell 3 …"."""


class _Run(NotebookClient):
    """nbclient's client, cell by cell, with a new kernel where one died."""

    def __init__(self, notebook: NotebookNode, judge: Judge, place: _Place):
        super().__init__(
            copy.deepcopy(notebook),
            allow_errors=True,
            timeout=None,  # time limits are kept in `_run_cell`
            iopub_timeout=10**9,  # kept in `_async_poll_for_reply`
            raise_on_iopub_timeout=True,
            record_timing=False,
            startup_timeout=math.ceil(place.limits.startup_s),
            on_cell_executed=self._keep_reply,
        )
        self.original, self.judge, self.place, self.limits = notebook, judge, place, place.limits
        self.spent = 0.0  # of `notebook_s`
        self.outputs: dict[int, list[NotebookNode]] = {}  # index of the cell -> what it put out
        self.verdicts: dict[int, Verdict] = {}
        self.notes: list[Note] = []
        self.skipped: set[int] = set()  # cells that a new kernel does not run again
        self.stopped = ""  # why no more cells run
        self.managers: list[_Manager] = []
        self.numbers = itertools.count()
        self.deaths = 0
        names = [exercise(cell) if exercise(cell) in judge.exercises else "" for cell in notebook.cells]
        self.checks = {i: name for i, name in enumerate(names) if name and name not in names[:i]}

    # --- the cells, in order ---

    async def all_cells(self) -> None:
        for index, cell in enumerate(self.original.cells):
            if is_code(cell):
                await self._take(index)
        self._end_kernel()

    async def _take(self, index: int) -> None:
        """Run a cell and have it judged, whatever happens."""
        name = self.checks.get(index)
        if reason := await self._prepare(index):
            self.outputs[index] = [outputs.error("NotRun", reason)]
            if name:
                self.verdicts[index] = self._no_verdict(name, reason)
            return
        if name:
            self.judge.open(name)
        try:
            found = await self._run_cell(index)
        except _Dead as death:
            self._bury(index, death)
            found = [*self.nb.cells[index].outputs, outputs.error("KernelDied", f"this cell {death}")]
        finally:
            if name:
                self.verdicts[index] = self.judge.close()
        self.outputs[index] = outputs.clean(found, self.limits.output_bytes)

    async def _prepare(self, index: int) -> str:
        """Have a kernel in which the cells before this one ran; else why nothing runs any more."""
        while not (self.stopped or self.kc):
            await self._start_kernel()
            for before in range(index):
                if before in self.skipped or before in self.checks or not is_code(self.original.cells[before]):
                    continue
                try:
                    await self._run_cell(before)
                except _Dead as death:
                    self._bury(before, death)
                    break
        if not self.stopped and self.spent >= self.limits.notebook_s:
            self.stopped = f"the notebook's time limit of {self.limits.notebook_s:g} s was used up"
            self.notes.append(note(Kind.OUT_OF_TIME, f"{self.limits.notebook_s:g}", cell=self._name(index)))
        return self.stopped

    async def _run_cell(self, index: int) -> list[NotebookNode]:
        """Run a cell and return what it put out.

        Raises:
            _Dead: the kernel is gone or makes no sense any more; it has to be replaced.
        """
        cell = new_code_cell(self.original.cells[index].source)  # without the student's tags, which could skip it
        self.nb.cells[index] = cell
        self._reply: dict[str, Any] = {}
        running = asyncio.ensure_future(self.async_execute_cell(cell, index))
        ending = asyncio.ensure_future(self._end_of_kernel())
        seconds = max(0.0, min(self._seconds(index), self.limits.notebook_s - self.spent))
        try:
            self.spent += await self._wait_own({running, ending}, seconds)
            if not running.done() and not ending.done():
                await self._interrupt(index, seconds)
                self.spent += await self._wait_own({running, ending}, GRACE_S)
            if running.done() and running.exception():
                await asyncio.wait({ending}, timeout=0.5)  # the reason may be that the kernel has ended
            if ending.done():
                raise _Dead(ending.result())
            if not running.done():
                raise _Dead("did not stop when interrupted")
            if error := running.exception():
                late = isinstance(error, CellTimeoutError)
                raise _Dead("withheld its outputs" if late else f"sent what is no message ({type(error).__name__})")
            if causes.says_exit(self._reply):
                raise _Dead("said exit()")
            if _out_of_memory(self._reply) and self.km.memory() > FULL * self.limits.memory_bytes:
                raise _Dead("used up the memory, and what it made stays in its variables")
            return self._with_error(cell.outputs)
        finally:
            for task in (running, ending):
                task.cancel()
            await asyncio.gather(running, ending, return_exceptions=True)

    def _seconds(self, index: int) -> float:
        """What a cell may take: where each call of a check may take long, all of them may."""
        asked = self.judge.exercises.get(self.checks.get(index, ""))
        return self.limits.cell_s + (len(asked.asks) * asked.seconds if asked and asked.seconds else 0.0)

    async def _wait_own(self, tasks: set[asyncio.Future], seconds: float) -> float:
        """Wait for the first of the tasks, or until the kernel has used so much time of its own; how much it used."""
        clock = _OwnTime(self.km)
        while clock.seconds < seconds:
            done, _ = await asyncio.wait(tasks, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
            clock.tick(TICK_S, waiting=not done)
            if done:
                break
        return clock.seconds

    async def _interrupt(self, index: int, seconds: float) -> None:
        self.skipped.add(index)
        self.notes.append(note(Kind.INTERRUPTED, f"{seconds:.0f}", cell=self._name(index)))
        await self.km.interrupt_kernel()

    def _keep_reply(self, execute_reply: dict[str, Any], **_: Any) -> None:
        self._reply = execute_reply["content"]

    def _with_error(self, found: list[NotebookNode]) -> list[NotebookNode]:
        """The outputs; with an error if the kernel reports one that it did not show."""
        if self._reply.get("status") == "ok" or any(o.output_type == "error" for o in found):
            return found
        return [*found, outputs.error(str(self._reply.get("ename")), str(self._reply.get("evalue")))]

    # --- kernels ---

    async def _start_kernel(self) -> None:
        """Start a kernel; again if it comes to nothing, for that is the machine's doing: no cell has run yet."""
        for trial in reversed(range(STARTS)):
            self.km = manager = _Manager(self.place, next(self.numbers))
            self.managers.append(manager)
            try:
                await manager.start_kernel(**manager.launch_arguments())
                await self.async_start_new_kernel_client()
                break
            except Exception as error:
                problem = f"{error} {manager.said()}".strip()
                manager.close()
                self.managers.remove(manager)
                if warm := self.place.warm:  # a cold kernel is slower, and there nearly everywhere
                    warm.problem = warm.problem or f"a forked kernel did not start: {problem}"
                    self.place = replace(self.place, warm=None)
                elif not trial:
                    raise SandboxError(f"the kernel did not start: {problem}") from error
        if len(self.managers) == 1:
            self.notes += _not_copied(manager.said())

    async def _end_of_kernel(self) -> str:
        """Waits until the kernel's process has ended; what happened."""
        while await self.km.provisioner.poll() is None:
            await asyncio.sleep(0.05)
        return getattr(self.km.provisioner, "reason", None) or f"ended its kernel ({await self.km.end()})"

    def _bury(self, index: int, death: _Dead) -> None:
        self.deaths += 1
        self.skipped.add(index)
        kind, text = Kind.DIED, [death]
        if self.deaths >= self.limits.deaths:
            self.stopped = f"the kernel died {self.deaths} times"
            kind, text = Kind.DIED_AT_LAST, [death, self.deaths]
        self.notes.append(note(kind, *text, cell=self._name(index)))
        self._end_kernel()

    def _end_kernel(self) -> None:
        if self.kc:
            self.kc.stop_channels()
        if self.km:
            self.km.close()
        self.km = self.kc = None

    def close(self) -> None:
        """End all that is left, without an event loop."""
        for manager in self.managers:
            manager.close()

    # --- messages ---

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        try:
            return super().process_message(msg, cell, cell_index)
        except CellExecutionComplete:
            raise
        except Exception:  # forged: no kernel sends that
            return None

    def output(self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int) -> None:
        """Keep an output as it came; `outputs.clean` looks into it. (nbformat's own check takes a millisecond.)"""
        if self.clear_before_next_output:
            self.clear_before_next_output = False
            self.clear_output(outs, {"content": {}, "parent_header": {}}, cell_index)
        if msg["msg_type"] in outputs.KINDS:
            if display_id:
                self._display_id_map.setdefault(display_id, {}).setdefault(cell_index, []).append(len(outs))
            outs.append(outputs.text_alone(NotebookNode(msg["content"], output_type=msg["msg_type"])))

    async def _async_poll_for_reply(
        self, msg_id: str, cell: NotebookNode, timeout: int | None, outputs: asyncio.Task, alive: asyncio.Task
    ) -> dict[str, Any]:
        """As nbclient does, but for how long it waits for outputs once the reply is there."""

        async def in_time() -> None:
            await self._wait_own({outputs}, IOPUB_S)
            if not outputs.done():
                raise TimeoutError
            outputs.result()

        waiting = in_time()
        try:
            return await super()._async_poll_for_reply(msg_id, cell, timeout, waiting, alive)
        finally:
            waiting.close()

    async def _async_poll_kernel_alive(self) -> None:
        """`_run_cell` watches the kernel."""

    def handle_comm_msg(self, outs: list[NotebookNode], msg: dict[str, Any], cell_index: int) -> None:
        """Widgets have nobody to talk to here."""

    # --- the result ---

    def result(self) -> Result:
        result = Result(copy.deepcopy(self.original), notes=self.notes)
        for index, cell in enumerate(result.notebook.cells):
            if cell.cell_type == "code":
                cell.execution_count = None
                cell.outputs = self.outputs.get(index, [])
                self._mark(index, cell, result)
        for name in self.judge.exercises.keys() - set(self.checks.values()):
            result.verdicts[f"check_{name}"] = self._no_verdict(name, "its check cell is missing")
        result.usage = {
            "cpu_s": sum(m.used("cpu_s") for m in self.managers),
            "peak_memory_bytes": max((m.used("peak_memory_bytes") for m in self.managers), default=0),
            "kernels": len(self.managers),
        }
        return result

    def _mark(self, index: int, cell: NotebookNode, result: Result) -> None:
        """Write the outputs that the cell's mark is read from."""
        if name := self.checks.get(index):
            verdict = self.verdicts.get(index) or self._no_verdict(name, "its check cell is empty")
            causes.explain(verdict, self.original.cells, self.outputs, index)
            result.verdicts[f"check_{name}"] = verdict
            cell.outputs = outputs.of_verdict(verdict, points(cell))
        elif grading(cell).get("grade") and not grading(cell).get("solution"):
            if index not in self.outputs:
                cell.outputs = [outputs.error("NotRun", "the cell is empty")]
            cell.outputs = outputs.of_tests(cell.outputs, points(cell))
            result.notes.append(note(Kind.IN_KERNEL, cell=self._name(index)))

    def _no_verdict(self, name: str, reason: str) -> Verdict:
        return no_verdict(name, self.judge.exercises[name].points, reason)

    def _name(self, index: int) -> str:
        name = grade_id(self.original.cells[index])
        return f"{index + 1}" + (f" ({name})" if name else "")


class _OwnTime:
    """The seconds that a kernel has used itself.

    That is processor time, and time in which it waits for nothing that this machine could hurry: where others keep the
    machine busy, no time goes by.
    """

    def __init__(self, kernel: "_Manager"):
        self.kernel, self.seconds = kernel, 0.0
        self.clock, self.used = time.monotonic(), kernel.busy()[0]

    def tick(self, asked: float, waiting: bool = True) -> None:
        """Count what went by since the last tick.

        Args:
            asked: seconds to this tick, at most; if it came later, this process itself was kept waiting.
            waiting: for the kernel, since nothing has come from it.
        """
        then, self.clock, before, (self.used, runs) = self.clock, time.monotonic(), self.used, self.kernel.busy()
        worked = max(0.0, self.used - before)
        idle = waiting and not runs and worked < 0.01 * (self.clock - then)
        self.seconds += min(self.clock - then, 2 * asked) if idle else worked


class _Client(AsyncKernelClient):
    def start_channels(self, **_: Any) -> None:
        super().start_channels(stdin=False, hb=False)  # nobody types here

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Until the kernel answers and its outputs arrive; without the pauses that the original has for safety.

        Args:
            timeout: seconds of the kernel's own.
        """
        clock = _OwnTime(self.parent)
        while clock.seconds < (timeout or 60):
            request = self.kernel_info()
            try:
                await self._async_recv_reply(request, timeout=1)
                while (await self.get_iopub_msg(timeout=0.5))["parent_header"].get("msg_id") != request:
                    pass
                return
            except (TimeoutError, Empty):
                if not await self.is_alive():
                    raise RuntimeError(f"it ended at once ({await self.parent.end()})") from None
            clock.tick(1.5)
        raise RuntimeError(f"no answer within {timeout} s")


class _Manager(AsyncKernelManager):
    """A Python kernel, whatever the notebook's kernelspec says, on sockets in our folder."""

    client_factory = _Client

    def __init__(self, place: _Place, number: int):
        context = zmq.asyncio.Context()
        options = {zmq.MAXMSGSIZE: place.limits.message_bytes, zmq.LINGER: 0}
        options[zmq.RCVHWM] = 0  # no queue drops outputs; the relay's count bounds it
        options[zmq.HANDSHAKE_IVL] = 0  # a kernel may start slowly: `startup_s` decides
        for option, value in options.items():
            context.setsockopt(option, value)
        path = place.folder / f"kernel-{number}"
        super().__init__(transport="ipc" if judges.UNIX else "tcp", connection_file=f"{path}.json", context=context)
        self.session.unpack = plain.parsed
        self.judge, self.work, self.place = place.folder / "judge", Path(f"{path}.work"), place
        provisioner = {"provisioner_name": "local-provisioner"}
        if place.sandbox:
            config = {"limits": place.limits, "judge": self.judge, "files": place.files, "warm": place.warm}
            provisioner = {"provisioner_name": "course-sandbox", "config": config}
        self._kernel_spec = KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            interrupt_mode="message",
            metadata={"kernel_provisioner": provisioner},
        )

    def launch_arguments(self) -> dict[str, Any]:
        """For an ordinary kernel: a copy of the files to run in, and where the judge is. (The sandbox has its own.)"""
        if self.place.sandbox:
            return {}
        self.work.mkdir()
        if self.place.files:
            limits = self.place.limits
            inside.copy_files(str(self.place.files), str(self.work), 10 * limits.files, limits.disk_bytes)
        judge = {"COURSE_JUDGE": self.place.judge}
        return {
            "cwd": str(self.work),
            "env": {"MPLBACKEND": "module://matplotlib_inline.backend_inline"} | os.environ | judge,
        }

    def client(self, **kwargs: Any) -> _Client:
        return super().client(context=self.context, **kwargs)

    def busy(self) -> tuple[float, bool]:
        """Seconds of processor time that the kernel and its children have used, and whether any of them would run."""
        if self.place.sandbox:
            return usage.busy(self.provisioner.folders())
        used, runs = 0.0, False
        try:
            kernel = psutil.Process(self.provisioner.pid)
            for process in (kernel, *kernel.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    used += sum(process.cpu_times()[:4])
                    runs |= process.status() in (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP, psutil.STATUS_WAKING)
        except psutil.Error:  # it has ended
            pass
        return used, runs

    def memory(self) -> int:
        """Bytes that the largest process in the sandbox holds now, which is the kernel or worse."""
        held = [0]
        for process in self.provisioner.process.processes() if self.place.sandbox else ():
            with contextlib.suppress(psutil.Error):
                held.append(process.memory_info().rss)
        return max(held)

    async def end(self) -> str:
        """What ended the kernel: we, for a reason, a signal, or it did by itself."""
        signals = {128 + s: s.name for s in signal.Signals} | {-s: s.name for s in signal.Signals}
        code = await self.provisioner.poll()
        return getattr(self.provisioner, "reason", None) or signals.get(code, f"exit code {code}")

    def used(self, what: str) -> float:
        return getattr(self.provisioner, what, 0)

    def said(self) -> str:
        return getattr(self.provisioner, "stderr", b"").decode(errors="replace")

    def close(self) -> None:
        """End the kernel at once (again does nothing)."""
        if self.place.sandbox and self.provisioner:
            self.provisioner.close()
        elif self.provisioner and (process := self.provisioner.process) and process.poll() is None:
            process.kill()
            process.wait()
        self._close_control_socket()
        shutil.rmtree(self.work, ignore_errors=True)
        self.context.destroy(linger=0)


# --- cells ------------------------------------------------------------------------------------------------------------


def _out_of_memory(reply: dict[str, Any]) -> bool:
    """Whether a cell ended for want of memory: Python's own error, numpy's, or torch's, which is a RuntimeError."""
    return "MemoryError" in str(reply.get("ename")) or "allocate memory" in str(reply.get("evalue"))


def _not_copied(said: str) -> list[Note]:
    """Of which files the sandbox said that it left them out."""
    found = []
    for line in said.splitlines():
        if line.startswith(inside.NOT_COPIED):
            name, _, why = line.removeprefix(inside.NOT_COPIED).partition("\t")
            found.append(note(Kind.FILE_NOT_COPIED, name, why) if why else note(Kind.FILES_NOT_COPIED, name))
    return found


# --- surroundings -----------------------------------------------------------------------------------------------------


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM run every `finally`, where nobody else handles it."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
