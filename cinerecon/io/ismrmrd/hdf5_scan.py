"""Reader of ISMRMRD (MRD) raw scans in HDF5 files.

No memory is allocated according to the sizes in a header: readouts that declare more bytes than the file contains are
refused before they are read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import DataError, FileError, HeaderError
from cinerecon.io.checksums import file_state
from cinerecon.io.hdf5 import (
    CONVERT,
    is_external,
    is_group,
    member,
    open_hdf5,
    require_hdf5,
    require_plausible,
    require_sound_heaps,
)
from cinerecon.io.ismrmrd.header import read_header
from cinerecon.io.ismrmrd.raw import BLOCK, Heads, Index, RawScan, largest_part
from cinerecon.io.ismrmrd.waveforms import read_waveforms
from cinerecon.io.paths import AnyPath, as_path
from cinerecon.io.recognise import CASE_FORMAT, open_unlocked

HDF5_ENDINGS = (".h5", ".hdf5")
"""Suffixes of raw scans in HDF5."""
STREAM_ENDINGS = (".mrd", ".mrd2")
"""Suffixes of streams of version 1 and 2."""
SCAN_ENDINGS = (*HDF5_ENDINGS, *STREAM_ENDINGS)
"""Suffixes of raw scans."""
MAX_DEPTH = 3
"""Largest depth at which groups of readouts are searched, which also limits the search in circular links."""
READ_AT_ONCE = 512 << 20
"""Size up to which a file with one slice is read at once [bytes], since reading samples later takes as long again.
Files with several slices are read slice by slice, so that the memory does not depend on their number."""
ALWAYS_AT_ONCE = 16 << 20
"""Size up to which a file with any number of slices is read at once [bytes]."""
BLOCK_BYTES = 8 << 20
"""Approximate size of a block of rows [bytes]."""
FIRST_BLOCK = 16
"""Smallest number of rows in the first block, whose size is unknown."""
LARGEST_XML = 16 << 20
"""Largest size of a header [bytes]."""
TRUTH = "truth"
"""Name of the group with the images and maps from which a scan was simulated."""

FIELDS = (
    *("flags", "number_of_samples", "active_channels", "discard_pre", "discard_post", "center_sample"),
    *("encoding_space_ref", "trajectory_dimensions", "sample_time_us", "position", "read_dir", "phase_dir"),
    *("slice_dir", "acquisition_time_stamp", "idx"),
)
"""Fields of the header of a readout that are required for a reconstruction."""


def require_scan_name(path: Path) -> None:
    """Check the suffix of a raw scan to be written; files with other suffixes would not be found in folders.

    Raises
    ------
    FileError
        If it is not one of `SCAN_ENDINGS`, or the path is a folder.
    """
    if path.is_dir():
        raise FileError("this is a folder, expected a file name", where=str(path), hint=f"-o {path / 'scan.h5'}")
    if not path.name.lower().endswith(SCAN_ENDINGS):
        ending = f"the suffix {path.suffix}" if path.suffix else "a name without a suffix"
        hint = f"-o {path.with_suffix('.h5')}; suffixes of raw scans: {' '.join(SCAN_ENDINGS)}"
        raise FileError(f"a raw scan cannot be written to a file with {ending}", where=str(path), hint=hint)


def holds_hdf5_images(path: Path) -> bool:
    """Whether an HDF5 file contains ISMRMRD images and no raw data."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with open_unlocked(path) as file:
            groups = [set(file[name]) for name in file if is_group(file, name)]
    except (OSError, RuntimeError, KeyError):  # `read_mrd` reports the error
        return False
    names = set().union(*groups)
    return "data" not in names and any(name.startswith("image") for name in names)


