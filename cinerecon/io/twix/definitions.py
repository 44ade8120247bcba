"""Binary layout of twix files for each software line, from the definitions of the package twixtools."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from cinerecon.errors import UnsupportedError


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
