"""Prepared cases: HDF5 files with one slice each.

    kspace          (frames, coils, ky, kx) complex64, zero where not sampled
    mask            (frames, 1, ky, kx or 1) bool
    csm             (coils, y, x) complex64; missing for one coil
    reference       (frames, y, x) complex64, the fully sampled reference, if available
    shading         (y, x) float32, if coils were whitened
    frame_times_ms  (frames,), if known
    geometry        a group of attributes, if known

Arrays are not compressed, so that parts of them can be read. The attributes of each array contain its axes and meaning;
all other metadata are attributes of the file.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from cinerecon.axes import CSM, IMAGE, KSPACE, MASK
from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.errors import DataError, FileError
from cinerecon.io.atomic import moved_into_place
from cinerecon.io.hdf5 import member, new_hdf5, require_hdf5, require_plausible
from cinerecon.io.recognise import CASE_FORMAT, open_unlocked

if TYPE_CHECKING:
    from cinerecon.cine import CineData

VERSION = 1

Value = str | int | float | bool | tuple[str, ...]
Attributes = Mapping[str, "Value | Mapping[str, Value]"]
"""Additional metadata of a case; a nested mapping becomes a group."""

ARRAYS = {
    "kspace": (KSPACE, "c", "k-space, zero where not sampled; image = centred orthonormal inverse DFT"),
    "mask": (MASK, "b", "sampled points of k-space"),
    "csm": (CSM, "c", "coil sensitivity maps, sum of squared magnitudes 1"),
    "reference": (IMAGE, "c", "fully sampled image, combined with the coil maps"),
    "shading": (CSM[1:], "f", "factor that removes the shading of whitened coils from an image"),
}
"""Axes, kind of numbers and meaning of each array."""
TYPES = {"c": np.complex64, "b": np.bool_, "f": np.float32}
OPTIONAL = {
    "warnings": "warnings",
    "crop_y": "rows_asked_for",
    "reference_is": "reference_is",
    "compression": "coil_compression",
    "is_one_beat": "frames_are_one_beat",
    "is_real_time": "frames_are_real_time",
}
"""Attributes of the file for metadata that are stored only if they differ from the default of `CineMeta`."""
MARKS = {
    "simulated": "the scan is simulated",
    "magnitude only": "generated from magnitude images: phase, coils and noise of the measurement are lost",
    "simulated phase and coils": "phase and coil maps are simulated",
    "combined coils": "the coils were combined before undersampling was simulated: no scanner acquires such data",
    "zero-padded": "the outer part of k-space is empty: it is easier to reconstruct than measured data",
    "interpolated": "the images were interpolated to a finer matrix: they are easier to reconstruct than measured data",
}
"""Marks of cases whose results differ from those of measured scans, and are usually better."""


class CaseFile:
    """An open case, whose arrays can be sliced like NumPy arrays; only the requested parts are read.

    It must be closed, or used in a ``with`` statement.

    Attributes
    ----------
    path
        The file.
    kspace, mask, csm, reference, shading
        Arrays in the file; the last three are None if they are missing.
    attributes
        The attributes of the file, and those of its groups as mappings.
    meta
        The metadata of the slice.

    Raises
    ------
    FileError
        If the file is missing, damaged, or not a case.
    DataError
        If an array is missing or has the wrong type.
    """

    def __init__(self, path: Path) -> None:
        require_hdf5(path)
        self.path = path
        try:
            self._file = open_unlocked(path)
        except OSError as error:
            raise _damaged(path, error) from None
        try:
            self._read_head()
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeDecodeError) as error:
            self.close()
            raise _damaged(path, error) from None
        except Exception:
            self.close()
            raise

    def _read_head(self) -> None:
        self.attributes = _read_attributes(self._file)
        if self.attributes.get("format") != CASE_FORMAT:
            raise FileError(
                "this is not a prepared case", where=str(self.path), hint="cases are written by cinerecon prepare"
            )
        if self.attributes.get("format_version") != VERSION:
            what = f"the case has format version {self.attributes.get('format_version')}, expected {VERSION}"
            raise FileError(
                what, where=str(self.path), hint="it was written by a newer version of cinerecon: update cinerecon"
            )
        self.kspace, self.mask = (self._array(name, is_needed=True) for name in ("kspace", "mask"))
        self.csm, self.reference, self.shading = (self._array(name) for name in ("csm", "reference", "shading"))
        self.meta = self._meta()

    def _array(self, name: str, *, is_needed: bool = False) -> Any:
        axes, kind, _ = ARRAYS[name]
        stored = member(self._file, name, str(self.path))
        if stored is None and not is_needed:
            return None
        if not isinstance(stored, h5py.Dataset) or stored.ndim != len(axes) or stored.dtype.kind != kind:
            what = f"'{name}' is not an array ({', '.join(axes)}) of the right kind"
            raise DataError(what, where=str(self.path), hint="prepare it again")
        require_plausible(name, stored.nbytes, self.path)
        return stored

    def _meta(self) -> CineMeta:
        values, times = self.attributes, member(self._file, "frame_times_ms", str(self.path))
        geometry = values.get("geometry")
        dy, dx = values["pixel_size_y_x_mm"]
        return CineMeta(
            source=str(values["source"]),
            slice=int(values["slice"]),
            frame_times_ms=() if times is None else tuple(times[()].astype(float).tolist()),
            pixel_size_mm=(float(dy), float(dx)),
            slice_thickness_mm=float(values["slice_thickness_mm"]),
            geometry=None if geometry is None else _geometry(geometry),
            protocol=str(values["protocol"]),
            **{name: values[attribute] for name, attribute in OPTIONAL.items() if attribute in values},
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of k-space (frames, coils, ky, kx)."""
        result: tuple[int, int, int, int] = self.kspace.shape
        return result

    def read(self, name: str) -> NDArray[Any] | None:
        """Read a whole array; None if it is missing.

        Raises
        ------
        DataError
            If a value is not finite.
        FileError
            If the file is damaged.
        """
        stored = getattr(self, name)
        if stored is None:
            return None
        try:
            array: NDArray[Any] = stored[()].astype(TYPES[ARRAYS[name][1]], copy=False)
        except (OSError, RuntimeError) as error:
            raise _damaged(self.path, error) from None
        if array.dtype != bool and not np.isfinite(array).all():
            raise DataError(f"'{name}' contains values that are not finite", where=str(self.path))
        return array

    def close(self) -> None:
        """Close the file; its arrays can no longer be read."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _damaged(path: Path, error: Exception) -> FileError:
    return FileError(f"the prepared case is damaged: {error}", where=str(path), hint="prepare it again")


def _geometry(values: Mapping[str, Any]) -> Geometry:
    names = ("position_of_the_centre_lps_mm", "read_dir", "phase_dir", "slice_dir")
    position, read, phase, across = (values[name] for name in names)
    return Geometry.of(position, read, phase, across, str(values["patient_position"]))


def _read_attributes(group: h5py.Group, *, depth: int = 1) -> dict[str, Any]:
    """Attributes of the file, and of its groups as mappings, converted to Python numbers, strings and tuples."""
    values: dict[str, Any] = {}
    for name, value in group.attrs.items():
        plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        values[name] = tuple(plain) if isinstance(plain, list) else plain
    for name in group if depth else ():
        is_own = group.get(name, getclass=True, getlink=True) is h5py.HardLink
        if is_own and group.get(name, getclass=True) is h5py.Group:
            values[name] = _read_attributes(group[name], depth=depth - 1)
    return values


def write_case(path: Path, data: "CineData", attributes: Attributes | None = None) -> None:
    """Write a case atomically; a missing folder is created.

    Parameters
    ----------
    path
        The file.
    data
        One slice, without batch axes.
    attributes
        Additional metadata.

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    with moved_into_place(path) as temporary, new_hdf5(temporary) as file:
        file.attrs["format"], file.attrs["format_version"] = CASE_FORMAT, VERSION
        _write_attributes(file, _describe(data.meta.at_measured_matrix(data.matrix)))
        _write_attributes(file, attributes or {})
        for name, (axes, kind, meaning) in ARRAYS.items():
            array = getattr(data, name)
            if array is not None:
                stored = file.create_dataset(name, data=array.detach().cpu().numpy().astype(TYPES[kind], copy=False))
                stored.attrs["axes"], stored.attrs["meaning"] = ", ".join(axes), meaning
        if data.meta.frame_times_ms:
            times = file.create_dataset("frame_times_ms", data=np.array(data.meta.frame_times_ms))
            times.attrs["axes"], times.attrs["meaning"] = "frames", "time of each frame since the first [ms]"


