"""The command ``cinerecon mask``."""

from pathlib import Path
from typing import Annotated

import typer


def mask(
    pattern: Annotated[str, typer.Argument(help="Pattern: gaussian, uniform, equispaced, radial, vds, ...")],
    frames: Annotated[int, typer.Option(help="Time steps.")] = 25,
    ky: Annotated[int, typer.Option(help="Phase-encode lines.")] = 192,
    kx: Annotated[int, typer.Option(help="Samples per readout.")] = 192,
    accel: Annotated[float, typer.Option(help="Nominal acceleration; for radial the count of spokes.")] = 8,
    acs: Annotated[int | None, typer.Option(help="Central lines sampled in every frame.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same mask, on every machine.")] = 0,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write; a picture goes beside it.")] = Path(
        "mask.npz"
    ),
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Draw a k-t sampling mask, with a picture and its exact acceleration."""
    from cinerecon.physics.sampling import parse_mask
    from cinerecon.workflows.mask import draw_mask

    spec = parse_mask(f"{pattern}:{accel:g}" + ("" if acs is None else f",acs={acs}"))
    drawn = draw_mask(spec, frames, ky, kx, seed=seed, output=output, force=force)
    print(f"acceleration  {drawn.acceleration:.3f}, and {drawn.acceleration_without_acs:.3f} without the ACS")
    print(f"ACS           {drawn.n_acs} lines")
    for path in drawn.paths:
        print(f"wrote         {path}")
