"""The body around the heart: fat, muscle, ribs, lungs, liver, stomach, spine and great vessels, at rest."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cinerecon.physics.phantom.fields import Points, Texture, capsule, coverage, ellipsoid, paint, smooth_min


@dataclass(frozen=True)
class Tissues:
    """Signal of each tissue in a balanced SSFP image, relative to blood. Fat may be negative: opposed phase."""

    blood: float
    myocardium: float
    fat: float
    muscle: float
    lung: float
    liver: float
    stomach: float
    marrow: float
    fluid: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Tissues":
        """Contrast of various flip angles, repetition times and field strengths."""
        fat_sign = -1.0 if rng.random() < 0.75 else 1.0
        return cls(
            blood=1.0,
            myocardium=rng.uniform(0.22, 0.45),
            fat=fat_sign * rng.uniform(0.7, 1.3),
            muscle=rng.uniform(0.13, 0.26),
            lung=rng.uniform(0.015, 0.08),
            liver=rng.uniform(0.16, 0.4),
            stomach=rng.uniform(0.1, 0.6),
            marrow=rng.uniform(0.12, 0.35),
            fluid=rng.uniform(0.7, 1.2),
        )


class Torso:
    """A torso whose outlines are warped at random.

    Parameters
    ----------
    rng
        Source of randomness.
    cloudy, grainy
        Textures to read outlines and tissue from.
    heart_centre
        Position of the heart in the body [mm].
    """

    def __init__(self, rng: np.random.Generator, cloudy: Texture, grainy: Texture, heart_centre: np.ndarray) -> None:
        self._cloudy, self._grainy = cloudy, grainy
        self._heart = heart_centre
        self._half = rng.uniform(150, 185), rng.uniform(88, 118)
        self._power = rng.uniform(2.2, 3.0)
        self._fat_mm = rng.uniform(6, 28)
        self._muscle_mm = rng.uniform(14, 26)
        self._diaphragm = rng.uniform(-38, -18)
        self._liver_edge = rng.uniform(10, 60)
        self._spine = np.array([rng.normal(0, 4), 0.62 * self._half[1] + rng.normal(0, 3)])
        self._vertebra = rng.uniform(16, 21)
        self._aorta = rng.uniform(9, 13)
        self._arms = rng.random() < 0.3
        self._vessel_density = rng.uniform(0.03, 0.09)
        self._disc = rng.uniform(0, 1)

    def draw(self, points: Points, tissues: Tissues, edge_mm: float) -> Tensor:
        """Signal at the points, fat with its sign.

        Parameters
        ----------
        points
            Body coordinates, three arrays ``(y, x)`` [mm].
        tissues
            Signal of each tissue.
        edge_mm
            Width of an edge.
        """
        x, y, z = points
        warp = [5.0 * self._cloudy(points, 260.0) for _ in range(2)]
        depth = self._skin_distance((x + warp[0], y + warp[1], z))
        fat_mm = self._fat_mm * (1 - 0.35 * y / self._half[1]) * (1 + 0.3 * self._cloudy(points, 300.0)).clamp(0.3, 2)
        muscle_mm = self._muscle_mm * (1 + 0.25 * self._cloudy(points, 200.0)) + 14 * (y / self._half[1]).clamp(0, 1)
        image = torch.zeros_like(x)
        image = paint(image, self._fat(points, depth, tissues), coverage(depth, edge_mm))
        image = paint(image, tissues.muscle * 0.7, coverage((depth + 1.0).abs() - 0.8, edge_mm))
        wall = depth + fat_mm
        image = paint(image, self._wall(points, wall, tissues), coverage(wall, edge_mm))
        cavity = wall + muscle_mm
        image = paint(image, self._chest(points, cavity, tissues, edge_mm), coverage(cavity, edge_mm))
        return self._spine_column(points, image, tissues, edge_mm)

    def _skin_distance(self, points: Points) -> Tensor:
        x, y, _ = points
        power = self._power
        level = ((x / self._half[0]).abs() ** power + (y / self._half[1]).abs() ** power + 1e-6) ** (1 / power)
        chest = torch.sqrt(x * x + y * y + 1e-3) * (1 - 1 / level)
        if not self._arms:
            return chest
        arms = [
            capsule(points, (s * (self._half[0] + 52), 15.0, -200.0), (s * (self._half[0] + 42), 10.0, 200.0), 40.0)
            for s in (-1, 1)
        ]
        return torch.minimum(chest, torch.minimum(*arms))

    def _fat(self, points: Points, depth: Tensor, tissues: Tissues) -> Tensor:
        septa = vessels(self._grainy, points, 90.0, 0.12)
        return tissues.fat * (1 + 0.06 * self._grainy(points, 110.0)) * (1 - 0.35 * septa)

    def _wall(self, points: Points, wall: Tensor, tissues: Tissues) -> Tensor:
        """Layered muscle with streaks of fat along the layers, and ribs cut at an angle."""
        x, y, z = points
        layered = (x * 0.4, wall * 3.0, z * 0.6 + 0.3 * y)
        image = tissues.muscle * (1 + 0.15 * self._grainy(points, 70.0))
        streak = self._cloudy(layered, 120.0)
        image = paint(image, 0.75 * tissues.fat, (1 - (streak - 0.9).abs() / 0.16).clamp(0, 1) * 0.8)
        rib = torch.sin(2 * torch.pi * (z + 0.35 * y + 4 * self._cloudy(points, 240.0)) / 27.0)
        in_rib = coverage(((wall + 0.7 * self._muscle_mm).abs() - 4.5), 1.5) * ((rib - 0.35) * 4).clamp(0, 1)
        image = paint(image, 0.35 * tissues.muscle, in_rib)
        core = coverage(((wall + 0.7 * self._muscle_mm).abs() - 2.8), 1.5) * ((rib - 0.6) * 4).clamp(0, 1)
        return paint(image, 0.55 * tissues.fat, core)

    def _chest(self, points: Points, cavity: Tensor, tissues: Tissues, edge_mm: float) -> Tensor:
        """Lungs above the diaphragm, liver and stomach below, the mediastinum between the lungs."""
        x, y, z = points
        hx, hy, hz = (float(c) for c in self._heart)
        lung = tissues.lung * (1 + 0.3 * self._grainy(points, 80.0)).clamp_min(0)
        hilum = ((x.abs() - 15) / 70).clamp(0, 1)
        size = self._vessel_density * (1.6 - hilum)
        image = paint(lung, 0.8, vessels(self._cloudy, points, 170.0, 1.3 * size))
        image = paint(image, 0.6, vessels(self._grainy, points, 150.0, 1.5 * size) * 0.7)
        middle = smooth_min(
            (x - 6).abs() - 26 - 5 * self._cloudy(points, 150.0), (((y + 0.95 * self._half[1]) / 1.0) - 30), 20.0
        )
        middle = torch.maximum(middle, (x - 6).abs() - 75)
        soft = tissues.fat * 0.7 * (1 + 0.25 * self._cloudy(points, 60.0))
        soft = paint(soft, tissues.muscle * 1.3, ((self._cloudy(points, 110.0) - 0.1) * 3).clamp(0, 1))
        image = paint(image, soft, coverage(middle, edge_mm))
        image = self._below(points, image, tissues, edge_mm)
        for radius, place in ((self._aorta, (24.0, float(self._spine[1]) - 22.0)), (11.0, (-24.0, 18.0))):
            tube = capsule(points, (place[0], place[1], -300.0), (place[0] - 6, place[1] - 4, 90.0), radius)
            tube = tube + 1.2 * self._cloudy(points, 90.0)
            image = paint(image, tissues.muscle, coverage(tube - 2.0, edge_mm))
            image = paint(image, tissues.blood * (0.95 + 0.05 * self._cloudy(points, 80.0)), coverage(tube, edge_mm))
        return image

    def _below(self, points: Points, image: Tensor, tissues: Tissues, edge_mm: float) -> Tensor:
        x, y, z = points
        dome = -((x + 75) ** 2) / 260 - ((y - 5) ** 2) / 300
        left = -((x - 75) ** 2) / 200 - ((y - 5) ** 2) / 300 - 14
        top = self._diaphragm + torch.maximum(dome, left).clamp_min(-70) + 26 + 3 * self._cloudy(points, 200.0)
        below = z - top
        belly = tissues.fat * 0.8 * (1 + 0.15 * self._cloudy(points, 70.0))
        belly = paint(belly, tissues.muscle * 1.5, ((self._cloudy(points, 130.0) - 0.3) * 4).clamp(0, 1))
        image = paint(image, tissues.muscle, coverage(below, edge_mm))
        image = paint(image, belly, coverage(below + 3, edge_mm))
        liver = torch.maximum(below + 4, x - self._liver_edge - 6 * self._cloudy(points, 150.0) - 0.3 * z.clamp(-80, 0))
        flesh = tissues.liver * (1 + 0.07 * self._grainy(points, 70.0) + 0.08 * self._cloudy(points, 220.0))
        flesh = paint(flesh, 0.85, vessels(self._cloudy, points, 260.0, 0.11) * 0.85)
        flesh = paint(flesh, 0.35 * tissues.liver, vessels(self._cloudy, points, 210.0, 0.07))
        image = paint(image, flesh, coverage(liver, edge_mm))
        place = (x - 82, y + 15, z - self._diaphragm + 48)
        stomach = ellipsoid(place, (45.0, 48.0, 42.0)) + 4 * self._cloudy(points, 130.0)
        content = tissues.stomach * (1 + 0.35 * self._grainy(points, 90.0) + 0.25 * self._cloudy(points, 90.0))
        image = paint(image, tissues.muscle * 1.2, coverage(stomach, edge_mm))
        image = paint(image, content, coverage(stomach + 4, edge_mm))
        spleen = ellipsoid((x - 95, y - 42, z - self._diaphragm + 40), (24.0, 34.0, 45.0)) + 3 * self._cloudy(
            points, 150.0
        )
        return paint(image, 1.25 * tissues.liver * (1 + 0.06 * self._grainy(points, 70.0)), coverage(spleen, edge_mm))

    def _spine_column(self, points: Points, image: Tensor, tissues: Tissues, edge_mm: float) -> Tensor:
        x, y, z = points
        sx, sy = (float(s) for s in self._spine)
        radius = self._vertebra
        level = torch.sin(2 * torch.pi * (z / 29.0 + self._disc))
        body = (
            torch.sqrt(((x - sx) / 1.2) ** 2 + (y - sy) ** 2 + 1e-3)
            - radius
            + 1.5 * level
            + 1.5 * self._cloudy(points, 80.0)
        )
        marrow = tissues.marrow * (1 + 0.25 * self._grainy(points, 45.0) + 0.15 * self._cloudy(points, 60.0))
        bone = paint(marrow, 0.45 * tissues.muscle, ((level - 0.75) * 6).clamp(0, 1))
        image = paint(image, 0.4 * tissues.muscle, coverage(body - 1.5, edge_mm))
        image = paint(image, bone, coverage(body, edge_mm))
        arch = (
            torch.sqrt(((x - sx) / 1.6) ** 2 + (y - sy - radius - 10) ** 2 + 1e-3) - 14 - 2 * self._cloudy(points, 60.0)
        )
        image = paint(
            image,
            bone * 0.8,
            coverage(
                torch.minimum(arch, torch.maximum((x - sx).abs() - 4, (y - sy - radius - 25).abs() - 16)), 2 * edge_mm
            ),
        )
        canal = torch.sqrt(((x - sx) / 1.2) ** 2 + (y - sy - radius - 9) ** 2 + 1e-3) - 7.5
        image = paint(image, tissues.fluid, coverage(canal, edge_mm))
        cord = torch.sqrt(((x - sx) / 1.4) ** 2 + (y - sy - radius - 9) ** 2 + 1e-3) - 3.6
        return paint(image, 0.4 * tissues.fluid, coverage(cord, edge_mm))


def vessels(texture: Texture, points: Points, period_mm: float, size: float) -> Tensor:
    """Branching tubes: where two random fields are both near zero, which in space is along curves."""
    first, second = texture(points, period_mm), texture(points, period_mm)
    return torch.exp(-(first**2 + second**2) / (2 * size**2))
