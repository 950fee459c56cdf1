"""`course grade`: everyone in `submitted/`, one after the other, into nbgrader's gradebook, table and mark sheets."""

import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

from autograder.author.generate import generate
from autograder.book.gradebook import finish, publish
from autograder.book.sheets import FAILED, Sheet, failures
from autograder.course import STAGED, Assignment
from autograder.intake.submissions import Submission, signature
from autograder.intake.submissions import submissions as all_submissions
from autograder.notes import Kind, note, sentence
from autograder.run import pool as pools
from autograder.run.apart import crowded
from autograder.run.options import DEFAULTS, Options
from autograder.sandbox import gpu, provisioner
from autograder.stock import one_engine
from autograder.temporary import remove_parts, temporary_folder
from course_utils.notebook import read
from course_utils.paths import CourseError, explain, write

PATIENCE = 4  # times as long, where it was the machine that made a submission late
LOOK_S = 3.0  # between two looks for what has arrived
AHEAD = 50  # submissions that run, or have run, before it is their turn to be recorded


def grade(assignment: Assignment, students: list[str], options: Options = DEFAULTS) -> Iterator[tuple[int, int, Sheet]]:
    """Grade all of `submitted/`, or some students; yields (number, how many, sheet) as they are done.

    Raises:
        CourseError: the grader cannot work here; the text says what to do. What one student did never raises.
    """
    found = all_submissions(assignment)
    if unknown := set(students) - {s.student for s in found}:
        raise CourseError(f"nothing of {', '.join(sorted(unknown))} is in {assignment.root / 'submitted'}")
    found = [s for s in found if s.student in students or not students]
    if not found:
        place = assignment.submitted("NAME").relative_to(assignment.root)
        raise CourseError(f"{assignment.root / 'submitted'} is empty: put each student's folder there, {place}/")
    refused, found = [s for s in found if s.refused], [s for s in found if not s.refused]
    limits = assignment.limits()  # what is wrong in them is said at once
    if options.device == "cuda" and options.sandboxed and not options.cluster:
        if problem := gpu.missing() or gpu.crowded(options.workers, limits.gpu_memory_bytes):
            raise CourseError(problem)
    before = {s.student: signature(s, limits.files) for s in found}
    failed = {s.student: sentence(s.notes[0]) for s in refused}
    with alone(assignment), _pool(assignment, len(found), options) as pool, ExitStack() as engine:
        shutil.rmtree(assignment.private / STAGED, ignore_errors=True)
        at_once = pool.at_once or options.workers
        with ThreadPoolExecutor(at_once) as threads:
            try:
                points = threads.submit(pool.call, pools.OfWork("points"), assignment)
                cases = threads.submit(pool.call, pools.OfWork("prepare_cases"), assignment)
                work = ((s, threads.submit(_outcome, cases, assignment, s, pool, options)) for s in found)
                outcomes = _in_order(work, max(AHEAD, 2 * at_once))
                _teach(assignment, points, cases)
                engine.enter_context(one_engine())
                total = len(found) + len(refused)
                for number, (submission, future) in enumerate(outcomes, start=1):
                    sheet = finish(assignment, submission, future, options.sandboxed)
                    if signature(submission, limits.files) != before[sheet.student]:
                        sheet.notes.append(note(Kind.CHANGED))
                    if sheet.failed:
                        failed[sheet.student] = sentence(sheet.notes[0])
                    yield number, total, sheet
                for number, submission in enumerate(refused, start=len(found) + 1):
                    yield number, total, Sheet(submission.student, notes=submission.notes, failed=True)
            finally:
                threads.shutdown(wait=False, cancel_futures=True)
                pool.close()
        kept = {s: why for s, why in failures(assignment).items() if s not in before}
        write(assignment.private / FAILED, json.dumps(kept | failed), 0o600)
        publish(assignment, students or None, options.workers)


