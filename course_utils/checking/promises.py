"""What a statement promises beside values: arguments stay as they were, gradients flow, it runs on a GPU, and so on.

A promise is asked in the calls of the cases, or in a few calls more. One that is kept earns nothing; one that is broken
costs as much as a case. What the function did is found out beside it, as plain data (`reply`); whether that is what was
promised is decided where the verdict is made (`broken`).
"""

import inspect
import linecache
import logging
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_utils import plain
from course_utils.plain import Answer, Module

ARGUMENTS, GENERATOR, GRADIENTS, DTYPE, DEVICE = "arguments", "generator", "gradients", "dtype", "device"
AGAIN, NEXT = "again", "next"
OURS = str(Path(__file__).parents[1])
FETCHING = ("item", "tolist", "numpy", "__array__", "__float__", "__int__", "__index__", "cpu")
MOST_CALLS = 1000  # of torch's functions, on another device: a fault of a function that trains shows in its first steps


@dataclass
class Promise:
    """One promise of an exercise.

    Attributes:
        kind: `ARGUMENTS`, `GENERATOR`, `AGAIN`, `GRADIENTS`, `DTYPE` or `DEVICE`.
        case: the number of the case that it is asked about, from 0.
        asks: what the function is asked for it, beside its cases: arguments, or `{"how": …, "arguments": …}` with the
            number of the case that they are those of, or a list of numbers. For gradients first those of `case`,
            then those of the others, where they only have to be finite.
        expected: what the reference answers to these.
        warns: whether a broken one is only said and costs nothing.
    """

    kind: str
    case: int = 0
    asks: list[Any] = field(default_factory=list)
    expected: list[Answer] = field(default_factory=list)
    warns: bool = False


# --- beside the function ----------------------------------------------------------------------------------------------


def changed(function: Callable, before: Any, after: Any) -> list[str]:
    """The names of the arguments that are not what they were.

    Args:
        before, after: the arguments of the call, or the `Module` that was asked.
    """
    if isinstance(before[0] if before else None, Module):
        function, before, after = getattr(function, before[0].method, None), before[0].inputs, after[0].inputs
    names = _names(function, len(before))
    return [name for name, a, b in zip(names, before, after) if not _same(a, b)]


def gradients(function: Callable, arguments: tuple, of: list[int]) -> dict[str, Any]:
    """The gradients of a fixed weighted sum of the answer's numbers, and what each of them belongs to.

    Args:
        of: places of the arguments whose gradients are asked for; a module's parameters come with them.
    """
    import torch

    leaves: dict[str, torch.Tensor] = {}
    inputs = arguments[0].inputs if is_module(arguments) else arguments
    called = getattr(function, arguments[0].method, None) if is_module(arguments) else function
    names = _names(called, len(inputs))
    inputs = tuple(_leaf(v, names[i], leaves) if i in of else v for i, v in enumerate(inputs))
    with torch.enable_grad():
        if is_module(arguments):
            case = arguments[0]
            module = case.built(function)
            leaves |= {name: module.get_parameter(name) for name in case.state or ()}
            value = case.call(module, inputs)
        else:
            value = function(*inputs)
        parts = [(torch.arange(t.numel()).cos().view(t.shape) * t).sum() for t in _floats(value) if t.requires_grad]
        found = torch.autograd.grad(sum(parts), list(leaves.values()), allow_unused=True) if parts else ()
    return {"names": list(leaves), "gradients": list(found) or [None] * len(leaves)}


def following(function: Callable, arguments: tuple) -> Any:
    """What a second call gives that goes on with the generators of the first."""
    import torch

    def called(mine: tuple) -> Any:
        return mine[0].run(function) if is_module(mine) else function(*mine)

    first, generators = plain.resolve(arguments), []
    plain.replaced(first, lambda leaf: generators.append(leaf) if isinstance(leaf, torch.Generator) else leaf)
    called(first)
    used = iter(generators)
    second = plain.resolve(arguments)
    return called(plain.replaced(second, lambda leaf: next(used) if isinstance(leaf, torch.Generator) else leaf))


