"""Systole and diastole scale with the R-R interval as measured in subjects."""

import numpy as np
import pytest

from cinerecon.physics.cardiac_cycle import cardiac_phase, systole_ms


@pytest.mark.parametrize(("rr_ms", "expected"), [(1000.0, 420.0), (600.0, 336.0), (300.0, 126.0), (250.0, 50.0)])
def test_systole_follows_the_regression_within_its_range(rr_ms, expected):
    assert systole_ms(rr_ms) == pytest.approx(expected)
    assert systole_ms(np.array([rr_ms])) == pytest.approx([expected])


def test_systole_and_diastole_are_scaled_apart():
    """In a beat of 600 ms systole takes 336 ms and diastole 264 ms; in the mean beat it ends at phase 0.42."""
    since = np.array([0.0, 168.0, 336.0, 468.0, 600.0])
    phases = cardiac_phase(since, 600.0, systole_ms(600.0), 0.42)
    assert phases == pytest.approx([0.0, 0.21, 0.42, 0.71, 1.0])


def test_mean_beat_is_scaled_as_a_whole():
    since = np.linspace(0, 1000, 11)
    assert cardiac_phase(since, 1000.0, systole_ms(1000.0), 0.42) == pytest.approx(since / 1000)
