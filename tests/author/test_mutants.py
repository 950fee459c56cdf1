"""Mutants of a solution: which changes are made, which of them the cases catch, and what is said of the others."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest
import torch
from effort import some
from small_course import NAME, SOLUTION, small_course
from typer.testing import CliRunner

from autograder.author.exercise import Case, Exercise, accuracy, close, complete
from autograder.author.mutant_worker import Worker
from autograder.author.mutants import mutants
from autograder.author.mutation_scores import SAMPLE, Score, into_table, score, scores, write_table
from autograder.cli import app
from autograder.course import Assignment, Course
from course_utils.paths import CourseError

SETUP = "import torch\nfrom course_utils.check import Checker\ncheck = Checker('a0')"


def cell(*lines: str, name: str = "f(x, n)") -> str:
    return "\n".join(
        [f"def {name}:", "    ### BEGIN SOLUTION", *(f"    {line}" for line in lines), "    ### END SOLUTION"]
    )


def changes(*lines: str) -> set[str]:
    return {m.change for m in mutants(cell(*lines))}


def halving(*cases) -> Exercise:
    """How often a number can be halved: `while x > 1`."""
    exercise = Exercise("halvings", points=1, compare=close())
    exercise.cases(lambda g: iter(cases))
    return exercise


HALVINGS = cell("n = 0", "while x > 1:", "    x, n = x // 2, n + 1", "return n", name="halvings(x)")


# --- which mutants there are ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("return x < n", "return x <{+=+} n"),
        ("return x + n", "return x [-+-]{+-+} n"),
        ("return x + n", "return x[- + n-]"),
        ("return x + 1", "return x + [-1-]{+2+}"),
        ("return x + 1", "return x + [-1-]{+0+}"),
        ("return x.sum(1)", "return x.sum([-1-]{+0+})"),
        ("return x.sum(-1)", "return x.sum([---]1)"),
        ("return x.sum(1, keepdim=True)", "return x.sum(1[-, keepdim=True-])"),
        ("return x.sum(1, keepdim=True)", "return x.sum(1, keepdim=[-True-]{+False+})"),
        ("return x.sum(1)", "return x.[-sum-]{+mean+}(1)"),
        ("return torch.exp(x)", "return [-torch.exp(x)-]{+x+}"),
        ("return x.unsqueeze(1)", "return x[-.unsqueeze(1)-]"),
        ("return x.argmax()", "return x.[-argmax-]{+argmin+}()"),
        ("return x.exp()", "return x.[-exp-]{+log+}()"),
        ("return x.T", "return x[-.T-]"),
        ("return x[1:n]", "return x[[-1-]:n]"),
        ("return x[1:n]", "return x[1:n{+ + 1+}]"),
        ("return range(n)", "return range(n{+ - 1+})"),
        ("return not n", "return [-not -]n"),
        ("return x if n else 0", "return x[- if n else 0-]"),
        ("return n and x", "return n [-and-]{+or+} x"),
        ("return [y for y in x if y]", "return [y for y in x if {+not +}y]"),
        ("return torch.where(n, x, 0)", "return torch.where(n, [-x, 0-]{+0, x+})"),
    ],
)
def test_each_operator(line, change):
    assert change in changes(line)


def test_statements_are_left_out():
    found = changes("y = x", "y += n", "if n:", "    y = 0", "for a in x:", "    break", "return y")
    assert {"[-y = x-]{+pass+}", "[-y += n-]{+pass+}", "y [-+-]= n", "[-if n:-]{+pass+}", "if {+not +}n:"} <= found
    assert {"[-for a in x:-]{+pass+}", "[-break-]{+continue+}"} <= found


def test_only_what_stands_between_the_marks_is_changed():
    code = 'class Net:\n    """1 + 1"""\n    size: int = 1\n    def f(self, k=3):\n        a = k + 1\n'
    code += (
        "        ### BEGIN SOLUTION\n        return a * 5\n        ### END SOLUTION\n    def g(self):\n        return 7"
    )
    found = mutants(code)
    assert {m.line for m in found} == {7}
    for mutant in found:
        assert "a = k + 1" in mutant.code and "return 7" in mutant.code and "k=3" in mutant.code
    assert len({m.code for m in found}) == len(found), "none twice"


def test_the_cell_itself_is_none_of_its_mutants():
    import ast

    assert ast.unparse(ast.parse(HALVINGS)) not in {m.code for m in mutants(HALVINGS)}


# --- what becomes of them ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worker():
    with Worker(SETUP, wall=5) as worker:
        yield worker


@pytest.fixture
def halvings(worker):
    """The worker at an exercise with three cases."""
    cases = halving((5,), (9,), (1,)).build(0)
    worker.take(cases)
    answers, seconds = worker.answers(HALVINGS)
    assert [a["value"] for a in answers] == [2, 3, 0, 0] and seconds < 1  # the last case is asked once more
    worker.take(complete(cases, answers))
    return worker


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("x // 2", "x // 4", "case 1: value: expected 2, got 1"),
        ("n = 0", "pass", "case 1: raised UnboundLocalError"),
        ("return n", "return", "case 1: the function returned None"),
        ("def", "xyz\ndef", "NameError: name 'xyz' is not defined"),
        ("x > 1", "True", "it takes too long"),
        ("n = 0", "import time; time.sleep(600)", "its process died"),
        ("n = 0", "n = bytes(10**12)", "case 1: raised MemoryError"),
        ("n = 0", "import os; os._exit(0)", "its process died"),
    ],
)
def test_caught(halvings, old, new, said):
    if "bytes" in new and not os.path.exists("/proc/self/statm"):
        pytest.skip("memory is limited on Linux alone")
    assert halvings.caught(HALVINGS.replace(old, new, 1), seconds=0.5).startswith(said)
    assert halvings.caught(HALVINGS, seconds=0.5) is None, "the next one finds a worker"


def test_one_that_works_is_waited_for_on_a_busy_machine(halvings, monkeypatch):
    """The clock is for those that only wait; here it is over long before the processor time is."""
    monkeypatch.setattr(halvings, "wall", 1.0)
    slowly = "import time; end = time.process_time() + 1.5\nwhile time.process_time() < end: pass\n"
    assert halvings.caught(slowly + HALVINGS, seconds=5.0) is None


def test_survivor_is_caught_by_one_case_more(worker):
    few = score(worker, halving((1,)), HALVINGS)
    more = score(worker, halving((1,), (5,)), HALVINGS)
    assert few.survivors and more.survivors == [], "1 is halved not once: what a halving does, that case cannot see"
    assert more.tried == more.made == few.made > 10


def test_score_counts_mistakes_and_mutants_and_takes_marks(worker):
    exercise = Exercise("plus", points=1, compare=close())
    exercise.cases(lambda g: iter([(torch.tensor([2.0, 2.0]),)]))  # 2 + 2 = 2 · 2 = 2 ** 2: a weak case
    exercise.mistake("squared")(lambda x: x * x)
    exercise.mistakes["tripled"] = ("tripled", lambda x: 3 * x)
    found = score(worker, exercise, cell("return x + x.abs()", name="plus(x)"))
    assert found.mistakes == {"<lambda>": False, "tripled": True}
    assert found.survivors == ["3: return x + x[-.abs()-]"]
    assert not found.good
    assert found.lines()[1:] == [
        "  the mistake <lambda> passes every case",
        "  survives, line 3: return x + x[-.abs()-]",
    ]
    exercise.equivalent("no x is negative", "x[-.abs()-]", "x[-.nothing()-]")
    marked = score(worker, exercise, cell("return x + x.abs()", name="plus(x)"))
    assert marked.survivors == [] and marked.equivalent == [("return x + x[-.abs()-]", "no x is negative")]
    assert marked.counted == marked.caught == found.counted - 1
    assert marked.stale == ["x[-.nothing()-]"]


def test_survivor_that_no_case_should_catch_counts_and_has_its_reason(worker):
    exercise = halving((1,))
    exercise.uncaught("a case would take too long", "n [-+-]{+-+} 1")
    found = score(worker, exercise, HALVINGS)
    (known,) = found.reasons
    assert known in found.survivors and found.reasons[known] == "a case would take too long"
    assert f"  survives, line {known} (a case would take too long)" in found.lines()
    exercise.uncaught("no such change", "while x > 7")
    assert score(worker, exercise, HALVINGS).stale == ["while x > 7"]


def sign(cases) -> Exercise:
    """1 where a number is positive; nine in ten is good enough."""
    exercise = Exercise("sign", points=1, compare=accuracy(0.9))
    exercise.cases(lambda g: (Case((x,), truth=(x > 0).long()) for x in cases(g)))
    return exercise


def test_where_good_enough_is_right_survivors_are_right_answers(worker):
    exercise = sign(lambda g: [torch.tensor([-3.0, -2.0, 2.0, 3.0])])
    found = score(worker, exercise, cell("y = x * 1 + 0", "return (y > 0).long()", name="sign(x)"))
    assert found.free and found.good and found.survivors == [] and found.caught >= 5
    assert found.good_enough > 0 and found.caught + found.good_enough == found.tried
    assert f"{found.good_enough} good enough" in found.lines()[0]


def test_where_good_enough_is_right_luck_is_not_enough(worker):
    """A mutant that passes one draw and not the next: the cases' own seed decides."""
    lucky = sign(lambda g: [torch.tensor([-3.0, 2.0]) if g.initial_seed() == 0 else torch.tensor([-3.0, 0.5])])
    code = cell("return (x > 0).long()", name="sign(x)")
    found = score(worker, lucky, code)
    assert "3: return (x > [-0-]{+1+}).long()" in found.survivors
    assert "3: return (x > [-0-]{+1+}).long()" not in score(worker, lucky, code, seed=1).survivors


