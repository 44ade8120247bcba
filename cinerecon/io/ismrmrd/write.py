"""Write an ISMRMRD (MRD) raw scan of a Cartesian cine that other programs can read.

Layout: group ``dataset`` with ``xml`` and ``data``, one row per readout: noise first, then the lines in temporal order.
The images and maps that the scan was simulated from are in the group ``truth``, which readers of raw data ignore.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import h5py
import numpy as np
from ismrmrd.hdf5 import acquisition_dtype
from numpy.typing import NDArray

from cinerecon.cine_meta import Geometry
from cinerecon.io.atomic import moved_into_place, refuse_existing
from cinerecon.io.hdf5 import new_hdf5
from cinerecon.io.ismrmrd.raw import TICK_MS
from cinerecon.io.ismrmrd.waveforms import ECG_ID, Waveform, waveform_rows

FIRST_IN_SLICE, LAST_IN_SLICE, LAST_IN_REPETITION, NOISE, LAST_IN_MEASUREMENT = (1 << n - 1 for n in (7, 8, 14, 19, 25))
"""Flags of a readout; flag n of the standard is bit n - 1."""
HZ_PER_TESLA = 42.58e6
"""Resonance frequency of protons per field strength [Hz/T]."""
START_TICKS = 14_400_000
"""Time stamp of the first image readout: 10:00, in ticks since midnight."""
WAVEFORM_BLOCK = 200
"""Samples of each channel in one block of the ECG."""


@dataclass(frozen=True)
class Protocol:
    """Content of the header of a scan.

    Attributes
    ----------
    matrix
        Image size (y, x).
    oversampling
        Samples of a readout per image column.
    pixel_size_mm
        Distance of adjacent pixels along (y, x) [mm].
    slice_thickness_mm
        Thickness of a slice [mm].
    n_coils, n_frames, n_slices
        Sizes of the scan.
    acceleration
        Lines of the matrix over lines acquired.
    name
        Name of the protocol.
    repetition_ms, echo_ms, flip_degrees
        Time between readouts, echo time [ms] and flip angle [degrees].
    dwell_us, noise_dwell_us
        Time per sample of an image readout and of a noise readout [us].
    noise_bandwidth
        Noise power at the ends of a noise readout's band, relative to its middle.
    field_strength_tesla
        Field strength [T]; None if unknown, and then not in the header.
    subject
        Pseudonym of the subject; empty if unknown.
    venc_cm_s
        Velocity range of a phase-contrast scan, which has two sets [cm/s]; None for others.
    notes
        Further parameters by name.
    """

    matrix: tuple[int, int]
    oversampling: int
    pixel_size_mm: tuple[float, float]
    slice_thickness_mm: float
    n_coils: int
    n_frames: int
    n_slices: int = 1
    acceleration: float = 1.0
    name: str = "cine"
    repetition_ms: float = 3.0
    echo_ms: float = 1.5
    flip_degrees: float = 50.0
    dwell_us: float = 2.6
    noise_dwell_us: float = 5.0
    noise_bandwidth: float = 0.793
    field_strength_tesla: float | None = None
    subject: str = ""
    venc_cm_s: float | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SliceReadouts:
    """The readouts of one slice in the order of acquisition.

    Attributes
    ----------
    samples
        ``(readouts, coils, samples)`` complex64; an asymmetric echo lacks its start.
    line, frame, segment
        ``(readouts,)`` ky line, frame and segment of the heartbeat.
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
        """The readouts of two sets: each readout is followed by that of the other set after a delay."""
        names = ("samples", "line", "frame", "segment", "time_ms", "since_trigger_ms")
        later = {name: getattr(other, name) + delay_ms for name in names[-2:]}
        pairs = {name: np.stack([getattr(self, name), later.get(name, getattr(other, name))], 1) for name in names}
        joined = {name: values.reshape(-1, *values.shape[2:]) for name, values in pairs.items()}
        return SliceReadouts(**joined, geometry=self.geometry, encoding_set=np.arange(2 * len(self.line)) % 2)


@dataclass(frozen=True, eq=False)
class Truth:
    """One array that a scan was simulated from, with its description."""

    values: NDArray[np.complex64] | NDArray[np.float32]
    axes: str
    meaning: str


