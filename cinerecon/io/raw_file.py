"""Raw scans of any format: the reader is selected by the content of a file, the writer by the suffix of its name."""

from pathlib import Path

import h5py

from cinerecon.errors import ConfigError
from cinerecon.io.atomic import moved_into_place, refuse_existing
from cinerecon.io.hdf5 import require_hdf5
from cinerecon.io.ismrmrd.hdf5_scan import holds_hdf5_images, read_mrd, require_scan_name
from cinerecon.io.ismrmrd.raw import RawScan
from cinerecon.io.ismrmrd.write import write_hdf5_scan
from cinerecon.io.mrd2.scan import holds_mrd2_images, read_mrd2, write_mrd2_scan
from cinerecon.io.mrd_stream.reader import holds_stream_images, read_mrd_stream, write_raw_stream
from cinerecon.io.recognise import is_mrd2, is_mrd_stream, is_twix
from cinerecon.io.twix.scan import read_twix


def read_raw_scan(path: str | Path, dataset: str | None = None, measurement: int | None = None) -> RawScan:
    """Open a raw scan of any format.

    Parameters
    ----------
    path
        An ISMRMRD file (HDF5), a stream of MRD version 1 or 2, or a Siemens raw file.
    dataset
        The group of the measurement, if an ISMRMRD file contains several.
    measurement
        Number of the measurement in a Siemens raw file, counted from 1; None for the last one.

    Raises
    ------
    FileError, HeaderError, DataError, UnsupportedError
        If the file cannot be read.
    ConfigError
        If an option does not apply to the format.
    """
    path = Path(path)
    if is_twix(path):
        if dataset is not None:
            what = "--dataset applies only to ISMRMRD scans, but this is a Siemens raw file"
            raise ConfigError(what, where=str(path), hint="use --measurement N to select one of its measurements")
        return read_twix(path, measurement)
    if measurement is not None:
        what = "--measurement applies only to Siemens raw files, but this is another format"
        raise ConfigError(what, where=str(path), hint="use --dataset NAME to select a group of an ISMRMRD file")
    read_stream = read_mrd2 if is_mrd2(path) else read_mrd_stream if is_mrd_stream(path) else None
    if read_stream is None:
        return read_mrd(path, dataset)
    if dataset is not None:
        raise ConfigError("--dataset applies only to HDF5 files; a stream contains one measurement", where=str(path))
    return read_stream(path)


def holds_images_only(path: Path) -> bool:
    """Whether an ISMRMRD file or a stream contains images and no raw data."""
    return holds_hdf5_images(path) or holds_stream_images(path) or holds_mrd2_images(path)


def write_raw_scan(raw: RawScan, path: Path, *, force: bool = False) -> None:
    """Write a raw scan: ``.h5`` or ``.hdf5`` (HDF5), ``.mrd`` (stream of version 1) or ``.mrd2`` (version 2).

    The header is written without elements that identify the patient.

    Raises
    ------
    FileError
        If the suffix is not one of these, the file exists and ``force`` is not set, or it cannot be written.
    DataError
        If the number of samples of a readout differs from its header.
    """
    require_scan_name(path)
    refuse_existing(path, force=force)
    with moved_into_place(path, overwrite=force) as temporary:
        ending = path.suffix.lower()
        if ending == ".mrd2":
            write_mrd2_scan(raw, temporary)
        elif ending == ".mrd":
            with temporary.open("wb") as file:
                write_raw_stream(raw, file)
        else:
            write_hdf5_scan(raw, temporary)


def is_raw_format(path: Path) -> bool:
    """Whether a file has a format of raw scans, which may also contain images or a prepared case."""
    return path.is_file() and (h5py.is_hdf5(path) or is_mrd2(path) or is_mrd_stream(path) or is_twix(path))


def require_raw_scan(path: Path) -> None:
    """Check by its first bytes that a file has a format of raw scans.

    Raises
    ------
    FileError
        If it is missing or has another format.
    """
    if not (is_mrd2(path) or is_mrd_stream(path) or is_twix(path)):
        require_hdf5(path)
