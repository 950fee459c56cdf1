"""Runs a notebook in a (sandboxed) kernel and lets the judge give the verdicts: notebook in, result out, no more.

The kernel is the student's: what it says on its channels is shown, never believed. Whatever it does ends in a result.
"""

import asyncio
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq.asyncio
from jupyter_client import AsyncKernelClient, AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from nbclient.util import run_sync
from nbformat import NotebookNode
from nbformat.v4 import new_output

from course_utils.check import ExerciseCases, Verdict
from course_utils.grading.judge import Judge, no_verdict
from course_utils.grading.sandbox import DEFAULTS, Limits, MiB, SandboxError

GRACE_S = 3  # for a cell to end after its interrupt
IOPUB_S = 8  # for outputs to arrive after the reply
SHOWN = ("text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml", "image/png", "image/jpeg")


@dataclass
class Result:
    """What came of a notebook.

    Attributes:
        notebook: with outputs; those of check cells are the verdicts, written by us.
        verdicts: grade_id of the check cell -> verdict.
        notes: what happened, in which cell, in plain sentences.
        usage: wall_s, cpu_s, peak_memory_bytes, kernels.
    """

    notebook: NotebookNode
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    usage: dict[str, float] = field(default_factory=dict)


def execute(
    notebook: NotebookNode,
    exercises: dict[str, ExerciseCases],
    *,
    files: Path | None = None,
    limits: Limits = DEFAULTS,
    sandbox: bool = True,
    judge_class: type[Judge] = Judge,
) -> Result:
    """Run all cells and judge the exercises.

    Args:
        exercises: name -> cases; the cell with grade_id `check_NAME` is judged.
        files: folder whose files (not its notebooks) are copied to where the notebook runs.
        sandbox: False runs an ordinary kernel, for one's own notebook.

    Raises:
        SandboxError: no kernel could be started; never for what the notebook does.
    """
    begin = time.monotonic()
    with _terminable(), tempfile.TemporaryDirectory(prefix="course-", dir=_short_folder()) as name:
        folder = Path(name)
        (folder / "judge").mkdir(mode=0o755)
        with judge_class(exercises, folder / "judge") as judge:
            run = _Run(notebook, judge, folder, files, limits, sandbox)
            try:
                run_sync(run.all)()
            finally:
                run.close()
    result = run.result()
    result.usage["wall_s"] = time.monotonic() - begin
    return result


class _Dead(Exception):
    """The kernel ended, or has to."""


