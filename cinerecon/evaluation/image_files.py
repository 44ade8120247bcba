"""Image series from files of other programs, with the position of their slices if the file contains it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.acquisition import open_cine
from cinerecon.cine import finish_image
from cinerecon.cine_meta import Geometry, vector
from cinerecon.errors import DataError, FileError
from cinerecon.io.case import is_case, read_case
from cinerecon.io.hdf5 import member, require_hdf5
from cinerecon.io.ismrmrd.hdf5_scan import SCAN_ENDINGS
from cinerecon.io.magnitude import (
    NIFTI_ENDINGS,
    MagnitudeImages,
    is_dicom,
    open_dicom,
    open_nifti,
    refuse_segmentation,
    require_images,
)
from cinerecon.io.matlab import is_matlab
from cinerecon.io.mrd_stream.images import read_stream_images
from cinerecon.io.mrd_stream.reader import is_mrd_stream
from cinerecon.io.raw_file import holds_images_only
from cinerecon.io.untrusted import read_npz, refuse_pipe

IMAGE_NAMES, TRUTH_NAMES = ("image", "magnitude", "reference"), ("reference", "image", "magnitude")
DIRECTIONS = ("read_dir", "phase_dir", "slice_dir")
NOT_SHOWN = (2, 3, 4)
"""Types of ISMRMRD images that are no image alone: phase, real part, imaginary part."""
FORMATS = "images as .npz, .npy, ISMRMRD (.h5), NIfTI, or a folder of DICOM"
Array = NDArray[Any]


@dataclass(frozen=True)
class Placement:
    """Position and pixel size of a slice, each None if unknown.

    Attributes
    ----------
    geometry
        Position and orientation.
    pixel_size_mm
        Distance of neighbouring pixels along (y, x) [mm].
    """

    geometry: Geometry | None = None
    pixel_size_mm: tuple[float, float] | None = None


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
        Distance of neighbouring pixels along (y, x) [mm]; None if unknown.
    """

    image: Tensor
    geometry: Geometry | None = None
    pixel_size_mm: tuple[float, float] | None = None


def read_truth(path: Path) -> list[ImageSeries]:
    """The truth of each slice, of a file of images or of the scan that carries it.

    Raises
    ------
    FileError
        If the file cannot be read.
    DataError
        If it holds no truth, or frames of it are empty or incomplete.
    """
    is_raw = path.suffix in SCAN_ENDINGS and not is_case(path) and not holds_images_only(path)
    if not path.is_file() or not (is_raw or is_matlab(path)):
        series = read_series(path, TRUTH_NAMES)
        for number, one in enumerate(series):
            require_images(one.image.abs().numpy(), f"{path}, slice {number}")
        return series
    source = open_cine(path)
    truth = []
    for number in range(source.n_slices):
        data = source.read_slice(number)
        if data.reference is None:
            hint = "a fully sampled scan, or images"
            raise DataError("the scan is undersampled and carries no truth", where=str(path), hint=hint)
        truth.append(ImageSeries(finish_image(data.reference, data), data.meta.geometry, data.meta.pixel_size_mm))
    return truth


def read_series(path: Path, names: tuple[str, ...] = IMAGE_NAMES) -> list[ImageSeries]:
    """The image series of a file, one for each slice.

    Parameters
    ----------
    path
        ``.npz`` or ``.npy`` that holds ``(frames, y, x)`` or ``(slices, frames, y, x)``, a prepared case, ISMRMRD
        images, of which the complex series are taken where there are some, NIfTI, or a DICOM file or folder.
    names
        Arrays of an archive to look for, in this order.

    Raises
    ------
    FileError
        If the file cannot be read.
    DataError
        If it holds no images, or they are not finite.
    NotACineError
        If it holds the labels of a segmentation.
    """
    if not path.exists():
        raise FileError("there is no such file", where=str(path))
    slices = _read_slices(path, names)
    series = [(one, place) for array, place in slices for one in (array[None] if array.ndim == 3 else array)]
    if not series or any(one.ndim != 3 or one.dtype.kind not in "fciu" for one, _ in series):
        raise DataError("expected images (frames, y, x) or (slices, frames, y, x)", where=str(path))
    if not all(np.isfinite(one).all() for one, _ in series):
        raise DataError("the images hold numbers that are not finite", where=str(path))
    for one, _ in series:
        refuse_segmentation(np.abs(one), path)
    types = {True: np.complex64, False: np.float32}
    return [
        ImageSeries(torch.from_numpy(one.astype(types[one.dtype.kind == "c"])), place.geometry, place.pixel_size_mm)
        for one, place in series
    ]


