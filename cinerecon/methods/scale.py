"""The scale a network works at. It lives here and nowhere else: data are divided by it, the image is multiplied back.

Each rule can be computed of undersampled data alone, and grows with the data, so that every network behind the door of
the methods scales as its data do, whether or not its layers would.
"""

from typing import Literal

import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.base import view_shared_image
from cinerecon.physics.coils import time_average
from cinerecon.physics.operators import Encoding

ScaleName = Literal["brightness", "max", "kspace_max"]


def scale_of(data: CineData, rule: ScaleName) -> Tensor:
    """The number that one cine, without batch axes, is divided by.

    Parameters
    ----------
    data
        Undersampled or not.
    rule
        ``brightness``: see `image_scale`. An undersampled scan shows it nearly as a full one does.
        ``max``: largest magnitude of the view-shared image. Stands for the maximum of the fully sampled series, which
        is 1 where single-coil networks of the literature were trained; on eight real series it is 0.65 to 1 times
        that under 16 radial spokes, and 0.67 to 1 times under Gaussian lines at 8x.
        ``kspace_max``: largest magnitude in k-space over all coils; the same as of full data wherever the centre is
        sampled. Multi-coil networks of the literature were trained on k-space of maximum 1.
    """
    if rule == "kspace_max":
        scale = data.kspace.abs().amax()
    elif rule == "max":
        scale = view_shared_image(data).abs().amax()
    else:
        everywhere = Encoding(torch.ones_like(data.mask[:1]), data.csm, matrix=data.matrix, dtype=data.kspace.dtype)
        scale = image_scale(everywhere.adjoint(time_average(data.kspace, data.mask).unsqueeze(-4)))
    return scale.clamp(min=torch.finfo(scale.dtype).tiny)


def image_scale(image: Tensor) -> Tensor:
    """How bright a cine ``(frames, y, x)`` is: the 99.5th percentile of the magnitude of its mean over time."""
    brightness = torch.quantile(image.mean(0).abs().flatten(), 0.995)
    return brightness.clamp(min=torch.finfo(brightness.dtype).tiny)
