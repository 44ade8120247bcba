"""Search for cine data in files of any supported format, and opening of these files."""

from collections.abc import Callable, Iterator
from pathlib import Path

from cinerecon.acquisition.checks.table import checked
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.formats import RAW_SCAN, gridded_format, require_options
from cinerecon.acquisition.layout import lay_out
from cinerecon.acquisition.scan import PhaseContrastScan, Scan, velocity_sets
from cinerecon.acquisition.source import CineSource
from cinerecon.archives.case_index import holds_cases, list_cases
from cinerecon.cine import CineData
from cinerecon.io.checksums import file_state
from cinerecon.io.cmrxrecon import is_kspace_name
from cinerecon.io.ismrmrd.hdf5_scan import SCAN_ENDINGS
from cinerecon.io.ismrmrd.raw import RawScan
from cinerecon.io.kspace_array import holds_kspace
from cinerecon.io.paths import AnyPath, as_path, walk_visible
from cinerecon.io.raw_file import holds_images_only, read_raw_scan
from cinerecon.io.recognise import is_twix


def open_scan(
    path: AnyPath,
    config: AcquisitionConfig | None = None,
    *,
    noise: AnyPath | None = None,
    dataset: str | None = None,
    measurement: int | None = None,
    phase_contrast: bool = False,
) -> CineSource:
    """Open a raw scan (ISMRMRD or Siemens twix), a prepared case, a CMRxRecon file or a plain array.

    The format is determined from the content of the file.

    Parameters
    ----------
    path
        The file.
    config
        Settings; None for the defaults.
    noise
        A separate raw file with the noise readouts of the same coils.
    dataset
        The group of the measurement, if an ISMRMRD file contains several.
    measurement
        Number of the measurement in a twix file, counted from 1; None for the last one.
    phase_contrast
        Whether a raw scan with two sets is opened as a `PhaseContrastScan`; otherwise, several sets are refused.

    Raises
    ------
    FileError, HeaderError, DataError, UnsupportedError
        If the file cannot be read correctly.
    ConfigError
        If options are given that apply to another format.
    """
    path, config = as_path(path), AcquisitionConfig.or_default(config)
    noise = None if noise is None else as_path(noise, "noise")
    entry = gridded_format(path)
    kind = RAW_SCAN if entry is None else entry.name
    require_options(path, kind, config, noise=noise, dataset=dataset, measurement=measurement)
    if entry is None:
        return open_raw_scan(read_raw_scan(path, dataset, measurement), config, noise, phase_contrast=phase_contrast)
    return entry.open(path, config)


def open_raw_scan(
    raw: RawScan, config: AcquisitionConfig, noise: str | Path | None = None, *, phase_contrast: bool = False
) -> Scan:
    """Check the headers of a raw scan, and determine the use of each readout. Parameters are those of `open_scan`.

    Raises
    ------
    HeaderError, DataError, UnsupportedError
        If the scan cannot be processed correctly.
    """
    sets = velocity_sets(raw, config) if phase_contrast else ()
    configs = [config.with_set(number) for number in sets] or [config]
    scans = [Scan(checked(lay_out(raw, part, noise))) for part in configs]
    return PhaseContrastScan.of_sets(*scans) if sets else scans[0]


class ScanOpener:
    """Opens files with the same settings, and keeps the last one open to read more of its slices."""

    def __init__(self, config: AcquisitionConfig | None = None) -> None:
        self.config = AcquisitionConfig.or_default(config)
        self._last: tuple[Path, CineSource, list[list[int] | None]] | None = None

    def open(self, path: Path) -> CineSource:
        """The opened file; it is opened again if the size or modification time of one of its files has changed.

        Raises
        ------
        CineReconError
            See `open_scan`.
        """
        if self._last is not None:
            last_path, source, states = self._last
            if last_path == path and states == list(map(file_state, source.files)):
                return source
            self._last = None
            del source  # free the memory before the next file is opened
        source = open_scan(path, self.config)
        self._last = (path, source, list(map(file_state, source.files)))
        return source


def read_slices(
    path: AnyPath,
    config: AcquisitionConfig | None = None,
    *,
    noise: AnyPath | None = None,
    dataset: str | None = None,
    measurement: int | None = None,
) -> Iterator[CineData]:
    """Read a file slice by slice, sorted by position; one slice is in memory at a time.

    Parameters and errors are those of `open_scan` and `Scan.read_slice`.
    """
    source = open_scan(path, config, noise=noise, dataset=dataset, measurement=measurement)
    for number in range(source.n_slices):
        yield source.read_slice(number)


def find_cines(
    folder: Path,
    split: str | None = None,
    *,
    without: Path | None = None,
    is_known: Callable[[Path], bool] = lambda _: False,
) -> list[Path]:
    """The files below a folder that `open_scan` can read, or the prepared cases of a split.

    Hidden files are skipped, as are images that a reconstruction wrote next to its scan.

    Parameters
    ----------
    folder
        The folder to search.
    split
        Split of the prepared cases; None for all splits.
    without
        A folder to skip, e.g. the folder of results.
    is_known
        Whether a file is known to contain cine data, so that it need not be opened.

    Raises
    ------
    FileError
        If the folder contains prepared cases, but none of the split.
    """
    if holds_cases(folder):
        return list_cases(folder, split)
    files = (path for _, paths in walk_visible(folder, without=without) for path in paths)
    return sorted(path for path in files if is_known(path) or (is_cine_name(path) and not holds_images_only(path)))


def is_cine_name(path: Path) -> bool:
    """Whether a file is, by its name, a raw scan, a prepared case or CMRxRecon k-space, or an archive of k-space.

    Many programs use ``.dat``, so files of Siemens scanners are recognised by their content.
    """
    is_raw = path.name.lower().endswith(SCAN_ENDINGS) or (path.suffix.lower() == ".dat" and is_twix(path))
    return is_raw or is_kspace_name(path) or holds_kspace(path)
