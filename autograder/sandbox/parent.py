"""The warm parent: it has imported what notebooks import, never runs a student's code, and forks one kernel each time.

Called by `warm.py` under bubblewrap as `python -I -B parent.py FD MODULE…`, where FD is a socket: one message for each
kernel, a JSON object as `inside.py` wants it and more (below), with the file descriptors that go with it. For each one:

    parent ── fork ──▶ keeper: new namespaces, the kernel's own /tmp and folders; waits for the kernel
                         └── fork ──▶ kernel: process 1 of its namespace; gives up all rights, then `inside.kernel`

Beside what `inside.py` needs: seen: path inside -> path under SPOOL; disk_bytes: of its /tmp, and of its /dev/shm;
ports: of the sockets, in their order; filter: the seccomp program, hexadecimal.
"""

import contextlib
import ctypes
import errno
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import stat
import struct
import sys

sys.path.insert(0, "/opt/course")
import inside  # noqa: E402

SPOOL = "/run/spool"  # folders of all kernels: seen by the parent, covered up for each kernel
# mount, cgroup, uts, ipc, pid, net
NEW_NAMESPACES = 0x20000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
NEW_USER = 0x10000000
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 4, 22, 2
ALWAYS = ("ipykernel.kernelapp", "ipykernel.ipkernel", "IPython.core.interactiveshell", "course_utils.check")

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """Call a function of the C library that returns 0 when all is well.

    Raises:
        OSError: if it returns anything else.
    """
    if getattr(libc, name)(*(a.encode() if isinstance(a, str) else a for a in arguments)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments[:3]}: {os.strerror(number)}")


def load(modules: list[str]) -> None:
    """Import what notebooks import; what cannot be imported is left to them."""
    os.makedirs(inside.HOME, exist_ok=True)
    inside.copy_fonts()
    gc.disable()  # there is no garbage yet
    for name in [*ALWAYS, *modules]:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.freeze()  # the collector does not write to what all kernels share
    gc.enable()


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    load(sys.argv[2:])
    if why := unfit():
        sys.exit(f"{why}: this process cannot be forked")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers leave no zombies
    control.send(b"ready")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 65536, 16)
        if not message:
            return
        if os.fork() == 0:
            try:
                control.close()
                keep(json.loads(message), *descriptors)
            finally:
                os._exit(70)
        for descriptor in descriptors:
            os.close(descriptor)


def unfit() -> str:
    """Why a kernel that is forked from here would not work; empty if it would."""
    if len(os.listdir("/proc/self/task")) != 1:
        return "a library has started a thread"
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("/dev/nvidia"):
                return "a library has started CUDA"
    return ""


def keep(spec: dict, status: int, stderr: int, *sockets: int) -> None:
    """Set the kernel's surroundings up, start it, say what it is (a pidfd), wait for it, say how it ended."""
    with socket.socket(fileno=status) as channel:
        try:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            call("unshare", NEW_NAMESPACES)
            surround(spec)
            reading, writing = os.pipe()
            kernel = os.fork()
            if kernel == 0:
                os.close(writing)
                channel.close()
                become(spec, stderr, sockets, reading)
            for descriptor in (reading, stderr, *sockets):
                os.close(descriptor)
            pidfd = os.pidfd_open(kernel)
            socket.send_fds(channel, [b"started"], [pidfd])
            os.close(writing)  # go
            if pidfd not in select.select([pidfd, channel], [], [])[0]:  # nobody waits for the kernel any more
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            channel.send(json.dumps(os.waitstatus_to_exitcode(os.waitpid(kernel, 0)[1])).encode())
        except OSError as error:
            with contextlib.suppress(OSError):
                channel.send(f"error: {error}".encode())


def surround(spec: dict) -> None:
    """What the kernel sees: its own folder, empty places to write, and nobody else's."""
    call("mount", "none", "/", None, RECURSIVE | PRIVATE, None)
    size = f"size={spec['disk_bytes']},mode=1777"
    covered = {}  # what is seen below /tmp, an environment that lies there, say: path -> descriptor
    with open("/proc/self/mountinfo") as file:
        for path in (line.split()[4].encode().decode("unicode_escape") for line in file):
            if path.startswith("/tmp/"):
                covered[path] = os.open(path, os.O_PATH)
    for target in ("/tmp", "/dev/shm"):
        call("mount", "tmpfs", target, "tmpfs", NO_SUID | NO_DEV, size)
    for path, descriptor in covered.items():
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        os.makedirs(path if folder else os.path.dirname(path), exist_ok=True)
        if not folder:
            open(path, "x").close()
        call("mount", f"/proc/self/fd/{descriptor}", path, None, BIND, None)
        call("mount", "none", path, None, BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEV, None)
        os.close(descriptor)
    for target, source in spec["seen"].items():
        call("mount", f"{SPOOL}/{source}", target, None, BIND, None)
        call("mount", "none", target, None, BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEV, None)
    call("mount", "tmpfs", SPOOL, "tmpfs", READ_ONLY | NO_SUID | NO_DEV, "size=4k,mode=555")
    with socket.socket() as any_socket:  # the new network has nothing but a loopback: bring it up
        name_and_flags = struct.pack("16sH14x", b"lo", 1)
        fcntl.ioctl(any_socket, 0x8914, name_and_flags)


def become(spec: dict, stderr: int, sockets: tuple[int, ...], go: int) -> None:
    """Turn into the student's kernel: as `inside.py` does at a cold start, and never to return."""
    try:
        os.read(go, 1)  # until the keeper has told who we are
        null = os.open("/dev/null", os.O_RDWR)
        for target, source in enumerate((null, null, stderr)):
            os.dup2(source, target)
        kept = {0, 1, 2, *sockets}
        for name in os.listdir("/proc/self/fd"):  # still the parent's /proc: numbers are the same
            if int(name) not in kept:
                with contextlib.suppress(OSError):
                    os.close(int(name))
        call("mount", "proc", "/proc", "proc", NO_SUID | NO_DEV | NO_EXEC, None)
        spec["sockets"] = dict(zip(map(str, spec["ports"]), sockets))
        libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # /proc/self is this user's own
        inside.prepare(spec)
        give_up_rights(spec)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()  # `random` does so by itself
        inside.kernel(spec)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)


def give_up_rights(spec: dict) -> None:
    """No capability is left, none can come back, and system calls pass the filter."""
    if not spec["uid"]:  # not root: a user namespace of its own, in which processes are counted for it alone
        call("unshare", NEW_USER)
        ids = f"{spec['number']} 0 1"  # its number in there, ours (bubblewrap's `--uid 0`), how many
        for file, text in (("setgroups", "deny"), ("uid_map", ids), ("gid_map", ids)):
            with open(f"/proc/self/{file}", "w") as out:
                out.write(text)
    header = struct.pack("II", 0x20080522, 0)  # capabilities, version 3, of this process
    call("capset", header, bytes(24))
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # again: another user forgets it
    with open("/proc/self/status") as file:  # bubblewrap has seen to it
        if "NoNewPrivs:\t1" not in file.read():
            raise OSError(errno.EPERM, "new privileges could be gained")
    program = bytes.fromhex(spec["filter"])
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, fprog, 0, 0)


if __name__ == "__main__":
    main()
