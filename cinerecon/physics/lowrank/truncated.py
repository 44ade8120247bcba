"""Shrinkage of large matrices that keeps few singular values: only these are computed, and the result is checked.

Subspace iteration with the Gram matrix G from random vectors, then Rayleigh and Ritz (Halko, Martinsson and Tropp,
10.1137/090771806). The result is used under two conditions, otherwise the full method is:

- the error of the shrunk matrix due to the residuals r_i = G q_i - theta_i q_i of the vectors, to first order
  ||(||r_i|| w_i s_i / (theta_i - theta_last))||, is below the tolerance;
- no retained singular value was missed: no eigenvalue outside the subspace exceeds the square of the rule's cutoff,
  since all of them together do not, ||G||^2 - sum theta^2, or since cutoff^2 I - G + Q theta Q^H has a Cholesky factor.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from cinerecon.physics.lowrank.decompose import (
    N_ROWS_SMALL,
    apply_in_halves,
    energy,
    finite_eigh,
    gram_single_precision,
    relative_cutoff,
)
from cinerecon.physics.lowrank.rules import Shrinkage, Spectrum

_VECTORS_RATIO = 1 / 6
_MIN_CUTOFF_RATIO = 0.02
_TOLERANCE = 5e-6
_RIDGE = 1e-13

Full = Callable[[Tensor, Shrinkage], Tensor]


def shrink_leading(matrix: Tensor, rule: Shrinkage, full_method: Full) -> Tensor:
    """Shrink matrices ``(*batch, rows, columns)``, rows <= columns, by their leading vectors where these suffice."""
    n_vectors = int(matrix.shape[-2] * _VECTORS_RATIO)
    if matrix.shape[-2] <= N_ROWS_SMALL or matrix.dtype not in (torch.complex64, torch.float32):
        return full_method(matrix, rule)
    if rule.cutoff(matrix.real.new_ones(1, n_vectors)) is None:
        return full_method(matrix, rule)
    flat = matrix.reshape(-1, *matrix.shape[-2:])
    (result,) = apply_in_halves(lambda half: (_try_leading(half, n_vectors, rule, full_method),), flat)
    return result.view_as(matrix)


def _try_leading(matrix: Tensor, n_vectors: int, rule: Shrinkage, full_method: Full) -> Tensor:
    size = energy(matrix)
    cutoff = relative_cutoff(size, rule)
    if (cutoff is not None and cutoff < _MIN_CUTOFF_RATIO) or not bool(torch.isfinite(size).all()):
        return full_method(matrix, rule)
    found = leading_vectors(gram_single_precision(matrix), n_vectors, matrix.shape[-1], rule)
    result = apply_shares(found.vectors, torch.where(found.is_reliable[:, None], found.shares, 0), matrix)
    if not bool(found.is_reliable.all()):
        result[~found.is_reliable] = full_method(matrix[~found.is_reliable], rule)
    return result


def apply_shares(vectors: Tensor, shares: Tensor, matrix: Tensor, rotated: Tensor | None = None) -> Tensor:
    """V diag(w) V^H A from the columns of V with a nonzero share; `rotated` is V^H A, if it is available."""
    kept = (shares != 0).reshape(shares.shape[:-1].numel(), shares.shape[-1]).any(0).nonzero()
    n = int(kept.max()) + 1 if len(kept) else 0
    weighted = vectors[..., :n] * shares[..., None, :n].to(vectors.real.dtype)
    if rotated is not None:
        return weighted @ rotated[..., :n, :]
    if 3 * n < matrix.shape[-2]:
        return weighted.to(matrix.dtype) @ (vectors[..., :n].mH.to(matrix.dtype) @ matrix)
    return (weighted @ vectors[..., :n].mH).to(matrix.dtype) @ matrix


@dataclass(frozen=True)
class Leading:
    """Leading singular vectors of each matrix.

    Attributes
    ----------
    vectors, shares
        The retained vectors and their shares, ``(batch, rows, n)`` and ``(batch, n)``.
    error
        Relative error of the shrunk matrix due to the vectors, to first order ``(batch,)``.
    trusted
        Whether that is small and no retained value was missed ``(batch,)``.
    """

    vectors: Tensor
    shares: Tensor
    error: Tensor
    is_reliable: Tensor


def leading_vectors(gram: Tensor, n_vectors: int, n_columns: int, rule: Shrinkage, n_rounds: int = 3) -> Leading:
    """The retained vectors, from Gram matrices ``(batch, rows, rows)`` of matrices with a number of columns."""
    start = _random_vectors(gram.shape[-1], n_vectors, gram.dtype).to(gram.device)
    image = gram @ (gram @ _orthonormal(gram @ (gram @ start)))
    for _ in range(n_rounds):
        basis = _orthonormal(image)
        image = gram @ basis
        inner = basis.mH @ image
        values, turn = (part.flip(-1) for part in finite_eigh(inner))
        squares = values.double()
        shares, limit = _surviving_shares(squares, (gram.shape[-1], n_columns), gram.is_complex(), rule)
        turn = turn[..., : shares.shape[-1]]
        vectors = basis @ turn
        error = _error(image @ turn, vectors, squares, shares)
        few = squares[:, -1] <= limit
        if bool(((error <= _TOLERANCE) | ~few).all()):
            break
        image = gram @ image
    is_reliable = few & (error <= _TOLERANCE) & _is_complete(gram, basis, inner, limit)
    return Leading(vectors, shares, error, is_reliable)


@lru_cache(maxsize=16)
def _random_vectors(n: int, n_vectors: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(n, n_vectors, dtype=dtype, generator=torch.Generator().manual_seed(0))


def _orthonormal(vectors: Tensor) -> Tensor:
    """An orthonormal basis of the same span, by the Cholesky factor of their Gram matrix in double precision."""
    double = vectors.to(torch.complex128 if vectors.is_complex() else torch.float64)
    own = double.mH @ double
    lengths = own.diagonal(dim1=-2, dim2=-1).real.sqrt().clamp(min=1e-100)
    own = own / lengths.unsqueeze(-1) / lengths.unsqueeze(-2)
    own.diagonal(dim1=-2, dim2=-1).add_(_RIDGE)
    factor = torch.linalg.cholesky_ex(own)[0]
    inverse = torch.linalg.solve_triangular(factor, torch.diag_embed(1 / lengths).to(factor.dtype), upper=False)
    vectors_of_unit_length: Tensor = (double @ inverse.mH).to(vectors.dtype)
    return vectors_of_unit_length


def _surviving_shares(
    squares: Tensor, shape: tuple[int, int], is_complex: bool, rule: Shrinkage
) -> tuple[Tensor, Tensor]:
    """Shares ``(batch, n)`` of the Ritz values, up to the last retained, and the squared cutoff ``(batch,)``."""
    values = squares.clamp(min=0).sqrt()
    cutoff = rule.cutoff(values)
    limit = squares[:, :1] if cutoff is None else cutoff.square()
    shares = rule.share(values, *rule.measure(Spectrum(values, shape, is_complex)))
    shares = torch.where(squares > limit, shares, 0)
    return shares[:, : int((shares != 0).sum(-1).max())], limit[:, 0]


def _error(image: Tensor, vectors: Tensor, squares: Tensor, shares: Tensor) -> Tensor:
    """Error ``(batch,)`` of the shrunk matrices relative to them, to first order in the residuals of the vectors."""
    kept = squares[:, : shares.shape[-1]]
    residuals = image - vectors * kept.unsqueeze(-2).to(vectors.real.dtype)
    sizes = shares * kept.clamp(min=0).sqrt()
    errors = residuals.abs().square().sum(-2, dtype=torch.float64).sqrt() * sizes / (kept - squares[:, -1:])
    whole = sizes.norm(dim=-1)
    error: Tensor = torch.where(shares != 0, errors, 0).norm(dim=-1) / torch.where(whole > 0, whole, 1.0)
    return error


def _is_complete(gram: Tensor, basis: Tensor, inner: Tensor, limit: Tensor) -> Tensor:
    """Whether ``(batch,)`` no eigenvalue outside the span of the basis exceeds the limit ``(batch,)``.

    The basis Q is orthonormal, and `inner` is Q^H G Q.
    """
    found = (energy(gram) - energy(inner))[:, 0] <= limit.square()
    if bool(found.all()):
        return found
    rest = basis @ inner @ basis.mH - gram
    rest.diagonal(dim1=-2, dim2=-1).add_(limit[:, None])
    is_below: Tensor = found | (torch.linalg.cholesky_ex(rest)[1] == 0)
    return is_below
