"""What wrong answers have in common with the right ones, where no known mistake explains them.

"The right numbers times n", "transposed", "right but for the diagonal", "what fails has negative numbers": each of
these sentences is a fact about all cases that fail, and no guess at the code behind them. None names a right value.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import torch

from course_utils.checking import relations
from course_utils.checking.cases import ExerciseCases
from course_utils.compare import difference
from course_utils.plain import Answer, Module

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
LARGE = 50.0  # e to the power of it is still a float; sums and differences of such powers lose all their digits
SMALL = 5.0  # nats; who clamps a probability, or adds a little to it, loses none of the large ones
MANY_LABELS = 50  # from which on it is told that they are guessed
LONG = 50  # rows of draws from which on a column tells its law
FEW = 12  # draws of what is impossible that are no accident, where all else is frequent
MANY = 20  # draws of a symbol from which on it is no accident that the other side has none of it
BY_HAND = 60  # numbers with which somebody would still work out an answer by hand
TOO_LARGE = 10_000  # numbers beyond it nobody works with by hand
EVEN = 0.05  # bits by which one distribution is more even than another, and no accident
WHOLE = 2**24  # up to it float32 holds each whole number
ROUNDED = 1e-5  # what rounding to float32 takes off a whole number, at most, if some are added up
Pair = tuple[torch.Tensor, torch.Tensor]  # what came and what is right, of the same shape, as float64


def likeness(exercise: ExerciseCases, answers: list[Answer], wrong: list[str | None]) -> str:
    """What all failing answers have in common with the right ones, in a sentence; "" where nothing is found.

    Args:
        answers: the student's, one for each case.
        wrong: for each case what is wrong, None where it holds.
    """
    with suppress(TypeError, ValueError, RuntimeError, IndexError, KeyError, OverflowError, ZeroDivisionError):
        return _likeness(exercise, answers, wrong)
    return ""  # values so odd that nothing can be said of them


def multiple(exercise: ExerciseCases, values: list[tuple[Any, Any]], cases: list[int]) -> str:
    """By which plain number, or size of an argument, all answers are other ones multiplied; "" if by none.

    Args:
        values: an answer and the other one, for each of the cases.
        cases: their numbers, from 0.
    """
    with suppress(TypeError, ValueError, RuntimeError, OverflowError, ZeroDivisionError):
        look = _Look(exercise, [_inputs(exercise.inputs[i]) for i in cases])
        pairs = [(torch.as_tensor(g).double(), torch.as_tensor(o).double()) for g, o in values]
        if all(g.shape == o.shape for g, o in pairs) and _various(torch.cat([o.flatten() for _, o in pairs])):
            if look._sign(pairs):
                return "with the other sign"
            text = look._factor(pairs).removeprefix("the right numbers ")
            plain = text.removeprefix("times ")
            return text if "with n" in text or plain in (*KNOWN.values(), "2", "0.5") else ""
    return ""


def only_special(exercise: ExerciseCases, wrong: list[str | None]) -> str:
    """Which special cases alone fail, where all ordinary ones hold; "" where it is otherwise."""
    failing = [i for i, text in enumerate(wrong) if text]
    ordinary = [i for i in range(len(wrong)) if not exercise.note(i)]
    if not ordinary or any(wrong[i] for i in ordinary) or len(failing) == len(wrong):
        return ""
    others = list(dict.fromkeys(exercise.note(i) for i in failing if exercise.note(i) != exercise.note(failing[0])))
    return f"the only others that fail: {'; '.join(others)}" if others else "all other cases hold"


def _likeness(exercise: ExerciseCases, answers: list[Answer], wrong: list[str | None]) -> str:
    failing = [i for i, text in enumerate(wrong) if text]
    values = [i for i in failing if "error" not in answers[i] and "error" not in exercise.expected[i]]
    if not values:
        messages = [str(answers[i].get("message", "")) for i in failing]
        usual = next((text for part, text in USUAL.items() if all(part in m for m in messages)), "")
        return usual or _only_where(exercise, failing)
    got, right = [answers[i]["value"] for i in values], [exercise.expected[i]["value"] for i in values]
    match exercise.compare["kind"]:
        case "accuracy":
            return "" if "reader" in exercise.compare else _labels(got, [exercise.truths[i] for i in values])
        case "distribution":
            said = [
                _draws(got, right, _blamed(exercise, failing)),
                _begins(got, right) or _only_where(exercise, failing),
            ]
            return "; ".join(text for text in said if text)
    look = _Look(exercise, [_inputs(exercise.inputs[i]) for i in values])
    said = look.values(got, right) if len(values) == len(failing) else ""
    if not said and len(values) == len(failing) and only_special(exercise, wrong):
        said = _stops(got, right)
    return said or _only_where(exercise, failing)


PRODUCT = "the axes that a matrix product runs over differ in size: print both shapes"
INDEX = "an index is one too large, or counts along another axis"
USUAL = {  # what torch says of the usual accidents -> what is to be looked at
    "shapes cannot be multiplied": PRODUCT,
    "Expected size for first two dimensions": PRODUCT,
    "must match the size of tensor": "two shapes do not fit together: print both; a `None` in the index adds an axis",
    "probability tensor contains": "what is drawn from is nan, infinite or negative: `exp` or a power goes too far",
    "invalid multinomial distribution": "a row to draw from is all zeros: a power of too small a number?",
    "index out of range": INDEX,
    "out of bounds": INDEX,
    "selected index k out of range": "`topk` asks for more than there are: `min(k, x.shape[-1])`",
    "does not require grad": "no gradient is there to go back: `.detach()`, `no_grad` or a number took it away",
}


def _inputs(arguments: tuple) -> tuple:
    return arguments[0].inputs if len(arguments) == 1 and isinstance(arguments[0], Module) else arguments


# --- numbers ----------------------------------------------------------------------------------------------------------


class _Look:
    """Looks at the failing cases of an exercise whose answers are numbers.

    Args:
        inputs: the arguments of each failing case.
    """

    def __init__(self, exercise: ExerciseCases, inputs: list[tuple]):
        self.inputs, self.names = inputs, exercise.names
        self.rtol = max(exercise.compare.get("rtol", 0.0), 1e-6)
        self.atol = max(exercise.compare.get("atol", 0.0), 1e-8)

    def near(self, a: torch.Tensor, b: torch.Tensor) -> bool:
        return a.shape == b.shape and torch.allclose(a, b, self.rtol, self.atol, equal_nan=True)

    def values(self, got: list[Any], right: list[Any]) -> str:
        """The sentence about whole answers: tuples and dicts are looked at part by part."""
        if all(isinstance(r, (tuple, list)) and isinstance(g, (tuple, list)) for g, r in zip(got, right)):
            return self._parts([dict(enumerate(g)) for g in got], [dict(enumerate(r)) for r in right], _ordinal)
        if all(isinstance(r, dict) and isinstance(g, dict) for g, r in zip(got, right)):
            return self._parts(got, right, lambda key: f"{key!r}")
        if any(isinstance(v, (tuple, list, dict, str)) or v is None for v in (*right,)):
            return ""
        return self._tensors(got, right)

    def _parts(self, got: list[dict], right: list[dict], name: Callable[[Any], str]) -> str:
        keys = list(right[0])
        if any(list(r) != keys for r in right) or any(set(g) != set(keys) for g in got):
            return ""
        if len(keys) < 2:
            return self.values([g[keys[0]] for g in got], [r[keys[0]] for r in right]) if keys else ""
        if len(keys) <= 3 and name is _ordinal:
            for order in list(itertools.permutations(keys))[1:]:
                if all(self._same(g[a], r[k]) for g, r in zip(got, right) for k, a in zip(keys, order)):
                    if len(keys) == 2:
                        return "the two values are exchanged"
                    return "the right values in another order: " + ", ".join(
                        f"{name(k)} is {name(a)} of yours" for k, a in zip(keys, order) if a != k
                    )
        bad = [k for k in keys if not all(self._same(g[k], r[k]) for g, r in zip(got, right))]
        if len(bad) == len(keys):
            whole = self._leaves(got, right, keys)
            return (
                whole or f"{name(bad[0])}: {said}"
                if (said := self.values([g[bad[0]] for g in got], [r[bad[0]] for r in right]))
                else whole
            )
        said = self.values([g[bad[0]] for g in got], [r[bad[0]] for r in right])
        kept = "the others are" if len(keys) - len(bad) > 1 else "the other is"
        what = f"only {' and '.join(map(name, bad))} {'is' if len(bad) == 1 else 'are'} wrong, {kept} right"
        return f"{what}; {name(bad[0])}: {said}" if said else what

    def _leaves(self, got: list[dict], right: list[dict], keys: list) -> str:
        """All parts together: one factor, one sign for all of them."""
        if not all(isinstance(v, torch.Tensor) for v in (*(g[k] for g in got for k in keys), *right[0].values())):
            return ""
        if any(g[k].shape != r[k].shape for g, r in zip(got, right) for k in keys):
            return ""
        pairs = [tuple(torch.cat([v[k].double().flatten() for k in keys]) for v in (g, r)) for g, r in zip(got, right)]
        return self._sign(pairs) or self._factor(pairs)

    def _same(self, got: Any, right: Any) -> bool:
        compare = {"kind": "close", "rtol": self.rtol, "atol": self.atol}
        return difference(compare, {"value": got}, {"value": right}) is None

    def _tensors(self, got: list[Any], right: list[Any]) -> str:
        if all(isinstance(g, (list, tuple)) for g in got):
            return self._listed(got, right)
        if any(isinstance(g, (list, tuple, dict, str)) or g is None for g in got):
            return ""
        mine, theirs = [torch.as_tensor(g) for g in got], [torch.as_tensor(r) for r in right]
        if any(t.is_complex() for t in (*mine, *theirs)):
            return ""
        pairs = [(g.double(), r.double()) for g, r in zip(mine, theirs)]
        if any(g.shape != r.shape for g, r in pairs):
            return self._shapes(pairs)
        if all(self.near(g, r) for g, r in pairs):
            if all(g.dtype == r.dtype for g, r in zip(mine, theirs)):
                return _rounded(pairs)
            kind = theirs[0].dtype
            how = "bool" if kind == torch.bool else "float" if kind.is_floating_point else "long"
            return f"the values are right, only their dtype is not: `.{how}()`"
        if all(r.dtype == torch.bool for r in theirs):
            return self._where(pairs) or self._booleans(pairs) or self._arranged(pairs) or self._placed(pairs)
        checks = (
            *(_rounded, self._sign, self._factor, self._offset, self._of_rows, self._functions, self._arranged),
            *(self._off_by, self._placed, _sums, self._where, self._lines),
        )
        return next((text for check in checks if (text := check(pairs))), "")

    def _off_by(self, pairs: list[Pair]) -> str:
        return relations.off_by(pairs, self.inputs, self.names, self.near)

    def _placed(self, pairs: list[Pair]) -> str:
        return _placed(pairs, self.rtol, self.atol)

    def _where(self, pairs: list[Pair]) -> str:
        off = [~torch.isclose(g, r, self.rtol, self.atol, equal_nan=True) for g, r in pairs]
        return relations.where(off, self.inputs, self.names)

    def _listed(self, got: list[Any], right: list[Any]) -> str:
        try:
            made = [torch.tensor(g) for g in got]
        except (TypeError, ValueError, RuntimeError):
            return ""
        if all(isinstance(r, torch.Tensor) and self._same(g, r) for g, r in zip(made, right)):
            return "the values are right: make a tensor of them, `torch.tensor(…)`"
        return ""

    def _shapes(self, pairs: list[Pair]) -> str:
        if all(g.dim() == r.dim() <= 5 for g, r in pairs):
            for axes in itertools.permutations(range(pairs[0][0].dim())):
                if all(g.dim() == len(axes) and self.near(g.permute(axes), r) for g, r in pairs):
                    return "the right numbers with their axes exchanged" if len(axes) > 2 else "yours is transposed"
            return self._longer(pairs)
        if all(g.numel() == r.numel() and self.near(g.flatten(), r.flatten()) for g, r in pairs):
            return "the numbers are right, only the shape is not: " + (
                "`.squeeze()` or `.view(…)`" if pairs[0][0].dim() > pairs[0][1].dim() else "`[:, None]` or `.view(…)`"
            )
        if all(g.dim() > r.dim() for g, r in pairs):
            for axis in range(-min(g.dim() for g, _ in pairs), 0):
                for name in ("sum", "mean"):
                    if all(self.near(getattr(g, name)(axis), r) for g, r in pairs):
                        return f"yours is not yet {'summed' if name == 'sum' else 'averaged'} over {_axis(axis)}"
            for name in ("sum", "mean"):
                if all(self.near(getattr(g, name)(), r) for g, r in pairs):
                    return f"a last `.{name}()` is missing"
        if all(g.dim() < r.dim() for g, r in pairs):
            for axis in range(-min(r.dim() for _, r in pairs), 0):
                for name in ("sum", "mean"):
                    if all(self.near(g, getattr(r, name)(axis)) for g, r in pairs):
                        done = "summed" if name == "sum" else "averaged"
                        return f"yours is {done} over {_axis(axis)}, which has to stay"
                if all(self.near(g, r.select(axis, -1)) for g, r in pairs):
                    return f"only the last place along {_axis(axis)} is there: all of them are wanted"
        return ""

    def _longer(self, pairs: list[Pair]) -> str:
        """One or some too many, or too few, along one axis."""
        for axis in range(-min(r.dim() for _, r in pairs), 0):
            more = [g.shape[axis] - r.shape[axis] for g, r in pairs]
            if all(n > 0 for n in more):
                at = "beginning", [g.narrow(axis, n, r.shape[axis]) for (g, r), n in zip(pairs, more)]
                end = "end", [g.narrow(axis, 0, r.shape[axis]) for (g, r), _ in zip(pairs, more)]
                many = "one place" if set(more) == {1} else "some places"
                for where, cut in (at, end):
                    if all(self.near(c, r) for c, (_, r) in zip(cut, pairs)):
                        return f"right, but {many} too many at the {where} of {_axis(axis)}"
            if all(n < 0 and g.shape[axis] for (g, _), n in zip(pairs, more)):
                at = "beginning", [r.narrow(axis, -n, g.shape[axis]) for (g, r), n in zip(pairs, more)]
                end = "end", [r.narrow(axis, 0, g.shape[axis]) for (g, r), _ in zip(pairs, more)]
                many = "one place is" if set(more) == {-1} else "some places are"
                for where, cut in (at, end):
                    if all(self.near(g, c) for c, (g, _) in zip(cut, pairs)):
                        return f"right, but {many} missing at the {where} of {_axis(axis)}"
        return ""

    def _sign(self, pairs: list[Pair]) -> str:
        if not all(self.near(-g, r) for g, r in pairs):
            return ""
        lost = all(bool((r <= 0).all()) for _, r in pairs)
        return "the right numbers, but without their minus sign" if lost else "the right numbers with the other sign"

    def _booleans(self, pairs: list[Pair]) -> str:
        if all(self.near(1 - g, r) for g, r in pairs):
            return "True and False are exchanged"
        if all(bool((g >= r).all()) for g, r in pairs):
            return "all that should be True is, and more than that"
        if all(bool((g <= r).all()) for g, r in pairs):
            return "all that is True should be, but some of it is missing"
        return ""

    def _factor(self, pairs: list[Pair]) -> str:
        factors = [self._one_factor(g, r) for g, r in pairs]
        known = [c for c in factors if c is not None]
        if None in factors or math.nan in known:
            return ""
        given = [(c, i) for (c, i) in zip(factors, self.inputs) if not math.isinf(c)]
        if not given or sum(r.count_nonzero() for _, r in pairs) < 2 or all(_constant(c) == "1" for c, _ in given):
            return ""
        c = given[0][0]
        if all(math.isclose(c, d, rel_tol=5 * self.rtol) for d, _ in given):
            return "" if _by_chance(pairs, c, 1 / c) else f"the right numbers times {_constant(c)}"
        if why := _explained([c for c, _ in given], [i for _, i in given], self.names, self.rtol):
            return f"the right numbers times {why}"
        return ""

    def _one_factor(self, g: torch.Tensor, r: torch.Tensor) -> float | None:
        """By what g is r times; inf where both are 0, None where there is no such number."""
        if not r.count_nonzero():
            return math.inf if self.near(g, r) else None
        if not (g.isfinite().all() and r.isfinite().all()):
            return None
        c = float((g * r).sum() / (r * r).sum())
        return c if c > 0 and self.near(g, c * r) else None

    def _offset(self, pairs: list[Pair]) -> str:
        if not all(g.isfinite().all() and r.isfinite().all() and r.numel() for g, r in pairs):
            return ""
        off = [float((g - r).mean()) for g, r in pairs]
        if sum(r.numel() for _, r in pairs) < 2 or not all(self.near(g - d, r) for (g, r), d in zip(pairs, off)):
            return ""
        if all(abs(d - off[0]) <= 1e-4 * abs(off[0]) for d in off):
            what = f"the right numbers {'plus' if off[0] > 0 else 'minus'} {_constant(abs(off[0]))}"
            return "" if _by_chance(pairs, abs(off[0]), 2 * abs(off[0])) else what
        signs = {d > 0 for d in off}
        if len(signs) == 1 and (
            why := _explained([abs(d) for d in off], self.inputs, self.names, self.rtol, sums=True)
        ):
            return f"the right numbers {'plus' if off[0] > 0 else 'minus'} {why}"
        return ""

    def _of_rows(self, pairs: list[Pair]) -> str:
        if not all(g.dim() for g, _ in pairs):
            return ""
        if all(self.near(g / g.sum(-1, keepdim=True), r) for g, r in pairs):
            return "right up to a factor for each row: divide it by its sum"
        if all(self.near(torch.nn.functional.normalize(g, dim=-1), r) for g, r in pairs):
            return "right up to a factor for each row: divide it by its length"
        if all(self.near(g / g.sum(), r) for g, r in pairs):
            return "right up to one factor: divide by the sum of all"
        if all(self.near(g.exp(), r) for g, r in pairs):
            return "these are the logarithms of the right numbers"
        if all(self.near(g.softmax(-1), r) for g, r in pairs):
            return "softmax of yours would be right"
        return ""

    def _lines(self, pairs: list[Pair]) -> str:
        """Each row, or column, or both, off by a factor or a number of its own."""
        if any(g.dim() < 2 or min(r.shape[-2:]) < 2 or not (g.isfinite() & r.isfinite()).all() for g, r in pairs):
            return ""
        if sum(r.numel() for _, r in pairs) < 12:
            return ""
        for axis, line in ((-1, "row"), (-2, "column")):
            if all(self.near(g - (g - r).mean(axis, keepdim=True), r) for g, r in pairs):
                return f"in each {line} all numbers are off by the same amount"
            sizes = [(g * r).sum(axis, keepdim=True) / (r * r).sum(axis, keepdim=True) for g, r in pairs]
            if all(bool((c > 0).all()) and self.near(g, c * r) for c, (g, r) in zip(sizes, pairs)):
                return f"in each {line} all numbers are off by the same factor"
        if all(bool((r != 0).all()) and bool((g / r > 0).all()) and self._outer(g / r) for g, r in pairs):
            return "each row and each column is off by a factor of its own: what are its numbers divided by?"
        return ""

    def _outer(self, t: torch.Tensor) -> bool:
        """Whether a table is one number for each row times one for each column."""
        return self.near(t * t[..., :1, :1], t[..., :, :1] * t[..., :1, :])

    def _functions(self, pairs: list[Pair]) -> str:
        if not all(_various(torch.cat([pair[side].flatten() for pair in pairs])) for side in (0, 1)):
            return ""
        known: list[tuple[str, Callable[[torch.Tensor], torch.Tensor]]] = [
            ("the squares of the right numbers", lambda r: r.square()),
            ("the square roots of the right numbers", lambda r: r.sqrt()),
            ("1 minus the right numbers", lambda r: 1 - r),
            ("1 divided by the right numbers", lambda r: 1 / r),
            ("the right numbers without their signs", lambda r: r.abs()),
            ("the right numbers, those below 0 set to 0", lambda r: r.clamp(min=0)),
            ("e to the power of the right numbers", lambda r: r.exp()),
            ("π/2 minus the right numbers", lambda r: math.pi / 2 - r),
            ("tanh of the right numbers", torch.tanh),
            ("the sigmoid of the right numbers", torch.sigmoid),
            ("the logarithms of the right numbers", torch.log),
            ("the right numbers, rounded", torch.round),
        ]
        if all(r.dim() for _, r in pairs):
            known += [
                (f"{name} of the right numbers, along {_axis(axis)}", partial(function, dim=axis))
                for name, function in ALONG.items()
                for axis in range(-1, -1 - min(r.dim() for _, r in pairs), -1)
            ]
        for text, function in known:
            if all(self.near(g, function(r)) for g, r in pairs):
                return text
        return ""

    def _arranged(self, pairs: list[Pair]) -> str:
        """The right numbers at other places."""
        if not all(g.dim() for g, _ in pairs):
            return ""
        deep = min(g.dim() for g, _ in pairs)
        for a, b in itertools.combinations(range(-deep, 0), 2):
            if all(self.near(g.transpose(a, b), r) for g, r in pairs):
                return "yours is transposed" if deep == 2 else f"{_axis(a)} and {_axis(b)} are exchanged"
        for axis in range(-deep, 0):
            if all(self.near(g.flip(axis), r) for g, r in pairs):
                return f"yours is in the reverse order along {_axis(axis)}"
            for by, way in ((1, "late"), (-1, "early")):
                if all(g.shape[axis] > 2 and self._shifted(g, r, axis, by) for g, r in pairs):
                    return f"yours comes one place too {way} along {_axis(axis)}"
        if all(self.near(g.sort(-1).values, r.sort(-1).values) and _various(r) for g, r in pairs):
            if all(r.dim() > 1 and self.near(*(t.sort(-1).values for t in (r[:1].expand_as(r), r))) for _, r in pairs):
                return ""  # all rows are orders of the same numbers: nothing is told by that
            fallen = all(bool((g.diff(dim=-1) <= 0).all()) or bool((g.diff(dim=-1) >= 0).all()) for g, _ in pairs)
            return "in each row the right numbers in another order" + (": yours are sorted" if fallen else "")
        if all(self.near(g.flatten().sort().values, r.flatten().sort().values) and _various(r) for g, r in pairs):
            return "the right numbers at other places"
        return ""

    def _shifted(self, g: torch.Tensor, r: torch.Tensor, axis: int, by: int) -> bool:
        n = r.shape[axis] - 1
        late, soon = (g, r) if by > 0 else (r, g)
        return self.near(late.narrow(axis, 1, n), soon.narrow(axis, 0, n)) and _various(r)


ALONG: dict[str, Callable[..., torch.Tensor]] = {
    "softmax": torch.softmax,
    "log_softmax": torch.log_softmax,
    "the shares": lambda r, dim: r / r.sum(dim, keepdim=True),
    "the directions (all of length 1)": torch.nn.functional.normalize,
    "the running sums": torch.cumsum,
    "the differences to the mean": lambda r, dim: r - r.mean(dim, keepdim=True),
}


def _various(r: torch.Tensor) -> bool:
    """Whether numbers are different enough for their places to mean something."""
    return len(r.unique()) > 2


def _ordinal(place: int) -> str:
    return f"the {ORDINALS[place]} value" if place < len(ORDINALS) else f"value {place}"


def _axis(axis: int) -> str:
    return {-1: "the last axis", -2: "the last axis but one"}.get(axis, f"axis {axis}")


KNOWN = {
    math.log(2): "ln 2",
    1 / math.log(2): "1 / ln 2",
    180 / math.pi: "180 / π",
    math.sqrt(2): "√2",
    1 / math.sqrt(2): "1 / √2",
    math.log(2) ** 2: "(ln 2)²",
    1 / 3: "1/3",
}


def _constant(c: float) -> str:
    name = next((text for value, text in KNOWN.items() if math.isclose(c, value, rel_tol=1e-4)), "")
    return name or f"{c:.4g}"


def _by_chance(pairs: list[Pair], c: float, other: float) -> bool:
    """Whether an odd constant, such as 0.4, is that of one number or two: shares of a dozen things often have one.

    None is odd that has a name, or is whole, or whose `other` form is.
    """
    plain = _constant(c) in KNOWN.values() or any(abs(x - round(x)) < 1e-4 * x for x in (c, other))
    return not plain and len(torch.cat([r[r != 0].flatten() for _, r in pairs]).unique()) < 3


def _explained(numbers: list[float], inputs: list[tuple], names: list[str], rtol: float, sums: bool = False) -> str:
    """What of the arguments each case's number hangs on: "N, the size of axis 0 of `x`"."""
    forms: list[tuple[str, Callable[[float], float]]] = [
        ("n", lambda n: n),
        ("1/n", lambda n: 1 / n),
        ("√n", lambda n: n**0.5),
        ("1/√n", lambda n: n**-0.5),
        ("(n − 1)", lambda n: n - 1),
        ("1/(n − 1)", lambda n: 1 / (n - 1)),
        ("n/(n − 1)", lambda n: n / (n - 1)),
        ("(n − 1)/n", lambda n: (n - 1) / n),
        ("√(n/(n − 1))", lambda n: (n / (n - 1)) ** 0.5),
        ("√((n − 1)/n)", lambda n: ((n - 1) / n) ** 0.5),
        ("n²", lambda n: n * n),
        ("1/n²", lambda n: 1 / n**2),
        ("n/(n + 1)", lambda n: n / (n + 1)),
        ("(n + 1)/n", lambda n: (n + 1) / n),
        ("(n/(n − 1))²", lambda n: (n / (n - 1)) ** 2),
        ("((n − 1)/n)²", lambda n: ((n - 1) / n) ** 2),
        ("2n", lambda n: 2 * n),
        ("n/2", lambda n: n / 2),
        ("ln n", math.log),
    ]
    if not sums:
        forms = forms[:-1]
    for text, sizes in _sizes(inputs, names):
        if len(set(sizes)) < 2:
            continue
        for form, function in forms:
            try:
                same = all(math.isclose(function(n), x, rel_tol=10 * rtol) for n, x in zip(sizes, numbers))
            except (ZeroDivisionError, ValueError, OverflowError, TypeError):
                continue
            if same:
                return f"{form}, with n {text}"
    return ""


