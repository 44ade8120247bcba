"""The beating heart: ventricles, atria and outlets as moving shapes, textured tissue that moves with them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cinerecon.simulation.phantom.deformation import Moved, Size, follow
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
    """A heart and its motion, read at any point and time."""

    def __init__(self, rng: np.random.Generator, cloudy: Texture, grainy: Texture, size: Size, cycle: Cycle) -> None:
        self.size, self.cycle = size, cycle
        self._regional = rng.uniform(0, 0.12), rng.uniform(0, 2 * math.pi)
        self._papillary = [_draw_papillary(rng, angle) for angle in (2.2, 3.9)]
        self._trabeculae = rng.uniform(0.8, 2.2)
        self._fat_mm = rng.uniform(1.0, 6.0)
        self._right_signal = rng.uniform(0.75, 1.05)
        self._mottle = rng.uniform(0.08, 0.28)
        self._inflow = rng.normal(0, 0.12)
        self._left_atrium = rng.normal(-4, 3), rng.normal(10, 3), rng.uniform(22, 29)
        self._right_atrium = rng.normal(48, 4), rng.normal(10, 4), rng.uniform(22, 28)
        self._form = cloudy.reading(rng.uniform(90, 130))
        self._sheath = cloudy.reading(rng.uniform(130, 200))
        self._tissue = grainy.reading(rng.uniform(60, 90))
        self._eddies = grainy.reading(rng.uniform(70, 150))
        self._stirred_mm = rng.uniform(100, 450)

    def draw(self, background: Tensor, points: Points, time: Tensor, tissues: Tissues, edge_mm: float) -> Tensor:
        """Lay the heart over the body behind it.

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
            Width of an edge.
        """
        moved = follow(points, time, self.size, self.cycle)
        form, grain = self._form(moved.rest), self._tissue(moved.rest)
        muscle = tissues.myocardium * (1 + 0.12 * grain[0] + 0.07 * form[3])
        matter = _Matter(form, grain, muscle, self._blood(moved, tissues), tissues, edge_mm)
        left, right = self._left_outline(moved, form), self._right_outline(moved, form)
        atria, chambers = self._atria(moved, form)
        outer = smooth_min(smooth_min(left, right, 8.0), atria, 6.0)
        image = self._pericardium(background, outer, moved, matter)
        image = matter.lay(image, tissues.myocardium, atria)
        image = matter.lay(image, self._right_signal * matter.blood, chambers)
        image = self._right_ventricle(image, right, moved, matter)
        image = self._outlets(image, moved, matter)
        image = matter.lay(image, muscle, left)
        image = matter.lay(image, matter.blood, self._left_cavity(moved, matter))
        image = self._papillary_muscles(image, moved, matter)
        return self._mitral_valve(image, moved, matter)

    def _left_axes(self, moved: Moved, apex_wall: Tensor | float) -> tuple[Points, Tensor]:
        """Place relative to the widest part of the left ventricle, and the half length there, longer to the base."""
        equator = 0.28 * self.size.length
        along = moved.rest[2] - equator
        to_apex = (self.size.length - equator - apex_wall) * torch.ones_like(along)
        half = torch.where(along > 0, to_apex, torch.full_like(along, 2.2 * equator))
        return (moved.turned[0] * (1 + self.size.oval), moved.turned[1] * (1 - self.size.oval), along), half

    def _left_outline(self, moved: Moved, form: Tensor) -> Tensor:
        place, half = self._left_axes(moved, 0.0)
        wall = ellipsoid(place, (moved.outer, moved.outer, half)) + 1.2 * form[0]
        return torch.maximum(wall, (-moved.rest[2] - 2) * moved.stretch)

    def _left_cavity(self, moved: Moved, matter: "_Matter") -> Tensor:
        place, half = self._left_axes(moved, self.size.apex_wall * (1 + 0.8 * moved.contracted))
        amount, where = self._regional
        off_axis = length(*moved.turned) + 0.01
        towards = (moved.turned[0] * math.cos(where) + moved.turned[1] * math.sin(where)) / off_axis
        radius = moved.inner * (1 + amount * moved.contracted * towards)
        apical = 0.5 + (moved.rest[2] / self.size.length).clamp(0, 1)
        ridges = self._trabeculae * apical * (matter.grain[1] - 0.2).clamp_min(-0.4)
        return ellipsoid(place, (radius, radius, half)) + 0.9 * matter.form[1] + ridges

    def _papillary_muscles(self, image: Tensor, moved: Moved, matter: "_Matter") -> Tensor:
        """Two papillary muscles, attached to the wall near the apex, that taper into chords towards the valve."""
        level = moved.rest[2] / self.size.length
        thick = 1 + 0.25 * moved.contracted
        rough = 0.8 * matter.form[2] + 0.5 * self._trabeculae * matter.grain[3]
        for angle, reach, radius, slim, start, end in self._papillary:
            out_u, out_v = reach * math.cos(angle) * moved.inner, reach * math.sin(angle) * moved.inner
            du, dv = moved.turned[0] - out_u, moved.turned[1] - out_v
            along = du * math.cos(angle) + dv * math.sin(angle)
            across = dv * math.cos(angle) - du * math.sin(angle)
            off = length(along, slim * across)
            taper = ((level - start) / 0.15).clamp(0.15, 1) * ((end + 0.15 - level) / 0.1).clamp(0, 1)
            there = ((level - start + 0.15) * 15).clamp(0, 1) * (taper > 0) * (moved.rest[2] > 0)
            pillar = coverage(off - radius * thick * taper + rough, 1.3 * matter.edge_mm)
            image = paint(image, matter.muscle, there * pillar)
        return image

    def _mitral_valve(self, image: Tensor, moved: Moved, matter: "_Matter") -> Tensor:
        """Two leaflets, a dome when closed, hanging into the ventricle when open."""
        opened = self.cycle.valves(moved.time)
        radius = 0.8 * moved.inner
        off = length(moved.turned[0], 1.2 * (moved.turned[1] - 4))
        hang = 20.0 * opened * (1 - off / radius).clamp(0, 1) + 3.0
        leaflet = (moved.w - moved.descent - hang).abs() - 0.6
        there = 0.8 * ((radius - off) / 3).clamp(0, 1) * ((off - 0.75 * opened * radius) / 2).clamp(0, 1)
        return paint(image, matter.muscle, there * coverage(leaflet, matter.edge_mm))

    def _right_outline(self, moved: Moved, form: Tensor) -> Tensor:
        """A cone that leans on the left ventricle and joins it at the apex."""
        size = self.size
        along = moved.rest[2] - 0.15 * size.length
        lean = 1 - 0.6 * (along / (0.85 * size.length)).clamp(0, 1) ** 2
        shift = size.right_offset * lean * (1 - 0.12 * moved.contracted)
        half_u = size.right_half[0] * (1 - size.right_squeeze * moved.contracted)
        half_v = size.right_half[1] * (1 - 0.5 * size.right_squeeze * moved.contracted)
        half_w = torch.where(
            along > 0, 0.78 * size.length * torch.ones_like(along), torch.full_like(along, 0.5 * size.length)
        )
        place = (moved.u - shift, moved.v + 0.12 * moved.u + 4, along)
        outline = ellipsoid(place, (half_u, half_v, half_w)) + 2.0 * form[2]
        return torch.maximum(outline, (-moved.rest[2] - 4) * moved.stretch)

    def _right_ventricle(self, image: Tensor, outline: Tensor, moved: Moved, matter: "_Matter") -> Tensor:
        """A thin wall, blood between coarse ridges, and bands of muscle that cross it towards the apex."""
        wall = self.size.right_wall * (1 + 0.4 * moved.contracted)
        cavity = outline + wall + 2.2 * self._trabeculae * (matter.grain[2] - 0.3).clamp_min(-0.3)
        inside = coverage(cavity, matter.edge_mm)
        image = matter.lay(image, matter.muscle, outline)
        image = paint(image, self._right_signal * matter.blood, inside)
        level = moved.rest[2] / self.size.length
        bands = tubes(matter.form[1], matter.form[3], 0.16) * ((level - 0.3) * 6).clamp(0, 1)
        return paint(image, matter.muscle, bands * inside)

    def _atria(self, moved: Moved, form: Tensor) -> tuple[Tensor, Tensor]:
        """Outline of both atria and, inside, of their blood."""
        full = self.cycle.atria(moved.time)
        shapes = []
        for u, v, radius in (self._left_atrium, self._right_atrium):
            grown = radius * (0.86 + 0.14 * full)
            place = (moved.u - u, moved.v - v, moved.rest[2] + 0.8 * radius)
            shapes.append(ellipsoid(place, (grown, 1.1 * grown, grown)))
        outline = torch.minimum(*shapes) + 2.0 * form[1]
        blood = torch.maximum(outline + 2.0, 1.2 - 0.5 * (shapes[0] - shapes[1]).abs())
        return outline, torch.where(moved.rest[2] < 12, blood, torch.full_like(blood, 9.0))

    def _outlets(self, image: Tensor, moved: Moved, matter: "_Matter") -> Tensor:
        """Pulmonary trunk and aortic root, wider in systole."""
        points = (moved.u, moved.v, moved.rest[2])
        pulse = 0.8 * self.cycle.flow(moved.time)
        above = (moved.rest[2] < 6).to(image.dtype)
        for start, end, radius in (
            ((22.0, -26.0, 8.0), (2.0, -34.0, -58.0), 13.0),
            ((10.0, -10.0, 4.0), (20.0, -22.0, -75.0), 14.0),
        ):
            tube = capsule(points, start, end, radius) - pulse + matter.form[0]
            image = paint(image, 0.8 * matter.tissues.myocardium, above * coverage(tube - 1.8, matter.edge_mm))
            image = paint(image, 0.95 * matter.blood, above * coverage(tube, matter.edge_mm))
        return image

    def _pericardium(self, image: Tensor, outer: Tensor, moved: Moved, matter: "_Matter") -> Tensor:
        """Fat around the heart, most in the groove of the valves, with coronary vessels in it, and a dark sac."""
        sheath = self._sheath(moved.rest)
        groove = 5.0 * torch.exp2(-((moved.rest[2] / 10.0) ** 2))
        outer = outer - (self._fat_mm * (1 + 0.9 * sheath[0]) + groove).clamp_min(0)
        fat = 0.8 * matter.tissues.fat * (1 + 0.12 * matter.grain[3] + 0.1 * sheath[3])
        fat = paint(fat, 0.5 * matter.tissues.myocardium, tubes(sheath[1], sheath[2], 0.2))
        return matter.lay(matter.lay(image, matter.tissues.muscle, outer - 1.2), fat, outer)

    def _blood(self, moved: Moved, tissues: Tissues) -> Tensor:
        """Blood with the mottle of flow, which is stronger while the blood moves and differs from frame to frame."""
        speed = self.cycle.flow(moved.time)
        carried = self._stirred_mm * self.cycle.ventricles(moved.time)
        eddies = self._eddies((moved.u, moved.v + 0.3 * carried, moved.rest[2] - carried))
        basal = (1.15 - moved.rest[2] / self.size.length).clamp(0.25, 1.3)
        mottle = eddies[0] + 0.6 * eddies[1].abs()
        fresh = self._inflow * (speed - 0.3) * (1 + 0.7 * self._form((moved.u, moved.v, moved.w))[2])
        return tissues.blood * (1 + fresh + self._mottle * (0.4 + 1.2 * speed) * basal * mottle).clamp(0.35, 1.5)


@dataclass(frozen=True, eq=False)
class _Matter:
    """Signal of the tissues, ``(frames, y, x)``, and the random fields that roughen their outlines."""

    form: Tensor
    grain: Tensor
    muscle: Tensor
    blood: Tensor
    tissues: Tissues
    edge_mm: float

    def lay(self, image: Tensor, value: Tensor | float, distance_mm: Tensor) -> Tensor:
        """Lay a shape over the image, from the signed distance to its outline."""
        return paint(image, value, coverage(distance_mm, self.edge_mm))


def _draw_papillary(rng: np.random.Generator, angle: float) -> tuple[float, ...]:
    """Direction, distance from the axis, radius [mm], how slim across, and where along the axis it begins and ends."""
    return (
        angle + rng.normal(0, 0.2),
        rng.uniform(0.55, 0.9),
        rng.uniform(3.5, 6.5),
        rng.uniform(0.8, 1.6),
        rng.uniform(0.22, 0.35),
        rng.uniform(0.6, 0.75),
    )
