import math

import pytest
import torch
from coil_phantom import agreement, smooth_coils
from helpers import complex_randn, relative_error

from cinerecon.errors import ConfigError
from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.coils.estimate import resample_field_of_view
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.sampling import calibration_size
from cinerecon.physics.views import frame_phases, time_average, windowed_averages

METHODS = ("smooth", "espirit", "walsh")


def scan(n_frames=12, n_y=48, n_x=45, acceleration=4, n_acs=8):
    """A static object, lines drawn at random in each frame."""
    csm, image = smooth_coils(5, n_y, n_x)
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(n_frames, 1, n_y, 1, generator=generator) < 1 / acceleration
    mask[:, :, n_y // 2 - n_acs // 2 : n_y // 2 + n_acs // 2] = True
    return csm, image, fft2c(csm * image) * mask, mask


def test_time_average_divides_by_the_times_sampled():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]], dtype=torch.bool)[:, None, :, None]
    kspace = complex_randn(2, 4, 3, 5) * mask
    average = time_average(kspace, mask)
    assert relative_error(average[:, 0], kspace[:, :, 0].mean(0)) < 1e-12
    assert torch.equal(average[:, 1], kspace[0, :, 1])
    assert torch.equal(average[:, 2], torch.zeros(4, 5, dtype=kspace.dtype))


@pytest.mark.parametrize(("method", "worst"), [("smooth", 0.9995), ("espirit", 0.999), ("walsh", 0.995)])
def test_maps_come_from_undersampled_frames(method, worst):
    csm, image, kspace, mask = scan()
    before = kspace.clone()
    maps = estimate_csm(kspace, mask, method)
    assert float(agreement(maps, csm)[image.abs() > 0].quantile(0.01)) > worst
    assert float((maps.norm(dim=0) - 1).abs().max()) < 1e-9
    assert torch.equal(kspace, before)


@pytest.mark.parametrize(("method", "lost"), [("smooth", 1e-3), ("espirit", 3e-3), ("walsh", 3e-3)])
def test_maps_do_not_depend_on_phase_that_changes_between_frames(method, lost):
    """The phase changes by up to 4 rad over the cine, of another shape in each frame: lines do not fit together."""
    csm, image, _, mask = scan(n_frames=20, acceleration=8, n_acs=4)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in image.shape), indexing="ij")
    time = torch.linspace(0, 2 * torch.pi, 20, dtype=torch.float64)[:, None, None]
    moving = 1.5 * (0.7 * time.cos() * (1 + 0.5 * y) + 0.4 * time.sin() * x)
    phase = moving + 8 * torch.cos(3 * y + x) + 6 * torch.sin(2 * x * y + 2 * x)
    kspace = fft2c(csm * (image * torch.polar(torch.ones_like(phase), phase))[:, None]) * mask
    similar = agreement(estimate_csm(kspace, mask, method), csm)[image.abs() > 0]
    assert 1 - float(similar.mean()) < lost


def test_phases_of_frames_are_found_from_points_that_all_frames_sampled():
    *_, kspace, mask = scan()
    phase = torch.linspace(-2, 2, 12, dtype=torch.float64)[:, None, None, None]
    found = frame_phases(kspace * torch.polar(torch.ones_like(phase), phase), mask)
    assert float((found / found[:1] - torch.polar(torch.ones_like(phase), phase - phase[:1])).abs().max()) < 1e-9
    assert torch.equal(frame_phases(torch.zeros_like(kspace), mask), torch.ones(12, 1, 1, 1, dtype=kspace.dtype))


def test_windowed_averages_are_weighted_means_of_the_sampled_frames():
    mask = torch.tensor([[1, 0], [1, 1], [0, 0], [0, 1]], dtype=torch.bool)[:, None, :, None]
    kspace = complex_randn(4, 2, 2, 3) * mask
    first, last = windowed_averages(kspace, mask, 2, 0.5)
    near, far = math.exp(-0.5 * 0.5**2), math.exp(-0.5)
    assert relative_error(first[:, 0], (kspace[0, :, 0] + near * kspace[1, :, 0]) / (1 + near)) < 1e-12
    assert relative_error(last[:, 1], (far * kspace[1, :, 1] + kspace[3, :, 1]) / (1 + far)) < 1e-12
    static = kspace[1:2].expand(4, -1, -1, -1) * mask
    assert relative_error(windowed_averages(static, mask, 3, 0.2)[:, :, 1], static[1:2, :, 1].expand(3, -1, -1)) < 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_regular_gaps_around_a_calibration_region_leave_no_aliasing_in_the_maps(method):
    csm, image, _, _ = scan()
    mask = torch.zeros(3, 1, 48, 1, dtype=torch.bool)
    mask[:, :, ::4] = mask[:, :, 12:36] = True
    maps = estimate_csm(fft2c(csm * image) * mask, mask, method)
    assert float(agreement(maps, csm)[image.abs() > 0].quantile(0.01)) > 0.98


