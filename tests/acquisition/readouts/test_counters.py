"""Slices and frames from the counters of the readouts."""

import numpy as np
import pytest
from helpers import relative_error
from raw_scan import PHASE, READ, SLICE, small_scan

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan, read_slices
from cinerecon.errors import DataError, HeaderError, UnsupportedError

PLAIN = AcquisitionConfig(csm="walsh")


def test_slices_by_position(tmp_path):
    scan = small_scan(n_slices=3)
    order = np.array([2, 0, 1])
    scan.heads["position"][:, 2] = 10.0 * order[scan.heads["idx"]["slice"]]
    slices = list(read_slices(scan.write(tmp_path / "scan.h5"), PLAIN))
    for number, data in enumerate(slices):
        assert relative_error(data.kspace, scan.kspace[list(order).index(number)]) < 1e-5
        assert data.meta.slice == number
        assert data.meta.geometry.position_mm == (0, 0, 10 * number)
    geometry = slices[0].meta.geometry
    np.testing.assert_allclose([geometry.read_dir, geometry.phase_dir, geometry.slice_dir], [READ, PHASE, SLICE])


def test_slices_of_different_length(tmp_path):
    scan = small_scan(n_slices=2)
    last = (scan.heads["idx"]["slice"] == 1) & (scan.heads["idx"]["phase"] == 2)
    scan.keep(~last)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert opened.plan.n_frames == (3, 2)
    assert relative_error(opened.read_slice(1).kspace, scan.kspace[1, :2]) < 1e-5


def test_frames_in_repetition(read):
    scan = small_scan()
    scan.heads["idx"]["repetition"] = scan.heads["idx"]["phase"]
    scan.heads["idx"]["phase"] = 0
    scan.space["limits"]["repetition"] = scan.space["limits"].pop("phase")
    assert relative_error(read(scan).kspace, scan.kspace[0]) < 1e-5


def test_one_value_of_a_counter_can_be_chosen(tmp_path):
    scan = small_scan(vendor="GE")
    for row in range(36):
        scan.append(row, 5 * scan.samples[row])["idx"]["contrast"] = 1
    path = scan.write(tmp_path / "scan.h5")
    with pytest.raises(UnsupportedError, match="2 contrasts") as caught:
        open_scan(path)
    assert "select.contrast=0" in caught.value.hint
    for value, factor in ((0, 1), (1, 5)):
        config = PLAIN.with_settings([f"select.contrast={value}"])
        assert relative_error(open_scan(path, config).read_slice(0).kspace, factor * scan.kspace[0]) < 1e-5


def test_limits_that_are_too_small_give_a_warning(tmp_path):
    scan = small_scan(n_slices=2)
    scan.space["limits"].update(phase=(0, 0), slice=(0, 0))
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(1).kspace, scan.kspace[1]) < 1e-5
    assert sum("too small" in warning for warning in opened.plan.warnings) == 2


def test_counters_with_other_numbers_than_in_the_header_give_a_warning(tmp_path):
    """As many values as by the header, or a constant that was not reset when one value was extracted."""
    scan = small_scan(n_slices=2)
    scan.space["limits"].update(contrast=(0, 0), repetition=(0, 0))
    scan.heads["idx"]["slice"] *= 10
    scan.heads["idx"]["contrast"], scan.heads["idx"]["repetition"] = 3, 5
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(1).kspace, scan.kspace[1]) < 1e-5
    texts = [text for text in opened.plan.warnings if "in the header" in text]
    assert texts == [
        "slice is 0, 10 in the readouts, but 0 to 1 in the header",
        "contrast is 3 in the readouts, but 0 to 0 in the header",
        "repetition is 5 in the readouts, but 0 to 0 in the header",
    ]
    scan.heads["idx"]["slice"][:36] = 0
    scan.heads["idx"]["slice"][36:] = 1
    scan.heads["idx"]["slice"][-1] = 10
    with pytest.raises(HeaderError, match="slice = 10, limit 1"):
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)


def test_counters_that_start_at_one(tmp_path):
    scan = small_scan(n_slices=2)
    for name in ("phase", "slice"):
        scan.heads["idx"][name] += 1
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(1).kspace, scan.kspace[1]) < 1e-5
    assert sum("is counted from 1 to" in warning for warning in opened.plan.warnings) == 2


def test_counters_may_begin_at_one(tmp_path):
    scan = small_scan(n_slices=2)
    for counter, maximum in (("phase", 3), ("slice", 2)):
        scan.heads["idx"][counter] += 1
        scan.space["limits"][counter] = (maximum, 1, 1)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert not any("slices" in warning or "limit" in warning for warning in opened.plan.warnings)
    assert relative_error(opened.read_slice(1).kspace, scan.kspace[1]) < 1e-5
    scan.space["limits"]["phase"] = (2, 1, 1)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert any("limit of phase (2) is too small" in warning for warning in opened.plan.warnings)
    scan.space["limits"]["phase"] = (3, 1, 1)
    scan.keep(scan.heads["idx"]["phase"] > 1)
    with pytest.raises(DataError, match="frame 0 of 3 holds no lines"):
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    scan.space["limits"]["phase"] = (2, 1, 1)
    with pytest.raises(HeaderError, match="phase = 3, limit 2"):
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)


@pytest.mark.parametrize(("spacing", "is_reported"), [(8.0, False), (10.0, False), (6.0, False), (2.7, True)])
def test_a_thickness_of_all_slices_together_is_reported(tmp_path, spacing, is_reported):
    """Three slices of 8 mm, which do not overlap by much unless 8 mm is the extent of the stack."""
    scan = small_scan(n_slices=3)
    scan.heads["position"][:, 2] = spacing * scan.heads["idx"]["slice"]
    warnings = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan.warnings
    assert any("slices of 8 mm are 2.7 mm apart" in text for text in warnings) == is_reported


def test_overlapping_slices_are_not_reported(tmp_path):
    scan = small_scan(n_slices=6)
    scan.heads["position"][:, 2] = 4.0 * scan.heads["idx"]["slice"]
    assert not [text for text in open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan.warnings if "apart" in text]
    scan.space["thickness"] = 24
    warnings = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan.warnings
    assert any("slices of 24 mm are 4 mm apart" in text for text in warnings)
