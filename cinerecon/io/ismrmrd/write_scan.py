"""Write a raw scan that was read from any format as ISMRMRD (HDF5)."""

from pathlib import Path

import h5py
import numpy as np
from ismrmrd.hdf5 import acquisition_dtype
from numpy.typing import NDArray

from cinerecon.io.hdf5 import new_hdf5
from cinerecon.io.ismrmrd.raw import BLOCK, RawScan, as_complex
from cinerecon.io.ismrmrd.waveforms import waveform_rows


def write_hdf5_scan(raw: RawScan, path: Path) -> None:
    """Write the group ``dataset`` with the header, the readouts in their order, and the waveforms.

    Raises
    ------
    DataError
        If a readout holds another number of samples than its header says.
    """
    with new_hdf5(path, libver="earliest") as file:
        group = file.create_group("dataset")
        group.create_dataset("xml", data=[raw.xml.encode()], dtype=h5py.special_dtype(vlen=bytes))
        data = group.create_dataset("data", (len(raw),), acquisition_dtype, maxshape=(None,), chunks=(64,))
        for start in range(0, len(raw), BLOCK):
            data[start : start + BLOCK] = _rows(raw, np.arange(start, min(start + BLOCK, len(raw))))
        if raw.waveforms:
            group.create_dataset(
                "waveforms", data=waveform_rows(raw.waveforms, str(raw.path)), maxshape=(None,), chunks=(64,)
            )


def _rows(raw: RawScan, index: NDArray[np.intp]) -> NDArray[np.void]:
    stored, trajectories = raw.store.read("data", index), raw.store.read("traj", index)
    raw.require_lengths(index, stored)
    rows = np.zeros(len(index), acquisition_dtype)
    for name in set(rows["head"].dtype.names or ()) & set(raw.heads.dtype.names or ()):
        rows["head"][name] = raw.heads[name][index]
    for row, samples, trajectory in zip(rows, stored, trajectories, strict=True):
        row["data"] = as_complex(samples).view(np.float32)
        row["traj"] = np.asarray(trajectory, np.float32)
    return rows
