"""Held-out samples: a few measured samples are left out, predicted by a short reconstruction, and compared.

The error of the prediction, without noise, is known as a function of the distance from the centre of k-space. Its sum
over the samples that were not measured is, by Parseval's theorem, the mean square error of the predicted image. This
estimate needs no reference. It also increases if data contradict each other: lines from a wrong position, from another
heartbeat or with another phase cannot be predicted (Yaman et al., doi:10.1002/mrm.28378, train on held-out samples).
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cinerecon.axes import centre_crop, centre_slice
from cinerecon.cine import CineData
from cinerecon.methods.base import make_encoding
from cinerecon.methods.classical.admm_methods import KtSlr
from cinerecon.methods.classical.config import KtSlrConfig
from cinerecon.physics.coils import compression_matrix, transform_coils, transform_maps
from cinerecon.physics.fourier import fft1c, ifft1c
from cinerecon.physics.noise import noise_level
from cinerecon.physics.sampling import sampling_kind

HELD_OUT_SHARE = 0.125
"""Fraction of the samples of each frame that is left out."""
N_CENTRAL = 2
"""Number of lines (or rings of points) around the centre of k-space that are always kept, since they determine the
brightness."""
TILE = 4
"""Side length of the squares of points that are left out together, if single points were sampled."""
SETTINGS = KtSlrConfig(n_iterations=4, n_cg_iterations=1)
"""Settings of the k-t SLR reconstruction used for the prediction."""
N_VIRTUAL_COILS = 4
"""Number of virtual coils for the prediction, to which more coils are compressed to save time."""
RADII = (0.0, 0.1, 0.25, 0.5, 1.01)
"""Edges of the rings in k-space over which errors are averaged, relative to the edge of k-space."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Held-out samples and their prediction.

    Attributes
    ----------
    image
        ``(frames, y, columns)``, the short reconstruction without the held-out samples, see `at_its_resolution`.
    error_by_ring
        ``(rings,)`` mean square error of a sample, summed over coils, without noise; NaN if none was left out.
    share_by_ring
        ``(rings,)`` error relative to the energy of the samples, both without noise; NaN if none was left out.
    error_by_frame
        ``(frames,)`` mean square error relative to that expected for the same rings; NaN if none was left out.
    mean_square_error
        Mean square error of a pixel of this image, estimated with Parseval's theorem.
    noise_std
        Standard deviation of the complex noise of a sample.
    """

    image: Tensor
    error_by_ring: Tensor
    share_by_ring: Tensor
    error_by_frame: Tensor
    mean_square_error: float
    noise_std: float


def predict_held_out(data: CineData, noise_std: float | None = None, seed: int = 0) -> Prediction:
    """Leave samples out, predict them, and compare the prediction with the measurement.

    Parameters
    ----------
    data
        One cine without batch axes.
    noise_std
        Standard deviation of the complex noise of a sample; None to estimate it from the data.
    seed
        Seed for the selection of the samples.
    """
    noise_std = float(noise_level(data.kspace, data.mask)) if noise_std is None else noise_std
    rings = centre_crop(ring_numbers(data.mask, data.matrix), (data.matrix[0], n_central(data.matrix[1])))
    data = _compressed(_central_columns(data))
    held_out = choose_held_out(data.mask, seed)
    rest = data.mask & ~held_out
    image = KtSlr(SETTINGS)(replace(data, kspace=data.kspace * rest, mask=rest))
    measured = data.kspace * held_out
    encoding = make_encoding(replace(data, kspace=measured, mask=held_out))
    error = power(encoding.forward(image) - measured).sum(1)  # (frames, ky, kx)
    energy = power(measured).sum(1)
    count, errors = _sums_by_ring(held_out[:, 0].expand(error.shape), rings), _sums_by_ring(error, rings)
    total, noise = count.sum(0), noise_std**2 * data.n_coils
    mean_error, mean_energy = errors.sum(0) / total, _sums_by_ring(energy, rings).sum(0) / total
    error_by_ring = (mean_error - noise).clamp(min=0)
    expected = (count * torch.nan_to_num(mean_error)).sum(1)
    sampled = data.mask[:, 0].expand(error.shape)
    n_missing = _sums_by_ring(~sampled, rings).sum(0)
    total_error = (_filled(error_by_ring) * n_missing).sum() + noise_std**2 * sampled.sum()
    return Prediction(
        image,
        error_by_ring,
        share_by_ring=error_by_ring / (mean_energy - noise).clamp(min=0.1 * noise + 1e-12 * float(energy.max())),
        error_by_frame=torch.where(expected > 0, errors.sum(1) / expected, torch.nan),
        mean_square_error=float(total_error) / error.numel(),
        noise_std=noise_std,
    )


def _sums_by_ring(values: Tensor, rings: Tensor) -> Tensor:
    """Sums of values ``(frames, ky, kx)`` over the points of each ring, ``(frames, rings)``."""
    dtype = torch.promote_types(values.dtype, torch.float32)
    of_ring = torch.nn.functional.one_hot(rings, len(RADII) - 1).to(dtype)  # (ky, kx, rings)
    return torch.einsum("tyx,yxr->tr", values.to(dtype), of_ring)


def n_central(n_columns: int) -> int:
    """Number of central columns of k-space that are predicted: half of them, which halves the computation time."""
    return n_columns // 2


def at_its_resolution(image: Tensor) -> Tensor:
    """An image ``(frames, y, x)`` at the resolution of the central columns, as for the image of `Prediction`."""
    n_x = image.shape[-1]
    return ifft1c(fft1c(image, -1)[..., centre_slice(n_x, n_central(n_x))], -1)


def choose_held_out(mask: Tensor, seed: int = 0) -> Tensor:
    """The samples to leave out, as a mask of the same shape ``(frames, 1, ky, kx or 1)``.

    Complete lines are left out. If all frames sample the same lines, the same lines are left out in all frames, since
    another frame would otherwise provide them. For single points, squares of points are left out, because adjacent
    points are similar.
    """
    rng = np.random.default_rng(seed)
    frames, _, ky, kx = mask.shape
    kind = sampling_kind(mask)
    chosen = np.zeros((frames, ky, kx), bool)
    centre = np.abs(np.arange(ky) - ky // 2) < N_CENTRAL / 2
    if kind == "points":
        tiles = rng.random((frames, -(-ky // TILE), -(-kx // TILE))) < HELD_OUT_SHARE
        chosen = tiles.repeat(TILE, 1).repeat(TILE, 2)[:, :ky, :kx]
        chosen[:, centre] = False
    else:
        for frame, sampled in enumerate(mask[:, 0].any(-1).cpu().numpy()):
            lines = np.flatnonzero(sampled & ~centre)
            count = max(round(HELD_OUT_SHARE * len(lines)), min(1, len(lines) // 4))
            chosen[frame, rng.choice(lines, count, replace=False)] = True
        if kind == "same lines":
            chosen[:] = chosen[0]
    return torch.from_numpy(chosen).to(mask.device).unsqueeze(1) & mask


def ring_numbers(mask: Tensor, matrix: tuple[int, int]) -> Tensor:
    """Index of the ring in `RADII` of each point of k-space, ``(ky, kx)``; by line if readouts were sampled."""
    y, x = (torch.arange(n, device=mask.device) - n // 2 for n in matrix)
    y, x = y.abs() / (matrix[0] / 2), x.abs() / (matrix[1] / 2)
    radius = y[:, None].expand(matrix) if sampling_kind(mask) != "points" else torch.hypot(y[:, None], x)
    edges = torch.tensor(RADII[1:-1], device=mask.device)
    return torch.bucketize(radius.contiguous(), edges, right=True)


def _compressed(data: CineData) -> CineData:
    """The data compressed to few virtual coils; the noise remains white."""
    if data.csm is None or data.n_coils <= N_VIRTUAL_COILS:
        return data
    matrix = compression_matrix(data.kspace, N_VIRTUAL_COILS)
    return replace(data, kspace=transform_coils(matrix, data.kspace), csm=transform_maps(matrix, data.csm))


def _central_columns(data: CineData) -> CineData:
    """The central columns of k-space, and the maps at the pixels of their image."""
    n_y, n_x = data.matrix
    n = n_central(n_x)
    steps = torch.arange(n, device=data.mask.device) - n // 2
    pixels = (steps * n_x / n).round().long() + n_x // 2  # exact for even n_x
    kspace, mask = (centre_crop(values, (n_y, n)) for values in (data.kspace, data.mask))
    csm = None if data.csm is None else data.csm[..., pixels]
    return CineData(kspace.contiguous(), mask, csm, meta=data.meta)


def _filled(values: Tensor) -> Tensor:
    """Values for each ring, with NaN replaced by the value of the nearest ring, the inner one of two."""
    known = (~values.isnan()).nonzero().ravel()
    if not len(known):
        return torch.zeros_like(values)
    nearest = (torch.arange(len(values), device=values.device)[:, None] - known).abs().argmin(1)
    return values[known[nearest]]


def power(values: Tensor) -> Tensor:
    """Squared magnitudes of complex values, same shape ``(...)``."""
    return torch.view_as_real(values).square().sum(-1)