def test_of_a_slow_solution_a_sample_is_tried(worker):
    exercise = sign(lambda g: [torch.tensor([-3.0, -2.0, 2.0, 3.0])])
    code = cell("y = x * 1 + 0", "y = y + 0 - 1 + 1 * 1", "return (y > 0).long()", name="sign(x)")
    found = score(worker, exercise, code, slow=-1.0)
    assert found.tried == SAMPLE < found.made == score(worker, exercise, code).tried
    assert f"a random {SAMPLE} of {found.made}" in found.lines()[0]
    assert found == score(worker, exercise, code, slow=-1.0), "the same sample"


@pytest.mark.parametrize("limit", some(1, [60.0, None]))
def test_what_a_process_does_once_is_not_the_solutions_time(worker, limit):
    once = """import sys, time
if not hasattr(sys, "begun"):
    sys.begun = time.process_time() + 0.6
    while time.process_time() < sys.begun:
        pass
"""
    exercise = halving((9,), (4,), (1,), (0,))
    exercise.seconds = limit  # that a call has a limit does not say that it takes long
    worker._end()  # the next one begins
    found = score(worker, exercise, once + HALVINGS, slow=0.5)
    assert found.tried == found.made > SAMPLE


def test_solution_that_does_not_stand_alone_is_refused(worker):
    with pytest.raises(CourseError, match="plus: the solution raises NameError in case 1"):
        exercise = Exercise("plus", points=1, compare=close())
        exercise.cases(lambda g: iter([(1,)]))
        score(worker, exercise, cell("return helper(x)", name="plus(x)"))
    with pytest.raises(CourseError, match="does not run after the set-up cell alone .KeyError: 'plus'."):
        score(worker, exercise, cell("return x", name="minus(x)"))


