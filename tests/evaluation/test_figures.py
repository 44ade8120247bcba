"""Figures of an evaluation: images, boxes and candidates in the radiological orientation, with square pixels."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.evaluation.figures import LARGEST_ERROR, draw_candidates, draw_images, draw_movies, shown_cases
from cinerecon.evaluation.images import read_image, store_image
from cinerecon.image import CineImage
from cinerecon.io.export.display import Turn, turned

PIXEL = (1.5, 1.25)
TURNS = [Turn(bool(swap), (bool(y), bool(x))) for swap, y, x in product((0, 1), repeat=3)]


def beating_cine():
    """A disc that beats below and right of the middle, in the radiological orientation of a transverse slice."""
    y, x = np.mgrid[:60, :72]
    distance = np.hypot((y - 34) * PIXEL[0], (x - 42) * PIXEL[1])
    radius = 16 + 4 * np.cos(2 * np.pi * np.arange(8) / 8)[:, None, None]
    image = 0.1 + 0.004 * y + 1.0 / (1 + np.exp(distance - radius))
    texture = np.random.default_rng(0).random((60, 72)) * 0.1
    place = Geometry((3.0, -20.0, 40.0), (1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))
    times = tuple(100.0 * frame for frame in range(8))
    truth = image + texture
    ours = truth + 0.05 * np.random.default_rng(1).standard_normal(truth.shape)
    ours[:, 20:32, 10:22] += 0.5 * (np.mgrid[20:32, 10:22].sum(0) % 7 < 3)
    meta = CineMeta(pixel_size_mm=PIXEL, frame_times_ms=times, geometry=place)
    return CineImage(ours.astype(np.complex64), truth.astype(np.complex64), meta)


@pytest.fixture
def stored(make_scores, tmp_path):
    """Store the cine in one of the orientations; its scores."""
    (score, _) = make_scores(1)

    def store(number):
        cine = turned(beating_cine(), TURNS[number])
        own = replace(score, task=f"task{number}")
        image, truth = (torch.from_numpy(np.ascontiguousarray(x)) for x in (cine.image, cine.reference))
        store_image(tmp_path, own.task, image, truth, cine.meta)
        return own

    return tmp_path, store


def drawn(draw, score, folder):
    """The figure of the case of a score."""
    (case,) = shown_cases([score], folder)
    return draw(case)


def panels(figure):
    """The shown values, the rectangles and the aspect of each panel."""
    for axis in figure.axes:
        rectangles = [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in axis.patches]
        for shown in axis.images:
            yield np.asarray(shown.get_array()), np.array(rectangles), axis.get_aspect()


@pytest.mark.parametrize("draw", [draw_images, draw_candidates])
def test_figures_do_not_depend_on_the_order_of_rows_and_columns(stored, draw):
    folder, store = stored
    expected = list(panels(drawn(draw, store(0), folder)))
    assert any(rectangles.size for _, rectangles, _ in expected)
    frames = [values for values, _, _ in expected if values.shape == (60, 72)]
    assert len(frames) >= 3
    for number in range(1, len(TURNS)):
        found = list(panels(drawn(draw, store(number), folder)))
        assert len(found) == len(expected)
        for (values, rectangles, aspect), (own, own_rectangles, own_aspect) in zip(expected, found, strict=True):
            assert own_aspect == aspect
            assert own_rectangles.shape == rectangles.shape
            assert np.allclose(np.sort(own_rectangles, 0), np.sort(rectangles, 0), atol=1.01)  # odd sizes are rounded
            if values.shape == (60, 72) and draw is draw_images:
                assert np.array_equal(own, values)


def test_pixels_have_their_aspect(stored):
    folder, store = stored
    ratios = [aspect for values, _, aspect in panels(drawn(draw_images, store(0), folder)) if values.shape == (60, 72)]
    assert ratios == [pytest.approx(1.5 / 1.25)] * len(ratios)


@pytest.mark.parametrize("gain", [0.1, 10])
def test_error_maps_of_the_best_image_are_not_saturated(stored, gain):
    folder, store = stored
    (case,) = shown_cases([store(0)], folder)
    good, truth = case.images[0], case.reference.image
    good = replace(good, image=truth + gain * (good.image - truth))
    poor = replace(good, image=truth + 20 * (good.image - truth))
    figure = draw_images(replace(case, images=[good, poor], scores=case.scores * 2))
    limits = {
        shown.get_clim()[1] for axis in figure.axes for shown in axis.images if shown.get_cmap().name == "inferno"
    }
    (largest,) = limits
    assert largest >= LARGEST_ERROR
    assert largest == LARGEST_ERROR or gain > 1
    error = np.abs(good.magnitude - case.reference.magnitude)
    assert np.mean(error > largest) <= 0.01
    assert np.mean(error > largest / 3) > 0.01 or largest == LARGEST_ERROR


def test_stored_images_are_not_turned_and_keep_their_position(stored):
    folder, store = stored
    for number, turn in enumerate(TURNS):
        store(number)
        cine = turned(beating_cine(), turn)
        _, truth = read_image(folder, f"task{number}", "", 0)
        assert np.allclose(truth.image, cine.reference / np.abs(cine.reference).max(), atol=1e-3)
        assert np.allclose(np.concatenate(truth.first_voxel), np.concatenate(cine.first_voxel))
        assert truth.meta.frame_times_ms == cine.meta.frame_times_ms


def test_movies_and_figures_of_earlier_evaluations_have_no_position(stored):
    folder, store = stored
    score = store(5)
    path = folder / "images" / f"{score.task}.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if not name.endswith(("_dir", "position_mm"))}
    np.savez(path, **arrays)
    assert read_image(folder, score.task, "", 0)[1].meta.geometry is None
    assert len(draw_movies([score], folder)) == 1
    assert drawn(draw_images, score, folder).axes
