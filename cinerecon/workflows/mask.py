"""Draw a k-t sampling mask and keep it in a file."""

from dataclasses import dataclass
from pathlib import Path

from cinerecon.data.files import refuse_existing
from cinerecon.data.mask_file import write_mask, write_mask_picture
from cinerecon.errors import ConfigError
from cinerecon.physics.sampling import MaskSpec, count_acs, net_acceleration


@dataclass(frozen=True)
class DrawnMask:
    """What was drawn.

    Attributes
    ----------
    acceleration
        K-space points over sampled points.
    acceleration_without_acs
        The same outside the lines that every frame samples around the centre.
    n_acs
        Count of these lines.
    paths
        Files written.
    """

    acceleration: float
    acceleration_without_acs: float
    n_acs: int
    paths: tuple[Path, ...]


def draw_mask(
    spec: MaskSpec, n_frames: int, ky: int, kx: int, *, seed: int, output: Path, force: bool = False
) -> DrawnMask:
    """Draw a mask and write it, with a picture beside it.

    Raises
    ------
    ConfigError
        If a size is not positive, the pattern does not fit the matrix, or the file is to be no ``.npz``.
    FileError
        If a file exists and ``force`` is not set.
    """
    if min(n_frames, ky, kx) < 1:
        raise ConfigError(f"frames {n_frames}, ky {ky}, kx {kx}: each must be at least 1")
    if output.suffix != ".npz":
        raise ConfigError(f"a mask is written as .npz, not '{output.name}'", where="-o")
    picture = output.with_suffix(".png")
    for path in (output, picture):
        refuse_existing(path, force=force)
    mask = spec.draw(n_frames, ky, kx, seed)
    write_mask(output, mask.numpy(), str(spec), seed)
    write_mask_picture(picture, mask.numpy())
    n_acs = count_acs(mask)
    outside = net_acceleration(mask, n_acs=n_acs) if n_acs < ky else 1.0
    return DrawnMask(net_acceleration(mask), outside, n_acs, (output, picture))
