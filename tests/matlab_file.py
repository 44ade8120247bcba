"""MATLAB files as MATLAB writes them, for the tests of their readers."""

import h5py
import numpy as np
from scipy.io import savemat


def write_v73(path, **arrays):
    """Write version 7.3: HDF5 with complex numbers as (real, imag), after 512 bytes of text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=as_pairs(array), compression="gzip")
        file.create_group("#refs#")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(128))
    return path


def write_v5(path, compressed=False, **arrays):
    """Write version 5; axes are in the order in which HDF5 shows them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {name: array.T for name, array in arrays.items()}, do_compression=compressed)
    return path


def as_pairs(array):
    """Complex numbers as (real, imag), in single precision; other arrays unchanged."""
    if not np.iscomplexobj(array):
        return array
    pairs = np.empty(array.shape, [("real", "<f4"), ("imag", "<f4")])
    pairs["real"], pairs["imag"] = array.real, array.imag
    return pairs
