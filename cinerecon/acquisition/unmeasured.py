"""Readouts of nothing but zeros: lines that were not measured, stored by programs that write whole matrices."""

import numpy as np
from numpy.typing import NDArray

from cinerecon.io.ismrmrd.raw import Index, RawScan

NOTHING = 1e-9
"""Amplitude of a readout over the largest of the scan up to which it holds nothing; rounding leaves more."""


def unmeasured_lines(raw: RawScan, image: Index) -> NDArray[np.bool_]:
    """Which image readouts hold nothing but zeros among others of their slice that hold signal, ``(readouts,)``.

    A slice without any signal is left as it is: it is an error that is reported where it is read.

    Parameters
    ----------
    raw
        The scan.
    image
        Row numbers of the image readouts.
    """
    amplitude, slices = raw.amplitude[image], raw.heads["idx"]["slice"][image]
    is_nothing = amplitude <= NOTHING * np.nanmax(amplitude, initial=0.0)
    for value in np.unique(slices):
        here = slices == value
        if is_nothing[here].all():
            is_nothing[here] = False
    return is_nothing
