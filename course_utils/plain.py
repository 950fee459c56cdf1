"""Plain data as bytes: one safetensors file whose metadata is JSON, and nothing that can run.

The checker, the grader and the files of cases all speak it. A value is made of `None`, `bool`, `int`, `float`, `str`,
`list`, `tuple`, `dict` and torch tensors (numpy arrays travel as tensors, and a torch module as its state: name ->
tensor), of a `Seed`, a `Recipe` and a `Module`.
"""

import builtins
import hashlib
import importlib
import json
import socket
import struct
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import safetensors.numpy

# torch takes seconds to import: it is, where a value has a tensor in it, and not before
if TYPE_CHECKING:
    import torch

Answer = dict[
    str, Any
]  # what one call gave: {"value": plain data} or {"error": the exception's type, "message": its text}

MAX_BYTES = 16 * 2**20  # of one message, unless something else is agreed on; an honest answer is far smaller

MAX_PARTS = 1_000_000  # values in one message: an empty list takes 2 bytes in it, and 30 times that in memory
MAX_DEPTH = 100
OF_LIBRARIES = {"LinAlgError", "OutOfMemoryError", "AxisError", "JSONDecodeError", "UsageError"}


def usual(error: str) -> str:
    """The name of an error, if it is one of Python's or of the libraries'; "" if a student could have made it up."""
    known = getattr(builtins, error, None)
    return error if error in OF_LIBRARIES or (isinstance(known, type) and issubclass(known, BaseException)) else ""


@dataclass(frozen=True)
class Seed:
    """Stands for a fresh `torch.Generator` seeded with `n`, made where the value is used."""

    n: int


@dataclass(frozen=True)
class Recipe:
    """Stands for what a function of `course_utils.data` returns, so that real text and pictures need not be stored.

    `Recipe("text.training_texts", {"characters": 1000})`; with `item`, that part of what the function returns.
    """

    function: str
    arguments: dict = field(default_factory=dict)
    item: int | None = None

    def cook(self) -> Any:
        """What the function returned: kept for the next who asks, who changes only copies of it (`resolve`)."""
        result = _returned(self.function, pack(self.arguments))
        return result if self.item is None else result[self.item]


@lru_cache(maxsize=8)
def _returned(function: str, arguments: bytes) -> Any:
    """What a function of `course_utils.data` returns; one hand-in after the other is asked the same few texts."""
    module, name = function.split(".")
    return getattr(importlib.import_module(f"course_utils.data.{module}"), name)(**unpack(arguments))


@dataclass(frozen=True)
class Module:
    """The case of an exercise whose answer is a class: build one, give it weights, call it.

    Attributes:
        init: what it is built with, a tuple of arguments or a dict of named ones.
        state: name -> tensor, all of its parameters; None leaves those that it makes itself.
        inputs: what the method is called with.
        method: which one; by default the module itself is called.
    """

    init: tuple | dict = ()
    state: dict | None = None
    inputs: tuple = ()
    method: str = "forward"

    def run(self, build: Callable) -> Any:
        """What the method of a module of the student's class gives, with these weights, in eval mode.

        Raises:
            WrongParameters: its parameters are not those of `state`; the message names them with their shapes.
        """
        return self.call(self.built(build), self.inputs)

    def built(self, build: Callable) -> Any:
        """A module of the student's class, with these weights.

        Raises:
            WrongParameters: as `run`.
        """
        module = build(**self.init) if isinstance(self.init, dict) else build(*self.init)
        if not callable(getattr(module, "load_state_dict", None)):
            raise WrongParameters(f"expected a class made from torch.nn.Module, got {type(module).__name__}")
        if self.state is not None:
            _fill(module, self.state)
        return module

    def call(self, module: Any, inputs: tuple) -> Any:
        """What the method of a module gives, in eval mode."""
        module.eval()
        return (module if self.method == "forward" else getattr(module, self.method))(*inputs)


class WrongParameters(Exception):
    """A module's parameters have other names or shapes than those that the exercise states."""


def _fill(module: Any, state: dict) -> None:
    """Load a state strictly; buffers of the student's own (a mask, say) may be there beside it."""
    own = dict(module.state_dict())
    filled = {id(p) for name, p in module.named_parameters(remove_duplicate=False) if name in state}
    problems = [f"missing {name} {tuple(t.shape)}" for name, t in state.items() if name not in own]
    problems += [f"unexpected {n} {tuple(p.shape)}" for n, p in module.named_parameters() if id(p) not in filled]
    problems += [
        f"{name} has shape {tuple(own[name].shape)}, expected {tuple(t.shape)}"
        for name, t in state.items()
        if name in own and own[name].shape != t.shape
    ]
    if problems:
        raise WrongParameters("the parameters of your module: " + "; ".join(problems))
    module.load_state_dict(own | state)


