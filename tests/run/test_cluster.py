"""Marks are the same wherever notebooks run: in one process or two, cold or warm, on Dask workers, on two hosts."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_course
from chaos.conftest import release_to
from numbers_course import RIGHT

from autograder import grade as gradebook
from autograder.book.sheets import failures
from autograder.course import Assignment, Course
from autograder.run import cluster
from autograder.run import pool as pools
from autograder.run.options import Cluster, Options
from autograder.sandbox import provisioner
from course_utils.checking.cases import save_cases
from course_utils.paths import CourseError

NAME = small_course.NAME
PROGRAMS = Path(sys.executable).parent
SLEEPS = "\nimport time\ntime.sleep(0.7)"
CLASS = {f"student {n}": {"double": RIGHT["double"] + SLEEPS, "total": RIGHT["total"]} for n in range(4)}
CLASS["student 1"]["double"] = "def double(x):\n    return [v * v for v in x]" + SLEEPS
CLASS["student 3"]["total"] = "import os\nos._exit(3)"
FULL = 6.0  # but for what a person marks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(provisioner.missing()), reason=str(provisioner.missing())),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),
]


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> Path:
    return release_to(tmp_path_factory.mktemp("released"), CLASS)


@pytest.fixture
def course(released, tmp_path) -> Course:
    return Course(shutil.copytree(released, tmp_path / "course"))


def marks(course: Course) -> list[tuple]:
    with sqlite3.connect(course.root / "gradebook.db") as db:
        return db.execute(
            """select student.id, cell.name, grade.auto_score from grade join base_cell cell on cell.id = grade.cell_id
            join submitted_notebook n on n.id = grade.notebook_id
            join submitted_assignment s on s.id = n.assignment_id join student on student.id = s.student_id
            order by 1, 2"""
        ).fetchall()


@pytest.fixture(scope="module")
def expected(released, tmp_path_factory) -> list[tuple]:
    """The marks of one worker, with kernels from cold."""
    course = Course(shutil.copytree(released, tmp_path_factory.mktemp("expected") / "course"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autograder.sandbox.warm.shared", lambda modules, limits=None: None)
        sheets = [s for _, _, s in gradebook.grade(Assignment(course, NAME), [], Options(workers=1))]
    assert [s.points for s in sheets] == [FULL, FULL - 2, FULL, sheets[3].points] and sheets[3].points < 3
    return marks(course)


def command(course: Course, *options: str) -> subprocess.Popen:
    return subprocess.Popen(
        [PROGRAMS / "course", "grade", NAME, *options],
        cwd=course.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_workers_and_warm_kernels(course, expected):
    grader = command(course, "--workers", "2")
    said = grader.communicate(timeout=300)[0]
    assert grader.returncode == 0, said
    assert marks(course) == expected


# --- lost processes ---------------------------------------------------------------------------------------------------


class Dies(pools.Here):
    """Is lost with one student's notebook, each time or the first time."""

    def __init__(self, student: str, times: int):
        super().__init__()
        self.student, self.times, self.calls = student, times, 0

    def grade(self, assignment, submission, options):
        if submission.student == self.student:
            self.calls += 1
            if self.calls <= self.times:
                raise pools.Lost("it ended")
        return super().grade(assignment, submission, options)


@pytest.mark.parametrize("times", [1, 100])
def test_a_lost_process_is_tried_again_a_stated_number_of_times(course, monkeypatch, times):
    small_course.install(monkeypatch)
    pool = Dies("student 2", times)
    monkeypatch.setattr(pools, "start", lambda: pool)
    students = [s for s in CLASS if s != "student 3"]
    sheets = {s.student: s for _, _, s in gradebook.grade(Assignment(course, NAME), students)}
    assert pool.calls == (2 if times == 1 else pool.attempts)
    assert sheets["student 2"].failed == (times > 1)
    assert sheets["student 2"].points == (FULL if times == 1 else 0)
    assert {s.points for s in sheets.values() if s.student != "student 2"} == {FULL, FULL - 2}
    if times > 1:
        assert "were lost" in (course.root / "feedback/student 2" / NAME / f"{NAME}.html").read_text()
        assert "student 2" in failures(Assignment(course, NAME))
        pool.times = 0
        (again,) = [s for _, _, s in gradebook.grade(Assignment(course, NAME), ["student 2"])]
        assert again.points == FULL and not again.failed


