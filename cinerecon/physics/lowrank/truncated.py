"""Shrinkage of large matrices of which few singular values survive: only these are computed, and the result is checked.

Subspace iteration with the Gram matrix G from random vectors, then Rayleigh and Ritz (Halko, Martinsson and Tropp,
10.1137/090771806). The result is taken where two things are certain; elsewhere the full method does it:

- the error that the residuals r_i = G q_i - theta_i q_i of the vectors make in the shrunk matrix, to first order
  ||(||r_i|| w_i s_i / (theta_i - theta_last))||, is below the tolerance;
- nothing that survives was missed: no eigenvalue outside the subspace exceeds the square of the rule's cutoff, since
  all of them together do not, ||G||^2 - sum theta^2, or since cutoff^2 I - G + Q theta Q^H has a Cholesky factor.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from cinerecon.physics.lowrank.decompose import FEW, energy, in_halves, relative_cutoff, small_gram
from cinerecon.physics.lowrank.rules import Shrinkage, Spectrum

_BLOCK = 1 / 6
_LOWEST_CUTOFF = 0.02
_TOLERANCE = 5e-6
_RIDGE = 1e-13
_N_ROUNDS = 3

Full = Callable[[Tensor, Shrinkage], Tensor]


def shrink_leading(matrix: Tensor, rule: Shrinkage, otherwise: Full) -> Tensor:
    """Shrink matrices ``(*batch, rows, columns)``, rows <= columns, by their leading vectors where that is enough."""
    n_vectors = int(matrix.shape[-2] * _BLOCK)
    if matrix.shape[-2] <= FEW or matrix.dtype not in (torch.complex64, torch.float32):
        return otherwise(matrix, rule)
    if rule.cutoff(matrix.real.new_ones(1, n_vectors)) is None:
        return otherwise(matrix, rule)
    flat = matrix.reshape(-1, *matrix.shape[-2:])
    cutoff = relative_cutoff(flat, rule)
    if (cutoff is not None and cutoff < _LOWEST_CUTOFF) or not bool(torch.isfinite(energy(flat)).all()):
        return otherwise(matrix, rule)
    find = partial(_leading, n_vectors=n_vectors, n_columns=flat.shape[-1], rule=rule)
    vectors, shares, trusted = in_halves(find, small_gram(flat))
    result = apply_shares(vectors, torch.where(trusted[:, None], shares, 0), flat)
    if not bool(trusted.all()):
        result[~trusted] = otherwise(flat[~trusted], rule)
    return result.view_as(matrix)


def apply_shares(vectors: Tensor, shares: Tensor, matrix: Tensor) -> Tensor:
    """V diag(w) V^H A, by those columns of V alone whose share is not zero."""
    kept = (shares != 0).reshape(-1, shares.shape[-1]).any(0).nonzero()
    n = int(kept.max()) + 1 if len(kept) else 0
    vectors, shares = vectors[..., :n], shares[..., None, :n].to(vectors.real.dtype)
    if 3 * n < matrix.shape[-2]:
        return (vectors * shares).to(matrix.dtype) @ (vectors.mH.to(matrix.dtype) @ matrix)
    return ((vectors * shares) @ vectors.mH).to(matrix.dtype) @ matrix


def _leading(gram: Tensor, n_vectors: int, n_columns: int, rule: Shrinkage) -> tuple[Tensor, Tensor, Tensor]:
    """Leading vectors ``(batch, rows, n)``, their shares ``(batch, n)``, and which matrices ``(batch,)`` to trust."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(gram.shape[-1], n_vectors, dtype=gram.dtype, generator=generator).to(gram.device)
    image = gram @ (gram @ _orthonormal(gram @ (gram @ start)))
    for _ in range(_N_ROUNDS):
        vectors, image, squares = _rayleigh_ritz(gram, _orthonormal(image))
        values = squares.clamp(min=0).sqrt()
        spectrum = Spectrum(values, (gram.shape[-1], n_columns), gram.is_complex())
        cutoff = rule.cutoff(values)
        limit = squares[:, :1] if cutoff is None else cutoff.square()
        shares = torch.where(squares > limit, rule.share(values, *rule.measure(spectrum)), 0)
        enough = squares[:, -1:] <= limit
        accurate = _error(vectors, image, squares, shares) <= _TOLERANCE * (shares * values).norm(dim=-1)
        if bool((accurate | ~enough[:, 0]).all()):
            break
        image = gram @ image
    return vectors, shares, enough[:, 0] & accurate & _nothing_missed(gram, vectors, squares, limit)


def _orthonormal(vectors: Tensor) -> Tensor:
    """An orthonormal basis of the same span, by the Cholesky factor of their Gram matrix in double precision."""
    double = vectors.to(torch.complex128 if vectors.is_complex() else torch.float64)
    own = double.mH @ double
    lengths = own.diagonal(dim1=-2, dim2=-1).real.sqrt().clamp(min=1e-100)
    own = own / lengths.unsqueeze(-1) / lengths.unsqueeze(-2)
    own.diagonal(dim1=-2, dim2=-1).add_(_RIDGE)
    factor = torch.linalg.cholesky_ex(own)[0]
    inverse = torch.linalg.solve_triangular(factor, torch.diag_embed(1 / lengths).to(factor.dtype), upper=False)
    return (double @ inverse.mH).to(vectors.dtype)


def _rayleigh_ritz(gram: Tensor, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Ritz vectors, their images under G, and Ritz values in double precision, descending."""
    image = gram @ basis
    squares, turn = torch.linalg.eigh(basis.mH @ image)
    turn = turn.flip(-1)
    return basis @ turn, image @ turn, squares.flip(-1).double()


def _error(vectors: Tensor, image: Tensor, squares: Tensor, shares: Tensor) -> Tensor:
    """Error ``(batch,)`` of the shrunk matrices, to first order in the residuals of the vectors that survive."""
    residuals = torch.linalg.vector_norm(image - vectors * squares.unsqueeze(-2), dim=-2)
    gaps = squares - squares[:, -1:]
    size = shares * squares.clamp(min=0).sqrt()
    return torch.linalg.vector_norm(torch.where(shares != 0, residuals * size / gaps, 0), dim=-1)


def _nothing_missed(gram: Tensor, vectors: Tensor, squares: Tensor, limit: Tensor) -> Tensor:
    """Whether ``(batch,)`` no eigenvalue outside the span of the vectors exceeds the limit ``(batch, 1)``."""
    others = energy(gram)[:, 0] - squares.square().sum(-1)
    found = others <= limit[:, 0].square()
    if bool(found.all()):
        return found
    rest = (vectors * squares.unsqueeze(-2).to(vectors.real.dtype)) @ vectors.mH - gram
    rest.diagonal(dim1=-2, dim2=-1).add_(limit)
    return found | (torch.linalg.cholesky_ex(rest)[1] == 0)
