"""A vessel with blood flow through the plane, whose velocity over the beat is known."""

import math

import numpy as np
import torch
from torch import Tensor

PEAK_FRACTION, REVERSE_FRACTION = 0.75, 0.12
"""Largest forward velocity and largest velocity of early diastolic backflow, over the velocity range."""
EDGE_PIXELS = 0.7
"""Half of the width of the border of the vessel [pixels]."""


def velocity_course(n_frames: int, venc_cm_s: float) -> Tensor:
    """Mean velocity in the vessel over the beat ``(frames,)`` [cm/s]: a systolic wave, then a little backflow."""
    time = torch.arange(n_frames) / n_frames
    systole = torch.exp(-((time - 0.18) ** 2) / (2 * 0.08**2))
    backflow = torch.exp(-((time - 0.42) ** 2) / (2 * 0.04**2))
    return venc_cm_s * (PEAK_FRACTION * systole - REVERSE_FRACTION * backflow)


def add_vessel(image: Tensor, seed: int, venc_cm_s: float) -> tuple[Tensor, Tensor]:
    """Draw a vessel with plug flow over a cine.

    Parameters
    ----------
    image
        ``(frames, y, x)`` complex.
    seed
        Position of the vessel.
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
    phase = torch.polar(torch.ones(n_frames), image.sum((-2, -1)).angle())[:, None, None]
    bright = 0.8 * float(image.abs().max())
    velocity = velocity_course(n_frames, venc_cm_s)[:, None, None] * (inside > 0)
    return (1 - inside) * image + inside * bright * phase, velocity
