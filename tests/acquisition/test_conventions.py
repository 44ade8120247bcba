"""Scans that depart from the standard: the right image, or an error with a hint."""

import numpy as np
import pytest
import torch
from helpers import relative_error
from raw_scan import PHASE, READ, SLICE, RawFile, small_scan, without_oversampling

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.errors import CineReconError, ConfigError, DataError, HeaderError, UnsupportedError

PLAIN = AcquisitionConfig(csm="walsh")


@pytest.fixture
def opened(tmp_path):
    """Write a scan and open it."""

    def run(scan: RawFile, *settings: str):
        return open_scan(scan.write(tmp_path / "scan.h5"), PLAIN.with_settings(settings))

    return run


def assert_slices(scan, expected):
    """K-space of each slice is the expected one, where it was measured."""
    assert scan.n_slices == len(expected)
    for number, kspace in enumerate(expected):
        data = scan.read_slice(number)
        assert relative_error(data.kspace, kspace * data.mask) < 1e-5


def repeat(scan: RawFile, factor: complex = 1, **counters: int) -> None:
    """Measure every line again, multiplied by a factor, with these counters."""
    for row in range(len(scan.heads)):
        head = scan.append(row, (factor * scan.samples[row]).astype(np.complex64))
        for name, value in counters.items():
            head["idx"][name] = value


def warned(scan, *words: str) -> bool:
    return all(any(word in warning for warning in scan.warnings) for word in words)


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


class TestUncounted:
    @pytest.mark.parametrize(("counter", "option"), [("set", "--set-index=0"), ("contrast", "select.contrast=0")])
    def test_a_set_or_contrast_is_chosen(self, opened, counter, option):
        scan = small_scan()
        repeat(scan, np.exp(0.89j * np.pi))
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
        repeat(scan, 3)
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
        repeat(scan, -1)
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
        repeat(scan, np.exp(0.89j * np.pi))
        with pytest.raises(DataError, match=r"the measurements differ .correlation -0.94.") as caught:
            opened(scan)
        assert "repeats=set" in caught.value.hint
        averaged = opened(scan, "repeats=average")
        assert_slices(averaged, (1 + np.exp(0.89j * np.pi)) / 2 * scan.kspace)
        assert warned(averaged, "the measurements differ")
        assert_slices(opened(scan, "repeats=contrast", "select.contrast=1"), np.exp(0.89j * np.pi) * scan.kspace)

    def test_averages_that_cancel_are_refused(self, opened):
        scan = small_scan()
        repeat(scan, -1, average=1)
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
        repeat(scan)
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
        repeat(scan, 3, repetition=1)
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


