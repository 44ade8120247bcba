"""Compare image files with the truth in another file, whichever program wrote them."""

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.acquisition import open_cine
from cinerecon.cine import finish_image
from cinerecon.errors import DataError, FileError, ShapeError
from cinerecon.evaluation.orientation_check import doubts_about_fit
from cinerecon.evaluation.scan_names import labels_of
from cinerecon.evaluation.score import Score, append_scores, read_scores
from cinerecon.evaluation.score_slice import keep_image, measure_image
from cinerecon.io.arrays import read_npz
from cinerecon.io.atomic import hash_file
from cinerecon.io.case import is_case, read_case
from cinerecon.io.hdf5 import member, require_hdf5
from cinerecon.io.ismrmrd.file import holds_images_only
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
from cinerecon.metrics import DEFAULT_PROFILE, find_heart, find_profile

AS_GIVEN = "as given"
"""Stands for the sampling, which image files do not tell."""
IMAGE_NAMES, TRUTH_NAMES = ("image", "magnitude", "reference"), ("reference", "image", "magnitude")
RAW_ENDINGS = (".h5", ".hdf5", ".mrd")
NOT_SHOWN = (2, 3, 4)
"""Types of ISMRMRD images that are no image alone: phase, real part, imaginary part."""
Array = NDArray[np.generic]


def compare_files(
    recons: Iterable[Path],
    reference: Path,
    *,
    profile: str = DEFAULT_PROFILE,
    output: Path | None = None,
    pictures: int = 0,
    report: Callable[[Score], None] = lambda _: None,
) -> list[Score]:
    """Measure image files against the truth, slice by slice; the method is called as the file is.

    Parameters
    ----------
    recons
        Files of images, see `read_series`.
    reference
        File of the truth, with as many slices of the same sizes; or the scan that carries it.
    profile
        Rules of measuring; of magnitudes, as nothing is known of coils.
    output
        Folder whose ``scores.csv`` gets the scores.
    pictures
        Slices kept there as images, for figures.
    report
        Called with each score.

    Raises
    ------
    FileError
        If a file cannot be read.
    DataError, ShapeError
        If it holds no images, or other sizes than the truth.
    """
    rules = find_profile(profile)
    truth = read_truth(reference)
    hearts = [find_heart(one) for one in truth]
    known = {score.task for score in read_scores(output)} if output else set()
    scores = []
    for path, label in labels_of(path.absolute() for path in recons).items():
        series = read_series(path, IMAGE_NAMES)
        if [x.shape for x in series] != [x.shape for x in truth]:
            found, expected = (", ".join(str(tuple(x.shape)) for x in some) for some in (series, truth))
            hint = "swap y and x" if [x.mT.shape for x in series] == [x.shape for x in truth] else ""
            what = f"images (frames, y, x) are {found}, those of the truth {expected}"
            raise ShapeError(what, where=str(path), hint=hint)
        content = f"{_hash(path)}{_hash(reference)}{profile}{'' if label == path.stem else label}"
        for number, (image, one, heart) in enumerate(zip(series, truth, hearts, strict=True)):
            task = hashlib.sha256(f"{content}{number}".encode()).hexdigest()[:20]
            measures = measure_image(image.abs(), one.abs(), heart, n_coils=0, profile=profile)
            doubts = doubts_about_fit(image.abs(), one.abs(), sees_scale=rules.sees_scale)
            score = Score(
                scan=reference.stem,
                slice=number,
                n_coils=0,
                sampling=AS_GIVEN,
                method=label,
                seconds=float("nan"),
                marks="; ".join(f"{label}: {doubt}" for doubt in doubts),
                person=reference.stem,
                profile=profile,
                task=task,
                **measures,  # type: ignore[arg-type]
            )
            if output and number < pictures:
                keep_image(output, task, image, one)
            if output and task not in known:
                append_scores(output, [score])
            scores.append(score)
            report(score)
    return scores


