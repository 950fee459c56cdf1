"""Which known mistake was made: the one that explains every case that fails.

A student who handles a corner case by other means keeps the hint: cases may hold although the mistake fails them.
A wrong name is worse than none, so none is named where two mistakes explain equally much, or where one fails more cases
that hold than it explains.
"""

from typing import Any

import torch

from course_utils import readers
from course_utils.checking.cases import ExerciseCases, Mistake
from course_utils.checking.likeness import multiple
from course_utils.compare import difference, labels_of
from course_utils.plain import Answer

ALIKE = 0.8  # of the labels that either gets wrong, both give so many alike
NEAR = 0.02  # two explanations closer than this explain equally well
SURE = 1e-4  # significance at which draws are taken for those of another law than a mistake's


def named(exercise: ExerciseCases, answers: list[Answer], wrong: list[str | None]) -> Mistake | None:
    """The mistake that explains these answers, None if none does or no single one.

    Args:
        answers: the student's, one for each case.
        wrong: for each case what is wrong, None where it holds.
    """
    failing = [i for i, w in enumerate(wrong) if w and answers[i].get("error") != "TooLong"]  # time tells of no mistake
    labels = exercise.compare["kind"] == "accuracy" and "reader" not in exercise.compare
    said = _labels(exercise, answers) if labels else []
    one_label = said and all(len(set(said[i])) == 1 for i in failing)  # many mistakes end in that
    found = []
    for mistake in exercise.mistakes if failing else ():
        alike = min(_alike(exercise, i, answers[i], mistake.answers[i]) for i in failing)
        if alike and one_label and _labels(exercise, mistake.answers) != said:
            continue
        if alike:
            beyond = sum(not _holds(exercise, i, mistake.answers[i]) for i, w in enumerate(wrong) if not w)
            tells = any(_tells(answers[i], exercise.expected[i]) for i in failing)
            if beyond == 0 or (tells and beyond < len(failing)):
                found.append((beyond, -alike, mistake))
    found.sort(key=lambda each: each[:2])
    match found:
        case [(beyond, alike, mistake), *others]:
            others = [each for each in others if each[2].hint != mistake.hint]  # the same mistake, in other words
            equal = any(b == beyond and a < alike + NEAR for b, a, _ in others)
            sure = alike == -1 and all(a > -1 for b, a, _ in others if b == beyond)
            return mistake if sure or not equal else None
    return _among_others(exercise, answers, wrong) or _in_a_part(exercise, answers, wrong)


def _in_a_part(exercise: ExerciseCases, answers: list[Answer], wrong: list[str | None]) -> Mistake | None:
    """The mistake that explains one part of answers with several, where another part has something else wrong with it.

    In every case that part must be the mistake's, or right where the mistake has it right, too.
    """
    if exercise.compare["kind"] not in ("close", "exact") or not any(wrong):
        return None
    mine, right = _in_parts(answers), _in_parts(exercise.expected)
    if mine is None or right is None or any(set(m) != set(r) for m, r in zip(mine, right)) or len(right[0]) < 2:
        return None

    def same(a: Any, b: Any) -> bool:
        return difference(exercise.compare | {"kind": "close"}, {"value": a}, {"value": b}) is None

    bad = [key for key in right[0] if not all(same(m[key], r[key]) for m, r in zip(mine, right))]
    for key in bad if len(bad) > 1 else ():
        found = {}
        for mistake in exercise.mistakes:
            theirs = _in_parts(mistake.answers)
            if theirs is None or any(key not in t for t in theirs):
                continue
            errs = sum(not same(t[key], r[key]) for t, r in zip(theirs, right))
            if errs > 1 and all(same(t[key], m[key]) for t, m in zip(theirs, mine)):
                found[mistake.hint] = mistake
        if len(found) == 1:
            (mistake,) = found.values()
            rest = "Other values are" if len(bad) > 2 else "The other value is"
            return Mistake(mistake.name, f"{mistake.hint} ({rest} wrong, too: from this, or from something else.)", [])
    return None


def _in_parts(answers: list[Answer]) -> list[dict] | None:
    """The parts of answers that have several; None where one of them has not."""
    values = [answer.get("value") for answer in answers]
    if all(isinstance(v, (tuple, list)) for v in values) and len({len(v) for v in values}) == 1:
        return [dict(enumerate(v)) for v in values]
    return values if values and all(isinstance(v, dict) for v in values) else None


def beside(exercise: ExerciseCases, answers: list[Answer], wrong: list[str | None]) -> Mistake | None:
    """The mistake of which all failing answers are a plain multiple: two mistakes at once, a wrong count in bits."""
    failing = [i for i, w in enumerate(wrong) if w]
    if exercise.compare["kind"] != "close" or len(failing) < 3:
        return None
    found = {}
    for mistake in exercise.mistakes:
        beyond = sum(not _holds(exercise, i, mistake.answers[i]) for i, w in enumerate(wrong) if not w)
        values = [(answers[i].get("value"), mistake.answers[i].get("value")) for i in failing]
        if not beyond and (text := multiple(exercise, values, failing)):
            found[mistake.hint] = mistake, text
    plain = {hint: each for hint, each in found.items() if "with n" not in each[1]}
    if len(plain or found) != 1:
        return None
    ((mistake, text),) = (plain or found).values()
    return Mistake(mistake.name, f"{mistake.hint} (And one thing more: yours is that {text}.)", [])


