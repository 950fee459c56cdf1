"""Assignment 9 is fair: all right answers score full, each known mistake loses its exercise and is named."""

import math
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
import torch
from alternatives.a9_memorization import ALTERNATIVES, source

from course_utils import losses, memorization
from course_utils.check import ExerciseCases, Verdict, answer, verdict
from course_utils.grading.exercise import complete, load_exercises
from course_utils.plain import Seed, cook, resolve

FOLDER = Path(__file__).parents[1] / "solutions" / "a9_memorization"
NOTEBOOK = nbformat.read(FOLDER / "a9_memorization.ipynb", as_version=4)
EXERCISES = load_exercises(FOLDER)
NAMES = list(EXERCISES)
SEEDS = {name: range(1) if name == "find_leaks" else range(4) for name in NAMES}
DRAWS = [(name, seed) for name in NAMES for seed in SEEDS[name]]
STUB = re.compile(r"### BEGIN SOLUTION.*### END SOLUTION", re.DOTALL)


def cell(name: str):
    (found,) = [c for c in NOTEBOOK.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name]
    return found


def defined(code: str, name: str):
    names = {"torch": torch, "re": re}  # what the set-up cell brings
    exec(code, names)
    return names[name]


@cache
def solution(name: str):
    """The solution's function, from its cell alone: an exercise that needed another one would fail here."""
    return defined(cell(name).source, name)


@cache
def cases(name: str, seed: int) -> ExerciseCases:
    drawn = EXERCISES[name].build(seed)
    drawn.inputs = cook(drawn.inputs)  # once, as the judge does, and not for each function again
    return complete(drawn, [answer(solution(name), inputs, drawn.banned) for inputs in drawn.inputs])


def judged(function, name: str, seed: int) -> Verdict:
    """The verdict on a function, with other random numbers than the reference's: it must not depend on them."""
    drawn = cases(name, seed)
    torch.manual_seed(seed)  # for answers that draw from torch's own generator
    inputs = [tuple(Seed(a.n + 1) if isinstance(a, Seed) else a for a in arguments) for arguments in drawn.inputs]
    return verdict(drawn, [answer(function, arguments, drawn.banned) for arguments in inputs], show=True)


# --- fair -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "seed"), DRAWS)
def test_solution_scores_full(name, seed):
    result = judged(solution(name), name, seed)
    assert result.held == result.cases, result.message
    assert result.points == EXERCISES[name].points


@pytest.mark.parametrize(("name", "seed"), DRAWS)
def test_other_right_answers_score_full(name, seed):
    assert len(ALTERNATIVES[name]) >= 2
    for function in ALTERNATIVES[name]:
        result = judged(function, name, seed)
        assert result.held == result.cases, f"{function.__name__}: {result.message}"


@pytest.mark.parametrize(("name", "seed"), DRAWS)
def test_each_mistake_loses_points_and_is_named(name, seed):
    assert len(EXERCISES[name].mistakes) >= 3
    for mistake, (hint, function) in EXERCISES[name].mistakes.items():
        result = judged(function, name, seed)
        assert result.held < result.cases, f"{mistake} passes"
        assert result.mistake == mistake, f"{mistake} was taken for {result.mistake}: {result.message}"
        assert hint in result.message


@pytest.mark.parametrize("name", NAMES)
def test_unanswered_exercise_scores_nothing(name):
    stub = defined(STUB.sub("raise NotImplementedError", cell(name).source), name)
    result = judged(stub, name, 0)
    assert result.points == 0
    assert "not answered yet" in result.message


@pytest.mark.parametrize("name", NAMES)
def test_what_is_easiest_earns_little(name):
    """Without an idea of the exercise there is less than half of its points to get."""
    guesses = {
        "longest_match": lambda generated, training: (0, len(generated)),
        "mark_copied": lambda generated, training, n: torch.ones(len(generated), dtype=torch.bool),
        "exposure": lambda losses, canaries: torch.full((len(canaries),), math.log2(len(losses))),
        "contamination": lambda q, training, n, threshold: (torch.ones(len(q)), torch.ones(len(q), dtype=torch.bool)),
        "score_gap": lambda correct, leaked: (float(correct.double().mean()), 0.0, 0.0),
        "private_gradient": lambda gradients, max_norm, noise_multiplier, noise: [g.mean(0) for g in gradients],
        "find_leaks": lambda training, questions: [True] * len(questions),
    }
    result = judged(guesses[name], name, 0)
    assert result.held < result.cases / 2, result.message


