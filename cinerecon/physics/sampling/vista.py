"""VISTA: ky lines over time that minimise a Riesz energy, ``(frames, ky)``.

Ahmad et al. 2015, Variable density incoherent spatiotemporal acquisition, 10.1002/mrm.25507. The samples repel each
other on the ky-t grid with the energy

    U = sum over i != j of w(k_i) w(k_j) / d_ij^s,    d_ij^2 = (k_i - k_j)^2 + W^2 (t_i - t_j)^2,
    w(k) = 1 - a exp(-k^2 / (2 sigma^2)),

which is low for evenly spaced samples that are denser in the centre of k-space, where w is small. There are two
constraints: each frame has the same number of lines, so that samples move along ky only; and the mean over time is
fully sampled. The grid is periodic in both directions.

Departs from the paper in: the energy is reduced on the grid by moving one sample at a time to the free line with the
lowest energy, instead of gradient steps between grid points. The mean is fully sampled within each block of frames that
has `SAMPLES_PER_LINE` times as many samples as lines, instead of only over all frames. The energy is an integer, so
that a seed draws the same mask on every machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cinerecon.physics.sampling.drawing import Flags, MaskRequest, around_centre, choose_weighted, uniform_numbers

Energies = NDArray[np.int64]
DEPTH = 0.28
"""Reduction of the weight of a sample in the centre of k-space, a."""
WIDTH = 1 / 5
"""Standard deviation of the weight over the number of lines, sigma."""
EXPONENT = 1.4
"""Exponent of the distance, s."""
SAMPLES_PER_LINE = 1.5
"""Ratio of samples to lines in a block of frames that covers k-space."""
MAX_SWEEPS = 40
"""Largest number of passes over all samples; most patterns have reached a minimum after 10."""
WEIGHT_UNIT, KERNEL_UNIT = 2**10, 2**24
"""Fixed-point units of w and of 1 / d^s; a sum over 10^5 samples is below 2^63."""


def vista(rng: Generator, request: MaskRequest) -> Flags:
    """Draw lines at random and move them to a minimum of the energy; round(ky / R) lines, including the centre."""
    n_drawn, ky = request.n_drawn, request.ky - request.n_acs
    weights = sample_weights(ky)
    if n_drawn == 0:
        return around_centre(np.zeros((request.n_frames, ky), dtype=bool), request)
    mask = choose_weighted(rng, 1.0 / weights**2, request.n_frames, n_drawn)
    grid = Grid.of(mask, weights, riesz_kernel(request.n_frames, ky, request.acceleration))
    grid.descend(rng, [])
    n_blocks = max(int(mask.sum() / (SAMPLES_PER_LINE * ky)), 1)
    blocks = [slice(frames[0], frames[-1] + 1) for frames in np.array_split(np.arange(request.n_frames), n_blocks)]
    for block in blocks:
        grid.cover_every_line(block)
    grid.descend(rng, blocks)
    return around_centre(grid.mask, request)


def sample_weights(ky: int) -> Energies:
    """The weight w of each line, ``(ky,)``, in units of `WEIGHT_UNIT`."""
    k = np.arange(ky) - ky // 2
    weights: Energies = np.rint(WEIGHT_UNIT * (1 - DEPTH * np.exp(-(k**2) / (2 * (WIDTH * max(ky, 1)) ** 2)))).astype(
        np.int64
    )
    return weights


def riesz_kernel(n_frames: int, ky: int, acceleration: float) -> Energies:
    """1 / d^s for all distances, ``(2 frames, 2 ky)``, zero at distance 0, in units of `KERNEL_UNIT`.

    The distance of adjacent frames is W = max(R / 10 + 1 / 4, 1) lines.
    """
    scale = max(acceleration / 10 + 0.25, 1.0)
    along_t, along_k = (np.abs((np.arange(2 * n) + n // 2) % n - n // 2) for n in (n_frames, ky))
    squared = (scale * along_t[:, None]) ** 2.0 + along_k.astype(float) ** 2
    squared[squared == 0] = np.inf
    kernel: Energies = np.rint(KERNEL_UNIT * squared ** (-EXPONENT / 2)).astype(np.int64)
    return kernel


@dataclass
class Grid:
    """Samples on the ky-t grid with the potential that they cause.

    Attributes
    ----------
    mask
        ``(frames, ky)``, True where sampled.
    weights
        w, ``(ky,)``.
    kernel
        1 / d^s, ``(2 frames, 2 ky)``.
    potential
        Sum over all samples j of w_j / d_j^s, ``(frames, ky)``, where a sample does not contribute at its own point.
    """

    mask: Flags
    weights: Energies
    kernel: Energies
    potential: Energies

    @classmethod
    def of(cls, mask: Flags, weights: Energies, kernel: Energies) -> "Grid":
        """The grid of a mask."""
        grid = cls(mask, weights, kernel, np.zeros(mask.shape, dtype=np.int64))
        for frame, line in np.argwhere(mask):
            grid.potential += grid.caused_by(frame, line)
        return grid

    def caused_by(self, frame: int, line: int) -> Energies:
        """The potential of a sample, ``(frames, ky)``."""
        n_frames, ky = self.mask.shape
        around = self.kernel[n_frames - frame : 2 * n_frames - frame, ky - line : 2 * ky - line]
        potential: Energies = self.weights[line] * around
        return potential

    def move(self, frame: int, line: int, target: int) -> None:
        """Move a sample along ky."""
        self.mask[frame, line], self.mask[frame, target] = False, True
        self.potential += self.caused_by(frame, target) - self.caused_by(frame, line)

    def descend(self, rng: Generator, blocks: Sequence[slice]) -> None:
        """Move samples in random order to the lines of lowest energy, until no sample moves.

        Parameters
        ----------
        rng
            Random numbers.
        blocks
            Blocks of consecutive frames; the only sample of a line in a block is not moved.
        """
        block_of = {frame: block for block in blocks for frame in range(block.start, block.stop)}
        for _ in range(MAX_SWEEPS):
            samples = np.argwhere(self.mask)
            n_moves = 0
            for frame, line in samples[np.argsort(uniform_numbers(rng, len(samples)), kind="stable")]:
                if blocks and np.count_nonzero(self.mask[block_of[frame], line]) == 1:
                    continue
                own = self.weights[line] * self.in_frame(line)
                energy = self.weights * (self.potential[frame] - own)
                energy[self.mask[frame]] = np.iinfo(np.int64).max
                energy[line] = self.weights[line] * self.potential[frame, line]
                target = int(energy.argmin())
                if target != line:
                    self.move(frame, line, target)
                    n_moves += 1
            if n_moves == 0:
                break

    def in_frame(self, line: int) -> Energies:
        """1 / d^s to a line of the same frame, ``(ky,)``."""
        ky = self.mask.shape[1]
        return self.kernel[0, ky - line : 2 * ky - line]

    def cover_every_line(self, block: slice) -> None:
        """Move samples to lines that no frame of the block samples, each time the sample that adds the least energy.

        Only lines sampled in several frames of the block lose samples; if there are none, some lines remain unsampled.
        """
        mask, ky = self.mask[block], self.mask.shape[1]
        for line in np.flatnonzero(~mask.any(0)):
            frames, lines = np.nonzero(mask & (mask.sum(0) > 1))
            if len(frames) == 0:
                break
            potential = self.potential[block]
            own = self.weights[lines] * self.kernel[0, ky + line - lines]
            added = self.weights[line] * (potential[frames, line] - own)
            cheapest = int((added - self.weights[lines] * potential[frames, lines]).argmin())
            self.move(block.start + int(frames[cheapest]), int(lines[cheapest]), int(line))
