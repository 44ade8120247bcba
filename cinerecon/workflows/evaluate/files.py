"""Compare image files with the truth in another file, whichever program wrote them."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.data.array_file import read_npz
from cinerecon.data.case_index import hash_file
from cinerecon.data.hdf5 import member, require_hdf5
from cinerecon.data.store import is_case, read_case
from cinerecon.errors import DataError, FileError, ShapeError
from cinerecon.metrics import find_heart, find_profile
from cinerecon.workflows.evaluate.judge import keep_image, measure_image
from cinerecon.workflows.evaluate.score import Score, append_scores, read_scores

AS_GIVEN = "as given"
"""Stands for the sampling, which image files do not tell."""
IMAGE_NAMES, TRUTH_NAMES = ("image", "magnitude", "reference"), ("reference", "image", "magnitude")
Array = NDArray[np.generic]


def compare_files(
    recons: Iterable[Path],
    reference: Path,
    *,
    profile: str = "cine",
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
        File of the truth, with as many slices of the same sizes.
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
    find_profile(profile)
    truth = read_series(reference, TRUTH_NAMES)
    hearts = [find_heart(one) for one in truth]
    known = {score.task for score in read_scores(output)} if output else set()
    scores = []
    for path in recons:
        series = read_series(path, IMAGE_NAMES)
        if [x.shape for x in series] != [x.shape for x in truth]:
            found, expected = (", ".join(str(tuple(x.shape)) for x in some) for some in (series, truth))
            raise ShapeError(f"images (frames, y, x) are {found}, those of the truth {expected}", where=str(path))
        content = f"{hash_file(path)}{hash_file(reference)}{profile}"
        for number, (image, one, heart) in enumerate(zip(series, truth, hearts, strict=True)):
            task = hashlib.sha256(f"{content}{number}".encode()).hexdigest()[:20]
            measures = measure_image(image.abs(), one.abs(), heart, n_coils=0, profile=profile)
            score = Score(
                scan=reference.stem,
                slice=number,
                n_coils=0,
                sampling=AS_GIVEN,
                method=path.name.split(".")[0] if path.stem == reference.stem else path.stem,
                seconds=float("nan"),
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


def read_series(path: Path, names: tuple[str, ...] = IMAGE_NAMES) -> list[Tensor]:
    """Image series ``(frames, y, x)`` of a file, one for each slice.

    Parameters
    ----------
    path
        ``.npz`` or ``.npy`` that holds ``(frames, y, x)`` or ``(slices, frames, y, x)``, a prepared case, or ISMRMRD
        images, of which the complex series is taken where there is one.
    names
        Arrays of an archive to look for, in this order.

    Raises
    ------
    FileError
        If the file cannot be read.
    DataError
        If it holds no images, or they are not finite.
    """
    if path.suffix == ".npy":
        arrays = [_load_npy(path)]
    elif path.suffix == ".npz":
        arrays = [_choose(read_npz(path), names, path)]
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
    return [torch.from_numpy(one.astype(np.complex64 if one.dtype.kind == "c" else np.float32)) for one in series]


def _load_npy(path: Path) -> Array:
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileError(f"cannot read: {error}", where=str(path)) from None
    return array


def _choose(arrays: dict[str, Array], names: tuple[str, ...], path: Path) -> Array:
    for name in names:
        if name in arrays:
            return arrays[name]
    what = f"the archive holds {', '.join(arrays) or 'nothing'}, expected {' or '.join(names)}"
    raise DataError(what, where=str(path))


def _read_mrd_images(path: Path) -> list[Array]:
    """Slices of the last series of ISMRMRD images: the complex one where magnitudes come first, as ours do."""
    require_hdf5(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            group = member(file, "dataset", str(path))
            names = [name for name in group if name.startswith("image_")] if isinstance(group, h5py.Group) else []
            if not names:
                raise DataError("the file holds no ISMRMRD images", where=str(path), hint="give what recon wrote")
            series = member(group, max(names, key=lambda name: int(name.rpartition("_")[2])), str(path))
            images, headers = series["data"][:, 0, 0], series["header"][:]
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise FileError(f"the images cannot be read: {error}", where=str(path)) from None
    if images.dtype.names:
        images = images["real"] + 1j * images["imag"]
    slices = []
    for number in np.unique(headers["slice"]):
        of_slice = headers["slice"] == number
        slices.append(images[of_slice][np.argsort(headers["phase"][of_slice], kind="stable")])
    return slices
