"""Shrinkage of the Casorati matrix, frames or patches of a series, with the Gram matrix of the smaller side.

For A = U S V^H with few rows, the shrunk matrix U w(S) S V^H equals w(G^(1/2)) A with G = A A^H, which requires one
product for G, one eigendecomposition, and another product. The derivative needs only divided differences of f(lambda) =
w(sqrt(lambda)), which remain finite if singular values are equal or zero, unlike the derivative of the singular value
decomposition (Daleckii and Krein; Higham, Functions of Matrices, theorem 3.11, 10.1137/1.9780898717778).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from cinerecon.axes import IMAGE, require_axes
from cinerecon.physics.lowrank.decompose import apply_shares, decompose, shrink_leading, singular_values
from cinerecon.physics.lowrank.rules import Measured, Shrinkage, Spectrum

SpectrumOf = Callable[[Tensor], Spectrum]


def shrink_matrix(matrix: Tensor, rule: Shrinkage, n_sibling_axes: int = 0) -> Tensor:
    """Shrink the singular values of matrices ``(*batch, rows, columns)``; see `Spectrum` for their siblings."""
    if matrix.shape[-2] > matrix.shape[-1]:
        return shrink_matrix(matrix.mT, rule, n_sibling_axes).mT
    if torch.is_grad_enabled():
        return _spectral_function(matrix, rule, n_sibling_axes) @ matrix
    return shrink_leading(matrix, rule, partial(shrink_by_all, n_sibling_axes=n_sibling_axes))


def shrink_by_all(matrix: Tensor, rule: Shrinkage, n_sibling_axes: int = 0) -> Tensor:
    """Shrink with all singular values, without a derivative."""
    parts = decompose(matrix, rule)
    shares, _ = _shares(singular_values(parts.squares), rule, _spectrum_of(matrix, n_sibling_axes))
    return apply_shares(parts.vectors, shares, matrix, parts.rotated)


def _spectral_function(matrix: Tensor, rule: Shrinkage, n_sibling_axes: int) -> Tensor:
    """w(G^(1/2)) ``(*batch, rows, rows)``, rows <= columns, differentiable everywhere."""
    decompose: Callable[..., tuple[Tensor, Tensor, Tensor]] = _Decompose.apply
    assemble: Callable[..., Tensor] = _Assemble.apply
    spectrum_of = _spectrum_of(matrix, n_sibling_axes)
    squares, vectors, anchor = decompose(matrix, rule)
    shares, measured = _shares(singular_values(squares), rule, spectrum_of)
    slopes = _slopes(squares.detach(), measured, rule, spectrum_of)
    shrunk: Tensor = assemble(anchor, shares, slopes, squares.detach(), vectors, rule.tie_width).to(matrix.dtype)
    return shrunk


def _spectrum_of(matrix: Tensor, n_sibling_axes: int) -> SpectrumOf:
    shape = (matrix.shape[-2], matrix.shape[-1])
    return partial(Spectrum, shape=shape, is_complex=matrix.is_complex(), n_sibling_axes=n_sibling_axes)


def _shares(values: Tensor, rule: Shrinkage, spectrum_of: SpectrumOf) -> tuple[Tensor, Measured]:
    """Shares, which are NaN if values are NaN, and the quantities measured for them."""
    measured = rule.measure(spectrum_of(values))
    return rule.share(values, *measured) + 0 * values, measured


def _slopes(squares: Tensor, measured: Measured, rule: Shrinkage, spectrum_of: SpectrumOf) -> Tensor:
    """Derivative of each share with respect to its squared singular value.

    Quantities measured once for all values are constant, since they cancel in differences between shares; quantities
    measured for each value vary with it.
    """
    leaf = squares.requires_grad_()
    values = singular_values(leaf)
    if any(quantity.shape[-1] > 1 for quantity in measured):
        measured = rule.measure(spectrum_of(values))
    shares = rule.share(values, *(quantity if quantity.shape[-1] > 1 else quantity.detach() for quantity in measured))
    return torch.autograd.grad(shares.sum() + 0 * leaf.sum(), leaf)[0]


class _Decompose(torch.autograd.Function):
    """Squared singular values, differentiable; left vectors, not differentiable; and an anchor instead of G.

    The values of the anchor are not used; it propagates the derivative with respect to G from the assembled matrix
    function back to the matrix.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, rule: Shrinkage) -> tuple[Tensor, Tensor, Tensor]:
        spectrum = decompose(matrix, rule)
        ctx.save_for_backward(matrix, spectrum.vectors)
        ctx.mark_non_differentiable(spectrum.vectors)
        return spectrum.squares, spectrum.vectors, spectrum.vectors.new_zeros(()).expand_as(spectrum.vectors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        matrix, vectors = ctx.saved_tensors
        by_squares, _, by_gram = grads
        total = by_gram + (vectors * by_squares.to(vectors.real.dtype).unsqueeze(-2)) @ vectors.mH
        return (total + total.mH).to(matrix.dtype) @ matrix, None


class _Assemble(torch.autograd.Function):
    """V diag(f) V^H; the derivative of V with respect to G is given by divided differences, that of f by f itself.

    The divided difference (f_i - f_j) / (l_i - l_j) changes smoothly to the slope f' within the tie width:
    (df dl + e^2 f') / (dl^2 + e^2).
    """

    @staticmethod
    def forward(
        ctx: Any, _: Tensor, shares: Tensor, slopes: Tensor, squares: Tensor, vectors: Tensor, tie_width: float
    ) -> Tensor:
        ctx.save_for_backward(shares, slopes, squares, vectors)
        ctx.tie_width = tie_width
        return (vectors * shares.to(vectors.real.dtype).unsqueeze(-2)) @ vectors.mH

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        shares, slopes, squares, vectors = ctx.saved_tensors
        inner = vectors.mH @ grads[0] @ vectors
        differences = _divided_differences(shares, slopes, squares, ctx.tie_width).to(vectors.real.dtype)
        by_shares = inner.diagonal(dim1=-2, dim2=-1).real.to(shares.dtype)
        return vectors @ (differences * inner) @ vectors.mH, by_shares, None, None, None, None


def _divided_differences(shares: Tensor, slopes: Tensor, squares: Tensor, tie_width: float) -> Tensor:
    """``(*batch, n, n)``, zero on the diagonal."""
    width = (tie_width * squares[..., :1, None]).square() + torch.finfo(squares.dtype).tiny
    step = squares.unsqueeze(-1) - squares.unsqueeze(-2)
    rise = shares.unsqueeze(-1) - shares.unsqueeze(-2)
    slope = (slopes.unsqueeze(-1) + slopes.unsqueeze(-2)) / 2
    differences = rise.mul_(step).add_(slope.mul_(width)).div_(step.square_().add_(width))
    differences.diagonal(dim1=-2, dim2=-1).zero_()
    return differences


def shrink_casorati(image: Tensor, rule: Shrinkage) -> Tensor:
    """Shrink the singular values of the Casorati matrix (voxels x frames) of a series ``(*batch, frames, y, x)``."""
    require_axes("image", image, IMAGE)
    alone = image.flatten(-2).unsqueeze(-3)  # no sibling matrices: other series of the batch are independent
    return shrink_matrix(alone, rule).view_as(image)


def shrink_frames(image: Tensor, rule: Shrinkage) -> Tensor:
    """Shrink the singular values of each frame (y x x) of a series ``(*batch, frames, y, x)``."""
    require_axes("image", image, IMAGE)
    return shrink_matrix(image, rule, n_sibling_axes=1)


def shrink_patches(image: Tensor, rule: Shrinkage, size: int, shift: tuple[int, int] = (0, 0)) -> Tensor:
    """Shrink the singular values of each patch (voxels x frames) of a series ``(*batch, frames, y, x)``.

    Squares tile the image without overlap; squares at the border may be smaller.

    Parameters
    ----------
    image
        ``(*batch, frames, y, x)``.
    rule
        Determines the fraction of each singular value that is kept.
    size
        Side of the squares [pixels].
    shift
        Start of the first whole square along y and x [pixels], modulo `size`. A random shift in each
        iteration of a reconstruction avoids block artifacts.
    """
    require_axes("image", image, IMAGE)
    y, x = image.shape[-2:]
    top, left = -shift[0] % size, -shift[1] % size
    patches = as_patches(image, size, (top, left))
    shrunk = shrink_matrix(patches, rule, n_sibling_axes=2).unflatten(-1, (size, size)).movedim((-5, -4), (-4, -2))
    cropped: Tensor = shrunk.flatten(-4, -3).flatten(-2)[..., top : top + y, left : left + x]
    return cropped


def as_patches(image: Tensor, size: int, margin: tuple[int, int] = (0, 0)) -> Tensor:
    """Squares that tile a series ``(*batch, frames, y, x)``, each a matrix: ``(*batch, n_y, n_x, frames, voxels)``.

    Zeros fill the squares at the border; `margin` are those before the first row and the first column.
    """
    y, x = image.shape[-2:]
    top, left = margin
    padded = pad(image, (left, -(x + left) % size, top, -(y + top) % size))
    squares = padded.unflatten(-2, (-1, size)).unflatten(-1, (-1, size))  # (frames, n_y, size, n_x, size)
    patches: Tensor = squares.movedim((-4, -2), (-5, -4)).flatten(-2)
    return patches
