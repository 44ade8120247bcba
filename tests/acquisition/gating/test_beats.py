"""R-R intervals, rejected beats, and the cardiac phase of readouts, on numbers worked out by hand."""

import numpy as np
import pytest

from cinerecon.acquisition.gating.beats import describe_beats, find_beats, r_waves_of_stamps
from cinerecon.acquisition.gating.clock import Clock


def every(step_ms, start_ms, end_ms):
    return np.arange(start_ms, end_ms, step_ms, dtype=float)


def test_r_waves_are_where_the_time_stamps_count_from():
    """Two beats, at -250 ms and at 600 ms; the stamps of two readouts were not set."""
    time = np.array([0.0, 100, 200, 500, 600, 650, 700, 900])
    since = np.array([250.0, 350, np.nan, 750, np.nan, 50, 102.5, 300])
    assert r_waves_of_stamps(Clock(time, since, 2.5, 0)) == pytest.approx([-250, 600])


def test_a_damaged_stamp_is_no_r_wave():
    time = every(5, 0, 2000)
    since = time % 1000 + 5
    since[50] = 4000.0
    assert r_waves_of_stamps(Clock(time, since, 2.5, 0)) == pytest.approx([-5, 995])


def test_phase_scales_systole_and_diastole_apart():
    """Beats of 1000 ms and 600 ms: the mean is 800 ms, in which systole takes 388.5 ms, 0.485625 of the beat."""
    waves = np.array([0.0, 1000.0, 1600.0, 2600.0, 3200.0])
    beats = find_beats(waves, every(10, 0, 3200), 0.5, is_continuous=False)
    assert beats.mean_ms == pytest.approx(800)
    phase = beats.phase(np.array([0.0, 210.0, 420.0, 710.0, 1000.0, 1168.0, 1336.0, 1468.0]))
    s = 388.5 / 800
    assert phase == pytest.approx([0, s / 2, s, (1 + s) / 2, 0, s / 2, s, (1 + s) / 2])


def test_beats_outside_of_the_window_are_rejected():
    waves = np.cumsum([0.0, 800, 820, 780, 580, 800, 1100, 800])
    beats = find_beats(waves, every(10, 0, waves[-1]), 0.25, is_continuous=False)
    assert beats.is_used.tolist() == [True, True, True, False, True, False, True]
    phase = beats.phase(waves[:-1] + 100)
    assert np.isnan(phase).tolist() == [False, False, False, True, False, True, False]
    assert beats.mean_ms == pytest.approx(800)


def test_the_pause_after_an_ectopic_beat_is_rejected_within_the_window():
    """560 and 1040 ms are both within 40 % of 800 ms, but the second is 1.86 times the first: the heart beats every
    800 ms, and the ectopic contraction cuts a beat, of which the first 520 ms are as in any other."""
    waves = np.cumsum([0.0, 800, 800, 560, 1040, 800, 800])
    beats = find_beats(waves, every(10, 0, waves[-1]), 0.4, is_continuous=False)
    assert beats.is_used.tolist() == [True, True, True, False, True, True]
    assert beats.length_ms.tolist() == [800, 800, 560, 1040, 800, 800]
    assert beats.whole_ms[2] == 800 and beats.mean_ms == pytest.approx(800)
    since = np.array([0.0, 200, 510, 530, 555])
    assert beats.phase(1600 + since) == pytest.approx([0, 0.25, 510 / 800, np.nan, np.nan], nan_ok=True)
    assert np.isnan(beats.phase(2160 + since)).all()


def test_intervals_of_two_lengths_are_all_used():
    """The median jumps to 640 ms, by which 890 ms is 39 % too long; the mean of the middle half is 740 ms."""
    waves = np.cumsum([0.0, 630, 890, 640, 880, 620, 870, 640, 860, 610])
    beats = find_beats(waves, every(10, 0, waves[-1]), 0.35, is_continuous=False)
    assert np.median(beats.length_ms) == 640 and beats.is_used.all()


