"""The reader of Siemens twix files: a measurement as `RawScan`, and the noise in the other measurements of its file."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from cinerecon.errors import CineReconError, DataError
from cinerecon.io.ismrmrd.header import parse_header, without_patient
from cinerecon.io.ismrmrd.raw import RawScan
from cinerecon.io.ismrmrd.raw import has_flag as has_ismrmrd_flag
from cinerecon.io.recognise import first_bytes
from cinerecon.io.twix.acquisitions import NO_READOUT, acquisition_heads, is_image_line
from cinerecon.io.twix.definitions import layout_of
from cinerecon.io.twix.header import header_xml
from cinerecon.io.twix.measurements import Measurement, choose_measurement, list_measurements
from cinerecon.io.twix.protocol import read_protocol
from cinerecon.io.twix.readouts import TwixSamples, has_flag, read_headers

NOISE = 19


def read_twix(path: str | Path, measurement: int | None = None) -> RawScan:
    """Open a measurement of a Siemens raw file: its protocol and the headers of all readouts.

    Parameters
    ----------
    path
        A twix file of line VB, VD, VE or XA.
    measurement
        Number of the measurement, counted from 1; None for the last one, which is the scan.

    Raises
    ------
    FileError
        If the file is missing, cut or damaged.
    HeaderError
        If the protocol lacks what a reconstruction needs.
    DataError
        If there are no readouts.
    UnsupportedError
        If the scan is of a kind that is not reconstructed, or twixtools is not installed.
    ConfigError
        If there is no such measurement.
    """
    path = Path(path)
    first_bytes(path)
    return _read(path, choose_measurement(list_measurements(path), measurement, path))


def _read(path: Path, measurement: Measurement) -> RawScan:
    where = f"{path}, {measurement.label}"
    layout = layout_of(measurement.line, where)
    protocol = read_protocol(path, measurement)
    mdh, store = read_headers(path, measurement, layout, measurement.start + protocol.size)
    used = np.flatnonzero(~has_flag(mdh, layout, *NO_READOUT))
    warnings = []
    if len(used) == 0:
        raise DataError("no readout of the measurement is of an image or of noise", where=where)
    if len(used) < len(mdh):
        warnings.append(f"readouts of the scanner's own adjustments are left out: {len(mdh) - len(used)}")
    mdh = mdh[used]
    store = replace(
        store, offsets=store.offsets[used], n_channels=store.n_channels[used], n_samples=store.n_samples[used]
    )
    heads = acquisition_heads(mdh, layout, protocol)
    is_image = is_image_line(mdh, layout)
    if has_flag(mdh[is_image], layout, "RAWDATACORRECTION").any():
        warnings.append("the scanner marks readouts for a correction of each coil (RAWDATACORRECTION): it is not made")
    xml, header_warnings = header_xml(protocol, heads[is_image] if is_image.any() else heads)
    return RawScan(
        path=path,
        group=measurement.label,
        header=parse_header(xml, where),
        xml=without_patient(xml, where),
        heads=heads,
        amplitude=store.amplitudes(),
        store=store,
        warnings=(*warnings, *header_warnings),
    )


def find_noise(scan: RawScan) -> RawScan | None:
    """The measurement of the same file that measured the noise of the coils of a scan; None if there is none.

    Adjustments precede the scan, so the last one before it is used. It must have the same channels in the same order.

    Parameters
    ----------
    scan
        A measurement of a twix file.
    """
    measurements = list_measurements(scan.path)
    own = next(part for part in measurements if part.label == scan.group)
    others = [*reversed(measurements[: own.number - 1]), *measurements[own.number :]]
    return next((noise for part in others if (noise := _noise_of(scan, part)) is not None), None)


def _noise_of(scan: RawScan, measurement: Measurement) -> RawScan | None:
    """A measurement, if it has noise readouts of the channels of a scan."""
    try:
        other = _read(scan.path, measurement)
    except CineReconError:  # it is not needed for the scan, which is read
        return None
    rows = np.flatnonzero(has_ismrmrd_flag(other.heads, NOISE))
    image = int(np.flatnonzero(~has_ismrmrd_flag(scan.heads, NOISE))[0])
    if rows.size == 0 or not (isinstance(scan.store, TwixSamples) and isinstance(other.store, TwixSamples)):
        return None
    is_alike = np.array_equal(other.store.channel_ids(int(rows[0])), scan.store.channel_ids(image))
    return other if is_alike else None
