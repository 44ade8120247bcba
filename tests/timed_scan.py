"""A small scan over heartbeats of unequal length whose readout headers and waveforms tests may change."""

import shutil

import h5py

from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_scan

REGULAR = SimulateConfig(n_frames=12, ky=32, kx=32, n_coils=3, noise=0.0, segments=8, view="short", seed=3)
ARRHYTHMIC = REGULAR.model_copy(update={"rr_variation": 0.15, "ectopic": 0.2, "ecg": True})
N_NOISE = 16


def simulated(folder, config):
    """Write a scan."""
    path = folder / "scan.h5"
    simulate_scan(path, config)
    return path


def changed(path, target, change, *, waveforms=True):
    """A copy of a scan after ``change(heads)`` of its image readouts, with or without the waveforms."""
    shutil.copy(path, target)
    with h5py.File(target, "r+") as file:
        rows = file["dataset/data"][:]
        change(rows["head"][N_NOISE:])
        file["dataset/data"][:] = rows
        if not waveforms and "waveforms" in file["dataset"]:
            del file["dataset/waveforms"]
    return target
