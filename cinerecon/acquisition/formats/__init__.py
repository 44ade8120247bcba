"""The file formats of cine data, which are recognised by their content, and the options that apply to each.

Readers require PyTorch and are therefore imported only when they are called.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.errors import ConfigError
from cinerecon.io.raw_file import require_raw_scan
from cinerecon.io.recognise import is_case, is_kspace_array, is_matlab

if TYPE_CHECKING:
    from cinerecon.acquisition.source import CineSource

RAW_SCAN, PLAIN_ARRAY = "a raw scan", "a plain array"
RAW_SCAN_SETTINGS = (
    *("select", "time_counter", "combine", "repeats", "positions", "encoding", "center_sample"),
    *("ky_centre", "exclude_coils", "gating", "gated_frames", "rr_window", "r_waves", "tick_ms", "real_time_lines"),
)
"""The settings that apply to raw scans only."""


class GriddedFormat(NamedTuple):
    """A format of gridded k-space: its name, a function that recognises it, and a function that opens a file."""

    name: str
    has: Callable[[Path], bool]
    open: Callable[[Path, AcquisitionConfig], "CineSource"]


def _open_case(path: Path, config: AcquisitionConfig) -> "CineSource":
    from cinerecon.acquisition.formats.case import CaseSource

    return CaseSource(path, config)


def _open_cmrxrecon(path: Path, config: AcquisitionConfig) -> "CineSource":
    from cinerecon.acquisition.formats.cmrxrecon import CmrxreconSource
    from cinerecon.io.cmrxrecon import open_cmrxrecon

    return CmrxreconSource(config, open_cmrxrecon(path))


def _open_array(path: Path, config: AcquisitionConfig) -> "CineSource":
    from cinerecon.acquisition.formats.arrays import open_array

    return open_array(path, config)


GRIDDED_FORMATS = [
    GriddedFormat("a prepared case", is_case, _open_case),
    GriddedFormat("a MATLAB file", is_matlab, _open_cmrxrecon),
    GriddedFormat(PLAIN_ARRAY, is_kspace_array, _open_array),
]
"""Formats that are recognised by content. Any other file is treated as a raw scan, whose reader reports errors."""


def gridded_format(path: Path) -> GriddedFormat | None:
    """The format of a file of gridded k-space; None for a raw scan."""
    return next((entry for entry in GRIDDED_FORMATS if entry.has(path)), None)


def kind_of(path: Path) -> str:
    """The name of the format of a file, determined from its content."""
    entry = gridded_format(path)
    return RAW_SCAN if entry is None else entry.name


def require_cine(path: Path) -> None:
    """Check the format of a file before a long computation.

    Raises
    ------
    FileError
        If the file is missing, or its format is not supported by `open_scan`.
    """
    if not path.is_file() or gridded_format(path) is None:
        require_raw_scan(path)


def require_options(
    path: Path,
    kind: str,
    config: AcquisitionConfig,
    *,
    noise: str | Path | None = None,
    dataset: str | None = None,
    measurement: int | None = None,
) -> None:
    """Refuse options that apply to another file format. Parameters are those of `open_scan`.

    Raises
    ------
    ConfigError
        If such an option is set; the error names the first one.
    """
    defaults = AcquisitionConfig()
    changed = next((name for name, value in config.arrays if value != getattr(defaults.arrays, name)), None)
    if kind != PLAIN_ARRAY and changed is not None:
        option = f"--{changed.replace('_', '-')}"
        raise ConfigError(f"{option} applies only to plain arrays (BART, NumPy), but this is {kind}", where=str(path))
    if kind == RAW_SCAN:
        return
    is_given = {
        "--noise": noise is not None,
        "--dataset": dataset is not None,
        "--measurement": measurement is not None,
        **{
            f"--set preprocessing.{name}": getattr(config, name) != getattr(defaults, name)
            for name in RAW_SCAN_SETTINGS
        },
    }
    for option in (option for option, value in is_given.items() if value):
        raise ConfigError(
            f"{option} applies only to ISMRMRD and Siemens raw scans, but this is {kind}", where=str(path)
        )
