"""`course report`: one page about a class, without scripts and without requests to other machines."""

from collections import Counter
from pathlib import Path
from statistics import mean, median
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from autograder.book import similar
from autograder.book.feedback import prose
from autograder.book.sheets import Sheet, failures, graded_notebook, sheets, why
from autograder.course import Assignment
from autograder.notes import DEATHS, TIME_OUTS, UNANSWERED, Kind, sentence
from autograder.stock import make_gradebook
from course_utils.checking.cases import CASES_FILE, hints
from course_utils.notebook import read
from course_utils.paths import CourseError, write

BINS = 10
SLOW_S, SLOW_TIMES = 10, 3  # slow: takes so many seconds, and so many times as long as the median
BEHIND = 0.25  # of the points that nobody has still to give
BESIDES = {
    Kind.MARKED_BEFORE: "Marked by hand for an earlier hand-in",
    Kind.OVERRIDDEN: "Marked by hand in place of the grader",
    Kind.LATE: "Handed in late",
}
SHOWN = 20  # pairs of similar submissions, slowest submissions


def write_report(assignment: Assignment) -> Path:
    """Write `report.html` from what the gradebook and the graded notebooks say now.

    Raises:
        CourseError: nobody has been graded yet.
    """
    make_gradebook(assignment.course.directory().db_url)
    found = sheets(assignment)
    if not found:
        raise CourseError(f"nobody has been graded in {assignment.name} yet: run `course grade {assignment.name}`")
    marks = [sheet.points for sheet in found]
    most = max(sheet.most for sheet in found)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    exercises, mistakes = _exercises(assignment, found), _mistakes(assignment, found)
    pages = {s.student: f"feedback/{s.student}/{assignment.name}/{assignment.name}.html" for s in found}
    pages = {student: quote(page) for student, page in pages.items() if (assignment.root / page).is_file()}
    pairs = _similar(assignment, found)
    page = environment.get_template("report.html.j2").render(
        name=assignment.name,
        sheets=found,
        hardest=_hardest(exercises, mistakes),
        attention=_attention(found, failures(assignment)),
        exercises=exercises,
        mistakes=mistakes,
        histogram=_histogram(marks, most),
        most=most,
        mean=mean(marks),
        median=median(marks),
        usage=_usage(found),
        pairs=pairs[:SHOWN],
        more_pairs=len(pairs) - len(pairs[:SHOWN]),
        why=why,
        prose=prose,
        sentence=sentence,
        pages=pages,
    )
    path = assignment.root / "report.html"
    write(path, page)
    return path


# --- what stands at the top -------------------------------------------------------------------------------------------


def _hardest(exercises: list[dict[str, Any]], mistakes: list[tuple[str, str, list[str], str]]) -> dict[str, Any] | None:
    """The exercise that brought the smallest share of its points, with its commonest mistake.

    What a person marks is left out: nbgrader gives 0 for a question that nobody touched, which says little of it.
    """
    given = [e for e in exercises if e["mean"] is not None and e["most"] and e["by"] != "person"]
    if not given:
        return None
    worst = min(given, key=lambda e: e["mean"] / e["most"])
    common = next(((m, len(who)) for exercise, m, who, _ in mistakes if exercise == worst["name"]), None)
    return worst | {"share": worst["mean"] / worst["most"], "mistake": common}


