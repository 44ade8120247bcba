"""Segmentations, which archives store next to images in the same formats: recognised by their pixels.

Adjacent pixels of a segmentation have the same label almost everywhere, and there are few labels. Images have noise and
shading: even in 8-bit images, less than half of the adjacent pixels are equal. Segmentations that were interpolated to
another matrix have many values along the contours, and probabilities between 0 and 1; if the name of the file indicates
a segmentation, large areas of equal values suffice.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import NotACineError

NAME = re.compile(
    r"(^|[^a-z])(gt|ground_?truth|seg(s|mentations?|mented)?|labels?|lbl|masks?|rois?|contours?|annotations?|ann)([^a-z]|$)"
)
"""Words in the name of a file that say that it holds labels."""
FEW_VALUES = 8
"""Values of all pixels that no image is limited to."""
MANY_VALUES = 64
"""Values that segmentations of the heart and its surroundings do not exceed."""
EQUAL_NEIGHBOURS = 0.7
"""Fraction of adjacent pixels with equal values, both not zero, of a segmentation."""
EQUAL_BY_NAME = 0.4
"""The same where the name of the file says that it is one."""


def has_label_name(path: Path) -> bool:
    """Whether the name of a file says that it is a segmentation, e.g. ``patient001_frame01_gt.nii.gz``."""
    return NAME.search(path.name.lower()) is not None


def is_segmentation(values: NDArray[Any], path: Path) -> bool:
    """Whether pixels are labels.

    Parameters
    ----------
    values
        ``(frames, y, x)``, not all of them zero.
    path
        The file, whose name decides in ambiguous cases.
    """
    equal = _share_of_equal_neighbours(values)
    if equal >= EQUAL_BY_NAME and has_label_name(path):
        return True
    n_values = len(np.unique(values))
    return n_values <= FEW_VALUES or (n_values <= MANY_VALUES and equal >= EQUAL_NEIGHBOURS)


def refuse_segmentation(values: NDArray[Any], path: Path) -> None:
    """Refuse labels where an image is expected.

    Raises
    ------
    NotACineError
        If the pixels ``(frames, y, x)`` are labels.
    """
    if values.any() and is_segmentation(values, path):
        what = f"this is a segmentation, no image: its pixels are labels, {_listed(values)}"
        raise NotACineError(what, kind="segmentations", where=str(path))


def _share_of_equal_neighbours(values: NDArray[Any]) -> float:
    """Fraction of equal values among adjacent pixels along x or y that are both not zero; 0 without pairs."""
    n_pairs = n_equal = 0
    for one, other in ((values[:, 1:], values[:, :-1]), (values[:, :, 1:], values[:, :, :-1])):
        is_pair = (one != 0) & (other != 0)
        n_pairs += int(is_pair.sum())
        n_equal += int((is_pair & (one == other)).sum())
    return n_equal / n_pairs if n_pairs else 0.0


def _listed(values: NDArray[Any]) -> str:
    found = np.unique(values)
    return ", ".join(f"{value:g}" for value in found[:FEW_VALUES]) + (", ..." if len(found) > FEW_VALUES else "")
