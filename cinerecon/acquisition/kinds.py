"""The kinds of files that hold cines, and the options that belong to each."""

from pathlib import Path

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.errors import ConfigError
from cinerecon.io.raw_file import require_raw_scan
from cinerecon.io.recognise import is_case, is_kspace_array, is_matlab

PREPARED_CASE, PLAIN_ARRAY = "a prepared case", "a plain array"
RAW_SCAN = "a raw scan"
RAW_SCAN_SETTINGS = (
    *("time_counter", "combine", "repeats", "positions", "encoding", "center_sample"),
    *("ky_centre", "exclude_coils", "gating", "gated_frames", "rr_window", "r_waves", "tick_ms", "real_time_lines"),
)
"""The settings that apply to raw scans only."""


def kind_of(path: Path) -> str:
    """The kind of a file by its content; what is not recognised counts as a raw scan, whose reader says what it is."""
    if is_case(path):
        return PREPARED_CASE
    if is_matlab(path):
        return "a MATLAB file"
    return PLAIN_ARRAY if is_kspace_array(path) else RAW_SCAN


def require_cine(path: Path) -> None:
    """Check the format of a file before anything slow is done for it.

    Raises
    ------
    FileError
        If it is missing, or `open_cine` does not read its format.
    """
    if not (path.is_file() and (is_matlab(path) or is_kspace_array(path))):
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
    """Refuse options that belong to another kind of file; parameters as for `open_cine`, which reads it.

    Raises
    ------
    ConfigError
        Naming the first such option.
    """
    defaults = AcquisitionConfig()
    given = next((name for name, value in config.arrays if value != getattr(defaults.arrays, name)), None)
    if kind != PLAIN_ARRAY and given is not None:
        option = f"--{given.replace('_', '-')}"
        raise ConfigError(f"{option} belongs to plain arrays (BART, NumPy), this is {kind}", where=str(path))
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
        raise ConfigError(f"{option} belongs to ISMRMRD and Siemens raw scans, this is {kind}", where=str(path))
