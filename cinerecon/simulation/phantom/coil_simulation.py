"""Simulated smooth image phase, and sensitivity maps of the coils."""

import math

import numpy as np
import torch
from torch import Tensor

from cinerecon.simulation.phantom.fields import smooth_field


def draw_phase(seed: int | np.random.Generator, n_frames: int, matrix: tuple[int, int]) -> Tensor:
    """Draw a spatially smooth image phase that varies slowly in time.

    It is the sum of a static component (main field, receive phase, linear phase of a slightly shifted echo), a
    component that is periodic with the heartbeat, and a slow drift of the main field.

    Parameters
    ----------
    seed
        Seed, or a generator to draw from.
    n_frames
        Number of frames, which cover one heartbeat.
    matrix
        Image size (y, x).

    Returns
    -------
        ``(frames, y, x)`` float32 [rad].
    """
    rng = np.random.default_rng(seed)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in matrix), indexing="ij")
    static = rng.uniform(-math.pi, math.pi) + rng.uniform(0.3, 1.2) * smooth_field(rng, matrix, rng.uniform(1.0, 2.5))
    static = static + rng.normal(0, 0.5) * x + rng.normal(0, 0.5) * y
    moving = [rng.uniform(0.03, 0.2) / n * smooth_field(rng, matrix, rng.uniform(1.5, 3.5)) for n in (1, 2)]
    drift = rng.normal(0, 0.1) + rng.normal(0, 0.05) * smooth_field(rng, matrix, 1.0)
    time = torch.arange(n_frames) / n_frames
    beat = [torch.sin(2 * math.pi * (n * time + rng.uniform(0, 1))) for n in (1, 2)]
    phase = static + (time - 0.5)[:, None, None] * drift
    for course, pattern in zip(beat, moving, strict=True):
        phase = phase + course[:, None, None] * pattern
    return phase


def draw_coil_maps(seed: int | np.random.Generator, n_coils: int, matrix: tuple[int, int]) -> Tensor:
    """Draw sensitivity maps of loops around the body.

    The magnitude decreases with distance as the field on the axis of a loop, a^3 / (a^2 + d^2)^(3/2); the phase varies
    smoothly with the direction of the field, and has a random offset for each loop.

    Parameters
    ----------
    seed
        Seed, or a generator to draw from.
    n_coils
        Number of coils.
    matrix
        Image size (y, x).

    Returns
    -------
        ``(coils, y, x)`` complex64, sum |csm|^2 = 1 everywhere.
    """
    rng = np.random.default_rng(seed)
    extent = max(matrix)
    y, x = torch.meshgrid(*(torch.linspace(-n / extent, n / extent, n) for n in matrix), indexing="ij")
    reach_y, reach_x = rng.uniform(0.9, 1.4), rng.uniform(1.0, 1.5)
    size = rng.uniform(0.45, 0.9)
    start = rng.uniform(0, 2 * math.pi)
    csm = torch.empty(n_coils, *matrix, dtype=torch.complex64)
    for coil in range(n_coils):
        angle = start + 2 * math.pi * (coil + rng.uniform(-0.3, 0.3)) / n_coils
        out_of_plane = rng.uniform(0, 0.5)
        dy = y - rng.uniform(0.9, 1.1) * reach_y * math.sin(angle)
        dx = x - rng.uniform(0.9, 1.1) * reach_x * math.cos(angle)
        radius2 = (size * rng.uniform(0.8, 1.25)) ** 2
        magnitude = rng.uniform(0.7, 1.3) * (radius2 / (radius2 + dy**2 + dx**2 + out_of_plane**2)) ** 1.5
        along = dx * math.cos(angle) + dy * math.sin(angle)
        across = dy * math.cos(angle) - dx * math.sin(angle)
        phase = rng.uniform(-math.pi, math.pi) + rng.uniform(0.3, 1.2) * along + rng.normal(0, 0.4) * across
        phase = phase + 0.6 * torch.atan2(across, along.abs() + 0.8) + 0.15 * smooth_field(rng, matrix, 1.0)
        csm[coil] = torch.polar(magnitude, phase)
    return csm / csm.abs().square().sum(0).sqrt()
