"""Comparing an answer with the right one: first shape, then dtype, then value.

By tolerance, by distribution, by accuracy.
"""

from typing import Any

import torch

from course_utils import readers
from course_utils.plain import Answer, usual

NOT_ANSWERED = "not answered yet"
SLOW = "it takes more processor time than a call may: fewer Python loops, more numbers at once"
WRONG_PARAMETERS = (
    "the module's parameters have other names or shapes: `for name, p in module.named_parameters(): "
    "print(name, p.shape)` shows yours, to be compared with the table"
)


def difference(
    compare: dict[str, Any], got: Answer, expected: Answer, truth: Any = None, show: bool | str = False
) -> str | None:
    """None where the answer holds; else what is wrong, first shape, then dtype, then value.

    Args:
        show: whether the text may contain values (a student's visible cases) or not (the grader's hidden ones);
            "right" for the right ones alone: a visible case in the grader, where an answer may hold anything.
    """
    if "error" in expected:  # the right thing is to refuse
        if got.get("error") == expected["error"]:
            return None
        return f"expected {expected['error']} to be raised, got " + (
            _error(got, show is True, compare["kind"]) if "error" in got else "an answer"
        )
    if "error" in got:
        return _error(got, show is True, compare["kind"])
    if got["value"] is None and expected["value"] is not None:
        return "the function returned None: is there a `return`?"
    if "read" in got:  # a file of cases keeps the labels that were read from a trained network
        compare, truth = {k: v for k, v in compare.items() if k != "reader"}, truth["labels"]
    try:
        return COMPARISONS[compare["kind"]](compare, got["value"], expected["value"], truth, show)
    except Exception as error:  # values so odd that they cannot be compared
        return f"the answer cannot be compared with the right one ({type(error).__name__})"


def _error(got: Answer, show: bool, kind: str) -> str:
    if got["error"] == "NotImplementedError" and not got["message"]:  # the stub's own; torch's say what they miss
        return NOT_ANSWERED
    if got["error"] == "TooLong":
        if kind == "accuracy":
            return f"{SLOW}; if it trains something, fewer steps, each on one batch"
        return SLOW
    if got["error"] == "Banned":
        return str(got["message"])[:200] if show else "called a library function that does this exercise's work"
    if got["error"] == "NotPlain":
        return "what it returned cannot be judged" + (f": {got['message']}" if show else "")
    if got["error"] == "WrongParameters":
        return str(got["message"]) if show else WRONG_PARAMETERS
    return f"raised {got['error']}: {got['message']}" if show else f"raised {usual(got['error']) or 'an error'}"


def _close(compare: dict, got: Any, expected: Any, truth: Any, show: bool) -> str | None:
    if isinstance(expected, (list, tuple)):
        if not isinstance(got, (list, tuple)):
            return f"type: expected {len(expected)} values, got {_describe(got)}"
        if len(got) != len(expected):
            return f"shape: expected {len(expected)} values, got {len(got)}"
        parts = ((i, _close(compare, g, e, None, show)) for i, (g, e) in enumerate(zip(got, expected)))
        return next((f"value {i}: {text}" for i, text in parts if text), None)
    if isinstance(expected, dict):
        if not isinstance(got, dict) or set(got) != set(expected):
            keys = sorted(map(str, got)) if isinstance(got, dict) and show is True else _describe(got)
            return f"keys: expected {sorted(map(str, expected))}, got {keys!s:.200}"
        parts = ((k, _close(compare, got[k], expected[k], None, show)) for k in expected)
        return next((f"{k!r}: {text}" for k, text in parts if text), None)
    if expected is None or isinstance(expected, str):
        if type(got) is not type(expected):
            return f"type: expected {_describe(expected)}, got {_describe(got)}"
        if got == expected:
            return None
        seen = f"expected {expected!r:.80}" + (f", got {got!r:.80}" if show is True else "")
        return "value: " + (seen if show else "a different text")
    return _close_numbers(compare, got, expected, show)


