"""A constant phase of each frame changes neither the magnitude of the image nor the verdict."""

from dataclasses import replace

import pytest
import torch
from helpers import relative_error

from cinerecon.physics.sampling import parse_sampling
from cinerecon.reconstruction.public import reconstruct
from cinerecon.simulation.scan import SimulateConfig, simulate_cine


@pytest.mark.parametrize("kind", ["drift", "random"])
def test_the_phase_of_frames_is_removed_and_restored(kind):
    (data,) = simulate_cine(SimulateConfig(n_frames=8, ky=32, kx=32, n_coils=2, noise=0.002))
    mask = torch.from_numpy(parse_sampling("gaussian:3,acs=6").draw(8, 32, 32, seed=0))
    plain = replace(data, kspace=data.kspace * mask, mask=mask, reference=None)
    angles = 0.4 * torch.arange(8) if kind == "drift" else torch.linspace(0, 30, 8).square()
    phases = torch.polar(torch.ones(8), angles)[:, None, None]
    turned = replace(plain, kspace=plain.kspace * phases[:, None])
    expected, image = (torch.from_numpy(reconstruct(part, method="ttv").image) for part in (plain, turned))
    assert relative_error(image.abs(), expected.abs()) < 0.04
    assert relative_error(image, expected * phases) < 0.06
