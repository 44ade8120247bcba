"""Retrospectively gated and real-time scans: images against the truth, and what happens with damaged time stamps."""

import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from timed_scan import ARRHYTHMIC, REGULAR, changed, simulated

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.errors import DataError, HeaderError
from cinerecon.io.ismrmrd.hdf5_scan import read_mrd
from cinerecon.io.ismrmrd.waveforms import describe_waveforms
from cinerecon.metrics.measures import psnr
from cinerecon.physics.operators import Encoding

PLAIN = AcquisitionConfig(whiten=False, gating="retro", gated_frames=12)


@pytest.fixture(scope="module")
def regular(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("regular"), REGULAR)


@pytest.fixture(scope="module")
def arrhythmic(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("arrhythmic"), ARRHYTHMIC)


@pytest.fixture(scope="module")
def real_time(tmp_path_factory):
    values = {"segments": None, "beats": 8, "rr_variation": 0.15, "undersample": "uniform:4", "noise": 1e-3}
    return simulated(tmp_path_factory.mktemp("real_time"), REGULAR.model_copy(update=values))


def read(path, **settings):
    """A slice of a scan, and the plan."""
    scan = open_scan(path, PLAIN.model_copy(update=settings))
    return scan.read_slice(0), scan.plan


def image_of(data):
    return Encoding(data.mask, data.csm, matrix=data.matrix).adjoint(data.kspace)


def quality(data):
    return psnr(image_of(data), data.reference)


def test_regular_beats_give_the_truth(regular):
    data, plan = read(regular)
    assert data.meta.reference_is == "truth"
    assert bool(data.mask.all())
    assert quality(data) > 45
    assert plan.gating.n_used_beats == plan.gating.n_beats == 8
    assert data.meta.is_one_beat
    assert not data.meta.is_real_time
    assert data.meta.frame_times_ms == pytest.approx(np.arange(12) / 12 * plan.gating.rr_used_ms)


def test_arrhythmia_is_rejected_and_costs_little(arrhythmic):
    data, plan = read(arrhythmic)
    assert plan.gating.n_used_beats < plan.gating.n_beats
    assert quality(data) > 45
    dropped = sum(part.n_readouts for part in plan.dropped)
    assert plan.n_image_readouts + plan.n_noise_readouts + dropped == plan.n_readouts
    assert any("heartbeats are rejected" in text for text in data.meta.warnings)


def test_beats_that_are_used_are_the_regular_ones(arrhythmic):
    """Each rejected beat was cut by an ectopic one or is its pause, which the truth in the file shows."""
    scan = open_scan(arrhythmic, PLAIN)
    with h5py.File(arrhythmic) as file:
        is_regular = file["truth/is_regular"][:].astype(bool)
        phase = file["truth/cardiac_phase"][:]
    gating = scan._layout.gating
    found = gating.beats.phase(gating.clock.time_ms)
    used = np.isfinite(found)
    assert is_regular[used].all()
    difference = (found[used] - phase[used] + 0.5) % 1 - 0.5
    assert np.abs(difference).max() < 0.06


def test_rejection_improves_the_image(arrhythmic):
    everything, _ = read(arrhythmic, rr_window=1.0)
    assert quality(read(arrhythmic)[0]) >= quality(everything)


def test_counter_that_ends_with_the_beat_is_not_taken(arrhythmic):
    data, plan = read(arrhythmic, gating="auto")
    assert plan.gating.mode == "retro"
    assert any("the counter phase ends at" in text for text in plan.warnings)
    assert torch.equal(data.kspace, read(arrhythmic)[0].kspace)
    assert read(arrhythmic, gating="counter")[1].time_counter == "phase"


def test_constant_counters_are_not_taken(arrhythmic, tmp_path):
    def constant(heads):
        heads["idx"]["phase"] = 0

    path = changed(arrhythmic, tmp_path / "constant.h5", constant)
    path.write_bytes(path.read_bytes())
    data, plan = read(path)
    assert torch.equal(data.kspace, read(arrhythmic)[0].kspace)
    with h5py.File(path, "r+") as file:
        xml = file["dataset/xml"][0]
        start = xml.index(b"<phase>")
        end = xml.index(b"</phase>")
        file["dataset/xml"][0] = (
            xml[:start] + b"<phase><minimum>0</minimum><maximum>0</maximum><center>0</center>" + xml[end:]
        )
    data, plan = read(path, gating="auto")
    assert plan.gating.mode == "retro"
    assert any("phase and repetition are constant" in text for text in data.meta.warnings)


