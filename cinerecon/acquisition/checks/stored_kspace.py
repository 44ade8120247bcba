"""Checks of k-space in an array: whether it is k-space, whether its lines agree, and whether coils are frames.

Arrays of images, and k-space that was transformed along one axis, are refused.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cinerecon.acquisition.checks.alignment import require_complex
from cinerecon.acquisition.checks.amplitudes import (
    frame_gain_warnings,
    line_gain_warnings,
    line_levels,
    readout_gain_warnings,
)
from cinerecon.acquisition.checks.cartesian import AXES, transformed_axes
from cinerecon.acquisition.checks.central import MAX_DISTANCE, central_of_array
from cinerecon.acquisition.checks.coil_changes import (
    MIN_NOISE_COILS,
    SIGNAL_COLUMNS,
    SIGNAL_LINES,
    noisier_coils,
)
from cinerecon.acquisition.checks.spikes import SPIKE_RATIO, are_single, find_spikes
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import LARGEST_SAMPLE, RESCALE, SMALLEST_SAMPLE
from cinerecon.physics.noise import noise_level
from cinerecon.words import name_numbers

SIMILAR, SIMILARITY_MARGIN = 0.9, 0.05
"""Correlation of adjacent coils above which axes may be exchanged, and smallest excess over that of frames."""


class StoredSlice(NamedTuple):
    """K-space of one slice as stored in an array.

    Attributes
    ----------
    kspace
        ``(frames, coils, ky, kx)`` complex64.
    mask
        ``(frames, 1, ky, kx or 1)`` bool, the samples that are treated as measured.
    where
        File and slice, for error messages.
    order_hint
        How the axes of the file are named or ordered, for error messages.
    """

    kspace: Tensor
    mask: Tensor
    where: str
    order_hint: str


def require_magnitude(kspace: Tensor, where: str) -> None:
    """Check that k-space has signal within the range of single precision.

    Raises
    ------
    DataError
        If it has no signal, or if its largest sample is out of range.
    """
    largest = max(float(coil.abs().max()) for coil in kspace.unbind(1))
    if largest == 0:
        raise DataError("all samples are zero", where=where)
    if not SMALLEST_SAMPLE <= largest <= LARGEST_SAMPLE:
        what = f"the largest sample is {largest:.1g}, expected {SMALLEST_SAMPLE:g} to {LARGEST_SAMPLE:g}"
        raise DataError(what, where=where, hint=RESCALE)


def refuse_images(stored: StoredSlice) -> None:
    """Refuse coil images, which other checks would take for k-space with a wrong centre or order of axes.

    Raises
    ------
    DataError
        If a transform along ky and kx concentrates the energy in the middle.
    """
    axes = _transformed_axes(stored.kspace)
    if axes == " and ".join(AXES.values()):
        raise _not_kspace(axes, stored.where)


def require_kspace(stored: StoredSlice) -> None:
    """Refuse images, real numbers, and k-space that was transformed along one axis.

    Raises
    ------
    DataError
        If a transform along an axis concentrates the energy in the middle, or no sample has an imaginary part.
    """
    kspace = stored.kspace
    require_complex(bool(kspace.real.any()), bool(kspace.imag.any()), stored.where)
    axes = _transformed_axes(kspace)
    if axes:
        raise _not_kspace(axes, stored.where)


def _transformed_axes(kspace: Tensor) -> str:
    """See `transformed_axes`, for the frame with the most samples."""
    return transformed_axes(kspace[int((kspace[:, 0] != 0).sum((-2, -1)).argmax())].numpy())


def _not_kspace(axes: str, where: str) -> DataError:
    what = f"the array is not k-space along {axes}: a Fourier transform concentrates its energy in the middle"
    hint = "k-space is np.fft.fftshift(np.fft.fft(np.fft.ifftshift(image, axes), axes=axes), axes) of coil images"
    return DataError(what, where=where, hint=hint)


def require_one_mask(stored: StoredSlice) -> None:
    """Check that all coils with signal contain it on all measured lines.

    Raises
    ------
    DataError
        If coils have different lines.
    """
    is_measured = stored.mask[:, 0, :, 0]
    by_coil = _amplitudes(stored.kspace)
    is_empty = (by_coil == 0) & is_measured
    n_empty = is_empty.sum((1, 2))
    has_signal = (by_coil > 0).any(2).any(1)
    differing = (has_signal & (n_empty > 0)).nonzero().ravel().tolist()
    if differing:
        coil, n_lines = differing[0], int(is_measured.sum())
        what = (
            f"coil {coil} contains only zeros on {int(n_empty[coil])} of {n_lines} lines in which other coils "
            "have signal: the coils have different masks"
        )
        hint = f"remove the coil or correct its lines; if coils and frames are exchanged: {stored.order_hint}"
        raise DataError(what, where=stored.where, hint=hint)


def empty_coil_warnings(stored: StoredSlice) -> Iterator[str]:
    """A warning about coils that contain only zeros."""
    empty = [number for number, coil in enumerate(stored.kspace.unbind(1)) if not coil.any()]
    if empty:
        yield f"{name_numbers('coil', empty)} of {stored.kspace.shape[1]}: only zeros, no contribution to the image"


def noisier_coil_warnings(stored: StoredSlice) -> Iterator[str]:
    """A warning about coils with far more noise than the others."""
    kspace, mask = stored.kspace, stored.mask
    y, x = kspace.shape[-2] // 2, kspace.shape[-1] // 2
    rows = slice(max(y - SIGNAL_LINES, 0), y + SIGNAL_LINES + 1)
    centre = kspace[:, :, rows, max(x - SIGNAL_COLUMNS, 0) : x + SIGNAL_COLUMNS + 1]
    n_samples = int(mask[:, :, rows].sum()) * centre.shape[-1]
    used = [coil for coil in range(kspace.shape[1]) if kspace[:, coil].any()]
    if len(used) < MIN_NOISE_COILS or not n_samples:
        return
    noise = torch.stack([noise_level(kspace[:, coil : coil + 1], mask) for coil in used])
    signal = (centre[:, used].abs().square().sum((0, 2, 3)) / n_samples).sqrt()
    is_noisier, ratio = noisier_coils(noise.numpy(), signal.numpy())
    noisy = [coil for coil, flag in zip(used, is_noisier.tolist(), strict=True) if flag]
    if noisy:
        yield (
            f"{name_numbers('coil', noisy)} of {kspace.shape[1]}: {ratio:.2g} times the noise "
            "of the other coils; leave noisy coils out of the array, or whiten it"
        )


def spike_warnings(stored: StoredSlice) -> Iterator[str]:
    """A warning about lines with a sample that is much larger than in other frames."""
    frames, ky = stored.mask[:, 0, :, 0].nonzero().numpy().T
    largest = _amplitudes(stored.kspace).amax(0).double().numpy()
    is_spike = find_spikes(ky, largest[frames, ky])
    if are_single(is_spike):
        first = int(is_spike.argmax())
        yield (
            f"{int(is_spike.sum())} of {len(is_spike)} lines contain a sample more than {SPIKE_RATIO:g} times as large "
            f"as in other frames, such as line {ky[first]} of frame {frames[first]}: do not trust the image, or leave "
            "lines with spikes out of the mask"
        )


def array_gain_warnings(stored: StoredSlice) -> Iterator[str]:
    """Warnings about frames, lines and readouts with a different gain."""
    largest = _amplitudes(stored.kspace).amax(0)
    table = torch.where(stored.mask[:, 0, :, 0] & (largest > 0), largest, torch.nan).double().numpy()
    yield from frame_gain_warnings(table)
    yield from readout_gain_warnings(table)
    readouts = central_of_array(stored.kspace, stored.mask, stored.kspace.shape[-1])
    yield from line_gain_warnings(line_levels(readouts, table.shape[1]))


def _amplitudes(kspace: Tensor) -> Tensor:
    """Largest sample of each line, ``(coils, frames, ky)``."""
    return torch.stack([coil.abs().amax(-1) for coil in kspace.unbind(1)])


def exchanged_coil_warnings(stored: StoredSlice) -> Iterator[str]:
    """A warning if adjacent coils are more similar than adjacent frames, which share all static tissue."""
    middle = stored.kspace.shape[-2] // 2
    rows = slice(max(middle - MAX_DISTANCE, 0), middle + MAX_DISTANCE + 1)
    lines = stored.kspace[:, :, rows][:, :, stored.mask[:, 0, rows, 0].all(0)].flatten(2)
    if min(lines.shape) < 2:
        return
    frames, coils = _mean_correlation(lines[:-1], lines[1:]), _mean_correlation(lines[:, :-1], lines[:, 1:])
    if coils > SIMILAR and coils > frames + SIMILARITY_MARGIN:
        yield "coils are more similar than frames: are the axes of frames and coils exchanged?"


def _mean_correlation(first: Tensor, second: Tensor) -> float:
    """Mean magnitude of the correlation of vectors along the last axis."""
    norms = first.norm(dim=-1) * second.norm(dim=-1)
    return float(((first * second.conj()).sum(-1).abs() / norms.clamp_min(torch.finfo(norms.dtype).tiny)).mean())
