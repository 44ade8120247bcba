"""Random fields: smooth maps over the image, endless 3-D texture, and the soft edge every shape is drawn with."""

from functools import reduce

import numpy as np
import torch
from torch import Tensor

Points = tuple[Tensor, Tensor, Tensor]


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], cutoff: float) -> Tensor:
    """A smooth random field of zero mean and unit standard deviation.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        Size of the field.
    cutoff
        Content reaches up to about this many cycles per field of view. The field does not repeat at its borders.
    """
    padded = tuple(int(1.5 * n) for n in shape)
    frequencies = (np.fft.fftfreq(n) * n / 1.5 for n in padded)
    squared = reduce(np.add.outer, [f**2 for f in frequencies])
    spectrum = torch.fft.fftn(torch.from_numpy(rng.standard_normal(padded, dtype=np.float32)))
    spectrum *= torch.from_numpy(np.exp(-squared / (2 * cutoff**2)).astype(np.float32))
    field = torch.fft.ifftn(spectrum).real[tuple(slice(n) for n in shape)]
    field = field - field.mean()
    return field / field.std().clamp_min(1e-12)


class Texture:
    """Random texture that can be read at any point of space: a periodic volume of noise with a power-law spectrum.

    Each reading starts at a place of its own, so that readings are independent of each other; the caller moves the
    points with the tissue, and the texture moves along.

    Parameters
    ----------
    rng
        Source of randomness, of the volume and of the places.
    slope
        The amplitude falls with the spatial frequency to this power; 0 is grainy, 2 is cloudy.
    size
        Edge of the volume [voxels]; details are between 1/3 and 1/2 of the volume and 4 voxels large.
    """

    def __init__(self, rng: np.random.Generator, slope: float, size: int = 48) -> None:
        self._rng = rng
        self._size = size
        frequency = np.fft.fftfreq(size) * size
        radius = np.sqrt(reduce(np.add.outer, [frequency**2, frequency**2, np.arange(size // 2 + 1) ** 2]))
        gain = np.where((radius >= 2) & (radius <= size / 4), np.maximum(radius, 1) ** -slope, 0).astype(np.float32)
        spectrum = torch.fft.rfftn(torch.from_numpy(rng.standard_normal((size,) * 3, dtype=np.float32)))
        volume = torch.fft.irfftn(spectrum * torch.from_numpy(gain), s=(size,) * 3)
        volume = torch.nn.functional.pad(volume[None, None] / volume.std(), (0, 1) * 3, mode="circular")
        self._volume = volume

    def __call__(self, points: Points, period_mm: float) -> Tensor:
        """Texture of zero mean and unit standard deviation at the points [mm]; it repeats after `period_mm`."""
        offset = self._rng.uniform(0, 1, 3).tolist()
        turns = torch.stack([p / period_mm + o for p, o in zip(points, offset, strict=True)], -1)
        grid = 2 * (turns - turns.floor()) - 1
        flat = grid.reshape(1, 1, 1, -1, 3)
        return torch.nn.functional.grid_sample(self._volume, flat, align_corners=True).reshape(grid.shape[:-1])


def coverage(distance_mm: Tensor, edge_mm: float) -> Tensor:
    """The part of a pixel that a shape covers, from the signed distance to its outline (negative inside)."""
    return (0.5 - distance_mm / edge_mm).clamp(0, 1)


def paint(image: Tensor, value: Tensor | float, alpha: Tensor) -> Tensor:
    """Lay a shape of opacity `alpha` over the image."""
    return image + alpha * (value - image)


def ellipsoid(points: Points, semi_axes: tuple[Tensor | float, Tensor | float, Tensor | float]) -> Tensor:
    """Signed distance [mm] to the surface of an ellipsoid at the origin, to first order near the surface."""
    scaled = [p / a for p, a in zip(points, semi_axes, strict=True)]
    level = torch.sqrt(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2 + 1e-6)
    slope = [s / a for s, a in zip(scaled, semi_axes, strict=True)]
    steepness = torch.sqrt(slope[0] ** 2 + slope[1] ** 2 + slope[2] ** 2 + 1e-8)
    return level * (level - 1) / steepness


def capsule(
    points: Points, start: tuple[float, float, float], end: tuple[float, float, float], radius: float
) -> Tensor:
    """Signed distance [mm] to a round tube between two points."""
    axis = [e - s for s, e in zip(start, end, strict=True)]
    length2 = sum(a * a for a in axis)
    rel = [p - s for p, s in zip(points, start, strict=True)]
    along = ((rel[0] * axis[0] + rel[1] * axis[1] + rel[2] * axis[2]) / length2).clamp(0, 1)
    off = [r - along * a for r, a in zip(rel, axis, strict=True)]
    return torch.sqrt(off[0] ** 2 + off[1] ** 2 + off[2] ** 2 + 1e-6) - radius


def smooth_min(a: Tensor, b: Tensor, blend_mm: float) -> Tensor:
    """The union of two shapes given by their signed distances, with a rounded seam."""
    h = (0.5 + 0.5 * (b - a) / blend_mm).clamp(0, 1)
    return b + (a - b) * h - blend_mm * h * (1 - h)
