"""K-space of undersampled frames: phase, temporal averages, and completion from the frames that sampled a point."""

import torch
from torch import Tensor

from cinerecon.axes import centre_slice

CENTRAL_LINES = 16
"""Number of central lines from which the phase of a frame is estimated, if all frames sampled them."""
N_PHASE_ITERATIONS = 3
"""Number of alternations between the phases of the frames and their mean."""


def frame_phases(kspace: Tensor, mask: Tensor) -> Tensor:
    """Phase of each frame relative to the mean of all frames, from the central points that all frames sampled.

    Parameters
    ----------
    kspace
        ``(*batch, frames, coils, ky, kx)``, zero where not sampled.
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool.

    Returns
    -------
    Complex numbers of magnitude 1, ``(*batch, frames, 1, 1, 1)``; 1 if there are no such points.
    """
    n_y = kspace.shape[-2]
    rows = centre_slice(n_y, min(n_y, CENTRAL_LINES))
    centre = kspace[..., rows, :] * mask[..., rows, :].all(-4, keepdim=True)
    phases = torch.ones_like(centre[..., :1, :1, :1])
    for _ in range(N_PHASE_ITERATIONS):
        mean = (centre * phases.conj()).mean(-4, keepdim=True)
        product = (centre * mean.conj()).sum((-3, -2, -1), keepdim=True)
        phases = torch.where(product != 0, product / product.abs(), 1.0)
    return phases


def time_average(kspace: Tensor, mask: Tensor) -> Tensor:
    """Mean over the frames that sampled each point; 0 if no frame did.

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


def windowed_averages(kspace: Tensor, mask: Tensor, n_windows: int, width: float) -> Tensor:
    """Means over the frames that sampled each point, weighted by Gaussian windows that are distributed over the cine.

    Parameters
    ----------
    kspace
        ``(*batch, frames, coils, ky, kx)``, zero where not sampled.
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool.
    n_windows
        Number of windows; limited to the number of frames.
    width
        Standard deviation of a window, as a fraction of the duration of the cine.

    Returns
    -------
    ``(*batch, windows, coils, ky, kx)``, 0 where no frame sampled a point.
    """
    n_frames = kspace.shape[-4]
    frame = torch.arange(n_frames, dtype=kspace.real.dtype, device=kspace.device)
    centre = torch.linspace(0, n_frames - 1, min(n_frames, n_windows), dtype=frame.dtype, device=frame.device)
    weight = torch.exp(-(((frame - centre[:, None]) / (width * n_frames)) ** 2) / 2)
    total = torch.einsum("wt,...tcyx->...wcyx", weight.to(kspace.dtype), kspace)
    share = torch.einsum("wt,...tcyx->...wcyx", weight, mask.to(weight.dtype))
    return total / share.clamp_min(torch.finfo(share.dtype).tiny)


def share_views(kspace: Tensor, mask: Tensor) -> Tensor:
    """Fill each point that a frame did not sample from the frames that did, linearly in time.

    Parameters
    ----------
    kspace
        ``(*batch, frames, coils, ky, kx)``, zero where not sampled.
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool.

    Returns
    -------
    Tensor
        ``(*batch, frames, coils, ky, kx)``; before the first and after the last sampled frame, the nearest frame is
        used. A point that no frame samples remains zero.
    """
    n_frames = mask.shape[-4]
    time = torch.arange(n_frames, device=mask.device).view(-1, 1, 1, 1)
    before = torch.where(mask, time, -1).cummax(-4).values
    after = torch.where(mask, time, n_frames).flip(-4).cummin(-4).values.flip(-4)
    has_before, has_after = before >= 0, after < n_frames
    first = torch.where(has_before, before, after).clamp(0, n_frames - 1)
    second = torch.where(has_after, after, before).clamp(0, n_frames - 1)
    weight = (time - first).to(kspace.real.dtype) / (second - first).clamp(min=1)

    def take(index: Tensor) -> Tensor:
        return kspace.gather(-4, index.expand(kspace.shape))

    return torch.lerp(take(first), take(second), weight.to(kspace.dtype).expand(kspace.shape))