class NotPlain(TypeError):
    """A value holds something that does not travel: a tokenizer, a set, a generator."""


def pack(value: Any) -> bytes:
    """Bytes of a plain value.

    Raises:
        NotPlain: the value holds something else than plain data; the message names its type.
    """
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(_encode(value, tensors))
    body = _torch_files().save(tensors) if tensors else safetensors.numpy.save({})
    metadata = {"value": text, "sha256": _checksum(text, body)}
    return _with_metadata(body, metadata)


def unpack(data: bytes, most: int = MAX_BYTES) -> Any:
    """The value that `pack` was given (numpy arrays come back as tensors).

    Args:
        most: bytes that there may be.

    Raises:
        ValueError: the bytes are cut short, changed, too many, or not from `pack`.
    """
    if len(data) > most:
        raise ValueError(f"{len(data)} bytes are more than one message may have ({most})")
    try:
        metadata, body = _without_metadata(data)
        if _checksum(metadata["value"], body) != metadata["sha256"]:
            raise ValueError("its checksum does not fit")
        tensors = _torch_files().load(body) if len(body) > len(safetensors.numpy.save({})) else {}
        return _decode(parsed(metadata["value"]), tensors)
    except Exception as error:  # whatever a hostile or broken sender makes the parsers say
        raise ValueError(
            f"these bytes are damaged or were not made by the course ({type(error).__name__}: {str(error)[:200]})"
        ) from None


def outline(data: bytes) -> Any:
    """The value that `pack` was given, with None in the place of tensors (needs no torch, which is slow to load).

    Raises:
        ValueError: the bytes are not from `pack`.
    """
    try:
        return _decode(json.loads(_without_metadata(data)[0]["value"]), defaultdict(lambda: None))
    except Exception as error:
        raise ValueError(f"these bytes are damaged ({type(error).__name__}: {str(error)[:200]})") from None


def cook(value: Any) -> Any:
    """The value with every `Recipe` replaced by what it gives."""
    return replaced(value, lambda leaf: leaf.cook() if isinstance(leaf, Recipe) else leaf)


def resolve(value: Any) -> Any:
    """The value as a function is called with it.

    Recipes cooked, a fresh generator for every `Seed`, its own copy of every tensor.
    """

    def leaf(value: Any) -> Any:
        match value:
            case Seed(n):
                import torch

                return torch.Generator().manual_seed(n)
        return value.clone() if _is_tensor(value) else value

    return replaced(cook(value), leaf)


