"""The measurements in a twix file, and the binary layout of their readouts, from the definitions of twixtools.

VB files have one measurement; since VD, files begin with a table of up to 64 measurements. The scan is the last
measurement; it is preceded by the adjustments that it depends on, e.g. the noise measurement.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cinerecon.errors import ConfigError, FileError, UnsupportedError
from cinerecon.io.recognise import software_line

COPY_HINT = "the copy is incomplete: copy the file again, or export it again at the scanner"


@dataclass(frozen=True, eq=False)
class Layout:
    """The binary layout of readouts.

    Attributes
    ----------
    line
        ``VB`` or ``VD``.
    header
        Data type of the header of a readout.
    lead
        Bytes of a readout before its first channel; 0 for VB, which repeats the header for each channel.
    channel_header
        Bytes before the samples of each channel.
    channel_id
        Offset of the channel number in the channel header [bytes].
    flags
        Bit number of each flag of a readout.
    """

    line: str
    header: np.dtype[Any]
    lead: int
    channel_header: int
    channel_id: int
    flags: dict[str, int]

    def readout_bytes(self, n_channels: int, n_samples: int) -> int:
        """Size of a readout [bytes]."""
        return self.lead + n_channels * (self.channel_header + 8 * n_samples)


def layout_of(line: str, where: str) -> Layout:
    """The layout of the files of a software line.

    Raises
    ------
    UnsupportedError
        If twixtools is not installed.
    """
    mdh = twixtools_module("mdh_def", where)
    header = np.dtype(mdh.Scan_header if line == "VD" else mdh.VB17_header)
    channel = np.dtype(mdh.Channel_header) if line == "VD" else header
    return Layout(
        line=line,
        header=header,
        lead=header.itemsize if line == "VD" else 0,
        channel_header=channel.itemsize,
        channel_id=offset_of(channel, "ChannelId"),
        flags=mdh.mask_dict,
    )


def offset_of(layout: np.dtype[Any], name: str) -> int:
    """Offset of a field in a structured data type [bytes]."""
    fields: Mapping[str, Any] = layout.fields or {}
    return int(fields[name][1])


def twixtools_module(name: str, where: str) -> ModuleType:
    """Import a module of twixtools.

    Raises
    ------
    UnsupportedError
        If twixtools is not installed.
    """
    try:
        from importlib import import_module

        return import_module(f"twixtools.{name}")
    except ImportError:
        what = "this is a Siemens raw file (twix); the package twixtools, which reads them, is not installed"
        raise UnsupportedError(what, where=where, hint="pip install 'cinerecon[twix]'") from None


@dataclass(frozen=True)
class Measurement:
    """One measurement of a file.

    Attributes
    ----------
    number, n_measurements
        Its number, counted from 1, and the number of measurements in the file.
    line
        The software line of the file, ``VB`` or ``VD``.
    start, end
        Offsets of its first byte and of the byte after its last one.
    protocol_name
        Name of its protocol in the table of measurements; empty in VB files.
    """

    number: int
    n_measurements: int
    line: str
    start: int
    end: int
    protocol_name: str = ""

    @property
    def label(self) -> str:
        """Name of the measurement in messages and reports."""
        return f"measurement {self.number} of {self.n_measurements}"


def list_measurements(path: Path) -> tuple[Measurement, ...]:
    """The measurements of a file, in order.

    Raises
    ------
    FileError
        If the file is truncated, or its table of measurements is damaged.
    UnsupportedError
        If twixtools is not installed.
    """
    layout = twixtools_module("hdr_def", str(path)).MultiRaidFileHeader
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(layout.itemsize)
    if software_line(start) == "VB":
        return (Measurement(1, 1, "VB", 0, size),)
    if len(start) < layout.itemsize:
        what = (
            f"the Siemens raw file is truncated: its table of measurements has {layout.itemsize} bytes, the file {size}"
        )
        raise FileError(what, where=str(path), hint=COPY_HINT)
    table = np.frombuffer(start, layout)[0]
    entries = table["entry"][: int(table["hdr"]["count_"])]
    starts = [int(entry["off_"]) for entry in entries]
    measurements = []
    for number, entry in enumerate(entries, 1):
        first = int(entry["off_"])
        following = min([other for other in starts if other > first], default=size)
        end = first + int(entry["len_"]) if entry["len_"] else following  # the length of a stopped scan is 0
        name = bytes(entry["protName_"]).split(b"\0")[0].decode("latin-1")
        measurement = Measurement(number, len(entries), "VD", first, end, name)
        _require_inside(measurement, layout.itemsize, size, path)
        measurements.append(measurement)
    return tuple(measurements)


def _require_inside(measurement: Measurement, n_table: int, size: int, path: Path) -> None:
    """Check that a measurement does not extend beyond the file or overlap the table."""
    where = f"{path}, {measurement.label}"
    if measurement.start < n_table:
        what = f"the table of measurements is damaged: bytes {measurement.start} to {measurement.end} of {size}"
        raise FileError(what, where=where, hint=COPY_HINT)
    if measurement.end > size:
        what = f"the Siemens raw file is truncated: the measurement ends at byte {measurement.end}, the file has {size}"
        raise FileError(what, where=where, hint=COPY_HINT)


def choose_measurement(measurements: tuple[Measurement, ...], number: int | None, path: Path) -> Measurement:
    """The measurement with the given number, counted from 1; the last one for None.

    Raises
    ------
    ConfigError
        If there is no such measurement.
    """
    if number is None:
        return measurements[-1]
    if not 1 <= number <= len(measurements):
        names = ", ".join(f"{part.number} '{part.protocol_name}'" for part in measurements if part.protocol_name)
        what = f"there is no measurement {number}, the file contains {len(measurements)}{f': {names}' if names else ''}"
        raise ConfigError(what, where=str(path), hint=f"--measurement {len(measurements)} is the scan, the default")
    return measurements[number - 1]
