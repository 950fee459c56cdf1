"""What this machine has and how a notebook uses it: device, seeds, scale. Every other room may import this one."""

import os
import platform
from typing import Any, TypeVar

T = TypeVar("T")


def device():
    """Return the fastest `torch.device` here: CUDA, then Apple's MPS, then the CPU. Ask once per notebook."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def fast_bfloat16() -> bool:
    """Whether matrix products on `device()` are faster in bfloat16 than in float32: many GPUs, some CPUs."""
    import torch

    here = device().type
    if here == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return here == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def seed(n: int):
    """Return a fresh CPU `torch.Generator` seeded with `n` (0 … 2**63 - 1); nothing else in the process is seeded.

    Raises:
        ValueError: if the seed is out of range.
        TypeError: if it is not a whole number.
    """
    import torch

    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"a seed must be a whole number such as 0, got {n!r}")
    if not 0 <= n.__index__() < 2**63:
        raise ValueError(f"a seed must be between 0 and 2**63 - 1, got {n}")
    return torch.Generator().manual_seed(n.__index__())


def scale(*, cpu: T, gpu: T) -> T:
    """Return `gpu` where there is an accelerator, else `cpu`: the same cell is small on a laptop and large on a GPU.

    >>> steps = scale(cpu=300, gpu=5000)
    """
    return cpu if device().type == "cpu" else gpu


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, Any]:
    """Return the facts: system, python, cores, memory_gib, torch, device, gpu and gpu_memory_gib (None without one)."""
    import psutil
    import torch

    here = device()
    cuda = torch.cuda.get_device_properties(0) if here.type == "cuda" else None
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "torch": torch.__version__,
        "device": str(here),
        "gpu": cuda.name if cuda else "Apple GPU" if here.type == "mps" else None,
        "gpu_memory_gib": round(cuda.total_memory / 2**30, 1) if cuda else None,
    }
