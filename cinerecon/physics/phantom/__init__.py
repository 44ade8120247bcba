"""The beating-heart phantom: anatomy, motion, contrast and resolution drawn at random from a seed."""

from cinerecon.physics.phantom.draw import PhantomConfig, draw_phantom, draw_signal, draw_slice
from cinerecon.physics.phantom.receive import draw_coil_maps, draw_phase

__all__ = ["PhantomConfig", "draw_coil_maps", "draw_phantom", "draw_phase", "draw_signal", "draw_slice"]
