"""Agreement of the uncertainty maps of `recon --uncertainty` with the true error of the magnitude.

    python benchmarks/uncertainty.py --series FOLDER --write

Cases are undersampled phantoms and measured magnitude cines with simulated phase, coils and noise; coil maps are
estimated from the samples. The first table has, for each method, Spearman's rank correlation of the map with the
absolute error, over all pixels and frames of the field of view and of the box around the heart: mean over the cases.
For comparison it has the correlations of two maps that need no further reconstruction, the magnitude and its standard
deviation over time, and the root mean square of the error divided by that of the map. The second table shows the
reliability of `slrnet`: root mean squares of map and error, relative to the brightest pixel, in ten classes of the map.
With ``--write`` both tables are written to `docs/how-to/uncertainty.md`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from command import make_parser, positive, run_benchmark, series_folder
from numpy.typing import NDArray
from pages import markdown_head, markdown_row, markdown_table, write_section
from scipy.stats import spearmanr
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.table import load_method
from cinerecon.metrics import find_heart
from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.snr import average_pixels
from cinerecon.reconstruction.uncertainty import draw_variants, map_uncertainty
from cinerecon.simulation.scan import SimulateConfig, simulate_cine

PHANTOMS = (300, 301, 302, 303, 304)
"""Seeds that were not used for training."""
CINES = ("acdc_003", "acdc_021", "acdc_044", "acdc_066", "scd4_sax05")
REGIONS = ("field", "heart")
N_CLASSES = 10
METHODS = ("slrnet", "dccnn", "stvarnet", "ktslr", "cgsense")
RELIABILITY_OF = "slrnet"
PAGE = Path(__file__).parents[1] / "docs/how-to/uncertainty.md"
RANK_HEADS = (
    "method",
    "field",
    "heart",
    "magnitude: field, heart",
    "over time: field, heart",
    "error / map: field",
)


@dataclass(frozen=True)
class RegionValues:
    """Error and maps of one case in one region, as flat arrays, relative to the brightest pixel."""

    error: NDArray[np.float32]
    maps: dict[str, NDArray[np.float32]]


def main() -> None:
    """Print and write the tables."""
    parser = make_parser(__doc__, writes="the tables to the page")
    parser.add_argument("--model", action="append", help=f"method, may be repeated  [default: {', '.join(METHODS)}]")
    parser.add_argument("--series", type=series_folder, required=True, help="folder of the cines")
    parser.add_argument("--cine", action="append", help="name of a cine in it, may be repeated")
    parser.add_argument("--undersample", default="gaussian:8,acs=4")
    parser.add_argument("--variants", type=positive, default=8)
    parser.add_argument("--size", type=positive, default=96)
    parser.add_argument("--frames", type=positive, default=12)
    arguments = parser.parse_args()
    size = {"n_frames": arguments.frames, "ky": arguments.size, "kx": arguments.size, "n_coils": 4}
    config = SimulateConfig(**size, noise=0.01, undersample=arguments.undersample)
    cases = list(make_cases(config, arguments.series, arguments.cine or CINES))
    ranks, reliability = [markdown_head(RANK_HEADS)], ""
    for model in arguments.model or METHODS:
        results = measure(model, cases, arguments.variants)
        ranks.append(markdown_row((f"`{model}`", *rank_cells(results))))
        print(ranks[-1], flush=True)
        if model == RELIABILITY_OF:
            reliability = reliability_table(results)
            print(reliability, flush=True)
    if arguments.write:
        write_section("ranks", "\n".join(ranks), PAGE)
        write_section("reliability", reliability, PAGE)


def measure(model: str, cases: Sequence[tuple[str, CineData]], n_variants: int) -> dict[str, list[RegionValues]]:
    """Maps and errors of a method in all cases, by region."""
    method = load_method(model)
    results: dict[str, list[RegionValues]] = {region: [] for region in REGIONS}
    for _, data in cases:
        with torch.inference_mode():
            image = method(data)
            std = map_uncertainty(data, method, image, draw_variants(data, n_variants))
        for region, values in split_regions(data, image, std).items():
            results[region].append(values)
    return results


def make_cases(config: SimulateConfig, folder: Path, cines: Sequence[str]) -> Iterator[tuple[str, CineData]]:
    """Undersampled cines with their references; measured cines have only every second frame."""
    with TemporaryDirectory() as name:
        for number, source in enumerate((*PHANTOMS, *cines)):
            if isinstance(source, int):
                (data,) = simulate_cine(config.model_copy(update={"seed": source}))
            else:
                with np.load(folder / f"{source}.npz") as file:
                    arrays = dict(file)
                magnitude, times = arrays["magnitude"][::2], arrays["trigger_time_ms"][::2]
                path = Path(name) / f"{source}.npz"
                np.savez(path, **arrays | {"magnitude": magnitude, "trigger_time_ms": times})
                sizes = {"n_frames": len(magnitude), "ky": min(config.ky, magnitude.shape[1]), "seed": number}
                (data,) = simulate_cine(config.model_copy(update=sizes), source=path)
            yield str(source), replace(data, csm=estimate_csm(data.kspace, data.mask))


def split_regions(data: CineData, image: Tensor, std: Tensor) -> dict[str, RegionValues]:
    """Absolute error and maps by region."""
    assert data.reference is not None
    reference, magnitude = data.reference.abs(), image.abs()
    peak = reference.max()
    maps = {"uncertainty": std, "magnitude": average_pixels(magnitude), "over time": magnitude.std(0).expand_as(std)}
    heart = find_heart(data.reference)
    regions = {}
    for region in REGIONS[: 2 if heart else 1]:
        part = heart.crop if heart and region == "heart" else torch.clone
        flat = {name: (part(values) / peak).flatten().numpy() for name, values in maps.items()}
        regions[region] = RegionValues((part((magnitude - reference).abs()) / peak).flatten().numpy(), flat)
    return regions


def rank_correlation(values: RegionValues, name: str) -> float:
    """Spearman's rank correlation of a map with the error."""
    return float(spearmanr(values.maps[name], values.error).statistic)


