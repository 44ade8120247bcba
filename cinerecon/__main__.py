"""The program ``cinerecon``, also ``python -m cinerecon``; Ctrl-C during the imports ends it without a traceback."""

import os
import signal


def main() -> None:
    """Import and run the command line."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # otherwise interruptions are ignored, as in background jobs of a shell
        signal.signal(signal.SIGINT, lambda number, _: os._exit(128 + number))
    from cinerecon.cli import main as run

    signal.signal(signal.SIGINT, handler)
    run()


if __name__ == "__main__":
    main()
