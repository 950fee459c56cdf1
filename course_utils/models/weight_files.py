"""A model's tensors as stored in a folder: in one file or several, as safetensors or as PyTorch's own files.

These are looked for, in this order: model.safetensors, its parts by model.safetensors.index.json, pytorch_model.bin,
and its parts by pytorch_model.bin.index.json. Code that a file may contain is never run.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

NAMES = ("model.safetensors", "pytorch_model.bin")
PATTERNS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
"""What to fetch from a repository; TORCH_PATTERNS only if none of these is there."""
TORCH_PATTERNS = ("pytorch_model.bin", "pytorch_model-*-of-*.bin", "pytorch_model.bin.index.json")

INSIDE = ("state_dict", "model_state_dict", "model", "module")  # where a trainer's file keeps the tensors
AGAIN = "fetch or make the checkpoint again"
OTHERS = {
    "adapter_model.*": "only an adapter: merge it into its base model with peft, and save that",
    "*.h5": "a file of TensorFlow weights",
    "*.msgpack": "a file of Flax weights",
    "*.onnx": "an ONNX file",
    "onnx/*.onnx": "an ONNX file",
    "*.gguf": "a GGUF file",
    "*.safetensors": "a safetensors file of another name",
    "*.bin": "a PyTorch file of another name",
    "*.pt": "a PyTorch file of another name",
    "*.pth": "a PyTorch file of another name",
    "*.ckpt": "a trainer's checkpoint",
}


def find(folder: Path) -> list[Path]:
    """Return the files that hold the tensors.

    Raises:
        FileNotFoundError: if one is missing; the message says what lies there instead.
    """
    for name in NAMES:
        if (folder / name).is_file():
            return [folder / name]
        if (index := folder / f"{name}.index.json").is_file():
            return _parts(index)
    for pattern, kind in OTHERS.items():
        if found := sorted(folder.glob(pattern)):
            instead = f"; {found[0].name} is {kind}, which this course does not read"
            break
    else:
        instead = ""
    raise FileNotFoundError(
        f"{folder} has no {NAMES[0]} (nor one in parts, nor a {NAMES[1]}){instead}. With transformers, "
        "model.save_pretrained(folder) writes one"
    )


def _parts(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{index} is not a list of a model's parts: {AGAIN}") from None
    if wrong := [name for name in names if not isinstance(name, str) or Path(name).name != name]:
        raise ValueError(f"{index} names {wrong[0]!r}, which is not a file beside it: {AGAIN}")
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        raise FileNotFoundError(
            f"{index.parent} lacks {len(missing)} of the {len(names)} parts of its weights, such as {missing[0]}: copy "
            "or fetch them too"
        )
    return [index.parent / name for name in names]


def read(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder by their names, on the CPU.

    Raises:
        FileNotFoundError: as `find` does.
        ValueError: if a file is cut off or damaged, or reading it would mean running code.
        MemoryError: if the weights would not fit into the free memory.
    """
    files = find(folder)
    _check_room(folder, sum(map(_weights, files)))
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)
    return tensors


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(_damaged(file, error)) from None


def _read_torch(file: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" not in str(error):
            raise ValueError(_damaged(file, "it is not a PyTorch file")) from None
        raise ValueError(
            f"{file} holds more than tensors, and reading the rest would run code from it, so it is not read. Look for "
            "the same model as model.safetensors, or ask whoever made it to save model.state_dict() alone"
        ) from None
    except PermissionError:
        raise
    except Exception as error:  # torch may raise anything for a damaged file
        raise ValueError(_damaged(file, str(error).split("\n")[0] or type(error).__name__)) from None
    for name in INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    tensors = _tensors(content)
    if not tensors:
        raise ValueError(f"{file} holds no named tensors but {type(content).__name__}: save model.state_dict()")
    return tensors


def _tensors(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    return {name: tensor for name, tensor in content.items() if isinstance(name, str) and isinstance(tensor, Tensor)}


def _damaged(file: Path, why: object) -> str:
    with file.open("rb") as opened:
        start = opened.read(40)
    if start.startswith(b"version https://git-lfs"):
        return f"{file} is only Git's pointer to the real file: run `git lfs pull` in that folder, or fetch the file"
    return f"{file} is cut off or damaged ({why}): {AGAIN}"


# --- memory -----------------------------------------------------------------------------------------------------------


def _weights(file: Path) -> int:
    """How many numbers a file holds, without reading them; for PyTorch's files, an upper bound."""
    if file.suffix != ".safetensors":
        return file.stat().st_size // 2
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            return sum(torch.Size(opened.get_slice(name).get_shape()).numel() for name in opened.keys())  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(_damaged(file, error)) from None


def _check_room(folder: Path, weights: int) -> None:
    needed, free = 4 * weights, free_memory()
    if needed > free:
        raise MemoryError(
            f"{folder} holds {weights:,} weights: as float32 they need {needed / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free. Close other programs and other notebooks' kernels, or load a smaller model "
            "of this kind"
        )


def free_memory() -> int:
    """Return how many bytes of memory this process can still get, also inside a container."""
    import psutil

    free, place = psutil.virtual_memory().available, Path("/sys/fs/cgroup")
    try:
        return min(free, int((place / "memory.max").read_text()) - int((place / "memory.current").read_text()))
    except (OSError, ValueError):  # another system, or "max"
        return free
