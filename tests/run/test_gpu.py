"""`--device cuda` without a GPU: the files of one, and a driver that says what it is told to say.

What a real driver does inside the sandbox is not tried here.
"""

import importlib
import json
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from kernels import QUICK, MiB, run, said
from typer.testing import CliRunner

from autograder.cli import app
from autograder.course import Assignment
from autograder.grade import grade
from autograder.notes import sentence
from autograder.run.execute import SandboxError
from autograder.run.options import Options
from autograder.sandbox import gpu, inside, provisioner, warm

CUDA = replace(QUICK, device="cuda", gpu_memory_bytes=1000 * MiB, memory_bytes=2048 * MiB)
SMI = """#!/bin/sh
case "$*" in
*memory.total*) echo 4000 ;;
*) cat "{folder}/used" ;;
esac
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Device files in a folder of their own, and `nvidia-smi`, which says what stands in `used`."""
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"):
        path = tmp_path / "dev" / name
        path.parent.mkdir(exist_ok=True)
        try:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # zeros
            path.chmod(0o666)
        except OSError:  # not root
            path.touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvidia-smi").write_text(SMI.format(folder=tmp_path))
    (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    (tmp_path / "used").write_text("")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu, "FOLDER", tmp_path / "dev")
    monkeypatch.setattr(gpu, "_driver", gpu._Driver())
    for cached in (gpu.missing, gpu.total_bytes):
        cached.cache_clear()
    yield tmp_path
    for cached in (gpu.missing, gpu.total_bytes):
        cached.cache_clear()


def test_the_first_gpu_that_is_visible_is_taken(driver, monkeypatch):
    names = ["nvidia0", "nvidiactl", "nvidia-uvm"]
    assert [Path(p).name for p in gpu.device_files()] == names and gpu.missing() is None
    assert gpu.total_bytes() == 4000 * MiB
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert [Path(p).name for p in gpu.device_files()] == ["nvidia1", *names[1:]]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert gpu.device_files() == []


