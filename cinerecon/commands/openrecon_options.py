"""Options of ``cinerecon openrecon label`` and ``openrecon package``."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from cinerecon.options import Flag, Options


class LabelOptions(Options):
    """Write the label of an OpenRecon package: its requirements, and the parameters at the scanner."""

    models: Annotated[tuple[str, ...], Flag(("--model", "-m"))] = Field(
        default=("ktslr", "stvarnet", "slrnet", "llr", "cgsense", "zerofilled"),
        description="method offered on the scanner; may be repeated; the first one is the default",
    )
    id: str = Field(default="cinerecon", description="name of the application, letters and digits")
    vendor: str = Field(default="cinerecon", description="your name or that of your institution, letters and digits")
    address: str = Field(default="", description="address of the manufacturer of the package")
    made_in: str = Field(default="", description="country in which the package is made")
    date: str | None = Field(default=None, description="date of the package, YYYY/MM/DD; today if not given")
    injector: str = Field(
        default="image",
        description="what is returned to the scanner: image, or compleximage (complex images in place of its own "
        "Fourier transform)",
    )
    gpu: bool = Field(default=False, description="use a GPU if the scanner has one")
    gpu_memory_mb: Annotated[int, Flag(needs=("gpu",))] = Field(
        default=8192, ge=0, description="GPU memory that a reconstruction needs [MB]"
    )
    memory_mb: int = Field(default=16384, ge=0, description="memory that a reconstruction needs [MB]")
    cores: int = Field(default=4, ge=1, description="processor cores")
    output: Annotated[Path, Flag(("-o", "--output"))] = Field(
        default=Path("OpenReconLabel.json"), description="file to write, .json"
    )
    force: bool = Field(default=False, description="overwrite an existing file")


class PackageOptions(Options):
    """Write the archive that a scanner installs, from a container image and its label."""

    image: Annotated[Path, Flag(is_argument=True)] = Field(
        description="container image: .tar file written by docker save or podman save --format docker-archive"
    )
    label: Path = Field(
        default=Path("OpenReconLabel.json"), description="label of the package, written by openrecon label"
    )
    software: str = Field(
        default="va60",
        description="software version of the scanner: va60, which reads the label from the container image, or va70 "
        "(and later)",
    )
    manual: Path | None = Field(
        default=None, description="application guide, .pdf; by default a page with the parameters is written"
    )
    output: Annotated[Path, Flag(("-o", "--output"))] = Field(default=Path(), description="folder for the archive")
    force: bool = Field(default=False, description="overwrite an existing file")
