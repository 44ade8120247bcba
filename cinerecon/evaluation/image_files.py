"""Image series from files of other programs, with the position of their slices if the file contains it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.acquisition.open import open_scan
from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.errors import DataError, FileError
from cinerecon.evaluation.reference import Reference
from cinerecon.image import locate_first_voxel
from cinerecon.io.bart import map_in_cfl, open_cfl_images
from cinerecon.io.case import read_case
from cinerecon.io.export.nifti import map_in_nifti
from cinerecon.io.hdf5 import CONVERT
from cinerecon.io.magnitude import (
    NIFTI_ENDINGS,
    MagnitudeImages,
    is_dicom,
    is_magnitude_archive,
    open_archive,
    open_dicom,
    open_nifti,
    refuse_segmentation,
    require_images,
)
from cinerecon.io.mrd_images import DIRECTIONS, Placement, map_error, read_mrd_images
from cinerecon.io.plausibility import EXCHANGED_SLICES, UNKNOWN_TIMES, has_exchanged_slices
from cinerecon.io.raw_file import holds_images_only, is_raw_format
from cinerecon.io.recognise import is_case, is_cfl, is_matlab
from cinerecon.io.untrusted import open_npy, read_npz
from cinerecon.physics.final_image import finish_image

IMAGE_NAMES, REFERENCE_NAMES = ("image", "magnitude", "reference"), ("reference", "image", "magnitude")
PICTURES = (".png", ".gif", ".mp4")
FORMATS = "images as .npz, .npy, ISMRMRD (.h5, .mrd, .mrd2), NIfTI, BART (.cfl), or DICOM (a folder, or Enhanced MR)"
AT_ORIGIN_MM = 1e-6
"""Distance of the first voxel from the origin below which the position is unknown [mm]."""
Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class ImageSeries:
    """The images of one slice.

    Attributes
    ----------
    image
        ``(frames, y, x)`` complex64 or float32.
    geometry
        Position of the slice; None if unknown.
    pixel_size_mm
        Distance of adjacent pixels along (y, x) [mm]; None if unknown.
    is_real_time
        Whether the frames are known not to cover one heartbeat, see `CineMeta`.
    warnings
        Warnings of the reader.
    """

    image: Tensor
    geometry: Geometry | None = None
    pixel_size_mm: tuple[float, float] | None = None
    is_real_time: bool = False
    warnings: tuple[str, ...] = ()

    def as_reference(self) -> Reference:
        """The magnitudes as the reference of a slice, since the coils are unknown."""
        return Reference(self.image.abs(), self.pixel_size_mm, self.geometry, is_cyclic=not self.is_real_time)


def read_reference(path: Path) -> list[ImageSeries]:
    """The reference of each slice, from an image file or from the scan that contains it.

    Raises
    ------
    FileError
        If the file cannot be read.
    DataError
        If the file contains no reference, frames of it are empty or incomplete, or slices and frames seem to be
        exchanged.
    """
    is_raw = is_raw_format(path) and not is_case(path) and not holds_images_only(path)
    if not (is_raw or is_matlab(path)):
        series = read_series(path, REFERENCE_NAMES)
        for number, slice_series in enumerate(series):
            require_images(slice_series.image.abs().numpy(), f"{path}, slice {number}")
        _require_order(series, path)
        return series
    source = open_scan(path)
    references = []
    for number in range(source.n_slices):
        data = source.read_slice(number)
        if data.reference is None:
            hint = "a fully sampled scan, or images"
            raise DataError("the scan is undersampled and contains no reference", where=str(path), hint=hint)
        meta = data.meta
        image = finish_image(data.reference, data)
        references.append(ImageSeries(image, meta.geometry, meta.pixel_size_mm, meta.is_real_time))
    return references


def read_series(path: Path, names: tuple[str, ...] = IMAGE_NAMES) -> list[ImageSeries]:
    """The image series of a file, one for each slice.

    Parameters
    ----------
    path
        ``.npz`` or ``.npy`` with ``(frames, y, x)`` or ``(slices, frames, y, x)``, a prepared case, ISMRMRD images in
        HDF5 or in a stream (complex series are preferred), NIfTI, a BART array, or a DICOM file or folder.
    names
        Names of arrays in an archive, in the order in which they are searched.

    Raises
    ------
    FileError
        If the file cannot be read.
    DataError
        If the file contains no images, a map, or images that are not finite.
    NotACineError
        If the file contains the labels of a segmentation.
    """
    if not path.exists():
        raise FileError("there is no such file", where=str(path))
    series = [
        (image, placement)
        for array, placement in _read_slices(path, names)
        for image in (array[None] if array.ndim == 3 else array)
    ]
    if not series or any(image.ndim != 3 or image.dtype.kind not in "fciu" for image, _ in series):
        raise DataError("expected images (frames, y, x) or (slices, frames, y, x)", where=str(path))
    if not all(np.isfinite(image).all() for image, _ in series):
        raise DataError("the images contain values that are not finite", where=str(path))
    for image, _ in series:
        refuse_segmentation(np.abs(image), path)
    return [ImageSeries(_single_precision(image), **vars(placement)) for image, placement in series]


def _require_order(series: Sequence[ImageSeries], path: Path) -> None:
    """Refuse a reference without positions whose slices seem to be frames; its images are not aliased, unlike others.

    Equal slices are accepted, e.g. the reference of repeated simulations.
    """
    if any(one.geometry is not None for one in series) or len({one.image.shape for one in series}) > 1:
        return
    middle = (len(series) - 1) // 2
    if len(series) > 1 and torch.equal(series[middle].image, series[middle + 1].image):
        return

    def read(number: int, frames: slice) -> Array:
        return series[number].image[frames].numpy()

    if has_exchanged_slices(len(series), len(series[0].image), read):
        hint = "exchange slices and frames, in the images as well"
        raise DataError(EXCHANGED_SLICES, where=str(path), hint=hint)


def plane_of(geometry: Geometry) -> tuple[float, ...]:
    """Position and orientation of the plane of a slice, rounded so that they are equal for two series of one slice."""
    return tuple(np.round((*geometry.position_mm, *np.abs(geometry.slice_dir)), 2).tolist())


def files_in(folder: Path) -> list[Path]:
    """The files of a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def _single_precision(image: Array) -> Tensor:
    return torch.from_numpy(image.astype(np.complex64 if image.dtype.kind == "c" else np.float32))


