"""Checks for header fields that are missing, implausible or contradictory."""

from collections.abc import Iterator

from cinerecon.acquisition.layout import ScanLayout
from cinerecon.io.ismrmrd.channels import MASK, channel_bits
from cinerecon.io.plausibility import size_warnings, thickness_warnings, tr_warnings

SAME_MEASUREMENT = {"measurement_uid": 0.0, "sample_time_us": 0.01}
"""Values that all readouts of a measurement share, with the largest relative difference."""


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
        if MASK not in (scan.heads.dtype.names or ()):
            continue
        changed = rows[(scan.heads[MASK][rows] != raw.heads[MASK][first]).any(1)]
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