@pytest.mark.parametrize("name", NAMES)
def test_librarys_own_is_banned_during_the_check(name):
    borrowed = [
        lambda *arguments: losses.dp_sgd_gradient(None, None, max_norm=1.0, noise_multiplier=0.0),
        lambda *arguments: memorization.PassageIndex(["a", "b"]).longest_match(["a"]),
        lambda *arguments: memorization.longest_match(["a"], ["a", "b"]),
        lambda *arguments: memorization.verbatim(["a"], ["a"]),
        lambda *arguments: memorization.common_runs(["a"], ["a"]),
        lambda *arguments: memorization.exposure(torch.zeros(4), 1),
        lambda *arguments: memorization.ngram_overlap(["a"], ["a", "b"], 1),
    ]
    for function in borrowed:
        result = judged(function, name, 0)
        assert result.points == 0
        assert "build it yourself" in result.message


@pytest.mark.parametrize("name", NAMES)
def test_hidden_cases_are_others_and_stay_the_same(name):
    visible, hidden, again = (list(EXERCISES[name].draw(torch.Generator().manual_seed(seed))) for seed in (0, 1, 1))
    assert len(visible) == len(hidden) >= 4
    assert repr(visible) != repr(hidden) == repr(again)


@pytest.mark.parametrize("name", NAMES)
def test_answers_can_be_put_into_a_notebook(name):
    """The source of each alternative and each mistake stands alone and does what the function does."""
    functions = ALTERNATIVES[name] + [function for _, function in EXERCISES[name].mistakes.values()]
    inputs = cases(name, 0).inputs[0]
    for function in functions:
        torch.manual_seed(0)
        expected = answer(function, inputs)
        torch.manual_seed(0)
        assert repr(answer(defined(source(function, name), name), inputs)) == repr(expected)


# --- right ------------------------------------------------------------------------------------------------------------


def test_examples_by_hand_are_what_the_solution_gives():
    generated, training = torch.tensor([5, 1, 2, 3, 1, 2]), torch.tensor([0, 1, 2, 3, 0, 4, 1, 2])
    assert solution("longest_match")(generated, training) == (1, 3)
    generated, training = torch.tensor([0, 1, 9, 1, 2, 3, 8, 4]), torch.tensor([0, 1, 2, 3, 4])
    marks = {n: solution("mark_copied")(generated, training, n).int().tolist() for n in (2, 3, 4)}
    assert marks == {2: [1, 1, 0, 1, 1, 1, 0, 0], 3: [0, 0, 0, 1, 1, 1, 0, 0], 4: [0] * 8}
    assert solution("exposure")(torch.tensor([2.0, 5.0, 3.0, 7.0]), torch.tensor([0, 2, 3])).tolist() == [2, 1, 0]
    training = "the cat sat on the mat and the dog sat on the cat".split()
    questions = [q.split() for q in ("the cat sat down", "dog sat on the mat", "mat")]
    shares, flagged = solution("contamination")(questions, training, 2, 0.5)
    assert shares.tolist() == pytest.approx([2 / 3, 1, 1])
    assert flagged.all()
    correct = torch.tensor([1, 1, 1, 0, 1, 0, 0, 1]).bool()
    found = solution("score_gap")(correct, torch.tensor([1, 1, 1, 1, 0, 0, 0, 0]).bool())
    assert found == pytest.approx((1 / 2, 1 / 4, math.sqrt(0.1875 / 4 + 0.25 / 4)))
    gradients, z = [torch.tensor([[3.0, 4.0], [0.0, 0.5]])], [torch.tensor([1.0, -1.0])]
    for sigma, expected in ((0.0, (0.3, 0.65)), (2.0, (1.3, -0.35))):
        (gradient,) = solution("private_gradient")(gradients, 1.0, sigma, z)
        assert torch.allclose(gradient, torch.tensor(expected))


def test_example_of_a_leaked_question_by_hand():
    training, questions = next(EXERCISES["find_leaks"].draw(torch.Generator().manual_seed(0))).arguments
    assert questions[1] == "the bread comes with the day of soup the"  # as in the text
    triples = [" ".join(t) for q in questions[:2] for t in zip(*(q.split()[k:] for k in range(3)))]
    said = " ".join(" ".join(training.values()).lower().split())
    assert sum(t in said for t in triples) == len(questions[0].split()) - 2  # all of the first, none of the second


@pytest.mark.parametrize("seed", range(3))
def test_solution_agrees_with_the_library(seed):
    for case in EXERCISES["longest_match"].draw(torch.Generator().manual_seed(seed)):
        generated, training = case
        start, length = solution("longest_match")(generated, training)
        found = memorization.longest_match([str(t) for t in generated.tolist()], [str(t) for t in training.tolist()])
        assert length == found.length
        assert start <= found.place or not length  # the first of equals
    g = torch.Generator().manual_seed(seed)
    losses, canaries = torch.rand(500, generator=g), torch.tensor([3, 77])
    expected = [memorization.exposure(-losses, int(c)) for c in canaries]
    assert solution("exposure")(losses, canaries).tolist() == pytest.approx(expected)
    training = [f"w{i}" for i in torch.randint(0, 6, (200,), generator=g)]
    questions = [[f"w{i}" for i in torch.randint(0, 6, (9,), generator=g)] for _ in range(5)]
    shares, _ = solution("contamination")(questions, training, 3, 0.5)
    assert shares.tolist() == pytest.approx([memorization.ngram_overlap(q, training, 3) for q in questions])


