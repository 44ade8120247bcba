"""The container for the data of one slice: `CineData`."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from cinerecon.axes import CSM, IMAGE, KSPACE, MASK, describe, describe_values, require_axes
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError, ShapeError
from cinerecon.words import counted

ARRAYS = ("kspace", "mask", "csm", "reference", "shading", "noise_std")
"""Attributes of `CineData` that are arrays."""


@dataclass(frozen=True, eq=False)
class CineData:
    """The data of one slice of a cine. Shapes and values are validated once, on construction.

    Arrays may be NumPy arrays, which become tensors.

    Attributes
    ----------
    kspace
        ``(*batch, frames, coils, ky, kx)`` complex; zero where not sampled.
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool; never a coil axis.
    csm
        ``(*batch, coils, y, x)`` complex coil sensitivity maps, sum of squared magnitudes 1 in the support;
        None means one coil of unit sensitivity.
    reference
        ``(*batch, frames, y, x)`` complex, the fully sampled reference; None if there is none.
    meta
        Source, slice, frame times, geometry.
    shading
        ``(*batch, y, x)`` real, the factor by which `physics.final_image` multiplies a reconstructed image to remove
        the shading of whitened coils; None if coils were not whitened. With maps of unit sum of squares, whitened coils
        are weighted by their signal-to-noise ratio, which makes the image brighter near coils of little noise.
    noise_std
        ``(*batch, frames, 1, ky or 1, kx or 1)`` standard deviation of the complex noise of a sample, in the units of
        `kspace`; the same in all coils and independent between them. None if it is not known.

    Raises
    ------
    ShapeError
        If axes are missing, sizes disagree, or a dtype is wrong.
    DataError
        If an array contains NaN or infinite values, or k-space is not zero outside the mask.
    """

    kspace: Tensor
    mask: Tensor
    csm: Tensor | None = None
    reference: Tensor | None = None
    meta: CineMeta = field(default_factory=CineMeta)
    shading: Tensor | None = None
    noise_std: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ARRAYS:
            if isinstance(getattr(self, name), np.ndarray | Tensor):
                object.__setattr__(self, name, as_tensor(getattr(self, name)))
        if not isinstance(self.meta, CineMeta):
            raise ShapeError(f"meta is of type {type(self.meta).__name__}, expected CineMeta")
        require_axes("kspace", self.kspace, KSPACE)
        require_axes("mask", self.mask, MASK, torch.bool)
        if not self.kspace.is_complex():
            raise ShapeError(f"kspace is {self.kspace.dtype}, expected a complex type")
        *_, frames, coils, ky, kx = self.kspace.shape
        require_sizes("mask", self.mask, MASK, ((frames,), (1,), (ky,), (1, kx)), self.kspace)
        if self.csm is None:
            if coils != 1:
                raise ShapeError(f"csm is missing, and kspace has {coils} coils", hint="estimate maps first")
        else:
            require_axes("csm", self.csm, CSM, self.kspace.dtype)
            require_sizes("csm", self.csm, CSM, ((coils,), (ky,), (kx,)), self.kspace)
        if self.reference is not None:
            require_axes("reference", self.reference, IMAGE, self.kspace.dtype)
            require_sizes("reference", self.reference, IMAGE, ((frames,), (ky,), (kx,)), self.kspace)
        if self.noise_std is not None:
            require_sizes("noise_std", self.noise_std, MASK, ((frames,), (1,), (1, ky), (1, kx)), self.kspace)
        if self.shading is not None:
            require_sizes("shading", self.shading, IMAGE[1:], ((ky,), (kx,)), self.kspace)
        _require_sampled(self.kspace, self.mask, self.where)
        for name in ("csm", "reference", "shading", "noise_std"):
            if getattr(self, name) is not None:
                require_finite(getattr(self, name), self.where, name)

    def __repr__(self) -> str:
        """Sizes and types of the arrays, and the source."""
        arrays = [(name, getattr(self, name)) for name in ARRAYS]
        texts = [describe_values(name, array) for name, array in arrays if array is not None]
        return f"CineData({', '.join(texts + [self.where] * bool(self.where))})"

    @property
    def where(self) -> str:
        """File and slice, for messages; empty for data that do not come from a file."""
        return self.meta.where

    @property
    def n_frames(self) -> int:
        """Number of time steps."""
        return self.kspace.shape[-4]

    @property
    def n_coils(self) -> int:
        """Number of receive coils."""
        return self.kspace.shape[-3]

    @property
    def matrix(self) -> tuple[int, int]:
        """Image size (y, x)."""
        return self.kspace.shape[-2], self.kspace.shape[-1]

    def with_warnings(self, *texts: str) -> Self:
        """The same data with additional warnings, without duplicates."""
        warnings = tuple(dict.fromkeys((*self.meta.warnings, *texts)))
        return self if warnings == self.meta.warnings else replace(self, meta=replace(self.meta, warnings=warnings))

    def to(self, device: torch.device | str) -> Self:
        """Move all arrays to a device."""
        arrays = {name: getattr(self, name) for name in ARRAYS}
        return replace(self, **{name: array.to(device) for name, array in arrays.items() if array is not None})


def keep_frames(data: CineData, frames: slice) -> CineData:
    """Consecutive frames as a separate cine, with times relative to its first frame."""
    times = data.meta.frame_times_ms[frames]
    kspace = data.kspace[..., frames, :, :, :]
    is_whole = kspace.shape[-4] == data.n_frames
    return replace(
        data,
        kspace=kspace,
        mask=data.mask[..., frames, :, :, :],
        noise_std=None if data.noise_std is None else data.noise_std[..., frames, :, :, :],
        reference=None if data.reference is None else data.reference[..., frames, :, :],
        meta=replace(
            data.meta,
            frame_times_ms=tuple(time - times[0] for time in times),
            is_one_beat=data.meta.is_one_beat and is_whole,
        ),
    )


def as_tensor(array: Any) -> Tensor:
    """A NumPy array as a tensor, sharing memory where the array is writable and in native byte order.

    Tensors that torch marks as conjugated are copied, because many operations refuse them.

    Raises
    ------
    ShapeError
        If it is not an array of numbers.
    """
    if isinstance(array, Tensor):
        return array.resolve_conj().resolve_neg()
    values = np.asarray(array)
    values = values.astype(
        np.complex128 if values.dtype.kind == "c" and values.itemsize > 16 else values.dtype.newbyteorder("="),
        copy=False,
    )
    try:
        return torch.from_numpy(np.require(values, requirements=["C", "W"]))
    except TypeError:
        raise ShapeError(f"expected an array of numbers, found {type(array).__name__} of {values.dtype}") from None


def require_finite(array: Tensor, where: str = "", name: str = "k-space") -> None:
    """Check that k-space or another array contains only finite values.

    Raises
    ------
    DataError
        If values are NaN or infinite; the error states their number.
    """
    if bool(torch.isfinite(array.sum())):  # one pass without a temporary array; a sum may overflow
        return
    n_bad = int((~torch.isfinite(array)).sum())
    if n_bad:
        raise DataError(f"{name} holds {n_bad} values that are NaN or infinite", where=where)


def _require_sampled(kspace: Tensor, mask: Tensor, where: str) -> None:
    """Check that k-space ``(*batch, frames, coils, ky, kx)`` is finite, and zero outside the mask."""
    if mask.shape[-1] == 1:  # one pass without a temporary array
        signal = torch.linalg.vector_norm(torch.view_as_real(kspace), dim=(-1, -2)).amax(-2, keepdim=True).unsqueeze(-1)
        part = "line"
    else:
        signal, part = kspace.sum(-3, keepdim=True), "sample"
    if not bool(torch.isfinite(signal.sum())):
        require_finite(kspace, where)
    n_outside = int(((signal != 0) & ~mask).sum())
    if n_outside:
        what = f"kspace has signal in {counted(n_outside, part)} outside the mask, which a method might use"
        raise DataError(what, where=where, hint="kspace * mask, or a mask that contains all samples")


def require_sizes(
    name: str, array: Tensor, axes: tuple[str, ...], sizes: Iterable[tuple[int, ...]], kspace: Tensor
) -> None:
    """Check the last axes of an array against the sizes allowed by k-space, and its batch axes.

    Raises
    ------
    ShapeError
        If a size differs; the error names the axis, its size and the size of k-space.
    """
    batch, expected = tuple(array.shape[: -len(axes)]), tuple(kspace.shape[: -len(KSPACE)])
    if batch != expected:
        raise ShapeError(f"{name} has batch axes {batch}, expected {expected}, those of kspace")
    for axis, size, allowed in zip(axes, array.shape[-len(axes) :], sizes, strict=True):
        if size not in allowed:
            raise ShapeError(
                f"axis {axis} of {name} has size {size}, expected {' or '.join(map(str, allowed))}"
                f"     kspace {describe(kspace, KSPACE)}"
            )
