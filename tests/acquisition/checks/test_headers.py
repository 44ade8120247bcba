"""Sizes and times of the header in another unit give a warning."""

import numpy as np
import pytest
from raw_scan import assert_slices, small_scan, warned


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
