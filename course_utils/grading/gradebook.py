"""`course grade`: everyone in `submitted/`, one after the other, into nbgrader's gradebook, table and mark sheets."""

import glob
import json
import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.grading import gpu, sandbox
from course_utils.grading import pool as pools
from course_utils.grading.course import STAGED, Blocked, Course, CourseError, convert, one_engine, write
from course_utils.grading.notebook import read
from course_utils.grading.notes import Kind, Note, as_json, note, sentence
from course_utils.grading.release import generate
from course_utils.grading.sheets import FAILED, Sheet, failures, remarks, sheets
from course_utils.grading.submissions import Submission, signature, stage
from course_utils.grading.submissions import submissions as all_submissions
from course_utils.grading.temporary import remove_parts, temporary_folder

if TYPE_CHECKING:
    from course_utils.grading.cluster import Cluster

AHEAD = 50  # submissions that run, or have run, before it is their turn to be recorded


def grade(
    course: Course,
    name: str,
    students: list[str],
    again: bool = False,
    unsafe: bool = False,
    workers: int = 2,
    cluster: "Cluster | None" = None,
    device: str = "cpu",
) -> Iterator[tuple[int, int, Sheet]]:
    """Grade all of `submitted/`, or some students; yields (number, how many, sheet) as they are done.

    Args:
        cluster: where the notebooks run, in place of this machine.
        device: "cuda" lets them use the GPU, each a share of its memory.

    Raises:
        CourseError: the grader cannot work here; the text says what to do. What one student did never raises.
    """
    found = all_submissions(course, name)
    if unknown := set(students) - {s.student for s in found}:
        raise CourseError(f"nothing of {', '.join(sorted(unknown))} is in {course.root / 'submitted'}")
    found = [s for s in found if s.student in students or not students]
    if not found:
        raise CourseError(
            f"{course.root / 'submitted'} is empty: put each student's folder there, submitted/NAME/{name}/"
        )
    if (
        device == "cuda"
        and not unsafe
        and not cluster
        and (problem := gpu.missing() or gpu.crowded(workers, sandbox.DEFAULTS.gpu_memory_bytes))
    ):
        raise CourseError(problem)
    before = {s.student: signature(s) for s in found}
    failed: dict[str, str] = {}
    with alone(course, name), _pool(course, name, len(found), unsafe, cluster, device) as pool, ExitStack() as engine:
        shutil.rmtree(course.private(name) / STAGED, ignore_errors=True)
        at_once = pool.at_once or workers
        with ThreadPoolExecutor(at_once) as threads:
            try:
                points = threads.submit(pool.call, pools.OfWork("points"), course, name)
                cases = threads.submit(pool.call, pools.OfWork("prepare_cases"), course, name)
                work = (
                    (s, threads.submit(_outcome, cases, course, name, s, pool, not unsafe, again, device))
                    for s in found
                )
                outcomes = _in_order(work, max(AHEAD, 2 * at_once))
                _teach(course, name, points, cases)
                engine.enter_context(one_engine())
                for number, (submission, future) in enumerate(outcomes, start=1):
                    sheet = _finish(course, name, submission, future, not unsafe)
                    if signature(submission) != before[sheet.student]:
                        sheet.notes.append(note(Kind.CHANGED))
                    if sheet.failed:
                        failed[sheet.student] = sentence(sheet.notes[0])
                    yield number, len(found), sheet
            finally:
                threads.shutdown(wait=False, cancel_futures=True)
                pool.close()
        kept = {s: why for s, why in failures(course, name).items() if s not in before}
        write(course.private(name) / FAILED, json.dumps(kept | failed), 0o600)
        publish(course, name, students or None, workers)


@contextmanager
def _pool(
    course: Course, name: str, submissions: int, unsafe: bool, cluster: "Cluster | None", device: str
) -> Iterator[pools.Here]:
    """Where work is done beside the gradebook; it loads while the caller goes on."""
    if cluster:
        with cluster.connect(course) as remote:
            yield remote
        return
    pool = None if unsafe else pools.start()  # first, since it takes longest
    try:
        if not unsafe and (missing := sandbox.missing()):
            raise CourseError(f"{missing} (or say --unsafe: students' code then can do all that you can)")
        forks = None
        if submissions > 1 and not unsafe:
            from course_utils.grading import warm

            forks = warm.shared(warm.imports(read(course.solution(name))), device)
        pool = pool or pools.Here()
        pool.forks = forks
        yield pool
    finally:
        if pool:
            pool.close()


