"""Scans whose encoding or line numbers differ from the standard: the right image, or an error with a hint."""

import numpy as np
import pytest
import torch
from helpers import relative_error
from raw_scan import RawFile, assert_slices, header_xml, small_scan, warned, without_oversampling

from cinerecon.errors import CineReconError, DataError, HeaderError, UnsupportedError


def encoding_xml(scan: RawFile) -> str:
    """The encoding of a scan, once more."""
    xml = header_xml(**scan.space)
    return xml[xml.index("<encoding>") : xml.index("</encoding>") + len("</encoding>")]


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
