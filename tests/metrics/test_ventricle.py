"""The left ventricle: areas of discs, sharpness of edges of known width, and what is no ventricle."""

import math

import numpy as np
import pytest
import torch
from helpers import SHARED_DATA

from cinerecon.metrics import find_heart, ventricle
from cinerecon.metrics.heart import otsu
from cinerecon.metrics.ventricle import (
    areas_mm2,
    border_sharpness,
    find_ventricle,
    locate_ventricle,
    relative_sharpness,
    segment,
)

PIXEL_MM = (1.5, 1.5)
SIGMA = 0.8
"""Width of the edges [pixels]: each is an error function."""


def disc(centre, radius, matrix, sigma=SIGMA):
    y, x = np.indices(matrix)
    distance = np.hypot(y - centre[0], x - centre[1])
    return 0.5 * torch.erfc(torch.from_numpy((distance - radius) / (sigma * math.sqrt(2)))).numpy()


def heart(radii, matrix=(96, 90), centre=(50.3, 41.7), sigma=SIGMA, scale=1.0):
    """A short-axis view: dark muscle around bright blood, next to a second, crescent chamber; ``(frames, y, x)``."""
    frames = []
    for radius in radii:
        outer = math.sqrt(radius**2 + 140)  # muscle keeps its area
        muscle, blood = disc(centre, outer, matrix), disc(centre, radius, matrix, sigma)
        right = disc((centre[0], centre[1] - 14), 0.8 * radius + 4, matrix) * (1 - muscle)
        body = disc((48, 45), 44, matrix)
        frames.append(0.25 * body * (1 - muscle) + 0.5 * right + 0.15 * muscle + 0.65 * blood)
    return torch.from_numpy(np.stack(frames) * scale).float()


def beating_radii(n=16, largest=14.0, smallest=9.0):
    return (largest + smallest) / 2 + (largest - smallest) / 2 * np.cos(2 * np.pi * np.arange(n) / n)


def test_the_area_of_a_disc_is_found():
    radii = beating_radii()
    image = heart(radii)
    seed = find_ventricle(image, PIXEL_MM)
    assert seed.centre == pytest.approx((50.3, 41.7), abs=0.7)
    assert np.allclose(areas_mm2(segment(image, seed), seed), np.pi * radii**2 * 1.5**2, rtol=0.04)


def test_papillary_muscles_count_as_blood():
    radii = beating_radii()
    image = heart(radii) * torch.from_numpy(1 - 0.75 * disc((54, 46), 2.5, (96, 90))).float()
    seed = find_ventricle(image, PIXEL_MM)
    assert np.allclose(areas_mm2(segment(image, seed), seed), np.pi * radii**2 * 1.5**2, rtol=0.06)


def test_image_and_truth_are_segmented_by_thresholds_of_their_own():
    truth = locate_ventricle(heart(beating_radii()), PIXEL_MM)
    smaller = beating_radii(largest=12.0, smallest=10.0)
    image = 3.7 * heart(smaller)
    areas = np.array(areas_mm2(segment(image, truth.seed), truth.seed))
    assert 1 - areas.min() / areas.max() == pytest.approx(1 - (10 / 12) ** 2, abs=0.03)
    assert np.allclose(areas, np.pi * smaller**2 * 1.5**2, rtol=0.05)


@pytest.mark.parametrize("value", [0.0, 0.4])
def test_an_image_without_contrast_contains_no_blood(value):
    truth = locate_ventricle(heart(beating_radii()), PIXEL_MM)
    image = torch.full((16, 96, 90), value)
    assert areas_mm2(segment(image, truth.seed), truth.seed) == (0.0,) * 16
    assert math.isnan(relative_sharpness(image, truth))


@pytest.mark.filterwarnings("error")
def test_no_values_have_no_threshold():
    assert otsu(np.empty(0)) == (0, 0)


@pytest.mark.parametrize("sigma", [0.8, 1.1, 1.4])
def test_the_sharpness_of_a_known_edge(sigma):
    truth = locate_ventricle(heart(beating_radii(), sigma=0.8), PIXEL_MM)
    blurred = heart(beating_radii(), sigma=sigma)
    frame = truth.extreme_frames[0]
    expected = 1 / (2 * 0.8416 * math.hypot(sigma, 0.2) * 1.5)  # 20 % to 80 % of a normal distribution; interpolation
    assert border_sharpness(blurred[frame], truth.masks[frame], truth.seed) == pytest.approx(expected, rel=0.1)
    assert relative_sharpness(blurred, truth) == pytest.approx(0.8 / sigma, rel=0.13)  # pixels widen sharp edges more


def test_without_a_heartbeat_there_is_no_ventricle():
    assert find_ventricle(heart(np.full(16, 12.0)), PIXEL_MM) is None
    assert find_ventricle(torch.rand(8, 64, 64, generator=torch.Generator().manual_seed(0)), PIXEL_MM) is None
    assert find_ventricle(heart(beating_radii()), (0.3, 0.3)) is None  # too small


def test_a_bright_disc_without_muscle_around_it_is_no_ventricle():
    frames = [0.7 * disc((48, 45), 44, (96, 90)) + 0.3 * disc((50, 42), radius, (96, 90)) for radius in beating_radii()]
    assert find_ventricle(torch.from_numpy(np.stack(frames)).float(), PIXEL_MM) is None


