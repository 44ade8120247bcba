"""The command ``cinerecon mask``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from cinerecon.commands.from_options import app_of
from cinerecon.errors import ConfigError
from cinerecon.options import Flag, Options
from cinerecon.words import counted

if TYPE_CHECKING:
    from cinerecon.physics.sampling import LineOrder, Sampling

ACCELERATION = 8.0
"""Nominal acceleration of a pattern that is given only by its name."""
LARGEST_SIZE = 65535
"""Largest number of points along an axis: counters of ISMRMRD have 16 bits."""
ORDER_COLUMNS = ("time_ms", "frame", "ky", "segment")
"""Columns of the table of readouts, all counted from 0."""


class MaskOptions(Options):
    """Generate a k-t sampling mask and a picture of it, and report its exact acceleration.

    A pattern has the form NAME:ACCELERATION,OPTION,... (for radial, the number of spokes).

    Patterns of whole readouts: gaussian, kt-gaussian, uniform, vds-ky, equispaced, kt-equispaced, golden, gro, cava,
    vista, poisson. Patterns of points: radial, kt-radial, vds, uniform-2d, poisson-2d.

    Options: acs=LINES samples central lines in every frame; fixed uses the same mask for all frames. For equispaced,
    adjusted includes the central lines in the acceleration, and shifted samples different lines in each frame.

    A mask file may be followed by array=NAME; axes=tyx (t frames, y lines, x samples); uncentred (zero frequency at
    index 0).
    """

    pattern: Annotated[str, Flag(is_argument=True)] = Field(
        description="pattern, e.g. gaussian:8,acs=4, or a mask file, .npz, .npy, .mat or .h5"
    )
    n_frames: Annotated[int, Flag(("--frames",))] = Field(default=25, ge=1, description="time steps")
    ky: int = Field(default=192, ge=1, description="phase-encode lines")
    kx: int = Field(default=192, ge=1, description="samples per readout")
    acceleration: Annotated[float | None, Flag(default_text=f"{ACCELERATION:g}")] = Field(
        default=None, description="nominal acceleration; for radial, the number of spokes"
    )
    n_acs: Annotated[int | None, Flag(("--acs",))] = Field(
        default=None, description="central lines sampled in every frame"
    )
    seed: int = Field(default=0, ge=0, description="seed; the same seed gives the same mask on every machine")
    output: Annotated[Path, Flag(("-o", "--output"))] = Field(
        default=Path("mask.npz"), description="file to write; a picture is written next to it"
    )
    order: Annotated[str | None, Flag(default_text="no table")] = Field(
        default=None,
        description="write the temporal order of the lines to a .csv table: linear, alternating, centre-out, "
        "interleaved, or pattern (the order of cava)",
    )
    n_segments: Annotated[int, Flag(("--segments",), needs=("order",))] = Field(
        default=1,
        ge=1,
        description="with --order: number of heartbeats over which the lines of a frame are distributed; 1 for real "
        "time",
    )
    acs_first: Annotated[bool, Flag(needs=("order",))] = Field(
        default=False, description="with --order: acquire the central lines first in each frame"
    )
    tr_ms: Annotated[float, Flag(("--tr",), needs=("order",))] = Field(
        default=3.0, gt=0, description="with --order: time between readouts [ms]"
    )
    rr_ms: Annotated[float | None, Flag(("--rr",), default_text="as long as the readouts take", needs=("order",))] = (
        Field(default=None, gt=0, description="with --order: R-R interval [ms]")
    )
    force: bool = Field(default=False, description="overwrite existing files")

    def full_pattern(self) -> str:
        """The pattern with its acceleration and number of central lines.

        Raises
        ------
        ConfigError
            If both the text and the options contain them.
        """
        name, acs = self.pattern, self.n_acs
        is_bare_name = name != "full" and (name.isidentifier() or name.replace("-", "").isalnum())
        if is_bare_name:
            acceleration = ACCELERATION if self.acceleration is None else self.acceleration
            return f"{name}:{acceleration:g}" + ("" if acs is None else f",acs={acs}")
        if self.acceleration is not None or acs is not None:
            what = f"'{name}' already includes its acceleration and central lines"
            hint = "omit these options, or give only the name of the pattern"
            raise ConfigError(what, where="--acceleration, --acs", hint=hint)
        return name

    def line_order(self) -> "LineOrder | None":
        """The order of the lines; None if it is not to be written.

        Raises
        ------
        ConfigError
            If the order is unknown.
        """
        from cinerecon.physics.sampling import LineOrder

        if self.order is None:
            return None
        return LineOrder(self.order, self.ky, self.n_segments, self.tr_ms, self.rr_ms, self.acs_first)


@dataclass(frozen=True)
class DrawnMask:
    """A mask with its acceleration.

    Attributes
    ----------
    acceleration
        Number of k-space points over number of sampled points.
    acceleration_without_acs
        The same, without the central lines that every frame samples.
    n_acs
        Number of these lines.
    paths
        Files written.
    """

    acceleration: float
    acceleration_without_acs: float
    n_acs: int
    paths: tuple[Path, ...]


def draw_mask(options: MaskOptions) -> DrawnMask:
    """Draw a mask and write it, with a picture next to it, and with the order of its lines in time.

    Raises
    ------
    ConfigError
        If a size is too large, the pattern does not fit the matrix, the order does not fit the mask, or the file is not
        ``.npz``.
    FileError
        If a file exists and ``force`` is not set, or is the input, or the input cannot be read.
    """
    from cinerecon.io.csv_file import write_csv
    from cinerecon.io.mask import MaskFile, write_mask
    from cinerecon.io.picture import write_mask_picture
    from cinerecon.physics.sampling import MaskSpec, acs_block, net_acceleration, order_readouts, parse_sampling

    sampling = parse_sampling(options.full_pattern())
    if isinstance(sampling, MaskFile) and "seed" in options.model_fields_set:
        raise ConfigError("--seed has no effect on the mask of a file", where="--seed", hint="leave it out")
    order = options.line_order()
    n_frames, ky, kx, seed, output = options.n_frames, options.ky, options.kx, options.seed, options.output
    if max(n_frames, ky, kx) > LARGEST_SIZE:
        what = f"frames {n_frames}, ky {ky}, kx {kx}: each may be at most {LARGEST_SIZE}"
        raise ConfigError(f"{what}, the largest in an ISMRMRD header")
    picture, table = output.with_suffix(".png"), output.with_suffix(".csv")
    paths = (output, picture) if order is None else (output, picture, table)
    _require_output(output, paths, sampling, force=options.force)
    mask = sampling.draw(n_frames, ky, kx, seed)
    readouts = None
    if order is not None:
        own_order = sampling.line_order(n_frames, ky, seed) if isinstance(sampling, MaskSpec) else None
        readouts = order_readouts(mask, order, own_order)
    write_mask(output, mask, str(sampling), seed)
    write_mask_picture(picture, mask, kx)
    if readouts is not None:
        columns = (readouts.time_ms.round(6), readouts.frame, readouts.ky, readouts.segment)
        write_csv(table, ORDER_COLUMNS, zip(*(column.tolist() for column in columns), strict=True))
    acs = acs_block(mask)
    return DrawnMask(net_acceleration(mask), net_acceleration(mask, without=acs), acs.stop - acs.start, paths)


def _require_output(output: Path, paths: tuple[Path, ...], sampling: "Sampling", *, force: bool) -> None:
    """Refuse files other than ``.npz``, the file of the pattern, and existing files."""
    from cinerecon.io.atomic import is_same_file, refuse_existing, would_overwrite
    from cinerecon.io.mask import MaskFile

    if output.suffix != ".npz" or output.is_dir():
        suggested = output / "mask.npz" if output.is_dir() else output.with_suffix(".npz")
        raise ConfigError(f"a mask is written as .npz, not '{output}'", where="-o", hint=f"-o {suggested}")
    if isinstance(sampling, MaskFile) and is_same_file(output, sampling.path):
        raise would_overwrite(sampling.path, output)
    for path in paths:
        refuse_existing(path, force=force)


def mask(options: MaskOptions) -> None:
    """Draw the mask, write it, and print its acceleration."""
    drawn = draw_mask(options)
    print(f"acceleration  {drawn.acceleration:.3f}, and {drawn.acceleration_without_acs:.3f} without the ACS")
    print(f"ACS           {counted(drawn.n_acs, 'line')}")
    for path in drawn.paths:
        print(f"wrote         {path}")


app = app_of(MaskOptions, mask)
