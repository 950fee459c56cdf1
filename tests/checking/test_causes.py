"""Why a check came to no verdict is said, in words that hold nothing of the student's but names."""

import pytest
import torch
from nbformat.v4 import new_code_cell, new_output

from course_utils.check import Verdict, answer
from course_utils.checking.causes import explain, says_exit
from course_utils.compare import NOT_ANSWERED, difference

CHECK = "check(double)"
DEFINED = "def double(x):\n    return x + x"
UNDEFINED = ("NameError", "name 'double' is not defined")


def why(sources, errors, cases=0, wrong="the check cell asked for none"):
    """What is said of the check cell among cells with these texts; `errors`: index -> (name, text)."""
    cells = [new_code_cell(source) for source in sources]
    outputs = {i: [new_output("error", ename=n, evalue=t)] for i, (n, t) in errors.items()}
    verdict = Verdict("double", 0.0, 2.0, 0, cases, wrong=wrong)
    explain(verdict, cells, outputs, sources.index(CHECK))
    return verdict.reason


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("import google.colab\n" + DEFINED, ("ModuleNotFoundError", "No module named 'google'"), "google (it exists"),
        ("from mine import f\n" + DEFINED, ("ModuleNotFoundError", "No module named 'mine'"), "mine (if it is a file"),
        (DEFINED + ")", ("SyntaxError", "unmatched ')' (12.py, line 2)"), "stopped with SyntaxError in line 2"),
        ("y = z\n" + DEFINED, ("NameError", "name 'z' is not defined"), "NameError: `z` is not defined"),
        ("exit()\n" + DEFINED, ("KernelDied", "this cell said exit()"), "ended its kernel"),
        ("1 / 0\n" + DEFINED, ("ZeroDivisionError", "secret 4711"), "stopped with ZeroDivisionError"),
        ("x\n" + DEFINED, ("Look at <b> this", "x"), "stopped with an error"),
    ],
)
def test_the_cell_that_should_have_defined_it_is_named(source, error, said):
    text = why([source, CHECK], {0: error, 1: UNDEFINED})
    assert text.startswith("`double` is not defined: cell 1 ") and said in text and "4711" not in text


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (("ModuleNotFoundError", "No module named 'x0_3712'"), "stopped with ModuleNotFoundError"),
        (("ModuleNotFoundError", "No module named 'mine'"), "stopped with ModuleNotFoundError: mine (if it is a file"),
        (("NameError", "name 'x0_3712' is not defined"), "stopped with NameError"),
        (("E3712", ""), "stopped with an error"),
        (("Mine", ""), "stopped with Mine"),
    ],
)
def test_after_the_first_check_only_names_that_stand_in_the_notebook_are_repeated(error, said):
    """Others could be made of hidden inputs."""
    first = new_code_cell("check(first)", metadata={"nbgrader": {"grade_id": "check_first", "grade": True}})
    cells = [first, new_code_cell("import mine.f\nraise Mine\n" + DEFINED), new_code_cell(CHECK)]
    outputs = {1: [new_output("error", ename=error[0], evalue=error[1])]}
    outputs[2] = [new_output("error", ename=UNDEFINED[0], evalue=UNDEFINED[1])]
    for place, before in ((1, "`double` is not defined: cell 2 "), (2, "its check cell ")):
        verdict = Verdict("double", 0.0, 2.0, 0, 0, wrong="")
        explain(verdict, cells, outputs if place == 1 else {2: outputs[1]}, 2)
        assert verdict.reason.startswith(before + said) and "3712" not in verdict.reason


def test_where_nothing_stopped():
    assert "begins with %%timeit" in why(["%%timeit\n" + DEFINED, CHECK], {1: UNDEFINED})
    assert "later cell took it away" in why(["%%time\n" + DEFINED, CHECK], {1: UNDEFINED})
    assert "no cell defines it; cell 1 defines `duoble`" in why(["def duoble(x): pass", CHECK], {1: UNDEFINED})
    assert why(["1", CHECK], {1: UNDEFINED}).endswith("no cell defines it")
    assert "cell 2, which defines it, stands below" in why([CHECK, DEFINED], {0: UNDEFINED})


def test_the_checker_itself_is_missing_or_another_thing():
    lost = ("NameError", "name 'check' is not defined")
    assert "`check` is not defined: cell 2, which" in why([CHECK, "check = Checker('a')"], {0: lost})
    for source in ("def check(x): pass", "for check in [1]: pass", "from mine import f, check", "check: int = 3"):
        assert "cell 2 gives the name `check`" in why(["check = Checker('a')", source, CHECK], {})
    said = "the check cell asked for none"
    assert why(["check = Checker('a')", "check == 1; checks = 2; f(check=3)", CHECK], {}) == said


def test_a_better_reason_stays():
    assert why([CHECK], {0: ("NotRun", "the time is up")}, wrong="the time is up") == "the time is up"
    assert why([CHECK], {0: ("KernelDied", "x")}) == "its check cell ended its kernel"


def test_an_answer_that_the_check_did_not_see_is_named():
    stub = "def double(x):\n    raise NotImplementedError"
    assert "cell 3 defines `double`, but below" in why([stub, CHECK, DEFINED], {}, 2, NOT_ANSWERED)
    assert "cell 1 defines `double`, but the unanswered" in why([DEFINED, stub, CHECK], {}, 2, NOT_ANSWERED)
    assert why([stub, CHECK], {}, 2, NOT_ANSWERED) == NOT_ANSWERED


def stub(x):
    raise NotImplementedError


class NoForward(torch.nn.Module):
    """Its method has another name."""


@pytest.mark.parametrize(
    ("function", "unanswered"),
    [
        (stub, True),
        (lambda x: stub(x), False),  # it is written; what it calls is not
        (lambda x: torch.tensor([1, 2]).mean(), False),
        (lambda x: torch.tensor([1, 2]).softmax(0), False),
        (lambda x: torch.nn.functional.cross_entropy(torch.tensor([[1, 2]]), torch.tensor([0])), False),
        (lambda x: NoForward()(x), False),
    ],
)
def test_only_the_stub_itself_is_not_answered(function, unanswered):
    said = difference({"kind": "close"}, answer(function, (1,)), {"value": 1.0})
    assert (said == NOT_ANSWERED) == unanswered and said


def test_exit_is_told_by_the_reply():
    assert says_exit({"payload": [{"source": "ask_exit", "keepkernel": False}]})
    for payload in (None, 3, ["ask_exit"], [{"source": "page"}], [{"source": "ask_exit", "keepkernel": True}]):
        assert not says_exit({"payload": payload})
