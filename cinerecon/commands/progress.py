"""A progress bar for what takes longer than two seconds; silent where the output is no terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_S = 2.0


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Callable[[str, float], None]]:
    """Lend a function to be called with what is being done and the fraction done.

    The bar appears on standard error once two seconds have passed, and is gone at the end.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),  # a file name may contain brackets
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
    task = bar.add_task("", total=1.0)
    start, is_shown = time.monotonic(), False

    def progress(text: str, fraction: float) -> None:
        nonlocal is_shown
        if not is_shown and time.monotonic() - start > PATIENCE_S:
            bar.start()
            is_shown = True
        bar.update(task, description=text, completed=fraction)

    try:
        yield progress
    finally:
        if is_shown:
            bar.stop()
