"""Noise of images: formulas and pseudo-replicas against the spread of many independent measurements."""

from dataclasses import replace

import pytest
import torch
from helpers import with_mask

from cinerecon.cine import CineData
from cinerecon.methods.base import make_encoding
from cinerecon.methods.classical.admm_methods import KtSlr
from cinerecon.methods.classical.config import CgSenseConfig, KtSlrConfig
from cinerecon.methods.classical.linear import CgSense, ViewShared, ZeroFilled
from cinerecon.physics.snr import g_factor, pseudo_replicas, snr_units, support_of

N_MEASURED = 200
"""Measurements whose spread is the truth: a standard deviation of it has a standard error of 1 / sqrt(2 N) = 5 %."""
NOISE = 0.01


def regular_mask(n_frames, n_lines, acceleration):
    """Every n-th line, shifted from frame to frame."""
    lines = torch.arange(n_lines) + torch.arange(n_frames)[:, None]
    return (lines % acceleration == 0)[:, None, :, None]


def measured_noise(method, data, noise_std, n=N_MEASURED):
    """Standard deviation over independent measurements, in the direction of their mean, and the support."""
    generator = torch.Generator().manual_seed(5)
    clean = make_encoding(data).forward(data.reference)
    noise = torch.randn(n, *data.kspace.shape, dtype=data.kspace.dtype, generator=generator)
    mask, csm = (None if part is None else part.expand(n, *part.shape) for part in (data.mask, data.csm))
    images = method(CineData(clean + noise * noise_std * data.mask, mask, csm))
    mean = images.mean(0)
    return ((images - mean) * torch.sgn(mean).conj()).real.std(0), support_of(mean)


def agreement(noise, measured, support):
    """Median ratio, and standard deviation of the logarithm of the ratio, in the support."""
    ratio = (noise / measured)[:, support]
    return float(ratio.median()), float(ratio.log().std())


@pytest.fixture
def noisy_cine(make_cine):
    """A cine whose samples have noise of known variance; lines near the centre are measured three times."""

    def make(mask=None, averaged=False, **options):
        data = make_cine(**{"n_frames": 3, "per_frame": 9} | options)
        data = data if mask is None else with_mask(data, mask)
        noise_std = torch.full((data.n_frames, 1, data.matrix[0], 1), NOISE)
        if averaged:
            noise_std[:, :, 8:16] /= 3**0.5
        noise = torch.randn(data.kspace.shape, dtype=data.kspace.dtype, generator=torch.Generator().manual_seed(3))
        kspace = make_encoding(data).forward(data.reference) + noise * noise_std * data.mask
        return replace(data, kspace=kspace, noise_std=noise_std)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("sampling", ["regular", "random"])
@pytest.mark.parametrize("n_coils", [1, 4])
@pytest.mark.parametrize("method", [ZeroFilled(), CgSense(), CgSense(CgSenseConfig(n_iterations=300))])
def test_a_formula_agrees_with_many_measurements(noisy_cine, method, n_coils, sampling, averaged):
    data = noisy_cine(regular_mask(3, 24, 2) if sampling == "regular" else None, averaged, n_coils=n_coils)
    measured, support = measured_noise(method, data, data.noise_std)
    median, spread = agreement(method.noise_std(data), measured, support)
    assert median == pytest.approx(1, abs=0.03)
    assert spread < 1.3 / (2 * N_MEASURED) ** 0.5  # no more than that of the measured standard deviation


def test_zero_filling_of_sampled_points_has_a_formula(make_cine):
    data = make_cine()
    points = torch.rand(8, 1, 24, 21, generator=torch.Generator().manual_seed(0)) < torch.linspace(0.2, 0.9, 21)
    data = replace(data, mask=points, kspace=data.kspace * points, noise_std=torch.full((8, 1, 1, 1), NOISE))
    noise = ZeroFilled().noise_std(data)
    expected = NOISE * (points.float().mean((1, 2, 3)) / 2).sqrt()
    assert torch.allclose(noise, expected[:, None, None].expand_as(noise), rtol=1e-4)
    assert CgSense().noise_std(data) is None


def test_the_g_factor_of_least_squares_is_that_of_sense(make_cine):
    data = make_cine(n_frames=2, n_coils=4, matrix=(24, 20))
    mask = regular_mask(2, 24, 2)
    data = replace(with_mask(data, mask), noise_std=torch.full((2, 1, 1, 1), NOISE))
    config = CgSenseConfig(weight_tikhonov=0, n_iterations=300, tolerance=1e-9)
    data = replace(data, kspace=make_encoding(data).forward(data.reference))
    factor = g_factor(CgSense(config).noise_std(data), mask, data.noise_std)[0]
    for y, x in ((3, 4), (10, 11), (20, 19)):  # Pruessmann 1999, eq. 23: two aliased voxels, half a field of view apart
        maps = data.csm[:, [y, (y + 12) % 24], x].to(torch.complex128)
        gram = maps.mH @ maps
        expected = (torch.linalg.inv(gram)[0, 0].real * gram[0, 0].real).sqrt()
        assert float(factor[y, x]) == pytest.approx(float(expected), rel=0.01)


def test_a_full_scan_has_the_noise_of_its_samples(make_cine):
    data = make_cine(per_frame=None)
    data = replace(data, noise_std=torch.full((8, 1, 1, 1), NOISE))
    for method in (ZeroFilled(), CgSense(CgSenseConfig(weight_tikhonov=0))):
        noise = method.noise_std(data)
        assert torch.allclose(noise, torch.tensor(NOISE / 2**0.5), rtol=1e-3)
        assert torch.allclose(g_factor(noise, data.mask, data.noise_std), torch.tensor(1.0), rtol=1e-3)


def replicas_of(method, data, **options):
    image = method(data)
    return pseudo_replicas(replace(data, kspace=make_encoding(data).forward(image)), image, method, **options)


def test_replicas_agree_with_the_formula_within_their_error(noisy_cine):
    data = noisy_cine()
    result = replicas_of(ZeroFilled(), data, n_replicas=40)
    median, spread = agreement(result.std, ZeroFilled().noise_std(data), support_of(data.reference))
    assert median == pytest.approx(1, abs=0.02)
    assert 0.02 < result.standard_error < 0.06
    assert spread == pytest.approx(result.standard_error, rel=0.4)


def test_replicas_are_seeded(noisy_cine):
    data = noisy_cine()
    first, again, other = (replicas_of(ViewShared(), data, n_replicas=3, seed=seed).std for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.slow
@pytest.mark.parametrize("method", [ViewShared(), KtSlr(KtSlrConfig(n_iterations=5))], ids=["viewshared", "ktslr"])
def test_few_replicas_agree_with_many_measurements(noisy_cine, method):
    data = noisy_cine(matrix=(32, 30), per_frame=12)
    measured, support = measured_noise(method, data, data.noise_std)
    result = replicas_of(method, data, n_replicas=16)
    median, spread = agreement(result.std, measured, support)
    assert median == pytest.approx(1, abs=0.05)
    assert spread < 0.16  # a nonlinear method has more noise at edges that move, which the mean over frames loses


def test_snr_units_are_the_magnitude_over_the_noise():
    image = torch.tensor([[[3 + 4j, 0j]]])
    assert torch.equal(snr_units(image, torch.tensor([[[0.5, 0.0]]])), torch.tensor([[[10.0, 0.0]]]))
