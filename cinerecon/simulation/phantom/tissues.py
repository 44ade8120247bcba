"""Signal of each tissue, field shift around air, and balanced SSFP signal with off-resonance."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cinerecon.physics.fourier import phasor


@dataclass(frozen=True)
class Tissues:
    """Signal of each tissue in a balanced SSFP image, relative to blood; negative for fat in opposed phase."""

    blood: float
    myocardium: float
    fat: float
    muscle: float
    lung: float
    liver: float
    stomach: float
    marrow: float
    fluid: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Tissues":
        """Draw a contrast, as for a random flip angle, repetition time and field strength."""
        opposed = rng.random() < 0.6
        return cls(
            blood=1.0,
            myocardium=rng.uniform(0.22, 0.45),
            fat=(-1.0 if opposed else 1.0) * rng.uniform(0.65, 1.2),
            muscle=rng.uniform(0.13, 0.28),
            lung=rng.uniform(0.02, 0.09),
            liver=rng.uniform(0.16, 0.4),
            stomach=rng.uniform(0.1, 0.6),
            marrow=rng.uniform(0.12, 0.35),
            fluid=rng.uniform(0.7, 1.2),
        )


def susceptibility_field(air: Tensor, angle: float, in_plane: float = 1.0) -> Tensor:
    """Field shift around air, in units of the difference in susceptibility.

    The field is the convolution of the susceptibility with a dipole, D(k) = 1/3 - (k . b)^2 / k^2 in k-space (Marques,
    Bowtell 2005, doi:10.1002/cmr.b.20034); here in two dimensions, for anatomy that does not vary across the plane.

    Parameters
    ----------
    air
        ``(..., y, x)``, the fraction of air in each pixel.
    angle
        Direction of the projection of the main field in the plane [rad from x to y].
    in_plane
        Length of this projection for a main field of length 1.

    Returns
    -------
        ``(..., y, x)``, of zero mean.
    """
    n_y, n_x = air.shape[-2:]
    ky, kx = torch.fft.fftfreq(n_y)[:, None], torch.fft.rfftfreq(n_x)[None]
    along = in_plane * (math.sin(angle) * ky + math.cos(angle) * kx)
    dipole = 1 / 3 - along**2 / (ky**2 + kx**2).clamp(min=1e-12)
    dipole[0, 0] = 0
    result: Tensor = torch.fft.irfft2(torch.fft.rfft2(air) * dipole, s=(n_y, n_x))
    return result


def balanced_signal(precession: Tensor, e1: float, e2: float, flip_angle: float) -> Tensor:
    """Balanced SSFP signal relative to that on resonance, for an echo in the middle of TR.

    M = (1 - E2 exp(-i t)) / (C cos t + D), where t is the precession within TR plus pi (Scheffler, Lehnhardt 2003,
    doi:10.1007/s00330-003-1957-x), times exp(i t / 2) for the precession until the echo. In the pass band, magnitude
    and phase vary little; at its ends, at +-pi, the signal nearly vanishes and changes sign.

    Parameters
    ----------
    precession
        Precession within TR due to the field shift [rad], 0 in the middle of the pass band; any shape.
    e1, e2
        exp(-TR / T1) and exp(-TR / T2).
    flip_angle
        Flip angle [rad].

    Returns
    -------
        complex64 of the shape of `precession`; 1 where the precession is 0.
    """
    c = e2 * (e1 - 1) * (1 + math.cos(flip_angle))
    d = 1 - e1 * math.cos(flip_angle) - (e1 - math.cos(flip_angle)) * e2**2
    on_resonance = (1 + e2) / (d - c)
    turned = precession + math.pi
    half = phasor(turned / 2)
    transverse = half - e2 * half.conj()
    return -1j * transverse / (c * turned.cos() + d) / on_resonance
