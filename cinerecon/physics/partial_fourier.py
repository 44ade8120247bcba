"""Partial Fourier: estimation of the part of k-space that was not measured on one side, from the measured side.

The image without its phase is real, and the k-space of real images is conjugate symmetric. The phase is estimated for
each frame from the symmetric centre of k-space. Along ky this is partial Fourier, along kx an asymmetric echo.

Homodyne detection doubles the side without counterpart and takes the real part after removal of the phase. Projection
onto convex sets (POCS) alternates between the phase and the k-space that the image had; that part of k-space is the
same before and after.

References
----------
Noll, Nishimura and Macovski, Homodyne detection in magnetic resonance imaging (1991), DOI 10.1109/42.79473
Haacke, Lindskog and Lin, A fast, iterative, partial-Fourier technique capable of local phase recovery (1991),
DOI 10.1016/0022-2364(91)90253-P

Departs from the papers in: the coils are combined first, by the reconstruction; the phase is restored after homodyne
detection, so that the image is complex; POCS keeps the real part of the image in phase, where it is positive, instead
of the magnitude; both axes may be incomplete.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.cine_meta import Extent
from cinerecon.options import PartialFourier
from cinerecon.physics.fourier import fft2c, ifft2c, mirror
from cinerecon.physics.phasors import phasor
from cinerecon.physics.sampling import measured_extent

FillMethod = Literal["pocs", "homodyne"]

N_PROJECTIONS = 12
"""Number of POCS iterations; later ones change the image by less than its noise."""
MIN_MISSING = 0.02
"""Smallest fraction of an axis missing on one side that is filled in."""
MIN_CENTRE = 4
"""Smallest number of lines on each side of the centre of k-space from which the phase is estimated."""
HELD_OUT_FRACTION = 1 / 3
"""Part of the lines between the centre and the missing side that the test of the phase leaves out."""


LARGEST_PREDICTION_ERROR = 0.65
"""Error of the prediction of measured lines above which filling in does not improve simulated images."""


@dataclass(frozen=True)
class OneSided:
    """One axis of k-space: its length, and the first and end index of the part that was measured."""

    n: int
    first: int
    end: int

    @property
    def below(self) -> int:
        """Number of measured lines before the centre."""
        return self.n // 2 - self.first

    @property
    def above(self) -> int:
        """Number of measured lines after the centre."""
        return self.end - self.n // 2 - 1

    @property
    def centre(self) -> int:
        """Number of lines on each side of the centre that were measured on both sides."""
        return min(self.below, self.above)

    @property
    def missing(self) -> int:
        """Number of lines whose counterpart was measured and that were not measured themselves."""
        longer, limit = max(self.below, self.above), (self.n - 1) // 2
        return max(min(longer, limit) - self.centre, 0)

    @property
    def is_partial(self) -> bool:
        """Whether enough is missing on one side to be filled in."""
        return self.missing > MIN_MISSING * self.n

    def without(self, n_lines: int) -> "OneSided":
        """The axis with fewer lines on the shorter side."""
        if self.below < self.above:
            return OneSided(self.n, self.first + n_lines, self.end)
        return OneSided(self.n, self.first, self.end - n_lines)

    def window(self) -> Tensor:
        """``(n,)`` 1 where measured, 0 elsewhere."""
        values = torch.zeros(self.n)
        values[self.first : self.end] = 1
        return values

    def low_pass(self) -> Tensor:
        """``(n,)`` Hann window over the symmetric centre; 1 for an axis that is not partial."""
        if not self.is_partial:
            return torch.ones(self.n)
        distance = (torch.arange(self.n) - self.n // 2).abs() / (self.centre + 1)
        return torch.cos(distance.clamp(max=1) * torch.pi / 2).square()

    def ramp(self) -> Tensor:
        """``(n,)`` rises from 0 to 1 through the symmetric centre, towards the measured side (Noll, eq. 13)."""
        if not self.is_partial:
            return torch.ones(self.n)
        position = (torch.arange(self.n) - self.n // 2) / (2 * self.centre + 2) + 0.5
        return (position if self.above > self.below else 1 - position).clamp(0, 1)


Axes2D = tuple[OneSided, OneSided]
"""The axes ky and kx."""


def partial_axes(data: CineData) -> Axes2D:
    """The measured parts of ky and kx, from the mask or from the metadata of the scan."""
    extent: Extent = data.meta.extent or measured_extent(data.mask)
    ky, kx = (OneSided(n, *part.indices(n)[:2]) for part, n in zip(extent, data.matrix, strict=True))
    return ky, kx


def is_partial(axes: Axes2D) -> bool:
    """Whether k-space lacks a part on one side that can be filled in."""
    return any(axis.is_partial for axis in axes) and all(axis.centre >= MIN_CENTRE for axis in axes if axis.is_partial)


def fill(image: Tensor, axes: Axes2D, method: FillMethod) -> Tensor:
    """Fill in the side of k-space that was not measured.

    Parameters
    ----------
    image
        ``(*batch, frames, y, x)`` complex, the image of a reconstruction.
    axes
        The measured part of each axis.
    method
        ``pocs`` keeps the k-space of the image where it was measured; ``homodyne`` does not where it removes the part
        that is not in phase.
    """
    kspace, phase = fft2c(image), low_resolution_phase(image, axes)
    return _homodyne(kspace, phase, axes) if method == "homodyne" else _pocs(kspace, phase, axes)


def low_resolution_phase(image: Tensor, axes: Axes2D) -> Tensor:
    """Unit phasors ``(*batch, frames, y, x)`` of the symmetric centre of k-space."""
    low_pass = axes[0].low_pass()[:, None] * axes[1].low_pass()
    smooth = ifft2c(fft2c(image) * low_pass.to(image.device))
    return phasor(smooth.angle())


def _pocs(kspace: Tensor, phase: Tensor, axes: Axes2D) -> Tensor:
    measured = (axes[0].window()[:, None] * axes[1].window()).to(kspace.device)
    missing = (1 - measured) * _reach(axes).to(kspace.device)
    kspace = kspace * measured
    image = ifft2c(kspace)
    for _ in range(N_PROJECTIONS):
        in_phase = (image * phase.conj()).real.clamp(min=0) * phase
        image = ifft2c(kspace + fft2c(in_phase) * missing)
    return image


def _homodyne(kspace: Tensor, phase: Tensor, axes: Axes2D) -> Tensor:
    measured = axes[0].window()[:, None] * axes[1].window()
    ramp = axes[0].ramp()[:, None] * axes[1].ramp()
    weight = measured * (1 + ramp - mirror(ramp))
    return (ifft2c(kspace * weight.to(kspace.device)) * phase.conj()).real * phase


def _reach(axes: Axes2D) -> Tensor:
    """``(ky, kx)`` 1 as far from the centre as k-space was measured on either side of each axis."""
    rows, columns = (torch.maximum(axis.window(), mirror(axis.window(), (0,))) for axis in axes)
    return rows[:, None] * columns


def prediction_error(image: Tensor, axes: Axes2D, method: FillMethod) -> float:
    """The error of `fill` for measured lines, by which the assumption of a smooth phase is tested.

    Lines between the centre and the missing side are left out, filled in with the phase of the rest, and compared with
    the measurement.

    Returns
    -------
    ||filled - measured|| / ||measured|| over the lines left out: 0 if they are predicted exactly, 1 if zeros
    are predicted.
    """
    fewer = [axis.without(max(1, round(HELD_OUT_FRACTION * axis.centre))) if axis.is_partial else axis for axis in axes]
    reduced: Axes2D = (fewer[0], fewer[1])
    kept, held_out = (part[0].window()[:, None] * part[1].window() for part in (reduced, axes))
    held_out = (held_out - kept).to(image.device)
    kspace = fft2c(image)
    predicted = fft2c(fill(ifft2c(kspace * kept.to(image.device)), reduced, method))
    misfit = torch.linalg.vector_norm((predicted - kspace) * held_out)
    energy = torch.linalg.vector_norm(kspace * held_out)
    return float(misfit / energy) if energy > 0 else 0.0


class Filled(NamedTuple):
    """An image after the step ``(frames, y, x)``, what was done in words, empty if nothing is missing, and warnings."""

    image: Tensor
    record: str
    warnings: tuple[str, ...] = ()


def fill_partial_fourier(image: Tensor, data: CineData, choice: PartialFourier) -> Filled:
    """Fill in what k-space lacks on one side, as far as it was asked for.

    Parameters
    ----------
    image
        ``(frames, y, x)`` in the units of A^H y, what a method reconstructed.
    data
        The measurement.
    choice
        ``pocs``, ``homodyne``, ``none``; ``auto`` is POCS if the test with measured lines shows that it predicts them.
    """
    axes = partial_axes(data)
    if not is_partial(axes):
        return Filled(image, "")
    missing = _missing(axes)
    if choice == "none":
        return Filled(image, f"none, {missing} not filled in")
    method: FillMethod = "pocs" if choice == "auto" else choice
    error = prediction_error(image, axes, method)
    tested = f"measured lines left out for a test are predicted with an error of {error:.0%}"
    if choice == "auto" and error > LARGEST_PREDICTION_ERROR:
        return Filled(image, f"none, {missing} not filled in: {tested}")
    warnings: tuple[str, ...] = ()
    if error > LARGEST_PREDICTION_ERROR:
        text = f"partial Fourier by {method}: {tested}: noise, aliasing or a phase that varies too fast in space"
        warnings = (f"{text}; what is filled in is not to be trusted (--partial-fourier none leaves it out)",)
    return Filled(fill(image, axes, method), f"{method}, {missing} filled in, {tested}", warnings)


def _missing(axes: Axes2D) -> str:
    """The number of lines that are missing on one side, in words."""
    names = zip(("ky", "kx"), axes, strict=True)
    return " and ".join(f"{axis.missing} of {axis.n} {name}" for name, axis in names if axis.is_partial)
