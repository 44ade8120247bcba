"""Low rank: singular value shrinkage of the Casorati matrix without a singular value decomposition.

For a matrix X (frames x voxels, few frames) the shrunk matrix U w(S) S V^H equals w(G^(1/2)) X with the small Gram
matrix G = X X^H: one product, one eigendecomposition of frames x frames, one product. The derivative needs only divided
differences of f(lambda) = w(sqrt(lambda)), which stay finite where singular values repeat or vanish and that of the SVD
does not (Daleckii and Krein; Higham, Functions of Matrices, theorem 3.11, 10.1137/1.9780898717778).
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from cinerecon.axes import IMAGE, require_axes


class Shrinkage(Protocol):
    """A rule that says which share of each singular value is kept."""

    @property
    def tie_width(self) -> float:
        """Distance of eigenvalues, relative to the largest, below which they count as equal in the derivative."""
        ...

    def __call__(self, singular_values: Tensor, largest: Tensor) -> Tensor:
        """Shares w ``(*batch, k)`` of singular values ``(*batch, k)`` in descending order.

        `largest` ``(*batch, 1)`` is the first of them, apart, so that the rule is elementwise in the others.
        """
        ...


@dataclass(frozen=True)
class RelativeSoft:
    """Soft thresholding at a share of the largest singular value: w = max(1 - sigmoid(theta) s_1 / s, 0)."""

    theta: Tensor
    tie_width: float = 1e-9

    def __call__(self, singular_values: Tensor, largest: Tensor) -> Tensor:
        """See `Shrinkage`."""
        threshold = torch.sigmoid(self.theta.to(largest.dtype)) * largest
        kept = singular_values > threshold
        return torch.where(kept, 1 - threshold / torch.where(kept, singular_values, 1.0), 0.0)


@dataclass(frozen=True)
class TopKHard:
    """Keep the k largest singular values as they are, drop the others."""

    k: int
    tie_width: float = 1e-3

    def __call__(self, singular_values: Tensor, largest: Tensor) -> Tensor:
        """See `Shrinkage`."""
        return (_order(singular_values) <= self.k).to(largest.dtype).expand_as(singular_values)


@dataclass(frozen=True)
class TopKSoft:
    """A top-k rule whose k can be learned: w_i = sigmoid((k + 1/2 - i) / temperature), i = 1, 2, ..."""

    k: Tensor
    temperature: float = 0.25
    tie_width: float = 1e-3

    def __call__(self, singular_values: Tensor, largest: Tensor) -> Tensor:
        """See `Shrinkage`."""
        k = self.k.to(largest.dtype)
        return torch.sigmoid((k + 0.5 - _order(singular_values)) / self.temperature).expand_as(singular_values)


def _order(singular_values: Tensor) -> Tensor:
    return torch.arange(1, singular_values.shape[-1] + 1, device=singular_values.device)


def shrink_casorati(image: Tensor, rule: Shrinkage) -> Tensor:
    """Shrink the singular values of the Casorati matrix (voxels x frames) of a series ``(*batch, frames, y, x)``."""
    require_axes("image", image, IMAGE)
    return shrink_rows(image.flatten(-2), rule).view_as(image)


def shrink_rows(matrix: Tensor, rule: Shrinkage) -> Tensor:
    """Shrink the singular values of ``(*batch, rows, columns)``; meant for rows << columns.

    Singular values below about 3e-4 of the largest are lost to rounding in single precision, since the Gram matrix
    squares them; the eigendecomposition itself runs in double precision.
    """
    gram = matrix @ matrix.mH
    return spectral_function(gram, rule) @ matrix


def spectral_function(gram: Tensor, rule: Shrinkage) -> Tensor:
    """w(G^(1/2)) of a positive semidefinite Hermitian matrix ``(*batch, n, n)``, differentiable everywhere."""
    double = gram.to(torch.complex128 if gram.is_complex() else torch.float64)
    eigenvalues, vectors = _Eigenvalues.apply(double)
    shares = _shares(eigenvalues, rule)
    slopes = _slopes(eigenvalues.detach(), rule) if torch.is_grad_enabled() else torch.zeros_like(eigenvalues)
    return _Assemble.apply(double, shares, slopes, eigenvalues.detach(), vectors, rule.tie_width).to(gram.dtype)


def _slopes(eigenvalues: Tensor, rule: Shrinkage) -> Tensor:
    """Derivative of each share by its own eigenvalue, with s_1 held constant."""
    leaf = eigenvalues.requires_grad_()
    return torch.autograd.grad(_shares(leaf, rule, coupled=False).sum() + 0 * leaf.sum(), leaf)[0]


def _shares(eigenvalues: Tensor, rule: Shrinkage, *, coupled: bool = True) -> Tensor:
    """The rule as a function of the eigenvalues of G; uncoupled, s_1 counts as a constant."""
    floor = torch.finfo(eigenvalues.dtype).eps * eigenvalues[..., :1].abs()
    positive = eigenvalues > floor
    singular_values = torch.where(positive, eigenvalues, 1.0).sqrt() * positive
    largest = singular_values[..., :1]
    return rule(singular_values, largest if coupled else largest.detach())


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