def test_final_frames_are_taken_by_their_counter(tmp_path):
    path = simulated(tmp_path, REGULAR.model_copy(update={"segments": None}))
    data, plan = read(path, gating="auto")
    assert plan.gating.mode == "counter"
    assert data.n_frames == 12
    assert data.meta.is_one_beat
    assert torch.equal(data.kspace, read(path, gating="counter")[0].kspace)


def test_stamps_that_wrap_around_and_unset_stamps_change_nothing(arrhythmic, tmp_path):
    def damage(heads):
        heads["acquisition_time_stamp"] += np.uint32(2**32 - 14_400_400)
        heads["physiology_time_stamp"][np.random.default_rng(0).random(len(heads)) < 0.3] = 0

    data, _ = read(changed(arrhythmic, tmp_path / "damaged.h5", damage))
    expected, _ = read(arrhythmic)
    assert torch.linalg.vector_norm(data.kspace - expected.kspace) < 2e-3 * torch.linalg.vector_norm(expected.kspace)


@pytest.mark.parametrize(("value", "text"), [(0, r"constant \(0\)"), (77, r"constant \(77\)")])
def test_unknown_r_waves_are_an_error_with_a_hint(arrhythmic, tmp_path, value, text):
    def constant(heads):
        heads["physiology_time_stamp"] = value

    path = changed(arrhythmic, tmp_path / "unset.h5", constant, waveforms=False)
    with pytest.raises(DataError, match=text) as error:
        read(path)
    assert "contains no ECG" in error.value.what
    assert "--gating counter" in error.value.hint
    assert read(path, gating="auto")[1].gating.mode == "counter"


def test_the_plan_lists_the_recorded_signals(arrhythmic):
    (signal,) = open_scan(arrhythmic).plan.signals
    assert re.fullmatch(r"ECG \(0\): 5 channels, \d+\.\d s", signal)
    raw = read_mrd(arrhythmic)
    pulse = replace(raw.waveforms[0], number=6, values=raw.waveforms[0].values[:2])
    assert describe_waveforms([*raw.waveforms, pulse, replace(pulse, number=35)])[1:] == (
        "pulse before the scan (6): 2 channels, 0.5 s",
        "signal (35): 2 channels, 0.5 s",
    )


def test_waveforms_alone_give_the_r_waves(arrhythmic, tmp_path):
    def unset(heads):
        heads["physiology_time_stamp"] = 0

    data, plan = read(changed(arrhythmic, tmp_path / "ecg.h5", unset))
    expected, by_stamps = read(arrhythmic)
    assert plan.gating.source == "ECG"
    assert by_stamps.gating.source == "physiology_time_stamp"
    assert quality(data) == pytest.approx(quality(expected), abs=2.0)
    assert read(arrhythmic, r_waves="ecg")[1].gating.source == "ECG"


def test_the_error_names_what_is_wrong_with_the_ecg(arrhythmic, tmp_path):
    """Blocks without a sampling interval, which are not a missing ECG; and a source that a setting excludes."""

    def unset(heads):
        heads["physiology_time_stamp"] = 0

    path = changed(arrhythmic, tmp_path / "ecg.h5", unset)
    with pytest.raises(DataError, match=r"time_stamp is constant \(0\) \(preprocessing.r_waves is stamps\)"):
        read(path, gating="retro", r_waves="stamps")
    with h5py.File(path, "r+") as file:
        blocks = file["dataset/waveforms"][:]
        blocks["head"]["sample_time_us"] = 0
        file["dataset/waveforms"][:] = blocks
    with pytest.raises(DataError, match="its ECG has no samples at known times"):
        read(path, gating="retro")


