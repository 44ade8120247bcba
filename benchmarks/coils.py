"""Coil maps: how much of the truth they keep, and how long they take.

python benchmarks/coils.py [folder with series as .npz, `magnitude` (frames, y, x)]

Quality is measured in the image. True coil images C m are projected onto the estimated maps S; what is lost,
(1 - S S^H) C m, is the lower limit of the error of any reconstruction with these maps. PSNR of that residual, of the
magnitude |S^H C m|, and of the residual where the image moves [dB, peak max|m|].
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.coils.espirit import espirit
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.sampling import parse_mask
from cinerecon.simulation.phantom import draw_coil_maps, draw_phantom, draw_phase

MATRIX, N_FRAMES, N_COILS = (160, 192), 25, 8


def load_series(path: Path) -> Tensor:
    """A measured magnitude cine, cropped to the middle, with a smooth phase, ``(frames, y, x)``, max 1."""
    magnitude = torch.from_numpy(np.load(path)["magnitude"][:N_FRAMES].astype(np.float32))
    y, x = ((n - m) // 2 for n, m in zip(magnitude.shape[1:], MATRIX, strict=True))
    magnitude = magnitude[:, y : y + MATRIX[0], x : x + MATRIX[1]]
    return torch.polar(magnitude / magnitude.max(), draw_phase(0, len(magnitude), MATRIX))


def decibel(energy: Tensor) -> float:
    return -10 * float(torch.log10(energy.clamp_min(1e-12)))


def lower_limits(maps: Tensor, csm: Tensor, image: Tensor) -> tuple[float, float, float]:
    """PSNR of the residual, of the magnitude, and of the residual where the image moves [dB]."""
    inner = (maps.conj() * csm).sum(0)
    lost = (csm - maps * inner).abs().square().sum(0)
    energy, motion = image.abs().square().mean(0), image.abs().std(0)
    moving = motion > 0.25 * motion.max()
    peak = image.abs().max() ** 2
    magnitude = (1 - inner.abs()).square() * energy
    residual = lost * energy
    return decibel(residual.mean() / peak), decibel(magnitude.mean() / peak), decibel(residual[moving].mean() / peak)


def measure_quality(name: str, image: Tensor) -> None:
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
            values = "".join(f"{value:11.1f}" for value in lower_limits(maps, csm, image))
            print(f"{name:16}{noise:6.2f}  {method:8}{values}{seconds:9.2f}", flush=True)


def measure_speed() -> None:
    """12 coils, 192 x 192, against SigPy in the same run."""
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
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "shared" / "real"
    print("Gaussian 8x with 4 central lines, maps from the time average")
    print(f"{'case':16}{'noise':>6}  {'maps':8}{'residual':>11}{'magnitude':>11}{'moving':>11}{'seconds':>9}")
    for path in sorted(folder.glob("*.npz")):
        if path.stem in ("sax_mid", "sax_base", "lax_4ch"):
            measure_quality(path.stem, load_series(path))
    measure_quality("phantom", draw_phantom(0))
    measure_speed()


if __name__ == "__main__":
    main()
