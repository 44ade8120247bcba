"""Coil compression: fewer virtual coils that hold nearly all of the signal.

One matrix for the whole scan from the principal components of the coils (Huang et al. 2008,
doi:10.1016/j.mri.2007.04.010), or one for each position along the readout (geometric decomposition: Zhang et al. 2013,
doi:10.1002/mrm.24267).

Departs from the papers in: the principal components come from the coils x coils correlation matrix and not from an SVD
of all samples; adjacent matrices are aligned outwards from the middle of the readout, so that any drift
accumulates at the first and the last position, far from the heart.
"""

import torch
from torch import Tensor

from cinerecon.errors import ShapeError
from cinerecon.physics.coils.whitening import apply_coil_matrix
from cinerecon.physics.fourier import fft1c, ifft1c


def compression_matrix(kspace: Tensor, n_virtual: int) -> Tensor:
    """The strongest principal components of the coils, the same for all slices and frames.

    Parameters
    ----------
    kspace
        ``(..., coils, ky, kx)`` whitened k-space, or images; zeros where nothing was sampled do no harm.
    n_virtual
        Number of virtual coils.

    Returns
    -------
    ``(n_virtual, coils)`` with orthonormal rows, strongest first.

    Raises
    ------
    ShapeError
        If more virtual coils are requested than there are coils.
    """
    return _principal_components(coil_correlation(kspace), n_virtual)


def coil_correlation(kspace: Tensor) -> Tensor:
    """Sum of I I^H over all samples of ``(..., coils, ky, kx)``, ``(coils, coils)``; one frame at a time."""
    total = kspace.new_zeros(kspace.shape[-3], kspace.shape[-3])
    for frame in kspace.reshape(-1, *kspace.shape[-3:]):
        samples = frame.flatten(1)
        total.addmm_(samples, samples.mH)
    return total


def geometric_compression_matrices(kspace: Tensor, n_virtual: int, *, window: int = 1) -> Tensor:
    """One compression matrix for each position along the readout, aligned so that virtual coils stay smooth.

    Along the readout every position is known separately after a 1-D transform, and fewer virtual coils hold its signal
    than the whole volume needs.

    Parameters
    ----------
    kspace
        ``(..., coils, ky, kx)`` whitened k-space with whole readouts; lines that were not sampled are zero.
    n_virtual
        Number of virtual coils.
    window
        Positions averaged for each matrix, odd; more for noisy data.

    Returns
    -------
    ``(x, n_virtual, coils)`` with orthonormal rows.

    Raises
    ------
    ShapeError
        If more virtual coils are requested than there are coils.
    """
    correlation: Tensor | float = 0.0
    for frame in kspace.reshape(-1, *kspace.shape[-3:]):  # one at a time, for its temporary arrays
        by_position = ifft1c(frame, -1).permute(2, 0, 1)
        correlation = correlation + by_position @ by_position.mH
    assert isinstance(correlation, Tensor)
    if window > 1:
        padded = torch.cat([correlation[:1]] * (window // 2) + [correlation] + [correlation[-1:]] * (window // 2))
        correlation = padded.unfold(0, window, 1).mean(-1)
    return _align(_principal_components(correlation, n_virtual))


def apply_geometric_compression(matrices: Tensor, kspace: Tensor) -> Tensor:
    """Compress ``(..., coils, ky, kx)`` to ``(..., n_virtual, ky, kx)`` with matrices ``(x, n_virtual, coils)``."""
    return fft1c(torch.einsum("xvc,...cyx->...vyx", matrices.to(kspace), ifft1c(kspace, -1)), -1)


def _principal_components(correlation: Tensor, n_virtual: int) -> Tensor:
    """Rows of ``(..., n_virtual, coils)``: conjugate eigenvectors of the largest eigenvalues, strongest first."""
    coils = correlation.shape[-1]
    if not 1 <= n_virtual <= coils:
        raise ShapeError(f"{n_virtual} virtual coils requested, expected 1 to {coils}, the number of coils")
    mixing: Tensor = torch.linalg.eigh(correlation)[1][..., -n_virtual:].flip(-1).mH
    return mixing


def _align(matrices: Tensor) -> Tensor:
    """Rotate each matrix within its subspace as near as possible to the adjacent one (orthogonal Procrustes)."""
    aligned = list(matrices)
    middle = len(aligned) // 2
    for step, positions in ((1, range(middle + 1, len(aligned))), (-1, range(middle - 1, -1, -1))):
        for x in positions:
            u, _, vh = torch.linalg.svd(aligned[x - step] @ aligned[x].mH)
            aligned[x] = u @ vh @ aligned[x]
    return torch.stack(aligned)


def transform_coils(mixing: Tensor, kspace: Tensor) -> Tensor:
    """Transform the coils of k-space ``(..., coils, ky, kx)`` frame by frame; for the matrices see `transform_maps`."""
    frames = kspace.reshape(-1, *kspace.shape[-3:])
    mixed = kspace.new_empty(len(frames), mixing.shape[-2], *kspace.shape[-2:])
    for target, frame in zip(mixed, frames, strict=True):
        whole = apply_coil_matrix(mixing, frame, -3) if mixing.ndim == 2 else apply_geometric_compression(mixing, frame)
        target.copy_(whole)
    return mixed.reshape(*kspace.shape[:-3], *mixed.shape[1:])


def transform_maps(mixing: Tensor, maps: Tensor) -> Tensor:
    """Transform coil maps to ``(virtual coils, y, x)``.

    Parameters
    ----------
    mixing
        ``(virtual coils, coils)``, or ``(x, virtual coils, coils)`` where it varies along the readout.
    maps
        ``(coils, y, x)``
    """
    return torch.einsum("vc,cyx->vyx" if mixing.ndim == 2 else "xvc,cyx->vyx", mixing, maps)


def coil_shading(csm: Tensor | None, mixing: Tensor | None, matrix: tuple[int, int]) -> Tensor | None:
    """The factor that restores the sum-of-squares intensity of the measured coils, ``(y, x)``.

    Whitened maps are W c / ||W c||, so that A^H y is ||W c|| times the image; undone, W^-1 has the norm 1 / ||W c||.

    Parameters
    ----------
    csm
        ``(virtual coils, y, x)`` maps of the mixed coils; None for one coil.
    mixing
        The product of whitening and compression, as `transform_maps` takes it.
    matrix
        Size (y, x) of the image.
    """
    if mixing is None:
        return None
    if csm is None:
        csm = torch.ones(1, *matrix, dtype=mixing.dtype)
    weight: Tensor | None = torch.linalg.vector_norm(transform_maps(torch.linalg.pinv(mixing), csm), dim=0)
    return weight
