"""Inspection of a file without reconstruction: the content and processing of a raw scan, or of the slices of others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.checks.table import checked
from cinerecon.acquisition.config import AcquisitionConfig, describe_kept_coils
from cinerecon.acquisition.formats import RAW_SCAN, require_options
from cinerecon.acquisition.gating.beats import GatingReport
from cinerecon.acquisition.layout import ScanLayout, determine_coil_matrix, lay_out, require_signal
from cinerecon.acquisition.readouts.select import Dropped, count_flags, is_calibration_only
from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.axes import mirrored_indices
from cinerecon.io.ismrmrd.raw import Index, RawScan
from cinerecon.io.ismrmrd.waveforms import describe_waveforms
from cinerecon.io.raw_file import read_raw_scan
from cinerecon.options import AUTO_LOSS
from cinerecon.physics.sampling import acceleration_of, count_acs, measured_extent, scan_acceleration

if TYPE_CHECKING:
    from cinerecon.acquisition.source import CineSource

CHECKED_AT_ONCE = 1024
"""Number of readouts that are checked at once, which limits memory usage."""


@dataclass(frozen=True, kw_only=True)
class CineContent:
    """The content of a raw scan or of another file.

    Attributes
    ----------
    n_slices, n_frames
        Number of slices, and number of frames of each slice in the order of position.
    n_coils
        Number of coils of the image readouts, without excluded coils.
    matrix, pixel_size_mm
        Size of the image and of a pixel along (y, x), the latter in mm.
    lines_per_frame, n_lines
        Mean number of distinct lines per frame, and number of lines in the extent that the scan covers.
    acceleration, acceleration_without_acs
        Ratio of the lines of the extent to the lines per frame; the second value excludes calibration lines from both.
    n_acs
        Number of central lines that every frame measures.
    warnings
        Warnings about the scan and its slices, without duplicates.
    """

    n_slices: int
    n_frames: tuple[int, ...]
    n_coils: int
    matrix: tuple[int, int]
    pixel_size_mm: tuple[float, float]
    lines_per_frame: float
    n_lines: int
    acceleration: float
    acceleration_without_acs: float
    n_acs: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ScanPlan(CineContent):
    """The content of a raw scan and its processing.

    Attributes
    ----------
    source, dataset
        The file, and its group or the number of the measurement.
    scanner, field_strength_tesla, protocol
        Values from the XML header.
    time_counter
        The counter that represents time.
    n_averages
        Number of averages of each line, which are combined in k-space.
    encoded_matrix
        Measured matrix size (ky, kx).
    oversampling
        Ratio of the encoded to the image field of view along the readout.
    echo_fraction
        Fraction of the readout that was measured; 1 for a symmetric echo.
    phase_fraction
        Fraction of k-space along y that was measured; below 1 for partial Fourier.
    fewest_lines, most_lines
        Smallest and largest number of different lines of a frame.
    transform
        Transform from the stored k-space to the image, ``fft`` or ``ifft``.
    noise
        Description of the noise readouts.
    steps
        Processing steps in order.
    flags
        Number of readouts with each flag.
    n_readouts, n_image_readouts, n_noise_readouts, n_calibration_readouts, dropped
        Numbers of readouts in the file, in the image, for noise, and for coil maps only; and unused readouts with
        reasons.
    gating
        Gating mode and heartbeats.
    signals
        The recorded physiological signals, such as the ECG.
    """

    source: str
    dataset: str
    scanner: str
    field_strength_tesla: float | None
    protocol: str
    time_counter: str
    n_averages: int
    encoded_matrix: tuple[int, int]
    oversampling: float
    echo_fraction: float
    phase_fraction: float
    fewest_lines: int
    most_lines: int
    transform: str
    noise: str
    steps: tuple[str, ...]
    flags: dict[str, int]
    n_readouts: int
    n_image_readouts: int
    n_noise_readouts: int
    n_calibration_readouts: int
    dropped: tuple[Dropped, ...]
    gating: GatingReport
    signals: tuple[str, ...]


def describe(layout: ScanLayout) -> ScanPlan:
    """Report the layout of a scan and its processing."""
    raw, grid, lines = layout.raw, layout.grid, layout.lines
    header = raw.header
    sampled = _sampled_lines(layout)
    acceleration, without_acs = scan_acceleration(sampled)
    rows, _ = measured_extent(sampled)
    per_frame = sampled.sum((1, 2, 3))
    return ScanPlan(
        source=str(raw.path),
        dataset=raw.group.strip("/"),
        scanner=" ".join(part for part in (header.vendor, header.model) if part),
        field_strength_tesla=header.field_strength_tesla,
        protocol=header.protocol,
        n_slices=layout.n_slices,
        n_frames=layout.counters.n_frames,
        time_counter=layout.counters.time,
        n_averages=layout.counters.n_averages,
        n_coils=len(layout.coils),
        encoded_matrix=(grid.ky, grid.kx),
        matrix=(grid.y, grid.x),
        pixel_size_mm=grid.pixel_size_mm,
        oversampling=grid.kx / grid.x,
        echo_fraction=int(lines.n_samples.max()) / grid.kx,
        phase_fraction=_phase_fraction(rows, grid.ky),
        lines_per_frame=float(per_frame.sum()) / len(sampled),
        fewest_lines=int(per_frame.min()),
        most_lines=int(per_frame.max()),
        n_lines=rows.stop - rows.start,
        acceleration=acceleration,
        acceleration_without_acs=without_acs,
        n_acs=count_acs(sampled) if acceleration > 1 else 0,
        transform="fft" if layout.uses_fft else "ifft",
        noise=_describe_noise(layout),
        steps=tuple(_steps(layout)),
        flags=count_flags(raw),
        n_readouts=len(raw),
        n_image_readouts=len(np.unique(lines.row)),
        n_noise_readouts=len(layout.selection.noise),
        n_calibration_readouts=int(is_calibration_only(raw.heads)[layout.calibration.row].sum()),
        dropped=layout.selection.dropped,
        gating=layout.gating.report,
        signals=describe_waveforms(raw.waveforms),
        warnings=layout.all_warnings,
    )


def _sampled_lines(layout: ScanLayout) -> NDArray[np.bool_]:
    """Sampling mask of the rows with the frames of all slices concatenated, ``(frames, 1, ky, 1)`` bool."""
    frames, ky = enumerate(layout.counters.n_frames), layout.grid.ky
    sampled = np.concatenate([layout.lines.of_slice(number).mask(n, ky) for number, n in frames])
    return sampled[:, :, mirrored_indices(ky)] if layout.uses_fft else sampled


def _phase_fraction(rows: slice, ky: int) -> float:
    """Fraction of k-space that the lines cover; 1 if they extend equally far on both sides of the centre."""
    before, after = ky // 2 - rows.start, rows.stop - 1 - ky // 2
    return float(min((rows.stop - rows.start) / (2 * max(before, after, 1)), 1.0))


def _steps(layout: ScanLayout) -> Iterator[str]:
    grid, lines, config = layout.grid, layout.lines, layout.config
    if lines.skip.any() or (layout.raw.heads["discard_post"][lines.row] > 0).any():
        yield "remove the samples marked to be discarded"
    if lines.reverse.any():
        yield f"reverse {len(np.unique(lines.row[lines.reverse]))} readouts that were acquired backwards"
    if layout.raw.header.has_pilot_tone:
        yield "discard the samples corrupted by the pilot tone: the first 3 and the last of each readout"
    if lines.n_samples.min() < grid.kx:
        yield f"place readouts of {lines.n_samples.min()} samples on {grid.kx} by their echo, zero-filled"
    if layout.uses_fft:
        yield "mirror k-space: Siemens images are the forward Fourier transform of k-space"
    if grid.x < grid.kx:
        yield f"remove readout oversampling: {grid.kx} to {grid.x} samples"
    if config.exclude_coils:
        yield f"exclude coils {', '.join(map(str, sorted(set(config.exclude_coils))))}"
    if config.whiten and len(layout.noise):
        yield "whiten the coils"
    if layout.gating.is_retro:
        yield _describe_gating(layout.gating.report, layout.gating.n_frames)
    elif layout.gating.mode == "none":
        yield "divide the readouts into frames in temporal order (real time)"
    if layout.counters.n_averages > 1:
        yield f"average {layout.counters.n_averages} measurements of each line"
    if grid.y < grid.ky:
        yield f"crop the image from {grid.ky} to {grid.y} rows: phase oversampling"
    n_virtual = config.fewer_coils(len(layout.coils))
    if n_virtual is not None:
        scope = "of each position along the readout" if config.compression == "geometric" else "of all samples"
        smallest = f"the smallest number that keeps {1 - AUTO_LOSS:.0%} of the signal energy"
        number = smallest if n_virtual == "auto" else n_virtual
        yield f"compress to virtual coils, {number}, the principal components {scope}"
    elif kept := describe_kept_coils(len(layout.coils), config.n_virtual_coils):
        yield kept
    if len(layout.coils) > 1:
        n_calibration = len(np.unique(layout.calibration.ky))
        source = f"{n_calibration} calibration lines" if n_calibration else "all frames"
        yield f"estimate coil maps ({config.csm}) from {source}"


def _describe_gating(report: GatingReport, n_frames: int) -> str:
    processing = "interpolate each line in time" if report.is_interpolated else "average the measurements of each line"
    return (
        f"gate by {report.source}: {report.n_used_beats} of {report.n_beats} heartbeats, systole and diastole scaled "
        f"to those of {report.rr_used_ms:.0f} ms; {processing}, for {n_frames} frames"
    )


def _describe_noise(layout: ScanLayout) -> str:
    noise, raw = layout.noise, layout.noise.raw
    if len(noise) == 0:
        return "none"
    file = "" if raw is layout.raw else f" in {raw.group if raw.path == layout.raw.path else raw.path.name}"
    return f"{len(noise)} readouts of {noise.field('number_of_samples').max()} samples{file}"


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
        See `open_scan`.
    progress
        Called with (number of checked slices, total number of slices).

    Returns
    -------
    The content of the scan and its processing, with the warnings that a reconstruction would issue.

    Raises
    ------
    FileError, HeaderError, DataError, UnsupportedError
        If the scan cannot be read correctly.
    """
    config = AcquisitionConfig.or_default(config)
    require_options(Path(path), RAW_SCAN, config)
    layout = checked(lay_out(read_raw_scan(path, dataset, measurement), config, noise))
    plan = describe(layout)
    for number in range(plan.n_slices):
        require_signal(_check_rows(layout.raw, layout.lines.of_slice(number).row), layout, number)
        _check_rows(layout.raw, layout.calibration.of_slice(number).row)
        if progress:
            progress(number + 1, plan.n_slices)
    return replace(plan, warnings=tuple(dict.fromkeys((*plan.warnings, *determine_coil_matrix(layout).warnings))))


