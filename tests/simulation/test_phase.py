"""Simulated phase: it changes as fast as measured phase does, and jumps where tissue is off-resonant."""

import math

import numpy as np
import pytest
import torch
from conftest import beating_cine
from fast_phase import MEASURED_CHANGES, draw_fast_phase_cine

from cinerecon.metrics.temporal import phase_change
from cinerecon.simulation.phantom import PhantomConfig, PhaseConfig, add_phase, draw_signal
from cinerecon.simulation.phantom.tissues import balanced_signal, susceptibility_field

PLAIN = PhaseConfig(fat=0, bands=0)


@pytest.fixture(scope="module")
def magnitude():
    return draw_signal(3, PhantomConfig(matrix=(64, 64), n_frames=16)).abs()


def test_the_change_of_a_ramp_is_its_slope():
    t, y, x = torch.meshgrid(torch.arange(5), torch.arange(9), torch.arange(7), indexing="ij")
    image = torch.rand(5, 9, 7, generator=torch.Generator().manual_seed(0)) + 0.1
    found = phase_change(torch.polar(image, 0.3 * t - 0.2 * y + 0.1 * x))
    assert found == pytest.approx((0.3, 0.2, 0.1), abs=1e-5)


def test_dark_pixels_do_not_count():
    image = torch.ones(2, 4, 4, dtype=torch.complex64)
    image[:, 2:] = 1e-6j
    image[1, 2:] = -1e-6
    assert max(phase_change(image)) < 1e-5
    assert phase_change(image[:1]).per_frame == 0


def test_simulated_phase_changes_as_fast_as_measured_phase():
    """Measured: 0.10 rad per frame, 0.12 per row and 0.15 per column; there are smooth and rough cines."""
    signals = [draw_signal(seed, PhantomConfig(matrix=(64, 64), n_frames=16)) for seed in range(4)]
    changes = [phase_change(add_phase(signals[n % 4], np.random.default_rng(n))) for n in range(60)]
    per_frame, per_row, per_column = np.array(changes).T
    assert per_frame.mean() == pytest.approx(0.10, rel=0.25)
    assert (per_row.mean() + per_column.mean()) / 2 == pytest.approx(0.135, rel=0.2)
    for change, middle in ((per_frame, 0.10), (per_row, 0.135), (per_column, 0.135)):
        assert np.quantile(change, 0.1) < 0.75 * middle
        assert np.quantile(change, 0.9) > 1.3 * middle
        assert 0.2 * middle < change.min() < change.max() < 4 * middle


def test_the_given_changes_are_made(magnitude):
    config = PLAIN.model_copy(update={"per_frame": 0.08, "per_pixel": 0.2, "spread": 0.0})
    for seed in range(4):
        change = phase_change(add_phase(magnitude, np.random.default_rng(seed), config))
        assert change.per_frame == pytest.approx(0.08, rel=0.2)
        assert (change.per_row + change.per_column) / 2 == pytest.approx(0.2, rel=0.25)


def test_phase_keeps_the_magnitude_and_follows_from_the_seed(magnitude):
    first, again, other = (add_phase(magnitude, np.random.default_rng(seed), PLAIN) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.allclose(first.abs(), magnitude, atol=1e-6)
    signed = add_phase(-magnitude, np.random.default_rng(1), PLAIN)
    assert torch.allclose(signed, -first, atol=1e-6)


def test_one_frame_has_a_phase(magnitude):
    image = add_phase(magnitude[:1], np.random.default_rng(0))
    assert image.isfinite().all()
    assert phase_change(image).per_row > 0.02


def test_phase_moves_with_the_heart():
    """Where nothing moves the phase changes less from frame to frame than where the ventricle does."""
    signal = beating_cine(16, (48, 48)).abs().float()
    moves = signal.std(0) > 0.05
    ratios = []
    for seed in range(12):
        image = add_phase(signal, np.random.default_rng(seed), PLAIN)
        change = (image[1:] * image[:-1].conj()).angle().abs().mean(0)
        still = (signal.mean(0) > 0.2) & ~moves
        ratios.append(float(change[moves].mean() / change[still].mean()))
    assert np.mean(ratios) > 1.3


def test_fat_is_shifted_and_cancels_at_its_border():
    signal = torch.full((2, 32, 32), 0.1)
    signal[:, 10:22, 10:22] = 1.0
    config = PhaseConfig(fat=1, bands=0, per_frame=0, per_pixel=0)
    angles, darkest = [], []
    for seed in range(12):
        image = add_phase(signal, np.random.default_rng(seed), config)
        angles.append(float((image[0, 16, 16] * image[0, 2, 2].conj()).angle().abs()))
        darkest.append(float((image.abs() / signal)[0].min()))
    assert sum(angle > 3.0 for angle in angles) >= 4
    assert sum(0.2 < angle < 2.7 for angle in angles) >= 2
    opposed = [dark for angle, dark in zip(angles, darkest, strict=True) if angle > 3.0]
    assert max(opposed) < 0.85
    assert np.allclose(np.max(angles), math.pi, atol=0.1)


def test_off_resonance_changes_the_sign_beyond_the_pass_band():
    precession = torch.linspace(-2 * math.pi, 2 * math.pi, 401)
    signal = balanced_signal(precession, math.exp(-3 / 1000), math.exp(-3 / 100), math.radians(50))
    assert complex(signal[200]) == pytest.approx(1, abs=1e-5)
    inside, beyond = precession.abs() < 2, precession.abs() > 4.5
    assert signal.real[inside].min() > 0.5
    assert signal.real[beyond].max() < -0.5
    assert signal.imag[inside | beyond].abs().max() < 0.1
    ends = (precession.abs() - math.pi).abs() < 0.05
    assert signal.abs()[ends].max() < 0.15


def test_the_field_of_a_cylinder_is_that_of_a_dipole():
    """Across an infinite cylinder at a right angle to the field it is chi/2 (a/r)^2 cos 2(angle) outside."""
    n, radius = 128, 10
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) - n // 2 for _ in range(2)), indexing="ij")
    cylinder = torch.sigmoid((radius - torch.hypot(y, x)) / 0.3)
    field = susceptibility_field(cylinder, 0.0)
    distance = 22
    expected = 0.5 * (radius / distance) ** 2
    along, across = (float(field[n // 2, n // 2 + distance]), float(field[n // 2 + distance, n // 2]))
    assert along - across == pytest.approx(2 * expected, rel=0.1)
    assert along > 0 > across
    turned = susceptibility_field(cylinder, math.pi / 2)
    assert torch.allclose(turned, field.mT, atol=1e-5)


def test_the_fast_phase_changes_like_that_of_a_measured_cine():
    for seed in range(3):
        change = phase_change(draw_fast_phase_cine(seed))
        assert change.per_frame == pytest.approx(MEASURED_CHANGES["per_frame"], rel=0.2)
        expected = (MEASURED_CHANGES["per_row"] + MEASURED_CHANGES["per_column"]) / 2
        assert (change.per_row + change.per_column) / 2 == pytest.approx(expected, rel=0.2)
