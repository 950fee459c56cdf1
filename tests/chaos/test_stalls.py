"""A connection that stays open and says nothing, or half of something: time limits go on, and end it."""

import socket
import struct
import time
from dataclasses import replace

import pytest
from effort import patient, some
from kernels import ASK, QUICK, check, run, said

from autograder.author.exercise import Exercise, close, complete
from autograder.run.judge import Judge
from autograder.sandbox import provisioner
from course_utils import plain
from course_utils.check import answer

sandboxed = pytest.mark.skipif(provisioner.missing() is not None, reason=str(provisioner.missing()))

# Cells that leave a channel open in a state from which nothing comes any more.
STALLS = {
    "stopped": """
import os, signal, subprocess, time
subprocess.Popen(["sleep", "60"])
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(60)""",
    "holds the lock": """
import ctypes
ctypes.PyDLL(None).sleep(60)""",
    "silent": """
get_ipython().kernel.session.send = lambda *a, **k: None""",
    "half a frame": """
import os, stat, time
for fd in range(3, 200):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.write(fd, bytes([2]) + (10**6).to_bytes(8, "big") + b"half")
    except OSError:
        pass
time.sleep(60)""",
}


@sandboxed
@pytest.mark.slow
@pytest.mark.parametrize("stall", some(2, STALLS))
def test_a_channel_that_stalls_costs_its_own_cell(stall):
    result = run(
        stall,
        check("a", ASK + "ask('right')"),
        "print('next')",
        exercises=["a"],
        limits=replace(QUICK, cell_s=3, notebook_s=120),
    )
    assert result.notes and result.usage["wall_s"] < 110
    assert result.verdicts["check_a"].points == 2 and said(result) == "next\n"


@pytest.fixture
def judge(tmp_path):
    exercise = Exercise("double", points=2, compare=close())

    @exercise.cases
    def _(g):
        yield ([1.0],)
        yield ([2.0],)

    cases = exercise.build(seed=1)
    cases = complete(cases, [answer(lambda x: [2 * v for v in x], i) for i in cases.asks])
    with Judge({"double": cases}, tmp_path) as made:
        yield made


@pytest.mark.parametrize("sent", [b"", b"\x10", struct.pack("<Q", 1000), struct.pack("<Q", 1000) + b"half"])
def test_half_an_answer_does_not_keep_the_judge(judge, sent):
    judge.open("double")
    with plain.connect(judge.address) as connection:
        assert plain.receive(connection)["cases"] >= 2  # what its promises ask comes behind
        plain.receive(connection)
        connection.sendall(sent)
        begin = time.monotonic()
        verdict = judge.close()
        assert time.monotonic() - begin < patient(5) and verdict.points == 0
    judge.open("double")  # and the next exercise is answered
    with plain.connect(judge.address) as connection:
        for _ in range(plain.receive(connection)["cases"]):
            plain.send(connection, answer(lambda x: [2 * v for v in x], plain.receive(connection)))
        assert plain.receive(connection) == "done"
    assert judge.close().points == 2


def test_who_reads_nothing_does_not_keep_the_judge(judge):
    judge.open("double")
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    for silent in crowd:
        silent.connect(judge.address)
    begin = time.monotonic()
    assert judge.close().points == 0 and time.monotonic() - begin < patient(5)
    for silent in crowd:
        silent.close()
