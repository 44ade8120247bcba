"""Raw scans of any format: the first bytes of a file choose the reader."""

from pathlib import Path

from cinerecon.io.hdf5 import require_hdf5
from cinerecon.io.ismrmrd.hdf5_scan import read_mrd
from cinerecon.io.ismrmrd.raw import RawScan
from cinerecon.io.mrd2.package import is_mrd2
from cinerecon.io.mrd2.scan import read_mrd2


def read_raw_scan(path: str | Path, dataset: str | None = None) -> RawScan:
    """Open a raw scan of any format.

    Parameters
    ----------
    path
        An ISMRMRD file (HDF5), or a stream of MRD version 2.
    dataset
        The measurement, where a file holds several.

    Raises
    ------
    FileError, HeaderError, DataError
        If the file cannot be read.
    """
    path = Path(path)
    return read_mrd2(path) if is_mrd2(path) else read_mrd(path, dataset)


def require_raw_scan(path: Path) -> None:
    """Check the format of a raw scan before anything slow is done for it.

    Raises
    ------
    FileError
        If it is missing or of another kind.
    """
    if not is_mrd2(path):
        require_hdf5(path)