def _which(place: int, names: list[str], many: bool) -> str:
    """What an argument is called."""
    if place < len(names):
        return f"`{names[place]}`"
    return f"the {ORDINALS[place]} argument" if many else "the argument"


def _sizes(inputs: list[tuple], names: list[str]) -> Iterator[tuple[str, list[float]]]:
    """What numbers describe the arguments: sizes of axes, products of two of them, how many are True, plain numbers."""
    for p, values in enumerate(zip(*inputs)):
        which = _which(p, names, len(inputs[0]) > 1)
        if all(isinstance(v, list) and v and isinstance(v[0], torch.Tensor) for v in values):
            values = tuple(v[0] for v in values)
        if all(isinstance(v, torch.Tensor) for v in values):
            deep = min(v.dim() for v in values)
            axes = [(f"the size of axis {a} of {which}", [v.shape[a] for v in values]) for a in range(deep)]
            yield from axes
            for (_, m), (_, n) in itertools.combinations(axes, 2):
                yield f"the size of two axes of {which}, one times the other", [a * b for a, b in zip(m, n)]
            yield f"how many numbers {which} has", [v.numel() for v in values]
        elif all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            yield which, list(values)


# --- where it is wrong ------------------------------------------------------------------------------------------------


def _rounded(pairs: list[Pair]) -> str:
    """Whether whole numbers are wrong in their last digits alone, too large for float32, and what it can hold."""
    if not all((r == r.round()).all() and r.isfinite().all() and (g == g.float()).all() for g, r in pairs):
        return ""
    for g, r in pairs:
        if bool(((g - r).abs() > ROUNDED * r.abs()).any()) or not bool((r.abs()[g != r] > WHOLE).all()):
            return ""
    return "right up to the last digits: float32 holds whole numbers up to 2²⁴ = 16,777,216 only; count with integers"


