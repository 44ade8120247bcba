"""Gating: image quality over R-R variation and ectopic beats, by counter, retrospectively, and by the true phase.

python benchmarks/gating.py [--noise 0.03] [--write]

Phantoms of 64 x 64 pixels, 25 frames and 4 coils, measured in 12 segments with noise of 1 % of the peak.
The seeds, 300 to 307, were not used while the method was developed.
Every image is the fully sampled combination of the coils, so that gating alone makes the difference. The readouts are
regrouped in copies of each scan, whose counter ``phase`` is then that of

- *ideal*: the frame of the true cardiac phase, irregular contractions left out; what falls into a frame is averaged;
- *counter*: the frame at the time of the counter after the R wave, in a beat of mean length, ectopic beats included.

PSNR of the magnitude where the heart moves, the tenth of the pixels of most change, with the peak of the image.
"""

import argparse
import re
import shutil
import tempfile
from pathlib import Path
from statistics import mean

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from report import write_section

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.physics.operators import Encoding
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_scan

VARIATIONS, ECTOPIES, SEEDS = (0.0, 0.05, 0.15, 0.25), (0.0, 0.1, 0.2), range(300, 308)
SCAN = SimulateConfig(n_frames=25, ky=64, kx=64, n_coils=4, segments=12, view="short", ecg=True)
N_NOISE, DUMMY = 16, np.uint64(1 << 26)
WAYS = ("ideal", "retro", "retro by ECG", "counter")


def regroup(path: Path, target: Path, frame: NDArray[np.int64]) -> Path:
    """A copy of a scan with another counter of the frames; readouts of frame -1 are left out."""
    shutil.copy(path, target)
    with h5py.File(target, "r+") as file:
        rows = file["dataset/data"][:]
        head = rows["head"][N_NOISE:]
        head["flags"][frame < 0] |= DUMMY
        head["idx"]["phase"] = np.maximum(frame, 0)
        file["dataset/data"][:] = rows
        limit = f"<phase><minimum>0</minimum><maximum>{SCAN.n_frames - 1}<".encode()
        xml = file["dataset/xml"]
        xml[0] = re.sub(rb"<phase><minimum>0</minimum><maximum>\d+<", limit, xml[0])
    return target


def scans(path: Path, folder: Path) -> dict[str, tuple[Path, AcquisitionConfig]]:
    """The files and settings of each way of gating."""
    with h5py.File(path) as file:
        head = file["dataset/data"][N_NOISE:]["head"]
        phase, is_regular = file["dataset/truth/cardiac_phase"][:], file["dataset/truth/is_regular"][:] > 0
    n = SCAN.n_frames
    ideal = np.where(is_regular, np.round(phase * n).astype(int) % n, -1)
    since_ms = 2.5 * head["physiology_time_stamp"][:, 0].astype(float)
    beat_ms = np.median([since_ms[head["idx"]["segment"] == segment].max() for segment in range(SCAN.segments or 1)])
    counter = np.round(since_ms / beat_ms * n).astype(int)
    counter = np.where(counter > n, -1, counter % n)
    grouped = AcquisitionConfig(gating="counter", repeats="average")
    retro = AcquisitionConfig(gating="retro", gated_frames=n)
    return {
        "ideal": (regroup(path, folder / "ideal.h5", ideal), grouped),
        "retro": (path, retro),
        "retro by ECG": (path, retro.model_copy(update={"r_waves": "ecg"})),
        "counter": (regroup(path, folder / "counter.h5", counter), grouped),
    }


def quality(path: Path, config: AcquisitionConfig) -> float:
    """PSNR where the heart moves [dB]."""
    data = open_scan(path, config).read_slice(0)
    assert data.reference is not None
    image, truth = Encoding(data.mask, data.csm, matrix=data.matrix).adjoint(data.kspace).abs(), data.reference.abs()
    motion = truth.std(0)
    moving = motion > torch.quantile(motion, 0.9)
    error = (image - truth)[:, moving].square().mean()
    return float(10 * torch.log10(truth.max() ** 2 / error))


def table(folder: Path, noise: float) -> str:
    """One line for each rhythm: the means over the seeds, and the lowest difference from the ideal binning."""
    lines = ["| R-R variation | ectopic beats | " + " | ".join(WAYS) + " | retro - ideal | lowest | counter - retro |"]
    lines.append("|" + "---|" * (len(WAYS) + 5))
    for variation in VARIATIONS:
        for ectopic in ECTOPIES:
            found: dict[str, list[float]] = {way: [] for way in WAYS}
            for seed in SEEDS:
                values = {"rr_variation": variation, "ectopic": ectopic, "seed": seed, "noise": noise}
                simulate_scan(folder / "scan.h5", SCAN.model_copy(update=values), force=True)
                for way, (path, config) in scans(folder / "scan.h5", folder).items():
                    found[way].append(quality(path, config))
            means = {way: mean(values) for way, values in found.items()}
            cells = [f"{variation:.0%}", f"{ectopic:.0%}", *(f"{means[way]:.1f}" for way in WAYS)]
            lowest = min(retro - ideal for retro, ideal in zip(found["retro"], found["ideal"], strict=True))
            cells += [f"{means['retro'] - means['ideal']:+.1f}", f"{lowest:+.1f}"]
            cells.append(f"{means['counter'] - means['retro']:+.1f}")
            lines.append("| " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmarks.md")
    parser.add_argument("--noise", type=float, default=0.01, help="noise relative to the peak, default %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = table(Path(folder), options.noise)
    if options.write:
        write_section("gating", text)


if __name__ == "__main__":
    main()
