"""Marks on data that bias scores, and none on data that are merely smooth or noise-free."""

from dataclasses import replace

import pytest
import torch
from helpers import complex_randn

from cinerecon.errors import UnsupportedError
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.preparation.quality_marks import find_marks, refuse_unrealistic
from cinerecon.simulation.scan import SimulateConfig, simulate_cine


@pytest.fixture(scope="module")
def measured():
    return simulate_cine(SimulateConfig(n_frames=4, ky=64, kx=60, n_coils=3, noise=0.01))[0]


@pytest.fixture(scope="module")
def noise_free():
    return simulate_cine(SimulateConfig(n_frames=4, ky=64, kx=60, n_coils=3, noise=0))[0]


def with_kspace(data, kspace):
    return replace(data, kspace=kspace)


def zero_filled(kspace, rows, columns):
    kept = torch.zeros_like(kspace)
    part = (..., slice(rows, -rows or None), slice(columns, -columns or None))
    kept[part] = kspace[part]
    return kept


def test_measured_noise_free_and_undersampled_data_are_not_marked(measured, noise_free, make_cine):
    for data in (measured, noise_free, make_cine(), make_cine(per_frame=None)):
        assert find_marks(data) == ((), ())


def test_a_white_object_is_not_marked(measured):
    assert find_marks(with_kspace(measured, complex_randn(4, 3, 64, 60, dtype=torch.complex64))) == ((), ())


@pytest.mark.parametrize(("rows", "columns"), [(6, 0), (0, 9), (6, 9), (1, 0)])
def test_empty_edges_are_zero_padding(measured, rows, columns):
    marks, (warning,) = find_marks(with_kspace(measured, zero_filled(measured.kspace, rows, columns)))
    assert marks == ("zero-padded",)
    share = (64 - 2 * rows) * (60 - 2 * columns) / (64 * 60)
    assert warning.startswith(f"only {share:.0%} of k-space was measured")


def test_rounding_errors_do_not_hide_zero_padding(measured):
    image = ifft2c(zero_filled(measured.kspace, 6, 4))
    assert find_marks(with_kspace(measured, fft2c(image)))[0] == ("zero-padded",)


def test_edges_that_the_mask_leaves_out_count_too(measured):
    mask = measured.mask.clone()
    mask[:, :, :10] = False
    assert find_marks(replace(measured, mask=mask, kspace=measured.kspace * mask))[0] == ("zero-padded",)


@pytest.mark.parametrize("edge", [6, 12])
def test_interpolation_is_detected_after_further_processing(measured, edge):
    """Zero-filled images whose coils were then weighted and whose pixels were rounded: no line is empty any more."""
    image = ifft2c(zero_filled(measured.kspace, edge, edge))
    step = 2e-5 * image.abs().max()
    rounded = torch.complex((image.real / step).round() * step, (image.imag / step).round() * step)
    assert find_marks(with_kspace(measured, fft2c(rounded)))[0] == ("interpolated",)


@pytest.mark.parametrize("mark", ["magnitude only", "zero-padded", "interpolated"])
def test_data_that_bias_scores_are_refused_by_name(mark):
    refuse_unrealistic(("simulated", "combined coils"), "here")
    with pytest.raises(UnsupportedError, match=mark) as caught:
        refuse_unrealistic(("simulated", mark), "scan.h5, slice 3")
    assert caught.value.where == "scan.h5, slice 3"


@pytest.mark.parametrize(("fall", "marks"), [(300, ()), (3000, ("interpolated",))])
def test_a_step_in_the_energy_is_a_thousandfold_fall(measured, fall, marks):
    kspace = complex_randn(4, 3, 64, 60, dtype=torch.complex64)
    kspace[..., :8, :] *= fall**-0.5
    kspace[..., -7:, :] *= fall**-0.5
    assert find_marks(with_kspace(measured, kspace))[0] == marks