def on_device(function: Callable, cases: list[tuple]) -> dict[str, Any] | None:
    """What goes wrong if all tensors lie on another device: its kind, and the line; None if nothing does.

    It is a real device where this machine has one. Elsewhere torch only goes through the motions, with shapes and
    devices and without numbers; where an answer hangs on a number, it hears the one that a run on the CPU had there.
    """
    return next(filter(None, (_elsewhere(function, arguments) for arguments in cases)), None)


def _elsewhere(function: Callable, arguments: tuple) -> dict[str, Any] | None:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from course_utils import runtime

    logging.getLogger(FakeTensorMode.__module__).setLevel(logging.CRITICAL)  # it tells what it cannot play
    device = runtime.device()
    if device.type != "cpu":
        found = _run(function, arguments, device, _watch())
    else:
        device = torch.device("cuda")
        found = _run(function, arguments, device, _watch(fake=True), FakeTensorMode(allow_non_fake_inputs=True))
        if isinstance(found, _hanging()):
            _run(function, arguments, torch.device("cpu"), listener := _watch(listens=True))
            watch = _watch(fake=True, heard=listener.heard)
            found = _run(function, arguments, device, watch, FakeTensorMode(allow_non_fake_inputs=True))
    if not isinstance(found, Exception):
        return {"kind": "left", "line": 0, "code": ""} if "cpu" in found else None
    kind = _fault(found)
    return {"kind": kind} | _line(found) if kind else None


def _run(function: Callable, arguments: tuple, device: Any, watch: Any, *fake: Any) -> Exception | set[str]:
    """Where the answer lies of a call with its tensors on a device, or the error that the call ends in.

    Nowhere, where the function fetched numbers to the CPU itself.
    """
    import torch

    try:
        module = arguments[0].built(function) if is_module(arguments) else None
        with ExitStack() as stack:
            grad = torch.set_grad_enabled(torch.is_grad_enabled())  # restored, too, where `no_grad` is broken off
            for mode in (grad, *fake):
                stack.enter_context(mode)
            there = _on(device, arguments, bool(fake))
            module = module and module.to(device)
            stack.enter_context(watch)
            value = function(*there) if module is None else there[0].call(module, there[0].inputs)
            return set() if watch.fetched else {where.type for where in _devices(value)}
    except _Enough:
        return set()
    except Exception as error:
        return error


def _hanging() -> tuple[type[Exception], ...]:
    """What is raised where torch, playing a device, would need a number."""
    from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

    return DataDependentOutputException, DynamicOutputShapeException


class _Enough(BaseException):
    """Raised into a function that has gone through so many calls without a fault: it trains something."""


def _names(function: Any, count: int) -> list[str]:
    """What a function calls its arguments."""
    try:
        names = [n for n in inspect.signature(function).parameters if n != "self"]
    except (TypeError, ValueError):
        names = []
    return [names[i] if i < len(names) else f"argument {i + 1}" for i in range(count)]


def is_module(arguments: Any) -> bool:
    """Whether a class is asked."""
    return len(arguments) == 1 and isinstance(arguments[0], Module)


def _same(a: Any, b: Any) -> bool:
    torch = sys.modules.get("torch")  # where there is a tensor it is there; to import it takes a second
    if torch and isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        return bool(((a == b) | ((a != a) & (b != b))).all())  # what is nan stays nan
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(_same(a[k], b[k]) for k in a)
    return isinstance(a, plain.Seed) or type(a) is type(b) and (a is b or a == b)


def _leaf(value: Any, name: str, leaves: dict[str, Any]) -> Any:
    """The value with its floating-point tensors as copies of new leaves: a copy may be changed in place."""
    import torch

    if isinstance(value, torch.Tensor) and value.is_floating_point():
        leaves[name] = value.clone().requires_grad_()
        return leaves[name].clone()
    if isinstance(value, dict):
        return {k: _leaf(v, f"{name}[{k!r}]", leaves) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_leaf(v, f"{name}[{i}]", leaves) for i, v in enumerate(value))
    return value


