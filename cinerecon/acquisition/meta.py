"""What a slice is besides its arrays: where it lies, when its frames were measured, how large its pixels are."""

import numpy as np

from cinerecon.acquisition.counters import Warn
from cinerecon.acquisition.ordering import Lines
from cinerecon.cine import Geometry, vector
from cinerecon.io.ismrmrd.raw import TICK_MS, Heads, RawScan

TELLING = 1.3
"""Time of a frame by the time stamps over that by the header, or the inverse, beyond which one of them is wrong."""
SIMULATED = "cinerecon"
"""Vendor of our own simulated scans, which count time as Siemens scanners do."""
SHORTEST_FRAME_MS = 10.0
"""A header TR below this [ms] is the time between excitations, above it the temporal resolution of the cine."""


def read_geometry(heads: Heads, patient_position: str, warn: Warn) -> Geometry | None:
    """Position and directions of a slice from its first readout; None, with a warning, where they make no sense.

    Parameters
    ----------
    heads
        Headers of the image readouts of the slice.
    patient_position
        How the patient lies, from the XML header.
    warn
        Called with the reason if there is no geometry.
    """
    first = heads[0]
    directions = np.array([first[name] for name in ("read_dir", "phase_dir", "slice_dir")], float)
    position = np.array(first["position"], float)
    if not directions.any():
        warn("the geometry is missing (all directions are zero): images carry no orientation")
        return None
    if not np.isfinite(directions).all() or np.abs(directions @ directions.T - np.eye(3)).max() > 0.01:
        warn("the directions are not orthonormal: images carry no orientation")
        return None
    if not np.isfinite(position).all():
        warn("the position is not finite: images carry no orientation")
        return None
    turned = max(float(np.abs(heads[name] - first[name]).max()) for name in ("read_dir", "phase_dir", "slice_dir"))
    if turned > 0.01 or float(np.abs(heads["position"] - first["position"]).max()) > 0.1:
        warn("position or directions change within a slice: those of its first readout are kept")
    read, phase, across = (vector(direction / np.linalg.norm(direction)) for direction in directions)
    return Geometry(vector(position), read, phase, across, patient_position)


def frame_times(raw: RawScan, lines: Lines, n_frames: int, warn: Warn) -> tuple[float, ...]:
    """Time of each frame since the first [ms]; empty, with a warning, if unknown.

    The header's TR of a cine is its temporal resolution, lines per frame times echo spacing. Where it is absent, or a
    true TR, Siemens time stamps tell: each frame's mean, since gated frames are measured over several heart beats.
    """
    if n_frames == 1:
        return (0.0,)
    tr_ms, stamped = raw.header.tr_ms, _stamped_times(raw, lines, n_frames)
    if tr_ms is not None and tr_ms >= SHORTEST_FRAME_MS:
        between = stamped[-1] / (n_frames - 1) if stamped else tr_ms
        if not 1 / TELLING <= between / tr_ms <= TELLING:
            warn(f"a frame takes {tr_ms:.3g} ms by the header's TR, {between:.3g} ms by the time stamps: TR is taken")
        return tuple(round(number * tr_ms, 6) for number in range(n_frames))
    if not stamped:
        warn(
            "the times of the frames are unknown: neither TR nor time stamps tell them, and a movie's speed is made up"
        )
    return stamped


def _stamped_times(raw: RawScan, lines: Lines, n_frames: int) -> tuple[float, ...]:
    """The mean time of each frame since the first by the time stamps [ms]; empty if these do not tell."""
    if not (raw.header.is_siemens or raw.header.vendor == SIMULATED):
        return ()
    ticks = raw.heads["acquisition_time_stamp"][lines.row].astype(np.float64)
    mean = np.bincount(lines.frames, ticks - ticks.min(), n_frames) / np.bincount(lines.frames, minlength=n_frames)
    times = (mean - mean[0]) * TICK_MS
    return tuple(float(time) for time in times) if np.all(np.diff(times) > 0) else ()


def is_one_beat(raw: RawScan, lines: Lines) -> bool:
    """Whether the frames are one heart beat: a gated scan comes back to each of them, beat after beat.

    In real time one frame is measured after the other. So is a simulated scan of few lines, which has one beat alone.
    """
    if raw.header.vendor == SIMULATED:
        return True
    order = np.argsort(raw.heads["acquisition_time_stamp"][lines.row], kind="stable")
    return bool((np.diff(lines.frames[order]) < 0).any())


def slice_thickness(raw: RawScan, warn: Warn) -> float:
    """Thickness of the slices [mm]; 1, with a warning, if the header tells none."""
    thickness_mm = raw.header.encodings[0].recon.fov_mm[2]
    if thickness_mm > 0:
        return thickness_mm
    warn("the header tells no slice thickness: images carry 1 mm")
    return 1.0
