"""Beats of unequal length, ectopic beats with their pause, the cardiac phase, and scans measured over such beats."""

from itertools import islice

import h5py
import ismrmrd
import numpy as np
import pytest
import torch

from cinerecon.errors import ConfigError
from cinerecon.physics.fourier import fft2c
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.heartbeats import TRIGGER_LEVEL, Beat, Rhythm, draw_ecg
from cinerecon.simulation.scan import simulate_cine, simulate_scan
from cinerecon.simulation.schedule import Schedule, sample_lines, schedule_real_time, schedule_segments

ARRHYTHMIC = SimulateConfig(
    n_frames=6, ky=24, kx=16, n_coils=2, noise=0.0, segments=4, rr_variation=0.15, ectopic=0.2, ecg=True
)


def some_beats(n, *, variation=0.15, ectopic=0.1, seed=0):
    return list(islice(Rhythm(900.0, variation, ectopic).beats(np.random.default_rng(seed)), n))


def test_beats_follow_each_other_without_gaps():
    beats = some_beats(200)
    assert [beat.end_ms for beat in beats[:-1]] == pytest.approx([beat.start_ms for beat in beats[1:]])


def test_regular_beats_vary_by_the_stated_amount():
    lengths = np.array([beat.rr_ms for beat in some_beats(500, ectopic=0.0)])
    assert 0.85 * 900 <= lengths.min() < 0.88 * 900
    assert 1.12 * 900 < lengths.max() <= 1.15 * 900
    assert lengths.mean() == pytest.approx(900, rel=0.02)


def test_ectopic_beats_are_as_many_as_stated_and_have_a_compensatory_pause():
    beats = some_beats(2000)
    ectopic = [number for number, beat in enumerate(beats) if beat.is_ectopic]
    assert len(ectopic) / len(beats) == pytest.approx(0.1, abs=0.02)
    for number in ectopic:
        cut, pause = beats[number - 1], beats[number]
        assert 0.55 <= cut.rr_ms / cut.regular_ms <= 0.7
        assert cut.rr_ms + pause.rr_ms == pytest.approx(2 * cut.regular_ms)


def test_phase_reaches_end_systole_at_the_end_of_systole_and_one_at_the_next_r_wave():
    """By the regression systole takes 420 ms at 1000 ms and 336 ms at 600 ms."""
    rhythm = Rhythm(1000.0)
    assert rhythm.phase(Beat(0, 600, 600), np.array([0.0, 336.0, 600.0])) == pytest.approx([0, 0.42, 1])
    assert rhythm.phase(Beat(0, 500, 1000), np.array([250.0, 499.0])) == pytest.approx([0.25, 0.499])


def test_ectopic_contraction_is_weak_and_relaxes():
    phases = Rhythm(1000.0).phase(Beat(0, 1400, 1000, is_ectopic=True), np.array([0.0, 210.0, 420.0, 1200.0]))
    assert phases == pytest.approx([0, 0.6 * 0.42, 0, 0], abs=1e-9)


def test_segments_share_the_lines_and_rejected_beats_are_measured_again():
    mask = torch.ones(4, 1, 12, 1, dtype=torch.bool)
    beats = [Beat(0, 900, 900), Beat(900, 540, 900), Beat(1440, 1260, 900, is_ectopic=True), Beat(2700, 900, 900)]
    plan = schedule_segments(mask, 2, Rhythm(900.0), iter(beats), 3.0)
    segments = [np.unique(plan.segment[(plan.time_ms >= b.start_ms) & (plan.time_ms < b.end_ms)]) for b in beats]
    assert segments == [[0], [1], [1], [1]]
    assert set(plan.line[plan.segment == 0]) == set(range(0, 12, 2))
    assert plan.line[:7].tolist() == [0, 2, 4, 6, 8, 10, 0]
    assert plan.counter[:7].tolist() == [0, 0, 0, 0, 0, 0, 1]
    first = plan.since_trigger_ms == 0
    assert plan.counter[first].tolist() == [0, 0, 0, 0]
    assert not plan.is_regular[(plan.time_ms >= 1440) & (plan.time_ms < 2700)].any()


def test_real_time_counter_runs_on_over_beats_and_ends_with_a_whole_frame():
    mask = torch.zeros(2, 1, 12, 1, dtype=torch.bool)
    mask[0, 0, ::3], mask[1, 0, 1::3] = True, True
    plan = schedule_real_time(mask, 3, Rhythm(100.0), Rhythm(100.0).beats(np.random.default_rng(0)), 3.0)
    assert np.all(np.diff(plan.counter) >= 0)
    counts = np.bincount(plan.counter)
    assert counts.tolist() == [4] * len(counts)
    assert set(plan.line[plan.counter % 2 == 1]) == {1, 4, 7, 10}
    assert np.sum(plan.since_trigger_ms == 0) == 3


