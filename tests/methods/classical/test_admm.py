"""ADMM lowers the cost, stops at the tolerance, and its closed form solves its equation for any mask."""

import itertools
from dataclasses import replace
from functools import partial

import pytest
import torch
from helpers import complex_randn, relative_error, with_mask
from scipy.sparse.linalg import LinearOperator, cg

from cinerecon.methods.base import make_encoding
from cinerecon.methods.classical import admm
from cinerecon.methods.classical.admm import ExactUpdate, GradientUpdate, choose_image_update
from cinerecon.methods.classical.admm_methods import KtSlr, Ttv
from cinerecon.methods.classical.config import KtSlrConfig
from cinerecon.methods.classical.penalties import Coupling
from cinerecon.physics.operators import Encoding

CONVEX = {"p": 1.0, "block_size": 0, "continuation": 1.0, "weight_lowrank": 5e-3}
COUPLING = Coupling(identity=0.02, time=0.05, y=0.003, x=0.004)


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
    monkeypatch.setattr(admm, "PROXIMAL_WEIGHT", 1e-7)
    assert 0 < relative_error(image, Ttv()(data)) < 1e-3


def left_side(encoding, u, coupling=COUPLING):
    return coupling.add_to(encoding.normal(u), u, torch.empty_like(u))


def scattered_mask(frames, matrix):
    """A quarter of the points, drawn for each frame."""
    return torch.rand(frames, 1, *matrix, generator=torch.Generator().manual_seed(0)) < 0.25


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
@pytest.mark.parametrize("matrix", [(24, 21), (15, 16)])
@pytest.mark.parametrize("whole_readouts", [True, False])
def test_the_closed_form_solves_the_equation(frames, matrix, whole_readouts):
    mask = scattered_mask(frames, matrix)
    encoding = Encoding(mask[..., :1] if whole_readouts else mask, matrix=matrix, dtype=torch.complex128)
    update = choose_image_update(encoding, COUPLING, torch.complex128, 1)
    assert isinstance(update, ExactUpdate)
    b = complex_randn(frames, *matrix)
    assert relative_error(left_side(encoding, update(b, b)), b) < 1e-11


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
def test_the_closed_form_solves_the_equation_in_real_time(frames):
    coupling = replace(COUPLING, is_cyclic=False)
    encoding = Encoding(scattered_mask(frames, (15, 16)), matrix=(15, 16), dtype=torch.complex128)
    b = complex_randn(frames, 15, 16)
    update = choose_image_update(encoding, coupling, torch.complex128, 1)
    assert relative_error(left_side(encoding, update(b, b), coupling), b) < 1e-11


@pytest.mark.parametrize("whole_readouts", [True, False])
def test_gradient_steps_reach_the_solution(make_cine, whole_readouts):
    data = make_cine(dtype=torch.complex128)
    if not whole_readouts:
        data = with_mask(data, scattered_mask(data.n_frames, data.matrix))
    encoding, b = make_encoding(data), complex_randn(*data.reference.shape)
    update = GradientUpdate(encoding, COUPLING, torch.complex128, 60)
    u = update(b, torch.zeros_like(b))
    assert relative_error(left_side(encoding, u), b) < 1e-8
    assert update.product is not None and relative_error(update.product, left_side(encoding, u)) < 1e-8


def test_gradient_steps_are_those_of_conjugate_gradients_in_one_call_or_in_several(make_cine):
    """For a constant right side: the reference is SciPy, with the same preconditioner."""
    data = make_cine(dtype=torch.complex128)
    encoding, b = make_encoding(data), complex_randn(*data.reference.shape)
    whole = GradientUpdate(encoding, COUPLING, torch.complex128, 6)
    parts = GradientUpdate(encoding, COUPLING, torch.complex128, 2)

    def as_operator(function):
        return LinearOperator((b.numel(), b.numel()), lambda x: function(torch.from_numpy(x).view(b.shape)).ravel())

    matrix, preconditioner = (
        as_operator(function) for function in (partial(left_side, encoding), whole.preconditioner.solve_image)
    )
    expected, _ = cg(matrix, b.ravel().numpy(), M=preconditioner, maxiter=6, rtol=0)
    u = torch.zeros_like(b)
    for _ in range(3):
        u = parts(b, u)
    for image in (u, whole(b, torch.zeros_like(b))):
        assert relative_error(image.ravel(), torch.from_numpy(expected)) < 1e-8


def test_steps_that_go_on_from_one_right_side_to_the_next_are_closer_than_those_that_begin_again(make_cine):
    data = make_cine(dtype=torch.complex128)
    encoding, first, change = make_encoding(data), *(complex_randn(*data.reference.shape) for _ in range(2))
    errors = []
    for goes_on in (True, False):
        update, u = GradientUpdate(encoding, COUPLING, torch.complex128, 1), torch.zeros_like(first)
        for n in range(12):
            u = update(first + 0.5**n * change, u)
            update.last = update.last if goes_on else None
        errors.append(relative_error(left_side(encoding, u), first))
    assert errors[0] < 0.2 * errors[1]


def test_with_one_coil_of_unit_sensitivity_the_first_step_is_the_last(make_cine):
    data = make_cine(n_coils=1, dtype=torch.complex128)
    flat = replace(data, csm=torch.ones(1, *data.matrix, dtype=torch.complex128))
    b = complex_randn(*data.reference.shape)
    exact = choose_image_update(make_encoding(data), COUPLING, torch.complex128, 1)(b, b)
    assert (
        relative_error(GradientUpdate(make_encoding(flat), COUPLING, torch.complex128, 1)(b, b.clone()), exact) < 1e-10
    )


def test_the_preconditioner_speeds_it_up(make_cine):
    data = make_cine(dtype=torch.complex128)
    encoding, b = make_encoding(data), complex_randn(*data.reference.shape)
    left = []
    for sampling in (admm.effective_sampling(encoding), torch.ones(1, 1, 1, dtype=torch.float64)):
        update = GradientUpdate(encoding, COUPLING, torch.complex128, 6)
        if sampling.numel() == 1:  # as good as none
            sampling = sampling.expand(data.n_frames, *data.matrix)
            update.preconditioner = admm.KSpaceSystem(sampling, Coupling(), data.matrix, torch.complex128)
        left.append(relative_error(left_side(encoding, update(b, torch.zeros_like(b))), b))
    assert left[0] < 0.3 * left[1]


@pytest.mark.parametrize("whole_readouts", [True, False])
def test_the_effective_sampling_is_the_diagonal_in_kspace(make_cine, whole_readouts):
    data = make_cine(n_frames=2, matrix=(6, 5), per_frame=2, dtype=torch.complex128)
    if not whole_readouts:
        data = with_mask(data, scattered_mask(2, data.matrix))
    encoding, transform = (
        make_encoding(data),
        Encoding(torch.ones(2, 1, 6, 5, dtype=torch.bool), dtype=torch.complex128),
    )
    found = admm.effective_sampling(encoding).expand(2, 6, 5)
    for ky, kx in ((0, 0), (3, 2), (5, 4)):
        point = torch.zeros(2, 1, 6, 5, dtype=torch.complex128)
        point[:, 0, ky, kx] = 1
        entry = transform.forward(encoding.normal(transform.adjoint(point)))[:, 0, ky, kx]
        torch.testing.assert_close(entry.real, found[:, ky, kx])
