"""Singular values and left singular vectors of a wide matrix, by the fastest method that is exact.

The eigendecomposition of the small Gram matrix G = A A^H gives both, but squares the singular values: those below the
root of the rounding errors of G are lost. Therefore

- few rows (frames): G is accumulated in chunks and summed in double precision, which is free and resolves
  values down to 1e-3 of the largest. If the rule keeps smaller ones, G is accumulated in double precision.
- many rows (the lines of a frame): G and its eigenvectors in single precision where the rule drops everything below
  2e-2 of the largest, otherwise the singular value decomposition; on a GPU G in double precision.

On the CPU a batch is halved and computed in two threads: LAPACK processes one matrix at a time.
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
_CHUNK_COLUMNS = 8192
_RESOLUTION_CHUNKED = 1e-3
_RESOLUTION_SINGLE = 2e-2
_MIN_SIZE_FOR_THREADS = 2**18
_THREAD_NAME = "half-of-a-batch"

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Decomposition:
    """Singular values and vectors of matrices A ``(*batch, rows, columns)``, rows <= columns.

    Attributes
    ----------
    squares
        Squared singular values ``(*batch, rows)``, descending, double; NaN where a matrix is not finite.
    vectors
        Left singular vectors U ``(*batch, rows, rows)``.
    rotated
        U^H A ``(*batch, rows, columns)``, if it came with them.
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
    """Roots of eigenvalues of the Gram matrix; zero, with derivative zero, below rounding."""
    floor = torch.finfo(squares.dtype).eps * squares[..., :1].abs()
    positive = ~(squares <= floor)  # lets NaN pass
    return torch.where(positive, squares, 1.0).sqrt() * positive


def gram(matrix: Tensor, *, precise: bool = False) -> Tensor:
    """A A^H ``(batch, rows, rows)`` in double precision; precise: accumulated in it too."""
    double = _double(matrix)
    if matrix.dtype == double:
        return matrix @ matrix.mH
    if matrix.shape[-1] <= _CHUNK_COLUMNS and not precise:
        return (matrix @ matrix.mH).to(double)
    total = matrix.new_zeros(*matrix.shape[:-1], matrix.shape[-2], dtype=double)
    for one, sum_of_one in zip(matrix, total, strict=True):
        for piece in one.split(_CHUNK_COLUMNS, -1):
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
    """Whether values below a fraction of the largest matter: some are kept, but not all of them equally."""
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
    """A A^H in the precision of A; one matrix after the other on the CPU, where a batch would copy its conjugate."""
    if matrix.device.type != "cpu":
        return matrix @ matrix.mH
    result = matrix.new_empty(*matrix.shape[:-1], matrix.shape[-2])
    for one, place in zip(matrix, result, strict=True):
        torch.mm(one, one.mH, out=place)
    return result


def energy(matrix: Tensor) -> Tensor:
    """Squared Frobenius norm ``(batch, 1)``, the rows added up in double precision."""
    rows = torch.view_as_real(matrix).flatten(-2) if matrix.is_complex() else matrix
    square: Tensor = torch.linalg.vector_norm(rows, dim=-1).double().square().sum(-1, keepdim=True)
    return square


@torch.no_grad()
def relative_cutoff(energy: Tensor, rule: Shrinkage) -> float | None:
    """The rule's cutoff as a share of the largest value, or of its bound ||A||; the least over all matrices."""
    bound = energy.sqrt()
    cutoff = rule.cutoff(bound)
    return None if cutoff is None else float((cutoff / bound).nan_to_num(1.0).min())


def _eigh(gram: Tensor) -> Tensors:
    squares, vectors = _where_finite(finite_eigh, gram)
    mark = 0 * gram.diagonal(dim1=-2, dim2=-1).real.sum(-1, keepdim=True)  # NaN where a matrix is not finite
    return squares.flip(-1).double() + mark, vectors.flip(-1)


def finite_eigh(matrix: Tensor) -> Tensors:
    """Eigenvalues and vectors of Hermitian matrices; LAPACK's divide and conquer in single precision can give NaN.

    This occurred for a finite, singular 80 x 80 matrix of norm 1e-3; double precision is used then, without failures so
    far.
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
    """A decomposition; of zero for those matrices of the batch that are not finite, at which LAPACK stops."""
    try:
        return apply_in_halves(function, matrix)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # public in torch, missing from its type stubs
        finite = torch.isfinite(torch.linalg.vector_norm(matrix, dim=(-2, -1), keepdim=True))
        if bool(finite.all()):
            raise
        return apply_in_halves(function, torch.where(finite, matrix, 0))


def apply_in_halves(function: Callable[[Tensor], Tensors], batch: Tensor) -> Tensors:
    """Apply a function to a batch of matrices, in two threads for large batches."""
    n = len(batch) // 2
    small = batch.numel() * batch.shape[-2] < _MIN_SIZE_FOR_THREADS
    alone = torch.get_num_threads() == 1 or threading.current_thread().name.startswith(_THREAD_NAME)
    if n == 0 or small or alone or batch.device.type != "cpu":
        return function(batch)
    halves = _thread_pool(os.getpid()).map(torch.no_grad()(function), (batch[:n], batch[n:]))
    return tuple(torch.cat(pair) for pair in zip(*halves, strict=True))


@lru_cache(maxsize=1)
def _thread_pool(process: int) -> ThreadPoolExecutor:  # noqa: ARG001
    """Persistent threads of this process, since each new thread would allocate its own workers and memory."""
    return ThreadPoolExecutor(2, thread_name_prefix=_THREAD_NAME)


def _double(matrix: Tensor) -> torch.dtype:
    return torch.complex128 if matrix.is_complex() else torch.float64