def _read_slices(path: Path, names: tuple[str, ...]) -> list[tuple[Array, Placement]]:
    """Arrays of single slices with their positions, or of all slices without positions."""
    name = path.name.lower()
    if name.endswith(".npy"):
        return [(open_npy(path), Placement())]
    if name.endswith(".npz"):
        arrays = read_npz(path)
        is_archive = is_magnitude_archive(arrays) and not {"image", "reference"} & set(arrays)
        return _pixels_of(open_archive(path)) if is_archive else _choose(arrays, names, path)
    if name.endswith(NIFTI_ENDINGS):
        _refuse_map(map_in_nifti(path), path)
        return _pixels_of(open_nifti(path, fewest_frames=1))
    if path.is_dir() or is_dicom(path):
        return _read_dicom(path)
    if is_case(path):
        case = read_case(path)
        if case.reference is None:
            raise DataError("the case contains no reference", where=str(path))
        return [(case.reference.numpy(), _placement(case.meta))]
    if is_cfl(path):
        _refuse_map(map_in_cfl(path), path)
        return [(pixels, Placement()) for pixels in open_cfl_images(path)]
    if is_matlab(path):
        what = "images are not read from MATLAB files, which do not name the axes"
        hint = f"a CMRxRecon scan is reconstructed first: cinerecon recon {path.name}; others: {FORMATS}"
        raise FileError(what, where=str(path), hint=hint)
    if name.endswith(PICTURES):
        raise FileError(
            "pictures and movies contain grey levels, which cannot be measured", where=str(path), hint=FORMATS
        )
    try:
        return read_mrd_images(path)
    except FileError as error:
        hint = FORMATS if error.hint in ("", CONVERT) else error.hint  # raw formats are no images
        raise FileError(error.what, where=error.where, hint=hint) from None