def find_dataset(file: h5py.File, name: str | None, where: str) -> h5py.Group:
    """Find the group that contains the header ``xml`` and the readouts ``data``.

    Parameters
    ----------
    file
        The open file.
    name
        Name of the group; None if there is only one.
    where
        The file, for messages.

    Raises
    ------
    FileError
        If no group contains readouts, several do and ``name`` is None, or the named group is missing.
    HeaderError, DataError
        If the header or the readouts are missing.
    """
    groups = dict(_groups_of_readouts(file))
    if name is not None:
        key = name.strip("/")
        if key in groups:
            return groups[key]
        known = ", ".join(groups) or "none"
        raise FileError(f"no raw data in a group '{name}', found: {known}", where=where, hint=_choice(groups))
    if len(groups) > 1:
        listed = ", ".join(f"'{key}' ({_count(group)})" for key, group in groups.items())
        raise FileError(f"the file contains {len(groups)} measurements: {listed}", where=where, hint=_choice(groups))
    if groups:
        return next(iter(groups.values()))
    raise _nothing_found(file, where)


def _groups_of_readouts(group: h5py.Group, depth: int = 0) -> Iterator[tuple[str, h5py.Group]]:
    """Groups with a header and readouts, in a group and below, with their names."""
    if _has(group, "xml") and _has(group, "data"):
        yield (group.name.strip("/") or "/"), group
        return
    for name in group if depth < MAX_DEPTH else ():
        if is_group(group, name):
            yield from _groups_of_readouts(group[name], depth + 1)


def _has(group: h5py.Group, name: str) -> bool:
    """Whether a member exists; a link to another file also counts, which `member` then refuses."""
    return is_external(group, name) or name in group


def _count(group: h5py.Group) -> str:
    """The number of readouts of a group, as text."""
    data = None if is_external(group, "data") else group.get("data")
    return f"{data.shape[0]} readouts" if isinstance(data, h5py.Dataset) and data.shape else "no readouts"


def _choice(groups: dict[str, h5py.Group]) -> str:
    """A hint to select one of several groups."""
    return f"choose one, e.g. --dataset {list(groups)[-1]}" if groups else ""


def _nothing_found(file: h5py.File, where: str) -> FileError | HeaderError | DataError:
    """The error for a file without readouts, with a description of its content."""
    names = list(file)
    if file.attrs.get("format") == CASE_FORMAT:
        return FileError(
            "this is a prepared case, not a raw scan", where=where, hint="use recon, evaluate or inspect to read it"
        )
    for name in names:
        if is_external(file, name):
            return FileError(f"'{name}' is a link to another file, which is not followed", where=where)
    if "ismrmrd_header" in names or "kspace" in names:
        kind = "in the layout of fastMRI" if "ismrmrd_header" in names else "a plain k-space array"
        return FileError(f"{kind} (an array 'kspace'), not ISMRMRD raw data", where=where)
    if where.endswith(".mat") or any(n.startswith(("kspace", "kus", "mask", "#refs#", "img4ranking")) for n in names):
        what = f"a MATLAB v7.3 file (it contains {_listed(names)}), not ISMRMRD raw data"
        return FileError(what, where=where, hint="CMRxRecon files must end in .mat")
    groups = [file[name] for name in names if is_group(file, name)]
    for group in groups:
        images = [name for name in group if name.startswith("image")]
        if images or {"header", "attributes"} <= set(group):
            return DataError(f"the file contains only images ({_listed(images or names)}), no raw data", where=where)
    for group in groups:
        if "xml" in group:
            return DataError(f"no acquisitions are stored: '{group.name}' has a header but no 'data'", where=where)
        if "data" in group:
            return HeaderError(f"no XML header: '{group.name}' has 'data' but no 'xml'", where=where)
    if file.get("dataset", getclass=True) is h5py.Dataset:
        return FileError(
            "'dataset' is an array, not a group", where=where, hint="expected dataset/xml and dataset/data"
        )
    content = f"it contains {_listed(names)}" if names else "it is empty"
    return FileError(f"no ISMRMRD raw data in this HDF5 file: {content}", where=where, hint=CONVERT)


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:6]) + (", ..." if len(names) > 6 else "")


