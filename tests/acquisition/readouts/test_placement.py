"""Placement of the readouts on the grid: echo centre, direction, averages."""

import numpy as np
import pytest
import torch
from helpers import relative_error
from raw_scan import small_scan

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.errors import DataError

PLAIN = AcquisitionConfig(csm="walsh")


@pytest.mark.parametrize("vendor", ["SIEMENS", "GE"])
@pytest.mark.parametrize("early", [True, False])
def test_asymmetric_echo(read, vendor, early):
    """Missing samples are False in the mask; what is True is near the truth although it was interpolated."""
    scan = small_scan(matrix=(12, 32), vendor=vendor)
    missing = 16
    for i, samples in enumerate(scan.samples):
        scan.samples[i] = samples[:, missing:] if early else samples[:, :-missing]
    scan.heads["number_of_samples"] -= missing
    scan.heads["center_sample"] -= missing if early else 0
    data = read(scan)
    assert data.mask.shape == (3, 1, 12, 32)
    first_missing = early == (vendor != "SIEMENS")  # mirroring k-space puts the gap on the other side
    columns = data.mask[0, 0, 0]
    assert columns.sum() == pytest.approx(32 - missing / 2, abs=2)
    assert bool(columns[2 if first_missing else -2]) is False
    assert bool(columns[-2 if first_missing else 2]) is True
    assert relative_error(data.kspace, scan.kspace[0] * data.mask) < 0.04
    assert data.kspace[~data.mask.expand_as(data.kspace)].abs().max() == 0
    assert data.reference is not None


def test_each_readout_by_its_own_centre(read):
    scan = small_scan(oversampling=1, vendor="GE")
    late = np.arange(len(scan.heads)) % 2 == 1
    for i in np.flatnonzero(late):
        scan.samples[i] = scan.samples[i][:, 5:]
    scan.heads["number_of_samples"][late], scan.heads["center_sample"][late] = 11, 3
    data = read(scan)
    expected = torch.ones(12, 16, dtype=torch.bool)
    expected[1::2, :5] = False
    assert torch.equal(data.mask[1, 0], expected)
    assert relative_error(data.kspace, scan.kspace[0] * expected) < 1e-5


@pytest.mark.parametrize("is_zero", [True, False])
def test_discarded_samples_of_reversed_readouts_are_at_the_other_end_of_kspace(read, is_zero):
    """An asymmetric echo in readouts of all columns, of which every other one is reversed."""
    scan = small_scan(matrix=(12, 32), oversampling=1, vendor="GE")
    for i, samples in enumerate(scan.samples):
        samples[:, :10] = 0 if is_zero else 1e3
        scan.heads["discard_pre"][i] = 0 if is_zero else 10
        if i % 2:
            scan.samples[i] = samples[:, ::-1]
            scan.flag(i, 22)
            scan.heads["discard_post"][i], scan.heads["discard_pre"][i] = scan.heads["discard_pre"][i], 0
    data = read(scan)
    assert relative_error(data.kspace, scan.kspace[0] * (torch.arange(32) >= 10)) < 1e-5


def test_discarded_samples_of_lines_counted_above_the_matrix(read):
    """The centre is line 8 of a matrix of 12 lines, so rows of the matrix begin two lines after those of the file."""
    scan = small_scan(matrix=(12, 32), oversampling=1, vendor="GE")
    for samples in scan.samples:
        samples[:, :10] = 1e3
    scan.heads["discard_pre"] = 10
    scan.heads["idx"]["kspace_encode_step_1"] += 2
    scan.space["limits"]["kspace_encoding_step_1"] = (13, 8)
    data = read(scan)
    assert relative_error(data.kspace, scan.kspace[0] * (torch.arange(32) >= 10)) < 1e-5


@pytest.mark.parametrize("counted_before", [True, False])
def test_discarded_samples(read, counted_before):
    """center_sample counts from the first stored sample, or after the discarded ones; here one of the two fits."""
    scan = small_scan(oversampling=1, vendor="GE")
    for i, samples in enumerate(scan.samples):
        junk = np.full((3, 6), 1e3, np.complex64)
        scan.samples[i] = np.concatenate([junk[:, :4], samples[:, 4:], junk[:, :2]], 1)
    scan.heads["number_of_samples"] = 18
    scan.heads["discard_pre"], scan.heads["discard_post"] = 4, 2
    scan.heads["center_sample"] = 8 if counted_before else 4
    data = read(scan)
    mask = torch.arange(16) >= 4
    assert relative_error(data.kspace, scan.kspace[0] * mask) < 1e-5


