"""What runs first in the sandbox: prepares the student's folder and the limits, gives up all rights, starts the kernel.

Called by `sandbox.py` under bubblewrap as `python -I -B inside.py SPEC` with a JSON object (at a warm start `parent.py`
calls the same functions):
sockets: port -> file descriptor of a listening socket; uid: become this user (or null); limits: rlimit -> value;
files, files_bytes: how many and how much is copied of the submission's files; gpu_share: how much of the GPU's memory
it may use (or null).
"""

import ctypes
import json
import os
import shutil
import sys

HOME, WORK, FILES, KERNEL, CODE = "/tmp/notebook/home", "/tmp/notebook/work", "/run/files", "/run/kernel", "/opt/course"
NOT_COPIED = "not copied\t"  # before a file's name on stderr, and the reason; without one, it was the first of many
PR_SET_DUMPABLE = 4


def copy_files(source: str, target: str, most: int, most_bytes: int) -> None:
    """Copy plain files and links, no notebooks; what is not copied is said on stderr."""
    count, size = 0, 0
    for folder, folders, files in os.walk(source):
        here = os.path.join(target, os.path.relpath(folder, source))
        try:
            os.makedirs(here, exist_ok=True)
        except OSError as error:
            print(f"{NOT_COPIED}{os.path.basename(folder)!a}\t{error.strerror}", file=sys.stderr)
            continue
        for name in folders + files:
            path, copy = os.path.join(folder, name), os.path.join(here, name)
            count += 1
            try:
                if os.path.islink(path):
                    os.symlink(os.readlink(path), copy)
                elif os.path.isfile(path) and not name.endswith(".ipynb"):
                    size += os.path.getsize(path)
                    if size > most_bytes or count > most:
                        return print(f"{NOT_COPIED}{name!a}", file=sys.stderr)
                    shutil.copyfile(path, copy)
            except OSError as error:
                print(f"{NOT_COPIED}{name!a}\t{error.strerror}", file=sys.stderr)


def copy_fonts() -> None:
    """Matplotlib's list of fonts, which takes seconds to make, goes to where matplotlib looks for it."""
    if os.path.isdir(f"{KERNEL}/fonts"):
        shutil.copytree(f"{KERNEL}/fonts", f"{HOME}/.cache/matplotlib", dirs_exist_ok=True)


def prepare(spec: dict) -> None:
    """Make the student's folder and the limits, and become the user of the sandbox."""
    import resource  # not there on Windows, where only `copy_files` is used

    for folder in (HOME, WORK):
        os.makedirs(folder)
    if os.path.isdir(FILES):
        copy_files(FILES, WORK, spec["files"], spec["files_bytes"])
    copy_fonts()
    if uid := spec["uid"]:
        for folder, folders, files in (*os.walk(HOME), *os.walk(WORK)):
            for name in [".", *folders, *files]:
                os.chown(os.path.join(folder, name), uid, uid, follow_symlinks=False)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # /proc/self belongs to the new user, too
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # if the machine runs out of memory, this goes first
    for name, value in spec["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))


def give_gpu(share: float | None) -> None:
    """Let torch see the GPU that is there, and use a share of its memory.

    The share is set when CUDA is first used: to start it where nobody asks for it costs a second and 300 MiB.
    """
    if share is None:
        return
    os.environ["CUDA_VISIBLE_DEVICES"] = "0"  # there is but one
    import torch

    torch.cuda._lazy_call(lambda: torch.cuda.set_per_process_memory_fraction(min(1.0, share), 0))


def kernel(spec: dict) -> None:
    """Run the kernel, until it is told to end."""
    import zmq

    if not spec["sockets"]:  # this was a test whether all works
        return

    give_gpu(spec.get("gpu_share"))

    from ipykernel.kernelapp import IPKernelApp

    class Kernel(IPKernelApp):
        """The usual kernel on sockets that are already listening, so that it needs no folder to make them in."""

        def _try_bind_socket(self, s, port):
            s.setsockopt(zmq.SNDHWM, 0)  # by default, outputs are dropped where they come too fast
            s.setsockopt(zmq.USE_FD, spec["sockets"][str(port)])
            s.bind(f"ipc://{self.ip}-{port}")
            return port

        def init_heartbeat(self):
            """Nobody listens to it."""

    sys.argv[1:] = ["-f", f"{KERNEL}/kernel.json", "--HistoryManager.enabled=False"]
    app = Kernel.instance()
    app.initialize()
    os.chdir(WORK)  # only now: nothing there takes part in the start
    sys.path.append(os.getcwd())  # last, so that nothing there shadows a library
    app.start()


def main() -> None:
    spec = json.loads(sys.argv[1])
    prepare(spec)
    sys.path.insert(0, CODE)
    kernel(spec)


if __name__ == "__main__":
    main()
