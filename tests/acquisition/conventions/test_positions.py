"""Scans whose slices are numbered or placed differently from the standard: the right image, or an error with a hint."""

import numpy as np
import pytest
from helpers import relative_error
from raw_scan import PHASE, READ, SLICE, assert_slices, small_scan, warned

from cinerecon.errors import UnsupportedError


class TestPositions:
    def test_a_position_in_the_first_readout_alone(self, opened):
        scan = small_scan(n_slices=2)
        for name in ("position", "read_dir", "phase_dir", "slice_dir"):
            for rows in (slice(1, 36), slice(37, None)):
                scan.heads[name][rows] = 0
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert warned(result, "70 of 72 readouts have no position")
        assert [result.read_slice(n).meta.geometry.position_mm[2] for n in range(2)] == [0, 10]

    def test_slices_are_distinguished_by_position(self, opened):
        scan = small_scan(n_slices=3)
        scan.heads["idx"]["slice"] = 0
        scan.space["limits"]["slice"] = (0, 0)
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert warned(result, "the slice counter is 0 at 3 positions")
        assert [result.read_slice(n).meta.geometry.position_mm[2] for n in range(3)] == [0, 10, 20]

    def test_slices_are_distinguished_by_direction(self, opened):
        scan = small_scan(n_slices=2)
        second = scan.heads["idx"]["slice"] == 1
        scan.heads["position"] = 0
        scan.heads["read_dir"][second], scan.heads["slice_dir"][second] = SLICE, -READ
        scan.heads["idx"]["slice"] = 0
        slices = [opened(scan).read_slice(number) for number in range(2)]
        for data in slices:
            truth = scan.kspace[int(data.meta.geometry.read_dir == tuple(SLICE))]
            assert relative_error(data.kspace, truth) < 1e-5
        assert len({data.meta.geometry.read_dir for data in slices}) == 2

    def test_stacks_of_one_slice_counter(self, opened):
        """Two stacks of two slices: the counter begins again in the second."""
        scan = small_scan(n_slices=4)
        scan.heads["idx"]["slice"] %= 2
        assert_slices(opened(scan), scan.kspace)

    @pytest.mark.parametrize("counter", ["repetition", "set", "contrast", "average"])
    def test_slices_in_another_counter(self, opened, counter):
        scan = small_scan(n_slices=3)
        scan.heads["idx"][counter] = scan.heads["idx"]["slice"]
        scan.heads["idx"]["slice"] = 0
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert warned(result, f"{counter} numbers the positions of the slices")

    def test_a_slice_that_moves_is_refused(self, opened):
        scan = small_scan()
        scan.heads["position"][:, 2] = np.linspace(0, 9, len(scan.heads))
        with pytest.raises(UnsupportedError, match="moves by 9 mm within slice 0") as caught:
            opened(scan)
        assert "positions=one" in caught.value.hint
        assert_slices(opened(scan, "positions=one"), scan.kspace)

    def test_a_slice_that_jumps_is_refused(self, opened):
        scan = small_scan()
        scan.heads["position"][scan.heads["idx"]["kspace_encode_step_1"] > 7, 2] = 9
        with pytest.raises(UnsupportedError, match="moves by 9 mm within slice 0: 2 positions"):
            opened(scan)
        halves = opened(scan, "positions=slices")
        assert [int(halves.read_slice(n).mask[0, 0, :, 0].sum()) for n in range(2)] == [8, 4]

    def test_repetitions_that_follow_a_motion_are_no_slices(self, opened):
        scan = small_scan()
        idx = scan.heads["idx"]
        idx["repetition"], idx["phase"] = idx["phase"], 0
        scan.space["limits"]["repetition"] = scan.space["limits"].pop("phase")
        scan.heads["position"][:, 2] = 9.0 * idx["repetition"]
        with pytest.raises(UnsupportedError, match="moves by 18 mm"):
            opened(scan)
        assert_slices(opened(scan, "positions=one"), scan.kspace)

    def test_positions_in_metres_give_a_warning(self, opened):
        scan = small_scan(n_slices=3)
        scan.heads["position"] /= 1000
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert warned(result, "slices of 8 mm are 0.01 mm apart")

    def test_small_moves_give_a_warning(self, opened):
        scan = small_scan()
        scan.heads["position"][:, 2] = np.linspace(0, 3, len(scan.heads))
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert any("position or directions change" in text for text in result.read_slice(0).meta.warnings)

    def test_a_turn_is_refused(self, opened):
        scan = small_scan()
        scan.heads["read_dir"][20:], scan.heads["phase_dir"][20:] = PHASE, -READ
        with pytest.raises(UnsupportedError, match="turns within slice 0"):
            opened(scan)
