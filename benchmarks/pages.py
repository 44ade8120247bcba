"""Tables in Markdown, the machine they were measured on, and the pages that contain them."""

import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

import bart_pics
import torch

from cinerecon.errors import ConfigError
from cinerecon.words import counted

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a heading for each column."""
    return "\n".join([markdown_head(heads), *map(markdown_row, rows)])


def markdown_head(heads: Sequence[str]) -> str:
    """The first two lines of a table, for tables whose rows are printed one by one."""
    return f"{markdown_row(heads)}\n|{'---|' * len(heads)}"


def markdown_row(cells: Sequence[object]) -> str:
    """A line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def folded(title: str, text: str) -> str:
    """Text that is hidden until its title is clicked, on GitHub and in the documentation."""
    return f'<details markdown="1">\n<summary>{title}</summary>\n\n{text}\n\n</details>'


def machine(n_threads: int | None = None) -> str:
    """Processor and versions of the measurement, and its number of threads, by default that of this process."""
    bart = f", BART {bart_pics.version()}" if bart_pics.is_installed() else ""
    threads = n_threads or torch.get_num_threads()
    return f"{counted(threads, 'thread')} of {processor()}, torch {torch.__version__}{bart}."


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line for line in lines if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.processor()


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """Replace the text between the two markers of a section."""
    before, start, rest = page.read_text(encoding="utf-8").partition(f"<!-- begin {name} -->\n")
    _, end, after = rest.partition(f"<!-- end {name} -->")
    if not start or not end:
        raise ConfigError(f"there is no section '{name}'", where=str(page))
    page.write_text(f"{before}{start}\n{text}\n\n{end}{after}", encoding="utf-8")