class TestEncodedSpace:
    def test_partitions_that_only_the_header_has(self, opened):
        scan = small_scan()
        scan.space["depth"] = 2
        scan.space["limits"]["kspace_encoding_step_2"] = (0, 0)
        scan.heads["idx"]["kspace_encode_step_2"] = 1
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert warned(result, "encodedSpace z is 2, the data contain 1 partition")
        scan.space["limits"]["kspace_encoding_step_2"] = (1, 0)
        with pytest.raises(UnsupportedError, match=r"a 3-D scan .2 partitions"):
            opened(scan)

    @pytest.mark.parametrize(("factor", "centre"), [(2, 16), (3, 24), (2, 15), (2, 0)])
    def test_oversampling_that_the_header_leaves_out(self, opened, factor, centre):
        scan = small_scan(oversampling=factor)
        scan.heads["center_sample"] = centre
        scan.space["matrix"], scan.space["fov"] = (16, 12), (320.0, 240.0)
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert result.plan.pixel_size_mm == pytest.approx((20, 20))
        assert warned(result, f"{factor}x oversampling that is missing in the header")
        scan.heads["center_sample"] = 8 * factor - 3
        with pytest.raises(DataError, match="encodedSpace x is 16"):
            opened(scan)

    def test_oversampling_that_only_the_matrix_leaves_out(self, opened):
        scan = small_scan()
        scan.space["matrix"] = (16, 12)
        assert_slices(opened(scan), scan.kspace)

    @pytest.mark.parametrize(("x", "y"), [(64, 24), (48, 18), (64, 12), (80, 30)])
    def test_zero_filled_matrix(self, opened, x, y):
        """Twice, one and a half times, two and a half times what was measured, and twice along x alone."""
        scan = small_scan()
        scan.space["matrix"] = scan.space["recon"] = (x, y)
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert result.plan.pixel_size_mm == pytest.approx((20, 20))
        assert result.plan.acceleration == 1
        assert warned(result, "encodedSpace is zero-filled")

    @pytest.mark.parametrize("y", [24, 18, 20])
    def test_zero_filled_along_y_alone(self, opened, y):
        scan = small_scan()
        scan.space["matrix"] = (32, y)
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert result.plan.acceleration == 1
        assert warned(result, "by interpolation while its field of view is not")

    @pytest.mark.parametrize(("x", "y"), [(32, 24), (32, 18), (64, 24), (48, 18)])
    def test_lines_in_the_middle_of_a_zero_filled_matrix_are_complete(self, opened, x, y):
        """The limits of the header include the lines of zeros, which were not measured."""
        scan = small_scan()
        scan.space["matrix"] = (x, y)
        scan.space["limits"] |= {"kspace_encoding_step_1": (y - 1, y // 2)}
        scan.heads["idx"]["kspace_encode_step_1"] += (y - 12) // 2
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert not warned(result, "not measured in any frame")

    def test_a_field_of_view_without_its_oversampling(self, opened):
        scan = small_scan()
        scan.space["fov"] = (320.0, 240.0)
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert result.plan.pixel_size_mm == pytest.approx((20, 20))
        assert warned(result, "the encoded field of view is not larger than the image's")

    def test_exchanged_axes_are_refused(self, opened):
        scan = small_scan(matrix=(16, 16))
        scan.space["matrix"] = (16, 32)
        with pytest.raises(HeaderError, match="x and y are exchanged"):
            opened(scan)

    def test_zero_filled_matrix_with_its_zeros(self, opened):
        scan = small_scan()
        scan.samples = [np.pad(samples, ((0, 0), (16, 16))) for samples in scan.samples]
        scan.heads["number_of_samples"], scan.heads["center_sample"] = 64, 32
        scan.space["matrix"] = (64, 24)
        scan.heads["idx"]["kspace_encode_step_1"] += 6
        scan.space["limits"]["kspace_encoding_step_1"] = (23, 12)
        for row in range(36):
            for line in (0, 1, 2, 3, 4, 5, 18, 19, 20, 21, 22, 23) if row % 12 == 0 else ():
                head = scan.append(row, 0 * scan.samples[row])
                head["idx"]["kspace_encode_step_1"] = line
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert result.plan.matrix == (12, 16)
        assert result.plan.acceleration == 1

    @pytest.mark.parametrize("early", [True, False])
    def test_asymmetric_echo_stored_with_zeros(self, opened, early):
        scan = small_scan(matrix=(12, 32), oversampling=1, vendor="GE")
        for samples in scan.samples:
            samples[:, slice(None, 10) if early else slice(-10, None)] = 0
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert result.read_slice(0).mask[0, 0, 0].sum() == 22
        assert warned(result, "up to 10 samples at the ends of the readouts")

    def test_image_in_the_second_encoding(self, opened):
        scan = small_scan()
        scan.heads["encoding_space_ref"] = 1
        scan.space["extra"] = encoding_xml(scan)
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert warned(result, "encoding 1 is reconstructed")

    def test_one_of_two_encodings_can_be_chosen(self, opened):
        scan = small_scan()
        scan.space["extra"] = encoding_xml(scan)
        for row in range(36):
            scan.append(row, 5 * scan.samples[row])["encoding_space_ref"] = 1
        assert_slices(opened(scan), scan.kspace)
        assert warned(opened(scan), "--set preprocessing.encoding=1 selects another one")
        assert_slices(opened(scan, "encoding=1"), 5 * scan.kspace)
        with pytest.raises(UnsupportedError, match="encoding 2 has no image lines, only encoding 0, 1"):
            opened(scan, "encoding=2")


def encoding_xml(scan: RawFile) -> str:
    """The encoding of a scan, once more."""
    from raw_scan import header_xml

    xml = header_xml(**scan.space)
    return xml[xml.index("<encoding>") : xml.index("</encoding>") + len("</encoding>")]


class TestEchoCentre:
    @pytest.mark.parametrize("claimed", [0, 15, 17, 3])
    def test_whole_readouts_have_their_centre_at_half(self, opened, claimed):
        scan = small_scan()
        scan.heads["center_sample"] = claimed
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert warned(result, f"center_sample is {claimed} in")

    def test_some_readouts_without_a_centre(self, opened):
        scan = small_scan()
        scan.heads["center_sample"][::3] = 0
        assert_slices(opened(scan), scan.kspace)

    @pytest.mark.parametrize("early", [True, False])
    def test_the_echo_shows_the_centre_of_short_readouts(self, opened, early):
        scan = small_scan(matrix=(12, 32), oversampling=1, vendor="GE")
        scan.samples = [samples[:, 10:] if early else samples[:, :-10] for samples in scan.samples]
        scan.heads["number_of_samples"] = 22
        right = 6 if early else 16
        for claimed in (0, right):
            scan.heads["center_sample"] = claimed
            result = opened(scan)
            assert_slices(result, scan.kspace)
            assert result.read_slice(0).mask[0, 0, 0].sum() == 22
        scan.heads["center_sample"] = 22 - right
        with pytest.raises(HeaderError, match="the echo is at sample") as caught:
            opened(scan)
        assert f"--set preprocessing.center_sample={right} follows the data" in caught.value.hint
        assert_slices(opened(scan, f"center_sample={right}"), scan.kspace)
        with pytest.raises(ConfigError, match="the readouts contain 22"):
            opened(scan, "center_sample=22")

    @pytest.mark.parametrize("early", [True, False])
    @pytest.mark.parametrize("n_columns", [1, 2])
    def test_an_asymmetric_echo_that_nearly_reaches_the_edge_is_reported(self, opened, early, n_columns):
        scan = small_scan(matrix=(12, 64), oversampling=1, vendor="GE")
        scan.samples = [samples[:, 20:] if early else samples[:, :-20] for samples in scan.samples]
        scan.heads["number_of_samples"] = 44
        right = 12 if early else 32
        scan.heads["center_sample"] = right
        assert not warned(opened(scan), "before the edge of k-space")
        scan.heads["center_sample"] = right + n_columns if early else right - n_columns
        result = opened(scan)
        assert warned(result, f"end {n_columns} of 64 columns before the edge of k-space: is {right} the centre?")
        assert_slices(opened(scan, f"center_sample={right}"), scan.kspace)


class TestLineNumbers:
    def test_lines_from_one(self, opened):
        scan = small_scan()
        scan.heads["idx"]["kspace_encode_step_1"] += 1
        for limit in ((11, 6), (12, 6, 1), None):
            if limit is None:
                del scan.space["limits"]["kspace_encoding_step_1"]
            else:
                scan.space["limits"]["kspace_encoding_step_1"] = limit
            result = opened(scan)
            assert_slices(result, scan.kspace)
            assert result.plan.encoded_matrix[0] == 12
            assert warned(result, "read as counted from 1")

    def test_undersampled_lines_from_one(self, opened):
        scan = small_scan(matrix=(24, 32))
        scan.keep(scan.heads["idx"]["kspace_encode_step_1"] % 5 != 2)
        scan.heads["idx"]["kspace_encode_step_1"] += 1
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert result.read_slice(0).mask[0, 0, :, 0].sum() == 19

    def test_lines_from_the_centre(self, opened):
        scan = small_scan()
        scan.heads["idx"]["kspace_encode_step_1"] -= 6
        for limit in ((11, 6), None):
            scan.space["limits"].pop("kspace_encoding_step_1")
            scan.space["limits"].update({"kspace_encoding_step_1": limit} if limit else {})
            result = opened(scan)
            assert_slices(result, scan.kspace)
            assert warned(result, "from -6 to 5: line 6 is the centre")

    def test_limits_from_one_are_as_good(self, opened):
        scan = small_scan()
        scan.heads["idx"]["kspace_encode_step_1"] += 1
        scan.space["limits"]["kspace_encoding_step_1"] = (12, 7, 1)
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert not warned(result, "counted from 1")


class TestUnmeasured:
    def test_lines_of_zeros_were_not_measured(self, opened):
        scan = small_scan(matrix=(24, 32))
        lines, frames = scan.heads["idx"]["kspace_encode_step_1"].astype(int), scan.heads["idx"]["phase"]
        is_measured = ((lines + frames) % 3 == 0) | (abs(lines - 12) < 3)
        for row in np.flatnonzero(~is_measured):
            scan.samples[row] = 0 * scan.samples[row]
        filled = opened(scan)
        assert_slices(filled, scan.kspace)
        assert warned(filled, f"{(~is_measured).sum()} of 72 lines contain only zeros")
        assert filled.read_slice(0).reference is None
        without = filled.plan
        scan.keep(is_measured)
        assert opened(scan).plan.acceleration == without.acceleration > 1.5

    def test_frames_of_zeros_at_the_end_are_left_out(self, opened):
        scan = small_scan(n_frames=5)
        for row in np.flatnonzero(scan.heads["idx"]["phase"] > 2):
            scan.samples[row] = 0 * scan.samples[row]
        result = opened(scan)
        assert_slices(result, scan.kspace[:, :3])
        assert warned(result, "the last 2 frames contain only zeros: they are excluded")
        for row in np.flatnonzero(scan.heads["idx"]["phase"] == 1):
            scan.samples[row] = 0 * scan.samples[row]
        with pytest.raises(DataError, match=r"frame 1 .* holds no lines"):
            opened(scan)

    def test_a_slice_of_zeros_is_refused(self, opened):
        scan = small_scan(n_slices=2)
        for row in range(36):
            scan.samples[row] = 0 * scan.samples[row]
        result = opened(scan)
        assert relative_error(result.read_slice(1).kspace, scan.kspace[1]) < 1e-5
        with pytest.raises(DataError, match="all samples are zero"):
            result.read_slice(0)


class TestIncompleteFrames:
    def late(self) -> RawFile:
        scan = small_scan(n_frames=6)
        line, frame = (scan.heads["idx"][name].astype(int) for name in ("kspace_encode_step_1", "phase"))
        scan.keep(~((frame == 4) & (line % 4 > 1)) & ~((frame == 5) & (line > 2)))
        return scan

    def test_late_phases_are_named(self, opened):
        scan = self.late()
        result = opened(scan)
        assert_slices(result, scan.kspace)
        words = "frame 4 has 6 of 12 lines; frame 5 has 3 of 12 lines, none of them at the centre"
        assert warned(result, words, "--frames 0:4 excludes them")
        assert (result.plan.fewest_lines, result.plan.most_lines) == (3, 12)

    def test_a_missing_line_is_named(self, opened):
        scan = small_scan()
        scan.keep([row for row in range(36) if row != 17])
        assert warned(opened(scan), "frame 1 has 11 of 12 lines")

    def test_patterns_that_differ_are_complete(self, opened):
        scan = small_scan(matrix=(24, 32), n_frames=6)
        line, frame = (scan.heads["idx"][name].astype(int) for name in ("kspace_encode_step_1", "phase"))
        scan.keep(((line + frame) % 4 == 0) | (abs(line - 12) < 3) | ((frame == 2) & (line == 20)))
        assert not warned(opened(scan), "incompletely measured")

    def test_calibration_lines_in_one_frame_do_not_make_the_others_incomplete(self, opened):
        scan = small_scan(matrix=(24, 32), n_frames=6)
        line, frame = (scan.heads["idx"][name].astype(int) for name in ("kspace_encode_step_1", "phase"))
        scan.keep((line % 3 == 0) | ((frame == 0) & (abs(line - 12) <= 3)))
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert not warned(result, "incompletely measured")
        scan.keep(~((scan.heads["idx"]["phase"] == 5) & (scan.heads["idx"]["kspace_encode_step_1"] > 18)))
        assert warned(opened(scan), "incompletely measured frames: frame 5 has 7 of 8 lines")

    def test_all_frames_are_complete(self, opened):
        assert not warned(opened(small_scan()), "incompletely measured")


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"fov": (0.64, 0.24), "recon_fov": (0.32, 0.24)}, "probably in metres"),
        ({"fov": (64.0, 24.0), "recon_fov": (32.0, 24.0)}, "small animal, or the header is in centimetres"),
        ({"thickness": 0.008}, "slices are 0.008 mm thick"),
        ({"extra": "<sequenceParameters><TR>0.0394</TR></sequenceParameters>"}, "probably in seconds, 39.4 ms"),
        ({"extra": "<sequenceParameters><TR>39400</TR></sequenceParameters>"}, "too long for a frame of a cine"),
    ],
)
def test_implausible_sizes_and_times_give_a_warning(opened, space, words):
    scan = small_scan()
    assert not warned(opened(scan), words)
    scan.space.update(space)
    result = opened(scan)
    assert warned(result, words)
    assert_slices(result, scan.kspace)


