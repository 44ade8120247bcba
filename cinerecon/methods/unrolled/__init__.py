"""Any unrolled network as a reconstruction method."""

from cinerecon.methods.unrolled.method import Unrolled, build_unrolled
from cinerecon.methods.unrolled.model import (
    RECIPE,
    WEIGHTS,
    Card,
    ModelConfig,
    load_weights,
    read_model,
    weights_of,
    write_model,
)
from cinerecon.methods.unrolled.scale import image_scale, scale_of

__all__ = [
    "RECIPE",
    "WEIGHTS",
    "Card",
    "ModelConfig",
    "Unrolled",
    "build_unrolled",
    "image_scale",
    "load_weights",
    "read_model",
    "scale_of",
    "weights_of",
    "write_model",
]
