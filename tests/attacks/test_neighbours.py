"""Attempts on what a neighbour needs: processors, and memory that no process has. And on the grader's own memory."""

import os
from dataclasses import replace

import pytest

from autograder.limits import MiB
from autograder.notes import Kind

from .conftest import LIMITS, RIGHT, WRONG, gained_nothing, outputs, points

SMALL = replace(LIMITS, memory_bytes=1024 * MiB, cell_s=60)
x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the calls are those of x86_64")

UNCOUNTED = {
    "page_tables": """
import ctypes, mmap, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
size = 2**40
begin = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, -1, 0)
for place in range(0, size, 2**21):
    ctypes.string_at(begin + place, 1)
time.sleep(600)
""",
    "full_sockets": """
import os, socket, time
for _ in range(6):
    if os.fork() == 0:
        pairs = []
        for _ in range(450):
            pair = socket.socketpair()
            pairs.append(pair)
            for end in pair:
                end.setblocking(False)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**26)
                try:
                    while end.send(bytes(65536)): pass
                except BlockingIOError: pass
        time.sleep(600)
time.sleep(600)
""",
    "empty_files": """
import os
for i in range(10**7):
    os.close(os.open(f"/dev/shm/{i:x}" if i % 2 else f"/tmp/{i:x}", os.O_CREAT | os.O_WRONLY))
""",
    "folders": """
import os
for i in range(10**7): os.mkdir(f"/tmp/{i:x}")
""",
    "symbolic_links": """
import os
for i in range(10**7): os.symlink("x" * 40, f"/tmp/{i:x}")
""",
    "loopback": """
import socket, time
door = socket.create_server(("127.0.0.1", 0))
kept = []
while True:
    s = socket.create_connection(door.getsockname()); kept.append((s, door.accept()))
    s.setblocking(False)
    try:
        while s.send(bytes(2**20)): pass
    except BlockingIOError: pass
""",
}
# what is counted of the whole sandbox is asked of one of its processes: not of one that has ended
UNCOUNTED["loopback_beside_the_dead"] = """
import os, time
if os.fork() == 0: os._exit(0)
time.sleep(1)
""" + UNCOUNTED["loopback"]

FILES = ("empty_files", "folders", "symbolic_links")  # a million of them: a soak
CASES = [pytest.param(code, id=name, marks=[pytest.mark.soak] * (name in FILES)) for name, code in UNCOUNTED.items()]


@pytest.mark.slow
@pytest.mark.parametrize("code", CASES)
def test_memory_that_is_in_no_process_is_counted(hand_in, code):
    result = hand_in(WRONG + code, limits=SMALL)
    gained_nothing(result)
    said = [text for note in result.notes for text in note.text]
    assert any("MiB of memory" in text for text in said), (result.notes, outputs(result))


SOCKETS_INSIDE_OF_SOCKETS = """
import os, socket, time
for _ in range(6):
    if os.fork() == 0:
        try:
            while True:
                box, end = socket.socketpair()
                for _ in range(200):
                    full, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
                    full.setblocking(False)
                    try:
                        while full.send(bytes(32768)): pass
                    except BlockingIOError: pass
                    socket.send_fds(box, [b"x"], [full.fileno(), other.fileno()])
                    full.close(); other.close()
                globals().setdefault("kept", []).append((box, end))
        except OSError: time.sleep(600)
time.sleep(600)
"""


@pytest.mark.soak
def test_sockets_on_their_way_in_sockets_are_few(hand_in):
    """The kernel lets a user send no more of them than it may have open: the cell waits until it is interrupted."""
    result = hand_in(WRONG + SOCKETS_INSIDE_OF_SOCKETS, limits=SMALL)
    gained_nothing(result)
    assert Kind.INTERRUPTED in {note.kind for note in result.notes}, result.notes


@x86_64
def test_memory_that_belongs_to_nobody_cannot_be_had(hand_in):
    seen = outputs(
        hand_in(
            WRONG
            + """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for name, number, *arguments in [("semget", 64, 0, 32000, 0o1600), ("msgget", 68, 0, 0o1600), ("shmget", 29, 0, 4096, 0o1600),
                                 ("mq_open", 240, b"queue", os.O_CREAT | os.O_RDWR, 0o600, None)]:
    print("GOT" if libc.syscall(number, *arguments) >= 0 else "refused", name)
timer, made = ctypes.c_void_p(), 0
while made < 5000 and libc.syscall(222, 1, None, ctypes.byref(timer)) == 0: made += 1
print("TIMERS", made <= 1024)
"""
        )
    )
    assert seen.count("refused") == 4 and "GOT" not in seen and "TIMERS True" in seen, seen