def _placed(pairs: list[Pair], rtol: float, atol: float) -> str:
    """At which places all wrong numbers stand, and none elsewhere."""
    off = [~torch.isclose(g, r, rtol, atol, equal_nan=True) for g, r in pairs]
    odd = [~g.isfinite() & r.isfinite() for g, r in pairs]
    if all(torch.equal(o, w) for o, w in zip(odd, off)):
        what = "nan" if all(g[o].isnan().all() for (g, _), o in zip(pairs, odd)) else "infinite"
        why = "0/0, or `exp` of a large number" if what == "nan" else "the logarithm of 0, or a division by it"
        return f"yours is {what} where a finite number is right: {why}"
    if all(bool(r[w].isinf().all()) and bool(g[w].isfinite().all()) for (g, r), w in zip(pairs, off)):
        return "infinite is right where yours is finite: something clamps, or adds a little before a logarithm"
    if all(bool((r[w] < 0).all()) and bool((g[w] == 0).all()) for (g, r), w in zip(pairs, off)):
        return "yours is 0 where a negative number is right: is something cut off below 0?"
    if all(g.numel() > 1 and len(g.unique()) == 1 < len(r.unique()) for g, r in pairs):
        return "all numbers of yours are alike"
    if all(bool((r[w] == 0).all()) for (_, r), w in zip(pairs, off)) and any((r != 0).any() for _, r in pairs):
        return "right but where 0 is right: there yours is not 0"
    if all(bool((g[w] == 0).all()) for (g, _), w in zip(pairs, off)) and all(bool((~w).any()) for w in off):
        return "right but where yours is 0"
    deep = min(r.dim() for _, r in pairs)
    if deep >= 2 and all(r.shape[-1] > 1 and r.shape[-1] == r.shape[-2] for _, r in pairs):
        eye = [torch.eye(w.shape[-1], dtype=torch.bool).expand_as(w) for w in off]
        if all(not bool((w & ~e).any()) for w, e in zip(off, eye)):
            return "right but for the diagonal"
        if all(torch.equal(w, ~e) for w, e in zip(off, eye)):
            return "right on the diagonal alone"
    for axis in range(-deep, 0):
        for place, text in ((0, "first"), (-1, "last")):
            if all(_only_at(w, axis, place) for w in off):
                return f"right but for the {text} place along {_axis(axis)}"
            if all(_all_but(w, axis, place) for w in off):
                return f"right at the {text} place along {_axis(axis)} alone: does each get what is its own?"
    return ""


