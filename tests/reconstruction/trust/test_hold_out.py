"""Held-out samples: which are chosen, and that their errors add up to the error of the image."""

import pytest
import torch

from cinerecon.cine import CineData
from cinerecon.physics.sampling import parse_mask
from cinerecon.reconstruction.trust.hold_out import (
    HELD_OUT_SHARE,
    at_its_resolution,
    choose_held_out,
    predict_held_out,
    ring_numbers,
)
from cinerecon.simulation.scan import SimulateConfig, simulate_cine

NOISE = 0.01


def scan(pattern, n_coils=1, seed=3):
    (data,) = simulate_cine(SimulateConfig(seed=seed, n_frames=10, ky=64, kx=64, n_coils=n_coils, noise=NOISE))
    mask = torch.from_numpy(parse_mask(pattern).draw(10, 64, 64, seed))
    return CineData(data.kspace * mask, mask, data.csm, data.reference, data.meta)


@pytest.mark.parametrize("pattern", ["gaussian:4,acs=4", "radial:16", "equispaced:4,acs=8"])
def test_a_share_of_the_samples_outside_the_centre_is_left_out(pattern):
    mask = torch.from_numpy(parse_mask(pattern).draw(12, 96, 96, 0))
    held_out = choose_held_out(mask)
    assert not (held_out & ~mask).any()
    assert not held_out[:, :, 48].any()
    assert float(held_out.sum() / mask.sum()) == pytest.approx(HELD_OUT_SHARE, abs=0.04)
    assert held_out.flatten(1).any(1).all(), "each frame is tested"


def test_lines_that_all_frames_share_are_left_out_of_all_frames():
    mask = torch.from_numpy(parse_mask("gaussian:4").draw(1, 96, 96, 0)).expand(12, -1, -1, -1).contiguous()
    held_out = choose_held_out(mask)
    assert held_out.any()
    assert torch.equal(held_out, held_out[:1].expand_as(held_out))


def test_rings_follow_lines_or_points():
    lines, points = (torch.from_numpy(parse_mask(text).draw(4, 64, 48, 0)) for text in ("gaussian:4", "radial:8"))
    assert torch.equal(ring_numbers(lines, (64, 48)), ring_numbers(lines, (64, 48))[:, :1].expand(64, 48))
    rings = ring_numbers(points, (64, 48))
    assert (rings[32, 24], rings[32, 0], rings[0, 24]) == (0, 3, 3)


@pytest.mark.parametrize(("pattern", "n_coils"), [("gaussian:4,acs=4", 1), ("gaussian:4,acs=4", 6), ("vds:6", 1)])
def test_errors_of_held_out_samples_add_up_to_the_error_of_the_prediction(pattern, n_coils):
    data = scan(pattern, n_coils)
    prediction = predict_held_out(data, NOISE)
    true_error = float((prediction.image - at_its_resolution(data.reference)).abs().square().mean())
    assert 0.4 < prediction.mean_square_error / true_error < 2.5


def test_samples_of_another_line_are_not_predicted():
    data = scan("gaussian:4,acs=4")
    odd = torch.arange(10)[:, None, None, None] % 2 == 1
    kspace = torch.where(odd, data.kspace.roll(3, 2), data.kspace)
    mask = torch.where(odd, data.mask.roll(3, 2), data.mask)
    wrong = CineData(kspace, mask, None, None, data.meta)
    intact, failed = (predict_held_out(part, NOISE).share_by_ring[1:].nan_to_num() for part in (data, wrong))
    assert (failed > 2 * intact).all()
    assert failed[0] > 20 * intact[0]
