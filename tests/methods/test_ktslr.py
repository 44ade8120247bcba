"""k-t SLR: its operators are adjoint, its proximals minimise, its solver solves, and the image is better for it."""

import numpy as np
import pytest
import torch
from helpers import complex_randn, relative_error
from sigpy import linop, prox

from cinerecon.methods import ktslr
from cinerecon.methods.base import encoding_of
from cinerecon.methods.ktslr import KtSlr, KtSlrConfig
from cinerecon.metrics.measures import psnr

SHAPE = (5, 9, 8)


@pytest.fixture
def split():
    return ktslr._Split(SHAPE, KtSlrConfig())


def test_the_split_and_its_adjoint(split):
    u, z = complex_randn(*SHAPE).numpy(), complex_randn(4, *SHAPE, seed=1).numpy()
    assert np.vdot(split(u), z) == pytest.approx(np.vdot(u, split.H(z)))
    assert split.H.H is split


def test_the_differences_are_those_of_sigpy(split):
    u = complex_randn(*SHAPE).numpy()
    config = KtSlrConfig()
    differences = np.sqrt(config.penalty_sparse) * linop.FiniteDifference(SHAPE)(u)
    differences[0] *= config.temporal_weight
    np.testing.assert_allclose(split(u)[1:], differences, atol=1e-12)
    np.testing.assert_allclose(split(u)[0], np.sqrt(config.penalty_lowrank) * u, atol=1e-12)


@pytest.mark.parametrize("matrix", [(24, 21), (15, 16)])
def test_the_closed_form_solves_the_equation_of_the_series(make_cine, matrix):
    data = make_cine(n_coils=1, n_frames=7, matrix=matrix, dtype=torch.complex128)
    encoding, split = encoding_of(data), ktslr._Split((7, *matrix), KtSlrConfig())
    right_side = complex_randn(7, *matrix)
    u = ktslr._ExactSolver(encoding, split, torch.float64)(right_side.numpy(), right_side.numpy())
    left_side = encoding.normal(torch.from_numpy(u)).numpy() + split.N(u)
    np.testing.assert_allclose(left_side, right_side.numpy(), atol=1e-10)


def test_conjugate_gradients_reach_the_closed_form(make_cine):
    data = make_cine(n_coils=1, dtype=torch.complex128)
    encoding, split = encoding_of(data), ktslr._Split(data.reference.shape, KtSlrConfig())
    right_side = complex_randn(*data.reference.shape).numpy()
    exact = ktslr._ExactSolver(encoding, split, torch.float64)(right_side, right_side)
    found = ktslr._ConjugateGradientSolver(encoding, split, torch.float64, 200)(right_side, np.zeros_like(right_side))
    np.testing.assert_allclose(found, exact, atol=1e-8)


def test_the_normal_operator_in_pieces_is_the_whole(make_cine, monkeypatch):
    data = make_cine(dtype=torch.complex128)
    monkeypatch.setattr(ktslr, "_SAMPLES_AT_ONCE", 3 * data.kspace[0].numel())
    encoding, u = encoding_of(data), complex_randn(*data.reference.shape)
    found = ktslr._EncodingNormal(encoding, tuple(u.shape), torch.complex128)(u.numpy())
    assert relative_error(torch.from_numpy(found), encoding.normal(u)) < 1e-12


def test_the_nuclear_norm_is_soft_thresholding():
    series = complex_randn(*SHAPE)
    u, s, vh = torch.linalg.svd(series.flatten(1), full_matrices=False)
    expected = ((u * (s - 3).clamp(min=0)) @ vh).view(SHAPE)
    found = ktslr._SchattenP(SHAPE, 1.5, 1.0, 0)(2.0, series.numpy())
    assert relative_error(torch.from_numpy(found), expected) < 1e-9


def test_isotropic_total_variation_shortens_vectors():
    vectors = complex_randn(3, *SHAPE)
    found = torch.from_numpy(ktslr._TotalVariation((3, *SHAPE), 0.7, True)(1, vectors.numpy()))
    length = torch.linalg.vector_norm(vectors, dim=0)
    assert torch.allclose(torch.linalg.vector_norm(found, dim=0), (length - 0.7).clamp(min=0))
    assert relative_error(found * length, vectors * (length - 0.7).clamp(min=0)) < 1e-12


def test_anisotropic_total_variation_is_the_l1_of_sigpy():
    differences = complex_randn(3, *SHAPE).numpy()
    found = ktslr._TotalVariation((3, *SHAPE), 0.35, False)(2, differences)
    np.testing.assert_allclose(found, prox.L1Reg((3, *SHAPE), 0.35)(2, differences), atol=1e-12)


def test_without_penalties_full_sampling_gives_the_truth(make_cine):
    data = make_cine(n_coils=1, per_frame=None)
    image = KtSlr(KtSlrConfig(weight_lowrank=0, weight_sparse=0))(data)
    assert relative_error(image, data.reference) < 1e-5


def test_empty_data_give_an_empty_image(make_cine):
    data = make_cine()
    empty = type(data)(torch.zeros_like(data.kspace), data.mask, data.csm)
    assert not KtSlr()(empty).any()


@pytest.mark.parametrize("block_size", [0, 8])
@pytest.mark.parametrize("whole_readouts", [True, False])
def test_one_coil_gains_over_zero_filling(make_cine, block_size, whole_readouts):
    data = make_cine(n_coils=1)
    if not whole_readouts:
        mask = data.mask.expand(*data.mask.shape[:-1], data.matrix[1]).clone()
        data = type(data)(data.kspace, mask, None, data.reference)
    image = KtSlr(KtSlrConfig(block_size=block_size))(data)
    assert psnr(image, data.reference) > psnr(encoding_of(data).adjoint(data.kspace), data.reference) + 8
