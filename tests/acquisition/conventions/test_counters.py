"""Scans whose counters differ from the standard: the right image, or an error with a hint."""

import numpy as np
import pytest
import torch
from helpers import relative_error
from raw_scan import RawFile, assert_slices, small_scan, warned

from cinerecon.errors import DataError, UnsupportedError


class TestUncounted:
    @pytest.mark.parametrize(("counter", "option"), [("set", "--set-index=0"), ("contrast", "select.contrast=0")])
    def test_a_set_or_contrast_is_chosen(self, opened, counter, option):
        scan = small_scan()
        scan.repeat(np.exp(0.89j * np.pi))
        scan.space["limits"][counter] = (1, 0)
        with pytest.raises(UnsupportedError, match=f"2 {counter}s") as caught:
            opened(scan)
        assert option in caught.value.hint
        first, second = (opened(scan, f"select.{counter}={n}") for n in (0, 1))
        assert_slices(first, scan.kspace)
        assert warned(first, f"2 values of {counter}, the readouts have one")
        assert torch.allclose(second.read_slice(0).kspace.abs(), first.read_slice(0).kspace.abs(), atol=1e-6)
        assert relative_error(second.read_slice(0).kspace, scan.kspace[0]) > 1

    def test_averages_are_averaged(self, opened):
        scan = small_scan()
        scan.repeat(3)
        scan.space["limits"]["average"] = (1, 0)
        result = opened(scan)
        assert_slices(result, 2 * scan.kspace)
        assert result.plan.n_averages == 2

    @pytest.mark.parametrize("counter", ["phase", "repetition"])
    def test_frames_are_numbered_by_their_time(self, opened, counter):
        """Stored in any order: the time stamps say which measurement of a line came first."""
        scan = small_scan()
        scan.heads["acquisition_time_stamp"] = 100 + 20 * scan.heads["idx"]["phase"]
        scan.keep(np.random.default_rng(0).permutation(len(scan.heads)))
        scan.heads["idx"]["phase"] = 0
        scan.space["limits"][counter] = scan.space["limits"].pop("phase")
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert result.plan.n_frames == (3,)

    def test_slices_without_positions(self, opened):
        scan = small_scan(n_slices=3)
        scan.images = scan.images * torch.tensor([1, -1, 1j]).reshape(3, 1, 1, 1)
        scan.samples = [s * f for s, f in zip(scan.samples, np.repeat([1, -1, 1j], 36), strict=True)]
        scan.heads["idx"]["slice"], scan.heads["position"] = 0, 0
        assert_slices(opened(scan), scan.kspace)

    def test_two_missing_counters_are_refused(self, opened):
        scan = small_scan()
        scan.repeat(-1)
        scan.space["limits"].update(set=(1, 0), slice=(1, 0))
        with pytest.raises(UnsupportedError, match="2 values of slice and 2 values of set") as caught:
            opened(scan)
        assert "repeats=slice or --set preprocessing.repeats=set" in caught.value.hint
        assert_slices(opened(scan, "repeats=set", "select.set=0"), scan.kspace)

    def test_measurements_of_unequal_number_are_not_counted(self, opened):
        """Frames of different patterns whose counter was lost: the order of a line's measurements is not its frame."""
        scan = small_scan(matrix=(24, 32), n_frames=6)
        line, frame = (scan.heads["idx"][name].astype(int) for name in ("kspace_encode_step_1", "phase"))
        scan.keep(((line + frame) % 4 == 0) | (abs(line - 12) < 3))
        scan.heads["idx"]["phase"] = 0
        for setting in ("repeats=auto", "repeats=phase"):
            with pytest.raises(UnsupportedError, match="lines were measured 1 to 6 times") as caught:
                opened(scan, setting)
            assert "repeats=phase" not in caught.value.hint

    def test_repeats_of_some_lines_do_not_restore_a_counter(self, opened):
        scan = small_scan()
        scan.append(7)
        scan.space["limits"]["set"] = (1, 0)
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert warned(result, "the header has 2 sets, the data 1", "1 line was measured more than once")

    def test_measurements_that_contradict_each_other_are_refused(self, opened):
        scan = small_scan()
        scan.repeat(np.exp(0.89j * np.pi))
        with pytest.raises(DataError, match=r"the measurements differ .correlation -0.94.") as caught:
            opened(scan)
        assert "preprocessing.repeats=repetition (or set" in caught.value.hint
        averaged = opened(scan, "repeats=average")
        assert_slices(averaged, (1 + np.exp(0.89j * np.pi)) / 2 * scan.kspace)
        assert warned(averaged, "the measurements differ")
        assert_slices(opened(scan, "repeats=contrast", "select.contrast=1"), np.exp(0.89j * np.pi) * scan.kspace)

    def test_averages_that_cancel_are_refused(self, opened):
        scan = small_scan()
        scan.repeat(-1, average=1)
        with pytest.raises(DataError, match=r"correlation -1.00") as caught:
            opened(scan)
        assert "select.average=0" in caught.value.hint
        assert_slices(opened(scan, "select.average=0"), scan.kspace)

    def test_other_slices_in_the_same_lines_are_refused(self, opened):
        """Neither positions nor the header say that there are two images; they are as alike as adjacent slices."""
        scan = small_scan(n_slices=2)
        scan.heads["position"] = 0
        scan.heads["idx"]["slice"] = 0
        scan.space["limits"]["slice"] = (0, 0)
        for row in range(36, 72):
            scan.samples[row] = np.roll(scan.samples[row], 1, axis=0)
        with pytest.raises(DataError, match="the measurements differ"):
            opened(scan)

    def test_exact_copies_are_averaged(self, opened):
        scan = small_scan()
        scan.repeat()
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert warned(result, "36 lines were measured more than once")

    @pytest.mark.parametrize("counter", ["segment", "average"])
    def test_one_frame_measured_again_and_again(self, opened, counter):
        """Frames in a counter that is not time."""
        scan = small_scan()
        scan.heads["idx"][counter] = scan.heads["idx"]["phase"]
        scan.heads["idx"]["phase"] = 0
        del scan.space["limits"]["phase"]
        with pytest.raises(UnsupportedError, match="one frame, and each line was measured 3 times") as caught:
            opened(scan)
        assert f"time_counter={counter}" in caught.value.hint
        assert_slices(opened(scan, f"time_counter={counter}"), scan.kspace)
        assert_slices(opened(scan, "repeats=average"), scan.kspace.mean(1, keepdim=True))
        scan.heads["idx"][counter] = 0
        assert_slices(opened(scan, "repeats=phase"), scan.kspace)

    @pytest.mark.parametrize("counter", ["segment", "average"])
    def test_undersampled_frames_in_a_counter_that_is_not_time(self, opened, counter):
        """Every other line in turn: each is measured in half of the frames, and their order is no frame number."""
        scan = small_scan(n_frames=6)
        line, frame = (scan.heads["idx"][name].astype(int) for name in ("kspace_encode_step_1", "phase"))
        scan.heads["idx"][counter] = frame
        scan.heads["idx"]["phase"] = 0
        del scan.space["limits"]["phase"]
        scan.keep((line + frame) % 2 == 0)
        with pytest.raises(UnsupportedError, match="one frame, and each line was measured 3 times") as caught:
            opened(scan)
        assert f"time_counter={counter}" in caught.value.hint
        assert_slices(opened(scan, f"time_counter={counter}"), scan.kspace)


