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


def inside(data, fraction):
    """Whether pixels exceed a fraction of the maximum of the image, ``(y, x)`` bool."""
    peak = data.reference.abs().amax(0)
    return peak > fraction * peak.max()


@pytest.mark.parametrize("pattern", ["gaussian:4,acs=8", "equispaced:4,acs=8"])
@pytest.mark.parametrize("noise", [0.01, 0.1])
@pytest.mark.parametrize("n_frames", [2, 6])
def test_maps_that_are_zero_where_there_is_signal_are_reported(pattern, noise, n_frames):
    """Signal outside the maps is folded into undersampled images; maps that are zero around the body are accepted."""
    settings = SimulateConfig(n_frames=n_frames, ky=64, kx=56, n_coils=6, undersample=pattern, noise=noise, seed=7)
    (data,) = simulate_cine(settings)
    columns = torch.arange(56)
    for is_kept in (inside(data, 0.05), inside(data, 0.2), inside(data, 0.2) | (columns > 24)):
        assert not warnings_of(data.csm * is_kept, data)
    for is_kept in (columns > 22, (columns - 28).abs() < 12, (torch.arange(64)[:, None] - 32).abs() < 12):
        (text,) = warnings_of(data.csm * is_kept, data)
        assert "of the signal, which is folded into the rest of the image" in text


def test_maps_of_a_region_are_accepted_in_a_fully_sampled_scan():
    (data,) = simulate_cine(SimulateConfig(n_frames=4, ky=64, kx=56, n_coils=6, seed=7))
    assert not warnings_of(data.csm * ((torch.arange(56) - 28).abs() < 12), data)
