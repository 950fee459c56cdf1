"""How much of what can go wrong do an exercise's cases notice? Small automatic changes of the solution tell.

    for score in scores(course, "a1_markov_chains"):
        print(*score.lines(), sep="\\n")

A *mutant* is the solution's cell with one small change: `<` is `<=`, a sum a mean, a 1 a 2, a line is missing. The
cases should tell each of them from the solution. One that they do not is a *survivor*: either a case is missing, or the
change makes no difference at all (`exercise.equivalent(…)` says so, with a reason). Mutants are the course's own code,
so they run outside the sandbox, but in a process of their own, with limits on time and memory. `write_table` keeps the
scores of all assignments in a file for people to read.

Source: DeMillo, Lipton, Sayward (1978), Hints on test data selection; the operators are chosen for code on tensors.
"""

import ast
import copy
import ctypes
import math
import multiprocessing
import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.author.exercise import VISIBLE_SEED, Exercise, complete, load_exercises
from autograder.author.generate import points_of
from autograder.course import Course
from course_utils.check import JUDGE_VARIABLE, ExerciseCases, answer
from course_utils.compare import difference
from course_utils.notebook import grade_id, read, sync
from course_utils.paths import CourseError
from course_utils.plain import Answer, cook, pack, unpack

SLOW = 1.0  # seconds of processor time for all cases: a solution that takes longer trains a model
SAMPLE = 10  # mutants of a slow solution that are tried; of the others all are
MEMORY = 2 * 2**30  # bytes that a mutant may take beside what its process has anyway
WANTED = 0.9  # share of the mutants that an exercise's cases should catch
GOOD_ENOUGH = "good enough on two draws of the cases, and so right"


# --- operators --------------------------------------------------------------------------------------------------------

COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mod,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
PAIRS = """min max, amin amax, argmin argmax, minimum maximum, cummin cummax, sum mean, cumsum cumprod, any all,
exp log, log2 log, softmax log_softmax, sin cos, acos asin, tanh sigmoid, gelu relu, zeros ones, zeros_like ones_like,
tril triu, square sqrt, std var, cat stack"""
RENAMED = {a: b for pair in PAIRS.split(",") for a, b in (pair.split(), pair.split()[::-1])}
RENAMED |= {"log": "exp", "logsumexp": "sum", "amax": "amin", "zeros": "ones", "abs": "neg", "norm": "sum"}
MODULES = {"torch", "nn", "F", "math", "np", "numpy", "re", "random", "self"}  # x.f(y) is then no method of x
CONVERSIONS = {"float", "int", "double", "long", "to", "item", "tolist", "contiguous", "clone"}  # compared by value
NO_MATTER = {"device"}  # arguments without which nothing changes on the machine at hand


@dataclass(frozen=True)
class Mutant:
    """One change: the line of the cell that it is in, what is changed there (`a [-old-]{+new+} b`), the whole cell."""

    line: int
    change: str
    code: str


def mutants(code: str) -> list[Mutant]:
    """All mutants of a solution's cell, each with one change between BEGIN SOLUTION and END SOLUTION.

    Raises:
        SyntaxError: the cell is no Python.
    """
    tree = ast.parse(code)
    region = _region(code)
    found = {ast.unparse(tree): None}
    for statement, node, container, key in list(_slots(tree, None)):
        if statement is None or statement.lineno not in region:
            continue
        before = _line(statement)
        for new in _variants(node):
            _put(container, key, new)
            changed = ast.unparse(ast.fix_missing_locations(tree))
            change = _change(before, _line(new if node is statement else statement))
            found.setdefault(changed, Mutant(statement.lineno, change, changed))
            _put(container, key, node)
    return [m for m in found.values() if m]


def _region(code: str) -> set[int]:
    """The numbers of the lines between the marks."""
    inside, lines = False, set()
    for number, line in enumerate(code.splitlines(), start=1):
        inside = (inside or "### BEGIN SOLUTION" in line) and "### END SOLUTION" not in line
        lines |= {number} if inside else set()
    return lines