class TestSegments:
    def test_heartbeats_counted_as_repetitions(self, opened):
        scan = small_scan()
        scan.heads["idx"]["repetition"] = scan.heads["idx"]["kspace_encode_step_1"] // 4
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert warned(result, "3 values of repetition contain different lines of the same phase")
        one = opened(scan, "select.repetition=1").read_slice(0)
        assert one.mask[0, 0, :, 0].sum() == 4

    def test_undersampled_heartbeats_of_unequal_length(self, opened):
        scan = small_scan(matrix=(24, 32))
        line = scan.heads["idx"]["kspace_encode_step_1"].astype(int)
        scan.keep((abs(line - 12) < 4) | (line % 7 == 3))
        scan.heads["idx"]["repetition"] = scan.heads["idx"]["kspace_encode_step_1"] // 6
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert result.plan.most_lines == 9

    def test_heartbeats_counted_as_phases(self, opened):
        scan = small_scan()
        scan.heads["idx"]["repetition"] = scan.heads["idx"]["phase"]
        scan.heads["idx"]["phase"] = scan.heads["idx"]["kspace_encode_step_1"] // 4
        del scan.space["limits"]["phase"]
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert result.plan.time_counter == "repetition"

    def test_heartbeats_that_share_a_line(self, opened):
        scan = small_scan()
        scan.heads["idx"]["repetition"] = scan.heads["idx"]["kspace_encode_step_1"] // 4
        for row in np.flatnonzero(scan.heads["idx"]["kspace_encode_step_1"] == 6):
            scan.append(row)["idx"]["repetition"] = 0
        assert_slices(opened(scan), scan.kspace)

    def test_heartbeats_counted_as_slices(self, opened):
        scan = small_scan()
        scan.heads["idx"]["slice"] = scan.heads["idx"]["kspace_encode_step_1"] % 3
        scan.space["limits"]["slice"] = (2, 0)
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert warned(result, "3 slices have the same position")

    @pytest.mark.parametrize("counter", ["set", "contrast"])
    def test_heartbeats_counted_as_sets(self, opened, counter):
        scan = small_scan()
        scan.heads["idx"][counter] = scan.heads["idx"]["kspace_encode_step_1"] // 4
        with pytest.raises(
            UnsupportedError, match=f"3 {counter}s contain different lines of the same frames"
        ) as caught:
            opened(scan)
        assert f"combine=[{counter}]" in caught.value.hint
        assert_slices(opened(scan, f"combine=[{counter}]"), scan.kspace)

    def test_full_repetitions_are_not_merged_unless_asked(self, opened):
        scan = small_scan()
        scan.repeat(3, repetition=1)
        with pytest.raises(UnsupportedError, match="which of them is time"):
            opened(scan)
        assert_slices(opened(scan, "combine=[repetition]"), 2 * scan.kspace)
        assert_slices(opened(scan, "time_counter=phase"), 2 * scan.kspace)
        assert_slices(opened(scan, "select.repetition=1"), 3 * scan.kspace)

    @pytest.mark.parametrize("counter", ["average", "set", "contrast", "segment"])
    def test_time_in_another_counter(self, opened, counter):
        scan = small_scan()
        scan.heads["idx"][counter] = scan.heads["idx"]["phase"]
        scan.heads["idx"]["phase"] = 0
        result = opened(scan, f"time_counter={counter}", "repeats=average")
        assert_slices(result, scan.kspace)


