"""What a forked kernel could try against the parent that it was forked from, and against its siblings."""

import textwrap
import threading

import pytest

from autograder.run.execute import execute
from autograder.sandbox import warm
from autograder.sandbox.provisioner import missing

from .conftest import LIMITS, WRONG, gained_nothing, notebook, outputs, points

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture
def forks():
    return warm.shared()


def tells(hand_in, code: str) -> str:
    result = hand_in(WRONG + textwrap.dedent(code))
    gained_nothing(result)
    return outputs(result)


def test_the_spool_is_covered_up(hand_in):
    seen = tells(
        hand_in,
        """
        import os
        print("SPOOL", os.listdir("/run/spool"), os.listdir("/run/course"), os.getpid())
        try: os.mkdir("/run/spool/x")
        except OSError as error: print("REFUSED", error.errno)
        """,
    )
    assert "SPOOL [] ['judge.sock'] 1" in seen and "REFUSED" in seen


def test_nothing_of_the_parent_is_open(hand_in):
    """Its socket, through which kernels are asked for, and the keeper's channel."""
    seen = tells(
        hand_in,
        """
        import os, socket, stat
        kinds = []
        for fd in range(3, 200):
            try:
                if stat.S_ISSOCK(os.fstat(fd).st_mode):
                    with socket.socket(fileno=os.dup(fd)) as s: kinds.append(s.type)
            except OSError: pass
        print("SEQPACKET", socket.SOCK_SEQPACKET in kinds)
        """,
    )
    assert "SEQPACKET False" in seen


def test_no_right_is_left(hand_in):
    seen = tells(
        hand_in,
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
        print("CAPS", status["CapEff"].strip(), status["CapPrm"].strip(), status["CapAmb"].strip(), status["Seccomp"].strip())
        print("MOUNT", libc.mount(b"none", b"/tmp", b"tmpfs", 0, None), libc.umount2(b"/run/spool", 2))
        try: os.setuid(0); print("UID 0")
        except OSError: print("NO ROOT")
        """,
    )
    assert "CAPS 0000000000000000 0000000000000000 0000000000000000 2" in seen
    assert "MOUNT -1 -1" in seen and "NO ROOT" in seen


def test_siblings_do_not_meet(exercises):
    """Two kernels at once: one listens on whatever it can, leaves a file and a message, the other looks for it."""
    listen = """
    import os, socket, time
    abstract = socket.socket(socket.AF_UNIX); abstract.bind("\\0meeting"); abstract.listen()
    port = socket.create_server(("127.0.0.1", 4711))
    for folder in ("/tmp", "/dev/shm"): open(folder + "/answer", "w").write("42")
    time.sleep(4)
    """
    look = """
    import os, socket, time
    time.sleep(2)
    def met(family, address):
        try:
            with socket.socket(family) as s: s.connect(address)
            return True
        except OSError: return False
    print("MET", met(socket.AF_UNIX, "\\0meeting"), met(socket.AF_INET, ("127.0.0.1", 4711)))
    print("FILES", [os.path.exists(f + "/answer") for f in ("/tmp", "/dev/shm")])
    print("PIDS", len([p for p in os.listdir("/proc") if p.isdigit()]))
    """
    found = {}

    def run(name, code):
        found[name] = execute(notebook(WRONG + textwrap.dedent(code)), exercises, limits=LIMITS, warm=warm.shared())

    threads = [threading.Thread(target=run, args=pair) for pair in (("listen", listen), ("look", look))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = outputs(found["look"])
    assert "MET False False" in seen and "FILES [False, False]" in seen and "PIDS 1" in seen
    assert all(gained_nothing(result) for result in found.values())


def test_killing_everything_ends_one_kernel_alone(hand_in, exercises, forks):
    result = hand_in(
        WRONG + "import os, signal\nos.kill(-1, signal.SIGKILL)\nos.kill(1, signal.SIGKILL)\nos._exit(0)\n"
    )
    assert points(result)["check_double"] == 0
    assert forks.alive
    after = execute(notebook("def double(x):\n    return [2 * v for v in x]\n"), exercises, limits=LIMITS, warm=forks)
    assert points(after) == {"check_double": 2, "check_triple": 2}


def test_what_one_changes_in_a_module_no_other_sees(hand_in, exercises, forks):
    hand_in(WRONG + "import json, course_utils.check\njson.dumps = None\ncourse_utils.check.answer = None\n")
    after = execute(
        notebook("import json\ndef double(x):\n    return json.loads(json.dumps([2 * v for v in x]))\n"),
        exercises, limits=LIMITS, warm=forks,
    )  # fmt: skip
    assert points(after) == {"check_double": 2, "check_triple": 2}


def test_random_numbers_are_not_those_of_a_sibling(exercises, forks):
    code = "import random, uuid\nprint('DRAWN', random.random(), uuid.uuid4())\n"
    drawn = {
        outputs(execute(notebook(WRONG + code), exercises, limits=LIMITS, warm=forks)).split("DRAWN")[1][:60]
        for _ in range(2)
    }
    assert len(drawn) == 2
