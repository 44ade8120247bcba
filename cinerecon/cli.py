"""The entry point: the list of commands, and the door through which every error leaves."""

import signal
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from cinerecon.commands.doctor import doctor
from cinerecon.commands.evaluate import evaluate
from cinerecon.commands.inspect import inspect
from cinerecon.commands.mask import mask
from cinerecon.commands.models import app as models
from cinerecon.commands.prepare import prepare
from cinerecon.commands.recon import recon
from cinerecon.commands.simulate import simulate
from cinerecon.commands.train import train
from cinerecon.errors import CineReconError

app = typer.Typer(
    name="cinerecon",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


AFTER_STOP = {
    "recon": "finished slices are kept; the same command with --resume continues",
    "prepare": "finished cases are kept; the same command continues",
    "evaluate": "finished scores are kept; the same command continues",
    "train": "the same command with --resume continues from the last checkpoint",
}
"""What is kept by a command that was interrupted, and how to continue."""


STOPPED = 130
"""Exit code of a process that Ctrl-C ended."""


def _exit_after_stop(arguments: Sequence[str]) -> NoReturn:
    command = next((argument for argument in arguments if argument in AFTER_STOP), "")
    print(f"stopped  {AFTER_STOP.get(command, 'nothing was written')}", file=sys.stderr)
    sys.exit(STOPPED)


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        print(f"cinerecon {version('cinerecon')}")
        raise typer.Exit


@app.callback()
def cinerecon(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version and leave.")
    ] = False,
) -> None:
    """Turn an accelerated cine cardiac MRI raw scan into images: classical methods and deep unrolled networks."""


for command in (inspect, recon, prepare, simulate, mask, train, evaluate):
    app.command()(command)
app.add_typer(models, name="models")
app.command()(doctor)


def main() -> None:
    """Run the command line. Errors of use are told in three lines, exit code 2; ours with their traceback, code 1."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: nothing half written stays
    try:
        app(arguments)
    except CineReconError as error:
        if debug:
            traceback.print_exc()
        print(f"error  {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        _exit_after_stop(arguments)
    except SystemExit as end:
        if end.code == STOPPED:  # Typer has caught the interruption
            _exit_after_stop(arguments)
        raise
    except Exception:  # a bug of ours: told in full, without the values of variables, which may be patient data
        traceback.print_exc()
        sys.exit(1)


if __name__ == "__main__":
    main()
