"""Temporal total variation: what rests is found from all frames together."""

from dataclasses import replace

from helpers import relative_error

from cinerecon.methods.base import make_encoding, view_shared_image
from cinerecon.methods.classical.ttv import Ttv, TtvConfig
from cinerecon.methods.classical.zerofilled import ZeroFilled
from cinerecon.metrics.measures import psnr


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
