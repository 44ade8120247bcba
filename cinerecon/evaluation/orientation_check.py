"""Whether images of another program have orientation, position and scale of their truth: reported, not corrected."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

GAIN_DB = 3.0
"""What a correction must gain to be reported."""

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
"""The eight orientations of an image."""


def doubts_about_fit(image: Tensor, reference: Tensor, *, sees_scale: bool = True) -> Iterator[str]:
    """What one factor, a turn or a shift of the image would gain; nothing where that is little.

    Parameters
    ----------
    image, reference
        ``(frames, y, x)`` magnitudes.
    sees_scale
        Whether a factor matters to the measures.
    """
    image, reference = image.double(), reference.double()
    turned = {name: turn(image) for name, turn in TURNS.items() if turn(image).shape == image.shape}
    errors = {name: _best_factor(candidate, reference) for name, candidate in turned.items()}
    factor, error = errors[""]
    if sees_scale and _gain(float(((image - reference) ** 2).sum()), error) > GAIN_DB and factor > 0:
        word, times = ("brighter", 1 / factor) if factor < 1 else ("darker", factor)
        yield f"{word} by a factor of {float(f'{times:.3g}'):g}?"
    remarks = {name: name for name in turned}
    for name, candidate in turned.items():
        shift = _best_shift(candidate, reference)
        shifted = _best_factor(candidate.roll((-shift[0], -shift[1]), (-2, -1)), reference)
        if any(shift) and _gain(errors[name][1], shifted[1]) > GAIN_DB:
            errors[name] = shifted
            remarks[name] = ", ".join(text for text in (name, _in_words(shift, reference.shape[-2:])) if text)
    best = min(errors, key=lambda name: errors[name][1])
    if remarks[best] and _gain(error, errors[best][1]) > GAIN_DB:
        yield f"{remarks[best]}?"


def _best_shift(image: Tensor, reference: Tensor) -> tuple[int, int]:
    """Pixels along y and x by which the image is circularly shifted, from the peak of the cross-correlation."""
    spectrum = torch.fft.fft2(image) * torch.fft.fft2(reference).conj()
    correlation = torch.fft.ifft2(spectrum).real.sum(0)
    y, x = divmod(int(correlation.argmax()), correlation.shape[-1])
    ny, nx = correlation.shape
    return (y - ny if y > ny // 2 else y), (x - nx if x > nx // 2 else x)


def _in_words(shift: tuple[int, int], matrix: torch.Size) -> str:
    """Along which axes, and how far; an odd matrix has no exact half."""
    parts: dict[str, list[str]] = {}
    for axis, pixels, size in zip("yx", shift, matrix, strict=True):
        if pixels:
            is_half = abs(pixels) >= size // 2
            plural = "" if abs(pixels) == 1 else "s"
            far = "half the field of view" if is_half else f"{abs(pixels)} pixel{plural}"
            parts.setdefault(far, []).append(axis)
    return "shifted by " + ", ".join(f"{far} along {' and '.join(axes)}" for far, axes in parts.items())


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
