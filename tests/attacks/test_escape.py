"""Attempts to read or reach what is none of the student's business. Each asks from inside and tells what it saw."""

import socket
import subprocess
import sys
import textwrap
import threading
import uuid
from pathlib import Path

import pytest

from .conftest import RIGHT, WRONG, gained_nothing, outputs

REPO = Path(__file__).parents[2]


def tells(hand_in, code: str, **parts) -> str:
    """What the code prints inside; the rest of the submission must be judged as ever."""
    result = hand_in(WRONG + textwrap.dedent(code), **parts)
    gained_nothing(result)
    return outputs(result)


def test_the_course_folder_is_not_there(hand_in):
    seen = tells(
        hand_in,
        f"""
        import os, glob
        names = []
        for root, folders, files in os.walk("/"):
            folders[:] = [f for f in folders if os.path.join(root, f) not in ("/proc", "/sys", "/usr", {sys.prefix!r}, {sys.base_prefix!r})]
            names += [os.path.join(root, f) for f in files + folders]
        bad = [n for n in names if "solutions" in n or "mistakes.py" in n or "gradebook.db" in n or "submitted" in n or n.endswith(".ipynb")]
        print("BAD", [b for b in bad if "site-packages" not in b])
        print("REPO", os.path.exists({str(REPO / "solutions")!r}), os.path.exists({str(REPO / "README.md")!r}))
        """,
    )
    assert "BAD []" in seen and "REPO False False" in seen


@pytest.mark.parametrize(
    "path", ["../../source", "../../../solutions", "/root/.ssh", "/etc/shadow", "/home", "/var/lib"]
)
def test_a_path_outside_is_not_there(hand_in, path):
    seen = tells(
        hand_in,
        f"""
        import os
        try:
            print("READ", os.listdir({path!r}) if os.path.isdir({path!r}) else open({path!r}).read())
        except OSError as error:
            print("NOTHING", type(error).__name__)
        """,
    )
    assert "NOTHING" in seen or "READ []" in seen


def test_another_submission_is_not_there(hand_in, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret.txt").write_text("the other student's answer")
    seen = tells(
        hand_in,
        f"""
        import os
        print("OTHER", os.path.exists({str(tmp_path)!r}), os.path.exists("../other/secret.txt"), os.listdir(".."))
        """,
    )
    assert "OTHER False False" in seen


def test_the_test_cells_are_not_there(hand_in):
    seen = tells(hand_in, "import os\nprint('FILES', sorted(os.listdir('.')))")
    assert "FILES ['cases.safetensors']" in seen


def test_the_environment_holds_no_secret(hand_in, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    seen = tells(
        hand_in,
        "import os\nprint('ENV', dict(os.environ), open('/proc/1/environ', 'rb').read() if os.access('/proc/1/environ', os.R_OK) else '')",
    )
    assert "hunter2" not in seen and "AWS_SECRET" not in seen and "JPY_PARENT_PID" not in seen


def test_other_processes_are_not_seen(hand_in):
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)", "neighbour-secret"])
    try:
        seen = tells(
            hand_in,
            """
            import os
            print("PIDS", len([p for p in os.listdir("/proc") if p.isdigit()]))
            for p in os.listdir("/proc"):
                if p.isdigit():
                    try: print(open(f"/proc/{p}/cmdline").read().replace(chr(0), " "))
                    except OSError: pass
            """,
        )
    finally:
        sleeper.kill()
    assert "PIDS" in seen and "neighbour-secret" not in seen


def test_the_parent_cannot_be_traced_or_read(hand_in):
    seen = tells(
        hand_in,
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        print("TRACE", [libc.ptrace(16, p, 0, 0) for p in (1, os.getppid())])
        for p in (1,):
            try: print("MEM", open(f"/proc/{p}/mem", "rb").read(1))
            except OSError as error: print("MEM refused")
        """,
    )
    assert "TRACE [-1" in seen and "MEM refused" in seen


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
def test_the_network_is_not_there(hand_in, kind):
    with socket.socket(socket.AF_INET, getattr(socket, kind)) as server:
        server.bind(("127.0.0.1", 0))
        if kind == "SOCK_STREAM":
            server.listen()
        server.settimeout(0.1)
        seen = tells(
            hand_in,
            f"""
            import socket
            for host in ("127.0.0.1", "192.0.2.1"):
                s = socket.socket(socket.AF_INET, socket.{kind}); s.settimeout(1)
                try:
                    s.connect((host, {server.getsockname()[1]})); s.send(b"x"); print("SENT", s.recv(1))
                except OSError as error:
                    print("NO NETWORK", error)
            """,
        )
        with pytest.raises(TimeoutError):
            server.accept() if kind == "SOCK_STREAM" else server.recvfrom(1)
    assert "SENT" not in seen and "NO NETWORK" in seen


@pytest.mark.parametrize("abstract", [False, True])
def test_unix_sockets_of_the_machine_are_not_there(hand_in, tmp_path, abstract):
    name = f"\0course-test-{uuid.uuid4()}" if abstract else str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        heard = []
        server.settimeout(30)

        def listen():
            try:
                heard.append(server.accept())
            except OSError:
                pass

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        seen = tells(
            hand_in,
            f"""
            import socket
            try:
                s = socket.socket(socket.AF_UNIX); s.connect({name!r}); print("REACHED")
            except OSError as error:
                print("NOT THERE")
            """,
        )
        assert "NOT THERE" in seen and "REACHED" not in seen and not heard


def test_a_link_to_the_outside_leads_nowhere(hand_in, tmp_path, exercises):
    (tmp_path / "secret.txt").write_text("the answers")
    folder = tmp_path / "submission"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret.txt")
    from autograder.run.execute import execute

    from .conftest import LIMITS, notebook

    code = WRONG + "try:\n    print('READ', open('link').read())\nexcept OSError:\n    print('NOWHERE')\n"
    seen = outputs(execute(notebook(code), exercises, files=folder, limits=LIMITS))
    assert "NOWHERE" in seen and "the answers" not in seen


@pytest.mark.parametrize("path", ["/usr/x", sys.prefix + "/x", "/x", "/dev/x", "/etc/x", "/run/x", "/run/course/x"])
def test_the_system_cannot_be_written(hand_in, path):
    seen = tells(
        hand_in,
        f"""
        try:
            open({path!r}, "w").write("x"); print("WROTE")
        except OSError as error:
            print("READ-ONLY")
        """,
    )
    assert "READ-ONLY" in seen and "WROTE" not in seen
    assert not Path(path).exists()


def test_a_new_namespace_cannot_be_made(hand_in):
    seen = tells(
        hand_in,
        """
        import ctypes
        print("UNSHARE", ctypes.CDLL(None, use_errno=True).unshare(0x10000000))
        """,
    )
    assert "UNSHARE -1" in seen


def test_the_grader_itself_cannot_be_imported(hand_in):
    seen = tells(
        hand_in,
        """
        for name in ("run.judge", "author.exercise", "run.execute", "book.record"):
            try:
                __import__(f"autograder.{name}"); print("IMPORTED", name)
            except ImportError:
                print("HIDDEN")
        """,
    )
    assert "IMPORTED" not in seen and "HIDDEN" in seen


def test_the_right_answer_still_counts(hand_in):
    from .conftest import points

    assert points(hand_in(RIGHT.replace("triple", "double").replace("3", "2"))) == {
        "check_double": 2,
        "check_triple": 2,
    }