@pytest.mark.parametrize("seed", range(3))
def test_gradient_without_noise_is_the_librarys(seed):
    g = torch.Generator().manual_seed(seed)
    model = torch.nn.Linear(5, 3)
    x, y = torch.randn(12, 5, generator=g), torch.randint(3, (12,), generator=g)

    def loss(model, x, y):
        return torch.nn.functional.cross_entropy(model(x), y)

    own = []
    for b in range(len(x)):
        model.zero_grad()
        loss(model, x[b : b + 1], y[b : b + 1]).backward()
        own.append([p.grad.clone() for p in model.parameters()])
    gradients = [torch.stack(g) for g in zip(*own)]
    noise = [torch.zeros_like(p) for p in model.parameters()]
    expected, norms = losses.dp_sgd_gradient(model, loss, x, y, max_norm=1.0, noise_multiplier=0.0)
    assert norms.min() < 1 < norms.max() or seed, "both kinds of samples occur"
    found = solution("private_gradient")(gradients, 1.0, 0.0, noise)
    for a, b in zip(found, expected.values()):
        assert torch.allclose(a, b, atol=1e-6)


def test_no_sample_moves_the_gradient_further_than_its_share():
    g = torch.Generator().manual_seed(0)
    gradients = [torch.randn(8, 4, 3, generator=g), torch.randn(8, 3, generator=g)]
    noise = [torch.zeros(4, 3), torch.zeros(3)]
    other = [x.clone() for x in gradients]
    for x in other:
        x[5] *= -1e6
    pairs = zip(*(solution("private_gradient")(x, 0.5, 1.0, noise) for x in (gradients, other)))
    moved = torch.cat([(a - b).flatten() for a, b in pairs]).norm()
    assert moved <= 2 * 0.5 / 8 + 1e-6


def share(function, arguments: tuple, truth: list[bool]) -> float:
    return sum(a == b for a, b in zip(function(*arguments), truth)) / len(truth)


@pytest.mark.parametrize("seed", range(2))
def test_threshold_of_the_last_exercise_has_room_on_both_sides(seed):
    exercise = EXERCISES["find_leaks"]
    threshold = exercise.compare["threshold"]
    wrong = [function for _, function in exercise.mistakes.values()]
    right = [solution("find_leaks"), *ALTERNATIVES["find_leaks"]]
    for case in list(exercise.draw(torch.Generator().manual_seed(100 + seed)))[1:]:
        arguments = resolve(case.arguments)
        assert sum(case.truth) * 2 == len(case.truth), "as many leaked as fresh"

        assert max(share(function, arguments, case.truth) for function in wrong) < threshold - 0.1
        assert min(share(function, arguments, case.truth) for function in right) > threshold + 0.08


# --- whole ------------------------------------------------------------------------------------------------------------


def test_points():
    assert sum(e.points for e in EXERCISES.values()) == 20
    table = next(c.source for c in NOTEBOOK.cells if c.id == "title")
    promised = {name: float(points) for name, points in re.findall(r"\| `(\w+)` \| (\d+) \|", table)}
    assert promised == {name: EXERCISES[name].points for name in NAMES}
    in_cells = {name: cell(f"check_{name}").metadata["nbgrader"]["points"] for name in NAMES}
    assert in_cells == promised
    assert sum(map(int, re.findall(r"\| (\d+) \|$", table, re.MULTILINE))) == 180, "about three hours"


def test_question_is_marked_by_hand():
    metadata = cell("short_answer").metadata["nbgrader"]
    assert metadata["grade"] and metadata["solution"] and metadata["points"] == 4
    assert not metadata["locked"]


@pytest.mark.parametrize("name", NAMES)
def test_each_exercise_is_explained_written_and_checked_in_this_order(name):
    ids = [c.id for c in NOTEBOOK.cells]
    at = ids.index(name)
    assert "$$" in NOTEBOOK.cells[at - 1].source, "a formula"
    assert "**By hand.**" in NOTEBOOK.cells[at - 1].source
    assert NOTEBOOK.cells[at + 1].source == f"check({name})"
    assert "Args:" in (solution(name).__doc__ or "") and "Returns:" in solution(name).__doc__
    assert not re.search(rf"\b{'|'.join(n for n in NAMES if n != name)}\(", STUB.search(cell(name).source)[0])


def test_cells_that_look_are_silent_until_the_exercise_is_done():
    """*Run All* on the released notebook stops nowhere: what uses an answer waits for it."""
    users = [c for c in NOTEBOOK.cells if c.cell_type == "code" and "nbgrader" not in c.metadata]
    users = [c for c in users if re.search("|".join(rf"\b{n}\(" for n in NAMES), c.source)]
    assert len(users) >= len(NAMES)
    assert all("with suppress(NotImplementedError):" in c.source for c in users)