def _floats(value: Any) -> list[Any]:
    """The floating-point tensors in an answer."""
    import torch

    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() else []
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [t for part in parts for t in _floats(part)]


def _on(device: Any, value: Any, fake: bool) -> Any:
    """The value with all its tensors on a device, and with generators of that device, if it is a real one."""
    import torch

    def leaf(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.to(device, copy=True)
        if isinstance(value, torch.Generator) and not fake:
            return torch.Generator(device).manual_seed(value.initial_seed())
        return value

    return plain.replaced(value, leaf)


def _watch(fake: bool = False, listens: bool = False, heard: list[tuple] = ()) -> Any:
    """A mode that counts calls, and in which numpy refuses what lies on a device that is only played.

    It sees whether numbers are `fetched` from the device.

    Args:
        fake: whether the device is played.
        listens: whether it keeps each call's function and result, as `heard`.
        heard: what another one kept in a run on the CPU: it stands in where a call would need a number.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    hanging = _hanging() if heard else ()

    class Watch(TorchFunctionMode):
        def __init__(self):
            super().__init__()
            self.calls, self.heard, self.fetched = 0, [], False

        def __torch_function__(self, function, types, args=(), kwargs=None):
            place = self.calls
            self.calls += 1
            self.fetched |= getattr(function, "__name__", "") in FETCHING
            if self.calls > MOST_CALLS:
                raise _Enough
            if fake and _indexed_from_elsewhere(function, args, kwargs or {}):
                raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor")
            if fake and function in (torch.Tensor.numpy, torch.Tensor.__array__) and args[0].device.type != "cpu":
                raise TypeError("can't convert cuda:0 device type tensor to numpy")
            try:
                result = function(*args, **(kwargs or {}))
            except hanging:
                if place >= len(heard) or heard[place][0] != function:
                    raise
                return _on(_device_of(args), heard[place][1], fake)
            if listens:
                self.heard.append((function, result))
            self.fetched |= function == torch.Tensor.to and _device_of((result,)).type == "cpu"
            return result

    return Watch()


def _indexed_from_elsewhere(function: Callable, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether indices or what is written lie on another device, where a real one would not allow it.

    Torch passes over these when it plays a device. Indices on the CPU may stand in brackets.
    """
    name = getattr(function, "__name__", "")
    if name in ("__getitem__", "__setitem__"):
        return args[0].device.type == "cpu" and any(device.type != "cpu" for device in _devices(args[1:2]))
    if name.startswith("index_"):
        return len({device.type for device in _devices([*args, *kwargs.values()])}) > 1
    return False


def _devices(values: Any) -> list[Any]:
    """Where the tensors lie that are more than a number."""
    found = []
    plain.replaced(values, lambda leaf: found.append(leaf.device) if getattr(leaf, "ndim", 0) else None)
    return found


def _device_of(arguments: Any) -> Any:
    """The device of the first tensor among the arguments of a call."""
    found = []
    plain.replaced(arguments, lambda leaf: found.append(leaf.device) if hasattr(leaf, "device") else None)
    return found[0]


def _fault(error: Exception) -> str:
    """Which of the usual faults an error is; "" for all others."""
    text = str(error)
    if "on the same device" in text or "indices should be either on" in text or "Unhandled FakeTensor Device" in text:
        return "mixed"
    return "numpy" if "can't convert" in text and "to numpy" in text else ""


def _line(error: Exception) -> dict[str, Any]:
    """The student's own line in which it happened."""
    import torch

    library = str(Path(torch.__file__).parent)
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith((OURS, library, "<frozen"))]
    if not own:
        return {"line": 0, "code": ""}
    return {"line": own[-1].lineno or 0, "code": linecache.getline(own[-1].filename, own[-1].lineno or 0).strip()[:100]}


# --- the verdict ------------------------------------------------------------------------------------------------------

