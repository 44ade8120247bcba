"""The entry point: the list of commands, each imported when it is called, and the report of every error."""

import atexit
import errno
import gc
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from cinerecon.errors import CineReconError, ConfigError, FileError
from cinerecon.external import before_execution
from cinerecon.memory import describe_out_of_memory, is_out_of_memory

COMMANDS = {
    "inspect": "Show the contents of a scan and, for a raw scan, which readouts are used or dropped, and why.",
    "recon": "Reconstruct scans into images.",
    "convert": "Convert a raw scan of any format to an ISMRMRD file or stream.",
    "prepare": "Convert scans to cases for training and evaluation: one HDF5 file per slice.",
    "simulate": "Simulate a beating heart as a raw ISMRMRD scan, with reference images.",
    "mask": "Generate a k-t sampling mask and a picture of it, and report its exact acceleration.",
    "train": "Train a network from its recipe; several processes: torchrun -m cinerecon.cli train ...",
    "evaluate": "Undersample fully sampled scans, reconstruct them with each method, and compare with the reference.",
    "merge": "Merge the results of the shards of prepare, recon or evaluate in one folder.",
    "models": "List the names that --model accepts, one per line. Details: cinerecon models show NAME.",
    "serve": "Run an MRD server that reconstructs scans sent by scanners or clients (OpenRecon, FIRE).",
    "send": "Send a raw scan to an MRD server and save the returned images.",
    "openrecon": "Build an OpenRecon package from a container image: label, and archive for the scanner.",
    "doctor": "Check the installation, e.g. for bug reports: versions, device, operators, reconstruction of a phantom.",
}
"""Each command with its summary; its module is ``cinerecon.commands.NAME``."""


class LazyGroup(TyperGroup):
    """The commands, listed by their summaries; only the module of the command that is called is imported."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, help=summary) for name, summary in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Replace the entry of the list by the command itself."""
        name, command, arguments = super().resolve_command(ctx, args)
        return name, load_command(name) if name else command, arguments


def load_command(name: str) -> Any:
    """Import the module of a command, and return the command."""
    command = typer.main.get_command(import_module(f"cinerecon.commands.{name}").app)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroup,
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
    "merge": "the shards are unchanged; the same command starts again",
    "train": "the same command with --resume continues from the last checkpoint, if there is one",
    "send": "images that had arrived are saved",
}
"""What is kept by a command that was interrupted, and how to continue."""
LESS_MEMORY = {
    "recon": "--memory 4GB sets a limit, --compress-coils auto uses fewer coils",
    "prepare": "--workers 1, or --memory 4GB",
    "evaluate": "--workers 1, or --memory 4GB",
    "serve": "--jobs 1, or --memory 4GB",
    "train": "a smaller batch and patch, or --set architecture.checkpointing=true",
    "simulate": "fewer --coils, --frames or --slices",
}
"""How each command takes less memory."""


RENAMED_OPTIONS = {
    "inspect": {"--intake": "--set preprocessing."},
    "recon": {"--intake": "--set preprocessing."},
    "prepare": {
        "--intake": "--set preprocessing.",
        "--coils-to": "--compress-coils",
        "--coils": "--simulated-coils",
        "--person": "--subject",
        "--jobs": "--workers",
    },
    "mask": {"--accel": "--acceleration"},
    "train": {"--real": "--series", "--cases": "--cache"},
}
"""Former names of options, still accepted, with the present ones; after a space what their value begins with today."""

OUTPUT_ERRORS = (errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EFBIG, errno.EDQUOT)
"""Errors of standard output; those of files have become a `FileError` before."""
STOPPED = 130
"""Exit code of a process that Ctrl-C ended."""
SPIN_COUNT = "1000"
"""How often an idle thread of OpenMP checks for work before it sleeps: for some microseconds instead of milliseconds.

Threads that wait actively keep those of other processes from the cores. With the default, two shards of `recon` on two
cores took ten times as long for small scans as with one thread each.
"""


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"cinerecon {version('cinerecon')}")
        raise typer.Exit


