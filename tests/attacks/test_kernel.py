"""Attempts on Linux itself from inside: system calls, /proc, memory, and what could outlive the kernel."""

import os
import sys
import textwrap
import time
import uuid
from pathlib import Path

import pytest

from autograder.run.execute import execute

from .conftest import LIMITS, WRONG, gained_nothing, notebook, outputs, points, processes_with

x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the calls are those of x86_64")

CALLS = {
    "io_uring_setup": "425, 8, buffer",
    "userfaultfd": "323, 0",
    "keyctl": "250, 0, -3, 1",
    "add_key": "248, b'user', b'k', b'v', 1, -2",
    "bpf": "321, 0, buffer, 64",
    "perf_event_open": "298, buffer, 0, -1, -1, 0",
    "memfd_create": "319, b'm', 0",
    "memfd_secret": "447, 0",
    "ptrace": "101, 16, os.getppid(), 0, 0",
    "process_vm_readv_of_the_parent": "310, os.getppid(), iov, 1, iov, 1, 0",
    "unshare_mounts": "272, 0x20000",
    "setns": "308, os.open('/proc/1/ns/pid', 0) if os.access('/proc/1/ns/pid', 4) else 3, 0",
    "mount": "165, b'none', b'/tmp', b'tmpfs', 0, 0",
    "umount": "166, b'/run/course', 2",
    "move_mount": "429, -100, b'/tmp', -100, b'/usr', 0",
    "open_tree": "428, -100, b'/', 1",
    "pivot_root": "155, b'/tmp', b'/tmp'",
    "chroot": "161, b'/tmp'",
    "setuid_0": "105, 0",
    "setgid_0": "106, 0",
    "setgroups": "116, 1, buffer",
    "mknod_disk": "133, b'/tmp/disk', 0o60666, 0x800",
    "open_by_handle_at": "304, -100, buffer, 0",
    "init_module": "175, buffer, 64, b''",
    "kexec_load": "246, 0, 0, 0, 0",
    "reboot": "169, 0xfee1dead, 672274793, 0x1234567, 0",
    "swapon": "167, b'/tmp/x', 0",
    "sethostname": "170, b'mine', 4",
    "settimeofday": "164, buffer, 0",
    "real_time_priority": "144, 0, 1, (ctypes.c_int * 1)(50)",
    "more_memory": "302, 0, 2, (ctypes.c_ulong * 2)(2**62, 2**62), 0",
    "vsock": "41, 40, 1, 0",
    "packet_socket": "41, 17, 3, 0",
    "raw_socket": "41, 2, 3, 1",
    "bluetooth_socket": "41, 31, 3, 0",
    "shmget": "29, 0, 4096, 0o1600",
    "quotactl": "179, 0, b'/', 0, 0",
    "acct": "163, b'/tmp/x'",
    "syslog": "103, 3, buffer, 64",
    "iopl": "172, 3",
}


@x86_64
def test_no_system_call_opens_a_door(hand_in):
    """All of them in one kernel: each is a line of the list above, and named when it works."""
    attempts = "\n".join(f"attempt({name!r}, lambda: ({call}))" for name, call in CALLS.items())
    seen = outputs(
        hand_in(
            WRONG
            + textwrap.dedent("""
            import ctypes, os
            libc, buffer = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(256)
            iov = (ctypes.c_ulong * 2)(ctypes.addressof(buffer), 8)
            def attempt(name, arguments):
                result = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments()])
                print("OPEN" if result >= 0 else "shut", name)
            """)
            + attempts
            + "\nprint('TRIED ALL')\n"
        )
    )
    assert "TRIED ALL" in seen and "OPEN" not in seen, [line for line in seen.split("\\n") if "OPEN" in line]


@x86_64
@pytest.mark.parametrize("code", ["b814000000cd80c3", "b827000040" + "0f05c3"], ids=["int_0x80", "x32"])
def test_calls_by_other_numbers_end_the_kernel_or_nothing(hand_in, code):
    """The filter knows the numbers of one machine: calls by another's are answered by death."""
    source = f"""
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex({code!r}))
print("PID", ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""
    result = hand_in(WRONG + source)
    gained_nothing(result)
    assert "PID" not in outputs(result) and result.notes


FILES = {
    "sysrq": ("/proc/sysrq-trigger", "w"),
    "core_pattern": ("/proc/sys/kernel/core_pattern", "w"),
    "hostname": ("/proc/sys/kernel/hostname", "w"),
    "ip_forward": ("/proc/sys/net/ipv4/ip_forward", "w"),
    "root_of_1": ("/proc/1/root/etc/shadow", "r"),
    "working_folder_of_1": ("/proc/1/cwd/etc/shadow", "r"),
    "memory_of_1": ("/proc/1/mem", "r+b"),
    "kcore": ("/proc/kcore", "rb"),
    "kmsg": ("/dev/kmsg", "r"),
    "mem": ("/dev/mem", "rb"),
    "fuse": ("/dev/fuse", "rb"),
    "kvm": ("/dev/kvm", "rb"),
    "nvidia": ("/dev/nvidiactl", "rb"),
    "cgroup": ("/sys/fs/cgroup/cgroup.procs", "w"),
    "release_agent": ("/sys/fs/cgroup/release_agent", "w"),
    "firmware": ("/sys/kernel/uevent_helper", "w"),
    "docker": ("/var/run/docker.sock", "r"),
    "uid_map": ("/proc/self/uid_map", "w"),
    "less_likely_to_be_ended": ("/proc/self/oom_score_adj", "w"),
}


def test_no_file_of_the_system_opens_a_door(hand_in):
    seen = outputs(
        hand_in(
            WRONG
            + f"""
