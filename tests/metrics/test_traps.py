"""Common mistakes in published scores, each with its number and the right one."""

import numpy as np
import pytest
import torch
from golden import golden

from cinerecon.metrics import find_profile, measure, nmse, psnr, ssim


@pytest.fixture
def reference():
    """A bright disc that grows and shrinks on a dim ground, peak 1, ``(frames, y, x)``."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 48), torch.linspace(-1, 1, 60), indexing="ij")
    radius = 0.4 + 0.15 * torch.cos(2 * torch.pi * torch.arange(6) / 6)[:, None, None]
    return (0.2 + 0.8 * torch.sigmoid((radius - (y**2 + x**2).sqrt()) / 0.05)).double()


@pytest.fixture
def image(reference):
    """The truth with noise of 2 % of its peak: PSNR of 34 dB."""
    return reference + 0.02 * torch.randn(reference.shape, generator=torch.Generator().manual_seed(0)).double()


def test_a_wrong_data_range_makes_ssim_near_perfect(reference, image):
    noisy = reference + 5 * (image - reference)
    dim, dim_truth = 0.03 * noisy, 0.03 * reference  # the peak of images whose k-space has the maximum 1
    right, wrong = ssim(dim, dim_truth), ssim(dim, dim_truth, data_range=1.0)
    assert right == pytest.approx(ssim(noisy, reference))
    assert right < 0.7
    assert wrong > 0.98


def test_the_data_range_of_the_released_programs_in_numbers():
    stored = golden("metrics")
    image, reference = (torch.from_numpy(stored[f"jotlas_mc/{name}"])[0] for name in ("recon", "label"))
    assert ssim(image, reference) == pytest.approx(0.9640, abs=5e-5)
    assert ssim(image, reference, data_range=1.0) == pytest.approx(0.9963, abs=5e-5)
    both = measure(find_profile("paper-pass"), image, reference, n_coils=6, kspace_peak=1.0)
    assert (both["ssim"], both["ssim_fixed"]) == pytest.approx((0.9640, 0.9963), abs=5e-5)


def test_own_maximum_hides_a_wrong_scale(reference):
    wrong = 1.2 * reference
    assert nmse(wrong, reference) == pytest.approx(0.04)
    assert psnr(wrong, reference) < 25
    assert measure(find_profile("cmrxrecon23"), wrong, reference)["nmse"] == pytest.approx(0, abs=1e-12)


def test_one_hot_pixel_under_own_maximum(reference, image):
    hot = image.clone()
    hot[:, 20, 30] = 2 * image.amax((-2, -1))
    by_series = [measure(find_profile("cine"), x, reference)["psnr"] for x in (image, hot)]
    by_own_maximum = [measure(find_profile("cmrxrecon23"), x, reference)["psnr"] for x in (image, hot)]
    assert by_series[0] - by_series[1] < 4
    assert by_own_maximum[0] - by_own_maximum[1] > 15
    by_percentile = [measure(find_profile("cmrxrecon25"), x, reference)["psnr"] for x in (image, hot)]
    assert by_percentile[0] - by_percentile[1] < 5


def test_one_hot_pixel_halves_an_otherwise_perfect_image(reference):
    hot = reference.clone()
    hot[:, 20, 30] = 2 * reference.amax((-2, -1))
    found = measure(find_profile("cmrxrecon23"), hot, reference)
    assert found["nmse"] == pytest.approx(0.25, abs=0.01)
    centre = reference[:3, 12:36, 10:50] / reference[:3, 12:36, 10:50].amax((-2, -1), keepdim=True)
    assert found["psnr"] == pytest.approx(float((-10 * (centre**2 / 4).mean((-2, -1)).log10()).mean()), abs=0.1)


def test_swapped_arguments_take_the_peak_from_the_image(reference, image):
    bright = image.clone()
    bright[0, 24, 30] = 1.5
    right, swapped = psnr(bright, reference), psnr(reference, bright)
    assert swapped - right == pytest.approx(20 * np.log10(1.5 / float(reference.max())), abs=1e-9)
    assert nmse(0 * reference, reference) == 1
    assert nmse(reference, 0 * reference) == float("inf")


@pytest.mark.parametrize("case", ["zf_sc", "jotlas_sc"])
def test_the_peak_of_the_reconstruction_in_numbers(case):
    stored = golden("metrics")
    image, reference = (torch.from_numpy(stored[f"{case}/{name}"])[0] for name in ("recon", "label"))
    swapped = psnr(reference, image)
    assert swapped == pytest.approx(float(stored[f"{case}/PSNR_t2lr_peak_from_recon"]), abs=1e-4)
    assert psnr(image, reference) == pytest.approx(float(stored[f"{case}/PSNR_jotlas"]), abs=1e-4)
    assert abs(swapped - psnr(image, reference)) > 0.01
