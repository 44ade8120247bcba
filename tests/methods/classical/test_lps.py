"""L+S: the result of the authors' program, its two parts, and a cost that falls."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from golden import golden, released_case
from helpers import complex_randn, relative_error

from cinerecon.errors import ConfigError
from cinerecon.methods.base import make_encoding
from cinerecon.methods.classical.config import LpsConfig
from cinerecon.methods.classical.lps import Lps, soft_in_frequency
from cinerecon.methods.table import load_method
from cinerecon.metrics.measures import psnr
from cinerecon.simulation.scan import SimulateConfig, simulate_cine


@pytest.mark.parametrize("name", ["sc_0p01", "mc_cine"])
def test_both_parts_and_the_end_are_those_of_the_authors_program(name):
    case, steps = golden(f"lps_otazo_{name}"), []
    weights = {"weight_lowrank": float(case["lambda_L"]), "weight_sparse": float(case["lambda_S"])}
    end = {"tolerance": float(case["tol"]), "n_iterations": int(case["max_iter"]) + 1, "stop_by_mixture": True}
    method = Lps(LpsConfig(**weights, **end, relative=False))
    low_rank, sparse = method.separate(released_case(name[:2]), lambda done, _: steps.append(done))
    assert len(steps) == int(case["iterations"])
    assert relative_error(low_rank, torch.from_numpy(case["L"][0])) < 1e-11
    assert relative_error(sparse, torch.from_numpy(case["S"][0])) < 1e-11


def test_the_image_is_the_sum_of_the_parts(make_cine):
    data = make_cine()
    low_rank, sparse = Lps().separate(data)
    assert torch.equal(Lps()(data), low_rank + sparse)
    rank = int(torch.linalg.matrix_rank(low_rank.flatten(1), rtol=1e-3))
    assert rank < data.n_frames
    assert psnr(low_rank + sparse, data.reference) > psnr(low_rank, data.reference)


def test_soft_thresholding_shortens_each_temporal_frequency():
    series = complex_randn(6, 4, 3)
    before = torch.fft.fft(series, dim=0, norm="ortho")
    after = torch.fft.fft(soft_in_frequency(series, 0.8), dim=0, norm="ortho")
    torch.testing.assert_close(after.abs(), (before.abs() - 0.8).clamp(min=0))
    torch.testing.assert_close(after * before.abs(), before * after.abs())
    torch.testing.assert_close(soft_in_frequency(series, 0.0), series)


@pytest.mark.parametrize("frozen", [True, False])
def test_the_cost_falls(make_cine, frozen):
    method = Lps(LpsConfig(frozen=frozen, tolerance=0, n_iterations=60))
    data = make_cine()
    made = method.reconstruct(data, record=True)
    image, cost = made.image, made.convergence.cost
    assert len(cost) == 60
    assert all(later <= earlier * (1 + 1e-5) for earlier, later in pairwise(cost[2:]))
    residual = make_encoding(data).forward(image) - data.kspace
    found = float(torch.linalg.vector_norm(residual) / torch.linalg.vector_norm(data.kspace))
    assert made.convergence.data_residual[-1] == pytest.approx(found, rel=1e-3)


def test_a_frozen_threshold_is_that_of_the_zero_filled_image(make_cine):
    """With one iteration the two are the same, with more they part."""
    data = make_cine(dtype=torch.complex128)
    for n_iterations, is_same in ((1, True), (5, False)):
        images = [Lps(LpsConfig(frozen=frozen, n_iterations=n_iterations))(data) for frozen in (True, False)]
        assert (relative_error(*images) < 1e-12) == is_same


def test_other_rules_take_the_place_of_the_threshold(make_cine):
    data = make_cine()
    method = Lps(LpsConfig(shrinkage="topk_hard", rank=2, weight_sparse=100.0))
    low_rank, sparse = method.separate(data)
    assert int(torch.linalg.matrix_rank(low_rank.flatten(1), rtol=1e-3)) == 2
    assert not sparse.abs().max() > 1e-3


def test_rules_that_are_soft_thresholding_are_one_rule(make_cine):
    """With the largest singular value of the zero-filled image known, three names say the same."""
    data = make_cine(n_coils=1, dtype=torch.complex128)
    start = make_encoding(data).adjoint(data.kspace)
    level = 0.1 * float(torch.linalg.matrix_norm(start.flatten(1), ord=2))
    common = {"relative": False, "weight_sparse": 0.01, "n_iterations": 10}
    settings = [
        {"frozen": True, "weight_lowrank": 0.1},
        {"shrinkage": "absolute_soft", "prox_weight": level},
        {"shrinkage": "schatten", "p": 1.0, "prox_weight": level},
    ]
    images, costs = [], []
    for setting in settings:
        made = Lps(LpsConfig(**common, **setting)).reconstruct(data, record=True)
        images.append(made.image)
        costs.append(made.convergence.cost[-1])
    assert relative_error(images[1], images[0]) < 1e-10
    assert relative_error(images[2], images[0]) < 1e-10
    assert costs == pytest.approx([costs[0]] * 3)


@pytest.mark.parametrize("settings", [["shrinkage=pass"], ["threshold=-3"]])
def test_what_only_networks_have_is_refused_before_any_work(settings):
    with pytest.raises(ConfigError, match=r"only to networks|by networks only"):
        load_method("lps", settings)


def test_it_ends_when_the_image_settles(make_cine):
    data, steps = make_cine(), []
    Lps(LpsConfig(tolerance=0.05, n_iterations=500)).separate(data, lambda done, _: steps.append(done))
    assert 1 < len(steps) < 60


def test_empty_data_give_an_empty_image(make_cine):
    data = make_cine()
    assert not Lps()(replace(data, kspace=torch.zeros_like(data.kspace))).any()


def test_only_a_share_can_be_frozen():
    with pytest.raises(ConfigError, match="frozen"):
        LpsConfig.parse({"frozen": True, "shrinkage": "absolute_soft"})


def test_series_in_real_time_is_shrunk_by_its_cosine_transform():
    from scipy.fft import dct, idct

    series = complex_randn(9, 4, 3, seed=2)
    coefficients = dct(series.real.numpy(), axis=0, norm="ortho") + 1j * dct(series.imag.numpy(), axis=0, norm="ortho")
    magnitude = np.abs(coefficients)
    shrunk = coefficients * np.maximum(1 - 0.4 / magnitude, 0)
    shrunk[0] = (coefficients * np.maximum(1 - 0.4 / (magnitude * 2**0.5), 0))[0]  # the mean counts for both images
    expected = idct(shrunk.real, axis=0, norm="ortho") + 1j * idct(shrunk.imag, axis=0, norm="ortho")
    np.testing.assert_allclose(soft_in_frequency(series, 0.4, is_cyclic=False).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("undersample", [None, "gaussian:1.5"])
def test_nearly_complete_data_do_not_stop_the_iteration_at_its_beginning(undersample):
    settings = {"n_frames": 8, "ky": 48, "kx": 48, "n_coils": 2, "noise": 0.01, "undersample": undersample}
    (data,) = simulate_cine(SimulateConfig(**settings))
    converged = Lps(LpsConfig(tolerance=0, n_iterations=100))(data)
    assert relative_error(Lps()(data), converged) < 2e-3
    linear = load_method("cgsense")(data)
    assert psnr(Lps()(data), data.reference) > psnr(linear, data.reference) - 0.5
