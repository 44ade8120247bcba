"""k-t SLR compared with the released algorithm, both with the same weights and run to convergence."""

from classical_tables import Row, describe_gains
from pages import folded, machine, markdown_table

from cinerecon.methods.classical.config import KtSlrConfig

CONVERGED_CHANGE = 3e-4
"""Relative change of the image in ten iterations below which a run has converged."""
MAX_ITERATIONS = 600
SAME_COST = [
    *("block_size=0", "isotropic=true", "continuation=1"),
    *(f"tolerance={CONVERGED_CHANGE / 10:g}", f"n_iterations={MAX_ITERATIONS}"),
]
"""Settings with which `ktslr` minimises the cost of the released programs, to convergence."""
BASELINE = "released (fixed penalties)"
NOTABLE_LOSS_DB = 0.05


def released_settings(config: KtSlrConfig) -> list[str]:
    """Weights with which the released programs minimise the cost of k-t SLR under `SAME_COST`.

    They are twice those of k-t SLR, because the data term of the programs has no factor 1/2.
    """
    return [
        f"weight_lowrank={2 * config.weight_lowrank}",
        f"weight_sparse={2 * config.weight_sparse}",
        f"p={config.p}",
        f"steps=[{1 / config.temporal_weight}, {1 / config.spatial_weight}, {1 / config.spatial_weight}]",
    ]


def fixed_penalty_settings(config: KtSlrConfig, converged_change: float = CONVERGED_CHANGE) -> list[str]:
    """The same weights, with constant penalties, those of k-t SLR, until the image no longer changes.

    Each outer iteration has one inner iteration: several would end early, where the cost changes little.
    """
    return [
        *released_settings(config),
        f"penalty_lowrank={config.penalty_lowrank / config.weight_lowrank}",
        f"penalty_sparse={config.penalty_sparse / config.weight_sparse}",
        *("growth_lowrank=1", "growth_sparse=1", "n_inner=1"),
        *(f"n_outer={MAX_ITERATIONS}", f"tolerance={converged_change}"),
    ]


def methods() -> dict[str, tuple[str, list[str]]]:
    """Label, method and settings of each variant."""
    config = KtSlrConfig()
    return {
        "ktslr": ("ktslr", []),
        "ktslr, same cost": ("ktslr", SAME_COST),
        "released": ("ktslr-reference", released_settings(config)),
        BASELINE: ("ktslr-reference", fixed_penalty_settings(config)),
    }


def describe_converged(rows: list[Row], sizes: str) -> str:
    """A table of all cases, then the gain of k-t SLR over the released algorithm."""
    baseline_s = {row.case: row.usage.cpu_s for row in rows if row.method == BASELINE}
    heads = "case", "coils", "sampling", "method", "PSNR [dB]", "SSIM", "iterations", "CPU [s]", "CPU ratio"
    lines = []
    for row in rows:
        usage = row.usage
        ratio = f"{usage.cpu_s / baseline_s[row.case]:.4f}" if row.case in baseline_s else ""
        numbers = f"{row.psnr:.2f}", f"{row.ssim:.4f}", usage.n_iterations, f"{usage.cpu_s:.2f}", ratio
        lines.append((*row.case, row.method, *numbers, f"{usage.memory_mb:.0f}"))
    table = folded("All cases", markdown_table((*heads, "memory [MB]"), lines))
    return "\n\n".join([f"{sizes} {machine()}", table, *describe_gains(rows, BASELINE, "cpu_s"), describe_losses(rows)])


def describe_losses(rows: list[Row]) -> str:
    """The cases on which `ktslr` is notably worse than the released algorithm."""
    baseline = {row.case: row.psnr for row in rows if row.method == BASELINE}
    gains = {row.case: row.psnr - baseline[row.case] for row in rows if row.method == "ktslr" and row.case in baseline}
    losses = [
        f"{', '.join(map(str, case))} ({gain:+.2f} dB)" for case, gain in gains.items() if gain < -NOTABLE_LOSS_DB
    ]
    return (
        f"Cases (of {len(gains)}) in which the PSNR of ktslr is lower than that of {BASELINE} by more than "
        f"{NOTABLE_LOSS_DB} dB: {'; '.join(losses) or 'none'}."
    )
