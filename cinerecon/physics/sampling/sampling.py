"""Sampling by one line of text: a pattern, or a mask in a file."""

from cinerecon.io.mask import MaskFile
from cinerecon.physics.sampling.spec import MaskSpec, parse_mask

Sampling = MaskSpec | MaskFile
"""A pattern or a mask in a file; either has ``draw(n_frames, ky, kx, seed)``."""


def parse_sampling(text: str) -> Sampling:
    """Parse the text form of a sampling pattern, ``gaussian:8,acs=4``, or the name of a mask file, ``vista.mat``.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    return MaskFile.parse(text) or parse_mask(text)
