"""A stand-in for a Mac with Apple silicon: tensors "on mps" live in ordinary memory, and what MPS lacks is refused.

    with pretended():
        x = torch.ones(3, device="mps")     # or .to("mps"); x.device says mps, and so do all that is computed from it
        x.double()                          # TypeError, as on a Mac
        x.cpu().double()                    # fine: on the processor everything goes

Refused are, each with the error that a Mac gives in the first line:

- float64 and complex128 on the device: PyTorch's notes on the MPS backend ("Double-precision types");
- operators without a kernel: PyTorch's own table of operators (`native_functions.yaml`, which comes with torch) says
  which have one for MPS, or are composed of others;
- tensors of two devices in one operation, `.numpy()` without `.cpu()`, a CPU generator for numbers drawn on the device.

Two modes work together. One sees the calls that Python makes, where devices are named; the other sees every kernel,
also those inside composed operations and in the backward pass. What is on the device is known by its storage, so views
of it are, too.
"""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import torch
import torchgen
import yaml
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from course_utils import runtime

MPS = torch.device("mps")
TOO_WIDE = (torch.float64, torch.complex128)
# What the stand-in's processor takes for itself: on a Mac, the same calls end in kernels that it has.
OF_PROCESSORS = (
    "_scaled_dot_product_flash_attention_for_cpu",  # there: _scaled_dot_product_attention_math_for_mps, or the formula
    "_scaled_dot_product_flash_attention_for_cpu_backward",
    "mkldnn_rnn_layer",  # there: _lstm_mps
    "mkldnn_rnn_layer_backward",
)
# Runs on the processor by itself, without PYTORCH_ENABLE_MPS_FALLBACK (aten/src/ATen/mps/MPSFallback.mm).
FALLS_BACK = ("embedding_renorm_", "linalg_svd", "col2im")


@functools.cache
def operators() -> dict[str, dict]:
    """PyTorch's own table: name with overload -> entry."""
    path = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return {entry["func"].split("(")[0]: entry for entry in yaml.load(path.read_text(), Loader=loader)}


@functools.cache
def has_kernel(operator: torch._ops.OpOverload) -> bool:
    """Whether an operator runs on MPS: it has a kernel there, or is composed of others."""
    name = operator.name().removeprefix("aten::")  # with its overload, as in the table
    if name.split(".")[0] in (*OF_PROCESSORS, *FALLS_BACK):
        return True
    entry = operators().get(name, {})
    entry = operators().get(entry.get("structured_delegate"), entry)
    kernels = {key.strip() for keys in entry.get("dispatch", {"Composite": 0}) for key in keys.split(",")}
    return "MPS" in kernels or any(key.startswith("Composite") for key in kernels)


def tensors(values) -> list[torch.Tensor]:
    """Return the tensors among arguments or results, also those in lists of them."""
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += tensors(value)
    return found


def storage(tensor: torch.Tensor) -> torch.UntypedStorage:
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # inside vmap and grad
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor.untyped_storage()


class OnDevice:
    """Which tensors are on the device. A weak reference keeps a storage's address from being used again."""

    def __init__(self):
        self.references: dict[int, StorageWeakRef] = {}
        self.room = 1000

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype in TOO_WIDE:
            raise TypeError(
                f"Cannot convert a MPS Tensor to {str(tensor.dtype)[6:]} dtype as the MPS framework doesn't support "
                f"{str(tensor.dtype)[6:]}. Please use float32 instead."
            )
        reference = StorageWeakRef(storage(tensor))
        self.references[reference.cdata] = reference
        if len(self.references) > self.room:
            self.references = {key: kept for key, kept in self.references.items() if not kept.expired()}
            self.room = 2 * len(self.references) + 1000
        return tensor

    def __contains__(self, tensor: torch.Tensor) -> bool:
        return tensor.layout == torch.strided and storage(tensor)._cdata in self.references


