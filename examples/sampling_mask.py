"""Draw sampling masks, measure their acceleration, and write one for `--undersample`.

python examples/sampling_mask.py
"""

from pathlib import Path

from cinerecon.io.mask import write_mask
from cinerecon.physics.sampling import count_acs, net_acceleration, parse_mask

FRAMES, KY, KX = 12, 96, 96
PATTERNS = ("gaussian:8,acs=4", "equispaced:8,acs=8", "kt-equispaced:8", "vds-ky:8", "radial:12")


def main() -> None:
    """Compare nominal and net acceleration, and write the first mask to the current folder."""
    for pattern in PATTERNS:
        mask = parse_mask(pattern).draw(FRAMES, KY, KX, seed=0)  # (frames, 1, ky, kx or 1) bool
        print(f"{pattern:20} net acceleration {net_acceleration(mask):5.2f}, {count_acs(mask)} ACS lines")

    mask = parse_mask(PATTERNS[0]).draw(FRAMES, KY, KX, seed=0)
    n_lines = int(mask.sum(axis=2).max())
    merged = int(mask.any(0).sum())
    print(f"{n_lines} of {KY} lines in each frame, {merged} in at least one frame")
    write_mask(Path("mask.npz"), mask, PATTERNS[0], 0)
    print("wrote mask.npz")


if __name__ == "__main__":
    main()
