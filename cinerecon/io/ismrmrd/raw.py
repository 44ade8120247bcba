"""Raw scans as defined by ISMRMRD: headers of all readouts in one array, and access to the samples.

A scan is a list of readouts in the order of acquisition, each with a header of 340 bytes and a variable number of
samples. The readers of all raw formats return a `RawScan`, which contains the headers. A `SampleStore` reads samples on
demand; their number is compared with the headers. Readouts are numbered from 0 in the order of the file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from ismrmrd.hdf5 import acquisition_dtype
from numpy.typing import NDArray

from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.header import EncodingSpace, MrdHeader
from cinerecon.io.ismrmrd.waveforms import Waveform, within_limit

Heads = NDArray[np.void]
"""``(readouts,)`` structured array of ISMRMRD acquisition headers."""
Index = NDArray[np.intp]

BLOCK = 1024
"""Number of readouts that are read together, a compromise between speed and memory."""
SMALLEST_SAMPLE, LARGEST_SAMPLE = 1e-15, 1e15
"""Range of the largest sample of a scan for which its square can be represented in single precision."""
RESCALE = "the scale of the samples is implausible: rescale them to a magnitude of about 1"
TICK_MS = 2.5
"""Unit of time stamps of Siemens scanners [ms]."""
PILOT_TONE_SAMPLES = (3, 1)
"""Number of samples at the start and the end of each readout that are corrupted by the pilot tone."""
SIEMENS_NOISE_BANDWIDTH = 0.793
"""Ratio of the effective to the nominal bandwidth of Siemens receivers, if it is not in the header."""

CHANNELS = "channel_mask"
"""Field of the 1024 bits of a readout header of which bit c is set if the readout contains channel c.

