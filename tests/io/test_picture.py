"""Labels on movies and pictures: method, slice, frame and time, where they belong and nowhere else."""

import numpy as np
import pytest
from PIL import Image

from cinerecon.cine_meta import CineMeta
from cinerecon.image import CineImage
from cinerecon.io.export.movie import montage
from cinerecon.io.picture import LABEL_MARGIN, draw_label, frame_label


def still_cine(method="zerofilled", number=2, times=(0.0, 40.0, 81.0)):
    """Three equal frames of a grey square, so that only labels differ."""
    image = np.full((3, 48, 48), 0.5, np.complex64)
    image[:, 20:28, 20:28] = 1
    return CineImage(image, meta=CineMeta(slice=number, frame_times_ms=times), method=method)


def label_pixels(text, shape, **where):
    """The part of a picture that a label alone takes."""
    picture = Image.new("L", shape[::-1])
    draw_label(picture, text, **where)
    return np.asarray(picture) > 200


def test_a_frame_has_its_number_and_time():
    assert frame_label(still_cine(), 2) == "frame 2  ·  81 ms"
    assert frame_label(still_cine(times=()), 2) == "frame 2"


def test_movies_show_method_slice_frame_and_time():
    frames = montage([still_cine()])
    for number in range(3):
        title = label_pixels("zerofilled, slice 2", frames.shape[1:])
        below = label_pixels(frame_label(still_cine(), number), frames.shape[1:], bottom=frames.shape[1])
        assert title.sum() > 100
        assert below.sum() > 50
        assert frames[number][title | below].min() > 200
    half = frames.shape[1] // 2
    assert np.array_equal(frames[0][:half], frames[2][:half])
    assert not np.array_equal(frames[0][half:], frames[2][half:])


def test_each_method_of_a_movie_has_its_own_label():
    sheet = montage([still_cine("ktslr"), still_cine("slrnet")], 2)[0]
    for name, half in zip(("ktslr", "slrnet"), np.split(sheet, 2, axis=1), strict=True):
        assert half[label_pixels(f"{name}, slice 2", half.shape)].min() > 200


@pytest.mark.parametrize("width", [20, 60, 150])
def test_a_label_stays_inside_its_part_of_the_picture(width):
    picture = Image.new("L", (200, 200))
    draw_label(picture, "a method with a very long name, slice 2", left=30, width=width, bottom=100)
    rows, columns = np.nonzero(np.asarray(picture))
    assert columns.min() >= 30
    assert columns.max() < 30 + width
    assert rows.min() > 100 - 20
    assert rows.max() <= 100 - LABEL_MARGIN + 1
