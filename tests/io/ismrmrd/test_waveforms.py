"""The ECG of raw scans: of another program's files, and damaged ones, which leave the images as they are."""

import h5py
import numpy as np
import pytest
from helpers import formats_folder
from ismrmrd.hdf5 import waveform_dtype
from raw_scan import small_scan

from cinerecon.acquisition.gating.clock import read_clock
from cinerecon.acquisition.gating.r_waves import r_waves_of_ecg
from cinerecon.acquisition.open import open_scan
from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.io.ismrmrd import waveforms
from cinerecon.io.ismrmrd.hdf5_scan import read_mrd
from cinerecon.io.ismrmrd.waveforms import ecg_of


def with_waveforms(path, rows):
    small_scan().write(path)
    with h5py.File(path, "r+") as file:
        file["dataset"].create_dataset("waveforms", data=rows, maxshape=(None,), chunks=(1,))
    return path


def blocks(n):
    rows = np.zeros(n, waveform_dtype)
    for number, row in enumerate(rows):
        row["head"]["channels"], row["head"]["number_of_samples"] = 2, 10
        row["head"]["sample_time_us"], row["head"]["time_stamp"] = 2500.0, 100 + 10 * number
        row["data"] = np.arange(20, dtype=np.uint32) + number
    return rows


def test_blocks_are_read_with_their_times(tmp_path):
    rows = blocks(3)
    rows["head"]["waveform_id"][1] = 5  # the learning phase of a converter
    raw = read_mrd(with_waveforms(tmp_path / "scan.h5", rows))
    assert [block.time_stamp for block in raw.waveforms] == [100, 110, 120]
    assert [block.time_stamp for block in ecg_of(raw.waveforms)] == [100, 120]
    np.testing.assert_array_equal(raw.waveforms[2].values, 2 + np.arange(20).reshape(2, 10))
    assert raw.warnings == ()


def test_damaged_blocks_are_left_out_with_a_warning(tmp_path):
    rows = blocks(4)
    rows["head"]["number_of_samples"][0] = 11
    rows["head"]["sample_time_us"][2] = np.nan
    raw = read_mrd(with_waveforms(tmp_path / "scan.h5", rows))
    assert [block.time_stamp for block in raw.waveforms] == [110, 120, 130]
    assert [block.time_stamp for block in ecg_of(raw.waveforms)] == [110, 130]
    assert raw.warnings == (
        "1 waveforms do not contain as many samples as their headers declare: they are omitted",
        "1 ECG blocks are empty or have no sampling interval: they are not used for gating",
    )


def test_the_ecg_is_read_where_other_signals_are_too_long(tmp_path, monkeypatch):
    rows = blocks(3)
    rows["head"]["waveform_id"][1:] = 4
    path = with_waveforms(tmp_path / "scan.h5", rows)
    monkeypatch.setattr(waveforms, "MAX_WAVEFORM_SAMPLES", 30)
    raw = read_mrd(path)
    assert [block.number for block in raw.waveforms] == [0]
    assert "all except the ECG are omitted" in raw.warnings[0]
    monkeypatch.setattr(waveforms, "MAX_WAVEFORM_SAMPLES", 10)
    assert read_mrd(path).waveforms == () and "omitted" in read_mrd(path).warnings[0]


def test_another_kind_of_array_is_not_used_and_the_scan_is_read(tmp_path):
    path = with_waveforms(tmp_path / "scan.h5", np.arange(5))
    assert "not stored as the standard requires" in read_mrd(path).warnings[0]
    assert bool(open_scan(path).read_slice(0).kspace.any())


@pytest.mark.parametrize("name", ["fs_avanto_pres.h5", "fs_sola_stk.h5"])
def test_r_waves_in_files_of_another_program(name):
    """The heart beats every 340 samples of 2.5 ms."""
    path = formats_folder() / "ocmr_like" / name
    if not path.exists():
        pytest.skip(f"{path} is missing")
    raw = read_mrd(path)
    if not raw.waveforms:
        pytest.skip(f"{name} has no ECG")
    clock = read_clock(Readouts(raw, np.arange(len(raw))), None)
    waves = r_waves_of_ecg(raw.waveforms, clock)
    assert len(waves) > 3
    assert np.diff(waves) == pytest.approx(850.0, abs=5.0)
