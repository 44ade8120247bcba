"""Movies of an evaluation show the truth and every method, side by side."""

import imageio.v3 as iio
import numpy as np
import pytest

from cinerecon.evaluation import evaluate
from cinerecon.evaluation.movies import draw_movies
from cinerecon.evaluation.stored_images import read_image

MODELS = ["zerofilled", "cgsense"]


@pytest.fixture(scope="module")
def evaluated(full_scan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return folder, evaluate([full_scan], MODELS, ["gaussian:4"], output=folder, pictures=1).scores


def correlation(tile, image):
    """Correlation of the middle of a tile, which has no label, with an image of fewer pixels."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(tile.shape, image.shape, strict=True))
    large = image[np.ix_(rows, columns)]
    inside = slice(40, -40)
    return np.corrcoef(tile[inside].ravel(), np.clip(large, 0, np.percentile(image, 99.5))[inside].ravel())[0, 1]


def test_truth_and_methods_are_side_by_side(evaluated):
    folder, scores = evaluated
    (movie,) = draw_movies(scores, folder)
    assert movie.caption.startswith("full, slice 0, 3 coils, gaussian:4, net acceleration 4.0.")
    frames = iio.imread(movie.path)[..., 0].astype(float)
    images = [read_image(folder, score.task, score.method, 0)[0] for score in scores]
    truth = read_image(folder, scores[0].task, "", 0)[1]
    tiles = np.split(frames[3][:, : frames.shape[2] // 3 * 3], 3, axis=1)
    found = [[correlation(tile, cine.magnitude[3]) for cine in (truth, *images)] for tile in tiles]
    assert np.diag(found).min() > 0.95  # nearest pixels against bicubic ones, and H.264
    assert [int(np.argmax(row)) for row in found] == [0, 1, 2]


def test_stored_images_keep_times_and_pixel_size(evaluated, full_scan):
    folder, scores = evaluated
    image, truth = read_image(folder, scores[1].task, "cgsense", 0)
    assert (image.method, truth.method) == ("cgsense", "reference")
    assert len(image.meta.frame_times_ms) == image.n_frames == 8
    assert image.meta.frame_times_ms[1] > 0
    assert truth.magnitude.max() == pytest.approx(1, abs=1e-3)
    assert draw_movies(scores, folder.parent) == [], "nothing is drawn of images that are not stored"
