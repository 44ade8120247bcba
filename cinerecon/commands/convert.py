"""The command ``cinerecon convert``."""

import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cinerecon.commands.from_options import app_of
from cinerecon.options import Flag, MeasurementOptions


class ConvertOptions(MeasurementOptions):
    """Convert a raw scan of any format to an ISMRMRD file or stream."""

    scan: Annotated[Path, Flag(is_argument=True)] = Field(
        description="raw scan (ISMRMRD .h5 or stream, MRD 2, Siemens .dat); - reads standard input"
    )
    output: Annotated[Path, Flag(("--output", "-o"))] = Field(
        description="file to write, .h5, .mrd or .mrd2; - writes a version 1 stream to standard output"
    )
    force: bool = Field(default=False, description="overwrite an existing file, except the scan itself")


def convert(options: ConvertOptions) -> None:
    """Read the scan, write it, and print the number of readouts; warnings of the reader are on standard error."""
    from cinerecon.commands.scans import STANDARD, binary_output, scan_file
    from cinerecon.io.atomic import is_same_file, would_overwrite
    from cinerecon.io.ismrmrd.hdf5_scan import HDF5_ENDINGS, has_truth
    from cinerecon.io.mrd_stream.reader import write_raw_stream
    from cinerecon.io.raw_file import read_raw_scan, write_raw_scan
    from cinerecon.io.twix.noise import with_noise

    if options.output != STANDARD and is_same_file(options.scan, options.output):
        raise would_overwrite(options.scan, options.output)
    with scan_file(options.scan) as path:
        raw = with_noise(read_raw_scan(path, options.dataset, options.measurement))
        warnings = list(raw.warnings)
        if options.output.suffix.lower() not in HDF5_ENDINGS and has_truth(raw):
            warnings.append("the reference images in the file (/truth) are not converted, except to .h5")
        for text in warnings:
            print(f"warning  {text}", file=sys.stderr)
        if options.output == STANDARD:
            write_raw_stream(raw, binary_output())
            return
        write_raw_scan(raw, options.output, force=options.force)
    print(f"wrote  {options.output}  ({len(raw)} readouts)")


app = app_of(ConvertOptions, convert)
