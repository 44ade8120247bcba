"""Coil maps of an undersampled cine, from its own time average."""

from typing import Literal

from torch import Tensor

from cinerecon.physics.coils.espirit import espirit
from cinerecon.physics.coils.walsh import walsh
from cinerecon.physics.fourier import ifft2c


def time_average(kspace: Tensor, mask: Tensor) -> Tensor:
    """Mean over the frames that sampled each point, 0 where none did.

    Parameters
    ----------
    kspace
        ``(*batch, frames, coils, ky, kx)``, zero where not sampled.
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool.

    Returns
    -------
    ``(*batch, coils, ky, kx)``
    """
    return kspace.sum(-4) / mask.sum(-4).clamp_min(1)


def estimate_csm(kspace: Tensor, mask: Tensor, method: Literal["espirit", "walsh"] = "espirit") -> Tensor | None:
    """Coil sensitivity maps of a cine, fully sampled or not.

    Parameters
    ----------
    kspace
        ``(*batch, frames, coils, ky, kx)``, zero where not sampled.
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool.
    method
        ``espirit`` or ``walsh``.

    Returns
    -------
    ``(*batch, coils, y, x)``, sum of squared magnitudes 1; None for one coil.
    """
    if kspace.shape[-3] == 1:
        return None
    average = time_average(kspace, mask)
    return espirit(average, crop=0) if method == "espirit" else walsh(ifft2c(average))
