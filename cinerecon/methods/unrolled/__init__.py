"""Any unrolled network as a reconstruction method."""

from cinerecon.methods.unrolled.card import Card, doubts_of, outside_training
from cinerecon.methods.unrolled.method import Unrolled, build_unrolled
from cinerecon.methods.unrolled.model import (
    RECIPE,
    WEIGHTS,
    ModelConfig,
    fill,
    load_weights,
    read_model,
    weights_of,
    write_model,
)
from cinerecon.methods.unrolled.phase import still_phase, turned
from cinerecon.methods.unrolled.scale import ScaleName, image_scale, scale_of

__all__ = [
    "RECIPE",
    "WEIGHTS",
    "Card",
    "ModelConfig",
    "ScaleName",
    "Unrolled",
    "build_unrolled",
    "doubts_of",
    "fill",
    "image_scale",
    "load_weights",
    "outside_training",
    "read_model",
    "scale_of",
    "still_phase",
    "turned",
    "weights_of",
    "write_model",
]
