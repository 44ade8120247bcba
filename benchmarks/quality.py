"""How good the methods are on what no training has seen: held-out real series and held-out phantoms.

    python benchmarks/quality.py --real FOLDER -o results/quality

Makes fully sampled raw scans with `cinerecon simulate`, undersamples them 8x (Gaussian ky, 4 central lines, another
mask in each frame), reconstructs them with each method from coil maps estimated of the undersampled data, and compares
the magnitude with the noise-free truth. The real anatomy is measured; its phase, coils and noise are simulated.
"""

import argparse
from pathlib import Path

from cinerecon.workflows.evaluate import Score, evaluate, summarise, write_scores
from cinerecon.workflows.simulate import SimulateConfig, simulate_scan

HELD_OUT = ("sax_mid", "lax_4ch")
PHANTOM_SEEDS = range(1, 21)
"""Training draws its phantoms from 1000 on."""


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder of magnitude cines, sax_mid.npz and lax_4ch.npz among them")
    parser.add_argument("--phantoms", type=int, default=len(PHANTOM_SEEDS))
    parser.add_argument("--noise", type=float, default=0.01, help="noise of a sample over the image's maximum")
    parser.add_argument("--model", action="append", help="default: zerofilled, ktslr, slrnet")
    parser.add_argument("--undersample", default="gaussian:8")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/quality"))
    arguments = parser.parse_args()
    models = arguments.model or ["zerofilled", "ktslr", "slrnet"]
    scans = make_scans(
        arguments.output / f"scans_{arguments.noise:g}", arguments.real, arguments.phantoms, arguments.noise
    )
    everything: list[Score] = []
    print("| anatomy | coils | method | PSNR [dB] | SSIM | seconds a slice |\n|---|---|---|---|---|---|")
    for group, paths in scans.items():
        scores = evaluate(paths, models, [arguments.undersample])
        everything += scores
        for s in summarise(scores):
            spread = f" ± {s.psnr_sd:.2f}" if s.n_slices > 1 else ""
            label = f"{group} ({s.n_slices})" if s.n_slices > 1 else group
            print(
                f"| {label} | {s.n_coils} | {s.method} | {s.psnr:.2f}{spread} | {s.ssim:.4f} | {s.seconds:.1f} |",
                flush=True,
            )
    for path in write_scores(everything, arguments.output):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