# --- an assignment ----------------------------------------------------------------------------------------------------


def test_release_says_what_the_cases_miss(tmp_path, monkeypatch):
    def files():
        return {p: p.read_bytes() for p in tmp_path.rglob("*.*") if p.parent.name != "__pycache__"}

    course = small_course(tmp_path)
    before = files()
    found = list(scores(Assignment(course, NAME)))
    assert [s.exercise for s in found] == ["double", "total"]
    assert all(all(s.mistakes.values()) and s.good for s in found), [s.lines() for s in found]
    assert list(scores(Assignment(Course(tmp_path), NAME), only="total"))[0].exercise == "total"
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["release", NAME, "--mutants"])
    assert said.exit_code == 0, said.output
    assert "double: mistakes 1/1, mutants" in said.output and "total: mistakes 1/1" in said.output
    assert before == files(), "nothing is written"
    assert "2 * x" in SOLUTION[2][1]


# --- the table --------------------------------------------------------------------------------------------------------

FOUND = [
    Score("plus", {"squared": True}, 12, 12, ["3: x[- * 1-]"], {"3: x[- * 1-]": "1 changes nothing"}),
    Score("sign", {"a": True, "b": False}, 99, 16, good_enough=2, free=True),
]


def test_table_has_a_row_for_each_exercise_and_a_reason_for_each_survivor(tmp_path):
    path = tmp_path / "scores.md"
    write_table(path, "a1_plus", FOUND)
    text = path.read_text()
    assert "| `plus` | 1/1 | 12 | 12 | 0 | 11 | 91 % |" in text
    assert "| `sign` | 1/2 | 99 | 16 | 2 | 14 | 100 % |" in text
    assert "- `plus` survivor, line `3: x[- * 1-]`: 1 changes nothing." in text
    assert "- `sign`: the mistake `b` passes every case." in text
    assert "- `sign` equivalent, 2 mutants: good enough on two draws of the cases, and so right." in text
    assert (
        "2 exercises: 2 of 3 known mistakes are caught, and 25 of 26 mutants (96.2 %); the lowest score is 91 %."
        in text
    )


