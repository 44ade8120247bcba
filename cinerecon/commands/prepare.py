"""The command ``cinerecon prepare``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import Field

from cinerecon.commands.from_options import app_of
from cinerecon.errors import ConfigError
from cinerecon.options import (
    COMPRESSION,
    N_SIMULATED_COILS,
    REFUSES_UNREALISTIC,
    SEED,
    SPLIT_SHARES,
    ArchiveOptions,
    ArrayOptions,
    Flag,
    SetOptions,
    with_options,
    with_preprocessing,
)
from cinerecon.preparation.options import PreparationOptions

FIELDS = {"readout": "crop_readout", "frames": "n_frames"}
"""Settings of the preparation whose option has another name, and the fields of these options."""

if TYPE_CHECKING:
    from cinerecon.preparation.config import PrepareConfig


class PrepareOptions(PreparationOptions, ArrayOptions, SetOptions, ArchiveOptions):
    """Convert scans to cases for training and evaluation: one HDF5 file per slice.

    Repeating the command continues after an interruption and adds new scans; existing cases are kept.
    """

    sources: Annotated[tuple[Path, ...], Flag(is_argument=True)] = Field(
        default=(),
        description="files, or folders or lists (@list.txt) of files: ISMRMRD, MRD 2, Siemens .dat, CMRxRecon .mat, "
        "k-space in .npz or .cfl, magnitude images in DICOM, NIfTI or .npz",
    )
    output: Annotated[Path, Flag(("--output", "-o"))] = Field(
        description="folder for the cases, their index and pictures"
    )
    csm: str | None = Field(default=None, description="method for the coil maps: smooth, espirit or walsh")
    compress_coils: str | None = Field(
        default=None,
        description="number of virtual coils to compress to, or auto: the smallest number that keeps 99 % of the "
        "signal energy",
    )
    compression: Annotated[str | None, Flag(default_text=COMPRESSION)] = Field(
        default=None, description="coil compression: pca, or geometric (separately for each position along the readout)"
    )
    combine: str | None = Field(
        default=None,
        description="combine the coils to one before undersampling, with adaptive (Walsh), espirit or smooth maps",
    )
    crop_readout: int | None = Field(default=None, description="number of central columns to keep, e.g. 192")
    crop: str | None = Field(default=None, description="number of central rows x columns to keep, e.g. 160x192")
    n_frames: Annotated[int | None, Flag(("--frames",))] = Field(
        default=None, description="number of frames to keep, starting from the first"
    )
    patches: Annotated[tuple[str, ...], Flag(("--patch",))] = Field(
        default=(), description="size of patches, frames x y x x, e.g. 16x192x192; may be repeated"
    )
    stride: Annotated[str | None, Flag(default_text="half a patch")] = Field(
        default=None, description="stride of patches, e.g. 7x15x15"
    )
    simulated_coils: int = Field(
        default=N_SIMULATED_COILS, description="number of coils simulated for magnitude images; 1 for none"
    )
    seed: int = Field(default=SEED, description="seed of the simulation for magnitude images")
    subject: str = Field(
        default="", description=r"regular expression that matches the subject in the path, e.g. 'P\d+'"
    )
    split: str = Field(
        default=",".join(f"{share:g}" for share in SPLIT_SHARES),
        description="percentages of train, val and test, or one of these names for all scans; each subject is in only "
        "one split",
    )
    strict: bool = Field(
        default=REFUSES_UNREALISTIC,
        description="refuse zero-padded, interpolated and magnitude data instead of marking them",
    )
    settings: Annotated[tuple[str, ...], Flag(("--set",))] = Field(
        default=(), description="preprocessing setting, preprocessing.key=value"
    )

    def config(self) -> "PrepareConfig":
        """The settings of the preparation.

        Raises
        ------
        ConfigError
            If a value is invalid.
        """
        from cinerecon.preparation.config import COMBINING_MAPS, PrepareConfig, parse_sizes, parse_split

        preprocessing = (
            with_preprocessing(PrepareConfig().preprocessing, self.settings).with_arrays(self).with_set(self.set_index)
        )
        if self.csm and self.combine and self.csm != COMBINING_MAPS.get(self.combine, self.combine):
            what = f"the coils are combined with {self.combine} maps, so --csm {self.csm} has no effect"
            raise ConfigError(what, where="--csm, --combine", hint="leave out --csm")
        keys = {"compression": "compression", "csm": "csm", "compress_coils": "n_virtual_coils"}
        preprocessing = with_options(preprocessing, self, keys)
        return PrepareConfig.parse(
            {
                "preprocessing": preprocessing.model_dump(),
                "combine": self.combine,
                "readout": self.crop_readout,
                "crop": self.crop and parse_sizes(self.crop, "rows x columns", "--crop"),
                "frames": self.n_frames,
                "patches": tuple(parse_sizes(text, "frames x y x x", "--patch") for text in self.patches),
                "stride": self.stride and parse_sizes(self.stride, "frames x y x x", "--stride"),
                "simulated_coils": self.simulated_coils,
                "seed": self.seed,
                "subject": self.subject,
                "split": parse_split(self.split),
                "strict": self.strict,
            },
            option_of=lambda name: self.option_of(FIELDS.get(name, name)),
        )


def prepare(options: PrepareOptions) -> None:
    """Prepare the cases, and print their numbers, warnings and rejections."""
    from cinerecon.archives.scan_list import is_list, with_lists
    from cinerecon.commands.console import progress_bar
    from cinerecon.commands.results import print_cases
    from cinerecon.commands.scans import print_shard, scans_of, shard_of
    from cinerecon.commands.submit import submit
    from cinerecon.preparation.run import prepare as run

    if options.submit:
        submit(options, prepare)
        return
    scans_of(options.sources, options.lists)
    files = [path for path in options.sources if not is_list(path)]
    if options.compression and not options.config().preprocessing.n_virtual_coils:
        print("warning  --compression has no effect without --compress-coils", file=sys.stderr)
    with progress_bar() as progress:
        report = run(
            files,
            options.output,
            options.config(),
            progress=progress,
            listed=with_lists([path for path in options.sources if is_list(path)], options.lists),
            shard=shard_of(options),
            **{name: getattr(options, name) for name in PreparationOptions.model_fields},
        )
    print_cases(report)
    if options.shard is not None:
        print_shard(options, options.output)
    if report.refused:
        raise typer.Exit(2)


app = app_of(PrepareOptions, prepare)