def _check_rows(raw: RawScan, rows: Index) -> bool:
    """Read readouts and return whether they contain signal."""
    is_signal = False
    for block in np.array_split(rows, max(len(rows) // CHECKED_AT_ONCE, 1)):
        for _, alike in Readouts(raw, block).groups("number_of_samples"):
            is_signal = bool(alike.samples().any()) or is_signal
    return is_signal


@dataclass(frozen=True, kw_only=True)
class CineSummary(CineContent):
    """A summary of the slices of a file, created after they have been read.

    Attributes
    ----------
    files
        All files from which the slices are read.
    n_references
        Number of slices with a fully sampled reference.
    marks
        Properties that distinguish the data from those of a measured scan.
    """

    files: tuple[str, ...]
    n_references: int
    marks: tuple[str, ...]


def summarise(source: "CineSource", progress: Callable[[int, int], None] | None = None) -> CineSummary:
    """Read all slices of a file one after the other and summarise them, with the sampling of the first slice.

    Raises
    ------
    FileError, DataError
        See `CineSource.read_slice`.
    """
    first = source.read_slice(0)
    n_frames, n_references, warnings = [], 0, dict[str, None]()
    for number in range(source.n_slices):
        data = source.read_slice(number) if number else first
        n_frames.append(data.n_frames)
        n_references += data.reference is not None
        warnings |= dict.fromkeys(data.meta.warnings)
        if progress:
            progress(number + 1, source.n_slices)
    acceleration, without_acs = acceleration_of(first)
    rows, _ = first.meta.extent or measured_extent(first.mask)
    return CineSummary(
        files=tuple(map(str, source.files)),
        n_slices=source.n_slices,
        n_frames=tuple(n_frames),
        n_coils=first.n_coils,
        matrix=first.matrix,
        pixel_size_mm=first.meta.at_measured_matrix(first.matrix).pixel_size_mm,
        lines_per_frame=float(first.mask.any(-1).sum()) / first.n_frames,
        n_lines=rows.stop - rows.start,
        acceleration=acceleration,
        acceleration_without_acs=without_acs,
        n_acs=count_acs(first.mask) if acceleration > 1 else 0,
        n_references=n_references,
        marks=source.marks,
        warnings=tuple(warnings),
    )
