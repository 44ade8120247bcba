"""Train a small SLR-Net on phantoms, and reconstruct a scan with it.

python examples/train_on_phantoms.py
"""

from pathlib import Path

import cinerecon
from cinerecon.simulation.scan import simulate_scan
from cinerecon.training import Recipe, TrainOptions, train

RECIPE = {
    "network": "slrnet",
    "architecture": {"n_cascades": 2, "n_channels": 4, "step": 1.0, "coupling": 0.1, "output_weight_scale": 0.1},
    "training": {
        "n_steps": 30,
        "n_warmup": 2,
        "save_every": 10,
        "learning_rate": 2e-3,
        "n_validation": 2,
        "data": {
            "sources": {"phantom": {"kind": "phantom", "n_cases": 2, "matrix": [48, 48], "n_coils": 2}},
            "crops": "48x16",
            "n_frames": 6,
            "n_windows": 1,
            "coils": [1, 2],
            "masks": "gaussian:4",
        },
    },
}
"""The content of a ``model.yaml``; in practice, use larger networks, more phantoms and thousands of steps."""


def main() -> None:
    """Train in the folder ``runs/small``, then compare with the zero-filled image."""
    run = Path("runs/small")
    train(Recipe.parse(RECIPE), run, TrainOptions(device="cpu"))
    print((run / "log.csv").read_text())
    simulate_scan(
        Path("scan.h5"),
        cinerecon.SimulateConfig(n_frames=8, ky=48, kx=48, n_coils=2, undersample="gaussian:4"),
        force=True,
    )
    for method in ("zerofilled", str(run)):
        (part,) = cinerecon.reconstruct("scan.h5", method=method)
        print(f"{method}: PSNR {part.quality['psnr']:.2f} dB")


if __name__ == "__main__":
    main()
