"""Writer of NumPy archives with complex images, times, geometry, reference, convergence and provenance."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.image import CineImage, collect_warnings, each, stacks
from cinerecon.io.export.nifti import affine_ras
from cinerecon.provenance import series_texts

SERIES = ("image", "frame_times_ms", "noise", "snr", "uncertainty", "velocity", "venc_cm_s", "reference")
"""Arrays with one entry for each slice, which are written if all slices have it."""


def write_npz(path: Path, cines: list[CineImage]) -> None:
    """Write ``image`` and ``reference`` (slices, frames, y, x) complex64 and ``frame_times_ms`` (slices, frames).

    If slices have different sizes, each is stored in a separate array, ``image_slice0``, ``image_slice1`` etc. Unknown
    times are NaN. The convergence of an iterative method is stored as ``convergence_cost``,
    ``convergence_data_residual`` and ``convergence_change`` (slices, iterations), NaN after the last iteration.
    ``warnings`` are strings, ``reference_is`` is the kind of the reference of each slice, and ``verdict`` the verdict
    on its image, which is empty if none was computed.

    If noise maps were computed, ``noise`` and ``snr`` (slices, frames, y, x) are the standard deviation of the noise
    and the magnitude in units of it, and ``noise_source`` describes the source of the noise level; ``uncertainty`` and
    ``uncertainty_source`` are analogous.

    The geometry is stored as ``pixel_size_mm`` (slices, 2) along (y, x), ``slice_thickness_mm`` (slices,),
    ``position_mm`` of the slice centre, ``read_dir``, ``phase_dir`` and ``slice_dir`` (slices, 3) in patient
    coordinates (LPS), NaN if unknown, and ``affine_ras`` (slices, 4, 4) from voxels (x, y, slice) to RAS coordinates
    [mm] as in NIfTI. ``method`` and ``provenance`` are strings, the latter with one ``name: value`` per line.
    """
    series = [name for name in SERIES if all(_series_of(cine, name) is not None for cine in cines)]
    are_alike = len({cine.image.shape for cine in cines}) == 1
    with zipfile.ZipFile(path, "w", allowZip64=True) as file:
        for name in series:
            if are_alike:
                _write_stacked(file, name, cines)
            else:
                for cine in cines:
                    _write_stacked(file, name, [cine], ending=f"_slice{cine.meta.slice}")
        for name, values in _small_arrays(cines, series).items():
            with file.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


def _series_of(cine: CineImage, name: str) -> NDArray[Any] | None:
    """The entry of a slice in an array of `SERIES`; None if there is none."""
    if name == "frame_times_ms":
        return _times(cine)
    if name == "venc_cm_s":
        return None if cine.velocity is None else np.array(cine.venc_cm_s)
    values: NDArray[Any] | None = getattr(cine, name)
    return values


def _write_stacked(file: zipfile.ZipFile, name: str, cines: list[CineImage], ending: str = "") -> None:
    """Write slices of equal size as one array, slice by slice; an array whose name has an ending has a single slice."""
    with file.open(f"{name}{ending}.npy", "w", force_zip64=True) as member:
        for number, cine in enumerate(each(cines)):
            values = np.ascontiguousarray(_series_of(cine, name))
            if not number:
                shape = values.shape if ending else (len(cines), *values.shape)
                header = {"descr": values.dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
            member.write(values.tobytes())


def _small_arrays(cines: list[CineImage], series: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Geometry, convergence and strings."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in cines[0].convergence:
        arrays[f"convergence_{name}"] = _side_by_side([cine.convergence[name] for cine in cines])
    arrays |= _geometry(cines)
    lines = [f"{name}: {text}" for name, text in series_texts([cine.provenance for cine in cines]).items()]
    arrays["method"], arrays["provenance"] = np.array(cines[0].method), np.array("\n".join(lines))
    arrays["warnings"] = np.array(collect_warnings(cines), dtype=np.str_)
    arrays["verdict"] = np.array([cine.verdict.remark if cine.verdict else "" for cine in cines], dtype=np.str_)
    for name in ("noise", "uncertainty"):
        if name in series:
            arrays[f"{name}_source"] = np.array([getattr(cine, f"{name}_source") for cine in cines], dtype=np.str_)
    if "reference" in series:
        arrays["reference_is"] = np.array([cine.meta.reference_is for cine in cines], dtype=np.str_)
    return arrays


def _geometry(cines: list[CineImage]) -> dict[str, NDArray[np.float64]]:
    """Pixel size, position and directions of each slice; NaN if unknown."""
    arrays = {
        "pixel_size_mm": np.array([cine.meta.pixel_size_mm for cine in cines]),
        "slice_thickness_mm": np.array([cine.meta.slice_thickness_mm for cine in cines]),
        "affine_ras": np.stack([affine for stack in stacks(cines) for affine in _affines(stack)]),
    }
    for name in ("position_mm", "read_dir", "phase_dir", "slice_dir"):
        values = [(np.nan,) * 3 if c.meta.geometry is None else getattr(c.meta.geometry, name) for c in cines]
        arrays[name] = np.array(values)
    return arrays


def _affines(stack: list[CineImage]) -> Iterator[NDArray[np.float64]]:
    """The affine of each slice of a stack, in which the slice has index 0."""
    first = affine_ras(stack)
    for number in range(len(stack)):
        affine = first.copy()
        affine[:3, 3] += number * first[:3, 2]
        yield affine


def _side_by_side(curves: list[np.ndarray]) -> np.ndarray:
    """Stack curves of different lengths; shorter ones are padded with NaN."""
    stacked = np.full((len(curves), max(map(len, curves))), np.nan)
    for row, curve in zip(stacked, curves, strict=True):
        row[: len(curve)] = curve
    return stacked


def _times(cine: CineImage) -> np.ndarray:
    """Frame times, ``(frames,)`` [ms]; NaN if unknown."""
    return np.array(cine.times_ms) if cine.times_ms else np.full(cine.n_frames, np.nan)
