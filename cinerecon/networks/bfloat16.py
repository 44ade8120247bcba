"""3-D convolutions in bfloat16, with the fastest algorithm for the weight gradient that agrees with float32.

On processors with AMX, torch's own weight gradient of 3-D convolutions in bfloat16 is wrong (NaN, errors of 15 %,
memory corruption; torch 2.13, oneDNN 3.12), while the output and the gradient of the input are correct. On these
processors, the weight gradient is computed by matrix products: with zeros around each frame and each cine, the gradient
for one tap of the kernel is the product of the output gradient with the input shifted by a fixed number of voxels. The
three taps along x are one product, because voxels adjacent along x are adjacent in memory.
"""

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

WeightGradient = Callable[[Tensor, Tensor], Tensor]
"""Maps input ``(batch, n_in, frames, y, x)`` and output gradient ``(batch, n_out, frames, y, x)`` to the gradient of
the weight ``(n_out, n_in, 3, 3, 3)``."""
TOLERANCE = 0.01
"""Largest relative error of a correct gradient; rounding to bfloat16 alone gives 0.003."""
TRIAL = (2, 8, 24, 24)
"""Batch, frames, y and x of the arrays for the comparison of algorithms."""


def is_native(device: torch.device | str = "cpu") -> bool:
    """Whether a device computes faster in bfloat16 than in float32."""
    if torch.device(device).type == "cuda":
        is_supported: bool = torch.cuda.is_bf16_supported(including_emulation=False)
        return is_supported
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def convolve(features: Tensor, weight: Tensor) -> Tensor:
    """A 3x3x3 convolution, padded by zeros, in the precision of its inputs, ``(batch, n_in, frames, y, x)``."""
    apply: Callable[[Tensor, Tensor], Tensor] = _Convolve.apply
    result = apply(features, weight)
    return result


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(features, weight)
        return functional.conv3d(features, weight, padding=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        features, weight = ctx.saved_tensors
        by_features = (
            _library_gradients(features, grads[0], weight, (True, False))[0] if ctx.needs_input_grad[0] else None
        )
        if not ctx.needs_input_grad[1]:
            return by_features, None
        return by_features, fastest_weight_gradient(weight.shape[1], weight.shape[0])(features, grads[0])


@cache
def fastest_weight_gradient(n_in: int, n_out: int) -> WeightGradient:
    """The fastest algorithm with a correct result on this processor, selected once for each number of channels."""
    generator = torch.Generator().manual_seed(0)
    features, grad = (
        torch.randn(TRIAL[0], n, *TRIAL[1:], generator=generator)
        .contiguous(memory_format=torch.channels_last_3d)
        .bfloat16()
        for n in (n_in, n_out)
    )
    expected = by_float32(features, grad).float()
    times: dict[WeightGradient, float] = {}
    for candidate in (by_library, by_products, by_float32):
        if candidate is by_library and torch.cpu._is_amx_tile_supported():
            continue  # it may corrupt memory, so it is not tried
        error = (candidate(features, grad).float() - expected).norm() / expected.norm()
        if float(error) <= TOLERANCE:
            times[candidate] = min(_seconds(candidate, features, grad) for _ in range(3))
    return min(times, key=times.__getitem__)


def by_library(features: Tensor, grad: Tensor) -> Tensor:
    """The weight gradient of torch in bfloat16."""
    return _library_weight_gradient(features, grad)


def by_float32(features: Tensor, grad: Tensor) -> Tensor:
    """The weight gradient of torch in float32."""
    return _library_weight_gradient(features.float(), grad.float()).to(features.dtype)


def by_products(features: Tensor, grad: Tensor) -> Tensor:
    """The weight gradient as nine matrix products, one for each offset in frames and y, three taps along x in each."""
    n_in, n_out = features.shape[1], grad.shape[1]
    row, frame = features.shape[4] + 2, (features.shape[3] + 2) * (features.shape[4] + 2)
    voxels, by_voxel = _padded_voxels(features), _padded_voxels(grad)
    margin = frame + row + 1
    n = len(voxels) - 2 * margin
    inner = by_voxel[margin : margin + n].mT
    taps = []
    for offset in (frames * frame + rows * row - 1 for frames in (-1, 0, 1) for rows in (-1, 0, 1)):
        start = voxels.storage_offset() + (margin + offset) * n_in
        taps.append(inner @ voxels.as_strided((n, 3 * n_in), (n_in, 1), start))
    return torch.stack(taps, 1).view(n_out, 3, 3, 3, n_in).permute(0, 4, 1, 2, 3)


def _padded_voxels(features: Tensor) -> Tensor:
    """``(voxels, channels)``, with zeros around each cine and each frame."""
    return functional.pad(features.permute(0, 2, 3, 4, 1), (0, 0, 1, 1, 1, 1, 1, 1)).flatten(0, 3)


def _library_weight_gradient(features: Tensor, grad: Tensor) -> Tensor:
    weight = features.new_empty(grad.shape[1], features.shape[1], 3, 3, 3)
    return _library_gradients(features, grad, weight, (False, True))[1]


def _library_gradients(
    features: Tensor, grad: Tensor, weight: Tensor, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    ones, mask = [1, 1, 1], [*wanted, False]
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, features, weight, None, ones, ones, ones, False, [0, 0, 0], 1, mask
    )
    return gradients


def _seconds(candidate: WeightGradient, features: Tensor, grad: Tensor) -> float:
    began = time.perf_counter()
    candidate(features, grad)
    return time.perf_counter() - began