def _slots(node: ast.AST, statement: ast.stmt | None) -> Iterator[tuple[ast.stmt | None, ast.AST, Any, Any]]:
    """Each node below, with the statement it is part of and the place where it hangs (an object or list, and a key)."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        places = enumerate(value) if isinstance(value, list) else [(name, value)]
        for key, child in places:
            if isinstance(child, ast.AST):
                own = child if isinstance(child, ast.stmt) else statement
                yield own, child, value if isinstance(value, list) else node, key
                yield from _slots(child, own)


def _put(container: Any, key: Any, node: ast.AST) -> None:
    if isinstance(container, list):
        container[key] = node
    else:
        setattr(container, key, node)


def _but(node: ast.AST, **fields: Any) -> ast.AST:
    """The node with other fields."""
    return type(node)(**{name: getattr(node, name, None) for name in node._fields} | fields)


def _variants(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's place."""
    match node:
        case ast.Compare(ops=[op], left=left, comparators=[right]):
            yield from (_but(node, ops=[new()]) for new in COMPARISONS[type(op)])
        case ast.BinOp(left=left, op=op, right=right):
            if type(op) in ARITHMETIC:
                yield _but(node, op=ARITHMETIC[type(op)]())
                yield left
            if isinstance(op, (ast.Add, ast.Mult, ast.MatMult, ast.BitAnd)):
                yield right
        case ast.BoolOp(op=op, values=values):
            yield _but(node, op=ast.And() if isinstance(op, ast.Or) else ast.Or())
            yield from values
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield from (ast.Constant(v) for v in (value + 1, value - 1, 0))
        case ast.Constant(value=float(value)):
            yield from (ast.Constant(v) for v in (value + 1, value - 1, 0.0))
        case ast.Attribute(attr="T" | "mT", value=value):
            yield value
        case ast.Name(id=name) if name in RENAMED and isinstance(node.ctx, ast.Load):
            yield ast.Name(RENAMED[name], ast.Load())
        case ast.Call():
            yield from _calls(node)
        case ast.Slice(lower=lower, upper=upper):
            for side, bound in (("lower", lower), ("upper", upper)):
                if bound is not None:
                    yield _but(node, **{side: None})
                    yield from (_but(node, **{side: b}) for b in _off_by_one(bound))
        case ast.IfExp(body=body, orelse=orelse):
            yield from (body, orelse)
        case ast.If(test=test) | ast.While(test=test):
            yield _but(node, test=ast.UnaryOp(ast.Not(), test))
            yield _but(node, test=ast.Constant(True))
            yield ast.Pass()
        case ast.comprehension(ifs=[first, *others]):
            yield _but(node, ifs=others)
            yield _but(node, ifs=[ast.UnaryOp(ast.Not(), first), *others])
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield from (ast.Break(), ast.Pass())
        case ast.AugAssign(op=op):
            if type(op) in ARITHMETIC:
                yield _but(node, op=ARITHMETIC[type(op)]())
            yield ast.Assign([node.target], node.value, lineno=node.lineno)
            yield ast.Pass()
        case ast.Expr(value=ast.Constant()):  # a docstring
            return
        case ast.Assign() | ast.AnnAssign() | ast.Expr() | ast.For() | ast.With():
            yield ast.Pass()


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    """The same call with less, more or other; or only what it is done to."""
    function, arguments = node.func, node.args
    starred = any(isinstance(a, ast.Starred) for a in arguments)
    if isinstance(function, ast.Attribute):
        if function.attr in RENAMED:
            yield _but(node, func=_but(function, attr=RENAMED[function.attr]))
        if function.attr not in CONVERSIONS:
            own = function.value
            while isinstance(own, (ast.Attribute, ast.Subscript)):
                own = own.value
            if not (isinstance(own, ast.Name) and own.id in MODULES):
                yield function.value
            elif arguments and not starred:
                yield arguments[0]
    elif isinstance(function, ast.Name) and function.id in ("reversed", "sorted", "abs", "set") and arguments:
        yield arguments[0]
    elif isinstance(function, ast.Name) and function.id == "range":
        yield from (_but(node, args=[*arguments[:-1], a]) for a in _off_by_one(arguments[-1]))
    for i, keyword in enumerate(node.keywords):
        if keyword.arg and keyword.arg not in NO_MATTER:
            yield _but(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])
    if arguments and not starred and not (isinstance(function, ast.Name) and function.id in CONVERSIONS):
        yield _but(node, args=arguments[:-1])
        if len(arguments) >= 2:
            yield _but(node, args=[*arguments[:-2], arguments[-1], arguments[-2]])


def _off_by_one(bound: ast.expr) -> Iterator[ast.expr]:
    if not isinstance(bound, (ast.Constant, ast.UnaryOp)):  # of those the constant itself is changed
        yield from (ast.BinOp(bound, op, ast.Constant(1)) for op in (ast.Add(), ast.Sub()))


