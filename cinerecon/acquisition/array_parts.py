"""Sampling pattern and coil maps of k-space in a plain array, and checks of its axes.

Pattern and maps come from the same archive or from separate files. A wrong order of the axes, or k-space that is not
centred, shows only in the samples.
"""

from collections.abc import Iterator
from functools import reduce
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.acquisition.coil_maps import scale_maps
from cinerecon.acquisition.grid import LARGEST_CENTRE_ERROR
from cinerecon.acquisition.probe import CENTRE_TOLERANCE, PEAK_POWER_RATIO
from cinerecon.axes import centre_slice, correlation
from cinerecon.errors import ConfigError, DataError, FileError, ShapeError
from cinerecon.io.bart import MAPS, cfl_files, open_cfl
from cinerecon.io.kspace_array import PARTS, SINGLE, KspaceArray, arrange, open_npy
from cinerecon.io.mask import MaskFile, fit_mask
from cinerecon.io.recognise import is_cfl
from cinerecon.physics.fourier import ifft2c

MAX_ZERO_FRACTION = 0.01
"""Largest fraction of zeros in sampled lines and columns that count as measured."""
SIMILAR_COILS, CORRELATION_MARGIN = 0.9, 0.1
"""Correlation of adjacent coils above which they may be frames, and by how much more than that of frames."""
COMPARED_SIZE, MAX_COMPARED = 64, 4
"""Central lines and columns, and largest number of slices and of coils, whose images are compared; smaller matrices
have too few details."""
N_SMOOTHINGS = 2
"""Number of smoothings, over three pixels each, of the image that another one is divided by."""
DETAILS_MARGIN, COPIES = 0.25, 0.999
"""Difference of the correlations of details from which the axes of slices and coils are exchanged: at least 0.5 in
measured images if they are, below 0.1 if not; and correlation above which slices are copies of each other."""
TINY = float(np.finfo(np.float32).tiny)
AXES = {-2: "ky", -1: "kx"}


def files_of(text: str | None) -> tuple[Path, ...]:
    """The files that the text of the option --maps or --pattern names."""
    if text is None:
        return ()
    mask = MaskFile.parse(text)
    path = Path(text) if mask is None else mask.path
    return cfl_files(path) if is_cfl(path) else (path,)


def read_pattern(array: KspaceArray, text: str | None, kspace: Tensor, number: int) -> tuple[Tensor, list[str]]:
    """The sampling mask of a slice, ``(frames, 1, ky, kx or 1)`` bool, and warnings.

    Parameters
    ----------
    array
        K-space, which may have its mask in the same archive.
    text
        The file of the pattern; None for that of the archive. Without either, samples that are zero in all coils count
        as not measured.
    kspace
        ``(frames, coils, ky, kx)``
    number
        Index of the slice.

    Raises
    ------
    FileError, DataError
        If the file is missing, or holds other numbers than 0 and 1.
    ConfigError, ShapeError
        If the pattern does not fit k-space.
    """
    has_signal = (kspace != 0).any(1, keepdim=True)
    pattern = _read_given_pattern(array, text, number)
    if pattern is None:
        mask = _without_few_zeros(has_signal)
        warning = "no sampling pattern is given: samples that are zero in all coils count as not measured"
        return mask, [] if bool(mask.all()) else [warning]
    mask = torch.from_numpy(pattern.copy())
    n_lines = int((has_signal & ~mask).any(-1).sum())
    return mask, [f"the array holds samples on {n_lines} lines that its pattern leaves out: not used"] * (n_lines > 0)


def _without_few_zeros(has_signal: Tensor) -> Tensor:
    """All points on lines and columns with samples if few of them are zero, otherwise only the points with samples."""
    lines, columns = has_signal.any(-1, keepdim=True), has_signal.any(2, keepdim=True).any(0, keepdim=True)
    block = lines & columns
    if int((block & ~has_signal).sum()) > MAX_ZERO_FRACTION * int(block.sum()):
        return has_signal
    return lines if bool(columns.all()) else block


def _read_given_pattern(array: KspaceArray, text: str | None, number: int) -> NDArray[np.bool_] | None:
    """The mask of the option, otherwise of the archive, ``(frames, 1, ky, kx or 1)``; None without either."""
    _, frames, _, ky, kx = array.shape
    if text is not None and is_cfl(Path(text)):
        values: NDArray[Any] = open_cfl(Path(text))
        where = text
    elif text is not None:
        file = MaskFile.parse(text)
        if file is None:
            raise ConfigError(f"'{text}' is not a file of a sampling pattern", where="--pattern", hint="e.g. mask.npz")
        return file.draw(frames, ky, kx)
    elif "mask" in array.extras:
        values, where = array.extras["mask"], f"{array.path}, mask"
    else:
        return None
    if not np.isin(values, (0, 1)).all():
        raise DataError("the sampling pattern holds other numbers than 0 and 1", where=where)
    if text is None and values.ndim < array.values.ndim:
        return fit_mask(values.astype(bool), {"t": frames, "y": ky, "x": kx}, MaskFile(array.path, "mask"))
    mask = _aligned(array, values, number, "the sampling pattern", where).real.astype(bool).any(1, keepdims=True)
    return np.asarray(np.broadcast_to(mask, (frames, 1, ky, mask.shape[-1])))


