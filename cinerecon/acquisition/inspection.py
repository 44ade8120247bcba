"""Inspection of a raw scan: its layout, its noise, and a check of all samples, without an image."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.layout import ScanLayout, lay_out
from cinerecon.acquisition.noise import noise_scale, read_whitening, select_coils
from cinerecon.acquisition.plan import ScanPlan, describe
from cinerecon.acquisition.select import NOISE
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import Index, RawScan, has_flag
from cinerecon.io.raw_file import read_raw_scan
from cinerecon.io.twix.readouts import TwixSamples
from cinerecon.io.twix.scan import find_noise
from cinerecon.physics.whitening import Matrix

CHECKED_AT_ONCE = 1024
"""Number of readouts in memory while samples are only checked."""


def inspect_scan(
    path: str | Path,
    config: AcquisitionConfig | None = None,
    *,
    noise: str | Path | None = None,
    dataset: str | None = None,
    measurement: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ScanPlan:
    """Read all headers and samples of a raw scan, without keeping the samples.

    Parameters
    ----------
    path, config, noise, dataset, measurement
        As for `open_scan`.
    progress
        Called with (slices checked, slices in all).

    Returns
    -------
    The content of the scan and its processing, with the warnings that reconstruction would give.

    Raises
    ------
    FileError, HeaderError, DataError, UnsupportedError
        If the scan cannot be read correctly.
    """
    config = config or AcquisitionConfig()
    layout = lay_out_with_noise(read_raw_scan(path, dataset, measurement), config, noise)
    plan = describe(layout, config)
    for number in range(plan.n_slices):
        require_signal(_check_rows(layout.raw, layout.lines.of_slice(number).row), layout, number)
        _check_rows(layout.raw, layout.calibration.of_slice(number).row)
        if progress:
            progress(number + 1, plan.n_slices)
    return replace(plan, warnings=tuple(dict.fromkeys((*plan.warnings, *mix_coils(layout, config).warnings))))


def _check_rows(raw: RawScan, rows: Index) -> bool:
    """Read some readouts; return whether they have signal."""
    is_signal = False
    for some in np.array_split(rows, max(len(rows) // CHECKED_AT_ONCE, 1)):
        for length in np.unique(raw.heads["number_of_samples"][some]):
            samples = raw.samples(some[raw.heads["number_of_samples"][some] == length])
            is_signal = is_signal or bool(samples.any())
    return is_signal


def require_signal(is_signal: bool, layout: ScanLayout, number: int) -> None:
    """Refuse a slice without signal.

    Raises
    ------
    DataError
        If it has none.
    """
    if not is_signal:
        raise DataError("all samples are zero", where=f"{layout.raw.path}, slice {number}")


class CoilMatrix(NamedTuple):
    """Selection and whitening of the coils of a scan.

    Attributes
    ----------
    matrix
        ``(kept coils, coils)`` complex64; None for the identity.
    warnings
        Warnings about the noise.
    has_unit_noise
        Whether the matrix gives the noise of a sample unit variance.
    """

    matrix: Matrix | None
    warnings: tuple[str, ...]
    has_unit_noise: bool


def mix_coils(layout: ScanLayout, config: AcquisitionConfig) -> CoilMatrix:
    """Determine the matrix of the coils, from the noise readouts where coils are whitened.

    Raises
    ------
    DataError
        If the coils cannot be whitened, see `read_whitening`.
    """
    raw, noise, first = layout.raw, layout.noise, int(layout.lines.row[0])
    n_coils = int(raw.heads["active_channels"][first])
    selection = select_coils(layout.coils, n_coils) if len(layout.coils) < n_coils else None
    if not config.whiten or noise is None:
        return CoilMatrix(selection, (), has_unit_noise=False)
    whitening, warnings = read_whitening(raw, layout.lines.row, noise, layout.noise_rows, layout.coils)
    if whitening is None:
        return CoilMatrix(selection, tuple(warnings), has_unit_noise=False)
    is_scaled = noise_scale(raw, first, noise, int(layout.noise_rows[0])) is not None
    return CoilMatrix(whitening, tuple(warnings), has_unit_noise=is_scaled)


def lay_out_with_noise(raw: RawScan, config: AcquisitionConfig, noise: str | Path | None) -> ScanLayout:
    """The layout of a scan whose noise readouts may be in another file or measurement; errors as for `lay_out`."""
    return lay_out(raw, config, _read_noise(raw, config, noise))


def _read_noise(raw: RawScan, config: AcquisitionConfig, path: str | Path | None) -> RawScan | None:
    """The measurement of the noise: of the file that is named, or in the twix file of a scan; None for the scan itself.

    Parameters
    ----------
    raw
        The scan.
    config
        Whether coils are whitened.
    path
        A separate file, whose last measurement may be another scan of the same coils; None if there is none.
    """
    source = raw if path is None else read_raw_scan(path)
    is_silent = isinstance(source.store, TwixSamples) and not has_flag(source.heads, NOISE).any()
    other = find_noise(source) if config.whiten and is_silent else None
    return other if path is None else other or source
