"""Self-supervised training without a reference: the loss is measured on samples that the network does not receive.

Yaman et al., Self-supervised learning of physics-guided reconstruction neural networks without fully sampled reference
data, Magn Reson Med 2020, doi:10.1002/mrm.28378. The sampled points are split into two disjoint sets; the network
receives the set Theta, and the loss is measured on the set Lambda:

    loss = ||u - v||_2 / ||u||_2 + ||u - v||_1 / ||u||_1,    u = y on Lambda,    v = A x on Lambda.

With a single scan this is zero-shot learning; samples that are used in no step indicate when to stop (Yaman et al.
2022, doi:10.48550/arXiv.2102.07737).

Departs from the paper in: a new split in each step; the same loss on Theta is added (`seen_weight`), since networks in
this package need not end with data consistency and might otherwise be inconsistent with Theta; if whole readouts are
sampled, Lambda consists of whole readouts, so that the network receives the kind of sampling that it is trained for.
"""

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.base import Reconstructor
from cinerecon.physics.operators import Encoding
from cinerecon.training.data.batch import Batch

N_CENTRE_SAMPLES = 4
"""Samples at the centre of k-space along each axis that always belong to Theta."""
DENSITY_SD = 0.25
"""Standard deviation of the density of Lambda, relative to the extent of k-space."""


def draw_loss_mask(mask: Tensor, share: float, rng: Generator) -> Tensor:
    """Draw the set Lambda, with a Gaussian density around the centre of k-space.

    Parameters
    ----------
    mask
        ``(frames, 1, ky, kx or 1)`` bool, the sampled points.
    share
        Fraction of the samples that belong to Lambda.
    rng
        Random number generator.

    Returns
    -------
    Tensor
        ``(frames, 1, ky, kx or 1)`` bool, a subset of the mask.
    """
    log_density, is_central = np.zeros(mask.shape[-2:]), np.ones(mask.shape[-2:], dtype=bool)
    for axis, n in enumerate(mask.shape[-2:]):
        if n > 1:
            frequency = (np.arange(n) - n // 2).reshape(-1, 1) if axis == 0 else np.arange(n) - n // 2
            log_density = log_density - (frequency / (DENSITY_SD * n)) ** 2 / 2
            is_central &= (frequency >= -N_CENTRE_SAMPLES // 2) & (frequency < N_CENTRE_SAMPLES // 2)
    is_eligible = mask.cpu().numpy() & ~is_central
    # the largest values of log density + Gumbel noise are a weighted draw without replacement
    keys = np.where(is_eligible, log_density + rng.gumbel(size=mask.shape), -np.inf).ravel()
    n_loss = min(round(share * int(mask.sum())), int(is_eligible.sum()))
    loss_mask = np.zeros(keys.size, dtype=bool)
    loss_mask[np.argsort(-keys, kind="stable")[:n_loss]] = True
    return torch.from_numpy(loss_mask.reshape(mask.shape)).to(mask.device)


def split_batch(batch: Batch, loss_mask: Tensor, initial_method: Reconstructor | None = None) -> Batch:
    """Split the samples of a batch into those for the network and those for the loss.

    Parameters
    ----------
    batch
        A batch with all samples.
    loss_mask
        ``(batch, frames, 1, ky, kx or 1)`` bool, the set Lambda.
    initial_method
        Computes the initial image from the samples for the network.
    """
    encoding = batch.encoding
    input_mask = encoding.mask & ~loss_mask
    kspace, loss_kspace = batch.kspace * input_mask, batch.kspace * loss_mask
    input_encoding, loss_encoding = (
        Encoding(mask, encoding.csm, matrix=encoding.matrix) for mask in (input_mask, loss_mask)
    )
    initial_image = initial_method(CineData(kspace, input_mask, encoding.csm)) if initial_method else None
    return Batch(kspace, input_encoding, batch.target, initial_image, (loss_kspace, loss_encoding))


def ssdu_loss(image: Tensor, batch: Batch, seen_weight: float) -> Tensor:
    """The loss of an image ``(batch, frames, y, x)`` on Lambda, plus the weighted loss on Theta."""
    assert batch.loss_samples is not None
    loss = normalised_l1_l2(image, *batch.loss_samples)
    return loss + seen_weight * normalised_l1_l2(image, batch.kspace, batch.encoding) if seen_weight else loss


def normalised_l1_l2(image: Tensor, kspace: Tensor, encoding: Encoding) -> Tensor:
    """Residual of an image ``(batch, frames, y, x)`` on samples: sum of the relative l1 and l2 norms, batch mean."""
    dims = tuple(range(1, kspace.ndim))
    residual = encoding.forward(image) - kspace
    l2, l2_total = (torch.linalg.vector_norm(torch.view_as_real(y), dim=(*dims, -1)) for y in (residual, kspace))
    l1, l1_total = (y.abs().sum(dims) for y in (residual, kspace))
    loss: Tensor = (l2 / l2_total.clamp(min=1e-12) + l1 / l1_total.clamp(min=1e-12)).mean()
    return loss
