"""How what is wrong hangs on the arguments: where it stands, and by how much it is off.

"Wrong only where `mask` is False", "off by 2 times `kl`", "yours is `x` as it came": facts about all failing cases that
tell no right value.
"""

import itertools
from collections.abc import Callable, Iterator

import torch

Pair = tuple[torch.Tensor, torch.Tensor]  # what came and what is right, of the same shape, as float64
FEW = 6  # wrong numbers below which their places may be an accident
RARE = 0.15  # of the right numbers may stand where the wrong ones do
NARROW = 0.6  # of the right numbers at most lie between two bounds that say something

Named = list[tuple[str, list[torch.Tensor]]]  # a name, and the argument in each failing case


def arguments(inputs: list[tuple], names: list[str]) -> tuple[Named, dict[str, list[float]]]:
    """The tensors among the arguments of the failing cases, those in dicts among them, and the plain numbers."""
    tensors: Named = []
    numbers: dict[str, list[float]] = {}
    for p, values in enumerate(zip(*inputs)):
        name = names[p] if p < len(names) else f"argument {p + 1}"
        if all(isinstance(v, dict) for v in values):
            keys = [k for k in values[0] if all(isinstance(v.get(k), torch.Tensor) for v in values)]
            tensors += [(f"{name}[{k!r}]", [v[k] for v in values]) for k in keys]
        elif all(isinstance(v, torch.Tensor) for v in values):
            tensors.append((name, list(values)))
        elif all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            numbers[name] = [float(v) for v in values]
    return tensors, numbers


# --- by how much ------------------------------------------------------------------------------------------------------

FORMS: list[tuple[str, Callable[[torch.Tensor], torch.Tensor]]] = [
    ("{}", lambda a: a),
    ("{} squared", lambda a: a.square()),
    ("e to the power of {}", lambda a: a.exp()),
    ("the logarithm of {}", lambda a: a.log()),
    ("the root of {}", lambda a: a.sqrt()),
]
SUMS: list[tuple[str, Callable[[torch.Tensor], torch.Tensor]]] = [
    ("", lambda a: a),
    (", summed over the last axis", lambda a: a.sum(-1)),
    (", averaged over the last axis", lambda a: a.mean(-1)),
    (", summed", lambda a: a.sum()),
    (", averaged", lambda a: a.mean()),
]


def off_by(pairs: list[Pair], inputs: list[tuple], names: list[str], near: Callable[..., bool]) -> str:
    """What has been added to the right numbers, or multiplies them, if it is made of one argument."""
    tensors, numbers = arguments(inputs, names)
    if any(not (g.isfinite().all() and r.isfinite().all()) for g, r in pairs) or sum(r.numel() for _, r in pairs) < 3:
        return ""
    for name, values in tensors:
        if all(v.shape == g.shape and near(g, v.double()) for v, (g, _) in zip(values, pairs)):
            return f"yours is `{name}` as it came"
    made = [
        (form.format(f"`{name}`") + of, made)
        for name, values in tensors
        for form, function in FORMS
        for of, reduce in SUMS
        if (made := [_made(reduce, function, v, g) for v, (g, _) in zip(values, pairs)])
        and all(m is not None for m in made)
    ] + [
        (
            form.format(f"`{name}`"),
            [function(torch.tensor(v, dtype=torch.float64)).expand_as(g) for v, (g, _) in zip(values, pairs)],
        )
        for name, values in numbers.items()
        if len(set(values)) > 1
        for form, function in FORMS[:3]
    ]
    for text, values in made:
        if not all(v.isfinite().all() for v in values) or not any(v.count_nonzero() for v in values):
            continue
        d, v = (torch.cat([t.flatten() for t in ts]) for ts in ([g - r for g, r in pairs], values))
        c = float((d * v).sum() / (v * v).sum())
        if abs(c) > 1e-3 and all(near(g - c * m, r) for (g, r), m in zip(pairs, values)) and len(v.unique()) > 2:
            times = "" if abs(abs(c) - 1) < 1e-3 else f"{abs(c):.3g} times "
            return f"yours is the right numbers {'plus' if c > 0 else 'minus'} {times}{text}"
        if len(v.unique()) > 2 and all(near(g, r * m) for (g, r), m in zip(pairs, values)):
            return f"yours is the right numbers times {text}"
        if len(v.unique()) > 2 and all(near(g * m, r) for (g, r), m in zip(pairs, values)):
            return f"yours is the right numbers divided by {text}"
    return ""


def _made(reduce: Callable, function: Callable, value: torch.Tensor, like: torch.Tensor) -> torch.Tensor | None:
    """A form of an argument, spread out over the shape of an answer; None where it does not fit."""
    if not value.is_floating_point() or not value.numel():
        return None
    made = function(value.double())
    if made.dim() == 0 and reduce(made + 0).dim() == 0 and reduce is not SUMS[0][1]:
        return None
    made = reduce(made)
    try:
        return made.expand_as(like)
    except RuntimeError:
        return None


# --- where ------------------------------------------------------------------------------------------------------------


