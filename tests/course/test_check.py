"""The checker: cases, calls, bans, verdicts, and what a student reads."""

import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
import torch

from autograder.author.exercise import (
    Case,
    Exercise,
    Module,
    Promises,
    Recipe,
    Seed,
    accuracy,
    close,
    complete,
    distribution,
    exact,
    keyed_generator,
)
from course_utils import plain
from course_utils.check import JUDGE_VARIABLE, Checker, answer, verdict
from course_utils.checking.cases import CASES_FILE, load_cases, save_cases
from course_utils.checking.promises import MOST_CALLS
from course_utils.models.rnn import CharRNN, RNNConfig


def double(x):
    return 2 * x


def make():
    """One exercise: double a tensor, with two known mistakes."""
    exercise = Exercise("double", points=3, compare=close())

    @exercise.cases
    def _(g):
        yield (torch.tensor([1.0, 0.0]),)
        for _ in range(2):
            yield (torch.rand(3, generator=g),)

    @exercise.mistake("you squared it")
    def squared(x):
        return x * x

    @exercise.mistake("you dropped the first entry")
    def short(x):
        return 2 * x[1:]

    return exercise


def built(seed=0):
    cases = make().build(seed)
    return complete(cases, [answer(double, i) for i in cases.asks])


def judge(function, show=True, exercise=None):
    exercise = exercise or built()
    return verdict(exercise, [answer(function, i, exercise.banned) for i in exercise.asks], show)


def test_a_right_answer_gets_all_points():
    result = judge(lambda x: x + x)
    assert (result.points, result.held, result.cases, result.mistake) == (3, 3, 3, None)
    assert result.message.startswith("✔ double: 3 of 3 cases hold, 3 of 3 points")


def test_a_known_mistake_is_named_with_its_hint():
    result = judge(lambda x: x**2)
    assert result.mistake == "squared" and "you squared it" in result.message
    assert result.points == 0
    assert judge(lambda x: (2 * x)[1:]).mistake == "short"


def test_partial_credit_is_the_share_of_cases_that_hold():
    result = judge(lambda x: 2 * x if len(x) == 2 else x)
    assert result.points == 1 and result.mistake is None


def test_an_unknown_wrong_answer_names_no_mistake():
    result = judge(lambda x: 3 * x)
    assert result.mistake is None and "value" in result.message


def test_a_case_is_shown_to_the_student_but_not_in_the_grader():
    assert "its input: [1.0, 0.0]" in judge(lambda x: x).message
    assert "[" not in judge(lambda x: x, show=False).message.replace("[0]", "")


def test_what_a_function_of_the_course_draws_is_shown_as_its_call():
    cases = built()
    drawn = {"n": 4, "seed": 3, "size": 24, "objects": ("house",)}
    cases.inputs = [(Recipe("captioned.postcards", drawn, item=0), Seed(3)), *cases.inputs[1:]]
    said = judge(lambda x, seed: x.sum(), exercise=cases).message
    assert "its input: captioned.postcards(n=4, seed=3, size=24, objects=('house',))[0], Seed(" in said


def test_not_implemented_is_said_plainly():
    def double(x):
        raise NotImplementedError

    assert "not answered yet" in judge(double).message


def test_missing_answers_do_not_hold():
    exercise = built()
    assert verdict(exercise, [answer(double, exercise.inputs[0])], show=False).points == 1
    assert verdict(exercise, [], show=False).points == 0


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda x: 1 / 0, "ZeroDivisionError"),
        (lambda x: {1, 2}, "NotPlain"),
        (lambda x: sys.exit(0), "SystemExit"),
        (lambda: 0, "TypeError"),
        (lambda x: (_ for _ in x), "NotPlain"),
    ],
)
def test_what_a_call_raises_is_an_answer(function, error):
    assert answer(function, (torch.ones(1),))["error"] == error


