"""A recipe that is trained in seconds, and a network that returns the zero-filled image."""

from copy import deepcopy

import yaml
from torch import nn

RECIPE = {
    "network": "slrnet",
    "architecture": {
        "n_cascades": 2,
        "n_channels": 4,
        "step": 1.0,
        "coupling": 0.1,
        "shrinkage": "topk_soft",
        "output_weight_scale": 0.1,
    },
    "training": {
        "n_steps": 30,
        "n_warmup": 3,
        "save_every": 10,
        "learning_rate": 5e-3,
        "n_validation": 2,
        "batch_size": 2,
        "data": {
            "sources": {
                "phantom": {"kind": "phantom", "n_cases": 2, "matrix": [40, 40], "n_coils": 2, "mask": "gaussian:3"}
            },
            "crops": "40x16",
            "n_frames": 5,
            "n_windows": 1,
            "coils": [1, 2],
            "masks": "gaussian:3",
            "p_noise_free": 1.0,
        },
    },
}


def write_recipe(folder, **training):
    """Write the recipe with other settings of the training, and return its path."""
    recipe = deepcopy(RECIPE)
    recipe["training"] |= training
    path = folder / "model.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


class ZeroFilled(nn.Module):
    """A network that returns A^H y."""

    def forward(self, kspace, encoding, start=None):
        return encoding.adjoint(kspace)
