"""The closed form solves its equation for any mask; gradient steps converge to the same image with several coils."""

from dataclasses import replace

import pytest
import torch
from helpers import complex_randn, relative_error

from cinerecon.methods.base import make_encoding
from cinerecon.methods.classical.admm import image_update
from cinerecon.methods.classical.admm.differences import Coupling
from cinerecon.methods.classical.admm.image_update import ExactUpdate, GradientUpdate, choose_image_update
from cinerecon.physics.operators import Encoding

COUPLING = Coupling(identity=0.02, time=0.05, y=0.003, x=0.004)


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
        data = replace(data, mask=scattered_mask(data.n_frames, data.matrix))
    encoding, b = make_encoding(data), complex_randn(*data.reference.shape)
    update = GradientUpdate(encoding, COUPLING, torch.complex128, 60)
    u = update(b, torch.zeros_like(b))
    assert relative_error(left_side(encoding, u), b) < 1e-8
    assert relative_error(update.normal_u, encoding.normal(u)) < 1e-8


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
    for sampling in (image_update.effective_sampling(encoding), torch.ones(1, 1, 1, dtype=torch.float64)):
        update = GradientUpdate(encoding, COUPLING, torch.complex128, 6)
        if sampling.numel() == 1:  # as good as none
            sampling = sampling.expand(data.n_frames, *data.matrix)
            update.preconditioner = image_update.KSpaceSystem(sampling, Coupling(), data.matrix, torch.complex128)
        left.append(relative_error(left_side(encoding, update(b, torch.zeros_like(b))), b))
    assert left[0] < 0.3 * left[1]


@pytest.mark.parametrize("whole_readouts", [True, False])
def test_the_effective_sampling_is_the_diagonal_in_kspace(make_cine, whole_readouts):
    data = make_cine(n_frames=2, matrix=(6, 5), per_frame=2, dtype=torch.complex128)
    if not whole_readouts:
        data = replace(data, mask=scattered_mask(2, data.matrix))
    encoding, transform = (
        make_encoding(data),
        Encoding(torch.ones(2, 1, 6, 5, dtype=torch.bool), dtype=torch.complex128),
    )
    found = image_update.effective_sampling(encoding).expand(2, 6, 5)
    for ky, kx in ((0, 0), (3, 2), (5, 4)):
        point = torch.zeros(2, 1, 6, 5, dtype=torch.complex128)
        point[:, 0, ky, kx] = 1
        entry = transform.forward(encoding.normal(transform.adjoint(point)))[:, 0, ky, kx]
        torch.testing.assert_close(entry.real, found[:, ky, kx])


def test_the_normal_operator_in_pieces_is_the_whole(make_cine, monkeypatch):
    data = make_cine(dtype=torch.complex128)
    monkeypatch.setattr(image_update, "_SAMPLES_AT_ONCE", 3 * data.kspace[0].numel())
    encoding, u = make_encoding(data), complex_randn(*data.reference.shape)
    assert relative_error(image_update.PiecewiseNormal(encoding)(u), encoding.normal(u)) < 1e-12
