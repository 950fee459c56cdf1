"""An assignment of two exercises, and a student who tries something: what must come out is the same every time."""

from pathlib import Path

import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from autograder.author.exercise import Exercise, close, complete
from autograder.limits import Limits
from autograder.run.execute import Result, execute
from autograder.sandbox import warm
from autograder.sandbox.provisioner import missing
from course_utils.check import answer
from course_utils.checking.cases import CASES_FILE, save_cases

LIMITS = Limits(
    cell_s=8, notebook_s=120, memory_bytes=2 * 2**30, processes=48, disk_bytes=64 * 2**20, file_bytes=32 * 2**20
)
WRONG = "def double(x):\n    return [v + 1 for v in x]\n"
RIGHT = "def triple(x):\n    return [3 * v for v in x]\n"


def _exercise(name: str, factor: int):
    exercise = Exercise(name, points=2, compare=close())

    @exercise.cases
    def _(g):
        for _ in range(4):
            yield ((torch.rand(3, generator=g) + 1).tolist(),)  # lists: without torch a kernel is ready in a second

    cases = exercise.build(seed=77)
    return complete(cases, [answer(lambda x: [factor * v for v in x], i) for i in cases.asks])


@pytest.fixture(scope="session")
def exercises():
    if reason := missing():
        pytest.fail(f"the attacks are tried in the sandbox: {reason}")
    return {"double": _exercise("double", 2), "triple": _exercise("triple", 3)}


def cell(source: str, grade_id: str = "", grade: bool = False, points: float = 2):
    """A cell as nbgrader marks it."""
    made = new_code_cell(source)
    if grade_id:
        made.metadata["nbgrader"] = {"grade_id": grade_id, "grade": grade, "solution": not grade, "locked": grade}
        made.metadata["nbgrader"] |= {"schema_version": 3, "task": False} | ({"points": points} if grade else {})
    return made


def notebook(answer_source: str, before: str = "", after: str = "", plain: str = ""):
    """The submission: `before` stands ahead of the set-up, `after` behind everything, `plain` is a plain assert cell."""
    cells = [
        cell(before),
        cell("from course_utils.check import Checker\n\ncheck = Checker('a0')"),
        cell(answer_source, "double"),
        cell("check(double)", "check_double", grade=True),
        cell(RIGHT, "triple"),
        cell("check(triple)", "check_triple", grade=True),
        cell(plain or "assert triple([1]) == [3]", "plain", grade=True),
        cell(after),
    ]
    return new_notebook(cells=[c for c in cells if c.source])


# How a kernel was started decides what it sees and reaches. Elsewhere (the judge, verdicts; limits, which other tests try
# from cold, too: test_sandbox.py, test_execute.py) a forked one stands for both, but in a soak.
ON_BOTH = ("test_escape.py", "test_kernel.py")
EVERY = 3  # of many tests of one kind every so many is run, but in a soak


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    kinds: dict[tuple, list] = {}
    for item in items:
        if getattr(item, "callspec", None) and (forks := item.callspec.params.get("forks")):
            if forks == "cold" and item.path.name not in ON_BOTH:
                item.add_marker(pytest.mark.soak)
            else:
                kinds.setdefault((item.path, item.originalname), []).append(item)
    for tests in kinds.values():
        for number, item in enumerate(tests):
            if len(tests) > EVERY and number % EVERY:
                item.add_marker(pytest.mark.soak)


@pytest.fixture(params=["cold", "warm"])
def forks(request):
    """Every attack is tried on a kernel that was started for it, and on one that was forked from a warm parent."""
    return warm.shared() if request.param == "warm" else None


@pytest.fixture
def hand_in(exercises, tmp_path, forks):
    """Execute a submission in the sandbox; extra files are written into its folder."""

    def run(
        answer_source: str = WRONG, *, files: dict[str, str] | None = None, limits: Limits = LIMITS, **parts
    ) -> Result:
        folder = tmp_path / "submission"
        folder.mkdir()
        (folder / CASES_FILE).write_bytes(save_cases(exercises))
        for name, text in (files or {}).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return execute(notebook(answer_source, **parts), exercises, files=folder, limits=limits, warm=forks)

    return run


def points(result: Result) -> dict[str, float]:
    return {identity: verdict.points for identity, verdict in result.verdicts.items()}


def gained_nothing(result: Result, triple: float = 2) -> bool:
    """Whether the wrong answer has no points, the right one its own, and the check cells say so to nbgrader."""
    from nbgrader.utils import determine_grade

    assert points(result) == {"check_double": 0, "check_triple": triple}, result.notes
    marks = {
        c.metadata.nbgrader.grade_id: determine_grade(c)[0]
        for c in result.notebook.cells
        if c.metadata.get("nbgrader", {}).get("grade")
    }
    assert (marks["check_double"], marks["check_triple"]) == (0, triple)
    return True


def outputs(result: Result) -> str:
    return str([c.get("outputs") for c in result.notebook.cells])


def processes_with(text: str) -> list[int]:
    """Processes of this machine whose command line or environment has the text."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if text.encode() in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found