def _close_numbers(compare: dict, got: Any, expected: Any, show: bool) -> str | None:
    if isinstance(got, (list, tuple, dict, str)) or got is None:
        return f"type: expected {_describe(expected)}, got {_describe(got)}"
    scalar, whole = not isinstance(expected, torch.Tensor), isinstance(expected, int)
    got, expected = _as_tensor(got), _as_tensor(expected)
    if got.shape != expected.shape:
        return f"shape: expected {tuple(expected.shape)}, got {tuple(got.shape)}"
    if scalar and whole and got.is_floating_point():
        given = f": {got.item():.17g}" if show is True else ""
        return f"type: expected an int (a whole number), got a float{given}"
    if _kind(got) != _kind(expected) and not (scalar and _kind(got) == "integers"):
        return f"dtype: expected {_kind(expected)}, got {_kind(got)} ({str(got.dtype).removeprefix('torch.')})"
    wide = torch.complex128 if expected.is_complex() else torch.float64
    if got.is_floating_point() or got.is_complex() or expected.is_floating_point():
        rtol, atol = compare.get("rtol", 0.0), compare.get("atol", 0.0)
        near = torch.isclose(got.to(wide), expected.to(wide), rtol=rtol, atol=atol, equal_nan=True)
    else:
        near = got == expected
    if bool(near.all()):
        return None
    odd = int((got.isnan() & ~near).sum())
    if near.ndim == 0:
        differs = "it is nan" if odd else "it differs"
        return "value: " + (_expected(got.item(), expected.item(), show) if show else differs)
    place = tuple(int(i) for i in (~near).nonzero()[0])
    text = f"value: {int((~near).sum())} of {near.numel()} entries differ" + (f", {odd} of them nan" if odd else "")
    if not show:
        return text
    return f"{text}, the first at {list(place)}: {_expected(got[place].item(), expected[place].item(), show)}"


def _as_tensor(value: Any) -> torch.Tensor:
    """A Python float keeps all of its digits."""
    return torch.as_tensor(value, dtype=torch.float64) if type(value) is float else torch.as_tensor(value)


def _expected(got: Any, expected: Any, show: bool | str) -> str:
    """Both numbers, with as many digits as it takes to see that they differ; or the right one alone."""
    if show == "right":
        return f"expected {expected}" if isinstance(expected, bool) else f"expected {expected:.6g}"
    for digits in (6, 9, 17):
        form = "" if isinstance(got, complex) or isinstance(expected, complex) else f".{digits}g"
        texts = [str(x) if isinstance(x, bool) else f"{x:{form}}" for x in (expected, got)]
        if texts[0] != texts[1]:
            break
    return f"expected {texts[0]}, got {texts[1]}"


def _distribution(compare: dict, got: Any, expected: Any, truth: Any, show: bool) -> str | None:
    """Two-sample chi-square test of homogeneity between the student's draws and the reference's."""
    if not isinstance(got, torch.Tensor):
        return f"type: expected {_describe(expected)}, got {_describe(got)}"
    if got.shape != expected.shape:
        return f"shape: expected {tuple(expected.shape)}, got {tuple(got.shape)}"
    if _kind(got) != "integers":
        return f"dtype: expected integers, got {_kind(got)}"
    low = int(expected.min()) - 1
    width = int(expected.max()) - low + 2  # whatever lies outside the alphabet falls into the two end bins
    counts = torch.stack([_counts(compare["of"], (x.long() - low).clamp(0, width - 1), width) for x in (got, expected)])
    statistic, freedom = 0.0, 0
    for table in counts.unbind(1):  # (2, V): one group's draws, theirs and ours
        table = _merge_rare(table)
        if bool((table.sum(1) == 0).any()):
            if table.sum() > 50:
                return "value: " + (
                    "one symbol is followed where the other is not" if compare["of"] == "pairs" else "no draws"
                )
            continue
        mean = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
        statistic += float(((table - mean) ** 2 / mean).sum())
        freedom += table.shape[1] - 1
    half = torch.tensor([freedom / 2, statistic / 2], dtype=torch.float64)
    if freedom == 0 or float(torch.special.gammaincc(half[0], half[1])) > compare["alpha"]:
        return None
    seen = f" (chi-square {statistic:.0f} with {freedom} degrees of freedom)" if show is True else ""
    return f"value: the draws follow another distribution{seen}"


