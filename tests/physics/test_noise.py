"""The noise level that undersampled data show, against the noise that was added."""

import numpy as np
import pytest
import torch

from cinerecon.physics.fourier import fft2c
from cinerecon.physics.noise import noise_level
from cinerecon.physics.sampling import parse_mask
from cinerecon.simulation.phantom import PhantomConfig, draw_coil_maps, draw_phantom

SIZES = (16, 128, 128)


@pytest.fixture(scope="module")
def image():
    """Fully resolved, of a brightness near 1."""
    image = draw_phantom(5, PhantomConfig(n_frames=SIZES[0], matrix=SIZES[1:]))
    return image / torch.quantile(image.mean(0).abs(), 0.995)


def white(shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


def measure(image, pattern, sigma, n_coils=1):
    mask = torch.from_numpy(parse_mask(pattern).draw(*SIZES, np.random.default_rng(0)))
    maps = draw_coil_maps(0, n_coils, SIZES[1:]) if n_coils > 1 else torch.ones(1, *SIZES[1:])
    kspace = fft2c(image[:, None] * maps)
    return (kspace + sigma * white(kspace.shape)) * mask, mask


@pytest.mark.parametrize("pattern", ["gaussian:8", "equispaced:8", "equispaced:4"])
@pytest.mark.parametrize(("n_coils", "sigma"), [(6, 0.01), (6, 0.06), (1, 0.02), (1, 0.06)])
def test_the_level_is_that_of_the_noise(image, pattern, n_coils, sigma):
    kspace, mask = measure(image, pattern, sigma, n_coils)
    assert float(noise_level(kspace, mask)) == pytest.approx(sigma, rel=0.17)


@pytest.mark.parametrize("pattern", ["radial:16", "vds:8"])
def test_single_points_show_the_level_of_strong_noise_and_bound_that_of_weak(image, pattern):
    kspace, mask = measure(image, pattern, 0.06)
    assert float(noise_level(kspace, mask)) == pytest.approx(0.06, rel=0.2)
    kspace, mask = measure(image, pattern, 0.005)
    assert 0.005 < float(noise_level(kspace, mask)) < 0.04


@pytest.mark.parametrize("pattern", ["gaussian:8", "radial:16"])
def test_white_noise_has_its_own_level_and_the_level_scales(pattern):
    mask = torch.from_numpy(parse_mask(pattern).draw(*SIZES, np.random.default_rng(0)))
    kspace = 3.0 * white((16, 2, 128, 128)) * mask
    level = float(noise_level(kspace, mask))
    assert level == pytest.approx(3.0, rel=0.05)
    assert float(noise_level(10 * kspace, mask)) == pytest.approx(10 * level, rel=1e-4)


def test_batches_equal_cine_by_cine(image):
    (first, mask), (second, _) = measure(image, "gaussian:8", 0.02), measure(image, "gaussian:8", 0.05)
    both = noise_level(torch.stack([first, second]), mask.expand(2, *mask.shape))
    assert both.shape == (2,)
    assert torch.equal(both, torch.stack([noise_level(first, mask), noise_level(second, mask)]))


def test_edges_that_were_not_measured_do_not_count(image):
    """Zeros at the rim of k-space, as of an asymmetric echo and of fewer lines than the matrix has."""
    kspace, mask = measure(image, "gaussian:4", 0.03)
    kspace[..., :40] = 0
    kspace[..., :16, :] = 0
    kspace[..., -16:, :] = 0
    assert float(noise_level(kspace, mask)) == pytest.approx(0.03, rel=0.2)


def with_spikes(kspace, mask, n_spikes):
    """Single samples, in outer lines and anywhere, as bright as the centre of k-space."""
    kspace, generator = kspace.clone(), torch.Generator().manual_seed(2)
    for frame in range(n_spikes):
        lines = mask[frame, 0, :, 0].nonzero()[:, 0]
        line = lines[-1] if frame % 2 else lines[int(torch.randint(len(lines), (1,), generator=generator))]
        column = int(torch.randint(kspace.shape[-1], (1,), generator=generator))
        kspace[frame, :, line, column] += kspace.abs().max()
    return kspace


@pytest.mark.parametrize("pattern", ["gaussian:4", "equispaced:4"])
@pytest.mark.parametrize(("n_coils", "sigma"), [(1, 0.02), (6, 0.0), (6, 0.02)])
@pytest.mark.parametrize("n_spikes", [2, 8])
def test_spikes_and_a_corrupted_frame_do_not_change_the_level(image, pattern, n_coils, sigma, n_spikes):
    """A single sample raised it by a factor of up to several hundred."""
    kspace, mask = measure(image, pattern, sigma, n_coils)
    level = float(noise_level(kspace, mask))
    assert float(noise_level(with_spikes(kspace, mask, n_spikes), mask)) == pytest.approx(level, rel=0.2)
    interference = kspace.clone()
    interference[3] += kspace.abs().max() * white(kspace[3].shape) * mask[3]
    assert float(noise_level(interference, mask)) == pytest.approx(level, rel=0.2)


def test_fully_sampled_data_with_a_spike(image):
    """The static part, which is subtracted, spreads a spike over all frames."""
    kspace = fft2c(image[:, None]) + 0.02 * white((16, 1, 128, 128))
    mask = torch.ones(16, 1, 128, 1, dtype=torch.bool)
    spiked = with_spikes(kspace, mask, 6)
    assert float(noise_level(spiked, mask)) == pytest.approx(float(noise_level(kspace, mask)), rel=0.08)


def test_corners_that_were_not_measured_are_not_taken_for_spikes(image):
    kspace, mask = measure(image, "gaussian:4", 0.03, 6)
    y, x = (torch.arange(128) / 64 - 1 for _ in range(2))
    kspace = kspace * (torch.hypot(y[:, None], x) < 1)
    assert float(noise_level(kspace, mask)) == pytest.approx(0.03, rel=0.2)


def test_the_level_is_small_without_noise_and_zero_without_signal(image):
    kspace, mask = measure(image, "gaussian:8", 0.0)
    assert float(noise_level(kspace, mask)) < 0.01
    assert float(noise_level(torch.zeros_like(kspace), mask)) == 0
