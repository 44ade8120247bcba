"""The released k-t SLR: images of the authors' programs, operators and proximal maps."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from golden import golden, released_case
from helpers import complex_randn, relative_error

from cinerecon.methods.base import make_encoding
from cinerecon.methods.classical.config import KtSlrReferenceConfig
from cinerecon.methods.classical.ktslr_reference import (
    KtSlrReference,
    ReleasedKtSlr,
    SchattenShrinkage,
    difference_linop,
    encoding_linop,
    vector_shrinkage,
)

SHAPE = (5, 9, 8)
QUICK = {"n_outer": 2, "n_inner": 3, "n_cg_iterations": 6}


def released_config(case, mode):
    y, x, t = map(float, case["step_size"])
    return KtSlrReferenceConfig(
        mode=mode,
        relative=False,
        weight_lowrank=float(case["mu1"]),
        weight_sparse=float(case["mu2"]),
        p=float(case["p"]),
        growth_lowrank=float(case["beta_rate"]),
        growth_sparse=float(case["beta_rate"]),
        n_outer=int(case["outer"]),
        n_inner=int(case["inner"]),
        steps=(t, y, x),
    )


@pytest.mark.parametrize("mode", ["continuation", "auglag"])
@pytest.mark.parametrize("coils", ["sc", "mc"])
def test_the_image_is_that_of_the_authors_programs(coils, mode):
    case, data = golden(f"ktslr_{coils}_short"), released_case(coils)
    image = KtSlrReference(released_config(case, mode))(data)
    assert relative_error(image, torch.from_numpy(case[f"recon_{mode}"][0])) < 1e-12


@pytest.mark.parametrize("mode", ["continuation", "auglag"])
def test_cost_and_penalties_at_the_start_are_those_of_the_authors_programs(mode):
    case, data = golden("ktslr_mc_short"), released_case("mc")
    encoding = encoding_linop(data.mask.numpy(), data.csm.numpy(), (data.n_frames, *data.matrix))
    solver = ReleasedKtSlr(encoding, data.kspace.numpy(), released_config(case, mode))
    assert solver.beta1 == pytest.approx(float(case["beta1_init"]), rel=1e-12)
    assert solver.beta2 == pytest.approx(float(case["beta2_init"]), rel=1e-12)
    while not solver.done():
        solver.update()
    np.testing.assert_allclose(solver.cost, case[f"cost_{mode}"], rtol=1e-12)


@pytest.mark.parametrize("n_coils", [1, 4])
def test_the_encoding_is_that_of_the_package(make_cine, n_coils):
    data = make_cine(n_coils, n_frames=5, matrix=(9, 8), per_frame=3, dtype=torch.complex128)
    encoding = encoding_linop(data.mask.numpy(), None if data.csm is None else data.csm.numpy(), SHAPE)
    image = complex_randn(*SHAPE)
    expected = make_encoding(data)
    assert relative_error(torch.from_numpy(encoding(image.numpy())), expected.forward(image)) < 1e-12
    assert relative_error(torch.from_numpy(encoding.H(data.kspace.numpy())), expected.adjoint(data.kspace)) < 1e-12


def test_differences_are_forward_circular_and_over_their_steps():
    image, difference = complex_randn(*SHAPE).numpy(), difference_linop(SHAPE, (0.5, 1.0, 2.0))
    expected = [(np.roll(image, -1, axis) - image) / step for axis, step in enumerate((0.5, 1.0, 2.0))]
    np.testing.assert_allclose(difference(image), expected, atol=1e-12)
    vectors = complex_randn(3, *SHAPE, seed=1).numpy()
    assert np.vdot(difference(image), vectors) == pytest.approx(np.vdot(image, difference.H(vectors)))


def test_vectors_are_shortened_by_the_threshold():
    vectors = complex_randn(3, *SHAPE).numpy()
    found, length = vector_shrinkage((3, *SHAPE))(0.7, vectors), np.linalg.norm(vectors, axis=0)
    np.testing.assert_allclose(found * length, vectors * np.maximum(length - 0.7, 0), atol=1e-12)


def test_singular_values_are_shrunk_by_their_power_and_small_ones_dropped():
    left, _ = np.linalg.qr(complex_randn(4, 4).numpy())
    right, _ = np.linalg.qr(complex_randn(30, 4, seed=1).numpy())
    values = np.array([10.0, 2.0, 0.9, 9e-6])
    series = ((left * values) @ right.conj().T).reshape(4, 6, 5)
    shrinkage = SchattenShrinkage(series.shape, 0.5)
    expected = np.array([10 - 10**-0.5, 2 - 2**-0.5, 0, 0])
    np.testing.assert_allclose(shrinkage(1.0, series).reshape(4, -1), (left * expected) @ right.conj().T, atol=1e-9)
    assert shrinkage.norm(series) == pytest.approx(np.sum(values[:3] ** 0.5) / 0.5, rel=1e-6)


def test_the_inner_loop_ends_where_the_cost_settles(make_cine):
    data = make_cine(n_coils=1, dtype=torch.complex128)
    encoding = encoding_linop(data.mask.numpy(), None, data.reference.shape)
    config = KtSlrReferenceConfig(n_outer=3, n_inner=50)
    solver = ReleasedKtSlr(encoding, data.kspace.numpy(), config)
    ends = []
    while not solver.done():
        n_outer = solver.n_outer
        solver.update()
        if solver.n_outer > n_outer:
            ends.append(abs(solver.cost[-1] - solver.cost[-2]) / abs(solver.cost[-1]))
    assert len(ends) == 3
    assert len(solver.cost) < 150
    assert max(ends) < 1e-3


def test_weights_of_scaled_data_follow_the_power_of_the_scale(make_cine):
    """mu1 c^(2 - p), mu2 c, beta1 c^(p - 2), beta2 / c for data times c."""
    data, c, p = make_cine(n_coils=1, dtype=torch.complex128), 7.0, 0.1
    plain = {
        "relative": False,
        "weight_lowrank": 1e-3,
        "weight_sparse": 2e-3,
        "penalty_lowrank": 0.3,
        "penalty_sparse": 9.0,
    } | QUICK
    scaled = {
        "weight_lowrank": 1e-3 * c ** (2 - p),
        "weight_sparse": 2e-3 * c,
        "penalty_lowrank": 0.3 * c ** (p - 2),
        "penalty_sparse": 9.0 / c,
    }
    image = KtSlrReference(KtSlrReferenceConfig(**plain))(data)
    larger = KtSlrReference(KtSlrReferenceConfig(**plain | scaled))(replace(data, kspace=c * data.kspace))
    assert relative_error(larger, c * image) < 1e-8


def test_the_record_holds_the_true_cost_and_it_falls(make_cine):
    data = make_cine(n_coils=4)
    method = KtSlrReference(KtSlrReferenceConfig(n_outer=4, n_inner=5))
    image = method(data)
    made = method.reconstruct(data, record=True)
    assert torch.equal(made.image, image)
    cost = made.convergence.cost
    assert len(cost) > 8
    assert all(later <= earlier * 1.001 for earlier, later in pairwise(cost[1:]))
    residual = make_encoding(data).forward(image) - data.kspace
    found = float(torch.linalg.vector_norm(residual) / torch.linalg.vector_norm(data.kspace))
    assert made.convergence.data_residual[-1] == pytest.approx(found, rel=1e-3)
    assert made.convergence.change[-1] < made.convergence.change[0]


def test_empty_data_give_an_empty_image(make_cine):
    data = make_cine()
    assert not KtSlrReference()(replace(data, kspace=torch.zeros_like(data.kspace))).any()


def test_memory_of_an_inner_iteration_is_freed_at_its_end(make_cine, monkeypatch):
    """By counting references alone: the collector of cycles may come long after the memory is full."""
    import gc
    import weakref

    from cinerecon.methods.classical import ktslr_reference

    solvers = []

    class Watched(ktslr_reference.ReleasedConjugateGradient):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            solvers.append(weakref.ref(self))

    monkeypatch.setattr(ktslr_reference, "ReleasedConjugateGradient", Watched)
    gc.disable()
    try:
        KtSlrReference(KtSlrReferenceConfig(**QUICK))(make_cine(n_coils=1))
        assert len(solvers) > 2
        assert all(solver() is None for solver in solvers)
    finally:
        gc.enable()


@pytest.mark.parametrize("n_outer", [9, 1000])
def test_it_ends_when_the_image_no_longer_changes(make_cine, n_outer):
    data = make_cine(n_coils=1, dtype=torch.complex128)
    encoding = encoding_linop(data.mask.numpy(), None, data.reference.shape)
    held = {"growth_lowrank": 1, "growth_sparse": 1, "penalty_lowrank": 10.0, "penalty_sparse": 14.0}
    solver = ReleasedKtSlr(
        encoding, data.kspace.numpy(), KtSlrReferenceConfig(tolerance=1e-2, n_outer=n_outer, n_inner=1, **held)
    )
    series = [solver.u]
    while not solver.done():
        solver.update()
        series.append(solver.u)
    changes = [np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in zip(series[10::10], series[::10], strict=False)]
    if n_outer == 9:
        assert len(series) == 10
    else:
        assert len(series) % 10 == 1
        assert changes[-1] < 1e-2 <= min(changes[:-1])


def test_last_difference_in_time_is_zero_in_real_time():
    image = complex_randn(4, 3, 5).numpy()
    difference = difference_linop(image.shape, (0.5, 1.0, 1.0), is_cyclic=False)
    found = difference(image)
    np.testing.assert_allclose(found[0, :-1], 2 * (image[1:] - image[:-1]))
    assert not found[0, -1].any()
    np.testing.assert_allclose(found[1:], difference_linop(image.shape, (0.5, 1.0, 1.0))(image)[1:])


def test_singular_values_far_below_the_largest_are_found():
    left, right = (np.linalg.qr(complex_randn(n, 2).numpy())[0] for n in (16, 400))
    series = (left * [1.0, 3e-5] @ right.conj().T).astype(np.complex64)
    norm = SchattenShrinkage(series.shape, 0.1).norm(series)
    assert norm == pytest.approx((1 + 3e-5**0.1) / 0.1, rel=0.02)
