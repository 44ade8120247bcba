"""Sizes and times in another unit, other channels, and frames that were measured incompletely, give a warning."""

import numpy as np
import pytest
from raw_scan import RawFile, assert_slices, small_scan, warned


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


class TestChannels:
    @pytest.mark.parametrize("mask", [0b111, 0b10101, 0, 0b11])
    def test_masks_that_are_equal_or_not_written_give_no_warning(self, opened, mask):
        scan = small_scan()
        scan.heads["channel_mask"][:, 0] = mask
        scan.heads["channel_mask"][::2, 0] = mask if mask == 0b111 else 0
        assert not warned(opened(scan), "channel_mask")

    @pytest.mark.parametrize(("use", "flag"), [("image", None), ("noise", 19)])
    def test_readouts_of_other_channels_are_reported(self, opened, use, flag):
        scan = small_scan()
        scan.heads["channel_mask"][:, 0] = 0b111
        if flag:
            noise = np.random.default_rng(0).standard_normal((3, 64, 2)).astype(np.float32).view(np.complex64)
            scan.append(0, noise[..., 0])
            scan.flag(len(scan.heads) - 1, flag)
        scan.heads["channel_mask"][-1, 0] = 0b1011
        assert warned(opened(scan), f"{use} readouts were measured with other channels")


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
