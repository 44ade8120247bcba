"""Augmentation of the complex image before it is undersampled.

Displacements are phase ramps in k-space: they are exact for the band-limited, periodic image that the pixels represent,
preserve its energy, and are reversible. Interpolation would remove details, and a network would learn to generate
details that its input does not contain.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from cinerecon.config import Config, Interval
from cinerecon.physics.fourier import fft1c, ifft1c, phasor

MIN_GAIN_MAGNITUDE = 0.01
"""Magnitude below which the gain of the gamma augmentation is constant."""


class AugmentConfig(Config):
    """Augmentation of a cine; subpixel motion is applied to the whole image, before a patch is cut."""

    renamed: ClassVar[Mapping[str, str]] = {"quarter_turns": "rotate_90"}

    flip: float = Field(default=0.5, ge=0, le=1, description="fraction mirrored along y, and fraction mirrored along x")
    rotate_90: bool = Field(default=False, description="rotate square patches by 0, 90, 180 or 270 degrees")
    rotate: float = Field(default=0.0, ge=0, le=45, description="maximum rotation [degrees], uniformly distributed")
    shear: float = Field(
        default=0.0, ge=0, le=0.5, description="maximum shear along y and along x, uniformly distributed"
    )
    shift: float = Field(
        default=0.0, ge=0, description="maximum shift along y and along x [pixels], uniformly distributed"
    )
    reverse: float = Field(default=0.5, ge=0, le=1, description="fraction reversed in time")
    phase: float = Field(default=0.0, ge=0, description="standard deviation of an added smooth phase [rad]")
    turn_phase: bool = Field(default=False, description="add a constant phase, uniformly distributed over the circle")
    gamma: Interval = Field(
        default=(0.8, 1.25), description="range of the exponent (gamma) applied to the magnitude, uniformly distributed"
    )
    scale: Interval = Field(default=(0.8, 1.25), description="range of the intensity factor, log-uniformly distributed")
    local_gain: float = Field(
        default=0.15, ge=0, description="standard deviation of the logarithm of a smooth intensity factor"
    )

    @property
    def has_subpixel_motion(self) -> bool:
        """Whether the image is moved by fractions of a pixel."""
        return max(self.rotate, self.shear, self.shift) > 0


def flip(image: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Mirror an image, and with it its k-space about the zero frequency; for even n, this shifts it by one pixel."""
    return image.flip(dims)


def rotate_by_90(image: Tensor, turns: int) -> Tensor:
    """Rotate ``(..., y, x)`` by multiples of 90 degrees, from y to x."""
    return torch.rot90(image, turns, (-2, -1))


def shift(image: Tensor, pixels: tuple[float, float]) -> Tensor:
    """Shift ``(..., y, x)`` by any number of pixels along (y, x), cyclically: a phase ramp over k-space."""
    for dim, distance in zip((-2, -1), pixels, strict=True):
        image = _displace(image, torch.tensor(distance, dtype=torch.float64), dim)
    return image


def shear(image: Tensor, slope: float, dim: int) -> Tensor:
    """Shift the lines of ``(..., y, x)`` along an axis, -1 or -2, by a slope times their distance from the centre.

    This is an affine shear: x moves to x + slope (y - c) for dim -1, and y to y + slope (x - c) for dim -2, c = n // 2.
    """
    if dim not in (-1, -2):
        raise ValueError(f"dim is {dim}, expected -1 or -2")
    n = image.shape[-3 - dim]
    across = torch.arange(n, dtype=torch.float64) - n // 2
    return _displace(image, slope * (across[:, None] if dim == -1 else across), dim)


def rotate(image: Tensor, angle: float) -> Tensor:
    """Rotate ``(..., y, x)`` about (n_y // 2, n_x // 2) by an angle [rad] from x to y, up to about 45 degrees.

    The rotation consists of three shears: R(a) = S_x(-tan a/2) S_y(sin a) S_x(-tan a/2) (Unser et al. 1995,
    doi:10.1109/83.465102). The image is periodic: pixels that leave it on one side enter on the opposite side.
    """
    across, along = -math.tan(angle / 2), math.sin(angle)
    return shear(shear(shear(image, across, -1), along, -2), across, -1)


def _displace(image: Tensor, pixels: Tensor, dim: int) -> Tensor:
    """Shift along one axis by a number of pixels that is constant along this axis."""
    n = image.shape[dim]
    frequency = (torch.arange(n, dtype=torch.float64) - n // 2) / n
    turns = (frequency[:, None] if dim == -2 else frequency) * pixels
    ramp = phasor(-2 * torch.pi * turns).to(image.device, image.dtype)
    return ifft1c(fft1c(image, dim) * ramp, dim)


def draw_smooth_map(rng: Generator, shape: tuple[int, int], strength: float) -> Tensor:
    """A smooth random map ``(y, x)`` of a given standard deviation: a sum of a few cosines of low frequency."""
    waves = [np.cos(np.pi * np.outer(np.arange(4), (np.arange(n) + 0.5) / n)) for n in shape]
    order = np.hypot(*np.mgrid[:4, :4])
    weights = rng.standard_normal((4, 4)) * np.where(order > 0, np.exp(-order), 0)
    field = waves[0].T @ weights @ waves[1]
    return torch.from_numpy((strength * field / max(field.std(), 1e-12)).astype(np.float32))


def cyclic_frames(
    n_frames: int, first: int, step: int = 1, *, reverse: bool = False, is_periodic: bool = True
) -> NDArray[np.int64]:
    """Indices of the frames of a heartbeat with another first frame, `step` times the speed, optionally reversed.

    A series that is not periodic is followed by its mirror image, as in a reconstruction.
    """
    frames = (first + step * np.arange(n_frames)) % (n_frames if is_periodic else 2 * n_frames)
    frames = np.minimum(frames, 2 * n_frames - 1 - frames)
    return frames[::-1].copy() if reverse else frames


def move(image: Tensor, config: AugmentConfig, rng: Generator) -> Tensor:
    """Shear, rotate and shift a whole series ``(..., y, x)`` at random."""
    along_y, along_x = rng.uniform(-config.shear, config.shear, 2)
    angle = math.radians(rng.uniform(-config.rotate, config.rotate))
    pixels = rng.uniform(-config.shift, config.shift, 2)
    if config.shear:
        image = shear(shear(image, along_x, -1), along_y, -2)
    if config.rotate:
        image = rotate(image, angle)
    return shift(image, (float(pixels[0]), float(pixels[1]))) if config.shift else image


def draw_gain(image: Tensor, config: AugmentConfig, rng: Generator) -> Tensor:
    """Draw a factor for an image ``(frames, y, x)``, or for each of its coil images, that varies intensity and phase.

    The magnitude m becomes scale m^gamma times a smooth factor; below 1 % of unit scale, where there is noise or air,
    the contrast is not changed. The ratios of the coil images, and hence the coil maps, do not change.
    """
    gamma, scale = rng.uniform(*config.gamma), np.exp(rng.uniform(*np.log(config.scale)))
    gain = float(scale) * image.abs().clamp(min=MIN_GAIN_MAGNITUDE).pow(float(gamma) - 1)
    turn = rng.uniform(-math.pi, math.pi)
    matrix = (image.shape[-2], image.shape[-1])
    phase = draw_smooth_map(rng, matrix, config.phase).to(gain)
    gain = gain * draw_smooth_map(rng, matrix, config.local_gain).to(gain).exp()
    return torch.polar(gain, (phase + turn * config.turn_phase).expand(gain.shape))
