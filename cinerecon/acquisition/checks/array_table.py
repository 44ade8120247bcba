"""The checks of k-space in arrays; those of the central readouts are the same as for raw scans.

They are apart from `table`, because they need PyTorch, and raw scans are inspected without it.
"""

from collections.abc import Iterator, Mapping

from cinerecon.acquisition.checks import axes_order, stored_kspace
from cinerecon.acquisition.checks.central import central_of_array
from cinerecon.acquisition.checks.stored_kspace import StoredSlice
from cinerecon.acquisition.checks.table import READOUT_CHECKS, Check, run_checks

ARRAY_CHECKS: Mapping[str, Check[StoredSlice]] = {
    "images": Check("images instead of k-space", stored_kspace.refuse_images),
    "peaks": Check("axes ky or kx exchanged with frames or coils", axes_order.require_peaks),
    "order of axes": Check("exchanged axes of frames and coils", axes_order.require_order),
    "readouts": Check("exchanged axes kx and ky", axes_order.require_readouts),
    "centre": Check("k-space that is not centred", axes_order.centre_warnings),
    "k-space": Check(
        "k-space that was transformed along one axis, or real instead of complex numbers", stored_kspace.require_kspace
    ),
}
"""Checks of k-space in an array before its measured samples are determined."""

LINE_CHECKS: Mapping[str, Check[StoredSlice]] = {
    "one mask": Check("coils with different measured lines", stored_kspace.require_one_mask),
    "empty coils": Check("coils that contain only zeros", stored_kspace.empty_coil_warnings),
    "noisier coils": Check("coils with far more noise than the others", stored_kspace.noisier_coil_warnings),
    "spikes": Check("single samples much larger than in other frames", stored_kspace.spike_warnings),
    "gain": Check("frames, lines and readouts with a different gain", stored_kspace.array_gain_warnings),
    "coils as frames": Check(
        "adjacent coils that are more similar than adjacent frames", stored_kspace.exchanged_coil_warnings
    ),
}
"""Checks of the measured lines of an array."""


def line_warnings(stored: StoredSlice, n_columns: int) -> Iterator[str]:
    """Warnings about the measured lines of an array; none if single points were sampled.

    Parameters
    ----------
    stored
        The slice, with the mask of the measured samples.
    n_columns
        Number of columns of the image.

    Raises
    ------
    DataError
        If coils have different lines.
    """
    if stored.mask.shape[-1] == 1:
        yield from run_checks(LINE_CHECKS, stored)
        yield from run_checks(READOUT_CHECKS, central_of_array(stored.kspace, stored.mask, n_columns))
