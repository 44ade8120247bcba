"""The command ``cinerecon simulate``."""

import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cinerecon.commands.from_options import app_of
from cinerecon.options import Flag
from cinerecon.simulation.config import SimulateConfig


class SimulateOptions(SimulateConfig):
    """Simulate a beating heart as a raw ISMRMRD scan, with reference images."""

    output: Annotated[Path, Flag(("-o", "--output"))] = Field(
        description="raw scan to write: .h5 (with reference images), or a stream, .mrd or .mrd2"
    )
    source: Annotated[Path | None, Flag(("--from",))] = Field(
        default=None,
        description="measured magnitude cine to use in place of the phantom: .npz, NIfTI or a DICOM folder",
    )
    force: bool = Field(default=False, description="overwrite an existing file")


def simulate(options: SimulateOptions) -> None:
    """Simulate the scan, and print its warnings and its size."""
    from cinerecon.simulation.scan import simulate_scan

    for text in simulate_scan(options.output, options, source=options.source, force=options.force):
        print(f"warning  {text}", file=sys.stderr)
    print(f"wrote  {options.output}  ({options.output.stat().st_size / 1e6:.1f} MB)")


app = app_of(SimulateOptions, simulate)
