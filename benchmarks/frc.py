"""Calibration of the Fourier ring correlation: false alarms of noise alone, and implanted structures that are detected.

python benchmarks/frc.py ../shared/real/sax_base.npz ../shared/real/sax_apex.npz ../shared/real/lax_3ch.npz

Each measured magnitude cine is its own reference. Image and reference differ by white noise, or by a Gaussian blob
that is added to each frame at a random position inside the body. A blob is detected if a patch that contains its centre
is a candidate. Printed for thresholds on the cut-off: percentage of candidates, and percentage of blobs detected.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from cinerecon.io.magnitude import open_one_magnitude
from cinerecon.metrics.frc import scan_correlation

THRESHOLDS = (0.10, 0.12, 0.14, 0.16, 0.18, 0.20, 0.22, 0.25)
NOISE = (0.01, 0.02, 0.04, 0.08)
BLOBS = ((1.0, 0.2), (2.0, 0.1), (2.0, 0.2), (2.0, 0.4), (4.0, 0.1), (4.0, 0.2))
"""Standard deviation [pixels] and height over the maximum of the image."""
N_POSITIONS = 12


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cines", type=Path, nargs="+")
    series = [read(path) for path in parser.parse_args().cines]
    print("| image | " + " | ".join(f"{threshold:.2f}" for threshold in THRESHOLDS) + " |")
    for level in NOISE:
        rows = [false_alarms(reference, level) for reference in series]
        print_row(f"noise {level:.0%}, candidates", torch.cat(rows))
    for width, height in BLOBS:
        rows = [detections(reference, width, height) for reference in series]
        print_row(f"blob {width:g} px, {height:.0%}, detected", torch.cat(rows))


def read(path: Path) -> Tensor:
    """The first slice of a cine, ``(frames, y, x)`` of maximum 1."""
    pixels, _ = open_one_magnitude(path).read_pixels(0)
    image = torch.as_tensor(pixels).float()
    return image / image.max()


def false_alarms(reference: Tensor, level: float) -> Tensor:
    """Cut-offs of all patches where the image has noise in real and imaginary part."""
    noise = torch.randn(reference.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    found = scan_correlation(reference + level * noise, reference)
    assert found is not None
    return found.cutoff[~found.cutoff.isnan()]


def detections(reference: Tensor, width: float, height: float) -> Tensor:
    """Lowest cut-off of the patches around implanted blobs, one number for each."""
    generator = torch.Generator().manual_seed(1)
    body = (reference.mean(0) > 0.05).nonzero()
    y, x = torch.meshgrid(*(torch.arange(n) for n in reference.shape[1:]), indexing="ij")
    lowest = []
    for index in torch.randint(len(body), (N_POSITIONS,), generator=generator):
        row, column = body[index].tolist()
        blob = height * torch.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * width**2))
        noise = 0.01 * torch.randn(reference.shape, generator=generator)
        found = scan_correlation(reference + blob + noise, reference)
        assert found is not None
        lowest.append(found.at_pixels(reference.shape[1:])[:, row, column].nan_to_num(0.5))
    return torch.cat(lowest)


def print_row(name: str, cutoffs: Tensor) -> None:
    """Percentage below each threshold."""
    shares = [100 * float((cutoffs < threshold).float().mean()) for threshold in THRESHOLDS]
    print(f"| {name} | " + " | ".join(f"{share:.2f}" for share in shares) + " |", flush=True)


if __name__ == "__main__":
    main()
