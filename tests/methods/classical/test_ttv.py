"""Temporal total variation: static tissue is recovered from all frames together."""

from dataclasses import replace

import torch
from helpers import relative_error

from cinerecon.cine import CineData
from cinerecon.cine_meta import CineMeta
from cinerecon.methods.base import make_encoding, view_shared_image
from cinerecon.methods.classical.config import TtvConfig
from cinerecon.methods.classical.ttv import Ttv
from cinerecon.methods.classical.zerofilled import ZeroFilled
from cinerecon.metrics.measures import psnr
from cinerecon.physics.fourier import fft2c


def test_one_coil_gains_over_zero_filling(make_cine):
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