def _line(statement: ast.AST) -> str:
    """A statement on one line; of one that holds others, its head."""
    lines = ast.unparse(ast.fix_missing_locations(statement)).splitlines()
    return lines[0] if hasattr(statement, "body") else " ".join(line.strip() for line in lines)


def _change(before: str, after: str) -> str:
    """One line for both: what they share, with [-what was there-] and {+what is there now+}."""
    old, new = (re.findall(r"\w+|\s+|.", line) for line in (before, after))
    head = next((i for i, (a, b) in enumerate(zip(old, new)) if a != b), min(len(old), len(new)))
    most = min(len(old), len(new)) - head
    pairs = zip(old[::-1], new[::-1])
    tail = next((i for i, (a, b) in enumerate(pairs) if a != b or i == most), most)
    left, gone, come = ("".join(p) for p in (old[:head], old[head : len(old) - tail], new[head : len(new) - tail]))
    return left + (f"[-{gone}-]" if gone else "") + (f"{{+{come}+}}" if come else "") + "".join(old[len(old) - tail :])


# --- running ----------------------------------------------------------------------------------------------------------


class Worker:
    """A process that runs an exercise's mutants, one after the other; a new one takes its place when it dies.

    Use as a context manager.

    Args:
        setup: code of the cell that brings the names that solutions use.
        wall: seconds on the clock after which a mutant that only waits is given up; one that works is not.
    """

    def __init__(self, setup: str, wall: float = 60.0):
        self.setup, self.wall = setup, wall
        self._process: multiprocessing.Process | None = None
        self._cases: bytes | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def take(self, exercise: ExerciseCases) -> None:
        """From now on it is about this exercise; where `expected` is empty only `answers` may be asked for."""
        self._cases = pack(("cases", vars(exercise) | {"mistakes": []}))
        if self._process is None:
            self._start()
        elif self._ask(self._cases, wall=600) is None:
            raise CourseError(f"{exercise.name}: the process for its mutants cannot take its cases")

    def answers(self, code: str) -> tuple[list[Answer], float]:
        """What the cell answers to each case, and the processor time that it took.

        Raises:
            CourseError: the cell does not run by itself.
        """
        reply = self._ask(pack(("answers", code, 600.0)), wall=1200)
        if reply is None or "error" in reply:
            why = reply["error"] if reply else "its process died"
            raise CourseError(f"the solution's cell does not run after the set-up cell alone ({why})")
        return reply["answers"], reply["seconds"]

    def caught(self, code: str, seconds: float) -> str | None:
        """Where a mutant's cell differs from the solution, in words; None where all its answers are the same.

        Args:
            seconds: of processor time that it may take.
        """
        if self._process is None:
            self._start()
        reply = self._ask(pack(("differs", code, seconds)), self.wall)
        return "its process died" if reply is None else reply["differs"]

    def _ask(self, question: bytes, wall: float) -> dict | None:
        try:
            self._connection.send_bytes(question)
            then, now = -1.0, self._used()
            while now > then + 0.02:  # it works, however slowly on a busy machine: its own limit ends it
                if self._connection.poll(wall):
                    return unpack(self._connection.recv_bytes())
                then, now = now, self._used()
        except (EOFError, OSError):  # it ended itself
            pass
        self._end()
        return None

    def _used(self) -> float:
        """Seconds of processor time that the process has taken so far."""
        import psutil

        try:
            return sum(psutil.Process(self._process.pid).cpu_times()[:2])
        except psutil.Error:
            return 0.0

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, self.setup), daemon=True)
        self._process.start()
        other.close()
        if self._ask(self._cases, wall=600) is None:
            raise CourseError("the process for mutants does not start: does the set-up cell run by itself?")

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None


class _TooLong(BaseException):
    """Raised into a mutant that has used its time; no `except Exception` of its own stops it."""


def _too_long(*_: object) -> None:
    raise _TooLong


