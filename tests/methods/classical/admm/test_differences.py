"""Circular differences: adjoint, diagonal in k-space, and equal to those of the released programs."""

import numpy as np
import pytest
import torch
from helpers import complex_randn

from cinerecon.methods.classical.admm.differences import (
    Coupling,
    add_adjoint_difference,
    difference,
    difference_spectrum,
)
from cinerecon.methods.classical.ktslr_reference import difference_linop

SHAPES = [(5, 9, 8), (1, 4, 6), (2, 3, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_adjoint(shape, axis):
    u, d = complex_randn(*shape), complex_randn(*shape, seed=1)
    left = torch.vdot(difference(u, axis, torch.empty_like(u)).ravel(), d.ravel())
    right = torch.vdot(u.ravel(), add_adjoint_difference(torch.zeros_like(d), d, axis, 1.0).ravel())
    assert abs(left - right) < 1e-10


def test_they_are_those_of_the_released_programs():
    """Forward: the length of the gradient at a voxel would be another if they were backward."""
    u = complex_randn(5, 9, 8)
    found = np.stack([difference(u, axis, torch.empty_like(u)).numpy() for axis in range(3)])
    np.testing.assert_allclose(found, difference_linop(tuple(u.shape), (1.0, 1.0, 1.0))(u.numpy()), atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_spectrum_holds_the_eigenvalues(n):
    step = torch.eye(n, dtype=torch.float64) - torch.eye(n, dtype=torch.float64).roll(1, 0)
    torch.testing.assert_close(difference_spectrum(n).sort().values, torch.linalg.eigvalsh(step.mT @ step))


def test_the_coupling_adds_what_it_says():
    u, total = complex_randn(5, 9, 8), complex_randn(5, 9, 8, seed=1)
    coupling = Coupling(0.5, time=3.0) + Coupling(identity=0.25, x=2.0)
    expected = total + 0.75 * u
    for axis, factor in ((0, 3.0), (2, 2.0)):
        add_adjoint_difference(expected, difference(u, axis, torch.empty_like(u)), axis, factor)
    torch.testing.assert_close(coupling.add_to(total.clone(), u, torch.empty_like(u)), expected)


def test_time_that_is_not_cyclic_has_one_difference_less():
    u = complex_randn(5, 3, 4, seed=1)
    found = difference(u, 0, torch.empty_like(u), is_cyclic=False)
    torch.testing.assert_close(found[:-1], u[1:] - u[:-1])
    assert not found[-1].any()
    adjoint = add_adjoint_difference(torch.zeros_like(u), found, 0, 1.0)
    assert float(torch.vdot(u.ravel(), adjoint.ravel()).real) == pytest.approx(float(found.abs().square().sum()))


def test_sum_of_couplings_is_cyclic_if_both_are():
    assert (Coupling(1.0) + Coupling(time=1.0)).is_cyclic
    assert not (Coupling(1.0) + Coupling(time=1.0, is_cyclic=False)).is_cyclic
