"""Results of the benchmark of classical methods as tables in Markdown, and the page they belong to."""

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import bart_pics
import torch
from worker import Usage

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
RIVAL = "bart llr+tv"
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
        """Identifies the case."""
        return self.anatomy, self.n_coils, self.sampling


def describe_results(rows: list[Row]) -> str:
    """Means over anatomies for each way of measuring, then PSNR of each case, then k-t SLR against BART."""
    parts = [machine(), "Means over the cases; their number differs between methods:", table_of_means(rows)]
    parts += ["PSNR [dB] of each case:", table_of_cases(rows), *comparison(rows, RIVAL, "wall_s")]
    return "\n\n".join(parts)


def table_of_means(rows: list[Row]) -> str:
    lines = [
        "| coils | sampling | method | cases | PSNR [dB] | SSIM | wall [s] | CPU [s] | memory [MB] | minimum [s] |"
    ]
    lines.append("|" + "---|" * 10)
    for n_coils, sampling, method in unique((row.n_coils, row.sampling, row.method) for row in rows):
        group = [row for row in rows if (row.n_coils, row.sampling, row.method) == (n_coils, sampling, method)]
        psnr, ssim = mean(row.psnr for row in group), mean(row.ssim for row in group)
        wall, cpu = mean(row.usage.wall_s for row in group), mean(row.usage.cpu_s for row in group)
        memory, minimum = max(row.usage.memory_mb for row in group), mean(row.usage.minimum_s for row in group)
        numbers = (
            f"{psnr:.2f} | {ssim:.4f} | {wall:.2f} | {cpu:.2f} | {memory:.0f} | {f'{minimum:.2f}' if minimum else ''}"
        )
        lines.append(f"| {n_coils} | {sampling} | {method} | {len(group)} | {numbers} |")
    return "\n".join(lines)


def table_of_cases(rows: list[Row]) -> str:
    methods = unique(row.method for row in rows)
    psnr = {(row.case, row.method): f"{row.psnr:.2f}" for row in rows}
    lines = ["| case | coils | sampling | " + " | ".join(methods) + " |", "|" + "---|" * (3 + len(methods))]
    for case in unique(row.case for row in rows):
        cells = [*map(str, case), *(psnr.get((case, method), "") for method in methods)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def comparison(rows: list[Row], rival: str, clock: str) -> list[str]:
    """Gains of the forms of k-t SLR over another method, for one coil and for several; clock: wall_s or cpu_s."""
    found = {(row.case, row.method): row for row in rows}
    sentences = []
    for method in [name for name in unique(row.method for row in rows) if name.startswith("ktslr")]:
        for several in (False, True):
            pairs = [
                (row, found[row.case, rival])
                for row in rows
                if row.method == method and (row.n_coils > 1) == several and (row.case, rival) in found
            ]
            if not pairs:
                continue
            gains = [ours.psnr - theirs.psnr for ours, theirs in pairs]
            times = [(getattr(ours.usage, clock), getattr(theirs.usage, clock)) for ours, theirs in pairs]
            share = sum(ours for ours, _ in times) / sum(theirs for _, theirs in times)
            most = max(ours / theirs for ours, theirs in times)
            coils = "several coils" if several else "one coil"
            sentences.append(
                f"{method} against {rival}, {coils}, {len(pairs)} cases: PSNR {mean(gains):+.2f} dB on average "
                f"(lowest {min(gains):+.2f} dB), {CLOCKS[clock]} {share:.2g} of the other (highest {most:.2g})."
            )
    return sentences


def machine() -> str:
    """What the numbers were measured on."""
    bart = f", BART {bart_pics.version()}" if bart_pics.is_installed() else ""
    threads = torch.get_num_threads()
    return f"{threads} thread{'s' * (threads > 1)} of {processor()}, torch {torch.__version__}{bart}."


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line for line in lines if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.processor()


def unique(items: Iterable) -> list:
    return list(dict.fromkeys(items))


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """Replace the text between the two marks of a section."""
    before, start, rest = page.read_text(encoding="utf-8").partition(f"<!-- begin {name} -->\n")
    _, end, after = rest.partition(f"<!-- end {name} -->")
    if not start or not end:
        raise SystemExit(f"{page} has no section '{name}'")
    page.write_text(f"{before}{start}\n{text}\n\n{end}{after}", encoding="utf-8")
