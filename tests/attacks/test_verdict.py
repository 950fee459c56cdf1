"""Attempts to turn a wrong answer into points. The verdict is made elsewhere, so none can."""

import pytest

from autograder.notes import Kind

from .conftest import RIGHT, WRONG, gained_nothing, outputs, points

EQUAL_TO_ALL = """
import torch
class Yes(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return torch.tensor(True)
    def __eq__(self, other): return True
    __hash__ = None
def double(x):
    return torch.zeros(3).as_subclass(Yes)
"""
OBJECT = """
class Yes:
    def __eq__(self, other): return True
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return True
    def __bool__(self): return True
    shape, dtype, ndim = (3,), float, 1
    __hash__ = None
def double(x): return Yes()
"""
DROP_ASSERT = """
import ast
class Drop(ast.NodeTransformer):
    def visit_Assert(self, node): return ast.Pass()
    def visit_Call(self, node):
        if getattr(node.func, "id", "") == "check":
            return ast.Constant(2.0)
        return node
get_ipython().ast_transformers.append(Drop())
get_ipython().input_transformers_post.append(lambda lines: ["2.0\\n"] if any("check(" in l for l in lines) else lines)
"""
PATCH_SHELL = """
shell = get_ipython()
async def run_code(code, result=None, **kwargs): return False
shell.run_code = run_code
shell.kernel.do_execute_original = shell.kernel.do_execute
async def do_execute(code, silent, *a, **k):
    return {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}
"""
PATCH_KERNEL = PATCH_SHELL + "shell.kernel.do_execute = do_execute\n"
PATCH_TESTING = """
import numpy.testing, torch, torch.testing
for module in (numpy.testing, torch.testing):
    for name in dir(module):
        if name.startswith("assert"):
            setattr(module, name, lambda *a, **k: None)
torch.equal = torch.allclose = torch.isclose = lambda *a, **k: torch.tensor(True)
"""
PATCH_CHECK = """
import course_utils.check, course_utils.compare
course_utils.compare.difference = lambda *a, **k: None
course_utils.check.verdict = lambda exercise, *a, **k: course_utils.check.Verdict(exercise.name, 2, 2, 4, 4)
"""
OWN_CHECK = "class check:\n    def __new__(cls, f): return 2.0\n"
PATCH_CLIENT = """
import course_utils.check
course_utils.check.receive = lambda c: {"cases": 0, "banned": []}
course_utils.check.send = lambda c, v: None
"""
SENDS_POINTS = """
import course_utils.check
original = course_utils.check.send
course_utils.check.send = lambda c, v: original(c, {"points": 2, "held": 4, "value": None})
"""
BEFORE_THE_REAL_ONE = """
import os, socket, threading, time
from course_utils import plain
def forge():
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(os.environ["COURSE_JUDGE"])
                for _ in range(4):
                    plain.send(s, {"value": "all right", "points": 2})
                plain.send(s, "done")
        except Exception:
            pass
        time.sleep(0.001)
thread = threading.Thread(target=forge, daemon=True); thread.start()
"""
AFTER_THE_REAL_ONE = """
import os, socket, atexit
from course_utils import plain
import course_utils.check
serve = course_utils.check._serve
def again(function, path):
    serve(function, path)
    for _ in range(3):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                for _ in range(plain.receive(s)["cases"]):
                    plain.send(s, {"value": [2 * v for v in plain.receive(s)[0]]})
        except Exception as error:
            print("no second try", error)
course_utils.check._serve = again
"""
FLOAT_OUTPUT = """
from IPython.display import display
import sys
sys.displayhook = lambda value: None
get_ipython().displayhook.write_format_data = lambda *a, **k: None
def double(x):
    print("2.0"); display(2.0)
    get_ipython().display_pub.publish({"text/plain": "2.0"})
    return [v + 1 for v in x]
"""
FORGED_MESSAGE = """
def double(x):
    shell = get_ipython()
    socket, parent = shell.kernel.iopub_socket, shell.kernel.get_parent()
    content = {"execution_count": 1, "data": {"text/plain": "2.0"}, "metadata": {}}
    shell.kernel.session.send(socket, "execute_result", content, parent=parent)
    shell.kernel.session.send(socket, "status", {"execution_state": "idle"}, parent=parent)
    return [v + 1 for v in x]
"""
UPDATE_DISPLAY = """
from IPython.display import display
handle = display("2.0", display_id="mark")
def double(x):
    display("0", display_id="mark"); return [v + 1 for v in x]
"""
STACK = """
import sys
def double(x):
    frame, seen = sys._getframe(), []
    while frame:
        seen += [v for v in frame.f_locals.values() if hasattr(v, "expected") or hasattr(v, "truths")]
        frame = frame.f_back
    import gc
    seen += [o for o in gc.get_objects() if type(o).__name__ == "ExerciseCases"]
    return seen[0].expected[0]["value"] if seen else x + 1
"""
VISIBLE_CASES = """
from course_utils import plain
shown = plain.load("cases.safetensors")
def double(x):
    return shown[0]["expected"][0]["value"]
"""
SIDE = {
    "equal_to_all_tensor": EQUAL_TO_ALL,
    "equal_to_all_object": OBJECT,
    "ast_transformer": WRONG + DROP_ASSERT,
    "run_code": WRONG + PATCH_SHELL.replace("shell.kernel.do_execute_original", "_"),
    "testing": WRONG + PATCH_TESTING,
    "compare": WRONG + PATCH_CHECK,
    "client_sends_points": WRONG + SENDS_POINTS,
    "forged_after": WRONG + AFTER_THE_REAL_ONE,
    "float_output": FLOAT_OUTPUT,
    "forged_message": FORGED_MESSAGE,
    "update_display": UPDATE_DISPLAY,
    "stack": STACK,
}
# These also break the check of the right answer that follows: the student's own loss.
OWN_LOSS = {
    "do_execute": WRONG + PATCH_KERNEL,
    "own_check": WRONG + OWN_CHECK,
    "patched_client": WRONG + PATCH_CLIENT,
}