def test_table_keeps_the_other_assignments(tmp_path):
    path = tmp_path / "scores.md"
    write_table(path, "a2_minus", FOUND[:1])
    write_table(path, "a1_plus", FOUND)
    both = path.read_text()
    assert both.index("## a1_plus") < both.index("## a2_minus") and "3 exercises: 3 of 4" in both
    write_table(path, "a2_minus", FOUND[:1])
    assert path.read_text() == both, "the same scores, the same file"
    write_table(path, "a2_minus", FOUND[1:])
    assert path.read_text().count("`plus`") == 2 and path.read_text().count("## a2_minus") == 1


def test_table_does_not_overwrite_another_file(tmp_path):
    (tmp_path / "notes.md").write_text("# Notes\n")
    with pytest.raises(CourseError, match="no table of mutation scores: give the name of a new file"):
        write_table(tmp_path / "notes.md", "a1_plus", FOUND)
    assert (tmp_path / "notes.md").read_text() == "# Notes\n"
    (tmp_path / "scores.json").write_text("[1, 2]")
    with pytest.raises(CourseError, match="holds no mutation scores: move it away"):
        write_table(tmp_path / "scores.md", "a1_plus", FOUND)
    assert (tmp_path / "scores.json").read_text() == "[1, 2]" and not (tmp_path / "scores.md").exists()


def kept_of(path) -> list[str]:
    return [row["exercise"] for row in json.loads(path.with_suffix(".json").read_text())[NAME]]


@pytest.fixture
def tried(monkeypatch) -> list[str]:
    """The exercises whose mutants were run, in their order."""
    names = []

    def counted(worker, exercise, *arguments):
        names.append(exercise.name)
        return Score(exercise.name, {"a": True}, 12, 12)

    monkeypatch.setattr("autograder.author.mutation_scores.score", counted)
    return names


def test_a_run_that_is_stopped_goes_on_where_it_was(tmp_path, tried):
    course, path = small_course(tmp_path), tmp_path / "scores.md"
    run = into_table(path, Assignment(course, NAME))
    assert next(run).exercise == "double"
    assert kept_of(path) == ["double"] and "| `double` | 1/1 |" in path.read_text(), "before the next one begins"
    run.close()
    assert [one.exercise for one in into_table(path, Assignment(course, NAME))] == ["double", "total"]
    assert tried == ["double", "total"] and kept_of(path) == tried
    before = path.read_text()
    assert list(into_table(path, Assignment(course, NAME))) and tried == ["double", "total"], "nothing is left to do"
    assert path.read_text() == before
    assert list(into_table(path, Assignment(course, NAME), again=True)) and tried[2:] == ["double", "total"]