@app.callback()
def cinerecon(
    debug: Annotated[  # noqa: ARG001
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
    show_version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Reconstruct accelerated cine cardiac MRI from raw data, by classical methods and deep unrolled networks."""
    before_execution.set(announce_code)


def main() -> None:
    """Run the command line.

    Errors of use are reported in three lines, with exit code 2; errors of the program with their traceback, and code 1.
    """
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    is_debug = len(arguments) < len(sys.argv) - 1
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read when torch is imported
    atexit.register(gc.freeze)  # to search the objects of PyTorch for unused ones would take 0.4 s
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: no half-written file remains
    try:
        code = _run(arguments, is_debug=is_debug)
        sys.stdout.flush()
    except OSError as error:
        code = _exit_code_of_output(error)
    sys.exit(code)


def _run(arguments: Sequence[str], *, is_debug: bool) -> int:
    """Run a command, report its errors, and return the exit code."""
    try:
        require_values(arguments)
        app(with_present_options(arguments))
    except SystemExit as end:  # Typer ends each command with one, and has caught interruptions
        if end.code == STOPPED:
            return _report_stop(arguments)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return _report_stop(arguments)
    except CineReconError as error:
        return _report(error, is_debug=is_debug)
    except Exception as error:
        reported = _as_user_error(error, arguments)
        if reported is not None:
            return _report(reported, is_debug=is_debug)
        if isinstance(error, OSError) and error.errno in OUTPUT_ERRORS:
            raise
        traceback.print_exc()  # without the values of variables, which may be patient data
        return 1
    return 0


def _command_of(arguments: Sequence[str]) -> str:
    """The name of the command; empty if there is none."""
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _report(error: CineReconError, *, is_debug: bool) -> int:
    """Print an error in three lines, and return the exit code."""
    if is_debug:
        traceback.print_exc()
    print(f"error  {error}", file=sys.stderr)
    return 2


def require_values(arguments: Sequence[str]) -> None:
    """Refuse empty arguments, which come from shell variables that are not set, and would be taken for missing options.

    Raises
    ------
    ConfigError
        If an argument, or the value of an option, is empty.
    """
    for previous, argument in zip(("", *arguments), arguments, strict=False):
        is_option = argument.startswith("--") and argument.find("=") == len(argument) - 1
        if not argument or is_option:
            where = argument.removesuffix("=") if is_option else previous
            raise ConfigError("an argument is empty", where=where, hint="a shell variable may not be set")


def announce_code(file: Path, kind: str) -> None:
    """Print a file of code from outside the package before it is executed; of several processes, only one prints it."""
    if os.environ.get("RANK", "0") == "0":
        print(f"code     {file} is executed: a {kind} from outside the package", file=sys.stderr)


def with_present_options(arguments: Sequence[str]) -> list[str]:
    """The arguments with former names of options replaced by the present ones; each is noted on standard error."""
    renamed = RENAMED_OPTIONS.get(_command_of(arguments), {})
    translated, prefix = list[str](), ""
    for argument in arguments:
        name, sign, value = argument.partition("=")
        if prefix or name not in renamed:
            translated.append(prefix + argument)
            prefix = ""
            continue
        print(f"note     {name} is now {renamed[name]}", file=sys.stderr)
        option, _, prefix = renamed[name].partition(" ")
        if sign:
            option, prefix = f"{option}={prefix}{value}", ""
        translated.append(option)
    return translated


def _as_user_error(error: Exception, arguments: Sequence[str]) -> CineReconError | None:
    """The error to report if memory was exhausted or a path cannot be used; None for other errors."""
    if is_out_of_memory(error):  # and no plan of the command has reported it with a better hint
        command = _command_of(arguments)
        hint = LESS_MEMORY.get(command, "a machine with more free memory")
        return CineReconError(describe_out_of_memory(error), where=f"cinerecon {command}".strip(), hint=hint)
    if isinstance(error, OSError) and error.filename is not None:  # a name that is too long, a closed folder
        return FileError(f"cannot use this path: {error.strerror}", where=str(error.filename))
    return None


def _report_stop(arguments: Sequence[str]) -> int:
    print(f"stopped  {AFTER_STOP.get(_command_of(arguments), 'nothing was written')}", file=sys.stderr)
    return STOPPED


def _exit_code_of_output(error: OSError) -> int:
    """Report that standard output cannot be written; that its reader has ended, as `head` does, is not an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered would fail again at exit
    if isinstance(error, BrokenPipeError):
        return 0
    print(f"error  cannot write: {error.strerror}\nwhere  standard output", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
