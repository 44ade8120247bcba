"""Remarks on images that differ systematically from the reference, and none on noisy, blurred or aliased ones."""

import pytest
import torch

from cinerecon.evaluation.remarks import frame_remarks, intensity_remarks, pixel_remarks, pixel_size_remarks
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_cine


@pytest.fixture(scope="module")
def reference():
    """A simulated cine with noise, ``(frames, y, x)``."""
    (data,) = simulate_cine(SimulateConfig(n_frames=10, ky=64, kx=56, n_coils=1, seed=4))
    return ifft2c(data.kspace)[:, 0].abs()


def remarks(image, reference):
    return [*pixel_remarks(image, reference), *frame_remarks(image, reference), *intensity_remarks(image, reference)]


def noisy(image, level, seed=0):
    noise = torch.randn(image.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))
    return (image + level * image.max() * noise).abs()


@pytest.mark.parametrize("level", [0.002, 0.02, 0.1, 0.4])
def test_noise_is_not_reported(reference, level):
    assert not remarks(noisy(reference, level), reference)


@pytest.mark.parametrize("undersample", ["gaussian:8", "equispaced:4,acs=8", "kt-equispaced:4"])
def test_aliasing_and_view_sharing_are_not_reported(reference, undersample):
    (data,) = simulate_cine(SimulateConfig(n_frames=10, ky=64, kx=56, n_coils=1, seed=4, undersample=undersample))
    mask = data.mask[:, 0]
    kspace = fft2c(reference.to(torch.complex64)) * mask
    average = kspace.sum(0) / mask.sum(0).clamp_min(1)
    for image in (ifft2c(kspace), ifft2c(torch.where(mask, kspace, average))):
        assert not remarks(image.abs(), reference)


@pytest.mark.parametrize("n_lines", [8, 16, 32])
def test_blur_in_space_and_time_is_not_reported(reference, n_lines):
    kspace = fft2c(reference.to(torch.complex64))
    kspace[:, : 32 - n_lines // 2] = kspace[:, 32 + n_lines // 2 :] = 0
    assert not remarks(ifft2c(kspace).abs(), reference)
    assert not remarks((reference.roll(1, 0) + reference + reference.roll(-1, 0)) / 3, reference)


FAULTS = {
    "frames in another order": lambda image: image[torch.tensor([0, 2, 4, 6, 8, 1, 3, 5, 7, 9])],
    "frames have different scales": lambda image: image * torch.linspace(0.5, 1.5, 10)[:, None, None],
    "frames 4, 5 of 10: copies of other frames": lambda image: image[torch.tensor([0, 1, 2, 3, 3, 3, 6, 7, 8, 9])],
    "intensities are not proportional": lambda image: image.sqrt(),
    "clipped": lambda image: image.clamp(max=0.3 * float(image.max())),
    "the images are zero where the reference has": lambda image: image * (torch.arange(56) > 20),
    "the maximum of the images is": lambda image: image.index_fill(2, torch.tensor([5]), 0).index_put(
        (torch.tensor(2), torch.tensor(30), torch.tensor(5)), 30 * image.max()
    ),
}


@pytest.mark.parametrize("text", FAULTS)
def test_systematic_differences_are_named(reference, text):
    found = remarks(FAULTS[text](noisy(reference, 0.01)), reference)
    assert any(text in remark for remark in found), found


def test_the_brightest_pixel_of_a_small_object_is_not_clipped():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    blob = torch.exp(-((y - 20.3) ** 2 + (x - 19.6) ** 2) / 10) * torch.tensor([0.8, 0.9, 1.0])[:, None, None]
    stored = (4095 * blob).round()
    assert int((stored > 0).sum()) < 1000 and not remarks(stored, blob)


def test_offsets_are_not_proportional(reference):
    image = noisy(reference, 0.005) + 0.2 * reference.max()
    assert any("intensities are not proportional" in text for text in remarks(image, reference))


def test_a_masked_reference_and_its_outliers_are_named(reference):
    image, masked, outlier = noisy(reference, 0.01), reference.clone(), reference.clone()
    masked[:, :32] = 0
    outlier[3, 20, 20] = 40 * reference.max()
    assert any(text.startswith("the reference is zero where the images have") for text in remarks(image, masked))
    assert any(text.startswith("the maximum of the reference is") for text in remarks(image, outlier))


def test_the_time_as_last_axis_is_named(reference):
    image, other = (series.permute(1, 2, 0)[:, :, :8].contiguous() for series in (noisy(reference, 0.01), reference))
    assert "64 frames of 56 x 8 pixels: is time the last axis?" in remarks(image, other)[0]


def test_static_references_may_have_equal_frames(reference):
    static = reference[:1].repeat(10, 1, 1)
    assert not list(frame_remarks(noisy(static, 0.01), static))
    assert not [text for text in pixel_remarks(static * 1.1, static) if "copies" in text]


def test_different_pixel_sizes_are_reported():
    (remark,) = pixel_size_remarks((1.5, 2.0), (1.5, 2.04))
    assert remark == (
        "pixels (x, y) are 2 x 1.5 mm, those of the reference 2.04 x 1.5 mm: another field of view, or a wrong header?"
    )
    assert [*pixel_size_remarks((2.0, 1.5), (1.5, 2.0))], "y and x swapped"


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ((1.5, 2.0), (1.51, 2.01)),
        (None, (1.5, 2.0)),
        ((1.5, 2.0), None),
        ((1.0000001, 1.0), (1.5, 2.0)),
        ((1.5, 2.0), (1.0, 1.0)),
    ],
    ids=["rounding", "images unknown", "reference unknown", "images not set", "reference not set"],
)
def test_equal_or_unknown_pixel_sizes_are_not_reported(own, other):
    assert not [*pixel_size_remarks(own, other)]