@pytest.mark.parametrize("method", METHODS)
def test_batched_equals_looped_and_precision_is_kept(method):
    *_, kspace, mask = scan()
    slices = torch.stack([kspace, kspace.flip(-3)])
    maps = estimate_csm(slices, mask.expand(2, *mask.shape), method)
    assert relative_error(maps, torch.stack([estimate_csm(one, mask, method) for one in slices])) < 1e-7
    assert estimate_csm(kspace.to(torch.complex64), mask, method).dtype == torch.complex64


@pytest.mark.parametrize("n_full", [48, 47])
@pytest.mark.parametrize("n", [24, 23])
def test_pixels_at_low_resolution_divide_the_field_of_view_evenly(n_full, n):
    position = (torch.arange(n_full, dtype=torch.float64) + 0.5) / n_full
    centred = torch.exp(-(((position - 0.3) / 0.1) ** 2)).to(torch.complex128)  # resolved by 23 pixels
    low = resample_field_of_view(fft2c(centred.expand(1, n_full)), 1, n)[0].abs()
    position_low = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    expected = torch.exp(-(((position_low - 0.3) / 0.1) ** 2))
    assert relative_error(low / low.max(), expected / expected.max()) < 2e-2


@pytest.mark.parametrize("n_lines", [32, 33])
@pytest.mark.parametrize("n_y", [63, 64])
def test_smooth_maps_at_the_edges_do_not_depend_on_the_parity_of_the_calibration_region(n_y, n_lines):
    csm, image = smooth_coils(6, n_y, 48)
    image = image * 0 + torch.linspace(0.3, 1, n_y)[:, None]  # dark at the first edge, bright at the opposite one
    mask = torch.zeros(1, 1, n_y, 1, dtype=torch.bool)
    first = n_y // 2 - n_lines // 2
    mask[:, :, first : first + n_lines] = True
    maps = estimate_csm(fft2c(csm * image)[None] * mask, mask)
    assert float(agreement(maps, csm).min()) > 0.99


def test_calibration_region_is_what_is_sampled_densely():
    mask = torch.ones(2, 1, 40, 1, dtype=torch.bool)
    assert calibration_size(mask, 30) == (40, 30)
    mask[:, :, :8:2] = mask[:, :, 32::2] = False
    assert calibration_size(mask, 30) == (40, 30)
    mask[:, :, :8] = mask[:, :, 32:] = False
    assert calibration_size(mask, 30) == (30, 30)
    square = torch.zeros(1, 1, 40, 20, dtype=torch.bool)
    square[:, :, 12:28, 6:14] = True
    n_y, n_x = calibration_size(square, 20)
    assert 16 <= n_y <= 18
    assert 8 <= n_x <= 9


def test_one_coil_needs_no_maps():
    assert estimate_csm(complex_randn(3, 1, 8, 8), torch.ones(3, 1, 8, 1, dtype=torch.bool)) is None


def test_unknown_method_is_an_error():
    with pytest.raises(ConfigError, match="'sense'"):
        estimate_csm(complex_randn(3, 2, 8, 8), torch.ones(3, 1, 8, 1, dtype=torch.bool), "sense")


@pytest.mark.parametrize("n_lines", [0, 1, 2])
def test_one_or_two_lines_give_maps(n_lines):
    csm, image, _, _ = *smooth_coils(3, 24, 20), None, None
    mask = torch.zeros(4, 1, 24, 1, dtype=torch.bool)
    mask[:, :, 12 : 12 + n_lines] = True
    found = estimate_csm(fft2c(csm * image) * mask, mask)
    assert found.shape == csm.shape
    assert float((found.norm(dim=-3) - 1).abs().max()) < 1e-6