def read_case(path: Path) -> "CineData":
    """Read a case into memory.

    Raises
    ------
    FileError
        If the file is missing, damaged, or not a case.
    DataError
        If an array is missing, has the wrong type, or contains invalid values.
    ShapeError
        If the shapes of the arrays are inconsistent.
    """
    from cinerecon.cine import CineData, as_tensor

    with CaseFile(path) as case:
        stored = {name: case.read(name) for name in ARRAYS}
        arrays = {name: None if array is None else as_tensor(array) for name, array in stored.items()}
        kspace, mask = arrays.pop("kspace"), arrays.pop("mask")
        assert kspace is not None and mask is not None
        try:
            return CineData(kspace, mask, meta=case.meta, **arrays)
        except DataError as error:
            raise DataError(error.what, where=str(path), hint="prepare the scan again") from None


def _describe(meta: CineMeta) -> dict[str, Any]:
    """The metadata as attributes of the file."""
    values: dict[str, Any] = {
        "source": meta.source,
        "slice": meta.slice,
        "protocol": meta.protocol,
        "pixel_size_y_x_mm": meta.pixel_size_mm,
        "slice_thickness_mm": meta.slice_thickness_mm,
    }
    for name, attribute in OPTIONAL.items():
        if getattr(meta, name) != getattr(CineMeta, name):
            values[attribute] = getattr(meta, name)
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