class _Run(NotebookClient):
    """nbclient's client, cell by cell, with a new kernel where one died."""

    def __init__(
        self, notebook: NotebookNode, judge: Judge, folder: Path, files: Path | None, limits: Limits, sandbox: bool
    ):
        super().__init__(
            copy.deepcopy(notebook),
            allow_errors=True,
            timeout=None,
            iopub_timeout=IOPUB_S,
            raise_on_iopub_timeout=True,
            record_timing=False,
            store_widget_state=False,
            startup_timeout=int(limits.startup_s),
        )
        self.original, self.judge, self.folder, self.files, self.limits, self.sandbox = (
            notebook,
            judge,
            folder,
            files,
            limits,
            sandbox,
        )
        self.deadline = time.monotonic() + limits.notebook_s
        self.outputs: dict[int, list[NotebookNode]] = {}  # by index of the cell
        self.verdicts: dict[int, Verdict] = {}
        self.notes: list[str] = []
        self.skipped: set[int] = set()  # cells that a new kernel does not run again
        self.stopped = ""  # why no more cells run
        self.managers: list[_Manager] = []
        self.deaths = 0
        names = [_exercise(cell, judge.exercises) for cell in notebook.cells]
        self.checks = {i: n for i, n in enumerate(names) if n and n not in names[:i]}

    # --- the cells, in order ---

    async def all(self) -> None:
        for index, cell in enumerate(self.original.cells):
            if cell.cell_type == "code" and cell.source.strip():
                await self._cell(index)
        await self._end_kernel()

    async def _cell(self, index: int) -> None:
        reason = await self._ready(index)
        name = self.checks.get(index)
        if reason:
            self.skipped.add(index)
            self.outputs[index] = [_error("NotRun", reason)]
            if name:
                self.verdicts[index] = no_verdict(name, self.judge.exercises[name].points, reason)
            return
        if name:
            self.judge.open(name)
        try:
            self.outputs[index] = await self._run(index)
        except _Dead as death:
            self.outputs[index] = [_error("KernelDied", str(death))]
            await self._bury(index, str(death))
        finally:
            if name:
                self.verdicts[index] = self.judge.close()

    async def _ready(self, index: int) -> str:
        """Have a kernel in which the cells before this one ran; else why there is none."""
        while self.kc is None and not self.stopped:
            await self._start_kernel()
            for before in range(index):
                cell = self.original.cells[before]
                if cell.cell_type != "code" or before in self.skipped or before in self.checks:
                    continue
                try:
                    await self._run(before)
                except _Dead as death:
                    await self._bury(before, str(death))
                    break
        if not self.stopped and time.monotonic() > self.deadline:
            self.stopped = f"the notebook's time limit of {self.limits.notebook_s:.0f} s was used up"
            self.notes.append(f"From {self._name(index)} on nothing ran: {self.stopped}.")
        return self.stopped

    async def _run(self, index: int) -> list[NotebookNode]:
        """Run a cell and return what it put out.

        Raises:
            _Dead: the kernel is gone or does not react; it has to be replaced.
        """
        cell = copy.deepcopy(self.original.cells[index])
        self._display_id_map = {}  # a later cell does not change this one's outputs
        task = asyncio.ensure_future(self.async_execute_cell(cell, index))
        gone = asyncio.ensure_future(self._gone())
        seconds = max(0.0, min(self.limits.cell_s, self.deadline - time.monotonic()))
        try:
            await asyncio.wait({task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and not gone.done():
                self.skipped.add(index)
                self.notes.append(f"{self._name(index)} ran longer than {seconds:.0f} s and was interrupted.")
                await self.km.interrupt_kernel()
                await asyncio.wait({task, gone}, timeout=GRACE_S, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                raise _Dead(gone.result())
            if not task.done():
                raise _Dead("did not react to the interrupt")
            if error := task.exception():
                raise _Dead(f"sent something that is no answer ({type(error).__name__})")
            return cell.outputs
        finally:
            for future in (task, gone):
                future.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)

    async def _gone(self) -> str:
        """Returns when the kernel's process has ended: why."""
        while (code := await self.km.provisioner.poll()) is None:
            await asyncio.sleep(0.05)
        return getattr(self.km.provisioner, "reason", None) or f"ended its kernel (exit code {code})"

    # --- kernels ---

    async def _start_kernel(self) -> None:
        manager = _Manager(self.folder, len(self.managers), self.judge_folder, self.files, self.limits, self.sandbox)
        self.managers.append(manager)
        self.km = manager
        try:
            await manager.start_kernel(**({} if self.sandbox else manager.local()))
            await self.async_start_new_kernel_client()
        except Exception as error:
            said = getattr(manager.provisioner, "stderr", b"").decode(errors="replace")
            raise SandboxError(f"the kernel did not start: {error}\n{said}".strip()) from error

    @property
    def judge_folder(self) -> Path:
        return self.folder / "judge"

    async def _bury(self, index: int, reason: str) -> None:
        self.deaths += 1
        self.skipped.add(index)
        self.notes.append(f"{self._name(index)} {reason}; the cells after it ran in a new kernel.")
        if self.deaths >= self.limits.deaths:
            self.stopped = f"the kernel died {self.deaths} times"
            self.notes[-1] = f"{self._name(index)} {reason}; the cells after it did not run, because {self.stopped}."
        await self._end_kernel()

    async def _end_kernel(self) -> None:
        if self.km:
            await self.km.shutdown_kernel(now=True)
        if self.kc:
            self.kc.stop_channels()
        self.km = self.kc = None

    def close(self) -> None:
        """End what is left, without an event loop."""
        for manager in self.managers:
            manager.close()

    # --- messages ---

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        try:
            return super().process_message(msg, cell, cell_index)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            return None  # forged: no kernel sends that

    def handle_comm_msg(self, outs: list[NotebookNode], msg: dict[str, Any], cell_index: int) -> None:
        """Widgets have nobody to talk to here."""

    # --- the result ---

    def result(self) -> Result:
        result = Result(copy.deepcopy(self.original), notes=self.notes)
        count = 0
        for index, cell in enumerate(result.notebook.cells):
            if cell.cell_type != "code":
                continue
            count += bool(cell.source.strip())
            cell.execution_count = count if cell.source.strip() else None
            cell.outputs = _clean(self.outputs.get(index, []), self.limits.output_bytes)
            grading = cell.metadata.get("nbgrader", {})
            if index in self.checks:
                verdict = self.verdicts.get(index) or self._unchecked(self.checks[index], "its check cell is empty")
                result.verdicts[grading["grade_id"]] = verdict
                cell.outputs = _as_outputs(verdict, count, float(grading.get("points", verdict.max_points)))
            elif grading.get("grade") and not grading.get("solution"):
                cell.outputs = _as_graded(cell.outputs, float(grading.get("points", 0)), index in self.outputs)
                result.notes.append(f"The verdict of {self._name(index)} was made in the student's kernel.")
        for name in self.judge.exercises.keys() - set(self.checks.values()):
            result.verdicts[f"check_{name}"] = self._unchecked(name, "its check cell is missing")
        result.usage = {
            "cpu_s": sum(m.used("cpu_s") for m in self.managers),
            "peak_memory_bytes": max((m.used("peak_memory_bytes") for m in self.managers), default=0),
            "kernels": len(self.managers),
        }
        return result

    def _unchecked(self, name: str, reason: str) -> Verdict:
        return no_verdict(name, self.judge.exercises[name].points, reason)

    def _name(self, index: int) -> str:
        grade_id = self.original.cells[index].metadata.get("nbgrader", {}).get("grade_id")
        return f"Cell {index + 1}" + (f" ({grade_id})" if grade_id else "")


class _Client(AsyncKernelClient):
    def start_channels(self, **_: Any) -> None:
        super().start_channels(stdin=False, hb=False)


class _Manager(AsyncKernelManager):
    """A kernel whatever the notebook's kernelspec says, on sockets in our folder; messages have a largest size."""

    client_factory = _Client

    def __init__(
        self, folder: Path, number: int, judge: Path, files: Path | None, limits: Limits, sandbox: bool, **kwargs: Any
    ):
        context = zmq.asyncio.Context()
        context.setsockopt(zmq.MAXMSGSIZE, limits.message_bytes)
        context.setsockopt(zmq.RCVHWM, 100)
        context.setsockopt(zmq.LINGER, 0)
        path = folder / f"kernel-{number}"
        super().__init__(transport="ipc", connection_file=f"{path}.json", context=context, **kwargs)
        config = {"limits": limits, "judge": judge, "files": files} if sandbox else {}
        self.judge, self.files, self.work = judge, files, Path(f"{path}.work")
        self._kernel_spec = KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            interrupt_mode="message",
            metadata={
                "kernel_provisioner": {
                    "provisioner_name": "course-sandbox" if sandbox else "local-provisioner",
                    "config": config,
                }
            },
        )

    def local(self) -> dict[str, Any]:
        """How an ordinary kernel is started: in a copy of the files, with the judge's address."""
        if self.files:
            shutil.copytree(self.files, self.work, ignore=shutil.ignore_patterns("*.ipynb"))
        self.work.mkdir(exist_ok=True)
        return {"cwd": str(self.work), "env": os.environ | {"COURSE_JUDGE": str(self.judge / "judge.sock")}}

    def client(self, **kwargs: Any) -> _Client:
        return super().client(context=self.context, **kwargs)

    def used(self, what: str) -> float:
        return getattr(self.provisioner, what, 0)

    def close(self) -> None:
        if close := getattr(self.provisioner, "close", None):
            close()
        elif self.provisioner and self.provisioner.process:
            self.provisioner.process.kill()
        self.context.destroy(linger=0)


# --- cells and outputs ------------------------------------------------------------------------------------------------


def _exercise(cell: NotebookNode, exercises: dict[str, ExerciseCases]) -> str | None:
    """The exercise that this cell checks."""
    grading = cell.metadata.get("nbgrader", {})
    name = str(grading.get("grade_id", "")).removeprefix("check_")
    is_check = cell.cell_type == "code" and grading.get("grade") and grading.get("grade_id") == f"check_{name}"
    return name if is_check and name in exercises else None


def _as_outputs(verdict: Verdict, count: int, most: float) -> list[NotebookNode]:
    """What nbgrader reads: text, then the points as the cell's value."""
    points = {"text/plain": str(float(min(verdict.points, most)))}
    return [
        new_output("stream", name="stdout", text=_text(verdict.message) + "\n"),
        new_output("execute_result", data=points, execution_count=count),
    ]


def _as_graded(outputs: list[NotebookNode], most: float, ran: bool) -> list[NotebookNode]:
    """Outputs of a plain test cell that nbgrader reads as the test meant: an error is 0, warnings cost nothing."""
    errors = [o for o in outputs if o.output_type == "error"] or ([] if ran else [_error("NotRun", "it did not run")])
    results = [o for o in outputs if o.output_type == "execute_result"]
    others = [o for o in outputs if o.output_type == "display_data" or o.get("name") == "stdout"]
    if errors:
        return errors + others
    scores = [(_number(o.data.get("text/plain", "")), o) for o in results]
    scores = sorted(((s, o) for s, o in scores if s is not None), key=lambda pair: pair[0])
    if any(not 0 <= s <= most for s, _ in scores):
        return [_error("ValueError", f"the cell's value is no number of points between 0 and {most:g}"), *others]
    return others + [o for _, o in scores[:1]]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return -1.0 if math.isnan(value) else value


def _clean(outputs: list[NotebookNode], limit: int) -> list[NotebookNode]:
    """Well-formed outputs, streams joined, cut after `limit` characters with a line that says so."""
    kept, left = [], limit
    for kind, group in itertools.groupby(outputs, lambda o: (o.output_type, o.get("name"))):
        for output in [_joined(kind[1], list(group))] if kind[0] == "stream" else group:
            output = _well_formed(output)
            size = len(str(output))
            if size > left and output.output_type == "stream":
                kept.append(output | {"text": output.text[: max(0, left)]})
            elif size <= left:
                kept.append(output)
            left -= size
    if left < 0:
        said = f"\n… cut here: this cell put out more than {limit / MiB:.3g} MiB\n"
        kept.append(new_output("stream", name="stdout", text=said))
    return kept


def _joined(name: str, parts: list[NotebookNode]) -> NotebookNode:
    """One stream of many, as a terminal would show it: what a progress bar overwrote is gone."""
    text = "".join(str(part.text) for part in parts)
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return new_output("stream", name=name, text="\n".join(lines))


def _well_formed(output: NotebookNode) -> NotebookNode:
    """The output with nothing in it but text of known kinds; error texts of any length, which nobody reads, are cut."""
    match output.output_type:
        case "stream":
            return new_output("stream", name="stderr" if output.name == "stderr" else "stdout", text=_text(output.text))
        case "error":
            lines = [_text(line)[:2000] for line in list(output.traceback)[:200]]
            return new_output(
                "error", ename=_text(output.ename)[:200], evalue=_text(output.evalue)[:2000], traceback=lines
            )
        case kind:
            data = {mime: _text(output.data[mime]) for mime in SHOWN if isinstance(output.data.get(mime), str)}
            return new_output(kind, data=data)


def _text(value: Any) -> str:
    """As text that can be written to a file."""
    return str(value).encode("utf-8", "replace").decode()


def _error(name: str, text: str) -> NotebookNode:
    return new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])


# --- surroundings -----------------------------------------------------------------------------------------------------


def _short_folder() -> str | None:
    """Paths of unix sockets have at most 107 characters, so not TMPDIR, which can be long."""
    return "/tmp" if Path("/tmp").is_dir() else None


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM run the `finally`s, where nobody else handles it."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
