"""A Jupyter kernel in a sandbox (bubblewrap): no network, no files but the installed libraries, limits on all it uses.

`SandboxProvisioner` uses jupyter_client's own extension point for where a kernel runs. The kernel gets sockets on which
we listen already: it can write to nothing that it shares with us. All that it sends passes a relay that counts it.
"""

import contextlib
import functools
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.provisioning import LocalProvisioner
from traitlets import Instance

import course_utils
from autograder import temporary
from autograder.limits import DEFAULTS, Limits, MiB
from autograder.sandbox import alone, gpu, inside, seccomp, usage
from autograder.sandbox.relay import listen, relay, shut, start_thread
from course_utils.paths import cache_folder

PARTS = ("bin", "lib", "lib32", "lib64", "libexec", "share", "pyvenv.cfg")  # of /usr and of Python's folders
SYSTEM = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/sys/devices/system/cpu")
CHANNELS = ("shell", "iopub", "control", "stdin", "hb")
RELAYED = CHANNELS[:3]  # nobody out here listens to the others
ALONE = "COURSE_ALONE"  # in the environment, "1": this container holds one hand-in; all else in it is closed to others
RIGHTS = ("SETUID", "SETGID", "CHOWN", "DAC_OVERRIDE")  # that root's `inside.py` keeps until it has become another user


class SandboxError(RuntimeError):
    """The grader's own surroundings do not allow a kernel to start: nothing that a student did."""


