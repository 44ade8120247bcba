"""The command ``cinerecon simulate``."""

from pathlib import Path
from typing import Annotated

import typer


def simulate(
    output: Annotated[Path, typer.Option("-o", "--output", help="Raw scan to write (.h5).")],
    seed: Annotated[int, typer.Option(help="The same seed draws the same scan, on every machine.")] = 0,
    frames: Annotated[int, typer.Option(help="Time steps.")] = 25,
    ky: Annotated[int, typer.Option(help="Phase-encode lines.")] = 192,
    kx: Annotated[int, typer.Option(help="Image columns along the readout.")] = 192,
    coils: Annotated[int, typer.Option(help="Receive coils.")] = 8,
    slices: Annotated[int, typer.Option(help="Parallel slices, 10 mm apart.")] = 1,
    view: Annotated[str | None, typer.Option(help="short or long axis of the heart; drawn if not given.")] = None,
    undersample: Annotated[str | None, typer.Option(help="Sampling pattern, e.g. gaussian:8,acs=4.")] = None,
    noise: Annotated[float, typer.Option(help="Noise of a sample, relative to the image's maximum.")] = 0.01,
    oversampling: Annotated[int, typer.Option(help="Readout samples per image column.")] = 2,
    source: Annotated[
        Path | None, typer.Option("--from", help="Measured magnitude cine (.npz) in place of the phantom.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Simulate a beating heart as a raw ISMRMRD scan, with its truth."""
    from cinerecon.simulation.scan import SimulateConfig, simulate_scan

    sizes = {"frames": frames, "ky": ky, "kx": kx, "coils": coils, "slices": slices, "oversampling": oversampling}
    choices = {"seed": seed, "view": view, "undersample": undersample, "noise": noise}
    config = SimulateConfig.parse({**sizes, **choices}, where="simulate")
    simulate_scan(output, config, source=source, force=force)
    print(f"wrote  {output}  ({output.stat().st_size / 1e6:.1f} MB)")
