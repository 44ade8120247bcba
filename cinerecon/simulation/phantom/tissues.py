"""The signal of each tissue."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tissues:
    """Signal of each tissue in a balanced SSFP image, relative to blood. Fat may be negative: opposed phase."""

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
        """Contrast of various flip angles, repetition times and field strengths."""
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