class SandboxProvisioner(LocalProvisioner):
    """Starts the kernel under bubblewrap, with limits and a watchdog.

    Traits (in the kernel spec's `metadata.kernel_provisioner.config`):
        limits: what the kernel may use.
        judge: folder with the judge's socket, seen inside as /run/course.
        files: folder that is copied to where the notebook runs.
        warm: a `warm.Parent` that forks the kernel, which then has little to import; `judge` must lie in its spool.
    """

    limits = Instance(Limits, ())
    judge = Instance(Path, allow_none=True)
    files = Instance(Path, allow_none=True)
    warm = Instance(object, allow_none=True)

    reason: str | None = None  # why we ended the kernel, for people
    sent_bytes = 0
    peak_memory_bytes = 0
    peak_gpu_memory_bytes = 0.0
    cpu_s = 0.0
    stderr = b""
    behind = False  # its processes run only where nobody else wants to
    _watchdog = None

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._listeners: list[socket.socket] = []
        self._ended = threading.Event()

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        info, folder = self.connection_info, self._folder
        if info["transport"] != "ipc":
            raise SandboxError('the sandbox has no network: its kernel needs transport="ipc"')
        folder.mkdir()
        folder.chmod(0o755)  # whatever the umask
        copy_fonts(folder / "fonts")
        ports = {channel: info[f"{channel}_port"] for channel in CHANNELS}
        seen_inside = info | {"ip": f"{inside.KERNEL}/k", "key": info["key"].decode()}
        (folder / "kernel.json").write_text(json.dumps(seen_inside))
        (folder / "kernel.json").chmod(0o644)
        inner = {port: listen(folder / f"k-{port}") for port in ports.values()}
        try:
            self.process, stderr = self._fork(folder, inner) or _start(
                self.limits, folder, self.judge, self.files, inner
            )
        finally:
            for listener in inner.values():
                listener.close()
        self.pid = self.process.pid
        self._watchdog = start_thread(self._watch, self.process, stderr)
        for port in (ports[channel] for channel in RELAYED):
            listener = listen(Path(f"{info['ip']}-{port}"))
            self._listeners.append(listener)
            start_thread(relay, listener, folder / f"k-{port}", self._spend, self._refused)
        return info

    def _fork(self, folder: Path, sockets: dict[int, socket.socket]) -> tuple[Any, int] | None:
        """A kernel of the warm parent and where to read its stderr; None without a parent, or if it cannot."""
        if self.warm is None:
            return None
        spec = kernel_spec(self.limits, folder)
        seen = {"/etc/passwd": folder / "passwd", inside.KERNEL: folder}
        if self.judge:
            seen["/run/course"] = self.judge
        if self.files:  # what a kernel sees must lie in the parent's folder
            shutil.copytree(self.files, folder.with_suffix(".files"), symlinks=True)
            seen[inside.FILES] = folder.with_suffix(".files")
        stderr, its_stderr = _pipe()
        process = self.warm.fork(spec, seen, its_stderr, sockets)
        os.close(its_stderr)
        if process is None:
            os.close(stderr)
            return None
        return process, stderr

    def end(self, reason: str | None = None) -> None:
        """Kill all processes of the sandbox.

        Args:
            reason: what the kernel did, to follow "Cell 3 …".
        """
        if (process := self.process) and process.poll() is None:
            self.reason = self.reason or reason
            process.kill()
        self._ended.set()

    async def kill(self, restart: bool = False) -> None:
        self.end()

    terminate = kill

    async def send_signal(self, signum: int) -> None:
        """Signals stay outside; interrupts go as a message."""

    async def cleanup(self, restart: bool = False) -> None:
        self.close()

    def close(self) -> None:
        """End all that is left and remove the folder (also from a `finally`, without an event loop)."""
        self.end()
        for listener in self._listeners:
            shut(listener)
        if self._watchdog:
            self._watchdog.join(5)
        for folder in (self._folder, self._folder.with_suffix(".files")):
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def _folder(self) -> Path:
        return Path(f"{self.connection_info['ip']}.d")

    def _spend(self, count: int) -> None:
        self.sent_bytes += count
        if self.sent_bytes > self.limits.traffic_bytes:
            self.end(f"put out more than {self.limits.traffic_bytes / MiB:.3g} MiB in all")

    def _refused(self) -> None:
        self.end(f"put out more than {self.limits.message_bytes / MiB:.3g} MiB at once")

    def _watch(self, process: Any, stderr: int) -> None:
        """Ends the kernel when its processes together use too much; keeps the first lines that it says on stderr."""
        limits, busy = self.limits, _Busy(self.limits.threads)
        try:
            while process.poll() is None:
                begin = time.thread_time()
                used = usage.measure(self.folders())
                memory = used.resident_bytes + used.kernel_bytes
                if memory > limits.memory_bytes:  # forks share pages: count each page once, which is slow
                    memory = used.kernel_bytes + sum(_each(process.processes(), lambda p: p.memory_full_info().pss))
                self.peak_memory_bytes, self.cpu_s = max(self.peak_memory_bytes, memory), max(self.cpu_s, used.cpu_s)
                if memory > limits.memory_bytes:
                    self.end(f"used more than {limits.memory_bytes / MiB:.0f} MiB of memory")
                elif self._gpu_memory(process) > limits.gpu_memory_bytes + gpu.CONTEXT_BYTES:
                    self.end(f"used more than {limits.gpu_memory_bytes / MiB:.0f} MiB of the GPU's memory")
                elif used.processes > limits.processes:
                    self.end(f"started more than {limits.processes} processes")
                elif used.cpu_s > limits.notebook_s * (limits.threads + 1):
                    self.end(f"used more than {used.cpu_s:.0f} s of processor time")
                elif self.behind or busy.more_than_its_share(used):
                    self.behind = True
                    usage.last([p.pid for p in process.processes()])
                self.stderr = (self.stderr + read(stderr))[:8192]
                # looking costs at most a twentieth of a core, unless somebody makes it slow so as not to be looked at
                if self._ended.wait(min(max(0.1, 20 * (time.thread_time() - begin)), 1)):
                    time.sleep(0.01)  # it was killed, and takes a moment to go
        finally:
            self.end("could not be watched")
            self.stderr = (self.stderr + read(stderr))[:8192]
            os.close(stderr)

    def folders(self) -> list[str]:
        """The folders in /proc of the sandbox's processes; none when it has ended."""
        if not (process := self.process):
            return []
        return usage.folders(process.first()) or [f"/proc/{p.pid}" for p in process.processes()]

    def _gpu_memory(self, process: Any) -> float:
        if self.limits.device == "cpu":
            return 0
        used = gpu.used_bytes([p.pid for p in process.processes()])
        self.peak_gpu_memory_bytes = max(self.peak_gpu_memory_bytes, used)
        return used


