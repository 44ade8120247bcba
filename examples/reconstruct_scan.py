"""Reconstruct a raw scan and export its images: NIfTI, NumPy and a movie.

python examples/reconstruct_scan.py [SCAN]
"""

import sys
from pathlib import Path

import cinerecon

SAMPLE = Path(__file__).parents[1] / "sample_data/phantom_cine.h5"


def main(scan: str | Path = SAMPLE) -> None:
    """Reconstruct all slices by L+S and write them to the current folder."""
    slices = cinerecon.reconstruct(scan, method="lps")
    for part in slices:
        frames, y, x = part.image.shape
        dy, dx = part.meta.pixel_size_mm
        print(f"slice {part.meta.slice}: {frames} frames of {y} x {x} pixels, {dy:.2f} x {dx:.2f} mm")
        print(f"acceleration {part.acceleration:.1f}, residual {part.residual:.3f}")
        if part.reference is not None:
            print(
                f"PSNR {part.quality['psnr']:.2f} dB, SSIM {part.quality['ssim']:.4f} against {part.meta.reference_is}"
            )
        for warning in part.warnings:
            print("warning", warning)
    for name in ("cine.nii.gz", "cine.npz", "cine.gif"):
        for path in cinerecon.export(slices, name, force=True):
            print("wrote", path)


if __name__ == "__main__":
    main(*sys.argv[1:])
