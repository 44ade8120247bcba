"""The protocol of a measurement, which is stored before the readouts as named text buffers.

``MeasYaps`` contains the parameters set by the user (ASCCONV); ``Meas``, ``Dicom`` and ``Config`` contain those derived
by the scanner (XProtocol). Both are parsed by twixtools, after invalid lines have been removed: with damaged text, the
parser might take very long or use all memory.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cinerecon.errors import FileError, HeaderError
from cinerecon.io.recognise import MAX_BUFFERS
from cinerecon.io.twix.measurements import COPY_HINT, Measurement, twixtools_module

DERIVED = ("Meas", "Dicom", "Config")
"""Buffers of derived parameters, in the order in which a parameter is looked up."""
LARGEST_PROTOCOL = 64 << 20
"""Largest size of a protocol [bytes]."""

_ASSIGNMENT = re.compile(
    r"^([A-Za-z_][\w.\[\]]{0,200})[ \t]*=[ \t]*(\"{1,2}[^\"\n]{0,200}\"{1,2}|[^\s\"]{1,100})", re.MULTILINE
)
_LARGE_INDEX = re.compile(r"\[\d{5,}\]")
_BLANKS = re.compile(r"[ \t]+")
_NAME = re.compile(rb"(\w{4,40})\0")


@dataclass(frozen=True, eq=False)
class Protocol:
    """The parameters of a measurement.

    Attributes
    ----------
    where
        The file and the measurement, for errors.
    size
        Size of the protocol [bytes]; the readouts begin after it.
    chosen
        The parameters of ``MeasYaps`` as nested mappings and lists.
    derived
        The parameters of each other buffer, by the last part of their path.
    """

    where: str
    size: int
    chosen: Mapping[str, Any]
    derived: tuple[Mapping[str, Any], ...]

    def value(self, path: str) -> Any:
        """A parameter by its path in ``MeasYaps``, e.g. ``sSliceArray.asSlice[0].dPhaseFOV``; None if it is missing.

        A parameter that is not in ``MeasYaps`` is looked up in the other buffers by the last part of its path. If it
        is a list, the first value is returned.
        """
        name = path.split(".")[-1].partition("[")[0]
        candidates = (self._chosen(path), *(buffer.get(name) for buffer in self.derived))
        return next((part for part in map(_first, candidates) if part not in (None, "")), None)

    def number(self, path: str) -> float | None:
        """A parameter as a finite number; None if it is missing or not a number."""
        value = self.value(path)
        try:
            number = float(int(value, 16)) if isinstance(value, str) and value.startswith("0x") else float(value)
        except (TypeError, ValueError):
            return None
        return number if math.isfinite(number) else None

    def count(self, path: str, default: int = 0) -> int:
        """A parameter as an integer; the default if it is missing."""
        number = self.number(path)
        return default if number is None else round(number)

    def text(self, path: str) -> str:
        """A parameter as text; empty if it is missing."""
        value = self.value(path)
        return "" if value is None else str(value).strip('"').strip()

    def required(self, path: str) -> float:
        """A positive number that is required to read the scan.

        Raises
        ------
        HeaderError
            If it is missing or not positive.
        """
        number = self.number(path)
        if number is None or number <= 0:
            what = f"the protocol lacks {path}" if number is None else f"{path} is {number:g}, expected more than 0"
            raise HeaderError(what, where=self.where, hint="the protocol of the measurement is damaged")
        return number

    def items(self, path: str) -> list[Mapping[str, Any]]:
        """The elements of a list of structures in ``MeasYaps``; empty if there is no such list."""
        value = self._chosen(path)
        return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []

    def _chosen(self, path: str) -> Any:
        """A parameter or structure of ``MeasYaps``; None if it is missing."""
        value: Any = self.chosen
        for key in re.findall(r"\w+", path):
            if isinstance(value, list):
                value = value[int(key)] if key.isdigit() and int(key) < len(value) else None
            else:
                value = value.get(key) if isinstance(value, Mapping) else None
        return value


def _first(value: Any) -> Any:
    return (value[0] if value else None) if isinstance(value, list) else value


def read_protocol(path: Path, measurement: Measurement) -> Protocol:
    """Read the protocol of a measurement.

    Raises
    ------
    FileError
        If it is truncated or damaged.
    HeaderError
        If a required buffer is missing or cannot be parsed.
    """
    where = f"{path}, {measurement.label}"
    buffers, size = _read_buffers(path, measurement, where)
    for name in ("MeasYaps", "Meas"):
        if name not in buffers:
            what = f"the protocol has no buffer '{name}', only {', '.join(buffers) or 'none'}"
            raise HeaderError(what, where=where, hint=COPY_HINT)
    parser = twixtools_module("twixprot", where)
    lines = _ASSIGNMENT.findall(buffers["MeasYaps"])
    text = "".join(f"{name} = {value.replace(' ', '_')}\n" for name, value in lines if not _LARGE_INDEX.search(name))
    try:
        chosen = parser.parse_ascconv(text)
        derived = tuple(parser.parse_xprot(_BLANKS.sub(" ", buffers.get(name, ""))) for name in DERIVED)
    except (TypeError, AttributeError, LookupError, ValueError, RecursionError) as error:
        raise HeaderError(f"the protocol is damaged: {error}", where=where, hint=COPY_HINT) from None
    return Protocol(where, size, chosen, derived)


def _read_buffers(path: Path, measurement: Measurement, where: str) -> tuple[dict[str, str], int]:
    """Read the text buffers by name, and the size of the protocol [bytes]."""
    with path.open("rb") as file:
        file.seek(measurement.start)
        start = file.read(8)
        size, n_buffers = (int.from_bytes(start[i : i + 4], "little") for i in (0, 4))
        available = measurement.end - measurement.start
        if size > available and measurement.line == "VB":
            what = f"the Siemens raw file is truncated: its protocol has {size} bytes, the file {available}"
            raise FileError(what, where=where, hint=COPY_HINT)
        if not 8 < size <= min(available, LARGEST_PROTOCOL) or not 1 <= n_buffers <= MAX_BUFFERS:
            what = f"the protocol is damaged: {n_buffers} buffers in {size} bytes, the measurement has {available}"
            raise FileError(what, where=where, hint=COPY_HINT)
        content = file.read(size - 8)
    buffers, offset = {}, 0
    for number in range(n_buffers):
        name = _NAME.match(content, offset)
        end = offset if name is None else name.end() + 4
        length = int.from_bytes(content[end - 4 : end], "little")
        if name is None or end + length > len(content):
            what = f"the protocol is damaged: buffer {number + 1} of {n_buffers} at byte {offset + 8} is not readable"
            raise FileError(what, where=where, hint=COPY_HINT)
        buffers[name[1].decode("ascii", "replace")] = content[end : end + length].decode("latin-1")
        offset = end + length
    return buffers, size