def read_truth(path: Path) -> list[Tensor]:
    """The truth ``(frames, y, x)`` of each slice, of a file of images or of the scan that carries it.

    Raises
    ------
    FileError
        If the file cannot be read.
    DataError
        If it holds no truth, or frames of it are empty or incomplete.
    """
    is_raw = path.suffix in RAW_ENDINGS and not is_case(path) and not holds_images_only(path)
    if not path.is_file() or not (is_raw or is_matlab(path)):
        series = read_series(path, TRUTH_NAMES)
        for number, one in enumerate(series):
            require_images(one.abs().numpy(), f"{path}, slice {number}")
        return series
    source = open_cine(path)
    truth = []
    for number in range(source.n_slices):
        data = source.read_slice(number)
        if data.reference is None:
            hint = "a fully sampled scan, or images"
            raise DataError("the scan is undersampled and carries no truth", where=str(path), hint=hint)
        truth.append(finish_image(data.reference, data))
    return truth


def read_series(path: Path, names: tuple[str, ...] = IMAGE_NAMES) -> list[Tensor]:
    """Image series ``(frames, y, x)`` of a file, one for each slice.

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
    if path.suffix == ".npy":
        arrays = [_load_npy(path)]
    elif path.suffix == ".npz":
        arrays = _choose(read_npz(path), names, path)
    elif path.name.endswith(NIFTI_ENDINGS):
        arrays = _pixels_of(open_nifti(path))
    elif path.is_dir() or is_dicom(path):
        arrays = _pixels_of(_open_dicom(path))
    elif is_case(path):
        reference = read_case(path).reference
        if reference is None:
            raise DataError("the case holds no truth", where=str(path))
        arrays = [reference.numpy()]
    else:
        arrays = _read_mrd_images(path)
    series = [one for array in arrays for one in (array[None] if array.ndim == 3 else array)]
    if not series or any(one.ndim != 3 or one.dtype.kind not in "fciu" for one in series):
        raise DataError("expected images (frames, y, x) or (slices, frames, y, x)", where=str(path))
    if not all(np.isfinite(one).all() for one in series):
        raise DataError("the images hold numbers that are not finite", where=str(path))
    for one in series:
        refuse_segmentation(np.abs(one), path)
    return [torch.from_numpy(one.astype(np.complex64 if one.dtype.kind == "c" else np.float32)) for one in series]


def _hash(path: Path) -> str:
    """Of a file, or of all files of a folder."""
    return hash_file(path) if path.is_file() else "".join(map(hash_file, _files_in(path)))


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _pixels_of(images: MagnitudeImages) -> list[Array]:
    return [images.read_pixels(number)[0] for number in range(images.n_slices)]


def _open_dicom(path: Path) -> MagnitudeImages:
    folder, files = (path, _files_in(path)) if path.is_dir() else (path.parent, [path])
    found = open_dicom(folder, [file for file in files if is_dicom(file)])
    if len(found) != 1:
        hint = "give the folder of one cine, with all its images"
        raise DataError(f"{len(found) or 'no'} DICOM cines are found", where=str(path), hint=hint)
    return found[0]


def _load_npy(path: Path) -> Array:
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileError(f"cannot read: {error}", where=str(path)) from None
    return array


def _choose(arrays: dict[str, Array], names: tuple[str, ...], path: Path) -> list[Array]:
    """The array of the first name that is there, or its arrays slice by slice, as we write sizes that differ."""
    for name in names:
        if name in arrays:
            return [arrays[name]]
        slices = [key for key in arrays if re.fullmatch(rf"{name}_slice\d+", key)]
        if slices:
            return [arrays[key] for key in sorted(slices, key=lambda key: int(key.rpartition("slice")[2]))]
    what = f"the archive holds {', '.join(arrays) or 'nothing'}, expected {' or '.join(names)}"
    raise DataError(what, where=str(path))


def _read_mrd_images(path: Path) -> list[Array]:
    """Slices of all series of ISMRMRD images, of a slice its last series: the complex one, as ours come later."""
    require_hdf5(path)
    slices: dict[int, Array] = {}
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
        raise DataError("the file holds no ISMRMRD images", where=str(path), hint="give what recon wrote")
    return [slices[number] for number in sorted(slices)]


def _slices_of(images: NDArray[Any], headers: NDArray[np.void]) -> dict[int, Array]:
    """The images of a series by slice, in the order of their cardiac phase."""
    if images.dtype.names:
        images = images["real"] + 1j * images["imag"]
    found = {}
    for number in np.unique(headers["slice"]):
        of_slice = headers["slice"] == number
        found[int(number)] = images[of_slice][np.argsort(headers["phase"][of_slice], kind="stable")]
    return found