def test_an_interrupt_is_not_an_answer():
    def stopped(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer(stopped, (1,))


def test_a_function_that_changes_its_input_spoils_no_later_case():
    exercise = built()
    judge(lambda x: x.zero_(), exercise=exercise)
    assert judge(double, exercise=exercise).held == 3


def test_lists_are_asked_without_torch():
    """To import it takes longer than the rest of a small notebook."""
    ask = "answer(lambda x: [2 * v for v in x], ([1.0, 2.0],))"
    program = f"import sys; from course_utils.check import answer; print({ask}['value'], 'torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[2.0, 4.0] False"


def test_an_answer_cannot_change_after_it_was_given():
    kept = torch.zeros(2)
    given = answer(lambda: kept, ())
    kept += 1
    assert given["value"].tolist() == [0, 0]


def test_objects_that_say_they_equal_everything_gain_nothing():
    class Yes:
        def __eq__(self, other):
            return True

        __hash__ = None

    class YesTensor(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            return torch.tensor(True)

    class YesFloat(float):
        def __eq__(self, other):
            return True

        __hash__ = None

    for wrong in (Yes(), torch.zeros(2).as_subclass(YesTensor), YesFloat(3)):
        assert judge(lambda x, wrong=wrong: wrong).held == 0


# --- banned calls


def softmax_by_library(x):
    return torch.nn.functional.softmax(x, dim=0)


def softmax_by_method(x, f=torch.Tensor.softmax):
    return f(x, 0)


def softmax_swallowing(x):
    try:
        torch.softmax(x, 0)
    except Exception:
        pass
    return torch.softmax(x, 0)


BANNED = ["torch.nn.functional.softmax", "torch.softmax", "torch.Tensor.softmax"]


@pytest.mark.parametrize("function", [softmax_by_library, softmax_by_method, softmax_swallowing])
def test_a_banned_call_raises_and_says_why(function):
    given = answer(function, (torch.ones(3),), BANNED)
    assert given["error"] == "Banned" and "build it yourself" in given["message"]
    assert sys.getprofile() is None


def test_what_is_not_banned_works_while_something_is():
    given = answer(lambda x: x.exp() / x.exp().sum(), (torch.ones(4),), BANNED)
    assert given["value"].tolist() == [0.25] * 4


def test_a_banned_class_cannot_be_used_even_if_made_before():
    from fractions import Fraction

    half = Fraction(1, 2)
    assert answer(lambda: float(half + 1), (), ["fractions.Fraction"])["error"] == "Banned"


def test_a_banned_name_that_is_not_there_bans_nothing():
    assert answer(double, (1,), ["no_such_module.thing"])["value"] == 2


# --- building cases


def test_the_same_seed_draws_the_same_cases_and_another_seed_others():
    a, b, c = built(1), built(1), built(2)
    assert all(torch.equal(x[0], y[0]) for x, y in zip(a.inputs, b.inputs))
    assert not torch.equal(a.inputs[1][0], c.inputs[1][0])


def test_a_mistake_that_no_case_tells_apart_is_refused():
    exercise = make()
    exercise.mistake("right after all")(lambda x: x * 2.0)
    cases = exercise.build(0)
    with pytest.raises(ValueError, match="passes every case: add a case"):
        complete(cases, [answer(double, i) for i in cases.asks])


def test_a_solution_that_fails_is_refused():
    cases = make().build(0)
    with pytest.raises(ValueError, match="the solution raises ZeroDivisionError in case 1"):
        complete(cases, [answer(lambda x: 1 / 0, i) for i in cases.asks])
    exercise = Exercise("label", 1, accuracy(0.9))
    exercise.cases(lambda g: iter([Case((1,), truth=["a", "b"])]))
    with pytest.raises(ValueError, match="the solution fails case 1: value: accuracy 50.0%"):
        complete(exercise.build(0), [{"value": ["a", "a"]}])


def test_an_exercise_without_cases_says_so():
    with pytest.raises(ValueError, match="has no cases"):
        Exercise("x", 1, exact()).build(0)


def test_a_truth_never_reaches_the_function():
    exercise = Exercise("label", 1, accuracy(0.9))
    exercise.cases(lambda g: iter([Case((3,), truth=["a"] * 3)]))
    cases = exercise.build(0)
    assert cases.inputs == [(3,)] and cases.truths == [["a"] * 3]
    complete(cases, [{"value": ["a"] * 3}])
    assert judge(lambda n: ["a"] * n, exercise=cases).points == 1
    assert judge(lambda n: ["b"] * n, exercise=cases).points == 0


def test_draws_are_stored_small():
    exercise = Exercise("draw", 1, distribution(), promises=Promises(generator=False))
    exercise.cases(lambda g: iter([(Seed(int(torch.randint(1000, (), generator=g))),)]))
    cases = complete(exercise.build(0), [{"value": torch.ones(100, dtype=torch.long)}])
    assert cases.expected[0]["value"].dtype == torch.uint8


def test_a_file_of_cases_comes_back(tmp_path):
    (tmp_path / "c").write_bytes(save_cases({"double": built()}))
    back = load_cases(tmp_path / "c")["double"]
    assert judge(lambda x: x**2, exercise=back).mistake == "squared"
    assert judge(double, exercise=back).points == 3


def test_seeds_and_recipes_survive_a_file(tmp_path):
    cases = built()
    cases.inputs = [(Seed(3), Recipe("text.words", {"x": 1}, item=0))]
    (tmp_path / "c").write_bytes(save_cases({"double": cases}))
    assert load_cases(tmp_path / "c")["double"].inputs == cases.inputs


def test_a_damaged_file_of_cases_is_named(tmp_path):
    (tmp_path / "c").write_bytes(save_cases({"double": built()})[:-1])
    with pytest.raises(ValueError, match=str(tmp_path)):
        load_cases(tmp_path / "c")


# --- the student's side


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """A folder as a student has it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(JUDGE_VARIABLE, raising=False)
    (tmp_path / CASES_FILE).write_bytes(save_cases({"double": built()}))
    return {"Checker": Checker}


def test_one_line_checks(notebook, capsys):
    exec("check = Checker('a0')\ndef double(x): return x * x\ncheck(double)", notebook)
    assert "known mistake “squared”: you squared it" in capsys.readouterr().out


@pytest.mark.parametrize(
    "definition", ["double = lambda x: 2 * x", "import functools\ndouble = functools.partial(lambda a, x: a * x, 2)"]
)
def test_a_function_is_known_by_the_name_that_it_has_in_the_notebook(notebook, capsys, definition):
    exec(f"check = Checker('a0')\n{definition}\ncheck(double)", notebook)
    assert "✔ double" in capsys.readouterr().out


def test_a_function_that_answers_no_exercise_is_named(notebook):
    with pytest.raises(LookupError, match="a0 has no exercise called triple: it has double"):
        exec("check = Checker('a0')\ndef triple(x): return 3 * x\ncheck(triple)", notebook)


def test_a_notebook_alone_says_what_is_missing(notebook, tmp_path):
    (tmp_path / CASES_FILE).unlink()
    with pytest.raises(FileNotFoundError, match="copy the whole folder assignments/a0"):
        Checker("a0")


def test_in_the_grader_it_serves_the_judge(tmp_path, monkeypatch, capsys):
    path = tmp_path / "s"
    got = []

    def serve():
        connection, _ = listener.accept()
        with connection:
            plain.send(connection, {"cases": 2, "banned": [], "most": plain.MAX_BYTES})
            for x in (1, "a"):
                plain.send(connection, (x,))
                got.append(plain.receive(connection))
            plain.send(connection, "done")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setenv(JUDGE_VARIABLE, str(path))
        Checker("a0")(lambda x: x + 1)
        thread.join()
    assert got[0] == {"value": 2} and got[1]["error"] == "TypeError"


def test_a_recipe_may_use_what_is_banned(monkeypatch):
    from course_utils.data import text

    monkeypatch.setattr(text, "three", lambda: 3, raising=False)
    banned = ["course_utils.data.text.three"]
    assert answer(lambda x: x, (Recipe("text.three"),), banned) == {"value": 3}
    assert answer(lambda x: text.three(), (1,), banned)["error"] == "Banned"


def test_a_mistake_in_labels_is_known_by_nearly_all_of_them():
    exercise = Exercise("label", 1, accuracy(0.8))
    exercise.cases(lambda g: iter([Case((20,), truth=["a"] * 20)]))
    exercise.mistake("always b")(lambda n: ["b"] * n)
    cases = complete(exercise.build(0), [{"value": ["a"] * 20}])
    assert judge(lambda n: ["b"] * (n - 1) + ["a"], exercise=cases).mistake is not None
    assert judge(lambda n: ["b"] * (n - 6) + ["a"] * 6, exercise=cases).mistake is None


# --- classes ----------------------------------------------------------------------------------------------------------


class Affine(torch.nn.Module):
    """W x + b, and its double."""

    def __init__(self, wide, deep):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(deep, wide))
        self.bias = torch.nn.Parameter(torch.zeros(deep))
        self.dropout = torch.nn.Dropout(0.9)  # the check must be in eval mode

    def forward(self, x):
        return self.dropout(x @ self.weight.T + self.bias)

    def twice(self, x):
        return {"once": self(x), "twice": (2 * self(x),)}


class NoBias(Affine):
    def forward(self, x):
        return x @ self.weight.T


def affine(banned=()):
    exercise = Exercise("Affine", points=2, compare=close(), banned=banned)

    @exercise.cases
    def _(g):
        for method, init in (("forward", (3, 2)), ("twice", {"deep": 2, "wide": 3})):
            state = {"weight": torch.randn(2, 3, generator=g), "bias": torch.randn(2, generator=g)}
            yield Module(init, state, (torch.randn(4, 3, generator=g),), method)

    exercise.mistake("the bias is missing")(NoBias)
    cases = exercise.build(0)
    return complete(cases, [answer(Affine, i) for i in cases.asks])


def test_a_class_is_built_given_weights_and_called():
    exercise = affine()
    first = exercise.inputs[0][0]
    expected = torch.nn.functional.linear(first.inputs[0], first.state["weight"], first.state["bias"])
    assert torch.allclose(exercise.expected[0]["value"], expected)
    assert torch.allclose(exercise.expected[1]["value"]["twice"][0], 2 * exercise.expected[1]["value"]["once"])
    assert judge(Affine, exercise=exercise).points == 2
    result = judge(NoBias, exercise=exercise)
    assert result.mistake == "NoBias" and "built with (3, 2), called with" in result.message


def test_cases_of_a_class_are_plain_data(tmp_path):
    (tmp_path / CASES_FILE).write_bytes(save_cases({"Affine": affine()}))
    loaded = load_cases(tmp_path / CASES_FILE)["Affine"]
    assert judge(Affine, exercise=loaded).points == 2
    assert judge(NoBias, exercise=loaded).mistake == "NoBias"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: setattr(m, "extra", torch.nn.Parameter(torch.zeros(5))), "unexpected extra (5,)"),
        (lambda m: delattr(m, "bias"), "missing bias (2,)"),
        (
            lambda m: setattr(m, "weight", torch.nn.Parameter(torch.zeros(3, 2))),
            "weight has shape (3, 2), expected (2, 3)",
        ),
    ],
)
def test_other_parameters_are_named_with_their_shapes(change, said):
    class Other(Affine):
        def __init__(self, wide, deep):
            super().__init__(wide, deep)
            change(self)

    result = judge(Other, exercise=affine())
    assert result.points == 0 and said in result.message
    hidden = judge(Other, show=False, exercise=affine()).message
    assert said not in hidden and "other names or shapes" in hidden


def test_own_buffers_beside_the_parameters_are_welcome():
    class Masked(Affine):
        def __init__(self, wide, deep):
            super().__init__(wide, deep)
            self.register_buffer("mask", torch.ones(3))

    assert judge(Masked, exercise=affine()).points == 2


def test_a_function_in_place_of_the_class_is_told_so():
    assert "made from torch.nn.Module, got float" in judge(lambda wide, deep: 1.0, exercise=affine()).message


def test_an_unwritten_class_is_not_answered_yet():
    class Stub(torch.nn.Module):
        def __init__(self, wide, deep):
            raise NotImplementedError

    result = judge(Stub, exercise=affine())
    assert result.points == 0 and "not answered yet" in result.message


def test_a_ban_holds_inside_a_class():
    class Borrowed(Affine):
        def forward(self, x):
            return torch.nn.functional.linear(x, self.weight, self.bias)

    banned = ["torch.nn.functional.linear"]
    assert judge(Affine, exercise=affine(banned)).points == 2
    assert "build it yourself" in judge(Borrowed, exercise=affine(banned)).message


def test_a_class_is_found_by_its_name_in_the_notebook(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / CASES_FILE).write_bytes(save_cases({"Affine": affine()}))
    Checker("a0")(Affine)
    assert "2 of 2 cases hold" in capsys.readouterr().out


def test_ban_of_a_decorated_function_spares_others_with_the_same_decorator():
    """All functions under `torch.no_grad()` share the wrapper's code object: only what is inside tells them apart."""

    def train():
        weight = torch.zeros(1, requires_grad=True)
        weight.sum().backward()
        torch.optim.SGD([weight], lr=1.0).step()
        return weight.detach()

    def borrow():
        model = CharRNN(RNNConfig(3, hidden=2))
        return model.generate(torch.zeros(1, 1, dtype=torch.long), 1)

    banned = ["course_utils.models.rnn.CharRNN.generate"]
    assert answer(train, (), banned)["value"] == -1
    assert answer(borrow, (), banned)["error"] == "Banned"


# --- promises, and cases that are known -------------------------------------------------------------------------------


def promised(function, reference=double, argument=None, **promises):
    """The verdict on a function of one case, with these promises."""
    exercise = Exercise("f", points=2, compare=close(), promises=Promises(**promises))
    exercise.cases(lambda g: iter([argument or (torch.tensor([1.0, 2.0]),)]))
    cases = exercise.build(0)
    complete(cases, [answer(reference, ask) for ask in cases.asks])
    return verdict(cases, [answer(function, ask) for ask in cases.asks], show=True)


def test_a_right_answer_keeps_all_promises():
    assert promised(lambda x: x + x, gradients=(0,), dtype=True).points == 2


def test_an_argument_that_is_changed_costs_as_much_as_a_case():
    result = promised(lambda x: x.mul_(2))
    assert (result.held, result.cases, result.points) == (1, 2, 1)
    assert "`x` is not what it was before the call: work on a copy" in result.message


@pytest.mark.parametrize(
    "spoil", [lambda v: v["a"].zero_(), lambda v: v.pop("a"), lambda v: v["b"].append(3), lambda v: v.update(b=[1])]
)
def test_what_lies_in_an_argument_is_looked_at_too(spoil):
    def function(values):
        result = values["a"].sum()
        spoil(values)
        return result

    argument = ({"a": torch.ones(2), "b": [1, 2]},)
    assert "`values` is not what it was" in promised(function, lambda values: values["a"].sum(), argument).message


@pytest.mark.parametrize(
    "function",
    [
        lambda x: 2 * x.detach(),
        lambda x: torch.tensor([2 * v.item() for v in x]),
        lambda x: torch.from_numpy(2 * x.numpy()),
        lambda x: x + x.detach(),
        torch.no_grad()(double),
    ],
)
@pytest.mark.filterwarnings("ignore:Converting a tensor")
def test_a_gradient_that_is_cut_is_said(function):
    result = promised(function, gradients=(0,), device=False)
    assert result.points == 1 and "gradient" in result.wrong and "cut it off" in result.wrong
    assert "`float(…)`, functions of `math`" in result.wrong
    assert promised(function, device=False).points == 2


def test_a_wrong_value_without_a_slope_is_not_called_cut():
    exercise = Exercise("f", points=2, compare=close(), promises=Promises(gradients=(0,), device=False))
    exercise.cases(lambda g: iter([(torch.tensor([1.0, 2.0]),), (torch.tensor([4.0, 5.0]),)]))
    cases = exercise.build(0)
    complete(cases, [answer(double, ask) for ask in cases.asks])

    def message(function):
        return verdict(cases, [answer(function, ask) for ask in cases.asks], show=False).message

    assert "no gradient" not in message(lambda x: double(x).clamp(max=6))
    assert "cut it off" in message(lambda x: double(x).detach().clamp(max=6))


def test_a_gradient_that_is_nan_in_another_case_is_said():
    def rows(below):
        return lambda x: x / below(x.norm(dim=1, keepdim=True))

    exercise = Exercise("f", points=2, compare=close(), promises=Promises(gradients=(0,), device=False))
    exercise.cases(lambda g: iter([(torch.eye(2),), (torch.zeros(2, 2),), (2 * torch.eye(2),)]))
    cases = exercise.build(0)
    complete(cases, [answer(rows(lambda n: n.clamp(min=1e-9)), ask) for ask in cases.asks])

    def judged(function):
        return verdict(cases, [answer(function, ask) for ask in cases.asks], show=False)

    result = judged(lambda x: rows(lambda n: n)(x).nan_to_num())
    assert (result.held, result.cases) == (3, 4)
    assert "the value of case 2 is right, but the gradient that reaches `x` is nan" in result.message
    assert judged(rows(lambda n: n + (n == 0))).points == 2
    assert (result := judged(rows(lambda n: n))).held == 2 and "gradient" not in result.message  # its value is nan, too


def overwritten(x):
    y = x.exp()
    z = (y * y).sum() + 0 * x
    y[0] = 0.0
    return z * 0 + 2 * x


def test_a_constant_in_another_case_is_said():
    """`backward()` would raise an error there, though the value is right."""
    exercise = Exercise("f", points=2, compare=close(), promises=Promises(gradients=(0,), device=False))
    exercise.cases(lambda g: iter([(torch.zeros(0),), (torch.ones(3),)]))
    exercise.mistake("wrong")(lambda x: x.sum() + 5)
    cases = complete(exercise.build(0), [answer(torch.sum, ask) for ask in exercise.build(0).asks])

    def judged(function):
        return verdict(cases, [answer(function, ask) for ask in cases.asks], show=True)

    result = judged(lambda x: x.sum() if len(x) else torch.tensor(0.0))
    assert result.held == 2 and result.cases == 3
    assert "the value of case 1 is right, but no gradient goes back from it" in result.message
    assert judged(lambda x: (x * 1).sum()).held == judged(torch.sum).cases
    assert "goes back" not in judged(lambda x: x.sum() if len(x) else torch.tensor(7.0)).message  # wrong, too


def test_where_a_gradient_makes_it_stop_is_said():
    result = promised(overwritten, gradients=(0,), device=False)
    assert result.points == 1 and "what the gradient needs is overwritten" in result.wrong

    def refuses(x):
        if x.requires_grad:
            raise KeyError(str(x))
        return 2 * x

    result = promised(refuses, gradients=(0,), device=False)
    assert result.points == 1 and result.wrong.endswith("it raised KeyError")  # its text may tell hidden numbers


def test_an_answer_that_hangs_on_earlier_calls_is_said():
    calls = []

    def once(x):
        calls.append(x)
        return 2 * x if len(calls) == 1 else x

    result = promised(once, device=False)
    assert result.points == 1 and "asked the same again, it gives another answer" in result.wrong
    assert promised(lambda x: 2 * x + 1e-6 * torch.rand(2), device=False).points == 2
    result = promised(lambda x: x * torch.rand(2), device=False)  # a wrong value may be one of several, too
    assert "asked the same again, it gives another answer" in result.message


class KeepsASum(torch.nn.Module):
    """Each module starts anew, but goes on from what it has answered before."""

    total = 0.0

    def forward(self, x):
        self.total = self.total + x
        return self.total


def test_a_module_that_keeps_something_from_one_call_to_the_next_is_found():
    exercise = Exercise("M", points=2, compare=close(), promises=Promises(device=False))
    exercise.cases(lambda g: iter([Module((), {}, (torch.ones(2),))]))
    cases = exercise.build(0)
    complete(cases, [answer(torch.nn.Identity, ask) for ask in cases.asks])
    assert verdict(cases, [answer(torch.nn.Identity, ask) for ask in cases.asks], show=True).points == 2
    result = verdict(cases, [answer(KeepsASum, ask) for ask in cases.asks], show=True)
    assert result.points < 2 and "asked the same again, it gives another answer" in result.wrong
    exercise = Exercise("f", points=2, compare=close(), seconds=9)
    exercise.cases(lambda g: iter([(torch.ones(2),)]))
    assert len(exercise.build(0).asks) == 2  # the case, and on another device: what takes its time is not asked again


def draws(p, g):
    return torch.multinomial(p, 500, replacement=True, generator=g)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda p, g: torch.multinomial(p, 500, replacement=True), "hand it to each function that draws"),
        (lambda p, g: draws(p, g.manual_seed(0)), "seed nothing yourself"),
        (lambda p, g: draws(p, torch.Generator().manual_seed(1)), "seed nothing yourself"),
        (lambda p, g: draws(p, torch.Generator().manual_seed(g.initial_seed())), "called twice with one generator"),
        (lambda p, g: draws(p, g.clone_state()), "called twice with one generator"),
    ],
)
def test_a_generator_that_is_not_followed_is_said(function, said):
    argument = (torch.tensor([0.2, 0.5, 0.3]), Seed(5))
    exercise = Exercise("f", points=2, compare=distribution())
    exercise.cases(lambda g: iter([argument]))
    cases = exercise.build(0)
    complete(cases, [answer(draws, ask) for ask in cases.asks])
    assert judge(draws, exercise=cases).points == 2
    assert said in verdict(cases, [answer(function, ask) for ask in cases.asks], show=True).wrong


