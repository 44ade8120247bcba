"""Weights of readouts in the frames of a gated cine."""

import numpy as np
import pytest

from cinerecon.acquisition.gating.frames import interpolate, is_dense


def matrix(parts, n_frames, n_readouts):
    """The weights as ``(frames, readouts)``."""
    weights = np.zeros((n_frames, n_readouts))
    np.add.at(weights, (parts.frame, parts.readout), parts.weight)
    return weights


def test_a_frame_between_few_measurements_is_interpolated_linearly():
    """Frames at 0, 0.25, 0.5, 0.75; the line was measured at 0.2, 0.45 and 0.95."""
    phase = np.array([0.2, 0.45, 0.95])
    weights = matrix(interpolate(np.zeros(3, int), phase, 4, dense=True), 4, 3)
    assert weights[1] == pytest.approx([0.8, 0.2, 0])
    assert weights[2] == pytest.approx([0, 0.9, 0.1])
    assert weights[0] == pytest.approx([0.2, 0, 0.8])  # the end of the beat is before its begin


def test_two_measurements_on_each_side_keep_a_cubic_polynomial():
    """One measurement in each frame, 0.3 frames after it; two at the same time count once or do not determine it."""
    phase = (np.arange(12) + 0.3) / 12
    weights = matrix(interpolate(np.zeros(12, int), phase, 12, dense=True), 12, 12)
    inner, time = slice(2, 10), np.arange(12) / 12
    assert (weights @ phase**3)[inner] == pytest.approx(time[inner] ** 3, abs=1e-9)
    assert (weights[inner] != 0).sum(1).tolist() == [4] * 8
    twice = np.sort(np.concatenate([phase, phase]))
    weights = matrix(interpolate(np.zeros(24, int), twice, 12, dense=True), 12, 24)
    assert np.isfinite(weights).all() and weights.sum(1) == pytest.approx(np.ones(12))


@pytest.mark.parametrize("seed", range(4))
def test_a_signal_that_is_linear_in_time_is_kept(seed):
    phase = np.sort(np.random.default_rng(seed).uniform(0, 1, 40))
    weights = matrix(interpolate(np.zeros(40, int), phase, 10, dense=True), 10, 40)
    inner = slice(2, 9)
    assert (weights @ phase)[inner] == pytest.approx(np.arange(10)[inner] / 10)
    assert weights.sum(1) == pytest.approx(np.ones(10))
    assert (weights**2).sum(1).max() <= 1


def test_frequent_measurements_keep_the_curvature_of_the_motion():
    phase = (np.arange(50) + 0.2) / 50
    weights = matrix(interpolate(np.zeros(50, int), phase, 10, dense=True), 10, 50)
    inner = slice(2, 9)
    assert (weights @ phase**2)[inner] == pytest.approx((np.arange(10)[inner] / 10) ** 2)
    assert (weights**2).sum(1).max() < 0.3


def test_several_measurements_lower_the_noise():
    phase = np.tile(np.arange(20) / 20 + 0.01, 4)
    weights = matrix(interpolate(np.zeros(80, int), phase, 10, dense=True), 10, 80)
    assert (weights**2).sum(1).max() < 0.16


def test_noise_is_amplified_nowhere():
    """Unevenly spaced measurements, many of which do not determine a polynomial well."""
    for seed in range(20):
        phase = np.random.default_rng(seed).uniform(0, 1, 25)
        weights = matrix(interpolate(np.zeros(25, int), phase, 12, dense=True), 12, 25)
        assert (weights**2).sum(1).max() <= 1


def test_lines_do_not_mix_and_rejected_readouts_have_no_weight():
    lines = np.array([0, 1, 0, 1, 0, 1])
    phase = np.array([0.1, 0.1, 0.5, 0.6, np.nan, 0.9])
    parts = interpolate(lines, phase, 2, dense=True)
    assert 4 not in parts.readout
    by_frame = {(f, line): w for f, line, w in zip(parts.frame, lines[parts.readout], parts.weight, strict=True)}
    assert set(by_frame) == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_sparse_lines_are_averaged_within_the_frame():
    """Ten frames of width 0.1: the line was measured at 0.21 and 0.19 (frame 2) and at 0.64 (frame 6)."""
    phase = np.array([0.21, 0.19, 0.64])
    assert not is_dense(np.zeros(3, int), phase, 10)
    weights = matrix(interpolate(np.zeros(3, int), phase, 10, dense=False), 10, 3)
    assert weights[2] == pytest.approx([0.5, 0.5, 0])
    assert weights[6] == pytest.approx([0, 0, 1])
    assert not weights[[0, 1, 3, 4, 5, 7, 8, 9]].any()


def test_long_gaps_of_dense_scans_stay_empty():
    phase = np.concatenate([np.arange(10, 30) / 40])
    weights = matrix(interpolate(np.zeros(20, int), phase, 20, dense=True), 20, 20)
    assert not weights[[0, 1, 2, 17, 18, 19]].any()
    assert weights[5:15].sum(1) == pytest.approx(np.ones(10))


def test_scans_are_dense_where_most_lines_are_measured_often():
    often = np.tile(np.arange(10) / 10, 9)
    lines = np.repeat(np.arange(9), 10)
    assert is_dense(lines, often, 15)
    assert not is_dense(lines, often, 40)
    assert not is_dense(np.append(lines, [9, 10]), np.append(often, [0.5, np.nan]), 15)
