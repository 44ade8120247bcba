"""The central region of k-space that a mask samples densely, from which coil maps are estimated."""

from cinerecon.axes import centre_slice
from cinerecon.physics.sampling.measure import Mask, as_flags

MIN_DENSITY = 0.8
"""Smallest sampled fraction of a calibration region: random gaps at its border are harmless, regular gaps are not."""
MIN_RELIABLE_LINES = 6
"""Lines of a calibration region below which maps are unreliable."""


def calibration_size(mask: Mask, n_x: int) -> tuple[int, int]:
    """The largest central region (ky, kx) that the frames together sample densely, in all slices of a batch.

    Parameters
    ----------
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool.
    n_x
        Number of kx.
    """
    sampled = as_flags(mask).any(-4).reshape(-1, *mask.shape[-2:]).mean(0)  # (ky, kx or 1)
    n_y, whole_readouts = sampled.shape[0], bool((sampled == sampled[:, :1]).all())
    for lines in range(n_y, 0, -1):
        columns = n_x if whole_readouts else max(1, round(lines / n_y * n_x))
        centre = sampled[centre_slice(n_y, lines), centre_slice(sampled.shape[1], columns)]
        if centre.mean() >= MIN_DENSITY:
            return lines, columns
    return 1, n_x


def csm_warning(mask: Mask, n_x: int) -> str | None:
    """A warning about maps of several coils that are estimated from too few lines; None if there are enough.

    Parameters as for `calibration_size`.
    """
    n_y, _ = calibration_size(mask, n_x)
    if n_y >= min(MIN_RELIABLE_LINES, mask.shape[-2]):
        return None
    lines = f"{n_y} central line" + "s" * (n_y != 1)
    return f"coil maps come from {lines}: do not trust the image; measure or keep ACS lines"
