"""Image quality after gating, for several R-R variations and rates of ectopic beats.

    python benchmarks/gating.py --write

Phantoms of 64 x 64 pixels, 25 frames and 4 coils, measured in 12 segments with noise of 1 % of the peak. Their seeds
were not used while the method was developed. All lines are measured, so that only gating makes a difference.
Retrospective gating by the time stamps and by the ECG is compared with two ways of numbering the frames in the counter
``phase``, written to copies of each scan:

- *ideal*: by the true cardiac phase, without irregular contractions; the readouts of a frame are averaged;
- *counter*: by the time after the R wave in a beat of mean length, ectopic beats included.

PSNR is that of the magnitude in the tenth of the pixels that change most, with the peak of the image.
"""

import itertools
import re
import shutil
import tempfile
from pathlib import Path
from statistics import mean

import h5py
import numpy as np
import torch
from command import make_parser, run_benchmark
from numpy.typing import NDArray
from pages import markdown_head, markdown_row, write_section

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.physics.operators import Encoding
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_scan

VARIATIONS, ECTOPIES, SEEDS = (0.0, 0.05, 0.15, 0.25), (0.0, 0.1, 0.2), range(300, 308)
SCAN = SimulateConfig(n_frames=25, ky=64, kx=64, n_coils=4, segments=12, view="short", ecg=True)
N_NOISE_READOUTS, DUMMY_FLAG = 16, np.uint64(1 << 26)
METHODS = ("ideal", "retro", "retro by ECG", "counter")


def copy_with_frames(path: Path, target: Path, frame: NDArray[np.int64]) -> Path:
    """Copy a scan with other frame numbers of the readouts; readouts of frame -1 are flagged as dummy data."""
    shutil.copy(path, target)
    with h5py.File(target, "r+") as file:
        rows = file["dataset/data"][:]
        head = rows["head"][N_NOISE_READOUTS:]
        head["flags"][frame < 0] |= DUMMY_FLAG
        head["idx"]["phase"] = np.maximum(frame, 0)
        file["dataset/data"][:] = rows
        limit = f"<phase><minimum>0</minimum><maximum>{SCAN.n_frames - 1}<".encode()
        xml = file["dataset/xml"]
        xml[0] = re.sub(rb"<phase><minimum>0</minimum><maximum>\d+<", limit, xml[0])
    return target


def gated_scans(path: Path, folder: Path) -> dict[str, tuple[Path, AcquisitionConfig]]:
    """File and settings for each method of gating."""
    with h5py.File(path) as file:
        head = file["dataset/data"][N_NOISE_READOUTS:]["head"]
        phase, is_regular = file["dataset/truth/cardiac_phase"][:], file["dataset/truth/is_regular"][:] > 0
    n = SCAN.n_frames
    ideal = np.where(is_regular, np.round(phase * n).astype(int) % n, -1)
    after_r_ms = 2.5 * head["physiology_time_stamp"][:, 0].astype(float)
    beat_ms = np.median([after_r_ms[head["idx"]["segment"] == segment].max() for segment in range(SCAN.segments or 1)])
    counter = np.round(after_r_ms / beat_ms * n).astype(int)
    counter = np.where(counter > n, -1, counter % n)
    by_counter = AcquisitionConfig(gating="counter", repeats="average")
    retro = AcquisitionConfig(gating="retro", gated_frames=n)
    return {
        "ideal": (copy_with_frames(path, folder / "ideal.h5", ideal), by_counter),
        "retro": (path, retro),
        "retro by ECG": (path, retro.model_copy(update={"r_waves": "ecg"})),
        "counter": (copy_with_frames(path, folder / "counter.h5", counter), by_counter),
    }


def moving_psnr(path: Path, config: AcquisitionConfig) -> float:
    """PSNR in moving pixels [dB]."""
    data = open_scan(path, config).read_slice(0)
    assert data.reference is not None
    image, reference = (
        Encoding(data.mask, data.csm, matrix=data.matrix).adjoint(data.kspace).abs(),
        data.reference.abs(),
    )
    motion = reference.std(0)
    moving = motion > torch.quantile(motion, 0.9)
    error = (image - reference)[:, moving].square().mean()
    return float(10 * torch.log10(reference.max() ** 2 / error))


def table(folder: Path, noise: float) -> str:
    """A row for each rhythm: means over the seeds, and the lowest difference from the ideal numbering."""
    heads = ("R-R variation", "ectopic beats", *METHODS, "retro - ideal", "lowest", "counter - retro")
    lines = [markdown_head(heads)]
    for variation, ectopic in itertools.product(VARIATIONS, ECTOPIES):
        psnr: dict[str, list[float]] = {method: [] for method in METHODS}
        for seed in SEEDS:
            values = {"rr_variation": variation, "ectopic": ectopic, "seed": seed, "noise": noise}
            simulate_scan(folder / "scan.h5", SCAN.model_copy(update=values), force=True)
            for method, (path, config) in gated_scans(folder / "scan.h5", folder).items():
                psnr[method].append(moving_psnr(path, config))
        means = {method: mean(values) for method, values in psnr.items()}
        lowest = min(retro - ideal for retro, ideal in zip(psnr["retro"], psnr["ideal"], strict=True))
        differences = means["retro"] - means["ideal"], lowest, means["counter"] - means["retro"]
        numbers = (f"{means[method]:.1f}" for method in METHODS)
        cells = (f"{variation:.0%}", f"{ectopic:.0%}", *numbers, *(f"{value:+.1f}" for value in differences))
        lines.append(markdown_row(cells))
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = make_parser(__doc__, writes="the table to docs/benchmarks.md")
    parser.add_argument("--noise", type=float, default=0.01, help="noise relative to the peak, default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = table(Path(folder), options.noise)
    if options.write:
        write_section("gating", text)


if __name__ == "__main__":
    run_benchmark(main)
