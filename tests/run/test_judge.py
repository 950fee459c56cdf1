"""The judge: answers one connection while an exercise is open, stores what comes, gives the verdict afterwards."""

import contextlib
import socket
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import pytest
import torch

from autograder.author.exercise import Exercise, Module, Recipe, close, complete
from autograder.run.execute import execute
from autograder.run.judge import SOCKET, Judge, Recorder
from course_utils import plain
from course_utils.check import Checker, answer


def double(x):
    return 2 * x


def exercises():
    exercise = Exercise("double", points=2, compare=close())
    exercise.cases(lambda g: iter([(torch.tensor([float(i)]),) for i in range(1, 5)]))
    cases = exercise.build(0)
    return {"double": complete(cases, [answer(double, i) for i in cases.asks])}


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # a socket's path must be short
        yield Path(name)


@pytest.fixture
def judge(folder):
    with Judge(exercises(), folder) as judge:
        yield judge


def connect(folder):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(folder / SOCKET))
    return connection


def client(folder, function, cases=None):
    """What the student's side does; stops after `cases` answers."""
    with connect(folder) as connection:
        hello = plain.receive(connection)
        for _ in range(hello["cases"] if cases is None else cases):
            plain.send(connection, answer(function, plain.receive(connection)))
        if cases is None:
            assert plain.receive(connection) == "done"


def refused(folder):
    """Whether a connection gets nothing."""
    with connect(folder) as connection:
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True


def test_right_answers_get_the_points(judge, folder):
    judge.open("double")
    client(folder, double)
    result = judge.close()
    assert (result.points, result.held) == (2, 4)


def test_wrong_answers_get_none(judge, folder):
    judge.open("double")
    client(folder, lambda x: x)
    assert judge.close().points == 0


def test_no_connection_is_no_verdict_and_no_points(judge):
    judge.open("double")
    result = judge.close()
    assert result.points == 0 and "no verdict" in result.message


def test_nobody_is_answered_before_or_after(judge, folder):
    assert refused(folder)
    judge.open("double")
    client(folder, double)
    judge.close()
    assert refused(folder)


def test_only_the_first_connection_is_answered(judge, folder):
    judge.open("double")
    client(folder, lambda x: x)
    assert refused(folder)
    assert judge.close().points == 0


def test_answers_so_far_count_when_the_connection_ends(judge, folder):
    judge.open("double")
    client(folder, double, cases=3)
    result = judge.close()
    assert result.points == 1.5 and "only 3 answers came" in result.message


def test_a_stalled_connection_is_cut(judge, folder):
    judge.open("double")
    with connect(folder) as connection:
        plain.receive(connection)
        connection.sendall(b"\x10\0\0\0\0\0\0\0abc")
        time.sleep(0.1)
        start = time.monotonic()
        assert judge.close().points == 0
        assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    "message", [42, {"value": 1, "error": "x"}, {"error": 3, "message": ""}, {"points": 2}, "done", None]
)
def test_what_is_no_answer_ends_the_session(judge, folder, message):
    judge.open("double")
    with connect(folder) as connection:
        plain.receive(connection)
        plain.receive(connection)
        plain.send(connection, message)
    result = judge.close()
    assert result.points == 0 and "no answer" in result.message


@pytest.mark.parametrize("data", [b"\xff" * 8, b"\x08\0\0\0\0\0\0\0" + b"\xff" * 8, b"GET / HTTP/1.1\r\n\r\n"])
def test_garbage_ends_the_session_and_not_the_judge(judge, folder, data):
    judge.open("double")
    with connect(folder) as connection:
        connection.sendall(data)
        threading.Event().wait(0.1)
    assert judge.close().points == 0
    judge.open("double")
    client(folder, double)
    assert judge.close().points == 2


def test_many_connections_harm_nobody(judge, folder):
    judge.open("double")
    storm = [connect(folder) for _ in range(50)]
    for connection in storm:
        connection.close()
    judge.close()
    judge.open("double")
    client(folder, double)
    assert judge.close().points == 2


def test_the_recorder_takes_the_reference(folder):
    with Recorder(exercises(), folder) as recorder:
        recorder.open("double")
        client(folder, double)
        assert recorder.close().points == 2
    assert [a["value"].item() for a in recorder.answers["double"][:4]] == [2, 4, 6, 8]


def test_recipes_are_cooked_before_they_are_sent(folder, monkeypatch):
    from course_utils.data import text

    monkeypatch.setattr(text, "three", lambda: 3, raising=False)
    exercise = Exercise("double", points=1, compare=close())
    exercise.cases(lambda g: iter([(Recipe("text.three"),)]))
    built = exercise.build(0)
    cases = {"double": complete(built, [answer(double, ask) for ask in built.asks])}
    with Judge(cases, folder) as judge:
        judge.open("double")
        client(folder, double)
        assert judge.close().points == 1


class Scale(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return self.factor * x


def test_a_class_gets_its_weights_over_the_wire(folder):
    exercise = Exercise("Scale", points=2, compare=close())
    exercise.cases(lambda g: iter([Module((), {"factor": torch.tensor(f)}, (torch.ones(2),)) for f in (2.0, 3.0)]))
    cases = exercise.build(0)
    cases = {"Scale": complete(cases, [answer(Scale, i) for i in cases.asks])}
    with Judge(cases, folder) as judge:
        for build, points in ((Scale, 2), (torch.nn.Identity, 0)):
            judge.open("Scale")
            client(folder, build)
            assert judge.close().points == points


# --- where there are no unix sockets (Windows) ------------------------------------------------------------------------


@pytest.fixture
def port(folder, monkeypatch):
    """A judge on a port, for which `shutdown` of its listener is an error, as on Windows and macOS."""

    class Listener(socket.socket):
        def shutdown(self, how):
            raise OSError("not connected")

    monkeypatch.setattr("autograder.run.judge.UNIX", False)
    judge = Judge(exercises(), folder)
    judge._listener.close()
    judge._listener = Listener()
    with judge:
        yield judge
    assert not judge._thread.is_alive()


def test_a_judge_on_a_port_answers_whoever_shows_its_token(port, monkeypatch):
    port.open("double")
    monkeypatch.setenv("COURSE_JUDGE", port.address)
    Checker("nothing")(double)
    assert port.close().points == 2


@pytest.mark.parametrize("token", [plain.pack("another"), b"GET / HTTP/1.1\r\n\r\n", b""])
def test_a_judge_on_a_port_passes_over_all_others(port, token):
    number = int(port.address.removeprefix("tcp://").partition("/")[0])
    port.open("double")
    with socket.create_connection(("127.0.0.1", number), timeout=10) as connection:
        connection.sendall(token)
        with contextlib.suppress(OSError):  # it may have hung up already
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    with plain.connect(port.address) as connection:
        assert plain.receive(connection)["cases"] == 6  # still open for the right one: four, one again, one for the GPU


@pytest.mark.slow
def test_a_notebook_is_checked_where_there_are_no_unix_sockets(monkeypatch):
    monkeypatch.setattr("autograder.run.judge.UNIX", False)
    cells = ["from course_utils.check import Checker\ncheck = Checker('x')", "def double(x):\n    return x + x"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    marks = {"grade": True, "solution": False, "locked": True, "grade_id": "check_double", "points": 2.0}
    notebook.cells.append(nbformat.v4.new_code_cell("check(double)", metadata={"nbgrader": marks}))
    result = execute(notebook, exercises(), sandbox=False)
    assert result.verdicts["check_double"].points == 2 and not result.notes