def _teach(course: Course, name: str, points: Future, cases: Future) -> None:
    """Have the gradebook learn of the assignment, while the first notebooks run.

    Args:
        points: what the exercises are worth.
        cases: done when the hidden cases are there.
    """
    try:
        known = points.result()  # nbgrader is imported after that: until then the cores are for those who import torch
        with temporary_folder() as temporary:
            generate(course, name, Path(temporary), course.directory().db_url, known)
        cases.result()
    except pools.Lost as error:
        raise CourseError(f"a process of the grader was lost ({error}): run the same command again") from None


def _outcome(cases: Future, course: Course, name: str, submission: Submission, pool: pools.Here, *options: Any) -> dict:
    """What came of one submission; found out once more where the process that worked on it was lost."""
    cases.result()
    for _ in range(pool.attempts):
        try:
            return pool.grade(course, name, submission, *options)
        except pools.Lost as error:
            lost = error
    return {"lost": str(lost)}


def _in_order(work: Iterator[tuple[Submission, Future]], ahead: int) -> Iterator[tuple[Submission, Future]]:
    """The submissions in their order, so that the gradebook's does not depend on who was quicker.

    Not more than `ahead` are under way or kept until their turn comes: memory does not grow with the class.
    """
    waiting = deque(islice(work, ahead))  # now, not when the first is asked for

    def one_by_one() -> Iterator[tuple[Submission, Future]]:
        while waiting:
            yield waiting.popleft()
            waiting.extend(islice(work, 1))

    return one_by_one()


def publish(course: Course, name: str, students: list[str] | None = None, workers: int = 1) -> None:
    """Write what people read, from the gradebook: mark sheets (of all, or of some), grades.csv, report.html."""
    from nbgrader.api import Gradebook
    from nbgrader.plugins import CsvExportPlugin

    from course_utils.grading.report import write_report

    graded = _mark_sheets(course, name, students, workers)
    with one_engine(), Gradebook(course.directory().db_url) as gradebook, temporary_folder() as temporary:
        table = Path(temporary) / "grades.csv"
        CsvExportPlugin(to=str(table)).export(gradebook)
        write(course.root / "grades.csv", table.read_bytes())
    if graded:
        write_report(course, name)


def _finish(course: Course, name: str, submission: Submission, future: Future, sandboxed: bool) -> Sheet:
    """Record one student's outcome; a failure costs this student's sheet, not the others'."""
    student = submission.student
    try:
        outcome = future.result()
        if "lost" in outcome:
            return _lost(course, name, submission, note(Kind.LOST, outcome["lost"]), sandboxed)
        if not _is_recorded(course, name, student, outcome):
            _record(course, name, student, outcome, sandboxed)
        return sheets(course, name, [student])[0]
    except (Blocked, OSError):
        raise
    except Exception as error:
        log = (course.private(name) / "nbgrader.log").relative_to(course.root)
        return Sheet(student, failed=True, notes=[note(Kind.FAILED, f"{type(error).__name__}: {error}", log)])


def _record(course: Course, name: str, student: str, outcome: dict[str, Any], sandboxed: bool) -> None:
    from nbgrader.converters import Autograde

    from course_utils.grading.record import Execute

    Execute.outcome = outcome
    try:
        _convert(Autograde, course, name, glob.escape(student), sandboxed)
    finally:
        Execute.outcome = None


def _lost(course: Course, name: str, submission: Submission, why: Note, sandboxed: bool) -> Sheet:
    """The sheet of a student whose notebook could not be run; marks of an earlier time stay."""
    student = submission.student
    if not remarks(course, name, student):
        notebook = stage(course, name, submission, course.private(name) / STAGED / student / name)
        _record(course, name, student, unanswered(notebook, why), sandboxed)
    sheet = sheets(course, name, [student])[0]
    sheet.failed, sheet.notes = True, [why, *(n for n in sheet.notes if n != why)]
    return sheet


def unanswered(notebook: Any, why: Note) -> dict[str, Any]:
    """An outcome without points: nothing ran."""
    from course_utils.grading import outputs
    from course_utils.grading.judge import no_verdict
    from course_utils.grading.work import fingerprint

    verdicts, found = {}, []
    for cell in notebook.cells:
        grading = cell.metadata.get("nbgrader", {})
        said = [outputs.error("NotRun", sentence(why))] if cell.cell_type == "code" else []
        if grading.get("grade") and not grading.get("solution") and cell.cell_type == "code":
            name = grading["grade_id"]
            verdict = no_verdict(name.removeprefix("check_"), grading["points"], sentence(why))
            verdicts[name] = asdict(verdict)
            said = outputs.of_verdict(verdict, grading["points"])
        found.append(said)
    return {
        "key": "",
        "cells": fingerprint(notebook),
        "outputs": found,
        "verdicts": verdicts,
        "notes": as_json([why]),
        "usage": {},
    }