def _stops(got: list[Any], right: list[Any]) -> str:
    """Whether all that is wrong is a large number that came out smaller."""
    if not all(isinstance(v, (float, torch.Tensor)) for v in (*got, *right)):
        return ""
    pairs = [(torch.as_tensor(g).double(), torch.as_tensor(r).double()) for g, r in zip(got, right)]
    for g, r in pairs:
        wrong = g.shape == r.shape and ~torch.isclose(g, r, 1e-4, 1e-6)
        if wrong is False or not ((g * r > 0) & (g.abs() < r.abs()) & (g.abs() > SMALL))[wrong].all():
            return ""
        if (~wrong).any() and wrong.any() and r[~wrong].abs().max() > r[wrong].abs().min():
            return ""  # larger ones came out right
    return "yours stops where the right numbers grow on: something clamps, or adds a little before a logarithm"


def _all_but(wrong: torch.Tensor, axis: int, place: int) -> bool:
    """Whether something is wrong at each place along an axis but one, at which nothing is."""
    n = wrong.shape[axis]
    places = wrong.movedim(axis, 0).reshape(n, -1).any(1) if n > 3 and wrong.numel() else None
    return places is not None and not places[place] and int(places.sum()) == n - 1


def _only_at(wrong: torch.Tensor, axis: int, place: int) -> bool:
    n = wrong.shape[axis]
    rest = wrong.narrow(axis, 1 if place == 0 else 0, n - 1) if n > 2 else None
    return rest is not None and not bool(rest.any())