class Dropped(torch.nn.Module):
    def forward(self, x, g):
        return x * (torch.rand(50, generator=g) > 0.5)


class DroppedAnew(torch.nn.Module):
    def forward(self, x, g):
        return x * (torch.rand(50, generator=torch.Generator().manual_seed(g.initial_seed())) > 0.5)


def test_a_module_that_begins_its_generator_anew_is_found():
    exercise = Exercise("M", points=2, compare=close(), promises=Promises(device=False))
    exercise.cases(lambda g: iter([Module((), {}, (torch.ones(50), Seed(5)))]))
    cases = exercise.build(0)
    complete(cases, [answer(Dropped, ask) for ask in cases.asks])
    assert verdict(cases, [answer(Dropped, ask) for ask in cases.asks], show=True).points == 2
    found = verdict(cases, [answer(DroppedAnew, ask) for ask in cases.asks], show=True)
    assert found.points < 2 and "called twice with one generator" in found.wrong


def test_a_dtype_that_what_follows_needs_is_asked_for():
    ids = (torch.tensor([1, 2]),)
    assert promised(lambda x: 2 * x.int(), argument=ids).points == 2
    assert "expected int64, got int32" in promised(lambda x: 2 * x.int(), argument=ids, dtype=True).wrong


class MaskOfItsOwn(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mask = torch.ones(2)

    def forward(self, x):
        return 2 * x * self.mask


def written(table, x):
    table[(x > 1).long()] = 2 * x
    return table


TWO = torch.tensor([2.0, 2.0])
DEVICE_FAULTS = {
    "made by zeros": lambda x: torch.zeros(2) + 2 * x,
    "made by ones": lambda x: x * (torch.ones(2) + 1),
    "a range": lambda x: 2 * x + 0 * torch.arange(2),
    "a mask": lambda x: torch.where(torch.ones(2, dtype=torch.bool), 2 * x, x),
    "filled through a mask": lambda x: (2 * x).masked_fill(torch.zeros(2, dtype=torch.bool), 0),
    "put behind it": lambda x: torch.cat([2 * x, torch.zeros(0)]),
    "stacked": lambda x: torch.stack([x, torch.ones(2)])[0] * 2,
    "of the cell": lambda x: x * TWO,
    "gathered": lambda x: 2 * x.gather(0, torch.tensor([0, 1])),
    "a unit matrix": lambda x: x @ (2 * torch.eye(2)),
    "a layer": lambda x: torch.nn.Linear(2, 2)(x) * 0 + 2 * x,
    "scattered": lambda x: torch.zeros(2).scatter(0, torch.arange(2), x) * 2,
    "indexed": lambda x: 2 * torch.ones(2)[(x > 5).long()] * x,
    "written by index": lambda x: written(torch.zeros(2), x),
    "added by index": lambda x: torch.zeros(2).index_add(0, (x > 1).long(), 2 * x),
    "behind a question": lambda x: 2 * x + torch.zeros(2) if x.sum() > 0 else 2 * x,
    "behind a number": lambda x: x * float(x[1]) / 2 * torch.ones(2) + x,
    "behind a choice": lambda x: torch.cat([2 * x[x > 0], torch.zeros(0)]),
}


@pytest.mark.parametrize("fault", DEVICE_FAULTS)
def test_a_usual_fault_with_devices_is_found_without_one(fault):
    result = promised(DEVICE_FAULTS[fault])
    assert (result.held, result.cases) == (1, 2), result.message
    assert "on a GPU it stops in line" in result.wrong and "device=x.device" in result.wrong
    warned = promised(DEVICE_FAULTS[fault], device="warns")
    assert warned.points == 2 and "device=x.device" in warned.message


def filled(x):
    table = torch.empty(len(x))
    for i in range(len(x)):
        table[i] = 2 * x[i]
    return table


@pytest.mark.parametrize("function", [filled, lambda x: torch.full((len(x),), 2.0)])
def test_an_answer_that_is_left_on_the_cpu_is_found(function):
    result = promised(function, argument=(torch.ones(2),))
    assert "left behind on the CPU" in result.wrong and (result.held, result.cases) == (1, 2), result.message


def test_another_device_is_asked_about_in_every_case():
    exercise = Exercise("f", points=2, compare=close())
    exercise.cases(lambda g: iter([(torch.ones(2), True), (torch.zeros(2), False)]))
    cases = exercise.build(0)
    complete(cases, [answer(lambda x, more: 2 * x, ask) for ask in cases.asks])
    result = judge(lambda x, more: 2 * x + torch.zeros(2) if more else 2 * x, exercise=cases)
    assert (result.held, result.cases) == (2, 3) and "device=x.device" in result.wrong


def test_a_mask_that_is_no_buffer_is_found():
    exercise = Exercise("M", points=2, compare=close())
    exercise.cases(lambda g: iter([Module((), {}, (torch.ones(2),))]))
    cases = exercise.build(0)
    complete(cases, [{"value": 2 * torch.ones(2)}, {"value": 2 * torch.ones(2)}, {"value": None}])
    assert "register_buffer" in verdict(cases, [answer(MaskOfItsOwn, ask) for ask in cases.asks], show=True).wrong


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.new_zeros(2) + 2 * x,
        lambda x: torch.zeros(2, device=x.device) + 2 * x,
        lambda x: torch.tensor([2 * v for v in x.tolist()]),
        lambda x: torch.tensor([float(2 * v) for v in x]),
        lambda x: (2 * x).to("cpu"),
        lambda x: 2 * x if x.sum() > 0 else x,
        lambda x: x * 2.0 + torch.tensor(0.0),
        lambda x: torch.from_numpy(2 * x.cpu().numpy()),
        lambda x: torch.stack([v * 2 for v in x]),
        lambda x: 2 * x[torch.arange(2)],
        lambda x: (2 * x).index_select(0, torch.arange(2, device=x.device)),
        lambda x: 2 * x if x.is_cuda else 2 * x[x > 0] if x.sum() > 0 else x,
        lambda x: torch.zeros_like(x).index_add(0, (x > 0).nonzero()[:, 0], 2 * x[x > 0]),
    ],
)
def test_what_runs_on_a_device_or_hangs_on_numbers_is_no_fault(function):
    assert promised(function).points == 2 and not promised(function).broken


