"""k-t SLR: limits, units, and gain over zero filling."""

from dataclasses import replace

import pytest
import torch
from helpers import relative_error

from cinerecon.methods.base import make_encoding
from cinerecon.methods.classical.config import KtSlrConfig
from cinerecon.methods.classical.ktslr import KtSlr
from cinerecon.metrics.measures import psnr


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
def test_one_coil_gains_over_zero_filling(make_cine, block_size, whole_readouts):
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
