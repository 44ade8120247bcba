"""From the reconstructed to the final image: removal of the shading, interpolation, and the rows of the protocol.

K-space that a scanner or a program zero-filled is reconstructed on the measured matrix; the zeros around it contain no
information, and networks were not trained with them. The image is interpolated to the requested matrix instead, by zero
filling of its k-space, which gives the image that the zero-filled k-space describes.
"""

import math

import torch
from torch import Tensor

from cinerecon.axes import centre_crop, centre_slice
from cinerecon.cine import CineData
from cinerecon.cine_meta import CineMeta
from cinerecon.physics.fourier import fft2c, ifft2c


def finish_image(image: Tensor, data: CineData) -> Tensor:
    """The image series to be shown, without shading and resized, in the units of A^H y.

    Parameters
    ----------
    image
        ``(*batch, frames, y, x)`` on the measured matrix.
    data
        The data from which it was reconstructed.
    """
    if data.shading is not None:
        image = image * data.shading.unsqueeze(-3).to(image.device)
    return resize_image(image, data.meta)


def resize_image(image: Tensor, meta: CineMeta) -> Tensor:
    """Interpolate an image series ``(..., y, x)`` of zero-filled k-space, and crop it to the rows of the protocol.

    The centre stays at (y // 2, x // 2). Complex images are interpolated by zero filling of their k-space, which
    preserves their energy, and real maps linearly.
    """
    if meta.interpolated_matrix is not None:
        resize = _zero_filled if image.is_complex() else resample_maps
        image = resize(image, meta.interpolated_matrix)
    return image if meta.crop_y is None else image[..., centre_slice(image.shape[-2], meta.crop_y), :]


def interpolation_gain(data: CineData) -> float:
    """Ratio of the amplitude of the interpolated image to that of the image on the measured matrix."""
    y, x = data.meta.interpolated_matrix or data.matrix
    return math.sqrt(data.matrix[0] * data.matrix[1] / (y * x))


def _zero_filled(image: Tensor, matrix: tuple[int, int]) -> Tensor:
    """The image ``(..., y, x)`` of its zero-filled k-space, of a larger matrix."""
    kspace = image.new_zeros(*image.shape[:-2], *matrix)
    centre_crop(kspace, (image.shape[-2], image.shape[-1])).copy_(fft2c(image))
    return ifft2c(kspace)


def resample_maps(maps: Tensor, matrix: tuple[int, int]) -> Tensor:
    """Maps ``(..., y, x)`` of the same field of view with another number of pixels, by linear interpolation."""
    for dim, size in zip((-2, -1), matrix, strict=True):
        n = maps.shape[dim]
        position = ((torch.arange(size, device=maps.device) - size // 2) * (n / size) + n // 2).clamp(0, n - 1)
        first = position.floor().long().clamp(max=max(n - 2, 0))
        weight = (position - first).to(maps.real.dtype).reshape(-1, *[1] * (-1 - dim))
        second = (first + 1).clamp(max=n - 1)
        maps = maps.index_select(dim, first) * (1 - weight) + maps.index_select(dim, second) * weight
    return maps