def _sums(pairs: list[Pair]) -> str:
    """Rows that should sum to 1, and do not; that may do so along another axis."""

    def ones(t: torch.Tensor, axis: int) -> bool:
        return bool(t.numel()) and bool(((t.sum(axis) - 1).abs() < 1e-4).all()) and bool((t >= 0).all())

    if any(g.dim() < 2 or r.shape[-1] < 2 for g, r in pairs) or not all(ones(r, -1) for _, r in pairs):
        return ""
    for axis in range(-min(g.dim() for g, _ in pairs), -1):
        if all(ones(g, axis) and not ones(g, -1) for g, _ in pairs):
            return f"each row has to sum to 1, along the last axis; yours sums to 1 along {_axis(axis)}"
    if not any(ones(g, -1) for g, _ in pairs):
        return "each row has to sum to 1, and yours does not"
    if all(ones(g, -1) for g, _ in pairs):
        more = [float((torch.special.entr(g) - torch.special.entr(r)).sum(-1).mean()) for g, r in pairs]
        for word, sign in (("even", 1), ("sharp", -1)):
            if all(sign * bits > 0.01 for bits in more):
                return f"each row sums to 1, and is more {word} than the right one"
    return ""


# --- what fails -------------------------------------------------------------------------------------------------------


def _only_where(exercise: ExerciseCases, failing: list[int]) -> str:
    """What the arguments of all failing cases have, and those of no other case."""
    inputs = [_inputs(arguments) for arguments in exercise.inputs]
    holds = [i for i in range(len(inputs)) if i not in failing]
    if len(holds) < 2 or len({len(arguments) for arguments in inputs}) > 1:
        return ""
    for (text, test), p in itertools.product(FEATURES.items(), range(len(inputs[0]))):
        which = _which(p, exercise.names, len(inputs[0]) > 1)
        found = [_tested(test, arguments[p]) for arguments in inputs]
        if all(found[i] is True for i in failing) and all(found[i] is False for i in holds):
            return f"what fails, and nothing else, is called with {text.format(which)}"
    return ""