@pytest.mark.parametrize(
    ("file", "old", "new", "anew"),
    [
        (f"{NAME}.ipynb", "return 2 * x", "return x + x", ["double"]),
        (f"{NAME}.ipynb", "import torch", "import torch, math", ["double", "total"]),  # in the set-up cell
        ("mistakes.py", "return x * x", "return x**2", ["double"]),
        ("mistakes.py", "torch.rand(5, generator=g)", "torch.rand(6, generator=g)", ["total"]),
        ("mistakes.py", "that is the mean", "you took the mean", []),
    ],
)
def test_an_exercise_that_has_changed_is_tried_anew(tmp_path, tried, file, old, new, anew):
    course, path = small_course(tmp_path), tmp_path / "scores.md"
    list(into_table(path, Assignment(course, NAME)))
    tried.clear()
    changed = tmp_path / "solutions" / NAME / file
    assert old in changed.read_text()
    changed.write_text(changed.read_text().replace(old, new))
    list(into_table(path, Assignment(Course(tmp_path), NAME)))
    assert tried == anew


def test_other_operators_are_other_mutants(tmp_path, tried, monkeypatch):
    course, path = small_course(tmp_path), tmp_path / "scores.md"
    list(into_table(path, Assignment(course, NAME)))
    monkeypatch.setattr("autograder.author.mutants.ARITHMETIC", {})  # 2 * x is never 2 / x
    list(into_table(path, Assignment(course, NAME)))
    assert tried == ["double", "total", "double"]


def test_an_exercise_that_is_no_more_leaves_the_table_at_the_end(tmp_path, tried):
    course, path = small_course(tmp_path), tmp_path / "scores.md"
    write_table(path, NAME, [Score("gone", {}, 1, 1), Score("total", {}, 1, 1)])
    run = into_table(path, Assignment(course, NAME))
    next(run)
    assert kept_of(path) == ["gone", "total", "double"], "old scores stand until there are new ones"
    assert len(list(run)) == 1 and kept_of(path) == ["double", "total"]


def test_release_writes_the_table(tmp_path, monkeypatch):
    small_course(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("autograder.author.mutation_scores.scores", lambda assignment, kept: iter(FOUND))
    said = CliRunner().invoke(app, ["release", "--mutants", "--again"])
    assert said.exit_code == 1 and "--again goes with --table" in said.output
    said = CliRunner().invoke(app, ["release", "--table", "scores.md"])
    assert said.exit_code == 1 and not (tmp_path / "scores.md").exists()
    said = CliRunner().invoke(app, ["release", "--mutants", "--table", "scores.md"])
    assert said.exit_code == 1 and "the mistake b passes" in said.output, said.output
    assert f"## {NAME}" in (tmp_path / "scores.md").read_text()


KILLED = """
from course_utils.checking.cases import ExerciseCases
from autograder.author.mutant_worker import Worker

if __name__ == "__main__":
    worker = Worker("pass")
    worker.take(ExerciseCases("f", 1, {"kind": "exact"}, [(1,)], [None], []))
    print(worker._process.pid, flush=True)
    worker.caught("def f(x):\\n    while True: pass", 100)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends the worker")
def test_a_mutant_without_end_does_not_outlive_a_command_that_is_killed(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    command = subprocess.Popen([sys.executable, tmp_path / "killed.py"], stdout=subprocess.PIPE, text=True)
    worker = psutil.Process(int(command.stdout.readline()))
    command.kill()
    command.wait()
    command.stdout.close()
    try:
        deadline = time.monotonic() + 20
        while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "it still runs"
            time.sleep(0.1)
    finally:
        if worker.is_running():
            worker.kill()


# --- changes that leave the values as they are ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "new"),
    [
        ("return x * 2", "return x.mul_(2)"),
        ("return x.log_softmax(1)", "return x.softmax(1).log()"),
        ("return x.logsumexp(1)", "return x.exp().sum(1).log()"),
        ("return torch.rand(2, generator=n)", "generator=torch.Generator().manual_seed(1)"),
        ("return (x.exp(), x)", "return (x.exp().detach(), x)"),
    ],
)
def test_what_only_a_promise_or_an_extreme_value_tells(line, new):
    assert any(new in m.code for m in mutants(cell(line), trained=True))


def test_an_argument_that_has_another_value_by_then_is_not_changed():
    assert not any("mul_" in m.code for m in mutants(cell("x = x.clone()", "return x * 2")))
