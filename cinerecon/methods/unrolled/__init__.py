"""Any unrolled network as a reconstruction method."""

from cinerecon.methods.unrolled.card import Card, card_of, doubts_of, hash_name, outside_training
from cinerecon.methods.unrolled.method import Unrolled, build_unrolled
from cinerecon.methods.unrolled.model import (
    RECIPE,
    WEIGHTS,
    ModelConfig,
    fill,
    load_weights,
    read_card,
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
    "card_of",
    "doubts_of",
    "fill",
    "hash_name",
    "image_scale",
    "load_weights",
    "outside_training",
    "read_card",
    "read_model",
    "scale_of",
    "still_phase",
    "turned",
    "weights_of",
    "write_model",
]
