import pytest
import torch
from helpers import complex_randn, relative_error

from cinerecon.methods.network import demodulate_encoding, mean_phase
from cinerecon.physics.operators import Encoding


@pytest.mark.parametrize("smoothing", [0.0, 2.5])
def test_phase_factors_have_magnitude_one_and_nothing_has_the_phase_zero(smoothing):
    image = complex_randn(2, 4, 9, 8)
    assert torch.allclose(mean_phase(image, smoothing).abs(), torch.ones(2, 9, 8, dtype=torch.float64))
    assert torch.equal(mean_phase(torch.zeros(1, 3, 3, 3) + 0j, smoothing), torch.ones(1, 3, 3) + 0j)


def test_without_smoothing_the_mean_is_real_and_positive():
    image = complex_randn(5, 9, 8)
    mean = (image * mean_phase(image).conj()).mean(0)
    assert mean.real.min() >= 0
    assert mean.imag.abs().max() < 1e-12


def test_a_smooth_phase_is_found_among_noise():
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(40.0), indexing="ij")
    phase = torch.polar(torch.ones(48, 40), torch.sin(2 * torch.pi * y / 48) + torch.cos(2 * torch.pi * x / 40))
    image = (phase + 0.5 * complex_randn(48, 40, dtype=torch.complex64)).expand(6, 48, 40)
    errors = [relative_error(mean_phase(image, smoothing), phase) for smoothing in (0.0, 3.0)]
    assert errors[1] < 0.1 < 0.3 < errors[0]


def test_smoothing_has_the_width_of_a_gaussian_in_pixels():
    point = torch.zeros(1, 64, 64, dtype=torch.complex128)
    point[0, 32, 32] = 1j
    background = torch.ones_like(point) * 1e-3
    weight = torch.tan(mean_phase(point + background, 3.0).angle())  # of the point over that of the background
    assert float(weight[32, 38] / weight[32, 32]) == pytest.approx(torch.exp(torch.tensor(-2.0)).item(), rel=2e-2)


def test_the_operator_of_the_demodulate_encoding_image_makes_the_same_data():
    image, mask = complex_randn(1, 5, 9, 8), torch.rand(1, 5, 1, 9, 1) < 0.5
    for csm in (None, complex_randn(1, 3, 9, 8, seed=1)):
        encoding = Encoding(mask, csm, matrix=(9, 8), dtype=torch.complex128)
        phase = mean_phase(image, 2.0)
        turned = demodulate_encoding(encoding, phase)
        assert relative_error(turned.forward(image * phase[:, None].conj()), encoding.forward(image)) < 1e-12
