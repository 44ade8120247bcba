"""Cropping of a case in time and space, and combination of its coils.

Cropping an image resamples its k-space. This is exact if k-space was measured without gaps. Otherwise, measured and
missing points would be mixed, so an undersampled case keeps its rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from cinerecon.axes import centre_slice
from cinerecon.cine import CineData, keep_frames
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError, UnsupportedError
from cinerecon.physics.fourier import crop_sampled, fft2c, ifft2c
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import block_of_lines
from cinerecon.preparation.config import Patch, PrepareConfig


@dataclass(frozen=True)
class Window:
    """A part of a cine, given by its first frame, row and column, and its size."""

    first: Patch
    size: Patch

    @property
    def name(self) -> str:
        """Size and position as text, for file names."""
        return "x".join(map(str, self.size)) + "_at_" + "_".join(f"{index:03d}" for index in self.first)


def shape_case(data: CineData, config: PrepareConfig) -> CineData:
    """Select frames, combine coils and crop the image as the settings request.

    Raises
    ------
    DataError
        If the cine is smaller than the requested part.
    UnsupportedError
        If undersampled k-space would have to be cropped or combined.
    """
    if config.frames is not None:
        y, x = data.matrix
        data = cut_case(data, Window((0, 0, 0), (config.frames, y, x)))
    if config.combine is not None:
        data = combine_coils(data)
    y, x = config.crop or (data.matrix[0], config.readout or data.matrix[1])
    first_row, first_column = (centre_slice(n, size).start for n, size in zip(data.matrix, (y, x), strict=True))
    return cut_case(data, Window((0, first_row, first_column), (data.n_frames, y, x)))


def windows(data: CineData, config: PrepareConfig) -> Iterator[Window]:
    """Windows of the patches of a case, for each patch size.

    Raises
    ------
    DataError
        If no patch fits.
    """
    shape = (data.n_frames, *data.matrix)
    fitting = [patch for patch in config.patches if all(p <= n for p, n in zip(patch, shape, strict=True))]
    if not fitting:
        sizes, actual = (" or ".join("x".join(map(str, size)) for size in part) for part in (config.patches, (shape,)))
        raise DataError(f"the case is {actual} (frames x y x x), smaller than the patch {sizes}", where=data.where)
    for patch in fitting:
        stride = config.stride or tuple(max(size // 2, 1) for size in patch)
        frames, rows, columns = (range(0, n - p + 1, s) for n, p, s in zip(shape, patch, stride, strict=True))
        for first in product(frames, rows, columns):
            yield Window(first, patch)


def cut_case(data: CineData, window: Window) -> CineData:
    """A part of a case as a separate case, with its k-space, maps, reference and position.

    Raises
    ------
    DataError
        If the window is larger than the case.
    UnsupportedError
        If rows or columns of undersampled k-space would be cropped.
    """
    shape = (data.n_frames, *data.matrix)
    for axis, first, size, n in zip(("frames", "rows", "columns"), window.first, window.size, shape, strict=True):
        if not 0 <= first <= first + size <= n:
            raise DataError(f"the case has {n} {axis}, {size} are requested", where=data.where)
    frames, rows, columns = (slice(f, f + n) for f, n in zip(window.first, window.size, strict=True))
    data = keep_frames(data, frames)
    return data if window.size[1:] == data.matrix else _cut_image(data, rows, columns)


def _cut_image(data: CineData, rows: slice, columns: slice) -> CineData:
    matrix = (rows.stop - rows.start, columns.stop - columns.start)
    mask = _cut_mask(data, matrix)
    image = ifft2c(data.kspace)[..., rows, columns]
    return CineData(
        kspace=fft2c(image) * mask,
        mask=mask,
        csm=None if data.csm is None else data.csm[..., rows, columns].contiguous(),
        reference=None if data.reference is None else data.reference[..., rows, columns].contiguous(),
        meta=_moved(data, rows, columns),
        shading=None if data.shading is None else data.shading[..., rows, columns].contiguous(),
    )


def _cut_mask(data: CineData, matrix: tuple[int, int]) -> Tensor:
    """Points of the resampled k-space that are treated as sampled."""
    (y, x), mask = matrix, data.mask
    if block_of_lines(mask) is None:
        if y != data.matrix[0] or mask.shape[-1] != 1:
            axis = "rows" if y != data.matrix[0] else "columns"
            what = f"{axis} of an undersampled case cannot be cropped: its k-space has gaps"
            hint = "whole readouts can be cropped along the readout" if axis == "rows" else ""
            raise UnsupportedError(what, where=data.where, hint=hint)
        return mask
    rows = torch.from_numpy(crop_sampled(mask[0, 0].any(-1).numpy(), y))
    along_x = mask[0, 0].any(-2)
    along_x = along_x if mask.shape[-1] == 1 else torch.from_numpy(crop_sampled(along_x.numpy(), x))
    return (rows[:, None] & along_x).expand(len(mask), 1, -1, -1).contiguous()


def _moved(data: CineData, rows: slice, columns: slice) -> CineMeta:
    """The metadata with the position of the new pixel (y // 2, x // 2)."""
    geometry = data.meta.geometry
    if geometry is None:
        return data.meta
    centres = [part.start + (part.stop - part.start) // 2 for part in (rows, columns)]
    along_y, along_x = (
        (centre - n // 2) * size for centre, n, size in zip(centres, data.matrix, data.meta.pixel_size_mm, strict=True)
    )
    x, y, z = (
        p + along_y * phase + along_x * read
        for p, phase, read in zip(geometry.position_mm, geometry.phase_dir, geometry.read_dir, strict=True)
    )
    return replace(data.meta, geometry=replace(geometry, position_mm=(x, y, z)))


def combine_coils(data: CineData) -> CineData:
    """A case with one coil: k-space of the reference at the sampled points.

    Raises
    ------
    UnsupportedError
        If there is no reference.
    """
    if data.reference is None:
        raise UnsupportedError("the coils of an undersampled case cannot be combined", where=data.where)
    encoding = Encoding(data.mask, matrix=data.matrix, dtype=data.kspace.dtype)
    kspace = encoding.forward(data.reference)
    reference = data.reference if block_of_lines(data.mask) is None else encoding.adjoint(kspace)
    return replace(data, kspace=kspace, csm=None, reference=reference)