MISSING = ("NoAnswer", "TooLong")  # the machine's doing, or told elsewhere
COPY = "work on a copy (`x = x.clone()`), or write `x = x * 2` for `x *= 2`"
CUT = (
    "`.item()`, `float(…)`, functions of `math`, `.detach()`, `torch.no_grad()`, numpy and `torch.tensor(…)` cut it "
    "off, and so do `clamp` beyond its bounds and `argmax`: keep to torch's functions that have a slope"
)
HARMLESS = (
    "what comes of a division by 0 (or of the root or the logarithm of 0) is thrown away afterwards, but its slope is "
    "not, and 0 times infinity is nan. Make it harmless *before*, say with `clamp(min=…)`; and fill what is hidden "
    "with −∞ (`masked_fill`) in place of adding it"
)
CONSTANT = (
    "a new constant hangs on no argument, so that `backward()` raises an error, and on a GPU it lies elsewhere. A sum "
    "over nothing is 0, and hangs on what it is taken of"
)
CURES = {
    "mixed": "a tensor made on the CPU meets one on the GPU: make it where the input is, with `device=x.device` "
    "(in a module: `register_buffer`)",
    "left": "what comes next meets it there: make what you fill, and what you answer, with `device=x.device`",
    "numpy": "numpy cannot read from a GPU: write `x.cpu().numpy()`, or keep to torch",
}


def broken(
    promise: Promise,
    answers: list[Answer],
    expected: list[Answer],
    own: list[Answer],
    wrong: list[str | None] | None = None,
) -> tuple[str, bool]:
    """How a promise is broken, and whether it costs anything; ("", False) where it is kept, or where nothing tells.

    Args:
        answers, expected: to the cases.
        own: the student's to what the promise asks.
        wrong: for each case what is wrong; None where it holds. Of another value the gradient is another one, too.
    """
    wrong = wrong or [None] * len(answers)
    holds = not wrong[promise.case]
    if promise.kind == ARGUMENTS:
        text = _changed_text(answers)
    elif promise.kind == DTYPE:
        text = next(filter(None, map(_dtype, answers, expected)), "")
    elif "value" not in answers[promise.case]:
        text = ""  # its value is wrong already
    elif promise.kind == GENERATOR:
        text = _generator(answers[promise.case], own)
    elif promise.kind == AGAIN:
        text = _again(answers[promise.case], own[0]) if "value" in answers[promise.case] else ""
    elif promise.kind == GRADIENTS:
        text = _gradients(own[0], promise.expected[0], holds) or _elsewhere_broken(promise, own, wrong)
    else:
        text, hard = _device(own[0])
        return text, hard and not promise.warns
    return text, bool(text) and not promise.warns


def _changed_text(answers: list[Answer]) -> str:
    names = [name for a in answers for name in a.get("changed", ()) if isinstance(name, str)]
    if not names:
        return ""
    name = f"`{names[0][:40]}`" if names[0].isidentifier() else "an argument"
    return f"{name} is not what it was before the call: {COPY}"


def _dtype(got: Answer, expected: Answer) -> str:
    """In which dtype a part of the answer differs from the reference's."""
    import torch

    def parts(value: Any) -> list[Any]:
        if isinstance(value, (list, tuple)):
            return [t for v in value for t in parts(v)]
        return [value]

    for a, b in zip(parts(got.get("value")), parts(expected.get("value"))):
        if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.dtype != b.dtype:
            ours, theirs = (str(t.dtype).removeprefix("torch.") for t in (b, a))
            return f"dtype: expected {ours}, got {theirs}: what comes next needs {ours} (`x.to(torch.{ours})`)"
    return ""