def _work(connection: Any, setup: str) -> None:
    """The worker's side: takes questions until there are no more."""
    _end_with_parent()
    sys.stdout = sys.stderr = open(os.devnull, "w")
    os.environ[JUDGE_VARIABLE] = "nobody"  # the set-up cell's Checker then looks for no file of cases
    import torch

    torch.set_num_threads(1)
    names: dict[str, Any] = {"__name__": "notebook"}
    exec(setup, names)
    timed = hasattr(signal, "setitimer")  # processor time: other work on the machine makes no difference
    if timed:
        signal.signal(signal.SIGPROF, _too_long)
    _limit_memory()
    exercise = None
    while True:
        try:
            match unpack(connection.recv_bytes()):
                case "cases", cases:
                    exercise = ExerciseCases(**cases)
                    exercise.inputs = cook(exercise.inputs)
                    connection.send_bytes(pack({}))
                case question, code, seconds:
                    before = time.process_time()
                    try:
                        if timed:
                            signal.setitimer(signal.ITIMER_PROF, seconds)
                        reply = _reply(question, exercise, code, dict(names))
                        if timed:
                            signal.setitimer(signal.ITIMER_PROF, 0)
                    except _TooLong:
                        reply = {"differs": "it takes too long", "error": "it takes too long"}
                    connection.send_bytes(pack(reply | {"seconds": time.process_time() - before}))
        except EOFError:
            return


def _reply(question: str, exercise: ExerciseCases, code: str, names: dict[str, Any]) -> dict[str, Any]:
    try:
        exec(compile(code, "solution", "exec"), names)
        function = names[exercise.name]
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return {"differs": text, "error": text}
    replies = _replies(exercise, function)
    return {"answers": list(replies)} if question == "answers" else {"differs": _first(exercise, replies)}


def _replies(exercise: ExerciseCases, function: Any) -> Iterator[Answer]:
    import torch

    for inputs in exercise.inputs:
        torch.manual_seed(0)  # for solutions that make layers
        yield answer(function, inputs, exercise.banned)


def _first(exercise: ExerciseCases, replies: Iterator[Answer]) -> str | None:
    """The first case that does not hold, and why; those after it are not run."""
    for number, (reply, expected, truth) in enumerate(zip(replies, exercise.expected, exercise.truths), start=1):
        if wrong := difference(exercise.compare, reply, expected, truth, show=True):
            return f"case {number}: {wrong}"
    return None


def _end_with_parent() -> None:
    """A mutant that never ends does not outlive a command that was killed (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _limit_memory() -> None:
    try:
        import resource

        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):  # not Linux: the time limit ends it, too
        return
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, resource.RLIM_INFINITY))


# --- the score --------------------------------------------------------------------------------------------------------


@dataclass
class Score:
    """What an exercise's cases catch.

    Attributes:
        mistakes: name of each known mistake -> whether it is caught.
        made: how many mutants there are; `tried` of them were run, a random sample where running takes long.
        survivors: `line: change` of those that pass all cases and are not marked as equivalent.
        reasons: survivor -> why no case catches it, where the exercise says so (`uncaught`).
        equivalent: mutants that pass and may, each with the reason.
        stale: marks that fit no survivor (told only where all mutants were tried).
        free: whether any answer is right that is good enough (`accuracy`): then a mutant that is good enough on two
            draws of the cases is one more right answer, and equivalent; one that is so on the first alone survives.
    """

    exercise: str
    mistakes: dict[str, bool]
    made: int = 0
    tried: int = 0
    survivors: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    equivalent: list[tuple[str, str]] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    free: bool = False

    @property
    def counted(self) -> int:
        """Mutants that were tried and are not equivalent."""
        return self.tried - len(self.equivalent)

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
        equal = f", {len(self.equivalent)} {'good enough' if self.free else 'equivalent'}" if self.equivalent else ""
        first = f"{self.exercise}: mistakes {sum(self.mistakes.values())}/{len(self.mistakes)}"
        first += f", mutants {self.caught}/{self.counted} = {self.share:.0%}{sample}{equal}"
        passing = [f"  the mistake {name} passes every case" for name, caught in self.mistakes.items() if not caught]
        changes = [
            f"  survives, line {s}" + (f" ({self.reasons[s]})" if s in self.reasons else "") for s in self.survivors
        ]
        stale = [f"  marked, but no survivor: {s}" for s in self.stale]
        return [first, *passing, *changes, *stale]


def scores(course: Course, name: str, only: str | None = None, seed: int = VISIBLE_SEED) -> Iterator[Score]:
    """The score of each exercise of an assignment, as soon as it is known.

    Args:
        only: this exercise alone.
        seed: with which the cases are drawn.

    Raises:
        CourseError: a solution does not stand alone, or fails its own cases.
    """
    notebook = read(course.solution(name))
    sync(notebook, points_of(course, name))
    cells = {grade_id(c): c.source for c in notebook.cells}
    with Worker(cells.get("setup", "")) as worker:
        for exercise in load_exercises(course.solution(name).parent).values():
            if only in (None, exercise.name):
                if exercise.name not in cells:
                    raise CourseError(f"{name}: no cell between BEGIN and END SOLUTION defines {exercise.name}")
                yield score(worker, exercise, cells[exercise.name], seed)


def score(worker: Worker, exercise: Exercise, code: str, seed: int = VISIBLE_SEED, slow: float = SLOW) -> Score:
    """The score of one exercise.

    Args:
        code: of the solution's cell.
        slow: seconds; where the solution takes longer, a sample of its mutants is tried.
    """
    cases, seconds = _completed(worker, exercise, code, seed)
    caught = {m.name: _first(cases, iter(m.answers)) is not None for m in cases.mistakes}
    made = mutants(code)
    result = Score(exercise.name, caught, made=len(made), free=cases.compare["kind"] == "accuracy")
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
            result.equivalent.append((mutant.change, GOOD_ENOUGH))
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
`course release --mutants --table docs/mutation_scores.md` (with an assignment's name: its section alone), from the
cases that students see; the hidden ones are drawn by the same functions, with another seed.

- *Known mistakes*: the wrong answers that stand with a hint in `solutions/*/mistakes.py`. All of them must be caught.
- *Mutants*: the solution with one small change each (`<` is `<=`, a sum a mean, a 1 a 2, a line is missing;
  `autograder/author/mutants.py` has the list). Where the solution trains a model, a random sample is *tried*.
- *Equivalent*: the change makes no difference to anybody, for the reason given below the table. Where any answer is
  right that is *good enough*, that is a mutant which is good enough on two draws of the cases.
- *Score*: what is caught of the mutants that were tried and are not equivalent. Survivors are listed below the table,
  `[-what stood there-]{+what stands there now+}`, each with the reason why no case catches it.
"""
COLUMNS = ["exercise", "known mistakes", "mutants", "tried", "equivalent", "caught", "score"]
ROW = re.compile(r"^\| `\w+` \| (\d+)/(\d+) \| \d+ \| (\d+) \| (\d+) \| (\d+) \| (\d+) % \|$", re.MULTILINE)


