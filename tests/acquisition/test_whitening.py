import numpy as np
import pytest
import torch
from helpers import complex_randn, relative_error

from cinerecon.acquisition.noise import noise_covariance, whitening_matrix
from cinerecon.errors import DataError
from cinerecon.physics.coils import apply_coil_matrix


@pytest.fixture
def noise():
    return (complex_randn(5, 5, seed=1) @ complex_randn(5, 4000, seed=2)).numpy()


def test_covariance_uses_the_samples_as_they_are():
    noise = np.array([[1.0 + 1j, 3.0 + 1j], [2j, 4j]])
    assert np.array_equal(noise_covariance(noise), [[6.0 + 0j, 3.0 - 7j], [3.0 + 7j, 10.0 + 0j]])


def test_whitened_noise_has_identity_covariance(noise):
    matrix = whitening_matrix(noise_covariance(noise))
    assert np.array_equal(matrix, np.tril(matrix))
    assert np.abs(noise_covariance(matrix @ noise) - np.eye(5)).max() < 1e-10


def test_coils_of_very_different_gain_are_whitened_in_single_precision():
    gains = np.array([1e-6, 1.0, 1e5], np.float32)[:, None]
    noise = complex_randn(3, 5000, dtype=torch.complex64).numpy() * gains
    matrix = whitening_matrix(noise_covariance(noise))
    assert matrix.dtype == np.complex64
    assert np.abs(noise_covariance(matrix @ noise) - np.eye(3)).max() < 1e-5


def test_dead_coil_is_named(noise):
    noise[3] = 0
    with pytest.raises(DataError, match="coil 3 carries no noise"):
        whitening_matrix(noise_covariance(noise))


def test_too_few_samples_are_refused(noise):
    with pytest.raises(DataError, match="singular"):
        whitening_matrix(noise_covariance(noise[:, :4]))


def test_matrix_mixes_the_named_axis():
    matrix, data = complex_randn(2, 3), complex_randn(4, 3, 5, 6, seed=1)
    mixed = apply_coil_matrix(matrix, data, -3)
    assert relative_error(mixed, torch.einsum("vc,fcyx->fvyx", matrix, data)) < 1e-12
    assert mixed.shape == (4, 2, 5, 6)
