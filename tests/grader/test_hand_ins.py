"""Honest hand-ins of one right notebook, each a little off: all points, or a line that says what to do about it."""

import pytest
from class_of_a1 import FULL, NAME, take_hidden_cases
from hand_ins import HAND_INS, QUICK
from test_class_of_a1 import COURSE, copy_course, marks, run

from autograder.sandbox import provisioner

SOAK = [pytest.param(name, marks=() if name in QUICK else pytest.mark.soak) for name in HAND_INS]
pytestmark = pytest.mark.skipif(provisioner.missing() is not None, reason=str(provisioner.missing()))


@pytest.fixture(scope="module")
def graded(tmp_path_factory, request):
    """Those whose tests run, graded as one class: lines and marks."""
    root = copy_course(tmp_path_factory.mktemp("hand-ins") / "course")
    take_hidden_cases(root, tmp_path_factory)
    items = [
        item for item in request.session.items if not item.get_closest_marker("skip") and hasattr(item, "callspec")
    ]
    wanted = {item.callspec.params.get("name") for item in items} & set(HAND_INS)
    for name in wanted:
        (root / "submitted" / name / NAME).mkdir(parents=True)
        HAND_INS[name].write(root / "submitted" / name / NAME)
    done = run(root, COURSE, "grade", NAME)
    assert done.returncode == 0, done.stderr
    lines = {line.partition("] ")[2].partition(":")[0]: line for line in done.stdout.splitlines() if line[0] == "["}
    assert set(lines) == wanted
    return lines, marks(root)


def test_there_are_many():
    assert len(HAND_INS) >= 75


@pytest.mark.parametrize("name", SOAK)
def test_all_points_or_a_line_that_says_why(graded, name):
    lines, found = graded
    line, hand_in = lines[name], HAND_INS[name]
    assert hand_in.said in line
    assert "0 of 0" not in line and "asked for none" not in line, line
    got = {exercise: found[name][exercise] for exercise in FULL}
    assert got == FULL | dict.fromkeys(hand_in.lost, 0), line