def test_zeros_in_place_of_an_asymmetric_echo_are_not_discarded_samples(read):
    """Nothing is reported of how center_sample is counted where the header discards no samples."""
    scan = small_scan(oversampling=1, vendor="GE")
    for samples in scan.samples:
        samples[:, :4] = 0
    data = read(scan)
    assert relative_error(data.kspace, scan.kspace[0] * (torch.arange(16) >= 4)) < 1e-5
    assert any("only zeros" in text for text in data.meta.warnings)
    assert not any("center_sample" in text for text in data.meta.warnings)


def test_reversed_readouts(read):
    scan = small_scan()
    for i in range(0, len(scan.heads), 2):
        scan.samples[i] = scan.samples[i][:, ::-1]
        scan.flag(i, 22)
    scan.heads["center_sample"][:] = 16
    assert relative_error(read(scan).kspace, scan.kspace[0]) < 1e-5


def test_pilot_tone_by_name(read):
    scan = small_scan(oversampling=1)
    for samples in scan.samples:
        samples[:, :3] = samples[:, -1:] = 1e4
    parameter = "<userParameterLong><name>{}</name><value>1</value></userParameterLong>"
    scan.space["extra"] = (
        f"<userParameters>{parameter.format('Other') + parameter.format('PilotTone')}</userParameters>"
    )
    data = read(scan)
    assert data.mask[0, 0].sum(-1).unique().tolist() == [12]
    assert relative_error(data.kspace, scan.kspace[0] * data.mask) < 1e-5


def test_averages_are_averaged_where_they_are(read):
    """Two averages of different size; the second lacks a line, which then keeps the value of the first."""
    scan = small_scan(vendor="GE")
    for row in range(1, 36):
        scan.append(row, 1.2 * scan.samples[row])["idx"]["average"] = 1
    data = read(scan)
    weight = torch.full((3, 1, 12, 1), 1.1)
    weight[0, 0, 0] = 1
    assert relative_error(data.kspace, scan.kspace[0] * weight) < 1e-5


def test_double_line_is_averaged_with_a_warning(tmp_path):
    scan = small_scan(vendor="GE")
    scan.append(7, 1.2 * scan.samples[7])
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    weight = torch.ones(3, 1, 12, 1)
    weight[0, 0, 7] = 1.1
    assert relative_error(opened.read_slice(0).kspace, scan.kspace[0] * weight) < 1e-5
    assert any("more than once" in warning for warning in opened.plan.warnings)


@pytest.mark.parametrize("average", [0, 1])
def test_repeats_of_another_gain_are_refused_where_they_are_some_lines(tmp_path, average):
    """Their mean would have another amplitude than the lines around them. A gain of all lines is one of the image."""
    scan = small_scan(vendor="GE")
    for row in range(4, 9):
        scan.append(row, 5 * scan.samples[row])["idx"]["average"] = average
    path = scan.write(tmp_path / "scan.h5")
    with pytest.raises(DataError, match="differ in amplitude: the last ones have 5 times") as caught:
        open_scan(path, PLAIN)
    assert "repeats=average" in caught.value.hint
    data = open_scan(path, AcquisitionConfig(csm="walsh", repeats="average")).read_slice(0)
    assert data.kspace[0, :, 4].norm() == pytest.approx(3 * scan.kspace[0, 0, :, 4].norm().item(), rel=1e-4)
    for row in (*range(4), *range(9, 36)):
        scan.append(row, 5 * scan.samples[row])["idx"]["average"] = average
    opened = open_scan(scan.write(path), AcquisitionConfig(csm="walsh", repeats="auto" if average else "average"))
    assert relative_error(opened.read_slice(0).kspace, 3 * scan.kspace[0]) < 1e-5
    assert any("5 times the amplitude of the first: they are averaged" in text for text in opened.plan.warnings)


def test_an_image_without_central_lines_is_refused(tmp_path):
    scan = small_scan(vendor="GE")
    scan.keep(abs(scan.heads["idx"]["kspace_encode_step_1"].astype(int) - 6) > 2)
    with pytest.raises(DataError, match="no line at the centre of k-space, line 6; the nearest are 3 and 9"):
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)


@pytest.mark.parametrize("centre", [6, 4])
def test_the_echo_decides_where_both_readings_fit(read, centre):
    scan = small_scan(oversampling=1, vendor="GE")
    junk = np.full((3, 2), 1e3, np.complex64)
    scan.samples = [np.concatenate([junk, samples[:, 4:14], junk], 1) for samples in scan.samples]
    scan.heads["number_of_samples"], scan.heads["center_sample"] = 14, centre
    scan.heads["discard_pre"] = scan.heads["discard_post"] = 2
    mask = (torch.arange(16) >= 4) & (torch.arange(16) < 14)
    assert relative_error(read(scan).kspace, scan.kspace[0] * mask) < 1e-5


