"""Numerical checks of an installation: device, operators, and a phantom round trip."""

import time
from collections.abc import Iterator

import torch

from cinerecon.cine import CineData, as_tensor
from cinerecon.machine import peak_memory_mb, pick_device
from cinerecon.methods.table import load_method
from cinerecon.metrics.measures import compare
from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.fourier import fft2c, ifft2c, phasor
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import parse_mask
from cinerecon.simulation.phantom import PhantomConfig, draw_coil_maps, draw_phantom

Check = tuple[str, str, bool | None]
"""Name and text of a line, and whether the result is correct; None if nothing is compared."""
TOLERANCE = 1e-5
"""Largest relative difference due to single precision."""
MIN_PSNR_DB = 50.0
"""Smallest PSNR of the round trip. The correct result is 55.0 dB; coil maps shifted by one pixel give 42 dB, two coils
exchanged or an image shifted by half a pixel at most 30 dB."""


def examine_computation() -> Iterator[Check]:
    """Yield the results of the checks one by one, fast checks first."""
    device = pick_device("auto")
    name = torch.cuda.get_device_name() if device.startswith("cuda") else f"{torch.get_num_threads()} threads"
    yield "device", f"{device}, {name}", None
    yield _fft_check()
    yield _adjoint_check(device)
    yield _round_trip(device)


def _fft_check() -> Check:
    """Compare the Fourier transform with its matrix, for odd and even sizes."""
    image = torch.randn(15, 16, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    dft = [_dft_matrix(n) for n in image.shape]
    expected = dft[0] @ image @ dft[1].T
    error = _relative_error(fft2c(image), expected) + _relative_error(ifft2c(expected), image)
    return "Fourier", f"relative error {error:.1e}", error < TOLERANCE


def _dft_matrix(n: int) -> torch.Tensor:
    index = torch.arange(n, dtype=torch.float64) - n // 2
    return phasor(-2 * torch.pi * torch.outer(index, index) / n).div(n**0.5).to(torch.complex64)


def _adjoint_check(device: str) -> Check:
    """Compare <A x, y> and <x, A^H y> for random numbers."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 48, 49, dtype=torch.complex64, generator=generator)
    y = torch.randn(5, 4, 48, 49, dtype=torch.complex64, generator=generator)
    mask = torch.rand(5, 1, 48, 1, generator=generator) < 0.4
    encoding = Encoding(mask, draw_coil_maps(0, 4, (48, 49))).to(device)
    x, y = x.to(device), y.to(device)
    left = torch.vdot(encoding.forward(x).ravel(), y.ravel())
    right = torch.vdot(x.ravel(), encoding.adjoint(y).ravel())
    error = float((left - right).abs() / left.abs())
    return "adjoint", f"relative error {error:.1e}", error < 10 * TOLERANCE


def _round_trip(device: str) -> Check:
    """Sample a phantom with 8 coils at 3x, reconstruct it with CG-SENSE, and compare it with the true image."""
    start = time.perf_counter()
    n_frames, (y, x) = 6, (96, 96)
    reference = draw_phantom(0, PhantomConfig(n_frames=n_frames, matrix=(y, x)))
    csm = draw_coil_maps(0, 8, (y, x))
    mask = as_tensor(parse_mask("kt-equispaced:3,acs=16").draw(n_frames, y, x, seed=0))
    kspace = Encoding(mask, csm).forward(reference)
    data = CineData(kspace, mask, estimate_csm(kspace, mask)).to(device)
    method = load_method("cgsense", device=device)
    image = method(data).cpu()
    quality = compare(image, reference)["psnr"]
    seconds = time.perf_counter() - start
    text = f"{quality:.1f} dB on {n_frames} frames of {y} x {x}, {seconds:.1f} s, peak {peak_memory_mb():.0f} MB"
    return "phantom", text, quality > MIN_PSNR_DB


def _relative_error(result: torch.Tensor, expected: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(result - expected) / torch.linalg.vector_norm(expected))
