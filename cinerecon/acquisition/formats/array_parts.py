"""Sampling mask and coil maps of k-space in a plain array, from the same archive or from separate files."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.acquisition.coil_maps import GriddedSlice, scale_maps
from cinerecon.axes import centre_slice
from cinerecon.errors import ConfigError, DataError, FileError, ShapeError
from cinerecon.io.bart import MAPS, open_cfl
from cinerecon.io.kspace_array import PARTS, SINGLE, KspaceArray, arrange
from cinerecon.io.mask import MaskFile, fit_mask
from cinerecon.io.recognise import is_cfl
from cinerecon.io.untrusted import open_npy
from cinerecon.words import counted

MAX_ZERO_FRACTION = 0.01
"""Largest fraction of zeros in sampled lines and columns that are treated as measured."""


def read_pattern(array: KspaceArray, text: str | None, kspace: Tensor, number: int) -> tuple[Tensor, list[str]]:
    """The sampling mask of a slice, ``(frames, 1, ky, kx or 1)`` bool, and warnings.

    Parameters
    ----------
    array
        K-space, possibly with its mask in the same archive.
    text
        The file of the sampling mask; None for the mask in the archive. If neither exists, samples that are zero in all
        coils are treated as not measured.
    kspace
        ``(frames, coils, ky, kx)``
    number
        Index of the slice.

    Raises
    ------
    FileError, DataError
        If the file is missing, or contains values other than 0 and 1.
    ConfigError, ShapeError
        If the mask does not match k-space.
    """
    has_signal = (kspace != 0).any(1, keepdim=True)
    pattern = _read_given_pattern(array, text, number)
    if pattern is None:
        mask = _without_few_zeros(has_signal)
        warning = "no sampling pattern is given: samples that are zero in all coils are treated as not measured"
        return mask, [] if bool(mask.all()) else [warning]
    mask = torch.from_numpy(pattern.copy())
    n_lines = int((has_signal & ~mask).any(-1).sum())
    lines = counted(n_lines, "line")
    warning = f"the array contains samples on {lines} that its pattern does not include: these are not used"
    return mask, [warning] if n_lines else []


def _without_few_zeros(has_signal: Tensor) -> Tensor:
    """All points on lines and columns with samples if few of them are zero, otherwise only the nonzero points."""
    lines, columns = has_signal.any(-1, keepdim=True), has_signal.any(2, keepdim=True).any(0, keepdim=True)
    block = lines & columns
    if int((block & ~has_signal).sum()) > MAX_ZERO_FRACTION * int(block.sum()):
        return has_signal
    return lines if bool(columns.all()) else block


def _read_given_pattern(array: KspaceArray, text: str | None, number: int) -> NDArray[np.bool_] | None:
    """The mask of the option or, if not given, of the archive, ``(frames, 1, ky, kx or 1)``; None if neither exists."""
    _, frames, _, ky, kx = array.shape
    if text is not None and is_cfl(Path(text)):
        values: NDArray[Any] = open_cfl(Path(text))
        where = text
    elif text is not None:
        file = MaskFile.parse(text)
        if file is None:
            raise ConfigError(f"'{text}' is not a sampling pattern file", where="--pattern", hint="e.g. mask.npz")
        return file.draw(frames, ky, kx)
    elif "mask" in array.extras:
        values, where = array.extras["mask"], f"{array.path}, mask"
    else:
        return None
    if not np.isin(values, (0, 1)).all():
        raise DataError("the sampling pattern contains values other than 0 and 1", where=where)
    if text is None and values.ndim < array.values.ndim:
        return fit_mask(values.astype(bool), {"t": frames, "y": ky, "x": kx}, MaskFile(array.path, "mask"))
    mask = _aligned(array, values, number, "the sampling pattern", where).real.astype(bool).any(1, keepdims=True)
    return np.asarray(np.broadcast_to(mask, (frames, 1, ky, mask.shape[-1])))


def _aligned(array: KspaceArray, values: NDArray[Any], number: int, name: str, where: str) -> NDArray[Any]:
    """One slice of an array with the axes of k-space, ``(frames, coils, ky, kx)``, some of length 1."""
    shape = array.values.shape
    padded = values.reshape((1,) * (len(shape) - values.ndim) + values.shape)
    axes = tuple(SINGLE if a == PARTS and padded.shape[i] == 1 else a for i, a in enumerate(array.axes[: padded.ndim]))
    sizes = zip(padded.shape, shape, axes, strict=False)
    if padded.ndim != len(shape) or not all(n in (1, m) or axis == "kx" for n, m, axis in sizes):
        raise ShapeError(f"{name} is {values.shape}, k-space is {shape}", where=where)
    has_slices = "slices" in axes and padded.shape[axes.index("slices")] > 1
    (part,) = arrange(padded, axes, number if has_slices else None)
    return np.asarray(part)


def read_maps(array: KspaceArray, text: str | None, part: GriddedSlice, number: int) -> tuple[Tensor | None, list[str]]:
    """The given coil maps of a slice, ``(coils, y, x)`` normalised, or None if there are none; and warnings.

    Parameters
    ----------
    array
        K-space, possibly with its maps in the same archive.
    text
        The file of the maps; None for the maps in the archive.
    part
        The slice on the grid of the image.
    number
        Index of the slice.

    Raises
    ------
    FileError, DataError
        If the file cannot be read, or the maps are zero or not finite.
    ShapeError
        If the maps match neither the image nor the stored readouts.
    """
    stored = array.extras.get("csm") if text is None else None
    if text is None and stored is None:
        return None, []
    where, warnings = text or f"{array.path}, csm", list[str]()
    is_bart = text is not None and is_cfl(Path(text))
    if is_bart:
        values: NDArray[Any] = open_cfl(Path(text or ""))
        axis = values.ndim - 1 - MAPS
        if axis >= 0 and values.shape[axis] > 1:
            warnings.append(f"the file has {values.shape[axis]} sets of coil maps: the first is used")
            values = values.take([0], axis)
    else:
        values = _read_plain_maps(Path(text)) if text is not None else np.asarray(stored)
    n_coils, (y, x) = part.kspace.shape[1], part.interpolated_matrix or part.kspace.shape[-2:]
    if not is_bart and (values.ndim == 3 or (values.ndim == 4 and array.values.ndim != 4)):
        maps = _of_slice(values, number, array.shape[0], where) if values.ndim == 4 else values
    else:
        aligned = _aligned(array, values, number, "the array of coil maps", where)
        if len(aligned) > 1:
            raise ShapeError(f"the coil maps have {len(aligned)} frames, expected one map of each coil", where=where)
        maps = aligned[0]
    if maps.shape[:2] != (n_coils, y) or maps.shape[2] not in (x, array.shape[-1]):
        what = f"the coil maps of a slice are {maps.shape}, expected {(n_coils, y, x)} (coils, y, x)"
        raise ShapeError(what, where=where)
    csm = torch.from_numpy(np.array(maps[..., centre_slice(maps.shape[-1], x)], np.complex64, order="C"))
    if not bool(torch.isfinite(torch.view_as_real(csm)).all()) or not bool(csm.any()):
        raise DataError("the coil maps are not finite, or all zero", where=where)
    return (None if n_coils == 1 else scale_maps(csm)), warnings


def _of_slice(values: NDArray[Any], number: int, n_slices: int, where: str) -> NDArray[Any]:
    """The maps of a slice, ``(coils, y, x)``, of maps ``(slices, coils, y, x)`` of all slices or one that all share."""
    if len(values) not in (1, n_slices):
        what = f"the coil maps have {counted(len(values), 'slice')}, k-space has {n_slices}"
        raise ShapeError(what, where=where, hint="expected (coils, y, x) or (slices, coils, y, x)")
    maps: NDArray[Any] = values[number if len(values) > 1 else 0]
    return maps


def _read_plain_maps(path: Path) -> NDArray[Any]:
    if path.suffix.lower() != ".npy":
        raise FileError("coil maps are read from BART's .cfl or from .npy", where=str(path), hint="or as csm in a .npz")
    return open_npy(path)
