"""Slices of two files in the same plane, according to their positions and directions."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cinerecon.cine_meta import Geometry
from cinerecon.errors import DataError
from cinerecon.evaluation.image_files import plane_of
from cinerecon.evaluation.orientation import PARALLEL_COSINE

SAME_PLANE_MM = 4.0
"""Largest distance between the planes of corresponding slices if there is only one slice, without a spacing [mm]."""


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
