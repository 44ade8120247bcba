"""Singular values and left singular vectors of a wide matrix, by the cheapest road that is exact.

The eigendecomposition of the small Gram matrix G = A A^H gives both, but squares the singular values: what lies below
the root of the rounding of G is lost. So

- few rows (frames): G is accumulated in chunks, and added up in double precision, which costs nothing and resolves
  values down to 1e-3 of the largest. Where the rule keeps smaller ones, G is accumulated in double precision.
- many rows (the lines of a frame): G and its eigenvectors in single precision where the rule drops everything below
  1e-2 of the largest, otherwise the singular value decomposition; on a GPU G in double precision.

On the CPU a batch is halved and done in two threads: LAPACK takes one matrix at a time.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from cinerecon.physics.lowrank.rules import Shrinkage, Spectrum

FEW = 64
_CHUNK = 1024
_RESOLVED_IN_CHUNKS = 1e-3
_RESOLVED_IN_SINGLE = 1e-2
_WORTH_A_THREAD = 2**18

Pair = tuple[Tensor, Tensor]


def decompose(matrix: Tensor, rule: Shrinkage) -> Pair:
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
    if matrix.dtype == _double(matrix):
        return matrix @ matrix.mH
    if precise:
        return sum(((c := piece.to(_double(matrix))) @ c.mH for piece in matrix.split(4 * _CHUNK, -1)), start=0)
    if matrix.shape[-1] < 2 * _CHUNK:
        return (matrix @ matrix.mH).to(_double(matrix))
    return torch.stack([_gram_in_chunks(one) for one in matrix])


def _gram_in_chunks(matrix: Tensor) -> Tensor:
    whole = matrix.shape[-1] // _CHUNK * _CHUNK
    chunks = matrix[:, :whole].unflatten(-1, (-1, _CHUNK)).transpose(0, 1)
    total = (chunks @ chunks.mH).sum(0, dtype=_double(matrix))
    rest = matrix[:, whole:]
    return total + rest @ rest.mH if rest.shape[-1] else total


def _few_rows(matrix: Tensor, rule: Shrinkage) -> Pair:
    if matrix.device.type != "cpu":
        return _eigh(gram(matrix, precise=True))
    squares, vectors = _eigh(gram(matrix))
    if _keeps_below(_RESOLVED_IN_CHUNKS, squares, matrix, rule):
        return _eigh(gram(matrix, precise=True))
    return squares, vectors


@torch.no_grad()
def _keeps_below(level: float, squares: Tensor, matrix: Tensor, rule: Shrinkage) -> bool:
    """Whether values below a share of the largest matter: some are kept, but not all values alike."""
    values = singular_values(squares)
    spectrum = Spectrum(values, (matrix.shape[-2], matrix.shape[-1]), matrix.is_complex())
    shares = rule.share(values, *rule.measure(spectrum))
    matter = (values < level * values[..., :1]) & (shares > 0) & (shares != shares[..., :1])
    return bool(matter.any())


def _many_rows(matrix: Tensor, rule: Shrinkage) -> Pair:
    if matrix.dtype == _double(matrix):
        return _eigh(gram(matrix))
    single = matrix @ matrix.mH
    if (relative_cutoff(single, rule) or 0) >= _RESOLVED_IN_SINGLE:
        return _eigh(single)
    if matrix.device.type == "cpu":
        return _svd(matrix, single)
    return _eigh(gram(matrix, precise=True))


@torch.no_grad()
def relative_cutoff(gram: Tensor, rule: Shrinkage) -> float | None:
    """The rule's cutoff as a share of the largest value, or of its bound ||A||; the least over all matrices."""
    bound = gram.diagonal(dim1=-2, dim2=-1).real.sum(-1, keepdim=True).sqrt()
    cutoff = rule.cutoff(bound)
    return None if cutoff is None else float((cutoff / bound).nan_to_num(1.0).min())


def _eigh(gram: Tensor) -> Pair:
    squares, vectors = _in_halves(torch.linalg.eigh, _finite(gram, gram))
    return _marked(squares.flip(-1), gram), vectors.flip(-1)


def _svd(matrix: Tensor, gram: Tensor) -> Pair:
    vectors, values = _in_halves(lambda half: torch.linalg.svd(half, full_matrices=False)[:2], _finite(matrix, gram))
    return _marked(values.double().square(), gram), vectors


def is_finite(gram: Tensor) -> Tensor:
    """Whether all entries of each matrix are finite, ``(*batch, 1, 1)``, from the diagonal of its Gram matrix."""
    return torch.isfinite(gram.diagonal(dim1=-2, dim2=-1).real.sum(-1))[..., None, None]


def _finite(matrix: Tensor, gram: Tensor) -> Tensor:
    """The matrices, those that are not finite replaced by zero: LAPACK would stop at them."""
    finite = is_finite(gram)
    return matrix if bool(finite.all()) else torch.where(finite, matrix, 0)


def _marked(squares: Tensor, gram: Tensor) -> Tensor:
    """The values in double precision, NaN for those matrices."""
    return torch.where(is_finite(gram)[..., 0], squares.double(), torch.nan)


def _in_halves(function: Callable[[Tensor], Pair], batch: Tensor) -> Pair:
    """A function of a batch of matrices, its halves in two threads where that is worth it."""
    n = len(batch) // 2
    small = batch.numel() * batch.shape[-2] < _WORTH_A_THREAD
    if n == 0 or small or batch.device.type != "cpu" or torch.get_num_threads() == 1:
        return function(batch)
    with ThreadPoolExecutor(1) as helper:
        second = helper.submit(torch.no_grad()(function), batch[n:])
        first = function(batch[:n])
        return torch.cat((first[0], second.result()[0])), torch.cat((first[1], second.result()[1]))


def _double(matrix: Tensor) -> torch.dtype:
    return torch.complex128 if matrix.is_complex() else torch.float64
