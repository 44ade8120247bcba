"""Scans whose sample at the centre of k-space is missing or wrong: the right image, or an error with a hint."""

import numpy as np
import pytest
from raw_scan import assert_slices, small_scan, warned

from cinerecon.errors import ConfigError, HeaderError


class TestEchoCentre:
    @pytest.mark.parametrize("claimed", [0, 15, 17, 3])
    def test_whole_readouts_have_their_centre_at_half(self, opened, claimed):
        scan = small_scan()
        scan.heads["center_sample"] = claimed
        result = opened(scan)
        assert_slices(result, scan.kspace)
        assert warned(result, f"center_sample is {claimed} in")

    def test_discarded_samples_are_not_the_echo(self, opened):
        scan = small_scan(matrix=(12, 64), oversampling=1, vendor="GE")
        scan.heads["number_of_samples"] = 52
        for i, samples in enumerate(scan.samples):
            scan.samples[i] = np.pad(samples[:, 16:], ((0, 0), (4, 0)), constant_values=100)
            scan.heads["discard_pre"][i], scan.heads["center_sample"][i] = 4, 20
            if i % 2:  # the centre of reversed readouts counted as stored
                scan.samples[i] = scan.samples[i][:, ::-1]
                scan.heads["discard_pre"][i], scan.heads["discard_post"][i], scan.heads["center_sample"][i] = 0, 4, 31
                scan.flag(i, 22)
        result = opened(scan)
        assert warned(result, "center_sample of reversed readouts is 31 of 52 as stored")
        assert_slices(result, scan.kspace)

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