def files_in(folder: Path) -> list[Path]:
    """The files of a folder, in the order of their names."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def _read_slices(path: Path, names: tuple[str, ...]) -> list[tuple[Array, Placement]]:
    """Arrays of one slice with its position, or of all slices without."""
    if path.suffix == ".npy":
        return [(_load_npy(path), Placement())]
    if path.suffix == ".npz":
        return _choose(read_npz(path), names, path)
    if path.name.endswith(NIFTI_ENDINGS):
        return _pixels_of(open_nifti(path))
    if path.is_dir() or is_dicom(path):
        return _pixels_of(_open_dicom(path))
    if is_case(path):
        case = read_case(path)
        if case.reference is None:
            raise DataError("the case holds no truth", where=str(path))
        return [(case.reference.numpy(), Placement(case.meta.geometry, case.meta.pixel_size_mm))]
    return _read_mrd_images(path)


def _pixels_of(images: MagnitudeImages) -> list[tuple[Array, Placement]]:
    slices = (images.read_pixels(number) for number in range(images.n_slices))
    return [(pixels, Placement(meta.geometry, meta.pixel_size_mm)) for pixels, meta in slices]


def _open_dicom(path: Path) -> MagnitudeImages:
    folder, files = (path, files_in(path)) if path.is_dir() else (path.parent, [path])
    found = open_dicom(folder, [file for file in files if is_dicom(file)])
    if len(found) != 1:
        hint = "give the folder of one cine, with all its images"
        raise DataError(f"{len(found) or 'no'} DICOM cines are found", where=str(path), hint=hint)
    return found[0]


def _load_npy(path: Path) -> Array:
    refuse_pipe(path)
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileError(f"cannot read: {error}", where=str(path)) from None
    return array


def _choose(arrays: dict[str, Array], names: tuple[str, ...], path: Path) -> list[tuple[Array, Placement]]:
    """The slices of the array of the first name that is there, or its arrays slice by slice, for sizes that differ."""
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
    """Positions of slices in an archive as `io.export.npz` writes it; None for each where it has none."""
    found = [arrays.get(name) for name in ("position_mm", *DIRECTIONS)]
    if any(one is None or one.shape != (n_slices, 3) or one.dtype.kind != "f" for one in found):
        return [None] * n_slices
    rows = zip(*(one for one in found if one is not None), strict=True)
    return [_geometry(row) if np.isfinite(row).all() else None for row in rows]


def _geometry(vectors: Sequence[Array]) -> Geometry:
    """From position and directions along x, along y and across."""
    position, read, phase, across = map(vector, vectors)
    return Geometry(position, read, phase, across)


def _read_mrd_images(path: Path) -> list[tuple[Array, Placement]]:
    """Slices of all series of ISMRMRD images, of a slice its last series: the complex one, as ours come later."""
    if is_mrd_stream(path):
        return _read_stream(path)
    try:
        require_hdf5(path)
    except FileError as error:
        raise FileError(error.what, where=error.where, hint=FORMATS) from None
    slices: dict[int, tuple[Array, Placement]] = {}
    try:
        with h5py.File(path, "r", locking=False) as file:
            group = member(file, "dataset", str(path))
            names = [name for name in group if name.startswith("image_")] if isinstance(group, h5py.Group) else []
            for name in sorted(names, key=lambda name: int(name.rpartition("_")[2])):
                series = member(group, name, str(path))
                headers = series["header"][:]
                if not set(headers["image_type"]) & set(NOT_SHOWN):
                    slices |= _slices_of(series["data"][:, 0, 0], headers)
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise FileError(f"the images cannot be read: {error}", where=str(path)) from None
    if not slices:
        is_raw = not holds_images_only(path)
        what = "this is a raw scan, not images" if is_raw else "the file holds no ISMRMRD images"
        hint = f"reconstruct it first: cinerecon recon {path.name}" if is_raw else "give what recon wrote"
        raise DataError(what, where=str(path), hint=hint)
    return [slices[number] for number in sorted(slices)]


def _read_stream(path: Path) -> list[tuple[Array, Placement]]:
    """Slices of all series of a stream of images, of a slice its last series."""
    slices: dict[int, tuple[Array, Placement]] = {}
    for images in read_stream_images(path):
        headers = np.array([image.head for image in images])
        if not set(headers["image_type"]) & set(NOT_SHOWN):
            slices |= _slices_of(np.stack([image.values[0, 0] for image in images]), headers)
    if not slices:
        hint = f"reconstruct it first: cinerecon recon {path.name}"
        raise DataError("the stream holds no images", where=str(path), hint=hint)
    return [slices[number] for number in sorted(slices)]


def _slices_of(images: Array, headers: NDArray[np.void]) -> dict[int, tuple[Array, Placement]]:
    """The images of a series by slice, in the order of their cardiac phase."""
    if images.dtype.names:
        images = images["real"] + 1j * images["imag"]
    found = {}
    for number in np.unique(headers["slice"]):
        of_slice = headers["slice"] == number
        first = headers[of_slice][0]
        has_place = all(np.linalg.norm(first[name]) > 0.5 for name in DIRECTIONS)
        place = _geometry([first[name] for name in ("position", *DIRECTIONS)]) if has_place else None
        width, height = first["field_of_view"][:2] / np.maximum(first["matrix_size"][:2], 1)
        size = (float(height), float(width)) if min(width, height) > 0 else None
        own = images[of_slice][np.argsort(headers["phase"][of_slice], kind="stable")]
        found[int(number)] = own, Placement(place, size)
    return found