def test_what_is_missing_is_said(driver, monkeypatch):
    (driver / "bin" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert "nvidia-smi does not answer" in gpu.missing() and "--device cpu" in gpu.missing()
    gpu.missing.cache_clear()
    (driver / "bin" / "nvidia-smi").unlink()
    monkeypatch.setenv("PATH", "/nowhere")
    assert "nvidia-smi is missing" in gpu.missing()
    gpu.missing.cache_clear()
    monkeypatch.setattr(gpu, "FOLDER", driver / "bin")
    assert "there is no NVIDIA GPU here" in gpu.missing()
    gpu.missing.cache_clear()
    if provisioner.missing() is None:
        with pytest.raises(SandboxError, match="no NVIDIA GPU here.*--device cpu"):
            run("1", limits=CUDA)


def test_the_shares_of_all_at_once_must_fit(driver):
    assert gpu.crowded(2, 900 * MiB) is None and gpu.crowded(1, 9000 * MiB) is None
    assert gpu.crowded(3, 900 * MiB).endswith("which has 4000 MiB: say --workers 2")


def test_the_command_says_what_is_missing(driver, monkeypatch, tmp_path):
    from small_course import NAME, RIGHT, hand_in, install, released_course

    seen = install(monkeypatch)
    course = released_course(tmp_path / "course")
    hand_in(course, "ann", RIGHT)
    monkeypatch.setattr(gpu, "FOLDER", tmp_path / "nothing")
    monkeypatch.chdir(course.root)
    calls = seen.calls
    done = CliRunner().invoke(app, ["grade", NAME, "--device", "cuda"])
    assert done.exit_code == 1 and "there is no NVIDIA GPU here" in done.output and seen.calls == calls
    done = CliRunner().invoke(app, ["grade", NAME, "--device", "tpu"])
    assert done.exit_code == 1 and "--device tpu: say cpu or cuda" in done.output


def test_the_device_is_part_of_what_a_result_depends_on(driver, monkeypatch, tmp_path):
    """A result of the CPU is not taken for one of the GPU."""
    from small_course import NAME, RIGHT, hand_in, install, released_course

    fake = install(monkeypatch)
    course = released_course(tmp_path / "course")
    hand_in(course, "ann", RIGHT)
    devices = []

    def execute(*args, limits=None, **options):
        devices.append(limits and limits.device)
        return fake.execute(*args, **options)

    monkeypatch.setattr("autograder.run.execute.execute", execute)
    for device in ("cpu", "cuda", "cuda"):
        assert [s.points for _, _, s in grade(Assignment(course, NAME), [], Options(workers=1, device=device))] == [6]
    assert [d for d in devices if d][-2:] == ["cpu", "cuda"]


def test_memory_is_added_up_by_process_and_asked_for_seldom(driver, monkeypatch):
    (driver / "used").write_text("11, 300\n12, 50\n11, 20\n13, [N/A]\n\nnonsense\n")
    assert gpu.used_bytes([11, 12]) == 370 * MiB and gpu.used_bytes([99]) == 0
    assert gpu.used_bytes([13]) == float("inf"), "what cannot be known is too much"
    (driver / "used").write_text("11, 1\n")
    assert gpu.used_bytes([11]) == 320 * MiB, "one answer serves all for half a second"
    monkeypatch.setattr(gpu, "LOOK_S", 0)
    assert gpu.used_bytes([11]) == 1 * MiB


def test_the_share_is_set_when_cuda_is_first_used(monkeypatch):
    calls, queue = [], []
    cuda = SimpleNamespace(_lazy_call=queue.append, set_per_process_memory_fraction=lambda *a: calls.append(a))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    inside.give_gpu(None)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "" and not queue
    inside.give_gpu(0.25)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0" and not calls
    queue[0]()
    assert calls == [(0.25, 0)]


def test_a_parent_that_has_started_cuda_forks_nothing(driver, monkeypatch):
    """CUDA does not survive a fork: the driver's files are open in who has started it."""
    monkeypatch.setitem(sys.modules, "inside", inside)  # its name in the sandbox
    parent = importlib.import_module("autograder.sandbox.parent")
    monkeypatch.setattr(parent.os, "listdir", lambda path: ["1"])
    monkeypatch.setattr(parent.os, "readlink", lambda path: "/dev/null")
    assert parent.unfit() == ""
    monkeypatch.setattr(parent.os, "readlink", lambda path: "/dev/nvidiactl")
    assert parent.unfit() == "a library has started CUDA"
    monkeypatch.setattr(parent.os, "listdir", lambda path: ["1", "2"])
    assert parent.unfit() == "a library has started a thread"


sandboxed = pytest.mark.skipif(provisioner.missing() is not None, reason=str(provisioner.missing()))
LOOK = """import os, json
print(json.dumps({"dev": sorted(n for n in os.listdir("/dev") if n.startswith("nvidia") or n == "dri"),
                  "seen": os.environ["CUDA_VISIBLE_DEVICES"],
                  "read": list(open("/dev/nvidia0", "rb").read(1)) if os.path.exists("/dev/nvidia0") else []}))
"""
SHARE = "from torch import cuda; print(len(cuda._queued_calls) > 0, cuda.is_initialized(), cuda._is_in_bad_fork())"


@sandboxed
@pytest.mark.slow
@pytest.mark.parametrize("how", ["cold", "warm"])
def test_the_sandbox_shows_one_gpu_and_no_more(driver, how):
    forks = warm.Parent(["torch"], device="cuda") if how == "warm" else None
    try:
        result = run(LOOK, SHARE, limits=CUDA, warm=forks)
        assert not forks or not forks.problem
    finally:
        if forks:
            forks.close()
    seen = json.loads(said(result, 0))
    assert seen["dev"] == ["nvidia-uvm", "nvidia0", "nvidiactl"] and seen["seen"] == "0"
    assert seen["read"] == ([0] if os.geteuid() == 0 else [])
    assert said(result, 1) == "True False False\n", "the share waits for CUDA, which nobody has started"


@sandboxed
def test_without_the_option_there_is_no_gpu(driver):
    seen = json.loads(said(run(LOOK)))
    assert seen == {"dev": [], "seen": "", "read": []}


@sandboxed
def test_who_takes_more_of_the_gpu_than_its_share_is_ended(driver, monkeypatch):
    """As one who has lifted torch's limit: the driver says so, and it is that student's stated result."""
    used, enough = gpu.used_bytes, (CUDA.gpu_memory_bytes + gpu.CONTEXT_BYTES) // MiB + 1

    def tell(pids):
        for pid in pids:
            if psutil.pid_exists(pid) and psutil.Process(pid).name() == "sleep":
                (driver / "used").write_text(f"1, 9000\n{pid}, {enough}\n")
        return used(pids)

    monkeypatch.setattr(gpu, "used_bytes", tell)
    result = run("x = 1", "import subprocess; subprocess.run(['sleep', '50'])", "print(x)", limits=CUDA)
    assert sentence(result.notes[0]).startswith("Cell 2 used more than 1000 MiB of the GPU's memory")
    assert said(result) == "1\n"
