"""Reference outputs of the authors' programs (in the repository), and published weights (not redistributed)."""

from collections.abc import Iterable, Mapping

import numpy as np
import pytest
import torch
from helpers import DATA, SHARED_DATA
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.io.tf_checkpoint import read_tf_checkpoint
from cinerecon.networks.blocks import ConvStack
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.operators import Encoding

GOLDEN, WEIGHTS = DATA / "golden", SHARED_DATA / "weights"
needs_weights = pytest.mark.skipif(
    not WEIGHTS.exists(), reason="published weights are not redistributed; expected in ../shared/weights"
)


def golden(name: str) -> Mapping[str, np.ndarray]:
    """Arrays of one case."""
    return np.load(GOLDEN / f"{name}.npz")


def golden_input(coils: str) -> tuple[Tensor, Encoding]:
    """K-space and encoding of the cases that end in ``sc`` (one coil) or ``mc`` (several)."""
    inputs, prefix = golden("inputs"), "mc_" if coils == "mc" else ""
    mask = torch.from_numpy(inputs[f"{prefix}mask"].astype(bool))[None, :, None]
    kspace = torch.from_numpy(inputs[f"{prefix}kspace"])
    if coils == "mc":
        return kspace.transpose(1, 2), Encoding(mask, torch.from_numpy(inputs["csm"])[:, :, 0])
    return kspace[:, :, None], Encoding(mask)


def uncentred_input(case: Mapping[str, np.ndarray]) -> tuple[Tensor, Encoding]:
    """K-space and encoding of cases from programs that store the zero frequency first; the image is the same."""
    mask = torch.fft.fftshift(torch.from_numpy(case["mask_uncentred"].astype(bool)), (-2, -1))
    image = torch.fft.ifft2(torch.from_numpy(case["kspace_uncentred"]), norm="ortho")
    return fft2c(image)[:, :, None], Encoding(mask[:, :, None])


def mean_square(image: Tensor, reference: np.ndarray) -> Tensor:
    """The loss of the programs: mean square over real and imaginary parts."""
    return (image - torch.from_numpy(reference)).abs().square().mean() / 2


def assert_gradient_norms(case: Mapping[str, np.ndarray], gradients: Mapping[str, Tensor]) -> None:
    """Compare norms of gradients by the names of the program, to 1e-3; those near zero are rounding errors."""
    assert gradients
    for name, gradient in gradients.items():
        key = f"gradnorm/{name}" if f"gradnorm/{name}" in case else f"grad/{name}"
        expected = abs(float(case[key]))
        assert abs(float(gradient.norm())) == pytest.approx(expected, rel=1e-3, abs=1e-7), name


def released_case(coils: str) -> CineData:
    """The data of the classical cases in double precision; `golden_input` returns single precision."""
    inputs, several = golden("inputs"), coils == "mc"
    mask = torch.from_numpy(inputs["mc_mask" if several else "mask"].astype(bool))[:, None]
    csm = torch.from_numpy(inputs["csm"][0, :, 0]).to(torch.complex128) if several else None
    image = torch.from_numpy(inputs["image"][0]).to(torch.complex128)
    return CineData(Encoding(mask, csm, dtype=torch.complex128).forward(image), mask, csm)


def published(name: str) -> dict[str, np.ndarray]:
    """Variables of a published TensorFlow checkpoint, ``folder/prefix``; skips the test if they are not available."""
    if not WEIGHTS.exists():
        pytest.skip("published weights are not redistributed; expected in ../shared/weights")
    return read_tf_checkpoint(WEIGHTS / name)


@torch.no_grad()
def copy_kernels(stack: ConvStack, kernels: Iterable[np.ndarray]) -> None:
    """Fill a stack with TensorFlow kernels ``(frames, y, x, in, out)``."""
    for convolution, kernel in zip(stack.convolutions, kernels, strict=True):
        convolution.weight.copy_(torch.tensor(kernel).permute(4, 3, 0, 1, 2))
