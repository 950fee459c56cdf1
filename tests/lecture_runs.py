"""Lectures run once for all tests: the tests in a browser begin and leave what came out; who needs a lecture's outputs
before, or where there is no browser, runs it by nbclient.

Each runs offline, in a kernel without settings of its own. What it gave lies in a folder that all test processes share.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from filelock import FileLock, Timeout

from autograder.publish import run as publish

ROOT = Path(__file__).parents[1]
LECTURES = sorted(ROOT.glob("lectures/*.ipynb"))
CELL_S = 600  # wall clock, for one cell
PATIENCE_S = 1800  # for another process that runs the same lecture
PROCESSOR_SECONDS = "import os; print(sum(os.times()[:4]))"  # of the kernel and of what it has started

# Runs in the kernel before the first cell: what would leave this machine fails, as for a student without a network.
NO_NETWORK = """
import socket

def _refuse(*args, **kwargs):
    raise OSError("no network in this test")

def _only_here(connect):
    def guarded(self, address, *args):
        if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            _refuse()
        return connect(self, address, *args)
    return guarded

socket.socket.connect = _only_here(socket.socket.connect)
socket.socket.connect_ex = _only_here(socket.socket.connect_ex)
socket.getaddrinfo = socket.gethostbyname = _refuse
"""


def offline(folder: Path) -> dict[str, str]:
    """The environment of kernels that have no network and no settings of their own, with `folder` to write to."""
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-no-network.py").write_text(NO_NETWORK)
    return os.environ | {"IPYTHONDIR": str(folder / "ipython"), "HF_HUB_OFFLINE": "1"}


def run(notebook: nbformat.NotebookNode, folder: Path, cell_seconds: float = CELL_S) -> nbformat.NotebookNode:
    """Run a notebook offline, in a kernel that has no settings of its own, with `folder` as its place to write."""
    from nbclient import NotebookClient

    environment = offline(folder)
    client = NotebookClient(
        notebook, timeout=cell_seconds, kernel_name="python3", resources={"metadata": {"path": str(ROOT / "lectures")}}
    )
    return client.execute(env=environment)


def shared_folder(tmp_path_factory) -> Path:
    """Where executed lectures lie: of this session alone, but of all its processes."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "executed"


def executed(path: Path, tmp_path_factory, wait: float = PATIENCE_S) -> nbformat.NotebookNode:
    """A lecture with its outputs; `metadata.processor_seconds` is what its kernel used, in all its processes.

    Raises:
        filelock.Timeout: another process has been running it for longer than `wait` seconds.
    """
    folder = shared_folder(tmp_path_factory)
    with _lock(path, folder, wait):
        if (done := publish.kept(path, folder)) is None:
            notebook = nbformat.read(path, as_version=4)
            notebook.cells.append(nbformat.v4.new_code_cell(PROCESSOR_SECONDS))
            done = run(notebook, tmp_path_factory.mktemp(path.stem))
            done.metadata["processor_seconds"] = float(done.cells.pop().outputs[0].text)
            publish.keep(path, done, folder)
    return done


@contextmanager
def elsewhere(path: Path, tmp_path_factory) -> Iterator[Callable[[nbformat.NotebookNode, float], None]]:
    """For a test that runs a lecture itself: what it calls with the outputs and the processor seconds, to leave them.

    Meanwhile the others wait.
    """
    folder = shared_folder(tmp_path_factory)

    def leave(notebook: nbformat.NotebookNode, seconds: float) -> None:
        notebook.metadata["processor_seconds"] = seconds
        publish.keep(path, notebook, folder)

    with _lock(path, folder, PATIENCE_S):
        yield leave


def _lock(path: Path, folder: Path, wait: float) -> FileLock:
    folder.mkdir(exist_ok=True)
    return FileLock(folder / f"{path.stem}.lock", timeout=wait)


def all_executed(tmp_path_factory, paths: Iterable[Path] = LECTURES) -> dict[str, nbformat.NotebookNode]:
    """Lectures by name; those that another process runs just now come last."""
    found, left, deadline = {}, list(paths), time.monotonic() + PATIENCE_S
    while left:
        later = []
        for path in left:
            try:
                found[path.stem] = executed(path, tmp_path_factory, wait=0)
            except Timeout:
                later.append(path)
        if later and len(later) == len(left):
            assert time.monotonic() < deadline, f"other processes still run {[path.name for path in later]}"
            time.sleep(1)
        left = later
    return found


def built_site(tmp_path_factory) -> Path:
    """The course's site, built once for all tests from lectures that ran."""
    from autograder.publish import site

    folder = shared_folder(tmp_path_factory)
    to = folder / "site"
    notebooks = all_executed(tmp_path_factory)
    with FileLock(folder / "site.lock", timeout=PATIENCE_S):
        if not to.exists():
            built = site.build(notebooks, to)
            (folder / "complaints.txt").write_text("\n".join(built.complaints), encoding="utf-8")
    return to
