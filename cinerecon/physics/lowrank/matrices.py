"""Matrices of an image series: the Casorati matrix, each frame, or each local patch."""

from torch import Tensor
from torch.nn.functional import pad

from cinerecon.axes import IMAGE, require_axes
from cinerecon.physics.lowrank.rules import Shrinkage
from cinerecon.physics.lowrank.spectral import shrink_matrix


def shrink_casorati(image: Tensor, rule: Shrinkage) -> Tensor:
    """Shrink the singular values of the Casorati matrix (voxels x frames) of a series ``(*batch, frames, y, x)``."""
    require_axes("image", image, IMAGE)
    alone = image.flatten(-2).unsqueeze(-3)  # no sibling matrices: other series of the batch are independent
    return shrink_matrix(alone, rule).view_as(image)


def shrink_frames(image: Tensor, rule: Shrinkage) -> Tensor:
    """Shrink the singular values of each frame (y x x) of a series ``(*batch, frames, y, x)``."""
    require_axes("image", image, IMAGE)
    return shrink_matrix(image, rule, n_sibling_axes=1)


def shrink_patches(image: Tensor, rule: Shrinkage, size: int, shift: tuple[int, int] = (0, 0)) -> Tensor:
    """Shrink the singular values of each patch (voxels x frames) of a series ``(*batch, frames, y, x)``.

    Squares tile the image without overlap; those that its border cuts are smaller matrices.

    Parameters
    ----------
    image
        ``(*batch, frames, y, x)``.
    rule
        Determines the fraction of each singular value that is kept.
    size
        Side of the squares [pixels].
    shift
        Start of the first whole square along y and x [pixels], modulo `size`. A random shift in each
        iteration of a reconstruction avoids block artifacts.
    """
    require_axes("image", image, IMAGE)
    y, x = image.shape[-2:]
    top, left = -shift[0] % size, -shift[1] % size
    patches = as_patches(image, size, (top, left))
    shrunk = shrink_matrix(patches, rule, n_sibling_axes=2).unflatten(-1, (size, size)).movedim((-5, -4), (-4, -2))
    cropped: Tensor = shrunk.flatten(-4, -3).flatten(-2)[..., top : top + y, left : left + x]
    return cropped


def as_patches(image: Tensor, size: int, margin: tuple[int, int] = (0, 0)) -> Tensor:
    """Squares that tile a series ``(*batch, frames, y, x)``, each a matrix: ``(*batch, n_y, n_x, frames, voxels)``.

    Zeros fill the squares at the border; `margin` are those before the first row and the first column.
    """
    y, x = image.shape[-2:]
    top, left = margin
    padded = pad(image, (left, -(x + left) % size, top, -(y + top) % size))
    squares = padded.unflatten(-2, (-1, size)).unflatten(-1, (-1, size))  # (frames, n_y, size, n_x, size)
    patches: Tensor = squares.movedim((-4, -2), (-5, -4)).flatten(-2)
    return patches
