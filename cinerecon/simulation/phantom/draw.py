"""Draw a cine: body, heart, image plane, motion, contrast and resolution are random."""

import math
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from cinerecon.config import Config
from cinerecon.physics.fourier import fft2c, ifft2c, phasor
from cinerecon.physics.noise import white_noise
from cinerecon.simulation.phantom.coil_simulation import draw_phase
from cinerecon.simulation.phantom.deformation import HeartSize
from cinerecon.simulation.phantom.fields import Points, Texture, smooth_field
from cinerecon.simulation.phantom.heart import Heart
from cinerecon.simulation.phantom.motion import Cycle, draw_breathing, frame_times
from cinerecon.simulation.phantom.plane import Plane, Pose, View, draw_plane
from cinerecon.simulation.phantom.tissues import Tissues
from cinerecon.simulation.phantom.torso import Torso

_POINTS_AT_ONCE = 32_000
"""Number of points that are drawn together, so that temporary arrays fit into the cache and one thread is fastest."""


class PhantomConfig(Config):
    """Fixed settings of a phantom; all others are drawn at random."""

    n_frames: int = Field(default=25, ge=1, description="number of frames")
    matrix: tuple[PositiveInt, PositiveInt] = Field(default=(192, 192), description="image size (y, x)")
    view: View | None = Field(default=None, description="short or long axis; random if not given")
    position: float | None = Field(
        default=None,
        ge=-0.5,
        le=1.2,
        description="position of a short-axis slice in the left ventricle: 0 at the valve, 1 at the apex",
    )
    pixel_mm: float | None = Field(default=None, gt=0, description="pixel size [mm]; random if not given")
    n_beats: float = Field(default=1.0, gt=0, description="number of heartbeats covered by the frames")
    noise: float = Field(
        default=0.0, ge=0, description="standard deviation of the complex noise in the image, relative to its maximum"
    )


def draw_phantom(seed: int, config: PhantomConfig | None = None) -> Tensor:
    """Draw a beating-heart cine with its phase.

    Parameters
    ----------
    seed
        The same seed and configuration give the same cine.
    config
        Fixed settings.

    Returns
    -------
        ``(frames, y, x)`` complex64, largest magnitude 1.
    """
    return draw_slice(seed, config)[0]


def draw_slice(seed: int, config: PhantomConfig | None = None, offset_mm: float = 0.0) -> tuple[Tensor, Plane]:
    """Draw a cine as `draw_phantom` does, and also return its image plane.

    Parameters
    ----------
    seed
        The same seed and configuration give the same cine.
    config
        Fixed settings.
    offset_mm
        Shift of the plane along its normal [mm]; slices of one seed with different offsets are a stack.

    Returns
    -------
        ``(frames, y, x)`` complex64, largest magnitude 1, and the image plane.
    """
    config = PhantomConfig.or_default(config)
    rng = np.random.default_rng([seed, 1])
    signal, plane = _draw_signal(seed, config, offset_mm)
    signal = _random_fat_phase(signal, rng)
    image = phasor(draw_phase(rng, config.n_frames, config.matrix)) * signal
    if config.noise:
        image = image + config.noise * white_noise(rng, image.shape, parts_axis=0)
    return image / image.abs().max(), plane


def draw_signal(seed: int, config: PhantomConfig | None = None) -> Tensor:
    """The cine of `draw_phantom` before its phase and noise.

    Returns
    -------
        ``(frames, y, x)`` float32, largest magnitude 1; negative for fat in opposed phase.
    """
    return _random_fat_phase(_draw_signal(seed, PhantomConfig.or_default(config))[0], np.random.default_rng([seed, 1]))


def _random_fat_phase(signal: Tensor, rng: np.random.Generator) -> Tensor:
    """The signal, or in half of the cases its magnitude, in which fat and water are in phase."""
    return signal.abs() if rng.random() < 0.5 else signal


@dataclass(frozen=True)
class _Scene:
    """The random content of an image."""

    heart: Heart
    torso: Torso
    pose: Pose
    plane: Plane
    tissues: Tissues


@lru_cache(maxsize=1)
def _draw_textures(seed: int) -> tuple[Texture, Texture, np.random.Generator]:
    """Two textures, and the generator after them, which must not be changed; kept for the next slice of a stack."""
    rng = np.random.default_rng([seed, 0])
    return Texture(rng, slope=3.5), Texture(rng, slope=1.2), rng


def _draw_scene(rng: np.random.Generator, cloudy: Texture, grainy: Texture, config: PhantomConfig) -> _Scene:
    """Draw a body with its heart, the image plane and the contrast."""
    size = HeartSize.draw(rng)
    heart = Heart(rng, cloudy, grainy, size, Cycle.draw(rng))
    torso = Torso(rng, cloudy, grainy)
    pose = Pose.draw(rng, size.length, torso.front_mm)
    view: View = "short" if rng.random() < 0.65 else "long"
    position, fov_mm = rng.uniform(-0.1, 0.95), rng.uniform(220, 330)
    position = position if config.position is None else config.position
    pixel_mm = config.pixel_mm or fov_mm / max(config.matrix)
    reach_mm = 0.04 * pixel_mm * min(config.matrix)
    plane = draw_plane(rng, pose, config.view or view, position * size.length, pixel_mm, reach_mm)
    return _Scene(heart, torso, pose, plane, Tissues.draw(rng))


