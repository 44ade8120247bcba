"""Position and orientation of the heart in the body and of the image plane."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from cinerecon.simulation.phantom.fields import Points

View = Literal["short", "long"]


@dataclass(frozen=True)
class Pose:
    """Position and orientation of the heart in the body.

    Body coordinates are LPS [mm]: towards left, posterior and superior. In heart coordinates, u points from the left to
    the right ventricle, v to the inferior wall, and w along the long axis from the mitral valve (0) to the apex.

    Attributes
    ----------
    centre
        Position of the point u = v = 0, w = `depth_mm`.
    axes
        Rows are the unit vectors of u, v and w, ``(3, 3)``.
    depth_mm
        Distance of the centre below the mitral valve.
    """

    centre: np.ndarray
    axes: np.ndarray
    depth_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator, length_mm: float, front_mm: float) -> "Pose":
        """Draw a pose: the long axis points to the left, anterior and inferior; the apex is near the chest wall."""
        w = unit(np.array([0.58, -0.58, -0.57]) + rng.normal(0, 0.12, 3))
        u = unit(perpendicular(np.array([-0.86, -0.31, -0.35]) + rng.normal(0, 0.1, 3), w))
        apex = 0.55 * length_mm * w[1]
        centre = np.array([28.0, front_mm - apex + rng.uniform(18, 28), 0.0]) + rng.normal(0, 6, 3) * [1, 0, 1]
        return cls(centre, np.stack([u, np.cross(w, u), w]), 0.45 * length_mm)

    def to_heart(self, points: Points) -> Points:
        """Convert body coordinates to heart coordinates [mm]."""
        rel = [p - float(c) for p, c in zip(points, self.centre, strict=True)]
        u, v, w = (float(a) * rel[0] + float(b) * rel[1] + float(c) * rel[2] for a, b, c in self.axes)
        return u, v, w + self.depth_mm


@dataclass(frozen=True)
class Plane:
    """An image plane in the body.

    Attributes
    ----------
    origin
        Position of the pixel (y // 2, x // 2), the centre of the Fourier transform [mm].
    x_dir, y_dir
        Unit vectors along the rows and along the columns.
    pixel_mm
        Distance of adjacent pixels [mm].
    """

    origin: np.ndarray
    x_dir: np.ndarray
    y_dir: np.ndarray
    pixel_mm: float

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slice."""
        return np.cross(self.x_dir, self.y_dir)

    def shifted(self, offset_mm: float) -> "Plane":
        """A parallel plane at a distance along the normal."""
        return replace(self, origin=self.origin + offset_mm * self.normal)

    def points(self, matrix: tuple[int, int], oversampling: int = 1) -> Points:
        """Body coordinates of the pixels, three arrays ``(y, x)`` [mm]; on a finer grid with oversampling."""
        fine = [(torch.arange(n * oversampling) + 0.5) / oversampling - 0.5 - n // 2 for n in matrix]
        y, x = torch.meshgrid(*(self.pixel_mm * f for f in fine), indexing="ij")
        px, py, pz = (
            float(o) + float(a) * x + float(b) * y for o, a, b in zip(self.origin, self.x_dir, self.y_dir, strict=True)
        )
        return px, py, pz


def draw_plane(
    rng: np.random.Generator,
    pose: Pose,
    view: View,
    depth_mm: float,
    pixel_mm: float,
    reach_mm: float,
) -> Plane:
    """Draw a short-axis plane through the ventricles, or a long-axis plane through the apex.

    Parameters
    ----------
    rng
        Random number generator.
    pose
        Pose of the heart.
    view
        ``short`` or ``long``.
    depth_mm
        Distance of a short-axis plane from the mitral valve along the long axis [mm].
    pixel_mm
        Size of a pixel [mm].
    reach_mm
        Scale of the random shift of the image centre [mm].
    """
    u, v, w = pose.axes
    if view == "short":
        normal = unit(w + rng.normal(0, 0.05, 3))
        origin = pose.centre + (depth_mm - pose.depth_mm) * w
        x_dir = unit(perpendicular(np.array([0.79, 0.0, 0.61]), normal))
    else:
        turn = rng.uniform(-0.35, 2.0)
        across = math.cos(turn) * u + math.sin(turn) * v
        normal = unit(np.cross(w, across) + rng.normal(0, 0.05, 3))
        origin = pose.centre + rng.normal(0, 4) * normal
        is_upright = abs(normal[2]) < 0.6
        x_dir = unit(perpendicular(np.array([0.3, 1.0, 0.0]) if is_upright else np.array([1.0, 0.2, 0.1]), normal))
    y_dir = np.cross(normal, x_dir)
    down = np.array([0.0, 0.6, -0.5]) if view == "short" else np.array([0.0, 0.3, -1.0])
    y_dir = y_dir if y_dir @ down > 0 else -y_dir
    tilt = rng.normal(0, 0.15)
    x_dir, y_dir = math.cos(tilt) * x_dir + math.sin(tilt) * y_dir, math.cos(tilt) * y_dir - math.sin(tilt) * x_dir
    origin = origin + rng.normal(0, 0.35 * reach_mm) * x_dir + rng.normal(0, 0.35 * reach_mm) * y_dir
    if view == "short":
        origin = origin + 12.0 * x_dir + 14.0 * y_dir
    if rng.random() < 0.2:
        x_dir = -x_dir
    if rng.random() < 0.2:
        y_dir = -y_dir
    if rng.random() < 0.15:
        x_dir, y_dir = y_dir, x_dir
    return Plane(origin, x_dir, y_dir, pixel_mm)


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector scaled to length 1."""
    scaled: np.ndarray = vector / np.linalg.norm(vector)
    return scaled


def perpendicular(vector: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """The component of a vector that is perpendicular to a unit vector."""
    result: np.ndarray = vector - (vector @ axis) * axis
    return result
