"""Partial Fourier: estimation of k-space that was not measured on one side from the measured side.

The image without its phase is real, and the k-space of real images is conjugate symmetric. The phase is estimated for
each frame from the symmetric centre of k-space. Along ky this is partial Fourier, along kx an asymmetric echo.

Homodyne detection doubles the side without counterpart and takes the real part after removal of the phase. Projection
onto convex sets (POCS) alternates between the phase constraint and the measured k-space of the image, which is not
changed.

References
----------
Noll, Nishimura and Macovski, Homodyne detection in magnetic resonance imaging (1991), DOI 10.1109/42.79473
Haacke, Lindskog and Lin, A fast, iterative, partial-Fourier technique capable of local phase recovery (1991),
DOI 10.1016/0022-2364(91)90253-P

Departs from the papers in: the coils are combined first, by the reconstruction; the phase is restored after homodyne
detection, so that the image is complex; POCS uses the positive real part of the demodulated image instead of the
magnitude; both axes may be incomplete.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.cine_meta import Extent
from cinerecon.options import PartialFourier
from cinerecon.physics.fourier import fft2c, ifft2c, mirror, phasor
from cinerecon.physics.noise import noise_level
from cinerecon.physics.sampling import measured_extent

FillMethod = Literal["pocs", "homodyne"]

N_PROJECTIONS = 12
"""Number of POCS iterations; further iterations change the image by less than its noise."""
MIN_MISSING = 0.02
"""Smallest missing fraction of an axis that is filled in."""
MIN_CENTRE = 4
"""Smallest number of lines on each side of the centre of k-space from which the phase is estimated."""
HELD_OUT_FRACTION = 1 / 3
"""Fraction of the lines between the centre and the missing side that are held out to test the phase."""

LARGEST_PREDICTION_ERROR = 0.65
"""Prediction error of measured lines above which filling in without weights does not improve most simulated images."""
LIMIT_WITHOUT_SHARE, LIMIT_PER_SHARE = 0.4, 0.5
"""The same limit for POCS as a linear function of the power-weighted mean weight of the missing lines, where it is
larger: of 112 simulated scans, POCS improves 10 of 76 above it, and worsens 6 below it by more than 0.3 dB."""
UNRESOLVED_PHASE = 1.25
"""Prediction error above which the centre of k-space does not resolve the phase; much worse than zeros."""
EDGE_OF_CENTRE = 0.8
"""Distance, relative to the last line measured on both sides, from which the error of filling in is extrapolated."""
ERROR_EXPONENT = 1.5
"""Exponent with which the power of this error, without noise, decreases with distance from the centre of k-space."""
MIN_FILLED_SHARE = 0.35
"""Smallest power-weighted mean weight of the lines for which they are filled in."""
N_EXTRAPOLATED = 2
"""Number of missing lines next to measured lines that any method extrapolates with the coil maps."""
MAX_OWN_SHARE = 0.1
"""Power of the missing lines in the image of a method, relative to their counterparts, above which the method has
already estimated these lines."""


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
        """Number of lines that were not measured, but whose counterparts were."""
        longer, limit = max(self.below, self.above), (self.n - 1) // 2
        return max(min(longer, limit) - self.centre, 0)

    @property
    def is_partial(self) -> bool:
        """Whether enough lines are missing on one side to be filled in."""
        return self.missing > MIN_MISSING * self.n

    def without(self, n_lines: int) -> "OneSided":
        """The axis with fewer lines on the shorter side."""
        if self.below < self.above:
            return OneSided(self.n, self.first + n_lines, self.end)
        return OneSided(self.n, self.first, self.end - n_lines)

    def widened(self, n_lines: int) -> "OneSided":
        """The axis with more measured lines on each side, limited to its length."""
        return OneSided(self.n, max(self.first - n_lines, 0), min(self.end + n_lines, self.n))

    def window(self) -> Tensor:
        """``(n,)`` 1 where measured, 0 elsewhere."""
        values = torch.zeros(self.n)
        values[self.first : self.end] = 1
        return values

    def symmetric(self) -> Tensor:
        """``(n,)`` 1 where measured on both sides of the centre, 0 elsewhere; 1 for an axis that is not partial."""
        distance = (torch.arange(self.n) - self.n // 2).abs()
        return (distance <= self.centre).float() if self.is_partial else torch.ones(self.n)

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
        ``pocs`` preserves the measured k-space of the image; ``homodyne`` changes it by removing the component that is
        not in phase.
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
    """``(ky, kx)`` 1 up to the largest distance from the centre measured on either side of each axis."""
    rows, columns = (torch.maximum(axis.window(), mirror(axis.window(), (0,))) for axis in axes)
    return rows[:, None] * columns


def prediction_error(image: Tensor, axes: Axes2D, method: FillMethod) -> float:
    """The error of `fill` for measured lines, which tests the assumption of a smooth phase.

    Lines between the centre and the missing side are held out, filled in with the phase of the other lines, and
    compared with the measurement.

    Returns
    -------
    ||filled - measured|| / ||measured|| over the lines held out: 0 if they are predicted exactly, 1 if zeros are
    predicted.
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


