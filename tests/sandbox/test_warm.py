"""Kernels forked from a warm parent: as good as cold ones, and cold ones where nothing can be forked."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import psutil
import pytest
from kernels import QUICK, run, said

from autograder.notes import sentence
from autograder.sandbox import provisioner, warm

pytestmark = pytest.mark.skipif(provisioner.missing() is not None, reason=str(provisioner.missing()))


@pytest.fixture
def parent():
    made = warm.Parent(["decimal", "no_such_module"])
    yield made
    made.close()


def test_a_forked_kernel_has_the_modules_and_its_limits(parent):
    result = run("import sys, resource; print('decimal' in sys.modules, resource.getrlimit(resource.RLIMIT_NOFILE))",
                 "!echo from a shell", warm=parent)  # fmt: skip
    assert said(result, 0) == "True (1024, 1024)\n" and "from a shell" in said(result)
    assert result.usage["peak_memory_bytes"] > 20 * 2**20 and not parent.problem


def test_it_ends_as_a_cold_one_does(parent):
    result = run("import os; os._exit(7)", "x = list(range(10**9))", "print('after')", warm=parent)
    assert "exit code 7" in sentence(result.notes[0]) and said(result) == "after\n"
    deadline = time.monotonic() + 5  # the kernel is gone; its keeper has told so and takes a moment to leave
    while len(there := parent._process.processes()) > 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(there) == 2, "bubblewrap's own and the parent: keepers and kernels are gone"


def test_a_dead_parent_is_replaced_and_meanwhile_kernels_start_cold():
    warm.close()
    first = warm.shared()
    os.kill(first._process.pid, signal.SIGKILL)
    first._process.wait()
    assert said(run("print(1)", warm=first)) == "1\n"
    second = warm.shared()
    assert second is not first and second.alive
    warm.close()


def test_without_the_right_to_make_namespaces_kernels_start_cold(parent, monkeypatch):
    """As in many containers: the parent says why, and every notebook runs all the same."""
    monkeypatch.setattr(warm, "RIGHTS", provisioner.RIGHTS)
    monkeypatch.setattr(warm, "RIGHTS_OF_OTHERS", ())
    weak = warm.Parent()
    try:
        assert said(run("print(1)", warm=weak)) == "1\n"
        assert "cannot be forked here" in weak.problem and not weak.alive
    finally:
        weak.close()


def test_a_kernel_that_does_not_come_up_is_started_cold(parent, monkeypatch):
    monkeypatch.setattr(warm, "seccomp", SimpleNamespace(filter_program=lambda: b"no program"))
    assert said(run("print(1)", warm=parent)) == "1\n"
    assert "did not start" in parent.problem and not parent.alive


def test_a_grader_who_is_not_root(tmp_path):
    """The kernel then gets a user namespace of its own."""
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from kernels import run, said
from autograder.sandbox import provisioner, warm
parent = warm.Parent()
result = run("import os; print(os.getuid(), os.getpid(), open('/proc/self/uid_map').read().split())", warm=parent)
print(provisioner.is_root(), repr(parent.problem), said(result))
parent.close()
"""
    other = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if subprocess.run([*other, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces of users here")
    done = subprocess.run(
        [*other, sys.executable, "-c", code, str(Path(__file__).parents[1])], capture_output=True, text=True
    )
    assert done.stdout.split("\n")[0] == "False '' 1000 1 ['1000', '0', '1']", done.stderr


def test_the_end_of_the_grader_is_the_end_of_all(parent):
    parent._wait_until_loaded()
    pids = [p.pid for p in psutil.Process(parent._process.pid).children(recursive=True)]
    assert pids
    parent.close()
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not parent.spool.exists()


def test_imports_of_a_notebook():
    cells = ["import math\nfrom course_utils.data import text", "%matplotlib inline", "x = torch.zeros(1)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    assert warm.imports(notebook) == ["math", "course_utils.data", "course_utils.data.text"]
    notebook.cells.insert(0, nbformat.v4.new_code_cell("import torch"))
    assert "torch._dynamo" in warm.imports(notebook)


def test_a_forked_kernel_imports_nothing_to_be_asked_about_another_device():
    """That would be a second for each: what the parent imports is all that the playing of a device wants."""
    found = warm.imports(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import torch")]))
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "import torch\nfrom course_utils.checking import promises\nbefore = set(sys.modules)\n"
        "promises.on_device(lambda x: torch.bincount(x).float().softmax(0), [(torch.arange(3),)])\n"
        "print(len(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code, *found], capture_output=True, text=True)
    assert int(done.stdout) <= 5, done


def test_many_kernels_leave_nothing_behind(parent):
    run("1", warm=parent)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        run("1", limits=QUICK, warm=parent)
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert [p.name for p in parent.spool.iterdir()] == ["parent"]
