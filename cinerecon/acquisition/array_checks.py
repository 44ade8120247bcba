"""Checks of k-space in plain arrays, in which nothing but the samples shows a wrong order or an uncentred axis."""

from collections.abc import Iterator
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor

from cinerecon.acquisition.grid import CENTRE_TOLERANCE, LARGEST_CENTRE_ERROR, PEAK_POWER_RATIO
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import LARGEST_SAMPLE, RESCALE, SMALLEST_SAMPLE

SIMILAR_COILS, CORRELATION_MARGIN = 0.9, 0.1
"""Correlation of adjacent coils that suggests that they are frames, and the margin by which that of frames is lower."""
SIMILAR_SLICES, SLICES_MARGIN = 0.9, 0.03
"""The same for adjacent slices."""
AXES = {-2: "ky", -1: "kx"}


def require_magnitude(kspace: Tensor, where: str) -> None:
    """Check that k-space has signal, of a size that single precision represents.

    Raises
    ------
    DataError
        If it has none, or is too large or too small.
    """
    largest = max(float(coil.abs().max()) for coil in kspace.unbind(1))
    if largest == 0:
        raise DataError("all samples are zero", where=where)
    if not SMALLEST_SAMPLE <= largest <= LARGEST_SAMPLE:
        what = f"the largest sample is {largest:.1g}, expected {SMALLEST_SAMPLE:g} to {LARGEST_SAMPLE:g}"
        raise DataError(what, where=where, hint=RESCALE)


def axes_warnings(kspace: Tensor, mask: Tensor, where: str) -> list[str]:
    """Check the order of the axes and the centre of k-space; a centre that is slightly off is a warning.

    Parameters
    ----------
    kspace, mask
        ``(frames, coils, ky, kx)``, ``(frames, 1, ky, kx or 1)``
    where
        File and slice, for errors.

    Raises
    ------
    DataError
        If the zero frequency is not in the middle of an axis, or axes seem to be exchanged.
    """
    _require_order(kspace, where)
    _require_readouts(mask, where)
    return [text for dim in AXES for text in _centre_warnings(kspace, mask, dim, where)]


def _centre_warnings(kspace: Tensor, mask: Tensor, dim: int, where: str) -> Iterator[str]:
    """Compare the position of the strongest line with the middle of an axis, ``n // 2``."""
    name, n = AXES[dim], kspace.shape[dim]
    others = [axis for axis in range(4) if axis != 4 + dim]
    n_sampled = mask.expand(-1, 1, -1, kspace.shape[-1]).sum(others).clamp_min(1)
    coils = (torch.view_as_real(coil).square().sum(-1)[:, None] for coil in kspace.unbind(1))
    power = reduce(torch.add, (coil.sum(others, dtype=torch.float64) for coil in coils)) / n_sampled
    peak, middle = int(power.argmax()), n // 2
    if abs(peak - middle) <= CENTRE_TOLERANCE:
        return
    if float(power[peak]) <= PEAK_POWER_RATIO * float(power[max(middle - 1, 0) : middle + 2].max()):
        return
    if min(peak, n - peak) <= min(CENTRE_TOLERANCE, n // 8):
        what = f"k-space is not centred: along {name} its peak is at index {peak} of {n}, expected {middle}"
        axes = "(ky, kx)"
        hint = f"kspace = np.fft.fftshift(kspace, axes={axes}) puts the zero frequency into the middle"
        raise DataError(what, where=where, hint=hint)
    what = f"along {name} k-space has its peak at index {peak} of {n}, expected at the middle, {middle}"
    if abs(peak - middle) > LARGEST_CENTRE_ERROR * n:
        hint = f"are the axes named in the right order? An axis measured in part is filled with zeros around {middle}"
        raise DataError(what, where=where, hint=hint)
    yield what


def _require_order(kspace: Tensor, where: str) -> None:
    """Refuse coils that are as alike as frames are, next to frames that are as different as coils."""
    if kspace.shape[1] < 2:
        return
    coils = min(correlation(one, other) for one, other in pairwise(kspace[0]))
    frames = max(correlation(one, other) for one, other in pairwise(kspace[:, 0]))
    if coils > SIMILAR_COILS and frames < coils - CORRELATION_MARGIN:
        what = f"adjacent coils are more alike (correlation {coils:.2f}) than adjacent frames ({frames:.2f})"
        raise DataError(f"{what}: these axes seem to be exchanged", where=where, hint="--axes names them in order")


def _require_readouts(mask: Tensor, where: str) -> None:
    """Refuse a pattern that leaves out columns in the midst of kx where every ky is alike: no sequence does so."""
    columns = mask.any(2)
    is_alike = bool((mask == columns[:, :, None]).all())
    steps = columns[:, 0].int().diff(dim=-1).ne(0).sum(-1) if columns.shape[-1] > 1 else torch.zeros(1)
    if is_alike and int(steps.max()) > 2:
        what = "the pattern leaves out columns of kx, and no line of ky: these axes seem to be exchanged"
        raise DataError(what, where=where, hint="--axes names them in order")


def are_slices_frames(first: Tensor, second: Tensor, next_slice: Tensor) -> bool:
    """Whether adjacent slices are more alike than adjacent frames: then the two axes are exchanged.

    Parameters
    ----------
    first, second
        ``(coils, ky, kx)``, two adjacent frames.
    next_slice
        ``(coils, ky, kx)``, the frame ``first`` of the adjacent slice.
    """
    slices = correlation(first, next_slice)
    return slices > SIMILAR_SLICES and correlation(first, second) < slices - SLICES_MARGIN


def correlation(first: Tensor, second: Tensor) -> float:
    """Correlation of two parts of k-space at the points that both measure; 1 if there are none."""
    common = (first != 0) & (second != 0)
    first, second = (first * common).ravel(), (second * common).ravel()
    norm = torch.linalg.vector_norm(first) * torch.linalg.vector_norm(second)
    return float(torch.vdot(first, second).abs() / norm) if norm > 0 else 1.0
