"""What published weights reach here, on real anatomy, under the sampling they were trained for.

    python benchmarks/imported.py --weights FOLDER --series FOLDER -o results/imported

Imports every checkpoint in a folder, each under the sampling that its name states: 16 radial spokes, or golden-ratio ky
lines in the place of VISTA; Gaussian ky lines at 8x for the networks of Deep-MRI-Reconstruction. Real
anatomy is measured magnitude; its phase and coils are simulated, no noise is added, and coil maps are the true ones,
as in the training of these networks. The scale is what `recon` takes, of the undersampled data alone. PSNR and SSIM
are of the magnitude; a picture for each series shows all methods.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from cinerecon.cine import CineData
from cinerecon.errors import CineReconError
from cinerecon.image import CineImage
from cinerecon.io.export.summary import write_png
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.published import import_model
from cinerecon.methods.table import load_method
from cinerecon.metrics.measures import compare
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.sampling import parse_mask
from cinerecon.simulation.scan import SimulateConfig, simulate_cine

BASELINES = ("zerofilled", "ktslr")
LINES, RADIAL, SEVERAL_COILS = "gaussian:8", "radial:16", "golden:8"
N_COILS = 8


def import_all(weights: Path, folder: Path) -> dict[str, tuple[str, int]]:
    """Model files of all checkpoints, with the sampling and the coils that each is for."""
    models = {}
    for entry in sorted(weights.iterdir()):
        if entry.is_dir() or entry.suffix in (".pth", ".npz"):
            try:
                path, config = import_model(entry, folder / f"{entry.stem}.safetensors", force=True)
            except CineReconError as error:
                print(f"left out: {entry.name}: {error.what}")
                continue
            is_lines = "Deep-MRI" in config.card.source
            one_coil = (LINES if is_lines else RADIAL, 1)
            models[str(path)] = (SEVERAL_COILS, N_COILS) if config.scale == "kspace_max" else one_coil
    return models


def measure(series: Path, pattern: str, coils: int, size: int, frames: int) -> CineData:
    """A real series, fully sampled, then undersampled."""
    config = SimulateConfig(n_frames=frames, ky=size, kx=size, n_coils=max(coils, 2), noise=0.0, seed=7)
    full = simulate_cine(config, source=series)[0]
    assert full.reference is not None
    kspace, csm = (full.kspace, full.csm) if coils > 1 else (fft2c(full.reference)[:, None], None)
    mask = torch.from_numpy(parse_mask(pattern).draw(frames, size, size, seed=7))
    return CineData(kspace * mask, mask, csm, full.reference, full.meta)


def reconstruct(method: Reconstructor, data: CineData, name: str) -> tuple[CineImage, dict[str, float], float]:
    """The image, its quality, and the seconds it took."""
    assert data.reference is not None
    start = time.perf_counter()
    with torch.inference_mode():
        image = method(data)
    seconds = time.perf_counter() - start
    quality = compare(image, data.reference)
    label = f"{name}  {quality['psnr']:.2f} dB, SSIM {quality['ssim']:.3f}"
    return CineImage(image.numpy(), data.reference.numpy(), data.meta, label), quality, seconds


def rows(models: dict[str, tuple[str, int]], series: list[Path], arguments: argparse.Namespace) -> Iterator[str]:
    """A line of the table for each method under each sampling; pictures on the way."""
    for pattern, coils in dict.fromkeys(models.values()):
        names = [*BASELINES, *(name for name, sampling in models.items() if sampling == (pattern, coils))]
        methods = {name: load_method(name) for name in names}
        results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
        for path in series:
            data = measure(path, pattern, coils, arguments.size, arguments.frames)
            cines = []
            for name, method in methods.items():
                cine, quality, seconds = reconstruct(method, data, Path(name).stem)
                cines.append(cine)
                results[name].append((quality["psnr"], quality["ssim"], seconds))
            write_png(arguments.output / f"{path.stem}_{pattern.replace(':', '')}_{coils}.png", cines)
        for name, values in results.items():
            psnr, ssim, seconds = (statistics.mean(column) for column in zip(*values, strict=True))
            low, high = min(value[0] for value in values), max(value[0] for value in values)
            yield (
                f"| {pattern} | {coils} | {Path(name).stem.split('-2')[0]} | {psnr:.2f} ({low:.2f} to {high:.2f}) "
                f"| {ssim:.4f} | {seconds:.1f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="folder of published checkpoints")
    parser.add_argument("--series", type=Path, required=True, help="folder of magnitude cines (.npz)")
    parser.add_argument("--name", action="append", help="names of series, may be repeated; default: all")
    parser.add_argument("--size", type=int, default=128, help="matrix: the patches of the training had 128 x 128")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/imported"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    series = [path for path in sorted(arguments.series.glob("*.npz")) if path.stem in (arguments.name or [path.stem])]
    models = import_all(arguments.weights, arguments.output)
    print(f"{len(series)} series, {arguments.frames} frames of {arguments.size} x {arguments.size}\n")
    print("| sampling | coils | method | PSNR [dB], mean (range) | SSIM | seconds |\n|---|---|---|---|---|---|")
    for row in rows(models, series, arguments):
        print(row, flush=True)


if __name__ == "__main__":
    main()
