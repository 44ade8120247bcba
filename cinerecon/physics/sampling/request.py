"""What a pattern is asked for."""

from dataclasses import dataclass

from cinerecon.errors import ConfigError


@dataclass(frozen=True)
class Request:
    """Sizes and settings of one mask.

    Attributes
    ----------
    n_frames, ky, kx
        Size of the mask.
    acceleration
        Nominal acceleration; for ``radial`` the count of spokes.
    n_acs
        Fully sampled central ky lines.
    words
        Options without a value, e.g. ``shifted``.
    """

    n_frames: int
    ky: int
    kx: int
    acceleration: float
    n_acs: int
    words: frozenset[str] = frozenset()

    def lines_beside_centre(self, n_lines: int) -> int:
        """How many of `n_lines` per frame are left when the central ones are counted in.

        Raises
        ------
        ConfigError
            If there are too few.
        """
        if self.n_acs > n_lines or n_lines < 1:
            what = f"{n_lines} lines per frame ({self.ky} at {self.acceleration:g}x) cannot hold"
            raise ConfigError(f"{what} {self.n_acs} central ones", hint="a smaller acs or acceleration")
        return n_lines - self.n_acs
