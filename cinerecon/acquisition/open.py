"""The one door: whatever holds a cine becomes slices of `CineData`."""

from collections.abc import Iterator
from pathlib import Path

from cinerecon.acquisition.case import StoredCase
from cinerecon.acquisition.cmrxrecon import ChallengeFile
from cinerecon.acquisition.config import IntakeConfig
from cinerecon.acquisition.scan import open_scan
from cinerecon.acquisition.source import CineSource
from cinerecon.cine import CineData
from cinerecon.errors import ConfigError
from cinerecon.io.case import is_case
from cinerecon.io.cmrxrecon import open_cmrxrecon
from cinerecon.io.hdf5 import require_hdf5
from cinerecon.io.matlab import is_matlab

OF_RAW_SCANS = (
    *("time_counter", "combine", "repeats", "positions", "encoding", "center_sample"),
    *("ky_centre", "leave_out_coils"),
)
"""The settings that only the readouts of a raw scan can follow."""


def open_cine(
    path: str | Path,
    config: IntakeConfig | None = None,
    *,
    noise: str | Path | None = None,
    dataset: str | None = None,
) -> CineSource:
    """Open an ISMRMRD raw scan, a prepared case or a CMRxRecon file; what it is, its content tells.

    Parameters
    ----------
    path
        The file.
    config
        Settings; the defaults if None.
    noise
        A separate ISMRMRD file with the noise readouts of the same coils.
    dataset
        The group of the measurement, where an ISMRMRD file holds several.

    Raises
    ------
    FileError, HeaderError, DataError, UnsupportedError
        If the file cannot be read right, saying where and why.
    ConfigError
        If a noise scan, a group, a centre or coils to leave out are given for a file that is no ISMRMRD scan.
    """
    path, config = Path(path), config or IntakeConfig()
    kind = "a prepared case" if is_case(path) else "a MATLAB file" if is_matlab(path) else "a raw scan"
    if kind == "a raw scan":
        return open_scan(path, config, noise=noise, dataset=dataset)
    defaults = IntakeConfig()
    asked = {
        "--noise": noise is not None,
        "--dataset": dataset is not None,
        **{f"--intake {name}": getattr(config, name) != getattr(defaults, name) for name in OF_RAW_SCANS},
    }
    for option in (option for option, is_asked in asked.items() if is_asked):
        raise ConfigError(f"{option} belongs to ISMRMRD raw scans, this is {kind}", where=str(path))
    return StoredCase(path, config) if kind == "a prepared case" else ChallengeFile(open_cmrxrecon(path), config)


def require_cine(path: Path) -> None:
    """Check, before anything slow is done for it, that a file is of a kind that `open_cine` knows.

    Raises
    ------
    FileError
        If it is missing, or of another kind.
    """
    if not (is_matlab(path) and path.is_file()):
        require_hdf5(path)


def intake(
    path: str | Path,
    config: IntakeConfig | None = None,
    *,
    noise: str | Path | None = None,
    dataset: str | None = None,
) -> Iterator[CineData]:
    """Read a file slice by slice, sorted by position; one slice is in memory at a time.

    Parameters and errors as for `open_cine` and `Scan.read_slice`.
    """
    source = open_cine(path, config, noise=noise, dataset=dataset)
    for number in range(source.n_slices):
        yield source.read_slice(number)
