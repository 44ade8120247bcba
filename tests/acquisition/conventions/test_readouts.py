"""Scans whose readout oversampling was removed before they were stored."""

import pytest
import torch
from helpers import relative_error
from raw_scan import assert_slices, small_scan, warned, without_oversampling

from cinerecon.errors import DataError


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
