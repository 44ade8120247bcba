"""Compare methods on one fully sampled scan, which is undersampled retrospectively.

python examples/compare_methods.py
"""

from pathlib import Path

import cinerecon
from cinerecon.simulation.scan import simulate_scan

METHODS = ("zerofilled", "viewshared", "cgsense", "ttv")
PATTERNS = ("gaussian:4", "kt-equispaced:4")


def main() -> None:
    """Print PSNR, SSIM and time of each method for each sampling pattern."""
    scan = Path("full_scan.h5")
    simulate_scan(scan, cinerecon.SimulateConfig(n_frames=8, ky=64, kx=64, n_coils=4), force=True)
    print(f"{'sampling':17}{'method':12}{'PSNR [dB]':>10}{'SSIM':>8}{'time [s]':>10}")
    for pattern in PATTERNS:
        for method in METHODS:
            (part,) = cinerecon.reconstruct(scan, method=method, undersample=pattern, seed=0)
            scores = cinerecon.metrics.compare(part.image, part.reference)  # of magnitudes
            seconds = part.seconds["reconstruct"]
            print(f"{pattern:17}{method:12}{scores['psnr']:10.2f}{scores['ssim']:8.4f}{seconds:10.2f}")


if __name__ == "__main__":
    main()