def test_a_worker_that_is_killed_is_replaced(course):
    pool, points = pools.start(), (pools.OfWork("points"), Assignment(course, NAME))
    try:
        assert pool.call(*points) == small_course.POINTS
        (worker,) = pool._all
        assert pool.call(*points) == small_course.POINTS and pool._all == {worker}
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(pools.Lost):
            pool.call(*points)
        assert pool.call(*points) == small_course.POINTS and pool._all != {worker}
    finally:
        pool.close()


# --- Dask -------------------------------------------------------------------------------------------------------------


class Dask:
    """A scheduler and workers, started as people start them."""

    def __init__(self, folder: Path):
        self.folder, self.processes = folder, []

    def start(self, name: str, *arguments: str, within: tuple[str, ...] = (), **environment: str) -> subprocess.Popen:
        log = (self.folder / f"{name}.log").open("w")
        settings = {"OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
        self.processes.append(
            subprocess.Popen(
                [*within, PROGRAMS / "dask", *arguments],
                env=os.environ | settings | environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        )
        return self.processes[-1]

    def scheduler(self, host: str = "127.0.0.1") -> int:
        """Its port."""
        self.start("scheduler", "scheduler", "--host", host, "--port", "0", "--no-dashboard")
        return int(self.wait("scheduler", "Scheduler at:").rpartition(":")[2])

    def worker(self, name: str, address: str, *options: str, within: tuple[str, ...] = ()) -> subprocess.Popen:
        plain = ("--nthreads", "1", "--no-dashboard", "--local-directory", str(self.folder), "--name", name)
        return self.start(name, "worker", address, *plain, *options, within=within)

    def wait(self, name: str, for_: str) -> str:
        """The line of a log in which this stands."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            lines = (self.folder / f"{name}.log").read_text().splitlines()
            if line := next((line for line in lines if for_ in line), None):
                return line
            time.sleep(0.1)
        raise AssertionError((self.folder / f"{name}.log").read_text())

    def close(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def dask(tmp_path):
    made = Dask(tmp_path)
    yield made
    made.close()


DIES = """
import os
from autograder.run import execute
run = execute.whole = getattr(execute, "whole", execute.execute)  # Dask may load this twice
def dies(notebook, *arguments, **options):
    if any("takes its worker along" in cell.source for cell in notebook.cells):
        os._exit(1)
    return run(notebook, *arguments, **options)
execute.execute = dies
"""


def test_on_a_local_cluster(course, expected, dask):
    address = f"tcp://127.0.0.1:{dask.scheduler()}"
    dask.worker("one", address, "--resources", "GPU=1")
    grader = command(course, "--scheduler", address, "--resources", "GPU=0.5")
    said = grader.communicate(timeout=300)[0]
    assert grader.returncode == 0 and "[4/4]" in said, said
    assert marks(course) == expected


@pytest.mark.soak  # workers that die are started anew, and import torch anew
def test_on_a_local_cluster_where_one_submission_takes_its_worker_along_each_time(course, expected, dask, tmp_path):
    (tmp_path / "dies.py").write_text(DIES)
    address = f"tcp://127.0.0.1:{dask.scheduler()}"
    for name in ("one", "two"):
        dask.worker(name, address, "--preload", str(tmp_path / "dies.py"), "--resources", "GPU=1")
    answers = CLASS["student 0"] | {"total": "# takes its worker along"}
    small_course.hand_in(course, "zoe", answers)
    grader = command(course, "--scheduler", address, "--resources", "GPU=0.5")
    said = grader.communicate(timeout=300)[0]
    assert grader.returncode == 1, said  # one could not be graded
    assert "zoe: NOT GRADED. " in said and "were lost" in said and "[5/5]" in said
    assert [m for m in marks(course) if m[0] != "zoe"] == expected
    assert "were lost" in (course.root / "feedback/zoe" / NAME / f"{NAME}.html").read_text()


def test_without_a_scheduler_or_with_another_version_it_is_said(course, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    with pytest.raises(CourseError, match="no Dask scheduler answers at tcp://127.0.0.1:1 .*dask scheduler"):
        list(gradebook.grade(Assignment(course, NAME), [], Options(cluster=Cluster("tcp://127.0.0.1:1"))))
    expects = cluster.expected(Path(__file__).parents[2])
    assert expects["course_utils"] and expects["numpy"] and cluster._difference(expects) is None
    job = {"expects": expects | {"numpy": "0.1"}}
    assert "where the grader has 0.1" in cluster.perform(job)["refused"]
    assert "another course_utils" in cluster.perform({"expects": {"course_utils": "x"}})["refused"]
    assert cluster.resources("GPU=0.25, disk=1") == {"GPU": 0.25, "disk": 1}
    for wrong in ("GPU", "GPU=x", "GPU=0", "=1"):
        with pytest.raises(CourseError, match="NAME=AMOUNT"):
            cluster.resources(wrong)


# --- two hosts --------------------------------------------------------------------------------------------------------


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts():
    """Two network namespaces with addresses of their own: name -> (the host's address, ours as it sees it)."""
    found = {f"course{os.getpid() % 1000}{n}": (f"10.213.{n}.2", f"10.213.{n}.1") for n in (1, 2)}
    try:
        for name, (theirs, ours) in found.items():
            ip("netns", "add", name)
            ip("link", "add", f"{name}-a", "type", "veth", "peer", "name", f"{name}-b", "netns", name)
            ip("addr", "add", f"{ours}/24", "dev", f"{name}-a")
            ip("link", "set", f"{name}-a", "up")
            ip("-n", name, "addr", "add", f"{theirs}/24", "dev", f"{name}-b")
            for device in (f"{name}-b", "lo"):
                ip("-n", name, "link", "set", device, "up")
        yield found
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces can be made here: {getattr(error, 'stderr', error)}")
    finally:
        for name in found:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
            subprocess.run(["ip", "link", "delete", f"{name}-a"], capture_output=True)


@pytest.mark.soak
def test_two_hosts_one_of_which_is_lost_half_way(course, expected, dask, hosts):
    port = dask.scheduler("0.0.0.0")
    workers = []
    for name, (theirs, ours) in hosts.items():
        within = ("ip", "netns", "exec", name)
        workers.append(dask.worker(name, f"tcp://{ours}:{port}", "--host", theirs, within=within))
    for name in hosts:
        dask.wait(name, "Registered to")
    grader = command(course, "--scheduler", f"tcp://127.0.0.1:{port}")
    said = grader.stdout.readline()
    assert "[1/4]" in said, said + grader.stdout.read()
    os.killpg(workers[0].pid, signal.SIGKILL)  # each host has a notebook under way
    said += grader.communicate(timeout=300)[0]
    assert grader.returncode == 0, said
    assert "[4/4]" in said
    assert marks(course) == expected


def test_an_error_of_the_grader_on_a_worker_is_one_students_trouble(monkeypatch):
    """It comes back in words: an exception that cannot be packed would never come back."""

    def deep(*arguments, **options):
        return deep(*arguments, **options)

    monkeypatch.setattr("autograder.run.execute.execute", deep)
    monkeypatch.setattr("autograder.sandbox.warm.shared", lambda modules, limits: None)
    job = {
        "expects": {},
        "notebook": '{"cells": []}',
        "files": {},
        "cases": save_cases({}),
        "limits": {},
        "modules": [],
    }
    assert "RecursionError" in cluster.perform(job)["failed"]
