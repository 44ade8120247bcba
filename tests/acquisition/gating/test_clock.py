"""Times of the readouts from time stamps that wrap around, start again at midnight, or count another unit."""

import shutil

import h5py
import numpy as np
import pytest
from timed_scan import ARRHYTHMIC, REGULAR, changed, simulated

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.gating.clock import read_clock, unwrap
from cinerecon.acquisition.open import open_scan
from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.hdf5_scan import read_mrd


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("clock"), REGULAR)


def clock_of(path, tick_ms=None):
    raw, notes = read_mrd(path), []
    return read_clock(Readouts(raw, np.arange(16, len(raw)), notes.append), tick_ms), notes


def test_counters_that_wrap_around_continue():
    stamps = np.array([2**32 - 3, 2**32 - 1, 1, 4], np.int64)
    assert np.diff(unwrap(stamps)).tolist() == [2, 2, 3]


def test_counters_that_start_again_at_midnight_continue():
    assert np.diff(unwrap(np.array([34_559_998, 1, 5]))).tolist() == [3, 4]
    assert np.diff(unwrap(np.array([86_399_990, 10]))).tolist() == [20]


def test_order_of_the_file_does_not_matter():
    assert unwrap(np.array([100, 90, 110])).tolist() == [100, 90, 110]
    assert unwrap(np.array([3, 34_559_998, 5])).tolist() == [3, -2, 5]


def test_wrapped_stamps_give_the_same_times(scan, tmp_path):
    def wrap(heads):
        heads["acquisition_time_stamp"] += np.uint32(2**32 - 14_400_400)  # wraps after a second

    path = changed(scan, tmp_path / "wrapped.h5", wrap)
    wrapped, plain = clock_of(path)[0], clock_of(scan)[0]
    assert np.array_equal(wrapped.time_ms, plain.time_ms)
    assert np.array_equal(wrapped.since_trigger_ms, plain.since_trigger_ms, equal_nan=True)


@pytest.mark.parametrize("unit_ms", [1.0, 0.1, 0.001])
def test_unit_is_found_by_the_repetition_time(scan, tmp_path, unit_ms):
    def rescale(heads):
        heads["acquisition_time_stamp"] = (heads["acquisition_time_stamp"] - 14_400_000) * (2.5 / unit_ms)
        heads["physiology_time_stamp"] = heads["physiology_time_stamp"] * (2.5 / unit_ms)

    path = changed(scan, tmp_path / "unit.h5", rescale)
    content = path.read_bytes().replace(b"<systemVendor>cinerecon<", b"<systemVendor>othervend<")
    path.write_bytes(content)
    (found, notes), (expected, _) = clock_of(path), clock_of(scan)
    assert found.tick_ms == unit_ms
    assert f"count {unit_ms:g} ms by the TR of 3 ms" in notes[0]
    assert np.abs(found.time_ms - expected.time_ms).max() <= 1
    assert np.nanmax(np.abs(found.since_trigger_ms - expected.since_trigger_ms)) <= 1


def test_physiological_stamps_may_count_another_unit(scan, tmp_path):
    def milliseconds(heads):
        heads["physiology_time_stamp"] = heads["physiology_time_stamp"] * 2.5

    (found, notes), (expected, _) = clock_of(changed(scan, tmp_path / "ms.h5", milliseconds)), clock_of(scan)
    assert notes == ["physiology_time_stamp counts 1 ms, acquisition_time_stamp 2.5 ms"]
    assert np.nanmax(np.abs(found.since_trigger_ms - expected.since_trigger_ms)) <= 1


def with_jitter(stamps):
    return np.maximum(stamps.astype(int) + np.random.default_rng(0).integers(-3, 4, len(stamps)), 0)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("acquisition_time_stamp", lambda stamps: stamps // 8 * 8),
        ("acquisition_time_stamp", with_jitter),
        ("physiology_time_stamp", with_jitter),
        ("physiology_time_stamp", lambda stamps: np.where(np.arange(len(stamps)) == 50, 10**9, stamps)),
    ],
    ids=["one of a shot", "jitter", "jitter of the trigger time", "damaged"],
)
def test_inexact_stamps_keep_the_unit(scan, tmp_path, name, change):
    """Errors of a few ms make the stamps decrease within a beat, and mix the order at its end."""

    def apply(heads):
        values = heads[name][:, 0] if heads[name].ndim == 2 else heads[name]
        values[:] = change(values)

    (found, notes), (expected, _) = clock_of(changed(scan, tmp_path / "inexact.h5", apply)), clock_of(scan)
    assert notes == []
    assert np.nanmax(np.abs(found.since_trigger_ms - expected.since_trigger_ms)) <= 7.5


