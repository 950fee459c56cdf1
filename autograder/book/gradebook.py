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
from autograder.course import STAGED, Course, is_ours
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


def publish(course: Course, name: str, students: list[str] | None = None, workers: int = 1) -> None:
    """Write what people read, from the gradebook: mark sheets (of all, or of some), grades.csv, report.html."""
    from nbgrader.plugins import CsvExportPlugin

    from autograder.book.report import write_report

    late.apply(course, name)
    graded = _mark_sheets(course, name, students, workers)
    with one_engine(), opened(course) as gradebook, temporary_folder() as temporary:
        table = Path(temporary) / "grades.csv"
        CsvExportPlugin(to=str(table)).export(gradebook)
        write(course.root / "grades.csv", table.read_bytes())
    if graded:
        write_report(course, name)


def finish(course: Course, name: str, submission: Submission, future: Future, sandboxed: bool) -> Sheet:
    """Record one student's outcome; a failure costs this student's sheet, not the others'."""
    student = submission.student
    try:
        outcome = future.result()
        if "lost" not in outcome:
            if not _is_recorded(course, name, student, outcome):
                _record(course, name, student, outcome, sandboxed)
            return sheets(course, name, [student])[0]
        why = note(Kind(outcome["lost"]), *outcome["why"])
    except Exception as error:
        if is_ours(error):
            raise
        log = (course.private(name) / "nbgrader.log").relative_to(course.root)
        why = note(Kind.FAILED, f"{type(error).__name__}: {error}"[:300], log)
    try:
        return _lost(course, name, submission, why, sandboxed)
    except Exception as error:  # not even an unanswered notebook can be recorded: under such a name, say
        if is_ours(error):
            raise
        return Sheet(student, failed=True, notes=[why])


def _record(course: Course, name: str, student: str, outcome: dict[str, Any], sandboxed: bool) -> None:
    from nbgrader.converters import Autograde

    with second_look.where_something_changed(course, name, student):
        _convert(Autograde, course, name, glob.escape(student), sandbox=sandboxed, outcome=outcome)


def _lost(course: Course, name: str, submission: Submission, why: Note, sandboxed: bool) -> Sheet:
    """The sheet of a student whose notebook could not be run or recorded; marks of an earlier time stay."""
    student = submission.student
    if not remarks(course, name, student):
        place = course.private(name) / STAGED / student / name
        shutil.rmtree(place, ignore_errors=True)
        notebook = stage(
            course, name, Submission(student, None, submission.notes), place
        )  # whatever was handed in: it may be the cause
        _record(course, name, student, unanswered(notebook, why), sandboxed)
    sheet = sheets(course, name, [student])[0]
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


def _mark_sheets(course: Course, name: str, students: list[str] | None, workers: int) -> set[str]:
    """Write everybody's page (or some students') under feedback/; who is graded."""
    from autograder.book.record import MarkSheets

    room = course.private(name) / "feedback"
    shutil.rmtree(room, ignore_errors=True)
    there = {p.parent.name for p in (course.root / "autograded").glob(f"*/{name}")}  # whom the grader failed, is not
    wanted = sorted(there if students is None else there.intersection(students))
    parts = min(workers, os.cpu_count() or 1, 1 + len(wanted) // 4)
    grader_s, memory_bytes = course.limits(name).grader_s, course.limits(name).grader_bytes

    def make(some: list[str]) -> None:
        _convert(partial(MarkSheets, set(some)), course, name, "*")

    def bounds(some: list[str]) -> Bounds:
        cpu_s = grader_s + PAGE_S * len(some)
        return Bounds(10 * cpu_s, cpu_s, memory_bytes)

    chunks = [part for n in range(parts) if (part := wanted[n::parts])]
    failed = side_by_side(make, chunks, bounds)
    alone = [[student] for chunk in failed for student in chunk]
    lost = [student for (student,) in side_by_side(make, alone, bounds, at_once=parts)]
    for student in wanted:  # of what lies in a student's folder the sheet alone
        page = Path(student, name, f"{name}.html")
        made = student not in lost and (room / page).is_file()
        write(course.root / "feedback" / page, (room / page).read_bytes() if made else _plain_page(student, name))
    return there


def _plain_page(student: str, name: str) -> str:
    """A mark sheet for whom none can be made; the marks stand in grades.csv."""
    title = f"{escape(name)}: {escape(student)}"
    said = "This notebook's mark sheet could not be made in the time and memory that there are for it."
    return f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title><p>{title}<p>{said}</html>\n'


def _convert(step: Callable, course: Course, name: str, student: str, **execute: Any) -> None:
    """Run a step of nbgrader's; `execute` configures `record.Execute`."""
    private = course.private(name).relative_to(course.root)
    config = course.config()
    config.Execute.update(execute)
    folders = {"submitted_directory": f"{private}/staged", "feedback_directory": f"{private}/feedback"}
    directory = course.directory(assignment_id=name, student_id=student, **folders)
    convert(step(coursedir=directory, config=config, force=True), course.private(name) / "nbgrader.log")


def _is_recorded(course: Course, name: str, student: str, outcome: dict[str, Any]) -> bool:
    """Whether the gradebook has this very outcome, so that there is nothing to change in it."""
    grader = remarks(course, name, student)
    if grader.get("key") != outcome["key"] or grader.get("notes") != outcome["staged"] + outcome["notes"]:
        return False
    from nbgrader.api import MissingEntry

    try:
        with opened(course) as gradebook:
            grades = gradebook.find_submission_notebook(name, name, student).grades
            judged = {g.cell.name: g.auto_score for g in grades}
            return all(judged.get(n) == min(v["points"], v["max_points"]) for n, v in outcome["verdicts"].items())
    except MissingEntry:
        return False
