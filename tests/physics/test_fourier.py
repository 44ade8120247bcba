import numpy as np
import pytest
import torch
from helpers import complex_randn, relative_error

from cinerecon.axes import mirrored_indices
from cinerecon.physics.fourier import crop_kspace, crop_sampled, fft1c, fft2c, ifft1c, ifft2c, phasor, phasor_of


@pytest.mark.parametrize("shape", [(24, 20), (23, 20), (9, 7), (1, 6)])
def test_fft2c_equals_the_shifted_transform(shape):
    image = complex_randn(3, *shape)
    shifted = torch.fft.ifftshift(image, dim=(-2, -1))
    expected = torch.fft.fftshift(torch.fft.fft2(shifted, norm="ortho"), dim=(-2, -1))
    assert relative_error(fft2c(image), expected) < 1e-12
    assert relative_error(ifft2c(expected), image) < 1e-12


def test_a_point_at_the_centre_is_flat_in_kspace():
    image = torch.zeros(9, 8, dtype=torch.complex128)
    image[4, 4] = 1
    assert torch.allclose(fft2c(image), torch.full((9, 8), 72**-0.5, dtype=torch.complex128))


def test_one_axis_after_the_other_is_the_2d_transform():
    image = complex_randn(2, 11, 8)
    assert relative_error(fft1c(fft1c(image, -1), -2), fft2c(image)) < 1e-12
    assert relative_error(ifft1c(fft1c(image, -2), 1), image) < 1e-12


def test_single_precision_stays_single():
    assert fft2c(complex_randn(5, 6, dtype=torch.complex64)).dtype == torch.complex64


@pytest.mark.parametrize("shape", [(9, 7), (8, 7)])
def test_a_real_image_is_taken_as_complex(shape):
    image = complex_randn(*shape).real
    assert relative_error(fft2c(image), fft2c(image.to(torch.complex128))) < 1e-12


def test_caches_of_inference_mode_allow_gradients_later():
    with torch.inference_mode():
        fft1c(complex_randn(37), -1)
    signal = complex_randn(37).requires_grad_()
    fft1c(signal, -1).abs().sum().backward()
    assert torch.isfinite(torch.view_as_real(signal.grad)).all()


@pytest.mark.parametrize("n", [8, 9])
def test_mirror_is_its_own_inverse(n):
    indices = mirrored_indices(n)
    assert indices[n // 2] == n // 2
    np.testing.assert_array_equal(indices[indices], np.arange(n))


@pytest.mark.parametrize(("n", "m"), [(16, 12), (15, 12), (16, 11), (24, 8)])
def test_cropping_keeps_the_centre_and_the_image(n, m):
    image = torch.randn(3, n, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    found = ifft1c(crop_kspace(fft1c(image, -1), m, -1), -1)
    first = n // 2 - m // 2
    torch.testing.assert_close(found, image[:, first : first + m])


def test_resampled_points_need_adjacent_points():
    sampled = np.arange(16) >= 4
    assert crop_sampled(sampled, 16).tolist() == sampled.tolist()
    assert crop_sampled(sampled, 8).tolist() == [False] * 3 + [True] * 5
    assert crop_sampled(np.full(16, True), 8).all()


def test_phasors_of_angles():
    angle = torch.tensor([0, torch.pi / 2, -torch.pi], dtype=torch.float64)
    assert torch.allclose(phasor(angle), torch.exp(1j * angle))


def test_phasors_of_values():
    values = complex_randn(20)
    assert torch.allclose(phasor_of(values) * values.abs(), values)
    assert phasor_of(torch.zeros(2, dtype=torch.complex64)).tolist() == [1, 1]
