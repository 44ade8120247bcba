"""The centre of an axis is index n // 2, before and after a crop."""

import pytest
import torch

from cinerecon.axes import centre_crop, centre_slice


@pytest.mark.parametrize(
    ("n", "size", "expected"), [(8, 4, (2, 6)), (9, 4, (2, 6)), (8, 5, (2, 7)), (9, 3, (3, 6)), (4, 9, (0, 4))]
)
def test_the_central_points_are_those_around_half_the_length(n, size, expected):
    part = centre_slice(n, size)
    assert (part.start, part.stop) == expected


def test_a_crop_keeps_the_centre_and_is_a_view():
    array = torch.zeros(9, 8)
    array[4, 4] = 1
    assert centre_crop(array, (4, 5))[2, 2] == 1
    assert torch.equal(centre_crop(array, (20, 8)), array)
    centre_crop(array, (1, 1)).fill_(7)
    assert array[4, 4] == 7
