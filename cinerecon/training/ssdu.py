"""Training without truth: some samples are held back from the network, and its image must explain them.

Yaman et al., Self-supervised learning of physics-guided reconstruction neural networks without fully sampled reference
data, Magn Reson Med 2020, 10.1002/mrm.28378. The sampled points are split in two disjoint sets; the network sees one
(Theta), the loss is measured on the other (Lambda):

    loss = ||u - v||_2 / ||u||_2 + ||u - v||_1 / ||u||_1,    u = y on Lambda,    v = A x on Lambda.

On one scan alone this is zero-shot learning; samples that no step ever sees tell when to stop (Yaman et al. 2022,
10.48550/arXiv.2102.07737).

Departs from the paper in: a new split in each step; networks here need not end with data consistency, and what an image
says of the samples that it was made from would be free, so the same loss on these is added (`seen_weight`); where whole
readouts are sampled, whole readouts are held back, so that the network sees a scan of the kind it is for.
"""

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.base import Reconstructor
from cinerecon.physics.operators import Encoding
from cinerecon.training.data import Batch

N_CENTRAL = 4
"""Central samples along each axis that the network always keeps."""
WIDTH = 0.25
"""Standard deviation of the density of what is held back, in parts of k-space."""


def hold_back(mask: Tensor, share: float, rng: Generator) -> Tensor:
    """Draw the samples to be held back, most of them near the centre.

    Parameters
    ----------
    mask
        ``(frames, 1, ky, kx or 1)`` bool, what was sampled.
    share
        Of the samples.
    rng
        Source of chance.

    Returns
    -------
    Tensor
        A part of the mask, ``(frames, 1, ky, kx or 1)`` bool.
    """
    preference, is_central = np.zeros(mask.shape[-2:]), np.ones(mask.shape[-2:], dtype=bool)
    for axis, n in enumerate(mask.shape[-2:]):
        if n > 1:
            place = (np.arange(n) - n // 2).reshape(-1, 1) if axis == 0 else np.arange(n) - n // 2
            preference = preference - (place / (WIDTH * n)) ** 2 / 2
            is_central &= (place >= -N_CENTRAL // 2) & (place < N_CENTRAL // 2)
    may_go = mask.cpu().numpy() & ~is_central
    # the largest of log weight + Gumbel noise are a weighted draw without replacement
    order = np.where(may_go, preference + rng.gumbel(size=mask.shape), -np.inf).ravel()
    n_held = min(round(share * int(mask.sum())), int(may_go.sum()))
    held = np.zeros(order.size, dtype=bool)
    held[np.argsort(-order, kind="stable")[:n_held]] = True
    return torch.from_numpy(held.reshape(mask.shape)).to(mask.device)


def without(batch: Batch, held: Tensor, start: Reconstructor | None = None) -> Batch:
    """A batch whose network does not see some samples ``(batch, frames, 1, ky, kx or 1)``, its first image neither."""
    encoding = batch.encoding
    parts = [(batch.kspace * mask, mask) for mask in (encoding.mask & ~held, held)]
    (kspace, _), held_back = (
        (samples, Encoding(mask, encoding.csm, matrix=encoding.matrix)) for samples, mask in parts
    )
    seen = parts[0][1]
    first = start(CineData(kspace, seen, encoding.csm)) if start else None
    return Batch(kspace, Encoding(seen, encoding.csm, matrix=encoding.matrix), batch.target, first, held_back)


def ssdu_loss(image: Tensor, batch: Batch, seen_weight: float) -> Tensor:
    """The loss of an image ``(batch, frames, y, x)``: on the samples held back from it, and on those that it saw."""
    assert batch.held_back is not None
    loss = unexplained(image, *batch.held_back)
    return loss + seen_weight * unexplained(image, batch.kspace, batch.encoding) if seen_weight else loss


def unexplained(image: Tensor, kspace: Tensor, encoding: Encoding) -> Tensor:
    """What an image ``(batch, frames, y, x)`` leaves of samples: sum of the two relative norms, mean over the batch."""
    dims = tuple(range(1, kspace.ndim))
    error = encoding.forward(image) - kspace
    energy, size = (torch.linalg.vector_norm(torch.view_as_real(y), dim=(*dims, -1)) for y in (error, kspace))
    absolute, total = (y.abs().sum(dims) for y in (error, kspace))
    return (energy / size.clamp(min=1e-12) + absolute / total.clamp(min=1e-12)).mean()