def fill_weights(image: Tensor, filled: Tensor, axes: Axes2D) -> Tensor:
    """Weights of the filled lines that minimise the expected error, as in a Wiener filter.

    After removal of the low-resolution phase, a k-space point of the image A + iB is filled in with the conjugate of
    its counterpart; the error is 2B plus the noise of the counterpart. B is known in the symmetric centre, where both
    sides were measured, and is extrapolated from its edge. With P the power of the counterpart and E = 4 B^2 + 2 N the
    extrapolated power of the error (noise N), the expected error is minimal for a weight of 1 - E / (2 P). If the
    filled line has more power than P, the excess is also an error.

    Parameters
    ----------
    image, filled
        ``(frames, y, x)`` complex, before and after POCS.
    axes
        The measured part of each axis.

    Returns
    -------
    ``(ky, kx)`` between 0 and 1; 1 where measured.
    """
    kspace, after, phase = fft2c(image), fft2c(filled), low_resolution_phase(image, axes)
    symmetric = [axis.symmetric().to(image.device) for axis in axes]
    central = ifft2c(kspace * symmetric[0][:, None] * symmetric[1])
    wrong = 2 * fft2c((central * phase.conj()).imag * phase)
    measured = (axes[0].window()[:, None] * axes[1].window()).to(image.device)
    mask = (measured > 0).expand(len(image), 1, *measured.shape)
    is_whole = not axes[1].is_partial
    noise = noise_level((kspace * measured)[:, None], mask[..., :1] if is_whole else mask) ** 2
    weights = []
    for axis, other, dim in ((axes[0], symmetric[1], -2), (axes[1], symmetric[0][:, None], -1)):
        power, own, new = (_line_power(series, other, dim) for series in (wrong, kspace, after))
        weights.append(_line_weights(axis, power, own, new, noise) if axis.is_partial else torch.ones_like(own))
    return weights[0][:, None] * weights[1]


def _line_power(kspace: Tensor, other: Tensor, dim: int) -> Tensor:
    """Mean power of each line along an axis, over frames and the part of the other axis with weight 1."""
    return (kspace.abs().square() * other).movedim(dim, -1).flatten(0, -2).sum(0) / (len(kspace) * other.sum())


