"""Calibration of the Fourier ring correlation: false alarms caused by noise, and detection of implanted structures.

    python benchmarks/frc.py --series FOLDER --write

Each measured magnitude cine is its own reference. Image and reference differ by white noise, or by a Gaussian blob that
is added to each frame at a random position inside the body. A blob is detected if a patch that contains its centre is a
candidate. For several thresholds on the cut-off, the percentage of candidates and the percentage of detected blobs are
printed. With ``--write`` the table is written to `docs/how-to/hallucinations.md`.
"""

from pathlib import Path

import torch
from command import make_parser, run_benchmark, series_folder
from pages import markdown_table, write_section
from torch import Tensor

from cinerecon.io.magnitude import open_one_magnitude
from cinerecon.metrics.frc import scan_correlation

PAGE = Path(__file__).parents[1] / "docs/how-to/hallucinations.md"
CINES = ("sax_base", "sax_apex", "lax_3ch")
"""Cines from which no benchmark reports results."""
THRESHOLDS = (0.12, 0.16, 0.18, 0.20, 0.25)
NOISE = (0.02, 0.04, 0.08)
BLOBS = ((1.0, 0.2), (2.0, 0.2), (2.0, 0.4), (4.0, 0.2))
"""Standard deviation [pixels], and height relative to the maximum of the image."""
N_POSITIONS = 12


def main() -> None:
    """Print and write the table."""
    parser = make_parser(__doc__, writes="the table to the page")
    parser.add_argument("--series", type=series_folder, required=True, help="folder of the cines")
    arguments = parser.parse_args()
    series = [read_cine(arguments.series / f"{name}.npz") for name in CINES]
    rows = []
    for level in NOISE:
        cutoffs = torch.cat([false_alarms(reference, level) for reference in series])
        rows.append(make_row(f"noise, {level:.0%} of the maximum", cutoffs))
    for width, height in BLOBS:
        cutoffs = torch.cat([detections(reference, width, height) for reference in series])
        rows.append(make_row(f"blob, deviation {width:g} pixels, height {height:.0%}", cutoffs))
    table = markdown_table(("difference from the reference", *(f"threshold {value:.2f}" for value in THRESHOLDS)), rows)
    print(table)
    if arguments.write:
        write_section("calibration", table, PAGE)


def read_cine(path: Path) -> Tensor:
    """The first slice of a cine, ``(frames, y, x)``, with a maximum of 1."""
    pixels, _ = open_one_magnitude(path).read_pixels(0)
    image = torch.as_tensor(pixels).float()
    return image / image.max()


def false_alarms(reference: Tensor, level: float) -> Tensor:
    """Cut-offs of all patches of an image with noise in the real and the imaginary part."""
    noise = torch.randn(reference.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    scan = scan_correlation(reference + level * noise, reference)
    assert scan is not None
    return scan.cutoff[~scan.cutoff.isnan()]


def detections(reference: Tensor, width: float, height: float) -> Tensor:
    """Lowest cut-off of the patches around each implanted blob."""
    generator = torch.Generator().manual_seed(1)
    body = (reference.mean(0) > 0.05).nonzero()
    y, x = torch.meshgrid(*(torch.arange(n) for n in reference.shape[1:]), indexing="ij")
    lowest = []
    for index in torch.randint(len(body), (N_POSITIONS,), generator=generator):
        row, column = body[index].tolist()
        blob = height * torch.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * width**2))
        noise = 0.01 * torch.randn(reference.shape, generator=generator)
        scan = scan_correlation(reference + blob + noise, reference)
        assert scan is not None
        lowest.append(scan.at_pixels(reference.shape[1:])[:, row, column].nan_to_num(0.5))
    return torch.cat(lowest)


def make_row(name: str, cutoffs: Tensor) -> tuple[str, ...]:
    """The name of a difference, and the percentage of cut-offs below each threshold."""
    shares = [100 * float((cutoffs < threshold).float().mean()) for threshold in THRESHOLDS]
    return name, *(f"{share:.1f}" for share in shares)


if __name__ == "__main__":
    run_benchmark(main)