def _refuse_map(quantity: str, path: Path) -> None:
    if quantity:
        raise map_error(quantity, path)


def _pixels_of(images: MagnitudeImages) -> list[tuple[Array, Placement]]:
    slices = [images.read_pixels(number) for number in range(images.n_slices)]
    placements = [_placement(meta) for _, meta in slices]
    if slices and _is_unset(placements[0], slices[0][0].shape[1:]):
        placements = [replace(placement, geometry=None) for placement in placements]
    return [(pixels, placement) for (pixels, _), placement in zip(slices, placements, strict=True)]


def _is_unset(first: Placement, matrix: tuple[int, ...]) -> bool:
    """Whether the first voxel of the first slice is at the origin, as in files of programs without positions.

    With nibabel, ``np.eye(4)`` is the usual affine of such files.
    """
    if first.geometry is None or first.pixel_size_mm is None:
        return False
    y, x = matrix
    corner, *_ = locate_first_voxel(first.geometry, first.pixel_size_mm, (y, x))
    return bool(np.linalg.norm(corner) < AT_ORIGIN_MM)


def _placement(meta: CineMeta) -> Placement:
    warnings = tuple(text for text in meta.warnings if text != UNKNOWN_TIMES)  # no measure depends on the times
    return Placement(meta.geometry, meta.pixel_size_mm, meta.is_real_time, warnings)


def _read_dicom(path: Path) -> list[tuple[Array, Placement]]:
    """The slices of the cine in a folder, or of several cines in different planes, as in a scan with several stacks."""
    folder, files = (path, files_in(path)) if path.is_dir() else (path.parent, [path])
    cines = open_dicom(folder, [file for file in files if is_dicom(file)], fewest_frames=1)
    slices = [part for cine in cines for part in _pixels_of(cine)]
    planes = {plane_of(placement.geometry) for _, placement in slices if placement.geometry is not None}
    if not cines or (len(cines) > 1 and len(planes) < len(slices)):
        hint = "give the folder of one cine with all its images"
        raise DataError(f"{len(cines) or 'no'} DICOM cines are found", where=str(path), hint=hint)
    return slices


def _choose(arrays: dict[str, Array], names: tuple[str, ...], path: Path) -> list[tuple[Array, Placement]]:
    """The slices of the first of the named arrays that exists, which may be one array per slice if sizes differ."""
    for name in names:
        own = [key for key in arrays if re.fullmatch(rf"{name}_slice\d+", key)]
        slices = [arrays[key] for key in sorted(own, key=lambda key: int(key.rpartition("slice")[2]))]
        if name in arrays:
            whole = arrays[name]
            slices = list(whole) if whole.ndim == 4 else [whole]
        if slices:
            return list(zip(slices, _placements(arrays, len(slices)), strict=True))
    what = f"the archive holds {', '.join(arrays) or 'nothing'}, expected {' or '.join(names)}"
    raise DataError(what, where=str(path))


def _placements(arrays: dict[str, Array], n_slices: int) -> list[Placement]:
    """Positions and pixel sizes of slices in an archive."""
    sizes = arrays.get("pixel_size_mm")
    is_known = (
        sizes is not None and sizes.shape == (n_slices, 2) and sizes.dtype.kind == "f" and bool((sizes > 0).all())
    )
    pixels = [(float(y), float(x)) for y, x in sizes] if sizes is not None and is_known else [None] * n_slices
    return [Placement(*pair) for pair in zip(_geometries(arrays, n_slices), pixels, strict=True)]


def _geometries(arrays: dict[str, Array], n_slices: int) -> list[Geometry | None]:
    """Positions of slices in an archive written by `io.export.npz`; None for each slice if there are none."""
    vectors = [arrays.get(name) for name in ("position_mm", *DIRECTIONS)]
    if any(vector is None or vector.shape != (n_slices, 3) or vector.dtype.kind != "f" for vector in vectors):
        return [None] * n_slices
    rows = zip(*(vector for vector in vectors if vector is not None), strict=True)
    return [Geometry.of(*row) if np.isfinite(row).all() else None for row in rows]
