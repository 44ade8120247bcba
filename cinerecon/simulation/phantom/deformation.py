"""Deformation of the heart: maps each point of each frame to the position of its tissue at end diastole."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cinerecon.simulation.phantom.fields import Points
from cinerecon.simulation.phantom.motion import Cycle

_ATRIAL_ROOF_MM = 45.0
"""Distance of the roof of the atria from the valve plane; tissue above it does not move [mm]."""


@dataclass(frozen=True)
class HeartSize:
    """Sizes of a heart at end diastole [mm], and the extent of its motion.

    Attributes
    ----------
    length, radius, wall, apex_wall
        Left ventricle: length from base to apex, outer radius, and thickness of the wall and of the apex.
    ellipticity
        Relative difference of the axes of the cross-section of the left ventricle from their mean.
    right_offset, right_half, right_wall
        Right ventricle: distance of its axis from that of the left ventricle, half widths along u and v, and wall
        thickness.
    plane_motion
        Descent of the valve plane at end systole [mm].
    shrinkage, right_shrinkage
        Relative decrease of the outer radius of each ventricle at end systole.
    twist
        Twist angle between base and apex at end systole [rad].
    lags
        Delays of thickening, descent and twist [beats].
    """

    length: float
    radius: float
    wall: float
    apex_wall: float
    ellipticity: float
    right_offset: float
    right_half: tuple[float, float]
    right_wall: float
    plane_motion: float
    shrinkage: float
    right_shrinkage: float
    twist: float
    lags: tuple[float, float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "HeartSize":
        """Draw the sizes of a heart; most are healthy, some have thick walls or weak contraction."""
        scale = rng.uniform(0.95, 1.2)
        weak = rng.random() < 0.2
        length, radius = scale * rng.uniform(84, 100), scale * rng.uniform(30, 37)
        wall = rng.uniform(7, 11) if rng.random() < 0.8 else rng.uniform(11, 15)
        plane_motion = rng.uniform(4, 9) if weak else rng.uniform(10, 19)
        narrowing = rng.uniform(0.8, 0.92) if weak else rng.uniform(0.5, 0.74)
        return cls(
            length=length,
            radius=radius,
            wall=wall,
            apex_wall=rng.uniform(4, 7),
            ellipticity=rng.normal(0, 0.04),
            right_offset=scale * rng.uniform(26, 34),
            right_half=(scale * rng.uniform(33, 41), scale * rng.uniform(36, 45)),
            right_wall=rng.uniform(2.5, 4),
            plane_motion=plane_motion,
            shrinkage=_outer_shrinkage(radius, wall, 1 - plane_motion / length, narrowing),
            right_shrinkage=rng.uniform(0.08, 0.15) if weak else rng.uniform(0.17, 0.32),
            twist=rng.uniform(0.08, 0.3),
            lags=(rng.normal(0, 0.015), rng.normal(0, 0.015), rng.normal(0, 0.02)),
        )


def _outer_shrinkage(radius: float, wall: float, stretch: float, narrowing: float) -> float:
    """Relative decrease of the outer radius, from those of inner radius and length, for constant wall volume."""
    inner = radius - wall
    return 1 - math.sqrt((narrowing * inner) ** 2 + (radius**2 - inner**2) / stretch) / radius


@dataclass(frozen=True, eq=False)
class DeformedPoints:
    """Points of the heart in each frame, and the positions of their tissue at end diastole.

    Attributes
    ----------
    u, v, w
        ``(frames, y, x)`` the points in heart coordinates [mm].
    untwisted
        ``(frames, y, x)`` each, u and v before the twist [mm].
    rest
        ``(frames, y, x)`` each, heart coordinates of the tissue at end diastole [mm].
    time
        ``(frames, 1, 1)`` time of the frame [beats].
    contraction
        ``(frames, 1, 1)`` contraction of the ventricles, 0 to 1.
    descent
        ``(frames, 1, 1)`` descent of the valve plane [mm].
    stretch
        ``(frames, 1, 1)`` length of the left ventricle relative to end diastole.
    outer, inner
        ``(frames, 1, 1)`` largest outer and inner radius of the left ventricle [mm].
    """

    u: Tensor
    v: Tensor
    w: Tensor
    untwisted: tuple[Tensor, Tensor]
    rest: Points
    time: Tensor
    contraction: Tensor
    descent: Tensor
    stretch: Tensor
    outer: Tensor
    inner: Tensor


def trace_to_end_diastole(points: Points, time: Tensor, size: HeartSize, cycle: Cycle) -> DeformedPoints:
    """Compute the positions of tissue at end diastole.

    The valve plane descends towards the apex, which does not move, and stretches the atria. The left ventricle rotates
    about its axis, with an angle that increases towards the apex. Its wall volume is constant, so that the wall
    thickens inwards as it shortens.

    Parameters
    ----------
    points
        Heart coordinates, three arrays ``(frames, y, x)`` [mm].
    time
        ``(frames, 1, 1)`` time of each frame [beats].
    size
        Sizes at end diastole and extent of the motion.
    cycle
        Time course of the heartbeat.
    """
    u, v, w = points
    thickening, shortening, twisting = (cycle.ventricles(time, lag) for lag in size.lags)
    descent = size.plane_motion * shortening
    stretch = 1 - descent / size.length
    atrial = (w + _ATRIAL_ROOF_MM) * (_ATRIAL_ROOF_MM / (_ATRIAL_ROOF_MM + descent)) - _ATRIAL_ROOF_MM
    rest_w = torch.where(w > descent, (w - descent) / stretch, torch.where(w > -_ATRIAL_ROOF_MM, atrial, w))
    angle = size.twist * twisting * ((rest_w / size.length).clamp(-0.2, 1.1) - 0.3)
    cos, sin = torch.cos(angle), torch.sin(angle)
    untwisted = (cos * u + sin * v, cos * v - sin * u)
    outer = size.radius * (1 - size.shrinkage * thickening)
    inner_at_rest = size.radius - size.wall
    wall_area = (size.radius**2 - inner_at_rest**2) / stretch
    inner = torch.sqrt((outer**2 - wall_area).clamp_min((0.3 * inner_at_rest) ** 2))
    expansion = (inner_at_rest / inner).clamp(max=1.6)
    rest = (untwisted[0] * expansion, untwisted[1] * expansion, rest_w)
    return DeformedPoints(u, v, w, untwisted, rest, time, thickening, descent, stretch, outer, inner)
