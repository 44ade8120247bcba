"""Image quality of published weights on measured magnitudes, with the sampling that they were trained for.

    python benchmarks/imported.py --weights FOLDER --series FOLDER -o results/imported

Imports all checkpoints in a folder. Sampling: Gaussian ky lines at 8x for the networks of Deep-MRI-Reconstruction,
golden-ratio ky lines (instead of VISTA) for networks of several coils, 16 radial spokes for all others. Magnitudes are
measured; phase and coils are simulated, no noise is added, and the coil maps are the true ones, as in the training of
these networks. Images are scaled as by `recon`, from the undersampled data only. PSNR and SSIM are those of the
magnitude. A picture for each series shows all methods.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from command import make_parser, positive, run_benchmark, series_folder
from pages import markdown_head, markdown_row

from cinerecon.cine import CineData
from cinerecon.errors import CineReconError, FileError
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
LINES, RADIAL, MULTI_COIL = "gaussian:8", "radial:16", "golden:8"
N_COILS = 8


def import_all(weights: Path, folder: Path) -> dict[str, tuple[str, int]]:
    """Model files of all checkpoints, each with its sampling and number of coils."""
    models = {}
    for entry in sorted(weights.iterdir()):
        if entry.is_dir() or entry.suffix in (".pth", ".npz"):
            try:
                path, config = import_model(entry, folder / f"{entry.stem}.safetensors", force=True)
            except CineReconError as error:
                print(f"omitted: {entry.name}: {error.what}")
                continue
            is_lines = "Deep-MRI" in config.card.source
            one_coil = (LINES if is_lines else RADIAL, 1)
            models[str(path)] = (MULTI_COIL, N_COILS) if config.scale == "kspace_max" else one_coil
    return models


def make_case(series: Path, pattern: str, coils: int, size: int, frames: int) -> CineData:
    """Simulate a full scan of a measured series, and undersample it."""
    config = SimulateConfig(n_frames=frames, ky=size, kx=size, n_coils=max(coils, 2), noise=0.0, seed=7)
    full = simulate_cine(config, source=series)[0]
    assert full.reference is not None
    kspace, csm = (full.kspace, full.csm) if coils > 1 else (fft2c(full.reference)[:, None], None)
    mask = torch.from_numpy(parse_mask(pattern).draw(frames, size, size, seed=7))
    return CineData(kspace * mask, mask, csm, full.reference, full.meta)


def reconstruct(method: Reconstructor, data: CineData, name: str) -> tuple[CineImage, dict[str, float], float]:
    """The image, its quality, and the time of the reconstruction [s]."""
    assert data.reference is not None
    start = time.perf_counter()
    with torch.inference_mode():
        image = method(data)
    seconds = time.perf_counter() - start
    quality = compare(image, data.reference)
    label = f"{name}  {quality['psnr']:.2f} dB, SSIM {quality['ssim']:.3f}"
    return CineImage(image.numpy(), data.reference.numpy(), data.meta, label), quality, seconds


def score_methods(
    models: dict[str, tuple[str, int]], series: list[Path], arguments: argparse.Namespace
) -> Iterator[tuple[object, ...]]:
    """The cells of a row for each method and sampling; writes the pictures as well."""
    for pattern, coils in dict.fromkeys(models.values()):
        names = [*BASELINES, *(name for name, sampling in models.items() if sampling == (pattern, coils))]
        methods = {name: load_method(name) for name in names}
        results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
        for path in series:
            data = make_case(path, pattern, coils, arguments.size, arguments.frames)
            cines = []
            for name, method in methods.items():
                cine, quality, seconds = reconstruct(method, data, Path(name).stem)
                cines.append(cine)
                results[name].append((quality["psnr"], quality["ssim"], seconds))
            write_png(arguments.output / f"{path.stem}_{pattern.replace(':', '')}_{coils}.png", cines)
        for name, values in results.items():
            psnr, ssim, seconds = (statistics.mean(column) for column in zip(*values, strict=True))
            low, high = min(value[0] for value in values), max(value[0] for value in values)
            label = Path(name).stem.split("-2")[0]
            yield pattern, coils, label, f"{psnr:.2f} ({low:.2f} to {high:.2f})", f"{ssim:.4f}", f"{seconds:.1f}"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="folder of published checkpoints")
    parser.add_argument("--series", type=series_folder, required=True, help="folder of magnitude cines (.npz)")
    parser.add_argument("--name", action="append", help="name of a series, may be repeated; default: all")
    parser.add_argument("--size", type=positive, default=128, help="matrix; training used patches of 128 x 128")
    parser.add_argument("--frames", type=positive, default=16)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/imported"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    series = [path for path in sorted(arguments.series.glob("*.npz")) if path.stem in (arguments.name or [path.stem])]
    models = import_all(arguments.weights, arguments.output)
    if not series or not models:
        what, folder = ("weights", arguments.weights) if series else ("series of these names", arguments.series)
        raise FileError(f"the folder contains no {what}", where=str(folder))
    print(f"{len(series)} series, {arguments.frames} frames of {arguments.size} x {arguments.size}\n")
    print(markdown_head(("sampling", "coils", "method", "PSNR [dB], mean (range)", "SSIM", "seconds")))
    for cells in score_methods(models, series, arguments):
        print(markdown_row(cells), flush=True)


if __name__ == "__main__":
    run_benchmark(main)