def _counts(of: str, draws: torch.Tensor, width: int) -> torch.Tensor:
    """(G, V) counts of draws that are independent within a group.

    "values" are one group. "pairs" (n, T) are grouped by the symbol before; the n first symbols are a group too, and
    groups by the first symbol of the row above: rows are drawn independently.
    """
    if of == "values":
        return torch.bincount(draws.flatten(), minlength=width).view(1, width).double()
    first = draws[:, :1]
    along, down = (
        torch.bincount((a * width + b).flatten(), minlength=width**2).view(width, width)
        for a, b in ((draws[:, :-1], draws[:, 1:]), (first[:-1], first[1:]))
    )
    return torch.cat([along, down, torch.bincount(first.flatten(), minlength=width).view(1, width)]).double()


def _merge_rare(table: torch.Tensor) -> torch.Tensor:
    """(2, V) counts whose rare columns (under 20 draws together) are added up into one, or left out if still rare."""
    rare = table.sum(0) < 20
    rest = table[:, rare].sum(1, keepdim=True)
    return torch.cat([table[:, ~rare], rest], dim=1) if rest.sum() >= 20 else table[:, ~rare]


def _accuracy(compare: dict, got: Any, expected: Any, truth: Any, show: bool) -> str | None:
    if fault := readers.misfit(compare["reader"], got, truth) if "reader" in compare else None:
        return fault
    got, truth = labels_of(compare, got, truth)
    shape = _close({"kind": "exact"}, _blank(got), _blank(truth), None, False)
    if shape:
        return shape
    labels = _flat(got)
    accuracy = sum(g == t for g, t in zip(labels, _flat(truth))) / len(labels)
    if accuracy >= compare["threshold"]:
        return None
    says = readers.READERS[compare["reader"]].says + " " if "reader" in compare else "accuracy "
    said = f"value: {says}{accuracy:.1%}, wanted at least {compare['threshold']:.0%}"
    return said + (f": your answer is {labels[0]!r} every time" if len(set(labels)) == 1 < len(labels) else "")


def labels_of(compare: dict, value: Any, truth: Any) -> tuple[Any, Any]:
    """Return the labels that an answer gives, and the true ones.

    Args:
        value: labels; or the parameters of a trained network, if `compare` has a "reader" of these.
        truth: the true labels; with a reader a dict that has them as "labels".
    """
    if "reader" not in compare:
        return value, truth
    if readers.misfit(compare["reader"], value, truth):
        return value, truth["labels"]
    return readers.read(compare["reader"], value, truth), truth["labels"]


def _flat(labels: Any) -> list:
    return labels.flatten().tolist() if isinstance(labels, torch.Tensor) else list(labels)


def _blank(labels: Any) -> Any:
    """Labels without their values, so that `_close` compares container, length and type alone."""
    if isinstance(labels, torch.Tensor):
        return torch.zeros_like(labels)
    return [type(v)() for v in labels] if isinstance(labels, (list, tuple)) else labels


COMPARISONS = {"close": _close, "exact": _close, "distribution": _distribution, "accuracy": _accuracy}


def _kind(x: torch.Tensor) -> str:
    if x.dtype == torch.bool:
        return "booleans"
    return "complex numbers" if x.is_complex() else "floating-point numbers" if x.is_floating_point() else "integers"


def _describe(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of length {len(value)}"
    names = {"NoneType": "None", "str": "text", "bool": "a bool", "int": "an int", "float": "a float"}
    return names.get(type(value).__name__, f"a {type(value).__name__}")
