"""Singular values and left singular vectors of a wide matrix, all or the leading ones, by the fastest exact method.

The eigendecomposition of the small Gram matrix G = A A^H provides both, but squares the singular values, so that values
below the square root of the rounding errors of G are lost. Therefore,

- for few rows (frames), G is accumulated in chunks and summed in double precision, which has no cost and resolves
  values down to 1e-3 of the largest one. If the rule keeps smaller values, G is accumulated in double precision.
- for many rows (the lines of a frame), G and its eigenvectors are computed in single precision if the rule removes all
  values below 2e-2 of the largest one; otherwise, the singular value decomposition is used. On a GPU, G is computed in
  double precision.

On the CPU, batches are divided into halves that are computed in two threads, since LAPACK processes one matrix at a
time.

If a rule keeps few singular values of a large matrix, only these are computed, by subspace iteration with G from random
vectors and the Rayleigh-Ritz method (Halko, Martinsson and Tropp, 10.1137/090771806). The result is used if it meets
two conditions; otherwise the full method is used:

- the error of the shrunk matrix due to the residuals r_i = G q_i - theta_i q_i of the vectors, to first order
  ||(||r_i|| w_i s_i / (theta_i - theta_last))||, is below the tolerance;
- no retained singular value was missed, i.e. no eigenvalue outside the subspace exceeds the square of the rule's
  cutoff. This is the case if the sum of their squares, ||G||^2 - sum theta^2, does not exceed cutoff^4, or if
  cutoff^2 I - G + Q theta Q^H has a Cholesky factor.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from cinerecon.physics.lowrank.rules import Shrinkage, Spectrum

N_ROWS_SMALL = 64
"""Largest number of rows for which the Gram matrix is decomposed in double precision."""
_CHUNK_COLUMNS = 8192
"""Number of columns whose products are accumulated in single precision before they are added in double precision."""
_RESOLUTION_CHUNKED, _RESOLUTION_SINGLE = 1e-3, 2e-2
"""Smallest resolved singular values, relative to the largest, for Gram matrices in chunks and in single precision."""
_MIN_SIZE_FOR_THREADS = 2**18
"""Size of a batch (elements times rows) above which it is computed in two threads."""
_THREAD_NAME = "half-of-a-batch"

_VECTORS_RATIO = 1 / 6
"""Number of leading vectors that are computed, as a fraction of the rows."""
_MIN_CUTOFF_RATIO = 0.02
"""Cutoff of a rule, relative to the largest value or its bound, below which the leading vectors do not suffice."""
_TOLERANCE = 5e-6
"""Largest relative error of a matrix that is shrunk with its leading vectors."""
_RIDGE = 1e-13
"""Added to the diagonal of a normalised Gram matrix before its Cholesky factorisation."""

Tensors = tuple[Tensor, ...]
Full = Callable[[Tensor, Shrinkage], Tensor]


@dataclass(frozen=True)
class Decomposition:
    """Singular values and vectors of matrices A ``(*batch, rows, columns)``, rows <= columns.

    Attributes
    ----------
    squares
        Squared singular values ``(*batch, rows)``, descending, in double precision; NaN if a matrix is not finite.
    vectors
        Left singular vectors U ``(*batch, rows, rows)``.
    rotated
        U^H A ``(*batch, rows, columns)``, if it was computed as well.
    """

    squares: Tensor
    vectors: Tensor
    rotated: Tensor | None = None


def decompose(matrix: Tensor, rule: Shrinkage) -> Decomposition:
    """Decompose ``(*batch, rows, columns)``, rows <= columns, with the precision that the rule requires."""
    flat = matrix.reshape(-1, *matrix.shape[-2:])
    parts = _few_rows(flat, rule) if flat.shape[-2] <= N_ROWS_SMALL else _many_rows(flat, rule)
    return Decomposition(*(part.view(*matrix.shape[:-2], *part.shape[1:]) for part in parts))


def singular_values(squares: Tensor) -> Tensor:
    """Roots of eigenvalues of the Gram matrix; zero, with derivative zero, below rounding errors."""
    floor = torch.finfo(squares.dtype).eps * squares[..., :1].abs()
    positive = ~(squares <= floor)  # NaN is not changed
    return torch.where(positive, squares, 1.0).sqrt() * positive


def gram(matrix: Tensor, *, precise: bool = False) -> Tensor:
    """A A^H ``(batch, rows, rows)`` in double precision; if `precise`, also accumulated in double precision."""
    double = _double(matrix)
    if matrix.dtype == double:
        return matrix @ matrix.mH
    if matrix.shape[-1] <= _CHUNK_COLUMNS and not precise:
        return (matrix @ matrix.mH).to(double)
    total = matrix.new_zeros(*matrix.shape[:-1], matrix.shape[-2], dtype=double)
    if matrix.device.type != "cpu":
        for pieces in matrix.split(_CHUNK_COLUMNS, -1):
            pieces = pieces.to(double)
            total.baddbmm_(pieces, pieces.mH)
        return total
    for series, sum_of_one in zip(matrix, total, strict=True):
        for piece in series.split(_CHUNK_COLUMNS, -1):
            piece = piece.to(double) if precise else piece
            sum_of_one += torch.mm(piece, piece.mH)
    return total


def _few_rows(matrix: Tensor, rule: Shrinkage) -> Tensors:
    if matrix.device.type != "cpu":
        return _eigh(gram(matrix, precise=True))
    squares, vectors = _eigh(gram(matrix))
    if _is_kept_below(_RESOLUTION_CHUNKED, squares, matrix, rule):
        return _eigh(gram(matrix, precise=True))
    return squares, vectors


@torch.no_grad()
def _is_kept_below(level: float, squares: Tensor, matrix: Tensor, rule: Shrinkage) -> bool:
    """Whether values below a fraction of the largest are relevant: some are kept, but not all of them equally."""
    small = squares < level**2 * squares[:, :1]
    if not bool(small.any()):
        return False
    values = singular_values(squares)
    spectrum = Spectrum(values, (matrix.shape[-2], matrix.shape[-1]), matrix.is_complex())
    shares = rule.share(values, *rule.measure(spectrum))
    return bool((small & (shares > 0) & (shares != shares[:, :1])).any())


def _many_rows(matrix: Tensor, rule: Shrinkage) -> Tensors:
    if matrix.dtype == _double(matrix):
        return _eigh(matrix @ matrix.mH)
    size = energy(matrix)
    if (relative_cutoff(size, rule) or 0) >= _RESOLUTION_SINGLE:
        return _eigh(gram_single_precision(matrix))
    return _svd(matrix, size) if matrix.device.type == "cpu" else _eigh(gram(matrix, precise=True))


def gram_single_precision(matrix: Tensor) -> Tensor:
    """A A^H in the precision of A; on the CPU matrix by matrix, since a batch would require a copy of its conjugate."""
    if matrix.device.type != "cpu":
        return matrix @ matrix.mH
    result = matrix.new_empty(*matrix.shape[:-1], matrix.shape[-2])
    for series, product in zip(matrix, result, strict=True):
        torch.mm(series, series.mH, out=product)
    return result


def energy(matrix: Tensor) -> Tensor:
    """Squared Frobenius norm ``(batch, 1)``, summed over rows in double precision."""
    rows = torch.view_as_real(matrix).flatten(-2) if matrix.is_complex() else matrix
    square: Tensor = torch.linalg.vector_norm(rows, dim=-1).double().square().sum(-1, keepdim=True)
    return square


@torch.no_grad()
def relative_cutoff(energy: Tensor, rule: Shrinkage) -> float | None:
    """Cutoff of the rule relative to the largest value, or to its bound ||A||; the smallest over all matrices."""
    bound = energy.sqrt()
    cutoff = rule.cutoff(bound)
    return None if cutoff is None else float((cutoff / bound).nan_to_num(1.0).min())


def _eigh(gram: Tensor) -> Tensors:
    squares, vectors = _where_finite(finite_eigh, gram)
    mark = 0 * gram.diagonal(dim1=-2, dim2=-1).real.sum(-1, keepdim=True)  # NaN if a matrix is not finite
    return squares.flip(-1).double() + mark, vectors.flip(-1)


def finite_eigh(matrix: Tensor) -> Tensors:
    """Eigenvalues and vectors of Hermitian matrices; LAPACK's divide and conquer in single precision can return NaN.

    This occurred for a finite, singular 80 x 80 matrix of norm 1e-3; in this case double precision is used, without
    failures so far.
    """
    values, vectors = torch.linalg.eigh(matrix)
    if values.dtype == torch.float64 or bool(torch.isfinite(values).all()):
        return values, vectors
    values, vectors = torch.linalg.eigh(matrix.to(_double(matrix)))
    return values.to(matrix.real.dtype), vectors.to(matrix.dtype)


def _svd(matrix: Tensor, energy: Tensor) -> Tensors:
    left, values, right = _where_finite(partial(torch.linalg.svd, full_matrices=False), matrix)
    return values.double().square() + 0 * energy, left, values.unsqueeze(-1) * right


def _where_finite(function: Callable[[Tensor], Tensors], matrix: Tensor) -> Tensors:
    """A decomposition in which matrices that are not finite, at which LAPACK would stop, are replaced by zero."""
    try:
        return apply_in_halves(function, matrix)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # public in torch, missing from its type stubs
        finite = torch.isfinite(torch.linalg.vector_norm(matrix, dim=(-2, -1), keepdim=True))
        if bool(finite.all()):
            raise
        return apply_in_halves(function, torch.where(finite, matrix, 0))


def apply_in_halves(function: Callable[[Tensor], Tensors], batch: Tensor) -> Tensors:
    """Apply a function to a batch of matrices; large batches are computed in two threads."""
    n = len(batch) // 2
    small = batch.numel() * batch.shape[-2] < _MIN_SIZE_FOR_THREADS
    alone = torch.get_num_threads() == 1 or threading.current_thread().name.startswith(_THREAD_NAME)
    if n == 0 or small or alone or batch.device.type != "cpu":
        return function(batch)
    halves = _thread_pool(os.getpid()).map(torch.no_grad()(function), (batch[:n], batch[n:]))
    return tuple(torch.cat(pair) for pair in zip(*halves, strict=True))


@lru_cache(maxsize=1)
def _thread_pool(process: int) -> ThreadPoolExecutor:  # noqa: ARG001
    """Persistent threads of this process, since each new thread would allocate additional workers and memory."""
    return ThreadPoolExecutor(2, thread_name_prefix=_THREAD_NAME)


def _double(matrix: Tensor) -> torch.dtype:
    return torch.complex128 if matrix.is_complex() else torch.float64


def shrink_leading(matrix: Tensor, rule: Shrinkage, full_method: Full) -> Tensor:
    """Shrink matrices ``(*batch, rows, columns)``, rows <= columns, with their leading vectors if these suffice."""
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
    leading = leading_vectors(gram_single_precision(matrix), n_vectors, matrix.shape[-1], rule)
    result = apply_shares(leading.vectors, torch.where(leading.is_reliable[:, None], leading.shares, 0), matrix)
    if not bool(leading.is_reliable.all()):
        result[~leading.is_reliable] = full_method(matrix[~leading.is_reliable], rule)
    return result


def apply_shares(vectors: Tensor, shares: Tensor, matrix: Tensor, rotated: Tensor | None = None) -> Tensor:
    """V diag(w) V^H A from the columns of V with nonzero shares; `rotated` is V^H A, if available."""
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
    is_reliable
        Whether the error is small and no retained value was missed ``(batch,)``.
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
        values, rotation = (part.flip(-1) for part in finite_eigh(inner))
        squares = values.double()
        shares, limit = _surviving_shares(squares, (gram.shape[-1], n_columns), gram.is_complex(), rule)
        rotation = rotation[..., : shares.shape[-1]]
        vectors = basis @ rotation
        error = _error(image @ rotation, vectors, squares, shares)
        are_sufficient = squares[:, -1] <= limit
        if bool(((error <= _TOLERANCE) | ~are_sufficient).all()):
            break
        image = gram @ image
    is_reliable = are_sufficient & (error <= _TOLERANCE) & _is_complete(gram, basis, inner, limit)
    return Leading(vectors, shares, error, is_reliable)


@lru_cache(maxsize=16)
def _random_vectors(n: int, n_vectors: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(n, n_vectors, dtype=dtype, generator=torch.Generator().manual_seed(0))


def _orthonormal(vectors: Tensor) -> Tensor:
    """An orthonormal basis of the same span, by the Cholesky factor of their Gram matrix in double precision."""
    double = vectors.to(_double(vectors))
    products = double.mH @ double
    lengths = products.diagonal(dim1=-2, dim2=-1).real.sqrt().clamp(min=1e-100)
    products = products / lengths.unsqueeze(-1) / lengths.unsqueeze(-2)
    products.diagonal(dim1=-2, dim2=-1).add_(_RIDGE)
    factor = torch.linalg.cholesky_ex(products)[0]
    inverse = torch.linalg.solve_triangular(factor, torch.diag_embed(1 / lengths).to(factor.dtype), upper=False)
    basis: Tensor = (double @ inverse.mH).to(vectors.dtype)
    return basis


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
    is_below = (energy(gram) - energy(inner))[:, 0] <= limit.square()
    if bool(is_below.all()):
        return is_below
    rest = basis @ inner @ basis.mH - gram
    rest.diagonal(dim1=-2, dim2=-1).add_(limit[:, None])
    return is_below.logical_or(torch.linalg.cholesky_ex(rest)[1] == 0)
