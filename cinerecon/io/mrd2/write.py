"""Write a raw scan as a binary stream of MRD version 2."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.io.ismrmrd.channels import channel_bits
from cinerecon.io.ismrmrd.raw import RawScan, as_complex
from cinerecon.io.ismrmrd.waveforms import COUNTERS as WAVEFORM_COUNTERS
from cinerecon.io.ismrmrd.waveforms import Waveform
from cinerecon.io.mrd2.header import header_from_xml
from cinerecon.io.mrd2.scan import COUNTERS, NUMBERS, VECTORS, load_mrd

STAMPS = ("measurement_uid", "scan_counter", "acquisition_time_stamp")
LISTS = ("physiology_time_stamp", "user_int", "user_float")


def write_mrd2_scan(raw: RawScan, path: Path) -> None:
    """Write a scan: the header, the waveforms, and the readouts in their original order.

    Raises
    ------
    FileError
        If the package ``mrd-python`` is not installed.
    DataError
        If the number of samples of a readout differs from its header.
    """
    mrd = load_mrd(str(path))
    with mrd.BinaryMrdWriter(str(path)) as writer:
        writer.write_header(header_from_xml(raw.xml.encode(), mrd))
        writer.write_data(_items(raw, mrd))


def _items(raw: RawScan, mrd: ModuleType) -> Iterator[Any]:
    for waveform in raw.waveforms:
        yield mrd.StreamItem.WaveformUint32(_waveform(waveform, mrd))
    for rows, *stored in raw.stored_readouts():
        for row, bits, samples, trajectory in zip(rows, channel_bits(raw.heads[rows]), *stored, strict=True):
            acquisition = _acquisition(raw.heads[row], samples, trajectory, mrd)
            acquisition.head.channel_order = np.flatnonzero(bits).tolist()
            yield mrd.StreamItem.Acquisition(acquisition)


def _waveform(block: Waveform, mrd: ModuleType) -> Any:
    return mrd.Waveform(
        data=np.ascontiguousarray(block.values, np.uint32),
        waveform_id=block.number,
        time_stamp=block.time_stamp,
        sample_time_us=block.sample_time_us,
        **{name: getattr(block, name) for name in WAVEFORM_COUNTERS},
    )


def _acquisition(head: np.void, samples: NDArray[Any], trajectory: NDArray[Any], mrd: ModuleType) -> Any:
    """Convert a readout from version 1 to version 2, in which the trajectory is (dimensions, samples)."""
    out = mrd.AcquisitionHeader(flags=mrd.AcquisitionFlags(int(head["flags"])))
    names = set(head.dtype.names or ())
    for name in (*NUMBERS, *STAMPS):
        if name in names:
            setattr(out, name, int(head[name]))
    for name in VECTORS:
        setattr(out, name, np.array(head[name], np.float32))
    for name in COUNTERS:
        setattr(out.idx, name, int(head["idx"][name]))
    out.idx.user = head["idx"]["user"].tolist() if "user" in (head["idx"].dtype.names or ()) else []
    for name in LISTS:
        if name in names:
            setattr(out, name, head[name].tolist())
    out.sample_time_us = float(head["sample_time_us"])
    n_coils, n_samples = int(head["active_channels"]), int(head["number_of_samples"])
    points = trajectory.reshape(n_samples, -1).T if trajectory.size else np.zeros((0, 0))
    data = as_complex(samples).reshape(n_coils, n_samples)
    return mrd.Acquisition(head=out, data=data, trajectory=np.ascontiguousarray(points, np.float32))
