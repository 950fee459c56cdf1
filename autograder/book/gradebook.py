"""nbgrader's gradebook and what is made of it: each outcome recorded once, mark sheets, grades.csv, the report."""

import glob
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from autograder.book import late, second_look
from autograder.book.sheets import Sheet, remarks, sheets
from autograder.course import STAGED, Assignment, is_ours
from autograder.intake.submissions import Submission, stage
from autograder.notes import Kind, Note, as_json, note, sentence
from autograder.run import outputs
from autograder.run.apart import Bounds, side_by_side
from autograder.run.judge import no_verdict
from autograder.run.work import fingerprint
from autograder.stock import convert, one_engine, opened
from autograder.temporary import temporary_folder
from course_utils.paths import write

PAGE_S = 2  # of a processor, for a page of the usual kind


def publish(assignment: Assignment, students: list[str] | None = None, workers: int = 1) -> None:
    """Write what people read, from the gradebook: mark sheets (of all, or of some), grades.csv, report.html."""
    from nbgrader.plugins import CsvExportPlugin

    from autograder.book.report import write_report

    late.apply(assignment)
    graded = _mark_sheets(assignment, students, workers)
    with one_engine(), opened(assignment.course) as gradebook, temporary_folder() as temporary:
        table = Path(temporary) / "grades.csv"
        CsvExportPlugin(to=str(table)).export(gradebook)
        write(assignment.root / "grades.csv", table.read_bytes())
    if graded:
        write_report(assignment)


def finish(assignment: Assignment, submission: Submission, future: Future, sandboxed: bool) -> Sheet:
    """Record one student's outcome; a failure costs this student's sheet, not the others'."""
    student = submission.student
    try:
        outcome = future.result()
        if "lost" not in outcome:
            if not _is_recorded(assignment, student, outcome):
                _record(assignment, student, outcome, sandboxed)
            return sheets(assignment, [student])[0]
        why = note(Kind(outcome["lost"]), *outcome["why"])
    except Exception as error:
        if is_ours(error):
            raise
        log = assignment.log.relative_to(assignment.root)
        why = note(Kind.FAILED, f"{type(error).__name__}: {error}"[:300], log)
    try:
        return _lost(assignment, submission, why, sandboxed)
    except Exception as error:  # not even an unanswered notebook can be recorded: under such a name, say
        if is_ours(error):
            raise
        return Sheet(student, failed=True, notes=[why])


def _record(assignment: Assignment, student: str, outcome: dict[str, Any], sandboxed: bool) -> None:
    from nbgrader.converters import Autograde

    with second_look.where_something_changed(assignment, student):
        _convert(Autograde, assignment, glob.escape(student), sandbox=sandboxed, outcome=outcome)


def _lost(assignment: Assignment, submission: Submission, why: Note, sandboxed: bool) -> Sheet:
    """The sheet of a student whose notebook could not be run or recorded; marks of an earlier time stay."""
    student = submission.student
    if not remarks(assignment, student):
        place = assignment.staged(student)
        shutil.rmtree(place, ignore_errors=True)
        nothing = Submission(student, None, submission.notes)  # whatever was handed in: it may be the cause
        notebook = stage(assignment, nothing, place)
        _record(assignment, student, unanswered(notebook, why), sandboxed)
    sheet = sheets(assignment, [student])[0]
    sheet.failed, sheet.notes = True, [why, *(n for n in sheet.notes if n != why)]
    return sheet


def unanswered(notebook: Any, why: Note) -> dict[str, Any]:
    """An outcome without points: nothing ran."""
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


def _mark_sheets(assignment: Assignment, students: list[str] | None, workers: int) -> set[str]:
    """Write everybody's page (or some students') under feedback/; who is graded."""
    from autograder.book.record import MarkSheets

    name, room = assignment.name, assignment.private / "feedback"
    shutil.rmtree(room, ignore_errors=True)
    # whom the grader failed, is not there
    there = {p.parent.name for p in (assignment.root / "autograded").glob(f"*/{name}")}
    wanted = sorted(there if students is None else there.intersection(students))
    parts = min(workers, os.cpu_count() or 1, 1 + len(wanted) // 4)
    limits = assignment.limits()

    def make(some: list[str]) -> None:
        _convert(partial(MarkSheets, set(some)), assignment, "*")

    def bounds(some: list[str]) -> Bounds:
        cpu_s = limits.grader_s + PAGE_S * len(some)
        return Bounds(10 * cpu_s, cpu_s, limits.grader_bytes)

    chunks = [part for n in range(parts) if (part := wanted[n::parts])]
    failed = side_by_side(make, chunks, bounds)
    alone = [[student] for chunk in failed for student in chunk]
    lost = [student for (student,) in side_by_side(make, alone, bounds, at_once=parts)]
    for student in wanted:  # of what lies in a student's folder the sheet alone
        page = Path(student, name, f"{name}.html")
        made = student not in lost and (room / page).is_file()
        write(assignment.root / "feedback" / page, (room / page).read_bytes() if made else _plain_page(student, name))
    return there


def _plain_page(student: str, name: str) -> str:
    """A mark sheet for whom none can be made; the marks stand in grades.csv."""
    title = f"{escape(name)}: {escape(student)}"
    said = "This notebook's mark sheet could not be made in the time and memory that there are for it."
    return f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title><p>{title}<p>{said}</html>\n'


def _convert(step: Callable, assignment: Assignment, student: str, **execute: Any) -> None:
    """Run a step of nbgrader's; `execute` configures `record.Execute`."""
    private = assignment.private.relative_to(assignment.root)
    config = assignment.course.config()
    config.Execute.update(execute)
    config.CheckCellMetadata.enabled = False  # `repair` has written it, and the check takes a tenth of a second
    folders = {"submitted_directory": f"{private}/{STAGED}", "feedback_directory": f"{private}/feedback"}
    directory = assignment.course.directory(assignment_id=assignment.name, student_id=student, **folders)
    convert(step(coursedir=directory, config=config, force=True), assignment.log)


def _is_recorded(assignment: Assignment, student: str, outcome: dict[str, Any]) -> bool:
    """Whether the gradebook has this very outcome, so that there is nothing to change in it."""
    grader = remarks(assignment, student)
    if grader.get("key") != outcome["key"] or grader.get("notes") != outcome["staged"] + outcome["notes"]:
        return False
    from nbgrader.api import MissingEntry

    try:
        with opened(assignment.course) as gradebook:
            grades = gradebook.find_submission_notebook(assignment.name, assignment.name, student).grades
            judged = {g.cell.name: g.auto_score for g in grades}
            return all(judged.get(n) == min(v["points"], v["max_points"]) for n, v in outcome["verdicts"].items())
    except MissingEntry:
        return False
