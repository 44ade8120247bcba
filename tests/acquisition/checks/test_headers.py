"""Sizes and times of the header in another unit give a warning."""

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
