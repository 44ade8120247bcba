"""The HDF5 file of a raw scan: the group of its readouts, and errors that identify other files."""

from collections.abc import Iterator
from pathlib import Path

import h5py

from cinerecon.errors import DataError, FileError, HeaderError
from cinerecon.io.hdf5 import CONVERT, is_group

SCAN_ENDINGS = (".h5", ".hdf5", ".mrd", ".mrd2")
"""Suffixes of raw scans."""
STREAM_ENDINGS = (".mrd", ".mrd2")
"""Those that are written as streams, of version 1 and 2."""
MAX_DEPTH = 3
"""Largest depth of a group of readouts; it also ends the search along circular links."""


def require_scan_name(path: Path) -> None:
    """Check the suffix of a raw scan to be written: scans of other suffixes are not found in folders.

    Raises
    ------
    FileError
        If it is not one of `SCAN_ENDINGS`, or the path is a folder.
    """
    if path.is_dir():
        raise FileError("this is a folder, expected the name of a file", where=str(path), hint=f"-o {path / 'scan.h5'}")
    if not path.name.lower().endswith(SCAN_ENDINGS):
        ending = f"the ending {path.suffix}" if path.suffix else "a name without ending"
        hint = f"-o {path.with_suffix('.h5')}; endings of raw scans: {' '.join(SCAN_ENDINGS)}"
        raise FileError(f"a raw scan is written as ISMRMRD, not to {ending}", where=str(path), hint=hint)


def holds_hdf5_images(path: Path) -> bool:
    """Whether an HDF5 file has ISMRMRD images and no raw data, as a reconstruction writes it."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path) as file:
            groups = [set(file[name]) for name in file if is_group(file, name)]
    except (OSError, RuntimeError, KeyError):  # damaged: opening it as a scan raises the error
        return False
    names = set().union(*groups)
    return "data" not in names and any(name.startswith("image") for name in names)


def find_dataset(file: h5py.File, name: str | None, where: str) -> h5py.Group:
    """The group that holds the header ``xml`` and the readouts ``data``.

    Parameters
    ----------
    file
        The open file.
    name
        Name of the group; None is the only group of readouts.
    where
        The file, for messages.

    Raises
    ------
    FileError
        If no group holds readouts, or several do and none was named, or the named one is missing.
    HeaderError, DataError
        If the group lacks one of its two parts.
    """
    found = dict(_groups_of_readouts(file, file))
    if name is not None:
        key = name.strip("/")
        if key in found:
            return found[key]
        known = ", ".join(found) or "none"
        raise FileError(f"no raw data in a group '{name}', found: {known}", where=where, hint=_choice(found))
    if len(found) > 1:
        listed = ", ".join(f"'{key}' ({_count(group)})" for key, group in found.items())
        raise FileError(f"the file holds {len(found)} measurements: {listed}", where=where, hint=_choice(found))
    if found:
        return next(iter(found.values()))
    raise _nothing_found(file, where)


def _groups_of_readouts(group: h5py.Group, file: h5py.File, depth: int = 0) -> Iterator[tuple[str, h5py.Group]]:
    if _has(group, "xml") and _has(group, "data"):
        yield (group.name.strip("/") or "/"), group
        return
    for name in group if depth < MAX_DEPTH else ():
        if is_group(group, name):
            yield from _groups_of_readouts(group[name], file, depth + 1)


def _has(group: h5py.Group, name: str) -> bool:
    """Whether the member exists; a link to another file counts, and is not followed (`member` refuses it)."""
    return isinstance(group.get(name, getlink=True), h5py.ExternalLink) or name in group


def _count(group: h5py.Group) -> str:
    data = None if isinstance(group.get("data", getlink=True), h5py.ExternalLink) else group.get("data")
    return f"{data.shape[0]} readouts" if isinstance(data, h5py.Dataset) and data.shape else "no readouts"


def _choice(groups: dict[str, h5py.Group]) -> str:
    return f"choose one, e.g. --dataset {list(groups)[-1]}" if groups else ""


def _nothing_found(file: h5py.File, where: str) -> FileError | HeaderError | DataError:
    """The error for a file without readouts, which identifies its format."""
    names = list(file)
    if file.attrs.get("format") == "cinerecon case":
        return FileError(
            "this is a prepared case, not a raw scan", where=where, hint="recon, evaluate and inspect read it"
        )
    for name in names:
        if isinstance(file.get(name, getlink=True), h5py.ExternalLink):
            return FileError(f"'{name}' is a link to another file, which is not followed", where=where)
    if "ismrmrd_header" in names or "kspace" in names:
        kind = "the layout of fastMRI" if "ismrmrd_header" in names else "a plain k-space array"
        return FileError(f"{kind} (an array 'kspace'), not ISMRMRD raw data", where=where)
    if where.endswith(".mat") or any(n.startswith(("kspace", "kus", "mask", "#refs#", "img4ranking")) for n in names):
        what = f"a MATLAB v7.3 file (it holds {_listed(names)}), not ISMRMRD raw data"
        return FileError(what, where=where, hint="CMRxRecon files must end in .mat")
    groups = [file[name] for name in names if is_group(file, name)]
    for group in groups:
        images = [name for name in group if name.startswith("image")]
        if images or {"header", "attributes"} <= set(group):
            return DataError(f"the file holds images only ({_listed(images or names)}), no raw data", where=where)
    for group in groups:
        if "xml" in group:
            return DataError(f"no acquisitions are stored: '{group.name}' has a header but no 'data'", where=where)
        if "data" in group:
            return HeaderError(f"no XML header: '{group.name}' has 'data' but no 'xml'", where=where)
    if file.get("dataset", getclass=True) is h5py.Dataset:
        return FileError(
            "'dataset' is an array, not a group", where=where, hint="expected dataset/xml and dataset/data"
        )
    found = f"it holds {_listed(names)}" if names else "it is empty"
    return FileError(f"no ISMRMRD raw data in this HDF5 file: {found}", where=where, hint=CONVERT)


def _listed(names: list[str], most: int = 6) -> str:
    return ", ".join(f"'{name}'" for name in names[:most]) + (", ..." if len(names) > most else "")