def test_numbers_of_other_programs(opened):
    """Sizes as decimals, decimal commas; a size that is no whole number is refused."""
    scan = small_scan()
    scan.space["matrix"], scan.space["recon"] = ("31.9996", "12.0000"), ("16,0", "12")
    scan.space["fov"], scan.space["recon_fov"] = ("640,0", "240"), ("320,00", "240.0")
    scan.space["limits"]["phase"] = ("2.0", "0")
    scan.space["extra"] = "<sequenceParameters><TR>39,4</TR></sequenceParameters>"
    result = opened(scan)
    assert_slices(result, scan.kspace)
    assert result.read_slice(0).meta.frame_times_ms == pytest.approx((0, 39.4, 78.8))
    scan.space["matrix"] = ("31.5", "12")
    with pytest.raises(CineReconError, match=r"matrixSize/x is '31.5' in the XML header, expected a whole number"):
        opened(scan)


class TestRemovedOversampling:
    @pytest.mark.parametrize("space", ["measured", "image"])
    @pytest.mark.parametrize("centre", [8, 16, 0, 7])
    def test_centre_and_grid_of_the_measured_readout_remain(self, opened, space, centre):
        scan = without_oversampling(small_scan())
        scan.heads["center_sample"] = centre
        if space == "image":
            scan.space["matrix"], scan.space["fov"] = (16, 12), (320.0, 240.0)
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert result.plan.matrix == (12, 16)
        assert result.plan.pixel_size_mm == pytest.approx((20, 20))
        assert warned(result, "before removal of oversampling") == (centre == 16)
        assert warned(result, "2x oversampling that was removed") == (space == "measured")

    def test_other_impossible_centres_are_refused(self, opened):
        scan = without_oversampling(small_scan())
        scan.heads["center_sample"] = 19
        with pytest.raises(DataError, match="center_sample is 19 of 16"):
            opened(scan)

    @pytest.mark.parametrize("early", [True, False])
    def test_asymmetric_echo_at_base_resolution(self, opened, early):
        scan = small_scan(matrix=(12, 16), vendor="GE")
        scan.space["matrix"], scan.space["fov"] = (16, 12), (320.0, 240.0)
        scan.samples = [samples[:, 6:] if early else samples[:, :-6] for samples in scan.samples]
        scan.heads["number_of_samples"], scan.heads["center_sample"] = 26, 10 if early else 16
        data, result = opened(scan).read_slice(0), opened(scan)
        small_scan_whole = small_scan(matrix=(12, 16), vendor="GE")
        small_scan_whole.samples = scan.samples
        small_scan_whole.heads = scan.heads
        expected = opened(small_scan_whole).read_slice(0)
        assert relative_error(data.kspace, expected.kspace) < 1e-6
        assert torch.equal(data.mask, expected.mask)
        assert warned(result, "2x oversampling that is missing in the header")
