"""Slices and orientation of images from other programs, which store slices, rows and columns in different orders.

Slices of two files are matched by their positions and directions. Images whose directions are known are oriented like
the reference. Remaining deviations of orientation, position and scale are reported, but not corrected.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.cine_meta import Geometry
from cinerecon.errors import DataError
from cinerecon.evaluation.image_files import ImageSeries, plane_of
from cinerecon.words import plural

PARALLEL_COSINE = 0.98
"""Smallest cosine of the angle between two directions that are treated as parallel."""
MIN_GAIN_DB = 3.0
"""Smallest gain for which a correction is reported [dB]."""
MIN_ADDED_GAIN_DB = 0.5
"""Smallest gain of a combined correction over a simpler one [dB]."""
CORRECT_ERROR = 1e-3
"""Relative error power below which the orientation of images is not checked."""
SAME_PLANE_MM = 4.0
"""Largest distance between the planes of corresponding slices if there is only one slice, without a spacing [mm]."""


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


def orientation_warnings(image: Tensor, reference: Tensor) -> Iterator[str]:
    """Warnings if a factor, another orientation, or a shift in space or time would reduce the error considerably.

    Parameters
    ----------
    image, reference
        ``(frames, y, x)`` magnitudes.
    """
    image, reference = image.double(), reference.double()
    factor, error = best_factor(image, reference)
    if gain_db(float(((image - reference) ** 2).sum()), error) > MIN_GAIN_DB and factor > 0:
        word, times = ("brighter", 1 / factor) if factor < 1 else ("darker", factor)
        yield f"{word} by a factor of {float(f'{times:.3g}'):g}? --fit-scale corrects it"
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


def match_slices(
    images: Sequence[Geometry | None], references: Sequence[Geometry | None], where: str
) -> list[int] | None:
    """Find the slice of the reference that is in the plane of each slice of images.

    Parameters
    ----------
    images, references
        Position and directions of each slice; None if they are unknown.
    where
        The file of the images, for messages.

    Returns
    -------
    list or None
        Indices of slices of the reference, one for each slice of images; None if positions do not distinguish the
        slices.

    Raises
    ------
    DataError
        If no slice of the reference is in the plane of a slice of images.
    """
    if not _are_distinct(images) or not _are_distinct(references):
        return None
    spacing = _least_spacing(references)
    reach = SAME_PLANE_MM if spacing is None else spacing / 2
    matches = []
    for number, own in enumerate(images):
        distances = [_distance(own, other) for other in references]  # type: ignore[arg-type]
        nearest = int(np.argmin(distances))
        if distances[nearest] >= reach:
            far = "not parallel to" if np.isinf(distances[nearest]) else f"{distances[nearest]:.3g} mm from"
            what = f"slice {number} is {far} the nearest slice of the reference"
            hint = "give images of the same slices; or, if the positions are wrong, .npy files, which have no positions"
            raise DataError(what, where=where, hint=hint)
        matches.append(nearest)
    if len(set(matches)) < len(matches):
        raise DataError("two slices of the images are at the position of one slice of the reference", where=where)
    return matches


def _are_distinct(geometries: Sequence[Geometry | None]) -> bool:
    """Whether all planes are known and differ; a single slice at the origin (a common default) counts as unknown."""
    known = [geometry for geometry in geometries if geometry is not None]
    if len(known) < len(geometries) or (len(known) == 1 and not any(known[0].position_mm)):
        return False
    return len({plane_of(geometry) for geometry in known}) == len(known)


def _least_spacing(geometries: Sequence[Geometry | None]) -> float | None:
    """Smallest distance between parallel planes [mm]; None if there are no two such planes."""
    known = [geometry for geometry in geometries if geometry is not None]
    normal = _normal(known[0])
    parallel = [geometry for geometry in known if abs(_normal(geometry) @ normal) > PARALLEL_COSINE]
    along = sorted(float(np.dot(geometry.position_mm, normal)) for geometry in parallel)
    distances = [after - before for before, after in pairwise(along) if after - before > 0]
    return min(distances, default=None)


def _distance(first: Geometry, second: Geometry) -> float:
    """Distance between two parallel planes [mm]; infinite if they are not parallel."""
    if abs(_normal(first) @ _normal(second)) < PARALLEL_COSINE:
        return float("inf")
    return abs(float(np.subtract(first.position_mm, second.position_mm) @ _normal(second)))


def _normal(geometry: Geometry) -> NDArray[np.float64]:
    normal: NDArray[np.float64] = np.array(geometry.slice_dir) / np.linalg.norm(geometry.slice_dir)
    return normal
