"""k-t SLR against the released algorithm with the same weights, run until its image no longer changes."""

from report import Row, comparison, machine

from cinerecon.methods.classical.config import KtSlrConfig

STANDSTILL = 3e-4
"""Relative change of the image in ten iterations at which a run is taken to have converged."""
MOST_ITERATIONS = 600
SAME_COST = [
    *("block_size=0", "isotropic=true", "continuation=1"),
    *(f"tolerance={STANDSTILL / 10:g}", f"n_iterations={MOST_ITERATIONS}"),
]
"""Settings under which `ktslr` minimises what the released programs do, to the standstill."""
RIVAL = "released, held"
NOTABLE_DB = 0.05


def released_settings(config: KtSlrConfig) -> list[str]:
    """Weights that give the released programs the cost of k-t SLR under `SAME_COST`, twice: theirs has no 1/2."""
    return [
        f"weight_lowrank={2 * config.weight_lowrank}",
        f"weight_sparse={2 * config.weight_sparse}",
        f"p={config.p}",
        f"steps=[{1 / config.temporal_weight}, {1 / config.spatial_weight}, {1 / config.spatial_weight}]",
    ]


def held_settings(config: KtSlrConfig, standstill: float = STANDSTILL) -> list[str]:
    """The same, with the penalties of k-t SLR held until the image no longer changes.

    An outer iteration of one inner iteration each: more would end early, where the cost changes little.
    """
    return [
        *released_settings(config),
        f"penalty_lowrank={config.penalty_lowrank / config.weight_lowrank}",
        f"penalty_sparse={config.penalty_sparse / config.weight_sparse}",
        *("growth_lowrank=1", "growth_sparse=1", "n_inner=1"),
        *(f"n_outer={MOST_ITERATIONS}", f"tolerance={standstill}"),
    ]


def methods() -> dict[str, tuple[str, list[str]]]:
    """What is compared: label, method, settings."""
    config = KtSlrConfig()
    return {
        "ktslr": ("ktslr", []),
        "ktslr, same cost": ("ktslr", SAME_COST),
        "released": ("ktslr-reference", released_settings(config)),
        RIVAL: ("ktslr-reference", held_settings(config)),
    }


def describe_converged(rows: list[Row], sizes: str) -> str:
    """A table of all cases, then differences between k-t SLR and the released algorithm."""
    share = {row.case: row.usage.cpu_s for row in rows if row.method == RIVAL}
    lines = ["| case | coils | sampling | method | PSNR [dB] | SSIM | iterations | CPU [s] | over held | memory [MB] |"]
    lines.append("|" + "---|" * 10)
    for row in rows:
        ratio = f"{row.usage.cpu_s / share[row.case]:.4f}" if row.case in share else ""
        numbers = f"{row.psnr:.2f} | {row.ssim:.4f} | {row.usage.n_iterations} | {row.usage.cpu_s:.2f} | {ratio}"
        lines.append(f"| {' | '.join(map(str, row.case))} | {row.method} | {numbers} | {row.usage.memory_mb:.0f} |")
    parts = [f"{sizes} {machine()}", "\n".join(lines), *comparison(rows, RIVAL, "cpu_s"), lower(rows)]
    return "\n\n".join(parts)


def lower(rows: list[Row]) -> str:
    """On which cases the default is notably worse than the released algorithm at its standstill."""
    held = {row.case: row.psnr for row in rows if row.method == RIVAL}
    pairs = [(row.case, row.psnr - held[row.case]) for row in rows if row.method == "ktslr" and row.case in held]
    worse = [f"{', '.join(map(str, case))} ({gain:+.2f} dB)" for case, gain in pairs if gain < -NOTABLE_DB]
    found = "; ".join(worse) if worse else "none"
    return f"Cases on which ktslr is lower than {RIVAL} by more than {NOTABLE_DB} dB, of {len(pairs)}: {found}."