def write_raw(
    path: Path,
    protocol: Protocol,
    noise: NDArray[np.complex64],
    slices: Iterable[SliceReadouts],
    truth: Mapping[str, Truth],
    *,
    ecg: NDArray[np.uint32] | None = None,
    force: bool = False,
) -> None:
    """Write a raw scan; the file appears when it is complete. Its truth is in the group ``dataset/truth``.

    Parameters
    ----------
    path
        File to write.
    protocol
        Content of the header.
    noise
        ``(readouts, coils, samples)`` complex64, noise readouts.
    slices
        The readouts of each slice.
    truth
        The arrays that the scan was simulated from; read after the slices, so it may be filled with them.
    ecg
        ``(channels, samples)`` the ECG from the start of the scan in steps of 2.5 ms; None without one.
    force
        Overwrite an existing file.

    Raises
    ------
    FileError
        If the file exists and is not to be overwritten, or cannot be written.
    """
    refuse_existing(path, force=force)
    with moved_into_place(path) as temporary, new_hdf5(temporary, libver="earliest", track_order=True) as file:
        if truth:  # created first: clients that read the last group of a file then read the readouts
            file["truth"] = h5py.SoftLink("/dataset/truth")
        group = file.create_group("dataset")
        group.create_dataset("xml", data=[header_xml(protocol).encode()], dtype=h5py.special_dtype(vlen=bytes))
        data = group.create_dataset("data", (0,), acquisition_dtype, maxshape=(None,), chunks=(64,))
        _append(data, _noise_rows(noise, protocol))
        for number, readouts in enumerate(slices):
            _append(data, _image_rows(readouts, number, len(data), protocol))
        if ecg is not None:
            group.create_dataset(
                "waveforms", data=waveform_rows(_ecg_blocks(ecg), str(path)), maxshape=(None,), chunks=(64,)
            )
        for name, part in truth.items():
            stored = group.create_dataset(f"truth/{name}", data=part.values, compression="gzip", shuffle=True)
            stored.attrs.update(axes=part.axes, meaning=part.meaning)
        if truth:
            group["truth"].attrs.update(protocol.notes)


def _append(data: h5py.Dataset, rows: NDArray[np.void]) -> None:
    start = len(data)
    data.resize((start + len(rows),))
    data[start:] = rows


def _rows(samples: NDArray[np.complex64], first_scan: int) -> NDArray[np.void]:
    """Rows of the file with the samples and the fields that all readouts share."""
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


def _noise_rows(noise: NDArray[np.complex64], protocol: Protocol) -> NDArray[np.void]:
    rows = _rows(noise, 0)
    rows["head"]["flags"] = NOISE
    rows["head"]["sample_time_us"] = protocol.noise_dwell_us
    rows["head"]["acquisition_time_stamp"] = START_TICKS - len(rows) + np.arange(len(rows))
    return rows


def _image_rows(readouts: SliceReadouts, number: int, first_scan: int, protocol: Protocol) -> NDArray[np.void]:
    rows = _rows(readouts.samples, first_scan)
    head, idx = rows["head"], rows["head"]["idx"]
    idx["kspace_encode_step_1"], idx["phase"] = readouts.line, readouts.frame
    idx["segment"], idx["slice"] = readouts.segment, number
    idx["set"] = 0 if readouts.encoding_set is None else readouts.encoding_set
    head["flags"] = _flags(readouts.frame, is_last_slice=number == protocol.n_slices - 1)
    head["sample_time_us"] = protocol.dwell_us
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
    """Flags of the first and last readout of each frame, and of the last readout of the scan."""
    flags = np.zeros(len(frame), np.uint64)
    flags[np.unique(frame, return_index=True)[1]] |= np.uint64(FIRST_IN_SLICE)
    flags[len(frame) - 1 - np.unique(frame[::-1], return_index=True)[1]] |= np.uint64(LAST_IN_SLICE)
    if is_last_slice:
        flags[-1] |= np.uint64(LAST_IN_REPETITION | LAST_IN_MEASUREMENT)
    return flags


