"""Variants of a measured magnitude cine: rotated, scaled and shifted, with different motion and time course."""

import math
from typing import NamedTuple

import torch
from numpy.random import Generator
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from cinerecon.config import Config, Interval
from cinerecon.simulation.phantom.fields import smooth_field


class DeformConfig(Config):
    """Largest differences of a variant from the measured cine."""

    rotate: float = Field(default=14.0, ge=0, description="standard deviation of the rotation [degrees]")
    zoom: Interval = Field(
        default=(0.82, 1.28),
        description="range of the scaling factor (measured pixels per pixel), log-uniformly distributed",
    )
    shift: float = Field(
        default=0.08,
        ge=0,
        description="maximum shift along y and x, relative to half of the image, uniformly distributed",
    )
    still: float = Field(default=2.0, ge=0, description="standard deviation of a constant elastic deformation [pixels]")
    moving: float = Field(
        default=0.8,
        ge=0,
        description="standard deviation of an elastic deformation that follows the heartbeat [pixels]",
    )
    warp: float = Field(default=0.4, ge=0, lt=1, description="maximum relative change of speed over time")


class Variant(NamedTuple):
    """A variant of a cine.

    Attributes
    ----------
    magnitude
        ``(frames, y, x)``, 0 outside the measured field of view.
    outside
        ``(y, x)`` bool, pixels that were not measured in at least one frame.
    """

    magnitude: Tensor
    outside: Tensor


def deform(magnitude: Tensor, matrix: tuple[int, int], rng: Generator, config: DeformConfig | None = None) -> Variant:
    """Draw a variant of a cine of one heartbeat on another matrix.

    Parameters
    ----------
    magnitude
        ``(frames, y, x)`` of one heartbeat; the last frame is followed by the first.
    matrix
        Size (y, x) of the variant.
    rng
        Source of randomness.
    config
        Largest differences.
    """
    config = DeformConfig.or_default(config)
    magnitude = warp_time(magnitude, rng, config.warp)
    if rng.random() < 0.5:
        magnitude = magnitude.mT
    y, x = _positions(matrix, len(magnitude), rng, config)
    n_y, n_x = magnitude.shape[-2:]
    grid = torch.stack([2 * x / n_x, 2 * y / n_y], -1)
    moved = functional.grid_sample(magnitude[:, None], grid, mode="bicubic", align_corners=False)[:, 0].clamp(min=0)
    outside = (grid.abs() > 1).any(-1)
    radius = masked_radius(magnitude)
    if radius is not None:
        outside |= y.square() + x.square() > radius**2
    variant = Variant(moved, outside.any(0))
    return Variant(*(part.flip(-1) for part in variant)) if rng.random() < 0.5 else variant


def _positions(matrix: tuple[int, int], n_frames: int, rng: Generator, config: DeformConfig) -> tuple[Tensor, Tensor]:
    """Positions of the pixels in the measured cine, ``(frames, y, x)``, relative to its centre [measured pixels]."""
    low, high = config.zoom
    angle, zoom = rng.normal(0, math.radians(config.rotate)), low * (high / low) ** rng.uniform(0, 1)
    shift = rng.uniform(-config.shift, config.shift, 2) * [n / 2 for n in matrix]
    y, x = torch.meshgrid(*(torch.arange(n) + 0.5 - n / 2 for n in matrix), indexing="ij")
    time = torch.arange(n_frames)[:, None, None] / n_frames
    courses = [torch.sin(2 * math.pi * (k * time + rng.uniform(0, 1))) for k in (1, 2)]
    moved = []
    for positions in (y, x):
        still = config.still * smooth_field(rng, matrix, rng.uniform(1.0, 2.5))
        fields = [config.moving / k * smooth_field(rng, matrix, rng.uniform(1.5, 4.0)) for k in (1, 2)]
        moved.append(positions + still + sum(c * field for c, field in zip(courses, fields, strict=True)))
    y, x = moved
    along_y = zoom * (math.sin(angle) * x + math.cos(angle) * y) + float(shift[0])
    return along_y, zoom * (math.cos(angle) * x - math.sin(angle) * y) + float(shift[1])


def warp_time(series: Tensor, rng: Generator, strength: float) -> Tensor:
    """Vary the speed within a heartbeat, ``(frames, ...)`` to the same shape, by cubic interpolation between frames.

    Parameters
    ----------
    series
        ``(frames, ...)``; the last frame is followed by the first.
    rng
        Source of randomness.
    strength
        Largest relative change of the speed; below 1, time never runs backwards.
    """
    n = len(series)
    if strength == 0 or n < 4:
        return series
    shares = rng.uniform(-strength, strength) * rng.dirichlet([1, 1])
    phases = rng.uniform(0, 1, 2)
    time = torch.arange(n, dtype=torch.float64)
    for k, (share, phase) in enumerate(zip(shares, phases, strict=True), 1):
        wave = torch.sin(2 * math.pi * (k * torch.arange(n) / n + phase))
        time = time + float(share) * n / (2 * math.pi * k) * wave
    first = time.floor()
    t = (time - first).to(series.dtype).view(-1, *[1] * (series.ndim - 1))
    before, here, after, beyond = (series[(first.long() + step) % n] for step in (-1, 0, 1, 2))
    slopes = (after - before) / 2, (beyond - here) / 2
    difference = after - here
    return here + t * (
        slopes[0] + t * (3 * difference - 2 * slopes[0] - slopes[1] + t * (slopes[0] + slopes[1] - 2 * difference))
    )


def masked_radius(magnitude: Tensor) -> float | None:
    """Radius [pixels] of the circle outside which a cine was set to zero; None if there is no such circle.

    Parameters
    ----------
    magnitude
        ``(frames, y, x)``
    """
    n_y, n_x = magnitude.shape[-2:]
    y, x = torch.meshgrid(*(torch.arange(n) + 0.5 - n / 2 for n in (n_y, n_x)), indexing="ij")
    radius = (y.square() + x.square()).sqrt()[(magnitude > 0).any(0)]
    largest = float(radius.max()) if len(radius) else 0.0
    return largest - 1 if largest <= min(n_y, n_x) / 2 + 1 else None
