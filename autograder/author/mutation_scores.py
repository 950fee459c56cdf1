"""How much of what can go wrong do an exercise's cases notice? Small changes of its solution tell.

    for score in scores(course, "a1_markov_chains"):
        print(*score.lines(), sep="\\n")

The cases should tell each mutant from the solution. One that they do not is a *survivor*: either a case is missing, or
the change makes no difference at all (`exercise.equivalent(…)` says so, with a reason). `into_table` keeps the scores
of all assignments, for people to read.
"""

import copy
import hashlib
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from autograder.author.exercise import VISIBLE_SEED, Exercise, complete, load_exercises
from autograder.author.generate import points_of
from autograder.author.mutant_worker import Worker, first_difference
from autograder.author.mutants import Mutant, mutants
from autograder.author.source import source_of
from autograder.course import Assignment
from course_utils.checking.cases import ExerciseCases
from course_utils.notebook import grade_id, read, sync
from course_utils.paths import CourseError, write

SLOW = 1.0  # seconds of processor time for all cases: a solution that takes longer trains a model
SAMPLE = 10  # mutants of a slow solution that are tried; of the others all are
WANTED = 0.9  # share of the mutants that an exercise's cases should catch


@dataclass
class Score:
    """What an exercise's cases catch.

    Attributes:
        mistakes: name of each known mistake -> whether it is caught.
        made: how many mutants there are; `tried` of them were run, a random sample where running takes long.
        survivors: `line: change` of those that pass all cases and are not marked as equivalent.
        reasons: survivor -> why no case catches it, where the exercise says so (`uncaught`).
        equivalent: mutants that pass and may, each with the reason.
        good_enough: how many pass because they are one more right answer (see `free`).
        stale: marks that fit no survivor (told only where all mutants were tried).
        free: whether any answer is right that is good enough (`accuracy`): then a mutant that is good enough on two
            draws of the cases is one more right answer; one that is so on the first alone survives.
        source: a digest of what was tried: the set-up cell, the solution, its mutants, the exercise in `mistakes.py`.
    """

    exercise: str
    mistakes: dict[str, bool]
    made: int = 0
    tried: int = 0
    survivors: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    equivalent: list[tuple[str, str]] = field(default_factory=list)
    good_enough: int = 0
    stale: list[str] = field(default_factory=list)
    free: bool = False
    source: str = ""

    @property
    def harmless(self) -> int:
        """Mutants that pass and may."""
        return len(self.equivalent) + self.good_enough

    @property
    def counted(self) -> int:
        """Mutants that were tried and should be caught."""
        return self.tried - self.harmless

    @property
    def caught(self) -> int:
        return self.counted - len(self.survivors)

    @property
    def share(self) -> float:
        return self.caught / self.counted if self.counted else 1.0

    @property
    def good(self) -> bool:
        """All known mistakes are caught, and nine in ten mutants."""
        return all(self.mistakes.values()) and self.share >= WANTED

    def lines(self) -> list[str]:
        """For the terminal: one line of numbers, then the mistakes that pass, the survivors, marks to take out."""
        sample = f" (a random {self.tried} of {self.made})" if self.tried < self.made else ""
        equal = f", {self.harmless} {'good enough' if self.free else 'equivalent'}" if self.harmless else ""
        first = f"{self.exercise}: mistakes {sum(self.mistakes.values())}/{len(self.mistakes)}"
        first += f", mutants {self.caught}/{self.counted} = {self.share:.0%}{sample}{equal}"
        passing = [f"  the mistake {name} passes every case" for name, caught in self.mistakes.items() if not caught]
        changes = [
            f"  survives, line {s}" + (f" ({self.reasons[s]})" if s in self.reasons else "") for s in self.survivors
        ]
        stale = [f"  marked, but no survivor: {s}" for s in self.stale]
        return [first, *passing, *changes, *stale]


def scores(
    assignment: Assignment, only: str | None = None, seed: int = VISIBLE_SEED, kept: Mapping[str, Score] = {}
) -> Iterator[Score]:
    """The score of each exercise of an assignment, as soon as it is known.

    Args:
        only: this exercise alone.
        seed: with which the cases are drawn.
        kept: exercise -> its score of an earlier run. It stands if the exercise is what it was then.

    Raises:
        CourseError: a solution does not stand alone, or fails its own cases.
    """
    notebook = read(assignment.solution)
    sync(notebook, points_of(assignment))
    cells = {grade_id(c): c.source for c in notebook.cells}
    setup, folder = cells.get("setup", ""), assignment.solution.parent
    written = (folder / "mistakes.py").read_text(encoding="utf-8")  # once: it may be edited while this runs
    with Worker(setup) as worker:
        for exercise in load_exercises(folder).values():
            if only in (None, exercise.name):
                if exercise.name not in cells:
                    said = f"no cell between BEGIN and END SOLUTION defines {exercise.name}"
                    raise CourseError(f"{assignment.name}: {said}")
                code, before = cells[exercise.name], kept.get(exercise.name)
                source = _digest(setup, code, _mutants(exercise, code), source_of(written, exercise.name))
                if before is None or before.source != source:
                    before = replace(score(worker, exercise, code, seed), source=source)
                yield before


