"""The command ``cinerecon mask``."""

from pathlib import Path
from typing import Annotated

import typer


def mask(
    pattern: Annotated[
        str, typer.Argument(help="Pattern, e.g. gaussian:8,acs=4, or a mask file, .npz, .npy, .mat or .h5.")
    ],
    frames: Annotated[int, typer.Option(help="Time steps.")] = 25,
    ky: Annotated[int, typer.Option(help="Phase-encode lines.")] = 192,
    kx: Annotated[int, typer.Option(help="Samples per readout.")] = 192,
    acceleration: Annotated[
        float | None, typer.Option(help="Nominal acceleration; for radial the count of spokes.", show_default="8")
    ] = None,
    acs: Annotated[int | None, typer.Option(help="Central lines sampled in every frame.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same mask, on every machine.")] = 0,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write; a picture goes beside it.")] = Path(
        "mask.npz"
    ),
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Draw a k-t sampling mask, with a picture and its exact acceleration.

    Whole readouts: gaussian, kt-gaussian, uniform, vds-ky, equispaced, kt-equispaced, golden. Points: radial,
    kt-radial, vds, uniform-2d.

    After the name stand the acceleration (for radial the count of spokes) and options: acs=LINES; fixed, one draw for
    all frames; for equispaced also adjusted, the centre counted in, and shifted, anew in each frame.
    After a file: array=NAME; axes=tyx, what its axes are; uncentred.
    """
    from cinerecon.acquisition.undersample import parse_sampling
    from cinerecon.commands.mask_files import draw_mask
    from cinerecon.errors import ConfigError

    is_bare_name = pattern != "full" and (pattern.isidentifier() or pattern.replace("-", "").isalnum())
    if not is_bare_name and (acceleration is not None or acs is not None):
        what = f"'{pattern}' tells its acceleration and central lines already"
        raise ConfigError(
            what, where="--acceleration, --acs", hint="leave them out, or give the name of a pattern alone"
        )
    if is_bare_name:
        pattern += f":{8 if acceleration is None else acceleration:g}" + ("" if acs is None else f",acs={acs}")
    drawn = draw_mask(parse_sampling(pattern), frames, ky, kx, seed=seed, output=output, force=force)
    print(f"acceleration  {drawn.acceleration:.3f}, and {drawn.acceleration_without_acs:.3f} without the ACS")
    print(f"ACS           {drawn.n_acs} lines")
    for path in drawn.paths:
        print(f"wrote         {path}")
