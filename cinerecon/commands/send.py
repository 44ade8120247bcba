"""The command ``cinerecon send``."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field

from cinerecon.commands.from_options import app_of
from cinerecon.options import Flag, Options


class SendOptions(Options):
    """Send a raw scan to an MRD server and save the returned images."""

    scan: Annotated[Path, Flag(is_argument=True)] = Field(
        description="raw scan (ISMRMRD .h5 or stream, MRD 2, Siemens .dat)"
    )
    address: Annotated[str, Flag(is_argument=True)] = Field(description="address of the server, host:port")
    output: Annotated[Path, Flag(("-o", "--output"))] = Field(description="file for the images (.h5)")
    config: str = Field(
        default="",
        description="name of the configuration; for cinerecon serve, a method; empty: the method of the server",
    )
    pace_ms: Annotated[float, Flag(("--pace",))] = Field(
        default=0.0, ge=0, description="time between readouts [ms]; 0: as fast as possible"
    )
    force: bool = Field(default=False, description="overwrite an existing file")


def send(options: SendOptions) -> None:
    """Send the scan, print the texts of the server, and write the images, also those before an interruption or error.

    Raises
    ------
    ConfigError
        If the output is not an ``.h5`` file.
    FileError
        If the server returns neither images nor an error.
    """
    from cinerecon.errors import CineReconError, ConfigError, FileError
    from cinerecon.io.atomic import refuse_existing
    from cinerecon.io.mrd_stream.images import is_error_image, write_image_messages
    from cinerecon.io.mrd_stream.messages import ImageMessage, TextMessage
    from cinerecon.reconstruction.stream.client import exchange, messages_of

    if options.output.suffix.lower() not in (".h5", ".hdf5"):
        hint = f"-o {options.output.with_suffix('.h5')}"
        raise ConfigError("the images are written as ISMRMRD file, .h5", where=f"-o {options.output}", hint=hint)
    refuse_existing(options.output, force=options.force)
    header = next(messages_of(options.scan))
    assert isinstance(header, TextMessage)
    images, has_error = list[ImageMessage](), False
    try:
        for message in exchange(options.scan, options.address, options.config, options.pace_ms):
            if isinstance(message, ImageMessage):
                images += [] if is_error_image(message) else [message]
            elif isinstance(message, TextMessage):
                print(message.text, file=sys.stderr)
                has_error |= message.text.startswith("error")
    except (CineReconError, KeyboardInterrupt):
        if images:
            print("warning  the server did not finish: images may be missing", file=sys.stderr)
        raise
    finally:
        if images:
            write_image_messages(options.output, images, header.text, force=options.force)
            print(f"wrote  {options.output}  ({len(images)} images)")
    if not images and not has_error:
        raise FileError("the server returned no images", where=options.address, hint="its log may contain the reason")
    if has_error:
        raise typer.Exit(2)


app = app_of(SendOptions, send)