def _aligned(array: KspaceArray, values: NDArray[Any], number: int, name: str, where: str) -> NDArray[Any]:
    """One slice of an array with the axes of k-space, ``(frames, coils, ky, kx)``, some of them of length 1."""
    shape = array.values.shape
    padded = values.reshape((1,) * (len(shape) - values.ndim) + values.shape)
    axes = tuple(SINGLE if a == PARTS and padded.shape[i] == 1 else a for i, a in enumerate(array.axes[: padded.ndim]))
    sizes = zip(padded.shape, shape, axes, strict=False)
    if padded.ndim != len(shape) or not all(n in (1, m) or axis == "kx" for n, m, axis in sizes):
        raise ShapeError(f"{name} is {values.shape}, k-space is {shape}", where=where)
    has_slices = "slices" in axes and padded.shape[axes.index("slices")] > 1
    (part,) = arrange(padded, axes, number if has_slices else None)
    return np.asarray(part)


def read_maps(array: KspaceArray, text: str | None, kspace: Tensor, number: int) -> tuple[Tensor | None, list[str]]:
    """The given coil maps of a slice, ``(coils, y, x)`` scaled to unit norm, or None without any; and warnings.

    Parameters
    ----------
    array
        K-space, which may have its maps in the same archive.
    text
        The file of the maps; None for those of the archive.
    kspace
        ``(frames, coils, ky, kx)`` on the grid of the image.
    number
        Index of the slice.

    Raises
    ------
    FileError, DataError
        If the file cannot be read, or the maps are zero or not finite.
    ShapeError
        If they fit neither the image nor the stored readouts.
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
    _, n_coils, y, x = kspace.shape
    if not is_bart and (values.ndim == 3 or (values.ndim == 4 and array.values.ndim != 4)):
        maps = values[number if len(values) > 1 else 0] if values.ndim == 4 else values
    else:
        part = _aligned(array, values, number, "the array of coil maps", where)
        if len(part) > 1:
            raise ShapeError(f"the coil maps have {len(part)} frames, expected one map of each coil", where=where)
        maps = part[0]
    if maps.shape[:2] != (n_coils, y) or maps.shape[2] not in (x, array.shape[-1]):
        what = f"the coil maps of a slice are {maps.shape}, expected {(n_coils, y, x)} (coils, y, x)"
        raise ShapeError(what, where=where)
    csm = torch.from_numpy(np.array(maps[..., centre_slice(maps.shape[-1], x)], np.complex64, order="C"))
    if not bool(torch.isfinite(torch.view_as_real(csm)).all()) or not bool(csm.any()):
        raise DataError("the coil maps are not finite, or all zero", where=where)
    return (None if n_coils == 1 else scale_maps(csm)), warnings


def _read_plain_maps(path: Path) -> NDArray[Any]:
    if path.suffix.lower() != ".npy":
        raise FileError("coil maps are read from BART's .cfl or from .npy", where=str(path), hint="or as csm in a .npz")
    return open_npy(path)


def axes_warnings(kspace: Tensor, mask: Tensor, where: str) -> list[str]:
    """Check the order of the axes and the centre of k-space; a centre that is slightly off is a warning.

    Parameters
    ----------
    kspace, mask
        ``(frames, coils, ky, kx)``, ``(frames, 1, ky, kx or 1)``
    where
        File and slice, for errors.

    Raises
    ------
    DataError
        If the zero frequency is not in the middle of an axis, or axes seem to be exchanged.
    """
    _require_order(kspace, where)
    _require_readouts(mask, where)
    return [text for dim in AXES for text in _centre_warnings(kspace, mask, dim, where)]


def _centre_warnings(kspace: Tensor, mask: Tensor, dim: int, where: str) -> Iterator[str]:
    """Compare the position of the strongest line with the middle of an axis, ``n // 2``."""
    name, n = AXES[dim], kspace.shape[dim]
    peak, middle = _clear_peak(kspace, mask, dim), n // 2
    if peak is None:
        return
    if _is_at_end(peak, n):
        what = f"k-space is not centred: along {name} its peak is at index {peak} of {n}, expected {middle}"
        peaks = {axis: _clear_peak(kspace, mask, axis) for axis in AXES}
        axes = [AXES[axis] for axis, at in peaks.items() if at is not None and _is_at_end(at, kspace.shape[axis])]
        hint = f"kspace = np.fft.fftshift(kspace, axes=({', '.join(axes)})) puts the zero frequency into the middle"
        raise DataError(what, where=where, hint=hint)
    what = f"along {name} k-space has its peak at index {peak} of {n}, expected at the middle, {middle}"
    if abs(peak - middle) > LARGEST_CENTRE_ERROR * n:
        hint = f"are the axes named in the right order? An axis measured in part is filled with zeros around {middle}"
        raise DataError(what, where=where, hint=hint)
    yield what


