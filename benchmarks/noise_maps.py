"""Noise maps from pseudo-replicas compared with the standard deviation over independent measurements.

    python benchmarks/noise_maps.py --write

The map of 16 replicas is divided by the standard deviation, in the direction of the mean image, of 200 reconstructions
of the same phantom scan with different noise. For each method, the median of this ratio over the support and the
standard deviation of its logarithm are printed; the 200 measurements contribute 0.05 to the latter. With ``--write``
the table is written to `docs/how-to/noise-maps.md`.
"""

from dataclasses import replace
from pathlib import Path

import torch
from command import make_parser, run_benchmark
from pages import markdown_head, markdown_row, write_section
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
    """A noise-free scan of a phantom, with the noise level of the measurements."""
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
    """A simulated measurement: the case with noise."""
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
    parser = make_parser(__doc__, writes="the table to the page")
    arguments = parser.parse_args()
    data = make_case()
    lines = [markdown_head(("method", "median", "deviation"))]
    for name in METHODS:
        median, deviation = compare(name, data)
        lines.append(markdown_row((f"`{name}`", f"{median:.2f}", f"{deviation:.2f}")))
        print(lines[-1], flush=True)
    if arguments.write:
        write_section("noise-maps", "\n".join(lines), PAGE)


if __name__ == "__main__":
    run_benchmark(main)
