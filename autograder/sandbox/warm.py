"""Warm starts: one sandbox whose first process has imported what notebooks import, and forks a kernel for each.

Importing torch is most of the cost of a small notebook. `shared()` gives the parent of this process (`parent.py` runs
inside); where a kernel cannot be forked, `fork` says so by None, and the caller starts one from cold.
"""

import ast
import atexit
import json
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from nbformat import NotebookNode

from autograder import temporary
from autograder.limits import DEFAULTS, Limits
from autograder.sandbox import inside, provisioner, seccomp

# for new namespaces, mounts in them, a loopback; no kernel keeps any
RIGHTS = (*provisioner.RIGHTS, "SYS_ADMIN", "NET_ADMIN")
RIGHTS_OF_OTHERS = ("SYS_ADMIN", "NET_ADMIN", "SETFCAP")  # where the grader is not root: in bubblewrap's namespace
PATIENCE_S = 60


class Fork:
    """A kernel that the parent forked, in the place of a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, channel: socket.socket, pidfd: int):
        self._channel, self._pidfd, self._lock = channel, pidfd, threading.Lock()
        self.returncode: int | None = None
        lines = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
        self.pid = int(next(line for line in lines if line.startswith("Pid:")).split()[1])

    def first(self) -> int:
        """The kernel, whose number others cannot have while it is not waited for."""
        return self.pid

    def processes(self) -> list[psutil.Process]:
        """The kernel, and what it has started."""
        try:
            kernel = psutil.Process(self.pid)
            return [kernel, *kernel.children(recursive=True)]
        except (psutil.Error, ValueError):
            return []

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        if (code := self._look(timeout)) is None:
            raise subprocess.TimeoutExpired("a forked kernel", timeout)
        return code

    def _look(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._channel], [], [], timeout)[0]:
                try:
                    self.returncode = int(self._channel.recv(100) or -signal.SIGKILL)  # nothing: the parent has gone
                except (OSError, ValueError):
                    self.returncode = -signal.SIGKILL
                self._channel.close()
                os.close(self._pidfd)
            return self.returncode

    def kill(self) -> None:
        """End the kernel and, since it is the first of its namespace, all that it has started."""
        with self._lock:
            if self.returncode is None:
                try:
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                except ProcessLookupError:  # it has ended by itself
                    pass


class Parent:
    """Loads in the background as soon as it is made. Several threads may fork; `close` ends it and all its kernels.

    `spool` is the folder that must hold everything a kernel may see.

    Args:
        modules: what to import, by name; what cannot be imported is skipped.
        device: "cuda" shows the GPU to its kernels; the parent itself does not use it.
    """

    def __init__(self, modules: Iterable[str] = (), device: str = "cpu"):
        self.modules, self.device = tuple(modules), device
        self._folder = temporary.Folder()
        self.spool = self._folder.path
        self.problem = ""  # why nothing can be forked
        self._lock, self._loaded = threading.Lock(), False
        own = self.spool / "parent"
        own.mkdir()
        limits = replace(DEFAULTS, device=device)
        provisioner.kernel_spec(limits, own)
        provisioner.copy_fonts(own / "fonts")
        seen = {"/etc/passwd": own / "passwd", inside.KERNEL: own, "/run/spool": self.spool}
        seen |= {"/run/course": None, inside.FILES: None}  # places to mount on
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        rights = RIGHTS if provisioner.is_root() else RIGHTS_OF_OTHERS
        with theirs:
            self._process, self._stderr = provisioner.launch(
                ["parent.py", str(theirs.fileno()), *self.modules], limits, seen, rights, [theirs.fileno()]
            )

    @property
    def alive(self) -> bool:
        return not self.problem and not self.gone

    def fits(self, limits: Limits) -> bool:
        """Whether its kernels can have these limits: a process in which numpy has started threads cannot be forked."""
        return self.device == limits.device and limits.threads == 1

    @property
    def gone(self) -> bool:
        """Whether its process has ended, and all its kernels with it."""
        return _hung_up(self.control) or self._process.poll() is not None

    def fork(
        self, spec: dict[str, Any], seen: dict[str, Path], stderr: int, sockets: dict[int, socket.socket]
    ) -> Fork | None:
        """A new kernel, or None if there can be none: then `problem` says why.

        Args:
            spec: as `inside.py` wants it.
            seen: path inside -> folder or file in the spool, which is seen there read-only.
            stderr: where the kernel's goes.
            sockets: port -> listening socket.
        """
        spec = spec | {"ports": list(sockets), "filter": seccomp.filter_program().hex()}
        spec["seen"] = {target: str(source.relative_to(self.spool)) for target, source in seen.items()}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        descriptors = [theirs.fileno(), stderr, *(s.fileno() for s in sockets.values())]
        try:
            with theirs, self._lock:
                self._wait_until_loaded()
                socket.send_fds(self.control, [json.dumps(spec).encode()], descriptors)
            ours.settimeout(PATIENCE_S)
            said, pidfds, _, _ = socket.recv_fds(ours, 1000, 1)
            if pidfds:
                return Fork(ours, pidfds[0])
            raise OSError(said.decode(errors="replace") or "it ended")
        except OSError as error:  # also for time-outs
            ours.close()
            self.problem = f"kernels cannot be forked here ({error}) {self.said()}".strip()
            return None

    def _wait_until_loaded(self) -> None:
        if not self._loaded:
            self.control.settimeout(PATIENCE_S)
            if self.control.recv(100) != b"ready":
                raise OSError("it did not start")
            self._loaded = True

    def said(self) -> str:
        return provisioner.read(self._stderr).decode(errors="replace").strip()

    def close(self) -> None:
        self.problem = self.problem or "it was closed"
        self.control.close()
        if self._process.poll() is None:
            self._process.kill()
        self._folder.close()


class Guest(Parent):
    """The parent of another process, which lent its end of the connection: forks kernels, and ends nothing."""

    def __init__(self, control: socket.socket, spool: str, modules: Iterable[str], device: str = "cpu"):
        self.modules, self.spool, self.device, self.problem = tuple(modules), Path(spool), device, ""
        self.control = control
        self._lock, self._loaded = threading.Lock(), True  # what is asked before it has loaded waits in the connection

    @property
    def gone(self) -> bool:
        return _hung_up(self.control)

    def said(self) -> str:
        return ""

    def close(self) -> None:
        self.problem = self.problem or "it was closed"
        self.control.close()


def _hung_up(end: socket.socket) -> bool:
    """Whether nobody has the other end of a connection any more."""
    if end.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(end, 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


_parents: list[Parent] = []
_lock = threading.Lock()


def shared(modules: Iterable[str] = (), limits: Limits = DEFAULTS) -> Parent | None:
    """The parent of this process for kernels with these modules and limits, made when it is first asked for.

    None where there can be none, or three in a row came to nothing.
    """
    modules = tuple(modules)
    if limits.threads > 1:
        return None
    with _lock:
        same = [p for p in _parents if p.modules == modules and p.fits(limits)]
        if same and same[-1].alive:
            return same[-1]
        if len(same) >= 3 or provisioner.missing() or provisioner.is_alone():
            return None
        if not _parents:
            atexit.register(close)
        _parents.append(Parent(modules, limits.device))
        return _parents[-1]


def close() -> None:
    """End what `shared` has made."""
    with _lock:
        while _parents:
            _parents.pop().close()


def imports(notebook: NotebookNode) -> list[str]:
    """The modules that a notebook's code names in its imports, in their order; with what torch imports when it is used.

    That is a second of work for each kernel otherwise: it comes with training, and with the device that a check plays.
    """
    found = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:  # a line of IPython's own
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    late = ["torch._dynamo", "safetensors.torch", "course_utils.runtime"] if "torch" in found else []
    return list(dict.fromkeys(found + late))
