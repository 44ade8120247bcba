"""ISMRMRD/MRD raw scans: the headers of all readouts as one array, the samples in bulk.

A file is a list of readouts in the order of acquisition, each with a header of 340 bytes and samples of its own length.
No memory is allocated from the sizes in a header: a readout that claims more bytes than the file has is refused before
it is read, and the stored samples are compared with their header. Readouts are numbered from 0, in file order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import DataError, HeaderError
from cinerecon.io.hdf5 import member, open_hdf5, require_hdf5, require_plausible
from cinerecon.io.ismrmrd.file import find_dataset
from cinerecon.io.ismrmrd.header import MrdHeader, parse_header, without_patient
from cinerecon.io.ismrmrd.heap import require_sound_heaps

Heads = NDArray[np.void]
"""``(readouts,)`` structured array, the fields of the ISMRMRD acquisition header."""
Index = NDArray[np.intp]

BLOCK = 1024
"""Readouts per read: large enough to be fast, small enough to keep memory flat."""
READ_AT_ONCE = 512 << 20
"""Files of one slice up to this size [bytes] are read at once: a second pass over their chunks would take as long.
Files of several slices are read one slice at a time, so that memory does not grow with their number."""
ALWAYS_AT_ONCE = 16 << 20
"""Files up to this size [bytes] are read at once, with any number of slices."""
LARGEST_XML = 16 << 20
"""Largest size of a header [bytes]."""
SMALLEST_SAMPLE, LARGEST_SAMPLE = 1e-15, 1e15
"""Range of the largest sample of a scan, in which single precision represents its square."""
RESCALE = "the scale of the file is senseless: multiply its samples by a number that makes them about 1"
TICK_MS = 2.5
"""Unit of Siemens time stamps [ms]."""

FIELDS = (
    *("flags", "number_of_samples", "active_channels", "discard_pre", "discard_post", "center_sample"),
    *("encoding_space_ref", "trajectory_dimensions", "sample_time_us", "position", "read_dir", "phase_dir"),
    *("slice_dir", "acquisition_time_stamp", "idx"),
)

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
"""The names of the standard's acquisition flags, by number."""


def has_flag(heads: Heads, number: int) -> NDArray[np.bool_]:
    """The readouts with a flag, ``(readouts,)`` bool. Flag n is bit n - 1."""
    return np.asarray((heads["flags"] >> np.uint64(number - 1)) & np.uint64(1) != 0)