def header_xml(protocol: Protocol) -> str:
    """The XML header of a scan. The vendor is not Siemens, so the image is the inverse Fourier transform of k-space."""
    measurement = _tags("patientPosition", "HFS") + _tags("protocolName", escape(protocol.name))
    sequence = {
        "TR": protocol.repetition_ms,
        "TE": protocol.echo_ms,
        "flipAngle_deg": protocol.flip_degrees,
        "sequence_type": "SSFP",
        "echo_spacing": protocol.repetition_ms,
    }
    notes = (_tags("name", escape(name)) + _tags("value", escape(text)) for name, text in protocol.notes.items())
    venc = ""
    if protocol.venc_cm_s is not None:
        venc = _tags("userParameterDouble", _tags("name", "VENC") + _tags("value", f"{protocol.venc_cm_s:g}"))
    frequency_hz = round(HZ_PER_TESLA * (protocol.field_strength_tesla or 0))  # required by the schema; 0 if unknown
    parts = {
        **({"subjectInformation": _tags("patientID", escape(protocol.subject))} if protocol.subject else {}),
        "measurementInformation": measurement,
        "acquisitionSystemInformation": _system(protocol),
        "experimentalConditions": _tags("H1resonanceFrequency_Hz", frequency_hz),
        "encoding": _encoding(protocol),
        "sequenceParameters": "".join(_tags(name, value) for name, value in sequence.items()),
        "userParameters": venc + "".join(_tags("userParameterString", note) for note in notes),
    }
    start = '<?xml version="1.0" encoding="UTF-8"?>\n<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">\n'
    return start + "\n".join(_tags(name, content) for name, content in parts.items()) + "\n</ismrmrdHeader>\n"


def _system(protocol: Protocol) -> str:
    field_tesla = protocol.field_strength_tesla
    parts = {
        "systemVendor": "cinerecon",
        "systemModel": "simulated",
        **({} if field_tesla is None else {"systemFieldStrength_T": f"{field_tesla:g}"}),
        "relativeReceiverNoiseBandwidth": protocol.noise_bandwidth,
        "receiverChannels": protocol.n_coils,
    }
    labels = (_tags("coilNumber", n) + _tags("coilName", f"loop {n}") for n in range(protocol.n_coils))
    described = "".join(_tags(name, value) for name, value in parts.items())
    return described + "".join(_tags("coilLabel", label) for label in labels)


def _encoding(protocol: Protocol) -> str:
    (ky, kx), samples = protocol.matrix, protocol.oversampling * protocol.matrix[1]
    limits = (
        _limit("kspace_encoding_step_1", ky, ky // 2)
        + _limit("kspace_encoding_step_2", 1)
        + _limit("average", 1)
        + _limit("slice", protocol.n_slices)
        + _limit("contrast", 1)
        + _limit("phase", protocol.n_frames)
        + _limit("repetition", 1)
        + _limit("set", 1 if protocol.venc_cm_s is None else 2)
    )
    steps = _tags("kspace_encoding_step_1", max(1, round(protocol.acceleration))) + _tags("kspace_encoding_step_2", 1)
    return (
        _space("encodedSpace", ky, samples, protocol)
        + _space("reconSpace", ky, kx, protocol)
        + _tags("encodingLimits", limits)
        + _tags("trajectory", "cartesian")
        + _tags("parallelImaging", _tags("accelerationFactor", steps) + _tags("calibrationMode", "other"))
    )


def _limit(counter: str, count: int, centre: int = 0) -> str:
    return _tags(counter, _tags("minimum", 0) + _tags("maximum", count - 1) + _tags("center", centre))


def _space(name: str, y: int, x: int, protocol: Protocol) -> str:
    size_y, size_x = protocol.pixel_size_mm
    matrix = _tags("x", x) + _tags("y", y) + _tags("z", 1)
    fov = _tags("x", round(x * size_x, 6)) + _tags("y", round(y * size_y, 6)) + _tags("z", protocol.slice_thickness_mm)
    return _tags(name, _tags("matrixSize", matrix) + _tags("fieldOfView_mm", fov))


def _tags(name: str, content: object) -> str:
    return f"<{name}>{content}</{name}>"