def long_axis(vessel_motion=0.6):
    """A long chamber that shortens, which is no disc, and a vessel whose wall moves a little."""
    frames = []
    for radius in beating_radii():
        y, x = np.indices((96, 90))
        chamber = (np.abs(x - 30) < 8) & (np.abs(y - 45) < 2.4 * radius)
        vessel = disc((60, 52), 6 + vessel_motion * (radius - 11.5) / 2.5, (96, 90))
        wall = disc((60, 52), 10, (96, 90))
        frames.append(0.25 * disc((48, 45), 44, (96, 90)) * (1 - wall) + 0.65 * chamber + 0.15 * wall + 0.65 * vessel)
    return torch.from_numpy(np.stack(frames)).float()


def test_a_vessel_in_a_long_axis_view_is_no_ventricle(monkeypatch):
    assert find_ventricle(long_axis(), PIXEL_MM) is None
    monkeypatch.setattr(ventricle, "MIN_MOTION_SHARE", 0.0)
    assert find_ventricle(long_axis(), PIXEL_MM).centre == pytest.approx((60, 52), abs=1)


def test_a_ventricle_may_change_faster_in_few_frames():
    radii = np.array([14, 13, 9, 8.5, 9, 11, 13.5, 14])
    assert np.abs(np.diff(radii**2)).max() > 0.4 * 14**2
    assert find_ventricle(heart(radii), PIXEL_MM).centre == pytest.approx((50.3, 41.7), abs=2)
    assert find_ventricle(heart(np.repeat(radii, 3)), PIXEL_MM) is None, "in 24 frames such a step is a leak"


def test_the_left_ventricle_is_found_in_few_frames():
    """The right one is not taken instead."""
    image, pixel = volunteer("sax_mid")
    whole, some = (locate_ventricle(part, pixel) for part in (image, image[[0, 2, 5, 7, 10, 12, 15, 17, 20, 22]]))
    assert some.seed.centre == pytest.approx(whole.seed.centre, abs=3)


@pytest.mark.parametrize("view", ["2ch", "3ch", "4ch"])
def test_long_axis_views_of_a_volunteer_show_no_ventricle(view):
    assert locate_ventricle(*volunteer(f"lax_{view}")) is None


@pytest.mark.parametrize("shape", [(2, 1), (1, 2)])
def test_the_box_around_the_heart_covers_the_same_part_of_the_field(shape):
    fine, size_mm = heart(beating_radii()), tuple(1.5 * n for n in shape)
    square = find_heart(fine, PIXEL_MM)
    found = find_heart(torch.nn.functional.avg_pool2d(fine[None], shape)[0], size_mm)
    edges = [np.reshape(h.box, (2, 2)) * np.reshape(s, (2, 1)) for h, s in ((found, size_mm), (square, PIXEL_MM))]
    assert square.box == find_heart(fine).box
    assert np.abs(edges[0] - edges[1]).max() <= 6  # 2 pixels of the larger size


@pytest.mark.parametrize("shape", [(2, 1), (1, 2)])
def test_pixels_that_are_not_square_do_not_change_areas_and_borders(shape):
    fine, size_mm = heart(beating_radii()), tuple(1.5 * n for n in shape)
    square = locate_ventricle(fine, PIXEL_MM)
    found = locate_ventricle(torch.nn.functional.avg_pool2d(fine[None], shape)[0], size_mm)
    centres_mm = [np.multiply(v.seed.centre, v.seed.pixel_size_mm) for v in (found, square)]
    assert centres_mm[0] == pytest.approx(centres_mm[1], abs=3)
    areas, expected = areas_mm2(found.masks, found.seed), areas_mm2(square.masks, square.seed)
    assert np.allclose(areas, expected, rtol=0.08)


def volunteer(name):
    """A measured series and its pixel size."""
    path = SHARED_DATA / f"real/{name}.npz"
    if not path.exists():
        pytest.skip("the measured series are not available")
    with np.load(path) as arrays:
        image = torch.from_numpy(arrays["magnitude"].astype(np.float32))
        return image, tuple(map(float, arrays["pixel_spacing_mm"]))


def test_rows_of_twice_the_height_show_the_same_ventricle():
    image, (dy, dx) = volunteer("sax_mid")
    whole, halved = locate_ventricle(image, (dy, dx)), locate_ventricle(image[:, ::2], (2 * dy, dx))
    assert halved.seed.centre[0] * 2 == pytest.approx(whole.seed.centre[0], abs=3)
    assert np.allclose(areas_mm2(halved.masks, halved.seed), areas_mm2(whole.masks, whole.seed), rtol=0.12)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("sax_mid", 2000, 2700), ("sax_d", 1500, 2100), ("sax_apex", 700, 1000)]
)
def test_ventricles_of_a_volunteer(name, low, high):
    truth = locate_ventricle(*volunteer(name))
    areas = areas_mm2(truth.masks, truth.seed)
    assert truth.seed.centre == pytest.approx((103.5, 131.5), abs=3)
    assert low < max(areas) < high
    assert 0.5 < 1 - min(areas) / max(areas) < 0.95
    assert int(np.argmax(areas)) in (*range(3), *range(22, 25))  # gated scans begin and end with diastole