def smallest(exercise: ExerciseCases, wrong: list[str | None]) -> int | None:
    """Of the cases that fail, the number of the one with the smallest input, if somebody could work it out by hand."""
    if exercise.compare["kind"] not in ("close", "exact"):
        return None
    sizes = {i: _by_hand(exercise.inputs[i], exercise.expected[i].get("value")) for i, w in enumerate(wrong) if w}
    found = min(sizes, key=sizes.get)
    return found + 1 if sizes[found] <= BY_HAND else None


def _by_hand(inputs: tuple, right: Any) -> float:
    """How many numbers go in or come out, whichever are more; infinitely many where one of them is large."""
    large = any(_large(value) for value in (inputs, right))
    return math.inf if large else max(_numbers(inputs), _numbers(right))


def _large(value: Any) -> bool:
    """Whether there is a number in it with which nobody works by hand."""
    match value:
        case torch.Tensor():
            value = value.abs() if value.is_complex() else value.double().abs()
            return bool((value.isfinite() & (value > TOO_LARGE)).any())
        case Module():
            return _large(value.state) or _large(value.inputs)
        case list() | tuple():
            return any(map(_large, value))
        case dict():
            return any(map(_large, value.values()))
        case int() | float():
            return math.isfinite(value) and abs(value) > TOO_LARGE
    return False


