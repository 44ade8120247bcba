"""Checks of given coil maps: whether they fit better if displaced, mirrored or scaled, and whether they are complete.

Normalised maps S that belong to the data explain the coil images I of the central k-space: S S^H I = I. Maps from other
programs may be displaced, e.g. by cropping the oversampling or by another centre, or have another orientation. The
fraction of the energy of I that is not explained then decreases when the displacement or orientation is corrected.
"""

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from cinerecon.physics.cg import conjugate_gradients
from cinerecon.physics.fourier import ifft2c, keep_centre
from cinerecon.physics.noise import noise_level
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import block_of_lines, calibration_size
from cinerecon.physics.views import time_average

MAX_SHIFT, SHIFT_STEP = 8, 2
"""Largest displacement along y and x that is examined, and the step size [pixels]."""
N_POINTS = 48
"""Approximate number of points along each image axis at which maps and coil images are compared."""
N_GAIN_UPDATES = 8
"""Number of alternating updates of the image and of the factors of the coils."""
BETTER, MIN_UNEXPLAINED = 0.6, 0.01
"""Ratio of the unexplained fractions below which other maps fit clearly better, and unexplained fraction below which
maps are always accepted. Maps that were estimated from the data improve to 0.89 at best."""
MAX_UNEXPLAINED = 0.2
"""Largest fraction of the energy, where the maps are not zero, that maps of the scan leave unexplained: up to 0.05 in
simulated scans, and 0.2 to 0.8 if two coils are exchanged."""
MAX_OUTSIDE = 0.1
"""Largest fraction of the energy of k-space that no image within the maps explains: up to 0.09 if maps are zero where
the image is below 20 % of its maximum, and above 0.1 if they are zero in a part of the body."""
N_CG_ITERATIONS = 8
"""Number of iterations for this image, after which the fraction changes by less than 0.01."""


def _fitted_gains(maps: Tensor, images: Tensor) -> Tensor:
    """Complex factors of coil maps with which they explain coil images best, ``(coils,)``.

    Parameters
    ----------
    maps, images
        ``(coils, y, x)``
    """
    gains = torch.ones(len(maps), dtype=maps.dtype, device=maps.device)
    tiny = torch.finfo(maps.real.dtype).tiny
    for _ in range(N_GAIN_UPDATES):
        scaled = maps * gains[:, None, None]
        combined = (scaled.conj() * images).sum(0) / scaled.abs().square().sum(0).clamp_min(tiny)
        parts = maps * combined
        gains = (parts.conj() * images).sum((1, 2)) / parts.abs().square().sum((1, 2)).clamp_min(tiny)
    return gains


def _noise_energy(kspace: Tensor, mask: Tensor) -> float:
    """Energy of the noise of all coils in a pixel of the images of the central k-space; parameters as below."""
    n_averaged = mask.expand(*mask.shape[:-1], kspace.shape[-1]).sum(0)
    variance = torch.where(n_averaged > 0, 1 / n_averaged.clamp_min(1), 0.0)
    central = keep_centre(variance.to(kspace.dtype), calibration_size(mask, kspace.shape[-1])).real
    return float(noise_level(kspace, mask)) ** 2 * kspace.shape[1] * float(central.mean())


def _outside(csm: Tensor, kspace: Tensor, mask: Tensor) -> float:
    """Fraction of the energy of k-space that no image explains where the maps are not zero; parameters as below."""
    has_map = csm.any(-1).any(-1)
    csm, kspace = csm[has_map], kspace[:, has_map]
    n_averaged = mask.sum(0, keepdim=True)
    average, encoding = time_average(kspace, mask)[None], Encoding(n_averaged > 0, csm)
    image = conjugate_gradients(encoding.normal, encoding.adjoint(average), N_CG_ITERATIONS)
    unexplained = encoding.relative_residual(image, average) ** 2
    n_columns = kspace.shape[-1] // mask.shape[-1]
    noise = float(noise_level(kspace, mask)) ** 2 * float((1 / n_averaged[n_averaged > 0]).sum()) * n_columns * len(csm)
    energy = float(average.abs().square().sum())
    return (unexplained * energy - noise) / (energy - noise) if energy > noise else 0.0


def given_maps_warnings(csm: Tensor, kspace: Tensor, mask: Tensor) -> Iterator[str]:
    """A warning if given maps fit much better when moved or scaled, do not fit, or are zero where there is signal.

    Parameters
    ----------
    csm
        ``(coils, y, x)``, normalised.
    kspace, mask
        ``(frames, coils, y, x)``, ``(frames, 1, y, x or 1)``
    """
    average = time_average(kspace, mask)
    central = keep_centre(average, calibration_size(mask, kspace.shape[-1]))
    rows, columns = (torch.arange(0, n, max(n // N_POINTS, 1), device=csm.device) for n in csm.shape[-2:])
    images = ifft2c(central)[:, rows[:, None], columns]
    energy = float(images.abs().square().sum())

    def unexplained(maps: Tensor, dy: int = 0, dx: int = 0) -> float:
        moved = maps[:, (rows[:, None] - dy) % maps.shape[-2], (columns - dx) % maps.shape[-1]]
        return 1 - float((moved.conj() * images).sum(0).abs().square().sum()) / energy

    if energy == 0:
        return
    own = unexplained(csm)
    if own < MIN_UNEXPLAINED:
        return
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1, SHIFT_STEP)
    others = {
        f"if shifted by about {dy} and {dx} pixels along y and x": unexplained(csm, dy, dx)
        for dy, dx in product(shifts, shifts)
    }
    gains = _fitted_gains(csm[:, rows[:, None], columns], images)
    corrected = csm * gains[:, None, None]
    norm = corrected.abs().square().sum(0).sqrt().clamp_min(torch.finfo(csm.real.dtype).tiny)
    others["if each coil is multiplied by a factor"] = unexplained(corrected / norm)
    others["if complex conjugated"] = unexplained(csm.conj())
    others["mirrored along y"] = unexplained(csm.flip(-2))
    others["mirrored along x"] = unexplained(csm.flip(-1))
    others["if mirrored along y and x"] = unexplained(csm.flip((-2, -1)))
    best = min(others, key=others.__getitem__)
    if others[best] < min(BETTER * own, MAX_UNEXPLAINED):
        yield (
            f"the coil maps leave {own:.0%} of the central k-space unexplained, and {max(others[best], 0):.0%} "
            f"{best}: do they belong to this scan? do not trust the image"
        )
        return
    has_maps = csm[:, rows[:, None], columns].abs().square().sum(0) > 0
    inside = float((images.abs().square().sum(0) * has_maps).sum())
    remaining = 1 - (1 - own) * energy / inside if inside else 0.0
    noise = (
        _noise_energy(kspace, mask) * int(has_maps.sum()) * (1 - 1 / len(csm)) if remaining > MAX_UNEXPLAINED else 0.0
    )
    if remaining - noise / inside > MAX_UNEXPLAINED:
        yield (
            f"the coil maps leave {remaining:.0%} of the central k-space unexplained: are they those of this scan, "
            "with the coils in its order? do not trust the image"
        )
        return
    is_cut = block_of_lines(mask) is None and bool((csm == 0).all(0).any())
    if is_cut and (outside := _outside(csm, kspace, mask)) > MAX_OUTSIDE:
        yield (
            f"the coil maps are zero in a part of the image that contains {outside:.0%} of the signal, which is folded "
            "into the rest of the image because k-space is undersampled: do not trust the image"
        )
