"""The body around the heart without motion: fat, muscle, ribs, lungs, liver, stomach, spine and great vessels."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cinerecon.simulation.phantom.fields import (
    Points,
    Texture,
    capsule,
    coverage,
    ellipsoid,
    length,
    paint,
    smooth_min,
    tubes,
)
from cinerecon.simulation.phantom.tissues import Tissues


class Torso:
    """A torso with random sizes and irregular outlines. Body coordinates are LPS [mm]."""

    def __init__(self, rng: np.random.Generator, cloudy: Texture, grainy: Texture) -> None:
        self._half_widths = rng.uniform(150, 185), rng.uniform(92, 122)
        self._power = rng.uniform(2.2, 3.0)
        self._warp_mm = rng.uniform(3, 8)
        self._fat_mm = rng.uniform(5, 26)
        self._muscle_mm = rng.uniform(13, 24)
        self._diaphragm = rng.uniform(-38, -18)
        self._liver_edge = rng.uniform(10, 60)
        self._spine = rng.normal(0, 4), 0.62 * self._half_widths[1] + rng.normal(0, 3)
        self._vertebra = rng.uniform(16, 21)
        self._aorta_mm = rng.uniform(9, 13)
        self._arms = rng.random() < 0.3
        self._vessel_size = rng.uniform(0.06, 0.16)
        self._disc_phase = rng.uniform(0, 1)
        self._texture_contrast = rng.uniform(0.8, 2.0)
        self._outline_texture = cloudy.at_random_offset(rng, rng.uniform(260, 340))
        self._organ_texture = cloudy.at_random_offset(rng, rng.uniform(140, 190))
        self._layer_texture = cloudy.at_random_offset(rng, rng.uniform(90, 130))
        self._vessel_texture = cloudy.at_random_offset(rng, rng.uniform(150, 230))
        self._small_vessel_texture = grainy.at_random_offset(rng, rng.uniform(150, 220))
        self._tissue_texture = grainy.at_random_offset(rng, rng.uniform(60, 100))
        self._patch_texture = grainy.at_random_offset(rng, rng.uniform(160, 240))

    @property
    def front_mm(self) -> float:
        """Coordinate y of the inner surface of the anterior chest wall [mm]."""
        return -self._half_widths[1] + 1.35 * self._fat_mm + self._muscle_mm

    def draw(self, points: Points, tissues: Tissues, edge_mm: float) -> Tensor:
        """Signal at the points, ``(y, x)``; negative for fat in opposed phase.

        Parameters
        ----------
        points
            Body coordinates, three arrays ``(y, x)`` [mm].
        tissues
            Signal of each tissue.
        edge_mm
            Width of the edges of shapes [mm].
        """
        x, y, z = points
        form, tissue, patches = self._outline_texture(points), self._tissue_texture(points), self._patch_texture(points)
        body = _TorsoTissue(
            points, tissue, patches, self._organ_texture(points), self._vessel_texture(points), tissues, edge_mm
        )
        depth = self._skin_distance((x + self._warp_mm * form[0], y + self._warp_mm * form[1], z))
        fat_mm = self._fat_mm * (1 - 0.35 * y / self._half_widths[1]) * (1 + 0.3 * form[2]).clamp(0.3, 2)
        muscle_mm = self._muscle_mm * (1 + 0.25 * form[3]) + 14 * (y / self._half_widths[1]).clamp(0, 1)
        fat = tissues.fat * (1 + self._texture_contrast * (0.06 * tissue[0] + 0.06 * patches[0]))
        fat = paint(fat, 0.4 * fat, tubes(tissue[1], patches[1], 0.16))
        image = paint(torch.zeros_like(x), fat, coverage(depth, edge_mm))
        image = paint(image, tissues.muscle, coverage((depth + 1.0).abs() - 0.6, edge_mm))
        wall = depth + fat_mm
        muscle = tissues.muscle * (1 + self._texture_contrast * (0.2 * tissue[2] + 0.15 * patches[2]))
        image = paint(image, self._chest_wall(points, wall, muscle, tissues), coverage(wall, edge_mm))
        cavity = coverage(wall + muscle_mm, edge_mm)
        image = paint(image, self._chest(body), cavity)
        return self._spine_column(body, image)

    def _skin_distance(self, points: Points) -> Tensor:
        """Signed distance to the skin of the trunk and, in some bodies, of the arms [mm]."""
        x, y, _ = points
        power, (half_x, half_y) = self._power, self._half_widths
        level = ((x / half_x).abs() ** power + (y / half_y).abs() ** power + 1e-6) ** (1 / power)
        chest = length(x, y) * (1 - 1 / level)
        if not self._arms:
            return chest
        left, right = (
            capsule(points, (s * (half_x + 52), 15.0, -200.0), (s * (half_x + 42), 10.0, 200.0), 40.0) for s in (-1, 1)
        )
        return torch.minimum(chest, torch.minimum(left, right))

    def _chest_wall(self, points: Points, wall: Tensor, muscle: Tensor, tissues: Tissues) -> Tensor:
        """Signal of layered muscle with streaks of fat along the layers, and of obliquely cut ribs."""
        x, y, z = points
        layers = self._layer_texture((x * 0.4, wall * 3.0, z * 0.6 + 0.3 * y))
        image = paint(muscle, 0.7 * tissues.fat, 0.8 * (1 - (layers[0] - 0.9).abs() / 0.2).clamp(0, 1))
        rib = torch.sin(2 * torch.pi * (z + 0.35 * y + 5 * layers[1]) / 27.0)
        middle = (wall + 0.7 * self._muscle_mm + 0.8 * layers[2]).abs()
        image = paint(image, 0.4 * tissues.muscle, coverage(middle - 4.5, 2.0) * ((rib - 0.35) * 3).clamp(0, 1))
        return paint(image, 0.5 * tissues.fat, coverage(middle - 2.8, 2.0) * ((rib - 0.6) * 3).clamp(0, 1))

    def _chest(self, body: "_TorsoTissue") -> Tensor:
        """Signal of lungs, mediastinum, abdominal organs, descending aorta and a vein."""
        (x, y, _), tissues, organ, patches = body.points, body.tissues, body.organ, body.patches
        small_vessels = self._small_vessel_texture(body.points)
        image = tissues.lung * (1 + 0.3 * body.tissue[0] + 0.4 * patches[0]).clamp_min(0.1)
        size = self._vessel_size * (1.5 - ((x.abs() - 15) / 70).clamp(0, 1))
        image = paint(image, 0.75, 0.9 * tubes(body.branches[0], body.branches[1], size))
        image = paint(image, 0.5, 0.8 * tubes(small_vessels[0], small_vessels[1], size))
        middle = smooth_min((x - 6).abs() - 26 - 6 * organ[0], y + 0.95 * self._half_widths[1] - 30, 20.0)
        middle = torch.maximum(middle, (x - 6).abs() - 75)
        soft = tissues.fat * 0.6 * (1 + 0.2 * body.tissue[1] + 0.3 * patches[1])
        soft = paint(soft, tissues.muscle * (1.3 + 0.3 * patches[2]), ((organ[1] + 0.4 * patches[3]) * 2).clamp(0, 1))
        image = body.add_shape(image, soft, middle)
        image = self._abdomen(body, image)
        for radius, (centre_x, centre_y) in ((self._aorta_mm, (24.0, self._spine[1] - 22.0)), (11.0, (-24.0, 18.0))):
            tube = (
                capsule(body.points, (centre_x, centre_y, -300.0), (centre_x - 6, centre_y - 4, 90.0), radius)
                + 1.2 * organ[2]
            )
            image = body.add_shape(image, tissues.muscle, tube - 2.0)
            image = body.add_shape(image, tissues.blood * (0.95 + 0.07 * patches[3]), tube)
        return image

    def _abdomen(self, body: "_TorsoTissue", image: Tensor) -> Tensor:
        """Add both domes of the diaphragm with liver, stomach, spleen and fat below them."""
        (x, y, z), tissues = body.points, body.tissues
        tissue, patches, organ, branches = body.tissue, body.patches, body.organ, body.branches
        right_dome = -((x + 75) ** 2) / 260 - ((y - 5) ** 2) / 300
        left_dome = -((x - 75) ** 2) / 200 - ((y - 5) ** 2) / 300 - 14
        below = z - self._diaphragm - torch.maximum(right_dome, left_dome).clamp_min(-70) - 26 - 3 * organ[3]
        belly = tissues.fat * 0.6 * (1 + 0.2 * tissue[2] + 0.3 * patches[0])
        belly = paint(belly, tissues.muscle * (1.4 + 0.4 * patches[1]), ((organ[0] + 0.5 * patches[2]) * 2).clamp(0, 1))
        image = body.add_shape(image, tissues.muscle, below)
        image = body.add_shape(image, belly, below + 3)
        flesh = tissues.liver * (1 + self._texture_contrast * (0.11 * tissue[3] + 0.07 * patches[3]))
        flesh = paint(flesh, 0.85, 0.85 * tubes(branches[2], branches[3], 0.13))
        flesh = paint(flesh, 0.35 * tissues.liver, tubes(branches[1], organ[1], 0.07))
        liver = torch.maximum(below + 4, x - self._liver_edge - 6 * organ[2] - 0.3 * z.clamp(-80, 0))
        image = body.add_shape(image, flesh, liver)
        stomach = ellipsoid((x - 82, y + 15, z - self._diaphragm + 48), (45.0, 48.0, 42.0)) + 5 * organ[1]
        content = tissues.stomach * (1 + 0.35 * tissue[0] + 0.3 * patches[2]).clamp_min(0.1)
        image = body.add_shape(image, tissues.muscle * 1.2, stomach)
        image = body.add_shape(image, content, stomach + 4)
        spleen = ellipsoid((x - 95, y - 42, z - self._diaphragm + 40), (24.0, 34.0, 45.0)) + 4 * organ[0]
        return body.add_shape(image, 1.25 * flesh, spleen)

    def _spine_column(self, body: "_TorsoTissue", image: Tensor) -> Tensor:
        """Add vertebrae and discs, the spinal canal with cerebrospinal fluid and cord, and the vertebral arches."""
        (x, y, z), tissues, tissue = body.points, body.tissues, body.tissue
        radius, (centre_x, centre_y) = self._vertebra, self._spine
        back = y - centre_y - radius
        level = torch.sin(2 * torch.pi * (z / 29.0 + self._disc_phase))
        vertebra = length((x - centre_x) / 1.2, y - centre_y) - radius + 1.5 * level + 1.2 * tissue[1]
        marrow = tissues.marrow * (1 + 0.3 * tissue[2] + 0.15 * tissue[0])
        bone = paint(marrow, 0.45 * tissues.muscle, ((level - 0.75) * 6).clamp(0, 1))
        image = body.add_shape(image, 0.4 * tissues.muscle, vertebra - 1.5)
        image = body.add_shape(image, bone, vertebra)
        ring = length((x - centre_x) / 1.6, back - 10) - 14 - 2 * tissue[3]
        process = torch.maximum((x - centre_x).abs() - 4, (back - 25).abs() - 16)
        image = body.add_shape(image, bone * 0.8, torch.minimum(ring, process), 2.0)
        canal = length((x - centre_x) / 1.2, back - 9) - 7.5
        cord = length((x - centre_x) / 1.4, back - 9) - 3.6
        image = body.add_shape(image, tissues.fluid, canal)
        return body.add_shape(image, 0.4 * tissues.fluid, cord)


@dataclass(frozen=True, eq=False)
class _TorsoTissue:
    """Points of the body ``(y, x)`` with the random fields ``(fields, y, x)`` and signals used to draw the tissues."""

    points: Points
    tissue: Tensor
    patches: Tensor
    organ: Tensor
    branches: Tensor
    tissues: Tissues
    edge_mm: float

    def add_shape(self, image: Tensor, value: Tensor | float, distance_mm: Tensor, softness: float = 1.0) -> Tensor:
        """Draw a shape over the image, from the signed distance to its outline."""
        return paint(image, value, coverage(distance_mm, softness * self.edge_mm))
