"""Arrays in MATLAB files of version 7.3, which is HDF5, and of version 5 (saved with -v6 or -v7).

In MATLAB, the first axis is contiguous in memory. All arrays are returned with axes in the opposite order, as in HDF5:
(kx, ky, coils) in MATLAB is (coils, ky, kx) here. For version 7.3, only the requested part is read; arrays of version 5
are compressed and have to be read completely.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import DataError, FileError
from cinerecon.io.hdf5 import member, open_hdf5, require_plausible
from cinerecon.io.recognise import MATLAB, first_bytes, looks_like
from cinerecon.io.untrusted import reporting_damage

DAMAGED, COPY_HINT = "the MATLAB file is damaged", "copy or download it again"


@dataclass(frozen=True, eq=False)
class MatFile:
    """The numeric arrays in a MATLAB file.

    Attributes
    ----------
    path
        The file.
    shapes
        Shape of each array, with axes in the order of HDF5.
    """

    path: Path
    shapes: dict[str, tuple[int, ...]]
    _is_hdf5: bool
    _read: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False)

    def read(self, name: str, index: tuple[int | slice, ...] = ()) -> NDArray[Any]:
        """Read an array or a part of it; complex numbers are converted to complex64.

        Raises
        ------
        FileError
            If the file is damaged.
        DataError
            If there is no such array.
        """
        if name not in self.shapes:
            known = ", ".join(self.shapes) or "none"
            raise DataError(f"there is no array '{name}', found: {known}", where=str(self.path))
        if self._is_hdf5:
            with open_hdf5(self.path) as file:
                return _plain(member(file, name, str(self.path))[index])
        if name not in self._read:
            self._read.clear()  # one array at a time, to save memory
            self._read[name] = _plain(_load_v5(self.path, name).T)
        return self._read[name][index]


def open_matlab(path: Path) -> MatFile:
    """Open a MATLAB file and list its arrays, without reading them.

    Raises
    ------
    FileError
        If the file is missing, damaged or has another format.
    DataError
        If an array is larger than is possible for the size of the file.
    """
    start = first_bytes(path)
    is_hdf5 = bool(h5py.is_hdf5(path))
    if not is_hdf5 and start.startswith(b"MATLAB 7.3"):
        raise FileError("the MATLAB 7.3 file is damaged: it is not valid HDF5", where=str(path), hint=COPY_HINT)
    if not is_hdf5 and not start.startswith(MATLAB):
        raise FileError(f"this is not a MATLAB file, but {looks_like(path, start)}", where=str(path), hint=COPY_HINT)
    shapes = _shapes_hdf5(path) if is_hdf5 else _shapes_v5(path)
    for name, shape in shapes.items():
        require_plausible(name, 4 * float(np.prod(shape, dtype=np.float64)), path)
    return MatFile(path, shapes, is_hdf5)


def _shapes_hdf5(path: Path) -> dict[str, tuple[int, ...]]:
    shapes = {}
    with open_hdf5(path) as file:
        for name in file:
            item = None if name.startswith("#") else member(file, name, str(path))
            if isinstance(item, h5py.Dataset) and (item.dtype.kind in "iufbc" or {"real", "imag"} == set(_names(item))):
                shapes[name] = item.shape
    return shapes


def _names(item: h5py.Dataset) -> tuple[str, ...]:
    return item.dtype.names or ()


def _shapes_v5(path: Path) -> dict[str, tuple[int, ...]]:
    from scipy.io import whosmat

    numbers = ("single", "double", "logical", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
    with reporting_damage(DAMAGED, path, COPY_HINT):
        return {name: tuple(reversed(shape)) for name, shape, kind in whosmat(path) if kind in numbers}


def _load_v5(path: Path, name: str) -> NDArray[Any]:
    from scipy.io import loadmat

    with reporting_damage(DAMAGED, path, COPY_HINT):
        return np.asarray(loadmat(path, variable_names=[name])[name])


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Convert complex numbers to complex64; other numbers are not changed."""
    if values.dtype.names:
        joined = np.empty(values.shape, np.complex64)
        joined.real, joined.imag = values["real"], values["imag"]
        return joined
    return values.astype(np.complex64) if values.dtype.kind == "c" else values
