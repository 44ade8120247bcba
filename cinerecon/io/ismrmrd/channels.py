"""The numbers of the receive channels of readouts, stored in the field ``channel_mask`` of their headers.

Bit c of the 1024 bits is set if the readout contains channel c; samples are in ascending order of the channels. Many
programs leave all bits zero, or set other bits than there are channels; the channels are then unknown.
"""

import numpy as np
from numpy.typing import NDArray

from cinerecon.io.ismrmrd.raw import Heads, Index

MASK = "channel_mask"
N_CHANNELS = 1024
"""Number of bits of the mask."""


def channel_bits(heads: Heads) -> NDArray[np.bool_]:
    """Channels of readouts, ``(readouts, channels)`` bool; all False for readouts whose channels are unknown."""
    if MASK not in (heads.dtype.names or ()):
        return np.zeros((len(heads), N_CHANNELS), bool)
    words = np.ascontiguousarray(heads[MASK], "<u8")
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little").astype(bool)
    return np.asarray(bits & (bits.sum(1) == heads["active_channels"])[:, None])


def set_channels(heads: Heads, channels: Index) -> None:
    """Write the numbers of the channels of all readouts, ``(channels,)``, into their headers."""
    bits = np.zeros(N_CHANNELS, bool)
    bits[channels] = True
    heads[MASK] = np.packbits(bits, bitorder="little").view("<u8")
