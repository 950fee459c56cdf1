"""`course report`: one page about a class, without scripts and without requests to other machines."""

from collections import Counter
from pathlib import Path
from statistics import mean, median
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from course_utils.check import CASES_FILE, load_cases
from course_utils.grading.course import Course, CourseError, make_gradebook, write
from course_utils.grading.gradebook import Sheet, sheets, why
from course_utils.grading.release import read

BINS = 10


def write_report(course: Course, name: str) -> Path:
    """Write `report.html` from what the gradebook and the graded notebooks say now.

    Raises:
        CourseError: nobody has been graded yet.
    """
    make_gradebook(course.directory().db_url)
    found = sheets(course, name)
    if not found:
        raise CourseError(f"nobody has been graded in {name} yet: run `course grade {name}`")
    marks = [sheet.points for sheet in found]
    most = max(sheet.most for sheet in found)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        name=name,
        sheets=found,
        exercises=_exercises(course, name, found),
        mistakes=_mistakes(course, name, found),
        histogram=_histogram(marks, most),
        most=most,
        mean=mean(marks),
        median=median(marks),
        why=why,
        link=lambda sheet: quote(f"feedback/{sheet.student}/{name}/{name}.html"),
    )
    path = course.root / "report.html"
    write(path, page)
    return path


def _exercises(course: Course, name: str, found: list[Sheet]) -> list[dict[str, Any]]:
    """A row per graded cell, in the order of the notebook: how the class did, and who gave the verdict."""
    rows = []
    for cell in read(course.released(name)).cells:
        grading = cell.metadata.get("nbgrader", {})
        grade_id = grading.get("grade_id")
        marks = [sheet.cells[grade_id] for sheet in found if grade_id in sheet.cells]
        if not grading.get("grade") or not marks:
            continue
        given = [points for points, _ in marks if points is not None]
        judged = any(grade_id in sheet.verdicts for sheet in found)
        rows.append(
            {
                "id": grade_id,
                "name": grade_id.removeprefix("check_"),
                "most": marks[0][1],
                "mean": mean(given) if given else None,
                "full": sum(points >= most for points, most in marks if points is not None),
                "none": sum(points == 0 for points in given),
                "open": len(marks) - len(given),
                "by": "judge" if judged else "person" if grading.get("solution") else "kernel",
            }
        )
    return rows


def _mistakes(course: Course, name: str, found: list[Sheet]) -> list[tuple[str, str, list[str], str]]:
    """(exercise, mistake, who made it, hint), the commonest first."""
    try:
        exercises = load_cases(course.released(name).with_name(CASES_FILE))
    except (FileNotFoundError, ValueError):
        exercises = {}
    hints = {(e.name, m.name): m.hint for e in exercises.values() for m in e.mistakes}
    made = [((v.exercise, v.mistake), s.student) for s in found for v in s.verdicts.values() if v.mistake]
    counted = Counter(key for key, _ in made).most_common()
    return [(*key, [who for k, who in made if k == key], hints.get(key, "")) for key, _ in counted]


def _histogram(marks: list[float], most: float) -> list[dict[str, Any]]:
    """How many students have marks in each tenth of what can be had."""
    places = [min(int(points / (most or 1) * BINS), BINS - 1) for points in marks]
    counts = [places.count(b) for b in range(BINS)]
    edges = [most * b / BINS for b in range(BINS + 1)]
    return [{"low": edges[b], "high": edges[b + 1], "count": c, "share": c / max(counts)} for b, c in enumerate(counts)]
