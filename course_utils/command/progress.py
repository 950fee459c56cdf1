"""Where a student stands, read from the notebooks as they were last saved. Nothing is run, nothing is sent anywhere.

    progress.show()

For a lecture it counts the cells that were run; for an assignment it says which exercises are written, and what the
last `check(…)` of each found. A notebook that cannot be read becomes a row that says so.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_utils import check
from course_utils.notebook import UNWRITTEN
from course_utils.tables import Link, Table

HOME = "lectures/00_start_here.ipynb"
AFTER = {  # after which lecture an assignment comes; those not named here come last
    "a1_markov_chains": "01",
    "a2_rnn": "02",
    "a3_gpt": "04",
    "a9_memorization": "05",
    "a4_bert": "06",
    "a5_autoencoders": "07",
    "a6_pretext": "08",
    "a7_contrastive": "09",
    "a8_clip": "11",
}
DONE = 0.8  # share of a lecture's cells: a few are always left out
MAX_BYTES = 100 * 2**20
UNANSWERED = "Your answer here."  # as UNWRITTEN, where the answer is in words


@dataclass
class Exercise:
    """One graded cell. `held`, `cases` and `earned` are what its last check found, None if there was none."""

    name: str
    points: float
    written: bool
    by_hand: bool = False
    held: int | None = None
    cases: int | None = None
    earned: float | None = None

    @property
    def right(self) -> bool:
        return self.held is not None and self.held == self.cases


@dataclass
class Work:
    """A lecture or an assignment. `path` is relative to the course's folder; `trouble` says why it cannot be read."""

    title: str
    path: str
    cells: int = 0
    run: int = 0
    exercises: list[Exercise] = field(default_factory=list)
    trouble: str = ""

    @property
    def is_assignment(self) -> bool:
        return self.path.startswith("assignments/")

    @property
    def begun(self) -> bool:
        return any(e.written for e in self.exercises) if self.is_assignment else self.run > 0

    @property
    def done(self) -> bool:
        if self.is_assignment:
            return bool(self.exercises) and all(e.written if e.by_hand else e.right for e in self.exercises)
        return self.cells > 0 and self.run >= DONE * self.cells

    def stands(self) -> str:
        """Return where the student stands in it, in a few words."""
        if self.trouble:
            return self.trouble
        if not self.is_assignment:
            return f"{self.run} of {self.cells} cells run" if self.run else "not begun"
        if not self.begun:
            return "not begun"
        coded, words = [e for e in self.exercises if not e.by_hand], [e for e in self.exercises if e.by_hand]
        checked = [e for e in coded if e.held is not None]
        parts = [f"{sum(e.written for e in coded)} of {len(coded)} exercises written"]
        if checked:
            earned, most = sum(e.earned for e in checked), sum(e.points for e in coded)
            parts.append(f"{sum(e.right for e in coded)} right, {earned:.3g} of {most:.3g} points by their last check")
        else:
            parts.append("none checked")
        if words:
            parts.append("answered in words" if all(e.written for e in words) else "no answer in words yet")
        return "; ".join(parts)


def show(root: Path | None = None) -> Table:
    """Return a table of all lectures and assignments, with links for a notebook in `lectures/`, and what comes next.

    Args:
        root: the course's folder; None takes the one around the working folder.
    """
    work = read(root or _around(Path.cwd()))
    rows = [[Link(w.title, f"../{w.path}"), w.stands()] for w in work]
    return Table("Where you stand, by the notebooks as they were last saved", ["what", "so far"], rows, _next(work))


def read(root: Path) -> list[Work]:
    """Return all lectures and assignments below a folder, in the order of the course. No content makes it raise."""
    lectures = sorted((root / "lectures").glob("[0-9][0-9]_*.ipynb"))
    released = {p.stem: p for p in sorted((root / "assignments").glob("*/*.ipynb")) if p.stem == p.parent.name}
    places: list[Path] = []
    for lecture in lectures:
        if lecture.name != Path(HOME).name:
            places.append(lecture)
        places += [path for name, path in released.items() if AFTER.get(name) == lecture.name[:2]]
    places += [path for path in released.values() if path not in places]
    return [_read(root, path) for path in places]


def _around(start: Path) -> Path:
    """The course's folder around another one, or that one itself if there is none."""
    return next((p for p in (start, *start.parents) if (p / HOME).exists() or (p / "assignments").is_dir()), start)


def _read(root: Path, path: Path) -> Work:
    work = Work(path.stem, path.relative_to(root).as_posix())
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("too large")
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        _fill(work, [{**cell, "source": _text(cell["source"])} for cell in cells])
    except Exception as error:  # whatever an editor, a merge or a full disk has left there
        work.trouble = f"cannot be read ({type(error).__name__}): open it, or copy it again from the course"
        work.exercises = []
    return work


def _fill(work: Work, cells: list[dict[str, Any]]) -> None:
    heading = re.search(r"^# (.+)", "\n".join(c["source"] for c in cells if c["cell_type"] == "markdown"), re.MULTILINE)
    work.title = heading[1].strip() if heading else work.title
    code = [c for c in cells if c["cell_type"] == "code" and c["source"].strip()]
    work.cells, work.run = len(code), sum(c.get("execution_count") is not None for c in code)
    work.exercises = exercises(cells)


def exercises(cells: list[dict[str, Any]]) -> list[Exercise]:
    """Return the graded cells of an assignment's notebook, without its `assert` cells: only the grader runs those."""
    found: list[Exercise] = []
    marks = [(c, c["metadata"].get("nbgrader")) for c in cells]
    marked = {str(m["grade_id"]): (c, m) for c, m in marks if isinstance(m, dict) and "grade_id" in m}
    for name, (cell, mark) in marked.items():
        if not mark.get("grade"):
            continue
        points = mark.get("points")
        points = float(points) if isinstance(points, int | float) else 0.0
        if mark.get("solution"):  # marked by a person
            written = cell["source"].strip() not in ("", UNANSWERED) and not UNWRITTEN.search(cell["source"])
            found.append(Exercise(name, points, written, by_hand=True))
        elif name.startswith("check_") and (name := name.removeprefix("check_")) in marked:
            answer = marked[name][0]["source"]
            exercise = Exercise(name, points, bool(answer.strip()) and not UNWRITTEN.search(answer))
            if exercise.written and (said := _last_verdict(cell, name)):
                exercise.held, exercise.cases, exercise.earned = said["held"], said["cases"], said["points"]
            found.append(exercise)
    return found


def _last_verdict(cell: dict[str, Any], name: str) -> dict[str, Any] | None:
    """What the check of an exercise found when its cell was last run; None if it was not run, or found nothing."""
    for output in cell.get("outputs", []):
        match output.get("data"):
            case {check.VERDICT: {"exercise": str(exercise), "cases": int(cases)} as found}:
                if exercise == name and cases > 0 and {"held", "points"} <= found.keys():
                    return found
    return None


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _next(work: list[Work]) -> list[str | Link]:
    """A sentence: what was begun and is not done, or else the first after the last that is done."""
    if not work:
        return ["There are no lectures or assignments around this notebook: open it in the course's folder."]
    last = max((i for i, w in enumerate(work) if w.done), default=-1)
    begun = [w for w in work if w.begun and not w.done]
    after = [w for w in work[last + 1 :] + work[: last + 1] if not w.done and not w.trouble]
    without = [] if any(w.is_assignment for w in work) else [" (There is no folder assignments/ here.)"]
    if not begun and not after:
        return ["All done.", *without]
    where = (begun or after)[0]
    return ["Go on with: " if begun else "Next: ", Link(where.title, f"../{where.path}"), *without]
