"""A Jupyter kernel in a sandbox (bubblewrap): no network, no host files but the installed libraries, limits on all it uses.

`SandboxProvisioner` uses jupyter_client's own extension point for where a kernel runs. The kernel gets sockets that we made
and listen on already: it can write to nothing that it shares with us. All that it sends passes a relay that counts the bytes.
"""

import functools
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.provisioning import LocalProvisioner
from traitlets import Instance

from course_utils.grading import inside, seccomp

MiB = 2**20
PARTS = ("bin", "lib", "lib32", "lib64", "libexec", "share", "pyvenv.cfg")  # of /usr and of Python's folders
SYSTEM = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/sys/devices/system/cpu")
CHANNELS = ("shell", "iopub", "control", "stdin", "hb")
RELAYED = CHANNELS[:3]  # nobody out here listens to the others


class SandboxError(RuntimeError):
    """The grader's own surroundings do not allow a kernel to start: nothing that a student did."""


@dataclass(frozen=True)
class Limits:
    """What a submission may use. Times in seconds of wall clock, sizes in bytes."""

    cell_s: float = 60
    notebook_s: float = 600
    startup_s: float = 60
    memory_bytes: int = 4096 * MiB  # of all its processes together
    processes: int = 128  # and threads
    file_bytes: int = 256 * MiB
    disk_bytes: int = 512 * MiB  # its folder, /tmp and HOME together; /dev/shm has as much again
    output_bytes: int = MiB  # kept of one cell's outputs
    message_bytes: int = 16 * MiB  # of one output
    traffic_bytes: int = 64 * MiB  # sent by one kernel
    threads: int = 1
    deaths: int = 3  # of kernels, then no more cells run


DEFAULTS = Limits()


class SandboxProvisioner(LocalProvisioner):
    """Starts the kernel under bubblewrap, with limits and a watchdog.

    Traits (in the kernel spec's `metadata.kernel_provisioner.config`):
        limits: what the kernel may use.
        judge: folder with the judge's socket, seen inside as /run/course.
        files: folder that is copied to where the notebook runs.
    """

    limits = Instance(Limits, ())
    judge = Instance(Path, allow_none=True)
    files = Instance(Path, allow_none=True)

    reason: str | None = None  # why we ended the kernel, for people
    sent_bytes = 0
    peak_memory_bytes = 0
    cpu_s = 0.0
    stderr = b""
    _listeners: dict[int, socket.socket] = {}

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        info = self.connection_info
        folder = Path(f"{info['ip']}.d")
        folder.mkdir(mode=0o755)
        fonts = Path("~/.cache/matplotlib").expanduser()
        if fonts.is_dir():
            shutil.copytree(fonts, folder / "fonts", ignore=lambda _, names: [n for n in names if "fontlist" not in n])
        ports = {channel: info[f"{channel}_port"] for channel in CHANNELS}
        inner = {port: _listen(folder / f"k-{port}") for port in ports.values()}
        try:
            inside_info = info | {"ip": f"{inside.KERNEL}/k", "key": info["key"].decode()}
            (folder / "kernel.json").write_text(json.dumps(inside_info))
            (folder / "kernel.json").chmod(0o644)
            self.process, stderr = _start(self.limits, folder, self.judge, self.files, inner)
        finally:
            for listener in inner.values():
                listener.close()
        self.pid = self.process.pid
        self._watchdog = _thread(self._watch, self.process, stderr)
        self._listeners = {ports[channel]: _listen(Path(f"{info['ip']}-{ports[channel]}")) for channel in RELAYED}
        for port, listener in self._listeners.items():
            _thread(_relay, listener, str(folder / f"k-{port}"), self._spend)
        return info

    def end(self, reason: str | None = None) -> None:
        """Kill all processes of the sandbox."""
        self.reason = self.reason or reason
        if process := self.process:
            _kill(process)

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
        for listener in self._listeners.values():
            _shut(listener)
        shutil.rmtree(f"{self.connection_info['ip']}.d", ignore_errors=True)

    def _spend(self, count: int) -> None:
        self.sent_bytes += count
        if self.sent_bytes > self.limits.traffic_bytes:
            self.end(f"sent more than {self.limits.traffic_bytes // MiB} MiB of output")

    def _watch(self, process: subprocess.Popen, stderr: int) -> None:
        """Ends the kernel when its processes together use too much; keeps the first lines of what it says on stderr."""
        limits = self.limits
        while process.poll() is None:
            usage = _usage(process.pid, limits.memory_bytes)
            self.peak_memory_bytes = max(self.peak_memory_bytes, usage["memory"])
            self.cpu_s = max(self.cpu_s, usage["cpu"])
            if usage["memory"] > limits.memory_bytes:
                self.end(f"used more than {limits.memory_bytes // MiB} MiB of memory")
            elif usage["processes"] > limits.processes:
                self.end(f"started more than {limits.processes} processes")
            elif usage["cpu"] > limits.notebook_s * (limits.threads + 1):
                self.end("used too much processor time")
            time.sleep(0.1)
            self.stderr = (self.stderr + _read(stderr))[:8192]
        self.stderr = (self.stderr + _read(stderr))[:8192]
        os.close(stderr)


