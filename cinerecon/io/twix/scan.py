"""Reader of Siemens twix files; the channels of all readouts are brought into the same order."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.header import read_header
from cinerecon.io.ismrmrd.raw import NOISE, RawScan
from cinerecon.io.ismrmrd.raw import has_flag as has_acquisition_flag
from cinerecon.io.recognise import first_bytes
from cinerecon.io.twix.acquisitions import NO_READOUT, acquisition_heads, has_slice_data, is_image_line
from cinerecon.io.twix.header import header_xml
from cinerecon.io.twix.measurements import Layout, Measurement, choose_measurement, layout_of, list_measurements
from cinerecon.io.twix.protocol import read_protocol
from cinerecon.io.twix.readouts import Mdh, TwixSamples, has_flag, read_headers
from cinerecon.io.twix.signals import read_signals
from cinerecon.words import name_numbers

NOT_APPLIED = {
    "RAWDATACORRECTION": "a per-coil correction of readouts",
    "SIGNREV": "a change of sign of readouts",
    "SCANSCALEFACTOR": "a scale factor of readouts",
}
"""Twix flags that request a correction of image data, which is not applied, and descriptions of the corrections."""
UNIFORM = ("SIGNREV", "SCANSCALEFACTOR")
"""Corrections that do not affect the image if they are requested for all lines."""
MAX_LISTED = 8
"""Largest number of channels that are named in an error."""


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


def in_one_order(
    store: TwixSamples, channels: list[tuple[int, ...]], is_used: NDArray[np.bool_]
) -> tuple[TwixSamples, tuple[str, ...]]:
    """Reorder the channels of all readouts to the order of the first used readout, with a warning if necessary.

    Parameters
    ----------
    store
        Samples of the readouts.
    channels
        Channel numbers of each readout as stored.
    is_used
        ``(readouts,)`` bool, readouts with image or calibration data; others may have been measured with other coils.

    Raises
    ------
    DataError
        If used readouts have the same number of channels as the first one, but different channels.
    """
    used = np.flatnonzero(is_used)
    if used.size == 0:
        return store, ()
    first = channels[used[0]]
    differing = [int(row) for row in used if channels[row] != first and len(channels[row]) == len(first)]
    if len(set(first)) < len(first) or not differing:  # if channel numbers are not unique, they were not set
        return store, ()
    for row in differing:
        if sorted(channels[row]) != sorted(first):
            what = (
                f"readout {row} has {_listed(channels[row], first)}, readout {used[0]} {_listed(first, channels[row])}"
            )
            hint = "the receiver channels changed during the scan, which is not supported, or the file is damaged"
            raise DataError(what, where=str(store.path), hint=hint)
    text = f"{len(differing)} of {used.size} readouts have their channels in a different order: they are reordered"
    return replace(store, channels=np.array(first, np.uint16)), (text,)


def _listed(channels: tuple[int, ...], others: tuple[int, ...]) -> str:
    """The channel numbers in which two readouts differ; all of them if they differ only in how often these occur."""
    own = sorted(set(channels) - set(others)) or sorted(channels)
    return name_numbers("channel", own[:MAX_LISTED]) + (", ..." if len(own) > MAX_LISTED else "")
