"""Raw scans in binary streams of MRD version 2, which are converted to version 1 and, for writing, from it.

Since a stream has no index, it is read completely, and the samples are kept in memory.
"""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from ismrmrd.hdf5 import acquisition_dtype
from numpy.typing import NDArray

from cinerecon.errors import DataError, FileError, HeaderError
from cinerecon.io.ismrmrd.header import read_header
from cinerecon.io.ismrmrd.raw import N_CHANNELS, Heads, RawScan, as_complex, channel_bits, collected_scan, set_channels
from cinerecon.io.ismrmrd.waveforms import COUNTERS as WAVEFORM_COUNTERS
from cinerecon.io.ismrmrd.waveforms import Waveform
from cinerecon.io.mrd2.header import header_as_xml, header_from_xml
from cinerecon.io.mrd2.items import read_items
from cinerecon.io.recognise import is_mrd2
from cinerecon.io.untrusted import refuse_pipe

COUNTERS = (
    *("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast"),
    *("phase", "repetition", "set", "segment"),
)
NUMBERS = ("discard_pre", "discard_post", "center_sample", "encoding_space_ref")
VECTORS = ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position")
LARGEST_COUNT = 65535
"""Largest counter, size or index that version 1 can store; larger ones do not occur in cardiac scans."""
LARGEST_STAMP = 2**32 - 1
STAMPS = ("measurement_uid", "scan_counter", "acquisition_time_stamp")
LISTS = ("physiology_time_stamp", "user_int", "user_float")


def load_mrd(where: str) -> ModuleType:
    """Import the package ``mrd``.

    Raises
    ------
    FileError
        If it is not installed.
    """
    try:
        import mrd
    except ImportError:
        what = "MRD version 2 needs the package mrd-python"
        raise FileError(what, where=where, hint="pip install 'cinerecon[mrd2]'") from None
    module: ModuleType = mrd
    return module


def read_mrd2(path: Path) -> RawScan:
    """Read a raw scan of MRD version 2.

    Raises
    ------
    FileError
        If the package ``mrd-python`` is not installed, or the file is damaged or truncated.
    HeaderError
        If the header is missing or invalid.
    DataError
        If there are no readouts, or a number in one of them exceeds `LARGEST_COUNT`.
    """
    refuse_pipe(path)
    mrd = load_mrd(str(path))
    with path.open("rb") as file:
        header, items = read_items(file, path, mrd)
        if header is None:
            raise HeaderError("the stream has no header", where=str(path))
        parsed = read_header(header_as_xml(header), str(path))
        return collected_scan(path, parsed, *_collect(items, path, mrd))


def holds_mrd2_images(path: Path) -> bool:
    """Whether the first image or readout of a stream is an image; False if the stream cannot be read."""
    if not is_mrd2(path):
        return False
    try:
        mrd = load_mrd(str(path))
        with path.open("rb") as file:
            for item in read_items(file, path, mrd)[1]:
                if item.tag.startswith("Image") or _acquisitions(item, mrd):
                    return bool(item.tag.startswith("Image"))
    except Exception:  # the parser may fail in any way on arbitrary bytes; `read_mrd2` reports the error
        return False
    return False


def _collect(
    items: Iterator[Any], path: Path, mrd: ModuleType
) -> tuple[list[np.void], list[NDArray[Any]], list[NDArray[Any]], list[Waveform], int]:
    """Headers, samples and trajectories of all readouts, the waveforms, and the number of images."""
    heads, rows, trajectories = list[np.void](), list[NDArray[Any]](), list[NDArray[Any]]()
    waveforms, n_images = list[Waveform](), 0
    for item in items:
        n_images += item.tag.startswith("Image")
        waveforms += map(_waveform, _blocks(item, mrd))
        for acquisition in _acquisitions(item, mrd):
            head = _head(acquisition, f"{path}, acquisition {len(heads)}")
            order = _order_of_channels(acquisition)
            set_channels(head, order)
            heads.append(head[0])
            rows.append(np.array(acquisition.data, np.complex64)[np.argsort(order)].ravel())
            trajectories.append(np.array(acquisition.trajectory, np.float32).T.ravel())
    return heads, rows, trajectories, waveforms, n_images


def _waveform(block: Any) -> Waveform:
    """Convert a block of a waveform to version 1."""
    counters = {name: int(getattr(block, name)) for name in WAVEFORM_COUNTERS}
    values = np.array(block.data, np.uint32)
    return Waveform(int(block.waveform_id), int(block.time_stamp), float(block.sample_time_us), values, **counters)