def test_the_unit_of_stamps_that_several_readouts_share_is_found(scan, tmp_path):
    def shared(heads):
        stamps = 2500 * (heads["acquisition_time_stamp"] - 14_400_000)  # microseconds
        heads["acquisition_time_stamp"] = np.repeat(stamps[::4], 4)[: len(stamps)]
        heads["physiology_time_stamp"] = heads["physiology_time_stamp"] * 2500

    path = changed(scan, tmp_path / "shared.h5", shared)
    path.write_bytes(path.read_bytes().replace(b"<systemVendor>cinerecon<", b"<systemVendor>othervend<"))
    assert clock_of(path)[0].tick_ms == 0.001


def test_requested_unit_is_taken(scan):
    assert clock_of(scan, tick_ms=5.0)[0].time_ms == pytest.approx(2 * clock_of(scan)[0].time_ms)


def test_zero_is_an_unset_stamp(scan, tmp_path):
    def unset(heads):
        heads["physiology_time_stamp"][5:50] = 0

    clock, _ = clock_of(changed(scan, tmp_path / "unset.h5", unset))
    assert np.isnan(clock.since_trigger_ms[5:50]).all()
    assert np.isfinite(clock.since_trigger_ms[51:100]).all()


def test_constant_time_is_an_error(scan, tmp_path):
    def constant(heads):
        heads["acquisition_time_stamp"] = 7

    with pytest.raises(DataError, match=r"acquisition_time_stamp is constant \(7\)"):
        clock_of(changed(scan, tmp_path / "constant.h5", constant))


def warnings_of(path, **settings):
    texts = open_scan(path, AcquisitionConfig(**settings)).plan.warnings
    return [text for text in texts if "the unit is probably" in text]


def test_a_unit_that_contradicts_the_header_is_reported(scan, tmp_path):
    """The vendor's unit is 2.5 ms; stamps in ms make all times 2.5 times as long."""
    assert warnings_of(scan) == []

    def in_milliseconds(heads):
        heads["acquisition_time_stamp"] = np.round(2.5 * heads["acquisition_time_stamp"].astype(float))
        heads["physiology_time_stamp"] = np.round(2.5 * heads["physiology_time_stamp"].astype(float))

    other = changed(scan, tmp_path / "ms.h5", in_milliseconds)
    (text,) = warnings_of(other)
    assert "the unit is probably 1 ms" in text
    assert warnings_of(other, tick_ms=1.0) == []
    times = [
        open_scan(path, AcquisitionConfig(tick_ms=tick)).read_slice(0).meta.frame_times_ms
        for path, tick in ((scan, 2.5), (other, 1.0))
    ]
    assert times[1] == pytest.approx(times[0], abs=0.5)


def test_left_out_readouts_are_no_contradiction(scan, tmp_path):
    """Every other time: the readouts are twice as far apart as by the header, which no unit explains."""

    def twice_as_long(heads):
        stamps = heads["acquisition_time_stamp"].astype(np.int64)
        heads["acquisition_time_stamp"] = stamps[0] + 2 * (stamps - stamps[0])

    assert warnings_of(changed(scan, tmp_path / "sparse.h5", twice_as_long)) == []


def test_an_undersampled_copy_of_a_scan_is_no_contradiction(scan, tmp_path):
    """Without most of its readouts, the others are 2.5 times as far apart on average, but some are adjacent."""
    path = tmp_path / "undersampled.h5"
    shutil.copy(scan, path)
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"][:]
        rng = np.random.default_rng(0)
        kept = rows[np.arange(len(rows)) < 16]
        kept = np.concatenate([kept, rows[16:][rng.random(len(rows) - 16) < 0.36]])
        file["dataset/data"].resize((len(kept),))
        file["dataset/data"][:] = kept
    assert warnings_of(path) == []


def test_an_ecg_without_a_beat_during_the_readouts_does_not_gate(tmp_path):
    """The clock of the readouts is wrong by a factor: all R waves come after the last readout."""

    def slow(heads):
        heads["acquisition_time_stamp"] = np.round(1e-3 * heads["acquisition_time_stamp"].astype(float))
        heads["physiology_time_stamp"] = 0

    path = changed(simulated(tmp_path, ARRHYTHMIC), tmp_path / "slow.h5", slow)
    assert open_scan(path, AcquisitionConfig()).read_slice(0).n_frames > 1
    with pytest.raises(DataError, match="the R waves are unknown"):
        open_scan(path, AcquisitionConfig(gating="retro"))
