"""Notebooks are run to their end whatever they do, and only the judge (or a test that passed) gives points."""

import asyncio
import copy
import json
import resource
import time
from dataclasses import replace

import nbformat
import pytest
from effort import some
from kernels import ASK, QUICK, Case, MiB, StandIn, assertions, cell, check, run, said
from nbgrader.utils import determine_grade

from autograder.notes import Kind, Note, sentence
from autograder.run.execute import execute
from autograder.sandbox import provisioner
from autograder.sandbox.provisioner import SandboxError, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def mark(result, index=-1):
    return determine_grade(result.notebook.cells[index])[0]


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_the_verdict_is_the_judges_and_replaces_all_that_the_cell_put_out():
    noise = "import sys, warnings; warnings.warn('w'); print(2); print('no', file=sys.stderr)\n"
    result = run(
        ASK,
        check("a", noise + "ask('right')\nraise ValueError"),
        check("b", noise + "ask('half')\n2.0"),
        check("c", noise + "ask('wrong')\n2.0"),
        check("d", "print('2.0')"),
        exercises="abcde",
    )
    assert [mark(result, i) for i in range(1, 5)] == [2.0, 1.0, 0.0, 0.0]
    assert {name: v.points for name, v in result.verdicts.items()} == {
        "check_a": 2.0,
        "check_b": 1.0,
        "check_c": 0.0,
        "check_d": 0.0,
        "check_e": 0.0,  # its cell is missing
    }
    assert said(result, 1) == "✔ a: 1 of 1 cases hold, 2 of 2 points\n2.0"
    assert [o.output_type for o in result.notebook.cells[4].outputs] == ["stream", "execute_result"]


def test_only_the_first_cell_of_an_exercise_is_judged():
    result = run(ASK, check("a", "ask('wrong')"), check("a", "ask('right')\n2.0"), exercises="a")
    assert result.verdicts["check_a"].points == 0
    assert mark(result, 1) == 0


CLAIM = """k = get_ipython().kernel
def claim(points):
    content = {"data": {"text/plain": points}, "metadata": {}, "execution_count": 1}
    k.send_response(k.iopub_socket, "execute_result", content)
"""
HIDE = "get_ipython().showtraceback = get_ipython()._showtraceback = lambda *args, **kwargs: None"


def test_plain_test_cells_are_read_as_they_were_meant_and_said_to_run_with_the_student():
    result = run(
        CLAIM,
        assertions("assert 1 == 1"),
        assertions("import warnings; warnings.warn('careful'); assert 1 == 1"),
        assertions("assert 1 == 2"),
        assertions("0.5"),
        assertions("claim('2.0'); assert 1 == 2"),
        assertions("claim('2.0'); 0.5"),
        assertions("claim('3.0')"),
        assertions("claim('nan')"),
        assertions("claim('done')"),
        assertions("  "),
        HIDE,
        assertions("assert 1 == 2"),
    )
    assert [mark(result, i) for i in range(1, 10)] == [2, 2, 0, 0.5, 0, 0.5, 0, 0, 2]
    assert mark(result, 10) == 0, "an empty cell tests nothing"
    assert mark(result, 12) == 0, "the reply says error although none is shown"
    assert Note(Kind.IN_KERNEL, "2 (tests)") in result.notes


def test_a_tag_does_not_skip_a_cell():
    skipped = assertions("assert 1 == 2")
    skipped.metadata["tags"] = ["skip-execution", "raises-exception"]
    assert mark(run(skipped)) == 0


def test_a_later_cell_does_not_change_what_an_earlier_one_put_out():
    result = run(
        ASK,
        check("a", "from IPython.display import display, HTML\nask('half'); h = display(HTML('one'), display_id='x')"),
        "h = display(HTML('one'), display_id='y'); h.update(HTML('two'))",
        "from IPython.display import update_display\nfor i in 'xy': update_display(HTML('forged'), display_id=i)",
        exercises="a",
    )
    assert mark(result, 1) == 1.0
    assert "two" in said(result, 2), "a live display still works"
    assert "forged" not in said(result, 1) + said(result, 2)