def _generator(first: Answer, own: list[Answer]) -> str:
    if len(own) < 2 or any("value" not in a for a in own[:2]):
        return ""
    if not _same(first["value"], own[0]["value"]):
        return (
            "two calls with equal generators gave different draws: all randomness comes from `generator`, so hand it "
            "to each function that draws (`torch.multinomial(…, generator=generator)`)"
        )
    if _same(first["value"], own[1]["value"]):
        return "another generator gave the same draws: draw from the one that is given, and seed nothing yourself"
    if len(own) > 2 and "value" in own[2] and _same(first["value"], own[2]["value"]):
        return (
            "called twice with one generator, it gave the same draws both times: draw from the one that is given, so "
            "that it moves on, and neither from a copy of it nor anew from its seed (`initial_seed()`)"
        )
    return ""


def _again(first: Answer, second: Answer) -> str:
    if second.get("error") in MISSING or "value" in second and _near(first["value"], second["value"]):
        return ""
    return (
        "asked the same again, it gives another answer: nothing may stay from one call to the next (a global, a list "
        "as default argument), and nothing may be drawn at random"
    )


def _near(a: Any, b: Any) -> bool:
    """Whether two answers to the same question are one: numbers up to rounding."""
    import torch

    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_near, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return set(a) == set(b) and all(_near(a[k], b[k]) for k in a)
    if isinstance(a, (float, torch.Tensor)) and isinstance(b, (float, torch.Tensor)):
        a, b = torch.as_tensor(a), torch.as_tensor(b)
        return a.shape == b.shape and torch.allclose(a.cdouble(), b.cdouble(), rtol=1e-3, atol=1e-4, equal_nan=True)
    return _same(a, b)


def _gradients(got: Answer, expected: Answer, holds: bool) -> str:
    import torch

    if "value" not in got:
        return "" if got["error"] in MISSING else _stopped(got)
    found = got["value"]
    if not isinstance(found, dict) or len(found.get("gradients", ())) != len(expected["value"]["gradients"]):
        return f"no gradient came back: {CUT}"
    for name, a, b in zip(expected["value"]["names"], found["gradients"], expected["value"]["gradients"]):
        if b is None or not b.abs().max():
            continue
        if a is None or holds and not a.abs().max():  # what is wrong may have no slope where this was asked
            return f"no gradient reaches `{name}`: {CUT}"
        if holds and not (
            a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-2, atol=1e-3 * float(b.abs().max()))
        ):
            return f"the gradient that reaches `{name}` is not that of the formula, though the value is: {CUT}"
    return ""


def _elsewhere_broken(promise: Promise, own: list[Answer], wrong: list[str | None]) -> str:
    """In which other case that holds a gradient is nan or infinite, or none goes back at all."""
    import torch

    for ask, got, expected in zip(promise.asks[1:], own[1:], promise.expected[1:]):
        found, case = got.get("value"), ask["arguments"]
        if wrong[case] or not isinstance(found, dict):
            continue
        for name, gradient in zip(expected["value"]["names"], found.get("gradients", ())):
            if isinstance(gradient, torch.Tensor) and not gradient.isfinite().all():
                where = f"the value of case {case + 1} is right, but the gradient that reaches `{name}` is nan there"
                return f"{where}: {HARMLESS}"
        none, nowhere = (all(g is None for g in asked.get("gradients", ())) for asked in (found, expected["value"]))
        if none and not nowhere:
            return f"the value of case {case + 1} is right, but no gradient goes back from it: {CONSTANT}"
    return ""


def _stopped(got: Answer) -> str:
    """Why no gradient could be had: without one asked for, the function gave its answer."""
    said = str(got.get("message"))
    if "numpy" in said:
        return f"no gradient comes through numpy: {CUT}"
    if "inplace" in said or "in-place" in said:
        return f"what the gradient needs is overwritten: {COPY}"
    return f"where a gradient is asked for it raised {plain.usual(got['error']) or 'an error'}"


def _device(got: Answer) -> tuple[str, bool]:
    match got.get("value"):
        case {"kind": "left"}:
            return f"on a GPU its answer is left behind on the CPU: {CURES['left']}", True
        case {"kind": str(kind), "line": int(line)} if kind in CURES:
            return f"on a GPU it stops in line {line} of its cell: {CURES[kind]}", kind == "mixed"
    return "", False
