"""Noise maps of pseudo-replicas against the spread of many independent measurements.

    python benchmarks/noise_maps.py --write

On a phantom, for each method: the map of 16 replicas over the standard deviation of 200 reconstructions of the same
noise-free scan with other noise, in the direction of their mean, in the support. Printed are the median of the ratio
and the standard deviation of its logarithm; the 200 measurements themselves contribute 0.05 to that. With ``--write``
the table is put into `docs/how-to/noise-maps.md`.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from report import write_section
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.base import Reconstructor, make_encoding
from cinerecon.methods.table import load_method
from cinerecon.physics.snr import support_of
from cinerecon.reconstruction.noise_maps import map_noise
from cinerecon.simulation.scan import SimulateConfig, simulate_cine

PAGE = Path(__file__).parents[1] / "docs/how-to/noise-maps.md"
METHODS = ("viewshared", "ktslr", "dccnn", "slrnet", "stvarnet")
NOISE = 0.01
N_MEASURED, N_REPLICAS = 200, 16


def make_case() -> CineData:
    """A noise-free scan of a phantom with its noise level."""
    config = SimulateConfig(seed=7, n_frames=8, ky=64, kx=64, n_coils=4, noise=0, undersample="gaussian:4,acs=4")
    (data,) = simulate_cine(config)
    assert data.reference is not None
    peak = float(data.reference.abs().max())
    return replace(data, noise_std=torch.full((data.n_frames, 1, 1, 1), NOISE * peak))


def measured_noise(method: Reconstructor, data: CineData) -> tuple[Tensor, Tensor]:
    """Standard deviation over independent measurements in the direction of their mean, and the support."""
    images = [method.reconstruct(with_noise(data, seed)).image for seed in range(N_MEASURED)]
    series = torch.stack(images)
    mean = series.mean(0)
    return ((series - mean) * torch.sgn(mean).conj()).real.std(0), support_of(mean)


def with_noise(data: CineData, seed: int) -> CineData:
    """A measurement of the case."""
    assert data.noise_std is not None
    noise = torch.randn(data.kspace.shape, dtype=data.kspace.dtype, generator=torch.Generator().manual_seed(seed))
    assert data.reference is not None
    clean = make_encoding(data).forward(data.reference)
    return replace(data, kspace=clean + noise * data.noise_std * data.mask)


@torch.inference_mode()
def compare(name: str, data: CineData) -> tuple[float, float]:
    """Median ratio of map and measured noise, and standard deviation of its logarithm, in the support."""
    method = load_method(name)
    measured, support = measured_noise(method, data)
    measurement = with_noise(data, N_MEASURED)
    image = method.reconstruct(measurement).image
    ratio = (map_noise(measurement, method, image, n_replicas=N_REPLICAS).std / measured)[:, support]
    return float(ratio.median()), float(ratio.log().std())


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    arguments = parser.parse_args()
    data = make_case()
    lines = ["| method | median | deviation |", "|---|---|---|"]
    for name in METHODS:
        median, spread = compare(name, data)
        lines.append(f"| `{name}` | {median:.2f} | {spread:.2f} |")
        print(lines[-1], flush=True)
    if arguments.write:
        write_section("noise-maps", "\n".join(lines), PAGE)


if __name__ == "__main__":
    main()
