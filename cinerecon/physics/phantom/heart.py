"""The beating heart: ventricles, atria and outlets as moving shapes, textured tissue that moves with them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cinerecon.physics.phantom.fields import Points, Texture, capsule, coverage, ellipsoid, paint, smooth_min
from cinerecon.physics.phantom.motion import Cycle
from cinerecon.physics.phantom.torso import Tissues, vessels


@dataclass(frozen=True)
class Size:
    """Sizes of a heart in end diastole [mm] and how far it moves."""

    length: float
    radius: float
    wall: float
    apex_wall: float
    right_offset: float
    right_half: tuple[float, float]
    right_wall: float
    plane_motion: float
    squeeze: float
    right_squeeze: float
    twist: float
    oval: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Size":
        """Healthy hearts mostly, thick, wide and weak ones too."""
        scale = rng.uniform(0.88, 1.14)
        weak = rng.random() < 0.2
        return cls(
            length=scale * rng.uniform(84, 100),
            radius=scale * rng.uniform(30, 37),
            wall=rng.uniform(7, 11) if rng.random() < 0.8 else rng.uniform(11, 15),
            apex_wall=rng.uniform(4, 7),
            right_offset=scale * rng.uniform(26, 34),
            right_half=(scale * rng.uniform(33, 41), scale * rng.uniform(36, 45)),
            right_wall=rng.uniform(2.5, 4),
            plane_motion=rng.uniform(4, 9) if weak else rng.uniform(9, 17),
            squeeze=rng.uniform(0.01, 0.05) if weak else rng.uniform(0.05, 0.11),
            right_squeeze=rng.uniform(0.08, 0.15) if weak else rng.uniform(0.15, 0.27),
            twist=rng.uniform(0.08, 0.3),
            oval=rng.normal(0, 0.04),
        )


class Heart:
    """A heart and its motion, read at any point and time.

    The deformed position of a point is followed back to where the tissue lay in end diastole: the valve plane descends
    towards the apex, the wall turns about the long axis, and keeps its volume, so that it thickens as it shortens.

    Parameters
    ----------
    rng
        Source of randomness.
    cloudy, grainy
        Textures to read outlines and tissue from.
    size
        Sizes in end diastole and extent of the motion.
    cycle
        Time course of the beat.
    """

    def __init__(self, rng: np.random.Generator, cloudy: Texture, grainy: Texture, size: Size, cycle: Cycle) -> None:
        self._cloudy, self._grainy = cloudy, grainy
        self.size, self._cycle = size, cycle
        self._lag = rng.normal(0, 0.015, 3)
        self._regional = rng.uniform(0, 0.12), rng.uniform(0, 2 * np.pi)
        self._papillary = [
            (
                angle + rng.normal(0, 0.2),
                rng.uniform(0.55, 0.75),
                rng.uniform(3.5, 6.0),
                rng.uniform(0.22, 0.35),
                rng.uniform(0.6, 0.75),
            )
            for angle in (2.2, 3.9)
        ]
        self._trabeculae = rng.uniform(0.8, 2.2)
        self._fat_mm = rng.uniform(1.0, 6.0)
        self._right_signal = rng.uniform(0.8, 1.05)
        self._flow_noise = rng.uniform(0.04, 0.16)
        self._left_atrium = (rng.normal(-4, 3), rng.normal(10, 3), rng.uniform(22, 29))
        self._right_atrium = (rng.normal(48, 4), rng.normal(10, 4), rng.uniform(22, 28))

    def contraction(self, time: Tensor) -> Tensor:
        """How far the ventricles are contracted, 0 to 1."""
        return self._cycle.ventricles(time, float(self._lag[0]))

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
        state = self._state(points, time)
        left, right = self._left_outline(state), self._right_outline(state)
        atria, atria_blood = self._atria(state)
        outer = smooth_min(smooth_min(left, right, 8.0), atria, 6.0)
        image = self._pericardium(background, outer, state, tissues, edge_mm)
        blood = self._blood(state, tissues)
        image = paint(image, tissues.myocardium * 0.9, coverage(atria, edge_mm))
        image = paint(image, blood * self._right_signal, coverage(atria_blood, edge_mm))
        muscle = tissues.myocardium * (
            1 + 0.09 * self._grainy(state.material, 60.0) + 0.06 * self._cloudy(state.material, 90.0)
        )
        image = self._right_ventricle(image, right, state, muscle, blood, edge_mm)
        image = self._outlets(image, state, blood, tissues, edge_mm)
        return self._left_ventricle(image, left, state, muscle, blood, edge_mm)

    def _state(self, points: Points, time: Tensor) -> "_State":
        """Follow every point back to end diastole."""
        size = self.size
        u, v, w = points
        contracted = self.contraction(time)
        descent = size.plane_motion * self._cycle.ventricles(time, float(self._lag[1]))
        stretch = 1 - descent / size.length
        roof = 45.0
        below = (w - descent) / stretch
        above = (w + roof) * roof / (roof + descent) - roof
        rest_w = torch.where(w > descent, below, torch.where(w > -roof, above, w))
        turn = (
            size.twist
            * self._cycle.ventricles(time, float(self._lag[2]))
            * ((rest_w / size.length).clamp(-0.2, 1.1) - 0.3)
        )
        cos, sin = torch.cos(turn), torch.sin(turn)
        ru, rv = cos * u + sin * v, cos * v - sin * u
        outer = size.radius * (1 - size.squeeze * contracted)
        inner0 = size.radius - size.wall
        inner = torch.sqrt((outer**2 - (size.radius**2 - inner0**2) / stretch).clamp_min((0.3 * inner0) ** 2))
        swell = inner0 / inner
        material = (ru * swell.clamp(max=1.6), rv * swell.clamp(max=1.6), rest_w)
        return _State(u, v, w, ru, rv, rest_w, contracted, descent, stretch, outer, inner, material, time)

    def _left_outline(self, state: "_State") -> Tensor:
        size = self.size
        equator = 0.28 * size.length
        along = state.rest_w - equator
        half = torch.where(
            along > 0, torch.full_like(along, size.length - equator), torch.full_like(along, 2.2 * equator)
        )
        place = (state.ru * (1 + size.oval), state.rv * (1 - size.oval), along)
        wall = ellipsoid(place, (state.outer, state.outer, half)) + 1.0 * self._cloudy(state.material, 110.0)
        return torch.maximum(wall, (-state.rest_w - 2) * state.stretch)

    def _left_cavity(self, state: "_State") -> Tensor:
        size = self.size
        equator = 0.28 * size.length
        along = state.rest_w - equator
        lower = size.length - equator - size.apex_wall * (1 + 0.8 * state.contracted)
        half = torch.where(along > 0, lower.expand_as(along), torch.full_like(along, 2.2 * equator))
        amount, where = self._regional
        angle = torch.cos(torch.atan2(state.rv, state.ru) - where)
        radius = state.inner * (1 + amount * state.contracted * angle)
        place = (state.ru * (1 + size.oval), state.rv * (1 - size.oval), along)
        apical = 0.5 + (state.rest_w / size.length).clamp(0, 1)
        ridged = (state.material[0], state.material[1], 0.5 * state.rest_w)
        cavity = ellipsoid(place, (radius, radius, half)) + 0.8 * self._cloudy(state.material, 90.0)
        return cavity + self._trabeculae * apical * (self._grainy(ridged, 75.0) - 0.2).clamp_min(-0.3)

    def _left_ventricle(
        self, image: Tensor, outline: Tensor, state: "_State", muscle: Tensor, blood: Tensor, edge_mm: float
    ) -> Tensor:
        image = paint(image, muscle, coverage(outline, edge_mm))
        image = paint(image, blood, coverage(self._left_cavity(state), edge_mm))
        thick = 1 + 0.25 * state.contracted
        level = state.rest_w / self.size.length
        for angle, reach, radius, start, end in self._papillary:
            out = reach * state.inner
            du, dv = state.ru - out * np.cos(angle), state.rv - out * np.sin(angle)
            taper = ((level - start) / 0.15).clamp(0.15, 1) * ((end + 0.15 - level) / 0.1).clamp(0, 1)
            pillar = (
                torch.sqrt(du**2 + dv**2 + 1e-3) - radius * thick * taper + 0.8 * self._cloudy(state.material, 60.0)
            )
            there = ((level - start + 0.15) * 15).clamp(0, 1) * (state.rest_w > 0)
            image = paint(image, muscle, coverage(pillar, 1.3 * edge_mm) * there * (taper > 0))
        return self._mitral_valve(image, state, muscle, edge_mm)

    def _mitral_valve(self, image: Tensor, state: "_State", muscle: Tensor, edge_mm: float) -> Tensor:
        """Two leaflets, a dome when closed, hanging into the ventricle when open."""
        opened = self._cycle.valves(state.time)
        radius = 0.8 * state.inner
        off = torch.sqrt(state.ru**2 + 1.4 * (state.rv - 4) ** 2 + 1e-3)
        hang = 20.0 * opened * (1 - off / radius).clamp(0, 1) + 3.0
        leaflet = (state.w - state.descent - hang).abs() - 0.7
        there = (off < radius) & (off > 0.75 * opened * radius)
        return paint(image, 1.1 * muscle, 0.8 * coverage(leaflet, edge_mm) * there)

    def _right_outline(self, state: "_State") -> Tensor:
        size = self.size
        shift = size.right_offset * (1 - 0.12 * state.contracted)
        half_u = size.right_half[0] * (1 - size.right_squeeze * state.contracted)
        half_v = size.right_half[1] * (1 - 0.5 * size.right_squeeze * state.contracted)
        along = state.rest_w - 0.2 * size.length
        half_w = torch.where(
            along > 0, torch.full_like(along, 0.72 * size.length), torch.full_like(along, 0.45 * size.length)
        )
        place = (state.u - shift, state.v + 0.12 * state.u + 4, along)
        outline = ellipsoid(place, (half_u, half_v, half_w)) + 1.6 * self._cloudy(state.material, 110.0)
        return torch.maximum(outline, (-state.rest_w - 4) * state.stretch)

    def _right_ventricle(
        self, image: Tensor, outline: Tensor, state: "_State", muscle: Tensor, blood: Tensor, edge_mm: float
    ) -> Tensor:
        image = paint(image, muscle, coverage(outline, edge_mm))
        ridges = (self._grainy(state.material, 80.0) - 0.3).clamp_min(-0.3)
        cavity = outline + self.size.right_wall * (1 + 0.4 * state.contracted) + 2.2 * self._trabeculae * ridges
        image = paint(image, self._right_signal * blood, coverage(cavity, edge_mm))
        level = state.rest_w / self.size.length
        bands = vessels(self._cloudy, state.material, 120.0, 0.16) * ((level - 0.3) * 6).clamp(0, 1)
        return paint(image, muscle, bands * coverage(outline, edge_mm))

    def _atria(self, state: "_State") -> tuple[Tensor, Tensor]:
        """Outline of both atria and, inside, of their blood."""
        full = self._cycle.atria(state.time)
        shapes = []
        for (u, v, radius), squash in ((self._left_atrium, 1.0), (self._right_atrium, 1.1)):
            grown = radius * (0.86 + 0.14 * full)
            place = (state.u - u, state.v - v, state.rest_w + 0.8 * radius)
            shapes.append(ellipsoid(place, (grown, 1.1 * grown, squash * grown)))
        septum = (shapes[0] - shapes[1]).abs() * 0.5
        outline = torch.minimum(*shapes) + 1.5 * self._cloudy(state.material, 100.0)
        blood = torch.maximum(outline + 2.0, 1.2 - septum)
        return outline, torch.where(state.rest_w < 12, blood, torch.full_like(blood, 9.0))

    def _outlets(self, image: Tensor, state: "_State", blood: Tensor, tissues: Tissues, edge_mm: float) -> Tensor:
        """Aortic root and pulmonary trunk, wider in systole."""
        moved = (state.u, state.v, state.rest_w)
        pulse = 0.8 * self._cycle.flow(state.time)
        for start, end, radius in (
            ((22.0, -26.0, 8.0), (2.0, -34.0, -58.0), 13.0),
            ((10.0, -10.0, 4.0), (20.0, -22.0, -75.0), 14.0),
        ):
            tube = capsule(moved, start, end, radius) - pulse + 0.8 * self._cloudy(state.material, 80.0)
            above = (state.rest_w < 6).to(tube.dtype)
            image = paint(image, tissues.myocardium * 0.8, coverage(tube - 1.8, edge_mm) * above)
            image = paint(image, blood * 0.95, coverage(tube, edge_mm) * above)
        return image

    def _pericardium(self, image: Tensor, outer: Tensor, state: "_State", tissues: Tissues, edge_mm: float) -> Tensor:
        """Fat around the heart, most in the groove of the valves, with coronary vessels in it, and a dark sac."""
        groove = 5.0 * torch.exp(-((state.rest_w / 12.0) ** 2))
        thickness = (self._fat_mm * (1 + 0.9 * self._cloudy(state.material, 170.0)) + groove).clamp_min(0)
        fat = 0.85 * tissues.fat * (1 + 0.1 * self._grainy(state.material, 70.0))
        fat = paint(fat, 0.5 * tissues.myocardium, vessels(self._cloudy, state.material, 140.0, 0.18))
        image = paint(image, 0.8 * tissues.muscle, coverage(outer - thickness - 1.2, edge_mm))
        return paint(image, fat, coverage(outer - thickness, edge_mm))

    def _blood(self, state: "_State", tissues: Tissues) -> Tensor:
        """Blood with the mottle of flow: stronger and faster while it moves."""
        speed = self._cycle.flow(state.time)
        travelled = 35.0 * self._cycle.ventricles(state.time)
        moved = (state.u, state.v, state.rest_w - travelled)
        mottle = self._grainy(moved, 130.0) + 0.7 * self._cloudy(moved, 110.0)
        basal = (1.1 - state.rest_w / self.size.length).clamp(0.2, 1.3)
        return tissues.blood * (1 + self._flow_noise * (0.35 + speed) * basal * mottle).clamp(0.4, 1.5)


@dataclass(frozen=True)
class _State:
    """Where every point is, and where it was in end diastole; all ``(frames, y, x)`` or ``(frames, 1, 1)``."""

    u: Tensor
    v: Tensor
    w: Tensor
    ru: Tensor
    rv: Tensor
    rest_w: Tensor
    contracted: Tensor
    descent: Tensor
    stretch: Tensor
    outer: Tensor
    inner: Tensor
    material: Points
    time: Tensor
