"""Faults of the receiver are measured in any sampling, and intact scans have none."""

import math
from dataclasses import replace

import pytest
import torch

from cinerecon.cine import CineData
from cinerecon.physics.noise import noise_level
from cinerecon.physics.sampling import parse_mask
from cinerecon.reconstruction.trust import calibration_of
from cinerecon.reconstruction.trust.artefacts import receiver_values
from cinerecon.simulation.scan import SimulateConfig, simulate_cine

PATTERNS = ["gaussian:6,acs=4", "equispaced:4,acs=8", "radial:16", "poisson:6"]
NAMES = {"saturation", "silent_coil", "spike"}


def scan(pattern, n_coils=4, scale=1.0, noise=0.01):
    (full,) = simulate_cine(SimulateConfig(seed=11, n_frames=8, ky=80, kx=64, n_coils=n_coils, noise=noise))
    mask = torch.from_numpy(parse_mask(pattern).draw(8, 80, 64, 0))
    return CineData(scale * full.kspace * mask, mask, full.csm)


def exceeded(data):
    """Names of the checks of the receiver that are beyond their limit."""
    values = receiver_values(data, float(noise_level(data.kspace, data.mask)))
    limits = calibration_of("ktslr").check_limits
    return {name for name in NAMES if values[name] > limits[name][0]}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("n_coils", [1, 2, 8])
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
def test_intact_scans_have_no_fault(pattern, n_coils, noise):
    assert not exceeded(scan(pattern, n_coils, noise=noise))


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_each_fault_is_found_at_any_scale(pattern, scale):
    data = scan(pattern, scale=scale)
    limit = 0.2 * float(data.kspace.abs().max())
    clipped = torch.view_as_complex(torch.view_as_real(data.kspace).clamp(-limit, limit))
    assert exceeded(replace(data, kspace=clipped)) == {"saturation"}
    silent = data.kspace.clone()
    silent[:, 2] = 0
    assert exceeded(replace(data, kspace=silent)) == {"silent_coil"}
    frame, y, x = (data.mask[:, 0].expand(-1, 80, 64) & (torch.arange(64) > 56)).nonzero()[0]
    spoiled = data.kspace.clone()
    spoiled[frame, :, y, x] = data.kspace.abs().max() / 2
    assert "spike" in exceeded(replace(data, kspace=spoiled))


@pytest.mark.parametrize("noise", [0.003, 0.02])
@pytest.mark.parametrize("n_coils", [1, 4])
def test_few_clipped_samples_are_found(noise, n_coils):
    """In each frame, one position is clipped in addition to the strongest."""
    data = scan("gaussian:6,acs=4", n_coils, noise=noise)
    parts = torch.view_as_real(data.kspace).abs().amax(-1).flatten(2)  # (frames, coils, positions)
    limit = float(parts.topk(2).values[..., 1].amin(0).max())
    clipped = torch.view_as_complex(torch.view_as_real(data.kspace).clamp(-limit, limit))
    assert "saturation" in exceeded(replace(data, kspace=clipped))


def test_one_coil_and_virtual_coils_cannot_be_silent():
    """A virtual coil may hold noise alone without any fault."""
    assert math.isnan(receiver_values(scan("gaussian:6,acs=4", 1), 0.01)["silent_coil"])
    data = scan("gaussian:6,acs=4")
    kspace = data.kspace * (torch.arange(4) < 3)[:, None, None]
    assert receiver_values(replace(data, kspace=kspace), 0.01)["silent_coil"] == 0
    virtual = replace(data, kspace=kspace, meta=replace(data.meta, compression="8 coils to 4"))
    assert math.isnan(receiver_values(virtual, 0.01)["silent_coil"])