def _clear_peak(kspace: Tensor, mask: Tensor, dim: int) -> int | None:
    """Index of the strongest line along an axis; None if it is near the middle, or not clearly stronger than that."""
    n, others = kspace.shape[dim], [axis for axis in range(4) if axis != 4 + dim]
    n_sampled = mask.expand(-1, 1, -1, kspace.shape[-1]).sum(others).clamp_min(1)
    coils = (torch.view_as_real(coil).square().sum(-1)[:, None] for coil in kspace.unbind(1))
    power = reduce(torch.add, (coil.sum(others, dtype=torch.float64) for coil in coils)) / n_sampled
    peak, middle = int(power.argmax()), n // 2
    at_middle = float(power[max(middle - 1, 0) : middle + 2].max())
    is_clear = abs(peak - middle) > CENTRE_TOLERANCE and float(power[peak]) > PEAK_POWER_RATIO * at_middle
    return peak if is_clear else None


def _is_at_end(peak: int, n: int) -> bool:
    return min(peak, n - peak) <= min(CENTRE_TOLERANCE, n // 8)


def _require_order(kspace: Tensor, where: str) -> None:
    """Refuse axes of coils and frames that are exchanged: the coils resemble each other more than the frames."""
    if min(kspace.shape[:2]) < 2:
        return
    coils = min(correlation(first, second) for first, second in pairwise(kspace[0].numpy()))
    frames = max(correlation(first, second) for first, second in pairwise(kspace[:, 0].numpy()))
    if coils > SIMILAR_COILS and frames < coils - CORRELATION_MARGIN:
        what = f"adjacent coils are more alike (correlation {coils:.2f}) than adjacent frames ({frames:.2f})"
        raise DataError(f"{what}: these axes seem to be exchanged", where=where, hint="--axes names them in order")


def _require_readouts(mask: Tensor, where: str) -> None:
    """Refuse a pattern that leaves out inner columns of kx at all ky: no Cartesian sequence samples in this way."""
    columns = mask.any(2)
    is_alike = bool((mask == columns[:, :, None]).all())
    steps = columns[:, 0].int().diff(dim=-1).ne(0).sum(-1) if columns.shape[-1] > 1 else torch.zeros(1)
    if is_alike and int(steps.max()) > 2:
        what = "the pattern leaves out columns of kx, and no line of ky: these axes seem to be exchanged"
        raise DataError(what, where=where, hint="--axes names them in order")


def central_images(kspace: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Coil images of the centre of k-space of a slice, averaged over its frames, ``(coils, y, x)`` magnitude.

    Parameters
    ----------
    kspace
        ``(frames, coils, ky, kx)``
    """
    rows, columns = (centre_slice(n, COMPARED_SIZE) for n in kspace.shape[-2:])
    centre = kspace[:, :MAX_COMPARED, rows, columns]
    n_measured = (centre != 0).any(1).sum(0)
    average = torch.from_numpy(centre.sum(0) / np.maximum(n_measured, 1))
    return np.asarray(ifft2c(average).abs().numpy(), np.float32)


def are_slices_coils(images: NDArray[np.float32]) -> bool:
    """Whether slices show the same details and coils do not, although all coils receive one object: exchanged axes.

    Details are the ratio of an image to the same image smoothed, from which the sensitivity of the coil cancels.

    Parameters
    ----------
    images
        ``(slices, coils, y, x)`` magnitude, see `central_images`.
    """
    smooth: NDArray[Any] = images
    for axis in (-2, -1) * N_SMOOTHINGS:
        smooth = (np.roll(smooth, 1, axis) + 2 * smooth + np.roll(smooth, -1, axis)) / 4
    details = np.divide(images, smooth, out=np.ones_like(images), where=smooth > 0) - 1
    of_coils = _similarity(details, smooth)
    of_slices = _similarity(details.swapaxes(0, 1), smooth.swapaxes(0, 1))
    return COPIES > of_slices > of_coils + DETAILS_MARGIN


def _similarity(details: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    """Mean correlation of the details of all pairs along the second axis of ``(n, images, y, x)``."""
    values = [
        float((w * w2 * d * d2).sum() / np.sqrt(max((w * w2 * d**2).sum() * (w * w2 * d2**2).sum(), TINY)))
        for images, factors in zip(details, weights, strict=True)
        for (d, w), (d2, w2) in combinations(zip(images, factors, strict=True), 2)
    ]
    return float(np.mean(values))
