"""A pretended GPU: tensors that report the device ``gpu:0`` while their values are on the CPU.

Operators that combine tensors of both devices fail as they do on a GPU: the exceptions are scalars, copies and indices.
So the device handling of the whole program is tested where there is no GPU; kernels and speed are not.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

NAME = "gpu"
aten = torch.ops.aten
TAKE_INDICES = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
COPIES = {aten.copy_.default, aten._to_copy.default}


class GpuTensor(Tensor):
    """A tensor on the pretended GPU, with its values in ``values``."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "GpuTensor":
        return Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=torch.device(NAME, 0),
            requires_grad=values.requires_grad,
        )

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __repr__(self) -> str:  # type: ignore[override]
        return f"GpuTensor({self.values!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class Gpu(TorchDispatchMode):
    """Calls of the program that create tensors on the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if is_gpu(kwargs.get("device")) or any(
            isinstance(value, GpuTensor) for value in tree_flatten((args, kwargs))[0]
        ):
            return run(func, args, kwargs)
        return func(*args, **kwargs)


def is_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operator on the values; its results are on the device that a GPU would put them on."""
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    if func not in COPIES:
        others = [value for value in tensors if not isinstance(value, GpuTensor) and value.ndim]
        if others and func in TAKE_INDICES and isinstance(args[0], GpuTensor):
            others = [value for value in others if not any(value is index for index in args[1])]
        if others and len(others) < len(tensors):
            raise RuntimeError(f"Expected all tensors to be on the same device, gpu:0 and cpu found in {func}")
    device = kwargs.get("device")
    to_gpu = is_gpu(device) if device is not None else any(isinstance(value, GpuTensor) for value in tensors)
    if func is aten.copy_.default:
        to_gpu = isinstance(args[0], GpuTensor)
    inner_kwargs = {**kwargs, **({"device": torch.device("cpu")} if is_gpu(device) else {})}
    inner_kwargs.pop("pin_memory", None)
    inner_args, inner_kwargs = tree_map(_values, (args, inner_kwargs))
    result = func(*inner_args, **inner_kwargs)
    if not to_gpu:
        return result
    result = tree_map(_on_gpu, result)
    return return_and_correct_aliasing(func, args, kwargs, result)


def _values(value: Any) -> Any:
    return value.values if isinstance(value, GpuTensor) else value


def _on_gpu(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return GpuTensor(torch.conj_physical(value.conj()) if value.is_conj() else value)  # no lazy conjugates below Python


def pseudo_inverse(matrix: Tensor, pinv: Any = torch.linalg.pinv) -> Tensor:
    """`torch.linalg.pinv`, which loses a conjugation if the operators that it consists of are dispatched one by one."""
    with _disable_current_modes():
        return _on_gpu(pinv(matrix.values)) if isinstance(matrix, GpuTensor) else pinv(matrix)


class Module(backend_registration._DummyBackendModule):
    """What torch asks a device for."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """Precisions of autocast."""
        return [torch.bfloat16]


@cache
def register() -> None:
    """Make the device known to torch, once in a process."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, Module())


@contextmanager
def pretended_gpu() -> Iterator[torch.device]:
    """Context in which the device exists."""
    register()
    only_lift = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor(values, device=...)` makes a copy of a CPU tensor
    try:
        with (
            # inference mode allows no subclasses of tensors, so it becomes `no_grad`
            patch("torch._C._InferenceMode", lambda mode: torch.no_grad() if mode else nullcontext()),
            patch("cinerecon.networks.bfloat16.is_native", lambda _: False),
            patch("torch.linalg.pinv", pseudo_inverse),
            Gpu(),
        ):
            yield torch.device(NAME, 0)
    finally:
        torch._C._set_only_lift_cpu_tensors(only_lift)