@functools.cache
def missing() -> str | None:
    """None if kernels can be sandboxed here; else what to do about it."""
    if sys.platform != "linux":
        return "the sandbox needs Linux (on macOS and Windows: a Linux machine, a virtual one or WSL)"
    if os.uname().machine not in seccomp.MACHINES:
        return f"the sandbox knows {' and '.join(seccomp.MACHINES)}, not {os.uname().machine}"
    return None if is_alone() else refused()


def is_alone() -> bool:
    """Whether kernels run without namespaces: they are refused, and all that is here besides is closed to others."""
    return os.environ.get(ALONE) == "1" and is_root() and refused() is not None


def refused() -> str | None:
    """Why bubblewrap cannot make its namespaces here; None if it can."""
    if not shutil.which("bwrap"):
        return "bubblewrap is missing: install it, on Debian and Ubuntu with `sudo apt install bubblewrap`"
    with temporary.temporary_folder() as folder:
        process, stderr = _under_bubblewrap(DEFAULTS, folder, None, None, {})
        code = process.wait()
        said = read(stderr).decode(errors="replace").strip()
        os.close(stderr)
    if code == 0:
        return None
    return f"bubblewrap does not work here ({said or f'exit code {code}'}). {_advice()}"


def _advice() -> str:
    restricted = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    if restricted.exists() and restricted.read_text().strip() == "1":
        return f"Allow it with `sudo sysctl -w {restricted.parent.name}.{restricted.name}=0` (or an AppArmor profile)."
    return "Is this a container? Start it with the right to make namespaces, or grade on the machine itself."


# --- starting ---------------------------------------------------------------------------------------------------------


def _start(
    limits: Limits, folder: Path, judge: Path | None, files: Path | None, sockets: dict[int, socket.socket]
) -> tuple["Bubblewrap | alone.Alone", int]:
    """The process of a kernel in its sandbox, and where to read its stderr."""
    if not is_alone():
        return _under_bubblewrap(limits, folder, judge, files, sockets)
    spec = kernel_spec(limits, folder) | {"sockets": {port: s.fileno() for port, s in sockets.items()}}
    stderr, its_stderr = _pipe()
    keep = [s.fileno() for s in sockets.values()]
    try:
        return alone.start(spec, folder, judge, files, keep, _environment(limits), its_stderr), stderr
    finally:
        os.close(its_stderr)


def _under_bubblewrap(
    limits: Limits, folder: Path, judge: Path | None, files: Path | None, sockets: dict[int, socket.socket]
) -> tuple["Bubblewrap", int]:
    spec = kernel_spec(limits, folder) | {"sockets": {port: s.fileno() for port, s in sockets.items()}}
    seen = {"/etc/passwd": folder / "passwd", inside.KERNEL: folder, "/run/course": judge, inside.FILES: files}
    program = ["inside.py", json.dumps(spec)]
    keep = [s.fileno() for s in sockets.values()]
    return launch(program, limits, seen, RIGHTS if is_root() else (), keep, seccomp.filter_program())


def kernel_spec(limits: Limits, folder: Path) -> dict[str, Any]:
    """What `inside.py` is told, but for the sockets; writes the list of users into the folder."""
    root = is_root()
    uid = 30_000 + secrets.randbelow(30_000) if root else None  # its own user: a limit on processes is per user
    number = uid or os.getuid()
    (folder / "passwd").write_text(f"student:x:{number}:{number}::{inside.HOME}:/bin/sh\n")
    (folder / "passwd").chmod(0o644)
    limited = {
        "RLIMIT_DATA": limits.memory_bytes,  # one process alone; a MemoryError there is kinder than the watchdog
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": 1024,
        "RLIMIT_CORE": 0,
        "RLIMIT_SIGPENDING": 1024,  # timers, too
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_CPU": int(limits.notebook_s * (limits.threads + 1)) + 1,
    }
    if root or _kernel_version() >= (5, 14):  # earlier, the limit counts all processes of the grader's user
        limited["RLIMIT_NPROC"] = limits.processes
    return {
        "uid": uid,
        "number": number,
        "limits": limited,
        "files": 10 * limits.files,  # those of the release lie beside the student's
        "files_bytes": limits.disk_bytes // 2,
        "disk_bytes": limits.disk_bytes,
        "gpu_share": limits.gpu_memory_bytes / gpu.total_bytes() if limits.device == "cuda" else None,
    }


