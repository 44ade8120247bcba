"""The deformation of the heart: every point of every frame is followed back to where its tissue lay in end diastole."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cinerecon.simulation.phantom.fields import Points
from cinerecon.simulation.phantom.motion import Cycle

_ROOF_MM = 45.0


@dataclass(frozen=True)
class Size:
    """Sizes of a heart in end diastole [mm] and how far it moves.

    Attributes
    ----------
    length, radius, wall, apex_wall, oval
        The left ventricle: base to apex, outer radius, thickness of the wall and of the apex, departure from round.
    right_offset, right_half, right_wall
        The right ventricle: distance of its axis from the left one, half widths along u and v, thickness of its wall.
    plane_motion
        Descent of the plane of the valves.
    squeeze, right_squeeze
        Part by which the outer radius shrinks.
    twist
        Angle between base and apex [rad].
    lags
        Delay of thickening, descent and twist [beats].
    """

    length: float
    radius: float
    wall: float
    apex_wall: float
    oval: float
    right_offset: float
    right_half: tuple[float, float]
    right_wall: float
    plane_motion: float
    squeeze: float
    right_squeeze: float
    twist: float
    lags: tuple[float, float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Size":
        """Draw the sizes of a heart: mostly healthy ones, some with thick walls or weak contraction."""
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
            oval=rng.normal(0, 0.04),
            right_offset=scale * rng.uniform(26, 34),
            right_half=(scale * rng.uniform(33, 41), scale * rng.uniform(36, 45)),
            right_wall=rng.uniform(2.5, 4),
            plane_motion=plane_motion,
            squeeze=_squeeze(radius, wall, 1 - plane_motion / length, narrowing),
            right_squeeze=rng.uniform(0.08, 0.15) if weak else rng.uniform(0.17, 0.32),
            twist=rng.uniform(0.08, 0.3),
            lags=(rng.normal(0, 0.015), rng.normal(0, 0.015), rng.normal(0, 0.02)),
        )


def _squeeze(radius: float, wall: float, stretch: float, narrowing: float) -> float:
    """By what part the outer radius shrinks where the inner one narrows, the wall shortens and keeps its volume."""
    inner = radius - wall
    return 1 - math.sqrt((narrowing * inner) ** 2 + (radius**2 - inner**2) / stretch) / radius


@dataclass(frozen=True, eq=False)
class Moved:
    """Points of the heart and where their tissue was; ``(frames, y, x)``, or ``(frames, 1, 1)`` where so noted.

    Attributes
    ----------
    u, v, w
        The points themselves, in heart coordinates [mm].
    turned
        u and v with the twist undone [mm].
    rest
        Where the tissue lay in end diastole [mm].
    time
        Time of the frame [beats], ``(frames, 1, 1)``.
    contracted
        Contraction of the ventricles, ``(frames, 1, 1)``.
    descent
        Descent of the plane of the valves [mm], ``(frames, 1, 1)``.
    stretch
        Length of the left ventricle relative to end diastole, ``(frames, 1, 1)``.
    outer, inner
        Largest outer and inner radius of the left ventricle [mm], ``(frames, 1, 1)``.
    """

    u: Tensor
    v: Tensor
    w: Tensor
    turned: tuple[Tensor, Tensor]
    rest: Points
    time: Tensor
    contracted: Tensor
    descent: Tensor
    stretch: Tensor
    outer: Tensor
    inner: Tensor


def follow(points: Points, time: Tensor, size: Size, cycle: Cycle) -> Moved:
    """Follow points back to end diastole.

    The plane of the valves descends towards the apex, which stays; the atria are pulled long. The left ventricle turns
    about its axis, more so towards the apex. Its wall keeps its volume: it shortens, so it thickens inwards.

    Parameters
    ----------
    points
        Heart coordinates, three arrays ``(frames, y, x)`` [mm].
    time
        ``(frames, 1, 1)`` time of each frame [beats].
    size
        Sizes in end diastole and extent of the motion.
    cycle
        Time course of the beat.
    """
    u, v, w = points
    thicken, shorten, wring = (cycle.ventricles(time, lag) for lag in size.lags)
    descent = size.plane_motion * shorten
    stretch = 1 - descent / size.length
    atrial = (w + _ROOF_MM) * (_ROOF_MM / (_ROOF_MM + descent)) - _ROOF_MM
    rest_w = torch.where(w > descent, (w - descent) / stretch, torch.where(w > -_ROOF_MM, atrial, w))
    turn = size.twist * wring * ((rest_w / size.length).clamp(-0.2, 1.1) - 0.3)
    cos, sin = torch.cos(turn), torch.sin(turn)
    turned = (cos * u + sin * v, cos * v - sin * u)
    outer = size.radius * (1 - size.squeeze * thicken)
    inner_at_rest = size.radius - size.wall
    wall_area = (size.radius**2 - inner_at_rest**2) / stretch
    inner = torch.sqrt((outer**2 - wall_area).clamp_min((0.3 * inner_at_rest) ** 2))
    swell = (inner_at_rest / inner).clamp(max=1.6)
    rest = (turned[0] * swell, turned[1] * swell, rest_w)
    return Moved(u, v, w, turned, rest, time, thicken, descent, stretch, outer, inner)
