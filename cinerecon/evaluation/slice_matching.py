"""Assignment of slices of a reference to slices of images, by their positions if both files contain them."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.cine_meta import Geometry
from cinerecon.errors import DataError

SAME_PLANE_MM = 4.0
"""Largest distance of planes of the same slice, if the spacing is unknown because there is one slice only."""
PARALLEL = 0.98
"""Cosine of the angle between the normals of planes that are parallel."""
CLEARER_CORRELATION = 0.05
"""Difference of correlations above which images are assigned to another slice of the reference."""


def match_slices(images: Sequence[Geometry | None], truth: Sequence[Geometry | None], where: str) -> list[int] | None:
    """The slice of the truth that is in the plane of each slice of images.

    Parameters
    ----------
    images, truth
        Position and directions of each slice, None where they are not known.
    where
        The file of the images, for messages.

    Returns
    -------
    list or None
        Indices of slices of the truth, one for each slice of images; None if positions do not distinguish the slices.

    Raises
    ------
    DataError
        If a slice of images is in the plane of no slice of the truth.
    """
    if not _are_distinct(images) or not _are_distinct(truth):
        return None
    spacing = _least_spacing(truth)
    reach = SAME_PLANE_MM if spacing is None else spacing / 2
    matches = []
    for number, own in enumerate(images):
        distances = [_distance(own, other) for other in truth]  # type: ignore[arg-type]
        nearest = int(np.argmin(distances))
        if distances[nearest] >= reach:
            far = "not parallel to" if np.isinf(distances[nearest]) else f"{distances[nearest]:.3g} mm from"
            what = f"slice {number} is {far} the nearest slice of the truth"
            hint = "images of the same slices; or as .npy, without positions, if these are wrong"
            raise DataError(what, where=where, hint=hint)
        matches.append(nearest)
    if len(set(matches)) < len(matches):
        raise DataError("two slices of the images are at the position of one slice of the truth", where=where)
    return matches


def looks_like_another(image: Tensor, truth: Sequence[Tensor], number: int) -> int | None:
    """The slice of the truth that images ``(frames, y, x)`` resemble clearly more than the one they are compared with.

    Parameters
    ----------
    image
        Magnitudes.
    truth
        Magnitudes of each slice; those of another size are left out.
    number
        The slice that the images are compared with.
    """
    scores = [_correlation(image, other) if other.shape == image.shape else -1.0 for other in truth]
    best = int(np.argmax(scores))
    return best if scores[best] > scores[number] + CLEARER_CORRELATION else None


def _are_distinct(places: Sequence[Geometry | None]) -> bool:
    """Whether all positions are known and no two slices are at the same; the origin alone is what writers leave out."""
    if any(place is None or not any(place.position_mm) for place in places) and len(places) == 1:
        return False
    known = [place for place in places if place is not None]
    return len(known) == len(places) and len({tuple(np.round(place.position_mm, 2)) for place in known}) == len(places)


def _least_spacing(places: Sequence[Geometry | None]) -> float | None:
    """Least distance between parallel planes [mm]; None where there are no two."""
    known = [place for place in places if place is not None]
    normal = _normal(known[0])
    along = sorted(float(np.dot(p.position_mm, normal)) for p in known if abs(_normal(p) @ normal) > PARALLEL)
    distances = [after - before for before, after in pairwise(along) if after - before > 0]
    return min(distances, default=None)


def _distance(one: Geometry, other: Geometry) -> float:
    """Distance of two parallel planes [mm]; infinite where they are not parallel."""
    if abs(_normal(one) @ _normal(other)) < PARALLEL:
        return float("inf")
    return abs(float(np.subtract(one.position_mm, other.position_mm) @ _normal(other)))


def _normal(place: Geometry) -> NDArray[np.float64]:
    normal: NDArray[np.float64] = np.array(place.slice_dir) / np.linalg.norm(place.slice_dir)
    return normal


def _correlation(one: Tensor, other: Tensor) -> float:
    a, b = (x.double().ravel() - x.double().mean() for x in (one, other))
    norm = float(a.norm() * b.norm())
    return float(a @ b) / norm if norm > 0 else 0.0