def launch(
    program: list[str],
    limits: Limits,
    seen: dict[str, Path | None],
    rights: Iterable[str],
    keep: list[int],
    system_calls: bytes | None = None,
) -> tuple["Bubblewrap", int]:
    """Start one of the programs of this folder under bubblewrap.

    Args:
        program: its name, and its arguments.
        seen: path inside -> what is seen there, read-only; None: an empty folder.
        rights: capabilities that it keeps.
        keep: file descriptors that it inherits.
        system_calls: a seccomp program that decides on each.

    Returns:
        The process of bubblewrap, and where to read its stderr.
    """
    options = "\0".join(_bubblewrap(limits, seen, rights, program[0])).encode()
    stderr, its_stderr = _pipe()
    ends = [its_stderr, options_end := _readable(options)]
    command = [shutil.which("bwrap"), "--args", str(options_end)]
    if system_calls:
        ends.append(filter_end := _readable(system_calls))
        command += ["--seccomp", str(filter_end)]
    try:
        process = Bubblewrap(
            [*command, "--", sys.executable, "-I", "-B", f"{inside.CODE}/{program[0]}", *program[1:]],
            env=_environment(limits),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=its_stderr,
            pass_fds=[*ends[1:], *keep],
            start_new_session=True,
        )
    except OSError:
        os.close(stderr)
        raise
    finally:
        for end in ends:
            os.close(end)
    return process, stderr


def _bubblewrap(limits: Limits, seen: dict[str, Path | None], rights: Iterable[str], program: str) -> list[str]:
    """Bubblewrap's options: what is apart, what is seen. Nothing that is not named here is there."""
    options = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if (
        is_root()
    ):  # needs no namespace of users: `inside.py` becomes another user, for which it keeps these rights till then
        options += ["--cap-drop", "ALL"]
    else:
        options += ["--unshare-user"]
        options += ["--uid", "0", "--gid", "0"] if rights else []  # they are good for this namespace of users alone
    options += [o for right in rights for o in ("--cap-add", f"CAP_{right}")]
    options += ["--die-with-parent", "--new-session", "--hostname", "sandbox", "--proc", "/proc", "--dev", "/dev"]
    for path in gpu.device_files() if limits.device == "cuda" else ():
        options += ["--dev-bind", path, f"/dev/{Path(path).name}"]
    for target in ("/tmp", "/dev/shm"):  # all that can be written
        options += ["--perms", "1777", "--size", str(limits.disk_bytes), "--tmpfs", target]

    prefixes = ("/usr", "/usr/local", sys.prefix, sys.base_prefix)
    sources = {path: path for prefix in prefixes for path in _parts(prefix)} | {path: path for path in SYSTEM}
    sources |= {path: path for path in ("/bin", "/lib", "/lib32", "/lib64") if not os.path.islink(path)}
    sources |= {f"{inside.CODE}/course_utils": Path(course_utils.__file__).parent}
    sources |= {target: source for target, source in (seen | {"/run/cache": _cache()}).items() if source}
    for target in sorted(sources.keys() | seen.keys() | {str(p) for path in sources for p in Path(path).parents}):
        options += ["--ro-bind-try", str(sources[target]), target] if target in sources else ["--dir", target]
    for path in ("/bin", "/lib", "/lib32", "/lib64"):
        options += ["--symlink", os.readlink(path), path] if os.path.islink(path) else []
    for name in dict.fromkeys(("inside.py", program)):  # the launchers, and nothing else of the grader
        options += ["--ro-bind", str(Path(__file__).with_name(name)), f"{inside.CODE}/{name}"]
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]