def test_a_pause_of_the_scan_is_not_a_long_beat():
    """No readouts between 1600 and 4000 ms: the beat before has the median length, and no known end."""
    time = np.concatenate([every(10, 0, 1600), every(10, 4000, 5600)])
    beats = find_beats(np.array([0.0, 800.0, 4000.0, 4800.0, 5600.0]), time, 0.25, is_continuous=False)
    assert beats.length_ms == pytest.approx([800] * 4)
    assert beats.is_known.tolist() == [True, False, True, True]
    assert beats.is_used.all()


def test_a_readout_just_before_the_r_wave_after_a_pause_does_not_bridge_it():
    """Rounded stamps put an R wave after the first readout of its beat; the beat before the pause has no known end."""
    time = np.concatenate([every(10, 0, 1600), every(10, 4000, 5600)])
    beats = find_beats(np.array([0.0, 800.0, 4000.5, 4800.0, 5600.0]), time, 0.25, is_continuous=False)
    assert beats.length_ms == pytest.approx([800, 800, 799.5, 800])
    assert beats.is_known.tolist() == [True, False, True, True]
    assert beats.is_used.all()


def test_a_gap_of_the_ecg_during_a_pause_of_the_scan_is_not_a_long_beat():
    """Shorter pauses, between which the ECG shows the R waves, have no influence."""
    time = np.concatenate([every(10, 0, 1300), every(10, 8900, 9600), every(10, 9600, 12000)])
    waves = np.array([0.0, 800.0, 8800.0, 9600.0, 10400.0, 11200.0, 12000.0])
    beats = find_beats(waves, time, 0.25, is_continuous=True)
    assert beats.is_known.tolist() == [True, False, True, True, True, True]
    assert beats.is_used.all() and beats.length_ms == pytest.approx([800] * 6)
    beats = find_beats(waves[2:], time[time < 10000], 0.25, is_continuous=True)
    assert beats.is_known.all()


def test_the_beat_before_a_missed_r_wave_is_used():
    """An interval of twice the usual length is no pause after an ectopic beat: the one before has the usual length."""
    waves = np.cumsum([0.0, 800, 800, 1600, 800, 800])
    beats = find_beats(waves, every(10, 0, waves[-1]), 0.35, is_continuous=False)
    assert beats.is_used.tolist() == [True, True, False, True, True]
    assert beats.whole_ms[1] == 800


def test_a_single_beat_ends_with_its_last_readout():
    beats = find_beats(np.array([0.0]), every(10, 0, 895), 0.25, is_continuous=False)
    assert beats.length_ms == pytest.approx([900])
    assert not beats.is_known.any()
    assert beats.phase(np.array([0.0, 900.0])) == pytest.approx([0, 1])


def test_a_short_beat_at_the_end_of_a_scan_ends_with_its_last_readout():
    """A segmented scan ends at an R wave: 700 ms is within 35 % of 1000 ms, 600 ms is an incomplete beat."""
    waves = np.cumsum([0.0, 1000, 1000, 1000, 1000])
    for last, expected in ((700, 700), (600, 1000)):
        beats = find_beats(waves, every(10, 0, waves[-1] + last), 0.35, is_continuous=False)
        assert beats.length_ms[-1] == pytest.approx(expected) and not beats.is_known[-1]


def test_readouts_before_the_first_r_wave_have_no_phase():
    beats = find_beats(np.array([500.0, 1300.0, 2100.0]), every(10, 0, 2100), 0.25, is_continuous=True)
    assert np.isnan(beats.phase(np.array([499.0]))).all()
    assert beats.phase(np.array([500.0])) == pytest.approx([0])


def test_report_counts_beats_by_length():
    waves = np.cumsum([0.0, 800, 810, 849, 580, 800])
    beats = find_beats(waves, every(10, 0, waves[-1]), 0.25, is_continuous=False)
    report = describe_beats("retro", "ECG", beats, 400)
    assert report.histogram == {550: 1, 600: 0, 650: 0, 700: 0, 750: 0, 800: 4}
    assert (report.n_beats, report.n_used_beats) == (5, 4)
    assert (report.rr_shortest_ms, report.rr_longest_ms) == pytest.approx((580, 849))
    assert report.rr_mean_ms == pytest.approx(767.8)
    assert report.histogram_text()[0].split() == ["550", "ms", "#", "1"]
    assert report.histogram_text()[-1].split() == ["800", "ms", "####", "4"]