@pytest.mark.parametrize("source", SIDE.values(), ids=SIDE)
def test_it_gains_nothing(hand_in, source):
    result = hand_in(source)
    transformed = "ast_transformers" in source or "run_code" in source or "plain.send" in source or "send = " in source
    assert points(result)["check_double"] == 0
    if not transformed:
        gained_nothing(result)


@pytest.mark.parametrize("source", OWN_LOSS.values(), ids=OWN_LOSS)
def test_who_breaks_the_check_has_no_verdict(hand_in, source):
    result = hand_in(source)
    assert set(points(result).values()) == {0}
    assert "no verdict" in result.verdicts["check_double"].message


def test_a_forged_answer_before_the_real_one_gains_nothing(hand_in):
    result = hand_in(WRONG + BEFORE_THE_REAL_ONE)
    assert points(result)["check_double"] == 0


def test_the_visible_cases_do_not_help(hand_in):
    """The grader's inputs are others; what matches them is the answer to them alone."""
    result = hand_in(VISIBLE_CASES)
    assert points(result)["check_double"] < 1


def test_hidden_inputs_and_answers_do_not_appear_in_what_we_write(hand_in, exercises):
    result = hand_in("def double(x):\n    raise ValueError(str(x))\n")
    cell = next(c for c in result.notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "check_double")
    assert f"{exercises['double'].inputs[0][0][0]:.4f}"[:5] not in str(cell.outputs)
    gained_nothing(result)


@pytest.mark.parametrize(
    "name", ["numpy", "torch", "course_utils", "json", "ipykernel", "socket", "sitecustomize", "usercustomize"]
)
def test_a_shadowing_file_changes_nothing(hand_in, name):
    evil = "raise SystemExit('shadowed')\n"
    result = hand_in(WRONG, files={f"{name}.py": evil, f"{name}/__init__.py": evil})
    gained_nothing(result)


def test_an_ipython_startup_file_is_not_run(hand_in):
    files = {".ipython/profile_default/startup/a.py": "check = print", "ipython_config.py": "c.x = 1", "pyvenv.cfg": ""}
    gained_nothing(hand_in(WRONG, files=files))


def test_a_right_answer_that_prints_warns_and_plots_scores_full(hand_in):
    source = """
import sys, warnings
import matplotlib.pyplot as plt
from tqdm.auto import tqdm
def double(x):
    print("working", x); print("err", file=sys.stderr); warnings.warn("careful")
    for _ in tqdm(range(3)): pass
    plt.plot([1, 2]); plt.show()
    return [2 * v for v in x]
plt.plot([1, 2])
"""
    result = hand_in(source, plain="import warnings\nwarnings.warn('careful')\nassert triple([1]) == [3]")
    assert points(result) == {"check_double": 2, "check_triple": 2}
    from nbgrader.utils import determine_grade

    marks = [determine_grade(c)[0] for c in result.notebook.cells if c.metadata.get("nbgrader", {}).get("grade")]
    assert marks == [2, 2, 2]


def test_a_plain_assert_cell_is_marked_as_decided_in_the_students_kernel(hand_in):
    result = hand_in(RIGHT.replace("triple", "double"))
    assert any("plain" in note.cell and note.kind == Kind.IN_KERNEL for note in result.notes)


@pytest.mark.parametrize(
    "trick",
    [
        "from IPython.display import display\nget_ipython().displayhook.write_format_data = lambda *a: None",
        "import sys\nprint('2.0')",
    ],
)
def test_a_failing_plain_cell_has_no_points(hand_in, trick):
    result = hand_in(WRONG + trick, plain="assert triple([1]) == [4]")
    from nbgrader.utils import determine_grade

    marks = {
        c.metadata.nbgrader.grade_id: determine_grade(c)[0]
        for c in result.notebook.cells
        if c.metadata.get("nbgrader", {}).get("grade")
    }
    assert marks["plain"] == 0
    assert outputs(result)
