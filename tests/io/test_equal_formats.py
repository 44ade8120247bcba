"""The same scan through every format of raw data: k-space, masks, maps, geometry, plan and warnings are equal.

The scans are unusual, and allowed: interleaved slices, odd sizes, readouts that are no image lines, several encodings.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import formats_folder
from siemens_scan import as_twix, siemens_scan
from twix_file import write_twix

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.errors import CineReconError
from cinerecon.io.ismrmrd.waveforms import Waveform
from cinerecon.io.raw_file import read_raw_scan, write_raw_scan

PLAIN = AcquisitionConfig(csm="walsh")
ENDINGS = (".h5", ".mrd", ".mrd2")
NAVIGATION, PHASE_CORRECTION, DUMMY, FEEDBACK, CALIBRATION = 23, 24, 27, 28, 20


def interleaved(scan):
    """Line by line, all slices and frames in turn, in a shuffled order."""
    scan.keep(np.random.default_rng(0).permutation(len(scan.heads)))


def not_of_the_image(scan):
    """Readouts of other kinds, of large amplitude, before, between and after the lines of the image."""
    n = len(scan.heads)
    for flags in ((NAVIGATION, FEEDBACK), (PHASE_CORRECTION,), (DUMMY,)):
        for row in (0, n // 2):
            scan.append(row, 1e3 * scan.samples[row])
            for flag in flags:
                scan.flag(len(scan.heads) - 1, flag)
    order = np.concatenate([[n, n + 2], np.arange(n // 2), [n + 4, n + 1], np.arange(n // 2, n), [n + 3, n + 5]])
    scan.keep(order.astype(int))


def asymmetric(scan):
    scan.samples = [samples[:, 5:] for samples in scan.samples]
    scan.heads["number_of_samples"] -= 5
    scan.heads["center_sample"] -= 5


def discarded(scan):
    """Three samples at the start and one at the end that are no part of the echo."""
    scan.samples = [np.pad(samples, ((0, 0), (3, 1)), constant_values=7e3) for samples in scan.samples]
    scan.heads["number_of_samples"] += 4
    scan.heads["center_sample"] += 3
    scan.heads["discard_pre"], scan.heads["discard_post"] = 3, 1


def times_past_midnight(scan):
    day = 24 * 3600 * 400
    scan.heads["acquisition_time_stamp"] = (day - 40 + np.arange(len(scan.heads))) % day


ALL = {
    "plain": lambda scan: None,
    "interleaved": interleaved,
    "not of the image": not_of_the_image,
    "asymmetric": asymmetric,
    "discarded": discarded,
    "past midnight": times_past_midnight,
}


def two_encodings(scan):
    """A second encoding of another size, with readouts of its own between those of the first."""
    other = (
        "<encoding><encodedSpace><matrixSize><x>8</x><y>4</y><z>1</z></matrixSize><fieldOfView_mm><x>640</x><y>240</y>"
        "<z>8</z></fieldOfView_mm></encodedSpace><reconSpace><matrixSize><x>4</x><y>4</y><z>1</z></matrixSize>"
        "<fieldOfView_mm><x>320</x><y>240</y><z>8</z></fieldOfView_mm></reconSpace><encodingLimits>"
        "<kspace_encoding_step_1><minimum>0</minimum><maximum>3</maximum><center>2</center></kspace_encoding_step_1>"
        "</encodingLimits><trajectory>cartesian</trajectory></encoding>"
    )
    scan.space["extra"] = other + scan.space["extra"]
    for line in range(4):
        head = scan.append(line, scan.samples[line][:, :8])
        head["encoding_space_ref"], head["center_sample"], head["idx"]["kspace_encode_step_1"] = 1, 4, line
    scan.keep(np.argsort(np.arange(len(scan.heads)) % 9, kind="stable"))


def noise_in_the_middle(scan):
    noise = np.random.default_rng(1).standard_normal((8, 3, 50, 2)).astype(np.float32).view(np.complex64)[..., 0]
    n = len(scan.heads)
    for samples in noise:
        scan.append(0, samples)
        scan.flag(len(scan.heads) - 1, 19)
    scan.keep(np.concatenate([np.arange(n // 3), np.arange(n, n + 8), np.arange(n // 3, n)]))


def trajectories(scan):
    """The position of each sample, which a Cartesian scan may store."""
    n = scan.samples[0].shape[1]
    scan.heads["trajectory_dimensions"] = 2
    x, ky = np.arange(n) / n - 0.5, scan.heads["idx"]["kspace_encode_step_1"] / scan.space["matrix"][1] - 0.5
    scan.trajectories = [np.stack([x, np.full(n, y)], 1).astype(np.float32) for y in ky]


def calibration(scan):
    line, frame = (scan.heads["idx"][name].astype(int) for name in ("kspace_encode_step_1", "phase"))
    centre = scan.space["limits"]["kspace_encoding_step_1"][1]
    is_image, is_central = (line + frame) % 2 == 0, np.abs(line - centre) <= 3
    for row in np.flatnonzero(is_central & ~is_image):
        scan.flag(row, CALIBRATION)
    scan.keep(is_image | is_central)


STREAMS = ALL | {
    "two encodings": two_encodings,
    "noise in the middle": noise_in_the_middle,
    "trajectories": trajectories,
    "calibration": calibration,
}


def opened(path):
    """The scan and its slices, or the error."""
    try:
        scan = open_scan(path, PLAIN)
        return scan, [scan.read_slice(number) for number in range(scan.n_slices)]
    except CineReconError as error:
        return error


def assert_equal(result, expected, *, tolerance=0.0):
    if isinstance(expected, CineReconError):
        assert isinstance(result, type(expected))
        assert result.what.split(";")[0] == expected.what.split(";")[0]
        return
    assert not isinstance(result, CineReconError), result
    (scan, slices), (source, truth) = result, expected
    assert len(slices) == len(truth)
    for data, wanted in zip(slices, truth, strict=True):
        assert torch.equal(data.kspace, wanted.kspace) and torch.equal(data.mask, wanted.mask)
        assert data.csm is None if wanted.csm is None else torch.equal(data.csm, wanted.csm)
        assert data.meta.frame_times_ms == wanted.meta.frame_times_ms
        assert data.meta.pixel_size_mm == pytest.approx(wanted.meta.pixel_size_mm, rel=1e-6)
        assert data.meta.slice_thickness_mm == pytest.approx(wanted.meta.slice_thickness_mm, rel=1e-6)
        own, other = data.meta.geometry, wanted.meta.geometry
        for name in ("position_mm", "read_dir", "phase_dir", "slice_dir") if other is not None else ():
            assert np.allclose(getattr(own, name), getattr(other, name), rtol=0, atol=tolerance), name
        assert (own is None) == (other is None)
        assert data.meta.warnings == wanted.meta.warnings
    for name in ("dropped", "noise", "warnings", "gating"):
        assert getattr(scan.plan, name) == getattr(source.plan, name), name


@pytest.mark.parametrize("matrix", [(12, 16), (15, 17)])
@pytest.mark.parametrize("case", STREAMS)
def test_streams_are_equal_to_the_file(tmp_path, case, matrix):
    scan = siemens_scan(n_slices=3, n_frames=2, matrix=matrix)
    STREAMS[case](scan)
    raw = read_raw_scan(scan.write(tmp_path / "scan.h5"))
    raw = replace(raw, waveforms=(Waveform(1, 5, 2500.0, np.ones((2, 4), np.uint32)),))
    expected = opened(tmp_path / "scan.h5")
    assert not isinstance(expected, CineReconError), expected
    for ending in ENDINGS:
        path = tmp_path / f"converted{ending}"
        write_raw_scan(raw, path)
        assert_equal(opened(path), expected)


@pytest.mark.parametrize("matrix", [(12, 16), (15, 17)])
@pytest.mark.parametrize("case", ALL)
def test_siemens_raw_data_are_equal_to_the_file(tmp_path, case, matrix):
    scan = siemens_scan(n_slices=3, n_frames=2, matrix=matrix)
    ALL[case](scan)
    expected = opened(scan.write(tmp_path / "scan.h5"))
    assert_equal(opened(write_twix(tmp_path / "scan.dat", as_twix(scan))), expected, tolerance=1e-4)


@pytest.mark.skipif(not (formats_folder() / "bad").exists(), reason="needs ../shared/formats")
def test_files_of_other_programs_and_damaged_ones_are_judged_alike(tmp_path):
    paths = [*(formats_folder() / "bad").glob("*.h5"), *(formats_folder() / "shepp").glob("*.h5")]
    n_compared = 0
    for path in sorted(paths):
        try:
            raw = read_raw_scan(path)
        except CineReconError:
            continue  # a defect of the container
        expected = opened(path)
        for ending in (".mrd", ".mrd2"):
            target = tmp_path / f"converted{ending}"
            try:
                write_raw_scan(raw, target, force=True)
            except CineReconError:
                assert isinstance(expected, CineReconError), path.name
                continue
            assert_equal(opened(target), expected)
            n_compared += 1
    assert n_compared > 60
