"""Coil maps from other programs: those of the scan are accepted, and maps of other coils or gains are reported."""

import pytest
import torch

from cinerecon.acquisition.checks.given_maps import given_maps_warnings
from cinerecon.acquisition.coil_maps import scale_maps
from cinerecon.physics.coils import estimate_csm
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_cine


@pytest.fixture(
    params=[{"n_coils": 4}, {"n_coils": 8, "undersample": "gaussian:4,acs=8"}, {"n_coils": 16, "noise": 0.05}]
)
def data(request):
    (data,) = simulate_cine(SimulateConfig(n_frames=6, ky=64, kx=56, seed=5, **request.param))
    return data


def warnings_of(csm, data):
    return list(given_maps_warnings(scale_maps(csm), data.kspace, data.mask))


def test_maps_of_the_scan_are_accepted(data):
    estimated = [estimate_csm(data.kspace, data.mask, method) for method in ("smooth", "walsh", "espirit")]
    assert not [text for csm in (data.csm, *estimated) for text in warnings_of(csm, data)]


@pytest.mark.parametrize("kind", ["gain", "phase"])
def test_maps_with_another_gain_or_phase_of_each_coil_are_reported(data, kind):
    values = torch.randn(len(data.csm), generator=torch.Generator().manual_seed(1))
    factors = torch.exp(0.8 * values) if kind == "gain" else torch.exp(1j * values)
    (text,) = warnings_of(data.csm * factors[:, None, None], data)
    assert "if each coil is multiplied by a factor" in text


def test_one_factor_for_all_coils_has_no_effect(data):
    assert not warnings_of(data.csm * (3 - 2j), data)


@pytest.mark.parametrize("noise", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("n_coils", [2, 8])
def test_noise_is_not_taken_as_maps_of_other_coils(noise, n_coils):
    (data,) = simulate_cine(SimulateConfig(n_frames=6, ky=64, kx=56, n_coils=n_coils, noise=noise, seed=2))
    assert not warnings_of(data.csm, data)
