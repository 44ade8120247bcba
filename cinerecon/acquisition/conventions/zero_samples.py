"""Samples that were not measured, stored as zeros at the ends of whole readouts: asymmetric echoes, filled matrices."""

import numpy as np

from cinerecon.acquisition.counters import Warn
from cinerecon.io.ismrmrd.raw import Heads, Index, RawScan, has_flag

N_PROBES = 64
"""Readouts that are looked at, of those that are alike."""


def zero_samples(raw: RawScan, image: Index) -> tuple[Index, Index]:
    """Samples before the first and after the last one that holds anything, both ``(readouts,)``.

    They are those that all readouts of one length have in common.

    Parameters
    ----------
    raw
        The scan.
    image
        Row numbers of the image readouts.
    """
    before, after = np.zeros(len(image), np.intp), np.zeros(len(image), np.intp)
    kinds = _kinds(raw.heads[image])
    for kind in np.unique(kinds, axis=0):
        alike = (kinds == kind).all(1)
        rows = image[alike]
        probes = raw.samples(rows[:: -(-len(rows) // N_PROBES)])
        holds = np.flatnonzero((probes != 0).any((0, 1)))
        if holds.size:
            before[alike], after[alike] = holds[0], probes.shape[-1] - 1 - holds[-1]
    return before, after


def discard_zero_samples(raw: RawScan, image: Index, zeros: tuple[Index, Index], warn: Warn) -> None:
    """Mark samples that hold nothing to be discarded, as the standard has it.

    Parameters
    ----------
    raw
        The scan; its readout headers are changed.
    image
        Row numbers of the image readouts.
    zeros
        How many samples before and after, as `zero_samples` finds them.
    warn
        Called where there are any.
    """
    added = 0
    for name, n in zip(("discard_pre", "discard_post"), zeros, strict=True):
        added = max(added, int((n - raw.heads[name][image].astype(np.intp)).max()))
        raw.heads[name][image] = np.maximum(raw.heads[name][image], n)
    if added > 0:
        warn(f"up to {added} samples at the ends of the readouts hold nothing but zeros: they count as not measured")


def _kinds(heads: Heads) -> np.ndarray:
    """Length and direction of each readout, ``(readouts, 3)``, and its number of channels."""
    return np.stack([heads["number_of_samples"], heads["active_channels"], has_flag(heads, 22)], 1).astype(np.intp)
