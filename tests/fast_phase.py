"""A simulated cine whose phase changes as fast as in a measured one, where no measured cine is available."""

import numpy as np
from torch import Tensor

from cinerecon.simulation.phantom import PhantomConfig, PhaseConfig, add_phase, draw_signal

MEASURED_CHANGES = {"per_frame": 0.10, "per_row": 0.12, "per_column": 0.15}
"""Mean absolute changes of the phase in a published complex cine [rad], weighted by magnitude."""


def draw_fast_phase_cine(seed: int = 0, n_frames: int = 16, matrix: tuple[int, int] = (64, 64)) -> Tensor:
    """A beating heart with phase of tissues, flow, air and field offsets, ``(frames, y, x)`` complex64, peak 1."""
    signal = draw_signal(seed, PhantomConfig(n_frames=n_frames, matrix=matrix))
    image = add_phase(signal, np.random.default_rng([seed, 7]), PhaseConfig(spread=0.0, fat=0.0, bands=0.0))
    return image / image.abs().max()
