"""The partial Fourier step, which follows the reconstruction by any method: the choice, the test and the record."""

from typing import NamedTuple

from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.physics.partial_fourier import (
    Axes2D,
    FillMethod,
    fill,
    is_partial,
    partial_axes,
    prediction_error,
)
from cinerecon.reconstruction.options import PartialFourier

LARGEST_ERROR = 0.65
"""Error of the prediction of measured lines above which filling in does not improve simulated images."""


class Filled(NamedTuple):
    """An image after the step ``(frames, y, x)``, what was done in words, empty if nothing is missing, and warnings."""

    image: Tensor
    record: str
    warnings: tuple[str, ...] = ()


def fill_partial_fourier(image: Tensor, data: CineData, choice: PartialFourier) -> Filled:
    """Fill in what k-space lacks on one side, as far as it was asked for.

    Parameters
    ----------
    image
        ``(frames, y, x)`` in the units of A^H y, what a method reconstructed.
    data
        The measurement.
    choice
        ``pocs``, ``homodyne``, ``none``; ``auto`` is POCS if the test with measured lines shows that it predicts them.
    """
    axes = partial_axes(data)
    if not is_partial(axes):
        return Filled(image, "")
    missing = _missing(axes)
    if choice == "none":
        return Filled(image, f"none, {missing} not filled in")
    method: FillMethod = "pocs" if choice == "auto" else choice
    error = prediction_error(image, axes, method)
    tested = f"measured lines left out for a test are predicted with an error of {error:.0%}"
    if choice == "auto" and error > LARGEST_ERROR:
        return Filled(image, f"none, {missing} not filled in: {tested}")
    warnings: tuple[str, ...] = ()
    if error > LARGEST_ERROR:
        text = f"partial Fourier by {method}: {tested}: noise, aliasing or a phase that varies too fast in space"
        warnings = (f"{text}; what is filled in is not to be trusted (--partial-fourier none leaves it out)",)
    return Filled(fill(image, axes, method), f"{method}, {missing} filled in, {tested}", warnings)


def _missing(axes: Axes2D) -> str:
    """The number of lines that are missing on one side, in words."""
    names = zip(("ky", "kx"), axes, strict=True)
    return " and ".join(f"{axis.missing} of {axis.n} {name}" for name, axis in names if axis.is_partial)
