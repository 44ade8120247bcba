"""The first table of `docs/benchmarks.md` repeats the numbers of the tables that the benchmarks write."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
SUBJECTS = re.search(r"<!-- begin quality -->(.*?)<details", PAGE, re.DOTALL)[1]
NAMED = ("stvarnet", "slrnet", "passnet", "dccnn-lr")


def cells(head):
    """The numbers of each network in the table of the subjects with this head; intervals and losses are left out."""
    rows = SUBJECTS.partition(f"| {head} |")[2].partition("\n\n")[0]
    return {
        name: [float(number) for number in re.findall(r"\| ([-+]?\d+\.\d\d)(?= )", row)]
        for name, row in re.findall(r"^\| `([\w-]+)` (.*)$", rows, re.MULTILINE)
        if name not in ("zerofilled", "llr", "ktslr")
    }


def extremes(table, names, form):
    numbers = [number for name in names for number in table[name]]
    return f"{min(numbers):{form}} to {max(numbers):{form}}"


@pytest.mark.parametrize("name", [*NAMED, "other networks"])
def test_main_results_of_networks(name):
    gains, times = cells("PSNR gain over `ktslr` [dB]"), cells("time relative to `ktslr`")
    assert all(len(numbers) == 6 for table in (gains, times) for numbers in table.values())
    names = [name] if name in NAMED else [other for other in gains if other not in NAMED]
    title = f"`{name}`" if name in NAMED else name
    expected = f"{extremes(gains, names, '+.2f')} | {extremes(times, names, '.2f')}"
    assert f"| {title} over `ktslr` | {expected} |" in PAGE


@pytest.mark.parametrize(
    ("title", "other", "note"),
    [
        ("`ktslr` over BART's `llr+tv`, one coil; eight coils", "bart llr+tv", ""),
        (
            "`ktslr` over the released algorithm, converged, one coil; eight coils",
            "released (fixed penalties)",
            " (CPU)",
        ),
    ],
)
def test_main_results_of_ktslr(title, other, note):
    sentences = re.findall(
        rf"^ktslr against {re.escape(other)}, .*? PSNR (\S+) dB .*? time (\S+) times as long", PAGE, re.MULTILINE
    )
    (gain, time), (gain_8, time_8) = sentences
    assert f"| {title} | {gain}; {gain_8} | {time}; {time_8}{note} |" in PAGE
