"""Helps tests that run cells in a sandboxed kernel: short to write, and quick because nothing imports torch."""

import socket
import threading

from nbformat.v4 import new_code_cell, new_notebook

from autograder.limits import Limits, MiB
from autograder.run.execute import Result, execute
from autograder.run.judge import no_verdict
from course_utils.check import Verdict

QUICK = Limits(cell_s=20, notebook_s=90, memory_bytes=512 * MiB, disk_bytes=16 * MiB, file_bytes=8 * MiB)

# Asks the stand-in judge below, as `check(function)` asks the real one.
ASK = """import os, socket
def ask(answer):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(os.environ["COURSE_JUDGE"])
        s.sendall(answer.encode())
        s.recv(1)
"""


class StandIn:
    """A judge without torch: an exercise is worth 2 points, for the answer "right"; "half" gets 1."""

    def __init__(self, exercises, folder, most):
        self.exercises, self.opened, self.answer = exercises, [], None
        self.address = str(folder / "judge.sock")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "judge.sock"))
        (folder / "judge.sock").chmod(0o666)
        self.listener.listen()

    def __enter__(self):
        threading.Thread(target=self.listen, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def listen(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.answer = connection.recv(100).decode()

    def open(self, name):
        self.opened.append(name)
        self.answer = None

    def close(self):
        points = {"right": 2.0, "half": 1.0}.get(self.answer)
        if points is None:
            return no_verdict(self.opened[-1], 2.0, "no right answer")
        return Verdict(self.opened[-1], points, 2.0, 1, 1)


class Case:
    """All that the executor looks at in an exercise."""

    points = 2.0
    seconds = None


def cell(source, **grading):
    return new_code_cell(source, metadata={"nbgrader": grading} if grading else {})


def check(name, source):
    return cell(source, grade=True, solution=False, locked=True, grade_id=f"check_{name}", points=2)


def assertions(source, points=2, **more):
    return cell(source, grade=True, solution=False, locked=True, grade_id="tests", points=points, **more)


def run(*cells, exercises=(), limits=QUICK, **more) -> Result:
    """Run cells (or their sources)."""
    notebook = new_notebook(cells=[cell(c) if isinstance(c, str) else c for c in cells])
    return execute(notebook, {name: Case() for name in exercises}, limits=limits, judge_class=StandIn, **more)


def said(result, index=-1):
    """All text that a cell put out."""
    return "".join(
        o.get("text") or "".join(o.get("data", {}).values()) or f"{o.get('ename')}: {o.get('evalue')}\n"
        for o in result.notebook.cells[index].outputs
    )
