"""The sandboxed kernel sees, reaches and uses no more than it should, and nothing of it is left."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from kernels import QUICK, MiB, StandIn, cell, check, run, said
from nbformat.v4 import new_notebook

from autograder.notes import Kind, Note, sentence
from autograder.run.execute import execute
from autograder.sandbox import provisioner, seccomp
from autograder.sandbox.relay import listen, relay, start_thread

pytestmark = pytest.mark.skipif(provisioner.missing() is not None, reason=str(provisioner.missing()))

# Each cell tries one thing and prints what came of it. All run in one kernel, which is as quick as one test.
TRY = """import ctypes, errno, os, socket
def attempt(deed):
    try:
        return deed()
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)
def write(path):
    with open(path, "w") as file:
        file.write("x")
    return "written"
def fill(path):
    written = 0
    try:
        for i in range(40):
            with open(f"{path}/fill{i}", "wb") as file:
                written += file.write(bytes(2**20))
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        print(written // 2**20, "MiB")
        for i in range(40):
            if os.path.exists(f"{path}/fill{i}"): os.remove(f"{path}/fill{i}")
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    return "done" if libc.syscall(number, *arguments) >= 0 else errno.errorcode[ctypes.get_errno()]
"""


class Host:
    """What a host has that nobody inside may see."""

    def __init__(self, folder: Path):
        self.word = f"secret-{uuid.uuid4().hex}"
        self.file = folder / "gradebook.db"
        self.file.write_text(self.word)
        self.file.chmod(0o666)
        self.process = subprocess.Popen([sys.executable, "-c", f"import time; '{self.word}'; time.sleep(600)"])
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind(f"\0{self.word}")
        self.abstract.listen()
        self.submission = folder / "submission"
        self.submission.mkdir()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.tcp.close()
        self.abstract.close()


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.close()


def probe(host, **deeds):
    """The outputs of the cells, by name."""
    result = run(TRY, *deeds.values(), files=host.submission)
    return {name: said(result, i) for i, name in enumerate(deeds, start=1)}


def test_there_is_no_network_and_no_socket_of_the_host(host):
    port = host.tcp.getsockname()[1]
    ipv6 = "socket.socket(socket.AF_INET6).connect(('2606:4700::1', 80))"
    out = probe(
        host,
        tcp=f"print(attempt(lambda: socket.create_connection(('127.0.0.1', {port}), 2)))",
        outside="print(attempt(lambda: socket.create_connection(('1.1.1.1', 80), 2)))",
        ipv6=f"print(attempt(lambda: {ipv6}))",
        udp="print(attempt(lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('1.1.1.1', 53))))",
        names="print(attempt(lambda: socket.getaddrinfo('example.org', 80)))",
        abstract=f"print(attempt(lambda: socket.socket(socket.AF_UNIX).connect('\\0{host.word}')))",
        hypervisor="print(attempt(lambda: socket.socket(40)))",
        interfaces="print([name for _, name in socket.if_nameindex()])",
    )
    assert out["tcp"] == out["abstract"] == "ECONNREFUSED\n"
    assert out["outside"] == out["ipv6"] == out["udp"] == "ENETUNREACH\n"
    assert "gaierror" in out["names"] or "EAI" in out["names"] or out["names"].strip().isupper()
    assert out["hypervisor"] == "EPERM\n"
    assert out["interfaces"] == "['lo']\n"


def test_nothing_of_the_host_can_be_read(host, monkeypatch):
    monkeypatch.setenv("TOKEN", host.word)
    repository = Path(__file__).parents[2]
    tree = "for d in ['/proc'] + [f'/proc/{p}' for p in os.listdir('/proc') if p.isdigit()]:\n"
    tree += "  for name in ('environ', 'cmdline'):\n"
    tree += "    try: print(p := f'{d}/{name}', open(p).read())\n    except OSError: pass"
    out = probe(
        host,
        environment="print(dict(os.environ))",
        file=f"print(attempt(lambda: open({str(host.file)!r}).read()))",
        repository=f"print(attempt(lambda: sorted(os.listdir({str(repository)!r}))))",
        home=f"print(attempt(lambda: [n for n in os.listdir({str(Path.home())!r}) if n not in ('.pyenv', '.venv')]))",
        etc="print(sorted(os.listdir('/etc')), open('/etc/passwd').read())",
        tmp="print(os.listdir('/tmp'), os.listdir('/run'))",
        processes=tree,
        count="print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit())[:2], os.getppid())",
        grader="import course_utils\ntry: import autograder\nexcept ImportError: print('not there')",
        mine="print(os.getcwd(), os.listdir('.'))",
        user="print(os.getuid() != 0 or 'root', libc.setuid(0), os.getgroups())",
    )
    for text in out.values():
        assert host.word not in text
    assert "TOKEN" not in out["environment"] and "PYTEST" not in out["environment"]
    assert out["file"] == "ENOENT\n"
    assert out["repository"] in ("ENOENT\n", "['.venv']\n")
    assert out["home"] in ("ENOENT\n", "[]\n")
    assert "shadow" not in out["etc"] and len(out["etc"].splitlines()) < 4
    assert "course-" not in out["tmp"] and host.file.parent.name not in out["tmp"]
    assert out["count"].startswith("[1, ") and out["count"].endswith(" 1\n")
    assert out["grader"] == "not there\n"
    assert out["mine"] == "/tmp/notebook/work []\n"
    assert out["user"].startswith("True -1 ")


def test_of_an_environment_inside_the_course_only_its_libraries_are_seen(tmp_path, monkeypatch):
    """Also where all that lies in /tmp, which is another one inside."""
    for name in (
        "solutions/a1.ipynb",
        "gradebook.db",
        ".venv/lib/marker",
        ".venv/pyvenv.cfg",
        ".venv/secret",
        "passwd",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    options = provisioner._bubblewrap(QUICK, {}, provisioner.RIGHTS if provisioner.is_root() else (), "inside.py")
    found = subprocess.run(["bwrap", *options, "--", "find", str(tmp_path)], capture_output=True, text=True, check=True)
    assert sorted(p.removeprefix(f"{tmp_path}") for p in found.stdout.split()) == [
        "",
        "/.venv",
        "/.venv/lib",
        "/.venv/lib/marker",
        "/.venv/pyvenv.cfg",
    ]


def test_nothing_outside_its_folders_can_be_written(host):
    site = Path(psutil.__file__).parents[1]
    places = ["/x", "/dev/x", "/etc/passwd", "/run/x", "/run/course/x", "/run/kernel/x", "/usr/x", "/usr/bin/x"]
    places += ["/opt/course/course_utils/check.py", f"{site}/x", sys.executable, "/proc/sys/kernel/hostname", "/sys/x"]
    out = probe(
        host,
        places=f"print([attempt(lambda: write(p)) for p in {places}])",
        link="print(attempt(lambda: os.symlink('/etc', '/run/course/link')))",
        replace="print([attempt(lambda: os.remove('/run/' + p)) for p in ('course/judge.sock', 'kernel/k-1')])",
        node="print(attempt(lambda: os.mknod('/tmp/disk', 0o60666, os.makedev(8, 0))))",
        mine="print([attempt(lambda: write(p + '/x')) for p in ['.', '/tmp', '/dev/shm', os.environ['HOME']]])",
    )
    assert "written" not in out["places"]
    assert out["link"] == "EROFS\n" and out["replace"] == "['EROFS', 'EROFS']\n"
    assert out["node"] == "EPERM\n"
    assert out["mine"] == "['written', 'written', 'written', 'written']\n"


def test_disks_are_small_and_files_smaller(host):
    out = probe(
        host,
        work="print(fill('.'))",
        tmp="print(fill('/tmp'))",
        home="print(fill(os.environ['HOME']))",
        shm="print(fill('/dev/shm'))",
        one="print(attempt(lambda: write('big') and open('big', 'wb').write(bytes(12 * 2**20))))",
        sparse="print(attempt(lambda: os.truncate('big', 2**40)))",
    )
    for place in ("work", "tmp", "home", "shm"):
        size, _, error = out[place].partition(" MiB\n")
        assert int(size) <= QUICK.disk_bytes / MiB and error == "ENOSPC\n"
    assert out["one"] in ("EFBIG\n", f"{QUICK.file_bytes}\n") and out["sparse"] == "EFBIG\n"


def test_doors_to_uncounted_memory_and_to_other_rights_are_shut(host):
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of the calls are those of x86_64")
    calls = {
        "memfd": (319, "b'x'", 0),
        "shm": (29, 0, 4096, 0o1600),
        "user": (272, 0x10000000),
        "mounts": (272, 0x20000),
    }
    calls |= {
        "clone": (56, 0x10000000 | 17, 0, 0, 0, 0),
        "clone3": (435, 0, 0),
        "ptrace": (101, 0, 0, 0, 0),
        "uring": (425, 1, 0),
    }
    out = probe(host, **{name: f"print(call({', '.join(map(str, c))}))" for name, c in calls.items()})
    assert out.pop("clone3") == "ENOSYS\n"  # libraries then use clone
    assert set(out.values()) == {"EPERM\n"}


def test_filter_is_made_for_known_machines_only():
    assert len(seccomp.filter_program("aarch64")) == len(seccomp.filter_program("x86_64"))
    with pytest.raises(KeyError):
        seccomp.filter_program("sparc")


# --- the submission's files -------------------------------------------------------------------------------------------


def test_the_submissions_files_are_there_but_shadow_nothing(tmp_path):
    for name in (
        "numpy",
        "zmq",
        "course_utils",
        "IPython",
        "torch",
        "sitecustomize",
        "usercustomize",
        "random",
        "helper",
    ):
        (tmp_path / f"{name}.py").write_text(f"submitted = True\nprint('ran {name}')\n")
    for name in ("ipython_config.py", "ipython_kernel_config.py", "startup.ipy"):
        (tmp_path / name).write_text("raise SystemExit('config ran')\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "words.txt").write_text("abc")
    (tmp_path / "data" / "other.ipynb").write_text("{}")
    (tmp_path / "secret").symlink_to("/etc/shadow")
    (tmp_path / "private.txt").write_text("mine")
    (tmp_path / "private.txt").chmod(0o600)
    os.mkfifo(tmp_path / "pipe")
    result = run(
        "import random, numpy, course_utils\nprint([hasattr(m, 'submitted') for m in (random, numpy, course_utils)])",
        "import helper; print(helper.submitted)",
        "print(open('data/words.txt').read(), open('private.txt').read())",
        "import os; print(os.listdir('data'), os.path.exists('pipe'))",
        "open('data/words.txt', 'w').write('changed'); open('secret')",
        files=tmp_path,
    )
    assert said(result, 0) == "[False, False, False]\n"
    assert said(result, 1) == "ran helper\nTrue\n"
    assert said(result, 2) == "abc mine\n"
    assert said(result, 3) == "['words.txt'] False\n"
    assert "FileNotFoundError" in said(result, 4)
    assert (tmp_path / "data" / "words.txt").read_text() == "abc", "it was a copy"


def test_too_large_files_are_left_out_and_said(tmp_path):
    (tmp_path / "big.bin").write_bytes(bytes(17 * MiB))
    result = run("import os; print(os.listdir('.'))", files=tmp_path)
    assert said(result) == "[]\n"
    assert result.notes == [Note(Kind.FILES_NOT_COPIED, "", ("'big.bin'",))]


# --- memory, processes, ends ------------------------------------------------------------------------------------------


def test_an_allocation_beyond_the_limit_is_an_ordinary_error():
    result = run("x = 1\nb = bytearray(30 * 2**30)", "b = bytearray(2**29)", "print(x)")
    assert "MemoryError" in said(result, 0) and "MemoryError" in said(result, 1) and said(result, 2) == "1\n"
    assert result.usage["kernels"] == 1


GREEDY = """import os, time
for i in range(8):
    if os.fork() == 0:
        b = bytearray(os.urandom(1000) * 2**17)
        time.sleep(30)
time.sleep(15)
"""

FRUGAL = """import os, time
b = bytearray(300_000_000)
b[::4096] = b"x" * len(b[::4096])
pids = [os.fork() for _ in range(2)]
time.sleep(1.5)
if 0 in pids:
    os._exit(0)
print("fine")
"""

STORM = """import os, time
n = 0
try:
    while n < 2000:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        n += 1
except OSError as error:
    print(n, type(error).__name__)
"""


def test_processes_that_use_too_much_memory_together_are_ended():
    result = run("x = 1", GREEDY, "print(x)")
    assert "used more than 512 MiB of memory" in sentence(result.notes[0])
    assert said(result, 2) == "1\n"
    assert result.usage["peak_memory_bytes"] > 512 * MiB


def test_pages_that_forks_share_are_counted_once():
    result = run(FRUGAL, limits=replace(QUICK, memory_bytes=600 * MiB))
    assert said(result) == "fine\n" and result.notes == []


def test_a_storm_of_forks_stays_small():
    result = run(STORM, "print('next')", limits=replace(QUICK, processes=40))
    stopped = said(result, 0)
    assert "started more than 40 processes" in stopped or int(stopped.split()[0]) < 40
    assert "next" in said(result, 1) or "BlockingIOError" in said(result, 1)


def test_signals_reach_nobody_outside(host):
    kill = "import os, signal\n"
    result = run(
        kill + "os.kill(os.getppid(), signal.SIGKILL); os.kill(1, signal.SIGKILL); print('alive')",
        kill + f"os.kill({host.process.pid}, signal.SIGKILL)",
        kill + "os.kill(-1, signal.SIGKILL)",
        "print('next')",
    )
    assert said(result, 0) == "alive\n" or "PermissionError" in said(result, 0)
    assert "ProcessLookupError" in said(result, 1)
    assert host.process.poll() is None
    assert said(result, 3) == "next\n"


DAEMON = """import subprocess
subprocess.Popen(["sh", "-c", "setsid sleep {seconds} & setsid sleep {seconds} &"], start_new_session=True).wait()
"""


def sleepers(seconds):
    return [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", seconds]]


def no_sleepers(seconds, within=5):
    end = time.monotonic() + within
    while (left := sleepers(seconds)) and time.monotonic() < end:
        time.sleep(0.05)
    return not left


def unlikely_seconds():
    return str(10**6 + uuid.uuid4().int % 10**6)


def test_no_process_is_left_when_the_result_is_there():
    seconds = unlikely_seconds()
    result = run(DAEMON.format(seconds=seconds), f"!pgrep -fc 'sleep {seconds}'")
    assert int(said(result, 1)) >= 2
    assert not sleepers(seconds)
    result = run(DAEMON.format(seconds=seconds) + "import os; os._exit(0)")
    assert not sleepers(seconds)


def test_no_process_is_left_when_the_grader_fails(tmp_path):
    class Broken(StandIn):
        def open(self, name):
            raise ZeroDivisionError

    seconds = unlikely_seconds()
    with pytest.raises(ZeroDivisionError):
        execute(
            new_notebook(cells=[cell(DAEMON.format(seconds=seconds)), check("a", "1")]),
            {"a": None},
            limits=QUICK,
            judge_class=Broken,
        )
    assert not sleepers(seconds)


GRADER = """import sys, tempfile
sys.path.insert(0, {tests!r})
tempfile.tempdir = None
from kernels import run
print("go", flush=True)
run({cell!r})
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_sandbox_ends_with_the_grader(how):
    seconds = unlikely_seconds()
    source = DAEMON.format(seconds=seconds) + "import time; time.sleep(60)"
    script = GRADER.format(tests=str(Path(__file__).parents[1]), cell=source)
    grader = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while len(sleepers(seconds)) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    assert len(sleepers(seconds)) == 2
    sockets = [c.laddr for c in psutil.Process(grader.pid).net_connections("unix")]
    folders = {Path(*Path(path).parts[:3]) for path in sockets if path.startswith("/tmp/course-")}
    grader.send_signal(how)
    grader.wait(10)
    assert no_sleepers(seconds)
    if how == signal.SIGKILL:  # nobody is left to remove the few sockets in it
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    else:
        assert folders and not any(folder.exists() for folder in folders)


# --- the relay --------------------------------------------------------------------------------------------------------


def test_the_relay_counts_and_stops_a_kernel_that_speaks_no_protocol(tmp_path):
    """Frames without end, which a zmq socket would collect in memory, stop at the count."""
    inner, outer, counted, enough = listen(tmp_path / "in"), listen(tmp_path / "out"), [], threading.Event()

    def kernel():
        connection, _ = inner.accept()
        with connection:
            while not enough.is_set():
                connection.sendall(bytes(65536))

    def spend(count):
        counted.append(count)
        if sum(counted) > 2 * MiB:
            enough.set()

    start_thread(kernel)
    start_thread(relay, outer, tmp_path / "in", spend, enough.set)
    received = 0
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "out"))
        while data := client.recv(65536):
            received += len(data)
    assert enough.is_set() and received == sum(counted) < 4 * MiB
    outer.shutdown(socket.SHUT_RDWR)


def test_the_relay_says_when_our_side_hangs_up(tmp_path):
    inner, outer, hung_up = listen(tmp_path / "in"), listen(tmp_path / "out"), threading.Event()
    start_thread(relay, outer, tmp_path / "in", lambda count: None, hung_up.set)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "out"))
        connection, _ = inner.accept()
    with pytest.raises(OSError):
        for _ in range(1000):
            connection.sendall(bytes(65536))
    assert hung_up.wait(5)


# --- where it cannot work ---------------------------------------------------------------------------------------------


def test_missing_says_what_to_do(monkeypatch, tmp_path):
    check = provisioner.missing.__wrapped__
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux" in check()
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "sudo apt install bubblewrap" in check()
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2; exit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "uid map: Permission denied" in check() and "Is this a container?" in check()


def test_limits_of_the_grader_itself_stay():
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    run("print(1)")
    assert resource.getrlimit(resource.RLIMIT_NPROC) == before
