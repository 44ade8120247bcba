"""Agreement of the uncertainty map of `recon --uncertainty` with the true error of the magnitude.

    python benchmarks/uncertainty.py --series ../shared/cines/report --write

Cases are phantoms and measured magnitude cines with simulated phase, coils and noise, undersampled, with coil maps
estimated from the samples. Printed for each method: means over the cases of Spearman's rank correlation of the map with
the absolute error, over all pixels and frames of the field of view and of the box around the heart; the same of two
maps that need no further reconstruction, the magnitude and the standard deviation over time; and the true error over
the map (root mean squares). Then the reliability of `slrnet`: root mean squares of map and error, relative to the
brightest pixel, in ten classes of the map. With ``--write`` both tables are put into `docs/how-to/uncertainty.md`.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from report import write_section
from scipy.stats import spearmanr
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.table import load_method
from cinerecon.metrics import find_heart
from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.snr import average_pixels
from cinerecon.reconstruction.uncertainty import map_uncertainty
from cinerecon.simulation.scan import SimulateConfig, simulate_cine

PHANTOMS = (300, 301, 302, 303, 304)
"""Seeds that no weights were trained on."""
CINES = ("acdc_003", "acdc_021", "acdc_044", "acdc_066", "scd4_sax05")
REGIONS = ("field", "heart")
N_CLASSES = 10
METHODS = ("slrnet", "dccnn", "stvarnet", "ktslr", "cgsense")
RELIABILITY_OF = "slrnet"
PAGE = Path(__file__).parents[1] / "docs/how-to/uncertainty.md"
RANK_HEAD = """\
| method | field | heart | magnitude: field, heart | over time: field, heart | error / map: field |
|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Compared:
    """Maps and errors of one case in one region, flat, relative to the brightest pixel."""

    error: NDArray[np.float32]
    maps: dict[str, NDArray[np.float32]]


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help=f"method, may be repeated  [default: {', '.join(METHODS)}]")
    parser.add_argument("--series", type=Path, default=Path("../shared/cines/report"))
    parser.add_argument("--cine", action="append", help="name of a cine in it, may be repeated")
    parser.add_argument("--undersample", default="gaussian:8,acs=4")
    parser.add_argument("--variants", type=int, default=8)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    arguments = parser.parse_args()
    size = {"n_frames": arguments.frames, "ky": arguments.size, "kx": arguments.size, "n_coils": 4}
    config = SimulateConfig(**size, noise=0.01, undersample=arguments.undersample)
    cases = list(make_cases(config, arguments.series, arguments.cine or CINES))
    ranks, reliability = [RANK_HEAD], ""
    for model in arguments.model or METHODS:
        results = measure(model, cases, arguments.variants)
        ranks.append(rank_row(model, results))
        print(ranks[-1], flush=True)
        if model == RELIABILITY_OF:
            reliability = reliability_table(results)
            print(reliability, flush=True)
    if arguments.write:
        write_section("ranks", "\n".join(ranks), PAGE)
        write_section("reliability", reliability, PAGE)


def measure(model: str, cases: Sequence[tuple[str, CineData]], n_variants: int) -> dict[str, list[Compared]]:
    """Maps and errors of a method in all cases, by region."""
    method = load_method(model)
    results: dict[str, list[Compared]] = {region: [] for region in REGIONS}
    for _, data in cases:
        with torch.inference_mode():
            image = method(data)
            std = map_uncertainty(data, method, image, n_variants=n_variants)
        for region, compared in compare(data, image, std).items():
            results[region].append(compared)
    return results


def make_cases(config: SimulateConfig, folder: Path, cines: Sequence[str]) -> Iterator[tuple[str, CineData]]:
    """Undersampled cines with their truth as reference; of measured cines every second frame."""
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


def compare(data: CineData, image: Tensor, std: Tensor) -> dict[str, Compared]:
    """Maps and absolute errors by region."""
    assert data.reference is not None
    truth, magnitude = data.reference.abs(), image.abs()
    peak = truth.max()
    maps = {"uncertainty": std, "magnitude": average_pixels(magnitude), "over time": magnitude.std(0).expand_as(std)}
    heart = find_heart(data.reference)
    out = {}
    for region in REGIONS[: 2 if heart else 1]:
        part = heart.crop if heart and region == "heart" else torch.clone
        flat = {name: (part(values) / peak).flatten().numpy() for name, values in maps.items()}
        out[region] = Compared((part((magnitude - truth).abs()) / peak).flatten().numpy(), flat)
    return out


def rank(compared: Compared, name: str) -> float:
    """Spearman's correlation of a map with the error."""
    return float(spearmanr(compared.maps[name], compared.error).statistic)


def rank_row(model: str, results: dict[str, list[Compared]]) -> str:
    """Mean correlations and, of the map of uncertainty, the lowest; then the ratio of error to map in the field."""
    means: dict[str, list[str]] = {}
    for cases in results.values():
        for name in cases[0].maps:
            ranks = [rank(case, name) for case in cases]
            lowest = f" ({min(ranks):.2f})" if name == "uncertainty" else ""
            means.setdefault(name, []).append(f"{np.mean(ranks):.2f}{lowest}")
    ratios = [rms(case.error) / rms(case.maps["uncertainty"]) for case in results["field"]]
    ratio = f"{np.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
    cells = [*means["uncertainty"], ", ".join(means["magnitude"]), ", ".join(means["over time"]), ratio]
    return f"| `{model}` | " + " | ".join(cells) + " |"


def reliability_table(results: dict[str, list[Compared]]) -> str:
    """Root mean squares of map and error in classes of the map with equally many pixels, in percent."""
    lines = ["| class of the map | " + " | ".join(f"{region}: map | error" for region in results) + " |"]
    lines.append("|---" * (1 + 2 * len(results)) + "|")
    columns = []
    for cases in results.values():
        std = np.concatenate([case.maps["uncertainty"] for case in cases])
        error = np.concatenate([case.error for case in cases])
        classes = np.array_split(np.argsort(std), N_CLASSES)
        columns += [[rms(std[index]) for index in classes], [rms(error[index]) for index in classes]]
    for number, values in enumerate(zip(*columns, strict=True), start=1):
        lines.append(f"| {number} | " + " | ".join(f"{100 * value:.2f} %" for value in values) + " |")
    return "\n".join(lines)


def rms(values: NDArray[np.float32]) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


if __name__ == "__main__":
    main()
