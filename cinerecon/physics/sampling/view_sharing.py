"""View sharing: missing samples of a frame are taken from earlier and later frames."""

import torch
from torch import Tensor


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
        ``(*batch, frames, coils, ky, kx)``; before the first and after the last sampled frame the nearest one is
        taken, a point that no frame samples stays zero.
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