def _among_others(exercise: ExerciseCases, answers: list[Answer], wrong: list[str | None]) -> Mistake | None:
    """The mistake that explains all failing numbers, where something else gives nan, infinity or an error in the rest.

    Two mistakes at once are common: the wrong formula, and no thought for the empty text. At least two cases must be
    those of the mistake to the last digit, and what is left must tell of nothing, or be all of another known mistake.
    """
    if exercise.compare["kind"] not in ("close", "exact"):
        return None
    failing = [i for i, w in enumerate(wrong) if w and answers[i].get("error") != "TooLong"]
    telling = {i for i in failing if _tells(answers[i], exercise.expected[i])}
    explained = {
        m.name: {i for i in telling if _alike(exercise, i, answers[i], m.answers[i])} for m in exercise.mistakes
    }
    found = []
    for mistake in exercise.mistakes:
        mine = explained[mistake.name]
        rest = telling - mine
        beyond = sum(not _holds(exercise, i, mistake.answers[i]) for i, w in enumerate(wrong) if not w)
        if len(mine) > 1 and not beyond and (not rest or any(rest <= other for other in explained.values())):
            found.append((len(mine), mistake))
    most = max((n for n, _ in found), default=0)
    best = {m.hint: m for n, m in found if n == most}
    if len(best) != 1:
        return None
    (mistake,) = best.values()
    others = [str(i + 1) for i in failing if i not in explained[mistake.name]]
    more = f" (What is wrong in case {', '.join(others)} comes from something else.)" if others else ""
    return Mistake(mistake.name, mistake.hint + more, mistake.answers)


def _holds(exercise: ExerciseCases, i: int, answer: Answer) -> bool:
    return difference(exercise.compare, answer, exercise.expected[i], exercise.truths[i]) is None


def _alike(exercise: ExerciseCases, i: int, got: Answer, mistaken: Answer) -> float:
    """How much a student's answer is a mistake's, 0 … 1: of numbers 0 or 1, of labels a share."""
    if "error" in got or "error" in mistaken:
        return float(got == mistaken)
    match exercise.compare:
        case {"reader": reader}:
            mine, theirs = (_symptom(reader, a, exercise.truths[i]) for a in (got, mistaken))
            return float(mine == theirs != "")
        case {"kind": "accuracy"}:
            said, truth = labels_of(exercise.compare, got["value"], exercise.truths[i])
            return _labels_alike(said, labels_of(exercise.compare, mistaken["value"], exercise.truths[i])[0], truth)
        case {"kind": "distribution"}:
            compare = exercise.compare | {"alpha": SURE}
        case compare:
            pass
    return float(difference(compare, got, mistaken) is None)


def _symptom(reader: str, answer: Answer, truth: Any) -> str:
    """What went wrong in the training of a network; a file of cases keeps it beside the labels."""
    if "read" in answer or readers.misfit(reader, answer["value"], truth):
        return answer.get("symptom", "")
    return readers.symptom(reader, answer["value"], truth)


def _labels_alike(got: Any, mistaken: Any, truth: Any) -> float:
    """Of the places where either errs, the share in which both say the same; 0 below `ALIKE`."""
    got, mistaken, truth = map(_listed, (got, mistaken, truth))
    if not len(got) == len(mistaken) == len(truth) or len(set(got)) == 1 < len(set(mistaken)):
        return 0.0
    if len(set(mistaken)) == 2 and not _nearer_than_one_class(got, mistaken):
        return 0.0
    erring = [(g, m) for g, m, t in zip(got, mistaken, truth) if g != t or m != t]
    share = sum(g == m for g, m in erring) / max(len(erring), 1)
    return share if share >= ALIKE else 0.0


def _labels(exercise: ExerciseCases, answers: list[Answer]) -> list[list]:
    """The labels that each case was answered with; none for an error."""
    asked = zip(answers, exercise.truths)
    return [_listed(labels_of(exercise.compare, a["value"], t)[0]) if "value" in a else [] for a, t in asked]


def _nearer_than_one_class(got: list, mistaken: list) -> bool:
    """Whether yes-or-no labels are a mistake's own, and not alike only since both say nearly always the same."""
    apart = sum(g != m for g, m in zip(got, mistaken))
    return all(2 * apart <= sum(m != label for m in mistaken) for label in set(mistaken))


def _listed(labels: Any) -> list:
    if isinstance(labels, torch.Tensor):
        return labels.flatten().tolist()
    return list(labels) if isinstance(labels, (list, tuple)) else [labels]


def _tells(got: Answer, expected: Answer) -> bool:
    """Whether a wrong answer says anything of its cause: infinities and nan alone may come from anywhere."""
    if "error" in got or "error" in expected:
        return False
    return difference({"kind": "exact"}, {"value": _finite(got["value"], expected["value"])}, expected) is not None


def _finite(got: Any, expected: Any) -> Any:
    """The answer with what is expected in place of its infinities and nan."""
    match got:
        case dict() if isinstance(expected, dict) and set(got) == set(expected):
            return {name: _finite(value, expected[name]) for name, value in got.items()}
        case list() | tuple() if isinstance(expected, (list, tuple)) and len(got) == len(expected):
            return [_finite(g, e) for g, e in zip(got, expected)]
        case float() | torch.Tensor() if isinstance(expected, (int, float, torch.Tensor)):
            got, right = torch.as_tensor(got), torch.as_tensor(expected)
            if got.shape == right.shape and got.is_floating_point():
                return torch.where(got.isfinite(), got, right.to(got.dtype))
    return got