def _line_weights(axis: OneSided, wrong: Tensor, measured: Tensor, after: Tensor, noise: Tensor) -> Tensor:
    """The weights ``(n,)`` along one axis, from the powers of its lines."""
    distance = (torch.arange(axis.n, device=wrong.device) - axis.n // 2).abs().float()
    inside = distance < axis.centre  # the last lines are affected by truncation
    edge = inside & (distance >= EDGE_OF_CENTRE * (axis.centre - 1))
    decay = (distance.clamp(min=1) / distance[edge].mean()) ** -ERROR_EXPONENT
    constant = torch.minimum(2 * noise, wrong[inside].min())  # the noise of nearly noise-free data is overestimated
    expected = constant + (wrong[edge].mean() - constant) * decay
    tiny = torch.finfo(torch.float32).tiny
    counterpart, after = (_smoothed(power).clamp(min=tiny) for power in (mirror(measured, (0,)), after))
    weights = (1 - expected / (2 * counterpart)).clamp(0, 1) * (counterpart / after).clamp(max=1)
    return torch.where(axis.window().to(weights.device) > 0, 1.0, weights)


def _smoothed(power: Tensor) -> Tensor:
    """The mean of three adjacent lines."""
    padded = torch.nn.functional.pad(power[None, None], (1, 1), mode="replicate")
    return torch.nn.functional.avg_pool1d(padded, 3, 1)[0, 0]


def _shares(image: Tensor, weights: Tensor, axes: Axes2D) -> tuple[float, float]:
    """Mean weight of missing points, by the power of their counterparts, and the power of the image there.

    The latter is relative to the counterparts, and excludes the lines next to measured lines.
    """
    power = fft2c(image).abs().square().mean(0)
    measured = (axes[0].window()[:, None] * axes[1].window()).to(image.device)
    missing = (1 - measured) * _reach(axes).to(image.device)
    expected = mirror(power) * mirror(measured) * missing
    near = axes[0].widened(N_EXTRAPOLATED).window()[:, None] * axes[1].widened(N_EXTRAPOLATED).window()
    far = missing * (1 - near).to(image.device)
    return _ratio((weights * expected).sum(), expected.sum()), _ratio((power * far).sum(), (expected * far).sum())


def _ratio(part: Tensor, whole: Tensor) -> float:
    """The ratio of two sums; 0 if the denominator is 0."""
    return float(part / whole) if whole > 0 else 0.0


TESTED = "measured lines withheld for a test are predicted with an error of"


class Filled(NamedTuple):
    """The image after filling in ``(frames, y, x)``, a description (empty if nothing is missing), and warnings."""

    image: Tensor
    record: str
    warnings: tuple[str, ...] = ()


def fill_partial_fourier(image: Tensor, data: CineData, choice: PartialFourier) -> Filled:
    """Fill in the missing part of k-space on one side, as requested.

    Parameters
    ----------
    image
        ``(frames, y, x)`` in the units of A^H y, the image reconstructed by a method.
    data
        The measurement.
    choice
        ``pocs``, ``homodyne``, ``none``; ``auto`` is POCS with the weights of `fill_weights`.
    """
    axes = partial_axes(data)
    if not is_partial(axes):
        return Filled(image, "")
    missing = _missing(axes)
    if choice == "none":
        return Filled(image, f"none, {missing} not filled in")
    if choice == "auto":
        return _fill_as_expected(image, axes, missing)
    error = prediction_error(image, axes, choice)
    tested = f"{TESTED} {error:.0%}"
    warnings: tuple[str, ...] = ()
    filled = fill(image, axes, choice)
    limit = LARGEST_PREDICTION_ERROR
    if choice == "pocs" and error > limit:
        share, _ = _shares(image, fill_weights(image, filled, axes), axes)
        limit = max(limit, LIMIT_WITHOUT_SHARE + LIMIT_PER_SHARE * share)
    if error > limit:
        text = f"partial Fourier by {choice}: {tested}: noise, aliasing or a phase that varies too rapidly in space"
        warnings = (
            f"{text}; what is filled in is probably worse than zeros (--partial-fourier auto weights it by its "
            "expected error)",
        )
    return Filled(filled, f"{choice}, {missing} filled in, {tested}", warnings)


def _fill_as_expected(image: Tensor, axes: Axes2D, missing: str) -> Filled:
    """POCS with weights; nothing is filled in if the weights are small, or if the method has a better estimate."""
    filled = fill(image, axes, "pocs")
    weights = fill_weights(image, filled, axes)
    share, own_share = _shares(image, weights, axes)
    if share < MIN_FILLED_SHARE:
        reason = "noise, or out-of-phase signal, in the centre of k-space predicts that it would be wrong"
        return Filled(image, f"none, {missing} not filled in: {reason}")
    error = prediction_error(image, axes, "pocs")
    if error > (LARGEST_PREDICTION_ERROR if own_share > MAX_OWN_SHARE else UNRESOLVED_PHASE):
        return Filled(image, f"none, {missing} not filled in: {TESTED} {error:.0%}")
    image = ifft2c(torch.lerp(fft2c(image), fft2c(filled), weights.to(image.dtype)))
    return Filled(image, f"pocs, {missing} filled in with a mean weight of {share:.0%} by the expected error")


def _missing(axes: Axes2D) -> str:
    """The number of lines that are missing on one side, in words."""
    names = zip(("ky", "kx"), axes, strict=True)
    return " and ".join(f"{axis.missing} of {axis.n} {name}" for name, axis in names if axis.is_partial)