def load(path: Path) -> Any:
    """The value in a file written from `pack`.

    Raises:
        FileNotFoundError, ValueError: no such file, or a damaged one; the message names it.
    """
    try:
        return unpack(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def send(connection: socket.socket, value: Any) -> None:
    """One message: its length in 8 bytes, then the packed value."""
    data = pack(value)
    connection.sendall(struct.pack("<Q", len(data)) + data)


def receive(connection: socket.socket, most: int = MAX_BYTES) -> Any:
    """The value of the next message.

    Args:
        most: bytes that it may have.

    Raises:
        EOFError: the other side closed the connection.
        ValueError: the message is too large or damaged.
    """
    return unpack(receive_packed(connection, most), most)


def receive_packed(connection: socket.socket, most: int = MAX_BYTES) -> bytes:
    """The next message as it came, for `unpack`.

    Args:
        most: bytes that it may have.

    Raises:
        EOFError: the other side closed the connection.
        ValueError: the message is too large.
    """
    (length,) = struct.unpack("<Q", _exactly(connection, 8))
    if length > most:
        raise ValueError(f"a message of {length} bytes is more than {most}")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = connection.recv(min(length - len(data), 2**20))
        if not part:
            raise EOFError("the connection was closed")
        data += part
    return bytes(data)


def replaced(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """The value with what `leaf` gives in the place of each thing that holds no others."""
    if isinstance(value, (list, tuple)):
        return type(value)(replaced(v, leaf) for v in value)
    if isinstance(value, dict):
        return {k: replaced(v, leaf) for k, v in value.items()}
    if isinstance(value, Module):
        return Module(*(replaced(v, leaf) for v in (value.init, value.state, value.inputs)), value.method)
    return leaf(value)


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _is_network(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _torch_files() -> Any:
    import safetensors.torch

    return safetensors.torch


def _checksum(text: str, body: bytes) -> str:
    return hashlib.sha256(text.encode() + body).hexdigest()


def connect(address: str) -> socket.socket:
    """A connection to a judge: to its unix socket, or where there are none to a port of this machine.

    Args:
        address: a path, or `tcp://PORT/TOKEN`; the token tells the judge's own client from other programs.
    """
    if not address.startswith("tcp://"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
        return connection
    port, token = address.removeprefix("tcp://").split("/")
    connection = socket.create_connection(("127.0.0.1", int(port)))
    send(connection, token)
    return connection


def _of_numpy(value: numpy.ndarray) -> Any:
    """A tensor or a Python value in place of numpy's, whatever its width and the order of its bytes."""
    if value.dtype.kind in "SU":
        return value.astype(str).tolist()
    if value.dtype.kind not in "biufc":
        raise TypeError(f"expected numbers or text, got numpy values of type {value.dtype.name}")
    wide = {"u": "int64", "f": "float64", "c": "complex128"}
    if value.dtype.name not in ("uint8", "float16", "float32", "complex64") and value.dtype.kind in wide:
        value = value.astype(wide[value.dtype.kind])
    if not value.ndim:
        return value.item()
    import torch

    return torch.as_tensor(numpy.ascontiguousarray(value.astype(value.dtype.newbyteorder("="))))


def _common() -> dict["torch.dtype", "torch.dtype"]:
    """Kinds of tensors that can be neither compared nor sent -> those that stand for them."""
    import torch

    return dict.fromkeys((torch.uint16, torch.uint32, torch.uint64), torch.int64) | {torch.complex128: torch.complex64}


def _encode(value: Any, tensors: dict[str, "torch.Tensor"]) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return _encode(_of_numpy(numpy.asarray(value)), tensors)
    if _is_tensor(value):
        import torch

        plain = value.detach().cpu()
        plain = plain.to(_common().get(plain.dtype, plain.dtype))
        plain = plain.to_dense() if plain.layout != torch.strided else plain
        name = str(len(tensors))
        tensors[name] = plain.as_subclass(torch.Tensor).contiguous().clone()
        return {"tensor": name}
    if isinstance(value, (bool, int, float, str)):  # subclasses, such as enums
        return _encode(next(t for t in (bool, int, float, str) if isinstance(value, t))(value), tensors)
    if isinstance(value, list):
        return [_encode(v, tensors) for v in value]
    if isinstance(value, tuple):
        return {"tuple": [_encode(v, tensors) for v in value]}
    if _is_network(value):
        value = dict(value.state_dict())
    if isinstance(value, dict):
        if odd := {type(k).__name__ for k in value if not isinstance(k, str)}:
            raise NotPlain(f"expected text for the keys of a dict, got {', '.join(sorted(odd))}")
        return {"dict": [[_encode(k, tensors), _encode(v, tensors)] for k, v in value.items()]}
    if isinstance(value, Seed):
        return {"seed": value.n}
    if isinstance(value, Recipe):
        return {"recipe": value.function, "arguments": _encode(value.arguments, tensors), "item": value.item}
    if isinstance(value, Module):
        return {"module": [_encode(v, tensors) for v in (value.init, value.state, value.inputs, value.method)]}
    raise NotPlain(f"expected numbers, text, tensors, or lists, tuples and dicts of them, got {type(value).__name__}")


def parsed(text: str | bytes) -> Any:
    """JSON of a sane number of parts."""
    marks = (",", "[", "{") if isinstance(text, str) else (b",", b"[", b"{")
    if sum(map(text.count, marks)) > MAX_PARTS:
        raise ValueError(f"it has more than {MAX_PARTS} parts")
    return json.loads(text)


def _decode(tree: Any, tensors: dict[str, "torch.Tensor"], depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(tree, list):
        return [_decode(v, tensors, depth + 1) for v in tree]
    if not isinstance(tree, dict):
        return tree
    match tree:
        case {"tensor": name}:
            return tensors[name]
        case {"tuple": items}:
            return tuple(_decode(v, tensors, depth + 1) for v in items)
        case {"dict": pairs}:
            return {_key(k): _decode(v, tensors, depth + 1) for k, v in pairs}
        case {"seed": n}:
            return Seed(int(n))
        case {"recipe": function, "arguments": arguments, "item": item}:
            return Recipe(function, _decode(arguments, tensors, depth + 1), item)
        case {"module": parts}:
            return Module(*(_decode(v, tensors, depth + 1) for v in parts))
    raise ValueError("it holds a value of an unknown kind")


def _key(key: Any) -> str:
    """Text alone: its hash is secret, where numbers could be chosen to have all the same one."""
    if not isinstance(key, str):
        raise ValueError("a key is no text")
    return key


def _with_metadata(body: bytes, metadata: dict[str, str]) -> bytes:
    """A safetensors file is: length of the header (8 bytes), header (JSON), tensors.

    Source: the format's specification.
    """
    (length,) = struct.unpack("<Q", body[:8])
    header = json.loads(body[8 : 8 + length])
    text = json.dumps({"__metadata__": metadata} | header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body[8 + length :]


def _without_metadata(data: bytes) -> tuple[dict[str, str], bytes]:
    (length,) = struct.unpack("<Q", data[:8])
    header = parsed(data[8 : 8 + length])
    metadata = header.pop("__metadata__")
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return metadata, struct.pack("<Q", len(text)) + text + data[8 + length :]