class TestFramesInOtherCounters:
    """A cine whose frames are counted by a counter that is no time."""

    @staticmethod
    def scan(counter: str, n_phases: int) -> RawFile:
        scan = small_scan(matrix=(24, 32), n_frames=4)
        idx = scan.heads["idx"]
        lines = idx["kspace_encode_step_1"].astype(int)
        scan.keep((abs(lines - 12) < 2) | (lines % 4 == idx["phase"]))
        if counter:
            scan.heads["idx"][counter] = scan.heads["idx"]["phase"]
        scan.heads["idx"]["phase"] = 0
        scan.space["limits"]["phase"] = (n_phases - 1, 0)
        return scan

    @pytest.mark.parametrize("counter", ["average", "segment", "slice"])
    def test_the_setting_is_named(self, opened, counter):
        scan = self.scan(counter, n_phases=1)
        with pytest.raises(UnsupportedError, match="one frame") as caught:
            opened(scan)
        assert f"time_counter={counter} reads" in caught.value.hint
        assert_slices(opened(scan, f"time_counter={counter}"), scan.kspace)

    @pytest.mark.parametrize("counter", ["segment", "slice"])
    def test_the_header_has_as_many_phases(self, opened, counter):
        scan = self.scan(counter, n_phases=4)
        assert_slices(opened(scan), scan.kspace)

    def test_without_any_counter_they_are_refused(self, opened):
        with pytest.raises(UnsupportedError, match="one frame, and lines were measured 1 to 4 times") as caught:
            opened(self.scan("", n_phases=1))
        assert "write the counter of the frames" in caught.value.hint


@pytest.mark.parametrize("step", [1, 2])
def test_a_second_counter_of_slices_is_not_taken_for_segments(opened, step):
    scan = small_scan(n_slices=3)
    scan.heads["idx"]["repetition"] = step * scan.heads["idx"]["slice"]
    result = opened(scan)
    assert_slices(result, scan.kspace)
    assert warned(result, "repetition has one value in each slice")
    assert not warned(result, "segments")