@functools.cache
def missing() -> str | None:
    """None if kernels can be sandboxed here; else what to do about it."""
    if sys.platform != "linux":
        return "the sandbox needs Linux (on macOS and Windows: a Linux machine, a virtual one or WSL)"
    if os.uname().machine not in seccomp.MACHINES:
        return f"the sandbox knows {' and '.join(seccomp.MACHINES)}, not {os.uname().machine}"
    if not shutil.which("bwrap"):
        return "bubblewrap is missing: install it, on Debian and Ubuntu with `sudo apt install bubblewrap`"
    with tempfile.TemporaryDirectory(prefix="course-") as folder:
        process, stderr = _start(Limits(), Path(folder), None, None, {})
        code = process.wait()
        said = _read(stderr).decode(errors="replace").strip()
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
) -> tuple[subprocess.Popen, int]:
    """The process of bubblewrap, and where to read its stderr."""
    root = _is_root()
    uid = 30_000 + secrets.randbelow(30_000) if root else None  # its own user: a limit on processes is per user
    (folder / "passwd").write_text(
        f"student:x:{uid or os.getuid()}:{uid or os.getgid()}::{inside.SCRATCH}/home:/bin/sh\n"
    )
    limited = {
        "RLIMIT_DATA": limits.memory_bytes,  # one process alone; a MemoryError there is kinder than the watchdog
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": 1024,
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": int(limits.notebook_s * (limits.threads + 1)) + 1,
    }
    if root or _kernel_version() >= (5, 14):  # earlier, the limit counts all processes of the grader's user
        limited["RLIMIT_NPROC"] = limits.processes
    spec = {"sockets": {port: s.fileno() for port, s in sockets.items()}, "uid": uid, "limits": limited}
    reading, writing = os.pipe()
    stderr, its_stderr = os.pipe()
    os.set_blocking(stderr, False)
    try:
        os.write(writing, seccomp.filter_program())
        command = [*_bubblewrap(limits, folder, judge, files, root), "--seccomp", str(reading), "--"]
        command += [sys.executable, "-I", "-B", f"{inside.CODE}/inside.py", json.dumps(spec)]
        process = subprocess.Popen(
            command,
            env=_environment(limits),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=its_stderr,
            pass_fds=[reading, *spec["sockets"].values()],
            start_new_session=True,
        )
    finally:
        for end in (reading, writing, its_stderr):
            os.close(end)
    return process, stderr


