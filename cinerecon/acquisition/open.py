"""The one door: whatever holds a cine becomes slices of `CineData`.

Which files of a folder hold cines.

What a scan holds, by checksums: it is known again under any name.
"""

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from cinerecon.acquisition.case import CaseSource
from cinerecon.acquisition.cmrxrecon import CmrxreconSource
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.scan import open_scan
from cinerecon.acquisition.source import CineSource
from cinerecon.cine import CineData
from cinerecon.errors import ConfigError
from cinerecon.io.atomic import hash_files
from cinerecon.io.case import is_case
from cinerecon.io.case_index import INDEX, list_cases
from cinerecon.io.cmrxrecon import is_kspace_name, open_cmrxrecon
from cinerecon.io.hdf5 import require_hdf5
from cinerecon.io.ismrmrd.file import SCAN_ENDINGS, holds_images_only
from cinerecon.io.matlab import is_matlab

RAW_SCAN_SETTINGS = (
    *("time_counter", "combine", "repeats", "positions", "encoding", "center_sample"),
    *("ky_centre", "exclude_coils"),
)
"""The settings that only the readouts of a raw scan can follow."""


def open_cine(
    path: str | Path,
    config: AcquisitionConfig | None = None,
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
    path, config = Path(path), config or AcquisitionConfig()
    kind = "a prepared case" if is_case(path) else "a MATLAB file" if is_matlab(path) else "a raw scan"
    if kind == "a raw scan":
        return open_scan(path, config, noise=noise, dataset=dataset)
    defaults = AcquisitionConfig()
    asked = {
        "--noise": noise is not None,
        "--dataset": dataset is not None,
        **{
            f"--set preprocessing.{name}": getattr(config, name) != getattr(defaults, name)
            for name in RAW_SCAN_SETTINGS
        },
    }
    for option in (option for option, is_asked in asked.items() if is_asked):
        raise ConfigError(f"{option} belongs to ISMRMRD raw scans, this is {kind}", where=str(path))
    return CaseSource(path, config) if kind == "a prepared case" else CmrxreconSource(open_cmrxrecon(path), config)


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
    config: AcquisitionConfig | None = None,
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


def find_cines(folder: Path, split: str | None = None) -> list[Path]:
    """The files of a folder that `open_cine` reads: of prepared cases those of a split, else all that lie below it.

    What is hidden is passed over, and so are images, which reconstruction writes beside their scans.

    Raises
    ------
    FileError
        If the folder holds prepared cases, but none of the split.
    """
    if (folder / INDEX).exists():
        return list_cases(folder, split)
    files = (path for _, paths in walk_visible(folder) for path in paths)
    return sorted(path for path in files if is_cine_name(path) and not holds_images_only(path))


def walk_visible(root: Path, without: Path | None = None) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder below another, itself included, with its files by name; without what is hidden, or one folder."""
    left_out = without and without.resolve()
    for name, folders, names in os.walk(root):
        folder = Path(name)
        folders[:] = sorted(n for n in folders if not n.startswith(".") and (folder / n).resolve() != left_out)
        yield folder, [folder / n for n in sorted(names) if not n.startswith(".")]


def is_cine_name(path: Path) -> bool:
    """Whether a file is a raw scan, a prepared case or k-space of CMRxRecon, by its name."""
    return path.name.lower().endswith(SCAN_ENDINGS) or is_kspace_name(path)


def file_checksums(source: CineSource) -> tuple[str, ...]:
    """SHA-256 of the files of a scan; of a prepared case also that of what it was made from."""
    checksum = _hash(source.files, tuple(path.stat().st_mtime_ns for path in source.files))
    return (checksum, source.derived_from) if source.derived_from else (checksum,)


@lru_cache(maxsize=16)
def _hash(files: tuple[Path, ...], _: tuple[int, ...]) -> str:
    """Hash files once for all who ask, unless they have changed."""
    return hash_files(files)