def where(wrong: list[torch.Tensor], inputs: list[tuple], names: list[str]) -> str:
    """What the arguments have in common at all wrong places, and at few or none of the right ones.

    Args:
        wrong: for each failing case which numbers of the answer are wrong.
    """
    if sum(int(w.sum()) for w in wrong) < FEW or all(bool(w.all()) for w in wrong):
        return ""
    tensors, numbers = arguments(inputs, names)
    found = []
    for text, holds in _predicates(wrong, tensors, numbers):
        at, free = _shares(wrong, holds)
        if at == 1.0 and free < 1 - RARE:
            found.append((free, text, holds))
    found.sort(key=lambda each: each[0])
    if found and found[0][0] <= RARE:
        return f"what is wrong stands only where {found[0][1]}"
    for (_, one, a), (_, two, b) in itertools.combinations(found[:8], 2):
        if _shares(wrong, [x & y for x, y in zip(a, b)])[1] <= RARE:
            return f"what is wrong stands only where {one} and {two}"
    return ""


def _shares(wrong: list[torch.Tensor], holds: list[torch.Tensor]) -> tuple[float, float]:
    """The share of the wrong places at which something holds, and that of the right ones."""
    w, h = (torch.cat([t.flatten() for t in ts]) for ts in (wrong, holds))
    return tuple(float(h[side].double().mean()) if side.any() else 0.0 for side in (w, ~w))


def _predicates(
    wrong: list[torch.Tensor], tensors: Named, numbers: dict[str, list[float]]
) -> Iterator[tuple[str, list[torch.Tensor]]]:
    """What may hold at a place of the answer, with a table of where it does for each case."""
    for name, values in tensors:
        if all(v.shape == w.shape for v, w in zip(values, wrong)):
            placed = values
        elif all(0 < v.dim() < w.dim() and v.shape == w.shape[: v.dim()] for v, w in zip(values, wrong)):
            placed = [v.view(*v.shape, *[1] * (w.dim() - v.dim())).expand_as(w) for v, w in zip(values, wrong)]
        elif all(v.dim() > 1 and w.dim() and len(v) == len(w) for v, w in zip(values, wrong)):
            yield from _of_rows(name, values, wrong)
            continue
        else:
            continue
        yield from _of_numbers(name, placed, wrong, numbers)
        if all(v.dim() == 1 and not v.is_floating_point() and v.dtype != torch.bool for v in values):
            alone = [(v[:, None] == v).sum(1) == 1 for v in values]
            yield f"a number of `{name}` occurs once", [_spread(a, w) for a, w in zip(alone, wrong)]
            yield f"a number of `{name}` occurs more than once", [_spread(~a, w) for a, w in zip(alone, wrong)]


def _spread(rows: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return rows.view(-1, *[1] * (like.dim() - 1)).expand_as(like)


def _of_numbers(
    name: str, placed: list[torch.Tensor], wrong: list[torch.Tensor], numbers: dict[str, list[float]]
) -> Iterator[tuple[str, list[torch.Tensor]]]:
    if all(v.dtype == torch.bool for v in placed):
        yield f"`{name}` is True", list(placed)
        yield f"`{name}` is False", [~v for v in placed]
        return
    given, placed = placed, [v.double() for v in placed]
    yield f"`{name}` is 0", [v == 0 for v in placed]
    yield f"`{name}` is not 0", [v != 0 for v in placed]
    yield f"`{name}` is negative", [v < 0 for v in placed]
    yield f"`{name}` is positive", [v > 0 for v in placed]
    for other, bounds in numbers.items():
        yield f"`{name}` is below `{other}`", [v < b for v, b in zip(placed, bounds)]
        yield f"`{name}` is `{other}`", [v == b for v, b in zip(placed, bounds)]
        yield f"`{name}` is above `{other}`", [v > b for v, b in zip(placed, bounds)]
    bad = torch.cat([v[w] for v, w in zip(placed, wrong)])
    good = torch.cat([v[~w] for v, w in zip(placed, wrong)])
    if len(bad.unique()) < 2 * FEW or len(good) < 2 * FEW or not all(v.is_floating_point() for v in given):
        return  # whole numbers are mostly names, and say nothing by their size
    low, high = float(bad.min()), float(bad.max())
    if float(((good >= low) & (good <= high)).double().mean()) <= NARROW:
        text = f"`{name}` lies between {low:.2g} and {high:.2g}"
        if low <= good.min():
            text = f"`{name}` is at most {high:.2g}"
        elif high >= good.max():
            text = f"`{name}` is at least {low:.2g}"
        yield text, [(v >= low) & (v <= high) for v in placed]


def _of_rows(
    name: str, values: list[torch.Tensor], wrong: list[torch.Tensor]
) -> Iterator[tuple[str, list[torch.Tensor]]]:
    flat = [v.reshape(len(v), -1) for v in values]
    if all(v.dtype == torch.bool for v in flat):
        yield f"a row of `{name}` is all False", [_spread(~v.any(1), w) for v, w in zip(flat, wrong)]
        yield f"a row of `{name}` has a False", [_spread(~v.all(1), w) for v, w in zip(flat, wrong)]
        yield f"a row of `{name}` begins with False", [_spread(~v[:, 0], w) for v, w in zip(flat, wrong)]
    elif all(v.is_floating_point() for v in flat):
        yield f"a row of `{name}` is all zeros", [_spread((v == 0).all(1), w) for v, w in zip(flat, wrong)]
        yield f"a row of `{name}` is longer than 1", [_spread(v.norm(dim=1) > 1, w) for v, w in zip(flat, wrong)]
        yield f"a row of `{name}` is shorter than 1", [_spread(v.norm(dim=1) < 1, w) for v, w in zip(flat, wrong)]
    else:
        yield f"a row of `{name}` sums to 0", [_spread(v.sum(1) == 0, w) for v, w in zip(flat, wrong)]
