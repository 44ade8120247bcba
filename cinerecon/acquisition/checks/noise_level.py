"""Check of the noise level of whitened k-space, which has unit variance if the noise scan matches."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.acquisition.coil_maps import GriddedSlice
from cinerecon.io.ismrmrd.raw import Index

WEAK_QUANTILE = 0.05
"""Quantile of the power of k-space that is mostly noise."""
SMALLEST_POWER, LARGEST_POWER = 0.1, 500.0
"""Range of the power of the weakest part of whitened k-space for a matching noise scan; it is 1 for pure noise."""
LOUDER, QUIETER = 5.0, 0.33
"""Ratios of the amplitude of the weakest part of a coil to the median above and below which its gain differs from that
in the noise scan; 0.8 to 1.3 in scans."""
LESS_THAN_NOISE = 0.04
"""Power of the weakest part of whitened k-space that is below that of unit-variance noise, even for one readout."""


def noise_level_warnings(part: GriddedSlice, coils: Index) -> Iterator[str]:
    """Warnings if the noise of whitened k-space, or of one coil, does not have the variance of the noise scan.

    Parameters
    ----------
    part
        A slice with noise of unit variance.
    coils
        Indices of the coils; empty for virtual coils, which are not compared.
    """
    kspace, mask, n_averages = part.kspace, part.mask, part.n_averages
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
            f"the weakest part of k-space has {weakest**0.5:.2g} times the amplitude of the noise scan, expected "
            "1 to 10: the noise scan has a different gain or dwell time, so noise level and SNR are wrong"
        )
    if len(coils) == kspace.shape[1]:
        yield from _coils_of_other_gain(np.array(weakest_of_coils), coils)


def _coils_of_other_gain(power: NDArray[np.float64], coils: Index) -> Iterator[str]:
    """Warnings about coils whose weakest part, ``(coils,)`` power, is far above that of others, or below the noise."""
    ratio = np.sqrt(power / max(float(np.median(power)), float(np.finfo(float).tiny)))
    for i in np.flatnonzero((ratio > LOUDER) | ((ratio < QUIETER) & (power < LESS_THAN_NOISE))):
        yield (
            f"coil {coils[i]}: the ratio of its noise to the noise scan is {ratio[i]:.2g} times that of the "
            f"others: a different gain, or no signal; --set preprocessing.exclude_coils=[{coils[i]}] excludes it"
        )


def _weakest(power: Tensor) -> float:
    """Power of the weakest part, which is mostly noise; 1 if nothing was measured."""
    return float(power.quantile(WEAK_QUANTILE)) if power.numel() else 1.0
