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
        """What tells it from other cases."""
        return self.anatomy, self.n_coils, self.sampling


def describe_results(rows: list[Row]) -> str:
    """Means over anatomies for each way of measuring, then PSNR of each case, then k-t SLR against BART."""
    parts = [machine(), "Means over the cases:", table_of_means(rows)]
    parts += ["PSNR [dB] of each case:", table_of_cases(rows), *rivalry(rows)]
    return "\n\n".join(parts)


def table_of_means(rows: list[Row]) -> str:
    lines = ["| coils | sampling | method | PSNR [dB] | SSIM | wall [s] | CPU [s] | memory [MB] | floor [s] |"]
    lines.append("|" + "---|" * 9)
    for n_coils, sampling, method in unique((row.n_coils, row.sampling, row.method) for row in rows):
        group = [row for row in rows if (row.n_coils, row.sampling, row.method) == (n_coils, sampling, method)]
        psnr, ssim = mean(row.psnr for row in group), mean(row.ssim for row in group)
        wall, cpu = mean(row.usage.wall_s for row in group), mean(row.usage.cpu_s for row in group)
        memory, floor = max(row.usage.memory_mb for row in group), mean(row.usage.floor_s for row in group)
        numbers = f"{psnr:.2f} | {ssim:.4f} | {wall:.2f} | {cpu:.2f} | {memory:.0f} | {f'{floor:.2f}' if floor else ''}"
        lines.append(f"| {n_coils} | {sampling} | {method} | {numbers} |")
    return "\n".join(lines)


def table_of_cases(rows: list[Row]) -> str:
    methods = unique(row.method for row in rows)
    psnr = {(row.case, row.method): f"{row.psnr:.2f}" for row in rows}
    lines = ["| case | coils | sampling | " + " | ".join(methods) + " |", "|" + "---|" * (3 + len(methods))]
    for case in unique(row.case for row in rows):
        cells = [*map(str, case), *(psnr.get((case, method), "") for method in methods)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rivalry(rows: list[Row]) -> list[str]:
    """How the forms of k-t SLR stand against BART's best, for one coil and for several."""
    found = {(row.case, row.method): row for row in rows}
    sentences = []
    for method in [name for name in unique(row.method for row in rows) if name.startswith("ktslr")]:
        for several in (False, True):
            pairs = [
                (row, found[row.case, RIVAL])
                for row in rows
                if row.method == method and (row.n_coils > 1) == several and (row.case, RIVAL) in found
            ]
            if not pairs:
                continue
            gains = [ours.psnr - theirs.psnr for ours, theirs in pairs]
            share = sum(ours.usage.wall_s for ours, _ in pairs) / sum(theirs.usage.wall_s for _, theirs in pairs)
            coils = "several coils" if several else "one coil"
            sentences.append(
                f"{method} against {RIVAL}, {coils}, {len(pairs)} cases: PSNR {mean(gains):+.2f} dB on average, "
                f"{min(gains):+.2f} dB at least, in {share:.2f} of its time."
            )
    return sentences


def describe_converged(rows: list[Row]) -> str:
    lines = [
        "| case | coils | sampling | method | PSNR [dB] | SSIM | wall [s] | time over the last |",
        "|" + "---|" * 8,
    ]
    released = {row.case: row.usage.wall_s for row in rows if row.method == "released, held"}
    for row in rows:
        share = row.usage.wall_s / released[row.case]
        numbers = f"{row.psnr:.2f} | {row.ssim:.4f} | {row.usage.wall_s:.1f} | {share:.3f}"
        lines.append(f"| {' | '.join(map(str, row.case))} | {row.method} | {numbers} |")
    return machine() + "\n\n" + "\n".join(lines)


def machine() -> str:
    """What the numbers were measured on."""
    bart = f", BART {bart_pics.version()}" if bart_pics.is_installed() else ""
    return f"{torch.get_num_threads()} threads of {processor()}, torch {torch.__version__}{bart}."


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor()


def unique(items: Iterable) -> list:
    return list(dict.fromkeys(items))


def write_section(name: str, text: str) -> None:
    """Replace what stands between the two marks of a section."""
    before, start, rest = PAGE.read_text().partition(f"<!-- begin {name} -->\n")
    _, end, after = rest.partition(f"<!-- end {name} -->")
    if not start or not end:
        raise SystemExit(f"{PAGE} has no section '{name}'")
    PAGE.write_text(f"{before}{start}\n{text}\n\n{end}{after}")
