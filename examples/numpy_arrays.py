"""Reconstruct k-space in a NumPy array, with a mask and coil maps from another program.

python examples/numpy_arrays.py
"""

import numpy as np

import cinerecon


def main() -> None:
    """Simulate arrays, reconstruct them with given and with estimated coil maps, and compare the images."""
    (cine,) = cinerecon.simulate_cine(
        cinerecon.SimulateConfig(n_frames=8, ky=64, kx=64, n_coils=4, undersample="gaussian:4")
    )
    # k-space is centred, with zero frequency at index n // 2, and its transform is orthonormal
    kspace = cine.kspace.numpy()  # (frames, coils, ky, kx) complex64
    mask = cine.mask.numpy()  # (frames, 1, ky, 1) bool
    csm = cine.csm.numpy()  # (coils, y, x) complex64
    reference = np.abs(cine.reference.numpy())  # (frames, y, x)

    for label, maps in (("given maps", csm), ("maps estimated by ESPIRiT", "espirit")):
        image = cinerecon.reconstruct(kspace, mask, method="cgsense", csm=maps)  # (frames, y, x) complex64, NumPy
        error = np.abs(image) - reference
        print(f"{label}: PSNR {20 * np.log10(reference.max() / np.sqrt((error**2).mean())):.2f} dB")


if __name__ == "__main__":
    main()
