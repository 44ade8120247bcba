"""Property checks that tests share, and the place of files that lie beside the project."""

from pathlib import Path

import torch
from torch import Tensor

from cinerecon.physics.operators import LinearOperator

BESIDE = Path(__file__).resolve().parents[2] / "shared"
"""Outputs of other programs and measured series, wherever the tests are called from; most clones have none."""


def complex_randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> Tensor:
    """Seeded complex Gaussian numbers."""
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def relative_error(found: Tensor, expected: Tensor) -> float:
    """||found - expected|| / ||expected||."""
    return float((torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected)).detach())


def assert_adjoint(operator: LinearOperator, x: Tensor, y: Tensor, tolerance: float = 1e-10) -> None:
    """<A x, y> = <x, A^H y>, and A^H A x from `normal` equals adjoint after forward."""
    forward, adjoint = operator.forward(x), operator.adjoint(y)
    assert forward.shape == y.shape
    assert adjoint.shape == x.shape
    left, right = torch.vdot(forward.ravel(), y.ravel()), torch.vdot(x.ravel(), adjoint.ravel())
    assert abs(left - right) <= tolerance * max(abs(left), abs(right), 1e-30)
    assert relative_error(operator.normal(x), operator.adjoint(forward)) <= tolerance