def test_an_ecg_that_ends_before_the_scan_is_reported(tmp_path):
    def unset(heads):
        heads["physiology_time_stamp"] = 0

    config = ARRHYTHMIC.model_copy(update={"n_slices": 2, "ectopic": 0.0})
    path = changed(simulated(tmp_path, config), tmp_path / "ecg.h5", unset)
    with h5py.File(path, "r+") as file:
        n_blocks = len(file["dataset/waveforms"]) // 2
        file["dataset/waveforms"].resize((n_blocks,))
    with pytest.raises(DataError, match="slice 1 was measured outside the heartbeats that are used"):
        read(path)
    with h5py.File(path, "r+") as file:
        is_first = file["dataset/data"]["head"]["idx"]["slice"] == 0
        kept = file["dataset/data"][:][is_first]
        file["dataset/data"].resize((len(kept),))
        file["dataset/data"][:] = kept
        file["dataset/waveforms"].resize((n_blocks // 2,))
    data, _ = read(path)
    text = r"by the time stamps the ECG lasts from 0\.0 to .* s: only \d\d% of the readouts are gated"
    assert any(re.fullmatch(text, warning) for warning in data.meta.warnings)


def test_a_single_beat_is_gated_with_a_note(tmp_path):
    path = simulated(tmp_path, REGULAR.model_copy(update={"segments": 1}))
    data, plan = read(path)
    assert plan.gating.n_beats == 1
    assert any("one heartbeat without an R wave after it" in text for text in data.meta.warnings)
    assert quality(data) > 25


def test_lines_of_rejected_beats_alone_are_not_measured(arrhythmic):
    data, plan = read(arrhythmic, rr_window=0.07)
    lines = data.mask[:, 0].any(-1)
    missing = int((~lines.any(0)).sum())
    assert 0 < missing < 32
    assert any("were measured only in rejected beats" in text for text in data.meta.warnings)
    assert not data.kspace[:, :, ~lines.any(0)].any()
    assert plan.gating.coverage < 1


def test_implausible_beats_show_the_unit(arrhythmic):
    with pytest.raises(DataError, match="mean R-R interval by physiology_time_stamp is") as error:
        read(arrhythmic, tick_ms=0.1)
    assert "tick_ms" in error.value.hint


def test_real_time_frames_follow_the_counter(real_time):
    for gating in ("none", "auto", "counter"):
        data, plan = read(real_time, gating=gating)
        assert data.meta.is_real_time
        assert not data.meta.is_one_beat
        assert plan.lines_per_frame == 8
        assert np.diff(data.meta.frame_times_ms) == pytest.approx(24.0, abs=2.5)
    with h5py.File(real_time) as file:
        assert data.n_frames == 1 + file["dataset/data"][16:]["head"]["idx"]["phase"].max()


def test_real_time_frames_without_counters_end_where_a_line_recurs(tmp_path):
    def constant(heads):
        heads["idx"]["phase"] = 0

    scan = simulated(tmp_path, REGULAR.model_copy(update={"segments": None, "beats": 4, "noise": 1e-3}))
    path = changed(scan, tmp_path / "constant.h5", constant)
    data, _ = read(path, gating="none")
    expected, _ = read(scan, gating="none")
    assert torch.equal(data.kspace, expected.kspace)
    halves, _ = read(path, gating="none", real_time_lines=16)
    assert halves.n_frames == 2 * expected.n_frames
    assert torch.equal(halves.kspace[::2, :, :16] + halves.kspace[1::2, :, :16], expected.kspace[:, :, :16])


def test_real_time_scans_are_gated_retrospectively(real_time):
    data, plan = read(real_time)
    assert data.n_frames == 12
    assert plan.gating.n_beats == 8
    assert plan.gating.coverage > 0.95
    truth = Encoding(data.mask, data.csm, matrix=data.matrix).forward(data.reference)
    error = torch.linalg.vector_norm(truth - data.kspace) / torch.linalg.vector_norm(truth)
    assert error < 0.05


def test_implausible_stamps_do_not_matter_where_the_counter_is_taken(arrhythmic):
    plan = read(arrhythmic, tick_ms=0.1, gating="auto")[1]
    assert plan.gating.mode == "counter"
    assert plan.gating.n_beats == 0


def test_damaged_counters_are_refused_in_real_time(tmp_path):
    def damage(heads):
        heads["idx"]["phase"][9] = 4000

    scan = simulated(tmp_path, REGULAR.model_copy(update={"segments": None, "beats": 2, "noise": 1e-3}))
    with pytest.raises(HeaderError, match="phase = 4000"):
        read(changed(scan, tmp_path / "damaged.h5", damage), gating="none")
