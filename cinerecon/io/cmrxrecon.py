"""Files of the CMRxRecon challenges 2023, 2024 and 2025: k-space, mask, fully sampled version and parameter table.

The axes of k-space are (frames, slices, coils, ky, kx) in the order of HDF5, without coils in single-coil data. Masks
and tables of acquisition parameters are separate files; fully sampled versions are in separate folders:

    2023   FullSample/P001/cine_sax.mat        AccFactor04/P001/cine_sax.mat, cine_sax_mask.mat
    2024   FullSample/P001/cine_sax.mat        UnderSample_Task1/P001/cine_sax_kus_Uniform4.mat
                                               Mask_Task1/P001/cine_sax_mask_Uniform4.mat
    2025   as 2024, with Center001/Siemens_30T_Vida/ before P001

Subjects are numbered within each set, and in 2025 within each scanner, so that the names of subjects contain these.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import DataError, FileError, UnsupportedError
from cinerecon.io.matlab import MatFile, open_matlab

UNDERSAMPLED = re.compile(r"^(AccFactor\d+|UnderSample_\w+)$", re.IGNORECASE)
SUBJECT = re.compile(r"^P\d+$")
MOST_LINES = 1.5
"""Ratio of lines to samples above which ky and kx are probably exchanged; with oversampled readouts it is about 0.5."""
SMALLEST_MATRIX = 32
"""Smallest number of rows and columns of k-space."""
FRAMES_OF = {
    "t1map": "inversion times of T1 mapping",
    "t2map": "preparation times of T2 mapping",
    "t1rho": "spin-lock times of T1rho mapping",
    "mapping": "contrast weightings of mapping",
    "perfusion": "heartbeats of a perfusion scan",
    "flow2d": "velocity encodings of phase contrast, in addition to cardiac phases",
    "tagging": "cardiac phases with tags, which models trained on other cines may remove",
}
"""Meaning of the frames in files that are not cines, by the beginning of the name of the file, or that of a folder."""
BEATING = ("cine", "aorta", "tagging", "flow2d")
"""Beginnings of the names of files whose frames are phases of one heartbeat."""
SETS = ("TrainingSet", "ValidationSet", "TestSet")
SET = re.compile(r"^(Train|Training|Validation|Test)\w*Set$", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class CmrFile:
    """A file with k-space, and the files of its mask, fully sampled version and parameter table.

    Attributes
    ----------
    mat
        The file with k-space.
    variable
        Name of the array with k-space.
    shape
        (slices, frames, coils, ky, kx).
    order
        Axes of the stored array for (frames, slices, coils, ky, kx), without coils for single-coil data.
    mask
        The file of the mask; None if k-space is fully sampled.
    twin
        The fully sampled version of the file; None if there is none, or if this file is fully sampled.
    oversampling
        Readout oversampling; None if unknown.
    fov_mm
        Field of view (y, x) without oversampling [mm]; None if unknown.
    slice_thickness_mm
        Slice thickness [mm]; None if unknown.
    table
        The table with the last three values; None if there is none.
    """

    mat: MatFile
    variable: str
    shape: tuple[int, int, int, int, int]
    order: tuple[int, ...]
    mask: Path | None
    twin: Path | None
    oversampling: float | None
    fov_mm: tuple[float, float] | None
    slice_thickness_mm: float | None
    table: Path | None

    @property
    def path(self) -> Path:
        """The file."""
        return self.mat.path

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of k-space, mask, fully sampled version and table."""
        return tuple(file for file in (self.path, self.mask, self.twin, self.table) if file is not None)

    @property
    def is_reversed(self) -> bool:
        """Whether the axes have the opposite order, e.g. because a Python program wrote them in MATLAB order."""
        return self.order[0] > self.order[-1]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about deviations from the standard layout."""
        slices, frames, coils, ky, kx = self.shape
        texts = []
        if self.is_reversed:
            read = f"{frames} frames, {slices} slices, {coils} coils, {ky} x {kx}"
            texts.append(f"the axes are stored in the opposite order: read as {read}")
        if ky > MOST_LINES * kx:
            texts.append(f"k-space has {ky} lines of {kx} samples: are the axes ky and kx exchanged?")
        name, folders = self.path.stem.lower(), [part.lower() for part in self.path.parent.parts]
        kinds = [kind for kind in FRAMES_OF if name.startswith(kind)] + [kind for kind in FRAMES_OF if kind in folders]
        if kinds and not name.startswith("cine"):
            texts.append(f"by its name the file is not a cine: its frames are {FRAMES_OF[kinds[0]]}")
        return tuple(texts)

    @property
    def is_one_beat(self) -> bool:
        """Whether the frames are phases of one heartbeat, by the name of the file."""
        return self.path.stem.lower().startswith(BEATING)

    def read_slice(self, number: int, frames: slice = slice(None)) -> NDArray[np.complex64]:
        """Read k-space of one slice, or of some of its frames, ``(frames, coils, ky, kx)``.

        Raises
        ------
        FileError
            If the file is damaged.
        DataError
            If a value is not finite.
        """
        index: list[int | slice] = [slice(None)] * len(self.order)
        index[self.order[0]], index[self.order[1]] = frames, number
        kspace = self.mat.read(self.variable, tuple(index)).astype(np.complex64, copy=False)
        kspace = kspace.transpose() if self.is_reversed else kspace
        if not np.isfinite(kspace).all():
            raise DataError("k-space contains values that are not finite", where=f"{self.path}, slice {number}")
        return np.ascontiguousarray(kspace.reshape(-1, self.shape[2], *self.shape[3:]))

    def read_mask(self) -> NDArray[np.bool_] | None:
        """Read the mask of all slices, ``(frames, 1, ky, kx or 1)``; None if k-space is fully sampled.

        Raises
        ------
        FileError, DataError
            If the file of the mask is damaged, or its shape does not match k-space.
        """
        if self.mask is None:
            return None
        mat = open_matlab(self.mask)
        name = _only(mat, [name for name in mat.shapes if name.startswith("mask")] or list(mat.shapes), "mask")
        stored, (_, frames, _, ky, kx) = mat.read(name) != 0, self.shape
        if self.is_reversed and stored.shape in ((kx, ky), (kx, ky, frames)):
            stored = stored.transpose()
        if stored.shape not in ((ky, kx), (frames, ky, kx)):
            what = f"the mask is {stored.shape}, expected {(ky, kx)} or {(frames, ky, kx)} as k-space"
            raise DataError(what, where=str(self.mask))
        mask = np.broadcast_to(stored, (frames, ky, kx))[:, None]
        return mask[..., :1].copy() if bool((mask == mask[..., :1]).all()) else mask.copy()


def open_cmrxrecon(path: Path) -> CmrFile:
    """Open a file with k-space; its layout is determined by name, folder and array shapes, without reading k-space.

    Raises
    ------
    FileError
        If the file is missing or damaged, or its mask is missing.
    DataError
        If it is ambiguous which array is k-space.
    UnsupportedError
        If k-space has no time axis.
    """
    mat = open_matlab(path)
    variable = _kspace_variable(mat)
    shape, order = _axes(mat, variable)
    is_full = variable in ("kspace", "kspace_full", "kspace_single_full") and not _undersampled_folder(path)
    table = next((candidate for candidate in _tables(path) if candidate.is_file()), None)
    info = {} if table is None else _read_table(table)
    fov = (info.get("fovy", 0.0), info.get("fovx", 0.0))
    return CmrFile(
        mat=mat,
        variable=variable,
        shape=shape,
        order=order,
        mask=None if is_full else _find_mask(path),
        twin=None if is_full else next((twin for twin in _twins(path) if twin.is_file()), None),
        oversampling=info.get("readoutoversample") or None,
        fov_mm=fov if min(fov) > 0 else None,
        slice_thickness_mm=info.get("slicethickness") or None,
        table=table,
    )


def is_kspace_name(path: Path) -> bool:
    """Whether the name of a file is that of a cine k-space, as opposed to masks, mapping data and images."""
    name = path.name.lower()
    return name.startswith("cine") and name.endswith(".mat") and "_mask" not in name


def subject_of(path: Path) -> str | None:
    """The subject, e.g. ``TrainingSet-P001`` or ``TrainingSet-Center001-Siemens_30T_Vida-P001``; None if unknown.

    All files of a subject have the same name: masks, fully sampled, single-coil and multi-coil versions, and all views.
    """
    parts = path.parent.parts
    number = next((i for i in reversed(range(len(parts))) if SUBJECT.match(parts[i])), None)
    if number is None:
        return None
    first = next((i for i in reversed(range(number)) if SET.match(parts[i])), None)
    if first is None:
        return parts[number]
    kinds = ("fullsample", "imgsnapshot", "imageshow", "mask_")
    names = [p for p in parts[first:number] if not UNDERSAMPLED.match(p) and not p.lower().startswith(kinds)]
    return "-".join((*names, parts[number]))


def _kspace_variable(mat: MatFile) -> str:
    """The name of the array with k-space."""
    names = [name for name in mat.shapes if name.lower().startswith(("kspace", "kus", "kdata"))]
    return _only(mat, names or [name for name, shape in mat.shapes.items() if len(shape) >= 4], "k-space")


def _only(mat: MatFile, names: list[str], meaning: str) -> str:
    """The only candidate for an array."""
    if len(names) != 1:
        arrays = ", ".join(f"'{name}' {shape}" for name, shape in mat.shapes.items()) or "no arrays"
        what = f"it is not clear which array is the {meaning}: found {arrays}"
        raise DataError(what, where=str(mat.path), hint="expected kspace, kspace_full or kus, as in CMRxRecon")
    return names[0]


def _axes(mat: MatFile, variable: str) -> tuple[tuple[int, int, int, int, int], tuple[int, ...]]:
    """Sizes (slices, frames, coils, ky, kx), and the axes of the array for (frames, slices, coils, ky, kx)."""
    stored = mat.shapes[variable]
    is_single = "single" in variable.lower() or "SingleCoil" in mat.path.parts
    if len(stored) != (4 if is_single else 5):
        expected = "(kx, ky, slices, frames)" if is_single else "(kx, ky, coils, slices, frames)"
        what = f"'{variable}' has the MATLAB size {tuple(reversed(stored))}, a cine has {expected}"
        raise UnsupportedError(what, where=str(mat.path), hint="a series without a time axis is not a cine")
    order = tuple(range(len(stored)))
    if min(stored[-2:]) < SMALLEST_MATRIX <= sorted(stored)[-2]:
        if min(stored[:2]) < SMALLEST_MATRIX:
            what = f"the axes of '{variable}' are in an unknown order: {' x '.join(map(str, stored))}"
            hint = "MATLAB's order is (kx, ky, coils, slices, frames)"
            raise DataError(what, where=str(mat.path), hint=hint)
        order = order[::-1]
    sizes = [stored[axis] for axis in order]
    frames, slices, coils, ky, kx = (*sizes[:2], 1, *sizes[2:]) if is_single else sizes
    return (slices, frames, coils, ky, kx), order


def _undersampled_folder(path: Path) -> str | None:
    """The folder of undersampled data in a path; None if there is none."""
    return next((part for part in path.parent.parts if UNDERSAMPLED.match(part)), None)


def _find_mask(path: Path) -> Path:
    """Find the mask of an undersampled file: in its folder, in that of its task, or in that of another set."""
    name = path.name.replace("_kus_", "_mask_") if "_kus_" in path.name else f"{path.stem}_mask.mat"
    candidates = [path.with_name(name)]
    folder = _undersampled_folder(path)
    if folder is not None:
        task = folder.partition("_")[2]
        mask_folders = [f"Mask_{task}", "Mask_TaskAll"] if task else []
        in_tasks = [_in_folder(path, folder, mask_folder).with_name(name) for mask_folder in mask_folders]
        own_set = next((part for part in path.parent.parts if SET.match(part)), "")
        other_sets = [name for name in SETS if name != own_set]
        candidates += in_tasks + [_in_folder(mask, own_set, other) for other in other_sets for mask in in_tasks]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    hint = f"expected {candidates[1 if len(candidates) > 1 else 0]}"
    raise FileError("the mask of this undersampled file is missing", where=str(path), hint=hint)


def _twins(path: Path) -> Iterator[Path]:
    """Possible paths of the fully sampled version of a file."""
    folder = _undersampled_folder(path)
    if folder is not None:
        yield _in_folder(path, folder, "FullSample").with_name(f"{_stem(path)}.mat")


def _in_folder(path: Path, folder: str, other: str) -> Path:
    """The path with another folder instead of ``folder``."""
    return Path(*(other if part == folder else part for part in path.parts))


def _stem(path: Path) -> str:
    """The name without its sampling pattern: ``cine_sax`` for ``cine_sax_kus_Uniform4.mat``."""
    return path.stem.partition("_kus_")[0]


def _tables(path: Path) -> Iterator[Path]:
    """Possible paths of the table of acquisition parameters."""
    name = f"{_stem(path)}_info.csv"
    folder = _undersampled_folder(path) or "FullSample"
    yield path.with_name(name)
    for other in ("FullSample", "ImgSnapshot"):
        yield _in_folder(path, folder, other).with_name(name)


def _read_table(table: Path) -> dict[str, float]:
    """Read acquisition parameters by name, in lower case and without units."""
    try:
        rows = list(csv.reader(table.read_text(encoding="utf-8-sig", errors="replace").splitlines()))
    except (OSError, csv.Error) as error:
        raise FileError(f"cannot read the table: {error}", where=str(table)) from None
    return {row[0].split("(")[0].strip().lower(): value for row in rows for value in _number(row)}


def _number(row: list[Any]) -> list[float]:
    """The number in the second column as a list; empty if there is none."""
    try:
        value = float(row[1])
    except (IndexError, ValueError):
        return []
    return [value] if np.isfinite(value) else []