def _digest(setup: str, code: str, made: list[Mutant], written: str) -> str:
    """Of all that a score hangs on, but for the course's own library and the code that judges."""
    parts = [setup, code, str(SAMPLE), *(m.code for m in made), written]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _mutants(exercise: Exercise, code: str) -> list[Mutant]:
    return mutants(code, trained=bool(exercise.promises.gradients))


def score(worker: Worker, exercise: Exercise, code: str, seed: int = VISIBLE_SEED, slow: float = SLOW) -> Score:
    """The score of one exercise.

    Args:
        code: of the solution's cell.
        slow: seconds; where the solution takes longer, a sample of its mutants is tried.
    """
    cases, seconds = _completed(worker, exercise, code, seed)
    caught = {m.name: first_difference(cases, iter(m.answers)) is not None for m in cases.mistakes}
    made = _mutants(exercise, code)
    result = Score(exercise.name, caught, made=len(made), free=cases.compare["kind"] == "accuracy")
    if seconds > slow and not result.free:  # a process imports much with its first answers: those that follow count
        seconds = worker.answers(code)[1]
    if seconds > slow and len(made) > SAMPLE:
        made = random.Random(0).sample(made, SAMPLE)
    result.tried = len(made)
    passing = _passing(worker, cases, sorted(made, key=lambda m: m.line), seconds)
    twice = []
    if result.free and passing:
        again = copy.copy(exercise)
        again.mistakes = {}  # some of them train a model, and it is not about them now
        cases, seconds = _completed(worker, again, code, seed + 1)
        twice = _passing(worker, cases, passing, seconds)
    used = set()
    for mutant in passing:
        if mutant in twice:
            result.good_enough += 1
            continue
        marks = [mark for mark in [*exercise.equivalents, *exercise.known_survivors] if mark in mutant.change]
        used |= set(marks)
        survivor = f"{mutant.line}: {mutant.change}"
        if not marks:
            result.survivors.append(survivor)
        elif marks[0] in exercise.equivalents:
            result.equivalent.append((mutant.change, exercise.equivalents[marks[0]]))
        else:
            result.survivors.append(survivor)
            result.reasons[survivor] = exercise.known_survivors[marks[0]]
    if result.tried == result.made:
        result.stale = [m for m in [*exercise.equivalents, *exercise.known_survivors] if m not in used]
    return result


def _completed(worker: Worker, exercise: Exercise, code: str, seed: int) -> tuple[ExerciseCases, float]:
    """The cases with the solution's answers, and the processor time that those took."""
    cases = exercise.build(seed)
    worker.take(cases)
    expected, seconds = worker.answers(code)
    mistakes, cases.mistakes = cases.mistakes, []  # one that passes is told, not refused
    try:
        complete(cases, expected)
    except ValueError as error:
        raise CourseError(str(error)) from None
    cases.mistakes = mistakes
    return cases, seconds


def _passing(worker: Worker, cases: ExerciseCases, made: list[Mutant], seconds: float) -> list[Mutant]:
    """Those of the mutants whose answers are all right; each gets five times the solution's time, and a second."""
    worker.take(cases)
    return [m for m in made if not worker.caught(m.code, 1 + 5 * seconds)]


# --- the table --------------------------------------------------------------------------------------------------------

