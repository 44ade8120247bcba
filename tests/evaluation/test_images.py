"""An image that several networks start from is computed once per slice, and its cost is counted for each of them."""

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from helpers import complex_randn

from cinerecon.cine import CineData
from cinerecon.evaluation.figures import draw_movies
from cinerecon.evaluation.images import InitialImages, read_image
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.io.export.display import Turn, radiological_turn
from cinerecon.methods.base import Reconstruction, Reconstructor, fingerprint
from cinerecon.methods.classical.linear import ZeroFilled

MODELS = ["zerofilled", "cgsense"]


class Counting(ZeroFilled):
    """Zero filling that counts its calls."""

    n_calls = 0

    def solve(self, data, progress, convergence):
        Counting.n_calls += 1
        return super().solve(data, progress, convergence)


class Network(Reconstructor):
    """Adds one to its initial image."""

    def __init__(self, initial_method):
        self.initial_method, self.config = initial_method, ZeroFilled().config

    def reconstruct(self, data, progress=None, *, initial_image=None, record=False):
        return Reconstruction(initial_image + 1)


@pytest.fixture(autouse=True)
def count(monkeypatch):
    monkeypatch.setattr(Counting, "n_calls", 0)


def make_data(seed):
    return CineData(complex_randn(2, 1, 6, 5, seed=seed), torch.ones(2, 1, 6, 1, dtype=torch.bool), None)


def test_two_networks_and_the_method_itself_share_one_image():
    methods = {"a": Network(Counting()), "b": Network(Counting()), "alone": Counting()}
    for data in (make_data(0), make_data(1)):
        images = InitialImages(data, "cpu")
        found = {name: images.reconstruct(method)[0] for name, method in methods.items()}
        expected = ZeroFilled()(data)
        assert torch.equal(found["alone"], expected)
        assert torch.equal(found["a"], expected + 1)
        assert torch.equal(found["b"], expected + 1)
    assert Counting.n_calls == 2


def test_the_time_of_the_initial_image_is_counted_for_each_network():
    images = InitialImages(make_data(0), "cpu")
    _, alone = images.reconstruct(Counting())
    for _ in range(2):
        assert images.reconstruct(Network(Counting()))[1].seconds > alone.seconds
    assert Counting.n_calls == 1


def test_fingerprints_contain_the_initial_method():
    assert fingerprint(Network(Counting())) != fingerprint(Network(ZeroFilled()))
    assert fingerprint(Network(Counting())) == fingerprint(Network(Counting()))


@pytest.fixture(scope="module")
def evaluated(full_scan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return folder, evaluate([full_scan], EvaluationRequest(MODELS, ["gaussian:4"], output=folder, n_pictures=1)).scores


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
    turn = radiological_turn(truth.first_voxel)
    assert turn != Turn(), "the scan is stored in another orientation than it is shown in"
    tiles = np.split(frames[3][:, : frames.shape[2] // 3 * 3], 3, axis=1)
    found = [[correlation(tile, turn.pixels(cine.magnitude[3])) for cine in (truth, *images)] for tile in tiles]
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
