"""Random fields: smooth maps over the image, endless 3-D texture, and the soft edge every shape is drawn with."""

from dataclasses import dataclass
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
    spectrum = np.fft.fftn(rng.standard_normal(padded, dtype=np.float32)) * np.exp(-squared / (2 * cutoff**2))
    field = np.fft.ifftn(spectrum).real[tuple(slice(n) for n in shape)]
    field = field - field.mean()
    return torch.from_numpy((field / max(field.std(), 1e-12)).astype(np.float32))


class Texture:
    """A periodic volume of random fields with a power-law spectrum, to be read at any point of space.

    Parameters
    ----------
    rng
        Source of randomness, of the fields and of where they are read.
    slope
        The amplitude of a field falls with the spatial frequency to this power: 1 is grainy, 3.5 is cloudy.
    n_fields
        Number of independent fields.
    size
        Edge of the volume [voxels]; details are between half of the volume and 4 voxels large.
    """

    def __init__(self, rng: np.random.Generator, slope: float, n_fields: int = 4, size: int = 40) -> None:
        self._rng = rng
        frequency = np.fft.fftfreq(size) * size
        radius = np.sqrt(reduce(np.add.outer, [frequency**2, frequency**2, np.arange(size // 2 + 1) ** 2]))
        gain = np.where((radius >= 2) & (radius <= size / 4), np.maximum(radius, 1) ** -slope, 0).astype(np.float32)
        white = torch.from_numpy(rng.standard_normal((n_fields, size, size, size), dtype=np.float32))
        spectrum = torch.fft.rfftn(white, dim=(1, 2, 3)) * torch.from_numpy(gain)
        fields = torch.fft.irfftn(spectrum, s=(size,) * 3, dim=(1, 2, 3))
        fields = fields / fields.std(dim=(1, 2, 3), keepdim=True)
        self._fields = torch.nn.functional.pad(fields[None], (0, 1) * 3, mode="circular")

    def reading(self, period_mm: float) -> "Reading":
        """The fields from a place of their own, so that readings do not depend on each other."""
        return Reading(self._fields, tuple(self._rng.uniform(0, 1, 3).tolist()), period_mm)


@dataclass(frozen=True, eq=False)
class Reading:
    """Random fields over space that repeat after a period. Move the points with the tissue, and its texture moves."""

    fields: Tensor
    offset: tuple[float, ...]
    period_mm: float

    def __call__(self, points: Points) -> Tensor:
        """The fields at the points [mm], of zero mean and unit standard deviation, ``(fields, ...)``."""
        shape = torch.broadcast_shapes(*(p.shape for p in points))
        grid = torch.empty(*shape, 3)
        for axis, (point, offset) in enumerate(zip(points, self.offset, strict=True)):
            turns = point / self.period_mm + offset
            grid[..., axis] = 2 * (turns - turns.floor()) - 1
        values = torch.nn.functional.grid_sample(self.fields, grid.reshape(1, 1, 1, -1, 3), align_corners=True)
        return values.reshape(-1, *shape)


def tubes(first: Tensor, second: Tensor, size: float | Tensor) -> Tensor:
    """Branching tubes, e.g. vessels: where two random fields are both near zero, which in space is along curves."""
    return torch.exp2((first**2 + second**2) * (-0.72 / size**2))


def coverage(distance_mm: Tensor, edge_mm: float) -> Tensor:
    """The part of a pixel that a shape covers, from the signed distance to its outline (negative inside)."""
    return (0.5 - distance_mm / edge_mm).clamp(0, 1)


def paint(image: Tensor, value: Tensor | float, alpha: Tensor) -> Tensor:
    """Lay a shape of opacity `alpha` over the image."""
    return image + alpha * (value - image)


def length(*parts: Tensor) -> Tensor:
    """Length of a vector from its parts. Unlike a square root, `hypot` is not spread over threads that wait."""
    return reduce(torch.hypot, parts)


def ellipsoid(points: Points, semi_axes: tuple[Tensor | float, Tensor | float, Tensor | float]) -> Tensor:
    """Signed distance [mm] to the surface of an ellipsoid at the origin, to first order near the surface."""
    scaled = [p / a for p, a in zip(points, semi_axes, strict=True)]
    level = length(*scaled)
    steepness = length(*(s / a for s, a in zip(scaled, semi_axes, strict=True)))
    return level * (level - 1) / steepness.clamp_min(1e-4)


def capsule(
    points: Points, start: tuple[float, float, float], end: tuple[float, float, float], radius: float
) -> Tensor:
    """Signed distance [mm] to a round tube between two points."""
    axis = [e - s for s, e in zip(start, end, strict=True)]
    rel = [p - s for p, s in zip(points, start, strict=True)]
    along = (rel[0] * axis[0] + rel[1] * axis[1] + rel[2] * axis[2]) / sum(a * a for a in axis)
    along = along.clamp(0, 1)
    return length(*(r - along * a for r, a in zip(rel, axis, strict=True))) - radius


def smooth_min(a: Tensor, b: Tensor, blend_mm: float) -> Tensor:
    """The union of two shapes given by their signed distances, with a rounded seam."""
    h = (0.5 + 0.5 * (b - a) / blend_mm).clamp(0, 1)
    return b + (a - b) * h - blend_mm * h * (1 - h)
