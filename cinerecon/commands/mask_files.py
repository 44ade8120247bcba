"""Draw a k-t sampling mask, or take it from a file, and keep it with a picture."""

from dataclasses import dataclass
from pathlib import Path

from cinerecon.acquisition.undersample import Sampling
from cinerecon.errors import ConfigError
from cinerecon.io.atomic import is_same_file, refuse_existing, would_overwrite
from cinerecon.io.export.summary import write_mask_picture
from cinerecon.io.mask import MaskFile, write_mask
from cinerecon.physics.sampling import acs_block, net_acceleration


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
    sampling: Sampling, n_frames: int, ky: int, kx: int, *, seed: int, output: Path, force: bool = False
) -> DrawnMask:
    """Draw a mask and write it, with a picture next to it.

    Raises
    ------
    ConfigError
        If a size is not positive, the pattern does not fit the matrix, or the file is to be no ``.npz``.
    FileError
        If a file exists and ``force`` is not set, or is the mask that is read, or that mask cannot be read.
    """
    if min(n_frames, ky, kx) < 1:
        raise ConfigError(f"frames {n_frames}, ky {ky}, kx {kx}: each must be at least 1")
    if output.suffix != ".npz":
        raise ConfigError(
            f"a mask is written as .npz, not '{output.name}'", where="-o", hint=f"-o {output.with_suffix('.npz')}"
        )
    picture = output.with_suffix(".png")
    if isinstance(sampling, MaskFile) and is_same_file(output, sampling.path):
        raise would_overwrite(sampling.path, output)
    for path in (output, picture):
        refuse_existing(path, force=force)
    mask = sampling.draw(n_frames, ky, kx, seed)
    write_mask(output, mask.numpy(), str(sampling), seed)
    write_mask_picture(picture, mask.numpy(), kx)
    acs = acs_block(mask)
    outside = net_acceleration(mask, without=acs)
    return DrawnMask(net_acceleration(mask), outside, acs.stop - acs.start, (output, picture))