@dataclass(frozen=True, eq=False)
class Hdf5Samples:
    """Access to the samples of a scan in an HDF5 file; those of a small file are in memory.

    Attributes
    ----------
    path, group
        The file, and the group of the measurement.
    n_readouts
        Number of readouts.
    state
        Size and modification time of the file, see `file_state`.
    rows
        ``(readouts,)`` samples in memory; None if they are read on demand.
    """

    path: Path
    group: str
    n_readouts: int
    state: list[int] | None
    rows: NDArray[np.object_] | None = None

    def read(self, name: Literal["data", "traj"], rows: Index) -> NDArray[np.object_]:
        """See `SampleStore.read`; nearly contiguous rows are read as a range, which is fastest in HDF5.

        Complete rows are read, since HDF5 reads all fields in any case, but releases the memory only of requested ones.

        Raises
        ------
        FileError
            If the file has been changed since its headers were read, so that the samples do not match them.
        """
        if name == "data" and self.rows is not None:
            return self.rows[rows]
        first, last = int(rows[0]), int(rows[-1])
        with open_hdf5(self.path) as file:
            if file_state(self.path) != self.state:
                what = "the file was replaced or changed while it was being read"
                raise FileError(what, where=str(self.path), hint="run the command again when the file is complete")
            stored = file[self.group]["data"]
            if last - first + 1 <= 4 * len(rows):
                return np.asarray(stored[first : last + 1][name][rows - first])
            chosen = np.zeros(self.n_readouts, bool)
            chosen[rows] = True
            return np.asarray(stored[chosen][name])


def read_mrd(path: AnyPath, dataset: str | None = None) -> RawScan:
    """Open a raw scan; its header and the headers of all readouts are read, and samples on demand.

    Parameters
    ----------
    path
        An ISMRMRD (MRD) file, HDF5.
    dataset
        The group of the measurement; required only if a file contains several.

    Raises
    ------
    FileError
        If the file is missing, damaged or has another format, or the group is ambiguous.
    HeaderError
        If the XML header is missing or invalid.
    DataError
        If there are no readouts, or they do not conform to the standard.
    """
    path = as_path(path)
    require_hdf5(path)
    require_sound_heaps(path)
    state = file_state(path)
    with open_hdf5(path) as file:
        group = find_dataset(file, dataset, str(path))
        xml = _read_xml(member(group, "xml", str(path)), str(path))
        header, text = read_header(xml, str(path))
        data = member(group, "data", str(path))
        _require_readouts(data, path)
        heads, amplitude, rows = _read_rows(data, path)
        store = Hdf5Samples(path, group.name, len(heads), state, rows)
        waveforms, warnings = read_waveforms(group.get("waveforms"))
        scan = RawScan(path, group.name, header, text, heads, amplitude, store, warnings, waveforms)
    _require_claims(scan)
    if rows is not None:
        scan.require_lengths(np.arange(len(rows)), rows)
    return scan


def _read_xml(xml: Any, where: str) -> bytes:
    """Read the XML header, whose size is limited."""
    if not isinstance(xml, h5py.Dataset) or xml.dtype.kind not in "OSU" or xml.size == 0:
        raise HeaderError("the XML header is not text", where=where)
    if xml.dtype.itemsize > LARGEST_XML:
        raise HeaderError(f"the XML header claims {xml.dtype.itemsize} bytes, at most {LARGEST_XML}", where=where)
    text = xml[()] if xml.shape == () else xml[(0,) * xml.ndim]
    content = text.encode() if isinstance(text, str) else bytes(text)
    if len(content) > LARGEST_XML:
        raise HeaderError(f"the XML header has {len(content)} bytes, at most {LARGEST_XML}", where=where)
    return content


def _require_readouts(data: Any, path: Path) -> None:
    """Check that an array contains readouts, and that its length is possible for the size of the file."""
    where = str(path)
    dtype = data.dtype if isinstance(data, h5py.Dataset) else None  # each access reads it from the file
    if dtype is None or not {"head", "traj", "data"} <= set(dtype.names or ()):
        kind = "a group" if dtype is None else f"of {dtype}"[:60]
        what = f"'data' is not an array of acquisitions (fields head, traj, data), but {kind}"
        raise DataError(what, where=where)
    missing = [name for name in FIELDS if name not in (dtype["head"].names or ())]
    if missing:
        raise DataError(f"the headers of the acquisitions lack '{missing[0]}'", where=where)
    for name in ("data", "traj"):
        numbers = h5py.check_vlen_dtype(dtype[name])
        if numbers is None or np.dtype(numbers).kind not in "iufc":
            raise DataError(f"the field '{name}' of the acquisitions is not a list of numbers", where=where)
        if name == "data" and np.dtype(numbers).kind == "u":
            what = (
                f"the samples are unsigned integers ({np.dtype(numbers)}): their sign is lost, or encoded as an offset"
            )
            raise DataError(what, where=where, hint="write signed integers or floating-point numbers")
    if data.size == 0:
        raise DataError(
            "zero acquisitions are stored", where=where, hint="the scan was aborted, or its data were lost in transfer"
        )
    if data.ndim != 1:
        raise DataError(f"'data' has {data.ndim} axes, expected one list of acquisitions", where=where)
    require_plausible("data", data.shape[0] * dtype.itemsize, path)


