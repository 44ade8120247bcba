"""Writer of ISMRMRD (MRD) raw scans in HDF5: simulated Cartesian cines, and scans read from other formats.

The group ``dataset`` contains ``xml`` and ``data``, with one row for each readout. Simulated scans begin with noise
readouts, followed by the lines in temporal order. The images and maps from which a scan was simulated are in the group
``truth``, which readers of raw data ignore.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from ismrmrd.hdf5 import acquisition_dtype
from numpy.typing import NDArray

from cinerecon.cine_meta import Geometry
from cinerecon.io.atomic import moved_into_place, refuse_existing
from cinerecon.io.hdf5 import new_hdf5, open_hdf5
from cinerecon.io.ismrmrd.hdf5_scan import TRUTH, has_truth, truth_group
from cinerecon.io.ismrmrd.raw import TICK_MS, RawScan, as_complex
from cinerecon.io.ismrmrd.waveforms import ECG_ID, Waveform, waveform_rows
from cinerecon.io.ismrmrd.write_header import Protocol, header_xml

FIRST_IN_SLICE, LAST_IN_SLICE, LAST_IN_REPETITION, NOISE, LAST_IN_MEASUREMENT = (1 << n - 1 for n in (7, 8, 14, 19, 25))
"""Bits of flags of a readout; flag n of the standard is bit n - 1."""
DWELL_US, NOISE_DWELL_US = 2.6, 5.0
"""Dwell time of image readouts and of noise readouts in simulated scans [us]."""
START_TICKS = 14_400_000
"""Time stamp of the first image readout, 10:00, in ticks of 2.5 ms since midnight."""
WAVEFORM_BLOCK = 200
"""Number of samples of each channel in a block of the ECG."""


@dataclass(frozen=True, eq=False)
class SliceReadouts:
    """The readouts of one slice in the order of acquisition.

    Attributes
    ----------
    samples
        ``(readouts, coils, samples)`` complex64; for an asymmetric echo, the first samples are missing.
    line, frame, segment
        ``(readouts,)`` ky line, frame and segment.
    time_ms
        ``(readouts,)`` time since the start of the scan [ms].
    since_trigger_ms
        ``(readouts,)`` time since the last R wave [ms].
    geometry
        Position and orientation.
    encoding_set
        ``(readouts,)`` number of the set; None if there is only one.
    """

    samples: NDArray[np.complex64]
    line: NDArray[np.int64]
    frame: NDArray[np.int64]
    segment: NDArray[np.int64]
    time_ms: NDArray[np.float64]
    since_trigger_ms: NDArray[np.float64]
    geometry: Geometry
    encoding_set: NDArray[np.int64] | None = None

    def interleaved(self, other: "SliceReadouts", delay_ms: float) -> "SliceReadouts":
        """Interleave the readouts with those of a second set, each of which follows after a delay."""
        names = ("samples", "line", "frame", "segment", "time_ms", "since_trigger_ms")
        later = {name: getattr(other, name) + delay_ms for name in names[-2:]}
        pairs = {name: np.stack([getattr(self, name), later.get(name, getattr(other, name))], 1) for name in names}
        joined = {name: values.reshape(-1, *values.shape[2:]) for name, values in pairs.items()}
        return SliceReadouts(**joined, geometry=self.geometry, encoding_set=np.arange(2 * len(self.line)) % 2)


@dataclass(frozen=True, eq=False)
class ReferenceArray:
    """An array that a scan was simulated from.

    Attributes
    ----------
    values
        The array.
    axes
        Names of its axes.
    meaning
        Description, with the unit.
    """

    values: NDArray[np.complex64] | NDArray[np.float32]
    axes: str
    meaning: str


@dataclass(frozen=True, eq=False)
class SimulatedScan:
    """A simulated scan to be written.

    Attributes
    ----------
    protocol
        Content of the header.
    noise
        ``(readouts, coils, samples)`` complex64, noise readouts.
    slices
        The readouts of each slice, which may be computed during iteration.
    references
        The arrays that the scan was simulated from, by name.
    ecg
        ``(channels, samples)`` ECG from the start of the scan in steps of 2.5 ms; None if there is none.
    """

    protocol: Protocol
    noise: NDArray[np.complex64]
    slices: Iterable[SliceReadouts]
    references: Mapping[str, ReferenceArray]
    ecg: NDArray[np.uint32] | None = None


def write_simulated_scan(path: Path, scan: SimulatedScan, *, force: bool = False) -> None:
    """Write a simulated scan atomically; the reference arrays are in the group ``dataset/truth``.

    Raises
    ------
    FileError
        If the file exists and ``force`` is not set, or it cannot be written.
    """
    refuse_existing(path, force=force)
    with moved_into_place(path) as temporary, new_hdf5(temporary, libver="earliest", track_order=True) as file:
        if scan.references:  # first, since some clients read the last group, which must be that of the readouts
            _link_truth(file)
        data = _new_scan(file, header_xml(scan.protocol), 0)
        _append(data, _noise_rows(scan.noise))
        for number, readouts in enumerate(scan.slices):
            _append(data, _image_rows(readouts, number, len(data), scan.protocol))
        if scan.ecg is not None:
            _write_waveforms(file, _ecg_blocks(scan.ecg), path)
        for name, part in scan.references.items():
            stored = file.create_dataset(f"dataset/truth/{name}", data=part.values, compression="gzip", shuffle=True)
            stored.attrs.update(axes=part.axes, meaning=part.meaning)
        if scan.references:
            file["dataset/truth"].attrs.update(scan.protocol.notes)


def write_hdf5_scan(raw: RawScan, path: Path) -> None:
    """Write a scan that was read from a file of any format: header, readouts in their original order, and waveforms.

    The images from which it was simulated are copied as well, if it is in an HDF5 file that contains them.

    Raises
    ------
    DataError
        If the number of samples of a readout differs from its header.
    """
    with new_hdf5(path, libver="earliest", track_order=True) as file:
        _copy_truth(raw, file)
        data, heads = _new_scan(file, raw.xml, len(raw)), raw.standard_heads()
        for index, stored, trajectories in raw.stored_readouts():
            rows = np.zeros(len(index), acquisition_dtype)
            rows["head"] = heads[index]
            for row, samples, trajectory in zip(rows, stored, trajectories, strict=True):
                row["data"] = as_complex(samples).view(np.float32)
                row["traj"] = np.asarray(trajectory, np.float32)
            data[index[0] : index[-1] + 1] = rows
        if raw.waveforms:
            _write_waveforms(file, raw.waveforms, raw.path)


def _link_truth(file: h5py.File) -> None:
    """Name the reference arrays in the root group."""
    file[TRUTH] = h5py.SoftLink(f"/dataset/{TRUTH}")


def _copy_truth(raw: RawScan, file: h5py.File) -> None:
    """Copy the reference arrays of a scan, see `has_truth`, to a new file."""
    if has_truth(raw):
        _link_truth(file)
        with open_hdf5(raw.path) as source:
            source.copy(truth_group(source, raw), file, f"dataset/{TRUTH}")


def _new_scan(file: h5py.File, xml: str, n_rows: int) -> h5py.Dataset:
    """Write the header, and create the array of the readouts."""
    group = file.require_group("dataset")
    group.create_dataset("xml", data=[xml.encode()], dtype=h5py.special_dtype(vlen=bytes))
    return group.create_dataset("data", (n_rows,), acquisition_dtype, maxshape=(None,), chunks=(64,))


def _write_waveforms(file: h5py.File, waveforms: Sequence[Waveform], path: Path) -> None:
    rows = waveform_rows(waveforms, str(path))
    file.create_dataset("dataset/waveforms", data=rows, maxshape=(None,), chunks=(64,))


def _append(data: h5py.Dataset, rows: NDArray[np.void]) -> None:
    """Append rows to an array."""
    start = len(data)
    data.resize((start + len(rows),))
    data[start:] = rows


def _rows(samples: NDArray[np.complex64], first_scan: int) -> NDArray[np.void]:
    """Rows of the file with the samples, and with the header fields common to noise and image readouts."""
    n_readouts, n_coils, n_samples = samples.shape
    rows = np.zeros(n_readouts, acquisition_dtype)
    head = rows["head"]
    head["version"], head["measurement_uid"] = 1, 1
    head["scan_counter"] = first_scan + 1 + np.arange(n_readouts)
    head["number_of_samples"] = n_samples
    head["available_channels"] = head["active_channels"] = n_coils
    head["channel_mask"][:, 0] = (1 << min(n_coils, 63)) - 1
    flat = np.ascontiguousarray(samples, np.complex64).view(np.float32).reshape(n_readouts, -1)
    for row, values in enumerate(flat):
        rows["data"][row] = values
        rows["traj"][row] = np.zeros(0, np.float32)
    return rows


def _noise_rows(noise: NDArray[np.complex64]) -> NDArray[np.void]:
    rows = _rows(noise, 0)
    rows["head"]["flags"] = NOISE
    rows["head"]["sample_time_us"] = NOISE_DWELL_US
    rows["head"]["acquisition_time_stamp"] = START_TICKS - len(rows) + np.arange(len(rows))
    return rows


def _image_rows(readouts: SliceReadouts, number: int, first_scan: int, protocol: Protocol) -> NDArray[np.void]:
    rows = _rows(readouts.samples, first_scan)
    head, idx = rows["head"], rows["head"]["idx"]
    idx["kspace_encode_step_1"], idx["phase"] = readouts.line, readouts.frame
    idx["segment"], idx["slice"] = readouts.segment, number
    idx["set"] = 0 if readouts.encoding_set is None else readouts.encoding_set
    head["flags"] = _flags(readouts.frame, is_last_slice=number == protocol.n_slices - 1)
    head["sample_time_us"] = DWELL_US
    n_samples = protocol.oversampling * protocol.matrix[1]
    head["center_sample"] = n_samples // 2 - (n_samples - readouts.samples.shape[-1])
    head["acquisition_time_stamp"] = START_TICKS + np.round(readouts.time_ms / TICK_MS).astype(np.int64)
    head["physiology_time_stamp"][:, 0] = np.round(readouts.since_trigger_ms / TICK_MS)
    geometry = readouts.geometry
    head["position"], head["slice_dir"] = geometry.position_mm, geometry.slice_dir
    head["read_dir"], head["phase_dir"] = geometry.read_dir, geometry.phase_dir
    return rows


def _ecg_blocks(ecg: NDArray[np.uint32]) -> list[Waveform]:
    """The ECG in blocks of half a second."""
    return [
        Waveform(
            ECG_ID,
            START_TICKS + start,
            1e3 * TICK_MS,
            ecg[:, start : start + WAVEFORM_BLOCK],
            measurement_uid=1,
            scan_counter=number + 1,
        )
        for number, start in enumerate(range(0, ecg.shape[1], WAVEFORM_BLOCK))
    ]


def _flags(frame: NDArray[np.int64], *, is_last_slice: bool) -> NDArray[np.uint64]:
    """Flags of the first and the last readout of each frame, and of the last readout of the scan."""
    flags = np.zeros(len(frame), np.uint64)
    flags[np.unique(frame, return_index=True)[1]] |= np.uint64(FIRST_IN_SLICE)
    flags[len(frame) - 1 - np.unique(frame[::-1], return_index=True)[1]] |= np.uint64(LAST_IN_SLICE)
    if is_last_slice:
        flags[-1] |= np.uint64(LAST_IN_REPETITION | LAST_IN_MEASUREMENT)
    return flags
