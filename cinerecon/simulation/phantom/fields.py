"""Random fields: smooth maps of the image and periodic 3-D textures; signed distances of shapes with soft edges."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

Points = tuple[Tensor, Tensor, Tensor]


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], cutoff: float) -> Tensor:
    """Draw a smooth random field of zero mean and unit standard deviation, which is not periodic.

    Parameters
    ----------
    rng
        Random number generator.
    shape
        Size of the field.
    cutoff
        Standard deviation of the Gaussian low-pass filter [cycles per field of view].

    Returns
    -------
        The field, float32 of the given shape.
    """
    padded = tuple(int(1.5 * n) for n in shape)
    frequencies = (np.fft.fftfreq(n) * n / 1.5 for n in padded)
    squared = reduce(np.add.outer, [f**2 for f in frequencies])
    spectrum = np.fft.fftn(rng.standard_normal(padded, dtype=np.float32)) * np.exp(-squared / (2 * cutoff**2))
    field = np.fft.ifftn(spectrum).real[tuple(slice(n) for n in shape)]
    field = field - field.mean()
    return torch.from_numpy((field / max(field.std(), 1e-12)).astype(np.float32))


class Texture:
    """Periodic 3-D random fields with a power-law spectrum.

    Parameters
    ----------
    rng
        Random number generator.
    slope
        Exponent of the decrease of the amplitude with spatial frequency: 1 gives a grainy, 3.5 a cloudy texture.
    n_fields
        Number of independent fields.
    size
        Side of the volume [voxels]; structures have sizes between 4 voxels and half of the volume.
    """

    def __init__(self, rng: np.random.Generator, slope: float, n_fields: int = 4, size: int = 40) -> None:
        frequency = np.fft.fftfreq(size) * size
        radius = np.sqrt(reduce(np.add.outer, [frequency**2, frequency**2, np.arange(size // 2 + 1) ** 2]))
        gain = np.where((radius >= 2) & (radius <= size / 4), np.maximum(radius, 1) ** -slope, 0).astype(np.float32)
        white = torch.from_numpy(rng.standard_normal((n_fields, size, size, size), dtype=np.float32))
        spectrum = torch.fft.rfftn(white, dim=(1, 2, 3)) * torch.from_numpy(gain)
        fields = torch.fft.irfftn(spectrum, s=(size,) * 3, dim=(1, 2, 3))
        fields = fields / fields.std(dim=(1, 2, 3), keepdim=True)
        self._fields = torch.nn.functional.pad(fields[None], (0, 1) * 3, mode="circular")

    def at_random_offset(self, rng: np.random.Generator, period_mm: float) -> "SpatialTexture":
        """The fields in space with a given period and a random offset, so that several of them are independent."""
        return SpatialTexture(self._fields, tuple(rng.uniform(0, 1, 3).tolist()), period_mm)


@dataclass(frozen=True, eq=False)
class SpatialTexture:
    """Periodic random fields as a function of position; evaluated at points of the tissue, they move with it.

    Attributes
    ----------
    fields
        ``(1, fields, z, y, x)`` with one voxel of periodic padding.
    offset
        Offset along each axis, as a fraction of the period.
    period_mm
        Period along each axis [mm].
    """

    fields: Tensor
    offset: tuple[float, ...]
    period_mm: float

    def __call__(self, points: Points) -> Tensor:
        """Values of zero mean and unit standard deviation at the points [mm], ``(fields, ...)``."""
        shape = np.broadcast_shapes(*(p.shape for p in points))
        grid = torch.empty(*shape, 3)
        for axis, (point, offset) in enumerate(zip(points, self.offset, strict=True)):
            turns = point / self.period_mm + offset
            grid[..., axis] = 2 * (turns - turns.floor()) - 1
        values = torch.nn.functional.grid_sample(self.fields, grid.reshape(1, 1, 1, -1, 3), align_corners=True)
        return values.reshape(-1, *shape)


def tubes(first: Tensor, second: Tensor, size: float | Tensor) -> Tensor:
    """Opacity of branching vessels, 0 to 1: high where two random fields are both close to zero."""
    return torch.exp2((first**2 + second**2) * (-0.72 / size**2))


def coverage(distance_mm: Tensor, edge_mm: float) -> Tensor:
    """Fraction of a pixel that a shape covers, from the signed distance to its outline (negative inside)."""
    return (0.5 - distance_mm / edge_mm).clamp(0, 1)


def paint(image: Tensor, value: Tensor | float, alpha: Tensor) -> Tensor:
    """Blend a value into the image with an opacity `alpha` of 0 to 1."""
    return image + alpha * (value - image)


def length(*parts: Tensor) -> Tensor:
    """Length of a vector from its components; `hypot` runs in one thread, which is faster here than a square root."""
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
    """Signed distance of the union of two shapes, blended smoothly over `blend_mm` where they meet."""
    h = (0.5 + 0.5 * (b - a) / blend_mm).clamp(0, 1)
    return b + (a - b) * h - blend_mm * h * (1 - h)