def test_heart_moves_along_a_cubic_curve_through_the_frames():
    kspace = torch.randn(6, 2, 5, 4, dtype=torch.complex64)
    position = np.array([2.0, 2.5, 5.5])
    other = np.zeros(3)
    plan = Schedule(np.array([1, 3, 0]), other, other, other, other, position / 6, other.astype(bool))
    lines = sample_lines(kspace, plan)
    assert torch.equal(lines[0], kspace[2, :, 1])
    middle = (-kspace[1] + 9 * kspace[2] + 9 * kspace[3] - kspace[4]) / 16
    across = (-kspace[4] + 9 * kspace[5] + 9 * kspace[0] - kspace[1]) / 16
    torch.testing.assert_close(lines[1], middle[:, 3])
    torch.testing.assert_close(lines[2], across[:, 0])


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("timed") / "scan.h5"
    simulate_scan(path, ARRHYTHMIC)
    return path


def test_file_holds_the_heart_at_its_true_phase(scan):
    """Between two frames, lines are between theirs; the cubic curve leaves the chord by less than it moves."""
    with h5py.File(scan) as file:
        rows, phase = file["dataset/data"][16:], file["truth/cardiac_phase"][:]
        reference, csm = (torch.from_numpy(file[f"truth/{name}"][0]) for name in ("reference", "csm"))
    kspace = fft2c(torch.nn.functional.pad(reference[:, None] * csm, (8, 8)))
    lines = rows["head"]["idx"]["kspace_encode_step_1"]
    samples = torch.from_numpy(np.stack([row["data"].view(np.complex64).reshape(2, -1) for row in rows]))
    first = np.floor(phase * 6).astype(int)
    t = torch.from_numpy(phase * 6 - first)[:, None, None]
    chord = (1 - t) * kspace[first % 6, :, lines] + t * kspace[(first + 1) % 6, :, lines]
    moved = torch.linalg.vector_norm(kspace - kspace.mean(0)) / torch.linalg.vector_norm(kspace)
    error = torch.linalg.vector_norm(samples - chord) / torch.linalg.vector_norm(chord)
    assert error < 0.5 * moved
    at_rest = phase == 0
    expected = kspace[0].movedim(1, 0)[lines[at_rest].astype(int)]
    torch.testing.assert_close(samples[at_rest], expected, atol=2e-3, rtol=0)


def test_time_stamps_show_the_r_waves_of_the_ecg(scan):
    with ismrmrd.Dataset(str(scan), create_if_needed=False) as dataset:
        blocks = [dataset.read_waveform(n) for n in range(dataset.number_of_waveforms())]
    assert all(block.channels == 5 and block.getHead().sample_time_us == 2500 for block in blocks)
    triggers = np.concatenate([block.data.reshape(5, -1)[4] for block in blocks])
    r_waves = blocks[0].time_stamp + np.flatnonzero(triggers == TRIGGER_LEVEL)
    with h5py.File(scan) as file:
        heads = file["dataset/data"].fields("head")[16:]
    stamped = set(heads["acquisition_time_stamp"].astype(int) - heads["physiology_time_stamp"][:, 0])
    assert all(np.abs(r_waves - stamp).min() <= 1 for stamp in stamped)
    assert heads["idx"]["segment"].max() == 3


def test_ecg_has_its_peaks_at_the_r_waves():
    beats = [Beat(0, 800, 800), Beat(800, 900, 900), Beat(1700, 700, 700)]
    ecg = draw_ecg(np.random.default_rng(0), beats, 1.0)
    assert ecg.shape == (5, 960)
    for start in (800, 1700):
        near = ecg[0, round(start / 2.5) - 40 : round(start / 2.5) + 40].astype(int)
        assert abs(int(near.argmax()) - 40) <= 1


def test_same_seed_gives_the_same_beats(scan, tmp_path):
    simulate_scan(tmp_path / "again.h5", ARRHYTHMIC)
    with h5py.File(scan) as one, h5py.File(tmp_path / "again.h5") as other:
        assert np.array_equal(one["truth/cardiac_phase"][:], other["truth/cardiac_phase"][:])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"rr_variation": 0.1}, "need segments"),
        ({"segments": 3, "beats": 5}, "either segments or"),
        ({"segments": 65, "ky": 64}, "65 segments of 64 lines"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, text):
    with pytest.raises(ConfigError, match=text):
        SimulateConfig.parse(values, where="simulate")


def test_simulation_in_memory_refuses_beats():
    with pytest.raises(ConfigError, match="list of readouts"):
        simulate_cine(ARRHYTHMIC)
