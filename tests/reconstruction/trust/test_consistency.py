"""Measures of agreement of data and image: zero where they agree, large where they contradict each other."""

import math

import numpy as np
import pytest
import torch

from cinerecon.cine import CineData
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.physics.sampling import parse_mask
from cinerecon.reconstruction.trust import consistency
from cinerecon.reconstruction.trust.features import gaps_at_centre
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


def test_a_frame_and_a_coil_that_do_not_fit_are_detected(data):
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
    values = consistency.repeated_sample_values(turned, 1e-6)
    # differences to the mean of the others are between 0 and 0.4 rad
    assert 0.15 < 10 ** (values["phase_mismatch"] / 20) < 0.35


def test_lines_at_wrong_positions_have_another_energy(data):
    usual = consistency.line_values(data, NOISE)["line_energy"]
    assert usual < 1.5
    odd = (torch.arange(10) % 2 == 1)[:, None, None, None]
    kspace, mask = (torch.where(odd, values.roll(3, 2), values) for values in (data.kspace, data.mask))
    shifted = consistency.line_values(CineData(kspace, mask, data.csm), NOISE)["line_energy"]
    assert shifted > 2 * usual + 1
    # one frame of twice the amplitude differs from the median by 6 dB
    kspace = data.kspace.clone()
    kspace[3] *= 2
    assert consistency.line_values(CineData(kspace, data.mask, data.csm), 0.0)["line_energy"] == pytest.approx(
        6.02, abs=1
    )
    radial = torch.from_numpy(parse_mask("radial:16").draw(10, 64, 64, 0))
    assert math.isnan(consistency.line_values(CineData(data.kspace * radial, radial, data.csm), NOISE)["line_energy"])


def test_phase_errors_between_lines_make_fine_structures_out_of_phase(data):
    usual = consistency.plausibility_values(data.reference)["rough_phase"]
    angles = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (64, 1)))
    spoiled = ifft2c(fft2c(data.reference) * torch.exp(1j * angles).to(torch.complex64))
    roughness = consistency.plausibility_values(spoiled)["rough_phase"]
    assert usual < -10
    assert -6 < roughness < 0, "near one half, which random phases have"


@pytest.mark.parametrize(
    ("lines", "share"),
    [
        (range(64), 0.0),
        (range(0, 64, 4), 0.0),  # regular, as for parallel imaging
        ([16, 20, 22, 29, 30, 31, 32, 40, 47], 23 / 31),  # 8 of the 31 lines after the first
    ],
)
def test_gaps_of_lines_at_the_centre(lines, share):
    sampled = torch.zeros(64, 1, dtype=torch.bool)
    sampled[list(lines)] = True
    assert gaps_at_centre(sampled) == pytest.approx(share)


def test_gaps_of_points_at_the_centre():
    sampled = torch.ones(64, 64, dtype=torch.bool)
    sampled[16:32, 16:48] = False
    assert gaps_at_centre(sampled) == 0.5


def test_frames_are_between_the_adjacent_ones_unless_their_order_or_gain_is_wrong():
    (cine,) = simulate_cine(SimulateConfig(seed=4, n_frames=20, ky=64, kx=64, n_coils=1, noise=0))
    image, phases = cine.reference, torch.exp(2j * math.pi * torch.rand(20, generator=torch.Generator().manual_seed(0)))
    usual = consistency.frame_order_values(image)
    assert consistency.frame_order_values(image * phases[:, None, None]) == pytest.approx(usual, abs=1e-3)
    assert consistency.frame_order_values(1e6 * image) == pytest.approx(usual, abs=1e-3)
    order = np.random.default_rng(0).permutation(20)
    assert consistency.frame_order_values(image[order])["frame_order"] > usual["frame_order"] + 3
    repeated = torch.cat([image[:8], image[2:3], image[9:]])
    values = consistency.frame_order_values(repeated)
    assert values["frame_outlier"] > usual["frame_outlier"] + 6
    assert values["frame_order"] == pytest.approx(usual["frame_order"], abs=2), "a single frame"
    gain = torch.where(torch.arange(20) == 5, 2.0, 1.0)[:, None, None]
    assert consistency.frame_order_values(gain * image)["frame_gain"] == pytest.approx(6, abs=0.5)


def test_longer_series_have_no_larger_outliers_by_chance():
    noise = torch.view_as_complex(torch.randn(320, 16, 16, 2, generator=torch.Generator().manual_seed(1)))
    short = [consistency.frame_order_values(noise[start : start + 32])["frame_outlier"] for start in range(0, 320, 32)]
    assert consistency.frame_order_values(noise)["frame_outlier"] == pytest.approx(np.median(short), abs=0.2)
    assert max(short) > np.median(short) + 0.3, "which is that of the whole series without the rank"