BUSY = {
    "forks": """
for _ in range(30):
    if os.fork() == 0:
        while True: pass
""",
    "forks_in_sessions_of_their_own": """
for _ in range(30):
    if os.fork() == 0:
        os.setsid()
        while True: pass
""",
    "threads": """
import threading, hashlib
data = bytes(2**22)
for _ in range(30): threading.Thread(target=lambda: [hashlib.sha256(data).digest() for _ in range(10**6)], daemon=True).start()
""",
    "short_lives_that_nobody_counts": """
import signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def burn(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end: pass
for _ in range(8):  # more would meet the limit on processes where they are kept waiting
    if os.fork() == 0:
        while True:
            if os.fork() == 0:
                burn(0.3)
                os._exit(0)
            burn(0.2)
""",
    "programs": """
import subprocess, sys
for _ in range(20): subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
""",
}


@pytest.mark.soak
@pytest.mark.parametrize("code", BUSY.values(), ids=BUSY)
def test_who_takes_more_than_its_share_of_the_processors_goes_last(hand_in, code):
    look = """
import os, time
def double(x):
    return [v + 1 for v in x]
"""
    after = """
for _ in range(100):
    if os.sched_getscheduler(0) == os.SCHED_IDLE: break
    time.sleep(0.2)
print("LAST", os.sched_getscheduler(0) == os.SCHED_IDLE)
try:
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)); print("UNDONE")
except OSError: print("STAYS")
import contextlib, signal
with contextlib.suppress(ProcessLookupError):  # there may be no other
    os.kill(-1, signal.SIGKILL)
"""
    result = hand_in(look + code + after, limits=replace(LIMITS, cell_s=60))
    seen = outputs(result)
    assert "LAST True" in seen and "STAYS" in seen and "UNDONE" not in seen, seen
    assert points(result)["check_double"] == 0


def test_who_takes_its_share_keeps_its_place(hand_in):
    source = """
import os, time
end = time.process_time() + 5
while time.process_time() < end: pass
def double(x):
    return [2 * v for v in x]
print("LAST", os.sched_getscheduler(0) == os.SCHED_IDLE)
"""
    result = hand_in(source, limits=replace(LIMITS, cell_s=60))
    assert points(result) == {"check_double": 2, "check_triple": 2} and "LAST False" in outputs(result)


FLOODS = {
    "lists_in_a_picture": "session.send(socket, 'display_data', {'data': {'image/png': [[]] * 3_000_000}, 'metadata': {}}, parent=kernel.get_parent())",
    "lists_for_a_text": "session.send(socket, 'stream', {'name': 'stdout', 'text': [[]] * 3_000_000}, parent=kernel.get_parent())",
    "lists_in_a_reply": "session.send(kernel.shell_stream, 'execute_reply', {'status': 'ok', 'user_expressions': [[]] * 3_000_000}, parent=kernel.get_parent())",
    "lists_in_metadata": "session.send(socket, 'status', {'execution_state': 'busy'}, parent=kernel.get_parent(), metadata={'x': [[]] * 3_000_000})",
    "one_picture_many_times": "[session.send(socket, 'update_display_data', {'data': {'text/plain': 'x'}, 'metadata': {}, 'transient': {'display_id': 'a'}}, parent=kernel.get_parent()) for _ in range(20_000)]",
    "many_pictures_of_one_name": "[session.send(socket, 'display_data', {'data': {'text/plain': 'x'}, 'metadata': {}, 'transient': {'display_id': 'a'}}, parent=kernel.get_parent()) for _ in range(5_000)]",
}


@pytest.mark.slow
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_what_a_kernel_sends_does_not_fill_the_graders_memory(hand_in, flood):
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source = f"{WRONG}kernel = get_ipython().kernel\nsession, socket = kernel.session, kernel.iopub_socket\n{flood}\n"
    gained_nothing(hand_in(source))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB


def test_an_honest_neighbour_is_marked(hand_in):
    result = hand_in("def double(x):\n    return [2 * v for v in x]\n" + RIGHT, limits=SMALL)
    assert points(result) == {"check_double": 2, "check_triple": 2} and not result.notes[1:]
