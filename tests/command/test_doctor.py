import importlib.metadata
import json
import platform
import shutil
import socket
import struct
import sys
import time
import types

import pytest

from autograder.cli import sandbox_row
from course_utils import setup
from course_utils.command import doctor
from course_utils.command.doctor import BAD, NOTE, OK, Row
from course_utils.data import real


def test_this_machine_has_what_the_lock_names():
    row = doctor.packages_row()
    assert row.state == OK, row.found
    assert row.found == f"all {len(doctor.locked(setup.ROOT))} as in requirements.lock"


def test_other_and_missing_packages_are_named(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "numpy":
            return "1.26.4"
        if name == "rich":
            raise importlib.metadata.PackageNotFoundError
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    row, locked = doctor.packages_row(), doctor.locked(setup.ROOT)
    assert row.state == BAD
    assert row.found == f"numpy 1.26.4, locked {locked['numpy']}; rich missing, locked {locked['rich']}"
    assert "make setup ARGS=--repair" in row.advice and "remove .venv" not in row.advice


def test_the_lock_is_read_for_this_system_only(tmp_path):
    lines = "a==1.0 \\\n    --hash=sha256:0\nb==2.0 ; sys_platform == 'nowhere' \\\n    --hash=sha256:0\nc==3.0+cpu\n"
    (tmp_path / "requirements.lock").write_text(lines)
    assert doctor.locked(tmp_path) == {"a": "1.0", "c": "3.0+cpu"}


def test_python(monkeypatch):
    assert doctor.python_row().state == OK
    monkeypatch.setattr(platform, "python_version_tuple", lambda: ("3", "14", "0"))
    row = doctor.python_row()
    assert row.state == BAD
    assert "3.11, 3.12 and 3.13" in row.advice


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A course with a finished `.venv`, whose Python this one takes itself for."""
    root = tmp_path / "course"
    (root / ".venv").mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(root / ".venv"))
    stamp = root / ".venv" / "course-stamp.json"
    stamp.write_text(json.dumps({"folder": str(root)}))
    return root


def test_the_environment_of_this_folder(environment):
    row = doctor.environment_row(environment)
    assert (row.state, row.found) == (OK, str(environment / ".venv"))


@pytest.mark.parametrize(
    "state, said, advice",
    [
        (BAD, "half-made", "make setup"),
        (NOTE, "not made by the set-up", "make setup"),
        (BAD, "moved or copied", "make setup"),
        (OK, "-> ", ""),
        (NOTE, "synchronized", "link"),
        (NOTE, "and not", "make setup"),
        (OK, "not .venv", ""),
    ],
)
def test_an_environment_that_is_something_else(environment, monkeypatch, state, said, advice):
    venv = environment / ".venv"
    if said == "half-made":
        (venv / "course-stamp.json").write_text(json.dumps({"folder": str(environment), "asked": None}))
    elif said == "not made by the set-up":
        (venv / "course-stamp.json").unlink()
    elif said == "moved or copied":
        (venv / "course-stamp.json").write_text(json.dumps({"folder": "/home/ann/course"}))
    elif said in ("-> ", "synchronized"):
        elsewhere = environment.parent / ("scratch" if said == "-> " else "OneDrive - University")
        venv.rename(elsewhere)
        venv.symlink_to(elsewhere)
    elif said == "and not":
        monkeypatch.setattr(sys, "prefix", str(environment))
    else:
        venv.rename(environment / "conda")
    row = doctor.environment_row(environment)
    assert (row.state, said in row.found) == (state, True), row
    assert advice in row.advice and bool(row.advice) == bool(advice)


@pytest.mark.parametrize("name", ["PYTHONPATH", "COURSE_PYTHONPATH"])
def test_pythonpath_is_named_with_what_it_hides(monkeypatch, tmp_path, name):
    for variable in ("PYTHONPATH", "COURSE_PYTHONPATH"):
        monkeypatch.delenv(variable, raising=False)
    assert doctor.pythonpath_row() == Row("PYTHONPATH", OK, "not set")
    (tmp_path / "numpy.py").touch()
    monkeypatch.setenv(name, str(tmp_path))
    row = doctor.pythonpath_row()
    assert row.state == NOTE and row.found == f"{tmp_path} (with numpy.py, in place of the library's)"
    assert "unset PYTHONPATH" in row.advice


def test_a_kernel_from_elsewhere_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    assert doctor.jupyter_path_row().state == OK
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert doctor.jupyter_path_row().state == NOTE
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = ["/usr/bin/another-python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "old", "language": "python"}))
    row = doctor.jupyter_path_row()
    assert (row.state, row.advice) == (BAD, "unset JUPYTER_PATH")
    assert "/usr/bin/another-python" in row.found and str(kernel) in row.found


def test_files_that_hide_a_module(monkeypatch, tmp_path):
    lectures, work = tmp_path / "lectures", tmp_path / "work"
    for folder in (lectures, work, work / "torch"):
        folder.mkdir()
    (lectures / "01.ipynb").touch()
    monkeypatch.chdir(work)
    for harmless in ("helpers.py", "test.py", "numpy.txt"):
        (lectures / harmless).touch()
    assert doctor.files_row(tmp_path).state == OK, "a folder without __init__.py hides no library"
    (work / "torch" / "__init__.py").touch()
    (lectures / "random.py").touch()
    row = doctor.files_row(tmp_path)
    assert row.state == BAD and row.found == "lectures/random.py, work/torch"
    assert "rename" in row.advice
    assert doctor.what_hides(lectures).startswith("random.py beside the notebook")
    assert doctor.what_hides(tmp_path) == ""


def test_half_data_sets(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    assert doctor.data_sets_row().state == OK
    raw = tmp_path / "real" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    whole = struct.pack(">BBBB3I", 0, 0, 8, 3, 2, 4, 4) + bytes(2 * 4 * 4)
    (raw / "train-images-idx3-ubyte").write_bytes(whole)
    (tmp_path / "text").write_text("made")
    assert doctor.data_sets_row().state == OK
    halves = {raw / "train-images-idx3-ubyte": whole[:-1], raw / "empty": b"", tmp_path / ".text.xyz": b"a"}
    for path, content in halves.items():
        kept = path.read_bytes() if path.exists() else None
        path.write_bytes(content)
        row = doctor.data_sets_row()
        assert row.state == NOTE and str(path) in row.found and "delete" in row.advice, path
        path.unlink() if kept is None else path.write_bytes(kept)
    (tmp_path / "real" / ".fetching" / "sms_spam").mkdir(parents=True)
    assert "course fetch sms_spam" in doctor.data_sets_row().advice


def test_what_was_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    assert "fetched: none yet" in doctor.data_sets_row().found
    assert doctor.real_data_row().found == f"none fetched, of {len(real.ITEMS)} data sets and models"
    (tmp_path / "real" / "sms_spam").mkdir(parents=True)
    (tmp_path / "real" / "sms_spam" / "SMSSpamCollection").write_text("ham\thello\n")
    for kind in (tmp_path / "real" / "cifar10" / part / name for part in ("train", "test") for name in real.CIFAR10):
        kind.mkdir(parents=True)
        (kind / "0.png").write_bytes(b"a picture")
    assert "fetched: sms_spam, cifar10 (a part)" in doctor.data_sets_row().found
    assert doctor.real_data_row().found.startswith("sms_spam, cifar10 (a part) fetched, of ")
    assert doctor.real_data_row().advice.endswith("course fetch, in a terminal, lists them")


def test_torch_names_the_device():
    row = doctor.torch_row()
    assert row.state == OK
    assert any(f" on {device}" in row.found for device in ("cpu", "cuda", "mps"))


def test_torch_that_does_not_load(monkeypatch):
    def broken():
        raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setitem(sys.modules, "course_utils.runtime", types.SimpleNamespace(describe=broken))
    monkeypatch.delattr("course_utils.runtime", raising=False)
    row = doctor.torch_row()
    assert (row.state, row.found) == (BAD, "does not start: libcudart.so.13: cannot open shared object file")
    assert row.advice


@pytest.mark.parametrize("free, state", [(50e9, OK), (1.5e9, NOTE), (0.1e9, BAD)])
def test_disk(monkeypatch, free, state):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(0, 0, int(free)))
    row = doctor.disk_row()
    assert row.state == state
    assert bool(row.advice) == (state != OK)


def test_cache_that_can_be_written_to_or_made(monkeypatch, tmp_path):
    for folder in (tmp_path, tmp_path / "not" / "yet"):
        monkeypatch.setenv("COURSE_CACHE", str(folder))
        assert doctor.cache_row().state == OK
    assert list(tmp_path.iterdir()) == [], "the trial must leave nothing behind"


def test_cache_that_cannot_be_written_to(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file" / "cache"))
    row = doctor.cache_row()
    assert row.state == NOTE
    assert "COURSE_CACHE" in row.advice


def test_home_notebook(tmp_path):
    row = doctor.home_row(tmp_path)
    assert row.state == BAD
    assert row.advice.startswith("git checkout lectures/00_start_here.ipynb")
    (tmp_path / "lectures").mkdir()
    (tmp_path / "lectures" / "00_start_here.ipynb").touch()
    assert doctor.home_row(tmp_path).state == OK


def test_port():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen()
        row = doctor.port_row(port)
        assert (row.state, row.found) == (NOTE, f"{port} is taken")
    assert doctor.port_row(port).state == OK


@pytest.mark.parametrize("problem", [None, "install bubblewrap: sudo apt-get install bubblewrap"])
def test_sandbox(monkeypatch, problem):
    fake = types.SimpleNamespace(missing=lambda: problem)
    monkeypatch.setitem(sys.modules, "autograder.sandbox.provisioner", fake)
    monkeypatch.setattr("autograder.sandbox.provisioner", fake, raising=False)
    row = sandbox_row()
    assert row.state == (NOTE if problem else OK)
    assert row.advice == (problem or "")


def test_hub_without_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    row = doctor.hub_row()
    assert row.state == NOTE
    assert row.found.startswith("not reached: ")


def test_hub_switched_off(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert doctor.hub_row().found == "switched off by HF_HUB_OFFLINE"


def test_hub_that_answers(monkeypatch):
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Busy(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(503)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        assert doctor.hub_row() == Row("model hub", OK, "reached")


def test_a_name_server_that_hangs_holds_nothing_up():
    started = time.monotonic()
    row = doctor._in_background(lambda: time.sleep(60), seconds=0.2)()
    assert time.monotonic() - started < 10
    assert (row.state, row.found) == (NOTE, "no answer within 0 s")


def test_a_check_that_fails_is_a_row():
    row = doctor._attempt("disk", lambda: 1 / 0)
    assert (row.name, row.state) == ("disk", BAD)
    assert "ZeroDivisionError: division by zero" in row.found


def test_the_table_shows_every_row_and_the_exit_code(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    rows = [Row("Python", OK, "3.12"), Row("port", NOTE, "8888 is taken", "nothing"), Row("a [b]", OK, "[red]")]
    monkeypatch.setattr(doctor, "examine", lambda more: rows)
    assert doctor.run() == 0
    shown = capsys.readouterr().out
    assert all(word in shown for row in rows for word in (row.name, row.found, row.advice))
    rows.append(Row("disk", BAD, "0.1 GB free", "free some space"))
    assert doctor.run() == 1
    shown = capsys.readouterr().out
    assert "to do" in shown and "free some space" in shown


def test_all_rows_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    rows = doctor.examine(more=[("sandbox", sandbox_row)])
    names = "Python, environment, PYTHONPATH, JUPYTER_PATH, your files, packages, torch, disk, cache, data sets"
    assert [row.name for row in rows] == (names + ", home notebook, port, sandbox, model hub").split(", ")
    assert all(row.advice for row in rows if row.state != OK)
    assert not any("could not be checked" in row.found for row in rows), rows


def test_the_home_notebooks_table_says_what_a_student_can_do(monkeypatch):
    """Without asking any other machine: tests/conftest.py refuses that."""
    import psutil

    table = doctor.machine()
    found = {name: (what, means) for name, what, means in table.rows}
    names = ["models run on", "memory", "data", "real data", "hub models", "your points"]
    assert list(found) == names
    assert not [what for what, _ in found.values() if "could not be checked" in what]
    assert "characters of English" in found["data"][0] and "course check" in found["your points"][0]
    little = types.SimpleNamespace(available=2**29, total=2**33)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    monkeypatch.setattr("course_utils.data.text.load", lambda name: 1 / 0)
    found = {name: (what, means) for name, what, means in doctor.machine().rows}
    assert found["memory"][0] == "0.5 of 8.0 GiB free" and "close" in found["memory"][1]
    assert found["data"][0] == "could not be checked: ZeroDivisionError: division by zero"


def test_a_course_that_pip_installed_is_compared_with_what_it_asks_for(tmp_path, monkeypatch):
    """As in Colab: no lock, no .venv, no notebooks beside the library."""
    assert doctor.packages_row(tmp_path).state == doctor.OK
    assert doctor.home_row(tmp_path / "dist-packages").state == doctor.OK
    asked = ["torch>=999", "no-such-package>=1", "nbgrader>=999; extra == 'grade'"]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: asked)
    row = doctor.packages_row(tmp_path)
    assert row.state == doctor.BAD and "torch" in row.found and "no-such-package missing" in row.found
    assert "nbgrader" not in row.found and "Restart session" in row.advice and "make" not in row.advice