def _read_rows(data: h5py.Dataset, path: Path) -> tuple[Heads, NDArray[np.float64], NDArray[np.object_] | None]:
    """Headers and amplitudes of all readouts, and the samples of a file that is small or has a single slice.

    Complete rows are read even if only the headers are kept: HDF5 reads the samples in any case, and never releases
    their memory if they were not requested.
    """
    size = path.stat().st_size
    heads: list[Heads] = []
    amplitudes: list[NDArray[np.float64]] = []
    rows: list[NDArray[np.object_]] = []
    keep_samples = size <= READ_AT_ONCE
    if ALWAYS_AT_ONCE < size <= READ_AT_ONCE:
        keep_samples = bool(data[0]["head"]["idx"]["slice"] == data[-1]["head"]["idx"]["slice"])
    for block in _blocks(data, size):
        heads.append(block["head"].copy())
        amplitudes.append(np.fromiter(map(largest_part, block["data"]), np.float64, len(block)))
        if size > ALWAYS_AT_ONCE:
            keep_samples &= bool((heads[-1]["idx"]["slice"] == heads[0]["idx"]["slice"][0]).all())
        if keep_samples:
            rows.append(block["data"].copy())
        else:
            rows.clear()
    return np.concatenate(heads), np.concatenate(amplitudes), np.concatenate(rows) if keep_samples else None


def _blocks(data: h5py.Dataset, size: int) -> Iterator[NDArray[np.void]]:
    """Blocks of complete rows; the size of the previous block determines their number for about `BLOCK_BYTES`.

    No row is larger than the file, so that more rows of a small file can be in the first block.
    """
    start, n_rows = 0, min(max(FIRST_BLOCK, BLOCK_BYTES // size), BLOCK)
    while start < data.shape[0]:
        block = data[start : start + n_rows]
        start += len(block)
        n_bytes = sum(samples.nbytes for samples in block["data"])
        n_rows = int(np.clip(BLOCK_BYTES * len(block) // max(n_bytes, 1), 1, BLOCK))
        yield block


def _require_claims(scan: RawScan) -> None:
    """Check that the file can contain the samples that the headers declare, for each readout and in total."""
    size = scan.path.stat().st_size
    n_declared = scan.heads["number_of_samples"].astype(np.int64) * scan.heads["active_channels"]
    smallest = 2  # bytes of a complex sample in 8-bit integers
    wrong = np.flatnonzero(n_declared * smallest > size)
    if wrong.size:
        i = wrong[0]
        coils, n_samples = scan.heads["active_channels"][i], scan.heads["number_of_samples"][i]
        what = (
            f"acquisition {i} claims {n_samples} samples x {coils} channels, more than the file's {size} bytes can hold"
        )
        raise DataError(what, where=scan.at(i))
    if n_declared.sum() * smallest > size:
        what = f"the acquisitions claim {n_declared.sum()} samples, more than the file's {size} bytes can hold"
        raise DataError(what, where=str(scan.path))


def has_truth(raw: RawScan) -> bool:
    """Whether the file of a scan also contains the images from which it was simulated."""
    if not isinstance(raw.store, Hdf5Samples):
        return False
    with open_hdf5(raw.path) as file:
        return truth_group(file, raw) is not None


def truth_group(file: h5py.File, raw: RawScan) -> h5py.Group | None:
    """The group of the images from which a scan was simulated, in its open file; None if there is none."""
    group = member(file, TRUTH, str(raw.path)) or member(file[raw.group], TRUTH, str(raw.path))
    return group if isinstance(group, h5py.Group) else None
