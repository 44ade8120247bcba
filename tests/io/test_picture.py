"""Labels on movies and pictures: method, slice, frame and time, where they belong and nowhere else."""

from dataclasses import replace

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from cinerecon.cine_meta import CineMeta
from cinerecon.image import CineImage
from cinerecon.io.export.movie import montage, write_gif, write_mp4
from cinerecon.io.export.summary import draw_summary
from cinerecon.io.picture import LABEL_MARGIN, PAPER, draw_label, frame_label, velocity_colours


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


VENC = 80.0
GREY, RED, BLUE = ((72, 74, 80), (230, 50, 40), (40, 120, 240))


def flow_cine():
    """Three frames with flow of half of VENC to both sides in the last one, at rest and without signal elsewhere."""
    cine = still_cine()
    image, velocity = cine.image.copy(), np.zeros(cine.image.shape, np.float32)
    velocity[2, 24:30, 8:20], velocity[2, 24:30, 28:40] = VENC / 2, -VENC / 2
    image[:, 36:], velocity[:, 36:] = 0.02, VENC
    return replace(cine, image=image, velocity=velocity, venc_cm_s=VENC)


def test_the_summary_shows_the_velocity_at_peak_flow_with_its_scale():
    sheet = np.asarray(draw_summary([flow_cine()])).astype(int)
    plain = np.asarray(draw_summary([replace(flow_cine(), velocity=None)]))
    panel = sheet[56:356, plain.shape[1] - 28 + 12 :]
    velocity, bar = panel[:, :300], panel[:, 300:312]
    at = {name: velocity[row, column] for name, row, column in (("+", 168, 87), ("-", 168, 212), ("rest", 60, 40))}
    assert np.abs(at["+"] - RED).max() <= 2
    assert np.abs(at["-"] - BLUE).max() <= 2
    assert np.abs(at["rest"] - GREY).max() <= 2
    assert not velocity[240:].any(), "no signal"
    assert np.abs(bar[[0, 75, 150, 225, -1], 5] - velocity_colours(np.array([1, 0.5, 0, -0.5, -1]))).max() <= 3
    assert (panel[:, 312:360] != PAPER).any(), "labels"


def test_movies_of_velocities_are_in_colour_and_others_are_grey(tmp_path):
    cine = flow_cine()
    frames = montage([cine]).astype(int)
    assert frames.shape == (3, 384, 384 + 384 + 60, 3)
    assert np.array_equal(frames[..., :384, 0], montage([replace(cine, velocity=None)]))
    assert np.abs(frames[2, 27 * 8, 384 + 14 * 8] - RED).max() <= 2
    assert np.abs(frames[2, 27 * 8, 384 + 34 * 8] - BLUE).max() <= 2
    assert np.abs(frames[0, 27 * 8, 384 + 14 * 8] - GREY).max() <= 2
    for name, write, error in (("a.gif", write_gif, 4), ("a.mp4", write_mp4, 30)):
        write(tmp_path / name, [cine])
        shown = iio.imread(tmp_path / name)[:3].astype(int)
        assert shown.shape == frames.shape
        assert np.abs(shown[:, 100:300] - frames[:, 100:300])[:, :, 384:700].mean() < error / 2
        assert np.abs(shown[2, 27 * 8, 384 + 14 * 8] - RED).max() <= error
    with_flow, without = np.split(montage([cine, replace(cine, velocity=None)], 2), 2, axis=2)
    assert np.ptp(with_flow.astype(int), axis=-1).max() > 100
    assert not np.ptp(without, axis=-1).any()
    assert montage([still_cine()]).ndim == 3


@pytest.mark.parametrize("interval", [34.0, 71.25, 41.7, 12.0, 5e6])
def test_the_heartbeat_of_a_gif_has_its_duration(tmp_path, interval):
    n = 25
    meta = CineMeta(frame_times_ms=tuple(interval * number for number in range(n)))
    rng = np.random.default_rng(0)
    write_gif(tmp_path / "a.gif", [CineImage(rng.random((n, 16, 16)).astype(np.complex64), meta=meta)])
    with Image.open(tmp_path / "a.gif") as gif:
        durations = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            durations.append(gif.info["duration"])
    assert len(durations) == n
    assert min(durations) >= 20
    assert sum(durations) == pytest.approx(n * min(max(interval, 20), 1000), abs=5)
