"""Zero-filled k-space is reconstructed on its measured matrix, and the image is interpolated."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import complex_randn, relative_error

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.acquisition.zero_filling import fill_corners, measured_matrix
from cinerecon.axes import centre_crop
from cinerecon.cine import CineData
from cinerecon.cine_meta import CineMeta
from cinerecon.image import CineImage
from cinerecon.io.case import read_case, write_case
from cinerecon.methods.base import make_encoding
from cinerecon.physics.final_image import finish_image, resample_maps
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.physics.sampling import parse_sampling
from cinerecon.physics.snr import NoiseMap
from cinerecon.reconstruction.noise_maps import with_noise
from cinerecon.reconstruction.public import reconstruct
from cinerecon.reconstruction.trust.artefacts import receiver_values
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_cine

MATRIX, FILLED = (32, 36), (48, 54)
N_FRAMES = 4
CORNERS = (((torch.arange(MATRIX[0]) - 16)[:, None] / 16) ** 2 + ((torch.arange(MATRIX[1]) - 18) / 18) ** 2) <= 1


@pytest.fixture(scope="module")
def cine():
    (data,) = simulate_cine(SimulateConfig(n_frames=N_FRAMES, ky=MATRIX[0], kx=MATRIX[1], n_coils=3, noise=0.002))
    return data


def fill(array, matrix):
    filled = array.new_zeros(*array.shape[:-2], *matrix)
    centre_crop(filled, (array.shape[-2], array.shape[-1])).copy_(array)
    return filled


def drawn(text, matrix=MATRIX, n_frames=N_FRAMES):
    mask = torch.from_numpy(parse_sampling(text).draw(n_frames, *matrix, seed=0))
    return mask.expand(-1, -1, *matrix)


def read(tmp_path, kspace, **extras):
    np.savez(tmp_path / "scan.npz", kspace=kspace.numpy(), **extras)
    return open_scan(
        tmp_path / "scan.npz", AcquisitionConfig(csm="walsh", arrays={"axes": "frames coils ky kx"})
    ).read_slice(0)


@pytest.mark.parametrize("matrix", [FILLED, (32, 54), (48, 36)], ids=["both axes", "kx", "ky"])
@pytest.mark.parametrize("corners", [False, True])
def test_the_image_is_that_of_the_measured_matrix_interpolated(cine, tmp_path, matrix, corners):
    kspace = cine.kspace * CORNERS if corners else cine.kspace
    data = read(tmp_path, fill(kspace, matrix))
    assert data.matrix == MATRIX
    assert data.mask.shape == (N_FRAMES, 1, MATRIX[0], 1)
    assert data.mask.all()
    assert any(f"measured only in its central {MATRIX[0]} x {MATRIX[1]}" in text for text in data.meta.warnings)
    image = ifft2c(fill(kspace, matrix))
    expected = torch.linalg.vector_norm(image, dim=1)
    assert relative_error(finish_image(make_encoding(data).adjoint(data.kspace), data).abs(), expected) < 0.1


@pytest.mark.parametrize("text", ["gaussian:4,acs=4", "equispaced:3,acs=4"])
def test_undersampled_arrays_have_the_image_of_the_measured_matrix(cine, text):
    kspace = cine.kspace * drawn(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        native = reconstruct(kspace, method="zerofilled")
        masked = reconstruct(fill(kspace, FILLED), fill(drawn(text), FILLED), method="zerofilled")
    with pytest.warns(match="measured only in its central 32 x 36"):
        image = reconstruct(fill(kspace, FILLED), method="zerofilled")
    assert image.shape[1:] == FILLED
    assert relative_error(centre_crop(fft2c(image), MATRIX), fft2c(native)) < 1e-5
    assert torch.equal(image, masked)


def test_given_maps_of_the_stored_matrix_are_used_at_the_measured_resolution(cine):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = reconstruct(cine.kspace, csm=cine.csm, method="zerofilled")
        maps = resample_maps(cine.csm, FILLED)
        image = reconstruct(fill(cine.kspace, FILLED), csm=maps, method="zerofilled")
    assert relative_error(centre_crop(fft2c(image), MATRIX), fft2c(expected)) < 0.02


def test_an_archive_with_oversampled_readouts(cine, tmp_path):
    data = read(tmp_path, fill(cine.kspace, FILLED), oversampling=1.5, pixel_size_mm=[1.0, 2.0])
    assert data.matrix == (32, 24)
    assert data.meta.interpolated_matrix == (48, 36)
    measured = data.meta.at_measured_matrix(data.matrix)
    assert measured.pixel_size_mm == (1.5, 3.0)
    assert finish_image(data.reference, data).shape == (N_FRAMES, 48, 36)


def test_a_case_has_the_measured_matrix(cine, tmp_path):
    data = read(tmp_path, fill(cine.kspace, FILLED), pixel_size_mm=[1.0, 1.0])
    write_case(tmp_path / "case.h5", data)
    case = read_case(tmp_path / "case.h5")
    assert case.matrix == MATRIX
    assert case.meta.interpolated_matrix is None
    assert case.meta.pixel_size_mm == (1.5, 1.5)


def test_the_noise_map_belongs_to_the_interpolated_image(cine):
    mask = torch.ones(64, 1, MATRIX[0], 1, dtype=torch.bool)
    noise = CineData(complex_randn(64, 1, *MATRIX), mask, meta=CineMeta(interpolated_matrix=FILLED))
    measured = finish_image(ifft2c(noise.kspace[:, 0]), noise).abs().square().mean().sqrt()
    shown = with_noise(CineImage(np.ones((1, *FILLED), np.complex64)), NoiseMap(torch.ones(1, *MATRIX)), noise)
    assert shown.noise.shape == (1, *FILLED)
    assert abs(shown.noise.mean() / float(measured) - 1) < 0.02


@pytest.mark.parametrize(
    "text",
    ["gaussian:4", "gaussian:8,acs=4", "uniform:4", "vds-ky:6", "equispaced:4,acs=8", "cava:6", "vds:12", "radial:16"],
)
@pytest.mark.parametrize("seed", range(3))
def test_patterns_on_a_measured_matrix_are_not_cropped(text, seed):
    mask = torch.from_numpy(parse_sampling(text).draw(12, 96, 80, seed=seed))
    assert measured_matrix(mask, 80) == (96, 80)


def test_partial_fourier_and_asymmetric_echoes_are_not_cropped():
    mask = torch.ones(4, 1, 32, 36, dtype=torch.bool)
    mask[..., :8, :], mask[..., :6] = False, False
    assert measured_matrix(mask, 36) == (32, 36)
    assert measured_matrix(fill(mask, FILLED), 54) == MATRIX


@pytest.mark.parametrize("n", [9, 10])
def test_a_single_missing_line_does_not_change_whether_the_size_is_even(n):
    mask = torch.ones(4, 1, n, 1, dtype=torch.bool)
    mask[:, :, 0] = False
    assert measured_matrix(mask, 8) == (n, 8)


@pytest.mark.parametrize("text", ["radial:12", "kt-radial:12", "poisson-2d:3"])
def test_points_are_not_filled(text):
    mask = drawn(text, (64, 64))
    assert torch.equal(fill_corners(mask), mask)


def test_zeros_in_the_corners_are_not_spikes(cine):
    noise = complex_randn(*cine.kspace.shape, dtype=torch.complex64)
    data = replace(cine, kspace=noise * CORNERS)
    assert receiver_values(data, 1.0)["spike"] < receiver_values(replace(cine, kspace=noise), 1.0)["spike"] + 3
