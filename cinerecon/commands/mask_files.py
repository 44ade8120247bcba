"""Draw a k-t sampling mask, or take it from a file, and keep it with a picture."""

from dataclasses import dataclass
from pathlib import Path

from cinerecon.errors import ConfigError
from cinerecon.io.atomic import is_same_file, refuse_existing, would_overwrite, write_csv
from cinerecon.io.mask import MaskFile, write_mask
from cinerecon.io.picture import write_mask_picture
from cinerecon.physics.sampling import LineOrder, MaskSpec, Sampling, acs_block, net_acceleration, order_readouts

ORDER_COLUMNS = ("time_ms", "frame", "ky", "segment")
"""Columns of the table of readouts, all counted from 0."""


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
    sampling: Sampling,
    n_frames: int,
    ky: int,
    kx: int,
    *,
    seed: int,
    output: Path,
    force: bool = False,
    order: LineOrder | None = None,
) -> DrawnMask:
    """Draw a mask and write it, with a picture next to it, and with the order of its lines in time.

    Raises
    ------
    ConfigError
        If a size is not positive, the pattern does not fit the matrix, the order does not fit the mask, or the file is
        to be no ``.npz``.
    FileError
        If a file exists and ``force`` is not set, or is the mask that is read, or that mask cannot be read.
    """
    if min(n_frames, ky, kx) < 1:
        raise ConfigError(f"frames {n_frames}, ky {ky}, kx {kx}: each must be at least 1")
    if output.suffix != ".npz":
        raise ConfigError(
            f"a mask is written as .npz, not '{output.name}'", where="-o", hint=f"-o {output.with_suffix('.npz')}"
        )
    picture, table = output.with_suffix(".png"), output.with_suffix(".csv")
    if isinstance(sampling, MaskFile) and is_same_file(output, sampling.path):
        raise would_overwrite(sampling.path, output)
    paths = (output, picture) if order is None else (output, picture, table)
    for path in paths:
        refuse_existing(path, force=force)
    mask = sampling.draw(n_frames, ky, kx, seed)
    readouts = None
    if order is not None:
        drawn = sampling.line_order(n_frames, ky, seed) if isinstance(sampling, MaskSpec) else None
        readouts = order_readouts(mask, order, drawn)
    write_mask(output, mask, str(sampling), seed)
    write_mask_picture(picture, mask, kx)
    if readouts is not None:
        columns = (readouts.time_ms.round(6), readouts.frame, readouts.ky, readouts.segment)
        write_csv(table, ORDER_COLUMNS, zip(*(column.tolist() for column in columns), strict=True))
    acs = acs_block(mask)
    outside = net_acceleration(mask, without=acs)
    return DrawnMask(net_acceleration(mask), outside, acs.stop - acs.start, paths)