def _parts(prefix: str) -> list[str]:
    """The folders of libraries and programs under a prefix, and nothing else that may lie there."""
    return [path for part in PARTS if os.path.exists(path := os.path.join(prefix, part))]


def _environment(limits: Limits) -> dict[str, str]:
    threads = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")
    return {
        "PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": inside.HOME,
        "IPYTHONDIR": f"{inside.HOME}/.ipython",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "COURSE_JUDGE": "/run/course/judge.sock",
        "COURSE_CACHE": "/run/cache" if _cache() else f"{inside.HOME}/.cache/course_utils",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",  # `inside.py` names the GPU to the kernel that may use it
    } | {f"{name}_NUM_THREADS": str(limits.threads) for name in threads}


def _cache() -> Path | None:
    """The course's cache of texts, if there is one."""
    path = cache_folder()
    return path if path.is_dir() else None


def is_root() -> bool:
    """Root who can become other users (in some containers root is the only one)."""
    return os.geteuid() == 0 and int(Path("/proc/self/uid_map").read_text().split()[2]) >= 2**16


def _kernel_version() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


def copy_fonts(target: Path) -> None:
    """Matplotlib's list of fonts, which takes seconds to make, if this user has one."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    for path in Path(os.environ.get("MPLCONFIGDIR") or f"{home}/matplotlib").expanduser().glob("fontlist-*.json"):
        target.mkdir(exist_ok=True)
        shutil.copy(path, target)


def _pipe() -> tuple[int, int]:
    """A pipe that is read without waiting."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    return reading, writing


def _readable(data: bytes) -> int:
    """A file descriptor from which the data can be read (at most what a pipe holds, 64 KiB)."""
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    return reading


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except BlockingIOError:
        return b""


# --- watching and ending ----------------------------------------------------------------------------------------------


class Bubblewrap(subprocess.Popen):
    """The process of bubblewrap, outside of its sandbox."""

    _first: int | None = None

    def first(self) -> int | None:
        """The first process in the sandbox, as soon as there is one."""
        if self._first is None:
            with contextlib.suppress(psutil.Error):
                self._first = next((child.pid for child in psutil.Process(self.pid).children()), None)
        return self._first

    def processes(self) -> list[psutil.Process]:
        """Those in the sandbox."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.Error:
            return []

    def kill(self) -> None:
        """End the first process in the sandbox and thereby all there; bubblewrap waits for them and ends by itself."""
        try:
            children = psutil.Process(self.pid).children()
            for child in children:
                child.kill()
        except psutil.Error:
            children = []
        try:
            self.wait(5 if children else 0)
        except subprocess.TimeoutExpired:
            super().kill()
            self.wait()


class _Busy:
    """Whether a sandbox takes more than its share of the processors, for some seconds: its neighbours would wait.

    By the processor time that its processes have used, or by how many of them want to run: what ends unseen, uses none.
    """

    WINDOW_S = 2.0

    def __init__(self, threads: int):
        self._share = threads + 0.5
        self._looks: deque[tuple[float, float, int]] = deque()

    def more_than_its_share(self, used: usage.Usage) -> bool:
        now = time.monotonic()
        self._looks.append((now, used.cpu_s, used.running))
        while now - self._looks[0][0] > 2 * self.WINDOW_S:
            self._looks.popleft()
        begin, cpu_s, _ = self._looks[0]
        if now - begin < self.WINDOW_S:
            return False
        running = sum(running for _, _, running in self._looks) / len(self._looks)
        return max((used.cpu_s - cpu_s) / (now - begin), running) > self._share


def _each(processes: list[psutil.Process], measure: Callable[[psutil.Process], float]) -> Iterator[float]:
    for process in processes:
        try:
            yield measure(process)
        except psutil.NoSuchProcess:
            pass
        except psutil.AccessDenied:  # it hides; only when all are over the limit already
            yield float("inf")