def _bubblewrap(limits: Limits, folder: Path, judge: Path | None, files: Path | None, root: bool) -> list[str]:
    """The command line up to the filter. As root no user namespace is needed; `inside.py` becomes another user."""
    command = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if root:
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_CHOWN"]
        command += ["--cap-add", "CAP_DAC_OVERRIDE"]
    else:
        command += ["--unshare-user"]
    command += ["--die-with-parent", "--new-session", "--hostname", "sandbox"]
    prefixes = ("/usr", "/usr/local", sys.prefix, sys.base_prefix)
    sources = {part: part for prefix in prefixes for part in _parts(prefix)} | {path: path for path in SYSTEM}
    sources |= {"/etc/passwd": folder / "passwd", inside.KERNEL: folder}
    sources |= {f"{inside.CODE}/course_utils": Path(inside.__file__).parents[1]}
    optional = {"/run/course": judge, inside.FILES: files, "/run/cache": _cache()}
    sources |= {target: source for target, source in optional.items() if source}
    for target in sorted(sources.keys() | {str(parent) for path in sources for parent in Path(path).parents}):
        command += ["--ro-bind-try", str(sources[target]), target] if target in sources else ["--dir", target]
    for part in ("/bin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(part):
            command += ["--symlink", os.readlink(part), part]
        else:
            command += ["--ro-bind-try", part, part]
    # of the grader itself only the launcher
    command += ["--tmpfs", f"{inside.CODE}/course_utils/grading", "--remount-ro", f"{inside.CODE}/course_utils/grading"]
    command += ["--ro-bind", inside.__file__, f"{inside.CODE}/inside.py"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for target in (inside.SCRATCH, "/dev/shm"):
        command += ["--perms", "1777", "--size", str(limits.disk_bytes), "--tmpfs", target]
    command += [
        "--dir",
        "/var",
        "--symlink",
        f"{inside.SCRATCH}/tmp",
        "/tmp",
        "--symlink",
        f"{inside.SCRATCH}/tmp",
        "/var/tmp",
    ]
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]


def _parts(prefix: str) -> list[str]:
    """The folders of libraries and programs under a prefix, and nothing else that may lie there."""
    return [path for part in PARTS if os.path.exists(path := os.path.join(prefix, part))]


def _environment(limits: Limits) -> dict[str, str]:
    threads = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")
    return {
        "PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": f"{inside.SCRATCH}/home",
        "TMPDIR": f"{inside.SCRATCH}/tmp",
        "IPYTHONDIR": f"{inside.SCRATCH}/home/.ipython",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "COURSE_JUDGE": "/run/course/judge.sock",
        "COURSE_CACHE": "/run/cache" if _cache() else f"{inside.SCRATCH}/home/.cache/course_utils",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    } | {f"{name}_NUM_THREADS": str(limits.threads) for name in threads}


def _cache() -> Path | None:
    """The course's cache of texts, if there is one."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    path = Path(os.environ.get("COURSE_CACHE") or f"{home}/course_utils").expanduser()
    return path if path.is_dir() else None


def _is_root() -> bool:
    """Root who can become other users (in some containers root is the only one)."""
    return os.geteuid() == 0 and int(Path("/proc/self/uid_map").read_text().split()[2]) >= 2**16


def _kernel_version() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


# --- watching and ending ----------------------------------------------------------------------------------------------


def _usage(pid: int, memory_limit: int) -> dict[str, float]:
    """Memory (bytes), processor time (s) and number of the processes under bubblewrap."""
    try:
        processes = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        processes = []
    rss = _total(processes, lambda p: p.memory_info().rss)
    if rss > memory_limit:  # forks share pages: count each page once, which is slow
        rss = _total(processes, lambda p: p.memory_full_info().pss)
    return {"memory": rss, "cpu": _total(processes, lambda p: sum(p.cpu_times()[:4])), "processes": len(processes)}


def _total(processes: list[psutil.Process], measure: Callable[[psutil.Process], float]) -> float:
    total = 0
    for process in processes:
        try:
            total += measure(process)
        except psutil.NoSuchProcess:
            pass
    return total


def _kill(process: subprocess.Popen) -> None:
    """End bubblewrap's first process in the sandbox, thereby all others there; then bubblewrap ends by itself."""
    if process.poll() is not None:
        return
    try:
        children = psutil.Process(process.pid).children()
        for child in children:
            child.kill()
    except psutil.Error:
        children = []
    try:
        process.wait(5 if children else 0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# --- the relay --------------------------------------------------------------------------------------------------------


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o666)  # the sandbox's user is another one; the folder around is private
    listener.listen(16)
    return listener


def _relay(listener: socket.socket, target: str, spend: Callable[[int], None]) -> None:
    """Pass each connection on to the kernel's socket, until the listener is shut."""
    with listener:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            kernel = socket.socket(socket.AF_UNIX)
            try:
                kernel.connect(target)
            except OSError:
                client.close()
                kernel.close()
                time.sleep(0.1)
                continue
            _thread(_pump, client, kernel, lambda count: None)
            _thread(_pump, kernel, client, spend)


def _pump(source: socket.socket, target: socket.socket, spend: Callable[[int], None]) -> None:
    try:
        while data := source.recv(65536):
            spend(len(data))
            target.sendall(data)
    except OSError:  # the other side has gone
        pass
    _shut(source)
    _shut(target)


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except BlockingIOError:
        return b""


def _thread(function: Callable, *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread
