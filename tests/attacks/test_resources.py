"""Attempts to use up the machine or to end the run. Each ends with its own submission, marked as far as possible."""

import time

import pytest

from .conftest import LIMITS, WRONG, gained_nothing, outputs, points, processes_with

ENDLESS_C = "import re\nre.match(r'(a+)+$', 'a' * 64 + 'b')"
DIES = {
    "os._exit": ("import os\nos._exit(0)", "kernel"),
    "kill itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "kernel"),
    "segfault": ("import ctypes\nctypes.string_at(0)", "kernel"),
    "endless in C": (ENDLESS_C, "8 s"),
}
LIVES = {
    "sys.exit": "import sys\nsys.exit(1)",
    "exit": "exit()",
    "endless loop": "while True:\n    pass",
    "endless with try": "while True:\n    try:\n        import time; time.sleep(0.1)\n    except Exception:\n        pass",
    "recursion": "def f(): f()\nf()",
    "asks for input": "input('mark? ')",
}


@pytest.mark.parametrize("code", [c for c, _ in DIES.values()], ids=DIES)
def test_a_dead_kernel_costs_its_own_exercise(hand_in, code):
    result = hand_in(WRONG + code)
    gained_nothing(result)
    assert result.notes


@pytest.mark.parametrize("code", LIVES.values(), ids=LIVES)
def test_a_stopped_cell_costs_its_own_exercise(hand_in, code):
    gained_nothing(hand_in(WRONG + code))


@pytest.mark.parametrize(
    "code", ["import os\n    os._exit(0)", "while True: pass", "import sys\n    sys.exit()", "raise KeyboardInterrupt"]
)
def test_the_same_inside_the_checked_function(hand_in, code):
    gained_nothing(hand_in(f"def double(x):\n    {code}\n"))


def test_cases_answered_before_the_end_count(hand_in):
    source = "calls = []\ndef double(x):\n    calls.append(1)\n    if len(calls) > 2:\n        import os\n        os._exit(0)\n    return [2 * v for v in x]\n"
    result = hand_in(source)
    assert points(result) == {"check_double": 1, "check_triple": 2}


def test_the_whole_notebook_has_a_limit(hand_in):
    from dataclasses import replace

    start = time.monotonic()
    result = hand_in(
        "import time\ntime.sleep(8)\n" + WRONG,  # on a busy machine some of what sleeps is not counted
        after="",
        before="import time\ntime.sleep(6)",
        limits=replace(LIMITS, notebook_s=8),
    )
    assert time.monotonic() - start < 40
    assert points(result)["check_double"] == 0 and points(result)["check_triple"] == 0
    assert any("8" in note.text for note in result.notes), result.notes


FULL = "x = []\nn = 2**28\nwhile n > 2**10:\n    try:\n        x.append(b'x' * n)\n    except MemoryError:\n        n //= 2\n"
BOMBS = {
    "one allocation": "x = bytearray(30 * 2**30)",
    "torch": "import torch\nx = torch.ones(30 * 2**28)",
    "step by step": "x = []\nwhile True:\n    x.append(b'x' * 2**24 + bytes(len(x)))",
    "to the last KiB": FULL + "raise MemoryError",
    "to numpy's last KiB": f"import numpy\n{FULL}numpy.ones(2**28)",
    "to torch's last KiB": f"import torch\n{FULL}torch.ones(2**28)",
}


@pytest.mark.parametrize("code", BOMBS.values(), ids=BOMBS)
def test_a_memory_bomb_costs_its_own_exercise(hand_in, code):
    result = hand_in(WRONG + code)
    gained_nothing(result)
    assert result.usage["peak_memory_bytes"] < 3 * 2**30


def test_a_fork_storm_is_bounded(hand_in):
    result = hand_in(
        WRONG
        + """
import os, time
made = 0
for _ in range(2000):
    try:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
        made += 1
    except OSError:
        break
print("MADE", made)
"""
    )
    assert points(result)["check_double"] == 0
    assert "MADE 2000" not in outputs(result)


def test_a_thread_storm_is_bounded(hand_in):
    code = "import threading, time\nfor _ in range(5000):\n    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()"
    assert points(hand_in(WRONG + code))["check_double"] == 0


def test_a_daemon_does_not_outlive_its_kernel(hand_in):
    mark = f"course-daemon-{time.time_ns()}"
    code = f"""
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(600)", "{mark}"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", "{mark}"])
    os._exit(0)
"""
    gained_nothing(hand_in(WRONG + code))
    assert processes_with(mark) == []


def test_a_signal_to_the_parent_reaches_nobody(hand_in):
    code = "import os, signal\nfor p in (os.getppid(), 1, 0):\n    try:\n        os.kill(p, signal.SIGTERM if p == 0 else signal.SIGKILL)\n    except OSError:\n        pass\n"
    result = hand_in(WRONG + code)
    assert points(result)["check_double"] == 0


FLOODS = {
    "lines": "for _ in range(2_000_000):\n    print('x' * 100)",
    "one line": "print('x' * 50_000_000)",
    "display": "from IPython.display import display\ndisplay({'text/plain': 'x' * 50_000_000}, raw=True)",
    "stderr": "import sys\nsys.stderr.write('x' * 50_000_000)",
    "raw stdout": "import os\nfor _ in range(200):\n    os.write(1, b'x' * 1_000_000)",
}


@pytest.mark.parametrize("code", FLOODS.values(), ids=FLOODS)
def test_a_flood_of_output_is_cut(hand_in, code):
    result = hand_in(WRONG + code)
    assert points(result)["check_double"] == 0
    assert len(outputs(result)) < 5 * 2**20


@pytest.mark.parametrize("folder", [".", "/tmp", "/dev/shm", "~", "/run/course", "/dev", "/run/kernel"])
def test_the_disk_cannot_be_filled(hand_in, folder):
    code = f"""
import os
folder, written = os.path.expanduser({folder!r}), 0
try:
    for i in range(40):
        with open(os.path.join(folder, f"fill{{i}}"), "wb") as file:
            for _ in range(16):
                written += file.write(b"x" * 2**20)
except OSError as error:
    print("STOPPED", error.strerror)
print("WRITTEN", written // 2**20)
"""
    result = hand_in(WRONG + code)
    assert points(result)["check_double"] == 0
    assert "STOPPED" in outputs(result) or result.notes
    assert "WRITTEN 640" not in outputs(result)


def test_many_files_end_too(hand_in):
    code = "import os\nfor i in range(3000):\n    os.makedirs(f'd{i}/e', exist_ok=True)\n    open(f'd{i}/e/f', 'w').close()"
    gained_nothing(hand_in(WRONG + code))


def test_a_large_file_is_refused(hand_in):
    seen = outputs(
        hand_in(WRONG + "try:\n    open('big', 'wb').truncate(2**40)\nexcept OSError as e:\n    print('REFUSED')")
    )
    assert "REFUSED" in seen
