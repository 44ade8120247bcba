"""The command ``cinerecon simulate``."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def simulate(
    output: Annotated[Path, typer.Option("-o", "--output", help="Raw scan to write (.h5).")],
    seed: Annotated[int, typer.Option(help="The same seed draws the same scan, on every machine.")] = 0,
    frames: Annotated[
        int | None,
        typer.Option(help="Time steps, spread evenly over the heart beat.", show_default="25, or those of --from"),
    ] = None,
    ky: Annotated[
        int | None, typer.Option(help="Phase-encode lines.", show_default="192, or the rows of --from")
    ] = None,
    kx: Annotated[
        int | None,
        typer.Option(help="Image columns along the readout.", show_default="192, or the columns of --from"),
    ] = None,
    coils: Annotated[int, typer.Option(help="Receive coils.")] = 8,
    slices: Annotated[
        int | None,
        typer.Option(
            help="Parallel slices, 10 mm apart; of --from those in its middle.", show_default="1, or those of --from"
        ),
    ] = None,
    view: Annotated[str | None, typer.Option(help="short or long axis of the heart; drawn if not given.")] = None,
    undersample: Annotated[str | None, typer.Option(help="Sampling pattern, e.g. gaussian:8,acs=4.")] = None,
    noise: Annotated[float, typer.Option(help="Noise of a sample, relative to the image's maximum.")] = 0.01,
    subject: Annotated[
        str, typer.Option(help="Name or number of the subject, of which a hash is kept.", show_default="that of --from")
    ] = "",
    oversampling: Annotated[int, typer.Option(help="Readout samples per image column.")] = 2,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Measured magnitude cine in place of the phantom: .npz, NIfTI or a DICOM folder."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Simulate a beating heart as a raw ISMRMRD scan, with its truth."""
    from cinerecon.simulation.scan import SimulateConfig, simulate_scan

    sizes = {"n_frames": frames, "ky": ky, "kx": kx, "n_slices": slices}
    given = {name: size for name, size in sizes.items() if size is not None}
    others = {"seed": seed, "n_coils": coils, "view": view, "undersample": undersample, "noise": noise}
    others |= {"subject": subject, "oversampling": oversampling}
    config = SimulateConfig.parse({**given, **others}, where="simulate")
    for text in simulate_scan(output, config, source=source, force=force):
        print(f"warning  {text}", file=sys.stderr)
    print(f"wrote  {output}  ({output.stat().st_size / 1e6:.1f} MB)")