def test_what_is_broken_off_within_no_grad_leaves_gradients_as_they_were():
    @torch.no_grad()
    def long(x):
        for _ in range(2 * MOST_CALLS):
            x = x * 1.0
        return 2 * x

    assert promised(long).points == 2
    assert torch.is_grad_enabled()


def test_numpy_on_a_device_is_named_and_costs_nothing():
    result = promised(lambda x: torch.from_numpy(2 * x.numpy()))
    assert result.points == 2 and "`x.cpu().numpy()`" in result.message


def test_a_case_that_is_known_earns_nothing_and_costs_if_it_fails():
    exercise = built()
    exercise.seen = [0]
    assert judge(double, exercise=exercise).points == 3
    table = exercise.expected[0]["value"]
    assert judge(lambda x: table if len(x) == 2 else x, exercise=exercise).points == 0
    assert judge(lambda x: x if len(x) == 2 else 2 * x, exercise=exercise).points == 2


def test_hidden_cases_know_which_ones_are_visible():
    exercise = make()
    assert exercise.seen(exercise.drawn(b"a key")) == [0]
    assert not torch.equal(exercise.drawn(b"a key").inputs[1][0], exercise.drawn(b"another").inputs[1][0])
    assert torch.equal(exercise.drawn(b"a key").inputs[1][0], exercise.drawn(b"a key").inputs[1][0])


def test_two_exercises_share_no_stream():
    other = Exercise("triple", points=1, compare=close())
    other.draw = make().draw
    assert not torch.equal(make().drawn(b"a key").inputs[1][0], other.drawn(b"a key").inputs[1][0])


def test_all_of_a_key_counts():
    """Two keys whose first 32 bits agree give other numbers, and the numbers are even."""
    keys = [b"abcd" + bytes([n]) * 28 for n in range(2)]
    a, b = (torch.rand(20_000, generator=keyed_generator(key)) for key in keys)
    assert not torch.equal(a[:5], b[:5])
    assert abs(float(a.mean()) - 0.5) < 0.02 and abs(float((a * b).mean()) - 0.25) < 0.02


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_a_call_that_takes_too_long_is_one_case_that_does_not_hold():
    def slow(x):
        while len(x) == 2:
            with suppress(Exception):
                sum(range(1000))
        return 2 * x

    exercise = built()
    answers = [answer(slow, ask, seconds=0.2) for ask in exercise.asks]
    result = verdict(exercise, answers, show=True)
    assert (result.held, result.case) == (2, 1) and "processor time" in result.wrong
    assert signal.getsignal(signal.SIGPROF) == signal.SIG_DFL
