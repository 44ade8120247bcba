"""A small scan over heartbeats of unequal length, and copies with modified readout headers and waveforms."""

import shutil

import h5py

from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_scan

REGULAR = SimulateConfig(n_frames=12, ky=32, kx=32, n_coils=3, noise=0.0, segments=8, view="short", seed=3)
ARRHYTHMIC = REGULAR.model_copy(update={"rr_variation": 0.15, "ectopic": 0.2, "ecg": True})
N_NOISE_READOUTS = 16


def simulated(folder, config):
    """Write a scan."""
    path = folder / "scan.h5"
    simulate_scan(path, config)
    return path


def changed(path, target, change, *, waveforms=True):
    """Copy a scan, apply ``change(heads)`` to its image readouts, and keep or remove the waveforms."""
    shutil.copy(path, target)
    with h5py.File(target, "r+") as file:
        rows = file["dataset/data"][:]
        change(rows["head"][N_NOISE_READOUTS:])
        file["dataset/data"][:] = rows
        if not waveforms and "waveforms" in file["dataset"]:
            del file["dataset/waveforms"]
    return target