# --- kernels that die or hang -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "deed",
    [
        "import os; os._exit(3)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import ctypes; ctypes.string_at(0)",
    ],
)
def test_a_dead_kernel_costs_its_cell_only(deed):
    result = run(
        ASK + "seen = []",
        check("a", "seen.append(1); ask('right')"),
        "x = 5",
        deed,
        "print(x, seen)",
        check("b", "ask('right')"),
        assertions("assert x == 5"),
        exercises="ab",
    )
    assert said(result, 4) == "5 []\n", "earlier cells ran again, but the judged one"
    assert [mark(result, i) for i in (1, 5, 6)] == [2.0, 2.0, 2.0]
    assert result.usage["kernels"] == 2
    assert result.notes[0].kind == Kind.DIED and result.notes[0].cell == "4"
    assert sentence(result.notes[0]).startswith("Cell 4 ended its kernel (")


def test_a_kernel_that_dies_in_a_graded_cell_gives_no_points_for_it():
    result = run(assertions("import os; os._exit(0)"), check("a", "import os; os._exit(0)"), "print(1)", exercises="a")
    assert (mark(result, 0), mark(result, 1), said(result, 2)) == (0, 0, "1\n")


def test_after_three_deaths_nothing_runs_and_nothing_gets_points():
    result = run(*["import os; os._exit(0)"] * 3, assertions("assert True"), check("a", "1"), exercises="a")
    assert [mark(result, 3), mark(result, 4)] == [0, 0]
    assert "died 3 times" in said(result, 3) and "died 3 times" in result.verdicts["check_a"].message
    assert [note.kind for note in result.notes[:3]] == [Kind.DIED, Kind.DIED, Kind.DIED_AT_LAST]


def test_an_endless_loop_is_interrupted_and_the_kernel_lives_on():
    result = run("x = 1\nwhile True: pass", "print(x)", limits=replace(QUICK, cell_s=1))
    assert "KeyboardInterrupt" in said(result, 0) and said(result, 1) == "1\n"
    assert result.usage["kernels"] == 1
    assert result.notes == [Note(Kind.INTERRUPTED, "1", ("1",))]


SILENT = """import asyncio
async def never(*args, **kwargs):
    while True:
        try:
            await asyncio.sleep(99)
        except BaseException:
            pass
get_ipython().kernel.do_execute = never
"""

LAZY = """async def lazy(*args, **kwargs):
    return {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}
get_ipython().kernel.do_execute = lazy
"""

FORGE = """import json
k = get_ipython().kernel
k.session.pack = lambda message: json.dumps(message, default=str).encode()  # lets halves of surrogate pairs through
kinds = ["status", "stream", "display_data", "execute_result", "error", "clear_output", "comm_open", "nonsense"]
contents = [
    {},
    {"execution_state": 1},
    {"text": 1, "name": []},
    {"data": 5, "metadata": 5},
    {"data": {"text/plain": 5}},
    {"ename": 1, "evalue": {}, "traceback": 7},
    {"transient": {"display_id": []}, "data": {}, "metadata": {}},
    {"data": {"text/plain": "\\ud800", "application/x": "z"}, "metadata": {"a": {}}, "execution_count": "7"},
    {"comm_id": 1},
]
for kind in kinds:
    for content in contents:
        k.session.send(k.iopub_socket, kind, content, parent=k.get_parent())
print("\\udfff end")
"""

COMMS = """from comm import create_comm
for i in range(300):
    create_comm(target_name="jupyter.widget", data={"state": {"a": "b" * 9999}})
"""


DEAF = {
    "c": "import ctypes; ctypes.PyDLL(None).sleep(1000)",  # C code that holds the GIL
    "python": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
    "stopped": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "silent": SILENT,
}


@pytest.mark.parametrize("deed", some(2, DEAF))
def test_a_cell_that_does_not_stop_gets_its_kernel_ended(deed):
    result = run("y = 2", deed, "print(y)", limits=replace(QUICK, cell_s=1))
    if deed == SILENT:  # the next cell is the one that hangs
        assert "KernelDied" in said(result, 2)
    else:
        assert "did not stop when interrupted" in said(result, 1)
        assert said(result, 2) == "2\n"


