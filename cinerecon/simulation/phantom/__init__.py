"""The beating-heart phantom: anatomy, motion, contrast and resolution drawn at random from a seed."""

from cinerecon.simulation.phantom.coil_simulation import draw_coil_maps, draw_phase
from cinerecon.simulation.phantom.draw import PhantomConfig, draw_phantom, draw_signal, draw_slice
from cinerecon.simulation.phantom.phase import PhaseConfig, add_phase

__all__ = [
    "PhantomConfig",
    "PhaseConfig",
    "add_phase",
    "draw_coil_maps",
    "draw_phantom",
    "draw_phase",
    "draw_signal",
    "draw_slice",
]