@contextmanager
def _pool(assignment: Assignment, submissions: int, options: Options) -> Iterator[pools.Here]:
    """Where work is done beside the gradebook; it loads while the caller goes on."""
    if options.cluster:
        from autograder.run.cluster import connect

        with connect(options.cluster, assignment.course) as remote:
            yield remote
        return
    pool = None if options.unsafe else pools.start()  # first, since it takes longest
    try:
        if options.sandboxed and (missing := provisioner.missing()):
            raise CourseError(f"{missing} (or say --unsafe: students' code then can do all that you can)")
        forks = None
        if submissions > 1 and options.sandboxed:
            from autograder.sandbox import warm

            forks = warm.shared(
                warm.imports(read(assignment.solution)), replace(assignment.limits(), device=options.device)
            )
        pool = pool or pools.Here()
        pool.forks = forks
        yield pool
    finally:
        if pool:
            pool.close()


def _teach(assignment: Assignment, points: Future, cases: Future) -> None:
    """Have the gradebook learn of the assignment, while the first notebooks run.

    Args:
        points: what the exercises are worth.
        cases: done when the hidden cases are there.
    """
    try:
        known = points.result()  # nbgrader is imported after that: until then the cores are for those who import torch
        with temporary_folder() as temporary:
            generate(assignment, Path(temporary), assignment.course.directory().db_url, known)
        cases.result()
    except pools.Lost as error:
        raise CourseError(f"a process of the grader was lost ({error}): run the same command again") from None


def _outcome(cases: Future, assignment: Assignment, submission: Submission, pool: pools.Here, options: Options) -> dict:
    """What came of one submission; found out once more where its process was lost, or the machine made it late."""
    cases.result()
    for _ in range(pool.attempts):
        try:
            outcome = pool.grade(assignment, submission, options)
            patient = [note(Kind.PATIENT).as_json()] if options.patience > 1 else []
            return outcome | {"notes": outcome["notes"] + patient}
        except pools.Lost as error:
            lost = {"lost": Kind.LOST, "why": [str(error)]}
        except pools.Exceeded as error:
            lost = {"lost": Kind.EXCEEDED, "why": [str(error)]}
            if not crowded():
                break
            options = replace(options, patience=PATIENCE * options.patience)
    return lost


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


@contextmanager
def alone(assignment: Assignment) -> Iterator[None]:
    """Two graders of one assignment would undo each other's work."""
    path = assignment.private / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows
            pass
        except BlockingIOError:
            already = f"{assignment.name} is being graded already, by another `course grade`: wait for its end"
            raise CourseError(already) from None
        file.write(str(os.getpid()))
        private = assignment.private
        remove_parts(
            assignment.root,
            *(private, private / "results", private / "cases"),
            *assignment.root.glob(f"feedback/*/{assignment.name}"),
        )
        yield


def watch(
    assignment: Assignment,
    students: list[str],
    options: Options = DEFAULTS,
    looks: Iterable[object] | None = None,
    say: Callable[[str], object] = print,
) -> Iterator[tuple[int, int, Sheet]]:
    """Grade what arrives in `submitted/`; what is still being written waits until it stays the same.

    Args:
        looks: gives something whenever it is time to look; by default every few seconds, without end. An entry is
            graded when two looks in a row find it the same.
        say: is told what keeps the grader from its work (it tries again at the next look).
    """
    files = assignment.limits().files
    seen: dict[str, object] = {}
    done: dict[str, object] = {}
    said = ""
    for _ in _every(LOOK_S) if looks is None else looks:
        there = {s.student: signature(s, files) for s in all_submissions(assignment)}
        there = {s: what for s, what in there.items() if s in students or not students}
        ready = [s for s, what in there.items() if seen.get(s) == what != done.get(s)]
        seen = there
        try:
            if ready:
                yield from grade(assignment, ready, options)
                done |= {s: there[s] for s in ready}
            said = ""
        except Exception as error:  # whatever it is, the next hand-in is graded
            text = explain(error) if isinstance(error, OSError) else str(error) or type(error).__name__
            if text != said:
                say(said := text)


def _every(seconds: float) -> Iterator[None]:
    while True:
        yield
        time.sleep(seconds)
