"""Coil compression: fewer virtual coils that contain nearly all of the signal.

There is either one matrix for the whole scan from the principal components of the coils (Huang et al. 2008,
doi:10.1016/j.mri.2007.04.010), or one matrix for each position along the readout (geometric decomposition: Zhang et al.
2013, doi:10.1002/mrm.24267).

The number of virtual coils can be determined from the data. White noise adds the same energy to all components, so that
with many coils the energy of the weak components is noise. The signal energy of a component is the excess over the
noise; its fraction in the discarded components is the loss (`CoilStatistics.loss`). Coils that contain only noise are
left out of the virtual coils: a quiet one would be mistaken for the noise of the others, and a loud one for signal.

Departs from the papers in: the principal components are computed from the coils x coils correlation matrix instead of
an SVD of all samples; adjacent matrices are aligned outwards from the centre of the readout, so that drift accumulates
at the first and the last position, far from the heart.
"""

from typing import Literal

import torch
from torch import Tensor

from cinerecon.errors import ShapeError
from cinerecon.options import AUTO_LOSS
from cinerecon.physics.fourier import fft1c, ifft1c

NOISE_EDGE = 0.8
"""Distance from the centre of ky, relative to the farthest line, beyond which the energy of a line is noise."""
CENTRE, NOISE_RATIO = 0.2, 1.25
"""Distance from the centre of ky, relative to the farthest line, up to which lines have more energy than the noise, and
largest ratio of their energy to that at the edge for a coil that contains only noise."""

Compression = Literal["pca", "geometric"]