def test_the_pilot_tone_spoils_reversed_readouts_at_their_other_end(read):
    scan = small_scan(oversampling=1, vendor="GE")
    mask = torch.ones(12, 16, dtype=torch.bool)
    for i, samples in enumerate(scan.samples):
        if i % 2:
            scan.samples[i] = samples = samples[:, ::-1].copy()
            scan.flag(i, 22)
        samples[:, :3] = samples[:, -1:] = 1e4
    mask[::2, :3], mask[::2, -1:], mask[1::2, :1], mask[1::2, -3:] = (False,) * 4
    parameter = "<userParameterLong><name>PilotTone</name><value>1</value></userParameterLong>"
    scan.space["extra"] = f"<userParameters>{parameter}</userParameters>"
    data = read(scan)
    assert torch.equal(data.mask[1, 0], mask)
    assert relative_error(data.kspace, scan.kspace[0] * mask) < 1e-5


@pytest.mark.parametrize("partial", [1.0, 0.75])
def test_lines_numbered_without_those_between_are_refused(read, partial):
    """They are those of a scan with twofold acceleration, so that the image would be stretched."""
    scan = small_scan(matrix=(24, 32))
    lines = scan.heads["idx"]["kspace_encode_step_1"]
    scan.keep((lines % 2 == 0) & (lines < 24 * partial))
    scan.space["extra_encoding"] = PARALLEL
    with_gaps = read(scan)
    assert with_gaps.mask[0].sum() == 12 * partial
    scan.heads["idx"]["kspace_encode_step_1"] //= 2
    scan.space["limits"]["kspace_encoding_step_1"] = (11, 6)
    with pytest.raises(
        DataError, match=r"2-fold acceleration along ky and 24 rows, but lines 0 to .* numbered without"
    ):
        read(scan)


def test_lines_without_gaps_that_fill_the_grid_are_in_place(read):
    """The header has the acceleration of the protocol, but the missing lines were filled in."""
    scan = small_scan(matrix=(24, 32))
    scan.space["extra_encoding"] = PARALLEL
    assert relative_error(read(scan).kspace, scan.kspace[0]) < 1e-5


PARALLEL = (
    "<parallelImaging><accelerationFactor><kspace_encoding_step_1>2</kspace_encoding_step_1>"
    "<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor></parallelImaging>"
)


@pytest.mark.parametrize("position", [1, 2])
def test_navigators_in_place_of_repeats_are_refused(tmp_path, position):
    """They are not flagged and have the number of a weak line, alone or between two measurements of it."""
    scan = small_scan(matrix=(32, 32), vendor="GE")
    centre, weak = 16, 3
    for measurement, frame in np.ndindex(2, 3):
        scan.append(weak + 32 * frame, scan.samples[(centre if measurement + 1 == position else weak) + 32 * frame])
    with pytest.raises(DataError, match="were measured more than once, and the measurements differ"):
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)


def test_shorter_readouts_of_another_contrast_are_refused(tmp_path):
    """Calibration lines that lost their flag, of half the resolution along x."""
    scan = small_scan(matrix=(32, 32), vendor="GE")
    for row in range(12, 20):
        scan.append(row, 3 * np.roll(scan.samples[row], 2, axis=1)[:, 16:48])["center_sample"] = 16
    with pytest.raises(DataError, match="8 lines were measured more than once, and the measurements differ"):
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ([], ""),
        ([0], ""),
        ([7, 8], "lines 7, 8 of 0 to 23"),
        ([4, 12, 20], "lines 4, 12, 20 of 0 to 23"),
        (range(17, 24), "lines 17 to 23 of 0 to 23"),
        (range(1, 24, 2), ""),
    ],
)
def test_lines_that_no_frame_measured_are_reported(tmp_path, lost, words):
    """A scan that was stopped lacks the last lines, or every n-th one; an undersampled one lacks many."""
    scan = small_scan(matrix=(24, 16))
    scan.keep(~np.isin(scan.heads["idx"]["kspace_encode_step_1"], list(lost)))
    texts = [
        text for text in open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan.warnings if "in any frame" in text
    ]
    assert len(texts) == bool(words)
    assert words in "".join(texts)


@pytest.mark.parametrize(("name", "value"), [("measurement_uid", 7), ("sample_time_us", 4.0)])
def test_readouts_of_two_measurements_in_one_slice_are_reported(tmp_path, name, value):
    scan = small_scan(n_slices=2)
    path = tmp_path / "scan.h5"
    for changed, n_reported in ((scan.heads["idx"]["slice"] == 1, 0), (slice(10), 1)):
        scan.heads[name][changed] = value
        texts = [text for text in open_scan(scan.write(path), PLAIN).plan.warnings if f"readouts with {name}" in text]
        assert len(texts) == n_reported
