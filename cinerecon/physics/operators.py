"""Linear operators: the encoding of a cine, A = mask . F . csm."""

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor

from cinerecon.physics.fourier import image_factor, kspace_factor


class LinearOperator(ABC):
    """A linear map with its adjoint. There is no operator algebra: one operator is enough here."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Apply A."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """Apply A^H."""

    def normal(self, x: Tensor) -> Tensor:
        """Apply A^H A."""
        return self.adjoint(self.forward(x))

    @abstractmethod
    def to(self, device: torch.device | str) -> Self:
        """The same operator on another device."""


class Encoding(LinearOperator):
    """What the scanner does to a cine: weight by coils, transform, sample. A = mask . F . csm. Immutable.

    The centred transform is a plain FFT between two diagonal factors (`physics.fourier`). Here the image-side factor is
    folded into the coil maps and the k-space-side factor into the mask, so that nothing is ever shifted; in A^H A the
    k-space-side factors cancel, and with whole readouts sampled so do the transforms along x.

    Parameters
    ----------
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool; a last axis of 1 means whole readouts.
    csm
        ``(*batch, coils, y, x)`` complex; None means one coil of unit sensitivity.
    matrix
        Image size (y, x). Needed only where neither the maps nor the mask tell it (no maps, readout axis of 1).
    dtype
        Precision of the operator where there are no maps to tell it.
    """

    def __init__(
        self,
        mask: Tensor,
        csm: Tensor | None = None,
        *,
        matrix: tuple[int, int] | None = None,
        dtype: torch.dtype = torch.complex64,
    ) -> None:
        if matrix is None:
            matrix = (mask.shape[-2], mask.shape[-1]) if csm is None else (csm.shape[-2], csm.shape[-1])
        self.mask = mask
        self.csm = csm
        self.matrix = matrix
        dtype = dtype if csm is None else csm.dtype
        like = torch.empty(0, dtype=dtype, device=mask.device)
        to_fft = image_factor(matrix, like)
        self._weights = to_fft if csm is None else (csm * to_fft).unsqueeze(-4)  # (*batch, 1, coils, y, x)
        self._sampling = mask.to(like.real.dtype)
        self._kspace_factor = kspace_factor(matrix, like)

    @property
    def device(self) -> torch.device:
        """Where the operator lives."""
        return self.mask.device

    @property
    def n_coils(self) -> int:
        """Number of receive coils."""
        return 1 if self.csm is None else self.csm.shape[-3]

    def forward(self, x: Tensor) -> Tensor:
        """Image ``(*batch, frames, y, x)`` to sampled k-space ``(*batch, frames, coils, ky, kx)``."""
        kspace = torch.fft.fft2(x.unsqueeze(-3) * self._weights, norm="ortho")
        return kspace * (self._sampling * self._kspace_factor)

    def adjoint(self, y: Tensor) -> Tensor:
        """K-space ``(*batch, frames, coils, ky, kx)`` to image ``(*batch, frames, y, x)``."""
        coil_images = torch.fft.ifft2(y * (self._sampling * self._kspace_factor.conj()), norm="ortho")
        return self._combine(coil_images)

    def normal(self, x: Tensor) -> Tensor:
        """A^H A x, ``(*batch, frames, y, x)`` to the same; along whole readouts without a transform."""
        dim = (-2,) if self._sampling.shape[-1] == 1 else (-2, -1)
        kspace = torch.fft.fftn(x.unsqueeze(-3) * self._weights, dim=dim, norm="ortho")
        return self._combine(torch.fft.ifftn(kspace * self._sampling, dim=dim, norm="ortho"))

    def _combine(self, coil_images: Tensor) -> Tensor:
        return (coil_images * self._weights.conj()).sum(-3)

    def to(self, device: torch.device | str) -> Self:
        """The same operator on another device."""
        csm = None if self.csm is None else self.csm.to(device)
        return type(self)(self.mask.to(device), csm, matrix=self.matrix, dtype=self._kspace_dtype)

    @property
    def _kspace_dtype(self) -> torch.dtype:
        return torch.complex128 if self._sampling.dtype == torch.float64 else torch.complex64