def _numbers(value: Any) -> int:
    match value:
        case torch.Tensor():
            return value.numel()
        case Module():
            return _numbers(value.state) + _numbers(value.inputs)
        case list() | tuple():
            return sum(map(_numbers, value))
        case dict():
            return sum(map(_numbers, value.values()))
    return len(value) if isinstance(value, str) else 1


def _tested(test: Callable[[Any], bool], value: Any) -> bool | None:
    try:
        return bool(test(value))
    except (TypeError, ValueError, AttributeError, RuntimeError, IndexError):
        return False


def _floats(v: torch.Tensor) -> torch.Tensor:
    if not v.is_floating_point():
        raise TypeError
    return v


FEATURES: dict[str, Callable[[Any], bool]] = {  # in the order in which they are looked for; {} is the argument
    "numbers beyond ±50 in {}: `exp` of a large number, or the logarithm of a rounded 0?": lambda v: (
        _floats(v).abs().max() > LARGE
    ),
    "{} empty": lambda v: len(v) == 0,
    "{} given (elsewhere it is None)": lambda v: not isinstance(v, torch.Tensor) and v is not None,
    "0 as {}": lambda v: not isinstance(v, torch.Tensor) and v == 0,
    "a row of False in {}": lambda v: v.dtype == torch.bool and bool((~v).all(-1).any()),
    "False before True in {}": lambda v: v.dtype == torch.bool and bool((v[..., 1:] & ~v[..., :-1]).any()),
    "a row of zeros in {}": lambda v: v.dim() > 1 and v.shape[-1] > 1 and bool((v == 0).all(-1).any()),
    "equal numbers in a row of {} (ties)": lambda v: bool((_floats(v).sort(-1).values.diff(dim=-1) == 0).any()),
    "more than one row in {}": lambda v: len(v) > 1,
    "a single row in {}": lambda v: len(v) == 1,
    "negative numbers in {}": lambda v: bool((_floats(v) < 0).any()),
    "a number below 1 as {}": lambda v: isinstance(v, float) and 0 < v < 1,
}


# --- labels and draws -------------------------------------------------------------------------------------------------


def _labels(got: list[Any], truths: list[Any]) -> str:
    """Which labels come too seldom or too often."""
    mine, right = [[_flat(v) for v in values] for values in (got, truths)]
    if any(len(m) != len(r) for m, r in zip(mine, right)):
        return ""
    if not all(isinstance(r, bool) for row in right for r in row):
        never = "some labels never come in yours" if all(not set(r) <= set(m) for m, r in zip(mine, right)) else ""
        return "; ".join(text for text in (never, _guessed(mine, right)) if text)
    more = [sum(m) / len(m) - sum(r) / len(r) for m, r in zip(mine, right)]
    for word, sign in (("often", 1), ("seldom", -1)):
        if all(sign * share > 0.1 for share in more):
            return f"yours says True too {word}"
    return ""


def _guessed(mine: list[list], right: list[list]) -> str:
    """Whether labels are right no more often than if they had been dealt out blindly."""
    if all(len(set(m)) < 2 for m in mine) or sum(map(len, mine)) < MANY_LABELS:
        return ""
    chance = [sum(m.count(label) * r.count(label) for label in set(r)) / len(r) for m, r in zip(mine, right)]
    hits = sum(a == b for m, r in zip(mine, right) for a, b in zip(m, r))
    by_chance = sum(chance)
    if hits > by_chance + 2 * math.sqrt(by_chance):
        return ""
    return (
        "no better than guessing: is each one read along its own axis, and answered in its own place? (If something is "
        "trained: does the loss fall?)"
    )


def _flat(labels: Any) -> list:
    if isinstance(labels, torch.Tensor):
        return labels.flatten().tolist()
    return list(labels) if isinstance(labels, (list, tuple)) else [labels]


def _blamed(exercise: ExerciseCases, failing: list[int]) -> str:
    """A guess at the temperature where draws are too even or too sharp; "" if there is none, or it works elsewhere."""
    if "temperature" not in exercise.names:
        return ""
    place = exercise.names.index("temperature")
    for i, arguments in enumerate(exercise.inputs):
        drawn = exercise.expected[i].get("value")
        if i not in failing and _inputs(arguments)[place] != 1 and isinstance(drawn, torch.Tensor) and drawn.numel():
            if _evenness(_steps(drawn.long(), drawn.long())[0]) > EVEN:
                return ""
    return ": a temperature that has no effect, or the wrong one?"


def _draws(got: list[Any], right: list[Any], blamed: str) -> str:
    """How the draws differ: what never comes, what should not come, which is more even (and what may be to blame)."""
    if not all(isinstance(g, torch.Tensor) and g.shape == r.shape and r.numel() for g, r in zip(got, right)):
        return ""
    mine, theirs = [g.long() for g in got], [r.long() for r in right]
    if all(r.dim() == 2 and len(r) > 1 for r in theirs):
        if all((g == g[0]).all() and not (r == r[0]).all() for g, r in zip(mine, theirs)):
            return "all rows of yours are alike: each has a beginning and draws of its own"
        if all(_increases(r) and not _increases(g) for g, r in zip(mine, theirs)):
            return "each row has to increase, and yours does not, or has a number twice"
    sets = all(r.dim() == 2 and r.shape[1] > 1 and _increases(r) for r in theirs)
    if sets and (less := _held_by_both(mine, theirs)):
        return f"two rows of yours, one after the other, have {less} in common: each is drawn from all there are, anew"
    if sets:  # a row has no order of its own, so that only what is in it tells
        mine, theirs = [g.flatten() for g in mine], [r.flatten() for r in theirs]
    elif all(r.dim() == 2 and _in_step(g) and not _in_step(r) for g, r in zip(mine, theirs)):
        return "all rows of yours that stand at one symbol go on alike: each draws for itself"
    what = "numbers" if sets else "symbols or steps"
    tables = [_steps(g, r) for g, r in zip(mine, theirs)]
    extra = [bool(((r == 0) & (g > MANY)).any()) for g, r in tables]
    missing = [bool(((g == 0) & (r > MANY)).any()) for g, r in tables]
    if all(extra) and all(missing):
        return f"{what} come that never should, and others that should come never do"
    if all(extra):
        return f"{what} come that never should"
    if all(missing):
        return f"{what} that should come never do"
    if sets:
        return ""
    if all(_seldom_wrong(g, r) for g, r in tables):
        return "now and then a step comes that is impossible: is something added before a logarithm?"
    bits = [(_evenness(g), _evenness(r)) for g, r in tables]
    for word, sign in (("more", 1), ("less", -1)):
        if all(sign * (g - r) > EVEN for g, r in bits):
            return f"yours are {word} even than they should be{blamed}"
    return ""