def rank_cells(results: dict[str, list[RegionValues]]) -> list[str]:
    """Mean correlations, with the lowest of the uncertainty in brackets; ratio of error to map in the field of view."""
    means: dict[str, list[str]] = {}
    for cases in results.values():
        for name in cases[0].maps:
            ranks = [rank_correlation(case, name) for case in cases]
            lowest = f" ({min(ranks):.2f})" if name == "uncertainty" else ""
            means.setdefault(name, []).append(f"{np.mean(ranks):.2f}{lowest}")
    ratios = [rms(case.error) / rms(case.maps["uncertainty"]) for case in results["field"]]
    ratio = f"{np.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
    return [*means["uncertainty"], ", ".join(means["magnitude"]), ", ".join(means["over time"]), ratio]


def reliability_table(results: dict[str, list[RegionValues]]) -> str:
    """Root mean squares of map and error [%] in classes of the map with equal numbers of pixels."""
    heads = [head for region in results for head in (f"{region}: map", "error")]
    columns = []
    for cases in results.values():
        std = np.concatenate([case.maps["uncertainty"] for case in cases])
        error = np.concatenate([case.error for case in cases])
        classes = np.array_split(np.argsort(std), N_CLASSES)
        columns += [[rms(std[index]) for index in classes], [rms(error[index]) for index in classes]]
    rows = [
        (number, *(f"{100 * value:.2f} %" for value in values))
        for number, values in enumerate(zip(*columns, strict=True), start=1)
    ]
    return markdown_table(("class of the map", *heads), rows)


def rms(values: NDArray[np.float32]) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


if __name__ == "__main__":
    run_benchmark(main)