@dataclass(frozen=True, eq=False)
class RawScan:
    """One measurement of a raw file.

    Attributes
    ----------
    path
        The file.
    group
        The HDF5 group of the measurement.
    header
        Its XML header.
    xml
        The header as de-identified text.
    heads
        ``(readouts,)`` the header of every readout.
    amplitude
        ``(readouts,)`` largest magnitude of the real and imaginary parts of each readout; 0 if it is empty.
    """

    path: Path
    group: str
    header: MrdHeader
    xml: str
    heads: Heads
    amplitude: NDArray[np.float64]
    _rows: NDArray[np.object_] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        """Number of readouts."""
        return len(self.heads)

    def at(self, row: int | np.integer[Any]) -> str:
        """File and number of a readout, for messages."""
        return f"{self.path}, acquisition {int(row)}"

    def samples(self, rows: Index) -> NDArray[np.complex64]:
        """Read readouts of one length, ``(readouts, coils, samples)`` in the order of ``rows``, which must ascend.

        Raises
        ------
        DataError
            If a readout holds another number of samples than its header says, or one that is not finite or beyond 1e15.
        """
        if len(rows) == 0:
            return np.empty((0, 0, 0), np.complex64)
        coils, n_samples = (int(self.heads[name][rows[0]]) for name in ("active_channels", "number_of_samples"))
        out = np.empty((len(rows), coils, n_samples), np.complex64)
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            stored = self._rows[block] if self._rows is not None else self._read("data", block)
            self._require_lengths(block, stored)
            target = out[start : start + BLOCK]
            flat = target.reshape(-1)
            np.concatenate(
                stored, out=flat if np.iscomplexobj(stored[0]) else flat.view(np.float32), casting="same_kind"
            )
            self._require_finite(block, target)
        return out

    def trajectories(self, rows: Index) -> Iterator[tuple[Index, NDArray[np.float64]]]:
        """The stored trajectories of readouts in blocks: row numbers, ``(readouts, samples, dimensions)`` coordinates.

        Raises
        ------
        DataError
            If one holds another number of coordinates than its header says.
        """
        shapes = np.stack([self.heads[name][rows] for name in ("number_of_samples", "trajectory_dimensions")], 1)
        for shape in np.unique(shapes, axis=0):
            alike = rows[(shapes == shape).all(1)]
            for start in range(0, len(alike), BLOCK):
                block = alike[start : start + BLOCK]
                stored = self._read("traj", block)
                lengths = np.fromiter(map(len, stored), np.int64, len(stored))
                wrong = np.flatnonzero(lengths != int(shape[0]) * int(shape[1]))
                if wrong.size:
                    i = wrong[0]
                    what = f"the header says {shape[0]} x {shape[1]} trajectory coordinates, {lengths[i]} are stored"
                    raise DataError(what, where=self.at(block[i]))
                yield block, np.concatenate(stored).astype(np.float64).reshape(-1, *map(int, shape))

    def _read(self, name: str, rows: Index) -> NDArray[np.object_]:
        """One field of some readouts; a run of neighbours as a slice, which HDF5 reads fastest.

        Rows are read whole: HDF5 reads all fields in any case, and frees only those it was asked for.
        """
        first, last = int(rows[0]), int(rows[-1])
        with open_hdf5(self.path) as file:
            stored = file[self.group]["data"]
            if last - first + 1 <= 4 * len(rows):
                return np.asarray(stored[first : last + 1][name][rows - first])
            chosen = np.zeros(len(self.heads), bool)
            chosen[rows] = True
            return np.asarray(stored[chosen][name])

    def _require_lengths(self, rows: Index, stored: NDArray[np.object_]) -> None:
        per_sample = 1 if np.iscomplexobj(stored[0]) else 2
        lengths = np.fromiter(map(len, stored), np.int64, len(stored))
        coils, n_samples = (
            self.heads[name][rows].astype(np.int64) for name in ("active_channels", "number_of_samples")
        )
        wrong = np.flatnonzero(lengths != per_sample * coils * n_samples)
        if wrong.size:
            i = wrong[0]
            what = (
                f"acquisition {int(rows[i])}: the header says {coils[i]} x {n_samples[i]} samples, "
                f"{lengths[i] // per_sample} are stored"
            )
            raise DataError(what, where=self.at(rows[i]), hint="the file is damaged, or its writer is at fault")

    def _require_finite(self, rows: Index, samples: NDArray[np.complex64]) -> None:
        values = samples.reshape(len(rows), -1).view(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            if np.vdot(values, values) < LARGEST_SAMPLE**2:  # one fast pass; NaN, too, is not less
                return
        good = np.isfinite(values)
        wrong = np.flatnonzero(~good.all(1))
        if wrong.size:
            i = wrong[0]
            kind = "NaN" if np.isnan(values[i]).any() else "Inf"
            noise = " (a noise readout)" if has_flag(self.heads[rows[i : i + 1]], 19)[0] else ""
            raise DataError(
                f"{kind} in acquisition {int(rows[i])}{noise}, expected finite samples", where=self.at(rows[i])
            )
        largest = np.abs(values).max(1)
        if largest.max() > LARGEST_SAMPLE:
            i = largest.argmax()
            what = f"a sample of {largest[i]:.2g} in acquisition {int(rows[i])}, expected at most {LARGEST_SAMPLE:g}"
            raise DataError(what, where=self.at(rows[i]), hint=RESCALE)


def read_mrd(path: str | Path, dataset: str | None = None) -> RawScan:
    """Open a raw scan: its header and the headers of all readouts. The samples follow on demand.

    Parameters
    ----------
    path
        An ISMRMRD (MRD) file, HDF5.
    dataset
        The group of the measurement; needed only where a file holds several.

    Raises
    ------
    FileError
        If the file is missing, damaged or of another kind, or the group is not clear.
    HeaderError
        If the XML header is missing or senseless.
    DataError
        If there are no readouts, or they are not stored as the standard says.
    """
    path = Path(path)
    require_hdf5(path)
    require_sound_heaps(path)
    with open_hdf5(path) as file:
        group = find_dataset(file, dataset, str(path))
        xml = _read_xml(member(group, "xml", str(path)), str(path))
        header = parse_header(xml, str(path))
        data = member(group, "data", str(path))
        _require_readouts(data, path)
        heads, amplitude, rows = _read_rows(data, path)
        scan = RawScan(path, group.name, header, without_patient(xml, str(path)), heads, amplitude, rows)
    _require_claims(scan)
    if rows is not None:
        scan._require_lengths(np.arange(len(rows)), rows)
    return scan


def _read_xml(xml: Any, where: str) -> bytes:
    if not isinstance(xml, h5py.Dataset) or xml.dtype.kind not in "OSU" or xml.size == 0:
        raise HeaderError("the XML header is not a text", where=where)
    if xml.dtype.itemsize > LARGEST_XML:
        raise HeaderError(f"the XML header claims {xml.dtype.itemsize} bytes, at most {LARGEST_XML}", where=where)
    text = xml[()] if xml.shape == () else xml[(0,) * xml.ndim]
    content = text.encode() if isinstance(text, str) else bytes(text)
    if len(content) > LARGEST_XML:
        raise HeaderError(f"the XML header has {len(content)} bytes, at most {LARGEST_XML}", where=where)
    return content


def _require_readouts(data: Any, path: Path) -> None:
    """Check that the array holds readouts, and that it is not longer than the file can hold."""
    where = str(path)
    names = (data.dtype.names or ()) if isinstance(data, h5py.Dataset) else ()
    if not {"head", "traj", "data"} <= set(names):
        kind = f"of {data.dtype}"[:60] if isinstance(data, h5py.Dataset) else "a group"
        what = f"'data' is not an array of acquisitions (fields head, traj, data), but {kind}"
        raise DataError(what, where=where)
    missing = [name for name in FIELDS if name not in (data.dtype["head"].names or ())]
    if missing:
        raise DataError(f"the headers of the acquisitions lack '{missing[0]}'", where=where)
    for name in ("data", "traj"):
        numbers = h5py.check_vlen_dtype(data.dtype[name])
        if numbers is None or np.dtype(numbers).kind not in "iufc":
            raise DataError(f"the field '{name}' of the acquisitions is not a list of numbers", where=where)
    if data.size == 0:
        raise DataError("zero acquisitions are stored", where=where, hint="the scan was stopped, or lost on its way")
    if data.ndim != 1:
        raise DataError(f"'data' has {data.ndim} axes, expected one list of acquisitions", where=where)
    require_plausible("data", data.shape[0] * data.dtype.itemsize, path)


def _read_rows(data: h5py.Dataset, path: Path) -> tuple[Heads, NDArray[np.float64], NDArray[np.object_] | None]:
    """The headers and amplitudes, block by block; of a small file, or one that holds a single slice, the samples, too.

    Whole rows are read even where the headers alone are kept: HDF5 reads the samples in any case, and where they were
    not asked for it never frees them.
    """
    size = path.stat().st_size
    heads: list[Heads] = []
    amplitudes: list[NDArray[np.float64]] = []
    rows: list[NDArray[np.object_]] = []
    keep = size <= READ_AT_ONCE
    for start in range(0, data.shape[0], BLOCK):
        block = data[start : start + BLOCK]
        heads.append(block["head"].copy())
        amplitudes.append(np.fromiter(map(_amplitude, block["data"]), np.float64, len(block)))
        if size > ALWAYS_AT_ONCE:
            keep &= bool((heads[-1]["idx"]["slice"] == heads[0]["idx"]["slice"][0]).all())
        if keep:
            rows.append(block["data"].copy())
        else:
            rows.clear()
    return np.concatenate(heads), np.concatenate(amplitudes), np.concatenate(rows) if keep else None


def _amplitude(stored: NDArray[Any]) -> float:
    """The largest real or imaginary part of the samples of a readout; NaN where one of them is."""
    parts = stored.view(stored.real.dtype) if np.iscomplexobj(stored) else stored
    return max(float(parts.max()), -float(parts.min())) if parts.size else 0.0


def _require_claims(scan: RawScan) -> None:
    """No readout may claim more samples than the whole file has bytes for."""
    size = scan.path.stat().st_size
    claims = scan.heads["number_of_samples"].astype(np.int64) * scan.heads["active_channels"]
    smallest = 2  # bytes of a complex sample, were it stored in 8-bit integers
    wrong = np.flatnonzero(claims * smallest > size)
    if wrong.size:
        i = wrong[0]
        coils, n_samples = scan.heads["active_channels"][i], scan.heads["number_of_samples"][i]
        what = (
            f"acquisition {i} claims {n_samples} samples x {coils} channels, more than the file's {size} bytes can hold"
        )
        raise DataError(what, where=scan.at(i))
    if claims.sum() * smallest > size:
        what = f"the acquisitions claim {claims.sum()} samples, more than the file's {size} bytes can hold"
        raise DataError(what, where=str(scan.path))
