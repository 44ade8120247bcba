"""Prepared cases as `CineData`; `case_file` describes the format."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cinerecon.cine import CineData, as_tensor
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError
from cinerecon.io.atomic import moved_into_place
from cinerecon.io.case_file import ARRAYS, FORMAT, TYPES, VERSION, Attributes, open_case
from cinerecon.io.hdf5_writer import new_hdf5


def write_case(path: Path, data: CineData, attributes: Attributes | None = None) -> None:
    """Write a case; the file is whole or not there.

    Parameters
    ----------
    path
        File to write, ``.h5``; its folder is made if missing.
    data
        One slice, without batch axes.
    attributes
        Additional metadata, e.g. subject, marks, settings.

    Raises
    ------
    FileError
        If the file system refuses.
    """
    with moved_into_place(path) as temporary, new_hdf5(temporary) as file:
        file.attrs["format"], file.attrs["format_version"] = FORMAT, VERSION
        _write_attributes(file, _describe(data.meta))
        _write_attributes(file, attributes or {})
        for name, (axes, kind, meaning) in ARRAYS.items():
            array = getattr(data, name)
            if array is not None:
                stored = file.create_dataset(name, data=array.detach().cpu().numpy().astype(TYPES[kind], copy=False))
                stored.attrs["axes"], stored.attrs["meaning"] = ", ".join(axes), meaning
        if data.meta.frame_times_ms:
            times = file.create_dataset("frame_times_ms", data=np.array(data.meta.frame_times_ms))
            times.attrs["axes"], times.attrs["meaning"] = "frames", "time of each frame since the first [ms]"


def read_case(path: Path) -> CineData:
    """Read a case into memory, as it was written.

    Raises
    ------
    FileError
        If the file is missing, damaged, or no case.
    DataError
        If an array is missing, is of the wrong kind, or holds what cannot be right.
    ShapeError
        If the arrays do not fit each other.
    """
    with open_case(path) as case:
        stored = {name: case.read(name) for name in ARRAYS}
        arrays = {name: None if array is None else as_tensor(array) for name, array in stored.items()}
        kspace, mask = arrays.pop("kspace"), arrays.pop("mask")
        assert kspace is not None and mask is not None
        data = CineData(kspace, mask, meta=case.meta, **arrays)
    if any(bool((coil * ~data.mask[:, 0]).any()) for coil in data.kspace.unbind(1)):
        raise DataError("k-space is not zero where the mask says that it was not sampled", where=str(path))
    return data


def _describe(meta: CineMeta) -> dict[str, Any]:
    """The metadata under names that need no manual."""
    values: dict[str, Any] = {
        "source": meta.source,
        "slice": meta.slice,
        "protocol": meta.protocol,
        "pixel_size_y_x_mm": meta.pixel_size_mm,
        "slice_thickness_mm": meta.slice_thickness_mm,
    }
    if meta.warnings:
        values["warnings"] = meta.warnings
    if meta.crop_y is not None:
        values["rows_asked_for"] = meta.crop_y
    if meta.reference_is:
        values["reference_is"] = meta.reference_is
    if meta.compression:
        values["coil_compression"] = meta.compression
    if meta.is_one_beat:
        values["frames_are_one_beat"] = True
    if meta.is_real_time:
        values["frames_are_real_time"] = True
    if meta.geometry is not None:
        names = {"position_mm": "position_of_the_centre_lps_mm"}
        values["geometry"] = {names.get(name, name): value for name, value in asdict(meta.geometry).items()}
    return values


def _write_attributes(group: h5py.Group, values: Attributes) -> None:
    for name, value in values.items():
        if isinstance(value, Mapping):
            _write_attributes(group.create_group(name), value)
        elif isinstance(value, tuple) and value and isinstance(value[0], str):
            group.attrs.create(name, value, dtype=h5py.string_dtype())
        else:
            group.attrs[name] = value