def _attention(found: list[Sheet], failed: dict[str, str]) -> list[dict[str, Any]]:
    """Who needs a look, under the gravest heading that fits: (what, [(student, why)])."""
    quick = median([s.usage["wall_s"] for s in found if "wall_s" in s.usage] or [0])
    groups: dict[str, list[tuple[str, str]]] = {
        "The grader failed": list(failed.items()),
        "Nothing to grade": [],
        "Kernel died": [],
        "Ran out of time": [],
        "A quarter of the points or less": [],
        "Unusually slow": [],
    }
    for s in [s for s in found if s.student not in failed]:
        unanswered, died, late = (_first(s, kinds) for kinds in (UNANSWERED, DEATHS, TIME_OUTS))
        seconds = s.usage.get("wall_s", 0)
        if unanswered:
            groups["Nothing to grade"].append((s.student, unanswered))
        elif died or s.usage.get("kernels", 1) > 1:
            groups["Kernel died"].append((s.student, died or f"It took {s.usage['kernels']} kernels."))
        elif late:
            groups["Ran out of time"].append((s.student, late))
        elif s.points <= BEHIND * (s.most - s.waiting):
            groups["A quarter of the points or less"].append((s.student, f"{s.points:.3g} of {s.most:g} points"))
        elif seconds >= max(SLOW_S, SLOW_TIMES * quick):
            groups["Unusually slow"].append(
                (s.student, f"{seconds:.0f} s; half of the class took {quick:.0f} s or less")
            )
    groups |= _besides(found)
    return [{"what": what, "who": who} for what, who in groups.items() if who]


def _besides(found: list[Sheet]) -> dict[str, list[tuple[str, str]]]:
    """What needs a look wherever else a student stands."""
    groups: dict[str, list[tuple[str, str]]] = {heading: [] for heading in BESIDES.values()}
    groups["An exercise without a verdict"] = [
        (s.student, f"{v.exercise}: {v.reason}")
        for s in found
        if not _first(s, UNANSWERED)
        for v in s.verdicts.values()
        if not v.cases
    ]
    for s in found:
        for remark in s.remarks:
            if remark.kind in BESIDES:
                groups[BESIDES[remark.kind]].append((s.student, sentence(remark)))
    return groups


def _first(sheet: Sheet, kinds: frozenset[Kind]) -> str:
    """The sentence of the first note of one of these kinds; "" where there is none."""
    return next((sentence(note) for note in sheet.trouble if note.kind in kinds), "")


def _similar(assignment: Assignment, found: list[Sheet]) -> list[similar.Pair]:
    released = [c.source for c in read(assignment.released).cells if c.cell_type == "code"]
    return similar.alike({s.student: similar.code(graded_notebook(assignment, s.student)) for s in found}, released)


# --- tables -----------------------------------------------------------------------------------------------------------


def _usage(found: list[Sheet]) -> dict[str, Any] | None:
    """Time and memory of the class, and who took most of the time."""
    known = [s for s in found if "wall_s" in s.usage]
    if not known:
        return None
    return {
        "median": median(s.usage["wall_s"] for s in known),
        "cpu_min": sum(s.usage.get("cpu_s", 0) for s in known) / 60,
        "slowest": sorted(known, key=lambda s: -s.usage["wall_s"])[:5],
    }


def _exercises(assignment: Assignment, found: list[Sheet]) -> list[dict[str, Any]]:
    """A row per graded cell, in the order of the notebook: how the class did, and who gave the verdict."""
    rows = []
    for cell in read(assignment.released).cells:
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


def _mistakes(assignment: Assignment, found: list[Sheet]) -> list[tuple[str, str, list[str], str]]:
    """(exercise, mistake, who made it, hint), the commonest first."""
    try:
        said = hints(assignment.released.with_name(CASES_FILE))
    except (FileNotFoundError, ValueError):
        said = {}
    made = [((v.exercise, v.mistake), s.student) for s in found for v in s.verdicts.values() if v.mistake]
    counted = Counter(key for key, _ in made).most_common()
    return [(*key, [who for k, who in made if k == key], said.get(key, "")) for key, _ in counted]


def _histogram(marks: list[float], most: float) -> list[dict[str, Any]]:
    """How many students have marks in each tenth of what can be had."""
    places = [min(int(points / (most or 1) * BINS), BINS - 1) for points in marks]
    counts = [places.count(b) for b in range(BINS)]
    edges = [most * b / BINS for b in range(BINS + 1)]
    return [{"low": edges[b], "high": edges[b + 1], "count": c, "share": c / max(counts)} for b, c in enumerate(counts)]
