"""Coil maps: lower limit of the error that they cause, and time of their estimation.

    python benchmarks/coils.py --series FOLDER

True coil images C m are projected onto the estimated maps S. The remainder (1 - S S^H) C m is the lowest error that any
reconstruction with these maps can have. The PSNR of this remainder, of the magnitude |S^H C m|, and of the remainder in
moving pixels are printed [dB, peak max|m|].
"""

import time

import torch
from cases import Sizes, draw_image
from command import make_parser, run_benchmark, series_folder
from torch import Tensor

from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.coils.espirit import espirit
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.sampling import parse_mask
from cinerecon.simulation.phantom import draw_coil_maps, draw_phantom

SIZES = Sizes(frames=25, matrix=(160, 192))
SERIES = ("lax_4ch", "sax_base", "sax_mid")
N_COILS = 8


def decibel(energy: Tensor) -> float:
    return -10 * float(torch.log10(energy.clamp_min(1e-12)))


def lowest_errors(maps: Tensor, csm: Tensor, image: Tensor) -> tuple[float, float, float]:
    """PSNR of the remainder, of the magnitude, and of the remainder in moving pixels [dB]."""
    inner = (maps.conj() * csm).sum(0)
    lost = (csm - maps * inner).abs().square().sum(0)
    energy, motion = image.abs().square().mean(0), image.abs().std(0)
    moving = motion > 0.25 * motion.max()
    peak = image.abs().max() ** 2
    magnitude = (1 - inner.abs()).square() * energy
    remainder = lost * energy
    return decibel(remainder.mean() / peak), decibel(magnitude.mean() / peak), decibel(remainder[moving].mean() / peak)


def measure_quality(name: str, image: Tensor) -> None:
    """Print a line for each noise level and method."""
    csm = draw_coil_maps(1, N_COILS, (image.shape[-2], image.shape[-1]))
    kspace = fft2c(image[:, None] * csm)
    generator = torch.Generator().manual_seed(0)
    mask = torch.from_numpy(parse_mask("gaussian:8,acs=4").draw(len(image), *image.shape[-2:], 0))
    for noise in (0.0, 0.03):
        noisy = kspace + noise * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
        for method in ("smooth", "espirit", "walsh"):
            start = time.perf_counter()
            maps = estimate_csm(noisy * mask, mask, method)  # type: ignore[arg-type]
            seconds = time.perf_counter() - start
            values = "".join(f"{value:11.1f}" for value in lowest_errors(maps, csm, image))
            print(f"{name:16}{noise:6.2f}  {method:8}{values}{seconds:9.2f}", flush=True)


def measure_speed() -> None:
    """Print the time of ESPIRiT for 12 coils and 192 x 192 pixels, here and in SigPy."""
    from sigpy.mri.app import EspiritCalib

    image = draw_phantom(3)[0]
    kspace = fft2c(image * draw_coil_maps(2, 12, (image.shape[-2], image.shape[-1])))
    seconds = []
    for estimate in (lambda: espirit(kspace), lambda: EspiritCalib(kspace.numpy(), show_pbar=False).run()):
        start = time.perf_counter()
        estimate()
        seconds.append(time.perf_counter() - start)
    shape = " x ".join(map(str, kspace.shape))
    print(f"\nESPIRiT, {shape}: {seconds[0]:.2f} s, SigPy {seconds[1]:.2f} s, ratio {seconds[1] / seconds[0]:.1f}")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--series", type=series_folder, help=f"folder of measured series: {', '.join(SERIES)} are used")
    folder = parser.parse_args().series
    print("Gaussian 8x with 4 central lines")
    print(f"{'case':16}{'noise':>6}  {'maps':8}{'remainder':>11}{'magnitude':>11}{'moving':>11}{'seconds':>9}")
    for name in SERIES if folder else ():
        measure_quality(name, draw_image(name, folder, SIZES))
    measure_quality("phantom", draw_phantom(0))
    measure_speed()


if __name__ == "__main__":
    run_benchmark(main)