def write_table(path: Path, name: str, found: list[Score]) -> None:
    """Put an assignment's scores into a Markdown file, in the place of those that it has; the others stay.

    Raises:
        CourseError: the file holds something else.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else HEAD
    if not text.startswith(HEAD.split("\n")[0]):
        raise CourseError(f"{path} is no table of mutation scores: give the name of a new file")
    sections = {part.split("\n")[0]: part for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]}
    sections[name] = _section(name, found)
    body = "".join(f"\n## {sections[n].strip()}\n" for n in sorted(sections))
    rows = [[int(x) for x in row] for row in ROW.findall(body)]
    caught, known, tried, equivalent, right, _ = map(sum, zip(*rows))
    total = (
        f"\n{len(rows)} exercises: {caught} of {known} known mistakes are caught, and {right} of {tried - equivalent}"
    )
    total += f" mutants ({right / max(1, tried - equivalent):.1%}); the lowest score is {min(r[-1] for r in rows)} %.\n"
    path.write_text(HEAD + total.replace("%)", " %)") + body, encoding="utf-8")


def _section(name: str, found: list[Score]) -> str:
    rows = [COLUMNS, ["---"] * len(COLUMNS)]
    notes = []
    for s in found:
        known = f"{sum(s.mistakes.values())}/{len(s.mistakes)}"
        numbers = [s.made, s.tried, len(s.equivalent), s.caught, f"{math.floor(100 * s.share)} %"]
        rows.append([f"`{s.exercise}`", known, *map(str, numbers)])
        notes += [
            f"- `{s.exercise}`: the mistake `{m}` passes every case." for m, caught in s.mistakes.items() if not caught
        ]
        for change in s.survivors:
            notes.append(f"- `{s.exercise}` survivor, line `{change}`: {s.reasons.get(change, 'a case is missing')}.")
        for why in dict.fromkeys(why for _, why in s.equivalent):
            changes = [f"`{change}`" for change, w in s.equivalent if w == why]
            listed = f"{len(changes)} mutants" if why == GOOD_ENOUGH else ", ".join(changes)
            notes.append(f"- `{s.exercise}` equivalent, {listed}: {why}.")
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([name, table, *(["\n".join(notes)] if notes else [])])
