"""The tables of `classical.py`."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean

from pages import folded, machine, markdown_table
from usage import Usage

BASELINE = "bart llr+tv"
"""Method with which k-t SLR is compared."""
CLOCKS = {"wall_s": "time", "cpu_s": "CPU time"}


@dataclass(frozen=True)
class Row:
    """One method on one case."""

    anatomy: str
    n_coils: int
    sampling: str
    method: str
    psnr: float
    ssim: float
    usage: Usage

    @property
    def case(self) -> tuple[str, int, str]:
        """Key that identifies the case."""
        return self.anatomy, self.n_coils, self.sampling


def describe_results(rows: list[Row]) -> str:
    """Means over anatomies, k-t SLR compared with BART, and PSNR of each case."""
    parts = [machine(), "Means over the cases; not all methods were run on all cases:", table_of_means(rows)]
    parts += [*describe_gains(rows, BASELINE, "wall_s"), folded("PSNR [dB] of each case", table_of_cases(rows))]
    return "\n\n".join(parts)


def table_of_means(rows: list[Row]) -> str:
    heads = "coils", "sampling", "method", "cases", "PSNR [dB]", "SSIM", "wall [s]", "CPU [s]", "memory [MB]"
    lines = []
    for n_coils, sampling, method in unique((row.n_coils, row.sampling, row.method) for row in rows):
        group = [row for row in rows if (row.n_coils, row.sampling, row.method) == (n_coils, sampling, method)]
        usages = [row.usage for row in group]
        minimum_s = mean(usage.minimum_s for usage in usages)
        numbers = (
            f"{mean(row.psnr for row in group):.2f}",
            f"{mean(row.ssim for row in group):.4f}",
            f"{mean(usage.wall_s for usage in usages):.2f}",
            f"{mean(usage.cpu_s for usage in usages):.2f}",
            f"{max(usage.memory_mb for usage in usages):.0f}",
            f"{minimum_s:.2f}" if minimum_s else "",
        )
        lines.append((n_coils, sampling, method, len(group), *numbers))
    return markdown_table((*heads, "minimum [s]"), lines)


def table_of_cases(rows: list[Row]) -> str:
    methods = unique(row.method for row in rows)
    psnr = {(row.case, row.method): f"{row.psnr:.2f}" for row in rows}
    lines = [
        (*case, *(psnr.get((case, method), "") for method in methods)) for case in unique(row.case for row in rows)
    ]
    return markdown_table(("case", "coils", "sampling", *methods), lines)


def describe_gains(rows: list[Row], baseline: str, clock: str) -> list[str]:
    """Sentences on gain and time of each variant of k-t SLR against a baseline, for one coil and for several.

    Parameters
    ----------
    clock
        Field of `Usage` that is compared: ``wall_s`` or ``cpu_s``.
    """
    by_case = {(row.case, row.method): row for row in rows}
    sentences = []
    for method in [name for name in unique(row.method for row in rows) if name.startswith("ktslr")]:
        for coils in ("one coil", "several coils"):
            pairs = [
                (row, by_case[row.case, baseline])
                for row in rows
                if row.method == method
                and (row.n_coils > 1) == (coils == "several coils")
                and (row.case, baseline) in by_case
            ]
            if not pairs:
                continue
            gains = [row.psnr - other.psnr for row, other in pairs]
            times = [(getattr(row.usage, clock), getattr(other.usage, clock)) for row, other in pairs]
            ratio = sum(own for own, _ in times) / sum(other for _, other in times)
            highest = max(own / other for own, other in times)
            sentences.append(
                f"{method} against {baseline}, {coils}, {len(pairs)} cases: PSNR {mean(gains):+.2f} dB on average "
                f"(lowest {min(gains):+.2f} dB), {CLOCKS[clock]} {ratio:.2g} times as long (highest {highest:.2g})."
            )
    return sentences


def unique(items: Iterable) -> list:
    return list(dict.fromkeys(items))
