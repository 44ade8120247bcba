"""R waves in ECG recordings, with noise, ectopic beats, gaps and large T waves."""

from itertools import islice

import numpy as np
import pytest

from cinerecon.acquisition.gating.clock import Clock
from cinerecon.acquisition.gating.r_waves import detect_r_waves, r_waves_of_ecg
from cinerecon.io.ismrmrd.waveforms import Waveform
from cinerecon.simulation.heartbeats import Rhythm, draw_ecg

RHYTHM = Rhythm(850.0, 0.2, 0.1)


def recording(seed, n_beats=40):
    rng = np.random.default_rng(seed)
    beats = list(islice(RHYTHM.beats(rng), n_beats))
    return draw_ecg(rng, beats, 1.0).astype(float), np.array([beat.start_ms for beat in beats[1:]])


def matched(found, expected, tolerance_ms=15.0):
    """R waves that were missed, and detections without an R wave; those at the edges of the recording do not count."""
    missed = [wave for wave in expected if np.abs(found - wave).min() > tolerance_ms]
    wrong = [wave for wave in found if np.abs(expected - wave).min() > tolerance_ms and wave > 400]
    return missed, wrong


@pytest.mark.parametrize("seed", range(4))
def test_every_r_wave_is_found_and_no_other(seed):
    ecg, expected = recording(seed)
    assert matched(detect_r_waves(ecg, 2.5), expected) == ([], [])


def test_noise_hum_and_baseline_wander_do_not_matter():
    ecg, expected = recording(5)
    rng = np.random.default_rng(0)
    time = np.arange(ecg.shape[1]) * 2.5
    ecg[:4] += rng.normal(0, 60, ecg[:4].shape) + 80 * np.sin(2 * np.pi * 0.05 * time) + 500 * np.sin(time / 1500)
    assert matched(detect_r_waves(ecg, 2.5), expected) == ([], [])


def test_large_t_waves_of_the_magnetic_field_are_no_r_waves():
    ecg, expected = recording(6)
    time = np.arange(ecg.shape[1]) * 2.5
    for wave in expected:
        ecg[:4] += 500 * np.exp(-0.5 * ((time - wave - 290) / 45) ** 2)
    assert matched(detect_r_waves(ecg, 2.5), expected) == ([], [])


def test_polarity_and_a_dead_lead_do_not_matter():
    ecg, expected = recording(7)
    ecg[0] = 2048
    ecg[1:4] = 4096 - ecg[1:4]
    assert matched(detect_r_waves(ecg, 2.5), expected) == ([], [])


def test_trigger_channel_is_used_without_leads():
    ecg, expected = recording(8)
    assert detect_r_waves(ecg[4:], 2.5)[1:] == pytest.approx(expected, abs=2.5)


@pytest.mark.parametrize("bits", [16, 32])
def test_negative_samples_that_were_stored_unsigned_do_not_matter(bits):
    ecg, expected = recording(8)
    ecg[:4] = (ecg[:4] - 2048) % 2**bits
    assert matched(detect_r_waves(ecg, 2.5), expected) == ([], [])


def test_triggers_replace_leads_with_gradient_noise():
    ecg, expected = recording(8)
    rng = np.random.default_rng(1)
    ecg[:4, rng.integers(0, ecg.shape[1], ecg.shape[1] // 100)] += 2000
    assert len(matched(detect_r_waves(ecg[:4], 2.5), expected)[1]) > 5
    assert detect_r_waves(ecg, 2.5)[1:] == pytest.approx(expected, abs=2.5)


def test_flat_and_short_recordings_have_no_r_waves():
    assert detect_r_waves(np.full((5, 1000), 2048.0), 2.5).size == 0
    assert detect_r_waves(np.random.default_rng(0).normal(size=(2, 50)), 2.5).size == 0


def test_blocks_are_joined_in_the_order_of_time_and_gaps_keep_it():
    ecg, expected = recording(9)
    values = ecg.astype(np.uint32)
    blocks = [Waveform(0, 1000 + s, 2500.0, values[:, s : s + 200]) for s in range(0, values.shape[1], 200)]
    gap = range(4800, 6400)  # samples
    kept = [block for block in blocks if block.time_stamp - 1000 not in gap]
    clock = Clock(np.zeros(1), np.zeros(1), 2.5, 1000)
    found = r_waves_of_ecg(kept[::-1], clock)
    outside = (expected < 2.5 * 4800 - 100) | (expected > 2.5 * 6400 + 400)
    assert matched(found, expected[outside])[0] == []
    in_gap = (found > 2.5 * 4800) & (found < 2.5 * 6400)
    assert not in_gap.any()


def test_no_waveforms_no_r_waves():
    assert r_waves_of_ecg((), Clock(np.zeros(1), np.zeros(1), 2.5, 0)).size == 0
