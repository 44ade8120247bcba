"""Low rank: singular value shrinkage of the Casorati matrix without a singular value decomposition.

For a matrix X (frames x voxels, few frames) the shrunk matrix U w(S) S V^H equals w(G^(1/2)) X with the small Gram
matrix G = X X^H: one product, one eigendecomposition of frames x frames, one product. The derivative needs only divided
differences of f(lambda) = w(sqrt(lambda)), which stay finite where singular values repeat or vanish and that of the SVD
does not (Daleckii and Krein; Higham, Functions of Matrices, theorem 3.11, 10.1137/1.9780898717778).
"""

from typing import Any

import torch
from torch import Tensor

from cinerecon.physics.lowrank.rules import Measured, Shrinkage, Spectrum


def shrink_rows(matrix: Tensor, rule: Shrinkage) -> Tensor:
    """Shrink the singular values of ``(*batch, rows, columns)``; meant for rows << columns.

    Singular values below about 3e-4 of the largest are lost to rounding in single precision, since the Gram matrix
    squares them; the eigendecomposition itself runs in double precision.
    """
    gram = matrix @ matrix.mH
    return spectral_function(gram, rule, matrix.shape[-1]) @ matrix


def spectral_function(gram: Tensor, rule: Shrinkage, n_columns: int) -> Tensor:
    """w(G^(1/2)) of the Gram matrix ``(*batch, n, n)`` of n x n_columns matrices, differentiable everywhere."""
    double = gram.to(torch.complex128 if gram.is_complex() else torch.float64)
    eigenvalues, vectors = _Eigenvalues.apply(double)
    values = _roots(eigenvalues)
    measured = rule.measure(Spectrum(values, (gram.shape[-1], n_columns), gram.is_complex()))
    shares = rule.share(values, *measured)
    slopes = _slopes(eigenvalues.detach(), rule, measured) if torch.is_grad_enabled() else torch.zeros_like(eigenvalues)
    return _Assemble.apply(double, shares, slopes, eigenvalues.detach(), vectors, rule.tie_width).to(gram.dtype)


def _slopes(eigenvalues: Tensor, rule: Shrinkage, measured: Measured) -> Tensor:
    """Derivative of each share by its own eigenvalue, with what was measured held constant."""
    leaf = eigenvalues.requires_grad_()
    shares = rule.share(_roots(leaf), *(one.detach() for one in measured))
    return torch.autograd.grad(shares.sum() + 0 * leaf.sum(), leaf)[0]


def _roots(eigenvalues: Tensor) -> Tensor:
    """Singular values from eigenvalues of the Gram matrix; zero, with derivative zero, below rounding."""
    floor = torch.finfo(eigenvalues.dtype).eps * eigenvalues[..., :1].abs()
    positive = eigenvalues > floor
    return torch.where(positive, eigenvalues, 1.0).sqrt() * positive


class _Eigenvalues(torch.autograd.Function):
    """Eigenvalues, descending and differentiable, and eigenvectors, not differentiable, of a Hermitian matrix."""

    @staticmethod
    def forward(ctx: Any, hermitian: Tensor) -> tuple[Tensor, Tensor]:
        eigenvalues, vectors = torch.linalg.eigh(hermitian.nan_to_num())  # NaN shows in the product with the matrix
        eigenvalues, vectors = eigenvalues.flip(-1), vectors.flip(-1)
        ctx.save_for_backward(vectors)
        ctx.mark_non_differentiable(vectors)
        return eigenvalues, vectors

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (vectors,) = ctx.saved_tensors
        return (vectors * grads[0].unsqueeze(-2)) @ vectors.mH


class _Assemble(torch.autograd.Function):
    """V diag(f) V^H; the change of V with G enters by divided differences, that of f through f itself.

    The divided difference (f_i - f_j) / (l_i - l_j) goes over into the slope f' smoothly within the tie width:
    (df dl + e^2 f') / (dl^2 + e^2).
    """

    @staticmethod
    def forward(
        ctx: Any, _: Tensor, shares: Tensor, slopes: Tensor, eigenvalues: Tensor, vectors: Tensor, tie_width: float
    ) -> Tensor:
        ctx.save_for_backward(shares, slopes, eigenvalues, vectors)
        ctx.tie_width = tie_width
        return (vectors * shares.unsqueeze(-2)) @ vectors.mH

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        shares, slopes, eigenvalues, vectors = ctx.saved_tensors
        inner = vectors.mH @ grads[0] @ vectors
        tiny = torch.finfo(eigenvalues.dtype).tiny
        width = (ctx.tie_width * eigenvalues[..., :1, None]).square() + tiny
        step = eigenvalues.unsqueeze(-1) - eigenvalues.unsqueeze(-2)
        rise = shares.unsqueeze(-1) - shares.unsqueeze(-2)
        slope = (slopes.unsqueeze(-1) + slopes.unsqueeze(-2)) / 2
        differences = (rise * step + width * slope) / (step.square() + width)
        differences.diagonal(dim1=-2, dim2=-1).zero_()
        return (
            vectors @ (differences * inner) @ vectors.mH,
            inner.diagonal(dim1=-2, dim2=-1).real,
            None,
            None,
            None,
            None,
        )