def _held_by_both(got: list[torch.Tensor], right: list[torch.Tensor]) -> str:
    """Whether neighbouring sets have clearly less, or clearly more, in common than independent ones have."""
    shares = []
    for g, r in zip(got, right):
        ours, theirs = (torch.stack([torch.isin(a, b).double().mean() for a, b in zip(t, t[1:])]) for t in (g, r))
        error = math.sqrt(float(ours.var() + theirs.var()) / max(len(ours), 1))
        shares.append((float(ours.mean() - theirs.mean()), 6 * error + 0.05))
    for word, sign in (("less", -1), ("more", 1)):
        if all(sign * off > bound for off, bound in shares):
            return f"{word} than they should"
    return ""


def _in_step(rows: torch.Tensor) -> bool:
    """Whether at each step all rows that stand at the same symbol go on with the same one."""
    if rows.shape[1] < 2:
        return False
    for here, there in zip(rows.T, rows.T[1:]):
        steps = torch.stack([here, there]).unique(dim=1)
        if steps.shape[1] > len(here.unique()):
            return False
    return True


def _seldom_wrong(got: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether impossible steps come, from symbols after which all that is possible is frequent."""
    sure = ((right == 0) | (right > MANY)).all(1) & (right == 0).any(1) & (right > MANY).any(1)
    return int(got[sure][right[sure] == 0].sum()) >= FEW


def _begins(got: list[Any], right: list[Any]) -> str:
    """Whether chains go wrong at their first draw, or only at those that hang on an earlier one."""
    if not all(isinstance(g, torch.Tensor) and g.shape == r.shape and r.dim() == 2 for g, r in zip(got, right)):
        return ""
    if any(r.shape[1] < 2 or len(r) < LONG for r in right) or any(_increases(r) for r in right):
        return ""
    if all(not _hangs(g) and _hangs(r) for g, r in zip(got, right)):
        return "what comes next in yours does not hang on the symbol before it"
    wrong = [_apart(*_first_drawn(g.long(), r.long())) for g, r in zip(got, right)]
    if all(wrong):
        return "the first draw is wrong already"
    if not any(wrong):
        return "the first draw is right, those after it are not: what does each of them hang on?"
    return ""


def _first_drawn(g: torch.Tensor, r: torch.Tensor) -> Pair:
    """The first column of both that is drawn; where one before it is given, each draw together with what is given."""
    at = next((t for t in range(r.shape[1]) if not torch.equal(g[:, t], r[:, t])), 0)
    if at == 0:
        return g[:, 0], r[:, 0]
    width = int(max(g.max(), r.max())) + 1
    return g[:, at - 1] * width + g[:, at], r[:, at - 1] * width + r[:, at]


def _hangs(rows: torch.Tensor) -> bool:
    """Whether at some step what is drawn hangs on the symbol before it."""
    low, width = int(rows.min()), int(rows.max() - rows.min()) + 1
    for a, b in zip(rows.T - low, rows.T[1:] - low):
        table = (a.long() * width + b.long()).bincount(minlength=width**2).view(width, width).double()
        alone = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
        seen = alone > 0
        chi, free = float(((table - alone).square() / alone)[seen].sum()), (int(seen.any(1).sum()) - 1) * width
        if chi > free + 5 * math.sqrt(2 * free) + 10:
            return True
    return False


def _apart(g: torch.Tensor, r: torch.Tensor) -> bool:
    """Whether two columns of draws are surely not of one law."""
    low, width = int(min(g.min(), r.min())), int(max(g.max(), r.max()) - min(g.min(), r.min())) + 1
    a, b = ((t - low).long().bincount(minlength=width).double() for t in (g, r))
    seen = (a + b) > 0
    chi = float(((a - b).square() / (a + b))[seen].sum())
    free = int(seen.sum()) - 1
    return free > 0 and chi > free + 5 * math.sqrt(2 * free) + 10


def _increases(rows: torch.Tensor) -> bool:
    return bool((rows.diff(dim=-1) > 0).all())


def _steps(g: torch.Tensor, r: torch.Tensor) -> Pair:
    """How often each symbol came, or in rows each step from one symbol to the next: two tables of counts."""
    low, high = int(min(g.min(), r.min())), int(max(g.max(), r.max()))
    width = min(high - low + 1, 1000)
    g, r = ((t - low).clamp(0, width - 1) for t in (g, r))
    if r.dim() < 2 or r.shape[1] < 2:
        return tuple(t.flatten().bincount(minlength=width).double()[None] for t in (g, r))
    pairs = ((t[:, :-1] * width + t[:, 1:]).flatten() for t in (g, r))
    return tuple(t.bincount(minlength=width**2).view(width, width).double() for t in pairs)


def _evenness(counts: torch.Tensor) -> float:
    """Bits per draw, given the symbol before."""
    p = counts / counts.sum(1, keepdim=True).clamp(min=1)
    return float((torch.special.entr(p).sum(1) * counts.sum(1)).sum() / counts.sum() / math.log(2))
