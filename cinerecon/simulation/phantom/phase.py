"""Simulated phase for magnitude cines, which varies as rapidly as that of measured cines.

Magnitude images contain no phase, and networks that were trained with smooth phase only are less accurate for measured
data (10.3389/fphy.2021.684184). Here the phase is the sum of its sources in balanced steady-state free precession, with
random weights:

- static: receive phase and main field, a finer field, off-resonance of tissues, susceptibility near air;
- moving: the components of the last two that move with the heart, the field of the beating heart, pulsatile blood flow
  in ventricles and vessels, a drift of the main field, and a random offset of each frame.

The sums are scaled to changes per frame and per pixel that are drawn from distributions around measured values. Fat,
which has another frequency, and the dark bands of off-resonance also change the magnitude.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from cinerecon.config import Config
from cinerecon.metrics.temporal import phase_change
from cinerecon.physics.fourier import phasor
from cinerecon.simulation.phantom.fields import smooth_field
from cinerecon.simulation.phantom.tissues import balanced_signal, susceptibility_field


class PhaseConfig(Config):
    """Rate of change of the phase, and fraction of cines with fat and bands."""

    per_frame: float = Field(
        default=0.10, ge=0, description="mean phase change from frame to frame, weighted by intensity [rad]"
    )
    per_pixel: float = Field(
        default=0.135, ge=0, description="mean phase change from pixel to pixel, averaged over rows and columns [rad]"
    )
    spread: float = Field(
        default=0.45, ge=0, description="standard deviation of the logarithm of both values between cines"
    )
    fat: float = Field(
        default=0.4,
        ge=0,
        le=1,
        description="fraction of cines in which the phase of bright tissue is shifted or opposed",
    )
    bands: float = Field(
        default=0.3, ge=0, le=1, description="fraction of cines with bands across which the signal changes sign"
    )


class _Scene(NamedTuple):
    """Input of all components: random numbers, magnitude of unit scale ``(frames, y, x)``, and tissue (0 in air, 1)."""

    rng: Generator
    magnitude: Tensor
    tissue: Tensor


def add_phase(signal: Tensor, rng: Generator, config: PhaseConfig | None = None) -> Tensor:
    """Add a phase to a magnitude cine, or to a signal that is negative for fat in opposed phase.

    Parameters
    ----------
    signal
        ``(frames, y, x)`` real; the frames are assumed to cover one heartbeat.
    rng
        Random number generator.
    config
        Rate of change of the phase.

    Returns
    -------
        ``(frames, y, x)`` complex64, with the magnitude of `signal` except for fat and bands.
    """
    config = PhaseConfig.or_default(config)
    scene = _scene(signal, rng)
    image = signal.to(torch.complex64)
    if rng.random() < config.fat:
        image = image * _fat_factor(scene)
    if rng.random() < config.bands:
        image = image * _band_factor(scene)
    per_frame, per_pixel = _draw_changes(image, config, rng)
    fields = [_tissue_off_resonance(scene), _air_field(scene)]
    means = [field.mean(0, keepdim=True) for field in fields]
    beating = [field - mean for field, mean in zip(fields, means, strict=True)]
    moving = _weighted_sum([*beating, *(make(scene) for make in MOVING_PHASE)], scene, _change_per_frame)
    moving = moving * per_frame
    static = _weighted_sum([*means, *(make(scene)[None] for make in STATIC_PHASE)], scene, _change_per_pixel)
    phase = _with_change(moving, static, per_pixel, scene) + rng.uniform(-math.pi, math.pi)
    return image * phasor(phase)


def _draw_changes(image: Tensor, config: PhaseConfig, rng: Generator) -> tuple[float, float]:
    """Draw the changes per frame and per pixel that are still required for an image that has only phase jumps."""
    common, own = rng.normal(0, 0.8), rng.normal(0, 0.6, 2)
    factors = np.exp(config.spread * (common + own - config.spread / 2)).clip(0.3, 2.2)
    given = phase_change(image[::2])
    jumps = given.per_frame / 2, (given.per_row + given.per_column) / 2
    wanted = config.per_frame * factors[0], config.per_pixel * factors[1]
    per_frame, per_pixel = (max(w - jump, 0.3 * w) for w, jump in zip(wanted, jumps, strict=True))
    return per_frame, per_pixel


def _with_change(moving: Tensor, static: Tensor, change: float, scene: _Scene) -> Tensor:
    """The sum of both phases, in which the weight of the static one gives the requested change per pixel."""
    part = change
    for _ in range(3):
        present = _change_per_pixel(moving + part * static, scene)
        part = max(part * change / max(present, 1e-6), 0.2 * change)
    return moving + part * static


def _scene(signal: Tensor, rng: Generator) -> _Scene:
    """The input of the components of a signal ``(frames, y, x)``."""
    magnitude = signal.abs()
    scale = torch.quantile(magnitude.mean(0).flatten(), 0.995).clamp(min=1e-12)
    magnitude = _blurred(magnitude / scale, 3)
    tissue = (_blurred(magnitude, 5) / rng.uniform(0.1, 0.2)).clamp(max=1)
    return _Scene(rng, magnitude, tissue)


def _weighted_sum(parts: Sequence[Tensor], scene: _Scene, measure: Callable[[Tensor, _Scene], float]) -> Tensor:
    """The sum of components with random weights, scaled to a mean change of 1."""
    shares = scene.rng.dirichlet(np.full(len(parts), 0.7))
    total = torch.zeros(())
    for share, part in zip(shares, parts, strict=True):
        total = total + float(share / max(measure(part, scene), 1e-6)) * part
    return total / max(measure(total, scene), 1e-6)


def _change_per_frame(phase: Tensor, scene: _Scene) -> float:
    """Mean change from frame to frame of an unwrapped phase, weighted as in `phase_change`."""
    if len(phase) < 2:
        return 0.0
    magnitude = scene.magnitude[:, ::3, ::3]
    thinned = phase[:, ::3, ::3] if phase.shape[-1] > 1 else phase
    weight = magnitude[1:] * magnitude[:-1]
    return float((weight * thinned.diff(dim=0).abs()).sum() / weight.sum().clamp(min=1e-12))


def _change_per_pixel(phase: Tensor, scene: _Scene) -> float:
    """Mean change from pixel to pixel of an unwrapped phase, averaged over rows and columns."""
    magnitude, thinned = scene.magnitude[::6], phase[::6]
    changes = []
    for dim in (-2, -1):
        n = magnitude.shape[dim] - 1
        if n < 1 or phase.shape[dim] == 1:
            return 0.0
        weight = magnitude.narrow(dim, 1, n) * magnitude.narrow(dim, 0, n)
        changes.append(float((weight * thinned.diff(dim=dim).abs()).sum() / weight.sum().clamp(min=1e-12)))
    return sum(changes) / 2


def _fat_factor(scene: _Scene) -> Tensor:
    """Complex factor for bright tissue with another frequency, which cancels with water in the same pixel.

    The magnitude does not show which tissue is fat; only the phase jumps at edges that move with the heart are
    important.
    """
    level = scene.rng.uniform(0.3, 0.8)
    fraction = 0.5 + 0.5 * torch.tanh((scene.magnitude - level) / (0.15 * level))
    angle = math.pi if scene.rng.random() < 0.6 else scene.rng.uniform(0.3, 2.6)
    return 1 + fraction * (complex(np.exp(1j * angle)) - 1)


def _band_factor(scene: _Scene) -> Tensor:
    """Complex factor for off-resonance that extends beyond the pass band in part of the image."""
    rng = scene.rng
    field = smooth_field(rng, tuple(scene.magnitude.shape[-2:]), rng.uniform(0.5, 1.5))
    air = _air_field(scene)
    field = field + rng.uniform(0, 0.5) * air / air.std().clamp(min=1e-6)
    tr_ms, t1_ms, t2_ms = rng.uniform(2.7, 4.0), rng.uniform(800, 1600), rng.uniform(45, 250)
    flip_angle = math.radians(rng.uniform(30, 70))
    precession = field * rng.uniform(0.9, 2.2)
    return balanced_signal(precession, math.exp(-tr_ms / t1_ms), math.exp(-tr_ms / t2_ms), flip_angle)


def _tissue_off_resonance(scene: _Scene) -> Tensor:
    """Off-resonance of tissues, as a function of the brightness, so that it moves with them."""
    rng, field = scene.rng, torch.zeros_like(scene.magnitude)
    for level in rng.uniform(0.1, 1.0, 2):
        field += float(rng.normal()) * torch.sigmoid((scene.magnitude - level) / float(rng.uniform(0.05, 0.15)))
    return field


def _air_field(scene: _Scene) -> Tensor:
    """Field shift due to the lungs and the air around the body."""
    return susceptibility_field(1 - scene.tissue, scene.rng.uniform(0, math.pi), math.sqrt(scene.rng.uniform(0.5, 1)))


def _receive_phase(scene: _Scene) -> Tensor:
    """Receive phase, main field, and linear phase of a slightly shifted echo."""
    rng, matrix = scene.rng, scene.magnitude.shape[-2:]
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in matrix), indexing="ij")
    smooth = smooth_field(rng, tuple(matrix), rng.uniform(1.0, 2.5))
    return rng.uniform(0.3, 1.2) * smooth + float(rng.normal(0, 0.5)) * x + float(rng.normal(0, 0.5)) * y


def _fine_field(scene: _Scene) -> Tensor:
    """Field of higher spatial frequency, up to 14 cycles per field of view, as around vessels and bowel."""
    rng = scene.rng
    return smooth_field(rng, tuple(scene.magnitude.shape[-2:]), math.exp(rng.uniform(math.log(3), math.log(14))))


def _beating_field(scene: _Scene) -> Tensor:
    """Smooth field that varies periodically with the heartbeat."""
    rng, n = scene.rng, len(scene.magnitude)
    patterns = [smooth_field(rng, tuple(scene.magnitude.shape[-2:]), rng.uniform(1.5, 4)) for _ in range(2)]
    return torch.stack([_periodic_course(rng, n)[:, None, None] * pattern for pattern in patterns]).sum(0)


def _blood_phase(scene: _Scene) -> Tensor:
    """Pulsatile phase of through-plane blood flow: in bright regions that change over time."""
    rng, (n, *matrix) = scene.rng, scene.magnitude.shape
    motion = _blurred(scene.magnitude.std(0, unbiased=False)[None], 9)
    bright = torch.sigmoid((scene.magnitude - float(rng.uniform(0.4, 0.8))) / 0.1)
    speed = 1 + float(rng.uniform(0, 1)) * smooth_field(rng, tuple(matrix), rng.uniform(3, 8))
    return _pulsatile_course(rng, n)[:, None, None] * (motion * bright * speed)


def _vessel_phase(scene: _Scene) -> Tensor:
    """Pulsatile phase of small bright structures, with random strength and sign."""
    rng, (n, *matrix) = scene.rng, scene.magnitude.shape
    small = (scene.magnitude - _blurred(scene.magnitude, 11)).clamp(min=0)
    return _pulsatile_course(rng, n)[:, None, None] * (small * smooth_field(rng, tuple(matrix), rng.uniform(2, 8)))


def _field_drift(scene: _Scene) -> Tensor:
    """Drift of the main field, and a random offset of each frame."""
    rng, (n, *matrix) = scene.rng, scene.magnitude.shape
    time = torch.arange(n) / n - 0.5
    jitter = torch.from_numpy(rng.standard_normal(n).astype(np.float32)) * float(rng.uniform(0, 0.15))
    pattern = 1 + float(rng.uniform(0, 1)) * smooth_field(rng, tuple(matrix), 1.0)
    return (time + jitter)[:, None, None] * pattern


MOVING_PHASE = (_beating_field, _blood_phase, _vessel_phase, _field_drift)
STATIC_PHASE = (_receive_phase, _fine_field)


def _periodic_course(rng: Generator, n_frames: int) -> Tensor:
    """A smooth periodic function of time with three harmonics, ``(frames,)``."""
    time = torch.arange(n_frames) / n_frames
    waves = [rng.normal() / k * torch.sin(2 * math.pi * (k * time + rng.uniform(0, 1))) for k in (1, 2, 3)]
    return torch.stack(waves).sum(0).float()


def _pulsatile_course(rng: Generator, n_frames: int) -> Tensor:
    """Velocity of blood over the heartbeat, ``(frames,)``: a systolic and a smaller diastolic wave of random sign."""
    time, start = torch.arange(n_frames) / n_frames, rng.uniform(0, 1)
    systolic = 1.0, start, rng.uniform(0.06, 0.14)
    diastolic = rng.uniform(-0.6, 0.6), start + rng.uniform(0.35, 0.65), rng.uniform(0.05, 0.1)
    course = torch.zeros(n_frames)
    for height, middle, width in (systolic, diastolic):
        course += height * torch.exp(-(((time - middle + 0.5) % 1 - 0.5) ** 2) / (2 * width**2))
    return course - course.mean()


def _blurred(image: Tensor, size: int) -> Tensor:
    """Moving average over squares of a size, ``(frames, y, x)``; computed axis by axis, which is faster."""
    for kernel in ((size, 1), (1, size)):
        padding = (kernel[0] // 2, kernel[1] // 2)
        image = functional.avg_pool2d(image[None], kernel, stride=1, padding=padding, count_include_pad=False)[0]
    return image