def _mark_sheets(course: Course, name: str, students: list[str] | None, workers: int) -> set[str]:
    """Write everybody's page (or some students') under feedback/; who is graded."""
    from course_utils.grading.record import MarkSheets

    room = course.private(name) / "feedback"
    shutil.rmtree(room, ignore_errors=True)
    there = {p.parent.name for p in (course.root / "autograded").glob(f"*/{name}")}  # whom the grader failed, is not
    wanted = sorted(there if students is None else there.intersection(students))
    parts = min(workers, os.cpu_count() or 1, 1 + len(wanted) // 4)

    def make(part: int) -> None:
        if some := set(wanted[part::parts]):
            _convert(partial(MarkSheets, some), course, name, "*")

    _side_by_side(make, parts)
    for page in room.rglob("*.html"):
        write(course.root / "feedback" / page.relative_to(room), page.read_bytes())
    return there


def _side_by_side(make: Callable[[int], None], parts: int) -> None:
    """Call it for 0, 1 …; each part beyond the first in a copy of this process, where that is safe: with one thread."""
    children: dict[int, int] = {}
    if sys.platform == "linux" and threading.active_count() == 1:
        for part in range(1, parts):
            if (pid := os.fork()) == 0:
                code = 1
                try:
                    make(part)
                    code = 0
                finally:
                    os._exit(code)
            children[part] = pid
    try:
        make(0)
    finally:
        failed = [part for part, pid in children.items() if os.waitpid(pid, 0)[1] != 0]
    for part in [*failed, *range(1 + len(children), parts)]:
        make(part)  # here it says what is wrong


def _convert(step: Callable, course: Course, name: str, student: str, sandboxed: bool = True) -> None:
    private = course.private(name).relative_to(course.root)
    config = course.config()
    config.Execute.sandbox = sandboxed
    folders = {"submitted_directory": f"{private}/staged", "feedback_directory": f"{private}/feedback"}
    directory = course.directory(assignment_id=name, student_id=student, **folders)
    convert(step(coursedir=directory, config=config, force=True), course.private(name) / "nbgrader.log")


def _is_recorded(course: Course, name: str, student: str, outcome: dict[str, Any]) -> bool:
    """Whether the gradebook has this very outcome, so that there is nothing to change in it."""
    grader = remarks(course, name, student)
    if grader.get("key") != outcome["key"] or grader.get("notes") != outcome["staged"] + outcome["notes"]:
        return False
    from nbgrader.api import Gradebook, MissingEntry

    try:
        with Gradebook(course.directory().db_url) as gradebook:
            grades = gradebook.find_submission_notebook(name, name, student).grades
            judged = {g.cell.name: g.auto_score for g in grades}
            return all(judged.get(n) == min(v["points"], v["max_points"]) for n, v in outcome["verdicts"].items())
    except MissingEntry:
        return False


@contextmanager
def alone(course: Course, name: str) -> Iterator[None]:
    """Two graders of one assignment would undo each other's work."""
    path = course.private(name) / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows
            pass
        except BlockingIOError:
            raise CourseError(f"{name} is being graded already, by another `course grade`: wait for its end") from None
        file.write(str(os.getpid()))
        private = course.private(name)
        remove_parts(
            course.root, private, private / "results", private / "cases", *course.root.glob(f"feedback/*/{name}")
        )
        yield


def watch(
    course: Course,
    name: str,
    students: list[str],
    *,
    every: float = 3.0,
    stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], object] = print,
    pause: Callable[[float], object] = time.sleep,
    **options: Any,
) -> Iterator[tuple[int, int, Sheet]]:
    """Grade what arrives in `submitted/`, until `stop()`; what is still being written waits until it stays the same.

    Args:
        every: seconds between two looks; an entry is graded when two looks in a row find it the same.
        say: is told what keeps the grader from its work (it tries again at the next look).
        options: as for `grade`.
    """
    seen: dict[str, object] = {}
    done: dict[str, object] = {}
    said = ""
    while not stop():
        there = {s.student: signature(s) for s in all_submissions(course, name)}
        there = {s: what for s, what in there.items() if s in students or not students}
        ready = [s for s, what in there.items() if seen.get(s) == what != done.get(s)]
        seen = there
        try:
            if ready:
                yield from grade(course, name, ready, **options)
                done |= {s: there[s] for s in ready}
            said = ""
        except CourseError as error:
            if str(error) != said:
                say(said := str(error))
        pause(every)
