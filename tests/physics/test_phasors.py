"""Numbers of unit magnitude."""

import torch
from helpers import complex_randn

from cinerecon.physics.phasors import phasor, phasor_of


def test_phasors_of_angles():
    angle = torch.tensor([0, torch.pi / 2, -torch.pi], dtype=torch.float64)
    assert torch.allclose(phasor(angle), torch.exp(1j * angle))


def test_phasors_of_values():
    values = complex_randn(20)
    assert torch.allclose(phasor_of(values) * values.abs(), values)
    assert phasor_of(torch.zeros(2, dtype=torch.complex64)).tolist() == [1, 1]
