"""Frames that were measured incompletely are named in a warning."""

from raw_scan import RawFile, assert_slices, small_scan, warned


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