def test_a_kernel_that_answers_without_running_anything_gets_no_points():
    result = run(ASK, LAZY, check("a", "ask('right')"), exercises="a")
    assert mark(result) == 0


def test_the_whole_notebook_has_a_time_limit():
    begin = time.monotonic()
    result = run(*["import time; time.sleep(2.5)"] * 9, assertions("assert True"), limits=replace(QUICK, notebook_s=5))
    assert time.monotonic() - begin < 15
    assert mark(result) == 0 and "time limit of 5 s" in said(result)
    assert Kind.OUT_OF_TIME in {note.kind for note in result.notes}


def test_input_has_nobody_to_ask():
    assert "StdinNotImplementedError" in said(run("input('name? ')"))


# --- floods and forgeries ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "deed, reason",
    [
        ("for i in range(200): print(('x' * 1023 + '\\n') * 1024, flush=True)", "64 MiB in all"),
        ("print('x' * 50_000_000)", "16 MiB at once"),
        ("from IPython.display import HTML, display; display(HTML('x' * 50_000_000))", "16 MiB at once"),
        ("raise ValueError('x' * 50_000_000)", "16 MiB at once"),
    ],
    ids=["lines", "line", "display", "error"],
)
def test_a_flood_of_output_ends_the_kernel_and_fills_no_memory(deed, reason):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = run("y = 2", deed, "print(y)")
    assert reason in sentence(result.notes[0])
    assert said(result, 2) == "2\n"
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 400  # MiB
    assert len(nbformat.writes(result.notebook)) < 3 * MiB


def test_much_output_is_cut_and_says_so():
    result = run("for i in range(3): print('x' * 1_000_000)", "raise ValueError('y' * 3_000_000)", "print(3)")
    assert 2**20 <= len(said(result, 0)) < 2**20 + 100
    assert "put out more than 1 MiB" in said(result, 0)
    assert len(json.dumps(result.notebook.cells[1])) < 10_000 and "ValueError" in said(result, 1)
    assert said(result, 2) == "3\n"


def test_no_output_is_dropped_because_it_came_fast():
    result = run("for i in range(4000): display(i)", "print('x', flush=True)")
    assert [o.data["text/plain"] for o in result.notebook.cells[0].outputs] == [str(i) for i in range(4000)]
    assert result.notes == []


def test_what_a_cell_put_out_before_its_kernel_died_is_kept():
    assert said(run("import os, time; print('so far', flush=True); time.sleep(1); os._exit(0)")).startswith("so far\n")


def test_a_progress_bar_leaves_its_last_state_and_live_output_is_replaced():
    result = run(
        "import sys\nfor i in range(5): print(f'\\r{i}/4', end='', file=sys.stderr, flush=True)",
        "from IPython.display import clear_output\nfor i in range(3): clear_output(); print(i)",
    )
    assert said(result, 0) == "4/4"
    assert said(result, 1) == "2\n"


def test_forged_messages_are_passed_over():
    result = run(FORGE, "print(1)")
    assert "? end" in said(result, 0) and said(result, 1) == "1\n"
    nbformat.validate(result.notebook)
    nbformat.writes(result.notebook).encode()


def test_a_message_that_makes_no_sense_ends_the_kernel():
    """Signed messages whose parts are not what they have to be: the cell's outputs cannot be known any more."""
    forge = "k = get_ipython().kernel; k.session.send(k.iopub_socket, 'status', {}, parent=[1])"
    result = run("y = 2", assertions(forge), "print(y)")
    assert mark(result, 1) == 0
    assert said(result, 2) == "2\n"


def test_widgets_do_no_harm():
    result = run(COMMS, "import ipywidgets\nwith ipywidgets.Output(): print('in a widget')")
    assert said(result, 1) == "in a widget\n"
    assert "widgets" not in result.notebook.metadata


# --- surroundings -----------------------------------------------------------------------------------------------------


def notebook(*cells):
    return nbformat.v4.new_notebook(
        cells=list(cells), metadata={"kernelspec": {"name": "julia-9", "display_name": "J"}}
    )