def _draw_signal(seed: int, config: PhantomConfig, offset_mm: float = 0.0) -> tuple[Tensor, Plane]:
    """The real image ``(frames, y, x)`` of largest magnitude 1, negative for fat in opposed phase; and its plane."""
    cloudy, grainy, rng = _draw_textures(seed)
    rng = deepcopy(rng)
    scene = _draw_scene(rng, cloudy, grainy, config)
    scene = replace(scene, plane=scene.plane.shifted(offset_mm))
    time = frame_times(rng, config.n_frames, config.n_beats)[:, None, None]
    breath = draw_breathing(rng, config.n_frames, config.n_beats)[:, None, None]
    edge_mm = rng.uniform(1.0, 1.8) * scene.plane.pixel_mm
    image = _move_body(rng, _draw_body(scene, config, 1.2 * edge_mm), scene, config, time, breath)
    rows, columns, points = _heart_region(scene, config.matrix)
    towards_head = [float(axis[2]) for axis in scene.pose.axes]
    step = max(1, _POINTS_AT_ONCE // points[0].numel())
    for first in range(0, config.n_frames, step):
        now = slice(first, first + step)
        moved = [p - s * breath[now] for p, s in zip(points, towards_head, strict=True)]
        image[now, rows, columns] = scene.heart.draw(
            image[now, rows, columns], (moved[0], moved[1], moved[2]), time[now], scene.tissues, edge_mm
        )
    image = _apply_imaging(rng, image)
    return image / image.abs().max(), scene.plane


def _draw_body(scene: _Scene, config: PhantomConfig, edge_mm: float) -> Tensor:
    """The body without motion, on a grid twice as fine, ``(2 y, 2 x)``."""
    points = scene.plane.points(config.matrix, oversampling=2)
    n_blocks = -(-points[0].numel() // _POINTS_AT_ONCE)
    blocks = zip(*(p.chunk(n_blocks) for p in points), strict=True)
    return torch.cat([scene.torso.draw(block, scene.tissues, edge_mm) for block in blocks])


def _heart_region(scene: _Scene, matrix: tuple[int, int]) -> tuple[slice, slice, Points]:
    """Rows and columns of the image that the heart can reach, and their heart coordinates."""
    u, v, w = scene.pose.to_heart(scene.plane.points(matrix))
    near = (u > -60) & (u < 100) & (v.abs() < 70) & (w > -95) & (w < scene.heart.size.length + 20)
    rows, columns = (_extent(near.any(dim)) for dim in (1, 0))
    return rows, columns, (u[rows, columns], v[rows, columns], w[rows, columns])


def _extent(flags: Tensor) -> slice:
    """The range from the first to the last True value."""
    index = flags.nonzero()
    return slice(int(index[0]), int(index[-1]) + 1) if len(index) else slice(0, 1)


def _move_body(
    rng: np.random.Generator, body: Tensor, scene: _Scene, config: PhantomConfig, time: Tensor, breath: Tensor
) -> Tensor:
    """The body ``(frames, y, x)``, which moves with breathing and, close to the heart, with the heartbeat."""
    plane, (n_y, n_x) = scene.plane, config.matrix
    u, v, w = scene.pose.to_heart(plane.points(config.matrix))
    near = torch.exp2(-((u - 15) ** 2 + v**2 + (w - 40) ** 2) / 5000.0)
    offset = [p - float(c) for p, c in zip(plane.points(config.matrix), scene.pose.centre, strict=True)]
    beat = scene.heart.cycle.ventricles(time) * rng.uniform(2.0, 7.0) / 60
    towards_head = float(plane.x_dir[2]), float(plane.y_dir[2])
    wide = torch.exp2(-(offset[0] ** 2 + offset[1] ** 2) / 11000.0)
    shifts = []
    for axis, component in ((plane.y_dir, towards_head[1]), (plane.x_dir, towards_head[0])):
        inward = sum(float(a) * o for a, o in zip(axis, offset, strict=True)) * near
        shifts.append((-beat * inward + breath * component * wide) / plane.pixel_mm)
    y, x = torch.meshgrid(*(2 * (torch.arange(n) + 0.5) / n - 1 for n in (n_y, n_x)), indexing="ij")
    grid = torch.stack([x - 2 * shifts[1] / n_x, y - 2 * shifts[0] / n_y], -1)
    stack = body.expand(config.n_frames, 1, *body.shape)
    return torch.nn.functional.grid_sample(stack, grid, align_corners=False, padding_mode="border")[:, 0]


def _apply_imaging(rng: np.random.Generator, image: Tensor) -> Tensor:
    """Apply coil shading, in some images a dark band, and the resolution in space and time."""
    shading = torch.exp(rng.uniform(0.1, 0.5) * smooth_field(rng, tuple(image.shape[-2:]), rng.uniform(0.6, 1.2)))
    if rng.random() < 0.35:
        phase = math.pi * (rng.uniform(0.2, 0.5) * smooth_field(rng, tuple(image.shape[-2:]), 1.2))
        shading = shading * (1 - 0.7 * torch.exp(-(((phase.abs() - math.pi) / 0.35) ** 2)))
    blur = rng.uniform(0, 0.12)
    if len(image) > 2 and blur > 0:
        image = (1 - 2 * blur) * image + blur * (image.roll(1, 0) + image.roll(-1, 0))
    window = [_resolution(rng, n) for n in image.shape[-2:]]
    return ifft2c(fft2c((image * shading).to(torch.complex64)) * (window[0][:, None] * window[1])).real


def _resolution(rng: np.random.Generator, n: int) -> Tensor:
    """A low-pass window for k-space with a random cutoff and a linear transition, ``(n,)``."""
    frequency = (torch.arange(n) - n // 2).abs() / (n / 2)
    return ((rng.uniform(0.65, 1.0) - frequency) / 0.2 + 0.5).clamp(0, 1)
