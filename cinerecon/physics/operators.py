"""The encoding operator of a cine, A = mask . F . csm."""

import math
from collections.abc import Iterable, Iterator
from copy import copy
from functools import cached_property, reduce
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.axes import CSM, IMAGE, KSPACE, MASK, require_axes, require_last_sizes
from cinerecon.cine import as_tensor
from cinerecon.errors import ShapeError
from cinerecon.physics.fourier import image_factor, kspace_factor

SAMPLES_IN_CACHE = 2**16
"""Number of complex samples of one coil, 0.5 MB, that a core transforms at a time."""


def norm(x: Tensor) -> float:
    """Euclidean norm of a complex array, from real and imaginary parts.

    `torch.linalg.vector_norm` of complex numbers takes 50 times as long on a CPU and is less accurate.
    """
    return float(torch.linalg.vector_norm(torch.view_as_real(x)))


class Encoding:
    """The encoding operator of a cine, A = mask . F . csm: coil sensitivities, Fourier transform, sampling. Immutable.

    The centred transform is a plain FFT between two diagonal factors (`physics.fourier`). Here the image-side factor is
    combined with the coil maps and the k-space-side factor with the mask, so that no array is shifted. In A^H A, the
    k-space-side factors cancel, and if whole readouts are sampled, so do the transforms along x.

    NumPy arrays are converted to tensors. Batch axes of mask, maps and arguments are broadcast.

    Parameters
    ----------
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool; a last axis of size 1 means whole readouts. A single frame applies to
        all frames.
    csm
        ``(*batch, coils, y, x)`` complex; None means one coil of unit sensitivity.
    matrix
        Image size (y, x); required only if neither the maps nor the mask determine it (no maps, readout axis of size
        1).
    dtype
        Data type of the operator if there are no maps.
    coils_at_once
        Number of coils transformed together; None means all. A smaller number requires less memory for the same result.

    Raises
    ------
    ShapeError
        If the image size is unknown, axes are missing, sizes disagree, or the mask is not bool. `forward`, `adjoint`
        and `normal` raise it for arguments of other sizes.
    """

    def __init__(
        self,
        mask: Tensor | NDArray[np.bool_],
        csm: Tensor | NDArray[np.complexfloating] | None = None,
        *,
        matrix: tuple[int, int] | None = None,
        dtype: torch.dtype = torch.complex64,
        coils_at_once: int | None = None,
    ) -> None:
        mask, csm = as_tensor(mask), None if csm is None else as_tensor(csm)
        require_axes("mask", mask, MASK, torch.bool)
        if csm is not None:
            require_axes("csm", csm, CSM)
        if matrix is None and csm is None and mask.shape[-1] == 1:
            raise ShapeError("coil maps and mask do not determine the image size", hint="matrix=(y, x)")
        if matrix is None:
            matrix = (mask.shape[-2], mask.shape[-1]) if csm is None else (csm.shape[-2], csm.shape[-1])
        if coils_at_once is not None and coils_at_once < 1:
            raise ShapeError(f"coils_at_once is {coils_at_once}, expected at least 1 or None")
        y, x = matrix
        require_last_sizes("mask", mask, MASK, (None, (1,), (y,), (1, x)))
        if csm is not None:
            require_last_sizes("csm", csm, CSM, (None, (y,), (x,)))
        self.mask = mask
        self.csm = csm
        self.matrix = matrix
        self.coils_at_once = coils_at_once or self.n_coils
        dtype = dtype if csm is None else csm.dtype
        like = torch.empty(0, dtype=dtype, device=mask.device)
        to_fft = image_factor(matrix, like)
        weights = to_fft[None] if csm is None else (csm * to_fft).unsqueeze(-4)  # (*batch, 1, coils, y, x)
        self._weights = y_last_in_memory(weights) if mask.shape[-1] == 1 else weights
        self._conjugate_weights = self._weights.conj().resolve_conj()
        self._sampling = mask.to(like.real.dtype)
        self._kspace_factor = kspace_factor(matrix, like)

    @property
    def device(self) -> torch.device:
        """The device of the operator."""
        return self.mask.device

    @property
    def n_coils(self) -> int:
        """Number of receive coils."""
        return 1 if self.csm is None else self.csm.shape[-3]

    @cached_property
    @torch.inference_mode(False)  # the cached tensor may be needed by a gradient later
    def sum_of_squares(self) -> Tensor | None:
        """Sum over the coils of |csm|^2, ``(*batch, y, x)``; None without maps."""
        return None if self.csm is None else self.csm.abs().square().sum(-3)

    def forward(self, x: Tensor) -> Tensor:
        """Image ``(*batch, frames, y, x)`` to sampled k-space ``(*batch, frames, coils, ky, kx)``."""
        parts = list(self.forward_in_parts(x))
        return parts[0] if len(parts) == 1 else torch.cat(parts, -3)

    def forward_in_parts(self, x: Tensor) -> Iterator[Tensor]:
        """Compute the k-space of `coils_at_once` coils at a time, so that it is never completely in memory."""
        self._require("image", x, IMAGE, ())
        factor = self._sampling * self._kspace_factor
        for weights in self._coil_weights():
            yield torch.fft.fft2(x.unsqueeze(-3) * weights, norm="ortho").mul_(factor)

    def relative_residual(self, x: Tensor, y: Tensor) -> float:
        """||A x - y|| / ||y||, computed for a few coils at a time; 0 if y is zero."""
        parts = zip(self.forward_in_parts(x), y.split(self.coils_at_once, -3), strict=True)
        misfit = sum(norm(part.sub_(measured)) ** 2 for part, measured in parts)
        energy = norm(y) ** 2
        return (misfit / energy) ** 0.5 if energy else 0.0

    def adjoint(self, y: Tensor) -> Tensor:
        """K-space ``(*batch, frames, coils, ky, kx)`` to image ``(*batch, frames, y, x)``."""
        self._require("kspace", y, KSPACE, ((self.n_coils,),))
        return self.adjoint_of_parts(y.split(self.coils_at_once, -3))

    def adjoint_of_parts(self, parts: Iterable[Tensor]) -> Tensor:
        """The adjoint of k-space in parts of `coils_at_once` coils, so that it is never completely in memory."""
        factor = self._sampling * self._kspace_factor.conj()
        coil_images = (torch.fft.ifft2(part * factor, norm="ortho") for part in parts)
        return self._combine(coil_images)

    def normal(self, x: Tensor) -> Tensor:
        """A^H A x, ``(*batch, frames, y, x)`` to the same shape; no transform along x if whole readouts are sampled.

        On a CPU, a few frames are computed at a time if no gradient is required, so that the coil images stay in the
        cache.
        """
        self._require("image", x, IMAGE, ())
        images = [piece._normal(part) for piece, part in self._in_cache(x)]
        return torch.cat(images, -3) if len(images) > 1 else images[0].contiguous()

    def energy(self, x: Tensor) -> Tensor:
        """||A x||^2 of each frame, ``(*batch, frames, 1, 1)``: the inner product of x and A^H A x, in half the time."""
        self._require("image", x, IMAGE, ())
        return torch.cat([piece._energy(part) for piece, part in self._in_cache(x)], -3)

    def _in_cache(self, x: Tensor) -> Iterable[tuple[Self, Tensor]]:
        """The operators and images of groups of frames whose coil images fit into the cache of the CPU."""
        n_frames = max(1, SAMPLES_IN_CACHE * torch.get_num_threads() // math.prod(self.matrix))
        is_whole = self.mask.shape[-4] == 1 or n_frames >= x.shape[-3]
        if is_whole or x.device.type != "cpu" or torch.is_grad_enabled():
            return [(self, x)]
        return zip(self.split(n_frames), x.split(n_frames, -3), strict=True)

    def _require(self, name: str, array: Tensor, axes: tuple[str, ...], coils: tuple[tuple[int], ...]) -> None:
        """Check the sizes of an argument, and its batch axes, which are broadcast against those of mask and maps."""
        n_frames, (y, x) = self.mask.shape[-4], self.matrix
        require_last_sizes(name, array, axes, (None if n_frames == 1 else (n_frames,), *coils, (y,), (x,)))
        batch = array.shape[: -len(axes)]
        for own in self.mask.shape[:-4], () if self.csm is None else self.csm.shape[:-3]:
            pairs = zip(reversed(batch), reversed(own), strict=False)
            if any(size not in (1, own_size) and own_size != 1 for size, own_size in pairs):
                raise ShapeError(f"{name} has batch axes {tuple(batch)}, but those of the operator are {tuple(own)}")

    def _normal(self, x: Tensor) -> Tensor:
        """A^H A x of all frames together, with at most two series of images of `coils_at_once` coils in memory."""
        kspaces, dim = self._sampled_kspaces(x)
        images = (torch.fft.ifftn(part, dim=dim, norm="forward") for part in kspaces)
        n_points = math.prod(x.shape[axis] for axis in dim)
        return self._combine(images).mul_(1 / n_points)  # scaling in both transforms would take a sixth of their time

    def _energy(self, x: Tensor) -> Tensor:
        kspaces, dim = self._sampled_kspaces(x)
        energies = (torch.view_as_real(part).square().sum((-4, -3, -2, -1)) for part in kspaces)
        total = reduce(torch.add, energies) / math.prod(x.shape[axis] for axis in dim)
        return total[..., None, None]

    def _sampled_kspaces(self, x: Tensor) -> tuple[Iterator[Tensor], tuple[int, ...]]:
        """A x without its scale and phase for `coils_at_once` coils at a time, and the axes that are transformed."""
        x, dim = (y_last_in_memory(x), (-2,)) if self._sampling.shape[-1] == 1 else (x, (-2, -1))
        kspaces = (torch.fft.fftn(x.unsqueeze(-3) * weights, dim=dim) for weights in self._coil_weights())
        return (part.mul_(self._sampling) for part in kspaces), dim

    def _combine(self, parts: Iterable[Tensor]) -> Tensor:
        """Sum of coil images times conjugate maps; the images, in parts of `coils_at_once` coils, are overwritten."""
        weights = self._conjugate_weights.split(self.coils_at_once, -3)
        total = reduce(_add_coils, zip(parts, weights, strict=True), None)
        assert total is not None  # there is at least one coil
        return total

    def _coil_weights(self) -> tuple[Tensor, ...]:
        weights: tuple[Tensor, ...] = self._weights.split(self.coils_at_once, -3)
        return weights

    def split(self, n_frames: int) -> list[Self]:
        """The operators of consecutive groups of frames, which share the maps."""
        parts = []
        for mask, sampling in zip(self.mask.split(n_frames, -4), self._sampling.split(n_frames, -4), strict=True):
            part = copy(self)
            part.mask, part._sampling = mask, sampling
            parts.append(part)
        return parts

    def to(self, device: torch.device | str) -> Self:
        """The same operator on another device."""
        mask, csm = self.mask.to(device), None if self.csm is None else self.csm.to(device)
        dtype = self._sampling.dtype.to_complex()
        return type(self)(mask, csm, matrix=self.matrix, dtype=dtype, coils_at_once=self.coils_at_once)


def y_last_in_memory(x: Tensor) -> Tensor:
    """The same array ``(..., y, x)`` with consecutive y in memory, for which transforms along y are fastest."""
    return x.transpose(-1, -2).contiguous().transpose(-1, -2)


def _add_coils(total: Tensor | None, part: tuple[Tensor, Tensor]) -> Tensor:
    """The sum of coil images times weights, both ``(*batch, frames, coils, y, x)``, added to a total in place."""
    coil_images, weights = part
    if coil_images.shape[-3] > 1:
        image = coil_images.mul_(weights).sum(-3)
        return image if total is None else total.add_(image)
    coil_image, weight = coil_images.squeeze(-3), weights.squeeze(-3)
    return coil_image.mul_(weight) if total is None else total.addcmul_(coil_image, weight)