class Kernels(TorchDispatchMode):
    """Passes the mark on from what a kernel reads to what it writes, and refuses what MPS lacks."""

    def __init__(self, on_device: OnDevice):
        super().__init__()
        self.on_device, self.crossing = on_device, False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        into = func.overloadpacket in INTO
        here = not self.crossing and any(t in self.on_device for t in tensors(args[:1] if into else args))
        if here and not has_kernel(func):
            raise NotImplementedError(f"The operator '{func}' is not currently implemented for the MPS device.")
        found = func(*args, **kwargs)
        if here:
            for tensor in tensors((found,)):
                self.on_device.add(tensor)
        return found


INTO = (torch.ops.aten.copy_, torch.ops.aten.set_)  # what is read may lie anywhere
GETTERS = {getattr(torch.Tensor, name).__get__ for name in ("device", "is_cpu", "is_mps")}
TWO_DEVICES = {  # may have tensors of both devices
    torch.Tensor.to, torch.Tensor.copy_, torch.Tensor.__setitem__, torch.Tensor.data.__set__, torch.Tensor.grad.__set__,
    torch._has_compatible_shallow_copy_type,
}  # fmt: skip


class Calls(TorchFunctionMode):
    """Gives the answers of a Mac to what Python asks about devices, and moves tensors there and back."""

    def __init__(self, kernels: Kernels):
        super().__init__()
        self.kernels, self.on_device = kernels, kernels.on_device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in GETTERS:
            there = args[0] in self.on_device
            return {"device": MPS if there else func(*args), "is_mps": there, "is_cpu": not there}[
                func.__self__.__name__
            ]
        if func is torch.Tensor.to:
            return self.move(args[0], *args[1:], **kwargs)
        if func is torch.Tensor.cpu:
            return self.move(args[0], "cpu")
        given = tensors((*args, *kwargs.values()))
        there = [tensor in self.on_device for tensor in given]
        if func in (torch.Tensor.numpy, torch.Tensor.__array__) and any(there):
            raise TypeError("can't convert mps:0 device type tensor to numpy. Use Tensor.cpu() first.")
        indexed = func is torch.Tensor.__getitem__ and there[0]  # by indices of the processor: that works
        if func not in TWO_DEVICES and not indexed and any(there):
            if any(not mark and tensor.ndim for mark, tensor in zip(there, given)):
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found at least two devices, mps:0 and cpu! "
                    f"(in {getattr(func, '__name__', func)})"
                )
        new = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "mps"
        generators = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Generator)]
        drawn = new or (any(there) and kwargs.get("device") is None)
        if generators and drawn:
            raise RuntimeError("Expected a 'mps' device type for generator but found 'cpu'")
        like = func is torch.Tensor.new_tensor and there[0] and kwargs.get("device") is None
        if new:
            kwargs["device"] = "cpu"
        found = func(*args, **kwargs)
        if new or like:
            for tensor in tensors((found,)):
                self.on_device.add(tensor)
        return found

    def move(self, tensor: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        if args and isinstance(args[0], torch.Tensor):  # .to(other)
            args = (MPS if args[0] in self.on_device else args[0].device, args[0].dtype, *args[1:])
        device, dtype, *_ = torch._C._nn._parse_to(*args, **{k: v for k, v in kwargs.items() if k != "copy"})
        here = tensor in self.on_device
        there = here if device is None else device.type == "mps"
        if here == there:
            return tensor.to(dtype=tensor.dtype if dtype is None else dtype, copy=kwargs.get("copy", False))
        self.kernels.crossing = True
        try:
            moved = tensor.to(tensor.dtype if dtype is None else dtype).clone()
        finally:
            self.kernels.crossing = False
        return self.on_device.add(moved) if there else moved


def enter(stack: contextlib.ExitStack) -> None:
    """Pretend until the stack is closed: `runtime.device()` is MPS."""
    kernels = Kernels(OnDevice())
    real = runtime.device
    runtime.device = lambda: MPS
    stack.callback(setattr, runtime, "device", real)
    stack.enter_context(kernels)
    stack.enter_context(Calls(kernels))


@contextlib.contextmanager
def pretended():
    """Inside, this machine is a Mac."""
    with contextlib.ExitStack() as stack:
        enter(stack)
        yield MPS