import os
for name, (path, mode) in {FILES!r}.items():
    try:
        with open(path, mode) as file:
            if name == "memory_of_1" and os.getpid() == 1: continue
            file.write("-1000" if mode == "w" else "") if mode == "w" else file.read(1)
            file.flush() if mode == "w" else None
        print("OPEN", name)
    except (OSError, ValueError):
        print("shut", name)
print("TRIED ALL")
"""
        )
    )
    assert "TRIED ALL" in seen and "OPEN" not in seen, seen


def test_what_others_have_in_memory_is_not_in_ours(exercises, forks):
    """A forked kernel's memory began as its parent's: nothing of a neighbour or of the cases may have been there."""
    secret = uuid.uuid4().hex
    parts = [secret[:16], secret[16:]]
    first = execute(notebook(f"{WRONG}mine = '{secret}' * 1000\n"), exercises, limits=LIMITS, warm=forks)
    assert gained_nothing(first)
    look = f"""
import re
(first, second), found, read = [p.encode() for p in {parts!r}], 0, 0  # never side by side in here
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        begin, end, flags = re.match(r"(\\w+)-(\\w+) (\\S+)", line).groups()
        size = int(end, 16) - int(begin, 16)
        if flags.startswith("rw") and size < 2**26 and read < 2**28:
            try:
                memory.seek(int(begin, 16))
                block = memory.read(size)
                found += sum(block[m.end() : m.end() + 16] == second for m in re.finditer(first, block))
                read += size
            except (OSError, ValueError, OverflowError):
                pass
print("FOUND", found, read > 2**20)
"""
    second = execute(notebook(WRONG + look), exercises, limits=LIMITS, warm=forks)
    assert gained_nothing(second) and "FOUND 0 True" in outputs(second)


END = {
    "forks_at_exit": """
        import atexit, os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        def multiply():
            for _ in range(30):
                if os.fork() == 0:
                    os.setsid(); time.sleep(600); os._exit(0)
        atexit.register(multiply)
        """,
    "a_thread_that_never_ends": """
        import threading, time
        threading.Thread(target=lambda: [time.sleep(1) for _ in range(600)]).start()
        """,
    "deaf_to_all_signals": """
        import os, signal
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        """,
    "stopped_children": """
        import os, signal, time
        for _ in range(10):
            if os.fork() == 0:
                os.setsid(); os.kill(os.getpid(), signal.SIGSTOP); os._exit(0)
        """,
    "double_forks_with_new_names": """
        import ctypes, os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                ctypes.CDLL(None).prctl(15, b"systemd", 0, 0, 0); time.sleep(600)
            os._exit(0)
        """,
    "not_to_be_dumped": """
        import ctypes, os, time
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
        if os.fork() == 0: time.sleep(600)
        """,
}


@pytest.mark.parametrize("source", END.values(), ids=END)
def test_nothing_outlives_its_kernel(hand_in, source):
    mark = f"course-outlives-{time.time_ns()}"
    code = (
        f"import subprocess\nsubprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(600)', '{mark}'])\n"
    )
    result = hand_in(WRONG + code + textwrap.dedent(source))
    assert points(result)["check_double"] == 0
    assert processes_with(mark) == []


CELLS = {
    "tag_to_skip": {"tags": ["skip-execution", "raises-exception", "nbgrader-skip"]},
    "points_in_metadata": {"nbgrader": {"grade_id": "check_double", "grade": True, "points": 100, "solution": False}},
    "a_second_check_cell": {"nbgrader": {"grade_id": "check_double", "grade": True, "points": 2, "solution": True}},
    "scrolled_widgets": {"collapsed": True, "jupyter": {"source_hidden": True}, "widgets": {"state": "2.0"}},
}


@pytest.mark.parametrize("metadata", CELLS.values(), ids=CELLS)
def test_what_a_cell_says_of_itself_counts_for_nothing(exercises, forks, metadata, tmp_path):
    """From the file as it was handed in, through its repair, to the marks."""
    import nbformat
    from nbformat.v4 import new_code_cell

    from autograder.intake.repair import repair

    release = notebook("def double(x):\n    raise NotImplementedError\n")
    mine = notebook(WRONG)
    mine.cells.insert(2, new_code_cell("2.0", metadata=metadata))
    mine.cells[3].metadata["nbgrader"]["points"] = 100
    mine.cells[3].metadata["tags"] = ["skip-execution"]
    mine.cells[3].source = "check.points = 2.0\n2.0"
    path = tmp_path / "mine.ipynb"
    nbformat.write(mine, path)
    whole, _ = repair(path, release)
    gained_nothing(execute(whole, exercises, limits=LIMITS, warm=forks))
    assert Path(path).exists()