HEAD = """# Mutation scores

How much of what can go wrong do the cases of each exercise notice? Made by
`course release --mutants --table docs/mutation_scores.md` (with an assignment's name: its section alone) from the
scores in `mutation_scores.json`, for the cases that students see; the hidden ones are drawn by the same functions, with
another seed. A run that is stopped goes on where it was: of an exercise that has not changed the score is kept, unless
`--again` is said (after changes of what judges, or of the library).

- *Known mistakes*: the wrong answers that stand with a hint in `solutions/*/mistakes.py`. All of them must be caught.
- *Mutants*: the solution with one small change each (`<` is `<=`, a sum a mean, a 1 a 2, a line is missing;
  `autograder/author/mutants.py` has the list). Where the solution trains a model, a random sample is *tried*.
- *Equivalent*: the change makes no difference to anybody, for the reason given below the table. Where any answer is
  right that is *good enough*, that is a mutant which is good enough on two draws of the cases.
- *Score*: what is caught of the mutants that were tried and are not equivalent. Survivors are listed below the table,
  `[-what stood there-]{+what stands there now+}`, each with the reason why no case catches it.
"""
COLUMNS = ["exercise", "known mistakes", "mutants", "tried", "equivalent", "caught", "score"]


def into_table(path: Path, assignment: Assignment, again: bool = False) -> Iterator[Score]:
    """The scores of an assignment's exercises; each is in the table as soon as it is known.

    Args:
        again: trust no score that is there already.

    Raises:
        CourseError: as `scores` and `write_table`.
    """
    rows = {one.exercise: one for one in _stored(path).get(assignment.name, [])}
    found = []
    for one in scores(assignment, kept={} if again else rows):
        found.append(one)
        rows[one.exercise] = one
        write_table(path, assignment.name, list(rows.values()))
        yield one
    write_table(path, assignment.name, found)  # in their order, and without exercises that are no more


def write_table(path: Path, name: str, found: list[Score]) -> None:
    """Keep an assignment's scores (JSON, beside the table), and write the table of all that are kept (Markdown).

    Raises:
        CourseError: the file, or the one beside it, holds something else.
    """
    everything = dict(sorted((_stored(path) | {name: found}).items()))
    lines = {other: [asdict(one) for one in scored] for other, scored in everything.items()}
    write(_beside(path), json.dumps(lines, indent=1, ensure_ascii=False) + "\n")
    write(path, table(everything))


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")


def _stored(path: Path) -> dict[str, list[Score]]:
    """The scores of each assignment that are kept beside a table."""
    kept = _beside(path)
    if path.exists() and not path.read_text(encoding="utf-8").startswith(HEAD.split("\n")[0]):
        raise CourseError(f"{path} is no table of mutation scores: give the name of a new file")
    try:
        stored = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        return {name: [Score(**one) for one in scored] for name, scored in stored.items()}
    except (ValueError, TypeError, AttributeError):
        raise CourseError(f"{kept} holds no mutation scores: move it away, or give another name") from None


def table(everything: dict[str, list[Score]]) -> str:
    """The scores of all assignments, in Markdown."""
    rows = [one for scored in everything.values() for one in scored]
    known = [caught for one in rows for caught in one.mistakes.values()]
    caught, counted = sum(one.caught for one in rows), sum(one.counted for one in rows)
    total = (
        f"{len(rows)} exercises: {sum(known)} of {len(known)} known mistakes are caught, and {caught} of {counted} "
        f"mutants ({100 * caught / max(1, counted):.1f} %); the lowest score is {min(map(_percent, rows))} %."
    )
    sections = [_section(name, scored) for name, scored in everything.items()]
    return HEAD + "\n" + "\n\n".join([total, *sections]) + "\n"


def _percent(score: Score) -> int:
    return math.floor(100 * score.share)


def _section(name: str, found: list[Score]) -> str:
    rows, notes = [COLUMNS, ["---"] * len(COLUMNS)], []
    for score in found:
        known = f"{sum(score.mistakes.values())}/{len(score.mistakes)}"
        numbers = [score.made, score.tried, score.harmless, score.caught, f"{_percent(score)} %"]
        rows.append([f"`{score.exercise}`", known, *map(str, numbers)])
        notes += _notes(score)
    listed = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([f"## {name}", listed, *(["\n".join(notes)] if notes else [])])


def _notes(score: Score) -> list[str]:
    """What passes all cases, and why."""
    who = f"- `{score.exercise}`"
    notes = [
        f"{who}: the mistake `{mistake}` passes every case." for mistake, caught in score.mistakes.items() if not caught
    ]
    for change in score.survivors:
        notes.append(f"{who} survivor, line `{change}`: {score.reasons.get(change, 'a case is missing')}.")
    for why in dict.fromkeys(why for _, why in score.equivalent):
        changes = ", ".join(f"`{change}`" for change, other in score.equivalent if other == why)
        notes.append(f"{who} equivalent, {changes}: {why}.")
    if score.good_enough:
        notes.append(
            f"{who} equivalent, {score.good_enough} mutants: good enough on two draws of the cases, and so right."
        )
    return notes
