"""What a busy machine makes late costs no points: limits go by what a kernel itself uses, and the rest runs again."""

import asyncio
import os
from dataclasses import replace

import pytest
from kernels import ASK, QUICK, check, run
from small_course import HALF, NAME, RIGHT, hand_in

from autograder.course import Assignment
from autograder.grade import grade
from autograder.notes import Kind
from autograder.run import execute
from autograder.run import pool as pools
from autograder.run.apart import Exceeded
from autograder.sandbox.provisioner import SandboxError, missing

sandboxed = pytest.mark.skipif(missing() is not None, reason=str(missing()))
LATE = """
import threading
session = get_ipython().kernel.session
send, idle = session.send, []

def late(stream, kind, *args, **kwargs):
    content = kwargs.get("content") or (args[0] if args else None)
    if kind == "status" and content.get("execution_state") == "idle":
        threading.Timer(SECONDS, send, (stream, kind, *args), kwargs).start()
    else:
        return send(stream, kind, *args, **kwargs)

session.send = late
"""


@pytest.fixture
def starved(monkeypatch):
    """A machine on which kernels always want to run, and hardly ever may."""
    monkeypatch.setattr(execute._Manager, "busy", lambda self: (0.0, True))


@sandboxed
def test_outputs_that_a_busy_machine_makes_late_are_waited_for(monkeypatch, starved):
    monkeypatch.setattr(execute, "IOPUB_S", 1)
    result = run(ASK, LATE.replace("SECONDS", "3"), check("a", "ask('right')"), exercises="a")
    assert result.verdicts["check_a"].points == 2 and not result.notes


@sandboxed
def test_outputs_that_a_kernel_withholds_are_not(monkeypatch):
    monkeypatch.setattr(execute, "IOPUB_S", 1)
    result = run(ASK, LATE.replace("SECONDS", "60"), check("a", "ask('right')"), "1", exercises="a")
    assert [note.text for note in result.notes if note.kind == Kind.DIED] == [("withheld its outputs",)]


@sandboxed
def test_a_kernel_that_starts_slowly_on_a_busy_machine_is_waited_for(monkeypatch, starved):
    receive, asked = execute._Client._async_recv_reply, []

    async def late(self, *args, **options):
        asked.append(1)
        if len(asked) < 4:
            await asyncio.sleep(0.7)
            raise TimeoutError
        return await receive(self, *args, **options)

    monkeypatch.setattr(execute._Client, "_async_recv_reply", late)
    assert not run("1", limits=replace(QUICK, startup_s=1)).notes and len(asked) >= 4


@sandboxed
def test_a_kernel_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(execute._Client, "_async_recv_reply", _silence)
    with pytest.raises(SandboxError, match="no answer within 2 s"):
        run("1", limits=replace(QUICK, startup_s=2))


async def _silence(*_, **__):
    raise TimeoutError


# --- the whole path of a hand-in --------------------------------------------------------------------------------------


@pytest.fixture
def course(course):
    hand_in(course, "ann", RIGHT)
    hand_in(course, "bob", HALF)
    return course


@pytest.fixture
def tries(monkeypatch):
    """Ann's path is broken off twice, however long it may take; the patience with which each was tried."""
    found, real = [], pools.Here.grade

    def broken_off(self, assignment, submission, options):
        if submission.student == "ann":
            found.append(options.patience)
            if len(found) < 3:
                raise Exceeded("took more than 900 s")
        return real(self, assignment, submission, options)

    monkeypatch.setattr(pools.Here, "grade", broken_off)
    return found


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_what_a_busy_machine_broke_off_runs_again_and_says_so(course, monkeypatch, tries):
    monkeypatch.setattr(os, "getloadavg", lambda: (20.0 * os.cpu_count(), 1.0, 1.0))
    sheets = {sheet.student: sheet for _, _, sheet in grade(Assignment(course, NAME), [])}
    assert tries == [1, 4, 16] and sheets["ann"].points == 6 and not sheets["ann"].failed
    assert Kind.PATIENT in {note.kind for note in sheets["ann"].notes} and "ran again" in sheets["ann"].line()
    assert Kind.PATIENT not in {note.kind for note in sheets["bob"].notes}


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_what_takes_too_long_on_a_quiet_machine_is_given_up_at_once_and_not_kept(course, monkeypatch, tries):
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 1.0, 1.0))
    sheets = {sheet.student: sheet for _, _, sheet in grade(Assignment(course, NAME), [])}
    assert tries == [1] and sheets["ann"].failed and sheets["bob"].points == 3
    tries += [1, 1]
    sheets = {sheet.student: sheet for _, _, sheet in grade(Assignment(course, NAME), [])}
    assert sheets["ann"].points == 6 and not sheets["ann"].failed
