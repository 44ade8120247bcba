"""Reader of Siemens twix files."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.header import read_header
from cinerecon.io.ismrmrd.raw import NOISE, RawScan
from cinerecon.io.ismrmrd.raw import has_flag as has_acquisition_flag
from cinerecon.io.recognise import first_bytes
from cinerecon.io.twix.acquisitions import NO_READOUT, acquisition_heads, has_slice_data, is_image_line
from cinerecon.io.twix.channels import in_one_order
from cinerecon.io.twix.definitions import Layout, layout_of
from cinerecon.io.twix.header import header_xml
from cinerecon.io.twix.measurements import Measurement, choose_measurement, list_measurements
from cinerecon.io.twix.protocol import read_protocol
from cinerecon.io.twix.readouts import Mdh, has_flag, read_headers
from cinerecon.io.twix.signals import read_signals

NOT_APPLIED = {
    "RAWDATACORRECTION": "a per-coil correction of readouts",
    "SIGNREV": "a change of sign of readouts",
    "SCANSCALEFACTOR": "a scale factor of readouts",
}
"""Twix flags that request a correction of image data, which is not applied, and descriptions of the corrections."""
UNIFORM = ("SIGNREV", "SCANSCALEFACTOR")
"""Corrections that do not affect the image if they are requested for all lines."""


def read_twix(path: str | Path, measurement: int | None = None) -> RawScan:
    """Open a measurement of a Siemens raw file; the protocol and the headers of all readouts are read.

    Parameters
    ----------
    path
        A twix file of software line VB, VD, VE or XA.
    measurement
        Number of the measurement, counted from 1; None selects the last one that is not a noise measurement.

    Raises
    ------
    FileError
        If the file is missing, truncated or damaged.
    HeaderError
        If the protocol lacks a required parameter.
    DataError
        If there are no readouts.
    UnsupportedError
        If the kind of scan is not supported, or twixtools is not installed.
    ConfigError
        If there is no such measurement.
    """
    path = Path(path)
    first_bytes(path)
    measurements = list_measurements(path)
    scan = read_measurement(path, choose_measurement(measurements, measurement, path))
    if measurement is not None or not _is_noise(scan):
        return scan
    for earlier in reversed(measurements[:-1]):  # adjustments may follow the scan
        other = read_measurement(path, earlier)
        if not _is_noise(other):
            text = f"{scan.group} has only noise readouts: {other.group} is read"
            return replace(other, warnings=(*other.warnings, text))
    return scan


def _is_noise(scan: RawScan) -> bool:
    """Whether a measurement has only noise readouts."""
    return bool(has_acquisition_flag(scan.heads, NOISE).all())


def read_measurement(path: Path, measurement: Measurement) -> RawScan:
    """Read one of the measurements of a file; raises the errors of `read_twix`."""
    where = f"{path}, {measurement.label}"
    layout = layout_of(measurement.line, where)
    protocol = read_protocol(path, measurement)
    mdh, store, packets = read_headers(path, measurement, layout, measurement.start + protocol.size)
    used = np.flatnonzero(~has_flag(mdh, layout, *NO_READOUT))
    waveforms, warnings = read_signals(path, packets, mdh, protocol.text("SoftwareVersions"))
    if len(used) == 0:
        raise DataError("the measurement has no readouts of images or noise", where=where)
    if len(used) < len(mdh):
        warnings += (f"readouts of the scanner adjustments are not used: {len(mdh) - len(used)}",)
    mdh = mdh[used]
    store = replace(
        store, offsets=store.offsets[used], n_channels=store.n_channels[used], n_samples=store.n_samples[used]
    )
    heads = acquisition_heads(mdh, layout, protocol)
    is_image = is_image_line(mdh, layout)
    amplitude, channels = store.examine()
    store, channel_warnings = in_one_order(store, channels, is_image | has_flag(mdh, layout, "PATREFSCAN"))
    warnings += (*_requested_corrections(mdh[is_image], layout), *channel_warnings, *_slice_warnings(mdh))
    xml, header_warnings = header_xml(protocol, heads[is_image] if is_image.any() else heads, waveforms)
    header, text = read_header(xml, where)
    return RawScan(
        path=path,
        group=measurement.label,
        header=header,
        xml=text,
        heads=heads,
        amplitude=amplitude,
        store=store,
        warnings=(*warnings, *header_warnings),
        waveforms=waveforms,
    )


def _slice_warnings(mdh: Mdh) -> tuple[str, ...]:
    """A warning if there are several slices, but no readout has a position."""
    n_slices = len(np.unique(mdh["Counter"]["Sli"]))
    if n_slices < 2 or has_slice_data(mdh):
        return ()
    what = f"readouts of {n_slices} slices have no position: those of the protocol are used by the slice counter"
    return (f"{what}; if slices were measured interleaved, they may be in a different order",)


def _requested_corrections(image: Mdh, layout: Layout) -> tuple[str, ...]:
    """Warnings about requested corrections of image data, which are not applied."""
    requested = {name: has_flag(image, layout, name) for name in NOT_APPLIED}
    return tuple(
        f"the scanner requests {NOT_APPLIED[name]} ({name}), which is not applied"
        for name, lines in requested.items()
        if lines.any() and not (name in UNIFORM and lines.all())
    )
