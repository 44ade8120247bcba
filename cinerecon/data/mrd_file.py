"""The HDF5 file around a raw scan: is it one, is it whole, and which of its groups holds the readouts."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from cinerecon.errors import DataError, FileError, HeaderError

MAX_DEPTH = 3
"""How deep a group of readouts may lie; also what stops a walk through links that run in circles."""

CHUNK_CACHE = {"rdcc_nslots": 100_003, "rdcc_nbytes": 64 << 20}
"""Raw scans keep each readout in a chunk of its own; the default cache forgets them between two reads."""

SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive, perhaps .nii.gz or .tar.gz: unpack it first"),
    (0, b"BZh", "a bzip2 archive: unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (257, b"ustar", "a tar archive: unpack it first"),
    (128, b"DICM", "a DICOM file: images, not raw data"),
    (344, b"n+1\0", "a NIfTI image, not raw data"),
    (344, b"ni1\0", "a NIfTI image, not raw data"),
    (0, b"\x93NUMPY", "a NumPy .npy array"),
    (0, b"MATLAB 5.0", "a MATLAB v5 file"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"%PDF", "a PDF document"),
)

CONVERT = "convert the scanner's raw data with siemens_to_ismrmrd, ge_to_ismrmrd or philips_to_ismrmrd"


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file read-only, without locking it.

    Raises
    ------
    FileError
        If it is missing, is not HDF5 (saying what it looks like), or is damaged.
    """
    require_hdf5(path)
    try:
        file = h5py.File(path, "r", locking=False, **CHUNK_CACHE)
    except OSError as error:
        truncated = "truncated" in str(error)
        what = "the HDF5 file is truncated: it ends before its own end mark" if truncated else f"damaged HDF5: {error}"
        raise FileError(what, where=str(path), hint="copy or download it again") from None
    with file:
        try:
            yield file
        except (OSError, RuntimeError, KeyError, UnicodeDecodeError) as error:
            hint = "copy or download it again"
            raise FileError(f"the HDF5 file is damaged: {error}", where=str(path), hint=hint) from error


def holds_images_only(path: Path) -> bool:
    """Whether an HDF5 file has ISMRMRD images and no raw data: what a reconstruction wrote, not a scan."""
    if not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path) as file:
            groups = [set(file[name]) for name in file if _is_group(file, name)]
    except (OSError, RuntimeError, KeyError):  # damaged: whoever opens it as a scan says how
        return False
    names = set().union(*groups)
    return "data" not in names and any(name.startswith("image") for name in names)


def require_hdf5(path: Path) -> None:
    """Check that there is an HDF5 file, before the HDF5 library meets it.

    Raises
    ------
    FileError
        If it is missing, a folder, unreadable, or of another kind.
    """
    if not path.exists():
        raise FileError("there is no such file", where=str(path))
    if path.is_dir():
        raise FileError("this is a folder, expected one raw scan", where=str(path))
    if not path.is_file():
        raise FileError("this is no regular file (a pipe or a device)", where=str(path))
    try:
        with path.open("rb") as file:
            start = file.read(1024)
    except OSError as error:
        raise FileError(f"cannot read the file: {error.strerror}", where=str(path)) from None
    if not h5py.is_hdf5(path):
        raise FileError(f"this is not an HDF5 file, but {looks_like(path, start)}", where=str(path), hint=CONVERT)


def looks_like(path: Path, start: bytes) -> str:
    """Guess what a file that is not HDF5 is, from its first bytes."""
    if not start:
        return "an empty file"
    if start.startswith(b"PK\x03\x04") and _holds_arrays(path):
        return "a NumPy .npz archive"
    for offset, signature, name in SIGNATURES:
        if start[offset : offset + len(signature)] == signature:
            return name
    if start.startswith(b"\x89HDF"):
        return "the damaged beginning of one"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<html", b"<!doctype html")):
        return "an HTML page (text), perhaps of a download that failed"
    if text.startswith((b"<?xml", b"<ismrmrdheader")):
        return "XML text without data"
    first, second = (int.from_bytes(start[i : i + 4], "little") for i in (0, 4))
    if len(start) >= 8 and first < 10_000 and 1 <= second <= 64:
        return "a Siemens raw file (.dat, VD/VE/XA line)"
    if start[4:14] in (b"\x0c\0\0\0Confi", b"\n\0\0\0Config") or b"MeasYaps" in start or b"Config" in start[:64]:
        return "a Siemens raw file (.dat, VB line)"
    if not any(byte < 9 or 13 < byte < 32 for byte in start):
        return "text"
    return "binary data of an unknown kind"


def _holds_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def find_dataset(file: h5py.File, name: str | None, where: str) -> h5py.Group:
    """The group that holds the header ``xml`` and the readouts ``data``.

    Parameters
    ----------
    file
        The open file.
    name
        The group to take; None takes the only one there is.
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


def member(group: h5py.Group, name: str, where: str) -> Any:
    """A member of a group that lies in the file itself; None if there is none.

    Raises
    ------
    FileError
        If it is a link to another file, or keeps its bytes in one.
    """
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if isinstance(link, h5py.ExternalLink):
        raise FileError(f"'{name}' is a link to another file ('{link.filename}'), which is not followed", where=where)
    item = group.get(name)
    if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
        raise FileError(f"'{name}' keeps its values in another file, which is not opened", where=where)
    return item


def _groups_of_readouts(group: h5py.Group, file: h5py.File, depth: int = 0) -> Iterator[tuple[str, h5py.Group]]:
    if _has(group, "xml") and _has(group, "data"):
        yield (group.name.strip("/") or "/"), group
        return
    for name in group if depth < MAX_DEPTH else ():
        if _is_group(group, name):
            yield from _groups_of_readouts(group[name], file, depth + 1)


def _is_group(group: h5py.Group, name: str) -> bool:
    """Whether a member is a group that lies in the file itself; links to other files are not followed."""
    is_outside = isinstance(group.get(name, getlink=True), h5py.ExternalLink)
    return not is_outside and group.get(name, getclass=True) is h5py.Group


def _has(group: h5py.Group, name: str) -> bool:
    """Whether there is such a member; a link to another file counts, and is not followed (`member` refuses it)."""
    return isinstance(group.get(name, getlink=True), h5py.ExternalLink) or name in group


def _count(group: h5py.Group) -> str:
    data = None if isinstance(group.get("data", getlink=True), h5py.ExternalLink) else group.get("data")
    return f"{data.shape[0]} readouts" if isinstance(data, h5py.Dataset) and data.shape else "no readouts"


def _choice(groups: dict[str, h5py.Group]) -> str:
    return f"choose one, e.g. --dataset {list(groups)[-1]}" if groups else ""


def _nothing_found(file: h5py.File, where: str) -> FileError | HeaderError | DataError:
    """The most helpful word on a file without readouts."""
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
    groups = [file[name] for name in names if file.get(name, getclass=True) is h5py.Group]
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
