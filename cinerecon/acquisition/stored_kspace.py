"""Checks of k-space that is stored as an array: whether it is k-space, and whether its lines belong together.

Arrays of images, and k-space that was transformed along one axis, are refused.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from cinerecon.acquisition.alignment import (
    MAX_DISTANCE,
    MAX_READOUTS,
    describe_backward,
    find_backward,
    sign_warnings,
)
from cinerecon.acquisition.amplitudes import table_warnings
from cinerecon.errors import DataError
from cinerecon.physics.fourier import is_image_along

AXES = {-2: "ky", -1: "kx"}


def require_kspace(kspace: Tensor, where: str) -> None:
    """Refuse images, and k-space that was transformed along one axis.

    Parameters
    ----------
    kspace
        ``(frames, coils, ky, kx)``
    where
        File and slice, for errors.

    Raises
    ------
    DataError
        If a transform along an axis concentrates the energy in the middle.
    """
    frame = kspace[int((kspace[:, 0] != 0).sum((-2, -1)).argmax())]
    transformed = [name for dim, name in AXES.items() if is_image_along(frame, dim)]
    if transformed:
        what = f"the array is no k-space along {' and '.join(transformed)}: a transform concentrates it in the middle"
        hint = "k-space is np.fft.fftshift(np.fft.fft(np.fft.ifftshift(image, axes), axes=axes), axes) of coil images"
        raise DataError(what, where=where, hint=hint)


def gain_and_sign_warnings(kspace: Tensor, mask: Tensor, where: str) -> Iterator[str]:
    """Warnings about frames and lines of another gain, and about alternating signs.

    Parameters
    ----------
    kspace, mask
        ``(frames, coils, ky, kx)``, ``(frames, 1, ky, kx or 1)``; nothing is examined where points are sampled.
    where
        File and slice, for errors.

    Raises
    ------
    DataError
        If some lines run backwards against the others, or coils have different lines.
    """
    if mask.shape[-1] != 1:
        return
    is_measured = mask[:, 0, :, 0]
    by_coil = torch.stack([coil.abs().amax(-1) for coil in kspace.unbind(1)])
    _require_one_mask(by_coil, is_measured, where)
    largest = by_coil.amax(0)
    table = torch.where(is_measured & (largest > 0), largest, torch.nan).double().numpy()
    yield from table_warnings(table, np.zeros(table.shape[1], bool))
    middle = kspace.shape[-2] // 2
    rows = slice(max(middle - MAX_DISTANCE, 0), middle + MAX_DISTANCE + 1)
    frames, ky = is_measured[:, rows].nonzero()[:MAX_READOUTS].T.numpy()
    samples = kspace[:, :, rows].movedim(2, 1)[frames, ky].numpy()
    backward = find_backward(samples)
    if backward.size:
        hint = "reverse them along kx"
        raise DataError(describe_backward(backward, samples), where=f"{where}, frame {frames[backward[0]]}", hint=hint)
    yield from sign_warnings(samples, frames, ky)


def _require_one_mask(by_coil: Tensor, is_measured: Tensor, where: str) -> None:
    """Check that coils with signal, ``(coils, frames, ky)``, have it on all lines that were measured."""
    is_empty = (by_coil == 0) & is_measured
    n_empty = is_empty.sum((1, 2))
    has_signal = (by_coil > 0).any(2).any(1)
    differing = (has_signal & (n_empty > 0)).nonzero().ravel().tolist()
    if differing:
        coil, n_lines = differing[0], int(is_measured.sum())
        what = (
            f"coil {coil} holds nothing but zeros on {int(n_empty[coil])} of {n_lines} lines that other coils have "
            "measured: the coils have different masks"
        )
        hint = "all coils are measured at once: leave the coil out, or correct its lines"
        raise DataError(what, where=where, hint=hint)
