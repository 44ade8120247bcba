"""Measures of agreement of data and image: zero where they agree, large where they contradict each other."""

import math

import pytest
import torch

from cinerecon.cine import CineData
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.sampling import parse_mask
from cinerecon.reconstruction.trust import consistency
from cinerecon.simulation.scan import SimulateConfig, simulate_cine

NOISE = 0.01


@pytest.fixture(scope="module")
def data():
    (full,) = simulate_cine(SimulateConfig(seed=4, n_frames=10, ky=64, kx=64, n_coils=4, noise=NOISE))
    mask = torch.from_numpy(parse_mask("gaussian:4,acs=6").draw(10, 64, 64, 0))
    return CineData(full.kspace * mask, mask, full.csm, full.reference, full.meta)


def test_the_truth_leaves_a_residual_of_the_noise(data):
    values = consistency.residual_values(data, data.reference, NOISE)
    assert values["residual_over_noise"] == pytest.approx(0, abs=0.1)
    assert values["residual_of_worst_frame"] < 0.3
    signal = float(data.kspace.abs().square().sum() / data.mask.sum() / 64 / 4)
    assert values["residual_over_signal"] == pytest.approx(10 * math.log10(NOISE**2 / signal), abs=0.2)


def test_a_frame_and_a_coil_that_do_not_fit_are_found(data):
    kspace = data.kspace.clone()
    kspace[3] *= 2
    spoiled = CineData(kspace, data.mask, data.csm)
    assert consistency.residual_values(spoiled, data.reference, NOISE)["residual_of_worst_frame"] > 10
    kspace = data.kspace.clone()
    kspace[:, 2] *= 2
    spoiled = CineData(kspace, data.mask, data.csm)
    assert consistency.residual_values(spoiled, data.reference, NOISE)["residual_of_worst_coil"] > 6


def test_maps_of_other_coils_do_not_explain_the_data(data):
    right = consistency.map_values(data)
    swapped = consistency.map_values(CineData(data.kspace, data.mask, data.csm.roll(1, 0)))
    assert right["map_misfit"] < -20
    assert swapped["map_misfit"] > -5
    single = CineData(data.kspace[:, :1], data.mask)
    assert math.isnan(consistency.map_values(single)["map_misfit"])


def test_repeated_samples_of_a_still_image_agree_and_phase_errors_are_measured(data):
    still = data.reference[:1].expand_as(data.reference)
    kspace = fft2c(still.unsqueeze(1)) * data.mask
    quiet = consistency.repeated_sample_values(CineData(kspace, data.mask), 1e-6)
    assert max(quiet[name] for name in ("mismatch", "step_mismatch", "phase_mismatch")) < -50
    angles = torch.where(torch.arange(10) % 2 == 1, 0.2, -0.2)[:, None, None, None]
    turned = CineData(kspace * torch.polar(torch.ones(()), angles), data.mask)
    found = consistency.repeated_sample_values(turned, 1e-6)
    # differences to the mean of the others are between 0 and 0.4 rad
    assert 0.15 < 10 ** (found["phase_mismatch"] / 20) < 0.35


def test_wrap_around_differs_from_a_body_that_is_cut():
    y, x = torch.meshgrid(torch.linspace(-1.4, 1.4, 90), torch.linspace(-1, 1, 64), indexing="ij")
    body = (1 + 0.5 * torch.sin(3 * y) + 0.3 * torch.cos(9 * x + y)) * (y.abs() < 1.3)
    cut = body[13:77]
    folded = cut.clone()
    folded[-13:] += body[:13]
    folded[:13] += body[77:]
    values = [consistency.edge_values(image.expand(8, -1, -1).to(torch.complex64)) for image in (cut, folded)]
    assert values[0]["edge_signal"] > -12
    assert values[1]["wrap_around"] > 4 * values[0]["wrap_around"]
