"""Motion over time: cardiac cycle, blood flow, breathing, and a vessel with known velocity."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cinerecon.physics.fourier import phasor

PEAK_FRACTION, REVERSE_FRACTION = 0.75, 0.12
"""Largest forward velocity and largest velocity of early diastolic backflow, over the velocity range."""
EDGE_PIXELS = 0.7
"""Half of the width of the border of the vessel [pixels]."""


def smooth_step(time: Tensor, start: float, end: float) -> Tensor:
    """Cubic step from 0 to 1 between two times."""
    x = ((time - start) / (end - start)).clamp(0, 1)
    return x * x * (3 - 2 * x)


@dataclass(frozen=True)
class Cycle:
    """One heartbeat; times are relative to the R wave and in units of the R-R interval.

    Attributes
    ----------
    end_systole
        Time at which the ventricles are smallest.
    filling
        Duration of early (rapid) filling.
    atrial_fraction
        Fraction of the filling that is due to atrial contraction.
    atrial_start
        Time at which the atria begin to contract.
    """

    end_systole: float
    filling: float
    atrial_fraction: float
    atrial_start: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Cycle":
        """Draw the cycle of a heart at rest, with a systole of about a third of the R-R interval."""
        end_systole = rng.uniform(0.31, 0.42)
        return cls(end_systole, rng.uniform(0.13, 0.22), rng.uniform(0.1, 0.35), rng.uniform(0.78, 0.88))

    def ventricles(self, time: Tensor, lag: float = 0.0) -> Tensor:
        """Contraction of the ventricles: 0 at end diastole, 1 at end systole."""
        t = (time - lag) % 1.0
        relaxed = self.end_systole + 0.04
        early = smooth_step(t, relaxed, relaxed + self.filling)
        late = smooth_step(t, self.atrial_start, min(self.atrial_start + 0.13, 0.995))
        return smooth_step(t, 0.0, self.end_systole) - (1 - self.atrial_fraction) * early - self.atrial_fraction * late

    def atria(self, time: Tensor) -> Tensor:
        """Filling of the atria, 0 to 1: they fill during systole and empty passively, then by contraction."""
        t = time % 1.0
        relaxed = self.end_systole + 0.04
        passive = smooth_step(t, relaxed, relaxed + 1.2 * self.filling)
        active = smooth_step(t, self.atrial_start - 0.04, self.atrial_start + 0.1)
        return smooth_step(t, 0.0, self.end_systole) - 0.5 * passive - 0.5 * active

    def valves(self, time: Tensor) -> Tensor:
        """Opening of the mitral valve, 0 to 1: largest in early filling, smaller in diastasis and atrial systole."""
        t = time % 1.0
        relaxed = self.end_systole + 0.04
        opened = smooth_step(t, relaxed, relaxed + 0.05) * (1 - smooth_step(t, self.atrial_start + 0.08, 0.99))
        rest = relaxed + self.filling
        reopening = smooth_step(t, self.atrial_start - 0.03, self.atrial_start + 0.03)
        return opened * (1 - 0.55 * smooth_step(t, rest, rest + 0.08) + 0.35 * reopening)

    def flow(self, time: Tensor) -> Tensor:
        """Relative speed of the blood, from about 0 in diastasis to about 1 at peak flow."""
        step = 0.01
        speed = (self.ventricles(time + step) - self.ventricles(time - step)).abs() / (2 * step)
        return speed * self.filling / 1.5


def frame_times(rng: np.random.Generator, n_frames: int, n_beats: float) -> Tensor:
    """Time of each frame [beats], ``(frames,)``; the first frame is close to the R wave."""
    return rng.uniform(-0.04, 0.04) + n_beats * (torch.arange(n_frames) + 0.5) / n_frames


def draw_breathing(rng: np.random.Generator, n_frames: int, n_beats: float) -> Tensor:
    """Displacement of the heart and the abdominal organs along the head-feet axis [mm], ``(frames,)``.

    In most cases this is the slow drift of an imperfect breath-hold, in a quarter of the cases a part of a breath.
    """
    time = torch.arange(n_frames) / n_frames
    drift = rng.normal(0, 1.0) * (time - 0.5)
    depth = rng.uniform(1, 6) if rng.random() < 0.25 else rng.uniform(0, 0.6)
    breaths = n_beats * rng.uniform(0.15, 0.4)
    return drift + depth * torch.sin(2 * math.pi * (breaths * time + rng.uniform(0, 1)))


def velocity_course(n_frames: int, venc_cm_s: float) -> Tensor:
    """Mean velocity in the vessel ``(frames,)`` [cm/s]: a systolic wave, followed by slight backflow."""
    time = torch.arange(n_frames) / n_frames
    systole = torch.exp(-((time - 0.18) ** 2) / (2 * 0.08**2))
    backflow = torch.exp(-((time - 0.42) ** 2) / (2 * 0.04**2))
    return venc_cm_s * (PEAK_FRACTION * systole - REVERSE_FRACTION * backflow)


def add_vessel(image: Tensor, seed: int, venc_cm_s: float) -> tuple[Tensor, Tensor]:
    """Add a vessel with plug flow to a cine.

    Parameters
    ----------
    image
        ``(frames, y, x)`` complex.
    seed
        Random seed of the position of the vessel.
    venc_cm_s
        Velocity range [cm/s], which scales the velocities.

    Returns
    -------
    The cine with the vessel, and the velocity ``(frames, y, x)`` [cm/s], 0 outside of the vessel.
    """
    rng = np.random.default_rng([seed, 9])
    n_frames, ny, nx = image.shape
    radius = 0.07 * min(ny, nx)
    angle, distance = rng.uniform(0, 2 * math.pi), 0.2 * min(ny, nx)
    centre = ny / 2 + distance * math.sin(angle), nx / 2 + distance * math.cos(angle)
    y, x = torch.meshgrid(torch.arange(ny), torch.arange(nx), indexing="ij")
    inside = ((radius - torch.hypot(y - centre[0], x - centre[1])) / (2 * EDGE_PIXELS) + 0.5).clamp(0, 1)
    phase = phasor(image.sum((-2, -1)).angle())[:, None, None]
    bright = 0.8 * float(image.abs().max())
    velocity = velocity_course(n_frames, venc_cm_s)[:, None, None] * (inside > 0)
    return (1 - inside) * image + inside * bright * phase, velocity
