"""The matrices that one sees in an image series: all of it (Casorati), each frame, or each local patch."""

from torch import Tensor

from cinerecon.axes import IMAGE, require_axes
from cinerecon.physics.lowrank.rules import Shrinkage
from cinerecon.physics.lowrank.spectral import shrink_rows


def shrink_casorati(image: Tensor, rule: Shrinkage) -> Tensor:
    """Shrink the singular values of the Casorati matrix (voxels x frames) of a series ``(*batch, frames, y, x)``."""
    require_axes("image", image, IMAGE)
    return shrink_rows(image.flatten(-2), rule).view_as(image)


def shrink_frames(image: Tensor, rule: Shrinkage) -> Tensor:
    """Shrink the singular values of each frame (y x x) of a series ``(*batch, frames, y, x)``."""
    require_axes("image", image, IMAGE)
    if image.shape[-2] > image.shape[-1]:
        return shrink_rows(image.mT, rule).mT
    return shrink_rows(image, rule)
