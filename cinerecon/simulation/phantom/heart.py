"""The beating heart: ventricles, atria and great arteries as moving shapes with textured tissue."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cinerecon.simulation.phantom.deformation import DeformedPoints, HeartSize, trace_to_end_diastole
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
from cinerecon.simulation.phantom.motion import Cycle
from cinerecon.simulation.phantom.tissues import Tissues


class Heart:
    """A beating heart, which can be drawn at any points and times.

    Parameters
    ----------
    rng
        Random number generator, for all further properties.
    cloudy, grainy
        Textures for shapes and tissues.
    size
        Sizes of the heart at end diastole, and the extent of its motion.
    cycle
        Time course of the heartbeat.
    """

    def __init__(
        self, rng: np.random.Generator, cloudy: Texture, grainy: Texture, size: HeartSize, cycle: Cycle
    ) -> None:
        self.size, self.cycle = size, cycle
        self._regional_motion = rng.uniform(0, 0.12), rng.uniform(0, 2 * math.pi)
        self._papillary = [_draw_papillary(rng, angle) for angle in (2.2, 3.9)]
        self._trabecular_mm = rng.uniform(0.8, 2.2)
        self._fat_mm = rng.uniform(1.0, 6.0)
        self._right_signal = rng.uniform(0.75, 1.05)
        self._flow_variation = rng.uniform(0.08, 0.28)
        self._inflow = rng.normal(0, 0.12)
        self._left_atrium = rng.normal(-4, 3), rng.normal(10, 3), rng.uniform(22, 29)
        self._right_atrium = rng.normal(48, 4), rng.normal(10, 4), rng.uniform(22, 28)
        self._shape_texture = cloudy.at_random_offset(rng, rng.uniform(90, 130))
        self._fat_texture = cloudy.at_random_offset(rng, rng.uniform(130, 200))
        self._muscle_texture = grainy.at_random_offset(rng, rng.uniform(60, 90))
        self._flow_texture = grainy.at_random_offset(rng, rng.uniform(70, 150))
        self._transport_mm = rng.uniform(100, 450)

    def draw(self, background: Tensor, points: Points, time: Tensor, tissues: Tissues, edge_mm: float) -> Tensor:
        """Draw the heart over the image of the body.

        Parameters
        ----------
        background
            ``(frames, y, x)`` signal of the body.
        points
            Heart coordinates, three arrays ``(frames, y, x)`` [mm].
        time
            ``(frames, 1, 1)`` time of each frame [beats].
        tissues
            Signal of each tissue.
        edge_mm
            Width of the edges of shapes [mm].

        Returns
        -------
            ``(frames, y, x)`` signal.
        """
        moved = trace_to_end_diastole(points, time, self.size, self.cycle)
        form, grain = self._shape_texture(moved.rest), self._muscle_texture(moved.rest)  # (fields, frames, y, x)
        muscle = tissues.myocardium * (1 + 0.12 * grain[0] + 0.07 * form[3])
        tissue = _HeartTissue(form, grain, muscle, self._blood(moved, tissues), tissues, edge_mm)
        left, right = self._left_outline(moved, form), self._right_outline(moved, form)
        atria, chambers = self._atria(moved, form)
        outer = smooth_min(smooth_min(left, right, 8.0), atria, 6.0)
        image = self._pericardium(background, outer, moved, tissue)
        image = tissue.add_shape(image, tissues.myocardium, atria)
        image = tissue.add_shape(image, self._right_signal * tissue.blood, chambers)
        image = self._right_ventricle(image, right, moved, tissue)
        image = self._great_arteries(image, moved, tissue)
        image = tissue.add_shape(image, muscle, left)
        image = tissue.add_shape(image, tissue.blood, self._left_cavity(moved, tissue))
        image = self._papillary_muscles(image, moved, tissue)
        return self._mitral_valve(image, moved, tissue)

    def _left_axes(self, moved: DeformedPoints, apex_wall: Tensor | float) -> tuple[Points, Tensor]:
        """Position relative to the centre of the ellipsoid of the left ventricle, and its half length on each side."""
        equator = 0.28 * self.size.length
        along = moved.rest[2] - equator
        to_apex = (self.size.length - equator - apex_wall) * torch.ones_like(along)
        half = torch.where(along > 0, to_apex, torch.full_like(along, 2.2 * equator))
        return (
            moved.untwisted[0] * (1 + self.size.ellipticity),
            moved.untwisted[1] * (1 - self.size.ellipticity),
            along,
        ), half

    def _left_outline(self, moved: DeformedPoints, form: Tensor) -> Tensor:
        position, half = self._left_axes(moved, 0.0)
        wall = ellipsoid(position, (moved.outer, moved.outer, half)) + 1.2 * form[0]
        return torch.maximum(wall, (-moved.rest[2] - 2) * moved.stretch)

    def _left_cavity(self, moved: DeformedPoints, tissue: "_HeartTissue") -> Tensor:
        position, half = self._left_axes(moved, self.size.apex_wall * (1 + 0.8 * moved.contraction))
        amplitude, direction = self._regional_motion
        off_axis = length(*moved.untwisted) + 0.01
        cosine = (moved.untwisted[0] * math.cos(direction) + moved.untwisted[1] * math.sin(direction)) / off_axis
        radius = moved.inner * (1 + amplitude * moved.contraction * cosine)
        apical = 0.5 + (moved.rest[2] / self.size.length).clamp(0, 1)
        ridges = self._trabecular_mm * apical * (tissue.grain[1] - 0.2).clamp_min(-0.4)
        return ellipsoid(position, (radius, radius, half)) + 0.9 * tissue.form[1] + ridges

    def _papillary_muscles(self, image: Tensor, moved: DeformedPoints, tissue: "_HeartTissue") -> Tensor:
        """Add two papillary muscles, attached to the wall near the apex and tapering into chordae towards the valve."""
        level = moved.rest[2] / self.size.length
        thick = 1 + 0.25 * moved.contraction
        rough = 0.8 * tissue.form[2] + 0.5 * self._trabecular_mm * tissue.grain[3]
        for angle, distance, radius, aspect, start, end in self._papillary:
            centre_u, centre_v = distance * math.cos(angle) * moved.inner, distance * math.sin(angle) * moved.inner
            du, dv = moved.untwisted[0] - centre_u, moved.untwisted[1] - centre_v
            along = du * math.cos(angle) + dv * math.sin(angle)
            across = dv * math.cos(angle) - du * math.sin(angle)
            off_axis = length(along, aspect * across)
            taper = ((level - start) / 0.15).clamp(0.15, 1) * ((end + 0.15 - level) / 0.1).clamp(0, 1)
            inside = ((level - start + 0.15) * 15).clamp(0, 1) * (taper > 0) * (moved.rest[2] > 0)
            cross_section = coverage(off_axis - radius * thick * taper + rough, 1.3 * tissue.edge_mm)
            image = paint(image, tissue.muscle, inside * cross_section)
        return image

    def _mitral_valve(self, image: Tensor, moved: DeformedPoints, tissue: "_HeartTissue") -> Tensor:
        """Add two leaflets, which form a dome when closed and hang into the ventricle when open."""
        opened = self.cycle.valves(moved.time)
        radius = 0.8 * moved.inner
        off_axis = length(moved.untwisted[0], 1.2 * (moved.untwisted[1] - 4))
        depth = 20.0 * opened * (1 - off_axis / radius).clamp(0, 1) + 3.0
        leaflet = (moved.w - moved.descent - depth).abs() - 0.6
        opacity = 0.8 * ((radius - off_axis) / 3).clamp(0, 1) * ((off_axis - 0.75 * opened * radius) / 2).clamp(0, 1)
        return paint(image, tissue.muscle, opacity * coverage(leaflet, tissue.edge_mm))

    def _right_outline(self, moved: DeformedPoints, form: Tensor) -> Tensor:
        """Signed distance of a cone that is adjacent to the left ventricle and joins it at the apex."""
        size = self.size
        along = moved.rest[2] - 0.15 * size.length
        narrowing = 1 - 0.6 * (along / (0.85 * size.length)).clamp(0, 1) ** 2
        shift = size.right_offset * narrowing * (1 - 0.12 * moved.contraction)
        half_u = size.right_half[0] * (1 - size.right_shrinkage * moved.contraction)
        half_v = size.right_half[1] * (1 - 0.5 * size.right_shrinkage * moved.contraction)
        half_w = torch.where(
            along > 0, 0.78 * size.length * torch.ones_like(along), torch.full_like(along, 0.5 * size.length)
        )
        position = (moved.u - shift, moved.v + 0.12 * moved.u + 4, along)
        outline = ellipsoid(position, (half_u, half_v, half_w)) + 2.0 * form[2]
        return torch.maximum(outline, (-moved.rest[2] - 4) * moved.stretch)

    def _right_ventricle(self, image: Tensor, outline: Tensor, moved: DeformedPoints, tissue: "_HeartTissue") -> Tensor:
        """Add a thin wall, blood between coarse trabeculae, and muscle bands across the cavity near the apex."""
        wall = self.size.right_wall * (1 + 0.4 * moved.contraction)
        cavity = outline + wall + 2.2 * self._trabecular_mm * (tissue.grain[2] - 0.3).clamp_min(-0.3)
        inside = coverage(cavity, tissue.edge_mm)
        image = tissue.add_shape(image, tissue.muscle, outline)
        image = paint(image, self._right_signal * tissue.blood, inside)
        level = moved.rest[2] / self.size.length
        bands = tubes(tissue.form[1], tissue.form[3], 0.16) * ((level - 0.3) * 6).clamp(0, 1)
        return paint(image, tissue.muscle, bands * inside)

    def _atria(self, moved: DeformedPoints, form: Tensor) -> tuple[Tensor, Tensor]:
        """Signed distances of the outline of both atria and of their blood pools."""
        full = self.cycle.atria(moved.time)
        shapes = []
        for u, v, radius in (self._left_atrium, self._right_atrium):
            grown = radius * (0.86 + 0.14 * full)
            position = (moved.u - u, moved.v - v, moved.rest[2] + 0.8 * radius)
            shapes.append(ellipsoid(position, (grown, 1.1 * grown, grown)))
        outline = torch.minimum(*shapes) + 2.0 * form[1]
        blood = torch.maximum(outline + 2.0, 1.2 - 0.5 * (shapes[0] - shapes[1]).abs())
        return outline, torch.where(moved.rest[2] < 12, blood, torch.full_like(blood, 9.0))

    def _great_arteries(self, image: Tensor, moved: DeformedPoints, tissue: "_HeartTissue") -> Tensor:
        """Add pulmonary trunk and aortic root, which widen in systole."""
        points = (moved.u, moved.v, moved.rest[2])
        pulse = 0.8 * self.cycle.flow(moved.time)
        above = (moved.rest[2] < 6).to(image.dtype)
        for start, end, radius in (
            ((22.0, -26.0, 8.0), (2.0, -34.0, -58.0), 13.0),
            ((10.0, -10.0, 4.0), (20.0, -22.0, -75.0), 14.0),
        ):
            tube = capsule(points, start, end, radius) - pulse + tissue.form[0]
            image = paint(image, 0.8 * tissue.tissues.myocardium, above * coverage(tube - 1.8, tissue.edge_mm))
            image = paint(image, 0.95 * tissue.blood, above * coverage(tube, tissue.edge_mm))
        return image

    def _pericardium(self, image: Tensor, outer: Tensor, moved: DeformedPoints, tissue: "_HeartTissue") -> Tensor:
        """Add epicardial fat with coronary vessels, thickest in the atrioventricular groove, and the pericardium."""
        fat_field = self._fat_texture(moved.rest)
        groove = 5.0 * torch.exp2(-((moved.rest[2] / 10.0) ** 2))
        outer = outer - (self._fat_mm * (1 + 0.9 * fat_field[0]) + groove).clamp_min(0)
        fat = 0.8 * tissue.tissues.fat * (1 + 0.12 * tissue.grain[3] + 0.1 * fat_field[3])
        fat = paint(fat, 0.5 * tissue.tissues.myocardium, tubes(fat_field[1], fat_field[2], 0.2))
        return tissue.add_shape(tissue.add_shape(image, tissue.tissues.muscle, outer - 1.2), fat, outer)

    def _blood(self, moved: DeformedPoints, tissues: Tissues) -> Tensor:
        """Signal of blood with inflow and flow-related variation, which increases with its speed and moves with it."""
        speed = self.cycle.flow(moved.time)
        transport_mm = self._transport_mm * self.cycle.ventricles(moved.time)
        eddies = self._flow_texture((moved.u, moved.v + 0.3 * transport_mm, moved.rest[2] - transport_mm))
        basal = (1.15 - moved.rest[2] / self.size.length).clamp(0.25, 1.3)
        variation = eddies[0] + 0.6 * eddies[1].abs()
        inflow = self._inflow * (speed - 0.3) * (1 + 0.7 * self._shape_texture((moved.u, moved.v, moved.w))[2])
        variation = self._flow_variation * (0.4 + 1.2 * speed) * basal * variation
        return tissues.blood * (1 + inflow + variation).clamp(0.35, 1.5)


@dataclass(frozen=True, eq=False)
class _HeartTissue:
    """Signal of the tissues of the heart, and the random fields that make their outlines irregular.

    Attributes
    ----------
    form, grain
        ``(fields, frames, y, x)`` smooth and fine random fields.
    muscle, blood
        ``(frames, y, x)`` signal.
    tissues
        Mean signal of all tissues.
    edge_mm
        Width of the edges of shapes [mm].
    """

    form: Tensor
    grain: Tensor
    muscle: Tensor
    blood: Tensor
    tissues: Tissues
    edge_mm: float

    def add_shape(self, image: Tensor, value: Tensor | float, distance_mm: Tensor) -> Tensor:
        """Draw a shape over the image, from the signed distance to its outline."""
        return paint(image, value, coverage(distance_mm, self.edge_mm))


def _draw_papillary(rng: np.random.Generator, angle: float) -> tuple[float, ...]:
    """Direction [rad], relative distance from the axis, radius [mm], aspect ratio, and extent along the axis."""
    return (
        angle + rng.normal(0, 0.2),
        rng.uniform(0.55, 0.9),
        rng.uniform(3.5, 6.5),
        rng.uniform(0.8, 1.6),
        rng.uniform(0.22, 0.35),
        rng.uniform(0.6, 0.75),
    )
