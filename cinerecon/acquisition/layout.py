"""The layout of a raw scan, determined from its headers: used readouts, their positions in k-space, and noise."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.checks.cartesian import require_cartesian, require_cartesian_header, require_kspace_readouts
from cinerecon.acquisition.checks.spikes import without_spikes
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.conventions import standardise
from cinerecon.acquisition.gating.gate import Gating, plan_gating
from cinerecon.acquisition.metadata import slice_meta
from cinerecon.acquisition.readouts.calibration import add_central_lines, place_calibration, without_other_contrast
from cinerecon.acquisition.readouts.counters import Counters, read_counters, require_sane_claim
from cinerecon.acquisition.readouts.grid import Grid, plan_grid
from cinerecon.acquisition.readouts.noise import (
    Matrix,
    noise_rows,
    noise_scale,
    open_noise,
    read_whitening,
    select_coils,
    without_signal,
)
from cinerecon.acquisition.readouts.placement import (
    Lines,
    line_samples,
    place_lines,
    require_central_lines,
    require_gaps,
)
from cinerecon.acquisition.readouts.select import (
    Dropped,
    Selection,
    is_calibration_only,
    keep_selected,
    require_alike,
    select_readouts,
)
from cinerecon.acquisition.readouts.subset import Readouts, probe_lines
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import ConfigError, DataError
from cinerecon.io.ismrmrd.raw import CALIBRATION, RESCALE, SMALLEST_SAMPLE, Index, RawScan
from cinerecon.io.plausibility import require_memory


@dataclass(frozen=True, eq=False)
class ScanLayout:
    """The positions of the readouts of a scan, its noise readouts, the metadata of its slices, and warnings.

    Attributes
    ----------
    raw, config
        The scan and the settings; `Gating.set_counters` may have completed the settings for the counters.
    selection, lines, counters, grid
        The used readouts, their positions, slices and frames, and the encoded grid.
    gating
        The gating, which determines the frames.
    calibration
        The lines for coil maps of slices whose image lines cover less of the centre.
    coils
        Indices of the coils that are not excluded.
    noise
        The noise readouts, usually from the scan itself.
    meta
        Metadata of each slice.
    warnings
        Warnings that apply to all slices; warnings about one slice are in its metadata.
    """

    raw: RawScan
    config: AcquisitionConfig
    selection: Selection
    lines: Lines
    calibration: Lines
    counters: Counters
    grid: Grid
    gating: Gating
    coils: Index
    noise: Readouts
    meta: tuple[CineMeta, ...]
    warnings: tuple[str, ...]

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return len(self.counters.n_frames)

    @property
    def middle_slice(self) -> int:
        """Index of the middle slice, which has the most signal."""
        return (self.n_slices - 1) // 2

    @property
    def uses_fft(self) -> bool:
        """Whether the image is the forward transform of the stored k-space, as in Siemens data."""
        transform = self.config.transform
        return self.raw.header.is_siemens if transform == "auto" else transform == "fft"

    def lines_of_frames(self, number: int) -> NDArray[np.bool_]:
        """The lines measured in each frame of a slice, ``(frames, ky)``."""
        return self.lines.of_slice(number).mask(self.counters.n_frames[number], self.grid.ky)[:, 0, :, 0]

    def samples(self, lines: Lines) -> NDArray[np.complex64]:
        """Samples of readouts on the encoded grid, without excluded coils, ``(readouts, coils, kx)``."""
        samples = np.zeros((len(lines.row), len(self.coils), self.grid.kx), np.complex64)
        for readout, start, measured in zip(samples, lines.start, line_samples(self.raw, lines), strict=True):
            readout[:, start : start + measured.shape[1]] = measured[self.coils]
        return samples

    def with_warnings(self, texts: Iterable[str]) -> Self:
        """The same layout with additional warnings, without duplicates."""
        return replace(self, warnings=tuple(dict.fromkeys([*self.warnings, *texts])))

    @property
    def all_warnings(self) -> tuple[str, ...]:
        """Warnings about the scan and its slices, without duplicates."""
        return tuple(dict.fromkeys([*self.warnings, *(text for meta in self.meta for text in meta.warnings)]))


def lay_out(raw: RawScan, config: AcquisitionConfig, noise_path: str | Path | None = None) -> ScanLayout:
    """Check the headers of a scan and determine the use of each readout; only a few samples are read.

    `checks.table.checked` compares headers and samples afterwards.

    Raises
    ------
    HeaderError, DataError, UnsupportedError
        If the scan is invalid or not supported; the error names the readout.
    """
    warnings = list(raw.warnings)
    warn = warnings.append
    # readouts, with their slice, frame and line
    other = open_noise(raw, noise_path, whiten=config.whiten)
    require_sane_claim(raw)
    selection = select_readouts(raw, config, warn)
    readouts = Readouts(raw, selection.image, warn)
    require_cartesian_header(readouts, raw.header.encodings[selection.encoding])
    require_kspace_readouts(readouts, raw.header.encodings[selection.encoding])
    gating = plan_gating(readouts, config)
    raw, config = gating.set_counters(raw, config, warn)
    raw = standardise(raw, selection, config, warn)
    selection = keep_selected(raw, add_central_lines(raw, selection, warn), config.select)
    image = Readouts(raw, selection.image, warn)
    require_cartesian(image)
    counters = read_counters(image, selection.unmeasured, config.select)
    require_alike(image)
    coils = _used_coils(int(image.field("active_channels")[0]), config.exclude_coils)
    # the encoded grid, from the headers and the samples of a few readouts
    probe = probe_lines(image.middle_slice())
    _require_magnitude(raw, probe.largest_sample)
    grid = plan_grid(image, probe, config)
    # the position of each readout on the grid
    lines = without_other_contrast(raw, place_lines(image, counters, grid), selection.calibration, warn)
    lines = without_spikes(raw, lines, warn)
    require_central_lines(raw, lines, grid)
    require_gaps(raw, lines, grid)
    lines, counters, gating = gating.gate(lines, counters, warn)
    calibration = place_calibration(Readouts(raw, selection.calibration, warn), lines, counters.n_frames, grid)
    n_coils = int(raw.heads["active_channels"].max())
    require_memory((max(counters.n_frames), n_coils, grid.ky, grid.kx), config.memory_limit_gb, str(raw.path))
    noise = Readouts(raw, selection.noise, warn) if other is None else Readouts(other, noise_rows(other), warn)
    noise = without_signal(noise)
    slices = enumerate(counters.n_frames)
    meta = [slice_meta(raw, lines.of_slice(number), number, n, grid.pixel_size_mm, gating) for number, n in slices]
    return ScanLayout(
        raw=raw,
        config=config,
        selection=replace(selection, dropped=(*selection.dropped, *_unused(raw, selection, calibration, lines))),
        lines=lines,
        calibration=calibration,
        counters=counters,
        grid=grid,
        gating=gating,
        coils=coils,
        noise=noise,
        meta=tuple(meta),
        warnings=tuple(dict.fromkeys(warnings)),
    )


class CoilMatrix(NamedTuple):
    """Selection and whitening of the coils of a scan.

    Attributes
    ----------
    matrix
        ``(used coils, coils)`` complex64; None for the identity.
    warnings
        Warnings about the noise.
    has_unit_noise
        Whether the noise of a sample has unit variance after the matrix.
    """

    matrix: Matrix | None
    warnings: tuple[str, ...]
    has_unit_noise: bool


def determine_coil_matrix(layout: ScanLayout) -> CoilMatrix:
    """Determine the coil matrix, from the noise readouts if coils are whitened.

    Raises
    ------
    DataError
        If the coils cannot be whitened, see `read_whitening`.
    """
    warnings: list[str] = []
    image = Readouts(layout.raw, layout.lines.row, warnings.append)
    noise = replace(layout.noise, warn=warnings.append)
    n_coils = int(image.field("active_channels")[0])
    selection = select_coils(layout.coils, n_coils) if len(layout.coils) < n_coils else None
    if not layout.config.whiten or len(noise) == 0:
        return CoilMatrix(selection, (), has_unit_noise=False)
    whitening = read_whitening(image, noise, layout.coils)
    if whitening is None:
        return CoilMatrix(selection, tuple(warnings), has_unit_noise=False)
    return CoilMatrix(whitening, tuple(warnings), has_unit_noise=noise_scale(image, noise) is not None)


def require_signal(is_signal: bool, layout: ScanLayout, number: int) -> None:
    """Refuse a slice without signal."""
    if not is_signal:
        raise DataError("all samples are zero", where=f"{layout.raw.path}, slice {number}")


def _require_magnitude(raw: RawScan, largest_sample: float) -> None:
    """Refuse samples whose squares underflow; samples that are too large are refused when they are read."""
    if 0 < largest_sample < SMALLEST_SAMPLE:
        what = f"the largest sample is {largest_sample:.1g}, expected at least {SMALLEST_SAMPLE:g}"
        raise DataError(what, where=str(raw.path), hint=RESCALE)


def _used_coils(n_coils: int, excluded: list[int]) -> Index:
    """Indices of the coils that are not excluded."""
    coils = np.arange(n_coils)
    unknown = np.setdiff1d(excluded, coils)
    if unknown.size:
        what = f"there is no coil {unknown[0]}, the scan has coils 0 to {coils[-1]}"
        raise ConfigError(what, where="--set preprocessing.exclude_coils")
    remaining = np.setdiff1d(coils, excluded)
    if remaining.size == 0:
        raise ConfigError("all coils are excluded", where="--set preprocessing.exclude_coils")
    return remaining


def _unused(raw: RawScan, selection: Selection, calibration: Lines, lines: Lines) -> Iterator[Dropped]:
    """Calibration-only readouts that are not used for coil maps, and image readouts outside the gated beats."""
    rows = selection.calibration[is_calibration_only(raw.heads)[selection.calibration]]
    n_unused = len(np.setdiff1d(rows, calibration.row))
    if n_unused:
        yield Dropped(n_unused, f"flag {CALIBRATION}: calibration only, and the image lines cover as much")
    n_rejected = len(np.setdiff1d(selection.image, lines.row))
    if n_rejected:
        yield Dropped(n_rejected, "gating: in rejected heartbeats, or without a frame near its cardiac phase")
