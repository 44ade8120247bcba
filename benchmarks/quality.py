"""How good the methods are on what no training has seen: held-out real series and held-out phantoms.

    python benchmarks/quality.py --real FOLDER -o results/quality

Makes fully sampled raw scans with `cinerecon simulate`, with one coil and with eight, undersamples them (another mask
in each frame and slice), reconstructs them with every method that has weights, from coil maps estimated of the
undersampled data, and compares magnitudes with the noise-free truth. The real anatomy is measured; its phase, coils and
noise are simulated. Interrupted, it goes on where it was; `report.html` in the folder shows all.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from cinerecon.methods.table import METHODS
from cinerecon.workflows.evaluate import Score, Table, evaluate, tables_of, write_results
from cinerecon.workflows.models import list_models
from cinerecon.workflows.simulate import SimulateConfig, simulate_scan

HELD_OUT = ("sax_mid", "lax_4ch")
PHANTOM_SEEDS = range(1, 41)
"""Training draws its phantoms from 1000 on."""
SAMPLINGS = ("gaussian:8", "gaussian:10", "gaussian:12", "radial:16", "vds:10", "equispaced:8")
CLASSICAL = ("zerofilled", "cgsense", "ktslr", "lps", "llr", "ttv")
SHOWN = ("psnr", "ssim", "nmse", "heart_psnr", "xt_ssim")


def make_scans(folder: Path, real: Path | None, n_phantoms: int, noise: float) -> dict[str, list[Path]]:
    """Write the scans that are missing; by group, one group for each real series."""
    folder.mkdir(parents=True, exist_ok=True)
    groups: dict[str, list[Path]] = {}
    for coils in (1, 8):
        for name in HELD_OUT if real else ():
            sizes = SimulateConfig(frames=25, ky=160, kx=192, coils=coils, noise=noise, seed=11)
            groups.setdefault(name, []).append(_make(folder / f"{name}_{coils}.h5", sizes, real / f"{name}.npz"))
        for seed in list(PHANTOM_SEEDS)[:n_phantoms]:
            sizes = SimulateConfig(frames=16, ky=128, kx=128, coils=coils, noise=noise, seed=seed)
            groups.setdefault("phantoms", []).append(_make(folder / f"phantom{seed}_{coils}.h5", sizes, None))
    return groups


def _make(path: Path, config: SimulateConfig, source: Path | None) -> Path:
    if not path.exists():
        simulate_scan(path, config, source=source)
    return path


def trained() -> list[str]:
    """The networks whose weights come with the program."""
    return [entry.name for entry in list_models() if entry.kind == "deep" and entry.weights == "ours"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder of magnitude cines, sax_mid.npz and lax_4ch.npz among them")
    parser.add_argument("--phantoms", type=int, default=len(PHANTOM_SEEDS))
    parser.add_argument("--noise", type=float, default=0.01, help="noise of a sample over the image's maximum")
    parser.add_argument("--model", action="append", help="default: classical methods, and networks that have weights")
    parser.add_argument("--undersample", action="append", help=f"default: {' '.join(SAMPLINGS)}")
    parser.add_argument("--baseline", default="ktslr")
    parser.add_argument("--workers", type=int, default=1, help="0: as many as there are cores and memory for")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/quality"))
    arguments = parser.parse_args()
    models = arguments.model or [*(name for name in CLASSICAL if name in METHODS), *trained()]
    folder = arguments.output / f"scans_{arguments.noise:g}"
    everything: list[Score] = []
    tables: list[Table] = []
    baseline = arguments.baseline if arguments.baseline in models else None
    for group, paths in make_scans(folder, arguments.real, arguments.phantoms, arguments.noise).items():
        scores = evaluate(
            paths,
            models,
            arguments.undersample or SAMPLINGS,
            output=arguments.output,
            workers=arguments.workers,
            pictures=2 if group != "phantoms" else 1,
        )
        if group != "phantoms":
            scores = [replace(score, person="the volunteer") for score in scores]
        everything += scores
        for table in tables_of(scores, baseline, SHOWN):
            tables.append(replace(table, caption=f"{group}: {table.caption}"))
            print(replace(tables[-1], notes=()).as_markdown(), flush=True)
    print("\n".join(tables[-1].notes))
    for path in write_results(everything, arguments.output, baseline=baseline, extra_tables=tables):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
