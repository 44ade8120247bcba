"""Methods solved by ADMM: limits, units, and gain over zero filling."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import relative_error

from cinerecon.cine import CineData
from cinerecon.cine_meta import CineMeta
from cinerecon.methods.base import make_encoding, view_shared_image
from cinerecon.methods.classical.admm import noise_factor
from cinerecon.methods.classical.admm_methods import KtSlr, Llr, Ttv
from cinerecon.methods.classical.config import KtSlrConfig, LlrConfig, TtvConfig
from cinerecon.methods.classical.linear import ZeroFilled
from cinerecon.methods.classical.penalties import LowRankPenalty
from cinerecon.metrics.measures import psnr
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.noise import white_noise


def test_without_penalties_full_sampling_gives_the_truth(make_cine):
    data = make_cine(n_coils=1, per_frame=None)
    image = KtSlr(KtSlrConfig(weight_lowrank=0, weight_sparse=0))(data)
    assert relative_error(image, data.reference) < 1e-5


def test_empty_data_give_an_empty_image(make_cine):
    data = make_cine()
    assert not KtSlr()(replace(data, kspace=torch.zeros_like(data.kspace))).any()


@pytest.mark.parametrize("n_coils", [1, 4])
def test_data_in_any_unit_give_the_same_image(make_cine, n_coils):
    data = make_cine(n_coils)
    scaled = KtSlr()(replace(data, kspace=1e-6 * data.kspace))
    assert relative_error(1e6 * scaled, KtSlr()(data)) < 1e-4


@pytest.mark.parametrize("block_size", [0, 8])
@pytest.mark.parametrize("whole_readouts", [True, False])
def test_ktslr_gains_over_zero_filling(make_cine, block_size, whole_readouts):
    data = make_cine(n_coils=1)
    if not whole_readouts:
        mask = data.mask.expand(*data.mask.shape[:-1], data.matrix[1]).clone()
        data = type(data)(data.kspace, mask, None, data.reference)
    image = KtSlr(KtSlrConfig(block_size=block_size))(data)
    assert psnr(image, data.reference) > psnr(make_encoding(data).adjoint(data.kspace), data.reference) + 8


def test_masks_of_points_and_of_lines_give_the_same_image(make_cine):
    data = make_cine(n_coils=1)
    points = replace(data, mask=data.mask.expand(*data.mask.shape[:-1], data.matrix[1]).clone())
    assert relative_error(KtSlr()(points), KtSlr()(data)) < 1e-4


def test_it_is_low_rank_alone():
    (penalty,) = Llr().penalties()
    assert isinstance(penalty, LowRankPenalty)


@pytest.mark.parametrize("settings", [{}, {"p": 1.0, "weight_lowrank": 2e-3}])
def test_llr_gains_over_zero_filling(make_cine, settings):
    data = make_cine(n_coils=1)
    assert psnr(Llr(LlrConfig(**settings))(data), data.reference) > psnr(ZeroFilled()(data), data.reference) + 6


def test_ttv_gains_over_zero_filling(make_cine):
    data = make_cine(n_coils=1)
    assert psnr(Ttv()(data), data.reference) > psnr(ZeroFilled()(data), data.reference) + 6


def test_a_line_that_no_frame_samples_does_no_harm_without_spatial_differences(make_cine):
    data = make_cine(n_coils=1)
    mask = data.mask.clone()
    mask[:, :, 3] = False
    data = replace(data, mask=mask, kspace=data.kspace * mask)
    image = Ttv(TtvConfig(spatial_weight=0))(data)
    assert psnr(image, data.reference) > psnr(ZeroFilled()(data), data.reference) + 5


def test_a_series_at_rest_is_found_from_lines_spread_over_its_frames(make_cine):
    data = make_cine(n_coils=1, n_frames=12)
    still = data.reference[:1].expand_as(data.reference).contiguous()
    data = replace(data, kspace=make_encoding(data).forward(still), reference=still)
    assert relative_error(view_shared_image(data), still) < 0.2
    assert relative_error(Ttv(TtvConfig(weight_sparse=1e-4))(data), still) < 0.1


def test_first_frame_does_not_follow_the_last_in_real_time():
    """Two frames of 0 and 1: the total variation weighs their difference once, in a circle twice."""
    image = torch.stack([torch.full((8, 8), value, dtype=torch.complex64) for value in (1e-3, 1.0)])
    mask = torch.ones(2, 1, 8, 1, dtype=torch.bool)
    config = TtvConfig(weight_sparse=0.05, temporal_weight=1.0, spatial_weight=0.0, n_iterations=200, tolerance=1e-7)
    for is_real_time, moved in ((True, 0.05), (False, 0.1)):
        data = CineData(fft2c(image)[:, None], mask, meta=CineMeta(is_real_time=is_real_time))
        expected = image + torch.tensor([moved, -moved])[:, None, None]
        torch.testing.assert_close(Ttv(config)(data), expected, atol=2e-3, rtol=0)


def with_noise(data: CineData, level: float) -> CineData:
    noise = level * white_noise(np.random.default_rng(0), data.kspace.shape)
    return replace(data, kspace=data.kspace + noise * data.mask)


def test_weights_grow_with_the_variance_of_strong_noise(make_cine):
    data = make_cine(n_coils=4)
    peak = float(data.reference.abs().max())
    weak, strong, stronger = (noise_factor(with_noise(data, n * peak), peak, 9e-3) for n in (1e-3, 0.1, 0.2))
    assert weak == 1
    assert strong == pytest.approx(min(1, 4 * float(data.mask.double().mean())) * (0.1 / 9e-3) ** 2, rel=0.3)
    assert stronger == pytest.approx(4 * strong, rel=0.1)
    assert noise_factor(with_noise(data, 0.2 * peak), peak, 0) == 1


@pytest.mark.parametrize("method", [(KtSlr, KtSlrConfig), (Llr, LlrConfig)])
def test_strong_noise_in_several_coils_is_suppressed(make_cine, method):
    data = make_cine(n_coils=4)
    noisy = with_noise(data, 0.05 * float(data.reference.abs().max()))
    build, config = method
    adapted, constant = (build(config(**settings))(noisy) for settings in ({}, {"noise_threshold": 0}))
    assert psnr(adapted, data.reference) > psnr(constant, data.reference) + 2