class CoilStatistics:
    """The correlation between coils and the energy of each line and coil, accumulated over readouts.

    Parameters
    ----------
    n_coils, n_rows
        Number of coils, and of lines of k-space.
    n_positions
        Number of positions along the readout, if coils are compressed at each position; None for a single matrix.
    device
        Device of the readouts.
    """

    def __init__(
        self, n_coils: int, n_rows: int, n_positions: int | None = None, device: torch.device | None = None
    ) -> None:
        shape = (n_coils, n_coils) if n_positions is None else (n_positions, n_coils, n_coils)
        self.correlation = torch.zeros(shape, dtype=torch.complex64, device=device)
        self.energy = torch.zeros(n_rows, n_coils, dtype=torch.float64, device=device)
        self.n_samples = torch.zeros(n_rows, dtype=torch.float64, device=device)

    @classmethod
    def of_kspace(cls, kspace: Tensor, mask: Tensor, kind: Compression = "pca") -> "CoilStatistics":
        """Statistics of k-space ``(frames, coils, ky, kx)`` with its mask ``(frames, 1, ky, kx or 1)``."""
        _, n_coils, n_rows, n_columns = kspace.shape
        statistics = cls(n_coils, n_rows, None if kind == "pca" else n_columns, kspace.device)
        for frame, sampled in zip(kspace, mask[:, 0].expand(-1, -1, n_columns), strict=True):
            rows = sampled.any(-1).nonzero().ravel()
            statistics.add(frame[:, rows].movedim(1, 0), rows, sampled[rows].sum(-1))
        return statistics

    def add(self, readouts: Tensor, rows: Tensor, n_columns: Tensor) -> None:
        """Add readouts ``(readouts, coils, kx)`` of some lines, each with a number of sampled columns."""
        energy = torch.view_as_real(readouts).square().sum((2, 3)).double()
        self.energy.index_add_(0, rows, energy)
        self.n_samples.index_add_(0, rows, n_columns.double())
        if self.correlation.ndim == 2:
            samples = readouts.movedim(1, 0).flatten(1)
        else:
            samples = ifft1c(readouts, -1).permute(2, 1, 0)
        self.correlation = self.correlation.to(samples) + samples @ samples.mH

    @property
    def n_coils(self) -> int:
        """Number of coils."""
        return self.correlation.shape[-1]

    @property
    def loss(self) -> Tensor:
        """Fraction of the signal energy that is lost with 1, 2, ... virtual coils, ``(coils,)`` float64.

        The energy of the noise in a component is estimated from the lines at the edge of k-space and from the weakest
        component. Since both may also contain signal, the smaller one is used. Coils with only noise are left out.
        """
        correlation, n_used = self._without_noise().to(torch.complex128), int((~self.has_only_noise).sum())
        values = torch.linalg.eigvalsh(correlation).flip(-1).clamp(min=0)
        energies = values.reshape(-1, self.n_coils).sum(0)[:n_used]
        edge_energy = float(self._power(NOISE_EDGE, 1)[~self.has_only_noise].mean()) * float(self.n_samples.sum())
        signal = (energies - min(float(energies[-1]), edge_energy)).clamp(min=0)
        loss = 1 - signal.cumsum(0) / signal.sum().clamp(min=torch.finfo(signal.dtype).tiny)
        return torch.cat([loss.clamp(min=0), loss.new_zeros(self.n_coils - n_used)])

    @property
    def has_only_noise(self) -> Tensor:
        """Coils ``(coils,)`` whose lines have no more energy at the centre of k-space than at its edge.

        None if this applies to all coils.
        """
        is_noise: Tensor = self._power(0, CENTRE) <= NOISE_RATIO * self._power(NOISE_EDGE, 1)
        return is_noise & ~is_noise.all()

    def _power(self, nearest: float, farthest: float) -> Tensor:
        """Mean energy of a sample of each coil, ``(coils,)``, in lines at some distances from the centre of ky."""
        n = len(self.energy)
        distance = (torch.arange(n, device=self.energy.device) - n // 2).abs() * (self.n_samples > 0)
        within = (distance >= nearest * distance.max()) & (distance <= farthest * distance.max()) & (self.n_samples > 0)
        return self.energy[within].sum(0) / self.n_samples[within].sum().clamp(min=1)

    def _without_noise(self) -> Tensor:
        """The correlation between coils, zero for coils with only noise."""
        used = ~self.has_only_noise
        return self.correlation * (used[:, None] & used)

    def n_virtual(self, asked: int | Literal["auto"]) -> int:
        """Number of virtual coils; ``auto`` is the smallest number that loses no more than `AUTO_LOSS`."""
        if asked == "auto":
            return min(1 + int((self.loss > AUTO_LOSS).sum()), self.n_coils)
        return min(asked, self.n_coils)

    def matrix(self, n_virtual: int) -> Tensor:
        """The matrix of the virtual coils for `transform_coils`.

        Raises
        ------
        ShapeError
            If more virtual coils are requested than there are coils.
        """
        return _virtual_coils(self._without_noise(), n_virtual)


def compression_matrix(kspace: Tensor, n_virtual: int) -> Tensor:
    """The strongest principal components of the coils, the same for all slices and frames.

    Parameters
    ----------
    kspace
        ``(..., coils, ky, kx)`` whitened k-space, or images; unsampled points may be zero.
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
    return _virtual_coils(_of_all(kspace, "pca").correlation, n_virtual)


def geometric_compression_matrices(kspace: Tensor, n_virtual: int, *, window: int = 1) -> Tensor:
    """One compression matrix for each position along the readout, aligned so that virtual coils stay smooth.

    After a 1-D transform along the readout, each position can be compressed separately, which requires fewer virtual
    coils than compression of the whole volume.

    Parameters
    ----------
    kspace
        ``(..., coils, ky, kx)`` whitened k-space with whole readouts; unsampled lines are zero.
    n_virtual
        Number of virtual coils.
    window
        Number of positions that are averaged for each matrix, odd; larger for noisy data.

    Returns
    -------
    ``(x, n_virtual, coils)`` with orthonormal rows.

    Raises
    ------
    ShapeError
        If more virtual coils are requested than there are coils.
    """
    statistics = _of_all(kspace, "geometric")
    if window > 1:
        first, last = statistics.correlation[:1], statistics.correlation[-1:]
        padded = torch.cat([first] * (window // 2) + [statistics.correlation] + [last] * (window // 2))
        statistics.correlation = padded.unfold(0, window, 1).mean(-1)
    return _virtual_coils(statistics.correlation, n_virtual)


def _of_all(kspace: Tensor, kind: Compression) -> CoilStatistics:
    """Statistics of all samples of ``(..., coils, ky, kx)``."""
    frames = kspace.reshape(-1, *kspace.shape[-3:])
    mask = torch.ones(len(frames), 1, kspace.shape[-2], 1, dtype=torch.bool, device=kspace.device)
    return CoilStatistics.of_kspace(frames, mask, kind)


def apply_geometric_compression(matrices: Tensor, kspace: Tensor) -> Tensor:
    """Compress ``(..., coils, ky, kx)`` to ``(..., n_virtual, ky, kx)`` with matrices ``(x, n_virtual, coils)``."""
    return fft1c(torch.einsum("xvc,...cyx->...vyx", matrices.to(kspace), ifft1c(kspace, -1)), -1)


def _virtual_coils(correlation: Tensor, n_virtual: int) -> Tensor:
    """The principal components of the coils, aligned if there are several positions."""
    principal = _principal_components(correlation, n_virtual)
    return principal if principal.ndim == 2 else _align(principal)


def _principal_components(correlation: Tensor, n_virtual: int) -> Tensor:
    """Rows of ``(..., n_virtual, coils)``: conjugate eigenvectors of the largest eigenvalues, strongest first."""
    coils = correlation.shape[-1]
    if not 1 <= n_virtual <= coils:
        raise ShapeError(f"{n_virtual} virtual coils requested, expected 1 to {coils}, the number of coils")
    mixing: Tensor = torch.linalg.eigh(correlation)[1][..., -n_virtual:].flip(-1).mH
    return mixing


def _align(matrices: Tensor) -> Tensor:
    """Rotate each matrix within its subspace as close as possible to the adjacent one (orthogonal Procrustes)."""
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
        ``(virtual coils, coils)``, or ``(x, virtual coils, coils)`` if it varies along the readout.
    maps
        ``(coils, y, x)``
    """
    return torch.einsum("vc,cyx->vyx" if mixing.ndim == 2 else "xvc,cyx->vyx", mixing, maps)


def coil_shading(
    csm: Tensor | None, mixing: Tensor | None, matrix: tuple[int, int], *, whitening: Tensor | None = None
) -> Tensor | None:
    """The factor that restores the sum-of-squares intensity of the measured coils, ``(y, x)``.

    Whitened maps are W c / ||W c||, so that A^H y is ||W c|| times the image; applying W^-1 to these maps gives the
    norm 1 / ||W c||. Virtual coils V W c, with orthonormal rows V, are first restored by V^H. The pseudo-inverse of the
    product V W would instead give the weakest measured coils that agree with the virtual ones.

    Parameters
    ----------
    csm
        ``(virtual coils, y, x)`` maps of the mixed coils; None for one coil.
    mixing
        The product V W of compression and whitening, as for `transform_maps`.
    matrix
        Size (y, x) of the image.
    whitening
        W, ``(used coils, coils)``; None for the identity.
    """
    if mixing is None:
        return None
    if csm is None:
        csm = torch.ones(1, *matrix, dtype=mixing.dtype)
    restored = mixing.mH
    if whitening is not None:
        inverse = torch.linalg.pinv(whitening)
        restored = inverse @ (mixing @ inverse).mH
    weight: Tensor = torch.linalg.vector_norm(transform_maps(restored, csm), dim=0)
    return weight


def apply_coil_matrix(matrix: Tensor, data: Tensor, dim: int) -> Tensor:
    """Mix coils: multiply the coil axis of an array by a matrix.

    Parameters
    ----------
    matrix
        ``(n_out, coils)``, e.g. for whitening or compression.
    data
        Any array with a coil axis.
    dim
        The coil axis.
    """
    mixed: Tensor = torch.tensordot(matrix.to(data), data, dims=([1], [dim])).movedim(0, dim)
    return mixed