def _blocks(item: Any, mrd: ModuleType) -> list[Any]:
    """The waveforms in an item of the stream."""
    if isinstance(item, mrd.StreamItem.WaveformUint32):
        return [item.value]
    return [*item.value.waveforms] if isinstance(item, mrd.StreamItem.AcquisitionBucket) else []


def _acquisitions(item: Any, mrd: ModuleType) -> list[Any]:
    """The acquisitions in an item of the stream."""
    if isinstance(item, mrd.StreamItem.Acquisition):
        return [item.value]
    if isinstance(item, mrd.StreamItem.AcquisitionBucket):
        return [*item.value.ref, *item.value.data]
    return []


def _order_of_channels(acquisition: Any) -> NDArray[np.intp]:
    """Channel number of each row of the samples, ``(coils,)``; 0, 1, ... if the numbers are missing or not valid."""
    n_coils = len(acquisition.data)
    order = np.asarray(acquisition.head.channel_order or [], np.int64)
    is_valid = len(order) == len(np.unique(order)) == n_coils and bool((order < N_CHANNELS).all())
    return order.astype(np.intp) if is_valid else np.arange(n_coils)


def _head(acquisition: Any, where: str) -> Heads:
    """Convert the header of a readout to version 1, ``(1,)``."""
    source, data = acquisition.head, acquisition.data
    if data.ndim != 2:
        raise DataError(f"the samples have {data.ndim} axes, expected (coils, samples)", where=where)
    out = np.zeros(1, acquisition_dtype["head"])
    n_coils, n_samples = data.shape
    basis = acquisition.trajectory.shape[0] if acquisition.trajectory.size else 0
    values = {"number_of_samples": n_samples, "active_channels": n_coils, "available_channels": n_coils}
    values |= {"trajectory_dimensions": basis, **{name: getattr(source, name) or 0 for name in NUMBERS}}
    counters = {name: getattr(source.idx, name) or 0 for name in COUNTERS}
    for name, value in (values | counters).items():
        if value > LARGEST_COUNT:
            raise DataError(f"{name} is {value}, expected at most {LARGEST_COUNT}", where=where)
        (out if name in values else out["idx"])[name] = value
    for name in VECTORS:
        out[name] = getattr(source, name)
    stamps = [source.acquisition_time_stamp or 0, *source.physiology_time_stamp[:3]]
    out["acquisition_time_stamp"] = min(stamps[0], LARGEST_STAMP)
    out["physiology_time_stamp"][0, : len(stamps) - 1] = stamps[1:]
    out["version"], out["flags"], out["sample_time_us"] = 1, int(source.flags), source.sample_time_us or 0.0
    out["scan_counter"] = source.scan_counter or 0
    out["measurement_uid"] = source.measurement_uid
    for fields, values, largest in (
        (out["user_int"], source.user_int, None),
        (out["user_float"], source.user_float, None),
        (out["idx"]["user"], source.idx.user, LARGEST_COUNT),
    ):
        n_values = min(len(values), fields.shape[-1])
        fields[0, :n_values] = np.minimum(values[:n_values], largest) if largest else values[:n_values]
    return out


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
        writer.write_data(_written_items(raw, mrd))


def _written_items(raw: RawScan, mrd: ModuleType) -> Iterator[Any]:
    for waveform in raw.waveforms:
        yield mrd.StreamItem.WaveformUint32(_written_waveform(waveform, mrd))
    for rows, *stored in raw.stored_readouts():
        for row, bits, samples, trajectory in zip(rows, channel_bits(raw.heads[rows]), *stored, strict=True):
            acquisition = _written_readout(raw.heads[row], samples, trajectory, mrd)
            acquisition.head.channel_order = np.flatnonzero(bits).tolist()
            yield mrd.StreamItem.Acquisition(acquisition)


def _written_waveform(block: Waveform, mrd: ModuleType) -> Any:
    return mrd.Waveform(
        data=np.ascontiguousarray(block.values, np.uint32),
        waveform_id=block.number,
        time_stamp=block.time_stamp,
        sample_time_us=block.sample_time_us,
        **{name: getattr(block, name) for name in WAVEFORM_COUNTERS},
    )


def _written_readout(head: np.void, samples: NDArray[Any], trajectory: NDArray[Any], mrd: ModuleType) -> Any:
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
