"""The checks of raw scans, in tables by what they examine; `array_table` has those of arrays.

A check is a function in a file of this folder. It yields warnings, or raises an error if the image would be wrong. To
add a check, write the function and add an entry to the table. A check with a warning *explains* later checks that the
same cause would trigger; these are then skipped.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from cinerecon.acquisition.checks import (
    alignment,
    amplitudes,
    coherence,
    coil_changes,
    displacement,
    headers,
    repeats,
)
from cinerecon.acquisition.checks.alignment import MIN_MIRRORED, require_complex
from cinerecon.acquisition.checks.central import CentralReadouts, central_of_scan
from cinerecon.acquisition.layout import ScanLayout

MAX_FRAMES_OTHER_SLICES = 16
"""Largest number of frames of a line that are compared in slices other than the middle one."""

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """A check of the data.

    Attributes
    ----------
    finds
        The fault that the check detects.
    run
        Function that yields warnings, or raises an error and returns None.
    explains
        Names of later checks that are skipped if this one gives a warning.
    """

    finds: str
    run: Callable[[Subject], Iterable[str] | None]
    explains: tuple[str, ...] = ()


FRAME_CHECKS: Mapping[str, Check[CentralReadouts]] = {
    "noisy coils": Check("coils of normal amplitude that receive only noise", coil_changes.noisy_coil_warnings),
    "coil order": Check(
        "frames whose coils are in a different order",
        coil_changes.coil_order_warnings,
        explains=("coil changes", "mirrored frames", "displaced frames", "shifted frames", "phase"),
    ),
    "coil changes": Check("coils whose gain or phase changes between frames", coil_changes.coil_change_warnings),
    "mirrored frames": Check(
        "frames whose lines are numbered in the opposite direction",
        coherence.mirrored_frame_warnings,
        explains=("displaced frames", "shifted frames", "phase"),
    ),
    "displaced frames": Check("frames with wrong line numbers", coherence.displaced_frame_warnings),
    "shifted frames": Check("frames shifted along x", coherence.shifted_frame_warnings),
    "phase": Check("a phase of k-space that changes from frame to frame", coherence.phase_warnings),
}
"""Checks of the agreement of the frames of a slice near the centre of k-space."""

READOUT_CHECKS: Mapping[str, Check[CentralReadouts]] = {
    "loud coil": Check("a coil with much more signal than the others", alignment.loud_coil_warnings),
    "cut off": Check("signal outside the columns of the image", alignment.cut_off_warnings),
    "direction": Check(
        "readouts acquired in the opposite direction to the others",
        alignment.backward_warnings,
        explains=("displacement",),
    ),
    "saturation": Check("samples at the limit of the receiver", amplitudes.saturation_warnings),
    **FRAME_CHECKS,
    "signs": Check("signs of k-space that alternate along kx or ky", alignment.sign_warnings),
    "displacement": Check(
        "every other line or readout displaced along kx, or with the opposite sign", displacement.displacement_warnings
    ),
}
"""Checks of the readouts of one slice near the centre of k-space."""


def run_checks(checks: Mapping[str, Check[Subject]], subject: Subject) -> Iterator[str]:
    """The warnings of the checks of a table, without checks that an earlier one explains."""
    explained = set[str]()
    for name, check in checks.items():
        if name not in explained:
            texts = list(check.run(subject) or ())
            explained.update(check.explains if texts else ())
            yield from texts


def central_readout_warnings(layout: ScanLayout) -> Iterator[str]:
    """Warnings about the central readouts of the middle slice, and of the first other slice with new warnings.

    Raises
    ------
    DataError
        If the samples are real numbers.
    """
    central = central_of_scan(layout, layout.middle_slice)
    first = central.first.samples
    if len(first) < 2 * MIN_MIRRORED:
        return
    require_complex(bool(first.real.any()), bool(first.imag.any()), str(layout.raw.path))
    known = list(run_checks(READOUT_CHECKS, central))
    yield from known
    for number in (n for n in range(layout.n_slices) if n != layout.middle_slice):
        other = central_of_scan(layout, number, MAX_FRAMES_OTHER_SLICES)
        if len(other.near.indices):
            new = [text for text in run_checks(FRAME_CHECKS, other) if text not in known]
            if new:
                yield from (f"slice {number}: {text}" for text in new)
                return


SCAN_CHECKS: Mapping[str, Check[ScanLayout]] = {
    "repeats": Check("repeated measurements of a line that differ", repeats.repeat_warnings),
    "gain": Check("frames, lines and readouts with a different gain", amplitudes.gain_warnings),
    "central readouts": Check("faults of the readouts near the centre of k-space, see below", central_readout_warnings),
    "noisier coils": Check(
        "coils with far more noise than the others, if coils are not whitened", coil_changes.noisier_coil_warnings
    ),
    "velocity": Check("velocity encodings that are numbered as frames", coherence.velocity_warnings),
    "calibration coils": Check(
        "calibration lines whose coils are in a different order", coil_changes.calibration_coil_warnings
    ),
    "incomplete frames": Check("frames with missing lines", headers.incomplete_frame_warnings),
    "missing lines": Check("lines missing from all frames", headers.missing_line_warnings),
    "sizes": Check("sizes and times in an unexpected unit", headers.size_and_time_warnings),
    "vendor": Check("an unknown vendor, so that the sign of the Fourier transform is assumed", headers.vendor_warnings),
    "receiver": Check("a wrong number of channels, a pilot tone, or missing noise readouts", headers.receiver_warnings),
    "channels": Check("readouts measured with other receive channels", headers.channel_warnings),
    "measurement": Check("slices with readouts from several measurements", headers.measurement_warnings),
    "calibration": Check("too few lines for coil maps", headers.csm_warnings),
}
"""Checks of a raw scan: its headers and some of its samples."""


def checked(layout: ScanLayout) -> ScanLayout:
    """A raw scan with the warnings of all checks.

    Raises
    ------
    DataError
        If measurements of a line contradict each other, or the samples are real numbers.
    """
    return layout.with_warnings(run_checks(SCAN_CHECKS, layout))
