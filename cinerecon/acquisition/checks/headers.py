"""Checks of the headers: missing, implausible or contradictory fields, and lines that were not measured.

The lines of the readouts show incomplete frames, lines missing from all frames, and too few lines for coil maps.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.layout import ScanLayout
from cinerecon.acquisition.readouts.placement import CENTRE_HALF_WIDTH
from cinerecon.io.ismrmrd.raw import CHANNELS, channel_bits
from cinerecon.io.plausibility import size_warnings, thickness_warnings, tr_warnings
from cinerecon.physics.sampling import csm_warning
from cinerecon.words import name_numbers

SAME_MEASUREMENT = {"measurement_uid": 0.0, "sample_time_us": 0.01}
"""Values that all readouts of a measurement share, with the largest relative difference."""
INCOMPLETE_FRACTION = 0.75
"""Ratio of the lines of a frame to the median of all frames below which it is incomplete; random masks vary less."""
MAX_CALIBRATION_FRAMES, MIN_CALIBRATION_LINES = 0.25, 4
"""Largest fraction of frames with additional central lines, and smallest number of such lines, for them to be unflagged
calibration lines, so that the other frames are complete."""
DENSE_FRACTION = 0.75
"""Fraction of measured lines between the first and the last one above which a frame is not undersampled."""
MAX_UNUSED_LINES = 2
"""Number of lines at an end of the header's range that scanners omit for symmetry about the centre."""
MAX_LISTED_FRAMES = 8
"""Largest number of frames that are named in a warning."""


def size_and_time_warnings(layout: ScanLayout) -> Iterator[str]:
    """Warnings about sizes and times outside the range of cardiac scans, with the probable unit."""
    header = layout.raw.header
    fov_x, fov_y, thickness_mm = header.encoding.recon.fov_mm
    yield from size_warnings((fov_y, fov_x), layout.grid.pixel_size_mm)
    yield from thickness_warnings(thickness_mm) if thickness_mm > 0 else ()
    yield from tr_warnings(header.tr_ms)


def vendor_warnings(layout: ScanLayout) -> Iterator[str]:
    """A warning if the sign of the Fourier transform, which depends on the vendor, is assumed."""
    if layout.config.transform == "auto" and not layout.raw.header.vendor:
        yield (
            "the header has no systemVendor, so the sign of the Fourier transform is unknown: the inverse "
            "transform is used; images of a Siemens scan are then rotated by 180 degrees, which --set "
            "preprocessing.transform=fft corrects"
        )


def receiver_warnings(layout: ScanLayout) -> Iterator[str]:
    """Warnings about the number of channels, the pilot tone and missing noise readouts."""
    header, n_coils = layout.raw.header, int(layout.raw.heads["active_channels"][layout.lines.row[0]])
    if header.receiver_channels not in (None, n_coils):
        yield f"the header's receiverChannels is {header.receiver_channels}, the image readouts have {n_coils} channels"
    if header.has_pilot_tone:
        yield "the pilot tone is on: the first 3 samples and the last sample of each readout are discarded"
    if layout.config.whiten and len(layout.noise) == 0:
        yield "no noise readouts: coils are not whitened"


def channel_warnings(layout: ScanLayout) -> Iterator[str]:
    """Warnings about readouts with other receive channels than the first image readout."""
    raw, noise, first = layout.raw, layout.noise, layout.lines.row[:1]
    if not channel_bits(raw.heads[first]).any():
        return
    uses = [("image", raw, layout.lines.row), ("calibration", raw, layout.calibration.row)]
    for use, scan, rows in [*uses, ("noise", noise.raw, noise.rows)] if layout.config.whiten else uses:
        if CHANNELS not in (scan.heads.dtype.names or ()):
            continue
        changed = rows[(scan.heads[CHANNELS][rows] != raw.heads[CHANNELS][first]).any(1)]
        other = changed[channel_bits(scan.heads[changed]).any(1)]
        if other.size:
            yield (
                f"{other.size} of {len(rows)} {use} readouts were measured with other channels than the first image "
                f"readout according to their channel_mask, such as acquisition {other[0]} of {scan.path.name}: coils "
                "are mixed; do not trust the image"
            )


def measurement_warnings(layout: ScanLayout) -> Iterator[str]:
    """Warnings about slices whose readouts belong to different measurements."""
    for name, tolerance in SAME_MEASUREMENT.items():
        for number in range(layout.n_slices):
            values = layout.raw.heads[name][layout.lines.of_slice(number).row]
            smallest, largest = values.min(), values.max()
            if largest > (1 + tolerance) * smallest:
                yield (
                    f"slice {number} combines readouts with {name} {smallest:.10g} and {largest:.10g}: from two "
                    "measurements? if these are different scans, do not trust the image"
                )


