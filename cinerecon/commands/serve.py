"""The command ``cinerecon serve``."""

import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cinerecon.commands.from_options import app_of
from cinerecon.io.mrd_stream import MRD_PORT
from cinerecon.options import METHOD, DeviceOptions, Flag


class ServeOptions(DeviceOptions):
    """Run an MRD server that reconstructs scans sent by scanners or clients (OpenRecon, FIRE)."""

    host: str = Field(
        default="127.0.0.1", description="address to listen on; 0.0.0.0 accepts connections from other computers"
    )
    port: int = Field(default=MRD_PORT, ge=0, le=65535, description="port to listen on")
    n_jobs: Annotated[int, Flag(("--jobs",))] = Field(
        default=2, ge=1, description="number of connections served at the same time; others wait"
    )
    model: Annotated[str, Flag(("--model", "-m"))] = Field(
        default=METHOD, description="method for clients that do not select one (see cinerecon models)"
    )
    memory: str | None = Field(
        default=None, description="memory limit while one slice is reconstructed, e.g. 4GB; see recon --memory"
    )
    settings: Annotated[tuple[str, ...], Flag(("--set",))] = Field(
        default=(), description="method setting, key=value, or preprocessing setting, preprocessing.key=value"
    )


def serve(options: ServeOptions) -> None:
    """Serve until SIGTERM or Ctrl-C; complete slices are still reconstructed and sent."""
    from cinerecon.machine import pick_device
    from cinerecon.memory import keep_freed_memory, return_freed_memory, share_freed_memory
    from cinerecon.reconstruction.request import ReconRequest
    from cinerecon.reconstruction.run import load_request_method
    from cinerecon.reconstruction.stream.server import Server

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    share_freed_memory()
    if options.memory is None:
        keep_freed_memory()
    device = pick_device(options.device)
    request = ReconRequest(Path("scan.h5"), options.model, device=device)
    request = request.with_values(memory=options.memory, settings=options.settings)
    request.check_settings(load_request_method(request))
    with Server(request, options.host, options.port, n_jobs=options.n_jobs, on_closed=return_freed_memory) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        print(f"listening at {options.host}:{server.port}, {options.model}", flush=True)
        server.run()


app = app_of(ServeOptions, serve)