def test_the_given_notebook_stays_as_it_was_and_its_kernelspec_does_not_matter():
    given = notebook(cell("print(1)"), nbformat.v4.new_markdown_cell("text"), cell(" "))
    before = copy.deepcopy(given)
    result = execute(given, {}, limits=QUICK, judge_class=StandIn)
    assert given == before
    assert said(result, 0) == "1\n"


def test_works_where_an_event_loop_is_running_already():
    async def main():
        return execute(notebook(cell("print(1)")), {}, limits=QUICK, judge_class=StandIn)

    assert said(asyncio.run(main())) == "1\n"


def test_without_the_sandbox_the_same_happens_in_an_ordinary_kernel(tmp_path):
    (tmp_path / "data.txt").write_text("from the folder")
    result = run(
        ASK,
        "import os; os._exit(1)",
        "print(open('data.txt').read())",
        check("a", "ask('half')"),
        exercises="a",
        files=tmp_path,
        sandbox=False,
    )
    assert said(result, 2) == "from the folder\n"
    assert mark(result) == 1.0


def test_the_real_judge_and_checker_meet_in_the_sandbox():
    torch = pytest.importorskip("torch")
    from course_utils.checking.cases import ExerciseCases

    inputs = [(1,), (torch.arange(3),)]
    double = ExerciseCases(
        "double", 2.0, {"kind": "exact"}, inputs, [None] * 2, expected=[{"value": 2}, {"value": torch.arange(3) * 2}]
    )
    cells = (
        cell("from course_utils.check import Checker\ncheck = Checker('a1')"),
        cell("def double(x): return x * 2 if x is not 1 else 3"),
    )
    result = execute(notebook(*cells, check("double", "check(double)")), {"double": double})
    assert mark(result) == 1.0 and result.verdicts["check_double"].held == 1


def test_case_is_all_that_is_needed():
    assert Case().points == 2.0


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_kernel_that_the_machine_ends_before_any_cell_ran_is_started_again(monkeypatch, times):
    start, starts = provisioner._start, []

    def killed(*arguments):
        starts.append(start(*arguments))
        if len(starts) <= times:  # as Linux does where memory runs out
            process = starts[-1][0]
            while not process.processes():
                time.sleep(0.01)
            process.kill()
        return starts[-1]

    monkeypatch.setattr(provisioner, "_start", killed)
    if times == 3:
        with pytest.raises(SandboxError, match="the kernel did not start: it ended at once .SIGKILL"):
            run("print(1)")
        return
    result = run("print(1)")
    assert said(result) == "1\n" and result.usage["kernels"] == 1 and not result.notes


def test_a_cell_that_the_machine_keeps_from_running_is_not_interrupted(monkeypatch):
    """It used no time of its own, whatever the clock says; one that only waits does."""
    monkeypatch.setattr("autograder.run.execute._Manager.busy", lambda manager: (0.0, True))
    result = run("import time\ntime.sleep(3)\nprint('done')", limits=replace(QUICK, cell_s=1))
    assert "done" in said(result, 0) and not result.notes
    monkeypatch.setattr("autograder.run.execute._Manager.busy", lambda manager: (0.0, False))
    result = run("import time\ntime.sleep(60)\nprint('done')", limits=replace(QUICK, cell_s=1))
    assert "done" not in said(result, 0) and result.notes[0].kind == Kind.INTERRUPTED


@pytest.mark.parametrize(
    "reply, says",
    [
        ({"ename": "MemoryError", "evalue": ""}, True),
        ({"ename": "_ArrayMemoryError", "evalue": "Unable to allocate 1.00 GiB"}, True),  # numpy's
        ({"ename": "RuntimeError", "evalue": "DefaultCPUAllocator: can't allocate memory: you tried"}, True),  # torch's
        ({"ename": "RuntimeError", "evalue": "shapes"}, False),
        ({"status": "ok"}, False),
    ],
)
def test_an_error_for_want_of_memory_is_known(reply, says):
    from autograder.run.execute import _out_of_memory

    assert _out_of_memory(reply) is says
