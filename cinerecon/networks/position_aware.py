"""PASS: position-aware singular value shrinkage, with thresholds that a small network computes from the spectrum.

The paper (Position-aware adaptive singular-value shrinkage, under review, openreview.net/forum?id=JwJiDLvJWm) has no
public program. With s the singular values and p a code of their position, both images (frames x values), * convolution:

    r = sigmoid(R * (s, p)),    m = GELU(M * s),    gamma = g * (r m),    s <- max(s - gamma, 0).

Departs from the paper in what it leaves open: 3x3 convolutions without bias, GELU between them, one layout of them that
fits the published parameter counts (`gate_layers` 3) and another (2); the last one is initialised with zeros, so that
PASS begins as the identity; the spectrum may be scaled to a largest value of 1 first (`normalize_spectrum`), which
makes PASS scale-equivariant. A value of zero, whose singular vectors are undetermined, stays zero.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from cinerecon.physics.lowrank import Measured, Shrinkage, Spectrum


class PositionAware(nn.Module, Shrinkage):
    """The rule, with the convolutions that it learns.

    Parameters
    ----------
    n_channels
        Feature channels.
    gate_layers
        Convolutions of the gate r.
    normalize
        Whether the spectrum is scaled to a largest value of 1 first, and the thresholds are scaled back.
    tie_width
        See `Shrinkage`: values that are equal may have different thresholds.
    """

    def __init__(
        self, n_channels: int = 16, gate_layers: int = 3, normalize: bool = False, tie_width: float = 1e-6
    ) -> None:
        super().__init__()
        self.normalize, self.tie_width = normalize, tie_width
        self.gate = _convolutions(2, *gate_layers * (n_channels,))
        self.modulation = _convolutions(1, n_channels, n_channels)
        self.mix = nn.Conv2d(n_channels, 1, 3, padding=1, bias=False)
        nn.init.zeros_(self.mix.weight)  # the identity

    def measure(self, spectrum: Spectrum) -> Measured:
        """A threshold for each value, from the adjacent values of the same matrix and of its siblings."""
        largest = spectrum.largest
        unit = torch.where(largest > 0, largest, 1.0) if self.normalize else torch.ones_like(largest)
        values = (spectrum.values / unit).to(self.mix.weight.dtype)
        n_alone = values.ndim - 1 - spectrum.n_sibling_axes
        images = values.reshape(values.shape[:n_alone].numel(), 1, -1, values.shape[-1])  # (batch, 1, siblings, values)
        return (unit * self._thresholds(images).view_as(values).to(unit.dtype),)

    def _thresholds(self, images: Tensor) -> Tensor:
        position = position_code(images.shape[-1]).to(images).expand_as(images)
        with torch.autocast(images.device.type, enabled=False):  # shrinkage is never in lower precision
            gate = torch.sigmoid(self.gate(torch.cat((images, position), 1)))
            features: Tensor = self.mix(gate * functional.gelu(self.modulation(images)))
            return features

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:
        """See `Shrinkage`."""
        (thresholds,) = measured
        positive = values > 0
        kept = functional.relu(values - thresholds) / torch.where(positive, values, 1.0)
        return torch.where(positive, kept, (thresholds <= 0).to(kept.dtype))


def position_code(n: int) -> Tensor:
    """sin(u_j / 10000^(j / n)) with u from 1 down to 0, j = 0 ... n - 1."""
    steps = torch.arange(n, dtype=torch.float64)
    return torch.sin(torch.linspace(1, 0, n, dtype=torch.float64) / 10_000 ** (steps / n))


def _convolutions(*channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(channels):
        layers += [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.GELU()]
    return nn.Sequential(*layers[:-1])