def incomplete_frame_warnings(layout: ScanLayout) -> Iterator[str]:
    """A warning for each slice with incompletely measured frames.

    If all frames share one sampling mask, these are the frames that lack some of its lines. If the masks differ, they
    are the frames with far fewer lines.
    """
    for number in range(layout.n_slices):
        location = f" of slice {number}" if layout.n_slices > 1 else ""
        text = describe_incomplete_frames(layout.lines_of_frames(number), layout.grid.ky // 2, location)
        if text:
            yield text


def missing_line_warnings(layout: ScanLayout) -> Iterator[str]:
    """A warning for each slice without acceleration in which lines are missing from all frames."""
    encoding, grid = layout.raw.header.encoding, layout.grid
    limit = encoding.line_limit
    for number in range(layout.n_slices):
        mask = layout.lines_of_frames(number)
        measured = np.flatnonzero(mask.any(0)) - grid.first_row
        first, last = int(measured[0]), int(measured[-1])
        if encoding.acceleration > 1 or np.median(mask.sum(1)) <= DENSE_FRACTION * (last - first + 1):
            continue
        if limit is not None:
            begin = max(min(first, limit.minimum), -grid.first_row)
            end = min(max(last, limit.maximum), grid.ky - 1 - grid.first_row)
            first = begin if first - begin > MAX_UNUSED_LINES else first
            last = end if end - last > MAX_UNUSED_LINES else last
        missing = np.setdiff1d(np.arange(first, last + 1), measured)
        if missing.size:
            yield (
                f"slice {number}: {name_numbers('line', missing.tolist())} of {first} to {last} were not measured "
                "in any frame: partial Fourier, or was the scan stopped, or are readouts missing?"
            )


def csm_warnings(layout: ScanLayout) -> Iterator[str]:
    """A warning for each slice with too few lines for coil maps."""
    if len(layout.coils) == 1:
        return
    ky, kx = layout.grid.ky, layout.grid.kx
    for number, n_frames in enumerate(layout.counters.n_frames):
        extra, own = layout.calibration.of_slice(number), layout.lines.of_slice(number)
        warning = csm_warning(extra.mask(1, ky) if extra.row.size else own.mask(n_frames, ky), kx)
        if warning:
            yield warning


def describe_incomplete_frames(
    mask: NDArray[np.bool_], centre: int, location: str = "", *, has_option: bool = True
) -> str:
    """Text that names the incompletely measured frames of a slice; empty if there are none.

    Parameters
    ----------
    mask
        ``(frames, ky)`` sampling mask.
    centre
        The row at the centre of k-space.
    location
        Text that names the slice, if there are several slices.
    has_option
        Whether an option selects frames.
    """
    incomplete = _incomplete(mask)
    if not incomplete.any():
        return ""
    parts = "; ".join(_incomplete_texts(mask, incomplete, centre))
    complete = _complete_run(incomplete)
    option = f"; --frames {complete[0]}:{complete[1]} excludes them" if complete and has_option else ""
    return f"incompletely measured frames{location}: {parts} - do not trust their images{option}"


def _incomplete(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The frames that lack lines, ``(frames,)`` bool, from the mask ``(frames, ky)``."""
    n_lines = mask.sum(1)
    fullest, usual = mask[n_lines.argmax()], int(np.median(n_lines))
    if (mask & ~fullest).any():  # frames have different masks
        return np.asarray(n_lines < INCOMPLETE_FRACTION * usual)
    has_more = n_lines > usual
    if 0 < has_more.mean() <= MAX_CALIBRATION_FRAMES and _are_central(
        fullest & ~mask[n_lines == usual].any(0), fullest
    ):
        return np.asarray(n_lines < usual)  # the other frames also contain calibration lines
    return np.asarray(n_lines < n_lines.max())


def _are_central(extra: NDArray[np.bool_], lines: NDArray[np.bool_]) -> bool:
    """Whether additional lines are several lines in the middle half of all lines, both ``(ky,)`` bool."""
    added, measured = (np.flatnonzero(part) for part in (extra, lines))
    quarter = (measured[-1] - measured[0]) / 4
    is_middle = added.size and added[0] >= measured[0] + quarter and added[-1] <= measured[-1] - quarter
    return bool(is_middle and added.size >= MIN_CALIBRATION_LINES)


def _incomplete_texts(mask: NDArray[np.bool_], incomplete: NDArray[np.bool_], centre: int) -> Iterator[str]:
    """Texts that describe the first incomplete frames with their numbers of lines, and the number of further ones."""
    n_lines = mask.sum(1)
    expected = int(np.median(n_lines[~incomplete]))
    numbers = np.flatnonzero(incomplete)
    for number in numbers[:MAX_LISTED_FRAMES]:
        has_centre = mask[number, max(centre - CENTRE_HALF_WIDTH, 0) : centre + CENTRE_HALF_WIDTH + 1].any()
        yield (
            f"frame {number} has {n_lines[number]} of {expected} "
            f"lines{'' if has_centre else ', none of them at the centre'}"
        )
    if len(numbers) > MAX_LISTED_FRAMES:
        yield f"and {len(numbers) - MAX_LISTED_FRAMES} more"


def _complete_run(incomplete: NDArray[np.bool_]) -> tuple[int, int] | None:
    """The frames before or after all incomplete frames; None if there are complete frames on both sides."""
    numbers = np.flatnonzero(incomplete)
    first, last = int(numbers[0]), int(numbers[-1])
    if last == len(incomplete) - 1 and first > 0:
        return (0, first)
    return (last + 1, len(incomplete)) if first == 0 and last + 1 < len(incomplete) else None
