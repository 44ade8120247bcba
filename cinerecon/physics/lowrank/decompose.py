"""Singular values and left singular vectors of a wide matrix, by the cheapest road that is exact.

The eigendecomposition of the small Gram matrix G = A A^H gives both, but squares the singular values: what lies below
the root of the rounding of G is lost. So

- few rows (frames): G is accumulated in chunks, and added up in double precision, which costs nothing and resolves
  values down to 1e-3 of the largest. Where the rule keeps smaller ones, G is accumulated in double precision.
- many rows (the lines of a frame): G and its eigenvectors in single precision where the rule drops everything below
  2e-2 of the largest, otherwise the singular value decomposition; on a GPU G in double precision.

On the CPU a batch is halved and done in two threads: LAPACK takes one matrix at a time.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from cinerecon.physics.lowrank.rules import Shrinkage, Spectrum

FEW = 64
_CHUNK = 2048
_RESOLVED_IN_CHUNKS = 1e-3
_RESOLVED_IN_SINGLE = 2e-2
_WORTH_A_THREAD = 2**18

Tensors = tuple[Tensor, ...]


def decompose(matrix: Tensor, rule: Shrinkage) -> Tensors:
    """Squared singular values ``(*batch, rows)``, descending, double; left vectors ``(*batch, rows, rows)``.

    Takes ``(*batch, rows, columns)``, rows <= columns. Where a matrix is not finite, neither are its values.
    """
    flat = matrix.reshape(-1, *matrix.shape[-2:])
    squares, vectors = _few_rows(flat, rule) if flat.shape[-2] <= FEW else _many_rows(flat, rule)
    return squares.view(*matrix.shape[:-1]), vectors.view(*matrix.shape[:-1], -1)


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
    if matrix.shape[-1] <= _CHUNK and not precise:
        return (matrix @ matrix.mH).to(double)
    total = matrix.new_zeros(*matrix.shape[:-1], matrix.shape[-2], dtype=double)
    for one, sum_of_one in zip(matrix, total, strict=True):
        for piece in one.split(_CHUNK, -1):
            piece = piece.to(double) if precise else piece
            sum_of_one += piece @ piece.mH
    return total


def _few_rows(matrix: Tensor, rule: Shrinkage) -> Tensors:
    if matrix.device.type != "cpu":
        return _eigh(gram(matrix, precise=True))
    squares, vectors = _eigh(gram(matrix))
    if _keeps_below(_RESOLVED_IN_CHUNKS, squares, matrix, rule):
        return _eigh(gram(matrix, precise=True))
    return squares, vectors


@torch.no_grad()
def _keeps_below(level: float, squares: Tensor, matrix: Tensor, rule: Shrinkage) -> bool:
    """Whether values below a share of the largest matter: some are kept, but not all values alike."""
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
    if (relative_cutoff(matrix, rule) or 0) >= _RESOLVED_IN_SINGLE:
        return _eigh(small_gram(matrix))
    return _svd(matrix) if matrix.device.type == "cpu" else _eigh(gram(matrix, precise=True))


def small_gram(matrix: Tensor) -> Tensor:
    """A A^H in the precision of A; one matrix after the other on the CPU, where a batch would copy its conjugate."""
    return torch.stack([one @ one.mH for one in matrix]) if matrix.device.type == "cpu" else matrix @ matrix.mH


def energy(matrix: Tensor) -> Tensor:
    """Squared Frobenius norm ``(batch, 1)``, the rows added up in double precision."""
    rows = torch.view_as_real(matrix).flatten(-2) if matrix.is_complex() else matrix
    return torch.linalg.vector_norm(rows, dim=-1).double().square().sum(-1, keepdim=True)


@torch.no_grad()
def relative_cutoff(matrix: Tensor, rule: Shrinkage) -> float | None:
    """The rule's cutoff as a share of the largest value, or of its bound ||A||; the least over all matrices."""
    bound = energy(matrix).sqrt()
    cutoff = rule.cutoff(bound)
    return None if cutoff is None else float((cutoff / bound).nan_to_num(1.0).min())


def _eigh(gram: Tensor) -> Tensors:
    finite = torch.isfinite(gram.diagonal(dim1=-2, dim2=-1).real.sum(-1))
    squares, vectors = _of_finite(torch.linalg.eigh, gram, finite)
    return squares.flip(-1), vectors.flip(-1)


def _svd(matrix: Tensor) -> Tensors:
    finite = torch.isfinite(energy(matrix)[:, 0])
    values, vectors = _of_finite(lambda half: torch.linalg.svd(half, full_matrices=False)[1::-1], matrix, finite)
    return values.square(), vectors


def _of_finite(function: Callable[[Tensor], Tensors], matrix: Tensor, finite: Tensor) -> Tensors:
    """Values in double precision, and vectors; NaN for the values of matrices at which LAPACK would stop."""
    if not bool(finite.all()):
        matrix = torch.where(finite[:, None, None], matrix, 0)
    values, vectors = in_halves(function, matrix)
    return torch.where(finite[:, None], values.double(), torch.nan), vectors


def in_halves(function: Callable[[Tensor], Tensors], batch: Tensor) -> Tensors:
    """A function of a batch of matrices, its halves in two threads where that is worth it."""
    n = len(batch) // 2
    small = batch.numel() * batch.shape[-2] < _WORTH_A_THREAD
    if n == 0 or small or batch.device.type != "cpu" or torch.get_num_threads() == 1:
        return function(batch)
    with ThreadPoolExecutor(1) as helper:
        second = helper.submit(torch.no_grad()(function), batch[n:])
        first = function(batch[:n])
        return tuple(torch.cat(pair) for pair in zip(first, second.result(), strict=True))


def _double(matrix: Tensor) -> torch.dtype:
    return torch.complex128 if matrix.is_complex() else torch.float64
