"""Methods that are linear in the data: zero filling is the adjoint, CG-SENSE solves its equation."""

from dataclasses import replace

import pytest
import torch
from helpers import complex_randn, relative_error

from cinerecon.cine import CineData
from cinerecon.methods.base import make_encoding
from cinerecon.methods.classical.config import CgSenseConfig
from cinerecon.methods.classical.linear import CgSense, ZeroFilled
from cinerecon.methods.table import load_method
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.physics.sampling import parse_mask
from cinerecon.physics.views import share_views


def test_one_coil_is_the_inverse_transform_of_the_sampled_points(make_cine):
    data = make_cine(n_coils=1)
    assert relative_error(ZeroFilled()(data), ifft2c(data.kspace).squeeze(-3)) < 1e-6


def test_several_coils_are_combined_by_their_maps(make_cine):
    data = make_cine(n_coils=3)
    expected = (ifft2c(data.kspace) * data.csm.conj()).sum(-3)
    assert relative_error(ZeroFilled()(data), expected) < 1e-6


def test_samples_outside_the_mask_are_ignored(make_cine):
    data = make_cine()
    dirty = torch.where(data.mask, data.kspace, 1.0)
    assert relative_error(make_encoding(data).adjoint(dirty), ZeroFilled()(data)) < 1e-7


def test_it_is_the_image_of_view_shared_kspace(make_cine):
    data = make_cine(n_coils=3)
    shared = CineData(share_views(data.kspace, data.mask), torch.ones_like(data.mask), data.csm)
    assert relative_error(load_method("viewshared")(data), load_method("zerofilled")(shared)) < 1e-6


def test_a_still_image_is_recovered(make_cine):
    data = make_cine(n_coils=1, n_frames=12)
    still = data.reference[:1].expand_as(data.reference)
    everywhere_once = (torch.arange(still.shape[-2]) % 4 == torch.arange(12)[:, None] % 4).view(12, 1, -1, 1)
    kspace = fft2c(still).unsqueeze(1) * everywhere_once
    assert relative_error(load_method("viewshared")(CineData(kspace, everywhere_once)), still) < 1e-5


def test_the_normal_equation_holds(make_cine):
    data = make_cine(dtype=torch.complex128)
    config = CgSenseConfig(weight_tikhonov=1e-2, n_iterations=200, tolerance=1e-9)
    image = CgSense(config)(data)
    encoding = make_encoding(data)
    assert relative_error(encoding.normal(image) + 1e-2 * image, encoding.adjoint(data.kspace)) < 1e-8


def test_coils_resolve_twofold_undersampling(make_cine):
    data = make_cine(n_coils=6, per_frame=14, dtype=torch.complex128)
    image = CgSense(CgSenseConfig(weight_tikhonov=0, n_iterations=300, tolerance=1e-8))(data)
    assert relative_error(image, data.reference) < 5e-3
    assert relative_error(make_encoding(data).adjoint(data.kspace), data.reference) > 0.1


def test_a_frame_without_data_is_zero_and_affects_no_other(make_cine):
    data = make_cine()
    mask = data.mask.clone()
    mask[2] = False
    holed = replace(data, kspace=data.kspace * mask, mask=mask)
    image, whole = CgSense()(holed), CgSense()(data)
    assert not image[2].any()
    others = [0, 1, 3, 4, 5, 6, 7]
    assert torch.equal(image[others], whole[others])


def test_it_stops_when_the_tolerance_is_reached(make_cine):
    steps = []
    CgSense(CgSenseConfig(n_iterations=500, tolerance=1e-2))(make_cine(), lambda done, _: steps.append(done))
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) < 50


@pytest.mark.parametrize("settings", [{"n_iterations": 0}, {"weight_tikhonov": -1.0}])
def test_invalid_settings_are_refused(settings):
    with pytest.raises(ValueError, match="greater than or equal"):
        CgSenseConfig(**settings)


def test_the_record_of_convergence_is_that_of_the_cost(make_cine):
    data = make_cine(dtype=torch.complex128)
    method = CgSense(CgSenseConfig(weight_tikhonov=0.01, n_iterations=12, tolerance=0))
    made = method.reconstruct(data, record=True)
    image, record = made.image, made.convergence
    error = make_encoding(data).forward(image) - data.kspace
    expected = float(error.abs().square().sum() + 0.01 * image.abs().square().sum())
    assert record.cost[-1] == pytest.approx(expected)
    assert record.data_residual[-1] == pytest.approx(relative_error(error + data.kspace, data.kspace))
    assert len(record.cost) == 12
    assert record.cost == sorted(record.cost, reverse=True)


def test_without_tolerance_it_stops_where_rounding_begins(make_cine):
    """Residuals of zero would be divided by each other."""
    data = make_cine(n_coils=1, n_frames=2, matrix=(9, 7))
    image = CgSense(CgSenseConfig(tolerance=0, n_iterations=200))(data)
    assert relative_error(image, CgSense(CgSenseConfig(n_iterations=200))(data)) < 1e-3


def test_view_share_keeps_samples_and_interpolates_in_time():
    kspace = complex_randn(7, 2, 6, 5)
    mask = torch.from_numpy(parse_mask("kt-equispaced:3").draw(7, 6, 5, seed=0))
    sampled = kspace * mask
    filled = share_views(sampled, mask)
    assert relative_error(filled * mask, sampled) < 1e-12
    assert (filled.abs().sum((-1, -3)) > 0).all()
    line = int(mask[0, 0, :, 0].nonzero()[0])  # sampled in frames 0 and 3
    expected = kspace[0, :, line] * 2 / 3 + kspace[3, :, line] / 3
    assert relative_error(filled[1, :, line], expected) < 1e-12


def test_view_share_of_a_still_object_is_the_object():
    frame = complex_randn(1, 2, 6, 5).expand(8, -1, -1, -1)
    mask = torch.from_numpy(parse_mask("kt-equispaced:4").draw(8, 6, 5, seed=0))
    assert relative_error(share_views(frame * mask, mask), frame) < 1e-12
