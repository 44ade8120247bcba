"""Fourier ring correlation of patches: known correlations, implanted structures, and noise."""

import numpy as np
import pytest
import torch

from cinerecon.metrics.frc import CUTOFF_THRESHOLD, scan_correlation
from cinerecon.metrics.frc import _ring_correlation as ring_correlation


def textured(n_frames=2, size=96, seed=0):
    """A positive image with structure everywhere, brighter at low frequencies as images are."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    shaped = np.fft.fft2(rng.standard_normal((n_frames, size, size))) / (frequency + 0.02)
    image = np.fft.ifft2(shaped).real
    return torch.from_numpy((image - image.min()) / (image.max() - image.min())).float()


def test_rings_correlate_as_numpy_computes_it():
    a, b = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0))
    f, g = (np.fft.fft2(x.numpy()) for x in (a, b))
    radius = np.round(np.hypot(*np.meshgrid(np.fft.fftfreq(16) * 16, np.fft.fftfreq(16) * 16)))
    expected = [
        (f * g.conj())[radius == r].real.sum()
        / np.sqrt((abs(f[radius == r]) ** 2).sum() * (abs(g[radius == r]) ** 2).sum())
        for r in range(1, 9)
    ]
    assert np.allclose(ring_correlation(a[None], b[None])[0], expected, atol=1e-5)


def test_an_image_correlates_with_itself_at_any_scale():
    image = textured()
    scan = scan_correlation(0.3 * image, image)
    assert torch.equal(scan.cutoff, torch.full_like(scan.cutoff, 0.5))
    assert scan.rate() == 0


@pytest.mark.parametrize("cutoff", [0.1, 0.2, 0.3])
def test_the_cutoff_is_where_frequencies_are_replaced(cutoff):
    image, other = textured(), textured(seed=1)
    frequency = torch.hypot(torch.fft.fftfreq(96)[:, None], torch.fft.fftfreq(96))
    mixed = torch.where(frequency < cutoff, torch.fft.fft2(image), torch.fft.fft2(other))
    scan = scan_correlation(torch.fft.ifft2(mixed).real.abs(), image)
    assert float(scan.cutoff.nanmedian()) == pytest.approx(cutoff, abs=0.03)  # a ring is 1 / 24
    assert (scan.rate() > 90) == (cutoff < CUTOFF_THRESHOLD)


def test_a_replaced_structure_is_located():
    image, other = textured(), textured(seed=1)
    wrong = image.clone()
    wrong[1, 40:64, 20:44] = other[1, 40:64, 20:44]
    scan = scan_correlation(wrong, image)
    inside = scan.at_pixels((96, 96))[1, 46:58, 26:38]
    assert float(inside.max()) < CUTOFF_THRESHOLD
    assert not scan.candidates[0].any()
    assert float(scan.at_pixels((96, 96))[1, :20].min()) == 0.5  # far away it follows the reference
    assert scan.rate((40, 64, 20, 44)) > scan.rate() > 0 == scan.rate((70, 96, 60, 96))


def test_noise_alone_is_rarely_a_candidate():
    image = textured(4)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    assert scan_correlation(image + 0.02 * noise, image).rate() < 1


def test_invented_detail_in_a_flat_region_counts_and_air_does_not():
    image = torch.zeros(1, 96, 96)
    image[:, 10:40, 10:40] = textured(1, 30)
    noise = 0.005 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).abs()
    scan = scan_correlation(image + noise, image + noise.flip(-1))
    assert scan.cutoff[0, 4:, 4:].isnan().all()
    assert scan.rate() == 0
    blob = torch.exp(-((torch.arange(96)[:, None] - 72.0) ** 2 + (torch.arange(96) - 72.0) ** 2) / 18)
    assert scan_correlation(image + noise + 0.5 * blob, image + noise.flip(-1)).rate((60, 84, 60, 84)) > 50


def test_small_images_have_no_patches():
    assert scan_correlation(torch.rand(1, 30, 96), torch.rand(1, 30, 96)) is None
    assert scan_correlation(torch.rand(1, 96, 96), torch.zeros(1, 96, 96)) is None
    assert scan_correlation(torch.rand(1, 40, 50), torch.rand(1, 40, 50)).size == 12
