"""Whether images of another program lie and shine as their truth does: told to the user, never mended in silence."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

GAIN_DB = 3.0
"""What a remedy must gain to be worth a word."""

TURNS: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda image: image,
    "flipped along y": lambda image: image.flip(-2),
    "flipped along x": lambda image: image.flip(-1),
    "turned by 180 degrees": lambda image: image.flip(-2, -1),
    "y and x swapped": lambda image: image.mT,
    "y and x swapped, flipped along y": lambda image: image.mT.flip(-2),
    "y and x swapped, flipped along x": lambda image: image.mT.flip(-1),
    "y and x swapped, turned by 180 degrees": lambda image: image.mT.flip(-2, -1),
}
"""The eight ways an image can lie."""


def doubts_about_fit(image: Tensor, reference: Tensor, *, sees_scale: bool = True) -> Iterator[str]:
    """What one factor, or turning the image, would gain; nothing where that is little.

    Parameters
    ----------
    image, reference
        ``(frames, y, x)`` magnitudes.
    sees_scale
        Whether a factor matters to the measures.
    """
    image, reference = image.double(), reference.double()
    errors = {name: _best_factor(turn(image), reference) for name, turn in TURNS.items() if _fits(turn, image)}
    factor, error = errors[""]
    if sees_scale and _gain(float(((image - reference) ** 2).sum()), error) > GAIN_DB and factor > 0:
        word, times = ("brighter", 1 / factor) if factor < 1 else ("darker", factor)
        yield f"{word} by a factor of {float(f'{times:.3g}'):g}?"
    best = min(errors, key=lambda name: errors[name][1])
    if best and _gain(error, errors[best][1]) > GAIN_DB:
        yield f"{best}?"


def _fits(turn: Callable[[Tensor], Tensor], image: Tensor) -> bool:
    return turn(image).shape == image.shape


def _best_factor(image: Tensor, reference: Tensor) -> tuple[float, float]:
    """The factor a that minimises |a image - reference|^2, and what remains."""
    power = float((image**2).sum())
    factor = float((image * reference).sum()) / power if power > 0 else 0.0
    return factor, float(torch.sum((factor * image - reference) ** 2))


def _gain(before: float, after: float) -> float:
    """In dB; infinite where nothing remains."""
    if before <= 0:
        return 0.0
    return 10 * math.log10(before / after) if after > 0 else math.inf
