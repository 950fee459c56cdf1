import ast
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from effort import patient, some
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from small_checkout import PYPROJECT, Checkout

from course_utils import setup
from course_utils.command import lab
from course_utils.setup import SetupError

REPO = Path(__file__).resolve().parents[2]
PYTHON = [getattr(sys, "_base_executable", sys.executable)]


def wait_for(condition):
    end = time.monotonic() + patient(180)
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.fixture(scope="module")
def plain_environment(tmp_path_factory):
    """A new environment to copy from; made in `.venv`, as its files remember that name."""
    folder = tmp_path_factory.mktemp("plain") / ".venv"
    subprocess.run([*PYTHON, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def begun(checkout, plain_environment):
    """A checkout in which somebody made an environment by hand; to bring it up to date is faster than to make it."""
    shutil.copytree(plain_environment, checkout.root / ".venv", symlinks=True)
    return checkout


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Makes a program and lets PATH hold such programs only."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(name, script=""):
        (folder / name).write_text("#!/bin/sh\n" + script)
        (folder / name).chmod(0o755)
        return str(folder / name)

    return make


# --- a real set-up, in small ------------------------------------------------------------------------------------------


def test_sets_up_once_then_starts_at_once_then_follows_a_new_lock(checkout):
    code, output = checkout.set_up()
    assert code == 0, output
    assert checkout.ask("import tiny; print(tiny.version)") == "1.0"
    assert checkout.ask("import course_utils; print(course_utils.__file__)").startswith(str(checkout.root))
    assert json.loads((checkout.root / ".venv" / "course-stamp.json").read_text()) == setup.fingerprint(checkout.root)

    started, calls = time.process_time(), checkout.log.read_text()
    assert setup.is_ready(checkout.root)
    assert time.process_time() - started < 0.1
    code, output = checkout.set_up("test", "-k", "some name")  # the small checkout's pytest prints what it was asked
    assert code == 0
    assert re.fullmatch(
        rf"pytest in {checkout.root} -n \d --dist loadfile --no-loadscope-reorder -k some name\n", output
    )
    assert checkout.log.read_text() == calls, "a finished set-up was done again"

    checkout.lock(tiny="2.0")
    (checkout.root / ".venv" / "mine").touch()
    code, output = checkout.set_up()
    assert code == 0, output
    assert checkout.ask("import tiny; print(tiny.version)") == "2.0"
    assert (checkout.root / ".venv" / "mine").exists(), "an update must not throw the environment away"


def test_a_killed_setup_is_never_used_and_its_successor_waits_for_what_still_runs(begun, plain_environment):
    first = begun.start(TEST_UV_HANGS="1")
    wait_for(lambda: begun.installs() == 1)
    hanging = int(begun.log.read_text().split()[0])
    first.kill()
    first.wait()
    assert not setup.is_ready(begun.root)
    assert setup.read_stamp(begun.root)["asked"] is None

    (begun.root / ".venv" / "half").touch()
    second = begun.start_copying(plain_environment)
    assert "another set-up runs" in second.stdout.readline()
    os.kill(hanging, signal.SIGKILL)
    output, _ = second.communicate(timeout=300)
    assert second.returncode == 0, output
    assert "making it again" in output  # made by hand, it would not outlive a move: not worth completing
    assert not (begun.root / ".venv" / "half").exists(), "something half-written was kept"
    assert setup.is_ready(begun.root)


def test_control_c_ends_it_with_a_sentence(begun):
    process = begun.start(TEST_UV_HANGS="1")
    wait_for(lambda: begun.installs() == 1)
    time.sleep(1)  # until it waits: a signal while it forks can go to the child alone
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "start it again to go on" in output
    assert "Traceback" not in output
    assert not setup.is_ready(begun.root)


def test_two_at_once_install_once(begun):
    both = [begun.start(), begun.start()]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert begun.installs() == 1
    assert sum("another set-up runs" in output for output in outputs) == 1


def test_an_environment_that_cannot_work_is_made_again(begun, plain_environment):
    assert begun.set_up()[0] == 0
    begun.root = begun.root.rename(begun.folder / "elsewhere")
    for damage in ("moved, with scripts of its old place", "Python gone"):
        assert not setup.is_ready(begun.root)
        code, output = begun.set_up_copying(plain_environment)
        assert code == 0, output
        assert "making it again" in output, damage
        assert begun.ask("import course_utils; print(course_utils.__file__)").startswith(str(begun.root))
        for python in (begun.root / ".venv" / "bin").glob("python*"):
            python.unlink()
        (begun.root / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")


# --- nothing but its own folder ---------------------------------------------------------------------------------------


def base_packages():
    """What is installed in the Python that environments are made with: each file's name, size and time."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'), sysconfig.get_path('scripts'), sep='\\n')"
    places = subprocess.check_output([*PYTHON, "-I", "-c", code], text=True).split("\n")
    return sorted((file.path, file.stat().st_mtime_ns) for place in filter(None, places) for file in os.scandir(place))


def interrupt_often(checkout, environment, seed, times):
    """Interrupts updates, and environments that are made again, at random moments; each time the next one succeeds."""
    random = Random(seed)

    def damage(kind):
        victim = checkout.root / ".venv" / ("pyvenv.cfg" if kind == "made again" else "course-stamp.json")
        victim.unlink(missing_ok=True)

    def finish():
        began = time.monotonic()
        code, output = checkout.set_up_copying(environment)
        assert code == 0, output
        assert setup.is_ready(checkout.root)
        return time.monotonic() - began

    seconds = {"made again": finish()}
    damage("updated")
    seconds["updated"] = finish()
    for _ in range(times):
        kind = random.choice(list(seconds))
        damage(kind)
        process = checkout.start_copying(environment)
        time.sleep(random.uniform(0, seconds[kind]))
        process.send_signal(random.choice([signal.SIGINT, signal.SIGKILL]))
        output, _ = process.communicate(timeout=300)
        yield kind, "Traceback" in output and output
        finish()
        assert checkout.ask("import course_utils, tiny, uv, pip; print(tiny.version)") == "1.0"


TIMES = 10  # for each of three at a time


@pytest.mark.soak  # every day once, at one moment: the killed set-up above
@pytest.mark.skipif(setup.WINDOWS, reason="ends it with a signal")
def test_interrupted_at_any_moment_it_touches_no_other_python_and_goes_on(tmp_path, plain_environment):
    before = base_packages()

    def work(seed):
        kinds, checkout = [], Checkout(tmp_path / str(seed))
        for kind, _ in interrupt_often(checkout, plain_environment, seed, TIMES):
            assert base_packages() == before
            kinds.append(kind)
        return kinds

    with ThreadPoolExecutor(3) as pool:
        kinds = [kind for found in pool.map(work, range(3)) for kind in found]
    assert len(kinds) == 3 * TIMES and set(kinds) == {"made again", "updated"}
    assert base_packages() == before


@pytest.mark.soak
def test_what_an_older_setup_left_half_removed_is_never_used(begun):
    """Without pyvenv.cfg its Python is that of the machine; and uv, which looked at it, remembers it as that."""
    before, venv = base_packages(), begun.root / ".venv"
    (venv / "pyvenv.cfg").rename(venv / "kept")
    look = [
        shutil.which("uv", path=Path(sys.executable).parent),
        "pip",
        "list",
        "--python",
        str(venv / "bin" / "python"),
    ]
    subprocess.run(look, env=begun.environment, check=True, capture_output=True)
    (venv / "kept").rename(venv / "pyvenv.cfg")
    assert begun.set_up()[0] == 0
    assert begun.ask("import tiny; print(tiny.__file__)").startswith(str(venv)), "installed where uv remembered"

    (venv / "pyvenv.cfg").unlink()
    assert not setup.is_ready(begun.root)
    code, said = begun.course("x")
    assert code == 1 and "run make setup" in said
    code, output = begun.set_up(python=str(venv / "bin" / "python"))  # as in a terminal where it is active
    assert code == 0, output
    assert "making it again" in output
    assert begun.ask("import tiny; print(tiny.__file__)").startswith(str(venv))
    assert base_packages() == before


def test_damaged_packages_are_put_back_and_whole_ones_are_kept(begun):
    assert begun.set_up()[0] == 0
    packages = Path(begun.ask("import tiny; print(tiny.__file__)")).parent
    (packages / "tiny.py").unlink()  # not only written to: uv's cache has the same file
    (packages / "tiny.py").write_text("cut")
    pytest_time = (packages / "pytest" / "__main__.py").stat().st_ctime_ns
    assert begun.set_up()[0] == 0
    assert (packages / "tiny.py").read_text() == "cut", "a finished set-up looks at nothing"
    code, output = begun.set_up("--repair")
    assert code == 0, output
    assert begun.ask("import tiny; print(tiny.version)") == "1.0"
    assert (packages / "pytest" / "__main__.py").stat().st_ctime_ns == pytest_time, "whole packages are left alone"


def test_tests_compile_the_course_once(monkeypatch):
    """Where nothing compiled is kept, as in many container images, each of hundreds of processes would do it anew."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(setup, "ensure", lambda **how: sys.executable)
    monkeypatch.setattr(setup, "become", lambda command, folder, environment: (command, folder, environment))
    command, folder, environment = setup.main(["test", "-k", "one"])
    assert command[:3] == [sys.executable, "-m", "pytest"] and command[-2:] == ["-k", "one"]
    assert folder == REPO
    assert "PYTHONDONTWRITEBYTECODE" not in environment


@pytest.mark.soak
def test_a_link_is_kept_and_its_folder_is_used(checkout, plain_environment):
    venv, scratch = checkout.root / ".venv", checkout.folder / "scratch"
    venv.symlink_to(scratch)  # a dangling one: the folder is made
    for state in ("made", "made again"):
        code, output = checkout.set_up_copying(plain_environment)
        assert code == 0, output
        assert venv.is_symlink() and venv.resolve() == scratch
        code, said = checkout.course("x")
        assert (code, said.split("|")[:2]) == (0, [str(checkout.root / "course_utils" / "cli.py"), str(venv)]), state
        (scratch / "pyvenv.cfg").unlink()

    other = Checkout(checkout.folder / "other")
    (other.root / ".venv").symlink_to(scratch)
    code, output = other.set_up()
    assert code == 1 and f"the environment of {checkout.root}" in output
    assert len(list(scratch.iterdir())) > 3


def test_what_is_not_ours_is_left_alone(checkout):
    venv, folder = checkout.root / ".venv", checkout.folder / "mine"
    folder.mkdir()
    (folder / "thesis").touch()
    for target, said in (
        (folder, "holds other things"),
        (checkout.folder / "no" / "no", "not there"),
        (venv, "not there"),
    ):
        venv.symlink_to(target)
        code, output = checkout.set_up()
        assert code == 1 and said in output and len(output.strip().splitlines()) == 1, output
        venv.unlink()
    assert [file.name for file in folder.iterdir()] == ["thesis"]
    venv.write_text("mine")
    code, output = checkout.set_up()
    assert code == 1 and "is a file, not a folder" in output
    assert venv.read_text() == "mine"


@pytest.mark.parametrize("name", some(1, ["ü ' \"#$", "a #b", "a $x", "50 %20"]))
def test_any_name_of_the_folder_will_do_also_after_it_was_renamed(tmp_path, plain_environment, name):
    checkout = Checkout(tmp_path, name)
    code, output = checkout.set_up_copying(plain_environment)
    assert code == 0, output
    for new in (name, "renamed " + name):
        checkout.root = checkout.root.rename(tmp_path / new)
        venv = checkout.root / ".venv"
        code, said = checkout.course("a b")
        assert (code, said) == (0, f"{checkout.root / 'course_utils' / 'cli.py'}|{venv}|['a b']|None|None")
        code, said = checkout.course("--version", program=venv / "bin" / "pip")
        assert code == 0 and f"from {venv}" in said
    code, output = checkout.set_up()
    assert code == 0 and "bringing .venv up to date" in output, "nothing in it holds the old name"
    assert setup.is_ready(checkout.root)


def test_the_course_command_is_led_nowhere_else(checkout, plain_environment):
    assert checkout.set_up_copying(plain_environment)[0] == 0
    bad = checkout.folder / "bad"
    bad.mkdir()
    for name in ("json", "random", "pathlib", "course_utils", "numpy"):
        (bad / f"{name}.py").write_text("1 / 0\n")
    code, said = checkout.course("x", PYTHONPATH=str(bad))
    assert code == 0 and said.endswith(f"|['x']|{bad}|None"), said
    code, said = checkout.course("-P", "-m", "pip", "--version", program=checkout.root / ".venv" / "bin" / "python")
    assert code == 0
    assert checkout.course(PYTHONHOME="/nowhere")[0] == 0


@pytest.mark.soak
@pytest.mark.parametrize("version, again", [("3.10", True), ("3.12", False), ("3.13", False)])
def test_an_environment_of_another_python(checkout, version, again):
    folder = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    pythons = [*folder.glob(f"{version}.*/bin/python"), *filter(None, [shutil.which(f"python{version}")])]
    if not pythons:
        pytest.skip(f"no Python {version} here")
    subprocess.run([pythons[0], "-m", "venv", checkout.root / ".venv"], check=True)
    code, output = checkout.set_up()
    assert code == 0, output
    assert ("making it again" in output) == again
    assert checkout.ask("import tiny; print(tiny.version)") == "1.0"


@pytest.mark.soak  # every day of one that cannot work, in two ways
def test_an_environment_of_another_machine_is_made_again(begun, plain_environment):
    assert begun.set_up()[0] == 0
    stamp = begun.root / ".venv" / "course-stamp.json"
    stamp.write_text(stamp.read_text().replace(platform.machine(), "pdp11"))
    assert not setup.is_ready(begun.root)
    assert "making it again" in begun.set_up_copying(plain_environment)[1]
    assert setup.is_ready(begun.root)


def test_a_package_other_than_the_locked_one_is_refused(begun):
    lock = begun.root / "requirements.lock"
    tiny = begun.tiny["1.0"].split("sha256:")[1].strip()
    lock.write_text(lock.read_text().replace(tiny, "0" * 64))
    code, output = begun.set_up()
    assert code == 1
    assert "is not the one that requirements.lock names" in output
    assert not setup.is_ready(begun.root)


@pytest.mark.parametrize("tool", some(1, ["pip", "uv"]))
def test_without_network_it_says_so_and_goes_on_later(begun, tool):
    nobody = "http://127.0.0.1:9/simple"  # the port "discard": nothing listens there
    if tool == "pip":
        broken = {"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": nobody, "PIP_RETRIES": "0"}
    else:
        broken = {"UV_OFFLINE": "0", "UV_FIND_LINKS": "", "UV_DEFAULT_INDEX": nobody, "UV_HTTP_RETRIES": "0"}
    code, output = begun.set_up(**broken)
    assert code == 1
    assert "package server cannot be reached" in output
    assert "start this again" in output
    assert "Traceback" not in output
    assert not setup.is_ready(begun.root)


def test_pips_mirror_is_used_by_uv_too(monkeypatch):
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://mirror.example/simple")
    assert setup.index_for_uv(sys.executable) == {"UV_DEFAULT_INDEX": "http://mirror.example/simple"}
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://other.example/simple")
    assert setup.index_for_uv(sys.executable) == {}


def test_outside_a_checkout(tmp_path, capsys):
    with pytest.raises(SetupError, match="is not the course's folder"):
        setup.ensure(tmp_path)
    assert lab.lab(root=tmp_path) == 1
    assert "is not the course's folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_make_leads_to_the_setup():
    shown = subprocess.run(
        ["make", "-n", "lab", "test", "ARGS=-k ngram", "PYTHON=python3.12"], cwd=REPO, capture_output=True, text=True
    ).stdout
    assert "python3.12 course_utils/setup.py lab -k ngram\n" in shown
    assert "python3.12 course_utils/setup.py test -k ngram\n" in shown


# --- what the machine may lack ----------------------------------------------------------------------------------------


def test_every_python_since_3_7_can_read_the_file():
    for name in ("setup.py", "__init__.py"):
        ast.parse((REPO / "course_utils" / name).read_text(), feature_version=(3, 7))


def test_needs_nothing_but_the_standard_library():
    code = "import course_utils.setup, sys; print('site' in sys.modules)"
    done = subprocess.run([*PYTHON, "-S", "-c", code], cwd=REPO, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_knows_the_pythons_of_the_package():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    range_ = SpecifierSet(project["requires-python"])
    assert setup.PYTHONS == tuple((3, minor) for minor in range(30) if f"3.{minor}.5" in range_)


def test_wrong_python_without_a_right_one(monkeypatch, program):
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    program("python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
    with pytest.raises(SetupError, match=r"runs on Python 3\.11, 3\.12, 3\.13; this is .*make lab PYTHON="):
        setup.supported_python()


def test_wrong_python_beside_a_right_one(monkeypatch, program, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    program("python3.13", "echo '{\"python\": [null, [3, 10]]}'")  # a name can lie
    program("python3.12", "echo '{\"python\": [null, [3, 12]]}'")
    assert setup.supported_python() == ["python3.12"]
    assert "going on with python3.12" in capsys.readouterr().out


@pytest.mark.parametrize("version", ["3.7", "3.8", "3.10"])
def test_a_real_old_python_ends_in_a_sentence(checkout, version):
    folder = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    pythons = [*folder.glob(f"{version}.*/bin/python"), *filter(None, [shutil.which(f"python{version}")])]
    if not pythons:
        pytest.skip(f"no Python {version} here")
    code, output = checkout.set_up(python=str(pythons[0]))
    assert code == 1
    assert "the course runs on Python 3.11, 3.12, 3.13" in output
    assert "Error" not in output


def test_missing_venv_module(checkout, program, monkeypatch):
    said = "environment was not created because ensurepip is not available: apt install python3.12-venv"
    python = program("python3.12", f'[ "$2" != venv ] || {{ echo "{said}"; exit 1; }}')
    monkeypatch.setattr(setup, "supported_python", lambda root: [python])
    with pytest.raises(SetupError, match=r"cannot make environments. .* sudo apt-get install python3-venv"):
        setup.ensure(checkout.root)


def test_no_room_on_the_disk(checkout, monkeypatch):
    cache = checkout.folder / "cache"
    monkeypatch.setenv("UV_CACHE_DIR", str(cache))
    free = setup.NEEDED - 10**6
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(free, 0, free))
    with pytest.raises(SetupError, match=r"not enough disk space: .* need [37]\.0 GB, .* UV_CACHE_DIR"):
        setup.ensure(checkout.root)
    assert not (checkout.root / ".venv").exists(), "it began to write all the same"
    cache.mkdir()
    with open(cache / "torch", "wb") as big:
        big.truncate(2 * 10**6)
    setup.check_space(checkout.root)  # what is downloaded already needs no room any more


@pytest.mark.parametrize(
    "printed, advice",
    [
        ("error: failed to write: No space left on device (os error 28)", "the disk is full"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("error: Failed to fetch: `x`\n  cause: dns error\n  cause: failed to lookup address", "cannot be reached"),
        ("WARNING: Retrying (Retry(total=0)) after NewConnectionError\nERROR: No matching", "cannot be reached"),
        ("error: Hash mismatch for `numpy==2.0`", "is not the one that requirements.lock names"),
        ("SSLError: certificate verify failed: self-signed certificate in chain", "SSL_CERT_FILE"),
        ("cause: Because torch==2.15.0 has no wheels with a matching platform tag", "macOS 14 or later"),
        ("error: failed to create directory: Permission denied (os error 13)", "folder of your own"),
        ("[Errno 30] Read-only file system: '.venv.lock'", "folder of your own"),
        ("something new", "Start this again"),
    ],
)
def test_failures_say_what_to_do(printed, advice):
    said = setup.explain(printed, "installing the packages")
    assert said.startswith("installing the packages failed: ")
    assert advice in said.split("\n")[0]
    assert printed.splitlines()[-1] in said, "what the tool said must be shown too"


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="for Linux")


# --- JupyterLab -------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path):
    """A folder with a home notebook."""
    root = tmp_path / "course"
    (root / "lectures").mkdir(parents=True)
    (root / "course_utils").mkdir()
    (root / "requirements.lock").touch()
    (root / "pyproject.toml").write_text(PYPROJECT)
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (root / "lectures" / "00_start_here.ipynb").write_text(json.dumps(notebook))
    return root


def test_lab_opens_the_home_notebook(home, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    command, notes = lab.lab_command(["--port=0"], root=home, python="py")
    assert f"--ServerApp.root_dir={home}" in command
    assert "--LabApp.default_url=/lab/tree/lectures/00_start_here.ipynb" in command
    assert command[-1] == "--port=0"
    assert not {"--allow-root", "--no-browser"} & set(command)
    assert notes == []


@linux
def test_lab_as_root_without_a_screen(home, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    command, notes = lab.lab_command(["--port=0"], root=home)
    assert {"--allow-root", "--no-browser"} < set(command)
    assert notes == ["no screen here: open the address that JupyterLab prints in a browser"]


def test_lab_without_a_home_notebook_says_so(home, monkeypatch):
    (home / lab.HOME_NOTEBOOK).unlink()
    command, notes = lab.lab_command(["--port=0", "--no-browser"], root=home)
    assert notes == [f"{lab.HOME_NOTEBOOK} is missing; get it back with git checkout {lab.HOME_NOTEBOOK}"]
    assert not any("default_url" in word for word in command)


@pytest.mark.parametrize(
    "arguments, variable, port",
    [([], "", 8888), ([], "9000", 9000), (["--port", "9001"], "9000", 9001), (["--ServerApp.port=9002"], "", 9002)],
)
def test_the_port_that_is_tried_first(monkeypatch, arguments, variable, port):
    monkeypatch.setenv("JUPYTER_PORT", variable)
    assert lab.wanted_port(arguments) == port


@pytest.mark.soak  # every day its parts: which port is tried, and JupyterLab as tests/browser starts it
@pytest.mark.skipif(setup.WINDOWS, reason="ends it with a signal")
def test_jupyterlab_answers_though_its_port_is_taken(home, tmp_path):
    runtime = tmp_path / "runtime"
    code = f"from pathlib import Path; from course_utils.command import lab; lab.lab(*{{!r}}, root=Path({str(home)!r}))"
    environment = {**os.environ, "JUPYTER_RUNTIME_DIR": str(runtime), "BROWSER": "true"}
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        command = [sys.executable, "-c", code.format(["--no-browser", f"--port={taken}"])]
        with open(tmp_path / "log", "w+") as log:
            process = subprocess.Popen(command, cwd=REPO, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: list(runtime.glob("jpserver-*.json")) or process.poll() is not None)
            said = (tmp_path / "log").read_text()
            assert process.poll() is None, said
            server = json.loads(next(runtime.glob("jpserver-*.json")).read_text())
            assert server["port"] != taken
            assert server["root_dir"] == str(home)
            assert f"port {taken} is taken; JupyterLab takes the next free one" in said
            page = f"{server['url']}lab/tree/{lab.HOME_NOTEBOOK}?token={server['token']}"
            wait_for(lambda: not lab.port_is_free(server["port"]))  # the file comes a moment before the server
            body = urllib.request.urlopen(page, timeout=60).read().decode()
            assert "JupyterLab" in body
            assert "@jupyterlab/apputils-extension:announcements" in body, "the pop-up with news is not switched off"
        finally:
            process.terminate()
            process.wait(60)


# --- the lock, conda, CI ----------------------------------------------------------------------------------------------


def entries():
    """Name -> (requirement, hashes) for each entry of requirements.lock."""
    found = {}
    for entry in re.split(r"\n(?=\S)", (REPO / "requirements.lock").read_text().strip()):
        first, *hashes = [line.strip(" \\") for line in entry.splitlines()]
        requirement = Requirement(first)
        assert (requirement.name, str(requirement.marker)) not in found
        found[requirement.name, str(requirement.marker)] = requirement, hashes
    return found


def test_the_lock_pins_everything_with_hashes_and_names_no_place():
    for requirement, hashes in entries().values():
        assert re.fullmatch(r"==[^*]+", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in hashes), requirement
    assert not re.search(r"https?:|\bwww\b|\bindex\b|find-links|\.org|\.com", (REPO / "requirements.lock").read_text())


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_the_lock_satisfies_the_project_on_each_system(python, system):
    about = tomllib.loads((REPO / "pyproject.toml").read_text())
    machine = {
        "python_version": python[:4],
        "python_full_version": python,
        "sys_platform": system,
        "platform_system": {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[system],
        "os_name": "nt" if system == "win32" else "posix",
        "platform_machine": "arm64" if system == "darwin" else "x86_64",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    here = {}
    for requirement, _ in entries().values():
        if requirement.marker is None or requirement.marker.evaluate(machine):
            assert requirement.name not in here, f"two versions of {requirement.name}"
            here[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
    asked = about["project"]["dependencies"] + about["build-system"]["requires"]
    asked += [wanted for extra in about["project"]["optional-dependencies"].values() for wanted in extra]
    for wanted in map(Requirement, asked):
        assert canonicalize_name(wanted.name) in here, f"{wanted} is not in the lock: make lock"
        assert here[canonicalize_name(wanted.name)] in wanted.specifier, f"the lock is older than {wanted}: make lock"


def conda_environment():
    """environment.yml as (what conda installs, the lines that conda hands to pip)."""
    import yaml

    wanted = yaml.safe_load((REPO / "environment.yml").read_text())["dependencies"]
    (pip,) = (part["pip"] for part in wanted if isinstance(part, dict))
    return [part for part in wanted if isinstance(part, str)], pip


def conda_pip(folder, python, *more, pip_lines=None, **environment):
    """Calls pip as conda and mamba do: the lines of the pip section in a file beside environment.yml, -U -r FILE."""
    requirements = folder / "condaenv.test.requirements.txt"
    requirements.write_text("\n".join(pip_lines or conda_environment()[1]))
    return subprocess.run(
        [python, "-m", "pip", "install", "-U", "-r", str(requirements), "--exists-action=b", *more],
        cwd=folder,
        env={**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", **environment},
        capture_output=True,
        text=True,
    )


def test_conda_brings_python_and_nothing_else_that_the_lock_names():
    from_conda, _ = conda_environment()
    assert sorted(Requirement(line).name for line in from_conda) == ["pip", "python"]
    (python,) = (Requirement(line) for line in from_conda if line.startswith("python"))
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    assert python.specifier == SpecifierSet(project["requires-python"])


@pytest.mark.soak  # every day what environment.yml says, above
def test_conda_would_install_exactly_the_lock(tmp_path):
    """pip itself reads environment.yml's section and the real lock: where that is installed, nothing is left to do."""
    shutil.copy(REPO / "requirements.lock", tmp_path)
    done = conda_pip(tmp_path, sys.executable, "--dry-run", "--quiet", "--report", "report.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "report.json").read_text())["install"] == []


def test_conda_way_in_small_with_the_second_command(checkout, plain_environment):
    """The two commands of environment.yml and README.md, for real, with small packages; and why they are two."""
    shutil.copytree(plain_environment, checkout.folder / "conda", symlinks=True)
    python = str(checkout.folder / "conda" / "bin" / "python")
    wheels = {"PIP_FIND_LINKS": str(checkout.wheels), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    both = conda_pip(checkout.root, python, pip_lines=[*conda_environment()[1], "-e ."], **wheels)
    assert both.returncode != 0
    assert "cannot be installed when requiring hashes" in both.stderr

    done = conda_pip(checkout.root, python, **wheels)
    assert done.returncode == 0, done.stderr
    second = "pip install --no-deps --no-build-isolation -e ."
    for text in ("environment.yml", "README.md"):
        assert second in (REPO / text).read_text()
    environment = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"}
    subprocess.run([python, "-m", *second.split()], cwd=checkout.root, env=environment, check=True, capture_output=True)
    said = subprocess.run(
        [python, "-c", "import course_utils, tiny; print(course_utils.__file__, tiny.version)"],
        cwd="/",
        capture_output=True,
        text=True,
    ).stdout
    assert said.split() == [str(checkout.root / "course_utils" / "__init__.py"), "1.0"]


@pytest.fixture
def ci(program, tmp_path):
    """Runs .ci/run in a copy of its folder, with PATH made of fakes and the few system programs that it needs."""
    shutil.copytree(REPO / ".ci", tmp_path / "repo" / ".ci")
    for name in ("bash", "dirname", "id", "mktemp", "tail", "env"):
        os.symlink(shutil.which(name, path="/usr/bin:/bin"), tmp_path / "programs" / name)
    program("sleep")
    program("sudo", 'shift; exec "$@"')
    program("make", f'echo "make $@" >> {tmp_path}/log')
    program("python3")

    def run():
        script = tmp_path / "repo" / ".ci" / "run"
        environment = {"PATH": str(tmp_path / "programs"), "CI": "true", "TMPDIR": str(tmp_path)}
        done = subprocess.run(["/bin/bash", script], env=environment, capture_output=True, text=True, timeout=60)
        return done, (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []

    return run


@linux
def test_ci_installs_what_is_missing_and_tests(ci, program, tmp_path):
    program("apt-get", f'echo "apt-get $@" >> {tmp_path}/log')
    done, log = ci()
    assert done.returncode == 0, done.stderr
    install = "apt-get install -y --no-install-recommends bubblewrap chromium fonts-dejavu-core"
    assert log == ["apt-get update", install, "make test PYTHON=python3"]


@linux
def test_ci_asks_apt_for_nothing_where_all_is_there(ci, program):
    program("bwrap")
    program("chromium")
    assert ci()[1] == ["make test PYTHON=python3"]


@linux
def test_ci_says_what_apt_said(ci, program, tmp_path):
    program("apt-get", "echo 'E: Unable to locate package bubblewrap'; exit 100")
    done, log = ci()
    assert done.returncode == 1
    assert "E: Unable to locate package bubblewrap" in done.stdout
    assert "could not install bubblewrap chromium" in done.stdout
    assert log == [], "tests without what they need would look like passed ones"


# --- tests/conftest.py ------------------------------------------------------------------------------------------------


def test_tests_have_no_network():
    with pytest.raises(socket.gaierror):
        socket.create_connection(("example.org", 80), timeout=1)
    with socket.socket() as away, pytest.raises(OSError, match="Network is unreachable"):
        away.connect(("192.0.2.1", 80))
