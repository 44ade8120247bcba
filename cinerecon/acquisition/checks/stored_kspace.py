"""Checks of k-space in an array: whether it is k-space, whether its lines agree, and its noise level.

Arrays of images, and k-space that was transformed along one axis, are refused.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.acquisition.checks.alignment import (
    MAX_DISTANCE,
    MAX_READOUTS,
    NearCentre,
    agreement_warnings,
    describe_backward,
    find_backward,
    require_complex,
)
from cinerecon.acquisition.checks.amplitudes import table_warnings
from cinerecon.acquisition.checks.coil_changes import Samples
from cinerecon.acquisition.checks.image_space import transformed_axes
from cinerecon.acquisition.coil_maps import GriddedSlice
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import LARGEST_SAMPLE, RESCALE, SMALLEST_SAMPLE, Index

SIMILAR, SIMILARITY_MARGIN = 0.9, 0.05
"""Correlation of adjacent coils above which axes may be exchanged, and by how much more than that of frames."""


def require_magnitude(kspace: Tensor, where: str) -> None:
    """Check that k-space has signal within the range of single precision.

    Raises
    ------
    DataError
        If it has no signal, or its largest sample is out of range.
    """
    largest = max(float(coil.abs().max()) for coil in kspace.unbind(1))
    if largest == 0:
        raise DataError("all samples are zero", where=where)
    if not SMALLEST_SAMPLE <= largest <= LARGEST_SAMPLE:
        what = f"the largest sample is {largest:.1g}, expected {SMALLEST_SAMPLE:g} to {LARGEST_SAMPLE:g}"
        raise DataError(what, where=where, hint=RESCALE)


def require_kspace(kspace: Tensor, where: str) -> None:
    """Refuse images, real numbers, and k-space that was transformed along one axis.

    Parameters
    ----------
    kspace
        ``(frames, coils, ky, kx)``
    where
        File and slice, for errors.

    Raises
    ------
    DataError
        If a transform along an axis concentrates the energy in the middle, or no sample has an imaginary part.
    """
    require_complex(bool(kspace.real.any()), bool(kspace.imag.any()), where)
    frame = kspace[int((kspace[:, 0] != 0).sum((-2, -1)).argmax())]
    axes = transformed_axes(frame.numpy())
    if axes:
        what = f"the array is not k-space along {axes}: a transform concentrates its energy in the middle"
        hint = "k-space is np.fft.fftshift(np.fft.fft(np.fft.ifftshift(image, axes), axes=axes), axes) of coil images"
        raise DataError(what, where=where, hint=hint)


def gain_and_sign_warnings(kspace: Tensor, mask: Tensor, where: str) -> Iterator[str]:
    """Warnings about frames and lines with a different gain, and about alternating signs.

    Parameters
    ----------
    kspace, mask
        ``(frames, coils, ky, kx)``, ``(frames, 1, ky, kx or 1)``; nothing is checked if single points were sampled.
    where
        File and slice, for errors.

    Raises
    ------
    DataError
        If coils have different lines.
    """
    if mask.shape[-1] != 1:
        return
    is_measured = mask[:, 0, :, 0]
    by_coil = torch.stack([coil.abs().amax(-1) for coil in kspace.unbind(1)])
    _require_one_mask(by_coil, is_measured, where)
    largest = by_coil.amax(0)
    table = torch.where(is_measured & (largest > 0), largest, torch.nan).double().numpy()
    yield from table_warnings(table, np.zeros(table.shape[1], bool))
    samples = central_samples(kspace, mask)
    backward = find_backward(samples)
    if backward.size:
        yield f"{describe_backward(backward, samples)}: if so, do not trust the image"
    frame, row = is_measured.nonzero().numpy().T
    read = lambda chosen: kspace[frame[chosen], :, row[chosen]].numpy()  # noqa: E731
    readouts = NearCentre(frame, row - kspace.shape[-2] // 2, None, read)
    yield from agreement_warnings(readouts, np.arange(kspace.shape[1]), is_aligned=backward.size == 0)
    rows = _central_rows(kspace)
    if _are_exchanged(kspace[:, :, rows], is_measured[:, rows]):
        yield "coils resemble each other more than frames do: are the axes of frames and coils exchanged?"


def central_samples(kspace: Tensor, mask: Tensor) -> Samples:
    """The readouts next to the centre of k-space from the first frames, ``(readouts, coils, kx)``.

    Parameters
    ----------
    kspace, mask
        ``(frames, coils, ky, kx)``, ``(frames, 1, ky, 1)``
    """
    rows = _central_rows(kspace)
    frames, ky = mask[:, 0, rows, 0].nonzero()[:MAX_READOUTS].T.numpy()
    return np.asarray(kspace[:, :, rows].movedim(2, 1)[frames, ky].numpy())


def _central_rows(kspace: Tensor) -> slice:
    middle = kspace.shape[-2] // 2
    return slice(max(middle - MAX_DISTANCE, 0), middle + MAX_DISTANCE + 1)


def _are_exchanged(kspace: Tensor, is_measured: Tensor) -> bool:
    """Whether adjacent coils are more similar than adjacent frames, which share all static tissue.

    Parameters
    ----------
    kspace
        ``(frames, coils, ky, kx)`` near the centre of k-space.
    is_measured
        ``(frames, ky)``
    """
    lines = kspace[:, :, is_measured.all(0)].flatten(2)
    if min(lines.shape) < 2:
        return False
    between_frames, between_coils = (
        _mean_correlation(lines[:-1], lines[1:]),
        _mean_correlation(lines[:, :-1], lines[:, 1:]),
    )
    return between_coils > SIMILAR and between_coils > between_frames + SIMILARITY_MARGIN


def _mean_correlation(first: Tensor, second: Tensor) -> float:
    """Mean magnitude of the correlation of vectors along the last axis."""
    norms = first.norm(dim=-1) * second.norm(dim=-1)
    return float(((first * second.conj()).sum(-1).abs() / norms.clamp_min(torch.finfo(norms.dtype).tiny)).mean())


def _require_one_mask(by_coil: Tensor, is_measured: Tensor, where: str) -> None:
    """Check that coils with signal, ``(coils, frames, ky)``, have it on all lines that were measured."""
    is_empty = (by_coil == 0) & is_measured
    n_empty = is_empty.sum((1, 2))
    has_signal = (by_coil > 0).any(2).any(1)
    differing = (has_signal & (n_empty > 0)).nonzero().ravel().tolist()
    if differing:
        coil, n_lines = differing[0], int(is_measured.sum())
        what = (
            f"coil {coil} holds nothing but zeros on {int(n_empty[coil])} of {n_lines} lines that other coils have "
            "measured: the coils have different masks"
        )
        hint = "all coils measure the same lines: leave the coil out, or correct its lines"
        raise DataError(what, where=where, hint=hint)


WEAK_QUANTILE = 0.05
"""Quantile of the power of k-space that is mostly noise."""
SMALLEST_POWER, LARGEST_POWER = 0.1, 500.0
"""Range of the power of the weakest part of whitened k-space, 1 for pure noise, if the noise scan fits."""
LOUDER, QUIETER = 5.0, 0.33
"""Ratios of the amplitude of the weakest part of a coil to the median above and below which its gain differs from that
in the noise scan; 0.8 to 1.3 in scans."""
LESS_THAN_NOISE = 0.04
"""Power of the weakest part of whitened k-space below that of noise of unit variance, even of one readout."""


def noise_level_warnings(part: GriddedSlice, coils: Index) -> Iterator[str]:
    """Warnings if the noise of whitened k-space, or of one coil, does not have the variance of the noise scan.

    Parameters
    ----------
    part
        A slice with noise of unit variance.
    coils
        Numbers of the coils; empty for virtual coils, which are not compared.
    """
    kspace, mask, n_averages, _ = part
    weight = mask.to(torch.float32) if n_averages is None or n_averages.shape[-2] != mask.shape[-2] else n_averages
    n_measured = mask[:, 0].sum(0).clamp_min(1)
    is_measured = mask[:, 0].any(0).expand(kspace.shape[-2:])
    power, weakest_of_coils = torch.zeros(kspace.shape[-2:]), []
    for coil in kspace.unbind(1):
        of_coil = (torch.view_as_real(coil).square().sum(-1) * weight[:, 0]).sum(0) / n_measured
        weakest_of_coils.append(_weakest(of_coil[is_measured]))
        power += of_coil / kspace.shape[1]
    weakest = _weakest(power[is_measured])
    if not SMALLEST_POWER < weakest < LARGEST_POWER:
        yield (
            f"the weakest part of k-space has {weakest**0.5:.2g} times the amplitude of the noise scan, expected 1 to "
            "10: the noise scan has another gain or dwell time, and noise level and SNR are wrong"
        )
    if len(coils) == kspace.shape[1]:
        yield from _coils_of_other_gain(np.array(weakest_of_coils), coils)


def _coils_of_other_gain(power: NDArray[np.float64], coils: Index) -> Iterator[str]:
    """Warnings about coils whose weakest part, ``(coils,)`` power, is far above that of others, or below noise."""
    ratio = np.sqrt(power / max(float(np.median(power)), float(np.finfo(float).tiny)))
    for i in np.flatnonzero((ratio > LOUDER) | ((ratio < QUIETER) & (power < LESS_THAN_NOISE))):
        yield (
            f"coil {coils[i]}: its noise over that in the noise scan is {ratio[i]:.2g} times that of the others: "
            f"another gain, or no signal; --set preprocessing.exclude_coils=[{coils[i]}] leaves it out"
        )


def _weakest(power: Tensor) -> float:
    """The power of the weakest part, which is mostly noise; 1 if nothing was measured."""
    return float(power.quantile(WEAK_QUANTILE)) if power.numel() else 1.0