Samples are in ascending order of the channels. Many programs leave all bits zero, or set other bits than there are
channels; the channels are then unknown.
"""
N_CHANNELS = 1024

NOISE, CALIBRATION, CALIBRATION_AND_IMAGING, REVERSE = 19, 20, 21, 22
"""Numbers of the flags that determine how a readout is used."""
FLAGS = {
    1: "first in encode step 1",
    2: "last in encode step 1",
    3: "first in encode step 2",
    4: "last in encode step 2",
    5: "first in average",
    6: "last in average",
    7: "first in slice",
    8: "last in slice",
    9: "first in contrast",
    10: "last in contrast",
    11: "first in phase",
    12: "last in phase",
    13: "first in repetition",
    14: "last in repetition",
    15: "first in set",
    16: "last in set",
    17: "first in segment",
    18: "last in segment",
    19: "noise measurement",
    20: "parallel calibration",
    21: "parallel calibration and imaging",
    22: "reverse",
    23: "navigator",
    24: "phase correction",
    25: "last in measurement",
    26: "HP feedback",
    27: "dummy scan",
    28: "RT feedback",
    29: "surface coil correction",
    30: "phase stabilisation reference",
    31: "phase stabilisation",
    53: "compression 1",
    54: "compression 2",
    55: "compression 3",
    56: "compression 4",
    **{57 + n: f"user {n + 1}" for n in range(8)},
}
"""Names of the acquisition flags of the standard, by number."""


def flag_bit(number: int) -> np.uint64:
    """The bit of a flag in the field ``flags``: flag n is bit n - 1."""
    return np.uint64(1 << (number - 1))


def has_flag(heads: Heads | np.void, *numbers: int) -> NDArray[np.bool_]:
    """Readouts with at least one of the flags, ``(readouts,)`` bool; or whether a single readout has one of them."""
    bits = np.uint64(sum(int(flag_bit(number)) for number in numbers))
    return np.asarray(heads["flags"] & bits != 0)


class SampleStore(Protocol):
    """Access to the samples of the readouts of a scan."""

    def read(self, name: Literal["data", "traj"], rows: Index) -> NDArray[np.object_]:
        """Read the samples or the trajectories of readouts as stored, a flat array for each.

        Samples are complex, or real numbers with alternating real and imaginary parts.

        Parameters
        ----------
        name
            ``data`` for samples, ``traj`` for trajectories.
        rows
            Indices of the readouts, ascending.
        """
        ...


@dataclass(frozen=True, eq=False)
class MemorySamples:
    """The samples of a scan in memory, e.g. from a stream.

    Attributes
    ----------
    rows, trajectories
        ``(readouts,)`` a flat array for each readout.
    """

    rows: NDArray[np.object_]
    trajectories: NDArray[np.object_]

    def read(self, name: Literal["data", "traj"], rows: Index) -> NDArray[np.object_]:
        """The samples or the trajectories of readouts."""
        return (self.rows if name == "data" else self.trajectories)[rows]


@dataclass(frozen=True, eq=False)
class RawScan:
    """A measurement in a raw file.

    Attributes
    ----------
    path
        The file.
    group
        Name of the measurement in the file: the HDF5 group, or its number.
    header
        Content of its XML header.
    xml
        The de-identified XML header.
    heads
        ``(readouts,)`` headers of the readouts.
    amplitude
        ``(readouts,)`` largest magnitude of the real and imaginary parts of each readout; 0 if it is empty.
    store
        Access to the samples.
    warnings
        Warnings about the file.
    waveforms
        Blocks of the ECG and of other signals.
    """

    path: Path
    group: str
    header: MrdHeader
    xml: str
    heads: Heads
    amplitude: NDArray[np.float64]
    store: SampleStore = field(repr=False)
    warnings: tuple[str, ...] = ()
    waveforms: tuple[Waveform, ...] = ()

    def __len__(self) -> int:
        """Number of readouts."""
        return len(self.heads)

    def is_readable(self, rows: Index) -> NDArray[np.bool_]:
        """Whether `samples` does not refuse readouts because of a sample that is not finite or beyond 1e15."""
        return np.asarray(self.amplitude[rows] <= LARGEST_SAMPLE)

    def at(self, row: int | np.integer[Any]) -> str:
        """File and number of a readout, for messages."""
        return f"{self.path}, acquisition {int(row)}"

    def standard_heads(self) -> Heads:
        """The headers with all fields of the standard; fields that are missing in the file are zero."""
        heads: Heads = np.zeros(len(self), acquisition_dtype["head"])
        for name in set(heads.dtype.names or ()) & set(self.heads.dtype.names or ()):
            heads[name] = self.heads[name]
        return heads

    def with_encodings(self, *encodings: EncodingSpace) -> Self:
        """A copy of the scan with other encodings in its header."""
        return replace(self, header=replace(self.header, encodings=encodings))

    def samples(self, rows: Index) -> NDArray[np.complex64]:
        """Read readouts of equal length, ``(readouts, coils, samples)``; the indices ``rows`` must be ascending.

        Raises
        ------
        DataError
            If the number of samples of a readout differs from its header, or a sample is not finite or exceeds 1e15.
        """
        if len(rows) == 0:
            return np.empty((0, 0, 0), np.complex64)
        coils, n_samples = (int(self.heads[name][rows[0]]) for name in ("active_channels", "number_of_samples"))
        out = np.empty((len(rows), coils, n_samples), np.complex64)
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            stored = self.store.read("data", block)
            self.require_lengths(block, stored)
            target = out[start : start + BLOCK]
            flat = target.reshape(-1)
            np.concatenate(
                stored, out=flat if np.iscomplexobj(stored[0]) else flat.view(np.float32), casting="same_kind"
            )
            self._require_finite(block, target)
        return out

    def unspoiled_samples(self, rows: Index) -> NDArray[np.complex64]:
        """Read readouts as `samples` does, with zeros instead of samples to discard or corrupted by the pilot tone."""
        samples = self.samples(rows)
        before, after = (self.heads[name][rows].astype(np.intp)[:, None] for name in ("discard_pre", "discard_post"))
        column = np.arange(samples.shape[-1])
        if before.any() or after.any():
            samples *= ((column >= before) & (column < len(column) - after))[:, None]
        if self.header.has_pilot_tone:
            samples[..., : PILOT_TONE_SAMPLES[0]] = samples[..., -PILOT_TONE_SAMPLES[1] :] = 0
        return samples

    def trajectories(self, rows: Index) -> Iterator[tuple[Index, NDArray[np.float64]]]:
        """Read trajectories in blocks: indices of readouts, and coordinates ``(readouts, samples, dimensions)``.

        Raises
        ------
        DataError
            If the number of coordinates of a readout differs from its header.
        """
        shapes = np.stack([self.heads[name][rows] for name in ("number_of_samples", "trajectory_dimensions")], 1)
        for shape in np.unique(shapes, axis=0):
            alike = rows[(shapes == shape).all(1)]
            for start in range(0, len(alike), BLOCK):
                block = alike[start : start + BLOCK]
                stored = self.store.read("traj", block)
                lengths = np.fromiter(map(len, stored), np.int64, len(stored))
                wrong = np.flatnonzero(lengths != int(shape[0]) * int(shape[1]))
                if wrong.size:
                    i = wrong[0]
                    what = (
                        f"the header declares {shape[0]} x {shape[1]} trajectory coordinates, but {lengths[i]} are "
                        "stored"
                    )
                    raise DataError(what, where=self.at(block[i]))
                yield block, np.concatenate(stored).astype(np.float64).reshape(-1, *map(int, shape))

    def stored_readouts(self) -> Iterator[tuple[Index, NDArray[np.object_], NDArray[np.object_]]]:
        """Read all readouts in blocks for a writer: indices, and samples and trajectories as stored.

        Raises
        ------
        DataError
            If the number of samples of a readout differs from its header.
        """
        for start in range(0, len(self), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(self)))
            samples = self.store.read("data", rows)
            self.require_lengths(rows, samples)
            yield rows, samples, self.store.read("traj", rows)

    def require_lengths(self, rows: Index, stored: NDArray[np.object_]) -> None:
        """Check that the numbers of samples of readouts agree with their headers.

        Raises
        ------
        DataError
            If they differ; the error contains the first such readout.
        """
        per_sample = 1 if np.iscomplexobj(stored[0]) else 2
        lengths = np.fromiter(map(len, stored), np.int64, len(stored))
        coils, n_samples = (
            self.heads[name][rows].astype(np.int64) for name in ("active_channels", "number_of_samples")
        )
        wrong = np.flatnonzero(lengths != per_sample * coils * n_samples)
        if wrong.size:
            i = wrong[0]
            what = (
                f"acquisition {int(rows[i])}: the header declares {coils[i]} x {n_samples[i]} samples, but "
                f"{lengths[i] // per_sample} are stored"
            )
            raise DataError(what, where=self.at(rows[i]), hint="the file is damaged, or was not written correctly")

    def _require_finite(self, rows: Index, samples: NDArray[np.complex64]) -> None:
        values = samples.reshape(len(rows), -1).view(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            if np.vdot(values, values) < LARGEST_SAMPLE**2:  # fast; also false for NaN
                return
        wrong = np.flatnonzero(~np.isfinite(values).all(1))
        if wrong.size:
            i = wrong[0]
            kind = "NaN" if np.isnan(values[i]).any() else "Inf"
            noise = " (a noise readout)" if has_flag(self.heads[rows[i : i + 1]], NOISE)[0] else ""
            raise DataError(
                f"{kind} in acquisition {int(rows[i])}{noise}, expected finite samples", where=self.at(rows[i])
            )
        largest = np.abs(values).max(1)
        if largest.max() > LARGEST_SAMPLE:
            i = largest.argmax()
            what = f"a sample of {largest[i]:.2g} in acquisition {int(rows[i])}, expected at most {LARGEST_SAMPLE:g}"
            raise DataError(what, where=self.at(rows[i]), hint=RESCALE)


def collected_scan(
    path: Path,
    header: tuple[MrdHeader, str],
    heads: Sequence[np.void],
    rows: Sequence[NDArray[Any]],
    trajectories: Sequence[NDArray[Any]],
    waveforms: Sequence[Waveform],
    n_images: int,
) -> RawScan:
    """Create a scan from the content of a stream.

    Parameters
    ----------
    path
        The file, or the name of the stream, for messages.
    header
        The header and its de-identified XML.
    heads, rows, trajectories
        Header, samples and trajectory of each readout.
    waveforms
        Blocks of all waveforms.
    n_images
        Number of images in the stream, for the error if there are no readouts.

    Raises
    ------
    DataError
        If there are no readouts, or the number of samples of a readout differs from its header.
    """
    if not heads:
        what = (
            f"the stream contains {n_images} images and no acquisitions" if n_images else "zero acquisitions are stored"
        )
        raise DataError(what, where=str(path))
    samples = MemorySamples(as_objects(rows), as_objects(trajectories))
    amplitude = np.array([largest_part(row) for row in rows])
    signals, warnings = within_limit(waveforms)
    scan = RawScan(path, "stream", *header, np.array(heads), amplitude, samples, warnings, signals)
    scan.require_lengths(np.arange(len(rows)), samples.rows)
    return scan


def as_objects(rows: Sequence[NDArray[Any]]) -> NDArray[np.object_]:
    """An object array ``(readouts,)`` of arrays, which may have different lengths."""
    out = np.empty(len(rows), object)
    out[:] = rows
    return out


def as_complex(stored: NDArray[Any]) -> NDArray[np.complex64]:
    """Convert the samples of a readout to complex64, also from alternating real and imaginary parts."""
    values = np.ascontiguousarray(stored, np.complex64 if np.iscomplexobj(stored) else np.float32)
    return values.view(np.complex64)


def largest_part(stored: NDArray[Any]) -> float:
    """Largest magnitude of the real and imaginary parts of samples; NaN if one of them is NaN."""
    parts = stored.view(stored.real.dtype) if np.iscomplexobj(stored) else stored
    return max(float(parts.max()), -float(parts.min())) if parts.size else 0.0


def channel_bits(heads: Heads) -> NDArray[np.bool_]:
    """Channels of readouts, ``(readouts, channels)`` bool; all False for readouts whose channels are unknown."""
    if CHANNELS not in (heads.dtype.names or ()):
        return np.zeros((len(heads), N_CHANNELS), bool)
    words = np.ascontiguousarray(heads[CHANNELS], "<u8")
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little").astype(bool)
    return np.asarray(bits & (bits.sum(1) == heads["active_channels"])[:, None])


def set_channels(heads: Heads, channels: Index) -> None:
    """Write the numbers of the channels of all readouts, ``(channels,)``, into their headers."""
    bits = np.zeros(N_CHANNELS, bool)
    bits[channels] = True
    heads[CHANNELS] = np.packbits(bits, bitorder="little").view("<u8")
