"""Metadata of a slice from the headers: position, orientation, frame times, thickness."""

from collections.abc import Iterator

import numpy as np

from cinerecon.acquisition.gating.clock import SHORTEST_FRAME_MS, SIMULATED
from cinerecon.acquisition.gating.gate import LONGEST_MEAN_RR_MS, Gating
from cinerecon.acquisition.readouts.placement import Lines
from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.io.ismrmrd.header import MrdHeader
from cinerecon.io.ismrmrd.raw import RawScan
from cinerecon.io.plausibility import (
    LONGEST_FRAME_MS,
    NOT_ORTHONORMAL,
    are_orthonormal,
    thickness_or_default,
)

FRAME_TIME_RATIO = 1.3
"""Ratio between the frame durations from time stamps and header, or its inverse, above which one of them is wrong."""


def slice_meta(
    raw: RawScan, lines: Lines, number: int, n_frames: int, pixel_size_mm: tuple[float, float], gating: Gating
) -> CineMeta:
    """Geometry, frame times and slice thickness of a slice, with warnings about missing header fields."""
    times, time_warnings = gating.frame_times_ms, list[str]()
    if times is None:
        times, time_warnings = _frame_times(raw, lines, n_frames, gating)
    is_one_beat = gating.is_retro or (not gating.is_real_time and _is_one_beat(raw, lines))
    if is_one_beat and gating.frame_times_ms is None:
        time_warnings = [*time_warnings, *_long_beat_warnings(raw.header, n_frames)]
    geometry, geometry_warnings = _geometry(Readouts(raw, lines.row))
    thickness_mm, no_thickness = thickness_or_default(raw.header.encodings[0].recon.fov_mm[2])
    return CineMeta(
        source=str(raw.path),
        slice=number,
        frame_times_ms=times,
        pixel_size_mm=pixel_size_mm,
        slice_thickness_mm=thickness_mm,
        geometry=geometry,
        protocol=raw.header.protocol,
        warnings=(*geometry_warnings, *time_warnings, *no_thickness),
        is_one_beat=is_one_beat,
        is_real_time=gating.is_real_time,
    )


def _geometry(readouts: Readouts) -> tuple[Geometry | None, list[str]]:
    """Position and directions of a slice from its first readout; None, with a warning, if they are invalid."""
    of_readouts = [readouts.field(name) for name in ("read_dir", "phase_dir", "slice_dir", "position")]
    *directions_of_first, position = (values[0].astype(float) for values in of_readouts)
    directions = np.array(directions_of_first)
    if not directions.any():
        return None, ["the geometry is missing (all directions are zero): images have no orientation"]
    if not are_orthonormal(directions):
        return None, [NOT_ORTHONORMAL]
    if not np.isfinite(position).all():
        return None, ["the position is not finite: images have no orientation"]
    *rotation, motion_mm = (float(np.abs(values - values[0]).max()) for values in of_readouts)
    is_moving = max(rotation) > 0.01 or motion_mm > 0.1
    read, phase, across = (direction / np.linalg.norm(direction) for direction in directions)
    warning = "position or directions change within a slice: the values of its first readout are used"
    geometry = Geometry.of(position, read, phase, across, readouts.raw.header.patient_position)
    return geometry, [warning] if is_moving else []


def _frame_times(raw: RawScan, lines: Lines, n_frames: int, gating: Gating) -> tuple[tuple[float, ...], list[str]]:
    """Time of each frame relative to the first [ms]; empty, with a warning, if it is unknown.

    The TR in the header of a cine is its temporal resolution, i.e. lines per frame times echo spacing. If it is absent
    or is the time between excitations, time stamps are used: the mean over each frame, because gated frames are
    measured over several heartbeats.
    """
    if n_frames == 1:
        return (0.0,), []
    tr_ms, stamped = raw.header.tr_ms, _stamped_times(raw, lines, n_frames, gating)
    if stamped and gating.mode == "none":
        return stamped, []
    if tr_ms is not None and tr_ms >= SHORTEST_FRAME_MS:
        times = tuple(round(frame * tr_ms, 6) for frame in range(n_frames))
        interval_ms = stamped[-1] / (n_frames - 1) if stamped else tr_ms
        if 1 / FRAME_TIME_RATIO <= interval_ms / tr_ms <= FRAME_TIME_RATIO:
            return times, []
        text = f"a frame takes {tr_ms:.3g} ms by TR in the header, {interval_ms:.3g} ms by the time stamps: TR is used"
        return times, [text]
    text = (
        "the times of the frames are unknown without TR or time stamps that increase from frame to frame: the speed of "
        "movies is arbitrary"
    )
    if not stamped:
        return (), [text]
    interval_ms = stamped[-1] / (n_frames - 1)
    if interval_ms <= LONGEST_FRAME_MS:
        return stamped, []
    hint = "the time stamps probably have a different unit (--set preprocessing.tick_ms=...), and frame times are wrong"
    return stamped, [f"frames are {interval_ms:.4g} ms apart by the time stamps, which is long for a cine: {hint}"]


def _long_beat_warnings(header: MrdHeader, n_frames: int) -> Iterator[str]:
    """A warning if the frames of one heartbeat are longer than any heartbeat; a longer TR is reported for all scans."""
    tr_ms = header.tr_ms
    if tr_ms is not None and tr_ms <= LONGEST_FRAME_MS and n_frames * tr_ms > LONGEST_MEAN_RR_MS:
        yield (
            f"{n_frames} frames of one heartbeat would take {n_frames * tr_ms:.4g} ms by TR in the header, "
            f"{tr_ms:.3g} ms: TR is probably the R-R interval, and frame times are wrong"
        )


def _stamped_times(raw: RawScan, lines: Lines, n_frames: int, gating: Gating) -> tuple[float, ...]:
    """Mean time of each frame relative to the first from the time stamps [ms]; empty if it is unknown.

    If some frames have fewer lines than others, their mean time may belong to other heartbeats. Only the lines that all
    frames share are therefore used first.
    """
    has_known_unit = raw.header.is_siemens or raw.header.vendor == SIMULATED or gating.mode == "none"
    if gating.clock is None or not has_known_unit:
        return ()
    times_ms = gating.clock.time_ms[np.searchsorted(gating.rows, lines.row)]
    is_measured = lines.mask(n_frames, int(lines.ky.max()) + 1)[:, 0, :, 0]
    every = np.full(len(lines.ky), True)
    is_even = len(np.unique(is_measured.sum(1))) == 1
    for chosen in (every,) if is_even else ((is_measured.sum(0) == n_frames)[lines.ky], every):
        counts = np.bincount(lines.frames[chosen], minlength=n_frames)
        mean = np.bincount(lines.frames[chosen], times_ms[chosen], n_frames) / np.maximum(counts, 1)
        if np.all(np.diff(mean) > 0):
            return tuple(float(time) for time in mean - mean[0])
    return ()


def _is_one_beat(raw: RawScan, lines: Lines) -> bool:
    """Whether the frames were measured in one heartbeat; a gated scan returns to each frame in every beat.

    In a real-time scan the frames are measured one after the other. The same is true of a simulated scan of few lines,
    which has a single beat.
    """
    if raw.header.vendor == SIMULATED:
        return True
    order = np.argsort(raw.heads["acquisition_time_stamp"][lines.row], kind="stable")
    return bool((np.diff(lines.frames[order]) < 0).any())
