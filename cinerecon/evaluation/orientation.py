"""Orientation of images from other programs, which store rows and columns in different orders.

Images whose directions are known are oriented like the reference. Remaining deviations of orientation, position and
scale are reported, but not corrected.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cinerecon.cine_meta import Geometry
from cinerecon.evaluation.image_files import ImageSeries
from cinerecon.words import plural

PARALLEL_COSINE = 0.98
"""Smallest cosine of the angle between two directions that are treated as parallel."""
MIN_GAIN_DB = 3.0
"""Smallest gain for which a correction is reported [dB]."""
MIN_ADDED_GAIN_DB = 0.5
"""Smallest gain of a combined correction over a simpler one [dB]."""
CORRECT_ERROR = 1e-3
"""Relative error power below which the orientation of images is not checked."""

ORIENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda image: image,
    "flipped along y": lambda image: image.flip(-2),
    "flipped along x": lambda image: image.flip(-1),
    "rotated by 180 degrees": lambda image: image.flip(-2, -1),
    "y and x swapped": lambda image: image.mT,
    "y and x swapped, flipped along y": lambda image: image.mT.flip(-2),
    "y and x swapped, flipped along x": lambda image: image.mT.flip(-1),
    "y and x swapped, rotated by 180 degrees": lambda image: image.mT.flip(-2, -1),
}
"""The eight orientations of an image."""
FRAME_ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda image: image,
    "frames in reverse order": lambda image: image.flip(-3),
}
"""The two temporal directions of an image series."""


def oriented_like(series: ImageSeries, reference: Geometry | None) -> ImageSeries:
    """The images with rows and columns transposed and reversed such that their directions agree with the reference.

    If a direction is unknown, or is parallel to none of the reference, images are returned unchanged.
    """
    own = series.geometry
    if own is None or reference is None:
        return series
    rows = np.array([own.phase_dir, own.read_dir]), np.array([reference.phase_dir, reference.read_dir])
    directions = [axes / np.linalg.norm(axes, axis=1, keepdims=True) for axes in rows]
    cosines = directions[0] @ directions[1].T  # (y, x) of the images, (y, x) of the reference
    is_along = np.abs(cosines) > PARALLEL_COSINE
    if (is_along.sum(0) != 1).any() or (is_along.sum(1) != 1).any():
        return series
    is_swapped, pixel_mm = bool(is_along[0, 1]), series.pixel_size_mm
    image = series.image.transpose(-2, -1) if is_swapped else series.image
    signs = np.where(is_along, np.sign(cosines), 0).sum(0)  # of the axes (y, x) of the reference
    reversed_axes = [axis for axis, sign in zip((-2, -1), signs, strict=True) if sign < 0]
    image = image.flip(reversed_axes) if reversed_axes else image
    pixel_mm = pixel_mm[::-1] if is_swapped and pixel_mm else pixel_mm
    return replace(series, image=image, pixel_size_mm=pixel_mm)


@dataclass(frozen=True)
class Correction:
    """Possible errors of an image, as texts, and the squared error that remains after their correction."""

    words: tuple[str, ...]
    error: float


def orientation_warnings(image: Tensor, reference: Tensor, *, depends_on_scale: bool = True) -> Iterator[str]:
    """Warnings if a factor, another orientation, or a shift in space or time would reduce the error considerably.

    Parameters
    ----------
    image, reference
        ``(frames, y, x)`` magnitudes.
    depends_on_scale
        Whether the measures depend on the scale of the image.
    """
    image, reference = image.double(), reference.double()
    factor, error = best_factor(image, reference)
    if depends_on_scale and gain_db(float(((image - reference) ** 2).sum()), error) > MIN_GAIN_DB and factor > 0:
        word, times = ("brighter", 1 / factor) if factor < 1 else ("darker", factor)
        yield f"{word} by a factor of {float(f'{times:.3g}'):g}?"
    if error <= CORRECT_ERROR * float((reference**2).sum()):
        return
    corrections = sorted(_corrections(image, reference), key=lambda correction: len(correction.words))
    least = min(correction.error for correction in corrections)
    best = next(correction for correction in corrections if gain_db(correction.error, least) <= MIN_ADDED_GAIN_DB)
    if best.words and gain_db(error, best.error) > MIN_GAIN_DB:
        yield f"{', '.join(best.words)}?"


def _corrections(image: Tensor, reference: Tensor) -> Iterator[Correction]:
    """Every orientation and order of frames that is consistent with the sizes, without and with its best shift."""
    spectrum = torch.fft.rfftn(reference.float()).conj()
    for order, in_order in FRAME_ORDERS.items():
        for orientation, oriented in ORIENTATIONS.items():
            candidate = in_order(oriented(image))
            if candidate.shape != reference.shape:
                continue
            words = tuple(text for text in (orientation, order) if text)
            yield Correction(words, best_factor(candidate, reference)[1])
            shift, fraction = _best_shift(candidate, spectrum)
            moved = candidate.roll(tuple(-pixels for pixels in shift), (-3, -2, -1))
            if any(shift):
                remark = _in_words(shift, reference.shape)
                yield Correction((*words, *remark), best_factor(moved, reference)[1])
            if max(map(abs, fraction)) >= 0.2:
                exact = (shift[0], shift[1] + fraction[0], shift[2] + fraction[1])
                error = best_factor(_shifted_by_fraction(moved, fraction), reference)[1]
                yield Correction((*words, *_in_words(exact, reference.shape)), error)


def _best_shift(image: Tensor, spectrum: Tensor) -> tuple[tuple[int, int, int], tuple[float, float]]:
    """The circular shift with the best agreement: whole frames, rows and columns, and fractions of rows and columns.

    Parameters
    ----------
    image
        ``(frames, y, x)`` magnitudes.
    spectrum
        Complex conjugate of the transform of the reference, see `torch.fft.rfftn`.
    """
    correlation = torch.fft.irfftn(torch.fft.rfftn(image.float()) * spectrum, s=image.shape)
    peak = torch.unravel_index(correlation.argmax(), correlation.shape)
    t, y, x = (int(index) for index in peak)
    whole = tuple(index - n if index > n // 2 else index for index, n in zip((t, y, x), image.shape, strict=True))
    part = _peak_between(correlation[t, :, x], y), _peak_between(correlation[t, y], x)
    return whole, part  # type: ignore[return-value]


def _peak_between(values: Tensor, peak: int) -> float:
    """Offset of the vertex of the parabola through the largest value and its adjacent values, from -0.5 to 0.5."""
    before, top, after = (float(values[(peak + step) % len(values)]) for step in (-1, 0, 1))
    curvature = before - 2 * top + after
    return round(0.5 * (before - after) / curvature, 1) if curvature < 0 else 0.0


def _shifted_by_fraction(image: Tensor, fraction: tuple[float, float]) -> Tensor:
    """The image shifted back by fractions of a pixel along y and x."""
    y, x = (torch.fft.fftfreq(n, dtype=torch.float64) for n in image.shape[-2:])
    ramp = torch.exp(2j * torch.pi * (y[:, None] * fraction[0] + x * fraction[1]))
    shifted: Tensor = torch.fft.ifft2(torch.fft.fft2(image) * ramp).real
    return shifted


def _in_words(shift: tuple[float, float, float], shape: torch.Size) -> tuple[str, ...]:
    """Axes and distances of a shift in words; an odd matrix has no exact half."""
    frames, *pixels = shift
    parts: dict[str, list[str]] = {}
    for axis, far, size in zip("yx", pixels, shape[-2:], strict=True):
        if far:
            is_half = abs(far) >= size // 2
            text = "half the field of view" if is_half else f"{abs(far):g} {plural('pixel', abs(far))}"
            parts.setdefault(text, []).append(axis)
    texts = []
    if parts:
        texts.append("shifted by " + ", ".join(f"{far} along {' and '.join(axes)}" for far, axes in parts.items()))
    if frames:
        texts.append(f"shifted in time by {abs(frames)} {plural('frame', abs(frames))}")
    return tuple(texts)


def best_factor(image: Tensor, reference: Tensor) -> tuple[float, float]:
    """The factor a that minimises |a image - reference|^2, and the remaining error."""
    power = float((image**2).sum())
    factor = float((image * reference).sum()) / power if power > 0 else 0.0
    return factor, float(torch.sum((factor * image - reference) ** 2))


def gain_db(before: float, after: float) -> float:
    """Reduction of a squared error [dB]; infinite if none remains."""
    if before <= 0:
        return 0.0
    return 10 * math.log10(before / after) if after > 0 else math.inf
