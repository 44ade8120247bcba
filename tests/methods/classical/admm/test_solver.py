"""The solver lowers the cost, stops at the tolerance, and records its convergence."""

import itertools

import pytest
import torch
from helpers import relative_error

from cinerecon.methods.base import make_encoding
from cinerecon.methods.classical.admm import solver
from cinerecon.methods.classical.config import KtSlrConfig
from cinerecon.methods.classical.ktslr import KtSlr
from cinerecon.methods.classical.ttv import Ttv

CONVEX = {"p": 1.0, "block_size": 0, "continuation": 1.0, "weight_lowrank": 5e-3}


def record(data, **settings):
    made = KtSlr(KtSlrConfig(**settings)).reconstruct(data, record=True)
    return made.image, made.convergence


@pytest.mark.parametrize("n_coils", [1, 4])
@pytest.mark.parametrize("isotropic", [True, False])
def test_the_convex_cost_falls_after_the_first_iterations(make_cine, n_coils, isotropic):
    _, found = record(make_cine(n_coils, dtype=torch.complex128), isotropic=isotropic, tolerance=0, **CONVEX)
    later = found.cost[8:]
    assert all(after <= before * (1 + 1e-5) for before, after in itertools.pairwise(later))
    assert later[-1] < found.cost[0]


@pytest.mark.parametrize("n_coils", [1, 4])
def test_it_reaches_the_minimum_for_any_penalties(make_cine, n_coils):
    data = make_cine(n_coils, dtype=torch.complex128)
    settings = {"n_iterations": 400, "tolerance": 1e-7} | CONVEX
    image = KtSlr(KtSlrConfig(**settings))(data)
    other = KtSlr(KtSlrConfig(penalty_lowrank=0.1, penalty_sparse=5e-3, **settings))(data)
    assert relative_error(image, other) < 2e-3


def test_with_moving_blocks_the_cost_falls_and_then_changes_little(make_cine):
    _, found = record(make_cine(1), tolerance=0)
    late = found.cost[-10:]
    assert max(late) < found.cost[2]
    assert max(late) - min(late) < 0.05 * max(late)


def test_it_stops_at_the_tolerance(make_cine):
    _, found = record(make_cine(1), tolerance=1e-2, **CONVEX)
    assert len(found.cost) < 40
    assert found.change[-1] < 1e-2 <= min(found.change[:-1])


def test_without_moving_blocks_the_record_is_that_of_the_image(make_cine):
    """With moving blocks, the image is the mean of the last iterates and the record is of the last one."""
    data = make_cine()
    image, found = record(data, **CONVEX)
    misfit = make_encoding(data).forward(image) - data.kspace
    expected = torch.linalg.vector_norm(misfit) / torch.linalg.vector_norm(data.kspace)
    assert found.data_residual[-1] == pytest.approx(float(expected), rel=1e-3)
    assert len(found.cost) == len(found.data_residual) == len(found.change)


def test_the_record_changes_nothing(make_cine):
    data = make_cine()
    assert torch.equal(record(data)[0], KtSlr()(data))


def test_where_blocks_move_the_mean_of_iterates_is_steadier_than_each(make_cine):
    def move(n_averaged):
        settings = {"n_averaged": n_averaged, "tolerance": 0}
        before, after = (KtSlr(KtSlrConfig(n_iterations=n, **settings))(make_cine(1)) for n in (39, 40))
        return relative_error(after, before)

    assert move(7) < 0.5 * move(1)


def test_the_proximal_term_hardly_changes_the_image(make_cine, monkeypatch):
    data = make_cine(1)
    image = Ttv()(data)
    monkeypatch.setattr(solver, "PROXIMAL_WEIGHT", 1e-7)
    assert 0 < relative_error(image, Ttv()(data)) < 1e-3
