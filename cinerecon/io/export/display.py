"""Orientation of images for display: rows and columns are turned to the radiological convention.

This applies to DICOM, movies, pictures and figures. In arrays for further processing, rows remain along the readout.

DICOM viewers display pixels as they are stored. Scanners store transverse slices with rows towards the left and columns
towards the back of the patient, coronal slices with rows towards the left and columns towards the feet, and sagittal
slices with rows towards the back and columns towards the feet. Oblique slices are turned to the closest of these
orientations. Short-axis slices of the heart, which are between all three, are treated like transverse slices: the right
ventricle is on the left side of the image and the anterior wall at the top.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cinerecon.cine_meta import vector
from cinerecon.image import CineImage, FirstVoxel, Vector

LEFT, BACK, FEET = np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), np.array([0, 0, -1.0])
CONVENTIONS = ((LEFT, BACK), (LEFT, FEET), (BACK, FEET))
"""Directions along a row and along a column of transverse, coronal and sagittal slices (LPS)."""
LONG_AXIS = np.array([0.62, -0.52, -0.58])
"""Typical direction of the long axis of the left ventricle, from base to apex (LPS)."""
SHORT_AXIS_COSINE = 0.87
"""Cosine of the angle between normal and long axis above which a slice is a short-axis slice: 30 degrees. For
long-axis, transverse, coronal and sagittal slices, the angle is above 50 degrees."""
TIE = 1e-3
"""Improvement of the sum of two cosines below which an image is not turned."""
SAME_DIRECTIONS = 1 - 1e-4
"""Smallest cosine of the angles between the directions of images that are turned in the same way."""
TURNED = ("image", "reference", "noise", "uncertainty", "velocity")
"""Arrays of `CineImage` that are turned."""

Values = TypeVar("Values", bound=np.generic)


@dataclass(frozen=True)
class Turn:
    """Exchange of rows and columns, followed by reversal along (y, x) of the result."""

    is_swapped: bool = False
    is_reversed: tuple[bool, bool] = (False, False)

    def axes(self, along_y: Vector, along_x: Vector) -> tuple[Vector, Vector]:
        """The directions along (y, x) of the turned image."""
        pair = (along_x, along_y) if self.is_swapped else (along_y, along_x)
        y, x = (-axis if is_reversed else axis for axis, is_reversed in zip(pair, self.is_reversed, strict=True))
        return y, x

    def pixels(self, images: NDArray[Values]) -> NDArray[Values]:
        """Turned images, a view of ``(..., y, x)``."""
        y, x = (slice(None, None, -1 if is_reversed else 1) for is_reversed in self.is_reversed)
        return (images.swapaxes(-2, -1) if self.is_swapped else images)[..., y, x]

    def corner(self, corner: tuple[int, int], size: int, matrix: tuple[int, int]) -> tuple[int, int]:
        """The first pixel (y, x) of a square in the turned image, from that in an image of a given matrix (y, x)."""
        pairs = list(zip(corner, matrix, strict=True))[:: -1 if self.is_swapped else 1]
        y, x = (n - size - first if back else first for (first, n), back in zip(pairs, self.is_reversed, strict=True))
        return y, x


def radiological_turn(voxel: FirstVoxel | None) -> Turn:
    """The turn to the closest of the standard orientations."""
    if voxel is None:
        return Turn()
    _, along_x, along_y, across = voxel
    is_short_axis = abs(float(across @ LONG_AXIS)) > SHORT_AXIS_COSINE * float(np.linalg.norm(across))
    conventions = CONVENTIONS[:1] if is_short_axis else CONVENTIONS

    def agreement(turn: Turn) -> float:
        y, x = turn.axes(along_y, along_x)
        return max(float(x @ right + y @ down) for right, down in conventions)

    turns = [Turn(bool(swap), (bool(y), bool(x))) for swap, y, x in product((0, 1), repeat=3)]
    best = max(turns, key=agreement)
    return best if agreement(best) > agreement(Turn()) + TIE else Turn()


def display_turns(cines: Sequence[CineImage]) -> list[Turn]:
    """The turn of each image; images with the directions of the preceding one have the same turn.

    Otherwise, the turn of a slice that is equally close to two orientations would depend on rounding.
    """
    turns: list[Turn] = []
    previous = None
    for cine in cines:
        voxel = cine.first_voxel
        is_alike = voxel is not None and previous is not None and _are_alike(voxel, previous)
        turns.append(turns[-1] if is_alike else radiological_turn(voxel))
        previous = voxel
    return turns


def _are_alike(first: FirstVoxel, second: FirstVoxel) -> bool:
    """Whether two images have the same directions."""
    return all(float(a @ b) > SAME_DIRECTIONS for a, b in zip(first[1:], second[1:], strict=True))


def turned(cine: CineImage, turn: Turn) -> CineImage:
    """The turned image with its reference, maps and position; its directions are those of the turned axes."""
    voxel, geometry = cine.first_voxel, cine.meta.geometry
    if voxel is None or geometry is None or turn == Turn():
        return cine
    corner, along_x, along_y, _ = voxel
    arrays: dict[str, Any] = {name: getattr(cine, name) for name in TURNED}
    arrays = {name: None if values is None else turn.pixels(values) for name, values in arrays.items()}
    dy, dx = cine.meta.pixel_size_mm[:: -1 if turn.is_swapped else 1]
    down, right = turn.axes(along_y, along_x)
    n_y, n_x = arrays["image"].shape[1:]
    for n, size, axis, is_reversed in ((n_y, dy, down, turn.is_reversed[0]), (n_x, dx, right, turn.is_reversed[1])):
        corner = corner + ((n // 2) - (n - 1) * is_reversed) * size * axis
    place = replace(geometry, position_mm=vector(corner), read_dir=vector(right), phase_dir=vector(down))
    return replace(cine, meta=replace(cine.meta, geometry=place, pixel_size_mm=(dy, dx)), **arrays)
